package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
)

func TestKey(t *testing.T) {
	r := newRig(t, hub.Limits{})
	with := func(header, value string) *http.Request {
		req := request("info", "{}")
		req.Header.Del("X-API-Key")
		if header != "" {
			req.Header.Set(header, value)
		}
		return req
	}
	for _, req := range []*http.Request{
		with("X-API-Key", key), with("Authorization", "apikey "+key), with("Authorization", "ApiKey  "+key),
	} {
		if status, out := r.send(req); status != http.StatusOK {
			t.Errorf("%v: status %d, %s", req.Header, status, out)
		}
	}
	for _, req := range []*http.Request{
		with("", ""), with("X-API-Key", key+"!"), with("X-API-Key", ""), with("X-API-Key", strings.ToUpper(key)),
		with("Authorization", key), with("Authorization", "Bearer "+key), with("Authorization", "apikey"), with("Authorization", "apikey other"),
	} {
		w := httptest.NewRecorder()
		r.door.ServeHTTP(w, req)
		wantFailure(t, w.Code, w.Body.String(), http.StatusUnauthorized, channel.CodeUnauthorized, "X-API-Key")
		if w.Header().Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate (RFC 9110 section 11.6.1)")
		}
	}
	inURL := with("", "")
	inURL.URL.RawQuery = "api_key=" + strings.ReplaceAll(key, " ", "+")
	status, out := r.send(inURL)
	wantFailure(t, status, out, http.StatusUnauthorized, channel.CodeUnauthorized, "logs")
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestBodyOfAStrangerIsNotRead(t *testing.T) {
	r := newRig(t, hub.Limits{})
	req := httptest.NewRequest(http.MethodPost, "/api/publish", unread{t})
	if status, out := r.send(req); status != http.StatusUnauthorized {
		t.Errorf("status %d, %s", status, out)
	}
}

func TestWithoutKey(t *testing.T) {
	r := newRig(t, hub.Limits{})
	req := httptest.NewRequest(http.MethodPost, "/api/info", nil)
	req.Header.Set("X-API-Key", "")
	off := httptest.NewRecorder()
	api.New(api.Options{Hub: r.hub, Consumers: r.consumers}).ServeHTTP(off, req)
	wantFailure(t, off.Code, off.Body.String(), http.StatusNotFound, channel.CodeMethodNotFound, "set api.key")
	open := httptest.NewRecorder()
	api.New(api.Options{Hub: r.hub, Consumers: r.consumers, Insecure: true}).ServeHTTP(open, req)
	if open.Code != http.StatusOK {
		t.Errorf("insecure: status %d, %s", open.Code, open.Body)
	}
}

func TestTransport(t *testing.T) {
	r := newRig(t, hub.Limits{MessageBytes: 1024})
	header := func(name, value string) *http.Request {
		req := request("publish", `{"channel":"a","data":1}`)
		req.Header.Set(name, value)
		return req
	}
	verb := func(method string) *http.Request {
		req := request("info", "")
		req.Method = method
		return req
	}
	large := request("info", strings.Repeat(" ", api.BodyBytes(1024)+1))
	chunked := request("info", strings.Repeat(" ", api.BodyBytes(1024)+1))
	chunked.ContentLength = -1
	broken := request("info", "")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), brokenReader{}))
	broken.ContentLength = -1
	for name, c := range map[string]struct {
		req    *http.Request
		status int
		code   channel.Code
		words  string
	}{
		"method":        {request("pubish", "{}"), 404, channel.CodeMethodNotFound, "did you mean publish?"},
		"far method":    {request("kangaroo", "{}"), 404, channel.CodeMethodNotFound, "one of append, batch, block, blocks, broadcast"},
		"no method":     {request("", "{}"), 404, channel.CodeMethodNotFound, "one of append, batch"},
		"below":         {request("publish/", "{}"), 404, channel.CodeMethodNotFound, ""},
		"long method":   {request(strings.Repeat("x", 300), "{}"), 404, channel.CodeMethodNotFound, ""},
		"GET":           {verb("GET"), 405, channel.CodeBadRequest, "use POST"},
		"PUT":           {verb("PUT"), 405, channel.CodeBadRequest, "use POST"},
		"text":          {header("Content-Type", "text/plain"), 415, channel.CodeBadRequest, "application/json"},
		"form":          {header("Content-Type", "multipart/form-data; boundary=x"), 415, channel.CodeBadRequest, "application/json"},
		"charset":       {header("Content-Type", "application/json; charset=latin1"), 415, channel.CodeBadRequest, "UTF-8"},
		"broken type":   {header("Content-Type", "application/json; charset"), 415, channel.CodeBadRequest, "application/json"},
		"compressed":    {header("Content-Encoding", "gzip"), 415, channel.CodeBadRequest, "gzip"},
		"large":         {large, 413, channel.CodeTooLarge, "1050624 bytes"},
		"large, unsaid": {chunked, 413, channel.CodeTooLarge, "1050624 bytes"},
		"broken off":    {broken, 400, channel.CodeBadRequest, "ended early"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r.door.ServeHTTP(w, c.req)
			wantFailure(t, w.Code, w.Body.String(), c.status, c.code, c.words)
			if c.status == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "POST" {
				t.Error("no Allow: POST")
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("an error came as %q", got)
			}
		})
	}
	for _, content := range []string{"", "application/json; charset=UTF-8", "Application/JSON", "application/x-www-form-urlencoded"} {
		if status, out := r.send(header("Content-Type", content)); status != http.StatusOK {
			t.Errorf("%q: status %d, %s", content, status, out)
		}
	}
	full := `{"channel":"a","data":1}`
	full += strings.Repeat("\n", api.BodyBytes(1024)-len(full))
	r.call(t, "publish", full)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestErrorMode: a caller may ask for errors in the status.
