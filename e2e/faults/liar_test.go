//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/client"
	"myelin/e2e/faults/history"
)

// liar is a connection to a server that changes the JSON it says. It knows
// WebSocket frames, and is told of one line at a time.
type liar struct {
	net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
	open bool
	// lie returns what to say instead of a line.
	lie func(line string) []string
}

// lying dials honestly and then lies. All connections share the lie.
func lying(dial dialer, lie func(line string) []string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &liar{Conn: conn, in: bufio.NewReader(conn), lie: lie}, nil
	}
}

func (l *liar) Read(p []byte) (int, error) {
	for l.out.Len() == 0 {
		step := l.frame
		if !l.open {
			step = l.handshake
		}
		if err := step(); err != nil {
			return 0, err
		}
	}
	return l.out.Read(p)
}

// handshake passes a line of the answer to the upgrade on.
func (l *liar) handshake() error {
	line, err := l.in.ReadString('\n')
	l.out.WriteString(line)
	l.open = line == "\r\n"
	return err
}

// frame passes one frame on, with its lines changed where it is text.
func (l *liar) frame() error {
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(l.in, head); err != nil {
		return err
	}
	size := uint64(head[1] & 0x7f)
	if extra := map[uint64]int{126: 2, 127: 8}[size]; extra > 0 {
		more := make([]byte, 8)
		if _, err := io.ReadFull(l.in, more[8-extra:]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(more)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(l.in, payload); err != nil {
		return err
	}
	if head[0] == 0x81 {
		var lines []string
		for line := range strings.Lines(string(payload)) {
			lines = append(lines, l.lie(strings.TrimSuffix(line, "\n"))...)
		}
		if len(lines) == 0 {
			return nil
		}
		payload = []byte(strings.Join(lines, "\n"))
	}
	l.out.WriteByte(head[0])
	l.out.WriteByte(127)
	l.out.Write(binary.BigEndian.AppendUint64(nil, uint64(len(payload))))
	l.out.Write(payload)
	return nil
}

// isPublication says whether a line pushes a publication.
func isPublication(line string) bool {
	return strings.Contains(line, `"push":`) && strings.Contains(line, `"pub":`)
}

// nth lies about one publication.
func nth(n int, lie func(line string) []string) func(string) []string {
	var mu sync.Mutex
	seen := 0
	return func(line string) []string {
		mu.Lock()
		defer mu.Unlock()
		if isPublication(line) {
			if seen++; seen == n {
				return lie(line)
			}
		}
		return []string{line}
	}
}

// swapped says one publication after the next one.
func swapped(n int) func(string) []string {
	var mu sync.Mutex
	seen, held := 0, ""
	return func(line string) []string {
		mu.Lock()
		defer mu.Unlock()
		if !isPublication(line) {
			return []string{line}
		}
		seen++
		switch {
		case seen == n:
			held = line
			return nil
		case held != "":
			line, held = line+"\n"+held, ""
		}
		return strings.Split(line, "\n")
	}
}

// answering changes the n-th answer to a publish, with or without asking the
// server.
type answering struct {
	http.RoundTripper
	n   int
	ask bool
	// lie returns the answer, knowing the last honest one.
	lie func(offset uint64, epoch string) string

	mu struct {
		sync.Mutex
		seen   int
		offset uint64
		epoch  string
	}
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/publish") {
		return a.RoundTripper.RoundTrip(r)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.seen++
	if a.mu.seen == a.n && !a.ask {
		return answer(a.lie(a.mu.offset, a.mu.epoch)), nil
	}
	resp, err := a.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var said struct {
		Result struct {
			Offset uint64 `json:"offset"`
			Epoch  string `json:"epoch"`
		} `json:"result"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, err
	}
	a.mu.offset, a.mu.epoch = said.Result.Offset, said.Result.Epoch
	if a.mu.seen == a.n {
		return answer(a.lie(a.mu.offset, a.mu.epoch)), nil
	}
	return answer(string(body)), nil
}

func answer(body string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func positionAnswer(offset uint64, epoch string) string {
	return fmt.Sprintf(`{"result":{"offset":%d,"epoch":%q}}`, offset, epoch)
}

// planted is a bug between a server and its clients.
type planted struct {
	name   string
	breaks history.Promise
	// hears is what a subscriber is told, answers what a publisher is told.
	hears   func(string) []string
	answers *answering
}

func plantedBugs() []planted {
	return []planted{
		{name: "honest"},
		{name: "lost frame", breaks: history.PromiseGap, hears: nth(20, func(string) []string { return nil })},
		{name: "frame said twice", breaks: history.PromiseSequence, hears: nth(20, func(line string) []string { return []string{line, line} })},
		{name: "frames swapped", breaks: history.PromiseSequence, hears: swapped(20)},
		{name: "wrong data", breaks: history.PromiseOne, hears: nth(20, func(line string) []string {
			return []string{strings.Replace(line, `"id":"`, `"id":"x`, 1)}
		})},
		{name: "acknowledged and not done", breaks: history.PromiseKept, answers: &answering{n: 20, lie: func(offset uint64, epoch string) string {
			return positionAnswer(offset+100_000, epoch)
		}}},
		{name: "done and refused", breaks: history.PromiseRefused, answers: &answering{n: 20, ask: true, lie: func(uint64, string) string {
			return `{"error":{"code":1000,"message":"engine unavailable"}}`
		}}},
		{name: "wrong position", breaks: history.PromiseOne, answers: &answering{n: 20, ask: true, lie: func(offset uint64, epoch string) string {
			return positionAnswer(offset+100_000, epoch)
		}}},
		{name: "an epoch of its own", breaks: history.PromiseEpoch, answers: &answering{n: 20, ask: true, lie: func(offset uint64, _ string) string {
			return positionAnswer(offset, "another")
		}}},
	}
}

// TestPlanted puts bugs of each kind between a real server and real clients, and
// holds that the verdict names them.
func TestPlanted(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	for i, p := range plantedBugs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			rule := history.Rule{Channel: fmt.Sprintf("sync:lie%d", i), Durability: channel.DurabilitySync, Size: keeps, Exact: true}
			c := p.crowd(t, n, rule)
			defer c.end()
			if err := eventually(t.Context(), patience, "sixty publications", func() bool {
				return history.Count(c.rec.History()).Received >= 2*60
			}); err != nil {
				t.Fatal(err)
			}
			h, err := c.finish(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, h, p.breaks)
		})
	}
}

// crowd is a publisher, a subscriber that is honest and one that is lied to.
func (p planted) crowd(t *testing.T, n *node, rule history.Rule) *crowd {
	t.Helper()
	c := &crowd{rec: history.NewRecorder(rule), nodes: []*node{n}, channels: []string{rule.Channel}}
	hears := p.hears
	if hears == nil {
		hears = func(line string) []string { return []string{line} }
	}
	for _, err := range []error{
		c.listen(ours(c.rec, "ours", true, c.channels, n.dial)),
		c.listen(theirs(c.rec, "lied to", false, c.channels, lying(n.dial, hears))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	api := n.api()
	if p.answers != nil {
		p.answers.RoundTripper = api.HTTP.Transport
		api.HTTP.Transport = p.answers
	}
	// Who is subscribed before the first publication sees the twentieth.
	if err := eventually(t.Context(), patience, "both are subscribed", func() bool {
		h := c.rec.History()
		return !slices.ContainsFunc(h.Subscribers, func(s *history.Subscriber) bool {
			return len(s.Steps) == 0 || s.Steps[len(s.Steps)-1].Kind != history.Subscribed
		})
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	c.stopPublishers = stop
	// It gives up what is refused, so that nothing hides it.
	c.publish(ctx, &publisher{name: "api", node: n.name, publish: byAPI(api)})
	return c
}

// expect holds that a history breaks a promise, or none.
func expect(t *testing.T, h *history.History, breaks history.Promise) {
	t.Helper()
	found := history.Check(h)
	switch {
	case breaks == "" && len(found) > 0:
		t.Errorf("nothing was planted, and found was %v", found)
	case breaks != "" && !slices.ContainsFunc(found, func(v history.Violation) bool { return v.Promise == breaks }):
		t.Errorf("not caught: %q; found %v; the history is in %s", breaks, found, save(t, h))
	}
	for _, v := range found {
		t.Log(v)
	}
}

// TestPlantedRecovery lets subscribers believe that nothing is missing where the
// server had to say that everything is.
func TestPlantedRecovery(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	rule := history.Rule{Channel: "memory:lie", Durability: channel.DurabilityMemory, Size: keeps}
	p := planted{hears: func(line string) []string {
		return []string{strings.Replace(line, `"was_recovering":true`, `"was_recovering":true,"recovered":true`, 1)}
	}}
	c := p.crowd(t, n, rule)
	defer c.end()
	// Who is lied to does not know that it has not caught up.
	c.settle = 2 * time.Second
	rest(t.Context(), 300*time.Millisecond)
	err := c.suffer(t.Context(), fault{name: "kill -9", node: n.name, loses: history.LosesAsync, undo: func(ctx context.Context) error {
		n.kill()
		return n.start(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, h, history.PromiseGap)
}

// TestOutcomes holds what errors mean to a publisher.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for want, errs := range map[history.Outcome][]error{
		history.Acked:   {nil},
		history.Refused: {errDown, &client.Error{Code: uint32(channel.CodeUnavailable)}},
		history.Unknown: {io.ErrUnexpectedEOF, client.ErrConnectionLost, context.DeadlineExceeded, &client.Error{Code: uint32(channel.CodeUnknownOutcome)}},
	} {
		for _, err := range errs {
			if got := outcomeOf(fmt.Errorf("wrapped: %w", err)); err != nil && got != want {
				t.Errorf("%v is %s, want %s", err, got, want)
			}
		}
	}
}
