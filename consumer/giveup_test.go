package consumer_test

import (
	"testing"
	"time"

	"myelin/channel"
	"myelin/consumer"
)

// What was delivered as often as it may be is given up after a restart, too,
// with all that is known of it.
func TestAttemptsOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{MaxAttempts: 1, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 7, 7)
		c.gets("7#1")
		wait(2 * time.Second) // that it was delivered is written by now
		r.stop()
		again := newRig(t, r.engine, nil)
		redirect(r.engine, again.hub)
		again.m.Start()
		defer again.stop()
		again.sits("ann", "w", "jobs:a").gets("")
		if l := again.letters(); len(l) != 1 || l[0].Reason != "attempts" || l[0].Attempts != 1 || string(l[0].Data) != "7" {
			t.Errorf("letters %+v", l)
		}
	})
}

// What had expired before there was room for it is not delivered either, and
// what comes after it does not wait.
func TestExpiryBehindAFullWindow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("w", "jobs:a", consumer.Settings{MaxUnacked: 2, DeadLetter: "dead:x"}, fresh)
		c := r.sits("ann", "w", "jobs:a")
		r.publish("jobs:a", 1, 2)
		got := c.gets("1#1 2#1")
		for n := 3; n <= 7; n++ {
			_, err := r.hub.Publish(t.Context(), &channel.PublishRequest{
				Channel: "jobs:a", Data: []byte("0"), Expires: time.Now().Add(time.Second).UnixMilli(),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		r.publish("jobs:a", 8, 8)
		wait(2 * time.Second)
		r.acks(got[0])
		c.gets("8#1")
		if i := r.info("w", "jobs:a"); i.Counts.Expired != 5 {
			t.Errorf("%+v", i)
		}
	})
}
