package jetstream

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

// bookKey finds a book.
type bookKey struct {
	stream *stream
	name   string
}

// books are the state channels that this node knows something of.
type books struct {
	engine *Engine
	dues   *dues
	// sweeping: deletions are being swept away.
	sweeping atomic.Bool
	mu       struct {
		sync.Mutex
		byKey map[bookKey]*book
	}
}

func newBooks(e *Engine) *books {
	t := &books{engine: e, dues: newDues()}
	t.mu.byKey = make(map[bookKey]*book)
	return t
}

// open returns the book of a channel, for its caller alone until he closes it.
func (t *books) open(ctx context.Context, k bookKey) (*book, error) {
	t.mu.Lock()
	b := t.mu.byKey[k]
	if b == nil {
		b = newBook(k)
		t.mu.byKey[k] = b
	}
	b.pins++
	t.mu.Unlock()
	select {
	case b.turn <- struct{}{}:
		return b, nil
	case <-ctx.Done():
		t.unpin(b)
		return nil, channel.ErrUnavailable.With("the channel is busy").Wrap(ctx.Err())
	case <-t.engine.ctx.Done():
		t.unpin(b)
		return nil, channel.ErrUnavailable.With("it is closed")
	}
}

// close gives a book back.
func (t *books) close(b *book) {
	t.dues.set(bookKey{b.stream, b.name}, b.ends.first())
	<-b.turn
	t.unpin(b)
}

// unpin lets go of books that were not used for longest, beyond the limit.
func (t *books) unpin(b *book) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.pins--
	b.used = time.Now()
	if b.pins > 0 || len(t.mu.byKey) <= t.engine.options.MaxBooks {
		return
	}
	// Of a few, the one that was not used for longest: near enough.
	var oldest *book
	seen := 0
	for _, other := range t.mu.byKey {
		if other.pins == 0 && (oldest == nil || other.used.Before(oldest.used)) {
			oldest = other
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	if oldest != nil {
		k := bookKey{oldest.stream, oldest.name}
		delete(t.mu.byKey, k)
		if t.engine.feeds.get(k.name) == nil {
			t.dues.set(k, 0)
		}
	}
}

// evictionSample is how many books are looked at to find one to let go.
const evictionSample = 16

// settled returns where a state channel is once all that has ended in it has
// been published.
func (t *books) settled(ctx context.Context, s *stream, name string) (head, error) {
	b, err := t.current(ctx, bookKey{s, name})
	if err != nil {
		return head{}, err
	}
	defer t.close(b)
	return head{epoch: b.epoch, sequence: b.head, last: b.last, at: b.at}, nil
}

// current opens a book that is up to date and settled.
func (t *books) current(ctx context.Context, k bookKey) (*book, error) {
	ctx, cancel := t.engine.within(ctx)
	defer cancel()
	b, err := t.open(ctx, k)
	if err != nil {
		return nil, err
	}
	if err = b.refresh(ctx); err == nil {
		err = b.settle(ctx)
	}
	if err != nil {
		t.close(b)
		return nil, public(err)
	}
	return b, nil
}

// maxSettling is how many channels are settled at once when entries end.
const maxSettling = 16

// run publishes the ends of entries when they are due.
func (t *books) run() {
	slots := make(chan struct{}, maxSettling)
	var work sync.WaitGroup
	defer work.Wait()
	for {
		k, wait := t.dues.pop(time.Now())
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-t.dues.sooner:
				timer.Stop()
			case <-t.engine.stop:
				timer.Stop()
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-t.engine.stop:
			return
		}
		work.Go(func() {
			defer func() { <-slots }()
			b, err := t.current(t.engine.ctx, k)
			if err != nil {
				t.dues.add(k, time.Now().Add(maxPause).UnixMilli())
				t.engine.warn("the end of entries could not be published yet", k.stream, err)
				return
			}
			t.close(b)
		})
	}
}

// dues say which channels have entries that end, and when the first does.
type dues struct {
	// sooner gets a token when the first due is sooner than it was.
	sooner chan struct{}
	mu     struct {
		sync.Mutex
		heap  dueHeap
		byKey map[bookKey]*due
	}
}

type due struct {
	key   bookKey
	at    int64
	index int
}

func newDues() *dues {
	d := &dues{sooner: make(chan struct{}, 1)}
	d.mu.byKey = make(map[bookKey]*due)
	return d
}

// set says when the next entry of a channel ends, 0 for never.
func (d *dues) set(k bookKey, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setLocked(k, at)
}

// add says that an entry ends then.
func (d *dues) add(k bookKey, at int64) {
	if at == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.mu.byKey[k]; known == nil || at < known.at {
		d.setLocked(k, at)
	}
}

func (d *dues) setLocked(k bookKey, at int64) {
	known := d.mu.byKey[k]
	switch {
	case at == 0 && known == nil:
		return
	case at == 0:
		heap.Remove(&d.mu.heap, known.index)
		delete(d.mu.byKey, k)
	case known == nil:
		known = &due{key: k, at: at}
		d.mu.byKey[k] = known
		heap.Push(&d.mu.heap, known)
	default:
		known.at = at
		heap.Fix(&d.mu.heap, known.index)
	}
	if len(d.mu.heap) > 0 && d.mu.heap[0] == known {
		select {
		case d.sooner <- struct{}{}:
		default:
		}
	}
}

// pop takes out a channel that is due, or says how long until one is.
func (d *dues) pop(now time.Time) (k bookKey, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.mu.heap) == 0 {
		return k, time.Hour
	}
	first := d.mu.heap[0]
	if wait := time.UnixMilli(first.at).Sub(now); wait > 0 {
		return k, wait
	}
	heap.Pop(&d.mu.heap)
	delete(d.mu.byKey, first.key)
	return first.key, 0
}

// dueHeap has the soonest on top.
type dueHeap []*due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds a due.
func (h *dueHeap) Push(x any) {
	d := x.(*due)
	d.index = len(*h)
	*h = append(*h, d)
}

// Pop takes out the last one.
func (h *dueHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}

// jitter returns a pause of about that length, so that those who wait for the
// same do not meet again.
func jitter(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause)
}
