package api_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"myelin/channel"
	"myelin/hub"
)

// sit has a client take a seat at the consumer w of channel jobs.
func (c *client) sit(t *testing.T) {
	t.Helper()
	sn, err := c.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "$consumers:w~jobs", Granted: true})
	if err != nil {
		t.Fatal(err)
	}
	sn.Live([]byte("."))
	synctest.Wait()
}

func says(t *testing.T, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("no %s in %s", w, got)
		}
	}
}

// What a consumer knows stands beside what the connections know.
func TestExplainConsumers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.call(t, "consumer_create", `{"consumer":"w","channel":"jobs"}`)
		r.call(t, "consumer_create", `{"consumer":"idle","channel":"jobs"}`)
		ann := r.connect(t, "ann")
		ann.sit(t)
		r.publish(t, "jobs", 1)
		synctest.Wait()
		out := r.call(t, "explain", `{"channel":"jobs","offset":1}`)
		says(t, out, `"published":`, `"nodes":`, `"consumer":"idle","verdict":"unsent"`, `"consumer":"w","verdict":"delivered"`, `"client":"`+ann.ID()+`"`)
		if strings.Contains(out, `"connection"`) {
			t.Errorf("nobody in particular was asked about: %s", out)
		}
		out = r.call(t, "explain", `{"channel":"jobs","offset":1,"client":"`+ann.ID()+`"}`)
		says(t, out, `"clients":[{"verdict":"not_subscribed"`, `"consumer":"w"`, `"connection":{"verdict":"written"`)
		if strings.Contains(out, "idle") {
			t.Errorf("the client has nothing to do with idle: %s", out)
		}
		// The channel of the deliveries is what the client knows it by.
		for _, q := range []string{`{"channel":"$consumers:w~jobs","offset":1}`, `{"channel":"jobs","offset":1,"consumer":"w"}`} {
			out = r.call(t, "explain", q)
			says(t, out, `"consumer":"w","verdict":"delivered"`, `"connection":{"verdict":"written"`, `"offset":1`)
			if strings.Contains(out, `"nodes"`) || strings.Contains(out, "idle") {
				t.Errorf("only one consumer was asked about: %s", out)
			}
		}
		r.call(t, "consumer_ack", `{"consumer":"w","channel":"jobs","offsets":[1]}`)
		says(t, r.call(t, "explain", `{"channel":"jobs","offset":1,"user":"ann"}`), `"verdict":"acknowledged"`, `"attempts":1`)
		r.fails(t, http.StatusOK, channel.CodeUnknownChannel, "no consumer", "explain", `{"channel":"jobs","offset":1,"consumer":"nobody"}`)
	})
}
