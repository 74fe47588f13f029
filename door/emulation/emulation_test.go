package emulation_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/door/emulation"
	"myelin/hub"
	"myelin/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// out is the way out of a conversation whose commands come by the door.
type out struct {
	mu struct {
		sync.Mutex
		b []byte
	}
}

func (o *out) WriteNow(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.b = append(o.mu.b, p...)
	return len(p), nil
}

func (*out) NotifyWritable(func()) {}
func (*out) Close()                {}

// talker is a client whose commands come by the door.
type talker struct {
	t       *testing.T
	conv    *conversation.Conversation
	out     *out
	format  protocol.Format
	session string
}

// talk opens a connected conversation.
func talk(t *testing.T, w *conversationtest.World, f protocol.Format) *talker {
	t.Helper()
	k := &talker{t: t, out: new(out), format: f}
	frame := func(dst, message []byte, _ string) []byte {
		return protocol.AppendDelimiter(append(dst, message...), f)
	}
	conv, err := w.Host.Open(conversation.Transport{
		Conn: k.out, Wire: conversation.NewWire(f, conversation.Framing{Frame: frame}, false), Emulated: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	k.conv = conv
	t.Cleanup(func() { conv.Close(hub.DisconnectConnectionClosed) })
	conv.Handle(k.frame(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}}))
	r := k.replies()
	if len(r) != 1 || r[0].Connect == nil || r[0].Connect.Node != w.Hub.Node() {
		t.Fatalf("connect: %v", r)
	}
	k.session = r[0].Connect.Session
	return k
}

func (k *talker) frame(commands ...*protocol.Command) []byte {
	var b []byte
	for _, c := range commands {
		b = protocol.AppendDelimiter(protocol.AppendCommand(b, k.format, c), k.format)
	}
	return b
}

