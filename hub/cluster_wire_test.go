package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// operations are what nodes ask each other for, as it is on the bus.
func operations() map[string]string {
	return map[string]string{
		"subscribe": `{"do":"subscribe","to":{"user":"ann"},"subscribe":{"Channel":"room:x","Grant":{"Channel":"room:x","ExpiresAt":9,` +
			`"Info":"e30=","Data":null,"Presence":true,"JoinLeave":null,"ForcePushJoinLeave":null,"ForcePositioning":null,"ForceRecovery":false,` +
			`"Allow":["pub"],"TokenID":"","IssuedAt":0},"Granted":false,"ServerSide":false,"Recover":true,"Since":{"Epoch":"e","Offset":9007199254740993},` +
			`"Recoverable":false,"JoinLeave":false,"Options":{"Info":null,"Data":null,"Presence":null,"JoinLeave":null,"ForcePushJoinLeave":null,` +
			`"ForcePositioning":null,"ForceRecovery":null}}}`,
		"unsubscribe": `{"do":"unsubscribe","to":{"user":"ann"},"channel":"room:x"}`,
		"disconnect":  `{"do":"disconnect","to":{"user":"ann"},"code":3503,"reason":"force disconnect","except":["c1"]}`,
		"refresh":     `{"do":"refresh","to":{"user":"ann"},"expires_at":9,"expired":true}`,
	}
}

// spy is a node that keeps what it is asked.
func spy(t *testing.T, n *channeltest.Network, id string, topics ...string) map[string]string {
	t.Helper()
	b, seen := n.Join(id), make(map[string]string)
	for _, topic := range topics {
		b.Answer(topic, func(_ context.Context, _ channel.Node, p []byte) ([]byte, error) {
			seen[topic] = fmt.Sprintf("%d%s", p[0], p[1:])
			return append([]byte{1}, `{"count":3,"code":106,"message":"limit exceeded: here"}`...), nil
		})
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return seen
}

// The bytes of version 1 do not change: nodes of two builds talk to each other
// while a cluster is upgraded.
func TestOperationsOfVersionOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		seen := spy(t, w.net, "b", "hub.operate")
		wait(time.Second)
		h, ctx, to := w.nodes["a"].hub, t.Context(), hub.Target{User: "ann"}
		yes, no := true, false
		for name, do := range map[string]func() (int, error){
			"subscribe": func() (int, error) {
				return h.Subscribe(ctx, to, hub.SubscribeRequest{
					Channel: "room:x", Recover: true, Since: channel.Position{Epoch: "e", Offset: 9007199254740993},
					Grant: &auth.Grant{Channel: "room:x", ExpiresAt: 9, Allow: []string{"pub"}, SubOptions: auth.SubOptions{
						Info: []byte("{}"), Override: auth.Override{Presence: &yes, ForceRecovery: &no},
					}},
				})
			},
			"unsubscribe": func() (int, error) { return h.Unsubscribe(ctx, to, "room:x") },
			"disconnect":  func() (int, error) { return h.Disconnect(ctx, to, hub.DisconnectForceNoReconnect, []string{"c1"}) },
			"refresh":     func() (int, error) { return h.Refresh(ctx, to, 9, true) },
		} {
			n, err := do()
			if e := channel.Public(err); n != 3 || e.Code != channel.CodeLimitExceeded || e.Message != "limit exceeded: here" || e.Temporary {
				t.Errorf("%s: %d, %+v", name, n, e)
			}
			if got, want := seen["hub.operate"], "1"+operations()[name]; got != want {
				t.Errorf("%s: %s\nwant %s", name, got, want)
			}
		}
	})
}

