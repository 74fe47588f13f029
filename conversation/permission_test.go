package conversation_test

import (
	"fmt"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

// verdicts asks for everything a client can do with a channel and says what
// it may: s(ubscribe), p(ublish), P(resence), h(istory), and S for publishing
// as a subscriber.
func verdicts(p *peer, name, token string) string {
	asked := map[string]*command{
		"p": {Publish: &protocol.PublishRequest{Channel: name, Data: []byte(`1`)}},
		"P": {Presence: &protocol.PresenceRequest{Channel: name}},
		"h": {History: &protocol.HistoryRequest{Channel: name}},
		"s": {Subscribe: &protocol.SubscribeRequest{Channel: name, Token: token}},
	}
	ok := func(c *command) bool {
		c.Id = 7
		for _, r := range p.do(c) {
			switch {
			case r.Id == 7 && r.Error == nil:
				return true
			case r.Id == 7 && r.Error.Code == 105: // the token has subscribed it
				return true
			case r.Id == 7 && r.Error.Code != 103:
				p.t.Errorf("%s: error %d", tellCommands([]*command{c}), r.Error.Code)
			}
		}
		return false
	}
	var out []string
	for _, verb := range []string{"p", "P", "h", "s"} {
		if ok(asked[verb]) {
			out = append(out, verb)
		}
	}
	if ok(asked["p"]) {
		out = append(out, "S")
	}
	return strings.Join(out, "")
}

// Every class of client against every list.
func TestWhoMayDoWhat(t *testing.T) {
	type caps = []map[string]any
	clients := []struct {
		name   string
		claims claims
		sub    claims // of a subscription token for the channel
		want   map[string]string
	}{
		{"anonymous", nil, nil, map[string]string{
			"room": "pPhsS", "user": "", "token": "", "subscriber": "sS", "nobody": "",
		}},
		{"with an anonymous token", claims{"sub": ""}, nil, map[string]string{
			"room": "pPhsS", "user": "", "token": "", "subscriber": "sS", "nobody": "",
		}},
		{"user", claims{"sub": "u"}, nil, map[string]string{
			"room": "pPhsS", "user": "pPhsS", "token": "", "subscriber": "sS", "nobody": "",
		}},
		{"user with a subscription token", claims{"sub": "u"}, claims{"sub": "u"}, map[string]string{
			"room": "pPhsS", "user": "pPhsS", "token": "s", "subscriber": "sS", "nobody": "",
		}},
		{"user whose subscription token allows more", claims{"sub": "u"}, claims{"sub": "u", "allow": []string{"pub", "prs"}}, map[string]string{
			"token": "sS", "nobody": "",
		}},
		{"anonymous with a subscription token", nil, claims{"sub": ""}, map[string]string{
			"token": "s", "user": "", "nobody": "",
		}},
		{"user whose token names the channel", claims{"sub": "u", "channels": []string{"token:x"}}, nil, map[string]string{
			"token": "pPhsS", "nobody": "",
		}},
		{"user with a capability to publish", claims{"sub": "u", "caps": caps{
			{"channels": []string{"*:x"}, "match": "wildcard", "allow": []string{"pub"}},
		}}, nil, map[string]string{"token": "pS", "nobody": "pS", "user": "pPhsS"}},
		{"user with every capability", claims{"sub": "u", "caps": caps{
			{"channels": []string{"nobody:x", "token:x"}, "allow": []string{"sub", "pub", "prs", "hst"}},
		}}, nil, map[string]string{"token": "pPhsS", "nobody": "pPhsS"}},
		{"user with a capability for another channel", claims{"sub": "u", "caps": caps{
			{"channels": []string{"nobody:y", "token:y"}, "allow": []string{"sub", "pub", "prs", "hst"}},
		}}, nil, map[string]string{"token": "", "nobody": ""}},
	}
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		for _, c := range clients {
			for ns, want := range c.want {
				token, sub := "", ""
				if c.claims != nil {
					token = conversationtest.Token(t, c.claims)
				}
				if c.sub != nil {
					c.sub["channel"] = ns + ":x"
					sub = conversationtest.Token(t, c.sub)
				}
				p := w.connected(t, token)
				if got := verdicts(p, ns+":x", sub); got != want {
					t.Errorf("%s may %q in %s, want %q", c.name, got, ns, want)
				}
			}
		}
	})
}

// What a subscription token allows ends with the subscription.
func TestAGrantEndsWithItsSubscription(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, conversationtest.Token(t, claims{"sub": "u"}))
		publish := func(id uint32) *command {
			return &command{Id: id, Publish: &protocol.PublishRequest{Channel: "nobody:x", Data: []byte(`1`)}}
		}
		token := conversationtest.Token(t, claims{"sub": "u", "channel": "token:x", "allow": []string{"pub"}})
		p.expect("2 subscribe", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{Channel: "token:x", Token: token}})
		p.expect("3 error 103", publish(3))
		in := &protocol.PublishRequest{Channel: "token:x", Data: []byte(`1`)}
		p.expectAll("4 publish, token:x pub 1", &command{Id: 4, Publish: in})
		p.expect("5 unsubscribe", &command{Id: 5, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "token:x"}})
		p.expect("6 error 103", &command{Id: 6, Publish: in})
	})
}

// A refusal says what would be right, and never what the token was.
func TestRefusalsExplain(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		token := conversationtest.Token(t, claims{"sub": "v", "channel": "token:x"})
		for want, c := range map[string]*command{
			"is for user":    {Publish: &protocol.PublishRequest{Channel: "user:x", Data: []byte(`1`)}},
			"user \"v\"":     {Subscribe: &protocol.SubscribeRequest{Channel: "token:x", Token: token}},
			"not configured": {Subscribe: &protocol.SubscribeRequest{Channel: "x"}},
		} {
			c.Id = 7
			r := only(t, p.do(c))
			if got := r.Error.GetMessage(); !strings.Contains(got, want) || strings.Contains(got, token) {
				t.Errorf("%s: %q does not say %q", fmt.Sprint(c), got, want)
			}
		}
	})
}
