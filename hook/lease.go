package hook

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"myelin/channel"
)

// held is what the state channel keeps of a webhook: who sends, and what was
// taken.
type held struct {
	// Node and Incarnation are those of who sends; empty where nobody does.
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation,string"`
	Epoch       string `json:"epoch"`
	Offset      uint64 `json:"offset"`
	// Planned is where the delivery ends that may be under way, in the epoch
	// PlannedEpoch: whoever sends it again, and has more to send by then, ends it
	// there too, so that it is the same delivery.
	PlannedEpoch string `json:"planned_epoch,omitempty"`
	Planned      uint64 `json:"planned,omitempty"`
}

// lease is a sender's view of it. Every write is a compare-and-set on the one
// before, so that who was taken for dead finds out before it moves the cursor.
type lease struct {
	o    *SenderOptions
	name string
	// term is how long who says nothing is waited for.
	term time.Duration

	now held
	// at is the offset of the entry, seen when it was seen first, by this
	// node's clock alone: clocks of different nodes are not compared.
	at   uint64
	seen time.Time
	// mine: this sender holds it. unsaved: now is not what the entry is.
	mine, unsaved bool
}

// errDeposed says that another sender has taken over.
var errDeposed = errors.New("another node sends")

// look reads the entry and reports whether this sender may send, having taken
// the lease where it was free.
func (l *lease) look(ctx context.Context) (bool, error) {
	page, err := l.o.Engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: l.o.State, Policy: l.o.StatePolicy, Key: l.name})
	if err != nil {
		return false, err
	}
	var now held
	var at uint64
	if len(page.Items) > 0 {
		at = page.Items[0].Offset
		if err := json.Unmarshal(page.Items[0].Data, &now); err != nil {
			return false, err
		}
	}
	if at != l.at || l.seen.IsZero() {
		l.at, l.seen = at, time.Now()
	}
	l.now, l.unsaved = now, false
	switch {
	case at == 0, now.Node == "", l.o.Alone, now.Node == l.o.Node && now.Incarnation != l.o.Incarnation:
	case now.Node == l.o.Node:
		l.mine = true
		return true, nil
	case time.Since(l.seen) < l.term:
		return false, nil
	}
	l.now.Node, l.now.Incarnation = l.o.Node, l.o.Incarnation
	if err := l.write(ctx); err != nil {
		if errors.Is(err, errDeposed) {
			return false, nil
		}
		return false, err
	}
	l.mine = true
	return true, nil
}

// keep writes the entry where that is due, so that others know of this sender.
func (l *lease) keep(ctx context.Context) error {
	if time.Since(l.seen) < l.term/3 {
		return nil
	}
	return l.write(ctx)
}

// plan writes where the next delivery ends, and with it what was taken before.
func (l *lease) plan(ctx context.Context, to channel.Position) error {
	if !l.unsaved && l.planned() == to {
		return nil
	}
	l.now.PlannedEpoch, l.now.Planned, l.unsaved = to.Epoch, to.Offset, true
	return l.write(ctx)
}

// planned returns where the delivery ends that may be under way; it means
// nothing where that is not behind the cursor.
func (l *lease) planned() channel.Position {
	return channel.Position{Epoch: l.now.PlannedEpoch, Offset: l.now.Planned}
}

// move moves the cursor behind what was taken. It is written with the next
// plan, or by rest.
func (l *lease) move(to channel.Position) {
	l.now.Epoch, l.now.Offset, l.unsaved = to.Epoch, to.Offset, true
}

// rest writes what is due where nothing is to be sent.
func (l *lease) rest(ctx context.Context) error {
	if l.unsaved {
		return l.write(ctx)
	}
	return l.keep(ctx)
}

// free lets another sender take over at once.
func (l *lease) free(ctx context.Context) error {
	l.now.Node, l.now.Incarnation = "", 0
	return l.write(ctx)
}

func (l *lease) write(ctx context.Context) error {
	data, err := json.Marshal(l.now)
	if err != nil {
		return err
	}
	expect := l.at
	ack, err := l.o.Engine.Publish(ctx, &channel.PublishRequest{
		Channel: l.o.State, Policy: l.o.StatePolicy, Op: channel.OpPut, Key: l.name, Data: data, Expect: &expect,
	})
	if errors.Is(err, channel.ErrConflict) {
		l.mine = false
		return errDeposed
	}
	if err != nil {
		return err
	}
	l.at, l.seen, l.unsaved = ack.Offset, time.Now(), false
	return nil
}

// cursor returns what was taken last.
func (l *lease) cursor() channel.Position {
	return channel.Position{Epoch: l.now.Epoch, Offset: l.now.Offset}
}
