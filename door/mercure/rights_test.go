package mercure_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"myelin/auth"
	"myelin/door/mercure"
)

// The filter of a token holds for what was missed as for what comes.
func TestFilterOfTheTokenIsForReplays(t *testing.T) {
	s := newStage(t, true)
	for _, private := range []string{"", "&private=on"} {
		s.publish(t, "topic=a&type=open&data=1"+private)
		s.publish(t, "topic=a&type=secret&data=2"+private)
	}
	token := jwt(t, "JWT", claims{"mercure": claims{"subscribe": []string{"*"}}, "caps": []claims{{
		"channels": []string{"mercure:*", "mercure-private:*"}, "match": "wildcard", "allow": []string{"sub"},
		"filter": claims{"key": "event", "cmp": "eq", "val": "open"},
	}}})
	_, in := s.listen(t, "?match=a&lastEventID=earliest", bearer(token))
	s.publish(t, "topic=a&type=secret&data=3")
	s.publish(t, "topic=a&type=open&data=end")
	for n := 0; ; n++ {
		e := next(t, in)
		if e.kind != "open" {
			t.Errorf("%+v is not for this token", e)
		}
		if e.data == "end" {
			if n != 2 {
				t.Errorf("%d were replayed, want 2", n)
			}
			return
		}
	}
}

// Who is kept out may not publish either, though that takes no session.
func TestWhoIsKeptOutCannotPublish(t *testing.T) {
	var log logged
	s := newStageWith(t, mercure.Options{Anonymous: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	token := func(user, id string) string {
		return jwt(t, "JWT", claims{"sub": user, "jti": id, "mercure": claims{"publish": []string{"*"}}})
	}
	publish := func(token string) int {
		return s.do(t, http.MethodPost, "", "topic=a&data=x", bearer(token)).StatusCode
	}
	for _, user := range []string{"ann", "bob"} {
		if got := publish(token(user, user)); got != http.StatusOK {
			t.Fatalf("before: %d", got)
		}
	}
	for _, b := range []auth.Ban{{Kind: auth.BanUser, Value: "ann"}, {Kind: auth.BanToken, Value: "bob"}} {
		if err := s.Hub.Ban(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[string]int{"ann": http.StatusForbidden, "bob": http.StatusUnauthorized, "cid": http.StatusOK} {
		if got := publish(token(user, user)); got != want {
			t.Errorf("%s: %d, want %d", user, got, want)
		}
	}
	for user, want := range map[string]string{"ann": `error="insufficient_scope"`, "bob": `error="invalid_token"`} {
		r := s.do(t, http.MethodGet, "?match=a", "", bearer(token(user, user)))
		if got := r.Header.Get("WWW-Authenticate"); !strings.Contains(got, want) || r.StatusCode == http.StatusOK {
			t.Errorf("%s: %s %s", user, r.Status, got)
		}
	}
	// That is nothing to trouble an operator with.
	if text := log.text(); text != "" {
		t.Errorf("logged %s", text)
	}
}

// logged keeps what is logged.
type logged struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
