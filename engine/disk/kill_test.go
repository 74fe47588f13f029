package disk_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/disk"
)

// killedDir is the variable that makes the test binary a publisher that waits
// to be killed.
const killedDir = "MYELIN_TEST_PUBLISH_IN"

// killInterval is the flush interval of the publisher.
const killInterval = 20 * time.Millisecond

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		publishUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// killed returns the channels of a publisher that is killed.
func killed() map[string]*channel.Policy {
	return map[string]*channel.Policy{
		"sync": logPolicy(channel.DurabilitySync, 1_000_000), "async": logPolicy(channel.DurabilityAsync, 1_000_000),
		"memory": logPolicy(channel.DurabilityMemory, 1000), "slow": logPolicy(channel.DurabilityAsync, 1_000_000),
	}
}

// publishUntilKilled writes a line for each publication that is acknowledged:
// what the publisher was told, and when.
func publishUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	e, err := disk.Open(disk.Options{Path: dir, FlushInterval: killInterval})
	if err != nil {
		fail(err)
	}
	if err := e.Start(context.Background(), &deaf{}); err != nil {
		fail(err)
	}
	lines := make(chan string, 64)
	life := rand.Uint32()
	for name, p := range killed() {
		workers, every := 4, time.Duration(0)
		switch name {
		case "slow":
			workers, every = 1, 1100*time.Millisecond
		case "async", "memory":
			// Or there would be little else.
			every = time.Millisecond
		}
		for w := range workers {
			go func() {
				for n := 0; ; n++ {
					data := fmt.Sprintf("%d-%d-%d", life, w, n)
					ack, err := e.Publish(context.Background(), &channel.PublishRequest{Channel: name, Policy: p, Data: []byte(data), ID: data})
					if err != nil {
						fail(err)
					}
					lines <- fmt.Sprintf("%s %s %d %s %d\n", name, ack.Epoch, ack.Offset, data, time.Now().UnixMilli())
					time.Sleep(every)
				}
			}()
		}
	}
	for line := range lines {
		_, _ = io.WriteString(os.Stdout, line)
	}
}

// deaf is a sink that hears nothing.
type deaf struct{}

func (*deaf) Deliver(*channel.Publication) {}
func (*deaf) Lost(string)                  {}
func (*deaf) Cleared(string)               {}

// told is one line of the publisher.
type told struct {
	at   channel.Position
	data string
	when int64
}

// runAndKill starts a publisher, kills it after so many lines and returns what
// it was told, by channel, and the last moment of it.
func runAndKill(t *testing.T, dir string, lines int) (all map[string][]told, last int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all = make(map[string][]told)
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		f := strings.Fields(scan.Text())
		if len(f) != 5 {
			t.Fatalf("the publisher says %q", scan.Text())
		}
		offset, err1 := strconv.ParseUint(f[2], 10, 64)
		when, err2 := strconv.ParseInt(f[4], 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("the publisher says %q", scan.Text())
		}
		all[f[0]] = append(all[f[0]], told{channel.Position{Epoch: f[1], Offset: offset}, f[3], when})
		last = max(last, when)
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the publisher was not killed")
	}
	return all, last
}

// TestKill kills a publishing process at a random moment, again and again on
// the same directory: MYELIN_FAULT_ROUNDS times, or a few.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := filepath.Join(t.TempDir(), "data")
	everTold := make(map[string][]told)
	bumps, lost := 0, 0
	n := rounds(t, 6)
	for round := range n {
		random := rand.New(rand.NewPCG(uint64(round), 3))
		said, last := runAndKill(t, dir, 1+random.IntN(4000))
		r := start(t, disk.Options{Path: dir, FlushInterval: killInterval})
		for _, name := range []string{"sync", "slow"} {
			everTold[name] = append(everTold[name], said[name]...)
			if missing := absent(r, name, everTold[name]); len(missing) > 0 {
				t.Errorf("round %d: %s: %d of %d acknowledged are not there: %v", round, name, len(missing), len(everTold[name]), missing[0])
			}
		}
		lost += checkAsync(t, r, said["async"], last, &bumps)
		for _, m := range said["memory"] {
			if res := r.since("memory", killed()["memory"], m.at); res.Top.Epoch == m.at.Epoch {
				t.Errorf("round %d: a channel in memory has survived in its epoch", round)
			}
			break
		}
		r.stop()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds: %d sync publications acknowledged, 0 lost; async channel got a new epoch %d times, %d publications lost", n, len(everTold["sync"]), bumps, lost)
}

// absent returns what was acknowledged and is not there, or is somewhere else,
// or twice.
func absent(r *rig, name string, acks []told) (missing []told) {
	found := make(map[channel.Position]string)
	seen := make(map[string]int)
	for _, p := range r.since(name, killed()[name], channel.Position{}).Pubs {
		found[p.Position] = string(p.Data)
		seen[string(p.Data)]++
	}
	for _, a := range acks {
		if found[a.at] != a.data || seen[a.data] != 1 {
			missing = append(missing, a)
		}
	}
	return missing
}

// checkAsync holds that what is lost of an async channel was acknowledged
// within the interval before the kill, and that the epoch says so.
func checkAsync(t *testing.T, r *rig, acks []told, last int64, bumps *int) (lost int) {
	t.Helper()
	if len(acks) == 0 {
		return 0
	}
	res := r.since("async", killed()["async"], channel.Position{})
	seen := make(map[string]bool)
	for _, p := range res.Pubs {
		seen[string(p.Data)] = true
	}
	bumped := res.Top.Epoch != acks[len(acks)-1].at.Epoch
	if bumped {
		*bumps++
	}
	// A flush takes a while itself, and so does the way of a line.
	slack := last - (killInterval + 2*time.Second).Milliseconds()
	for _, a := range acks {
		if seen[a.data] {
			continue
		}
		lost++
		if !bumped {
			t.Errorf("an acknowledged async publication is gone and the epoch goes on: %v", a)
		}
		if a.when < slack {
			t.Errorf("an async publication is gone that was acknowledged %d ms before the kill", last-a.when)
		}
	}
	return lost
}

// TestSecondProcess holds that another process cannot open the directory.
func TestSecondProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, disk.Options{Path: dir})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process: %v, %s", err, out)
	}
	r.publish("c", logPolicy(channel.DurabilitySync, 10), "still works")
	r.stop()
}
