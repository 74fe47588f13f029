package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

const (
	// senderTick is how often a sender looks without being told to.
	senderTick = time.Second
	// leaseFor is how long a sender that says nothing is waited for, beside
	// twice the timeout of its requests.
	leaseFor = 10 * time.Second
	// readPubs and readBytes are how much is read of the lifecycle at a time.
	readPubs  = 100
	readBytes = 1 << 20
	// engineTimeout is how long the engine may take for one thing.
	engineTimeout = 10 * time.Second
)

// Webhook is who is told, and how.
type Webhook struct {
	Name, URL, Secret string
	// Events and Namespaces are what it is told of; empty is everything.
	Events, Namespaces []string
	// Timeout is how long one request may take, Batch about how many events it
	// holds.
	Timeout time.Duration
	Batch   int
	// MinPause and MaxPause are between two tries, GiveUp is after how long a
	// delivery is a dead letter.
	MinPause, MaxPause, GiveUp time.Duration
}

// SenderOptions is what a Sender is made of.
type SenderOptions struct {
	Webhook Webhook
	Engine  channel.Engine
	// Tap has poke called when there is something new on a channel.
	Tap func(ctx context.Context, name string, poke func()) (stop func(), err error)
	// Lifecycle is the channel that is read, State the state channel of leases
	// and cursors, Dead the log channel of dead letters, with their policies.
	Lifecycle, State, Dead                   string
	LifecyclePolicy, StatePolicy, DeadPolicy *channel.Policy
	// Node and Incarnation tell senders apart. Alone: there are no other nodes,
	// and whoever held the lease is gone.
	Node        string
	Incarnation uint64
	Alone       bool
	// Transport is as in Options.
	Transport *http.Transport
	Metrics   *observe.Metrics
	Logger    *slog.Logger
}

// Sender posts the lifecycle to one webhook.
type Sender struct {
	o       SenderOptions
	client  *http.Client
	metrics *observe.Webhook
	lease   lease
	wake    chan struct{}
}

// NewSender returns a sender that does nothing before Run.
func NewSender(o SenderOptions) *Sender {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{o: o, client: newClient(o.Transport, 2), metrics: o.Metrics.Webhook(o.Webhook.Name), wake: make(chan struct{}, 1)}
	s.lease = lease{o: &s.o, name: o.Webhook.Name, term: leaseFor + 2*o.Webhook.Timeout}
	return s
}

// Run sends until ctx ends. The engine has started.
func (s *Sender) Run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	poke := func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	if stop, err := s.o.Tap(ctx, s.o.Lifecycle, poke); err == nil {
		defer stop()
	}
	tick := time.NewTicker(senderTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.turn(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errDeposed) {
			s.o.Logger.Warn("a webhook waits for the engine", observe.KeyID, s.o.Webhook.Name, observe.KeyErr, err)
			s.pause(ctx, senderTick)
		}
		select {
		case <-tick.C:
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	if s.lease.mine {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTimeout/5)
		defer cancel()
		_ = s.lease.free(last) // another one would have it after a while
	}
}

