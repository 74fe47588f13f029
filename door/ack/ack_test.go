package ack_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"myelin/auth"
	"myelin/channel"
	"myelin/consumer"
	"myelin/door/ack"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/observe"
)

// ear keeps the tags of the last publication.
type ear struct{ tags map[string]string }

func (e *ear) WriteNow(p []byte) (int, error) { return len(p), nil }
func (e *ear) NotifyWritable(func())          {}
func (e *ear) Close()                         {}
func (e *ear) AppendEvent(b []byte, ev *hub.Event) []byte {
	if ev.Kind == hub.EventPublication {
		e.tags = ev.Pub.Tags
	}
	return append(b, '.')
}

// A token in a plain request settles its delivery, once, and nothing else does.
func TestAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := consumer.New(consumer.Options{Policy: &channel.Policy{Namespace: consumer.StateNamespace, Kind: channel.KindState, HistorySize: 1}})
		e, metrics := memory.New(memory.Options{}), observe.New()
		h := hub.New(hub.Options{Engine: e, Shards: 1, PingInterval: -1, Namespaces: map[string]*hub.Namespace{
			"jobs":             {Policy: &channel.Policy{Namespace: "jobs", HistorySize: 10}},
			consumer.Namespace: {Policy: &channel.Policy{Namespace: consumer.Namespace}, Gate: m},
		}})
		m.Attach(h)
		if err := e.Start(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		m.Start()
		defer func() {
			m.Close()
			h.Close()
			_ = e.Close(context.Background())
		}()
		listener := new(ear)
		s, err := h.Open(hub.SessionOptions{Conn: listener, Form: listener})
		if err == nil {
			err = s.Connect(&auth.Identity{User: "device"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Subscribe(t.Context(), hub.Target{User: "device"}, hub.SubscribeRequest{Channel: "$consumers:d~jobs:1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Publish(t.Context(), &channel.PublishRequest{Channel: "jobs:1", Data: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		token, err := json.Marshal(listener.tags[consumer.TagAck])
		if err != nil || len(token) < 20 {
			t.Fatalf("tags %v", listener.tags)
		}
		door := ack.New(ack.Options{Consumers: m, Metrics: metrics})
		for _, c := range []struct {
			verb, body string
			status     int
			words      string
		}{
			{http.MethodGet, "", 405, "use POST"},
			{http.MethodPost, "", 400, "it takes"},
			{http.MethodPost, "null", 400, "say which"},
			{http.MethodPost, "[1]", 400, "it takes"},
			{http.MethodPost, `{"ack":"` + strings.Repeat("A", 80) + `"}`, 400, "no ack token"},
			{http.MethodPost, `{"token":"x"}`, 400, "unknown field"},
			{http.MethodPost, `{"consumer":"d","channel":"jobs:1","offset":1}`, 400, "subscribed"},
			{http.MethodPost, `{"ack":` + string(token) + `,"nack":true,"in_progress":true}`, 400, "two answers"},
			{http.MethodPost, `{"ack":` + string(token) + `,"delay_ms":1}`, 400, "goes with nack"},
			{http.MethodPost, `{"ack":` + string(token) + `,"nack":true,"delay_ms":-1}`, 400, "delay"},
			{http.MethodPost, strings.Repeat("x", ack.MaxBody+1), 413, "bytes"},
			{http.MethodPost, `{"ack":` + string(token) + `,"in_progress":true}`, 200, `"done":1`},
			{http.MethodPost, `{"acks":[` + string(token) + `]}`, 200, `"done":1,"stale":0`},
			{http.MethodPost, `{"ack":` + string(token) + `}`, 200, `"done":0,"stale":1`},
		} {
			w := httptest.NewRecorder()
			door.ServeHTTP(w, httptest.NewRequest(c.verb, "/consumer/ack", strings.NewReader(c.body)))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
				t.Errorf("%s %.60s: %d %s", c.verb, c.body, w.Code, w.Body)
			}
		}
		if n := metrics.Door("ack").Refused.Value(); n != 11 {
			t.Errorf("%d requests were refused", n)
		}
	})
}
