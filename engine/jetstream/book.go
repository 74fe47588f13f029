package jetstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"myelin/channel"
)

// book is what a node knows of one state channel: its entries as of one
// message. It may be behind, which whoever writes finds out, as a stream takes
// a change only from who knows the last one. It is owned by who has the turn.
type book struct {
	stream *stream
	name   string
	// turn holds the right to use what follows.
	turn chan struct{}

	// epoch is "" where nothing is known yet.
	epoch string
	// head is the sequence of the last message, last the offset of the last
	// publication, and cleared the sequence of the last removal.
	head, last, cleared uint64
	at                  int64
	entries             map[string]*channel.Publication
	ends                ends
	// sorted are the keys in order; nil where they are to be sorted anew.
	sorted []string
	// tombs are the deleted keys of which messages are kept.
	tombs map[string]tomb
	// count is how many publications were seen since it was begun.
	count uint64

	// pins is how many use it or wait for it, and used when it was last let go.
	// Under the lock of books.
	pins int
	used time.Time
}

// tomb is a deletion: its sequence, and which publication it was.
type tomb struct {
	sequence, count uint64
	// alone is since when nothing else is kept of the key, as far as is known.
	alone time.Time
}

func newBook(k bookKey) *book {
	b := &book{stream: k.stream, name: k.name, turn: make(chan struct{}, 1)}
	b.begin("")
	return b
}

// begin forgets all.
func (b *book) begin(epoch string) {
	b.epoch = epoch
	b.head, b.last, b.cleared, b.at, b.count = 0, 0, 0, 0, 0
	b.entries = make(map[string]*channel.Publication)
	b.ends = ends{}
	b.tombs = make(map[string]tomb)
	b.sorted = nil
}

func (b *book) offset(key string) uint64 {
	if p := b.entries[key]; p != nil {
		return p.Offset
	}
	return 0
}

func (b *book) position() channel.Position {
	return channel.Position{Epoch: b.epoch, Offset: b.last}
}

// refresh brings the book up to where the leader of the stream is.
func (b *book) refresh(ctx context.Context) error {
	s := b.stream
	h, err := s.head(ctx, b.name)
	if err != nil {
		return err
	}
	if h.epoch != b.epoch {
		b.begin(h.epoch)
	}
	if h.sequence <= b.head {
		return nil
	}
	// What this node knew already may have been deleted, and the deletion swept
	// away; what it reads from the beginning is never swept while it reads.
	warm := b.head != 0
	return s.ask(ctx, func(ctx context.Context) error {
		for {
			part, err := s.engine.fetcher.get(ctx, s.name, query{Sequence: b.head + 1, Next: s.filter(b.name)})
			if err != nil {
				return err
			}
			if warm && slices.ContainsFunc(part.msgs, func(m message) bool { return m.kind == kindSwept }) {
				b.begin(h.epoch)
				warm = false
				continue
			}
			for i := range part.msgs {
				b.apply(&part.msgs[i])
			}
			if part.pending == 0 || len(part.msgs) == 0 {
				break
			}
		}
		if b.head < h.sequence {
			return errNoAnswer
		}
		if b.head > h.sequence {
			return s.confirm(ctx, b.name, b.head)
		}
		return nil
	})
}

// apply makes the change that a message says.
func (b *book) apply(m *message) {
	b.head, b.at = m.sequence, m.at
	switch m.kind {
	case kindCleared:
		cleared, last := m.sequence, m.last
		b.entries = make(map[string]*channel.Publication)
		b.ends = ends{}
		b.tombs = make(map[string]tomb)
		b.sorted = nil
		b.cleared, b.last = cleared, last
	case kindPublication:
		b.last = m.sequence
		b.count++
		old := b.entries[m.key]
		b.ends.set(m.key, 0)
		if m.op != channel.OpPut {
			delete(b.entries, m.key)
			b.tombs[m.key] = tomb{sequence: m.sequence, count: b.count}
			if old != nil {
				b.sorted = nil
			}
			return
		}
		delete(b.tombs, m.key)
		b.entries[m.key] = m.publication(b.name, b.epoch, m.prev)
		b.ends.set(m.key, m.due)
		if old == nil {
			b.sorted = nil
		}
	default:
		b.last = max(b.last, m.last)
	}
}

// keys returns the keys in order.
func (b *book) keys() []string {
	if b.sorted == nil {
		b.sorted = slices.Sorted(maps.Keys(b.entries))
	}
	return b.sorted
}

// settle publishes the end of entries that have outlived their time.
func (b *book) settle(ctx context.Context) error {
	for pause := minPause; ; {
		over := b.ends.over(time.Now().UnixMilli())
		if len(over) == 0 {
			return nil
		}
		for _, key := range over {
			_, err := b.write(ctx, &frame{kind: kindPublication, op: channel.OpExpire, key: key}, "")
			if errors.Is(err, errElsewhere) {
				// Somebody else was here, and may have done the same.
				if pause, err = wait(ctx, jitter(pause)); err != nil {
					return channel.ErrUnavailable.Wrap(err)
				}
				if err = b.refresh(ctx); err == nil {
					break
				}
			}
			if err != nil {
				return err
			}
		}
	}
}
