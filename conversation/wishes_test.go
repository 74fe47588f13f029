package conversation_test

import (
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

// A client says in the data of its subscribe request how it wants to be
// served, and hears what it got.
func TestWishes(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		for range 3 {
			if _, failed := call[ack](p, "myelin.publish", `{"channel":"log:a","data":1}`); failed != 0 {
				t.Fatal(failed)
			}
		}
		for _, c := range []struct {
			data, answer string
			pubs         int
			code         channel.Code
		}{
			{"", "", 0, 0},
			{`"text"`, "", 0, 0},
			{`{"mine":1}`, "", 0, 0},
			{`{"myelin":{"rate":2}}`, `{"myelin":{"rate":2}}`, 0, 0},
			{`{"mine":1,"myelin":{"rate":0.5,"since":"last"}}`, `{"myelin":{"rate":0.5,"since":"last"}}`, 1, 0},
			{`{"myelin":{"since":1}}`, `{"myelin":{"since":1}}`, 2, 0},
			{`{"myelin":{"rate":2,"since":0}}`, `{"myelin":{"rate":2,"since":0}}`, 1, 0},
			{`{"myelin":{"rate":-1}}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":{"rate":1e9}}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":{"rat":1}}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":{"since":"first"}}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":{"since":-1}}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":null}`, "", 0, channel.CodeBadRequest},
			{`{"myelin":[]}`, "", 0, channel.CodeBadRequest},
		} {
			r := only(t, p.do(&command{Id: 5, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Data: []byte(c.data)}}))
			if c.code != 0 {
				if r.Error.GetCode() != uint32(c.code) {
					t.Errorf("%s: %v", c.data, r)
				}
				continue
			}
			if r.Subscribe == nil || string(r.Subscribe.Data) != c.answer || len(r.Subscribe.Publications) != c.pubs {
				t.Errorf("%s: %v", c.data, r)
			}
			p.do(&command{Id: 6, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "log:a"}})
		}
	})
}
