package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"myelin/auth"
	"myelin/channel"
	"myelin/observe"
)

// A growing entry is one that is made by appends: its data is
//
//	{"text":"all of it","length":9,"done":false}
//
// and the first Base bytes of it, up to within the text, are what it had before.
// Nothing else has a Base. Length counts as JavaScript, Java and C# do: UTF-16
// code units.
const (
	growHead = `{"text":"`
	growTail = `","length":`
	// maxGrowing is how many growing entries a node remembers, so that an append
	// does not have to read what is there.
	maxGrowing = 1024
	// maxGrowTries is how often an append is tried while other nodes append.
	maxGrowTries = 8
)

// AppendRequest asks to append to a growing entry of a state channel.
type AppendRequest struct {
	Channel, Key string
	// Text is what comes behind the text that is there, UTF-8. At, where it is
	// given, is how long that has to be. An append that is done already is
	// answered as it was, so a retry with the same At is no second one.
	Text string
	At   *int
	// Done ends it: nothing is appended any more.
	Done bool
	// Tags and TTL are those of the entry, from its first append on.
	Tags map[string]string
	TTL  time.Duration
}

// AppendAck is what an append came to.
type AppendAck struct {
	channel.Ack
	// Length is how long the text is.
	Length int
	Done   bool
}

// grown is a growing entry as it was last seen.
type grown struct {
	// at is where, its offset 0 for not at all.
	at channel.Position
	// head is the data up to the end of the text.
	head   []byte
	length int
	done   bool
	tags   map[string]string
}

// growing remembers entries that grow, and lets one append to each at a time.
type growing struct {
	mu struct {
		sync.Mutex
		entries map[string]*grower
	}
}

// grower is one of them. Who has turn has the rest.
type grower struct {
	turn  chan struct{}
	users int // under the lock of all
	known *grown
}

// enter waits for the turn at an entry.
func (g *growing) enter(ctx context.Context, id string) (*grower, error) {
	g.mu.Lock()
	w := g.mu.entries[id]
	if w == nil {
		if g.mu.entries == nil {
			g.mu.entries = make(map[string]*grower)
		}
		for old, o := range g.mu.entries {
			if len(g.mu.entries) < maxGrowing {
				break
			}
			if o.users == 0 {
				delete(g.mu.entries, old)
			}
		}
		w = &grower{turn: make(chan struct{}, 1)}
		g.mu.entries[id] = w
	}
	w.users++
	g.mu.Unlock()
	select {
	case w.turn <- struct{}{}:
		return w, nil
	case <-ctx.Done():
		g.forsake(w)
		return nil, channel.ErrUnavailable.Wrap(ctx.Err())
	}
}

func (g *growing) forsake(w *grower) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.users--
}

func (g *growing) leave(w *grower) {
	<-w.turn
	g.forsake(w)
}

// Append appends in the session's name.
func (s *Session) Append(ctx context.Context, r AppendRequest) (AppendAck, error) {
	ns, err := s.hub.namespaceOfState(r.Channel)
	if err != nil {
		return AppendAck{}, err
	}
	if err := s.may(auth.VerbPublish, ns, r.Channel, false); err != nil {
		return AppendAck{}, err
	}
	if err := s.ownsKey(ns, r.Key); err != nil {
		return AppendAck{}, err
	}
	return s.hub.grow(ctx, ns, &r, s)
}

// Append appends in the server's name.
func (h *Hub) Append(ctx context.Context, r AppendRequest) (AppendAck, error) {
	ns, err := h.namespaceOfState(r.Channel)
	if err != nil {
		return AppendAck{}, err
	}
	if ns.System {
		return AppendAck{}, errSystem(ns)
	}
	return h.grow(ctx, ns, &r, nil)
}

