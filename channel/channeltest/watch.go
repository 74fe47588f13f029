package channeltest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"myelin/channel"
)

func watchChecks() []check {
	return []check{
		{"watch/unsubscribed", func(x *exam) { checkWatch(x, x.policy(10_000)) }},
		{"watch/ephemeral", func(x *exam) { checkWatch(x, x.ephemeral()) }},
		{"watch/state", checkWatchState},
		{"watch/beside-the-sink", checkWatchBeside},
		{"watch/other-namespaces", checkWatchOthers},
		{"watch/unwatch", checkUnwatch},
		{"watch/anew", checkWatchAnew},
		{"watch/close", checkWatchClose},
		{"watch/refused", checkWatchRefused},
		{"watch/feed-cut", checkWatchCut},
	}
}

// watcher keeps what it is handed, per channel.
type watcher struct {
	mu struct {
		sync.Mutex
		pubs   map[string][]*channel.Publication
		faults []string
	}
	busy   sync.Map
	gaps   atomic.Int64
	closed atomic.Bool
}

func newWatcher() *watcher {
	w := &watcher{}
	w.mu.pubs = make(map[string][]*channel.Publication)
	return w
}

func (w *watcher) Watched(p *channel.Publication) {
	_, busy := w.busy.LoadOrStore(p.Channel, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if busy {
		w.mu.faults = append(w.mu.faults, fmt.Sprintf("two calls for %q at the same time", p.Channel))
	}
	if w.closed.Load() {
		w.mu.faults = append(w.mu.faults, fmt.Sprintf("a call for %q after Close", p.Channel))
	}
	w.mu.pubs[p.Channel] = append(w.mu.pubs[p.Channel], p)
	w.busy.Delete(p.Channel)
}

func (w *watcher) Gap() { w.gaps.Add(1) }

func (w *watcher) got(name string) []*channel.Publication {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.mu.pubs[name])
}

// data returns the payloads that came of a channel, joined.
func (w *watcher) data(name string) string {
	var all []string
	for _, p := range w.got(name) {
		all = append(all, string(p.Data))
	}
	return strings.Join(all, " ")
}

func (x *exam) watch(p *channel.Policy) *watcher {
	w := newWatcher()
	x.ok(x.e.Watch(x.ctx, p, w), "Watch")
	return w
}

// sound fails for what the watcher noticed.
func (x *exam) sound(w *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mu.faults) > 0 {
		x.failf("the watcher saw: %q", w.mu.faults[0])
	}
}

// comes waits until exactly these payloads have come of a channel.
func (x *exam) comes(w *watcher, name string, want ...string) {
	x.eventually(func() string {
		if got := w.data(name); got != strings.Join(want, " ") {
			return fmt.Sprintf("of %q the watcher got %q, want %q", name, got, want)
		}
		return ""
	})
}

// checkWatch has eight publish on channels to which nobody subscribes.
func checkWatch(x *exam, p *channel.Policy) {
	const publishers, channels, each = 8, 5, 60
	w := x.watch(p)
	var acks [publishers][channels][]channel.Position
	x.parallel(publishers, func(i int) {
		for n := range each {
			for c := range channels {
				at := x.publish(fmt.Sprintf("watched:%d", c), p, fmt.Sprintf("%d/%d", i, n)).Position
				acks[i][c] = append(acks[i][c], at)
			}
		}
	})
	for c := range channels {
		name := fmt.Sprintf("watched:%d", c)
		x.eventually(func() string {
			if n := len(w.got(name)); n < publishers*each {
				return fmt.Sprintf("%d of %q came, %d were published", n, name, publishers*each)
			}
			return ""
		})
		next, last := [publishers]int{}, uint64(0)
		for _, pub := range w.got(name) {
			var i, n int
			if _, err := fmt.Sscanf(string(pub.Data), "%d/%d", &i, &n); err != nil || pub.Channel != name {
				x.failf("a watcher got %+v", *pub)
			}
			if n != next[i] {
				x.failf("of publisher %d came %d where %d is due", i, n, next[i])
			}
			next[i]++
			if !p.Recoverable() {
				continue
			}
			if pub.Offset <= last || pub.Position != acks[i][c][n] {
				x.failf("%q came at %v after %d, it was acknowledged at %v", pub.Data, pub.Position, last, acks[i][c][n])
			}
			last = pub.Offset
		}
	}
	x.pass(0.2)
	for c := range channels {
		if n := len(w.got(fmt.Sprintf("watched:%d", c))); n != publishers*each {
			x.failf("%d came, %d were published", n, publishers*each)
		}
	}
	x.sound(w)
	if n := w.gaps.Load(); n > 0 {
		x.failf("Gap was called %d times, although nothing was broken", n)
	}
}

func checkWatchState(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	w := x.watch(p)
	x.put("watched:s", p, "a", "1")
	x.put("watched:s", p, "b", "2")
	x.del("watched:s", p, "a")
	x.eventually(func() string {
		got := w.got("watched:s")
		if len(got) != 3 || got[0].Key != "a" || got[0].Op != channel.OpPut || got[1].Key != "b" || got[2].Op != channel.OpDelete {
			return fmt.Sprintf("%d changes came", len(got))
		}
		return ""
	})
	x.sound(w)
}