func TestErrorMode(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for body, want := range map[string]int{
		`{"channel":"no:such"}`:                 http.StatusNotFound,
		`{"channel":"plain:a"}`:                 http.StatusBadRequest,
		`{"channel":"a","since":{"epoch":"x"}}`: http.StatusRequestedRangeNotSatisfiable,
		`{"channel":"a","limit":1001}`:          http.StatusBadRequest,
	} {
		req := request("history", body)
		req.Header.Set("X-Centrifugo-Error-Mode", "transport")
		status, out := r.send(req)
		var e struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(out), &e); err != nil || e.Code == 0 || e.Message == "" || status != want {
			t.Errorf("%s: status %d, want %d, %s", body, status, want, out)
		}
	}
	req := request("history", `{"channel":"a"}`)
	req.Header.Set("X-Centrifugo-Error-Mode", "transport")
	if status, out := r.send(req); status != http.StatusOK || !strings.Contains(out, `"result"`) {
		t.Errorf("a success: status %d, %s", status, out)
	}
}

func TestStrictJSON(t *testing.T) {
	r := newRig(t, hub.Limits{})
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, words := range map[string]string{
		`{`:                                     "not JSON",
		` `:                                     "not JSON",
		`{"channel":"a","data":1}{}`:            "after top-level value at byte 25",
		`{"channel":"a","data":1},`:             "after top-level value",
		`{"channel":"a","data":01}`:             "not JSON",
		`{'channel':'a'}`:                       "not JSON",
		`{"channel":"a","data":NaN}`:            "not JSON",
		"{\"channel\":\"a\",\"data\":\"\n\"}":   "not JSON",
		"\ufeff{}":                              "not JSON",
		"{\"channel\":\"a\",\"data\":\"\xff\"}": "not valid UTF-8",
		"{\"channel\":\"a\",\"data\":\"\xed\xa0\x80\"}": "not valid UTF-8",
		`[]`:        "the body must be an object, not a list",
		`"publish"`: "the body must be an object, not text",
		`null`:      "the body must be an object, not null",
		`{"channel":"a","data":` + nested(128) + `}`: "nested deeper than 128",
		nested(100_000):                                 "nested deeper than 128",
		`{"chanel":"a","data":1}`:                       "unknown field chanel; did you mean channel?",
		`{"Channel":"a","data":1}`:                      "unknown field Channel; did you mean channel?",
		`{"idempotencyKey":"a"}`:                        "unknown field idempotencyKey; did you mean idempotency_key?",
		`{"something":"a"}`:                             "unknown field something; known are b64data, channel, data,",
		`{"a b":1}`:                                     `unknown field "a b"`,
		`{"` + strings.Repeat("x", 1000) + `":1}`:       strings.Repeat("x", 64) + "...",
		`{"channel":"a","channel":"b"}`:                 "channel is given twice",
		`{"channel":"a","\u0063hannel":"b"}`:            "channel is given twice",
		`{"data":1,"data":1}`:                           "data is given twice",
		`{"tags":{"a":"1","a":"2"}}`:                    "tags.a is given twice",
		`{"channel":1}`:                                 "channel must be text, not 1",
		`{"channel":["a"]}`:                             "channel must be text, not a list",
		`{"skip_history":1}`:                            "skip_history must be true or false, not 1",
		`{"skip_history":"true"}`:                       "skip_history must be true or false, not text",
		`{"version":-1}`:                                "version must be a whole number from 0 to 18446744073709551615, not -1",
		`{"version":1.5}`:                               "not 1.5",
		`{"version":1e3}`:                               "not 1e3",
		`{"version":18446744073709551616}`:              "not 18446744073709551616",
		`{"version":` + strings.Repeat("9", 1000) + `}`: "not a number of 1000 digits",
		`{"version":-0}`:                                "not -0",
		`{"version":"1"}`:                               "not text",
		`{"tags":["a"]}`:                                "tags must be an object, not a list",
		`{"tags":{"a":1}}`:                              "tags.a must be text, not 1",
		`{"tags":{"a":null}}`:                           "tags.a must be text, not null",
		`{"tags":{"\udc00":"x"}}`:                       "a name in tags is not text: half a surrogate pair",
		`{"channel":"\ud800"}`:                          "channel is not text: half a surrogate pair",
		`{"channel":"\ud800x\udc00"}`:                   "half a surrogate pair",
		`{"channel":"\ud800\n\udc00"}`:                  "half a surrogate pair",
		`{"channel":"\ud800x\u0041"}`:                   "half a surrogate pair",
		`{"channel":"\ud800\ud800\udc00"}`:              "half a surrogate pair",
	} {
		r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, words, "publish", body)
	}
	for _, body := range []string{
		" \r\n\t{ \"channel\" : \"a\" , \"data\" : 1 , \"tags\" : { \"\" : \"\" } } \n",
		`{"channel":"\ud83d\ude00\\ud800\"\\","data":1}`,
		`{"ch\u0061nnel":"a","data":"]}\"\\"}`,
		`{"channel":"a","data":` + nested(127) + `}`,
	} {
		r.call(t, "publish", body)
	}
	if got := r.call(t, "history", `{"channel":"a"}`); !strings.Contains(got, `"offset":3`) {
		t.Errorf("3 publishes were right: %s", got)
	}
}

