package hub_test

import (
	"context"
	"errors"
	"testing"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// An anonymous session becomes a user's: it is found under his name, counts as
// his, and is nobody else's after.
func TestSignIn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.PerUser.Connections = 2 })
		var other *client
		var late []*client
		for i := range 5 { // among others, wherever it stands with them
			c := s.connect("")
			if i%2 == 0 {
				late = append(late, c)
			} else {
				other = c
			}
		}
		for _, c := range late[:2] {
			if err := c.SignIn(&auth.Identity{User: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := late[0].SignIn(&auth.Identity{User: "ann"}); err != nil {
			t.Errorf("signing in again: %v", err)
		}
		if err := late[0].SignIn(&auth.Identity{User: "bob"}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("ann became bob: %v", err)
		}
		d, ok := errors.AsType[hub.Disconnect](late[2].SignIn(&auth.Identity{User: "ann"}))
		if !ok || d.Code != hub.DisconnectConnectionLimit.Code {
			t.Errorf("a third connection of ann's: %v", d)
		}
		if n, err := s.hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, nil); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := late[0].SignIn(&auth.Identity{User: "ann"}); err == nil {
			t.Error("a session that is gone signs in")
		}
		if err := late[2].SignIn(&auth.Identity{User: "ann"}); err != nil {
			t.Errorf("the places are free again: %v", err)
		}
		if other.Identity().User != "" || s.hub.Connections() != 3 {
			t.Errorf("%q, %d", other.Identity().User, s.hub.Connections())
		}
	})
}

func TestSignInOfWhoIsKeptOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := guarded(t)
		s.ban(auth.Ban{Kind: auth.BanUser, Value: "eve"})
		c := s.connect("")
		if d, ok := errors.AsType[hub.Disconnect](c.SignIn(&auth.Identity{User: "eve"})); !ok || d.Code != hub.DisconnectForceNoReconnect.Code {
			t.Errorf("eve is let in: %v", d)
		}
	})
}

// Others see in a channel whom the subscription says, as a member and as who
// publishes; elsewhere the session's user.
func TestSeenAs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.connect("")
		if err := c.join(hub.SubscribeRequest{Channel: "room:a", As: "ann"}); err != nil {
			t.Fatal(err)
		}
		if err := c.join(hub.SubscribeRequest{Channel: "room:b"}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"room:a": "ann", "room:b": ""} {
			there, err := s.hub.Presence(name)
			if err != nil || len(there) != 1 || there[0].User != want {
				t.Errorf("%s: %+v, %v", name, there, err)
			}
			if _, err := c.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			out, err := s.hub.History(context.Background(), hub.HistoryRequest{Channel: name, Limit: 1})
			if err != nil || len(out.Pubs) != 1 || out.Pubs[0].Info.User != want {
				t.Errorf("%s: %+v, %v", name, out.Pubs, err)
			}
		}
	})
}
