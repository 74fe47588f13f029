package rate

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// parts is how many locks a table has.
	parts = 16
	// sample is how many entries are looked at for one to forget.
	sample = 16
)

// Table is the meters of many sources by key. It forgets those that are idle,
// which changes nothing. Where more sources than it may hold are busy at once
// it forgets the least busy of a sample, which may then use its burst anew:
// what a flood of keys buys is a burst for each key, and no memory.
type Table[K comparable] struct {
	seed  maphash.Seed
	most  int
	notes bool
	parts [parts]part[K]
}

type part[K comparable] struct {
	mu struct {
		sync.Mutex
		meters map[K]Meter
		// used is what was admitted since Used was called, by key.
		used map[K]time.Duration
		// forgotten counts busy meters that had to go.
		forgotten int64
	}
}

// NewTable returns a table of at most most meters, give or take a few. With
// notes it keeps what was admitted for Used.
func NewTable[K comparable](most int, notes bool) *Table[K] {
	t := &Table[K]{seed: maphash.MakeSeed(), most: max(most/parts, 1), notes: notes}
	for i := range t.parts {
		t.parts[i].mu.meters = make(map[K]Meter)
		t.parts[i].mu.used = make(map[K]time.Duration)
	}
	return t
}

func (t *Table[K]) part(key K) *part[K] {
	return &t.parts[maphash.Comparable(t.seed, key)%parts]
}

// Take admits n units of a source, as Meter.Take does.
func (t *Table[K]) Take(key K, l Limit, n int64, now time.Duration) (wait time.Duration, ok bool) {
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mu.meters[key]
	if wait, ok = m.Take(l, n, now); !ok {
		return wait, false
	}
	p.keep(key, m, t.most, now)
	if t.notes {
		p.note(key, l.Cost(n), t.most)
	}
	return 0, true
}

// Give takes back what was admitted and not used.
func (t *Table[K]) Give(key K, l Limit, n int64) {
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.mu.meters[key]
	if !ok {
		return
	}
	m.Give(l, n)
	p.mu.meters[key] = m
	if t.notes {
		p.note(key, -l.Cost(n), t.most)
	}
}

// Charge adds what was admitted elsewhere, as Meter.Charge does.
func (t *Table[K]) Charge(key K, cost, now time.Duration) {
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mu.meters[key]
	m.Charge(cost, now)
	p.keep(key, m, t.most, now)
}

// Used returns what was admitted since the last call, in the time that it takes
// at the pace of its limit, of at most most sources; where more is true there
// are others, which the next call returns.
func (t *Table[K]) Used(most int) (used map[K]time.Duration, more bool) {
	used = make(map[K]time.Duration)
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		for key, n := range p.mu.used {
			if len(used) == most {
				p.mu.Unlock()
				return used, true
			}
			delete(p.mu.used, key)
			if n != 0 {
				used[key] = n
			}
		}
		p.mu.Unlock()
	}
	return used, false
}

// Len returns how many meters are held.
func (t *Table[K]) Len() int {
	n := 0
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		n += len(p.mu.meters)
		p.mu.Unlock()
	}
	return n
}

// Forgotten returns how many busy meters had to go for others since the last
// call.
func (t *Table[K]) Forgotten() int64 {
	var n int64
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		n += p.mu.forgotten
		p.mu.forgotten = 0
		p.mu.Unlock()
	}
	return n
}

// note adds to what Used returns. Beyond the bound other nodes are not told.
func (p *part[K]) note(key K, cost time.Duration, most int) {
	if _, known := p.mu.used[key]; known || len(p.mu.used) < most {
		p.mu.used[key] += cost
	}
}

// keep enters a meter, and makes room for a new one.
func (p *part[K]) keep(key K, m Meter, most int, now time.Duration) {
	if _, known := p.mu.meters[key]; !known {
		p.sweep(most, now)
	}
	p.mu.meters[key] = m
}

// sweep looks at a few meters, in the random order of a map, and forgets those
// that are idle. Twice as many go as come, so that idle ones do not pile up.
func (p *part[K]) sweep(most int, now time.Duration) {
	full := len(p.mu.meters) >= most
	looked, idle := 0, 0
	var least K
	var due time.Duration
	for key, m := range p.mu.meters {
		if m.Idle(now) {
			delete(p.mu.meters, key)
			if idle++; idle == 2 {
				return
			}
		} else if looked == 0 || m.due < due {
			least, due = key, m.due
		}
		if looked++; looked == sample || (looked == 2 && !full) {
			break
		}
	}
	if full && idle == 0 && looked > 0 {
		delete(p.mu.meters, least)
		p.mu.forgotten++
	}
}
