package conversation_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	command = protocol.Command
	claims  = conversationtest.Claims
)

// stage runs a test in both formats, each in a bubble with a world of its own.
func stage(t *testing.T, o conversationtest.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		t.Run(f.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, &world{conversationtest.New(t, o), f})
			})
		})
	}
}

// world is a World whose clients speak one format unless told otherwise.
type world struct {
	*conversationtest.World
	format protocol.Format
}

// transport is a connection that takes everything, unless it is blocked.
type transport struct {
	mu struct {
		sync.Mutex
		got     []byte
		blocked bool
		ready   func()
		closed  bool
	}
}

func (c *transport) WriteNow(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.blocked {
		return 0, nil
	}
	c.mu.got = append(c.mu.got, p...)
	return len(p), nil
}

func (c *transport) NotifyWritable(ready func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.ready = ready
}

func (c *transport) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
}

// block stops taking, or takes again.
func (c *transport) block(yes bool) {
	c.mu.Lock()
	ready := c.mu.ready
	c.mu.blocked, c.mu.ready = yes, nil
	c.mu.Unlock()
	if !yes && ready != nil {
		go ready()
	}
}

func (c *transport) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.mu.got
	c.mu.got = nil
	return got
}

// framing puts a delimiter behind each message, as HTTP streaming does.
func framing(f protocol.Format) conversation.Framing {
	return conversation.Framing{Frame: func(dst, message []byte, _ string) []byte {
		return protocol.AppendDelimiter(append(dst, message...), f)
	}}
}

// peer is a client that talks.
type peer struct {
	t      *testing.T
	conv   *conversation.Conversation
	conn   *transport
	format protocol.Format
	// gone: Handle said that the conversation is over.
	gone bool
}

// open begins a conversation.
func (w *world) open(t *testing.T) *peer { return w.openAs(t, w.format, false) }

func (w *world) openAs(t *testing.T, f protocol.Format, emulated bool) *peer {
	t.Helper()
	p := &peer{t: t, conn: new(transport), format: f}
	conv, err := w.Host.Open(conversation.Transport{
		Conn: p.conn, Wire: conversation.NewWire(f, framing(f), false), Emulated: emulated,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.conv = conv
	t.Cleanup(func() { conv.Close(hub.DisconnectConnectionClosed) })
	return p
}

// connected begins a conversation and connects it, with a token or without.
func (w *world) connected(t *testing.T, token string) *peer {
	t.Helper()
	p := w.open(t)
	p.connect(token)
	return p
}

func (p *peer) connect(token string) *protocol.ConnectResult {
	p.t.Helper()
	r := p.do(&command{Id: 1, Connect: &protocol.ConnectRequest{Token: token}})
	if len(r) != 1 || r[0].Connect == nil {
		p.t.Fatalf("connect gave %s", tell(r))
	}
	return r[0].Connect
}

// frame encodes commands.
func frame(f protocol.Format, commands ...*command) []byte {
	var b []byte
	for _, c := range commands {
		b = protocol.AppendDelimiter(protocol.AppendCommand(b, f, c), f)
	}
	return b
}

// do sends commands in one frame and returns what came of them, and of what
// else happened until everything is at rest.
func (p *peer) do(commands ...*command) []*protocol.Reply {
	p.t.Helper()
	return p.raw(frame(p.format, commands...))
}

func (p *peer) raw(b []byte) []*protocol.Reply {
	p.t.Helper()
	p.gone = !p.conv.Handle(b)
	return p.rest()
}

// rest waits until everything is at rest and returns what came.
func (p *peer) rest() []*protocol.Reply {
	p.t.Helper()
	synctest.Wait()
	var out []*protocol.Reply
	for b := p.conn.take(); len(b) > 0; {
		var message []byte
		message, b = cut(p.format, b)
		err := protocol.DecodeReplies(p.format, message, func(r *protocol.Reply) error {
			out = append(out, r)
			return nil
		})
		if err != nil {
			p.t.Fatalf("the client got what it cannot read: %v", err)
		}
	}
	return out
}

// cut cuts the first message off: there may be more than a frame can hold.
func cut(f protocol.Format, b []byte) (message, rest []byte) {
	if f == protocol.JSON {
		end := bytes.IndexByte(b, '\n') + 1
		return b[:end], b[end:]
	}
	size, used := binary.Uvarint(b)
	end := used + int(size)
	return b[:end], b[end:]
}

// expect sends commands and compares what came with want, see tell.
func (p *peer) expect(want string, commands ...*command) {
	p.t.Helper()
	if got := tell(p.do(commands...)); got != want {
		p.t.Errorf("%s\n got %s\nwant %s", tellCommands(commands), got, want)
	}
}

// expectAll is expect for what may come in any order, as the reply to a publish
// and the publication itself do. want is in alphabetical order.
func (p *peer) expectAll(want string, commands ...*command) {
	p.t.Helper()
	got := strings.Split(tell(p.do(commands...)), ", ")
	slices.Sort(got)
	if got := strings.Join(got, ", "); got != want {
		p.t.Errorf("%s\n got %s\nwant %s", tellCommands(commands), got, want)
	}
}

func (p *peer) subscribe(name string) *protocol.SubscribeResult {
	p.t.Helper()
	r := p.do(&command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: name, Recoverable: true}})
	if len(r) != 1 || r[0].Subscribe == nil {
		p.t.Fatalf("subscribe gave %s", tell(r))
	}
	return r[0].Subscribe
}