// turn sends what there is, if it is this sender's to send.
func (s *Sender) turn(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if !s.lease.mine {
		if ok, err := s.lease.look(within); err != nil || !ok {
			s.metrics.Waiting.Set(0)
			s.metrics.Oldest.Set(0)
			return err
		}
	}
	for ctx.Err() == nil {
		more, err := s.step(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// letter is the body of one delivery.
type letter struct {
	Webhook string `json:"webhook"`
	// ID is the same for each try.
	ID     string          `json:"id"`
	Epoch  string          `json:"epoch"`
	Events []deliveryEvent `json:"events"`
	// Reason is why it is a dead letter.
	Reason string `json:"reason,omitempty"`
}

// deliveryEvent is an event with the offset of its publication.
type deliveryEvent struct {
	hub.LifecycleEvent
	Offset uint64 `json:"offset"`
}

// step reads what comes next and has it taken. It reports whether there may be
// more.
func (s *Sender) step(ctx context.Context) (more bool, err error) {
	within, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	from := s.lease.cursor()
	got, lost, err := s.read(within, from)
	if err != nil {
		return false, err
	}
	s.lag(&got, from)
	if len(got.Pubs) == 0 && !lost {
		return false, s.lease.rest(within)
	}
	batch, to := s.batch(&got, lost)
	if len(batch.Events) > 0 {
		if err := s.lease.plan(within, to); err != nil {
			return false, err
		}
		cancel()
		if err := s.deliver(ctx, &batch); err != nil {
			return false, err
		}
	} else if err := s.lease.keep(within); err != nil {
		return false, err
	}
	s.lease.move(to)
	return true, nil
}

// read reads behind the cursor, and says whether something was lost there.
func (s *Sender) read(ctx context.Context, from channel.Position) (got channel.ReadResult, lost bool, err error) {
	r := &channel.ReadRequest{Channel: s.o.Lifecycle, Policy: s.o.LifecyclePolicy, Since: from, Limit: readPubs, MaxBytes: readBytes}
	got, err = s.o.Engine.Read(ctx, r)
	if err != nil || from.IsZero() || got.Complete {
		return got, false, err
	}
	if got.Top.Epoch != from.Epoch {
		r.Since = channel.Position{}
		got, err = s.o.Engine.Read(ctx, r)
	}
	s.metrics.Lost.Inc()
	return got, true, err
}

// lag tells how far behind the webhook is.
func (s *Sender) lag(got *channel.ReadResult, from channel.Position) {
	s.metrics.Waiting.Set(0)
	s.metrics.Oldest.Set(0)
	if len(got.Pubs) > 0 {
		s.metrics.Waiting.Set(int64(got.Top.Offset - min(from.Offset, got.Top.Offset)))
		s.metrics.Oldest.Set(max(time.Now().UnixMilli()-got.Pubs[0].Time, 0) / 1000)
	}
}

// batch returns the next delivery, and the position behind it: the planned one
// if that is still to come.
func (s *Sender) batch(got *channel.ReadResult, lost bool) (letter, channel.Position) {
	out, to := letter{Webhook: s.o.Webhook.Name, Epoch: got.Top.Epoch}, channel.Position{Epoch: got.Top.Epoch}
	if lost {
		out.Events = append(out.Events, deliveryEvent{hub.LifecycleEvent{
			Event: hub.LifeLost, Time: time.Now().UnixMilli(), Node: s.o.Node, Reason: "the history does not reach back",
		}, 0})
		to.Offset = got.Top.Offset
	}
	first := to.Offset
	if len(got.Pubs) > 0 {
		first = got.Pubs[0].Offset
	}
	planned := s.lease.planned()
	again := planned.Epoch == to.Epoch && planned.Offset >= first
	for _, p := range got.Pubs {
		if again && p.Offset > planned.Offset || !again && len(out.Events) >= s.o.Webhook.Batch {
			break
		}
		to.Offset = p.Offset
		var b hub.LifecycleBatch
		if err := json.Unmarshal(p.Data, &b); err != nil {
			continue // not written by a server of this kind
		}
		for _, e := range b.Events {
			if s.wants(&e) {
				out.Events = append(out.Events, deliveryEvent{e, p.Offset})
			}
		}
	}
	out.ID = out.Epoch + "-" + strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(to.Offset, 10)
	return out, to
}

// wants reports whether the webhook is told of an event. Of nodes and losses it
// always is.
func (s *Sender) wants(e *hub.LifecycleEvent) bool {
	w := &s.o.Webhook
	switch e.Event {
	case hub.LifeNodeUp, hub.LifeNodeDown, hub.LifeLost:
		return true
	}
	if len(w.Events) > 0 && !slices.Contains(w.Events, e.Event) {
		return false
	}
	return len(w.Namespaces) == 0 || e.Concerns(w.Namespaces)
}

// deliver has a letter taken, or buries it. An error is the end of the lease,
// the engine's, or of ctx.
func (s *Sender) deliver(ctx context.Context, l *letter) error {
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	w := &s.o.Webhook
	pause, began := w.MinPause, time.Now()
	for {
		err := s.post(ctx, l.ID, body)
		switch {
		case err == nil:
			s.metrics.Delivered.Inc()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.metrics.Failures.Inc()
		if time.Since(began) >= w.GiveUp {
			return s.bury(ctx, l, err)
		}
		s.o.Logger.Warn("a webhook did not take a delivery; it is tried again", observe.KeyID, w.Name, observe.KeyDuration, pause, observe.KeyErr, err)
		for left := pause/2 + rand.N(pause/2+1); left > 0 && ctx.Err() == nil; left -= s.lease.term / 4 {
			s.pause(ctx, min(left, s.lease.term/4))
			if err := s.lease.keep(ctx); err != nil {
				return err
			}
		}
		pause = min(2*pause, w.MaxPause)
	}
}

// post tries once.
func (s *Sender) post(ctx context.Context, id string, body []byte) error {
	if err := s.lease.keep(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Webhook.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderSignature, Signature(s.o.Webhook.Secret, time.Now(), body))
	res, err := send(s.client, r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("status %d, want 2xx", res.StatusCode)
	}
	return nil
}

// bury keeps a letter that nobody takes.
func (s *Sender) bury(ctx context.Context, l *letter, why error) error {
	dead := *l
	dead.Reason = why.Error()
	data, err := json.Marshal(dead)
	if err != nil {
		return err
	}
	_, err = s.o.Engine.Publish(ctx, &channel.PublishRequest{Channel: s.o.Dead, Policy: s.o.DeadPolicy, Data: data, ID: l.ID})
	if err != nil {
		return err
	}
	s.metrics.Dead.Inc()
	s.o.Logger.Error("a delivery was given up; it is kept in the channel of dead letters",
		observe.KeyID, s.o.Webhook.Name, observe.KeyChannel, s.o.Dead, observe.KeyErr, why)
	return nil
}

func (s *Sender) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
