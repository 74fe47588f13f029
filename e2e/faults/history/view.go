package history

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// String names a place in a channel.
func (p Position) String() string {
	if p == (Position{}) {
		return "no position"
	}
	return fmt.Sprintf("%s/%d", p.Epoch, p.Offset)
}

// sighting is one who saw one publication.
type sighting struct {
	Position
	id  string
	who string
}

// epoch is one that somebody saw.
type epoch struct {
	name string
	// seen is when somebody was first told of it, and who.
	seen time.Duration
	who  string
}

// line is the publications of an epoch, as far as anybody saw them.
type line struct {
	ids     map[uint64]sighting
	offsets map[string]sighting
	// order is the offsets, sorted.
	order []uint64
}

// between returns the first publication between two offsets, both excluded.
func (l *line) between(after, before uint64) (sighting, bool) {
	if l == nil {
		return sighting{}, false
	}
	i := sort.Search(len(l.order), func(i int) bool { return l.order[i] > after })
	if i == len(l.order) || l.order[i] >= before {
		return sighting{}, false
	}
	return l.ids[l.order[i]], true
}

// view is all that a history tells of one channel.
type view struct {
	rule        Rule
	faults      []Fault
	tries       []Publish
	subscribers []*Subscriber
	readings    []Reading
	// finals are the readings after everything was over, final the last of them.
	finals []*Reading
	final  *Reading
	full   bool

	sightings []sighting
	lines     map[string]*line
	// epochs in the order in which they were first seen.
	epochs []epoch
	// conflict is the first sighting that contradicts another one.
	conflict *Violation
}

func newView(h *History, rule Rule) *view {
	v := &view{rule: rule, faults: h.Faults, full: h.Full, lines: make(map[string]*line)}
	for _, p := range h.Publishes {
		if p.Channel == rule.Channel {
			v.tries = append(v.tries, p)
		}
	}
	for _, s := range h.Subscribers {
		if s.Channel == rule.Channel {
			v.subscribers = append(v.subscribers, s)
		}
	}
	for i := range h.Readings {
		if r := &h.Readings[i]; r.Channel == rule.Channel {
			v.readings = append(v.readings, *r)
			if r.Final {
				v.finals, v.final = append(v.finals, r), r
			}
		}
	}
	v.gather()
	for _, l := range v.lines {
		slices.Sort(l.order)
	}
	return v
}

// gather collects who saw what.
func (v *view) gather() {
	first := make(map[string]epoch)
	met := func(name string, at time.Duration, who string) {
		if e, ok := first[name]; name != "" && (!ok || at < e.seen) {
			first[name] = epoch{name, at, who}
		}
	}
	for _, p := range v.tries {
		if p.Outcome == Acked && p.Epoch != "" {
			v.see(sighting{p.Position, p.ID, "the publisher " + p.Publisher})
			met(p.Epoch, p.Return, p.Publisher)
		}
	}
	for _, s := range v.subscribers {
		for _, step := range s.Steps {
			met(step.Epoch, step.At, s.Client)
			if step.Kind == Publication {
				v.see(sighting{step.Position, step.ID, s.Client})
			}
		}
	}
	for _, r := range v.readings {
		met(r.Epoch, r.Return, "a reader at "+r.Node)
		for _, k := range r.Kept {
			v.see(sighting{Position{r.Epoch, k.Offset}, k.ID, "a reader at " + r.Node})
		}
	}
	for _, e := range first {
		v.epochs = append(v.epochs, e)
	}
	slices.SortFunc(v.epochs, func(a, b epoch) int { return int(a.seen - b.seen) })
}

// see adds a sighting to its line, and notes where it contradicts another one.
func (v *view) see(s sighting) {
	v.sightings = append(v.sightings, s)
	l := v.lines[s.Epoch]
	if l == nil {
		l = &line{ids: make(map[uint64]sighting), offsets: make(map[string]sighting)}
		v.lines[s.Epoch] = l
	}
	if other, ok := l.ids[s.Offset]; !ok {
		l.ids[s.Offset] = s
		l.order = append(l.order, s.Offset)
	} else if other.id != s.id && v.conflict == nil {
		v.conflict = broken(PromiseOne, "%s is %q to %s and %q to %s", s.Position, other.id, other.who, s.id, s.who)
	}
	if other, ok := l.offsets[s.id]; !ok {
		l.offsets[s.id] = s
	} else if other.Offset != s.Offset && v.conflict == nil {
		v.conflict = broken(PromiseOne, "%q is %s to %s and %s to %s", s.id, other.Position, other.who, s.Position, s.who)
	}
}
