package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
)

// kept is a history result.
type kept struct {
	Publications []struct {
		Data   json.RawMessage
		Offset uint64
		Info   *struct{ User, Client string }
	}
	Epoch  string
	Offset uint64
}

func (r *rig) history(t *testing.T, body string) kept {
	t.Helper()
	var k kept
	if err := json.Unmarshal([]byte(r.call(t, "history", body)), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k kept) offsets() string {
	var b strings.Builder
	for _, p := range k.Publications {
		fmt.Fprintf(&b, "%d ", p.Offset)
	}
	return strings.TrimSpace(b.String())
}

func TestHistory(t *testing.T) {
	r := newRig(t, hub.Limits{})
	r.publish(t, "a", 6) // 5 are kept
	epoch := r.history(t, `{"channel":"a"}`).Epoch
	for body, want := range map[string]string{
		`{"channel":"a"}`:                                                        "",
		`{"channel":"a","limit":2}`:                                              "2 3",
		`{"channel":"a","limit":-1}`:                                             "2 3 4 5 6",
		`{"channel":"a","limit":2,"reverse":true}`:                               "6 5",
		`{"channel":"a","limit":2,"since":{"offset":3}}`:                         "4 5",
		`{"channel":"a","limit":2,"since":{"offset":3,"epoch":"` + epoch + `"}}`: "4 5",
		`{"channel":"a","limit":9,"since":{"offset":0,"epoch":"` + epoch + `"}}`: "2 3 4 5 6",
		`{"channel":"a","limit":2,"since":{"offset":3},"reverse":true}`:          "2",
		`{"channel":"a","limit":2,"since":{"offset":6}}`:                         "",
		`{"channel":"a","limit":2,"since":null,"reverse":false}`:                 "2 3",
	} {
		k := r.history(t, body)
		if k.offsets() != want || k.Offset != 6 || k.Epoch != epoch {
			t.Errorf("%s: %q at %d, want %q at 6", body, k.offsets(), k.Offset, want)
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	r := newRig(t, hub.Limits{HistoryRead: 3})
	r.publish(t, "a", 6)
	for body, want := range map[string]struct {
		code  channel.Code
		words string
	}{
		`{}`:                        {channel.CodeBadRequest, "channel name is empty"},
		`{"channel":"no:such"}`:     {channel.CodeUnknownChannel, `"no"`},
		`{"channel":"plain:a"}`:     {channel.CodeNotAvailable, "history is off"},
		`{"channel":"a","limit":4}`: {channel.CodeLimitExceeded, "at most 3"},
		`{"channel":"a","limit":1,"since":{"offset":9}}`:                    {channel.CodeUnrecoverable, "the channel is at 6"},
		`{"channel":"a","limit":1,"since":{"offset":18446744073709551615}}`: {channel.CodeUnrecoverable, "the channel is at 6"},
		`{"channel":"a","since":{"offset":1,"epoch":"x"}}`:                  {channel.CodeUnrecoverable, "epoch"},
		`{"channel":"a","limit":1,"since":{"offset":0},"reverse":true}`:     {channel.CodeBadRequest, "before offset 0"},
	} {
		r.fails(t, http.StatusOK, want.code, want.words, "history", body)
	}
	if got := r.history(t, `{"channel":"a","limit":-1}`).offsets(); got != "2 3 4" {
		t.Errorf("as much as there is room for is %q", got)
	}
	r.publish(t, "a", 1) // the one after offset 1 is gone
	r.fails(t, http.StatusOK, channel.CodeUnrecoverable, "after offset 1 is not all kept", "history", `{"channel":"a","limit":1,"since":{"offset":1}}`)
}

func TestHistoryTellsWhoPublished(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		if _, err := r.hub.Publish(t.Context(), &channel.PublishRequest{
			Channel: "a", Data: []byte(`1`), Info: &channel.ClientInfo{User: "ann", Client: c.ID(), ConnInfo: []byte{0, 255}},
		}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`"info":{"user":"ann","client":%q,"conn_info":{"$b64":"AP8="}}`, c.ID())
		if got := r.call(t, "history", `{"channel":"a","limit":1}`); !strings.Contains(got, want) {
			t.Errorf("history is %s, want %s in it", got, want)
		}
	})
}

func TestHistoryRemove(t *testing.T) {
	r := newRig(t, hub.Limits{})
	r.publish(t, "a", 3)
	epoch := r.history(t, `{"channel":"a"}`).Epoch
	if got := r.call(t, "history_remove", `{"channel":"a"}`); got != `{}` {
		t.Errorf("the result is %s", got)
	}
	if k := r.history(t, `{"channel":"a","limit":-1}`); k.offsets() != "" || k.Offset != 3 || k.Epoch != epoch {
		t.Errorf("after removing there is %q at %d of %s", k.offsets(), k.Offset, k.Epoch)
	}
	r.fails(t, http.StatusOK, channel.CodeNotAvailable, "history is off", "history_remove", `{"channel":"plain:a"}`)
	r.fails(t, http.StatusOK, channel.CodeUnknownChannel, `"no"`, "history_remove", `{"channel":"no:such"}`)
}

func TestPresence(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if got := r.call(t, "presence", `{"channel":"a"}`); got != `{"presence":{}}` {
			t.Errorf("presence of nobody is %s", got)
		}
		for _, user := range []string{"ann", "ann", "bob"} {
			r.call(t, "subscribe", `{"client":"`+r.connect(t, user).ID()+`","channel":"a"}`)
		}
		if got := r.call(t, "presence_stats", `{"channel":"a"}`); got != `{"num_clients":3,"num_users":2}` {
			t.Errorf("presence_stats is %s", got)
		}
		if got := r.call(t, "presence", `{"channel":"a"}`); strings.Count(got, `"user":"ann"`) != 2 {
			t.Errorf("presence is %s", got)
		}
		want := `{"users":[{"user":"ann","num_clients":2,"conn_info":{"name":"ann"}},{"user":"bob","num_clients":1,"conn_info":{"name":"bob"}}]}`
		if got := r.call(t, "presence_users", `{"channel":"a"}`); got != want {
			t.Errorf("presence_users is %s, want %s", got, want)
		}
		for _, method := range []string{"presence", "presence_stats", "presence_users"} {
			r.fails(t, http.StatusOK, channel.CodeNotAvailable, "presence is off", method, `{"channel":"plain:a"}`)
			r.fails(t, http.StatusOK, channel.CodeUnknownChannel, `"no"`, method, `{"channel":"no:such"}`)
			r.fails(t, http.StatusOK, channel.CodeBadRequest, "channel name is empty", method, `{}`)
		}
	})
}

