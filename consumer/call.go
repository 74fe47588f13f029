package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"myelin/channel"
)

// What a request does.
const (
	doSync     = "sync"
	doAck      = "ack"
	doNack     = "nack"
	doProgress = "in_progress"
	doInfo     = "info"
	doExplain  = "explain"
	doSet      = "set"
	doSeek     = "seek"
	doDelete   = "delete"
)

// MaxAcks is how many publications one request may acknowledge.
const MaxAcks = 1000

// request is something for the worker of a consumer, wherever it is.
type request struct {
	Do   string `json:"do"`
	Full string `json:"full"`
	// From, Seats and People are a node's word who sits there.
	From   owner    `json:"from,omitzero"`
	Seats  []uint64 `json:"seats,omitempty"`
	People []person `json:"people,omitempty"`
	// Offsets of Epoch are acknowledged, or not, by the seat By; without it by
	// one who has shown that they were delivered to him.
	Epoch   string   `json:"epoch,omitempty"`
	Offsets []uint64 `json:"offsets,omitempty"`
	By      *uint64  `json:"by,omitempty"`
	// Anyway: it is an operator's word.
	Anyway bool          `json:"anyway,omitempty"`
	Delay  time.Duration `json:"delay,omitempty"`
	// Settings are new ones; Next and Epoch where to go on from.
	Settings *Settings `json:"settings,omitempty"`
	Next     uint64    `json:"next,omitempty"`
	// About is what is to be explained.
	About *question `json:"about,omitempty"`
}

// answer is what a request came to.
type answer struct {
	Done  int   `json:"done,omitempty"`
	Stale int   `json:"stale,omitempty"`
	Info  *Info `json:"info,omitempty"`
	// Finding is what became of a publication, and Sits whether who was asked
	// about has a seat.
	Finding *Finding `json:"finding,omitempty"`
	Sits    bool     `json:"sits,omitempty"`
}

// call has a request done by whoever owns the consumer. What was to be done by
// one that has just gone is tried once more.
func (m *Manager) call(ctx context.Context, r *request) (*answer, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := m.once(ctx, r)
	if errors.Is(err, channel.ErrUnavailable) && ctx.Err() == nil {
		out, err = m.once(ctx, r)
	}
	return out, err
}

func (m *Manager) once(ctx context.Context, r *request) (*answer, error) {
	w, node, err := m.find(ctx, r.Full)
	if err != nil {
		return nil, err
	}
	if w != nil {
		return w.handle(ctx, r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	b, err = m.bus.Request(ctx, node, topicCall, b)
	if err != nil {
		return nil, err
	}
	out := new(answer)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	return out, nil
}

// answerCall does what another node asks of a worker here.
func (m *Manager) answerCall(ctx context.Context, from channel.Node, b []byte) ([]byte, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	r := new(request)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	w, node, err := m.find(ctx, r.Full)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return nil, channel.ErrUnavailable.With("the consumer is at node " + node + ", not here; try again")
	}
	if r.Do == doSync {
		r.From.Node = from.ID
	}
	out, err := w.handle(ctx, r)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// handle has the worker do a request.
func (w *worker) handle(ctx context.Context, r *request) (*answer, error) {
	keep := r.Do != doSync && r.Do != doInfo && r.Do != doExplain && r.Do != doProgress
	out, err := w.ask(ctx, keep, func(now time.Time) (any, error) { return w.do(r, now) })
	if err != nil {
		return nil, err
	}
	if a, ok := out.(*answer); ok {
		return a, nil
	}
	return new(answer), nil
}

// do does a request in the worker's own goroutine.
func (w *worker) do(r *request, now time.Time) (*answer, error) {
	switch r.Do {
	case doSync:
		w.sync(r.From, r.Seats, r.People, now)
	case doAck, doNack, doProgress:
		return w.settle(r, now)
	case doInfo:
		return &answer{Info: w.info(now)}, nil
	case doSet:
		if r.Settings != nil {
			w.ledger.set = r.Settings.withDefaults()
			w.ledger.changed = true
		}
		return &answer{Info: w.info(now)}, nil
	case doSeek:
		w.ledger.seek(r.Epoch, r.Next)
		w.notes.begin(channel.Position{Epoch: r.Epoch, Offset: r.Next})
		w.behind = true
		return &answer{Info: w.info(now)}, nil
	case doExplain:
		if r.About != nil {
			return w.explain(r.About, now), nil
		}
	case doDelete:
		return w.erase()
	default:
		return nil, channel.ErrBadRequest.With("no such request; let all nodes be of one release")
	}
	return new(answer), nil
}

// settle does what is said about deliveries: all of it, or nothing where some
// of it may not be said.
func (w *worker) settle(r *request, now time.Time) (*answer, error) {
	if r.Epoch != "" && r.Epoch != w.ledger.epoch {
		return &answer{Stale: len(r.Offsets)}, nil
	}
	var by *seat
	if r.By != nil {
		by = &seat{r.From.Node, r.From.Incarnation, *r.By}
	}
	for _, offset := range r.Offsets {
		switch _, v := w.ledger.about(offset, by, r.Anyway); v {
		case verdictNever:
			w.count.Refused.Inc()
			return nil, channel.ErrBadRequest.With(fmt.Sprintf("offset %d was never delivered", offset))
		case verdictOthers:
			w.count.Refused.Inc()
			return nil, channel.ErrPermissionDenied.With(fmt.Sprintf(
				"offset %d is not with this subscription: its time is over, or another has it; use the token in the tag %s", offset, TagAck))
		default:
		}
	}
	out := new(answer)
	for _, offset := range r.Offsets {
		var v verdict
		switch r.Do {
		case doAck:
			v = w.ack(offset, by, r.Anyway, now)
		case doNack:
			v = w.ledger.nack(offset, by, r.Anyway, now.Add(r.Delay))
		default:
			v = w.ledger.progress(offset, by, r.Anyway, now)
		}
		if v == verdictDone {
			out.Done++
		} else {
			out.Stale++
		}
	}
	return out, nil
}

// erase forgets the consumer.
func (w *worker) erase() (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := w.m.registry.remove(ctx, w.full); err != nil {
		return nil, err
	}
	w.over, w.ledger.changed, w.again = true, false, nil
	return new(answer), nil
}

// info tells how the consumer stands.
func (w *worker) info(now time.Time) *Info {
	l := &w.ledger
	if w.behind || w.poked.Load() {
		// Where there is no room the channel has not been read for long.
		if r, err := w.read(w.m.ctx, l.next, 0, 0); err == nil {
			w.top = r.Top
		}
	}
	out := &Info{
		Consumer: w.name, Channel: w.source, Deliveries: w.full, Settings: l.set, Epoch: l.epoch, Next: l.next,
		Pending: len(l.entries), Unacked: l.outstanding(), Seats: len(l.members), Counts: l.counts, Node: w.m.self.Node, Created: w.created,
	}
	if w.top.Epoch == l.epoch && w.top.Offset > l.next {
		out.Behind = w.top.Offset - l.next
	}
	if at := l.oldest(); at > 0 {
		out.OldestAge = max(now.UnixMilli()-at, 0)
	}
	return out
}
