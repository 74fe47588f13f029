package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/hub"
)

func TestSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two, other := r.connect(t, "ann"), r.connect(t, "ann"), r.connect(t, "bob")
		r.call(t, "subscribe", `{"user":"ann","client":"`+one.ID()+`","channel":"plain:a"}`)
		one.wantHeard(t, "sub plain:a at 0 recoverable false data ")
		two.wantHeard(t)
		r.call(t, "subscribe", `{"user":"ann","channel":"plain:a","data":{"k":1}}`)
		one.wantHeard(t)
		two.wantHeard(t, `sub plain:a at 0 recoverable false data {"k":1}`)
		r.call(t, "subscribe", `{"user":"ann","client":"`+other.ID()+`","channel":"plain:a"}`)
		r.call(t, "subscribe", `{"user":"nobody","channel":"plain:a"}`)
		other.wantHeard(t)
		r.call(t, "subscribe", `{"client":"`+other.ID()+`","channel":"plain:a","b64data":"eyJrIjoyfQ=="}`)
		other.wantHeard(t, `sub plain:a at 0 recoverable false data {"k":2}`)
		r.publish(t, "plain:a", 1)
		for _, c := range []*client{one, two, other} {
			c.wantHeard(t, "pub plain:a 1 1")
		}
	})
}

func TestSubscribeRecovers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		r.publish(t, "a", 6)
		r.fails(t, http.StatusOK, channel.CodeUnrecoverable, "not all kept, the channel is at 6",
			"subscribe", `{"user":"ann","channel":"a","recover_since":{"offset":0}}`)
		r.fails(t, http.StatusOK, channel.CodeUnrecoverable, "not all kept",
			"subscribe", `{"user":"ann","channel":"a","recover_since":{"offset":4,"epoch":"another"}}`)
		r.fails(t, http.StatusOK, channel.CodeUnrecoverable, "not all kept",
			"subscribe", `{"user":"ann","channel":"a","recover_since":{"offset":7}}`)
		r.fails(t, http.StatusOK, channel.CodeNotAvailable, "history is off",
			"subscribe", `{"user":"ann","channel":"plain:a","recover_since":{"offset":1}}`)
		c.wantHeard(t)
		if got := r.call(t, "presence_stats", `{"channel":"a"}`); got != `{"num_clients":0,"num_users":0}` {
			t.Errorf("a refused subscription is present: %s", got)
		}
		r.call(t, "subscribe", `{"user":"ann","channel":"a","recover_since":{"offset":4}}`)
		c.wantHeard(t, "sub a at 4 recoverable true data ", "pub a 5 5", "pub a 6 6")
		r.call(t, "publish", `{"channel":"a","data":7}`)
		c.wantHeard(t, "pub a 7 7")
	})
}

func TestSubscribeRecoversNotTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Limits{HistoryRead: 3})
		c := r.connect(t, "ann")
		r.publish(t, "a", 5)
		r.fails(t, http.StatusOK, channel.CodeUnrecoverable, "4 publications came after offset 1, at most 3 are sent",
			"subscribe", `{"user":"ann","channel":"a","recover_since":{"offset":1}}`)
		c.wantHeard(t)
	})
}

// TestSubscribeWhereOneCannot: one session's refusal leaves the others alone.
func TestSubscribeWhereOneCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Limits{ChannelsPerConnection: 1})
		full, free, also := r.connect(t, "ann"), r.connect(t, "ann"), r.connect(t, "ann")
		r.call(t, "subscribe", `{"client":"`+full.ID()+`","channel":"plain:a"}`)
		full.heard()
		r.fails(t, http.StatusOK, channel.CodeLimitExceeded, "may have 1 subscription", "subscribe", `{"user":"ann","channel":"plain:b"}`)
		full.wantHeard(t)
		for _, c := range []*client{free, also} {
			c.wantHeard(t, "sub plain:b at 0 recoverable false data ")
		}
	})
}

func TestSubscribeShowsInfo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		for name, info := range map[string]string{"a": `"info":{"role":"nurse"}`, "b": `"b64info":"eyJyb2xlIjoibnVyc2UifQ=="`} {
			r.call(t, "subscribe", `{"user":"ann","channel":"`+name+`",`+info+`}`)
			want := fmt.Sprintf(`{"presence":{%q:{"user":"ann","client":%q,"conn_info":{"name":"ann"},"chan_info":{"role":"nurse"}}}}`, c.ID(), c.ID())
			if got := r.call(t, "presence", `{"channel":"`+name+`"}`); got != want {
				t.Errorf("presence is %s, want %s", got, want)
			}
		}
	})
}

