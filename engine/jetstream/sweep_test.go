package jetstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/jetstream"
)

// TestDeletionsAreSwept holds that deleted keys leave the stream in the end,
// and that no node that knew them takes them for alive.
func TestDeletionsAreSwept(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	o := jetstream.Options{Network: h.network}
	o.SetRest(time.Millisecond)
	one, two := start(t, o, newSink()), start(t, o, newSink())
	p := &channel.Policy{Namespace: "test", Kind: channel.KindState, Durability: channel.DurabilityAsync, HistorySize: 4}
	send := func(e *jetstream.Engine, op channel.Op, key string) channel.Ack {
		t.Helper()
		ack, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "swept", Policy: p, Op: op, Key: key, Data: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	entries := func(e *jetstream.Engine) int {
		t.Helper()
		page, err := e.Snapshot(t.Context(), &channel.SnapshotRequest{Channel: "swept", Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Items)
	}
	const keys = 300
	for i := range keys {
		send(one, channel.OpPut, fmt.Sprint(i))
	}
	send(one, channel.OpPut, "stays")
	if n := entries(two); n != keys+1 {
		t.Fatalf("the other node sees %d entries, want %d", n, keys+1)
	}
	for i := range keys {
		send(one, channel.OpDelete, fmt.Sprint(i))
	}
	name, err := jetstream.StreamOf(t.Context(), one, p)
	if err != nil {
		t.Fatal(err)
	}
	// Each key had a put and a deletion. A few may wait for more.
	i := 0
	eventually(t, func() string {
		// A deletion now and then has the broom out.
		send(one, channel.OpDelete, fmt.Sprintf("never-%d", i%8))
		i++
		st, err := one.JetStream().Stream(context.Background(), name)
		if err != nil {
			return err.Error()
		}
		if n := st.CachedInfo().State.Msgs; n > keys {
			return fmt.Sprintf("the stream still has %d messages", n)
		}
		return ""
	})
	for what, e := range map[string]*jetstream.Engine{"who swept": one, "who knew the keys": two, "who knew nothing": start(t, o, newSink())} {
		if n := entries(e); n != 1 {
			t.Errorf("%s sees %d entries, want 1", what, n)
		}
	}
	at := send(two, channel.OpPut, "5")
	last := send(two, channel.OpPut, "6")
	if res := read(t, one, "swept", p, at.Position); !res.Complete || len(res.Pubs) != 1 || res.Top != last.Position {
		t.Errorf("history after the broom: %+v", res)
	}
	if n := entries(one); n != 3 {
		t.Errorf("%d entries after two came back, want 3", n)
	}
}
