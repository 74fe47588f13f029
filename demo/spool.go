package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"myelin/client"
)

const (
	// SpoolTime is how much the patient keeps while the server is away.
	SpoolTime = 30 * time.Second
	// spoolLimit is SpoolTime of batches, and of heart beats at 200 a minute.
	spoolLimit = int(SpoolTime/batchPeriod) + int(SpoolTime/time.Second)*200/60
	// sendTimeout bounds one attempt to publish.
	sendTimeout = 5 * time.Second
	// retryPause is how long to wait before an attempt is repeated.
	retryPause = 200 * time.Millisecond
)

// publication is what waits to be published. Its id makes repeating harmless.
type publication struct {
	channel string
	id      string
	data    []byte
}

// spool keeps publications in order until the server has acknowledged them.
type spool struct {
	limit   int
	log     *slog.Logger
	refused int           // in a row; belongs to run
	wake    chan struct{} // capacity 1; a token says that there is something
	mu      struct {
		sync.Mutex
		items   []publication
		dropped int // since the last time the server was reached
	}
}

func newSpool(limit int, log *slog.Logger) *spool {
	return &spool{limit: limit, log: log, wake: make(chan struct{}, 1)}
}

// put adds a publication. It drops the oldest if there is no room.
func (s *spool) put(p publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.items) >= s.limit {
		s.mu.items = s.mu.items[1:]
		s.mu.dropped++
	}
	s.mu.items = append(s.mu.items, p)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *spool) take() (publication, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.items) == 0 {
		return publication{}, false
	}
	p := s.mu.items[0]
	s.mu.items = s.mu.items[1:]
	return p, true
}

// run publishes what is put until ctx ends. One at a time, or a repetition could
// change the order.
func (s *spool) run(ctx context.Context, c caller) {
	for {
		p, ok := s.take()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		s.deliver(ctx, c, p)
		if ctx.Err() != nil {
			return
		}
	}
}

// deliver publishes p, as often as it takes.
func (s *spool) deliver(ctx context.Context, c caller, p publication) {
	for {
		err := publishOnce(ctx, c, p)
		if err == nil {
			s.reached()
			return
		}
		e, answered := errors.AsType[*client.Error](err)
		final := answered && !e.Temporary
		if final {
			// The server will not have it, today or tomorrow.
			s.logRefusal(p, err)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return
		}
		if final {
			return
		}
	}
}

// logRefusal logs the first of many refusals, and every hundredth.
func (s *spool) logRefusal(p publication, err error) {
	if s.refused++; s.refused%100 == 1 {
		s.log.Warn("publication refused", "channel", p.channel, "error", err, "in_a_row", s.refused)
	}
}

// reached reports what was lost while the server was away.
func (s *spool) reached() {
	s.mu.Lock()
	s.refused = 0
	dropped := s.mu.dropped
	s.mu.dropped = 0
	s.mu.Unlock()
	if dropped > 0 {
		s.log.Warn("the server was away for too long", "dropped", dropped)
	}
}

// caller is what a spool needs of a client.
type caller interface {
	RPC(ctx context.Context, method string, data []byte) ([]byte, error)
}

// publishOnce publishes p by the method of the server that repetition does not
// harm.
func publishOnce(ctx context.Context, c caller, p publication) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := json.Marshal(struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
		ID      string          `json:"id"`
	}{p.channel, p.data, p.id})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", p.channel, err)
	}
	if _, err := c.RPC(ctx, "myelin.publish", req); err != nil {
		return fmt.Errorf("publish to %s: %w", p.channel, err)
	}
	return nil
}
