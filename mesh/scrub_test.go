package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// replica describes what one node has of a stream.
type replica struct {
	first, last, msgs uint64
	firstAge          time.Duration
	maxAge            time.Duration
	memory            bool
	ttl               bool
	other             bool // of another stream of the same name
	behind            bool // this one leads and says that node x is behind
	copies            int
}

func (r replica) detail(now time.Time) *server.StreamDetail {
	d := &server.StreamDetail{
		Name: "S", Created: time.Unix(1, 0),
		Config:  &server.StreamConfig{Storage: server.FileStorage, Replicas: max(r.copies, 3), MaxAge: r.maxAge, AllowMsgTTL: r.ttl},
		State:   server.StreamState{FirstSeq: r.first, LastSeq: r.last, Msgs: r.msgs, FirstTime: now.Add(-r.firstAge)},
		Cluster: &server.ClusterInfo{Replicas: []*server.PeerInfo{{Name: "x", Current: !r.behind, Lag: 1}}},
	}
	if r.memory {
		d.Config.Storage = server.MemoryStorage
	}
	if r.other {
		d.Created = time.Unix(2, 0)
	}
	return d
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	whole := replica{first: 1, last: 100, msgs: 100}
	for _, c := range []struct {
		name  string
		own   replica
		peers []replica
		what  int
		lacks uint64
	}{
		{"all the same", whole, []replica{whole, whole}, int(mesh.VerdictWhole), 0},
		{"holes", replica{first: 1, last: 100, msgs: 90}, []replica{whole, whole}, int(mesh.VerdictLacks), 10},
		{"the fewest count", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 100, msgs: 95}}, int(mesh.VerdictLacks), 5},
		{"holes of a replica that begins earlier", replica{first: 1, last: 100, msgs: 50}, []replica{{first: 10, last: 100, msgs: 91}, {first: 10, last: 100, msgs: 91}}, int(mesh.VerdictLacks), 41},
		{"the begin", replica{first: 51, last: 100, msgs: 50}, []replica{whole, whole}, int(mesh.VerdictLacks), 50},
		{"everything", replica{first: 101, last: 100}, []replica{whole, whole}, int(mesh.VerdictLacks), 100},
		{
			"the begin, long before it is old",
			replica{first: 51, last: 100, msgs: 50, maxAge: time.Hour},
			[]replica{{first: 1, last: 100, msgs: 100, maxAge: time.Hour, firstAge: 30 * time.Minute}, {first: 1, last: 100, msgs: 100, maxAge: time.Hour, firstAge: 30 * time.Minute}},
			int(mesh.VerdictLacks), 50,
		},
		{
			"the begin is old",
			replica{first: 51, last: 100, msgs: 50, maxAge: time.Hour},
			[]replica{{first: 1, last: 100, msgs: 100, maxAge: time.Hour, firstAge: 59*time.Minute + time.Second}, {first: 1, last: 100, msgs: 100, maxAge: time.Hour, firstAge: 2 * time.Hour}},
			int(mesh.VerdictWhole), 0,
		},
		{
			"the begin is old by a limit that the others do not know yet",
			replica{first: 51, last: 100, msgs: 50, maxAge: time.Minute},
			[]replica{{first: 1, last: 100, msgs: 100, firstAge: 2 * time.Minute}, {first: 1, last: 100, msgs: 100, firstAge: 2 * time.Minute}},
			int(mesh.VerdictWhole), 0,
		},
		{"one of the others has too much", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 100, msgs: 90}}, int(mesh.VerdictWhole), 0},
		{"one of the others has lost more", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 100, msgs: 80}}, int(mesh.VerdictWhole), 0},
		{"more than the others", replica{first: 1, last: 100, msgs: 90}, []replica{{first: 1, last: 100, msgs: 80}, {first: 1, last: 100, msgs: 80}}, int(mesh.VerdictWhole), 0},
		{"one of the others is elsewhere", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 101, msgs: 101}}, int(mesh.VerdictNone), 0},
		{"one of the others is down", replica{first: 1, last: 100, msgs: 90}, []replica{whole}, int(mesh.VerdictNone), 0},
		{"it catches up", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 100, msgs: 100, behind: true}}, int(mesh.VerdictNone), 0},
		{"another stream", replica{first: 1, last: 100, msgs: 90}, []replica{whole, {first: 1, last: 100, msgs: 100, other: true}}, int(mesh.VerdictNone), 0},
		{"in memory", replica{first: 1, last: 100, msgs: 90, memory: true}, []replica{whole, whole}, int(mesh.VerdictNone), 0},
		{"messages with ends of their own", replica{first: 1, last: 100, msgs: 90, ttl: true}, []replica{whole, whole}, int(mesh.VerdictNone), 0},
		{"two of four", replica{first: 1, last: 100, msgs: 90, copies: 5}, []replica{whole, whole, {first: 1, last: 100, msgs: 90}, {first: 1, last: 100, msgs: 90}}, int(mesh.VerdictWhole), 0},
		{"three of four", replica{first: 1, last: 100, msgs: 90, copies: 5}, []replica{whole, whole, whole, {first: 1, last: 100, msgs: 90}}, int(mesh.VerdictLacks), 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var peers []*server.StreamDetail
			for _, p := range c.peers {
				peers = append(peers, p.detail(now))
			}
			if what, lacks := mesh.Judge(c.own.detail(now), peers, "x", now); what != c.what || lacks != c.lacks {
				t.Errorf("verdict %d, lacks %d; want %d and %d", what, lacks, c.what, c.lacks)
			}
		})
	}
}