// checkWatchBeside subscribes to a channel that is watched: each gets its own.
func checkWatchBeside(x *exam) {
	for _, p := range []*channel.Policy{x.policy(1000), x.ephemeral()} {
		name := fmt.Sprintf("both:%d", p.HistorySize)
		w := x.watch(p)
		var want []string
		for i := range 30 {
			switch i {
			case 10:
				x.subscribe(name, p)
			case 20:
				x.eventually(func() string {
					if n := len(x.sink.got(name)); n != 10 {
						return fmt.Sprintf("the sink got %d of 10", n)
					}
					return ""
				})
				x.e.Unsubscribe(name)
			}
			x.publish(name, p, fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
		}
		x.comes(w, name, want...)
		if n := len(x.sink.got(name)); n != 10 {
			x.failf("the sink got %d of the 10 that were published while it was subscribed", n)
		}
		x.sound(w)
		x.e.Unwatch(p)
	}
}

func checkWatchOthers(x *exam) {
	p, other := x.policy(100), x.policy(100)
	other.Namespace = "other"
	quiet, quietOther := x.ephemeral(), x.ephemeral()
	quiet.Namespace, quietOther.Namespace = "quiet", "quieter"
	w, wq := x.watch(p), x.watch(quiet)
	x.publish("other:a", other, "no")
	x.publish("quieter:a", quietOther, "no")
	x.publish("test:a", p, "yes")
	x.publish("quiet:a", quiet, "yes")
	x.comes(w, "test:a", "yes")
	x.comes(wq, "quiet:a", "yes")
	x.pass(0.1)
	for _, of := range []*watcher{w, wq} {
		of.mu.Lock()
		n := len(of.mu.pubs)
		of.mu.Unlock()
		if n != 1 {
			x.failf("a watcher of one namespace got something of another")
		}
	}
}

func checkUnwatch(x *exam) {
	for _, p := range []*channel.Policy{x.policy(100), x.ephemeral()} {
		name := fmt.Sprintf("ended:%d", p.HistorySize)
		w := x.watch(p)
		x.publish(name, p, "1")
		x.comes(w, name, "1")
		x.e.Unwatch(p)
		x.publish(name, p, "2")
		x.pass(0.2)
		x.comes(w, name, "1")
		x.e.Unwatch(p) // is no error
	}
}

// checkWatchAnew holds that what is published behind Watch comes, and that a
// second watcher takes the place of the first.
func checkWatchAnew(x *exam) {
	p := x.policy(1000)
	for i := range 20 {
		name := fmt.Sprintf("anew:%d", i)
		first := x.watch(p)
		x.publish(name, p, "1")
		x.comes(first, name, "1")
		second := x.watch(p)
		x.publish(name, p, "2")
		x.comes(second, name, "2")
		if got := first.data(name); got != "1" {
			x.failf("a watcher whose place was taken got %q", got)
		}
		x.e.Unwatch(p)
	}
}

func checkWatchClose(x *exam) {
	p, quiet := x.policy(100), x.ephemeral()
	quiet.Namespace = "quiet"
	all := []*watcher{x.watch(p), x.watch(quiet)}
	var published atomic.Int64
	x.parallel(5, func(i int) {
		if i == 4 {
			x.until(func() bool { return published.Load() >= 200 })
			x.ok(x.e.Close(x.ctx), "Close")
			for _, w := range all {
				w.closed.Store(true)
			}
			return
		}
		for n := 0; ; n++ {
			r := &channel.PublishRequest{Channel: "test:c", Policy: p, Data: []byte("x")}
			if n%2 == 1 {
				r = &channel.PublishRequest{Channel: "quiet:c", Policy: quiet, Data: []byte("x")}
			}
			if _, err := x.e.Publish(x.ctx, r); err != nil {
				return
			}
			published.Add(1)
		}
	})
	x.refused(x.e.Watch(x.ctx, p, newWatcher()), "Watch after Close", channel.ErrUnavailable)
	x.e.Unwatch(p)
	x.pass(0.1)
	for _, w := range all {
		x.sound(w)
	}
}

func checkWatchRefused(x *exam) {
	x.refused(x.e.Watch(x.ctx, nil, newWatcher()), "Watch without a policy", channel.ErrBadRequest)
	x.refused(x.e.Watch(x.ctx, x.policy(1), nil), "Watch without a watcher", channel.ErrBadRequest)
	x.e.Unwatch(x.policy(1))
}

// checkWatchCut holds that a feed that was cut says so, or misses nothing.
func checkWatchCut(x *exam) {
	if x.f.Cut == nil {
		x.leaveOut("the feed of the engine cannot be cut")
	}
	x.sink.lossy.Store(true)
	p := x.policy(100)
	w := x.watch(p)
	x.publish("cut:w", p, "1")
	x.comes(w, "cut:w", "1")
	heal := x.f.Cut(x.tb, x.e)
	x.publish("cut:w", p, "2")
	heal()
	x.eventually(func() string {
		if w.gaps.Load() == 0 && w.data("cut:w") != "1 2" {
			return "something is missing and Gap was not called"
		}
		return ""
	})
	x.publish("cut:w", p, "3")
	x.eventually(func() string {
		if got := w.data("cut:w"); !strings.HasSuffix(got, "3") {
			return fmt.Sprintf("after the feed was healed the watcher got %q", got)
		}
		return ""
	})
	x.sound(w)
}
