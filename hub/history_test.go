package hub_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

func TestHistory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Limits.HistoryRead = 6 })
		c := s.connect("")
		at := s.publish("log:x", numbers(1, 10)...)
		from := func(offset uint64) *channel.Position {
			return &channel.Position{Epoch: at.Epoch, Offset: offset}
		}
		for name, q := range map[string]struct {
			hub.HistoryRequest
			want []string
			err  error
		}{
			"position":        {HistoryRequest: hub.HistoryRequest{}},
			"first":           {HistoryRequest: hub.HistoryRequest{Limit: 3}, want: numbers(1, 3)},
			"all there may":   {HistoryRequest: hub.HistoryRequest{Limit: -1}, want: numbers(1, 6)},
			"more than may":   {HistoryRequest: hub.HistoryRequest{Limit: 100}, want: numbers(1, 6)},
			"since":           {HistoryRequest: hub.HistoryRequest{Limit: 3, Since: from(7)}, want: numbers(8, 10)},
			"since the top":   {HistoryRequest: hub.HistoryRequest{Limit: 3, Since: from(10)}},
			"beyond the top":  {HistoryRequest: hub.HistoryRequest{Limit: 3, Since: from(99)}},
			"last":            {HistoryRequest: hub.HistoryRequest{Limit: 2, Reverse: true}, want: []string{"10", "9"}},
			"before":          {HistoryRequest: hub.HistoryRequest{Limit: 2, Reverse: true, Since: from(3)}, want: []string{"2", "1"}},
			"before the zero": {HistoryRequest: hub.HistoryRequest{Limit: 2, Reverse: true, Since: from(0)}, err: channel.ErrBadRequest},
			"any epoch":       {HistoryRequest: hub.HistoryRequest{Limit: 1, Since: &channel.Position{Offset: 4}}, want: []string{"5"}},
			"other epoch":     {HistoryRequest: hub.HistoryRequest{Limit: 1, Since: &channel.Position{Epoch: "x"}}, err: channel.ErrUnrecoverable},
		} {
			q.Channel = "log:x"
			r, err := c.History(t.Context(), q.HistoryRequest)
			if !errors.Is(err, q.err) {
				t.Errorf("%s: %v, want %v", name, err, q.err)
			}
			var got []string
			for _, p := range r.Pubs {
				got = append(got, string(p.Data))
			}
			if !slices.Equal(got, q.want) {
				t.Errorf("%s: %q, want %q", name, got, q.want)
			}
			if err == nil && r.Top != at {
				t.Errorf("%s: top %v, want %v", name, r.Top, at)
			}
		}
		for name, want := range map[string]error{
			"live:x": channel.ErrNotAvailable, "none:x": channel.ErrUnknownChannel, "": channel.ErrBadRequest, "closed:x": channel.ErrPermissionDenied,
		} {
			if _, err := c.History(t.Context(), hub.HistoryRequest{Channel: name}); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", name, err, want)
			}
		}
	})
}

// What is removed is not recovered from the ring either, and the position goes
// on.
func TestRemovedHistoryIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		keeper := s.connect("")
		keeper.subscribe("log:x")
		at := s.publish("log:x", numbers(1, 10)...)
		since := func(offset uint64) *reader {
			r := newReader("log:x")
			r.mu.at, r.mu.known = channel.Position{Epoch: at.Epoch, Offset: offset}, true
			c := s.connect("")
			r.attach(c)
			if err := c.join(r.request()); err != nil {
				t.Fatal(err)
			}
			s.settle()
			return r
		}
		if r := since(5); r.told() != 0 {
			t.Error("not recovered before")
		}
		if err := s.hub.HistoryRemove(t.Context(), "log:x"); err != nil {
			t.Fatal(err)
		}
		if r := since(5); r.told() != 1 {
			t.Error("recovered what was removed")
		}
		if r := since(10); r.told() != 0 {
			t.Error("who was at the top still is")
		}
		s.publish("log:x", "11")
		if r := since(10); r.told() != 0 {
			t.Error("not recovered after")
		}
		keeper.gets(t, numbers(1, 11)...)
		if err := s.hub.HistoryRemove(t.Context(), "live:x"); !errors.Is(err, channel.ErrNotAvailable) {
			t.Error(err)
		}
		if err := s.hub.HistoryRemove(t.Context(), "log:never"); err != nil {
			t.Error(err)
		}
	})
}

// What has outlived its time is not recovered, though the ring still has it.
func TestExpiredHistoryIsNotRecovered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) { o.Namespaces["log"].Policy.HistoryTTL = time.Minute })
		keeper := s.connect("")
		keeper.subscribe("log:x")
		at := s.publish("log:x", "1", "2")
		wait(30 * time.Second)
		s.publish("log:x", "3", "4")
		wait(31 * time.Second)
		for offset, recovered := range map[uint64]bool{1: false, 2: true, 3: true, 4: true} {
			c := s.connect("")
			sn, err := c.Subscribe(t.Context(), hub.SubscribeRequest{
				Channel: "log:x", Recover: true, Since: channel.Position{Epoch: at.Epoch, Offset: offset},
			})
			if err != nil {
				t.Fatal(err)
			}
			if sn.Recovered != recovered || !sn.WasRecovering || (recovered && uint64(len(sn.Publications)) != 4-offset) {
				t.Errorf("from %d: recovered %v with %d", offset, sn.Recovered, len(sn.Publications))
			}
		}
	})
}

func TestRights(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, func(o *hub.Options) {
			o.Namespaces["log"].Rules = auth.Rules{
				Subscribe: auth.NewWhoSet(auth.WhoUser), Publish: auth.NewWhoSet(auth.WhoSubscriber), History: auth.NewWhoSet(auth.WhoToken),
			}
		})
		stranger, ann, early := s.connect(""), s.connect("ann"), s.open(nil)
		say := func(c *client) error {
			_, err := c.Publish(context.Background(), &channel.PublishRequest{Channel: "log:x", Data: []byte("1")})
			return err
		}
		join := func(c *client) error { return c.join(hub.SubscribeRequest{Channel: "log:x"}) }
		for what, q := range map[string]struct{ got, want error }{
			"before connect":      {join(early), channel.ErrUnauthorized},
			"publish before":      {say(early), channel.ErrUnauthorized},
			"stranger subscribes": {join(stranger), channel.ErrPermissionDenied},
			"not subscribed":      {say(ann), channel.ErrPermissionDenied},
			"user subscribes":     {join(ann), nil},
		} {
			if !errors.Is(q.got, q.want) {
				t.Errorf("%s: %v, want %v", what, q.got, q.want)
			}
		}
		if err := say(ann); err != nil {
			t.Error(err)
		}
		token := s.connect("")
		if err := token.join(hub.SubscribeRequest{Channel: "closed:x", Grant: &auth.Grant{Channel: "closed:x", Allow: []string{"pub"}}}); !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("a token where nobody may: %v", err)
		}
		if _, err := s.hub.Publish(t.Context(), &channel.PublishRequest{Channel: "closed:x", Data: []byte("1")}); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
}
