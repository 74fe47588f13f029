package channeltest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
)

// exam is one check's hold on the engine under test.
type exam struct {
	tb   testing.TB
	f    Factory
	ctx  context.Context
	e    channel.Engine
	sink *recorder
	// broken says that a goroutine of the check has failed.
	broken atomic.Bool
}

// open starts e and makes it the engine under test. The context of the start
// ends with it: an engine outlives it.
func (x *exam) open(e channel.Engine) {
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	x.e = e
	x.ok(e.Start(ctx, x.sink), "Start")
}

// close closes the engine under test, if it is not closed yet.
func (x *exam) close() {
	if x.e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
	defer cancel()
	if err := x.e.Close(ctx); err != nil {
		x.tb.Logf("Close: %v", err)
	}
}

// failf ends the check as failed.
func (x *exam) failf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// leaveOut ends the check as not applying.
func (x *exam) leaveOut(why string) {
	panic(failure{fmt.Errorf("%w: %s", ErrLeftOut, why)})
}

// needState leaves the check out for an engine without state channels.
func (x *exam) needState() {
	if !x.e.Caps().State {
		x.leaveOut("the engine keeps no state channels")
	}
}

// ok fails unless err is nil.
func (x *exam) ok(err error, what string) {
	if err != nil {
		x.failf("%s: %w", what, err)
	}
}

// refused fails unless err is an *Error of one of the given codes.
func (x *exam) refused(err error, what string, want ...*channel.Error) {
	if err == nil {
		x.failf("%s was accepted, want %v", what, want)
	}
	e, ok := errors.AsType[*channel.Error](err)
	if !ok {
		x.failf("%s: error %v is a %T, want a *channel.Error", what, err, err)
	}
	for _, w := range want {
		if errors.Is(e, w) {
			return
		}
	}
	x.failf("%s: %v has code %d, want %v", what, err, e.Code, want)
}

// parallel runs n copies of a function and waits for all. It fails if one did.
func (x *exam) parallel(n int, run func(i int)) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			errs[i] = try(func() { run(i) })
			if errs[i] != nil {
				x.broken.Store(true)
			}
		})
	}
	wg.Wait()
	x.ok(errors.Join(errs...), "in parallel")
}

// until waits for another goroutine of the check, as briefly as can be.
func (x *exam) until(condition func() bool) {
	for !condition() {
		if x.broken.Load() {
			x.failf("given up, as another goroutine failed")
		}
		if x.f.RealTime {
			time.Sleep(50 * time.Microsecond)
		} else {
			runtime.Gosched()
		}
	}
}

// meet waits until n goroutines have come to the same place.
func (x *exam) meet(place *atomic.Int64, n int) {
	place.Add(1)
	x.until(func() bool { return place.Load() >= int64(n) })
}

// eventually waits until a condition holds, that is, returns "".
func (x *exam) eventually(condition func() string) {
	end := time.Now().Add(x.f.Patience)
	for step := time.Millisecond; ; step = min(2*step, 100*time.Millisecond) {
		wrong := condition()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			x.failf("after %v: %s", x.f.Patience, wrong)
		}
		time.Sleep(step)
	}
}

// pass lets windows go by.
func (x *exam) pass(windows float64) {
	time.Sleep(x.windows(windows))
}

// windows returns a span of time.
func (x *exam) windows(n float64) time.Duration {
	return time.Duration(n * float64(x.f.Window))
}

// policy returns a log policy that keeps so many publications for ever.
func (x *exam) policy(history int) *channel.Policy {
	return &channel.Policy{Namespace: "test", Durability: x.f.Durability, HistorySize: history}
}

// statePolicy returns a policy of state channels.
func (x *exam) statePolicy(history int) *channel.Policy {
	p := x.policy(history)
	p.Kind = channel.KindState
	return p
}

// ephemeral returns a policy that keeps nothing, for which the engine's
// lowest durability will do.
func (x *exam) ephemeral() *channel.Policy {
	return &channel.Policy{Namespace: "test"}
}

func (x *exam) subscribe(name string, p *channel.Policy) channel.Position {
	top, err := x.e.Subscribe(x.ctx, name, p)
	x.ok(err, "Subscribe "+name)
	x.plausible(top)
	return top
}

// plausible fails unless a position is one that can be handed to clients.
func (x *exam) plausible(at channel.Position) {
	if at.Epoch == "" || len(at.Epoch) > 64 {
		x.failf("epoch %q has %d bytes, want 1 to 64", at.Epoch, len(at.Epoch))
	}
	for _, c := range []byte(at.Epoch) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			x.failf("epoch %q has the byte %q, want letters, digits, - and _ only", at.Epoch, c)
		}
	}
	if at.Offset > channel.MaxOffset {
		x.failf("offset %d is beyond %d", at.Offset, uint64(channel.MaxOffset))
	}
}