func TestSubscribeExpires(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		at := time.Now().Add(time.Minute).Unix()
		r.call(t, "subscribe", fmt.Sprintf(`{"user":"ann","channel":"plain:a","expire_at":%d}`, at))
		c.wantHeard(t, "sub plain:a at 0 recoverable false data ")
		time.Sleep(2 * time.Minute)
		c.wantHeard(t, "bye 3006 subscription expired")
	})
}

func TestSubscribeOverrides(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		seen, unseen := r.connect(t, "ann"), r.connect(t, "bob")
		r.call(t, "subscribe", `{"user":"ann","channel":"a","override":{"force_push_join_leave":{"value":true}}}`)
		seen.wantHeard(t, "sub a at 0 recoverable true data ", "join a ann")
		r.call(t, "subscribe", `{"user":"bob","channel":"a","override":{"presence":{"value":false},"join_leave":{"value":false},"force_recovery":{"value":false},"force_positioning":null}}`)
		seen.wantHeard(t)
		unseen.wantHeard(t, "sub a at 0 recoverable false data ")
		if got := r.call(t, "presence_stats", `{"channel":"a"}`); got != `{"num_clients":1,"num_users":1}` {
			t.Errorf("presence is %s", got)
		}
	})
}

func TestSubscribeFilters(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		r.call(t, "subscribe", `{"user":"ann","channel":"plain:a","filter":{"key":"k","cmp":"eq","val":"v"}}`)
		c.wantHeard(t, "sub plain:a at 0 recoverable false data ")
		for _, tag := range []string{"w", "v"} {
			r.call(t, "publish", `{"channel":"plain:a","data":"`+tag+`","tags":{"k":"`+tag+`"}}`)
		}
		if got := c.heard(); len(got) != 1 || !strings.Contains(got[0], `"v"`) {
			t.Errorf("heard %q", got)
		}
		r.fails(t, http.StatusOK, channel.CodeBadRequest, "want one of eq", "subscribe", `{"user":"ann","channel":"plain:b","filter":{"key":"k","cmp":"like"}}`)
	})
}

func TestSubscribeRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		for body, want := range map[string]struct {
			code  channel.Code
			words string
		}{
			`{"channel":"a"}`:                                                                        {channel.CodeBadRequest, "name a user or a client"},
			`{"user":"ann"}`:                                                                         {channel.CodeBadRequest, "channel name is empty"},
			`{"user":"ann","channel":"no:such"}`:                                                     {channel.CodeUnknownChannel, `"no"`},
			`{"user":"nobody","channel":"no:such"}`:                                                  {channel.CodeUnknownChannel, `"no"`},
			`{"user":"ann","channel":"a","session":"s"}`:                                             {channel.CodeUnsupported, "session"},
			`{"user":"ann","channel":"a","expire_at":1}`:                                             {channel.CodeExpired, "has passed"},
			`{"user":"ann","channel":"a","expire_at":-1}`:                                            {channel.CodeBadRequest, "negative"},
			`{"user":"ann","channel":"a","expire_at":253402300800}`:                                  {channel.CodeBadRequest, "not milliseconds"},
			`{"user":"ann","channel":"a","b64info":"AAH/"}`:                                          {channel.CodeBadRequest, "b64info must hold JSON"},
			`{"user":"ann","channel":"a","b64data":"AAH/"}`:                                          {channel.CodeBadRequest, "b64data must hold JSON"},
			`{"user":"ann","channel":"a","b64info":"?"}`:                                             {channel.CodeBadRequest, "base64"},
			`{"user":"ann","channel":"a","info":1,"b64info":"MQ=="}`:                                 {channel.CodeBadRequest, "not both"},
			`{"user":"ann","channel":"plain:a","override":{"presence":{"value":true}}}`:              {channel.CodeNotAvailable, "override.presence: presence is off"},
			`{"user":"ann","channel":"plain:a","override":{"join_leave":{"value":true}}}`:            {channel.CodeNotAvailable, "override.join_leave"},
			`{"user":"ann","channel":"plain:a","override":{"force_push_join_leave":{"value":true}}}`: {channel.CodeNotAvailable, "override.force_push_join_leave"},
			`{"user":"ann","channel":"plain:a","override":{"force_recovery":{"value":true}}}`:        {channel.CodeNotAvailable, "override.force_recovery"},
			`{"user":"ann","channel":"plain:a","override":{"force_positioning":{"value":true}}}`:     {channel.CodeNotAvailable, "override.force_positioning"},
		} {
			r.fails(t, http.StatusOK, want.code, want.words, "subscribe", body)
		}
		c.wantHeard(t)
	})
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c, other := r.connect(t, "ann"), r.connect(t, "bob")
		for _, name := range []string{"plain:a", "plain:b", "plain:c"} {
			r.call(t, "subscribe", `{"user":"ann","channel":"`+name+`"}`)
			r.call(t, "subscribe", `{"user":"bob","channel":"`+name+`"}`)
		}
		c.heard()
		other.heard()
		r.call(t, "unsubscribe", `{"user":"ann","channel":"plain:a"}`)
		c.wantHeard(t, "unsub plain:a 2000")
		r.call(t, "unsubscribe", `{"user":"ann","channel":"plain:a"}`)
		c.wantHeard(t)
		r.call(t, "unsubscribe", `{"client":"`+c.ID()+`"}`)
		if got := c.heard(); len(got) != 2 {
			t.Errorf("unsubscribing from all ended %q", got)
		}
		other.wantHeard(t)
		r.fails(t, http.StatusOK, channel.CodeUnknownChannel, `"no"`, "unsubscribe", `{"user":"ann","channel":"no:such"}`)
		r.fails(t, http.StatusOK, channel.CodeBadRequest, "name a user", "unsubscribe", `{"channel":"plain:b"}`)
		r.fails(t, http.StatusOK, channel.CodeUnsupported, "session", "unsubscribe", `{"user":"ann","channel":"plain:b","session":"s"}`)
	})
}

func TestDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two, other := r.connect(t, "ann"), r.connect(t, "ann"), r.connect(t, "bob")
		r.call(t, "disconnect", `{"user":"ann","whitelist":["`+two.ID()+`"]}`)
		one.wantHeard(t, "bye 3503 force disconnect")
		two.wantHeard(t)
		r.call(t, "disconnect", `{"user":"ann","disconnect":{"code":4100,"reason":"moved"}}`)
		two.wantHeard(t, "bye 4100 moved")
		r.call(t, "disconnect", `{"user":"ann","client":"`+other.ID()+`"}`)
		other.wantHeard(t)
		r.call(t, "disconnect", `{"client":"`+other.ID()+`","disconnect":null}`)
		other.wantHeard(t, "bye 3503 force disconnect")
	})
}

func TestDisconnectRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		for body, words := range map[string]string{
			`{}`:                             "name a user",
			`{"user":"ann","disconnect":{}}`: "disconnect.code is 0",
			`{"user":"ann","disconnect":{"code":1000,"reason":"x"}}`:                               "3000 to 4999",
			`{"user":"ann","disconnect":{"code":5000}}`:                                            "3000 to 4999",
			`{"user":"ann","disconnect":{"code":4000,"reason":"` + strings.Repeat("é", 62) + `"}}`: "124 bytes",
		} {
			r.fails(t, http.StatusOK, channel.CodeBadRequest, words, "disconnect", body)
		}
		r.fails(t, http.StatusOK, channel.CodeUnsupported, "session", "disconnect", `{"user":"ann","session":"s"}`)
		many := strings.Repeat(`"a",`, 1000) + `"a"`
		r.fails(t, http.StatusRequestEntityTooLarge, channel.CodeLimitExceeded, "1001 clients", "disconnect", `{"user":"ann","whitelist":[`+many+`]}`)
		c.wantHeard(t)
	})
}

func TestRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c, other := r.connect(t, "ann"), r.connect(t, "bob")
		at := time.Now().Add(time.Hour).Unix()
		r.call(t, "refresh", fmt.Sprintf(`{"user":"ann","expire_at":%d}`, at))
		c.wantHeard(t, fmt.Sprintf("refresh %d", at))
		r.call(t, "refresh", `{"client":"`+c.ID()+`"}`)
		c.wantHeard(t, "refresh 0")
		time.Sleep(2 * time.Hour)
		c.wantHeard(t)
		r.call(t, "refresh", `{"user":"ann","expired":true}`)
		c.wantHeard(t, "bye 3005 connection expired")
		r.call(t, "refresh", `{"user":"bob","expire_at":1}`)
		other.wantHeard(t, "bye 3005 connection expired")
	})
}

func TestRefreshEndsInTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		r.call(t, "refresh", fmt.Sprintf(`{"user":"ann","expire_at":%d}`, time.Now().Add(time.Minute).Unix()))
		c.heard()
		time.Sleep(2 * time.Minute)
		c.wantHeard(t, "bye 3005 connection expired")
	})
}

func TestRefreshRefuses(t *testing.T) {
	r := newRig(t, hub.Limits{})
	r.fails(t, http.StatusOK, channel.CodeBadRequest, "name a user", "refresh", `{"expired":true}`)
	r.fails(t, http.StatusOK, channel.CodeBadRequest, "not milliseconds", "refresh", `{"user":"a","expire_at":1700000000000}`)
	r.fails(t, http.StatusOK, channel.CodeUnsupported, "info", "refresh", `{"user":"a","info":{}}`)
	r.fails(t, http.StatusOK, channel.CodeUnsupported, "session", "refresh", `{"user":"a","session":"s"}`)
	r.call(t, "refresh", `{"user":"nobody","info":null}`)
}