func (h *Hub) grow(ctx context.Context, ns *Namespace, r *AppendRequest, by *Session) (AppendAck, error) {
	switch {
	case !utf8.ValidString(r.Text):
		return AppendAck{}, channel.ErrBadRequest.With("the text is not valid UTF-8")
	case r.Text == "" && !r.Done:
		return AppendAck{}, channel.ErrBadRequest.With("there is nothing to append; give text, or done")
	case r.At != nil && *r.At < 0:
		return AppendAck{}, channel.ErrBadRequest.With("at is negative; it is how long the text is before")
	}
	if err := (&EntryRequest{Key: r.Key, TTL: r.TTL}).check(); err != nil {
		return AppendAck{}, err
	}
	w, err := h.growing.enter(ctx, r.Channel+"\x00"+r.Key)
	if err != nil {
		return AppendAck{}, err
	}
	defer h.growing.leave(w)
	for range maxGrowTries {
		if w.known == nil {
			if w.known, err = h.readGrown(ctx, ns, r); err != nil {
				return AppendAck{}, err
			}
		}
		ack, err := h.growOnce(ctx, ns, r, by, w)
		if !errors.Is(err, channel.ErrConflict) || w.known != nil {
			return ack, err
		}
	}
	return AppendAck{}, channel.ErrTooManyRequests.With("too many append to this entry at once, try again")
}

// readGrown reads what there is.
func (h *Hub) readGrown(ctx context.Context, ns *Namespace, r *AppendRequest) (*grown, error) {
	page, err := h.entry(ctx, ns, r.Channel, r.Key)
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 {
		return &grown{head: []byte(growHead), tags: r.Tags}, nil
	}
	p := page.Items[0]
	head, length, done, ok := parseGrown(p)
	if !ok {
		return nil, channel.ErrConflict.With("the entry of this key was not made by appends; remove it, or take another key")
	}
	return &grown{at: p.Position, head: head, length: length, done: done, tags: p.Tags}, nil
}

// growOnce does an append to what is known. Where that is not how it is any
// more it forgets it.
func (h *Hub) growOnce(ctx context.Context, ns *Namespace, r *AppendRequest, by *Session, w *grower) (AppendAck, error) {
	k := w.known
	if k.hiddenFrom(by, r.Channel) {
		return AppendAck{}, errHiddenText()
	}
	text, again, err := k.rest(r)
	if err != nil {
		// Another node may have brought the entry further.
		fresh, readErr := h.readGrown(ctx, ns, r)
		if readErr != nil {
			return AppendAck{}, readErr
		}
		if fresh.at == k.at {
			return AppendAck{}, err
		}
		w.known, k = fresh, fresh
		if k.hiddenFrom(by, r.Channel) {
			return AppendAck{}, errHiddenText()
		}
		if text, again, err = k.rest(r); err != nil {
			return AppendAck{}, err
		}
	}
	if again {
		return AppendAck{Ack: channel.Ack{Position: k.at, Duplicate: true}, Length: k.length, Done: k.done}, nil
	}
	next := &grown{head: appendText(bytes.Clone(k.head), text), length: k.length + units(text), done: r.Done, tags: k.tags}
	p := &channel.PublishRequest{
		Channel: r.Channel, Op: channel.OpPut, Key: r.Key, Data: next.data(), Base: len(k.head), Tags: k.tags, TTL: r.TTL, Expect: &k.at.Offset,
	}
	publish := h.publish
	if by != nil {
		publish, p.Info = by.publish, by.info(nil)
	}
	ack, err := publish(ctx, ns, p)
	if err != nil {
		w.known = nil
		if errors.Is(err, channel.ErrLimitExceeded) {
			h.opts.Metrics.Limit(observe.LimitAppend).Inc()
		}
		return AppendAck{}, err
	}
	next.at = ack.Position
	w.known = next
	return AppendAck{Ack: ack, Length: next.length, Done: next.done}, nil
}

// hiddenFrom reports whether there is a text that a filter of the writer's
// tokens hides: the answers to appends say how long it is.
func (k *grown) hiddenFrom(by *Session, name string) bool {
	return by != nil && k.at.Offset != 0 && !by.Filter(name).Match(k.tags)
}

func errHiddenText() error {
	return channel.ErrPermissionDenied.With("there is a text of this key that the filter of your token keeps from you; take another key")
}

