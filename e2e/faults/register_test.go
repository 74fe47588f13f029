//go:build linux

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
	"myelin/engine/disk"
	"myelin/engine/memory"
)

// registerDir is the variable that makes the test binary a process that changes
// keys until it is killed. State channels are in no door yet, so this speaks
// with the engine.
const registerDir = "MYELIN_TEST_REGISTERS_IN"

// How the keys are used.
const (
	registerWorkers = 6
	registerKeys    = 3
	// maxRegisterCalls keeps porcupine's work small.
	maxRegisterCalls = 6000
)

func registerPolicy(d channel.Durability) *channel.Policy {
	return &channel.Policy{Namespace: "state", Kind: channel.KindState, Durability: d, HistorySize: keeps}
}

// teller is told of each call twice: when it begins, with no outcome, and when it
// has returned.
type teller func(c history.KeyCall, returned bool)

// keys changes the keys of a state channel by an engine.
type keys struct {
	channel.Engine
	policy *channel.Policy
	// shaky: the engine may be unavailable now and then.
	shaky bool
	// looks: it also reads keys, where readers are promised the newest.
	looks bool
}

// work has a few workers change keys until ctx ends, or so often each.
func (k *keys) work(ctx context.Context, life string, calls int, tell teller) error {
	var group sync.WaitGroup
	errs := make([]error, registerWorkers)
	for w := range registerWorkers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(len(life))))
			known := make(map[string]uint64)
			for n := 0; n < calls && ctx.Err() == nil && errs[w] == nil; n++ {
				c := history.KeyCall{Key: fmt.Sprint("key", r.IntN(registerKeys)), Outcome: history.Unknown}
				if k.looks && r.IntN(3) == 0 {
					errs[w] = k.look(ctx, &c)
				} else {
					c.ID = fmt.Sprintf("%s-%d-%d", life, w, n)
					if expect := known[c.Key]; r.IntN(4) > 0 {
						c.Expect = &expect
					}
					errs[w] = k.put(ctx, &c, tell)
				}
				if c.Outcome != history.Unknown {
					known[c.Key] = c.Offset
					tell(c, true)
				} else if c.Return > 0 {
					tell(c, true)
					rest(ctx, publishPause)
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// look reads where a key is.
func (k *keys) look(ctx context.Context, c *history.KeyCall) error {
	c.Call = clockNow()
	page, err := k.Snapshot(ctx, &channel.SnapshotRequest{Channel: "keys", Policy: k.policy})
	if err != nil {
		return err
	}
	for _, item := range page.Items {
		if item.Key == c.Key {
			c.Offset = item.Offset
		}
	}
	c.Outcome, c.Return = history.Acked, clockNow()
	return nil
}

// put puts a key, where it is as expected: what this worker knows of it may be
// old. A shaky engine may leave it unknown whether it did.
func (k *keys) put(ctx context.Context, c *history.KeyCall, tell teller) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*publishPatience)
	defer cancel()
	c.Call = clockNow()
	tell(*c, false)
	ack, err := k.Publish(ctx, &channel.PublishRequest{
		Channel: "keys", Policy: k.policy, Op: channel.OpPut, Key: c.Key, Data: []byte(c.ID), ID: c.ID, Expect: c.Expect,
	})
	c.Return = clockNow()
	if err == nil {
		c.Outcome, c.Offset = history.Acked, ack.Offset
		return nil
	}
	e, ok := errors.AsType[*channel.Error](err)
	switch {
	case ok && e.Code == channel.CodeConflict:
		c.Outcome, c.Offset = history.Refused, e.Current
		return nil
	case k.shaky && (!ok || e.Code == channel.CodeUnavailable || e.Code == channel.CodeUnknownOutcome):
		return nil
	default:
		return err
	}
}

// clockNow is one clock for all processes of the machine.
func clockNow() time.Duration { return time.Duration(time.Now().UnixNano()) }

// deaf is a sink that hears nothing.
type deaf struct{}

func (deaf) Deliver(*channel.Publication) {}
func (deaf) Lost(string)                  {}
func (deaf) Cleared(string)               {}

// registerUntilKilled changes keys on disk and says each call twice.
func registerUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	e, err := disk.Open(disk.Options{Path: dir})
	if err != nil {
		fail(err)
	}
	if err := e.Start(context.Background(), deaf{}); err != nil {
		fail(err)
	}
	var mu sync.Mutex
	k := &keys{Engine: e, policy: registerPolicy(channel.DurabilitySync), looks: true}
	err = k.work(context.Background(), fmt.Sprint(os.Getpid()), maxRegisterCalls, func(c history.KeyCall, _ bool) {
		line, err := json.Marshal(c)
		if err != nil {
			fail(err)
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.Write(append(line, '\n'))
	})
	fail(err)
}

