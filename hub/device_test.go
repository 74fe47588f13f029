package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// device is one client of the simulation, over all its connections. It has one
// goroutine; what it hears comes from the hub's.
type device struct {
	sim    *simulation
	random *rand.Rand
	user   string
	// readers follow the channels that can be recovered; passing is an
	// ephemeral one.
	readers []*reader
	passing string
	// wake holds a token when there is something to look at.
	wake chan struct{}

	c *client // the connection of now, nil for none

	mu struct {
		sync.Mutex
		connection int
		over       bool // it has ended
		deaf       bool // it answers no pings
		stuck      bool // it did not read at some time
		pinged     time.Time
		expires    time.Time // zero for never
		offset     uint64    // of the ephemeral channel
		left       bool      // the ephemeral channel was ended
		broken     []string
	}
}

func (d *device) breakLocked(format string, args ...any) {
	if len(d.mu.broken) < 3 {
		d.mu.broken = append(d.mu.broken, fmt.Sprintf(format, args...))
	}
}

// connect opens a connection and identifies it.
func (d *device) connect() bool {
	c, err := d.sim.dial(nil)
	if err != nil {
		d.sim.count("refused")
		return false
	}
	expires := time.Now().Add(4 * d.sim.pace).Truncate(time.Second)
	d.mu.Lock()
	d.mu.connection++
	number := d.mu.connection
	d.mu.over, d.mu.deaf, d.mu.stuck = false, false, false
	d.mu.expires, d.mu.offset, d.mu.left = expires, 0, false
	d.mu.Unlock()
	lines := make(map[string]func(string), len(d.readers))
	for _, r := range d.readers {
		line := r.next()
		lines[r.name] = func(text string) { r.hear(line, text) }
	}
	c.listen(func(text string) { d.hear(c, number, lines, text) })
	d.c = c
	d.sim.count("connected")
	return c.Connect(&auth.Identity{User: d.user, ExpiresAt: expires.Unix()}) == nil
}

// hear takes a line of a connection. It must not wait.
func (d *device) hear(c *client, connection int, lines map[string]func(string), text string) {
	f := strings.Fields(text)
	d.mu.Lock()
	defer d.mu.Unlock()
	if connection != d.mu.connection {
		return // nobody listens to that one any more
	}
	switch f[0] {
	case "ping":
		d.mu.pinged = time.Now()
		if !d.mu.deaf && !c.Pong() {
			d.breakLocked("a pong was refused")
		}
	case "bye":
		d.byeLocked(f[1])
		fallthrough
	case closedLine:
		d.mu.over = true
		d.poke()
	case "join", "leave":
		d.sim.count(f[0])
	default:
		if f[1] == d.passing {
			d.passingLocked(f)
		} else if hear := lines[f[1]]; hear != nil {
			hear(text)
		}
		if f[0] == "unsub" {
			d.poke()
		}
	}
}

// byeLocked checks that a goodbye is deserved, and comes in time.
func (d *device) byeLocked(code string) {
	d.sim.count("bye " + code)
	late := func(due time.Time) bool {
		since := time.Since(due)
		return since < 0 || since > 2*tick
	}
	switch code {
	case "3008":
		if !d.mu.stuck {
			d.breakLocked("called slow, and always read")
		}
	case "3012":
		if !d.mu.deaf && !d.mu.stuck {
			d.breakLocked("no pong, and it answered")
		} else if !d.mu.stuck && late(d.mu.pinged.Add(simPong)) {
			d.breakLocked("pinged at %v, given up at %v", d.mu.pinged, time.Now())
		}
	case "3005":
		if !d.mu.stuck && late(d.mu.expires.Add(simDelay)) {
			d.breakLocked("expires at %v, ended at %v", d.mu.expires, time.Now())
		}
	case "3010", "3011", "3001":
	default:
		d.breakLocked("nobody expects %s", code)
	}
}

// passingLocked takes a line of the ephemeral channel: offsets go up.
func (d *device) passingLocked(f []string) {
	switch f[0] {
	case "unsub":
		d.mu.left = true
	case "pub":
		if offset := number(f[3]); offset <= d.mu.offset {
			d.breakLocked("offset %d after %d", offset, d.mu.offset)
		} else {
			d.mu.offset = offset
		}
	}
}

