package hub_test

import (
	"testing"

	"myelin/hub"
)

func TestPublicationReachesItsSubscribers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		a, b, other := s.connect("ann"), s.connect("bob"), s.connect("cat")
		a.subscribe("log:x")
		b.subscribe("log:x")
		other.subscribe("log:y")
		s.publish("log:x", numbers(1, 3)...)
		a.gets(t, "1", "2", "3")
		b.gets(t, "1", "2", "3")
		other.gets(t)
		if err := a.Unsubscribe("log:x"); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "4")
		a.gets(t)
		b.gets(t, "4")
	})
}

func TestSubscribingWithAPositionGivesWhatWasMissed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		keeper, c := s.connect(""), s.connect("")
		keeper.subscribe("log:x")
		at := s.publish("log:x", "1")
		s.publish("log:x", numbers(2, 5)...)
		if err := c.join(hub.SubscribeRequest{Channel: "log:x", Recover: true, Since: at}); err != nil {
			t.Fatal(err)
		}
		s.publish("log:x", "6")
		c.gets(t, numbers(2, 6)...)
	})
}
