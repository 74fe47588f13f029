package hub_test

import (
	"errors"
	"testing"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// The namespaces of the server are written by the server and read by those
// whose token names them.
func TestSystemNamespaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Namespaces["$own"] = &hub.Namespace{Policy: &channel.Policy{Namespace: "$own", HistorySize: 10}, Recover: true, System: true}
		})
		capable := func(match string, names ...string) *auth.Identity {
			return &auth.Identity{User: "ann", Caps: []auth.Capability{{Channels: names, Match: match, Allow: []string{"sub", "pub", "hst"}}}}
		}
		for _, c := range []struct {
			who *auth.Identity
			ok  bool
		}{
			{nobody(), false},
			{capable(auth.MatchWildcard, "*"), false},
			{capable(auth.MatchWildcard, "*", "$own:*"), true},
			{capable(auth.MatchExact, "$own:events"), true},
			{capable(auth.MatchExact, "$own:other"), false},
		} {
			cl := s.connectAs(c.who, nil)
			if err := cl.join(hub.SubscribeRequest{Channel: "$own:events"}); (err == nil) != c.ok {
				t.Errorf("%+v subscribes: %v", c.who.Caps, err)
			}
			if _, err := cl.History(t.Context(), hub.HistoryRequest{Channel: "$own:events"}); (err == nil) != c.ok {
				t.Errorf("%+v reads: %v", c.who.Caps, err)
			}
			if _, err := cl.Publish(t.Context(), &channel.PublishRequest{Channel: "$own:events", Data: []byte("1")}); !errors.Is(err, channel.ErrPermissionDenied) {
				t.Errorf("%+v publishes: %v", c.who.Caps, err)
			}
		}
		granted := s.connect("bob")
		grant := &auth.Grant{Channel: "$own:events", Allow: []string{"pub", "hst"}}
		if err := granted.join(hub.SubscribeRequest{Channel: "$own:events", Grant: grant}); err != nil {
			t.Error(err)
		}
		if _, err := granted.History(t.Context(), hub.HistoryRequest{Channel: "$own:events"}); err != nil {
			t.Error(err)
		}
		if _, err := granted.Publish(t.Context(), &channel.PublishRequest{Channel: "$own:events", Data: []byte("1")}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Error(err)
		}
		r := &channel.PublishRequest{Channel: "$own:events", Data: []byte("1")}
		if _, err := s.hub.Publish(t.Context(), r); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("the API publishes: %v", err)
		}
		if err := s.hub.HistoryRemove(t.Context(), "$own:events"); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("the API removes: %v", err)
		}
		if _, err := s.hub.PublishSystem(t.Context(), r); err != nil {
			t.Error(err)
		}
	})
}
