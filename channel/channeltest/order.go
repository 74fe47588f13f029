package channeltest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"myelin/channel"
)

func orderChecks() []check {
	return []check{
		{"order/one-channel", func(x *exam) { x.publishInParallel("order", x.policy(10_000), 8, 1250) }},
		{"order/ephemeral", func(x *exam) { x.publishInParallel("order", x.ephemeral(), 8, 500) }},
		{"order/many-channels", checkManyChannels},
		{"order/bursts", checkBursts},
		{"order/whole-publication", checkWholePublication},
		{"order/epoch-stays", checkEpochStays},
	}
}

// acked is what one publisher was told.
type acked struct {
	data string
	at   channel.Position
}

// publishInParallel has publishers meet on one subscribed channel, and holds
// what they were told against what was delivered and what was kept.
func (x *exam) publishInParallel(name string, p *channel.Policy, publishers, each int) {
	top := x.subscribe(name, p)
	acks := make([][]acked, publishers)
	x.parallel(publishers, func(i int) {
		for n := range each {
			data := fmt.Sprintf("%d/%d", i, n)
			acks[i] = append(acks[i], acked{data, x.publish(name, p, data).Position})
		}
	})
	told := make(map[uint64]string)
	last := top
	for i, own := range acks {
		before := top
		for _, a := range own {
			if a.at.Epoch != top.Epoch || a.at.Offset <= before.Offset {
				x.failf("publisher %d was told %v after %v", i, a.at, before)
			}
			if other, ok := told[a.at.Offset]; ok {
				x.failf("offset %d was given to %q and to %q", a.at.Offset, other, a.data)
			}
			told[a.at.Offset] = a.data
			before = a.at
		}
		if before.Offset > last.Offset {
			last = before
		}
	}
	got := x.await(name, last)
	x.chain("delivered", got, top)
	if len(got) != len(told) {
		x.failf("%d publications delivered, %d acknowledged", len(got), len(told))
	}
	for _, pub := range got {
		if told[pub.Offset] != string(pub.Data) {
			x.failf("offset %d delivered %q, its publisher sent %q", pub.Offset, pub.Data, told[pub.Offset])
		}
	}
	if !p.Recoverable() {
		return
	}
	kept := x.since(name, p, top)
	if !kept.Complete || kept.Top != last {
		x.failf("Read after %d says complete %v and top %v, want true and %v", len(got), kept.Complete, kept.Top, last)
	}
	x.same("read against delivered", kept.Pubs, got)
}

// checkBursts publishes on a channel that is quiet in between: an engine that
// treats the first of a burst in another way than those behind it must not let
// them pass.
func checkBursts(x *exam) {
	const publishers, each = 6, 3
	bursts := 400
	if x.f.RealTime {
		bursts = 5
	}
	p := x.policy(100)
	top := x.subscribe("bursts", p)
	last := top
	for range bursts {
		ends := make([]channel.Position, publishers)
		x.parallel(publishers, func(i int) {
			for range each {
				ends[i] = x.publish("bursts", p, "x").Position
			}
		})
		for _, at := range ends {
			if at.Offset > last.Offset {
				last = at
			}
		}
		if now := x.top("bursts", p); now != last {
			x.failf("after a burst the top is %v, %v was acknowledged", now, last)
		}
		x.pass(0.2)
	}
	got := x.await("bursts", last)
	x.chain("delivered", got, top)
	if len(got) != bursts*publishers*each {
		x.failf("%d publications delivered, want %d", len(got), bursts*publishers*each)
	}
}

func checkManyChannels(x *exam) {
	p := x.policy(1000)
	names := make([]string, 16)
	tops := make([]channel.Position, len(names))
	for i := range names {
		names[i] = fmt.Sprintf("many:%d", i)
		tops[i] = x.subscribe(names[i], p)
	}
	x.sink.slow.Store(true)
	x.parallel(8, func(i int) {
		for n := range 20 * len(names) {
			x.publish(names[(n+i)%len(names)], p, fmt.Sprintf("%d/%d", i, n))
		}
	})
	for i, name := range names {
		got := x.await(name, x.top(name, p))
		x.chain(name, got, tops[i])
		if len(got) != 8*20 {
			x.failf("%s got %d publications, want %d", name, len(got), 8*20)
		}
	}
}

// farAhead is a time of expiry that no check lives to see, in Unix ms.
const farAhead = 1 << 50

func checkWholePublication(x *exam) {
	p := x.policy(10)
	top := x.subscribe("whole", p)
	before := time.Now()
	ack := x.send(&channel.PublishRequest{
		Channel:     "whole",
		Policy:      p,
		Data:        []byte{0, 1, 0xff},
		ContentType: channel.ContentBytes,
		Tags:        map[string]string{"unit": "mV", "bed": "1"},
		Info:        &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte(`{"a":1}`), ChanInfo: []byte(`{"b":2}`)},
		ID:          "whole-1",
		Expires:     farAhead,
	})
	want := &channel.Publication{
		Channel:     "whole",
		Position:    ack.Position,
		Prev:        top.Offset,
		Data:        []byte{0, 1, 0xff},
		ContentType: channel.ContentBytes,
		Tags:        map[string]string{"unit": "mV", "bed": "1"},
		Info:        &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte(`{"a":1}`), ChanInfo: []byte(`{"b":2}`)},
		Expires:     farAhead,
	}
	got := x.await("whole", ack.Position)
	// Other machines may keep the time, so a minute is near enough.
	if off := time.UnixMilli(got[0].Time).Sub(before); off < -time.Minute || off > x.f.Patience+time.Minute {
		x.failf("the publication's time is off by %v", off)
	}
	want.Time = got[0].Time
	x.same("delivered", got, []*channel.Publication{want})
	x.same("read", x.since("whole", p, top).Pubs, []*channel.Publication{want})

	bare := x.publish("whole", p, "")
	got = x.await("whole", bare.Position)
	if pub := got[1]; pub.Tags != nil || pub.Info != nil || pub.Key != "" || pub.Op != channel.OpAppend {
		x.failf("a bare publication came as %+v, want no tags, info, key", *pub)
	}
}

// checkEpochStays holds that nothing but a loss changes an epoch, and that two
// lives of one name do not share one.
func checkEpochStays(x *exam) {
	p := x.policy(2)
	epoch := x.top("stays", p).Epoch
	seen := []string{x.subscribe("stays", p).Epoch}
	for range 5 {
		seen = append(seen, x.publish("stays", p, "1").Epoch, x.top("stays", p).Epoch)
	}
	x.e.Unsubscribe("stays")
	seen = append(seen, x.publish("stays", p, "1").Epoch, x.subscribe("stays", p).Epoch)
	x.ok(x.e.Remove(x.ctx, "stays", p), "Remove")
	seen = append(seen, x.top("stays", p).Epoch, x.publish("stays", p, "1").Epoch)
	if i := slices.IndexFunc(seen, func(e string) bool { return e != epoch }); i >= 0 {
		x.failf("the epoch %q became %q at step %d, although nothing was lost", epoch, seen[i], i)
	}
	other := x.f.other(x.tb)
	x.ok(other.Start(x.ctx, newRecorder()), "Start another engine")
	defer func() { x.ok(other.Close(x.ctx), "Close the other engine") }()
	top, err := other.Subscribe(x.ctx, "stays", p)
	x.ok(err, "Subscribe on another engine")
	if top.Epoch == epoch {
		x.failf("the channel has epoch %q in two engines that know nothing of each other", epoch)
	}
}

// other returns one more engine.
func (f Factory) other(tb testing.TB) channel.Engine { return f.New(tb) }