// harms returns what is done to a file of messages.
func harms() map[string]func(file string, size int64) error {
	return map[string]func(file string, size int64) error{
		"flip": func(file string, size int64) error {
			b, err := os.ReadFile(file)
			if err == nil {
				b[size/3] ^= 1
				err = os.WriteFile(file, b, 0o600)
			}
			return err
		},
		"cut":   func(file string, size int64) error { return os.Truncate(file, size/2) },
		"empty": func(file string, _ int64) error { return os.Truncate(file, 0) },
	}
}

// harmed is a cluster whose last node was started after a file of it was
// damaged.
type harmed struct {
	*meshtest.Cluster
	dir  string
	said diary
}

// newHarmed publishes a few blocks of messages, and damages one of those of the
// last node, counted from the newest, while it is down, after a clean stop.
func newHarmed(t *testing.T, fromEnd int, harm func(file string, size int64) error) *harmed {
	t.Helper()
	c := new(harmed)
	c.Cluster = meshtest.New(t, 3, func(i int, o *mesh.Options) {
		if i == 2 {
			c.dir, o.Logger = o.StorePath, c.said.logger()
		}
	})
	eventually(t, func(ctx context.Context) error {
		_, err := c.Node(0).JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			// Blocks of small streams are small: 32 kB. What is in the window of
			// duplicates is read at every start.
			Name: "S", Subjects: []string{"s.>"}, Replicas: 3, MaxBytes: 127_000,
			Duplicates: 100 * time.Millisecond,
		})
		return err
	})
	publishMany(t, c.Node(0), 0, 300)
	c.whole(t) // two of three are enough for an acknowledgement
	c.Stop(2)
	publishMany(t, c.Node(0), 300, 310)
	blocks, err := filepath.Glob(filepath.Join(c.dir, "nats", "jetstream", "$G", "streams", "S", "msgs", "*.blk"))
	if err != nil || len(blocks) < 3 {
		t.Fatalf("the messages are in %v, %v", blocks, err)
	}
	file := blocks[len(blocks)-1-fromEnd]
	info, err := os.Stat(file)
	if err == nil {
		err = harm(file, info.Size())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Restart(2)
	c.Ready()
	publishMany(t, c.Node(0), 310, 320)
	return c
}

// whole waits until the last node has everything again.
func (c *harmed) whole(t *testing.T) {
	t.Helper()
	whole(t, c.Node(2))
}

// whole waits until a node of three has all that the others have of stream S,
// who have the same.
func whole(t *testing.T, n *mesh.Network) {
	t.Helper()
	scrubber := mesh.NewScrubber(n)
	eventually(t, func(context.Context) error {
		if scrubber.Look(t.Context()) != 0 || scrubber.Compared == 0 {
			return errors.New("it has not got everything: " + scrubber.States(t.Context(), "S"))
		}
		return nil
	})
}

