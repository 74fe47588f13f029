package conversation_test

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"myelin/channel"
	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

// listener is a client that only listens, on a transport that carries ids as
// SSE does.
type listener struct {
	t      *testing.T
	conv   *conversation.Conversation
	conn   *transport
	format protocol.Format
	// lastID is the last id that came.
	lastID string
}

// withID frames a message with its id.
func withID(dst, message []byte, id string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(id)))
	dst = append(dst, id...)
	dst = binary.AppendUvarint(dst, uint64(len(message)))
	return append(dst, message...)
}

func (w *world) wire() *conversation.Wire {
	return conversation.NewWire(w.format, conversation.Framing{Frame: withID}, true)
}

// listen opens a conversation of a client that only listens.
func (w *world) listen(t *testing.T, resumable bool) *listener {
	t.Helper()
	l := &listener{t: t, conn: new(transport), format: w.format}
	conv, err := w.Host.Open(conversation.Transport{Conn: l.conn, Wire: w.wire(), Resumable: resumable})
	if err != nil {
		t.Fatal(err)
	}
	l.conv = conv
	t.Cleanup(func() { conv.Close(hub.DisconnectConnectionClosed) })
	return l
}

// resume connects to channels with the last id of another listener.
func (w *world) resume(t *testing.T, lastID string, channels ...string) *listener {
	t.Helper()
	l := w.listen(t, true)
	if err := l.conv.ConnectOneWay(wanting(channels...), lastID); err != nil {
		t.Fatal(err)
	}
	return l
}

func wanting(channels ...string) *protocol.ConnectRequest {
	r := &protocol.ConnectRequest{Subs: map[string]*protocol.SubscribeRequest{}}
	for _, name := range channels {
		r.Subs[name] = &protocol.SubscribeRequest{Recoverable: true}
	}
	return r
}

// rest waits until everything is at rest and returns what came.
func (l *listener) rest() []*protocol.Push {
	l.t.Helper()
	synctest.Wait()
	var out []*protocol.Push
	field := func(b []byte) (string, []byte) {
		n, used := binary.Uvarint(b)
		return string(b[used : used+int(n)]), b[used+int(n):]
	}
	for b := l.conn.take(); len(b) > 0; {
		var id, message string
		id, b = field(b)
		message, b = field(b)
		if id != "" {
			l.lastID = id
		}
		err := protocol.DecodePushes(l.format, []byte(message), func(p *protocol.Push) error {
			out = append(out, p)
			return nil
		})
		if err != nil {
			l.t.Fatalf("the client got what it cannot read: %v", err)
		}
	}
	return out
}

// hear returns what came in words, recovered publications included.
func (l *listener) hear() []string {
	l.t.Helper()
	var out []string
	for _, p := range l.rest() {
		out = append(out, tellPush(p))
		var names []string
		for name := range p.Connect.GetSubs() {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			sub := p.Connect.Subs[name]
			if sub.WasRecovering && !sub.Recovered {
				out = append(out, name+" lost")
			}
			for _, m := range sub.Publications {
				out = append(out, name+" again "+string(m.Data))
			}
		}
	}
	return out
}

func (l *listener) wants(want ...string) {
	l.t.Helper()
	if got := l.hear(); !slices.Equal(got, want) {
		l.t.Errorf("heard %q, want %q", got, want)
	}
}

