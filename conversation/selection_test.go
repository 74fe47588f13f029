package conversation_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

// selecting are namespaces with patches and ids for everybody.
func selecting() conversationtest.Options {
	all := conversationtest.Namespaces()
	all["log"].Delta, all["log"].NumericIDs = true, hub.NumericForAll
	return conversationtest.Options{Namespaces: all, Quiet: true, Limits: hub.Limits{FilterNodes: 3}}
}

// publishTagged publishes in the server's name.
func (w *world) publishTagged(t *testing.T, name, data, kind string) {
	t.Helper()
	if _, err := w.Hub.Publish(context.Background(), &channel.PublishRequest{
		Channel: name, Data: []byte(data), Tags: map[string]string{"kind": kind},
	}); err != nil {
		t.Fatal(err)
	}
}

func kindIs(kind string) *protocol.FilterNode {
	return &protocol.FilterNode{Key: "kind", Cmp: "eq", Val: kind}
}

func TestFilterOnTheWire(t *testing.T) {
	stage(t, selecting(), func(t *testing.T, w *world) {
		p := w.connected(t, "")
		w.publishTagged(t, "log:x", `"old a"`, "a")
		w.publishTagged(t, "log:x", `"old b"`, "b")
		r := only(t, p.do(&command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Tf: kindIs("a"), Recover: true}}))
		if got := r.Subscribe; got == nil || len(got.Publications) != 1 || string(got.Publications[0].Data) != `"old a"` || !got.Recovered || got.Offset != 2 {
			t.Errorf("%+v", r)
		}
		w.publishTagged(t, "log:x", `"new b"`, "b")
		w.publishTagged(t, "log:x", `"new a"`, "a")
		if got := tell(p.rest()); got != `log:x pub "new a"` {
			t.Error(got)
		}
	})
}

func TestFilterRefusedOnTheWire(t *testing.T) {
	stage(t, selecting(), func(t *testing.T, w *world) {
		p := w.connected(t, "")
		leaf := &protocol.FilterNode{Key: "k", Cmp: "ex"}
		bombs := []*protocol.FilterNode{{Op: "or", Nodes: []*protocol.FilterNode{leaf, leaf, leaf}}}
		deep := leaf
		for range 30 {
			deep = &protocol.FilterNode{Op: "not", Nodes: []*protocol.FilterNode{deep}}
		}
		bombs = append(bombs, deep, &protocol.FilterNode{Key: "k", Cmp: "eq", Val: strings.Repeat("x", 20_000)})
		bad := []*protocol.FilterNode{{}, {Key: "k", Cmp: "like", Val: "x"}, {Op: "and"}}
		for i, tf := range append(bombs, bad...) {
			r := only(t, p.do(&command{Id: uint32(i + 2), Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Tf: tf}}))
			if r.Error == nil || r.Error.Code != 107 || !strings.Contains(r.Error.Message, "filter") {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if n := w.Metrics.Limit("filter").Value(); n != int64(len(bombs)) {
			t.Errorf("%d bombs counted", n)
		}
		p.expect("9 error 107", &command{Id: 9, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Delta: "zip"}})
		p.expect("10 subscribe", &command{Id: 10, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Tf: bombs[0].Nodes[0]}})
	})
}

func TestPatchesOnTheWire(t *testing.T) {
	stage(t, selecting(), func(t *testing.T, w *world) {
		w.connected(t, "").subscribe("log:x") // keeps the channel open
		p := w.connected(t, "")
		const long = `{"name":"pump 7","state":"running","text":"grüße","n":`
		r := only(t, p.do(&command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Delta: "fossil"}}))
		if r.Subscribe == nil || !r.Subscribe.Delta {
			t.Fatalf("%+v", r)
		}
		for _, n := range []string{"1}", "2}", "3}"} {
			w.publishTagged(t, "log:x", long+n, "a")
		}
		got := p.rest()
		if len(got) != 3 {
			t.Fatal(tell(got))
		}
		for i, r := range got {
			if pub := r.Push.Pub; pub.Delta != (i > 0) || pub.Offset != uint64(i+1) || pub.Tags["kind"] != "a" {
				t.Errorf("%d: %+v", i, pub)
			}
		}
		if w.format == protocol.JSON {
			var text string
			if err := json.Unmarshal(got[0].Push.Pub.Data, &text); err != nil || text != long+"1}" {
				t.Errorf("%q %v", text, err)
			}
		}
		// What is recovered: one whole, then patches.
		p.expect("3 unsubscribe", &command{Id: 3, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "log:x"}})
		r = only(t, p.do(&command{Id: 4, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Delta: "fossil", Recover: true}}))
		pubs := r.Subscribe.GetPublications()
		if len(pubs) != 3 || pubs[0].Delta || !pubs[1].Delta || !pubs[2].Delta {
			t.Errorf("%+v", pubs)
		}
		w.publishTagged(t, "log:x", long+"4}", "a")
		if got := p.rest(); len(got) != 1 || !got[0].Push.Pub.Delta {
			t.Error(tell(got))
		}
		if w.Metrics.Namespace("log").DeltaSaved.Value() <= 0 {
			t.Error("nothing was saved")
		}
	})
}

func TestIDsOnTheWire(t *testing.T) {
	o := selecting()
	o.Namespaces["plain"].NumericIDs = hub.NumericForText
	stage(t, o, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		r := only(t, p.do(&command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "log:x", Flag: 1}}))
		id := r.Subscribe.GetId()
		if id == 0 {
			t.Fatal("no id")
		}
		w.publishTagged(t, "log:x", `1`, "a")
		for _, r := range p.rest() {
			if r.Push.Id != id || r.Push.Channel != "" || r.Push.Pub == nil {
				t.Errorf("%+v", r.Push)
			}
		}
		r = only(t, p.do(&command{Id: 3, Subscribe: &protocol.SubscribeRequest{Channel: "plain:x", Flag: 1}}))
		if got := r.Subscribe.GetId() != 0; got != (w.format == protocol.JSON) {
			t.Errorf("an id in %v: %v", w.format, got)
		}
		// The end of a subscription is told by name.
		if _, err := w.Hub.Unsubscribe(t.Context(), hub.Target{Client: p.conv.ID()}, "log:x"); err != nil {
			t.Fatal(err)
		}
		if got := tell(p.rest()); got != "log:x unsubscribed 2000" {
			t.Error(got)
		}
	})
}
