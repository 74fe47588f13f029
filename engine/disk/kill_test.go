package disk_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myelin/channel"
	"myelin/engine/disk"
)

// told is an acknowledgement: what of, and when, in microseconds.
type told struct {
	at    channel.Position
	data  string
	when  int64
	round int
}

// reader is the subscriber of one channel, over all its lives.
type reader struct {
	name string
	at   channel.Position
	// first is where it began.
	first channel.Position
	seen  []string
	// epochs are those it was given, by round.
	epochs map[int]string
	// anew is how often it was told that it had missed something.
	anew int
}

// saga is what happened to a node that is killed again and again, as its
// clients know it.
type saga struct {
	t    *testing.T
	dir  string
	next map[string]int
	acks map[string][]told
	// redone is how many retries found that the publication was there.
	redone  int
	readers map[string]*reader
	// killed is when each round ended, in microseconds.
	killed []int64
}

func newSaga(t *testing.T) *saga {
	t.Helper()
	s := &saga{
		t: t, dir: filepath.Join(t.TempDir(), "data"), next: make(map[string]int),
		acks: make(map[string][]told), readers: make(map[string]*reader),
	}
	for name := range roles() {
		s.readers[name] = &reader{name: name, epochs: make(map[int]string)}
	}
	return s
}

// round starts a node, kills it and takes in what it said.
func (s *saga) round(random *rand.Rand) {
	s.t.Helper()
	o := orders{Dir: s.dir, Next: s.next, Seen: make(map[string]channel.Position)}
	if random.IntN(2) == 0 {
		o.Memtable = 256 << 10
	}
	for name, r := range s.readers {
		o.Seen[name] = r.at
	}
	text, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedOrders+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var killed atomic.Int64
	kill := func() {
		killed.CompareAndSwap(0, time.Now().UnixMicro())
		// Whoever is killed already stays so.
		_ = cmd.Process.Kill()
	}
	// Most are killed at work, some while they open or right after.
	after := 1 + random.IntN(8000)
	if random.IntN(4) == 0 {
		after = 1 << 30
		timer := time.AfterFunc(time.Duration(random.IntN(200))*time.Millisecond, kill)
		defer timer.Stop()
	}
	r := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil {
			// What was cut off nobody has read.
			break
		}
		s.hear(strings.Fields(line), line)
		if n == after {
			kill()
		}
	}
	s.killed = append(s.killed, killed.Load())
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() > 0 {
		s.t.Fatalf("round %d: the node was not killed: %v", len(s.killed), err)
	}
}

// hear takes in one line of a node.
func (s *saga) hear(f []string, line string) {
	s.t.Helper()
	var name, data string
	var at channel.Position
	var prev uint64
	var yes bool
	var when int64
	var err error
	switch f[0] {
	case "ack":
		_, err = fmt.Sscan(strings.Join(f[1:], " "), &name, &at.Epoch, &at.Offset, &yes, &data, &when)
		s.acknowledged(name, told{at, data, when, len(s.killed)}, yes)
	case "sub":
		_, err = fmt.Sscan(strings.Join(f[1:], " "), &name, &at.Epoch, &at.Offset, &yes)
		s.back(s.readers[name], at, yes)
	case "got":
		_, err = fmt.Sscan(strings.Join(f[1:], " "), &name, &at.Epoch, &at.Offset, &prev, &data)
		s.got(s.readers[name], at, prev, data)
	default:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		s.t.Fatalf("the node says %q: %v", line, err)
	}
}

func (s *saga) acknowledged(name string, a told, duplicate bool) {
	var w, n int
	if _, err := fmt.Sscanf(a.data, "%d-%d", &w, &n); err != nil {
		s.t.Fatalf("%s: acknowledged %q", name, a.data)
	}
	if duplicate {
		s.redone++
	}
	s.next[workerOf(name, w)] = n + 1
	s.acks[name] = append(s.acks[name], a)
}

// back notes that the subscriber is back, and holds what it was told.
func (s *saga) back(r *reader, at channel.Position, recovered bool) {
	s.t.Helper()
	was := r.at
	r.epochs[len(s.killed)] = at.Epoch
	switch {
	case was.IsZero():
		r.at, r.first = at, at
	case recovered && at.Epoch == was.Epoch:
	case recovered:
		s.t.Errorf("%s: the subscriber is told that it missed nothing, and its epoch went from %s to %s", r.name, was.Epoch, at.Epoch)
	case r.name == "sync:c" || r.name == "slow:c" || at.Epoch == was.Epoch:
		s.t.Errorf("%s: round %d: the subscriber at %v is not recovered, the channel is at %v", r.name, len(s.killed), was, at)
	default:
		r.at = at
		r.anew++
	}
}

// got holds that a publication follows the one before it.
func (s *saga) got(r *reader, at channel.Position, prev uint64, data string) {
	s.t.Helper()
	if at.Epoch != r.at.Epoch || prev != r.at.Offset || at.Offset != prev+1 {
		s.t.Errorf("%s: round %d: the subscriber at %v got %v, prev %d", r.name, len(s.killed), r.at, at, prev)
	}
	r.at = at
	r.seen = append(r.seen, data)
}

