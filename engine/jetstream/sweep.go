package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// A deleted key leaves its deletion in the stream, which says so to whoever
// reads. Once it has left the history it is swept away: first what was before
// it, then, when everybody who may have read that is done, the deletion itself.
// A mark says that deletions are gone, so that who knew the key reads anew.

const (
	// sweepAt is how many deletions wait for the broom.
	sweepAt = 64
	// rest is how long a deletion stays when nothing else is kept of its key. No
	// read takes as long.
	rest = 2 * time.Minute
	// sweepKey stands for the key in the subject of marks. No key is like it.
	sweepKey = ".%swept"
)

// sweepLater has the deletions of a channel swept away, where there are enough
// and nobody sweeps.
func (t *books) sweepLater(b *book, p *channel.Policy) {
	if len(b.tombs) < sweepAt || !t.sweeping.CompareAndSwap(false, true) {
		return
	}
	k := bookKey{b.stream, b.name}
	t.engine.work.Go(func() {
		defer t.sweeping.Store(false)
		if err := t.sweep(t.engine.ctx, k, p); err != nil {
			t.engine.warn("deletions could not be swept away", k.stream, err)
		}
	})
}

// sweep takes away what can go of the deletions of a channel.
func (t *books) sweep(ctx context.Context, k bookKey, p *channel.Policy) error {
	b, err := t.current(ctx, k)
	if err != nil {
		return err
	}
	defer t.close(b)
	st, err := t.engine.js.Stream(ctx, k.stream.name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", k.stream.name, err)
	}
	var ripe []string
	for key, d := range b.tombs {
		switch {
		case b.count-d.count <= uint64(p.HistorySize):
		case d.alone.IsZero():
			if err := st.Purge(ctx, natsjs.WithPurgeSubject(k.stream.keySubject(k.name, key)), natsjs.WithPurgeKeep(1)); err != nil {
				return fmt.Errorf("stream %s: %w", k.stream.name, err)
			}
			d.alone = time.Now()
			b.tombs[key] = d
		case time.Since(d.alone) >= t.engine.options.rest:
			ripe = append(ripe, key)
		}
	}
	if len(ripe) < sweepAt/2 {
		return nil
	}
	if _, err := b.write(ctx, &frame{kind: kindSwept}, ""); err != nil {
		if errors.Is(err, errElsewhere) {
			return nil // somebody writes; there is a next time
		}
		return err
	}
	for _, key := range ripe {
		subject := k.stream.keySubject(k.name, key)
		if err := st.Purge(ctx, natsjs.WithPurgeSubject(subject), natsjs.WithPurgeSequence(b.tombs[key].sequence+1)); err != nil {
			return fmt.Errorf("stream %s: %w", k.stream.name, err)
		}
		delete(b.tombs, key)
	}
	return nil
}
