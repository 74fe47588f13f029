package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// TestCluster has three nodes be one server, with a fourth that stores nothing,
// and takes one after the other away.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	more := c.add("node-more", freeAddress(t), "--set", "cluster.storage=false")
	c.serving(more)
	for _, step := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"delivers everywhere", deliversEverywhere},
		{"keeps order for all publishers", keepsOrder},
		{"knows who is where", knowsWhoIsWhere},
		{"reaches clients anywhere", reachesClients},
		{"takes commands anywhere", takesCommands},
		{"bears a kill", bearsAKill},
		{"hands over", handsOver},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, c) }) {
			t.FailNow()
		}
	}
}

// deliversEverywhere publishes at each node and listens at all.
func deliversEverywhere(t *testing.T, c *cluster) {
	const channel = "log:everywhere"
	var all, live []*listener
	for _, n := range c.nodes {
		all = append(all, n.listen(t, channel, client.Options{}))
		live = append(live, n.listen(t, "live:everywhere", client.Options{}))
	}
	for i, n := range c.nodes {
		n.publish(t, channel, i)
		for j, l := range all {
			if got := l.next(t); got != i {
				t.Fatalf("what %s published is %d at %s, want %d", n.name, got, c.nodes[j].name, i)
			}
		}
		n.reach(t, "live:everywhere", i, live)
	}
	want := c.nodes[0].history(t, "log:everywhere")
	if strings.Count(want, `"data"`) != len(c.nodes) {
		t.Fatalf("the history is %s", want)
	}
	for _, n := range c.nodes[1:] {
		if got := n.history(t, "log:everywhere"); got != want {
			t.Errorf("at %s the history is %s, want %s", n.name, got, want)
		}
	}
}

// keepsOrder publishes at all nodes at once: everybody sees one order.
func keepsOrder(t *testing.T, c *cluster) {
	const channel, each = "log:order", 50
	var all []*listener
	for _, n := range c.nodes {
		all = append(all, n.listen(t, channel, client.Options{}))
	}
	var publishing sync.WaitGroup
	for i, n := range c.nodes {
		publishing.Go(func() {
			for k := range each {
				n.publish(t, channel, i*each+k)
			}
		})
	}
	publishing.Wait()
	if t.Failed() {
		return
	}
	first := make([]uint64, each*len(c.nodes))
	seen := map[int]bool{}
	for j, l := range all {
		for k := range first {
			p := wait(t, l.arrived, "publication")
			switch {
			case j == 0:
				first[k] = p.Position.Offset
				seen[k] = true
			case p.Position.Offset != first[k]:
				t.Fatalf("at %s number %d has offset %d, at %s %d", c.nodes[j].name, k, p.Position.Offset, c.nodes[0].name, first[k])
			}
			if k > 0 && first[k] <= first[k-1] {
				t.Fatalf("offset %d follows %d", first[k], first[k-1])
			}
		}
	}
}

// traffic publishes numbers at some nodes, one after the other, until it is
// stopped. A publish that fails is done again with the same id.
type traffic struct {
	stop chan struct{}
	done chan struct{}
	// What holds when it is done: how many were acknowledged, and the longest
	// time from the begin of a publish to its acknowledgement.
	count   int
	longest time.Duration
}

func newTraffic(t *testing.T, channel string, nodes ...*node) *traffic {
	tr := &traffic{stop: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer close(tr.done)
		defer cancel()
		// So slow that the history holds all of it; and a node that is down
		// refuses at once.
		pause := time.NewTicker(5 * time.Millisecond)
		defer pause.Stop()
		for {
			select {
			case <-tr.stop:
				return
			case <-pause.C:
			}
			begun := time.Now()
			for try := 0; ; try++ {
				n := nodes[(tr.count+try)%len(nodes)]
				_, err := n.api().Publish(ctx, channel, fmt.Appendf(nil, "%d", tr.count), client.PublishOptions{IdempotencyKey: fmt.Sprint(channel, tr.count)})
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					t.Errorf("number %d is still not published: %v", tr.count, err)
					return
				}
				<-pause.C
			}
			tr.count++
			tr.longest = max(tr.longest, time.Since(begun))
		}
	}()
	return tr
}

// end stops it and says how many were acknowledged.
func (tr *traffic) end() int {
	close(tr.stop)
	<-tr.done
	return tr.count
}

// exact checks that a listener got each number once, in order.
func exact(t *testing.T, who string, l *listener, count int) {
	t.Helper()
	for want := range count {
		if got := l.next(t); got != want {
			t.Fatalf("%s got %d, want %d", who, got, want)
		}
	}
}

// bearsAKill kills each node that stores, one at a time, under traffic. Who
// listens elsewhere gets everything; so does who comes back to the node that
// was killed.
func bearsAKill(t *testing.T, c *cluster) {
	for i, victim := range c.nodes[:3] {
		channel := fmt.Sprintf("log:kill-%d", i)
		others := append(append([]*node{}, c.nodes[:i]...), c.nodes[i+1:]...)
		there := victim.listen(t, channel, client.Options{MinBackoff: 50 * time.Millisecond, MaxBackoff: 200 * time.Millisecond})
		elsewhere := others[0].listen(t, channel, client.Options{})
		tr := newTraffic(t, channel, others...)
		if err := victim.signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := victim.wait(); err != nil {
			t.Fatal(err)
		}
		// Longer than an election.
		eventually(t, "publishing goes on", func() bool { return elsewhere.progress() > 20 })
		c.start(victim)
		c.serving(victim)
		info := wait(t, there.news, "resubscription")
		count := tr.end()
		t.Logf("%s was killed: %d publications, the longest took %v", victim.name, count, tr.longest.Round(time.Millisecond))
		if !info.Recovered {
			t.Errorf("who was at %s could not recover", victim.name)
		}
		exact(t, "who was elsewhere", elsewhere, count)
		exact(t, "who was at "+victim.name, there, count)
	}
}

// progress says how many publications have arrived and not been taken.
func (l *listener) progress() int { return len(l.arrived) }

// handsOver stops the nodes gracefully, one at a time: nobody waits for an
// election.
func handsOver(t *testing.T, c *cluster) {
	for i, leaver := range c.nodes[:3] {
		channel := fmt.Sprintf("log:leave-%d", i)
		others := append(append([]*node{}, c.nodes[:i]...), c.nodes[i+1:]...)
		elsewhere := others[0].listen(t, channel, client.Options{})
		tr := newTraffic(t, channel, others...)
		eventually(t, "publishing has begun", func() bool { return elsewhere.progress() > 5 })
		if err := leaver.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code, err := leaver.wait(); code != 0 || err != nil {
			t.Errorf("%s ended with %d (%v)", leaver.name, code, err)
		}
		so := elsewhere.progress()
		eventually(t, "publishing goes on", func() bool { return elsewhere.progress() > so+20 })
		c.start(leaver)
		c.serving(leaver)
		count := tr.end()
		t.Logf("%s was stopped: %d publications, the longest took %v", leaver.name, count, tr.longest.Round(time.Millisecond))
		exact(t, "who was elsewhere", elsewhere, count)
	}
}
