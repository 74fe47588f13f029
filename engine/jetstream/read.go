package jetstream

import (
	"context"
	"errors"
	"slices"
	"time"

	"myelin/channel"
)

// head is where a channel is.
type head struct {
	epoch string
	// sequence is that of the last message of the channel, 0 where none is
	// kept; last is the offset of its last publication.
	sequence, last uint64
	at             int64
}

// head asks the leader of the stream where a channel is.
func (s *stream) head(ctx context.Context, name string) (head, error) {
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	h := head{epoch: s.epoch()}
	for pause := minPause; ; {
		msg, ok, err := s.engine.fetcher.last(ctx, s.name, s.subject(letterLog, name))
		if err == nil {
			if !ok {
				h.last = s.floor()
			} else {
				h.sequence, h.last, h.at = msg.sequence, msg.sequence, msg.at
				if msg.kind != kindPublication {
					h.last = msg.last
				}
			}
			return h, nil
		}
		if !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
			return head{}, err
		}
		next, over := wait(ctx, pause)
		if over != nil {
			return head{}, channel.ErrUnavailable.With("the stream of the namespace has no leader now").Wrap(errors.Join(over, err))
		}
		pause = next
	}
}

// floor returns the sequence up to which messages may have aged out.
func (s *stream) floor() uint64 { return 0 }

// Read returns what is kept after a position.
func (e *Engine) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if err := e.enter(ctx, r.Channel, r.Policy); err != nil {
		return channel.ReadResult{}, err
	}
	defer e.calls.end()
	if fleeting(r.Policy) {
		return e.breeze.read(r), nil
	}
	s, err := e.streams.of(ctx, r.Policy, false)
	if err != nil {
		return channel.ReadResult{}, err
	}
	h, err := s.head(ctx, r.Channel)
	if err != nil {
		return channel.ReadResult{}, err
	}
	res := channel.ReadResult{Top: channel.Position{Epoch: h.epoch, Offset: h.last}}
	if r.Since.Epoch != "" && r.Since.Epoch != h.epoch {
		return res, nil
	}
	if !r.Reverse && r.Since.Offset >= h.last && !(h.sequence == 0 || r.Since.IsZero()) {
		res.Complete = r.Since.Offset == h.last
		return res, nil
	}
	kept, err := s.scan(ctx, r.Channel, h)
	if err != nil {
		return channel.ReadResult{}, err
	}
	view := kept.view(r.Policy, time.Now())
	if len(kept.msgs) > 0 {
		res.Top.Offset = view.top
	}
	return view.answer(r, res), nil
}

// scan reads all that is kept of a channel, up to its head at least.
func (s *stream) scan(ctx context.Context, name string, h head) (kept, error) {
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	s.mu.Lock()
	k := kept{size: s.mu.keeps.size, floor: 0}
	s.mu.Unlock()
	subject := s.subject(letterLog, name)
	for pause := minPause; ; {
		b, err := s.engine.fetcher.get(ctx, s.name, query{Sequence: k.next(), Next: subject})
		if err == nil {
			k.add(b)
			if b.pending > 0 && len(b.msgs) > 0 {
				continue
			}
			if k.next() > h.sequence {
				return k, nil
			}
			err = errNoAnswer
		}
		if !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
			return kept{}, err
		}
		next, over := wait(ctx, pause)
		if over != nil {
			return kept{}, channel.ErrUnavailable.With("no node has all of the channel now").Wrap(errors.Join(over, err))
		}
		pause = next
	}
}

// kept is what a stream holds of one channel.
type kept struct {
	msgs []message
	// size is how many it may hold, and floor up to which sequence messages
	// may have aged out.
	size  int
	floor uint64
}

func (k *kept) next() uint64 {
	if n := len(k.msgs); n > 0 {
		return k.msgs[n-1].sequence + 1
	}
	return 1
}

func (k *kept) add(b batch) {
	k.msgs = append(k.msgs, b.msgs...)
	// While it was read the oldest may have gone, and left a hole: but never
	// among the last that there is room for.
	if most := max(0, k.size-int(b.pending)); len(k.msgs) > most {
		k.msgs = slices.Delete(k.msgs, 0, len(k.msgs)-most)
	}
}

// view is what a policy lets be seen of what is kept.
type view struct {
	// pubs are the messages, and before is the offset of the publication
	// before the first.
	pubs   []message
	before uint64
	// top is the offset of the last publication, floor where a read must begin
	// at least to be complete.
	top, floor uint64
}

func (k kept) view(p *channel.Policy, now time.Time) view {
	full := len(k.msgs) >= k.size
	v := view{}
	msgs := k.msgs
	cleared := false
	for i := len(msgs) - 1; i >= 0; i-- {
		if msgs[i].kind == kindCleared {
			msgs = msgs[i:]
			cleared = true
			break
		}
	}
	switch {
	case len(msgs) == 0:
		v.floor, v.before, v.top = k.floor, k.floor, k.floor
		return v
	case msgs[0].kind != kindPublication:
		v.floor = msgs[0].last
		v.before = msgs[0].last
	case full || cleared:
		v.floor = msgs[0].sequence
		v.before = msgs[0].sequence - 1
	default:
		v.floor = min(k.floor, msgs[0].sequence)
		v.before = v.floor
	}
	v.top = v.before
	for _, m := range msgs {
		if m.kind == kindPublication {
			v.pubs = append(v.pubs, m)
			v.top = m.sequence
		}
	}
	hide := max(0, len(v.pubs)-p.HistorySize)
	if p.HistoryTTL > 0 {
		for hide < len(v.pubs) && v.pubs[hide].at <= now.Add(-p.HistoryTTL).UnixNano() {
			hide++
		}
	}
	if hide > 0 {
		v.before = v.pubs[hide-1].sequence
		v.floor = max(v.floor, v.before)
		v.pubs = v.pubs[hide:]
	}
	return v
}

// answer makes the answer to a request of what can be seen.
func (v view) answer(r *channel.ReadRequest, res channel.ReadResult) channel.ReadResult {
	since := r.Since.Offset
	if !r.Reverse {
		res.Complete = since >= v.floor && since <= res.Top.Offset
	}
	var pubs []*channel.Publication
	prev := v.before
	for i := range v.pubs {
		m := &v.pubs[i]
		pubs = append(pubs, m.publication(r.Channel, res.Top.Epoch, prev))
		prev = m.sequence
	}
	if r.Reverse {
		slices.Reverse(pubs)
		if !r.Since.IsZero() && since <= res.Top.Offset {
			pubs = slices.DeleteFunc(pubs, func(p *channel.Publication) bool { return p.Offset >= since })
		}
	} else {
		pubs = slices.DeleteFunc(pubs, func(p *channel.Publication) bool { return p.Offset <= since })
		if since > res.Top.Offset {
			pubs = nil
		}
	}
	if r.Limit >= 0 && len(pubs) > r.Limit {
		pubs = pubs[:r.Limit]
	}
	res.Pubs = fitting(pubs, r.MaxBytes)
	return res
}

// fitting returns the beginning of pubs with at most so many bytes of data, at
// least one.
func fitting(pubs []*channel.Publication, most int) []*channel.Publication {
	size := 0
	for i, p := range pubs {
		if size += len(p.Data); most > 0 && size > most && i > 0 {
			return pubs[:i]
		}
	}
	return pubs
}
