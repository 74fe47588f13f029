package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"time"
	"unicode/utf8"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// about is what every request tells of a client, with the names of Centrifugo's
// proxy protocol.
type about struct {
	Client    string `json:"client"`
	Transport string `json:"transport"`
	Protocol  string `json:"protocol"`
	// Encoding is that of the payload: json in Data, binary in B64Data.
	Encoding string          `json:"encoding"`
	User     string          `json:"user,omitempty"`
	Meta     json.RawMessage `json:"meta,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	B64Data  []byte          `json:"b64data,omitempty"`
}

func aboutOf(s *hub.Session, data []byte) about {
	from := s.About()
	a := about{Client: s.ID(), Transport: from.Transport, Protocol: from.Protocol, Encoding: "json"}
	if id := s.Identity(); id != nil {
		a.User, a.Meta = id.User, id.Meta
	}
	switch {
	case len(data) == 0:
	case json.Valid(data) && utf8.Valid(data):
		a.Data = data
	default:
		a.Encoding, a.B64Data = "binary", data
	}
	return a
}

// AskConnect is conversation.Hooks'.
func (c *Caller) AskConnect(ctx context.Context, s *hub.Session, r *protocol.ConnectRequest) (*auth.Admission, error) {
	request := struct {
		about
		Name     string   `json:"name,omitempty"`
		Version  string   `json:"version,omitempty"`
		Channels []string `json:"channels,omitempty"`
	}{about: aboutOf(s, r.Data), Name: r.Name, Version: r.Version}
	for name := range r.Subs {
		request.Channels = append(request.Channels, name)
	}
	slices.Sort(request.Channels)
	var out *auth.Admission
	err := c.ask(ctx, Connect, c.emulated(s.About().Headers, r.Headers), request, func(b json.RawMessage) (err error) {
		out, err = auth.ReadAdmission(b)
		return err
	})
	if err != nil {
		_, err = c.settle(Connect, err)
		return nil, err
	}
	return out, nil
}

// emulated adds the headers that a client gave in its connect request because
// its transport lets it set none, where they are to be handed on. Those of the
// transport win: they may come from a proxy that is trusted.
func (c *Caller) emulated(own map[string][]string, given map[string]string) map[string][]string {
	out := make(map[string][]string, len(own)+len(given))
	for name, v := range given {
		if name = textproto.CanonicalMIMEHeaderKey(name); slices.Contains(c.headers, name) {
			out[name] = []string{v}
		}
	}
	maps.Copy(out, own)
	return out
}

// AskSubscribe is hub.Hooks'.
func (c *Caller) AskSubscribe(ctx context.Context, s *hub.Session, r *hub.SubscribeRequest) (*auth.Grant, error) {
	request := struct {
		about
		Channel string `json:"channel"`
	}{aboutOf(s, r.Data), r.Channel}
	var out *auth.Grant
	err := c.ask(ctx, Subscribe, s.About().Headers, request, func(b json.RawMessage) (err error) {
		out, err = auth.ReadGrant(r.Channel, b)
		return err
	})
	if err != nil {
		_, err = c.settle(Subscribe, err)
		return nil, err
	}
	return out, nil
}

// AskPublish is hub.Hooks'.
func (c *Caller) AskPublish(ctx context.Context, s *hub.Session, r *channel.PublishRequest) error {
	request := struct {
		about
		Channel string            `json:"channel"`
		Key     string            `json:"key,omitempty"`
		Tags    map[string]string `json:"tags,omitempty"`
	}{aboutOf(s, r.Data), r.Channel, r.Key, r.Tags}
	var result struct {
		Data    json.RawMessage `json:"data"`
		B64Data []byte          `json:"b64data"`
	}
	err := c.ask(ctx, Publish, s.About().Headers, request, func(b json.RawMessage) error { return json.Unmarshal(b, &result) })
	if err != nil {
		_, err = c.settle(Publish, err)
		return err
	}
	switch {
	case len(result.B64Data) > 0:
		r.Data, r.ContentType = result.B64Data, protocol.ContentType(protocol.Protobuf, result.B64Data)
	case len(result.Data) > 0 && string(result.Data) != "null":
		r.Data, r.ContentType = result.Data, channel.ContentJSON
	}
	return nil
}

// AskRPC is conversation.Hooks'.
func (c *Caller) AskRPC(ctx context.Context, s *hub.Session, method string, data []byte) ([]byte, error) {
	request := struct {
		about
		Method string `json:"method"`
	}{aboutOf(s, data), method}
	var result struct {
		Data    json.RawMessage `json:"data"`
		B64Data []byte          `json:"b64data"`
	}
	err := c.ask(ctx, RPC, s.About().Headers, request, func(b json.RawMessage) error { return json.Unmarshal(b, &result) })
	if err != nil {
		_, err = c.settle(RPC, err)
		return nil, err
	}
	if len(result.B64Data) > 0 {
		return result.B64Data, nil
	}
	return result.Data, nil
}

// AskRefresh is conversation.Hooks'.
func (c *Caller) AskRefresh(ctx context.Context, s *hub.Session) (auth.Renewal, error) {
	return c.renew(ctx, Refresh, s, aboutOf(s, nil))
}

// AskSubRefresh is conversation.Hooks'.
func (c *Caller) AskSubRefresh(ctx context.Context, s *hub.Session, name string) (auth.Renewal, error) {
	return c.renew(ctx, SubRefresh, s, struct {
		about
		Channel string `json:"channel"`
	}{aboutOf(s, nil), name})
}

func (c *Caller) renew(ctx context.Context, name string, s *hub.Session, request any) (out auth.Renewal, err error) {
	err = c.ask(ctx, name, s.About().Headers, request, func(b json.RawMessage) (err error) {
		out, err = auth.ReadRenewal(b)
		if err == nil && out.ExpiresAt > 0 && !out.Expired && out.ExpiresAt <= time.Now().Unix() {
			return fmt.Errorf("expire_at is in the past; to end it say expired: true")
		}
		return err
	})
	if err == nil {
		return out, nil
	}
	allowed, err := c.settle(name, err)
	if allowed {
		// It goes on for a moment, and then the backend is asked again.
		return auth.Renewal{ExpiresAt: time.Now().Add(prolong).Unix()}, nil
	}
	return auth.Renewal{}, err
}