func (d *device) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// state returns what has become of the connection, and whether the ephemeral
// channel has to be joined again.
func (d *device) state() (over, left bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left, d.mu.left = d.mu.left, false
	return d.mu.over || d.c == nil, left
}

// mend connects where there is no connection and subscribes where it should be
// subscribed and is not. It reports whether all is well.
func (d *device) mend() bool {
	over, left := d.state()
	if over {
		if !d.connect() {
			return false
		}
		left = true
	}
	well := true
	for _, r := range d.readers {
		if _, live := r.standing(); !live {
			well = d.join(r) && well
		}
	}
	if left {
		d.mu.Lock()
		d.mu.offset = 0
		d.mu.Unlock()
		grant := &auth.Grant{Channel: d.passing, ExpiresAt: time.Now().Add(3 * time.Hour).Unix()}
		well = d.c.join(hub.SubscribeRequest{Channel: d.passing, Grant: grant}) == nil && well
	}
	return well
}

// join subscribes to what a reader follows, and waits for what it hears.
func (d *device) join(r *reader) bool {
	q := r.request()
	q.JoinLeave = d.random.IntN(4) == 0
	if d.c.join(q) != nil {
		d.sim.count("not subscribed")
		return false
	}
	d.sim.count("subscribed")
	return true
}

// live is the device's goroutine: until the end it acts now and then, and
// mends what broke.
func (d *device) live(ctx context.Context) {
	for ctx.Err() == nil {
		pause := time.NewTimer(time.Duration(d.random.Int64N(int64(2 * d.sim.pace))))
		select {
		case <-ctx.Done():
		case <-pause.C:
			d.act(ctx)
		case <-d.wake:
			// Clients come back after a while, not all at once.
			d.rest(ctx, 5*time.Second)
		}
		pause.Stop()
		d.mend()
		d.rest(ctx, time.Second)
	}
}

// rest lets some time pass.
func (d *device) rest(ctx context.Context, most time.Duration) {
	t := time.NewTimer(time.Duration(d.random.Int64N(int64(most))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// act does one thing that clients do.
func (d *device) act(ctx context.Context) {
	if over, _ := d.state(); over {
		return
	}
	r := d.readers[d.random.IntN(len(d.readers))]
	switch n := d.random.IntN(100); {
	case n < 45:
		d.publish(r.name)
	case n < 50:
		d.publish(d.passing)
	case n < 65: // leaves a channel, and comes again
		r.leave()
		d.c.UnsubscribeSaying(r.name, []byte("unsub "+r.name+" 0\n"))
		d.rest(ctx, time.Minute)
	case n < 75: // drops the connection
		d.abandon()
		d.c.Close(hub.DisconnectConnectionClosed)
		d.rest(ctx, 10*time.Minute)
	case n < 78: // vanishes, and the hub has to find out
		d.c.allow(0)
		d.abandon()
		d.sim.count("vanished")
		d.rest(ctx, time.Minute)
	case n < 82: // reads no more, for a while or until it is told to go
		d.mu.Lock()
		d.mu.stuck = true
		d.mu.Unlock()
		d.c.allow(0)
		d.rest(ctx, time.Hour)
		d.c.allow(-1)
	case n < 84:
		d.mu.Lock()
		d.mu.deaf = true
		d.mu.Unlock()
	case n < 92:
		d.refresh()
	case n < 96:
		_, _ = d.c.Session.Presence(r.name)
	default:
		_, _ = d.c.History(ctx, hub.HistoryRequest{Channel: r.name, Limit: 10})
	}
}

// abandon listens to the connection no more.
func (d *device) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.connection++
	d.mu.over = true
	for _, r := range d.readers {
		r.next()
	}
}

func (d *device) publish(name string) {
	_, err := d.c.Publish(context.Background(), &channel.PublishRequest{Channel: name, Data: []byte("of " + d.user)})
	if err != nil {
		d.sim.count("not published")
		return
	}
	d.sim.count("published")
}

func (d *device) refresh() {
	expires := time.Now().Add(4 * d.sim.pace).Truncate(time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c.Refresh(&auth.Identity{User: d.user, ExpiresAt: expires.Unix()}) == nil {
		d.mu.expires = expires
	}
}
