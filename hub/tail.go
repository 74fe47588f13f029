package hub

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"myelin/channel"
	"myelin/observe"
)

// topicTail is where a node tells what it exchanges with a client.
const topicTail = "hub.tail"

// Bounds of tails.
const (
	// maxTails is how many sessions of a node may be listened to at a time.
	maxTails = 16
	// maxTailEntries is how many entries wait for who listens; older ones are
	// dropped, and counted.
	maxTailEntries = 256
	// maxTailText is how many bytes of an entry are shown.
	maxTailText = 1 << 10
	// tailWait is how long a question waits for an entry where there is none.
	tailWait = 1500 * time.Millisecond
	// tailIdle is after how long without a question a tail ends.
	tailIdle = 15 * time.Second
)

// TailEntry is one thing exchanged with a client.
type TailEntry struct {
	Seq uint64 `json:"seq"`
	// At is when, in Unix milliseconds.
	At int64 `json:"at"`
	// Sent: to the client; otherwise the client sent it.
	Sent bool `json:"sent"`
	// Bytes is its size. Text is its beginning: of what was sent the message
	// as it is where that is text, of what came the command without its data.
	Bytes int    `json:"bytes"`
	Text  string `json:"text"`
}

// TailPage is what was exchanged since the question before.
type TailPage struct {
	Node    string      `json:"node"`
	Entries []TailEntry `json:"entries"`
	// Missed is how many entries have been dropped in all.
	Missed uint64 `json:"missed"`
	// Over: no node has such a client; it has left, or never was.
	Over bool `json:"over"`
}

// tail is what was exchanged with a session lately, for who listens.
type tail struct {
	mu struct {
		sync.Mutex
		entries []TailEntry
		seq     uint64
		missed  uint64
		asked   time.Time
		over    bool
		// news is closed when there is an entry; nil while nobody waits.
		news chan struct{}
	}
}

// tails counts those of a node.
type tails struct{ n atomic.Int64 }

// Tail returns what was exchanged with a client behind entry after, on whatever
// node it is. Where there is nothing it waits a moment. The first question
// begins the tail; where none comes for 15 s it ends.
func (h *Hub) Tail(ctx context.Context, client string, after uint64) (*TailPage, error) {
	if client == "" {
		return nil, channel.ErrBadRequest.With("name a client, by the id it got when it connected")
	}
	q := tailQuestion{client, after}
	if page, err := h.tailHere(ctx, q); page != nil || err != nil {
		return page, err
	}
	for _, a := range h.Survey(ctx, topicTail, encode(q)) {
		var page *TailPage
		if a.Err == nil && decode(a.Data, &page) == nil && page != nil {
			return page, nil
		}
	}
	return &TailPage{Entries: []TailEntry{}, Over: true}, nil
}

// tailQuestion asks another node.
type tailQuestion struct {
	Client string `json:"client"`
	After  uint64 `json:"after"`
}

func (c *cluster) answerTail(ctx context.Context, _ channel.Node, b []byte) ([]byte, error) {
	var q tailQuestion
	if err := decode(b, &q); err != nil {
		return nil, err
	}
	page, err := c.hub.tailHere(ctx, q)
	if err != nil {
		return nil, err
	}
	return encode(page), nil
}

// tailHere is Tail for the sessions of this node, nil where it has no such one.
func (h *Hub) tailHere(ctx context.Context, q tailQuestion) (*TailPage, error) {
	found := h.clients.of("", q.Client)
	if q.Client == "" || len(found) == 0 {
		return nil, nil //nolint:nilnil // another node may have it
	}
	t, err := found[0].listen()
	if err != nil {
		return nil, err
	}
	page := t.read(ctx, q.After)
	page.Node = h.opts.Node
	return page, nil
}

