package conversation_test

import (
	"testing"

	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

// Whatever a client sends, before connect and after: no panic, and what comes
// back can be read.
func FuzzHandle(f *testing.F) {
	o := conversationtest.Options{Quiet: true, Introspect: true}
	o.Limits.MessageBytes = 4 << 10
	w := conversationtest.New(f, o)
	token := conversationtest.Token(f, claims{"sub": "u", "channel": "room:a"})
	seeds := requests()
	seeds["connect"] = connectWith("")
	seeds["connect with a token"] = connectWith(conversationtest.Token(f, claims{"sub": "u", "channels": []string{"log:a"}}))
	seeds["subscribe with a token"] = &command{Subscribe: &protocol.SubscribeRequest{Channel: "room:a", Token: token, JoinLeave: true}}
	seeds["both"] = &command{Connect: &protocol.ConnectRequest{}, SubRefresh: &protocol.SubRefreshRequest{Channel: "a", Token: token}}
	seeds["recover"] = &command{Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Recover: true, Offset: 1 << 60, Flag: 2}}
	seeds["rpc"] = &command{Rpc: &protocol.RPCRequest{Method: "myelin.publish", Data: []byte(`{"channel":"log:a","data":{},"id":"x"}`)}}
	for _, format := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		for _, c := range seeds {
			c.Id = 7
			f.Add(format == protocol.Protobuf, true, frame(format, c, c))
			f.Add(format == protocol.Protobuf, false, frame(format, c))
		}
	}
	f.Fuzz(func(t *testing.T, protobuf, connected bool, b []byte) {
		format := protocol.JSON
		if protobuf {
			format = protocol.Protobuf
		}
		conn := new(transport)
		conv, err := w.Host.Open(conversation.Transport{Conn: conn, Wire: conversation.NewWire(format, framing(format), false)})
		if err != nil {
			t.Fatal(err)
		}
		if connected && !conv.Handle(frame(format, connectWith(""))) {
			t.Fatal("not connected")
		}
		conv.Handle(b)
		conv.Close(hub.DisconnectBadRequest)
		for got := conn.take(); len(got) > 0; {
			var message []byte
			message, got = cut(format, got)
			if err := protocol.DecodeReplies(format, message, func(*protocol.Reply) error { return nil }); err != nil {
				t.Errorf("the answer to %q is %q: %v", b, message, err)
			}
		}
	})
}
