//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/client"
	"myelin/e2e/faults/history"
)

// rot is a file of a node's data in a cluster, by how its path ends.
type rot struct{ name, pattern string }

// messagesOfStream is where the server keeps what it acknowledged.
const messagesOfStream = "streams/myelin_log_file_sync/msgs/*.blk"

func rots() []rot {
	return []rot{
		{"messages of a stream", messagesOfStream},
		{"index of a stream", "streams/myelin_log_file_sync/msgs/index.db"},
		{"description of a stream", "streams/myelin_log_file_sync/meta.inf"},
		{"log of a raft group", "_js_/S-R3F-*/msgs/*.blk"},
		{"log of the meta group", "_js_/_meta_/msgs/*.blk"},
	}
}

// TestDamageInCluster damages a file of one node of three while it is down. The
// others have what it lost: either it gets it back, or it says that it cannot.
func TestDamageInCluster(t *testing.T) {
	t.Parallel()
	if seconds(t) == 0 {
		t.Skip("long runs only: MYELIN_FAULT_SECONDS")
	}
	c := newCluster(t, onLoopback(t))
	r := rand.New(rand.NewPCG(11, 3))
	var all []*crowd
	for _, file := range rots() {
		for _, d := range damages()[:5] {
			name := d.name + ", " + file.name
			t.Run(name, func(t *testing.T) {
				c.plays++
				crowd, came := c.rot(t, name, file.pattern, d, r)
				all = append(all, crowd)
				t.Log(came)
			})
		}
	}
	// What was damaged may be of any round, and another node may have answered
	// for it so far.
	for _, without := range []*node{nil, c.nodes[0], c.nodes[1]} {
		c.judgeWithout(t, all, without)
	}
}

// judgeWithout reads the channels of all rounds at every node, while one does
// not run. Each answer must be right, or an error.
func (c *cluster) judgeWithout(t *testing.T, all []*crowd, without *node) {
	t.Helper()
	nodes, who := c.nodes, "nobody"
	if without != nil {
		nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == without })
		who = without.name
		if err := without.stop(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := without.start(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		rest(t.Context(), doubtTime)
	}
	failed := 0
	for _, crowd := range all {
		for _, n := range nodes {
			for range 3 {
				fork := crowd.fork(n)
				if fork.readAll(t.Context(), n, fork.channels[0]) != nil {
					failed++
				} else if found := history.Check(fork.rec.History()); len(found) > 0 {
					t.Errorf("without %s, %s answers: %v", who, n.name, found)
				}
			}
		}
	}
	t.Logf("without %s: %d of %d reads fail", who, failed, len(all)*len(nodes)*3)
}

// fork returns a crowd that has published the same and reads at some nodes.
func (c *crowd) fork(nodes ...*node) *crowd {
	return &crowd{rec: c.rec.Fork(), nodes: nodes, channels: c.channels}
}

// rot damages a file and says what came of it.
func (c *cluster) rot(t *testing.T, name, pattern string, d damage, r *rand.Rand) (*crowd, string) {
	t.Helper()
	rule := rules()[0]
	rule.Channel += "rot" + fmt.Sprint(c.plays)
	crowd := &crowd{rec: history.NewRecorder(rule), nodes: c.nodes, channels: []string{rule.Channel}}
	p := &publisher{name: "api", node: "a", log: crowd.rec.Publisher(), now: crowd.rec.Now, publish: byAPI(c.nodes[0].api()), retries: true}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			p.one(t.Context(), rule.Channel, fmt.Sprint("m", i))
		}
	}
	publish(0, 100)
	if pattern == messagesOfStream {
		c.fillBlock(t)
	}
	n := c.nodes[2]
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	publish(100, 120)
	file := findFile(t, n.data, pattern, r)
	info, err := os.Stat(file)
	if err != nil || info.Size() == 0 {
		t.Fatalf("%s: %v, of %d bytes", file, err, info.Size())
	}
	if err := d.do(file, info.Size(), r); err != nil {
		t.Fatal(err)
	}
	process, err := n.begin()
	if err != nil {
		t.Fatal(err)
	}
	said := "it starts"
	if err := eventually(t.Context(), 30*time.Second, "c is ready", func() bool {
		return process.hasEnded() || n.status(t.Context(), "/health/ready") == 200
	}); err != nil || process.hasEnded() {
		said = "it does not get ready, and gets everything anew in an empty directory"
		n.kill()
		if err := errors.Join(os.RemoveAll(n.data), n.start(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if pattern == messagesOfStream && n.current() == process && endsDamaged(t, n) {
		said = "it ends with words, and gets everything anew in an empty directory"
	}
	publish(120, 150)
	judgeEverywhere(t, crowd, name)
	return crowd, said
}

// noticeTime is how long a node may take to notice that it lacks messages.
const noticeTime = 45 * time.Second

// endsDamaged waits until a node that lacks messages ends by itself, sees that it
// does not start again, and gives it an empty directory. It returns false where
// the node goes on; then it must have everything.
func endsDamaged(t *testing.T, n *node) bool {
	t.Helper()
	const words = "is damaged: stream myelin_log_file_sync lacks"
	code, err := n.current().wait(noticeTime)
	if err != nil {
		return false
	}
	if code != 1 || !strings.Contains(n.current().out.String(), words) {
		t.Errorf("a damaged node ends with %d: %s", code, tail(n.current().out.String()))
	}
	again, err := n.begin()
	if err != nil {
		t.Fatal(err)
	}
	if code, err := again.wait(patience); err != nil || code != 1 || !strings.Contains(again.out.String(), words) {
		t.Errorf("a damaged node starts again, %d, %v: %s", code, err, tail(again.out.String()))
	}
	if err := errors.Join(os.RemoveAll(n.data), n.start(t.Context())); err != nil {
		t.Fatal(err)
	}
	return true
}

// fillBlock publishes as much as a file of messages holds, on a channel that
// nobody judges, so that what was there before is not in the newest one: that
// one is got back from the others.
func (c *cluster) fillBlock(t *testing.T) {
	t.Helper()
	api := c.nodes[0].api()
	large := []byte(`"` + strings.Repeat("x", 50<<10) + `"`)
	for range 90 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := api.Publish(ctx, "sync:bulk", large, client.PublishOptions{})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// judgeEverywhere reads a channel at every node until all agree, and judges.
func judgeEverywhere(t *testing.T, c *crowd, name string) {
	t.Helper()
	var found []history.Violation
	err := eventually(t.Context(), 30*time.Second, "everything is there on every node", func() bool {
		fork := c.fork(c.nodes...)
		var errs []error
		for _, n := range fork.nodes {
			errs = append(errs, fork.readAll(t.Context(), n, fork.channels[0]))
		}
		found = history.Check(fork.rec.History())
		return errors.Join(errs...) == nil && len(found) == 0
	})
	if err != nil {
		t.Errorf("%s: %v: %v", name, err, found)
	}
}

// findFile returns a file below dir whose path ends like pattern.
func findFile(t *testing.T, dir, pattern string, r *rand.Rand) string {
	t.Helper()
	var fitting []string
	depth := strings.Count(pattern, "/") + 1
	for _, file := range filesOf(t, dir) {
		parts := strings.Split(file, "/")
		end := strings.Join(parts[max(0, len(parts)-depth):], "/")
		if ok, _ := filepath.Match(pattern, end); ok {
			fitting = append(fitting, filepath.Join(dir, file))
		}
	}
	if len(fitting) == 0 {
		t.Fatalf("there is no %s in %v", pattern, filesOf(t, dir))
	}
	return fitting[r.IntN(len(fitting))]
}