// listen returns the tail of a session, which begins it where there is none.
func (s *Session) listen() (*tail, error) {
	for {
		if t := s.tail.Load(); t != nil {
			return t, nil
		}
		if n := s.hub.tails.n.Add(1); n > maxTails {
			s.hub.tails.n.Add(-1)
			s.hub.opts.Metrics.Limit(observe.LimitTails).Inc()
			return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("%d clients of this node are listened to already", maxTails))
		}
		t := new(tail)
		t.mu.asked = time.Now()
		if !s.tail.CompareAndSwap(nil, t) {
			s.hub.tails.n.Add(-1)
			continue
		}
		if s.closed() {
			s.unlisten(t)
		}
		return t, nil
	}
}

// unlisten ends a tail.
func (s *Session) unlisten(t *tail) {
	if !s.tail.CompareAndSwap(t, nil) {
		return
	}
	s.hub.tails.n.Add(-1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.over = true
	t.wakeLocked()
}

// Tailed reports whether somebody listens to the session.
func (s *Session) Tailed() bool { return s.tail.Load() != nil }

// Heard notes a command of the client for who listens: what it asks for,
// without its data.
func (s *Session) Heard(command string, size int) {
	if t := s.tail.Load(); t != nil {
		s.record(t, false, command, size)
	}
}

// sent notes a message to the client.
func (s *Session) sent(b []byte) {
	if t := s.tail.Load(); t != nil {
		s.recordSent(t, b)
	}
}

func (s *Session) recordSent(t *tail, b []byte) {
	s.record(t, true, readable(b[:min(len(b), maxTailText)]), len(b))
}

// readable returns the text in a message, without the signs by which its
// transport frames it. Where there is little text it says that instead.
func readable(b []byte) string {
	text := make([]rune, 0, len(b))
	lost := 0
	for _, r := range string(b) {
		if r == utf8.RuneError || (unicode.IsControl(r) && r != '\n') {
			lost++
			continue
		}
		text = append(text, r)
	}
	if lost > len(b)/4 {
		return "(binary)"
	}
	return string(text)
}

// record adds an entry, or ends a tail that nobody has asked for lately.
func (s *Session) record(t *tail, sent bool, text string, size int) {
	now := time.Now()
	t.mu.Lock()
	idle := now.Sub(t.mu.asked) > tailIdle
	if !idle {
		t.mu.seq++
		if len(t.mu.entries) == maxTailEntries {
			t.mu.entries = append(t.mu.entries[:0], t.mu.entries[1:]...)
			t.mu.missed++
		}
		t.mu.entries = append(t.mu.entries, TailEntry{Seq: t.mu.seq, At: now.UnixMilli(), Sent: sent, Bytes: size, Text: text})
		t.wakeLocked()
	}
	t.mu.Unlock()
	if idle {
		s.unlisten(t)
	}
}

func (t *tail) wakeLocked() {
	if t.mu.news != nil {
		close(t.mu.news)
		t.mu.news = nil
	}
}

// read returns the entries behind after, and waits for one where there is
// none. Those up to after are forgotten.
func (t *tail) read(ctx context.Context, after uint64) *TailPage {
	page, news := t.page(after)
	if news == nil {
		return page
	}
	wait := time.NewTimer(tailWait)
	defer wait.Stop()
	select {
	case <-news:
	case <-wait.C:
	case <-ctx.Done():
	}
	page, _ = t.page(after)
	return page
}

// page returns what there is, and where that is nothing what to wait for.
func (t *tail) page(after uint64) (*TailPage, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.asked = time.Now()
	kept := t.mu.entries[:0]
	for _, e := range t.mu.entries {
		if e.Seq > after {
			kept = append(kept, e)
		}
	}
	clear(t.mu.entries[len(kept):])
	t.mu.entries = kept
	page := &TailPage{Entries: append([]TailEntry{}, kept...), Missed: t.mu.missed, Over: t.mu.over}
	if len(kept) > 0 || t.mu.over {
		return page, nil
	}
	if t.mu.news == nil {
		t.mu.news = make(chan struct{})
	}
	return page, t.mu.news
}
