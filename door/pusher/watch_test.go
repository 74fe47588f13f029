package pusher_test

import (
	"encoding/json"
	"strings"
	"testing"

	"myelin/door/pusher"
	"myelin/hub"
	"myelin/observe"
)

// signs signs in.
func (p *peer) signs(data string) {
	p.t.Helper()
	quoted, _ := json.Marshal(data)
	p.send(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%s}}`, key, pusher.Sign(secret, p.socket+"::user::"+data), quoted)
	p.wants("pusher:signin_success")
}

// hears subscribes to a user's own channel.
func (p *peer) hears(user string) {
	p.t.Helper()
	p.send(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-%s"}}`, user)
	p.wants("pusher_internal:subscription_succeeded")
}

// Who watches is told who is online, who comes with his first connection and
// goes with his last, and nothing of what they are told.
func TestWatchlist(t *testing.T) {
	s := newStage(t, hub.Limits{})
	ann, bob, bob2, cid := s.connect(t), s.connect(t), s.connect(t), s.connect(t)
	bob.signs(`{"id":"bob"}`)
	bob.hears("bob")
	ann.signs(`{"id":"ann","watchlist":["bob","cid","ann","bob"]}`)
	const list = "pusher_internal:watchlist_events"
	if m := ann.wants(list); m.text() != `{"events":[{"name":"online","user_ids":["bob"]}]}` {
		t.Errorf("%s", m.text())
	}
	ann.hears("ann")
	cid.signs(`{"id":"cid"}`)
	cid.hears("cid")
	if m := ann.wants(list); m.text() != `{"events":[{"name":"online","user_ids":["cid"]}]}` {
		t.Errorf("%s", m.text())
	}
	bob2.signs(`{"id":"bob"}`)
	bob2.hears("bob")
	s.Publish(t, "priv:#server-to-user-bob", "for bob")
	bob2.wants("message")
	_ = bob.conn.Close()
	_ = bob2.conn.Close()
	if m := ann.wants(list); m.text() != `{"events":[{"name":"offline","user_ids":["bob"]}]}` {
		t.Errorf("%s", m.text())
	}
	// She is not thereby in his channel, and may not be.
	ann.send(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-bob"}}`)
	ann.wants("pusher:subscription_error")
	s.Publish(t, "priv:#server-to-user-ann", "for ann")
	if m := ann.wants("message"); m.Channel != "#server-to-user-ann" {
		t.Errorf("%+v", m)
	}
	if _, body := s.api(t, "GET", "/apps/1/channels", nil, ""); body != `{"channels":{}}` {
		t.Errorf("listed %s", body)
	}
	// A hundred are enough.
	dan := s.connect(t)
	dan.signs(`{"id":"dan","watchlist":["x"` + strings.Repeat(`,"x"`, 100) + `]}`)
	if m := dan.wants("pusher:error"); !strings.Contains(string(m.Data), "at most 100") || s.Metrics.Limit(observe.LimitWatchlist).Value() != 1 {
		t.Errorf("%s", m.Data)
	}
}
