package disk

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"

	"myelin/channel"
)

// condition is how a disk is doing.
type condition int

const (
	conditionGood condition = iota
	// conditionFull: the disk is full. It heals by itself.
	conditionFull
	// conditionFailing: tables cannot be written. It heals by itself.
	conditionFailing
	// conditionFailed: something was not written of which nobody can say how
	// much was. It heals when the database was opened anew.
	conditionFailed
	// conditionGivenUp: it was opened anew too often. Only a restart heals it.
	conditionGivenUp
)

// health is what is known of the disk.
type health struct {
	log *slog.Logger
	mu  struct {
		sync.Mutex
		now   condition
		cause error
		// ill is closed while the disk is not good.
		ill chan struct{}
	}
}

func newHealth(log *slog.Logger) *health {
	h := &health{log: log}
	h.mu.ill = make(chan struct{})
	return h
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// worsen notes that the disk is not good. What has failed stays failed until
// heal.
func (h *health) worsen(to condition, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.now >= to {
		return
	}
	if h.mu.now == conditionGood {
		close(h.mu.ill)
	}
	h.mu.now, h.mu.cause = to, cause
	h.log.Error("the disk takes no more writes; what is kept can still be read", "why", to.words(), "err", cause)
}

// improve notes that a condition is over.
func (h *health) improve(from condition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.now != from {
		return
	}
	h.mu.now, h.mu.cause = conditionGood, nil
	h.mu.ill = make(chan struct{})
	h.log.Info("the disk takes writes again")
}

// failed reports whether something was not written of which nobody can say
// how much was, and it may still heal.
func (h *health) failed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.now == conditionFailed
}

// heal notes that the database was opened anew.
func (h *health) heal() { h.improve(conditionFailed) }

// ill returns a channel that is closed once the disk is not good.
func (h *health) ill() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.ill
}

// good reports whether the disk takes writes.
func (h *health) good() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.now == conditionGood
}

// err returns nil while the disk is good, else what to tell publishers.
func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.now == conditionGood {
		return nil
	}
	return channel.ErrUnavailable.With(h.words()).Wrap(h.mu.cause)
}

// unknown returns what to tell a publisher whose publication is under way.
func (h *health) unknown() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return channel.ErrUnknownOutcome.With(h.words()).Wrap(h.mu.cause)
}

// words says what is wrong now. The lock is held.
func (h *health) words() string {
	if h.mu.now == conditionFailing && isFull(h.mu.cause) {
		return conditionFull.words()
	}
	return h.mu.now.words()
}

// words says what is wrong and what would be right.
func (c condition) words() string {
	switch c {
	case conditionFull:
		return "the disk is full; it goes on as soon as there is room"
	case conditionFailing:
		return "the disk fails to write; it goes on as soon as that works"
	case conditionFailed:
		return "the disk has failed; it is opened anew as soon as it can be written"
	case conditionGivenUp:
		return "the disk has failed too often; replace or repair it, then restart"
	case conditionGood:
	}
	return "the disk is slow"
}
