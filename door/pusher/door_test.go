package pusher_test

import (
	"bufio"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/door/pusher"
	"myelin/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key    = "app-key"
	secret = "app-secret"
)

// stage is a door on a loopback socket.
type stage struct {
	*conversationtest.World
	server *httptest.Server
}

func newStage(t *testing.T, limits hub.Limits) *stage {
	t.Helper()
	return newStageAsking(t, limits, nil)
}

// newStageAsking is a stage whose application is asked.
func newStageAsking(t *testing.T, limits hub.Limits, hooks conversation.Hooks) *stage {
	t.Helper()
	spaces := conversationtest.Namespaces()
	open, token, subs := auth.NewWhoSet(auth.WhoAnonymous), auth.NewWhoSet(auth.WhoToken), auth.NewWhoSet(auth.WhoSubscriber)
	spaces["pub"] = &hub.Namespace{Policy: &channel.Policy{Namespace: "pub", HistorySize: 100}, Rules: auth.Rules{Subscribe: open}, PositionCheck: -1}
	spaces["priv"] = &hub.Namespace{
		Policy: &channel.Policy{Namespace: "priv", HistorySize: 100}, Rules: auth.Rules{Subscribe: token, Publish: subs},
		Presence: true, JoinLeave: true, PositionCheck: -1,
	}
	if hooks != nil {
		spaces["pub"].AskSubscribe, spaces["priv"].AskSubscribe, spaces["priv"].AskPublish = true, true, true
	}
	var d *pusher.Door
	t.Cleanup(func() { // after the hub has closed
		d.Wait()
	})
	s := &stage{World: conversationtest.New(t, conversationtest.Options{Namespaces: spaces, Limits: limits, Quiet: true, Hooks: hooks})}
	origins, err := auth.NewOrigins(nil)
	if err != nil {
		t.Fatal(err)
	}
	d = pusher.New(t.Context(), pusher.Options{
		Hub: s.Hub, Host: s.Host, Origins: origins, AppID: "1", Key: key, Secret: secret, Public: "pub", Private: "priv",
		Members: 3, ClientEvents: 2, Metrics: s.Metrics,
	})
	mux := http.NewServeMux()
	mux.Handle("/app/{key}", d)
	mux.Handle("/apps/", d.API())
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	return s
}

// peer is a client of few words.
type peer struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	socket string
}

func (s *stage) dial(t *testing.T, path string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
	r, err := http.ReadResponse(p.in, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", r, err)
	}
	return p
}

func (s *stage) connect(t *testing.T) *peer {
	t.Helper()
	p := s.dial(t, "/app/"+key+"?protocol=7&client=test&version=1")
	m := p.next()
	var data struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(m.text()), &data); err != nil || m.Event != "pusher:connection_established" {
		t.Fatalf("%+v, %v", m, err)
	}
	p.socket = data.SocketID
	return p
}

type message struct {
	Event, Channel string
	Data           json.RawMessage
	code           int
}

func (m message) text() string {
	var s string
	_ = json.Unmarshal(m.Data, &s)
	return s
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	b := fmt.Appendf(nil, format, args...)
	frame := []byte{0x81}
	if len(b) < 126 {
		frame = append(frame, 0x80|byte(len(b)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(b)))
	}
	frame = append(frame, 0, 0, 0, 0) // a mask of zeros
	if _, err := p.conn.Write(append(frame, b...)); err != nil {
		p.t.Fatal(err)
	}
}

// next waits for a message; the event of a close frame is "close".
func (p *peer) next() message {
	p.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(p.in, head); err != nil {
		p.t.Fatal(err)
	}
	n := int(head[1])
	if n == 126 {
		var size [2]byte
		_, _ = io.ReadFull(p.in, size[:])
		n = int(binary.BigEndian.Uint16(size[:]))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.in, b); err != nil {
		p.t.Fatal(err)
	}
	if head[0] == 0x88 {
		return message{Event: "close", code: int(binary.BigEndian.Uint16(b))}
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		p.t.Fatalf("%q: %v", b, err)
	}
	return m
}

