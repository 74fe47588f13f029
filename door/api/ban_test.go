package api_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"myelin/channel"
)

func TestKeepingOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for body, words := range map[string]string{
			`{}`:                              "name one of user, token",
			`{"user":"a","token":"b"}`:        "name one of user, token",
			`{"token":"b","issued_before":5}`: "issued_before goes with user",
		} {
			r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, words, "revoke", body)
		}
		r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "name one of user, address", "block", `{}`)
		r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "name one of user, token, address", "unblock", `{"user":"a","address":"b"}`)
		for body, words := range map[string]string{
			`{"address":"192.0.2"}`:                                   "is no address",
			`{"user":"a","reason":"` + strings.Repeat("r", 81) + `"}`: "reason: has 81 bytes",
			`{"user":"a","reason":"a\nb"}`:                            "control character",
			`{"user":"a","expire_at":99999999999999}`:                 "milliseconds",
		} {
			r.fails(t, http.StatusOK, channel.CodeBadRequest, words, "block", body)
		}
		r.fails(t, http.StatusOK, channel.CodeExpired, "has passed", "block", `{"user":"a","expire_at":5}`)
		list := func(want string) {
			t.Helper()
			if _, out := r.send(request("blocks", "{}")); !strings.Contains(out, want) {
				t.Errorf("the list is %s, want %s", out, want)
			}
		}
		list(`"blocks":[]`)
		at := time.Now().Unix()
		for _, c := range []struct{ method, body, list string }{
			{"revoke", `{"user":"a"}`, `{"kind":"user_tokens","value":"a","issued_before":` + strconv.FormatInt(at, 10) + `}`},
			{"block", `{"user":"a"}`, `[{"kind":"user","value":"a"},{"kind":"user_tokens"`},
			{"unblock", `{"user":"a"}`, `"blocks":[]`},
			{"revoke", `{"token":"t","reason":"why"}`, `[{"kind":"token","value":"t","reason":"why"}]`},
			{"unblock", `{"token":"t"}`, `"blocks":[]`},
			{"block", `{"address":"192.0.2.99/24"}`, `[{"kind":"address","value":"192.0.2.0/24"}]`},
			{"unblock", `{"address":"192.0.2.0/24"}`, `"blocks":[]`},
			{"unblock", `{"address":"192.0.2.0/24"}`, `"blocks":[]`},
		} {
			if status, out := r.send(request(c.method, c.body)); status != http.StatusOK || !strings.Contains(out, `{"result":{}}`) {
				t.Errorf("%s %s: %d %s", c.method, c.body, status, out)
			}
			list(c.list)
		}
	})
}
