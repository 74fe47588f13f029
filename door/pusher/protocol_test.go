package pusher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/door/pusher"
)

// The examples of Pusher's own documentation of its signatures.
func TestSignatures(t *testing.T) {
	const secret = "7ad3773142a6692b25b8"
	for text, want := range map[string]string{
		"1234.1234:private-foobar": "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
		`1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Channels"}}`:                                                             "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
		"POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f": "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
	} {
		if got := pusher.Sign(secret, text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for n, want := range map[string]string{
		"orders": "pub:orders", "private-x": "priv:private-x", "presence-x": "priv:presence-x", "private-encrypted-x": "priv:private-encrypted-x",
		"#server-to-user-7": "priv:#server-to-user-7", "cache-a": "pub:cache-a", "a_-=@,.;9": "pub:a_-=@,.;9", "privatex": "pub:privatex",
	} {
		got, err := pusher.Channel("pub", "priv", n)
		back, ok := pusher.Name("pub", "priv", got)
		if got != want || err != nil || back != n || !ok {
			t.Errorf("%q: %q, %v, %q, %v", n, got, err, back, ok)
		}
	}
	for _, n := range []string{"", "a b", "a:b", "é", "#x", "#server-to-user-", "a\n", strings.Repeat("x", 201), "*"} {
		if _, err := pusher.Channel("pub", "priv", n); err == nil {
			t.Errorf("%q is a name", n)
		}
	}
	// A private name in the public namespace was never asked for a signature.
	for _, of := range []string{"pub:private-x", "priv:orders", "chat:orders", "orders", "pub:", "priv:a b"} {
		if n, ok := pusher.Name("pub", "priv", of); ok {
			t.Errorf("%q is %q", of, n)
		}
	}
	for n, want := range map[string]bool{
		"cache-a": true, "private-cache-a": true, "presence-cache-a": true, "private-encrypted-cache-a": true,
		"a-cache-": false, "presence-encrypted-cache-a": false, "cache": false,
	} {
		if pusher.Cache(n) != want {
			t.Errorf("%q", n)
		}
	}
}

// Whatever a server sends as data a client gets as that text.
func TestDataIsWhatWasSent(t *testing.T) {
	for _, text := range []string{`{"a":1}`, "just text", "123", `"quoted"`, "", `"`, `{"a":`, "null", " [1] ", "é\u2028<&>", "\x00"} {
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := dataOf(t, pusher.Through("e", raw, nil)); got != text {
			t.Errorf("%q came as %q", text, got)
		}
	}
	if got := dataOf(t, pusher.Through("e", []byte(`{"a":1}`), nil)); got != `{"a":1}` {
		t.Errorf("an object came as %q", got)
	}
}

func dataOf(t *testing.T, frame []byte) string {
	t.Helper()
	var m struct{ Data string }
	if err := json.Unmarshal(frame[strings.IndexByte(string(frame), '{'):], &m); err != nil {
		t.Fatalf("%q: %v", frame, err)
	}
	return m.Data
}

// What a client published is never taken for an event of the server.
func TestClientsCannotSpeakForTheServer(t *testing.T) {
	for event, want := range map[string]string{"paid": "client-paid", "client-x": "client-x", "": "client-message", "pusher:error": "client-pusher:error"} {
		if got := string(pusher.Through(event, []byte("1"), &channel.ClientInfo{})); !strings.Contains(got, `{"event":"`+want+`"`) {
			t.Errorf("%q: %q", event, got)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"event":"pusher:subscribe","data":{"channel":"presence-x","auth":"k:s","channel_data":"{\"user_id\":1}"}}`,
		`{"event":"pusher:subscribe","data":"{\"channel\":\"x\"}"}`, `{"event":"client-x","channel":"private-x","data":{}}`, `[]`, "\xff", `{"data":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) { pusher.Parse(b) })
}

// Any JSON comes through, and comes as a text with the same JSON in it.
func FuzzData(f *testing.F) {
	f.Add([]byte(`"x"`))
	f.Add([]byte(`{"a":[1,"é"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		got := pusher.Through("e", raw, nil)
		var m struct{ Data *string }
		if err := json.Unmarshal(got[strings.IndexByte(string(got), '{'):], &m); err != nil || m.Data == nil {
			t.Fatalf("%q: %q, %v", raw, got, err)
		}
		var sent string
		if json.Unmarshal(raw, &sent) == nil && raw[0] == '"' && *m.Data != sent {
			t.Errorf("%q came as %q", sent, *m.Data)
		}
	})
}

// Nobody gets in without the secret, whatever the query.
func FuzzRequest(f *testing.F) {
	f.Add("/apps/1/events", "auth_key=k&auth_timestamp=1&auth_version=1.0&auth_signature=00", "x", int64(0))
	f.Fuzz(func(t *testing.T, path, query, extra string, late int64) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		if pusher.CheckRequest("k", "secret", r, r.URL.Query()) == nil {
			t.Errorf("%q %q was let in", path, query)
		}
		q := r.URL.Query()
		for k := range q {
			q.Del(k)
		}
		at := time.Now().Add(time.Duration(late%500) * time.Second).Unix()
		q.Set("x", extra)
		q.Set("auth_key", "k")
		q.Set("auth_version", "1.0")
		q.Set("auth_timestamp", fmt.Sprint(at))
		q.Set("auth_signature", pusher.Sign("secret", "POST\n"+path+"\nauth_key=k&auth_timestamp="+fmt.Sprint(at)+"&auth_version=1.0&x="+extra))
		if err := pusher.CheckRequest("k", "secret", r, q); err != nil {
			t.Errorf("%q %q: %v", path, extra, err)
		}
	})
}
