package hub_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"myelin/channel"
	"myelin/hub"
)

// reader follows one channel as a client does, over any number of
// connections, and notes what no client may see.
type reader struct {
	name string

	mu struct {
		sync.Mutex
		// at is where it stands; known says that it stands anywhere.
		at    channel.Position
		known bool
		// live: the reply has come and no end.
		live bool
		// leaving counts the ends it has asked for and not heard of: what is on
		// its way until then does not count.
		leaving int
		// line is the number of the connection it listens to.
		line int
		// filled counts the replies that recovered something.
		filled int
		// seen is the data of every publication it got; nil where that would
		// be too much.
		seen   map[channel.Position]string
		got    int // publications
		told   int // how often it heard that something is missing
		ended  int // how often a subscription or connection ended otherwise
		broken []string
	}
}

func newReader(name string) *reader {
	r := &reader{name: name}
	r.mu.seen = make(map[channel.Position]string)
	return r
}

// hear takes a line of a connection.
func (r *reader) hear(number int, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number != r.mu.line {
		return
	}
	f := strings.SplitN(line, " ", 6)
	switch {
	case f[0] == "bye":
		r.endLocked(f[1] == "3010")
	case len(f) < 2 || f[1] != r.name:
	case f[0] == "unsub" && f[2] == "0":
		r.mu.leaving--
	case r.mu.leaving > 0:
	case f[0] == "ok":
		r.okLocked(f, line)
	case f[0] == "pub":
		r.pubLocked(f, line)
	case f[0] == "unsub":
		r.endLocked(f[2] == "2500")
	}
}

func (r *reader) endLocked(told bool) {
	r.mu.live = false
	if told {
		r.mu.told++
	} else {
		r.mu.ended++
	}
}

func (r *reader) okLocked(f []string, line string) {
	if r.mu.live {
		r.breakLocked("a reply while subscribed: %s", line)
	}
	top := channel.Position{Epoch: f[2], Offset: number(f[3])}
	n, how := number(strings.Fields(f[5])[0]), f[4]
	r.mu.live = true
	if n > 0 {
		r.mu.filled++
	}
	switch {
	case how == "recovered" && !r.mu.known:
		r.breakLocked("recovered from nowhere: %s", line)
	case how == "recovered":
		// What follows has to lead from where it stands to top.
		if n == 0 && r.mu.at.Offset != top.Offset {
			r.breakLocked("recovered nothing from %d: %s", r.mu.at.Offset, line)
		}
	case how == "unrecovered":
		r.mu.told++
		r.mu.at, r.mu.known = top, true
	default:
		r.mu.at, r.mu.known = top, true
	}
	if how != "recovered" && n != 0 {
		r.breakLocked("publications without recovery: %s", line)
	}
}

func (r *reader) pubLocked(f []string, line string) {
	at := channel.Position{Epoch: f[2], Offset: number(f[3])}
	switch {
	case !r.mu.live:
		r.breakLocked("not subscribed: %s", line)
	case at.Epoch != r.mu.at.Epoch || number(f[4]) != r.mu.at.Offset:
		r.breakLocked("stands at %s %d, gets %s", r.mu.at.Epoch, r.mu.at.Offset, line)
	}
	r.mu.at = at
	r.mu.got++
	if r.mu.seen != nil {
		r.mu.seen[at] = f[5]
	}
}

func (r *reader) breakLocked(format string, args ...any) {
	if len(r.mu.broken) < 5 {
		r.mu.broken = append(r.mu.broken, fmt.Sprintf(format, args...))
	}
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 1 << 60 // in no sequence
	}
	return n
}

// request is what it asks for: everything since where it stands.
func (r *reader) request() hub.SubscribeRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hub.SubscribeRequest{Channel: r.name, Recover: r.mu.known, Since: r.mu.at}
}

// standing returns where it stands, and whether it is subscribed.
func (r *reader) standing() (at channel.Position, live bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.at, r.mu.live
}

func (r *reader) told() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.told
}

// filled returns how many replies recovered something.
func (r *reader) filled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.filled
}

// leave makes the reader deaf until the end of the subscription is said.
func (r *reader) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.leaving++
	r.mu.live = false
}

// attach makes the reader hear a client, and no other from now on.
func (r *reader) attach(c *client) {
	line := r.next()
	c.listen(func(text string) { r.hear(line, text) })
}

// next makes the reader listen to the next connection, and returns its number.
func (r *reader) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.line++
	r.mu.live, r.mu.leaving = false, 0
	return r.mu.line
}

// verify fails the test for what the reader should not have seen, held against
// the log of the channel.
func (r *reader) verify(t testing.TB, log []*channel.Publication) {
	t.Helper()
	for _, fault := range r.faults(log) {
		t.Errorf("the reader of %s: %s", r.name, fault)
	}
}

// faults returns what the reader should not have seen.
func (r *reader) faults(log []*channel.Publication) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.mu.broken)
	found := 0
	for _, p := range log {
		if d, ok := r.mu.seen[p.Position]; ok {
			found++
			if d != string(p.Data) {
				out = append(out, fmt.Sprintf("offset %d was %q, came as %q", p.Offset, p.Data, d))
			}
		}
	}
	if found != len(r.mu.seen) {
		out = append(out, fmt.Sprintf("got %d publications that were never made", len(r.mu.seen)-found))
	}
	return out
}
