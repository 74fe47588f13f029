package conversation_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

// requests returns one valid request of each kind but connect.
func requests() map[string]*command {
	const ch = "log:a"
	return map[string]*command{
		"subscribe":      {Subscribe: &protocol.SubscribeRequest{Channel: ch}},
		"unsubscribe":    {Unsubscribe: &protocol.UnsubscribeRequest{Channel: ch}},
		"publish":        {Publish: &protocol.PublishRequest{Channel: ch, Data: []byte(`1`)}},
		"presence":       {Presence: &protocol.PresenceRequest{Channel: "room:a"}},
		"presence_stats": {PresenceStats: &protocol.PresenceStatsRequest{Channel: "room:a"}},
		"history":        {History: &protocol.HistoryRequest{Channel: ch}},
		"rpc":            {Rpc: &protocol.RPCRequest{Method: "myelin.time"}},
		"refresh":        {Refresh: &protocol.RefreshRequest{Token: "x"}},
		"sub_refresh":    {SubRefresh: &protocol.SubRefreshRequest{Channel: ch, Token: "x"}},
		"send":           {Send: &protocol.SendRequest{Data: []byte(`1`)}},
	}
}

// Nothing but connect is a first command; nothing else is even looked at.
func TestFirstCommand(t *testing.T) {
	stage(t, conversationtest.Options{Introspect: true}, func(t *testing.T, w *world) {
		for name, c := range requests() {
			c.Id = 7
			w.open(t).expect("disconnect 3501", c)
			// A request that hides behind connect comes after it, as the
			// protocol has it: one request is handled, connect before others.
			c.Connect = &protocol.ConnectRequest{}
			p := w.open(t)
			if got := tell(p.do(c)); got != "7 connect" {
				t.Errorf("connect and %s in one command: %s", name, got)
			}
			p.expect("disconnect 3501", c)
		}
		w.open(t).expect("disconnect 3501", &command{})
		w.open(t).expect("disconnect 3501", &command{Id: 1})
		w.open(t).expect("disconnect 3501", &command{Connect: &protocol.ConnectRequest{}})
		w.open(t).expect("disconnect 3501", &command{Connect: &protocol.ConnectRequest{}, Send: &protocol.SendRequest{}})
	})
}