// wants waits for an event and returns its message.
func (p *peer) wants(event string) message {
	p.t.Helper()
	m := p.next()
	if m.Event != event {
		p.t.Fatalf("%s %s, want %s", m.Event, m.Data, event)
	}
	return m
}

// join subscribes with a signature where that is needed.
func (p *peer) join(name, data string) {
	p.t.Helper()
	text := p.socket + ":" + name
	more := ""
	if data != "" {
		text += ":" + data
		quoted, _ := json.Marshal(data)
		more = `,"channel_data":` + string(quoted)
	}
	p.send(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":"%s:%s"%s}}`, name, key, pusher.Sign(secret, text), more)
}

func TestSubscribing(t *testing.T) {
	s := newStage(t, hub.Limits{ChannelsPerConnection: 4})
	p := s.connect(t)
	for _, c := range []struct{ send, want, holds string }{
		{`{"event":"pusher:subscribe","data":{"channel":"a"}}`, "pusher_internal:subscription_succeeded", "{}"},
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"b\"}"}`, "pusher_internal:subscription_succeeded", "{}"},
		{`{"event":"pusher:subscribe","data":{"channel":"a"}}`, "pusher:subscription_error", "already"},
		{`{"event":"pusher:subscribe","data":{"channel":"private-a"}}`, "pusher:subscription_error", `"status":401`},
		{`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"app-key:00"}}`, "pusher:subscription_error", `"status":401`},
		{`{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"app-key:00","channel_data":"{}"}}`, "pusher:subscription_error", `"status":401`},
		{`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-1"}}`, "pusher:subscription_error", `"status":401`},
		{`{"event":"pusher:subscribe","data":{"channel":"a b"}}`, "pusher:error", "letters"},
		{`{"event":"pusher:subscribe","data":7}`, "pusher:error", "4300"},
		{`{"event":"nonsense"}`, "pusher:error", "4300"},
		{`nonsense`, "pusher:error", "4300"},
		{`{"event":"pusher:ping","data":{}}`, "pusher:pong", "{}"},
		{`{"event":"client-x","channel":"a","data":{}}`, "pusher:error", "4301"},
		{`{"event":"client-x","channel":"private-none","data":{}}`, "pusher:error", "4301"},
	} {
		p.send("%s", c.send)
		if m := p.wants(c.want); !strings.Contains(string(m.Data), c.holds) {
			t.Errorf("%s: %s", c.send, m.Data)
		}
	}
	p.join("presence-x", "")
	if m := p.wants("pusher:subscription_error"); !strings.Contains(string(m.Data), "channel_data") {
		t.Errorf("%s", m.Data)
	}
	p.join("private-a", "")
	p.wants("pusher_internal:subscription_succeeded")
	p.send(`{"event":"pusher:unsubscribe","data":{"channel":"b"}}`)
	p.send(`{"event":"pusher:ping"}`) // it has been done when this is answered
	p.wants("pusher:pong")
	s.Publish(t, "pub:b", "not for me")
	s.Publish(t, "priv:private-a", map[string]int{"n": 1})
	if m := p.wants("message"); m.Channel != "private-a" || m.text() != `{"n":1}` {
		t.Errorf("%+v", m)
	}
	// A signature is for one socket.
	other := s.connect(t)
	other.socket = p.socket
	other.join("private-a", "")
	other.wants("pusher:subscription_error")
}

func TestWhoMayConnect(t *testing.T) {
	s := newStage(t, hub.Limits{})
	for path, code := range map[string]int{
		"/app/other?protocol=7": 4001, "/app/" + key: 4008, "/app/" + key + "?protocol=8": 4007, "/app/" + key + "?protocol=x": 4006,
	} {
		p := s.dial(t, path)
		p.wants("pusher:error")
		if m := p.wants("close"); m.code != code {
			t.Errorf("%s: %d", path, m.code)
		}
	}
	if n := s.Hub.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
	p := s.connect(t)
	if _, err := s.Hub.Disconnect(t.Context(), hub.Target{User: ""}, hub.DisconnectShutdown, nil); err == nil {
		t.Error("nobody was named")
	}
	go func() { _ = s.Hub.Drain(t.Context(), 0) }()
	if m := p.wants("close"); m.code != 4100 {
		t.Errorf("%d", m.code)
	}
}

