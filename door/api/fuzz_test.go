package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"myelin/door/api"
	"myelin/hub"
)

// FuzzBody: whatever the body, the answer is JSON of its shape; what was
// refused was not done, and nothing is an internal error.
func FuzzBody(f *testing.F) {
	methods := api.Methods()
	for _, seed := range []string{
		`{"channel":"a","data":{"k":[1,null,"\ud83d\ude00"]},"tags":{"a":"b"},"idempotency_key":"k"}`,
		`{"channel":"plain:a","b64data":"AAH/","skip_history":true}`,
		`{"channels":["a","plain:b","no:such"],"data":1}`,
		`{"user":"ann","channel":"a","expire_at":99999999999,"info":{},"recover_since":{"offset":1,"epoch":"e"},"override":{"presence":{"value":true}}}`,
		`{"user":"ann","client":"c","whitelist":["d"],"disconnect":{"code":4000,"reason":"x"}}`,
		`{"user":"ann","expired":true,"expire_at":1}`,
		`{"channel":"a","limit":-1,"since":{"offset":18446744073709551615},"reverse":true}`,
		`{"pattern":"a:**"}`,
		`{"commands":[{"publish":{"channel":"a","data":1}},{"info":{}},{"broadcast":{"channels":["a"],"data":1}}],"parallel":true}`,
		`{"channel":"\ud800"}`, `[[[`, "\xff", `{"a":1,"a":2}`, ``, ` `, `null`, `{"tags":{"a":null}}`,
	} {
		for i := range methods {
			f.Add(byte(i), seed)
		}
	}
	r := newRig(f, hub.Limits{ChannelsPerConnection: 8, MessageBytes: 1 << 10})
	f.Fuzz(func(t *testing.T, n byte, body string) {
		method := methods[int(n)%len(methods)]
		before := r.call(t, "history", `{"channel":"a"}`)
		status, out := r.send(request(method, body))
		var a struct {
			Result map[string]any
			Error  *struct {
				Code    int
				Message string
			}
			Replies []map[string]any
		}
		d := json.NewDecoder(strings.NewReader(out))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		allowed := []int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge}
		switch {
		case !slices.Contains(allowed, status):
			t.Fatalf("status %d, %s", status, out)
		case strings.Contains(out, `"code":100,`):
			t.Fatalf("an internal error: %s", out)
		case a.Error != nil && (a.Result != nil || a.Replies != nil), a.Error == nil && (a.Result == nil) == (a.Replies == nil):
			t.Fatalf("neither an error nor a result, or both: %s", out)
		case status != http.StatusOK && a.Error == nil:
			t.Fatalf("status %d without an error: %s", status, out)
		case status == http.StatusOK && !json.Valid([]byte(body)) && body != "":
			t.Fatalf("%q was taken for JSON: %s", body, out)
		case status != http.StatusOK && r.call(t, "history", `{"channel":"a"}`) != before:
			t.Fatalf("%q was refused and done: %s", body, out)
		}
	})
}