// What hides behind connect must not be handled with nobody's rights, nor
// bring the server down: a token of a subscription is checked against the
// connection's user, and there was none.
func TestNothingHidesBehindConnect(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		token := conversationtest.Token(t, claims{"sub": "u", "channel": "log:a"})
		for name, c := range map[string]*command{
			"subscribe":   {Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Token: token}},
			"sub_refresh": {SubRefresh: &protocol.SubRefreshRequest{Channel: "log:a", Token: token}},
		} {
			c.Id, c.Connect = 1, &protocol.ConnectRequest{}
			if got := tell(w.open(t).do(c)); got != "1 connect" {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

// misuse is one command after connect and what comes of it.
type misuse struct {
	name string
	c    *command
	want string
}

func subscribeTo(name string) *command {
	return &command{Id: 7, Subscribe: &protocol.SubscribeRequest{Channel: name}}
}

func publishTo(name, data string) *command {
	return &command{Id: 7, Publish: &protocol.PublishRequest{Channel: name, Data: []byte(data)}}
}

func rpcOf(method, data string) *command {
	return &command{Id: 7, Rpc: &protocol.RPCRequest{Method: method, Data: []byte(data)}}
}

func historyOf(r *protocol.HistoryRequest) *command { return &command{Id: 7, History: r} }

// tooLong is longer than a channel's name or a message id may be.
var tooLong = strings.Repeat("x", 256)

// misusesOfChannels are subscribing, unsubscribing and publishing.
func misusesOfChannels() []misuse {
	return []misuse{
		{"second connect", &command{Id: 7, Connect: &protocol.ConnectRequest{}}, "disconnect 3501"},
		{"no request", &command{Id: 7}, "disconnect 3501"},
		{"a pong nobody asked for", &command{}, "disconnect 3501"},
		{"send", &command{Send: &protocol.SendRequest{Data: []byte(`1`)}}, "disconnect 3508"},
		{"send with an id", &command{Id: 7, Send: &protocol.SendRequest{Data: []byte(`1`)}}, "disconnect 3508"},

		{"subscribe", subscribeTo("log:a"), "7 subscribe"},
		{"subscribe twice", subscribeTo("log:there"), "7 error 105"},
		{"subscribe to an unknown namespace", subscribeTo("who:a"), "7 error 102"},
		{"subscribe to the default namespace, which is not there", subscribeTo("a"), "7 error 102"},
		{"subscribe to nothing", subscribeTo(""), "7 error 107"},
		{"subscribe to a name too long", subscribeTo("log:" + tooLong), "7 error 107"},
		{"subscribe to a name with a control character", subscribeTo("log:a\x01"), "7 error 107"},
		{"subscribe where nobody may", subscribeTo("nobody:a"), "7 error 103"},
		{"subscribe to a map", &command{Id: 7, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Type: 1}}, "7 error 108"},
		{"subscribe to an unknown type", &command{Id: 7, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Type: 99}}, "7 error 108"},
		{"subscribe with a negative type", &command{Id: 7, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Type: -1}}, "7 error 108"},
		{"subscribe with a token that is none", &command{Id: 7, Subscribe: &protocol.SubscribeRequest{Channel: "log:a", Token: "x"}}, "7 error 103"},

		{"unsubscribe", &command{Id: 7, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "log:there"}}, "7 unsubscribe"},
		{"unsubscribe from what is not subscribed to", &command{Id: 7, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "log:z"}}, "7 unsubscribe"},
		{"unsubscribe from an unknown namespace", &command{Id: 7, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "who:z"}}, "7 unsubscribe"},
		{"unsubscribe from nothing", &command{Id: 7, Unsubscribe: &protocol.UnsubscribeRequest{}}, "7 error 107"},

		{"publish", publishTo("log:z", `1`), "7 publish"},
		{"publish no data", publishTo("log:z", ``), "7 error 107"},
		{"publish to nothing", publishTo("", `1`), "7 error 107"},
		{"publish to an unknown namespace", publishTo("who:z", `1`), "7 error 102"},
		{"publish where nobody may", publishTo("nobody:z", `1`), "7 error 103"},
		{"publish the most", publishTo("log:z", `"`+strings.Repeat("x", 998)+`"`), "7 publish"},
		{"publish too much", publishTo("log:z", `"`+strings.Repeat("x", 999)+`"`), "7 error 106"},
		{"publish to a map", &command{Id: 7, Publish: &protocol.PublishRequest{Channel: "log:z", Data: []byte(`1`), Type: 1}}, "7 error 108"},
	}
}