func TestStrictJSONInside(t *testing.T) {
	r := newRig(t, hub.Limits{})
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "limit must be a whole number from -2147483648 to 2147483647, not 2147483648",
		"history", `{"channel":"a","limit":2147483648}`)
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "since.offset must be a whole number", "history", `{"channel":"a","since":{"offset":"1"}}`)
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "unknown field since.ofset; did you mean offset?", "history", `{"channel":"a","since":{"ofset":1}}`)
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "channels[1] must be text, not null", "broadcast", `{"channels":["a",null],"data":1}`)
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "unknown field x; there are none here", "info", `{"x":1}`)
}

func TestMetrics(t *testing.T) {
	r := newRig(t, hub.Limits{})
	r.call(t, "publish", `{"channel":"a","data":1}`)
	r.fails(t, 200, channel.CodeUnknownChannel, "", "publish", `{"channel":"no:such","data":1}`)
	r.fails(t, 400, channel.CodeBadRequest, "", "publish", `{`)
	r.fails(t, 404, channel.CodeMethodNotFound, "", "no-such-method", `{}`)
	r.replies(t, `{"commands":[{"publish":{"channel":"a","data":1}},{"publish":{"channel":"no:such","data":1}}]}`)
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`myelin_api_requests_total{method="publish"} 5`,
		`myelin_api_errors_total{method="publish"} 3`,
		`myelin_api_duration_seconds_count{method="publish"} 5`,
		`myelin_api_requests_total{method="batch"} 1`,
		`myelin_api_errors_total{method="batch"} 0`,
		`myelin_api_errors_total{method="other"} 1`,
		`myelin_door_refused_total{door="api"} 2`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if strings.Contains(w.Body.String(), "no-such-method") {
		t.Error("a name that a caller chose is a label")
	}
}