// replies waits until all is at rest and returns what came.
func (k *talker) replies() []*protocol.Reply {
	k.t.Helper()
	synctest.Wait()
	k.out.mu.Lock()
	defer k.out.mu.Unlock()
	var got []*protocol.Reply
	err := protocol.DecodeReplies(k.format, k.out.mu.b, func(r *protocol.Reply) error {
		got = append(got, r)
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.out.mu.b = nil
	return got
}

// request encodes an emulation request in one of the formats, whatever the
// format of the conversation.
func request(t *testing.T, f protocol.Format, node, session string, frame []byte) []byte {
	t.Helper()
	var b []byte
	var err error
	if f == protocol.Protobuf {
		b, err = (&protocol.EmulationRequest{Node: node, Session: session, Data: frame}).MarshalCF()
	} else {
		b, err = json.Marshal(map[string]string{"node": node, "session": session, "data": string(frame)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func contentType(f protocol.Format) string {
	if f == protocol.Protobuf {
		return "application/octet-stream"
	}
	return "application/json"
}

// stage runs a test in a bubble with a world and the door.
func stage(t *testing.T, o conversationtest.Options, test func(t *testing.T, w *conversationtest.World, d *emulation.Door)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := conversationtest.New(t, o)
		test(t, w, emulation.New(emulation.Options{Host: w.Host, Node: conversationtest.Node, Metrics: w.Metrics}))
	})
}

func post(d *emulation.Door, contentType string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/emulation", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	a := httptest.NewRecorder()
	d.ServeHTTP(a, r)
	return a
}

func TestCommandsAreHandledInOrder(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *conversationtest.World, d *emulation.Door) {
		for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
			k := talk(t, w, f)
			for i := range uint32(20) {
				frame := k.frame(
					&protocol.Command{Id: 2*i + 2, Rpc: &protocol.RPCRequest{Method: "myelin.time"}},
					&protocol.Command{Id: 2*i + 3, Rpc: &protocol.RPCRequest{Method: "\"é\u2028\\"}})
				if a := post(d, contentType(f), request(t, f, conversationtest.Node, k.session, frame)); a.Code != http.StatusNoContent || a.Body.Len() > 0 {
					t.Fatalf("%v: %d %s", f, a.Code, a.Body)
				}
			}
			got := k.replies()
			for i, r := range got {
				if r.Id != uint32(i)+2 || (r.Error != nil) != (i%2 == 1) {
					t.Errorf("%v: reply %d is %v", f, i, r)
				}
			}
			if len(got) != 40 {
				t.Errorf("%v: %d replies", f, len(got))
			}
		}
	})
}

// The content type says how the request is written, not the conversation.
func TestFormatsOfRequestAndConversation(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *conversationtest.World, d *emulation.Door) {
		k := talk(t, w, protocol.JSON)
		for i, c := range []struct {
			kind string
			body func(frame []byte) []byte
		}{
			{"application/octet-stream; v=1", func(b []byte) []byte { return request(t, protocol.Protobuf, conversationtest.Node, k.session, b) }},
			{"Application/Octet-Stream", func(b []byte) []byte { return request(t, protocol.Protobuf, conversationtest.Node, k.session, b) }},
			{"", func(b []byte) []byte { return request(t, protocol.JSON, conversationtest.Node, k.session, b) }},
			{"text/plain;charset=UTF-8", func(b []byte) []byte { return request(t, protocol.JSON, conversationtest.Node, k.session, b) }},
			// Some clients embed the commands themselves.
			{"application/json", func(b []byte) []byte {
				return []byte(`{"node":"` + conversationtest.Node + `","session":"` + k.session + `","data":` + string(b) + `}`)
			}},
		} {
			id := uint32(i) + 2
			a := post(d, c.kind, c.body(k.frame(&protocol.Command{Id: id, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})))
			if r := k.replies(); a.Code != http.StatusNoContent || len(r) != 1 || r[0].Id != id {
				t.Errorf("%q: %d %s, %v", c.kind, a.Code, a.Body, r)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.MessageBytes = 1000
	stage(t, o, func(t *testing.T, w *conversationtest.World, d *emulation.Door) {
		k := talk(t, w, protocol.JSON)
		node, session := conversationtest.Node, k.session
		frame := k.frame(&protocol.Command{Id: 7, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
		for name, c := range map[string]struct {
			body   []byte
			status int
			code   uint32
		}{
			"another node":   {request(t, protocol.JSON, "elsewhere", session, frame), 404, 102},
			"no node":        {request(t, protocol.JSON, "", session, frame), 404, 102},
			"no session":     {request(t, protocol.JSON, node, "", frame), 204, 0},
			"a session gone": {request(t, protocol.JSON, node, "x", frame), 204, 0},
			// The id of a client is known to others, its session is not.
			"a client's id":    {request(t, protocol.JSON, node, k.conv.ID(), frame), 204, 0},
			"no body":          {nil, 400, 107},
			"not JSON":         {[]byte(`{"node":`), 400, 107},
			"not an object":    {[]byte(`[]`), 400, 107},
			"a broken string":  {[]byte(`{"data":"\u12"}`), 400, 107},
			"not UTF-8":        {[]byte("{\"node\":\"\xff\"}"), 400, 107},
			"too deep":         {[]byte(`{"data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`), 400, 107},
			"too much":         {bytes.Repeat([]byte(" "), 40_000), 413, 1004},
			"too much of JSON": {request(t, protocol.JSON, node, session, bytes.Repeat([]byte("\n"), 40_000)), 413, 1004},
		} {
			a := post(d, "application/json", c.body)
			var body struct {
				Error struct {
					Code    uint32
					Message string
				}
			}
			if a.Code != http.StatusNoContent {
				if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil || body.Error.Message == "" {
					t.Errorf("%s: %q: %v", name, a.Body, err)
				}
			}
			if a.Code != c.status || body.Error.Code != c.code {
				t.Errorf("%s: %d %s, want %d with code %d", name, a.Code, a.Body, c.status, c.code)
			}
			if r := k.replies(); len(r) > 0 {
				t.Errorf("%s: the client got %v", name, r)
			}
		}
		for _, method := range []string{"GET", "PUT", "HEAD", "DELETE"} {
			a := httptest.NewRecorder()
			d.ServeHTTP(a, httptest.NewRequest(method, "/emulation", http.NoBody))
			if a.Code != http.StatusMethodNotAllowed || a.Header().Get("Allow") != "POST" {
				t.Errorf("%s: %d, %v", method, a.Code, a.Header())
			}
		}
	})
}

// What is wrong with the commands is said on the stream, like all answers.
func TestBadCommands(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *conversationtest.World, d *emulation.Door) {
		for name, frame := range map[string]string{"nothing": "", "noise": "noise", "no request": `{"id":1}`} {
			k := talk(t, w, protocol.JSON)
			body := request(t, protocol.JSON, conversationtest.Node, k.session, []byte(frame))
			if a := post(d, "application/json", body); a.Code != http.StatusNoContent {
				t.Errorf("%s: %d %s", name, a.Code, a.Body)
			}
			if r := k.replies(); len(r) != 1 || r[0].Push.GetDisconnect().GetCode() != 3501 {
				t.Errorf("%s: %v", name, r)
			}
		}
	})
}

// Requests that come at once are handled one after the other.
func TestConcurrentRequests(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *conversationtest.World, d *emulation.Door) {
		k := talk(t, w, protocol.JSON)
		var posting sync.WaitGroup
		for i := range uint32(50) {
			posting.Go(func() {
				frame := k.frame(
					&protocol.Command{Id: 2*i + 2, Rpc: &protocol.RPCRequest{Method: "myelin.time"}},
					&protocol.Command{Id: 2*i + 3, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
				post(d, "application/json", request(t, protocol.JSON, conversationtest.Node, k.session, frame))
			})
		}
		posting.Wait()
		got := k.replies()
		for i := 0; i+1 < len(got); i += 2 {
			if got[i].Id+1 != got[i+1].Id {
				t.Errorf("frames were mixed: %d, then %d", got[i].Id, got[i+1].Id)
			}
		}
		if len(got) != 100 {
			t.Errorf("%d replies, want 100", len(got))
		}
	})
}

// Whatever comes, the answer is 204 or an error in JSON.
func FuzzRequest(f *testing.F) {
	w := conversationtest.New(f, conversationtest.Options{Quiet: true})
	d := emulation.New(emulation.Options{Host: w.Host, Node: conversationtest.Node})
	f.Add("application/json", []byte(`{"node":"node-1","session":"x","data":"{\"id\":1,\"rpc\":{}}"}`))
	f.Add("application/octet-stream", []byte("\n\x06node-1\x12\x01x\x1a\x02\x08\x01"))
	f.Add("", []byte(`{"data":{"id":1}}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(body)))
		r.Header["Content-Type"] = []string{kind}
		a := httptest.NewRecorder()
		d.ServeHTTP(a, r)
		if a.Code != http.StatusNoContent && !json.Valid(a.Body.Bytes()) {
			t.Errorf("%d: %q", a.Code, a.Body)
		}
	})
}
