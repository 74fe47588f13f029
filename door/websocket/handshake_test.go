package websocket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"myelin/conversation/conversationtest"
)

func TestHandshake(t *testing.T) {
	s := newStage(t, conversationtest.Options{}, "https://good.example")
	for name, c := range map[string]struct {
		request  string
		protocol string
	}{
		"as in the RFC":                {request("/ws"), ""},
		"other case":                   {strings.NewReplacer("websocket", "WebSocket", ": Upgrade", ": uPGRADE").Replace(request("/ws")), ""},
		"lists":                        {strings.NewReplacer(": Upgrade", ": keep-alive, Upgrade", ": websocket", ": h2c,websocket").Replace(request("/ws")), ""},
		"a list over two lines":        {strings.Replace(request("/ws"), "Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", 1), ""},
		"JSON":                         {request("/ws", "Sec-WebSocket-Protocol: centrifuge-json"), "centrifuge-json"},
		"Protobuf":                     {request("/ws", "Sec-WebSocket-Protocol: centrifuge-protobuf"), "centrifuge-protobuf"},
		"the client's order":           {request("/ws", "Sec-WebSocket-Protocol: x, centrifuge-protobuf,centrifuge-json"), "centrifuge-protobuf"},
		"the client's order of lines":  {request("/ws", "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol:centrifuge-json, centrifuge-protobuf"), "centrifuge-json"},
		"none of the known":            {request("/ws", "Sec-WebSocket-Protocol: graphql-ws, Centrifuge-JSON"), ""},
		"nonsense for a subprotocol":   {request("/ws", "Sec-WebSocket-Protocol: ,, ;\"x"), ""},
		"extensions are not taken up":  {request("/ws", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), ""},
		"an allowed origin":            {request("/ws", "Origin: https://good.example"), ""},
		"a query":                      {request("/ws?format=json&x=%20"), ""},
		"one way":                      {request("/uni"), ""},
		"an empty body that says so":   {request("/ws", "Content-Length: 0"), ""},
		"a method in other circles":    {request("/ws", "X-HTTP-Method-Override: POST"), ""},
		"headers that say the same":    {request("/ws", "Sec-Fetch-Mode: websocket", "Pragma: no-cache"), ""},
		"Sec-WebSocket-Key with blank": {strings.Replace(request("/ws"), key, "  "+key+"  ", 1), ""},
	} {
		_, r := s.knock(t, end(c.request))
		h := r.Header
		if r.StatusCode != http.StatusSwitchingProtocols || h.Get("Sec-WebSocket-Accept") != accept || h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" {
			t.Errorf("%s: %s, %v", name, r.Status, h)
		}
		if got, there := h["Sec-Websocket-Protocol"]; h.Get("Sec-Websocket-Protocol") != c.protocol || there != (c.protocol != "") {
			t.Errorf("%s: agreed on %q, want %q", name, got, c.protocol)
		}
		if got, there := h["Sec-Websocket-Extensions"]; there {
			t.Errorf("%s: agreed to %q", name, got)
		}
	}
}

// end ends the header of a request.
func end(request string) string { return strings.TrimRight(request, "\r\n") + "\r\n\r\n" }