func TestChannels(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		one, two := r.connect(t, "ann"), r.connect(t, "ann")
		r.call(t, "subscribe", `{"user":"ann","channel":"plain:a"}`)
		r.call(t, "subscribe", `{"client":"`+one.ID()+`","channel":"b"}`)
		for body, want := range map[string]string{
			`{}`:                      `{"channels":{"b":{"num_clients":1},"plain:a":{"num_clients":2}}}`,
			``:                        `{"channels":{"b":{"num_clients":1},"plain:a":{"num_clients":2}}}`,
			`{"pattern":"plain:*"}`:   `{"channels":{"plain:a":{"num_clients":2}}}`,
			`{"pattern":"*"}`:         `{"channels":{"b":{"num_clients":1}}}`,
			`{"pattern":"nothing:*"}`: `{"channels":{}}`,
		} {
			if got := r.call(t, "channels", body); got != want {
				t.Errorf("%s: %s, want %s", body, got, want)
			}
		}
		two.Session.Close(hub.DisconnectConnectionClosed)
		if got := r.call(t, "channels", `{"pattern":"plain:a"}`); got != `{"channels":{"plain:a":{"num_clients":1}}}` {
			t.Errorf("after one left: %s", got)
		}
		r.fails(t, http.StatusOK, channel.CodeUnsupported, `"{" has no meaning`, "channels", `{"pattern":"{a,b}"}`)
		r.fails(t, http.StatusOK, channel.CodeBadRequest, "256 bytes", "channels", `{"pattern":"`+strings.Repeat("x", 256)+`"}`)
	})
}

func TestChannelsListsNotTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Limits{ChannelsPerConnection: api.MaxListedChannels + 1})
		c := r.connect(t, "ann")
		for i := range api.MaxListedChannels {
			if _, err := r.hub.Subscribe(t.Context(), hub.Target{Client: c.ID()}, hub.SubscribeRequest{Channel: fmt.Sprint("plain:", i)}); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.call(t, "channels", ``); strings.Count(got, "num_clients") != api.MaxListedChannels {
			t.Error("not every channel is listed")
		}
		r.call(t, "subscribe", `{"user":"ann","channel":"a"}`)
		r.fails(t, http.StatusOK, channel.CodeLimitExceeded, "narrower pattern", "channels", ``)
		r.call(t, "channels", `{"pattern":"plain:*"}`)
	})
}

func TestInfo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.connect(t, "ann")
		r.connect(t, "ann")
		r.connect(t, "")
		r.call(t, "subscribe", `{"user":"ann","channel":"a"}`)
		r.call(t, "subscribe", `{"user":"ann","channel":"b"}`)
		time.Sleep(90 * time.Second)
		want := `{"nodes":[{"uid":"node-1","name":"node-1","version":"1.2.3",` +
			`"num_clients":3,"num_users":2,"num_subs":4,"num_channels":2,"uptime":90}]}`
		if got := r.call(t, "info", ``); got != want {
			t.Errorf("info is %s, want %s", got, want)
		}
	})
}