// misusesOfCalls are the commands that ask.
func misusesOfCalls() []misuse {
	return []misuse{
		{"presence", &command{Id: 7, Presence: &protocol.PresenceRequest{Channel: "room:a"}}, "7 presence"},
		{"presence where it is off", &command{Id: 7, Presence: &protocol.PresenceRequest{Channel: "log:a"}}, "7 error 108"},
		{"presence of nothing", &command{Id: 7, Presence: &protocol.PresenceRequest{}}, "7 error 107"},
		{"presence of an unknown namespace", &command{Id: 7, Presence: &protocol.PresenceRequest{Channel: "who:a"}}, "7 error 102"},
		{"presence where nobody may", &command{Id: 7, Presence: &protocol.PresenceRequest{Channel: "nobody:a"}}, "7 error 103"},
		{"presence_stats", &command{Id: 7, PresenceStats: &protocol.PresenceStatsRequest{Channel: "room:a"}}, "7 presence_stats"},
		{"presence_stats where it is off", &command{Id: 7, PresenceStats: &protocol.PresenceStatsRequest{Channel: "log:a"}}, "7 error 108"},
		{"presence_stats where nobody may", &command{Id: 7, PresenceStats: &protocol.PresenceStatsRequest{Channel: "nobody:a"}}, "7 error 103"},

		{"history", historyOf(&protocol.HistoryRequest{Channel: "log:there", Limit: 10}), "7 history"},
		{"history with no limit", historyOf(&protocol.HistoryRequest{Channel: "log:there", Limit: -1}), "7 history"},
		{"history where there is none", historyOf(&protocol.HistoryRequest{Channel: "plain:a"}), "7 error 108"},
		{"history of nothing", historyOf(&protocol.HistoryRequest{}), "7 error 107"},
		{"history where nobody may", historyOf(&protocol.HistoryRequest{Channel: "nobody:a"}), "7 error 103"},
		{"history of another epoch", historyOf(&protocol.HistoryRequest{Channel: "log:there", Since: &protocol.StreamPosition{Epoch: "x"}}), "7 error 112"},
		{"history before the beginning", historyOf(&protocol.HistoryRequest{Channel: "log:there", Since: &protocol.StreamPosition{}, Reverse: true}), "7 error 107"},

		{"an unknown rpc", rpcOf("x", `{}`), "7 error 104"},
		{"an rpc without a method", rpcOf("", `{}`), "7 error 104"},
		{"an unknown rpc of ours", rpcOf("myelin.x", `{}`), "7 error 104"},
		{"rpc myelin.time", rpcOf("myelin.time", `{}`), "7 rpc"},
		{"rpc myelin.time without data", rpcOf("myelin.time", ``), "7 rpc"},
		{"rpc myelin.channels without leave", rpcOf("myelin.channels", `{}`), "7 error 103"},
		{"rpc myelin.publish without data", rpcOf("myelin.publish", ``), "7 error 107"},
		{"rpc myelin.publish of null", rpcOf("myelin.publish", `null`), "7 error 107"},
		{"rpc myelin.publish of a list", rpcOf("myelin.publish", `[]`), "7 error 107"},
		{"rpc myelin.publish of no data", rpcOf("myelin.publish", `{"channel":"log:z"}`), "7 error 107"},
		{"rpc myelin.publish of bad data", rpcOf("myelin.publish", `{"channel":"log:z","data":}`), "7 error 107"},
		{"rpc myelin.publish with a misspelt deadline", rpcOf("myelin.publish", `{"channel":"log:z","data":1,"expires_ms":1}`), "7 error 107"},
		{"rpc myelin.publish with half a pair as id", rpcOf("myelin.publish", `{"channel":"log:z","data":1,"id":"\ud83d"}`), "7 error 107"},
		{"rpc myelin.publish with a pair as id", rpcOf("myelin.publish", `{"channel":"log:z","data":1,"id":"\ud83d\ude00"}`), "7 rpc"},
		{"rpc myelin.append of half a pair", rpcOf("myelin.append", `{"channel":"state:z","key":"k","text":"a\ud83d"}`), "7 error 107"},
		{"rpc myelin.append with a misspelt text", rpcOf("myelin.append", `{"channel":"state:z","key":"k","txt":"a","done":true}`), "7 error 107"},
		{"rpc myelin.state.set of half a pair", rpcOf("myelin.state.set", `{"channel":"state:z","key":"\ud83d","data":1}`), "7 error 107"},
		{"rpc myelin.presence.users of a misspelt channel", rpcOf("myelin.presence.users", `{"channel":"room:a","user":"x"}`), "7 error 107"},
		{"rpc myelin.publish where nobody may", rpcOf("myelin.publish", `{"channel":"nobody:z","data":1}`), "7 error 103"},
		{"rpc myelin.publish to an unknown namespace", rpcOf("myelin.publish", `{"channel":"who:z","data":1}`), "7 error 102"},
		{"rpc myelin.publish of an id too long", rpcOf("myelin.publish", `{"channel":"log:z","data":1,"id":"`+tooLong+`"}`), "7 error 1004"},
		{"rpc myelin.publish of too much", rpcOf("myelin.publish", `{"channel":"log:z","data":"`+strings.Repeat("x", 999)+`"}`), "7 error 106"},

		{"refresh without a token", &command{Id: 7, Refresh: &protocol.RefreshRequest{}}, "disconnect 3501"},
		{"refresh with a token that is none", &command{Id: 7, Refresh: &protocol.RefreshRequest{Token: "x"}}, "disconnect 3500"},
		{"sub_refresh without a token", &command{Id: 7, SubRefresh: &protocol.SubRefreshRequest{Channel: "log:there"}}, "7 error 107"},
		{"sub_refresh of nothing", &command{Id: 7, SubRefresh: &protocol.SubRefreshRequest{Token: "x"}}, "7 error 103"},
		{"sub_refresh of what is not subscribed to", &command{Id: 7, SubRefresh: &protocol.SubRefreshRequest{Channel: "log:z", Token: "x"}}, "7 error 103"},
		{"sub_refresh of a type that is not there", &command{Id: 7, SubRefresh: &protocol.SubRefreshRequest{Channel: "log:there", Type: 1}}, "7 error 108"},
	}
}