// rest returns what is still to be appended of a request. again: all of it is
// there.
func (k *grown) rest(r *AppendRequest) (text string, again bool, err error) {
	text = r.Text
	if r.At != nil {
		switch at := *r.At; {
		case at > k.length:
			return "", false, channel.ErrConflict.With(fmt.Sprintf("the text is %d long, not %d: something before this is missing", k.length, at))
		case at < k.length:
			there, ok := k.from(at)
			if !ok {
				return "", false, channel.ErrConflict.With(fmt.Sprintf("%d is within a character of two code units; the whole is %d long", at, k.length))
			}
			n := 0
			for n < len(text) && n < len(there) && text[n] == there[n] {
				n++
			}
			if n < len(text) && n < len(there) {
				return "", false, channel.ErrConflict.With(fmt.Sprintf("at %d there is another text; the whole is %d long", at, k.length))
			}
			if text = text[n:]; text == "" && (!r.Done || k.done) {
				return "", true, nil
			}
		}
	}
	if text == "" && r.Done && k.done {
		return "", true, nil
	}
	if k.done {
		return "", false, channel.ErrConflict.With("the text is done, nothing is appended any more")
	}
	return text, false, nil
}

// from returns the text from a UTF-16 index on, if a character begins there.
func (k *grown) from(at int) (string, bool) {
	var text string
	if json.Unmarshal(append(append([]byte{'"'}, k.head[len(growHead):]...), '"'), &text) != nil {
		return "", false
	}
	n := 0
	for i, c := range text {
		if n >= at {
			return text[i:], n == at
		}
		n += unitsOf(c)
	}
	return "", n == at
}

// data returns the entry's data.
func (k *grown) data() []byte {
	b := append(bytes.Clone(k.head), growTail...)
	b = strconv.AppendInt(b, int64(k.length), 10)
	b = append(b, `,"done":`...)
	b = strconv.AppendBool(b, k.done)
	return append(b, '}')
}

// parseGrown reads the data of a growing entry.
func parseGrown(p *channel.Publication) (head []byte, length int, done, ok bool) {
	i := bytes.LastIndex(p.Data, []byte(growTail))
	if p.Op != channel.OpPut || p.Base < len(growHead) || i < p.Base || !bytes.HasPrefix(p.Data, []byte(growHead)) {
		return nil, 0, false, false
	}
	number, rest, _ := bytes.Cut(p.Data[i+len(growTail):], []byte{','})
	length, err := strconv.Atoi(string(number))
	if err != nil {
		return nil, 0, false, false
	}
	return p.Data[:i:i], length, bytes.Equal(rest, []byte(`"done":true}`)), true
}

// Grown returns the data of a publication of a growing entry as subscribers get
// it: {"key","at","text","done"}, where text comes at that place of the text
// that is there before. whole gives all of the text, at 0, for those who have
// not got what came before. It says no to all other publications.
func Grown(p *channel.Publication, whole bool) ([]byte, bool) {
	if p.Base == 0 {
		return nil, false
	}
	head, length, done, ok := parseGrown(p)
	if !ok {
		return nil, false
	}
	part, at := head[len(growHead):], 0
	if !whole {
		part = head[p.Base:]
		at = length - unitsOfJSON(part)
	}
	key, err := json.Marshal(p.Key)
	if err != nil {
		return nil, false
	}
	b := make([]byte, 0, len(key)+len(part)+48)
	b = append(append(b, `{"key":`...), key...)
	b = strconv.AppendInt(append(b, `,"at":`...), int64(at), 10)
	b = append(append(b, `,"text":"`...), part...)
	b = strconv.AppendBool(append(b, `","done":`...), done)
	return append(b, '}'), true
}

// appendText appends a text as it stands in a JSON string.
func appendText(dst []byte, text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(text) != nil {
		return dst
	}
	quoted := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	return append(dst, quoted[1:len(quoted)-1]...)
}

// unitsOf is how many UTF-16 code units a character has.
func unitsOf(c rune) int {
	if c > 0xffff {
		return 2
	}
	return 1
}

func units(text string) (n int) {
	for _, c := range text {
		n += unitsOf(c)
	}
	return n
}

// unitsOfJSON is units of a text as it stands in a JSON string.
func unitsOfJSON(b []byte) (n int) {
	for i := 0; i < len(b); {
		switch c, size := utf8.DecodeRune(b[i:]); {
		case c == '\\' && i+1 < len(b) && b[i+1] == 'u':
			i, n = i+6, n+1
		case c == '\\':
			i, n = i+2, n+1
		default:
			i, n = i+size, n+unitsOf(c)
		}
	}
	return n
}
