package memory

import (
	"context"

	"myelin/channel"
)

// Read returns what is kept after a position.
func (e *Engine) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if err := alive(ctx); err != nil {
		return channel.ReadResult{}, err
	}
	t, err := e.open(r.Channel, r.Policy, toLook)
	if err != nil {
		return channel.ReadResult{}, err
	}
	b := t.b
	if b == nil {
		known := r.Since.Epoch == "" || r.Since.Epoch == t.vacant.Epoch
		return channel.ReadResult{Top: t.vacant, Complete: !r.Reverse && known && r.Since.Offset == 0}, nil
	}
	defer e.leave(t)
	res := channel.ReadResult{Top: b.position()}
	if r.Since.Epoch != "" && r.Since.Epoch != b.epoch() {
		return res, nil
	}
	if r.Reverse {
		res.Pubs = b.readBack(r)
		return res, nil
	}
	res.Complete = r.Since.Offset >= b.floor() && r.Since.Offset <= b.mu.top
	res.Pubs = b.readOn(r)
	return res, nil
}

// readOn returns what is kept after Since, oldest first.
func (b *book) readOn(r *channel.ReadRequest) []*channel.Publication {
	if r.Since.Offset >= b.mu.top {
		return nil
	}
	from := 0
	if floor := b.floor(); r.Since.Offset > floor {
		from = int(r.Since.Offset - floor)
	}
	return take(cut(b.mu.ring.len()-from, r.Limit), r.MaxBytes, func(i int) *kept { return b.mu.ring.at(from + i) })
}

// readBack returns what is kept before Since, newest first.
func (b *book) readBack(r *channel.ReadRequest) []*channel.Publication {
	end := b.mu.ring.len()
	if !r.Since.IsZero() && r.Since.Offset <= b.mu.top {
		floor := b.floor()
		if r.Since.Offset <= floor {
			return nil
		}
		end = int(r.Since.Offset - floor - 1)
	}
	return take(cut(end, r.Limit), r.MaxBytes, func(i int) *kept { return b.mu.ring.at(end - 1 - i) })
}

// take returns the first n of what at gives, or as many as have no more than
// maxBytes of data together, but at least one. 0 has no such limit.
func take(n, maxBytes int, at func(i int) *kept) []*channel.Publication {
	if maxBytes > 0 {
		n = fitting(n, maxBytes, at)
	}
	if n == 0 {
		return nil
	}
	pubs := make([]*channel.Publication, n)
	for i := range pubs {
		pubs[i] = &at(i).Publication
	}
	return pubs
}

// fitting returns how many of n have no more than maxBytes of data together,
// but at least one.
func fitting(n, maxBytes int, at func(i int) *kept) int {
	bytes := 0
	for i := range n {
		bytes += len(at(i).Data)
		if bytes > maxBytes && i > 0 {
			return i
		}
	}
	return n
}

// cut returns how many of n a limit lets through.
func cut(n, limit int) int {
	if limit < 0 {
		return n
	}
	return min(n, limit)
}

// Remove forgets the kept publications and the entries of a channel, not its
// position and not the ids published on it.
func (e *Engine) Remove(ctx context.Context, name string, _ *channel.Policy) error {
	if err := alive(ctx); err != nil {
		return err
	}
	if err := e.running(); err != nil {
		return err
	}
	if err := channel.CheckName(name); err != nil {
		return err
	}
	s := e.shard(name)
	b := s.find(name)
	if b == nil {
		return nil
	}
	t := e.enter(s, b)
	if t.b == nil {
		s.bury(b, name)
		return e.running()
	}
	e.empty(b)
	e.leave(t)
	return nil
}

// empty lets go of all that is kept in b.
func (e *Engine) empty(b *book) {
	for b.mu.ring.len() > 0 {
		e.bytes.Add(-b.mu.ring.shift().size())
	}
	if b.mu.state == nil {
		return
	}
	for _, chunk := range b.mu.state.entries.chunks {
		for _, en := range chunk {
			e.bytes.Add(-en.pub.size())
		}
	}
	b.mu.state = &state{removals: b.mu.state.removals + 1}
}