// register kills a process that changes keys after so many lines and returns
// its calls.
func register(t *testing.T, dir string, lines int) []history.KeyCall {
	t.Helper()
	t.Setenv(registerDir, dir)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	p, err := launchRegister(write)
	if err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	calls := make(map[string]history.KeyCall)
	looks := []history.KeyCall{}
	scan := bufio.NewScanner(read)
	for n := 0; scan.Scan(); n++ {
		var c history.KeyCall
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatalf("it says %q: %v", scan.Text(), err)
		}
		if c.ID == "" {
			looks = append(looks, c)
		} else {
			calls[c.ID] = c
		}
		if n == lines {
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if state, err := p.Wait(); err != nil || state.ExitCode() != -1 {
		t.Fatalf("it was not killed: %v %v", state, err)
	}
	for _, c := range calls {
		looks = append(looks, c)
	}
	return looks
}

// launchRegister starts this binary again.
func launchRegister(out *os.File) (*os.Process, error) {
	return os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, out, os.Stderr}})
}

// changesOf reads what became of every put.
func changesOf(t *testing.T, e channel.Engine, p *channel.Policy) (changes []history.Kept) {
	t.Helper()
	r, err := e.Read(t.Context(), &channel.ReadRequest{Channel: "keys", Policy: p, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range r.Pubs {
		changes = append(changes, history.Kept{Offset: pub.Offset, ID: string(pub.Data)})
	}
	return changes
}

// TestRegistersKilled has porcupine judge compare-and-set on the disk engine, in
// processes that are killed one after another.
func TestRegistersKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var calls []history.KeyCall
	rounds := 4
	if seconds(t) > 0 {
		rounds = 16
	}
	for range rounds {
		calls = append(calls, register(t, dir, 200+rand.IntN(800))...)
	}
	e, err := disk.Open(disk.Options{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close(context.Background()) }()
	if err := e.Start(t.Context(), deaf{}); err != nil {
		t.Fatal(err)
	}
	changes := changesOf(t, e, registerPolicy(channel.DurabilitySync))
	judgeRegisters(t, calls, changes)
}

// TestRegisters has porcupine judge compare-and-set on the memory engine.
func TestRegisters(t *testing.T) {
	t.Parallel()
	e := memory.New(memory.Options{})
	defer func() { _ = e.Close(context.Background()) }()
	if err := e.Start(t.Context(), deaf{}); err != nil {
		t.Fatal(err)
	}
	k := &keys{Engine: e, policy: registerPolicy(channel.DurabilityMemory), looks: true}
	calls := new(callLog)
	if err := k.work(t.Context(), "memory", 400, calls.tell); err != nil {
		t.Fatal(err)
	}
	judgeRegisters(t, calls.all(), changesOf(t, e, k.policy))
}

// callLog collects what workers of one process are told.
type callLog struct {
	mu struct {
		sync.Mutex
		calls []history.KeyCall
	}
}

func (l *callLog) tell(c history.KeyCall, returned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if returned {
		l.mu.calls = append(l.mu.calls, c)
	}
}

func (l *callLog) all() []history.KeyCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.calls)
}

// judgeRegisters holds that one order of the calls explains them, and that a
// call that says otherwise would be noticed.
func judgeRegisters(t *testing.T, calls []history.KeyCall, changes []history.Kept) {
	t.Helper()
	count := make(map[history.Outcome]int)
	for _, c := range calls {
		count[c.Outcome]++
	}
	t.Logf("%d calls: %v", len(calls), count)
	if count[history.Acked] == 0 {
		t.Fatal("these calls show nothing")
	}
	if a := history.Registers(calls, changes, time.Minute); a != history.Legal {
		t.Errorf("porcupine says %s", a)
	}
	for i := range calls {
		if c := &calls[i]; i > len(calls)/2 && c.ID != "" && c.Outcome == history.Acked && c.Expect != nil {
			// As if it had won against another one.
			*c.Expect++
			break
		}
	}
	if a := history.Registers(calls, changes, time.Minute); a != history.Illegal {
		t.Errorf("of a planted bug porcupine says %s", a)
	}
}