// publish publishes data on a log channel.
func (x *exam) publish(name string, p *channel.Policy, data string) channel.Ack {
	return x.send(&channel.PublishRequest{Channel: name, Policy: p, Data: []byte(data)})
}

// put sets a key.
func (x *exam) put(name string, p *channel.Policy, key, data string) channel.Ack {
	return x.send(&channel.PublishRequest{Channel: name, Policy: p, Op: channel.OpPut, Key: key, Data: []byte(data)})
}

// del deletes a key.
func (x *exam) del(name string, p *channel.Policy, key string) channel.Ack {
	return x.send(&channel.PublishRequest{Channel: name, Policy: p, Op: channel.OpDelete, Key: key})
}

// send publishes and fails if that does.
func (x *exam) send(r *channel.PublishRequest) channel.Ack {
	ack, err := x.e.Publish(x.ctx, r)
	x.ok(err, "Publish on "+r.Channel)
	x.plausible(ack.Position)
	if ack.Offset == 0 {
		x.failf("Publish on %s: offset 0 is before the first", r.Channel)
	}
	return ack
}

// fill publishes n payloads "1" to "n" and returns the positions, with that
// before the first at index 0.
func (x *exam) fill(name string, p *channel.Policy, n int) []channel.Position {
	at := []channel.Position{x.top(name, p)}
	for i := range n {
		at = append(at, x.publish(name, p, fmt.Sprint(i+1)).Position)
	}
	return at
}

func (x *exam) read(r *channel.ReadRequest) channel.ReadResult {
	res, err := x.e.Read(x.ctx, r)
	x.ok(err, "Read "+r.Channel)
	x.plausible(res.Top)
	for i, p := range res.Pubs {
		if p == nil {
			x.failf("Read %s: entry %d is nil", r.Channel, i)
		}
	}
	return res
}

// since reads everything after a position.
func (x *exam) since(name string, p *channel.Policy, at channel.Position) channel.ReadResult {
	return x.read(&channel.ReadRequest{Channel: name, Policy: p, Since: at, Limit: -1})
}

// top returns the position of the last publication.
func (x *exam) top(name string, p *channel.Policy) channel.Position {
	return x.read(&channel.ReadRequest{Channel: name, Policy: p}).Top
}

// snapshot reads all pages.
func (x *exam) snapshot(name string, p *channel.Policy) ([]*channel.Publication, channel.Position) {
	var all []*channel.Publication
	r := &channel.SnapshotRequest{Channel: name, Policy: p}
	page := x.page(r)
	at := page.At
	for {
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, at
		}
		r.Cursor = page.Next
		page = x.page(r)
	}
}

func (x *exam) page(r *channel.SnapshotRequest) channel.StatePage {
	page, err := x.e.Snapshot(x.ctx, r)
	x.ok(err, "Snapshot "+r.Channel)
	x.plausible(page.At)
	return page
}

// chain fails unless publications follow each other, beginning after from.
func (x *exam) chain(what string, pubs []*channel.Publication, from channel.Position) {
	last := from
	for i, p := range pubs {
		if p.Epoch != from.Epoch {
			x.failf("%s: publication %d is of epoch %q, want %q", what, i, p.Epoch, from.Epoch)
		}
		if p.Prev != last.Offset || p.Offset <= p.Prev {
			x.failf("%s: publication %d has offset %d and prev %d after offset %d", what, i, p.Offset, p.Prev, last.Offset)
		}
		if x.e.Caps().Dense && p.Offset != p.Prev+1 {
			x.failf("%s: publication %d has offset %d after %d, and the engine says it is dense", what, i, p.Offset, p.Prev)
		}
		last = p.Position
	}
}

// same fails unless two lists hold equal publications.
func (x *exam) same(what string, got, want []*channel.Publication) {
	if len(got) != len(want) {
		x.failf("%s: %d publications %s, want %d %s", what, len(got), offsets(got), len(want), offsets(want))
	}
	for i := range got {
		if digest(got[i]) != digest(want[i]) {
			x.failf("%s: publication %d is\n%+v, want\n%+v", what, i, *got[i], *want[i])
		}
	}
}

// offsets shows where publications are, for messages.
func offsets(pubs []*channel.Publication) string {
	var all []uint64
	for _, p := range pubs {
		all = append(all, p.Offset)
	}
	if len(all) > 20 {
		return fmt.Sprintf("at %v ... %v", all[:10], all[len(all)-10:])
	}
	return fmt.Sprintf("at %v", all)
}

// datas returns the payloads.
func datas(pubs []*channel.Publication) []string {
	all := []string{}
	for _, p := range pubs {
		all = append(all, string(p.Data))
	}
	return all
}