// After connect: one reply for each request, the published code for what is
// wrong with it.
func TestMisuse(t *testing.T) {
	cases := append(misusesOfChannels(), misusesOfCalls()...)
	o := conversationtest.Options{}
	o.Limits.MessageBytes = 1000
	stage(t, o, func(t *testing.T, w *world) {
		for _, c := range cases {
			if w.format == protocol.JSON && (c.c.Publish != nil || c.c.Rpc != nil) && strings.Contains(tellCommands([]*command{c.c}), `"data":}`) {
				continue // not a frame at all in JSON
			}
			p := w.connected(t, "")
			p.subscribe("log:there")
			got := tell(p.do(c.c))
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			if disconnects := strings.Contains(c.want, "disconnect"); p.gone != disconnects {
				t.Errorf("%s: Handle says that the conversation is over: %v", c.name, p.gone)
			} else if !disconnects {
				p.expect("8 rpc", &command{Id: 8, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
			}
		}
	})
}

// Several requests in one command: the first of the published order is
// handled, the others are not.
func TestSeveralRequestsInOneCommand(t *testing.T) {
	order := []string{"subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "rpc", "send", "refresh", "sub_refresh"}
	merge := func(to, from *command) {
		to.Subscribe = cmp.Or(to.Subscribe, from.Subscribe)
		to.Unsubscribe = cmp.Or(to.Unsubscribe, from.Unsubscribe)
		to.Publish = cmp.Or(to.Publish, from.Publish)
		to.Presence = cmp.Or(to.Presence, from.Presence)
		to.PresenceStats = cmp.Or(to.PresenceStats, from.PresenceStats)
		to.History = cmp.Or(to.History, from.History)
		to.Rpc = cmp.Or(to.Rpc, from.Rpc)
		to.Send = cmp.Or(to.Send, from.Send)
		to.Refresh = cmp.Or(to.Refresh, from.Refresh)
		to.SubRefresh = cmp.Or(to.SubRefresh, from.SubRefresh)
	}
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		for i, name := range order[:len(order)-1] {
			c := &command{Id: 7}
			for _, later := range order[i:] {
				merge(c, requests()[later])
			}
			want := fmt.Sprintf("7 %s", name)
			switch name {
			case "send":
				want = "disconnect 3508"
			case "refresh":
				want = "disconnect 3500"
			}
			w.connected(t, "").expect(want, c)
		}
	})
}

func TestFrames(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		time := &command{Id: 2, Rpc: &protocol.RPCRequest{Method: "myelin.time"}}
		whole := frame(w.format, time)
		for name, b := range map[string][]byte{
			"empty": {}, "cut": whole[:len(whole)-3], "noise": []byte("\xff\xfe\xfd noise"),
		} {
			p := w.connected(t, "")
			if got := tell(p.raw(b)); got != "disconnect 3501" {
				t.Errorf("%s: %s", name, got)
			}
		}
		// What stands before the noise is answered, what stands behind is not.
		p := w.connected(t, "")
		if got := tell(p.raw(append(append(frame(w.format, time), "\xff\xff\xff"...), whole...))); got != "2 rpc, disconnect 3501" {
			t.Errorf("noise in the middle: %s", got)
		}
		p = w.open(t)
		p.expect("1 connect, 2 rpc, 3 rpc, 4 rpc",
			&command{Id: 1, Connect: &protocol.ConnectRequest{}},
			&command{Id: 2, Rpc: time.Rpc}, &command{Id: 3, Rpc: time.Rpc}, &command{Id: 4, Rpc: time.Rpc})
	})
}

// After the end nothing is answered and nothing is done.
func TestAfterTheEnd(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		witness := w.connected(t, "")
		witness.subscribe("log:a")
		p := w.connected(t, "")
		p.expect("disconnect 3501", &command{})
		handled := w.Metrics.Command("publish").Value()
		p.expect("", &command{Id: 3, Publish: &protocol.PublishRequest{Channel: "log:a", Data: []byte(`1`)}})
		if n := w.Metrics.Command("publish").Value(); n != handled {
			t.Error("a command behind the last one was looked at")
		}
		if got := tell(witness.rest()); got != "" {
			t.Errorf("a conversation that had ended brought about: %s", got)
		}
	})
}
