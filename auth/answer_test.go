package auth_test

import (
	"strings"
	"testing"

	"myelin/auth"
)

func TestReadAdmission(t *testing.T) {
	a, err := auth.ReadAdmission([]byte(`{"user":"ann","expire_at":99,"info":{"n":1},"b64data":"aGk=","channels":["a"],"subs":{"b":{}},"meta":{"m":1},"caps":[{"channels":["c"],"allow":["sub"]}]}`))
	if err != nil || a.User != "ann" || a.Anonymous || a.ExpiresAt != 99 || string(a.Info) != `{"n":1}` || string(a.Data) != "hi" ||
		len(a.Channels) != 1 || len(a.Subs) != 1 || string(a.Meta) != `{"m":1}` || !a.Can(auth.VerbSubscribe, "c") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := auth.ReadAdmission([]byte(`{}`)); err != nil || !a.Anonymous {
		t.Errorf("%+v, %v", a, err)
	}
	for answer, words := range map[string]string{
		`[]`:                                 "not a JSON object",
		`null`:                               "not a JSON object",
		`{`:                                  "not a JSON object",
		`{"user":7}`:                         `"user" must be a string`,
		`{"user":"` + long(256) + `"}`:       "at most 255",
		`{"expire_at":1e12}`:                 "milliseconds",
		`{"b64info":"?"}`:                    "base64",
		`{"caps":{}}`:                        `"caps"`,
		`{"subs":{"":{}}}`:                   "empty channel name",
		`{"channels":["` + long(300) + `"]}`: "300 bytes",
	} {
		if _, err := auth.ReadAdmission([]byte(answer)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.40s: %v, want %q", answer, err, words)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestReadGrant(t *testing.T) {
	g, err := auth.ReadGrant("chat:a", []byte(`{"expire_at":99,"data":[1],"allow":["pub"],"override":{"presence":{"value":true}}}`))
	if err != nil || g.Channel != "chat:a" || g.ExpiresAt != 99 || string(g.Data) != "[1]" || !g.Allows(auth.VerbPublish) || g.Presence == nil || !*g.Presence {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := auth.ReadGrant("a", []byte(`{"allow":["fly"]}`)); err == nil {
		t.Error("a verb that is none was taken")
	}
}

func TestReadRenewal(t *testing.T) {
	if r, err := auth.ReadRenewal([]byte(`{"expire_at":99,"info":1}`)); err != nil || r.Expired || r.ExpiresAt != 99 || string(r.Info) != "1" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := auth.ReadRenewal([]byte(`{"expired":true}`)); err != nil || !r.Expired {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := auth.ReadRenewal([]byte(`{"expired":"yes"}`)); err == nil {
		t.Error("a word was taken for a boolean")
	}
}

// Whatever a backend answers is read or refused.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `{"user":"a","subs":{"b":{"filter":{"op":"and"}}}}`, `{"caps":[{}],"limits":{"publish_per_second":1}}`, `{"expired":true,"expire_at":-1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := auth.ReadAdmission(b); err == nil && (a.Identity == nil || len(a.User) > 255 || a.Anonymous != (a.User == "")) {
			t.Errorf("%s became %+v", b, a)
		}
		_, _ = auth.ReadGrant("x", b)
		if r, err := auth.ReadRenewal(b); err == nil && r.ExpiresAt < 0 {
			t.Errorf("%s became %+v", b, r)
		}
	})
}