func TestPresence(t *testing.T) {
	s := newStage(t, hub.Limits{})
	ann, bob, bob2 := s.connect(t), s.connect(t), s.connect(t)
	ann.join("presence-x", `{"user_id":"ann","user_info":{"n":1}}`)
	if m := ann.wants("pusher_internal:subscription_succeeded"); m.text() != `{"presence":{"ids":["ann"],"hash":{"ann":{"n":1}},"count":1}}` {
		t.Errorf("%s", m.text())
	}
	bob.join("presence-x", `{"user_id":2}`)
	if m := bob.wants("pusher_internal:subscription_succeeded"); !strings.Contains(m.text(), `"hash":{"2":null,"ann":{"n":1}}`) {
		t.Errorf("%s", m.text())
	}
	if m := ann.wants("pusher_internal:member_added"); m.text() != `{"user_id":"2","user_info":null}` {
		t.Errorf("%s", m.text())
	}
	bob2.join("presence-x", `{"user_id":"2"}`)
	bob2.wants("pusher_internal:subscription_succeeded")
	_ = bob.conn.Close()
	// The third member is the last one, and the second connection of another
	// is none.
	cid, dan := s.connect(t), s.connect(t)
	cid.join("presence-x", `{"user_id":"cid"}`)
	cid.wants("pusher_internal:subscription_succeeded")
	dan.join("presence-x", `{"user_id":"dan"}`)
	if m := dan.wants("pusher:subscription_error"); !strings.Contains(string(m.Data), "LimitReached") {
		t.Errorf("%s", m.Data)
	}
	ann.wants("pusher_internal:member_added")
	bob2.wants("pusher_internal:member_added")
	bob2.send(`{"event":"client-hi","channel":"presence-x","data":"x"}`)
	for _, p := range []*peer{ann, cid} {
		p.wants("client-hi")
	}
	bob2.send(`{"event":"pusher:unsubscribe","data":{"channel":"presence-x"}}`)
	if m := ann.wants("pusher_internal:member_removed"); m.text() != `{"user_id":"2"}` {
		t.Errorf("%s", m.text())
	}
	// Two in a second are what a client may send.
	for range 3 {
		ann.send(`{"event":"client-hi","channel":"presence-x","data":"x"}`)
	}
	if m := ann.wants("pusher:error"); !strings.Contains(string(m.Data), "4301") {
		t.Errorf("%s", m.Data)
	}
}

func TestUser(t *testing.T) {
	s := newStage(t, hub.Limits{})
	p := s.connect(t)
	in := func(p *peer, data, sign string) {
		quoted, _ := json.Marshal(data)
		p.send(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%s}}`, key, pusher.Sign(secret, p.socket+"::user::"+sign), quoted)
	}
	in(p, `{"id":"ann"}`, `{"id":"ann"}`)
	p.wants("pusher:signin_success")
	in(p, `{"id":"bob"}`, `{"id":"bob"}`)
	p.wants("pusher:error")
	p.send(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ann"}}`)
	p.wants("pusher_internal:subscription_succeeded")
	p.join("presence-x", "")
	if m := p.wants("pusher_internal:subscription_succeeded"); !strings.Contains(m.text(), `"ann"`) {
		t.Errorf("%s", m.text())
	}
	if status, body := s.api(t, "POST", "/apps/1/users/ann/terminate_connections", nil, "{}"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if m := p.wants("close"); m.code != 4009 {
		t.Errorf("%d", m.code)
	}
	forger := s.connect(t)
	in(forger, `{"id":"ann"}`, `{"id":"bob"}`)
	if m := forger.wants("close"); m.code != 4009 {
		t.Errorf("%d", m.code)
	}
}