func TestOneWay(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		l := w.listen(t, false)
		token := conversationtest.Token(t, claims{"sub": "u", "channels": []string{"nobody:a"}})
		req := wanting("log:a", "user:a")
		req.Token = token
		if err := l.conv.ConnectOneWay(req, ""); err != nil {
			t.Fatal(err)
		}
		got := l.rest()
		if len(got) != 1 || got[0].Connect == nil {
			t.Fatalf("got %v", got)
		}
		c := got[0].Connect
		if c.Client != l.conv.ID() || c.Version != "test" || c.Ping != 25 || c.Pong || c.Session != "" || len(c.Subs) != 3 {
			t.Errorf("connect: %v", c)
		}
		for _, name := range []string{"nobody:a", "log:a", "user:a", "log:b"} {
			w.Publish(t, name, 1)
		}
		l.wants("nobody:a pub 1", "log:a pub 1", "user:a pub 1")
		if l.lastID != "" {
			t.Errorf("an id on a wire without them: %q", l.lastID)
		}
		// A client that cannot ask again is sent back with its positions.
		if l.conv.ConnectFromMessage(nil, nil) {
			t.Error("connected twice")
		}
	})
}

func TestOneWayRefused(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		for name, c := range refused(t) {
			l := w.listen(t, true)
			err := l.conv.ConnectOneWay(&protocol.ConnectRequest{Token: c.token}, "")
			if d := conversation.AsDisconnect(err); err == nil || (d.Code != 3005 && d.Code != 3500) {
				t.Errorf("%s: %v", name, err)
			}
			l.wants()
		}
		for name, code := range map[string]uint32{"nobody:a": 3507, "who:a": 3507, "user:a": 3507, "": 3501, "log:\x00": 3501} {
			l := w.listen(t, true)
			err := l.conv.ConnectOneWay(wanting("log:a", name), "")
			if d := conversation.AsDisconnect(err); err == nil || d.Code != code {
				t.Errorf("%q: %v", name, err)
			}
			l.conv.Close(hub.DisconnectConnectionClosed)
		}
		if n := channels(t, w.Hub); n != 0 {
			t.Errorf("%d channels have subscribers after all were refused", n)
		}
	})
}

func TestConnectFromMessage(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		encode := func(r *protocol.ConnectRequest) []byte {
			if w.format == protocol.Protobuf {
				b, err := r.MarshalCF()
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			return r.AppendJSON(nil)
		}
		l := w.listen(t, false)
		if !l.conv.ConnectFromMessage(encode(wanting("log:a")), nil) {
			t.Error("not connected")
		}
		l.wants("connect")
		for want, b := range map[string][]byte{
			"disconnect 3501": []byte("\xff\xff\xff"),
			"disconnect 3507": encode(wanting("nobody:a")),
			"disconnect 3500": encode(&protocol.ConnectRequest{Token: "x"}),
		} {
			l := w.listen(t, false)
			if l.conv.ConnectFromMessage(b, nil) {
				t.Errorf("%s: connected", want)
			}
			l.wants(want)
		}
	})
}

// Cut, missed, resumed: the exact sequence in every channel.
func TestResume(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		l := w.resume(t, "", "log:a", "log:b", "plain:c")
		l.wants("connect")
		cut := func() string {
			l.conv.Close(hub.DisconnectConnectionClosed)
			return l.lastID
		}
		id := cut()
		w.Publish(t, "log:a", 1)
		w.Publish(t, "plain:c", 1)
		w.Publish(t, "log:a", 2)
		l = w.resume(t, id, "log:a", "log:b", "plain:c")
		l.wants("connect", "log:a again 1", "log:a again 2")

		w.Publish(t, "log:b", 3)
		w.Publish(t, "log:a", 4)
		l.wants("log:b pub 3", "log:a pub 4")
		id = cut()
		// The id of an earlier moment brings back what came after it.
		w.Publish(t, "log:b", 5)
		l = w.resume(t, id, "log:a", "log:b")
		l.wants("connect", "log:b again 5")
		id = cut()

		// Other channels than before: the new one begins now, the old one goes on.
		w.Publish(t, "log:a", 6)
		w.Publish(t, "log:d", 6)
		l = w.resume(t, id, "log:d", "log:a")
		l.wants("connect", "log:a again 6")
		w.Publish(t, "log:d", 7)
		w.Publish(t, "log:b", 7)
		l.wants("log:d pub 7")
	})
}