// A node of three whose messages are damaged while it is down says so, is
// refused from then on, and gets everything anew in an empty directory.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	for name, harm := range harms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newHarmed(t, 1, harm)
			scrubber := mesh.NewScrubber(c.Node(2))
			eventually(t, func(context.Context) error {
				scrubber.Look(t.Context())
				if c.Node(2).Damage() == nil {
					return errors.New("no damage was noticed: " + scrubber.States(t.Context(), "S"))
				}
				return nil
			})
			err := c.Node(2).Healthy()
			if !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "stream S lacks") {
				t.Errorf("a damaged node is healthy: %v", err)
			}
			c.said.says(t, "messages are missing")
			for i := range 2 {
				other := mesh.NewScrubber(c.Node(i))
				for range 2 * mesh.ScrubLooks {
					if other.Look(t.Context()) != 0 {
						t.Fatalf("node %d accuses itself", i)
					}
				}
			}
			c.Stop(2)
			if again := c.Open(2); again == nil || again.Error() != err.Error() {
				t.Errorf("a directory that was found damaged opens with %v, want %v", again, err)
			}
			if err := os.RemoveAll(c.dir); err != nil {
				t.Fatal(err)
			}
			c.Restart(2)
			c.Ready()
			publishMany(t, c.Node(0), 320, 330)
			c.whole(t)
		})
	}
}

// What the newest file of a stream lost comes back from the others by itself.
func TestDamageOfTheLastMessagesHeals(t *testing.T) {
	t.Parallel()
	for name, harm := range harms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newHarmed(t, 0, harm).whole(t)
		})
	}
}

// publishMany publishes many messages of which a block of a small stream
// has about a hundred.
func publishMany(t *testing.T, n *mesh.Network, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		publish(t, n, fmt.Sprintf("%d %0120d", i, 0))
	}
}

// Under load that lets messages go in every way, and while nodes come back, no
// node accuses itself, not even one that looks many times a second.
func TestNoFalseAlarm(t *testing.T) {
	t.Parallel()
	c := meshtest.New(t, 3, nil)
	configs := []jetstream.StreamConfig{
		{Name: "old", MaxAge: 2 * time.Second},
		{Name: "few", MaxMsgsPerSubject: 3},
		{Name: "both", MaxAge: 3 * time.Second, MaxMsgsPerSubject: 5},
		{Name: "purged"},
	}
	for _, config := range configs {
		config.Subjects, config.Replicas = []string{config.Name + ".>"}, 3
		eventually(t, func(ctx context.Context) error {
			_, err := c.Node(0).JetStream().CreateStream(ctx, config)
			return err
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var work sync.WaitGroup
	js := c.Node(0).JetStream()
	for _, config := range configs {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = js.Publish(ctx, fmt.Sprintf("%s.%d", config.Name, rand.IntN(20)), []byte("some text"))
				if config.Name == "purged" && i%3 == 0 {
					if s, err := js.Stream(ctx, "purged"); err == nil {
						_ = s.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("purged.%d", rand.IntN(20))), jetstream.WithPurgeKeep(1))
					}
				}
			}
		})
	}
	most, compared := watchFor(ctx, t, c)
	work.Wait()
	t.Logf("at most %d looks in a row found something missing; %d comparisons", most, compared)
	if most >= mesh.ScrubLooks {
		t.Error("a node accuses itself")
	}
	if compared < 20 {
		t.Errorf("%d comparisons prove nothing", compared)
	}
}

// watchFor has two nodes look all the time, one of which is restarted again and
// again. It returns the longest doubt.
func watchFor(ctx context.Context, t *testing.T, c *meshtest.Cluster) (most, compared int) {
	t.Helper()
	for ctx.Err() == nil {
		first, second := mesh.NewScrubber(c.Node(1)), mesh.NewScrubber(c.Node(2))
		for range 2 * mesh.ScrubLooks {
			most = max(most, first.Look(ctx), second.Look(ctx))
		}
		compared += first.Compared + second.Compared
		c.Kill(2)
		c.Restart(2)
		c.Ready()
	}
	for i, n := range c.Nodes() {
		if err := n.Damage(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	return most, compared
}
