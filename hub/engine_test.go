package hub_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

// fake is an engine that is right at heart: it keeps one log for each channel,
// with offsets that need not be dense. What lies between it and the hub is the
// test's to bend, by hooks that are set before the first use. A nil hook
// leaves its call as it is.
type fake struct {
	// feed hands a publication on. It is called in order, under the channel's
	// lock.
	feed func(next channel.Sink, p *channel.Publication)
	// subscribing, subscribed and reading are called outside of all locks,
	// and may wait or fail.
	subscribing func(ctx context.Context, name string) error
	subscribed  func(ctx context.Context, name string) error
	reading     func(ctx context.Context, r *channel.ReadRequest) error
	// leaving is called before Unsubscribe does anything.
	leaving func(name string)
	// stride is how far apart offsets are; 0 is 1.
	stride uint64
	// forgetful: log has nothing.
	forgetful bool
	// most is how many bytes the longest answer to Read was, and a bit.
	most atomic.Int64

	sink channel.Sink

	mu struct {
		sync.Mutex
		books map[string]*book
	}
}

// book is one channel of a fake.
type book struct {
	mu struct {
		sync.Mutex
		epochs     int
		top        channel.Position
		kept       []*channel.Publication
		log        []*channel.Publication // of all epochs, never forgotten
		subscribed bool
	}
}

func (f *fake) book(name string) *book {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.books == nil {
		f.mu.books = make(map[string]*book)
	}
	b := f.mu.books[name]
	if b == nil {
		b = &book{}
		b.renewLocked()
		f.mu.books[name] = b
	}
	return b
}

func (b *book) renewLocked() {
	b.mu.epochs++
	b.mu.top = channel.Position{Epoch: fmt.Sprint("e", b.mu.epochs)}
	b.mu.kept = nil
}

// renew begins a new epoch. The hub is told where lost is set.
func (f *fake) renew(name string, lost bool) {
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewLocked()
	if lost && b.mu.subscribed {
		f.sink.Lost(name)
	}
}

// log returns all that was ever published on a channel.
func (f *fake) log(name string) []*channel.Publication {
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mu.log)
}

// top returns the position of a channel.
func (f *fake) top(name string) channel.Position {
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.top
}

// feeding reports whether a channel is subscribed to.
func (f *fake) feeding(name string) bool {
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.subscribed
}

// Start is channel.Engine's.
func (f *fake) Start(_ context.Context, s channel.Sink) error {
	f.sink = s
	return nil
}

// Publish is channel.Engine's.
func (f *fake) Publish(_ context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	b := f.book(r.Channel)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &channel.Publication{
		Channel: r.Channel, Position: b.mu.top, Prev: b.mu.top.Offset,
		Data: r.Data, Info: r.Info, Time: time.Now().UnixMilli(),
	}
	p.Offset += max(f.stride, 1)
	b.mu.top = p.Position
	if !f.forgetful {
		b.mu.log = append(b.mu.log, p)
	}
	b.mu.kept = append(b.mu.kept, p)
	if over := len(b.mu.kept) - r.Policy.HistorySize; over > 0 {
		b.mu.kept = slices.Clone(b.mu.kept[over:])
	}
	if b.mu.subscribed {
		if f.feed != nil {
			f.feed(f.sink, p)
		} else {
			f.sink.Deliver(p)
		}
	}
	return channel.Ack{Position: p.Position}, nil
}

// Subscribe is channel.Engine's.
func (f *fake) Subscribe(ctx context.Context, name string, _ *channel.Policy) (channel.Position, error) {
	if f.subscribing != nil {
		if err := f.subscribing(ctx, name); err != nil {
			return channel.Position{}, err
		}
	}
	b := f.book(name)
	b.mu.Lock()
	b.mu.subscribed = true
	top := b.mu.top
	b.mu.Unlock()
	if f.subscribed != nil {
		return top, f.subscribed(ctx, name)
	}
	return top, nil
}

// Unsubscribe is channel.Engine's.
func (f *fake) Unsubscribe(name string) {
	if f.leaving != nil {
		f.leaving(name)
	}
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.subscribed = false
}

// Watch is channel.Engine's. Nothing is watched here.
func (f *fake) Watch(context.Context, *channel.Policy, channel.Watcher) error {
	return channel.ErrUnsupported
}

// Unwatch is channel.Engine's.
func (f *fake) Unwatch(*channel.Policy) {}

// Read is channel.Engine's.
func (f *fake) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if f.reading != nil {
		if err := f.reading(ctx, r); err != nil {
			return channel.ReadResult{}, err
		}
	}
	b := f.book(r.Channel)
	b.mu.Lock()
	defer b.mu.Unlock()
	res := channel.ReadResult{Top: b.mu.top}
	if r.Since.Epoch != "" && r.Since.Epoch != b.mu.top.Epoch {
		return res, nil
	}
	floor := b.mu.top.Offset
	if len(b.mu.kept) > 0 {
		floor = b.mu.kept[0].Prev
	}
	res.Complete = r.Since.Offset >= floor && r.Since.Offset <= b.mu.top.Offset
	size := 0
	for _, p := range b.mu.kept {
		if p.Offset <= r.Since.Offset || (r.Limit >= 0 && len(res.Pubs) >= r.Limit) {
			continue
		}
		if size += len(p.Data); r.MaxBytes > 0 && size > r.MaxBytes && len(res.Pubs) > 0 {
			break
		}
		res.Pubs = append(res.Pubs, p)
	}
	f.most.Store(max(f.most.Load(), int64(size)))
	return res, nil
}

// Snapshot is channel.Engine's. There are no state channels here.
func (f *fake) Snapshot(context.Context, *channel.SnapshotRequest) (channel.StatePage, error) {
	return channel.StatePage{}, channel.ErrUnsupported
}

// Remove is channel.Engine's.
func (f *fake) Remove(_ context.Context, name string, _ *channel.Policy) error {
	b := f.book(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.kept = nil
	return nil
}

// Caps is channel.Engine's.
func (f *fake) Caps() channel.Caps { return channel.Caps{Dense: f.stride < 2} }

// Close is channel.Engine's.
func (f *fake) Close(context.Context) error { return nil }

var _ channel.Engine = (*fake)(nil)
