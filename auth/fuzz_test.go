package auth_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"myelin/auth"
)

// FuzzToken feeds anything as a token. Only a signature lets it in, so it must
// be refused, with an error that does not repeat it.
func FuzzToken(f *testing.F) {
	other, err := auth.NewSigner(auth.SignerOptions{HMACSecret: "another secret, long enough for HS256"})
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := other.Sign(auth.Claims{User: "42"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "..", "a.b.c", foreign, forge(`{"alg":"none"}`, "{}", nil), forge(`{"alg":"HS256","crit":[]}`, "null", nil), forge(`{"alg":"HS256","kid":{}}`, "[]", nil)} {
		f.Add(seed)
	}
	v := newVerifier(f, auth.Options{HMACSecret: secret, PublicKeyPEM: publicPEM(f, newEd25519(f))})
	f.Fuzz(func(t *testing.T, token string) {
		for _, err := range []error{first(v.Connection(token)), first(v.Subscription(token, "42", "c", "news"))} {
			refused(t, err, auth.ErrTokenInvalid, reasonOf(err), token)
			if len(err.Error()) > 1024 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		}
	})
}

func first[T any](_ T, err error) error { return err }

// FuzzClaims signs any JSON object, so that all of the reading is reached. What
// is let in must keep the promises of Identity and Grant.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"sub":"a","exp":4102444800,"nbf":0,"iat":1}`, `{"sub":null,"aud":["x"],"iss":"y","jti":"z"}`,
		`{"info":{"a":1},"b64info":"AQ==","meta":[1]}`, `{"channels":["a","b:c"],"subs":{"a":{"data":1,"b64data":"AQ==","override":{"presence":{"value":true}}}}}`,
		`{"caps":[{"channels":["a","b:*"],"match":"wildcard","allow":["sub","pub","prs","hst"]}]}`, `{"channel":"news","client":"c","allow":["pub"],"expire_at":0}`,
		`{"exp":1e99}`, `{"exp":"1"}`, `{"subs":{"":null}}`, `{"caps":[null]}`, `{"subs":{"a":{"override":{"presence":null}}}}`,
	} {
		f.Add(seed)
	}
	v := newVerifier(f, auth.Options{HMACSecret: secret})
	signer := newSigner(f, auth.SignerOptions{HMACSecret: secret})
	f.Fuzz(func(t *testing.T, payload string) {
		token, err := signer.Sign(json.RawMessage(payload))
		if err != nil {
			t.Skip()
		}
		if id, err := v.Connection(token); err == nil {
			checkIdentity(t, id)
		} else if !errors.As(err, new(*auth.Error)) {
			t.Errorf("error of type %T: %v", err, err)
		}
		g, err := v.Subscription(token, "42", "c", "news")
		if err != nil {
			return
		}
		if g.Channel != "news" || g.ExpiresAt < 0 || !validInfo(g.Info) && !strings.Contains(payload, "b64") {
			t.Errorf("granted %+v", g)
		}
	})
}

func checkIdentity(t *testing.T, id *auth.Identity) {
	t.Helper()
	if id.Anonymous != (id.User == "") || len(id.User) > 255 || id.ExpiresAt < 0 || len(id.Channels) > 1024 || len(id.Subs) > 1024 || len(id.Caps) > 64 {
		t.Errorf("let in %+v", id)
	}
	if !validInfo(id.Meta) {
		t.Errorf("meta is no JSON: %q", id.Meta)
	}
	for channel := range id.Subs {
		if channel == "" {
			t.Error("an empty channel is subscribed to")
		}
	}
	for _, c := range id.Caps {
		for _, short := range c.Allow {
			if _, err := auth.ParseVerb(short); err != nil {
				t.Error(err)
			}
		}
	}
	var none auth.Rules
	if len(id.Caps) == 0 && none.Allows(auth.VerbPublish, "news", id, true, true) {
		t.Error("no rule and no capability allow something")
	}
}

func validInfo(b []byte) bool { return b == nil || json.Valid(b) }

// FuzzMatchChannel holds the automaton against the reference.
func FuzzMatchChannel(f *testing.F) {
	for _, seed := range [][2]string{{"*", "a"}, {"a**b*c", "a:b:bc"}, {"**", ""}, {strings.Repeat("*a", 127), strings.Repeat("a", 254)}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, channel string) {
		if got, want := auth.MatchChannel(pattern, channel), reference(pattern, channel); got != want {
			t.Errorf("MatchChannel(%q, %q) is %v, want %v", pattern, channel, got, want)
		}
	})
}

// FuzzOrigins lets nothing in that does not even have the pattern's end.
func FuzzOrigins(f *testing.F) {
	for _, seed := range [][3]string{
		{"https://*.example.com", "https://a.example.com", "example.com"},
		{"http://localhost:*", "http://localhost:1", "localhost:1"},
		{"https://[::1]:8000", "https://[::1]:8000", "[::1]:8000"},
		{"*", "null", ""},
		{"https://app-*.example.com", "https://app-1.example.com", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, pattern, origin, host string) {
		r := &http.Request{Host: host, Header: http.Header{"Origin": {origin}}}
		same, err := auth.NewOrigins(nil)
		if err != nil {
			t.Fatal(err)
		}
		if name, _, _ := strings.Cut(host, ":"); same.Allow(r) && !strings.HasPrefix(host, "[") && !strings.Contains(strings.ToLower(origin), strings.ToLower(name)) {
			t.Errorf("%q is no page of host %q", origin, host)
		}
		o, err := auth.NewOrigins([]string{pattern})
		if err != nil || !o.Allow(r) || pattern == "*" || pattern == "null" {
			return
		}
		scheme, rest, _ := strings.Cut(strings.ToLower(pattern), "://")
		if !strings.HasPrefix(strings.ToLower(origin), scheme+"://") {
			t.Errorf("%q let in %q", pattern, origin)
		}
		labels := strings.Split(rest, ".")
		last, _, _ := strings.Cut(labels[len(labels)-1], ":")
		if last != "*" && !strings.HasPrefix(rest, "[") && !strings.Contains(strings.ToLower(origin), last) {
			t.Errorf("%q let in %q", pattern, origin)
		}
	})
}

// FuzzKeySet reads anything as a key set.
func FuzzKeySet(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"keys":null}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, keySetBody(f, jwk(f, newEd25519(f), "k", ""))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, _, err := auth.ParseKeySet(body)
		if (err == nil) != (keys > 0) || keys > 256 {
			t.Errorf("%d keys, %v", keys, err)
		}
	})
}
