package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// publish publishes to one channel.
func (c *call) publish(ctx context.Context, r *publishRequest) (any, error) {
	m, err := c.messageOf(r)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, r.Channel, m)
}

func (r *broadcastRequest) check() error {
	if n := len(r.Channels); n > MaxBroadcastChannels {
		return channel.ErrLimitExceeded.With(fmt.Sprintf("%d channels, a broadcast may name %d", n, MaxBroadcastChannels))
	}
	return nil
}

// broadcast publishes the same to many channels. Each is answered on its own.
func (c *call) broadcast(ctx context.Context, r *broadcastRequest) (any, error) {
	if len(r.Channels) == 0 {
		return nil, channel.ErrBadRequest.With("channels names no channel")
	}
	m, err := c.messageOf(&publishRequest{
		Data: r.Data, B64Data: r.B64Data, SkipHistory: r.SkipHistory, Tags: r.Tags,
		IdempotencyKey: r.IdempotencyKey, Delta: r.Delta, Version: r.Version, VersionEpoch: r.VersionEpoch, ExpiresInMs: r.ExpiresInMs,
	})
	if err != nil {
		return nil, err
	}
	out := &broadcastResult{Responses: make([]envelope, len(r.Channels))}
	each(len(r.Channels), workers, func(i int) {
		ack, err := c.send(ctx, r.Channels[i], m)
		if err != nil {
			out.Responses[i].Error = failureOf(err)
			return
		}
		out.Responses[i].Result = ack
	})
	return out, nil
}

// message is what is published, to one channel or to many.
type message struct {
	data        []byte
	contentType string
	tags        map[string]string
	id          string
	skipHistory bool
	expires     int64
}

// messageOf returns what a request wants published. Its channel does not
// matter.
func (c *call) messageOf(r *publishRequest) (*message, error) {
	switch {
	case r.Delta:
		return nil, unsupported("delta", "publications are sent whole")
	case r.Version != 0 || r.VersionEpoch != "":
		return nil, unsupported("version", "publications are kept in the order they come; use idempotency_key to make a retry safe")
	}
	m := &message{tags: r.Tags, id: r.IdempotencyKey, skipHistory: r.SkipHistory, expires: r.ExpiresInMs}
	var err error
	if m.data, err = oneOf("data", r.Data, r.B64Data); err != nil {
		return nil, err
	}
	if len(m.data) == 0 {
		return nil, channel.ErrBadRequest.With("data is missing: any JSON in data, or base64 of any bytes in b64data")
	}
	if r.B64Data != "" {
		m.contentType = protocol.ContentType(protocol.Protobuf, m.data)
	}
	size := len(m.data)
	for k, v := range m.tags {
		size += len(k) + len(v)
	}
	if most := c.door.opts.Hub.Limits().MessageBytes; size > most {
		c.door.opts.Metrics.Limit(observe.LimitMessage).Inc()
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("data and tags have %d bytes, at most %d are allowed (limits.message)", size, most))
	}
	return m, nil
}

// oneOf returns what stands in the field name as JSON or in b64<name> as
// base64, nil where neither is given.
func oneOf(name string, raw json.RawMessage, b64 string) ([]byte, error) {
	switch {
	case b64 == "":
		return raw, nil
	case given(raw):
		return nil, channel.ErrBadRequest.With("give " + name + " or b64" + name + ", not both")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil {
		return nil, channel.ErrBadRequest.With("b64" + name + " is not base64 as of RFC 4648 section 4, padded: " + err.Error())
	}
	return b, nil
}

// send publishes m to a channel.
func (c *call) send(ctx context.Context, name string, m *message) (*publishResult, error) {
	node := c.door.opts.Hub
	if m.skipHistory {
		ns, err := node.Namespace(name)
		if err != nil {
			return nil, err
		}
		if ns.Policy.Recoverable() {
			return nil, unsupported("skip_history",
				"namespace \""+ns.Policy.Namespace+"\" keeps history, and a publication outside of it would be a gap for whoever resumes; publish to a namespace without history")
		}
	}
	p := &channel.PublishRequest{
		Channel: name, Data: m.data, ContentType: m.contentType, Tags: m.tags, ID: m.id,
	}
	if err := hub.ExpireIn(p, m.expires); err != nil {
		return nil, err
	}
	ack, err := node.Publish(ctx, p)
	if err != nil {
		return nil, err
	}
	return &publishResult{Offset: ack.Offset, Epoch: ack.Epoch}, nil
}

// unsupported says that a field is known but cannot be done, and what is so
// instead.
func unsupported(field, instead string) error {
	return channel.ErrUnsupported.With(field + ": " + instead)
}
