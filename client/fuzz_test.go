package client_test

import (
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"myelin/client"
	"myelin/protocol"
)

// FuzzFrames: whatever the bytes, messages are valid UTF-8 and within the limit,
// and what is read was there.
func FuzzFrames(f *testing.F) {
	f.Add(ws.MustCompileFrame(ws.NewTextFrame([]byte("{}"))))
	f.Add(append(ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, []byte("a"))),
		ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, []byte("b")))...))
	f.Add(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(3000, "x"))))
	f.Add([]byte{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	const limit = 64
	f.Fuzz(func(t *testing.T, raw []byte) {
		messages, err := client.ReadMessages(raw, limit)
		if err == nil {
			t.Fatal("reading ended without an error")
		}
		total := 0
		for _, m := range messages {
			total += len(m)
			if len(m) > limit || !utf8.Valid(m) {
				t.Fatalf("message %q", m)
			}
		}
		if total > len(raw) {
			t.Fatalf("%d bytes of messages from %d", total, len(raw))
		}
	})
}

// FuzzReplies: a connected client survives whatever a server sends, and within an
// epoch the offsets that it delivers only grow.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"id":1}`, `{"id":2,"subscribe":{"recoverable":true,"publications":[{"offset":1}]}}`,
		`{"push":{"channel":"a","pub":{"data":1,"offset":18446744073709551615}}}`,
		`{"push":{"channel":"a","unsubscribe":{"code":2500}}}`, `{"push":{"channel":"a","join":{}}}`,
		`{"push":{"disconnect":{}}}`, `{"push":{"refresh":{"expires":true}}}`, `{"push":{"subscribe":{}}}`,
		`{"id":2,"error":{"code":109}}`, `{"push":{"message":{}}}`, `{"push":{}}`, "\n\n", `[`,
	} {
		f.Add([]byte(s), false)
	}
	f.Add(protocol.AppendReply(nil, protocol.Protobuf, pubReply("a", 3, "x")), true)
	f.Fuzz(func(t *testing.T, payload []byte, protobuf bool) {
		// Time stands still unless the test waits, and it does not.
		synctest.Test(t, func(t *testing.T) {
			fk := newFake(t)
			if protobuf {
				fk.format = protocol.Protobuf
			}
			var last client.Position
			c := fk.start(client.Options{Token: "t", MaxFrame: 1 << 16})
			fk.subscribe(c, "a", client.SubOptions{Recover: true, OnPublication: func(p client.Publication) {
				if p.Position.Offset != 0 && p.Position.Epoch == last.Epoch && p.Position.Offset <= last.Offset {
					t.Errorf("position %v after %v", p.Position, last)
				}
				last = p.Position
			}})
			p := fk.accept()
			p.connect(&protocol.ConnectResult{})
			p.subscribe(&protocol.SubscribeResult{Recoverable: true, Epoch: "e"})
			p.frame(p.op(), payload)
			synctest.Wait()
		})
	})
}
