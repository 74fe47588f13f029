package hub_test

import (
	"context"
	"errors"
	"testing"

	"myelin/channel"
	"myelin/hub"
)

// A door may bring commands for a moment after the session has been closed: of
// a client that was thrown out, none is obeyed.
func TestAClosedSessionMayNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a := s.connect("ann")
		if _, err := s.hub.Disconnect(context.Background(), hub.Target{User: "ann"}, hub.DisconnectForceNoReconnect, nil); err != nil {
			t.Fatal(err)
		}
		_, publish := a.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte(`1`)})
		_, history := a.History(t.Context(), hub.HistoryRequest{Channel: "log:a"})
		_, presence := a.Presence("room:a")
		_, stats := a.PresenceStats("room:a")
		_, subscribe := a.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "log:a"})
		for name, err := range map[string]error{
			"publish": publish, "history": history, "presence": presence, "presence_stats": stats, "subscribe": subscribe,
		} {
			if !errors.Is(err, hub.DisconnectConnectionClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r, err := s.hub.History(t.Context(), hub.HistoryRequest{Channel: "log:a"}); err != nil || r.Top.Offset != 0 {
			t.Errorf("something was published: %v, %v", r, err)
		}
	})
}
