package channeltest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"myelin/channel"
)

// recorder is a Sink that keeps all it gets and notices what no Sink may see.
type recorder struct {
	mu struct {
		sync.Mutex
		feeds map[string]*feed
		lost  map[string]int
		// cleared counts the calls of Cleared.
		cleared map[string]int
		faults  []string
	}
	closed atomic.Bool
	// lossy says that Lost may be called.
	lossy atomic.Bool
	// slow makes every delivery take a few turns of the scheduler.
	slow atomic.Bool
}

// feed is what came on one channel.
type feed struct {
	busy atomic.Bool
	mu   struct {
		sync.Mutex
		pubs    []*channel.Publication
		digests []uint64
	}
}

func newRecorder() *recorder {
	r := &recorder{}
	r.mu.feeds = make(map[string]*feed)
	r.mu.lost = make(map[string]int)
	r.mu.cleared = make(map[string]int)
	return r
}

func (r *recorder) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.faults) < 5 {
		r.mu.faults = append(r.mu.faults, fmt.Sprintf(format, args...))
	}
}

func (r *recorder) feed(name string) *feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.mu.feeds[name]
	if f == nil {
		f = &feed{}
		r.mu.feeds[name] = f
	}
	return f
}

// Deliver keeps a publication.
func (r *recorder) Deliver(p *channel.Publication) {
	if r.closed.Load() {
		r.fault("a delivery on %q after Close returned", p.Channel)
	}
	f := r.feed(p.Channel)
	if !f.busy.CompareAndSwap(false, true) {
		r.fault("two deliveries on %q at the same time", p.Channel)
		return
	}
	defer f.busy.Store(false)
	// A second delivery at the same time gets its chance to show.
	runtime.Gosched()
	for range 10 {
		if !r.slow.Load() {
			break
		}
		runtime.Gosched()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.mu.pubs); n > 0 {
		if last := f.mu.pubs[n-1]; last.Epoch == p.Epoch && p.Offset <= last.Offset {
			r.fault("offset %d delivered after %d on %q", p.Offset, last.Offset, p.Channel)
		}
	}
	f.mu.pubs = append(f.mu.pubs, p)
	f.mu.digests = append(f.mu.digests, digest(p))
}

// Lost counts.
func (r *recorder) Lost(name string) {
	if r.closed.Load() {
		r.fault("Lost for %q after Close returned", name)
	}
	if !r.lossy.Load() {
		r.fault("Lost for %q, although nothing was broken", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.lost[name]++
}

// Cleared counts.
func (r *recorder) Cleared(name string) {
	if r.closed.Load() {
		r.fault("Cleared for %q after Close returned", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cleared[name]++
}

// losses returns how often Lost was called for a channel.
func (r *recorder) losses(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.lost[name]
}

// got returns what came on a channel so far.
func (r *recorder) got(name string) []*channel.Publication {
	f := r.feed(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mu.pubs)
}

// last returns the position of the last publication that came on a channel,
// and how many came.
func (r *recorder) last(name string) (channel.Position, int) {
	f := r.feed(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.mu.pubs)
	if n == 0 {
		return channel.Position{}, 0
	}
	return f.mu.pubs[n-1].Position, n
}

// verify fails the exam for what was noticed, and for publications that
// changed after they were delivered.
func (r *recorder) verify(x *exam) {
	r.mu.Lock()
	faults := slices.Clone(r.mu.faults)
	feeds := maps.Clone(r.mu.feeds)
	r.mu.Unlock()
	if len(faults) > 0 {
		x.failf("the sink saw: %q", faults)
	}
	for name, f := range feeds {
		f.mu.Lock()
		for i, p := range f.mu.pubs {
			if digest(p) != f.mu.digests[i] {
				faults = append(faults, fmt.Sprintf("publication %d on %q changed after its delivery", p.Offset, name))
			}
		}
		f.mu.Unlock()
	}
	if len(faults) > 0 {
		x.failf("%s", faults[0])
	}
}

// digest returns a hash of all that a publication says.
func digest(p *channel.Publication) uint64 {
	h := fnv.New64a()
	text := func(all ...string) {
		for _, s := range all {
			_ = binary.Write(h, binary.BigEndian, int64(len(s)))
			_, _ = h.Write([]byte(s))
		}
	}
	text(p.Channel, p.Epoch, p.Key, string(p.Data), p.ContentType)
	_ = binary.Write(h, binary.BigEndian, []uint64{p.Offset, p.Prev, uint64(p.Op), uint64(p.Time), uint64(p.Expires), uint64(p.Score), uint64(p.Base)})
	for _, k := range slices.Sorted(maps.Keys(p.Tags)) {
		text(k, p.Tags[k])
	}
	if i := p.Info; i != nil {
		text(i.User, i.Client, string(i.ConnInfo), string(i.ChanInfo))
	}
	return h.Sum64()
}

// await waits until a channel's feed has come to a position.
func (x *exam) await(name string, at channel.Position) []*channel.Publication {
	x.eventually(func() string {
		last, n := x.sink.last(name)
		if last == at {
			return ""
		}
		return fmt.Sprintf("%q has got %d publications up to %d, not yet %d", name, n, last.Offset, at.Offset)
	})
	return x.sink.got(name)
}