func tellCommands(commands []*command) string {
	var out []string
	for _, c := range commands {
		out = append(out, string(protocol.AppendCommand(nil, protocol.JSON, c)))
	}
	return strings.Join(out, " ")
}

// tell puts replies into few words: "7 publish, 8 error 103, log:a pub 5".
func tell(replies []*protocol.Reply) string {
	var out []string
	for _, r := range replies {
		switch {
		case r.Push != nil:
			out = append(out, tellPush(r.Push))
		case r.Error != nil:
			out = append(out, fmt.Sprintf("%d error %d", r.Id, r.Error.Code))
		case r.Id == 0:
			out = append(out, "ping")
		default:
			out = append(out, fmt.Sprintf("%d %s", r.Id, kindOf(r)))
		}
	}
	return strings.Join(out, ", ")
}

func kindOf(r *protocol.Reply) string {
	for kind, there := range map[string]bool{
		"connect": r.Connect != nil, "subscribe": r.Subscribe != nil, "unsubscribe": r.Unsubscribe != nil,
		"publish": r.Publish != nil, "presence": r.Presence != nil, "presence_stats": r.PresenceStats != nil,
		"history": r.History != nil, "rpc": r.Rpc != nil, "refresh": r.Refresh != nil, "sub_refresh": r.SubRefresh != nil,
	} {
		if there {
			return kind
		}
	}
	return "nothing"
}

func tellPush(p *protocol.Push) string {
	switch {
	case p.Pub != nil:
		return fmt.Sprintf("%s pub %s", p.Channel, p.Pub.Data)
	case p.Join != nil:
		return p.Channel + " join"
	case p.Leave != nil:
		return p.Channel + " leave"
	case p.Unsubscribe != nil:
		return fmt.Sprintf("%s unsubscribed %d", p.Channel, p.Unsubscribe.Code)
	case p.Subscribe != nil:
		return p.Channel + " subscribed"
	case p.Connect != nil:
		return "connect"
	case p.Disconnect != nil:
		return fmt.Sprintf("disconnect %d", p.Disconnect.Code)
	case p.Refresh != nil:
		return "refresh"
	}
	return "ping"
}

// only returns the one reply there must be.
func only(t *testing.T, replies []*protocol.Reply) *protocol.Reply {
	t.Helper()
	if len(replies) != 1 {
		t.Fatalf("want one reply, got %q", tell(replies))
	}
	return replies[0]
}

// offsets returns the offsets of the publications among replies.
func offsets(replies []*protocol.Reply) []uint64 {
	var out []uint64
	for _, r := range replies {
		if r.Push != nil && r.Push.Pub != nil {
			out = append(out, r.Push.Pub.Offset)
		}
	}
	return out
}

// span is the numbers from first to last.
func span(first, last uint64) []uint64 {
	var out []uint64
	for i := first; i <= last; i++ {
		out = append(out, i)
	}
	return out
}

func wantOffsets(t *testing.T, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("offsets %v, want %v", got, want)
	}
}

func fmtID(id uint32, what string) string { return fmt.Sprintf("%d %s", id, what) }

// channels returns how many channels have subscribers.
func channels(t *testing.T, h *hub.Hub) int {
	t.Helper()
	found, err := h.Channels(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
