package pusher

import (
	"encoding/json"
	"strings"
	"sync"
	"unicode/utf8"

	"myelin/channel"
	"myelin/protocol"
	"myelin/socket"
)

// The tags of a publication that is an event.
const (
	// tagEvent is its name.
	tagEvent = "event"
	// tagText says that the data is a text and not the JSON in one.
	tagText = "text"
	// tagExcept is the socket that does not get it.
	tagExcept = "except"
)

// clientPrefix is that of the events of clients.
const clientPrefix = "client-"

// message is what clients and the server tell each other.
type message struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// parse reads a message of a client.
func parse(b []byte) (*message, error) {
	m := new(message)
	if !utf8.Valid(b) || json.Unmarshal(b, m) != nil {
		return nil, channel.ErrBadRequest.With(`a message is a JSON object {"event","channel","data"}`)
	}
	return m, nil
}

// into reads the data of a message, which some libraries encode twice.
func (m *message) into(v any) error {
	data := []byte(m.Data)
	if text, ok := textOf(m.Data); ok {
		data = []byte(text)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return channel.ErrBadRequest.With("the data of " + m.Event + " is not what it should be")
	}
	return nil
}

// textOf returns the text that raw is, where it is one.
func textOf(raw json.RawMessage) (text string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// quote returns a text in JSON.
func quote(text string) []byte {
	b, _ := json.Marshal(text) // cannot fail
	return b
}

// compose returns the frame of an event. data is JSON. user may be empty.
func compose(event string, of name, data []byte, user string) []byte {
	b := append([]byte(`{"event":`), quote(event)...)
	if of != "" {
		b = append(append(b, `,"channel":`...), quote(string(of))...)
	}
	b = append(append(b, `,"data":`...), data...)
	if user != "" {
		b = append(append(b, `,"user_id":`...), quote(user)...)
	}
	return socket.AppendFrame(nil, socket.Text, append(b, '}'))
}

// system returns the frame of an event of the protocol's own, whose data is a
// text with JSON in it.
func system(event string, of name, data any) []byte {
	b, err := json.Marshal(data)
	if err != nil {
		b = []byte("{}") // what is marshalled here are maps of texts and raw JSON
	}
	return compose(event, of, quote(string(b)), "")
}

// failure returns the frame of a pusher:error. Its data is an object, as that
// of Pusher is.
func failure(code int, text string) []byte {
	b, _ := json.Marshal(map[string]any{"code": code, "message": text}) // cannot fail
	return compose("pusher:error", "", b, "")
}

// request returns what publishes an event whose data is raw, a text or any
// other JSON.
func request(to, event string, raw json.RawMessage) *channel.PublishRequest {
	r := &channel.PublishRequest{Channel: to, Data: raw, Tags: map[string]string{tagEvent: event}}
	if text, ok := textOf(raw); ok {
		r.Data = []byte(text)
		if !json.Valid(r.Data) {
			r.Data, r.Tags[tagText] = quote(text), "1"
		}
	}
	return r
}

// eventOf returns the name of an event.
func eventOf(p *channel.Publication) string {
	event := p.Tags[tagEvent]
	if event == "" {
		event = "message"
	}
	if p.Info != nil && !strings.HasPrefix(event, clientPrefix) {
		return clientPrefix + event
	}
	return event
}

// frameOf returns the frame of a publication.
func frameOf(of name, p *channel.Publication) []byte {
	data := p.Data
	if p.ContentType != channel.ContentJSON {
		data = protocol.Payload(protocol.JSON, p)
	}
	if p.Tags[tagText] != "1" || len(data) == 0 || data[0] != '"' {
		data = quote(string(data))
	}
	user := ""
	if p.Info != nil && of.presence() {
		user = p.Info.User
	}
	return compose(eventOf(p), of, data, user)
}

// frames keeps the last events that were encoded: a form belongs to one
// connection, and the next one gets the same bytes.
type frames struct {
	mu struct {
		sync.Mutex
		byPub map[*channel.Publication][]byte
		order [cachedFrames]*channel.Publication
		next  int
	}
}

// of returns the frame of a publication.
func (f *frames) of(n name, p *channel.Publication) []byte {
	f.mu.Lock()
	b, ok := f.mu.byPub[p]
	f.mu.Unlock()
	if ok {
		return b
	}
	b = frameOf(n, p)
	if len(b) > cachedBytes {
		return b
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.byPub == nil {
		f.mu.byPub = make(map[*channel.Publication][]byte, cachedFrames)
	}
	if _, ok := f.mu.byPub[p]; !ok {
		delete(f.mu.byPub, f.mu.order[f.mu.next])
		f.mu.byPub[p] = b
		f.mu.order[f.mu.next] = p
		f.mu.next = (f.mu.next + 1) % cachedFrames
	}
	return b
}
