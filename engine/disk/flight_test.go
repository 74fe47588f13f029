package disk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/disk"
)

// outcome is what a call that runs elsewhere came to.
type outcome struct {
	ack channel.Ack
	err error
}

// snapshotLater asks for a snapshot that has to wait.
func snapshotLater(r *rig, p *channel.Policy) <-chan channel.StatePage {
	pages := make(chan channel.StatePage, 1)
	go func() {
		page, err := r.Snapshot(context.Background(), &channel.SnapshotRequest{Channel: "s", Policy: p})
		if err != nil {
			r.tb.Errorf("Snapshot: %v", err)
		}
		pages <- page
	}()
	return pages
}

// TestUnderWay does things to a channel while others on it are under way to
// the disk: each finds what those before it will have done.
func TestUnderWay(t *testing.T) {
	fs := newSlowFS()
	r := start(t, disk.Options{FS: fs})
	p := statePolicy(channel.DurabilitySync, 100)
	r.put("s", p, "old", "1")
	top := r.subscribe("s", p)
	release := fs.hold()
	under := 0
	begin := func(call func() (channel.Ack, error)) chan outcome {
		done := make(chan outcome, 1)
		under++
		go func() {
			ack, err := call()
			done <- outcome{ack, err}
		}()
		return done
	}
	publish := func(q channel.PublishRequest) chan outcome {
		q.Channel, q.Policy = "s", p
		want := under + 1
		done := begin(func() (channel.Ack, error) { return r.Publish(context.Background(), &q) })
		eventually(t, "a publish under way", func() bool { n, _ := r.InFlight(); return n >= want })
		return done
	}
	zero, one, two := uint64(0), uint64(1), uint64(2)
	first := publish(channel.PublishRequest{Op: channel.OpPut, Key: "k", Data: []byte("2"), Expect: &zero, ID: "first"})
	second := publish(channel.PublishRequest{Op: channel.OpPut, Key: "k", Data: []byte("3"), Expect: &two})
	uncertain := func(key string, expect *uint64) {
		t.Helper()
		soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		_, err := r.Publish(soon, &channel.PublishRequest{Channel: "s", Policy: p, Op: channel.OpPut, Key: key, Expect: expect})
		if !errors.Is(err, channel.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a put of %s that conflicts with what is under way: %v", key, err)
		}
	}
	uncertain("k", &two)
	again := begin(func() (channel.Ack, error) {
		return r.Publish(context.Background(), &channel.PublishRequest{Channel: "s", Policy: p, Op: channel.OpPut, Key: "k", ID: "first"})
	})
	removed := begin(func() (channel.Ack, error) { return channel.Ack{}, r.Remove(context.Background(), "s", p) })
	eventually(t, "the removal", func() bool { return r.Entries("s") == 0 })
	under -= 2
	uncertain("old", &one)
	third := publish(channel.PublishRequest{Op: channel.OpPut, Key: "k", Data: []byte("4"), Expect: &zero})
	if res := r.since("s", p, channel.Position{}); res.Top != top {
		t.Errorf("while all is under way the top is %v, want %v", res.Top, top)
	}
	if got := r.delivered("s"); len(got) != 0 {
		t.Errorf("while all is under way %d publications were delivered", len(got))
	}
	pages := snapshotLater(r, p)
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Snapshot(given, &channel.SnapshotRequest{Channel: "s", Policy: p}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("a snapshot that was given up: %v", err)
	}
	release()
	for what, want := range map[chan outcome]uint64{first: 2, second: 3, again: 2, removed: 0, third: 4} {
		if got := <-what; got.err != nil || got.ack.Offset != want || got.ack.Duplicate != (what == again) {
			t.Errorf("%+v, want offset %d", got, want)
		}
	}
	if page := <-pages; page.At.Offset != 4 || len(page.Items) != 1 || string(page.Items[0].Data) != "4" {
		t.Errorf("a snapshot that waited has %d entries at %v", len(page.Items), page.At)
	}
	if got := datas(r.delivered("s")); got != "2 3 4" {
		t.Errorf("delivered %q", got)
	}
	for key, current := range map[string]uint64{"k": 4, "old": 0} {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "s", Policy: p, Op: channel.OpPut, Key: key, Expect: &one})
		if e, ok := errors.AsType[*channel.Error](err); !ok || e.Code != channel.CodeConflict || e.Current != current {
			t.Errorf("a put of %s that conflicts with what is done: %v", key, err)
		}
	}
	r.stop()
}

// TestCloseWhileUnderWay holds that Close waits for what was accepted, and
// that a Close that was given up goes on.
func TestCloseWhileUnderWay(t *testing.T) {
	fs := newSlowFS()
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilitySync, 100)
	r.publish("c", p, "0")
	r.subscribe("c", p)
	release := fs.hold()
	done := make(chan error, 1)
	go func() {
		_, err := r.Publish(context.Background(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("1")})
		done <- err
	}()
	fs.awaitHeld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Close(ctx); !errors.Is(err, channel.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Close that was given up: %v", err)
	}
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Publish while closing: %v", err)
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("a publish that was accepted: %v", err)
	}
	r.stop()
	if got := datas(r.delivered("c")); got != "1" {
		t.Errorf("delivered %q", got)
	}
}
