package jetstream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestLimits holds that each limit is one, and says so.
func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	e := start(t, jetstream.Options{
		Network: h.network, MaxSubscribed: 2, MaxEntries: 2, MaxIDs: 2, MaxBooks: 1, MaxReads: 1, MaxBytesPerStream: 64 << 10,
	}, newSink())
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 1000}
	ephemeral := &channel.Policy{Namespace: "test"}
	state := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, Kind: channel.KindState}
	put := func(name, key string) error {
		_, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: name, Policy: state, Op: channel.OpPut, Key: key})
		return err
	}
	refused := func(err error, want *channel.Error, words string) {
		t.Helper()
		if !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %v with words of %q", err, want, words)
		}
	}

	subscribe(t, e, "one", p)
	subscribe(t, e, "two", ephemeral)
	_, err := e.Subscribe(t.Context(), "three", p)
	refused(err, channel.ErrLimitExceeded, "at most 2 channels")
	_, err = e.Subscribe(t.Context(), "three", ephemeral)
	refused(err, channel.ErrLimitExceeded, "at most 2 channels")
	e.Unsubscribe("two")
	subscribe(t, e, "three", ephemeral)

	for _, key := range []string{"a", "b", "a"} {
		if err := put("entries", key); err != nil {
			t.Error(err)
		}
	}
	refused(put("entries", "c"), channel.ErrLimitExceeded, "at most 2 entries")
	// Those that do not fit into memory are read again.
	for i := range 10 {
		if err := put(fmt.Sprint("book:", i), "a"); err != nil {
			t.Error(err)
		}
	}
	refused(put("entries", "c"), channel.ErrLimitExceeded, "at most 2 entries")

	named := func(id string) channel.Ack {
		ack, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "ids", Policy: ephemeral, ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	named("1")
	named("2")
	named("3")
	if named("1").Duplicate || !named("3").Duplicate {
		t.Error("of two ids that may be remembered, not the last two are")
	}

	full := error(nil)
	for i := 0; full == nil && i < 200; i++ {
		_, full = e.Publish(t.Context(), &channel.PublishRequest{Channel: "full", Policy: p, Data: make([]byte, 1024)})
	}
	refused(full, channel.ErrUnavailable, "full")
	_, err = e.Publish(t.Context(), &channel.PublishRequest{Channel: "big", Policy: p, Data: make([]byte, 16<<20)})
	refused(err, channel.ErrTooLarge, "at most")
	_, err = e.Publish(t.Context(), &channel.PublishRequest{Channel: "big", Policy: ephemeral, Data: make([]byte, 16<<20)})
	refused(err, channel.ErrTooLarge, "at most")
}

// TestMoreReadsThanSlots holds that reads wait for each other, and that each
// gets its answer.
func TestMoreReadsThanSlots(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	e := start(t, jetstream.Options{Network: h.network, MaxReads: 1}, newSink())
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10}
	var work sync.WaitGroup
	for i := range 16 {
		name := fmt.Sprint("read:", i%4)
		publish(t, e, name, p, name)
		work.Go(func() {
			if res := read(t, e, name, p, channel.Position{}); len(res.Pubs) == 0 || string(res.Pubs[0].Data) != name {
				t.Errorf("%s is answered with %+v", name, res)
			}
		})
	}
	work.Wait()
}

func TestBadOptions(t *testing.T) {
	if _, err := jetstream.New(jetstream.Options{}); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("without a network: %v", err)
	}
	h := newHome(t, false)
	for _, prefix := range []string{"a.b", "a b", "*", ">", "ä", "a%"} {
		if _, err := jetstream.New(jetstream.Options{Network: h.network, Prefix: prefix}); !errors.Is(err, channel.ErrBadRequest) {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	e := start(t, jetstream.Options{Network: h.network}, newSink())
	if err := e.Start(t.Context(), newSink()); !errors.Is(err, channel.ErrBadRequest) {
		t.Errorf("Start again: %v", err)
	}
}

// TestRetentionIsRaised holds that a policy that keeps more than the stream has
// the stream keep more, and that nobody concludes from how little there is that
// nothing was evicted before.
func TestRetentionIsRaised(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	o := jetstream.Options{Network: h.network}
	few := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 2, HistoryTTL: time.Minute}
	many := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 20}
	one, two := start(t, o, newSink()), start(t, o, newSink())
	origin := read(t, one, "raised", few, channel.Position{}).Top
	for range 10 {
		publish(t, one, "raised", few, "x")
	}
	publish(t, one, "short", few, "x")
	before := read(t, one, "raised", few, channel.Position{}).Top
	for i, e := range []*jetstream.Engine{two, one} {
		if res := read(t, e, "raised", many, origin); res.Complete || res.Top.Offset < before.Offset {
			t.Errorf("engine %d, with what was evicted before: %d publications, complete %v", i, len(res.Pubs), res.Complete)
		}
		if res := read(t, e, "short", many, origin); !res.Complete || len(res.Pubs) != 1 {
			t.Errorf("engine %d, where nothing was evicted: %+v", i, res)
		}
		for range 5 {
			publish(t, e, "raised", many, "y")
		}
		if res := read(t, e, "raised", many, before); !res.Complete || len(res.Pubs) != 5*(i+1) {
			t.Errorf("engine %d, what came after: %d publications, complete %v", i, len(res.Pubs), res.Complete)
		}
		fresh := fmt.Sprint("fresh:", i)
		for range 15 {
			publish(t, e, fresh, many, "z")
		}
		if res := read(t, e, fresh, many, origin); !res.Complete || len(res.Pubs) != 15 {
			t.Errorf("engine %d, a channel from after it: %d publications, complete %v", i, len(res.Pubs), res.Complete)
		}
	}
}