func TestHandshakesThatAreRefused(t *testing.T) {
	s := newStage(t, conversationtest.Options{}, "https://good.example")
	good := request("/ws")
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the request", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no upgrade":                      {replace("Upgrade: websocket\r\n", ""), 426},
		"another upgrade":                 {replace(": websocket", ": h2c"), 426},
		"almost that upgrade":             {replace(": websocket", ": websockets"), 426},
		"a plain GET":                     {"GET /ws HTTP/1.1\r\nHost: x", 426},
		"no Connection":                   {replace("Connection: Upgrade\r\n", ""), 400},
		"another Connection":              {replace(": Upgrade", ": keep-alive"), 400},
		"almost that Connection":          {replace(": Upgrade", ": Upgrades"), 400},
		"POST":                            {replace("GET ", "POST "), 405},
		"HEAD":                            {replace("GET ", "HEAD "), 405},
		"CONNECT without HTTP/2":          {replace("GET /ws", "CONNECT /ws"), 405},
		"HTTP/1.0":                        {replace("HTTP/1.1", "HTTP/1.0"), 400},
		"no key":                          {replace("Sec-WebSocket-Key: "+key+"\r\n", ""), 400},
		"an empty key":                    {replace(key, ""), 400},
		"a key too short":                 {replace(key, "dGhlIHNhbXBsZQ=="), 400},
		"a key too long":                  {replace(key, "dGhlIHNhbXBsZSBub25jZSE="), 400},
		"a key that is no base64":         {replace(key, "!!!!!!!!!!!!!!!!!!!!!!=="), 400},
		"a key without padding":           {replace(key, strings.TrimRight(key, "=")), 400},
		"two keys":                        {replace("Upgrade: websocket\r\n", "Upgrade: websocket\r\nSec-WebSocket-Key: "+key+"\r\n"), 400},
		"no version":                      {replace("Sec-WebSocket-Version: 13\r\n", ""), 426},
		"version 8":                       {replace(": 13", ": 8"), 426},
		"version 14":                      {replace(": 13", ": 14"), 426},
		"version 013":                     {replace(": 13", ": 013"), 426},
		"a list of versions":              {replace(": 13", ": 13, 8"), 426},
		"two versions":                    {replace("Upgrade: websocket\r\n", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), 426},
		"a body":                          {end(request("/ws", "Content-Length: 5")) + "hello", 400},
		"a body in chunks":                {end(request("/ws", "Transfer-Encoding: chunked")) + "0\r\n\r\n", 400},
		"another origin":                  {request("/ws", "Origin: https://evil.example"), 403},
		"another scheme":                  {request("/ws", "Origin: http://good.example"), 403},
		"no origin at all":                {request("/ws", "Origin: null"), 403},
		"two origins":                     {request("/ws", "Origin: https://good.example", "Origin: https://good.example"), 403},
		"a query that cannot be read":     {request("/ws?token=%zz"), 400},
		"a query that cannot be, one way": {request("/uni?channel=log:a;token=x"), 400},
	} {
		text := c.request
		if !strings.Contains(text, "\r\n\r\n") {
			text = end(text)
		}
		p, r := s.knock(t, text)
		if r.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", name, r.Status, c.status)
			continue
		}
		h := r.Header
		switch {
		case c.status == 426 && h.Get("Upgrade") != "websocket",
			strings.Contains(name, "version") && h.Get("Sec-WebSocket-Version") != "13",
			c.status == 405 && h.Get("Allow") != "GET",
			h.Get("Sec-WebSocket-Accept") != "":
			t.Errorf("%s: headers %v", name, h)
		}
		if name == "HEAD" {
			continue
		}
		var body struct {
			Error struct {
				Code    int
				Message string
			}
		}
		b, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(b, &body) != nil || body.Error.Code == 0 || body.Error.Message == "" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		// Nothing has been taken over: the connection goes on with HTTP.
		if c.status == 403 {
			p.send([]byte(end(request("/ws", "Origin: https://good.example"))))
			if r, err := http.ReadResponse(p.in, nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("%s: on the same connection: %v, %v", name, r, err)
			}
		}
	}
	if n := s.Hub.Connections(); n > 4 {
		t.Errorf("%d sessions are left of handshakes that were refused", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.Connections = 2
	s := newStage(t, o)
	s.dial(t, "/ws")
	s.dial(t, "/uni")
	s.settled(t, 2)
	_, r := s.knock(t, end(request("/ws")))
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || !bytes.Contains(b, []byte("106")) {
		t.Errorf("%s, %v, %q, %v", r.Status, r.Header, b, err)
	}
}

// What comes right behind the request, in the same packet, is not lost.
func TestFramesBehindTheRequest(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	commands := `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"` + echo + `"}}`
	for _, early := range [][]byte{
		text(commands), all(text(commands), text(say("x")))[:100], text(commands)[:1], text(commands)[:5],
	} {
		whole := all(text(commands), text(say("x")))
		p, r := s.knock(t, end(request("/ws"))+string(early))
		if r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(r.Status)
		}
		p.send(whole[len(early):])
		p.wants("1 connect", "2 subscribe", "echo x")
	}
}

// A client of a library, in both formats.
func TestGobwasClient(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	for _, subprotocol := range []string{"centrifuge-json", "centrifuge-protobuf", ""} {
		d := ws.Dialer{}
		if subprotocol != "" {
			d.Protocols = []string{subprotocol}
		}
		conn, _, hs, err := d.Dial(context.Background(), "ws://"+s.address+"/ws")
		if err != nil || hs.Protocol != subprotocol {
			t.Fatalf("%v, agreed on %q", err, hs.Protocol)
		}
		op, message, want := ws.OpText, []byte(`{"id":1,"connect":{}}`), []byte(`"connect":{"client":`)
		if subprotocol == "centrifuge-protobuf" {
			// {id: 1, connect: {}} behind its length.
			op, message, want = ws.OpBinary, []byte("\x04\x08\x01\x22\x00"), []byte("\x08\x01\x2a")
		}
		if err := wsutil.WriteClientMessage(conn, op, message); err != nil {
			t.Fatal(err)
		}
		got, gotOp, err := wsutil.ReadServerData(conn)
		if err != nil || gotOp != op || !bytes.Contains(got, want) {
			t.Errorf("%s: %v %q, %v", subprotocol, gotOp, got, err)
		}
		_ = conn.Close()
	}
}

// The format may be in the query, where no subprotocol can be named.
func TestFormatInTheQuery(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	for _, query := range []string{"format=protobuf", "cf_protocol=protobuf"} {
		p := s.dial(t, "/ws?"+query)
		p.send(f{op: opBinary, payload: "\x04\x08\x01\x22\x00"}.bytes())
		frame, err := readFrame(p.in)
		if err != nil || frame.Header.OpCode != ws.OpBinary {
			t.Errorf("%s: %+v, %v", query, frame.Header, err)
		}
	}
}
