package hub_test

import (
	"fmt"
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
		// reply is what is still to come of a reply.
		reply int
		// seen is the data of every publication it got, by offset.
		seen   map[channel.Position]string
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

// hear takes a line. It is a wire's hear.
func (r *reader) hear(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := strings.SplitN(line, " ", 6)
	switch {
	case f[0] == "bye":
		r.endLocked(f[1] == "3010" || f[1] == "3008")
	case len(f) < 2 || f[1] != r.name:
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
	r.mu.live, r.mu.reply = true, int(n)
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
	r.mu.reply = max(r.mu.reply-1, 0)
	r.mu.at = at
	r.mu.seen[at] = f[5]
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

// gone notes that the connection ended without a word.
func (r *reader) gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.live = false
}

// attach makes the reader hear a client.
func (r *reader) attach(c *client) { c.listen(r.hear) }

// verify fails the test for what the reader should not have seen, held against
// the log of the channel.
func (r *reader) verify(t testing.TB, log []*channel.Publication) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.mu.broken {
		t.Errorf("the reader of %s: %s", r.name, b)
	}
	found := 0
	for _, p := range log {
		if d, ok := r.mu.seen[p.Position]; ok {
			found++
			if d != string(p.Data) {
				t.Errorf("offset %d of %s was %q, came as %q", p.Offset, r.name, p.Data, d)
			}
		}
	}
	if found != len(r.mu.seen) {
		t.Errorf("the reader of %s got %d publications that were never made", r.name, len(r.mu.seen)-found)
	}
}