// Resuming is the transport's own: the client need not ask to be recoverable.
// What the server takes away is not resumed.
func TestResumeUnasked(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		token := conversationtest.Token(t, claims{"sub": "u"})
		l := w.listen(t, true)
		err := l.conv.ConnectOneWay(&protocol.ConnectRequest{Token: token, Subs: map[string]*protocol.SubscribeRequest{
			"log:a": {}, "log:b": {}, "plain:c": {},
		}}, "")
		if err != nil {
			t.Fatal(err)
		}
		known := func() int {
			t.Helper()
			_, n, err := conversation.ReadResume(l.lastID)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		l.wants("connect")
		if n := known(); n != 2 {
			t.Errorf("%d channels can be resumed, want log:a and log:b", n)
		}
		if _, err := w.Hub.Unsubscribe(t.Context(), hub.Target{User: "u"}, "log:a"); err != nil {
			t.Fatal(err)
		}
		l.wants("log:a unsubscribed 2000")
		if n := known(); n != 1 {
			t.Errorf("%d channels can be resumed, want log:b", n)
		}
	})
}

// What cannot be brought back is said to be lost, and the stream goes on.
func TestResumeAfterLoss(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		l := w.resume(t, "", "small:a", "log:b")
		l.wants("connect")
		l.conv.Close(hub.DisconnectConnectionClosed)
		for i := range 4 {
			w.Publish(t, "small:a", i)
		}
		w.Publish(t, "log:b", 1)
		good := l.lastID
		l = w.resume(t, good, "small:a", "log:b")
		l.wants("connect", "log:b again 1", "small:a lost")
		w.Publish(t, "small:a", 9)
		l.wants("small:a pub 9")
		for name, id := range map[string]string{
			"foreign": "42", "tampered": good[:len(good)-1] + "!", "of spaces": "  ", "huge": string(make([]byte, 1<<16)),
		} {
			l := w.resume(t, id, "small:a", "plain:a")
			if got := l.hear(); !slices.Contains(got, "small:a lost") {
				t.Errorf("an id that is %s: %q", name, got)
			}
		}
		// A new epoch is a loss as well.
		l = w.resume(t, newEpoch(t, l.lastID), "small:a")
		l.wants("connect", "small:a lost")
	})
}

// newEpoch returns a resume token as another life of the server gave it out.
func newEpoch(t *testing.T, id string) string {
	t.Helper()
	if _, _, err := conversation.ReadResume(id); err != nil {
		t.Fatal(err)
	}
	r := conversation.NewResumePoint()
	r.Move("small:a", channel.Position{Epoch: "gone", Offset: 5})
	return r.Token()
}

// The server subscribes, unsubscribes and publishes while the client is being
// connected: the session's resume point is moved from two sides.
func TestResumeWhileTheServerActs(t *testing.T) {
	stage(t, conversationtest.Options{Quiet: true}, func(t *testing.T, w *world) {
		token := conversationtest.Token(t, claims{"sub": "u", "channels": []string{"log:a", "log:b"}})
		stop := make(chan struct{})
		var acting sync.WaitGroup
		act := func(f func() error) {
			acting.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := f(); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		who := hub.Target{User: "u"}
		act(func() error {
			// It fails where it is unsubscribed in the midst of it.
			_, _ = w.Hub.Subscribe(t.Context(), who, hub.SubscribeRequest{Channel: "log:c", Recoverable: true})
			return nil
		})
		act(func() error {
			_, err := w.Hub.Unsubscribe(t.Context(), who, "log:c")
			return err
		})
		act(func() error {
			_, err := w.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte(`1`)})
			return err
		})
		for range 50 {
			l := w.listen(t, true)
			req := wanting("log:d", "log:e")
			req.Token = token
			if err := l.conv.ConnectOneWay(req, ""); err != nil {
				t.Error(err)
			}
			l.conv.Close(hub.DisconnectConnectionClosed)
		}
		close(stop)
		acting.Wait()
	})
}
