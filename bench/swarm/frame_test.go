package swarm_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"myelin/bench/swarm"
)

func TestFramesArePublicFraming(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{0, 1, 125, 126, 127, 65535, 65536, 70000}).Draw(t, "size"))

		frame, err := ws.ReadFrame(bytes.NewReader(swarm.AppendFrame(nil, swarm.OpBinary, payload))) //nolint:staticcheck // bounded by what it reads
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.CheckHeader(frame.Header, ws.StateServerSide); err != nil {
			t.Fatal(err)
		}
		if frame.Header.OpCode != ws.OpBinary || !frame.Header.Fin || !bytes.Equal(ws.UnmaskFrame(frame).Payload, payload) {
			t.Fatalf("a server reads %+v", frame.Header)
		}

		final := rapid.Bool().Draw(t, "final")
		theirs := ws.MustCompileFrame(ws.NewFrame(ws.OpText, final, payload))
		cut := rapid.IntRange(0, len(theirs)-1).Draw(t, "cut")
		if _, _, _, size, err := swarm.ParseFrame(theirs[:cut]); size != 0 || err != nil {
			t.Fatalf("%d of %d bytes gave size %d, error %v", cut, len(theirs), size, err)
		}
		opcode, fin, got, size, err := swarm.ParseFrame(append(theirs, "next"...))
		if err != nil || opcode != swarm.OpText || fin != final || size != len(theirs) || !bytes.Equal(got, payload) {
			t.Fatalf("read opcode %d, final %v, size %d, error %v", opcode, fin, size, err)
		}
	})
	if got, want := swarm.AppendServerFrame(nil, []byte("hello")), ws.MustCompileFrame(ws.NewTextFrame([]byte("hello"))); !bytes.Equal(got, want) {
		t.Errorf("server frame is %x, want %x", got, want)
	}
}

func TestBadFrames(t *testing.T) {
	for name, b := range map[string][]byte{
		"masked":             {0x81, 0x80, 0, 0, 0, 0},
		"reserved bit":       {0xC1, 0x00},
		"unknown opcode":     {0x83, 0x00},
		"fragmented ping":    {0x09, 0x00},
		"long ping":          {0x89, 126, 0, 126},
		"larger than a room": {0x82, 127, 0, 0, 0, 0, 0, 0x20, 0, 0},
		"negative length":    {0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	} {
		if _, _, _, size, err := swarm.ParseFrame(b); err == nil {
			t.Errorf("%s: size %d without an error", name, size)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{0x82, 126, 0, 200})
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, payload, size, err := swarm.ParseFrame(b)
		if err != nil {
			return
		}
		if size < 0 || size > len(b) || len(payload) > size || len(payload) > swarm.MaxMessage {
			t.Fatalf("size %d and payload of %d from %d bytes", size, len(payload), len(b))
		}
		frame, err := ws.ReadFrame(bytes.NewReader(b)) //nolint:staticcheck // bounded by what it reads
		if size > 0 && (err != nil || !bytes.Equal(frame.Payload, payload)) {
			t.Fatalf("gobwas/ws read %x, error %v; here %x", frame.Payload, err, payload)
		}
	})
}

func TestHandshake(t *testing.T) {
	request, accept, check := swarm.Handshake("example.org:8000", "/connection/websocket?a=b", "centrifuge-protobuf")
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Host != "example.org:8000" || r.URL.String() != "/connection/websocket?a=b" || r.Header.Get("Sec-Websocket-Version") != "13" {
		t.Errorf("request is %q", request)
	}
	digest := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if want := base64.StdEncoding.EncodeToString(digest[:]); accept != want {
		t.Errorf("accepts %q, want %q", accept, want)
	}

	good := "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\nSEC-WEBSOCKET-ACCEPT: " + accept +
		"\r\nSec-WebSocket-Protocol: centrifuge-protobuf\r\n\r\n"
	for cut := range len(good) {
		if size, err := check([]byte(good[:cut])); size != 0 || err != nil {
			t.Fatalf("%d bytes gave size %d, error %v", cut, size, err)
		}
	}
	if size, err := check([]byte(good + "\x81\x00")); size != len(good) || err != nil {
		t.Errorf("size %d, error %v, want %d", size, err, len(good))
	}
	for name, bad := range map[string]string{
		"status":         strings.Replace(good, "101 Switching", "200 OK", 1),
		"accept":         strings.Replace(good, accept, "x", 1),
		"no accept":      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"no subprotocol": strings.Replace(good, "centrifuge-protobuf", "", 1),
		"extension":      strings.Replace(good, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1),
		"endless":        "HTTP/1.1 101 " + strings.Repeat("x", 16<<10),
	} {
		if size, err := check([]byte(bad)); err == nil {
			t.Errorf("%s: size %d without an error", name, size)
		}
	}
}
