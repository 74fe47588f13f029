package mercure

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// enter says who the subscriber is: the bearer of a token, whom the backend
// says, or nobody.
func (s *stream) enter(asks bool) error {
	if !asks {
		return s.session.Connect(s.bearer.who)
	}
	r := &protocol.ConnectRequest{Subs: make(map[string]*protocol.SubscribeRequest)}
	for _, m := range s.asked.matchers {
		if m.exact() {
			r.Subs[s.door.spaces.channel(m.text, false)] = nil
		}
	}
	a, err := s.guest.Meet(r)
	if err != nil {
		return err
	}
	s.session.Ready(s.door.ctx)
	s.bearer.who = a.Identity
	s.given = make(map[string]auth.SubOptions, len(a.Channels)+len(a.Subs))
	for _, name := range a.Channels {
		s.given[name] = auth.SubOptions{}
	}
	maps.Copy(s.given, a.Subs)
	// Of what is no topic of one update this protocol cannot tell.
	maps.DeleteFunc(s.given, func(name string, _ auth.SubOptions) bool {
		space, topic, _ := strings.Cut(name, ":")
		return space != s.door.spaces.public && space != s.door.spaces.private || s.door.spaces.check(topic) != nil
	})
	return nil
}

// takeGiven subscribes to the topics that the backend gives, private ones too.
func (s *stream) takeGiven(ctx context.Context, joined func(string, *hub.Subscription)) error {
	for _, name := range slices.Sorted(maps.Keys(s.given)) {
		sn, err := s.session.Subscribe(ctx, hub.SubscribeRequest{
			Channel: name, ServerSide: true, Recoverable: true, Granted: true, Options: s.given[name],
		})
		if err != nil {
			return err
		}
		joined(name, sn)
	}
	return nil
}

// author is who publishes. Where the backend is asked about that, it is asked
// about a session.
type author struct {
	door    *Door
	who     *auth.Identity
	request *http.Request
	session *hub.Session
}

// publish publishes to one channel.
func (a *author) publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	ns, err := a.door.hub.Namespace(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	if !ns.AskPublish {
		return a.door.hub.Publish(ctx, r)
	}
	if a.session == nil {
		s, err := a.door.hub.Open(hub.SessionOptions{
			Conn: mute{}, Form: mute{}, Address: auth.AddressOf(a.request), About: a.door.opts.Host.AboutGuest("http", "mercure", a.request),
		})
		if err != nil {
			return channel.Ack{}, err
		}
		a.session = s
		if err := s.Connect(a.who); err != nil {
			return channel.Ack{}, err
		}
	}
	return a.session.Publish(ctx, r)
}

// done ends the session, where there was one.
func (a *author) done() {
	if a.session != nil {
		a.session.Close(hub.DisconnectConnectionClosed)
	}
}

// mute is the connection of who only publishes, and what it is told: nothing.
type mute struct{}

// WriteNow takes everything.
func (mute) WriteNow(p []byte) (int, error) { return len(p), nil }

// NotifyWritable is never waited for.
func (mute) NotifyWritable(ready func()) { go ready() }

// Close does nothing.
func (mute) Close() {}

// AppendEvent says nothing.
func (mute) AppendEvent(dst []byte, _ *hub.Event) []byte { return dst }
