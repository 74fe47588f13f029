package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// Whatever happens while a channel is being opened, its first subscriber has
// it all.
func TestOpeningAmongPublications(t *testing.T) {
	for name, during := range map[string]func(s *stage, e *fake){
		"publications": func(s *stage, _ *fake) { s.publish("log:x", "1", "2", "3") },
		"lost":         func(s *stage, e *fake) { s.publish("log:x", "1"); e.sink.Lost("log:x"); s.publish("log:x", "2") },
		"new epoch":    func(s *stage, e *fake) { s.publish("log:x", "1"); e.renew("log:x", false); s.publish("log:x", "2") },
		"silent epoch": func(s *stage, e *fake) { s.publish("log:x", "1"); e.renew("log:x", true) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var s *stage
				e := &fake{}
				e.subscribed = func(context.Context, string) error {
					during(s, e)
					synctest.Wait() // a repair begins at once
					return nil
				}
				s = newStage(t, e, nil)
				r := newReader("log:x")
				c := s.connect("")
				r.attach(c)
				if err := c.join(r.request()); err != nil {
					t.Fatal(err)
				}
				wait(time.Second)
				if r.told() > 0 {
					return // also an answer
				}
				r.wantsTop(t, e, 0)
				s.publish("log:x", "4")
				s.settle()
				r.wantsTop(t, e, 0)
			})
		})
	}
}

// Who waits for a channel that cannot be opened does not wait for each of
// those before him in turn.
func TestFailureToOpenIsShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{subscribing: func(context.Context, string) error {
			time.Sleep(5 * time.Second)
			return channel.ErrUnavailable
		}}
		s := newStage(t, e, nil)
		const clients = 20
		errs := make(chan error, clients)
		began := time.Now()
		for range clients {
			c := s.connect("")
			go func() { errs <- c.join(hub.SubscribeRequest{Channel: "log:x"}) }()
		}
		for range clients {
			if err := <-errs; !errors.Is(err, channel.ErrUnavailable) {
				t.Errorf("Subscribe: %v", err)
			}
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("the last one waited %v", took)
		}
	})
}

// One client that gives up does not take the others along who wait for the
// same channel.
func TestGivingUpIsNotShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &fake{subscribing: func(ctx context.Context, _ string) error {
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return channel.ErrUnavailable.Wrap(ctx.Err())
			}
		}}
		s := newStage(t, e, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hasty := s.connect("")
		gaveUp := make(chan error, 1)
		go func() {
			_, err := hasty.Subscribe(ctx, hub.SubscribeRequest{Channel: "log:x"})
			gaveUp <- err
		}()
		synctest.Wait()
		patient := s.connect("")
		if err := patient.join(hub.SubscribeRequest{Channel: "log:x"}); err != nil {
			t.Error(err)
		}
		if err := <-gaveUp; !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("Subscribe: %v", err)
		}
		s.publish("log:x", "1")
		patient.gets(t, "1")
	})
}
