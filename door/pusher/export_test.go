package pusher

import (
	"net/http"
	"net/url"

	"myelin/channel"
	"myelin/hub"
)

// Sign signs a text with a secret.
func Sign(secret, text string) string { return credentials{"", secret}.sign(text) }

// CheckRequest checks the signature of a request.
func CheckRequest(key, secret string, r *http.Request, q url.Values) error {
	return credentials{key, secret}.checkRequest(r, q)
}

// Channel and Name go from a Pusher channel to a channel and back.
func Channel(public, private, n string) (string, error) {
	return spaces{public, private}.channel(name(n)), name(n).check()
}

func Name(public, private, of string) (string, bool) {
	n, ok := spaces{public, private}.name(of)
	return string(n), ok
}

// Cache reports whether the channel is a cache channel.
func Cache(n string) bool { return name(n).cache() }

// Parse reads a message, and the data of a subscription in it.
func Parse(b []byte) (event string, ok bool) {
	m, err := parse(b)
	if err != nil {
		return "", false
	}
	var r subscribing
	if m.into(&r) == nil && r.Data != nil {
		_, _, _ = who(r.Data, nil)
	}
	return m.Event, true
}

// Through returns the frame of an event after it was published.
func Through(event string, raw []byte, info *channel.ClientInfo) []byte {
	r := request("pusher:x", event, raw)
	return frameOf("x", &channel.Publication{Channel: r.Channel, Data: r.Data, Tags: r.Tags, Info: info})
}

// Form returns what hands a publication to one connection of a door.
func Form() func(p *channel.Publication) []byte {
	c := newClient(&Door{spaces: spaces{"pub", "priv"}})
	return func(p *channel.Publication) []byte {
		return c.AppendEvent(nil, &hub.Event{Kind: hub.EventPublication, Channel: p.Channel, Pub: p})
	}
}