// verify opens the directory and holds it against what everybody was told. It
// returns how many async publications are gone, and the greatest age of one
// when its node was killed.
func (s *saga) verify() (lost int, oldest time.Duration) {
	s.t.Helper()
	e := start(s.t, disk.Options{Path: s.dir, FlushInterval: killInterval})
	defer e.stop()
	for name, r := range roles() {
		res := e.since(name, r.policy(), channel.Position{})
		switch name {
		case "async:c":
			lost, oldest = s.missing(name, res)
		case "memory:c":
			if acks := s.acks[name]; len(acks) > 0 && acks[len(acks)-1].at.Epoch == res.Top.Epoch {
				s.t.Error("a channel in memory has survived in its epoch")
			}
		default:
			s.exact(name, res)
		}
	}
	return lost, oldest
}

// exact holds that a channel is in its first epoch, that all that was
// acknowledged is where it was said to be, that each publisher's are there
// once and in order, and that the subscriber has seen just that.
func (s *saga) exact(name string, res channel.ReadResult) {
	s.t.Helper()
	r := s.readers[name]
	if r.first.Epoch != "" && res.Top.Epoch != r.first.Epoch || !res.Complete {
		s.t.Errorf("%s: the channel began in epoch %s and is at %v, complete %v", name, r.first.Epoch, res.Top, res.Complete)
	}
	for _, a := range s.acks[name] {
		if i := a.at.Offset - 1; i >= uint64(len(res.Pubs)) || res.Pubs[i].Position != a.at || string(res.Pubs[i].Data) != a.data {
			s.t.Errorf("%s: %q was acknowledged at %v and is not there", name, a.data, a.at)
			return
		}
	}
	count := make(map[int]int)
	for _, p := range res.Pubs {
		var w, n int
		if _, err := fmt.Sscanf(string(p.Data), "%d-%d", &w, &n); err != nil || n != count[w] {
			s.t.Errorf("%s: publication %d is %q, after %d of that publisher", name, p.Offset, p.Data, count[w])
			return
		}
		count[w]++
	}
	for i, data := range r.seen {
		if at := r.first.Offset + uint64(i); at >= uint64(len(res.Pubs)) || string(res.Pubs[at].Data) != data {
			s.t.Errorf("%s: the subscriber saw %q at %d, which is not there", name, data, at+1)
			return
		}
	}
}

// missing holds that what is gone of an async channel was announced by a new
// epoch as soon as the next node was there.
func (s *saga) missing(name string, res channel.ReadResult) (lost int, oldest time.Duration) {
	s.t.Helper()
	kept := make(map[string]int)
	for _, p := range res.Pubs {
		kept[string(p.Data)]++
	}
	r := s.readers[name]
	for _, a := range s.acks[name] {
		if kept[a.data] == 1 {
			continue
		}
		if kept[a.data] > 1 {
			s.t.Errorf("%s: %q is there %d times", name, a.data, kept[a.data])
		}
		lost++
		oldest = max(oldest, time.Duration(s.killed[a.round]-a.when)*time.Microsecond)
		after := res.Top.Epoch
		for round := a.round + 1; round < len(s.killed); round++ {
			if epoch := r.epochs[round]; epoch != "" {
				after = epoch
				break
			}
		}
		if after == a.at.Epoch {
			s.t.Errorf("%s: %q was acknowledged at %v and is gone, and the epoch goes on", name, a.data, a.at)
		}
	}
	return lost, oldest
}

// TestKill kills a node at a random moment, again and again on the same
// directory: MYELIN_FAULT_ROUNDS times, or a few. Its publishers retry what
// they were not told of, its subscriber comes back with its positions.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := newSaga(t)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	n := rounds(t, 6, 3)
	for range n {
		s.round(random)
		if random.IntN(4) == 0 {
			s.verify()
		}
		if t.Failed() {
			return
		}
	}
	lost, oldest := s.verify()
	// A flush takes a while itself, and so does the way of a line.
	if oldest > killInterval+2*time.Second {
		t.Errorf("an async publication is gone that was acknowledged %v before the kill", oldest)
	}
	for _, name := range []string{"sync:c", "async:c", "slow:c", "memory:c"} {
		r := s.readers[name]
		t.Logf("%s: %d acknowledged, %d seen by the subscriber, %d times told that it missed something", name, len(s.acks[name]), len(r.seen), r.anew)
	}
	t.Logf("%d rounds: %d retries found their publication there; async: %d lost, the oldest %v before the kill", n, s.redone, lost, oldest)
	if sync := s.readers["sync:c"]; len(s.acks["sync:c"]) == 0 || len(sync.seen) == 0 {
		t.Error("nothing was published, or nothing seen: the test did not test")
	}
}

// TestSecondProcess holds that another process cannot open the directory.
func TestSecondProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, disk.Options{Path: dir})
	text, err := json.Marshal(orders{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedOrders+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process: %v, %s", err, out)
	}
	r.publish("c", logPolicy(channel.DurabilitySync, 10), "still works")
	r.stop()
}
