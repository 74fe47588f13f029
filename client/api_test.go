package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"myelin/client"
)

func TestAPI(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		answer  string
		want    client.Position
		code    uint32 // of the server's error
		message string // part of any other error
	}{
		"ok":         {200, `{"result":{"offset":7,"epoch":"e"}}`, client.Position{Epoch: "e", Offset: 7}, 0, ""},
		"no result":  {200, `{}`, client.Position{}, 0, ""},
		"error":      {200, `{"error":{"code":102,"message":"unknown channel"}}`, client.Position{}, 102, ""},
		"error 400":  {400, `{"error":{"code":107,"message":"bad request"}}`, client.Position{}, 107, ""},
		"forbidden":  {401, `go away`, client.Position{}, 0, "401"},
		"not JSON":   {200, `<html>`, client.Position{}, 0, "not JSON"},
		"not result": {200, `{"result":[]}`, client.Position{}, 0, "unexpected result"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != `{"channel":"a","data":{"x":1},"idempotency_key":"k"}` ||
					r.URL.Path != "/api/publish" || r.Header.Get("X-API-Key") != "key" || r.Method != http.MethodPost {
					t.Errorf("%s %s %s, %v", r.Method, r.URL.Path, body, err)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			}))
			defer s.Close()
			a := client.API{URL: s.URL + "/api/", Key: "key", HTTP: s.Client()}
			pos, err := a.Publish(t.Context(), "a", []byte(`{"x":1}`), client.PublishOptions{IdempotencyKey: "k"})
			e, isError := errors.AsType[*client.Error](err)
			switch {
			case c.code != 0 && (!isError || e.Code != c.code):
				t.Fatalf("error %v, want code %d", err, c.code)
			case c.message != "" && (err == nil || !strings.Contains(err.Error(), c.message)):
				t.Fatalf("error %v, want %q", err, c.message)
			case c.code == 0 && c.message == "" && (err != nil || pos != c.want):
				t.Fatalf("position %v, error %v", pos, err)
			}
		})
	}
}

func TestAPIRefusesWhatIsNotJSON(t *testing.T) {
	if _, err := (client.API{URL: "http://127.0.0.1:1"}).Publish(t.Context(), "a", []byte(`{`), client.PublishOptions{}); !errors.Is(err, client.ErrNotJSON) {
		t.Fatalf("Publish = %v", err)
	}
}
