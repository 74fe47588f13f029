package conversation_test

import (
	"encoding/base64"
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

// pub returns the one publication there must be.
func pub(t *testing.T, replies []*protocol.Reply) *protocol.Publication {
	t.Helper()
	r := only(t, replies)
	if r.Push == nil || r.Push.Pub == nil {
		t.Fatalf("want a publication, got %s", tell(replies))
	}
	return r.Push.Pub
}

// Any bytes that a Protobuf client publishes reach JSON clients as JSON.
func TestBytesReachEveryClient(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		reader := w.connected(t, "")
		reader.subscribe("log:a")
		writer := w.openAs(t, protocol.Protobuf, false)
		writer.connect("")
		for data, json := range map[string]string{
			`{"a":1}`:               `{"a":1}`,
			`"text"`:                `"text"`,
			"{\n  \"a\": 1\n}\n":    `{  "a": 1}`,
			"\xff\x00\x01":          `{"$b64":"/wAB"}`,
			"\"\xff\"":              `{"$b64":"Iv8i"}`,
			"not json":              `{"$b64":"bm90IGpzb24="}`,
			`1,"b":2`:               `{"$b64":"MSwiYiI6Mg=="}`,
			`{"a":1} {"b":2}`:       `{"$b64":"eyJhIjoxfSB7ImIiOjJ9"}`,
			"\xef\xbb\xbf{\"a\":1}": `{"$b64":"77u/eyJhIjoxfQ=="}`,
			"\n":                    `{"$b64":"Cg=="}`,
		} {
			writer.expect("2 publish", &command{Id: 2, Publish: &protocol.PublishRequest{Channel: "log:a", Data: []byte(data)}})
			want := data
			if w.format == protocol.JSON {
				want = json
			}
			if got := pub(t, reader.rest()); string(got.Data) != want {
				t.Errorf("%q arrived as %q, want %q", data, got.Data, want)
			}
		}
	})
}

// What rpc takes from a Protobuf client is not looked into by the JSON
// decoder; text that is none would end the connection of every JSON client in
// the channel.
func TestRPCPublishTakesText(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		reader := w.connected(t, "")
		reader.subscribe("log:a")
		writer := w.openAs(t, protocol.Protobuf, false)
		writer.connect("")
		rpc := func(data string) *command {
			return &command{Id: 2, Rpc: &protocol.RPCRequest{Method: "myelin.publish", Data: []byte(data)}}
		}
		writer.expect("2 error 107", rpc("{\"channel\":\"log:a\",\"data\":\"\xff\"}"))
		writer.expect("2 error 107", rpc("{\"channel\":\"log:a\",\"data\":1}}"))
		if got := tell(reader.rest()); got != "" {
			t.Errorf("the reader got %s", got)
		}
		writer.expect("2 rpc", rpc("{\"channel\":\"log:a\",\"data\":\n{\"a\":\n\"\u2028\"},\"tags\":{\"k\":\"v\"}}"))
		got := pub(t, reader.rest())
		want := "{\"a\":\n\"\u2028\"}"
		if w.format == protocol.JSON {
			want = "{\"a\":\"\u2028\"}"
		}
		if string(got.Data) != want || got.Tags["k"] != "v" || got.Info == nil || got.Info.Client != writer.conv.ID() {
			t.Errorf("arrived as %q with %v and %v, want %q", got.Data, got.Tags, got.Info, want)
		}
	})
}

// A token may carry bytes (b64info, b64data). Whoever reads JSON must be able
// to read of such a client, or one member would shut the others out.
func TestBytesInTokens(t *testing.T) {
	raw := []byte("\xff\x00,")
	text := base64.StdEncoding.EncodeToString(raw)
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		want := string(raw)
		if w.format == protocol.JSON {
			want = `{"$b64":"` + text + `"}`
		}
		check := func(where string, i *protocol.ClientInfo, chanInfo string) {
			t.Helper()
			if i == nil || i.User != "u" || string(i.ConnInfo) != want || string(i.ChanInfo) != chanInfo {
				t.Errorf("%s: %v, want conn_info %q and chan_info %q", where, i, want, chanInfo)
			}
		}
		watcher := w.connected(t, "")
		watcher.expect("2 subscribe, room:a join", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "room:a", JoinLeave: true}})
		p := w.openAs(t, protocol.Protobuf, false)
		p.connect(conversationtest.Token(t, claims{"sub": "u", "b64info": text}))
		p.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{
			Channel: "room:a", Token: conversationtest.Token(t, claims{"sub": "u", "channel": "room:a", "b64info": text}),
		}})
		check("join", only(t, watcher.rest()).Push.Join.Info, want)
		p.expectAll("3 publish, room:a pub 1", &command{Id: 3, Publish: &protocol.PublishRequest{Channel: "room:a", Data: []byte(`1`)}})
		check("publication", pub(t, watcher.rest()).Info, "")
		r := only(t, watcher.do(&command{Id: 4, Presence: &protocol.PresenceRequest{Channel: "room:a"}}))
		check("presence", r.Presence.GetPresence()[p.conv.ID()], want)
		r = only(t, watcher.do(&command{Id: 5, History: &protocol.HistoryRequest{Channel: "room:a", Limit: -1}}))
		check("history", r.History.GetPublications()[0].Info, "")
		p.expect("6 unsubscribe", &command{Id: 6, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "room:a"}})
		check("leave", only(t, watcher.rest()).Push.Leave.Info, want)

		watcher.expect("7 unsubscribe", &command{Id: 7, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "room:a"}})
		r = only(t, watcher.do(&command{Id: 8, Subscribe: &protocol.SubscribeRequest{
			Channel: "room:a", Token: conversationtest.Token(t, claims{"sub": "", "channel": "room:a", "b64data": text}),
		}}))
		if got := string(r.Subscribe.GetData()); got != want {
			t.Errorf("the subscription's data is %q, want %q", got, want)
		}
	})
}

// What the server publishes may be laid out in lines; a message is one line.
func TestLinesInData(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		p.subscribe("log:a")
		data := "{\n\t\"a\": \"\\n\u2028\",\r\n\"b\": []\n}"
		if _, err := w.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: "log:a", Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		want := data
		if w.format == protocol.JSON {
			want = "{\t\"a\": \"\\n\u2028\",\r\"b\": []}"
		}
		if got := pub(t, p.rest()); string(got.Data) != want {
			t.Errorf("arrived as %q, want %q", got.Data, want)
		}
	})
}