// What another node says, whatever it is, is answered or refused.
func TestStrangeWordsOfOtherNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		b := w.net.Join("b")
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Close(context.Background()) }()
		wait(time.Second)
		for _, topic := range []string{"hub.operate", "hub.channels", "hub.members"} {
			for _, words := range []string{"", "\x02{}", "\x01", "\x01[]", "\x01{", "\x01{}", `{"do":"x"}`, "\x01" + `{"do":"dance","to":{"user":"ann"}}`, "\x01" + `{"do":"subscribe","to":{"user":"ann"}}`} {
				out, err := b.Request(t.Context(), "a", topic, []byte(words))
				// To a question after channels any object says "all".
				good := topic == "hub.channels" && strings.HasPrefix(words, "\x01{") && strings.HasSuffix(words, "}")
				e := channel.Public(err)
				refused := (err != nil && e.Code == channel.CodeBadRequest) || strings.Contains(string(out), `"code":107`)
				if good == refused {
					t.Errorf("%s %q: %q, %v", topic, words, out, err)
				}
			}
		}
		out, err := b.Request(t.Context(), "a", "hub.info", nil)
		var i hub.Info
		if err != nil || out[0] != 1 || json.Unmarshal(out[1:], &i) != nil || i.Node != "a" || i.Addr != "a:8000" {
			t.Errorf("info: %q, %v", out, err)
		}
	})
}

// A node that is not of this kind does not keep others from being counted.
func TestAnswersThatCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		b := w.net.Join("b")
		answers := map[string]string{"hub.info": "\x02", "hub.channels": "\x01[", "hub.operate": ""}
		for topic, words := range answers {
			b.Answer(topic, func(context.Context, channel.Node, []byte) ([]byte, error) { return []byte(words), nil })
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Close(context.Background()) }()
		wait(time.Second)
		a := w.nodes["a"]
		a.connect("ann")
		if _, err := a.hub.Channels(t.Context(), "", 10); channel.Public(err).Code != channel.CodeBadRequest {
			t.Errorf("channels: %v", err)
		}
		n, err := a.hub.Disconnect(t.Context(), hub.Target{User: "ann"}, hub.DisconnectForceReconnect, nil)
		if n != 1 || channel.Public(err).Code != channel.CodeBadRequest {
			t.Errorf("disconnect: %d, %v", n, err)
		}
		rows := a.hub.Info(t.Context())
		if len(rows) != 2 || !rows[1].Silent || rows[1].Node != "b" {
			t.Errorf("info: %+v", rows)
		}
		// Its members are not known, and that is said.
		if _, err := a.hub.Presence("room:x"); channel.Public(err).Code != channel.CodeUnavailable {
			t.Errorf("presence: %v", err)
		}
	})
}

// A node alone asks nobody.
func TestSurveyOfOneNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		if got := s.hub.Survey(t.Context(), "any", nil); got != nil {
			t.Errorf("%v", got)
		}
	})
}

// FuzzWordsOfOtherNodes lets another node say anything to a hub.
func FuzzWordsOfOtherNodes(f *testing.F) {
	net := channeltest.NewNetwork()
	bus, other := net.Join("a"), net.Join("b")
	s := newStage(f, nil, func(o *hub.Options) { o.Bus = bus })
	for _, b := range []*channeltest.MemBus{bus, other} {
		if err := b.Start(f.Context()); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(net.Close)
	for len(other.Peers()) == 0 {
		runtime.Gosched() // until they know each other
	}
	s.connect("ann")
	topics := []string{"hub.operate", "hub.channels", "hub.members", "hub.info"}
	for _, op := range operations() {
		f.Add(uint8(0), []byte("\x01"+op))
	}
	f.Add(uint8(1), []byte("\x01"+`{"pattern":"*","after":"a","most":9}`))
	f.Add(uint8(2), []byte{1, 3, 7, 0})
	f.Fuzz(func(t *testing.T, which uint8, words []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		topic := topics[int(which)%len(topics)]
		out, err := other.Request(ctx, "a", topic, words)
		if err != nil && channel.Public(err).Code == channel.CodeInternal {
			t.Errorf("%s: %v", topic, err)
		}
		if err == nil && (len(out) == 0 || out[0] != 1) {
			t.Errorf("%s: %q", topic, out)
		}
		if err := other.Broadcast("hub.members", words); err != nil {
			t.Error(err)
		}
	})
}
