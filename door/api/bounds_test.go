package api_test

import (
	"net/http"
	"strings"
	"testing"

	"myelin/channel"
)

// Requests beyond a bound are refused with words that say what it is.
func TestBoundsOfRequests(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			method, body, words string
			code                channel.Code
		}{
			{"state_set", `{"channel":"state:a","key":"k","data":1,"ttl_ms":3153600000001}`, "at most 100 years", channel.CodeBadRequest},
			{"state_list", `{"channel":"state:a","limit":1001}`, "limits.history_read", channel.CodeLimitExceeded},
			{"connections", `{"limit":501}`, "at most 500 connections", channel.CodeLimitExceeded},
			{"consumer_list", `{"limit":1001}`, "at most 1000 consumers", channel.CodeLimitExceeded},
		} {
			r.fails(t, http.StatusOK, c.code, c.words, c.method, c.body)
			below := strings.NewReplacer("3153600000001", "3153600000000", "1001", "1000", "501", "500").Replace(c.body)
			if status, out := r.send(request(c.method, below)); status != http.StatusOK || strings.Contains(out, `"error"`) {
				t.Errorf("%s %s: %d %s", c.method, below, status, out)
			}
		}
	})
}

// A field in a query stands once.
func TestQueryFieldsStandOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		req := request("explain?channel=a&channel=b&offset=1", "")
		req.Method = http.MethodGet
		status, out := r.send(req)
		wantFailure(t, status, out, http.StatusBadRequest, channel.CodeBadRequest, "more than once")
	})
}

// Who is told to wait is told for how long.
func TestRetryIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.call(t, "publish", `{"channel":"paced:a","data":1}`)
		status, out := r.send(request("publish", `{"channel":"paced:a","data":2}`))
		wantFailure(t, status, out, http.StatusOK, channel.CodeTooManyRequests, "")
		if !strings.Contains(out, `"x_retry_ms":100`) {
			t.Errorf("got %s", out)
		}
	})
}
