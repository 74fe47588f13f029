package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/hub"
)

// cluster runs a test in a bubble on the rigs of two nodes.
func cluster(t *testing.T, fn func(t *testing.T, n *channeltest.Network, a, b *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := channeltest.NewNetwork()
		var rigs []*rig
		for _, id := range []string{"a", "b"} {
			bus := n.Join(id)
			rigs = append(rigs, newRigOn(t, hub.Limits{}, bus))
			if err := bus.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = bus.Close(context.Background()) })
		}
		time.Sleep(5 * time.Second)
		fn(t, n, rigs[0], rigs[1])
	})
}

// nodes asks for info.
func (r *rig) nodes(t *testing.T) []map[string]any {
	t.Helper()
	var out struct{ Nodes []map[string]any }
	if err := json.Unmarshal([]byte(r.call(t, "info", "{}")), &out); err != nil {
		t.Fatal(err)
	}
	return out.Nodes
}

func TestAnyNodeTellsOfAll(t *testing.T) {
	cluster(t, func(t *testing.T, n *channeltest.Network, a, b *rig) {
		c := b.connect(t, "ann")
		a.call(t, "subscribe", `{"user":"ann","channel":"news"}`)
		time.Sleep(10 * time.Millisecond)
		for method, want := range map[string]string{
			"presence_stats": `{"num_clients":1,"num_users":1}`,
			"presence":       `{"presence":{"` + c.ID() + `":{"user":"ann","client":"` + c.ID() + `","conn_info":{"name":"ann"}}}}`,
			"channels":       `{"channels":{"news":{"num_clients":1}}}`,
		} {
			body := `{"channel":"news"}`
			if method == "channels" {
				body = `{"pattern":"news"}`
			}
			if got := a.call(t, method, body); got != want {
				t.Errorf("%s: %s, want %s", method, got, want)
			}
		}
		rows := a.nodes(t)
		if len(rows) != 2 || rows[0]["uid"] != "a" || rows[1]["uid"] != "b" || rows[1]["num_subs"] != 1.0 ||
			rows[1]["x_addr"] != "b:8000" || rows[1]["version"] != "test" || rows[1]["uptime"] != 5.0 || rows[1]["x_silent"] != nil {
			t.Errorf("info: %v", rows)
		}
		n.Pause("b")
		rows = a.nodes(t)
		if len(rows) != 2 || rows[1]["x_silent"] != true || rows[1]["num_subs"] != 1.0 {
			t.Errorf("info of one that is silent: %v", rows)
		}
		a.fails(t, http.StatusOK, channel.CodeUnavailable, "done elsewhere; node b did not answer within 2s", "disconnect", `{"user":"ann"}`)
		n.Resume("b")
	})
}
