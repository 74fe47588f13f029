package disk

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"myelin/channel"
)

// dueID is a message id whose window may be over.
type dueID struct {
	due  []byte
	name string
	id   string
}

// forgetIDs forgets the message ids whose window is over. In memory it forgets
// as many as are in excess whether it is over or not.
func (e *Engine) forgetIDs(s *store, now, excess int64) error {
	for {
		early := !s.durable && excess > 0
		end := numbered(keyIDDue, uint64(now/minute)+1)
		if early {
			end = after([]byte{keyIDDue})
		}
		due, err := s.dueIDs(end)
		if err != nil || len(due) == 0 {
			return err
		}
		var last *ticket
		for _, d := range due {
			if last, err = e.forgetID(s, d, now, early); err != nil {
				return err
			}
		}
		excess -= int64(len(due))
		if err := e.wait(last); err != nil {
			return err
		}
	}
}

// dueIDs returns the ids that come before end, a batch of them.
func (s *store) dueIDs(end []byte) ([]dueID, error) {
	i, err := s.iterate([]byte{keyIDDue}, end)
	if err != nil {
		return nil, err
	}
	var all []dueID
	for i.First(); i.Valid() && len(all) < sweepBatch; i.Next() {
		d := dueID{due: append([]byte{}, i.Key()...)}
		_, rest, ok := splitDue(d.due)
		if !ok || len(rest) == 0 || len(rest)-1 < int(rest[0]) {
			return nil, errors.Join(errDamaged, i.Close())
		}
		n := 1 + int(rest[0])
		d.name, d.id = string(rest[1:n]), string(rest[n:])
		all = append(all, d)
	}
	return all, errors.Join(i.Error(), i.Close())
}

// forgetID forgets one id, unless it was published anew. Nobody publishes on
// its channel meanwhile.
func (e *Engine) forgetID(s *store, d dueID, now int64, early bool) (t *ticket, err error) {
	err = e.alone(d.name, func(b *book) error {
		t = newTicket()
		t.batch = s.db.NewBatch()
		del(t.batch, d.due)
		gone, err := s.forgettable(b, d, now, early)
		if err != nil {
			return err
		}
		if gone {
			del(t.batch, idKey(d.name, d.id))
		}
		s.ids.Add(-1)
		return e.enter(s, t)
	})
	return t, err
}

// forgettable reports whether nobody can ask for an id any more.
func (s *store) forgettable(b *book, d dueID, now int64, early bool) (bool, error) {
	if early {
		return true, nil
	}
	if b != nil && b.mu.flight != nil && b.mu.flight.ids[d.id] != nil {
		return false, nil
	}
	record, err := s.get(idKey(d.name, d.id))
	if err != nil || record == nil {
		return false, err
	}
	r, err := parseID(record)
	return err == nil && now >= r.expires, err
}

// alone does something while nobody else is at a channel, with its book, nil
// where there is none.
func (e *Engine) alone(name string, do func(b *book) error) error {
	s := e.shard(name)
	for {
		b := s.find(name)
		if b == nil {
			if done, err := s.without(name, do); done {
				return err
			}
			continue
		}
		b.mu.Lock()
		if !b.mu.dead {
			defer b.mu.Unlock()
			return do(b)
		}
		b.mu.Unlock()
		s.remove(b)
	}
}

// without does something while a channel has no book. It reports false where
// it has one.
func (s *shard) without(name string, do func(b *book) error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.books[name] != nil {
		return false, nil
	}
	s.claims.Lock()
	defer s.claims.Unlock()
	return true, do(nil)
}

// known finds a message id: the ticket of one under way, or where it was
// published.
func (e *Engine) known(b *book, id string) (*ticket, channel.Ack, error) {
	if id == "" {
		return nil, channel.Ack{}, nil
	}
	if f := b.mu.flight; f != nil && f.ids[id] != nil {
		return f.ids[id], channel.Ack{Duplicate: true}, nil
	}
	at, ok, err := e.idsOf(b).findID(b.name, id, e.clock.now())
	if err != nil {
		return nil, channel.Ack{}, e.failed(b.name, err)
	}
	return nil, channel.Ack{Position: at, Duplicate: ok}, nil
}

// idsOf returns the store that remembers the ids of a channel.
func (e *Engine) idsOf(b *book) *store {
	if b.mu.store == nil {
		return e.memory
	}
	return b.mu.store
}

func (s *store) findID(name, id string, now int64) (channel.Position, bool, error) {
	record, err := s.get(idKey(name, id))
	if err != nil || record == nil {
		return channel.Position{}, false, err
	}
	found, err := parseID(record)
	if err != nil || now >= found.expires {
		return channel.Position{}, false, err
	}
	return found.at, true, nil
}

func (e *Engine) setID(s *store, batch *pebble.Batch, name, id string, r idRecord) {
	set(batch, idKey(name, id), r.encode())
	set(batch, idDueKey(minuteAfter(r.expires), name, id), nil)
	if !s.durable && s.ids.Add(1) > int64(e.options.MaxMemoryIDs) {
		e.sweeper.hurry()
	}
}
