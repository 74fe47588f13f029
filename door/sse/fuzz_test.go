package sse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
	"myelin/door/sse"
)

// Whatever a request brings, the answer is a stream of whole events or an
// error in JSON, and no session stays behind.
func FuzzRequest(f *testing.F) {
	w := conversationtest.New(f, conversationtest.Options{Quiet: true})
	two := sse.New(sse.Options{Host: w.Host})
	uni := sse.New(sse.Options{Host: w.Host, OneWay: true})
	token := conversationtest.Token(f, conversationtest.Claims{"sub": "u", "channels": []string{"log:t"}})
	for _, c := range []struct{ method, query, lastID, body string }{
		{"GET", "cf_connect=" + url.QueryEscape(connectCommand), "", ""},
		{"POST", "", "", connectCommand + "\n" + `{"id":2,"subscribe":{"channel":"log:a","recover":true}}`},
		{"POST", "", "", `{"id":1,"connect":{},"sub_refresh":{"channel":"a","token":"b"}}`},
		{"GET", "channel=log:a&channel=x&token=" + token, "AQ", ""},
		{"GET", "channel=log:a&last_event_id=AQ", "", ""},
		{"POST", "", "AQ", `{"token":"` + token + `","subs":{"log:a":{"recover":true,"epoch":"x","offset":1,"tf":{"op":"and","nodes":[{}]}}}}`},
		{"PUT", "%", "", "{"},
	} {
		f.Add(c.method, c.query, c.lastID, []byte(c.body))
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, method, query, lastID string, body []byte) {
		for _, d := range []*sse.Door{two, uni} {
			r := &http.Request{
				Method: method, URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{"Last-Event-Id": {lastID}},
				Body: io.NopCloser(bytes.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1,
			}
			a := httptest.NewRecorder()
			d.ServeHTTP(a, r.WithContext(gone))
			if a.Code != http.StatusOK {
				if !json.Valid(a.Body.Bytes()) {
					t.Errorf("%d: %q", a.Code, a.Body)
				}
				continue
			}
			for part := range strings.SplitSeq(strings.TrimSuffix(a.Body.String(), "\n\n"), "\n\n") {
				for line := range strings.SplitSeq(part, "\n") {
					data, isData := strings.CutPrefix(line, "data: ")
					switch {
					case isData && json.Valid([]byte(data)), line == "", strings.HasPrefix(line, "retry: "), strings.HasPrefix(line, "id: "):
					default:
						t.Errorf("a line of the stream is %q", line)
					}
				}
			}
		}
		if n := w.Hub.Connections(); n != 0 {
			t.Errorf("%d sessions stayed behind", n)
		}
	})
}
