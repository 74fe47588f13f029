package conversation_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

// call calls an rpc of ours and returns what it gave.
func call[T any](p *peer, method, data string) (out T, failed uint32) {
	p.t.Helper()
	for _, r := range p.do(&command{Id: 9, Rpc: &protocol.RPCRequest{Method: method, Data: []byte(data)}}) {
		switch {
		case r.Id != 9:
		case r.Error != nil:
			return out, r.Error.Code
		default:
			if err := json.Unmarshal(r.Rpc.GetData(), &out); err != nil {
				p.t.Fatalf("%s gave %q: %v", method, r.Rpc.GetData(), err)
			}
			return out, 0
		}
	}
	p.t.Fatalf("%s was not answered", method)
	return out, 0
}

type ack struct {
	Epoch     string
	Offset    uint64
	Duplicate bool
}

// A retry with the same id is the same publication.
func TestRPCPublishIsIdempotent(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		at := p.subscribe("log:a")
		first, _ := call[ack](p, "myelin.publish", `{"channel":"log:a","data":{"n":1},"id":"x"}`)
		if first != (ack{at.Epoch, 1, false}) {
			t.Errorf("first: %v", first)
		}
		again, _ := call[ack](p, "myelin.publish", `{"channel":"log:a","data":{"n":2},"id":"x"}`)
		if again != (ack{at.Epoch, 1, true}) {
			t.Errorf("again: %v", again)
		}
		// From another client as well, since it may be the same one come back.
		other, _ := call[ack](w.connected(t, ""), "myelin.publish", `{"channel":"log:a","data":{"n":3},"id":"x"}`)
		if other != again {
			t.Errorf("from another client: %v", other)
		}
		elsewhere, _ := call[ack](p, "myelin.publish", `{"channel":"log:b","data":1,"id":"x"}`)
		if elsewhere.Offset != 1 || elsewhere.Duplicate {
			t.Errorf("elsewhere: %v", elsewhere)
		}
		for i := range 2 {
			free, _ := call[ack](p, "myelin.publish", `{"channel":"log:a","data":1}`)
			if free.Offset != uint64(i)+2 || free.Duplicate {
				t.Errorf("without an id: %v", free)
			}
		}
		h := only(t, p.do(&command{Id: 2, History: &protocol.HistoryRequest{Channel: "log:a", Limit: -1}})).History
		if got := len(h.GetPublications()); got != 3 {
			t.Errorf("%d publications, want 3", got)
		}
	})
}

// An id is a user's own: nobody uses up those of another user or of the server.
func TestRPCPublishIDsOfOthers(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		user := func(name string) *peer { return w.connected(t, conversationtest.Token(t, claims{"sub": name})) }
		publish := func(p *peer) ack {
			t.Helper()
			got, code := call[ack](p, "myelin.publish", `{"channel":"log:a","data":1,"id":"order-7"}`)
			if code != 0 {
				t.Fatalf("error %d", code)
			}
			return got
		}
		for i, p := range []*peer{user("mallory"), user("ann"), w.connected(t, ""), user("1 ann")} {
			if got := publish(p); got.Duplicate || got.Offset != uint64(i)+1 {
				t.Errorf("user %d: %+v", i, got)
			}
		}
		if got := publish(user("ann")); !got.Duplicate || got.Offset != 2 {
			t.Errorf("a retry by another connection of the user: %+v", got)
		}
		r := &channel.PublishRequest{Channel: "log:a", Data: []byte("1"), ID: "order-7"}
		if got, err := w.Hub.Publish(t.Context(), r); err != nil || got.Duplicate {
			t.Errorf("the server's: %+v, %v", got, err)
		}
	})
}

func TestRPCTime(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		got, _ := call[struct {
			TimeMs int64 `json:"time_ms"`
		}](w.connected(t, ""), "myelin.time", "")
		if got.TimeMs != 946684800000 { // when a bubble begins
			t.Errorf("time is %d", got.TimeMs)
		}
	})
}

func TestRPCChannels(t *testing.T) {
	type listing struct {
		Channels map[string]struct {
			NumClients int `json:"num_clients"`
		}
	}
	stage(t, conversationtest.Options{Introspect: true}, func(t *testing.T, w *world) {
		p, q := w.connected(t, ""), w.connected(t, "")
		p.subscribe("log:a")
		q.subscribe("log:a")
		p.subscribe("log:b")
		p.subscribe("plain:a")
		for data, want := range map[string]string{
			``:                     "map[log:a:{2} log:b:{1} plain:a:{1}]",
			`{}`:                   "map[log:a:{2} log:b:{1} plain:a:{1}]",
			`{"pattern":"log:*"}`:  "map[log:a:{2} log:b:{1}]",
			`{"pattern":"log:a"}`:  "map[log:a:{2}]",
			`{"pattern":"nobody"}`: "map[]",
		} {
			got, _ := call[listing](p, "myelin.channels", data)
			if fmt.Sprint(got.Channels) != want {
				t.Errorf("%s: %v, want %s", data, got.Channels, want)
			}
		}
		if _, code := call[listing](p, "myelin.channels", `[1]`); code != 107 {
			t.Errorf("a list: code %d", code)
		}
	})
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		if _, code := call[listing](w.connected(t, ""), "myelin.channels", `{}`); code != 103 {
			t.Errorf("without leave: code %d", code)
		}
	})
}