// api makes a signed request.
func (s *stage) api(t *testing.T, method, path string, q map[string]string, body string) (int, string) {
	t.Helper()
	all := map[string]string{"auth_key": key, "auth_timestamp": fmt.Sprint(time.Now().Unix()), "auth_version": "1.0"}
	if body != "" {
		sum := md5.Sum([]byte(body))
		all["body_md5"] = hex.EncodeToString(sum[:])
	}
	maps.Copy(all, q)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, k+"="+all[k])
	}
	query := strings.Join(parts, "&")
	query += "&auth_signature=" + pusher.Sign(secret, method+"\n"+path+"\n"+query)
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+path+"?"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, strings.TrimSpace(string(b))
}

func TestAPI(t *testing.T) {
	s := newStage(t, hub.Limits{MessageBytes: 1000})
	p := s.connect(t)
	p.join("a", "")
	p.wants("pusher_internal:subscription_succeeded")
	p.join("presence-x", `{"user_id":"ann"}`)
	p.wants("pusher_internal:subscription_succeeded")
	for _, c := range []struct {
		method, path string
		query        map[string]string
		body         string
		status       int
		want         string
	}{
		{"POST", "/apps/1/events", nil, `{"name":"e","channels":["a"],"data":"{}"}`, 200, `{}`},
		{"POST", "/apps/1/events", nil, `{"name":"e","channel":"a","data":"{}","info":"subscription_count"}`, 200, `{"channels":{"a":{"subscription_count":1}}}`},
		{"POST", "/apps/1/events", nil, `{"name":"e","channel":"a","data":"{}","socket_id":"` + p.socket + `"}`, 200, `{}`},
		{"POST", "/apps/1/batch_events", nil, `{"batch":[{"name":"e","channel":"a","data":{"n":1}}]}`, 200, `{}`},
		{"POST", "/apps/1/batch_events", nil, `{"batch":[]}`, 400, ""},
		{"POST", "/apps/1/batch_events", nil, `{"batch":[null]}`, 400, ""},
		{"POST", "/apps/1/events", nil, `{"name":"client-e","channel":"a","data":"{}"}`, 400, ""},
		{"POST", "/apps/1/events", nil, `{"name":"e","data":"{}"}`, 400, ""},
		{"POST", "/apps/1/events", nil, `{"name":"e","channel":"a"}`, 400, ""},
		{"POST", "/apps/1/events", nil, `[`, 400, ""},
		{"POST", "/apps/1/events", nil, `{"name":"e","channel":"a","data":"` + strings.Repeat("x", 1001) + `"}`, 413, ""},
		{"GET", "/apps/1/channels", nil, "", 200, `{"channels":{"a":{},"presence-x":{}}}`},
		{"GET", "/apps/1/channels", map[string]string{"filter_by_prefix": "presence-", "info": "user_count"}, "", 200, `{"channels":{"presence-x":{"user_count":1}}}`},
		{"GET", "/apps/1/channels", map[string]string{"info": "user_count"}, "", 400, ""},
		{"GET", "/apps/1/channels/a", nil, "", 200, `{"occupied":true}`},
		{"GET", "/apps/1/channels/none", map[string]string{"info": "subscription_count"}, "", 200, `{"occupied":false,"subscription_count":0}`},
		{"GET", "/apps/1/channels/a", map[string]string{"info": "secrets"}, "", 400, ""},
		{"GET", "/apps/1/channels/presence-x/users", nil, "", 200, `{"users":[{"id":"ann"}]}`},
		{"GET", "/apps/1/channels/a/users", nil, "", 400, ""},
		{"GET", "/apps/2/channels", nil, "", 404, ""},
		{"GET", "/apps/1/nothing", nil, "", 404, ""},
	} {
		status, body := s.api(t, c.method, c.path, c.query, c.body)
		if status != c.status || c.want != "" && body != c.want {
			t.Errorf("%s %s %v %s: %d %s", c.method, c.path, c.query, c.body, status, body)
		}
	}
	for range 3 {
		p.wants("e")
	}
}
