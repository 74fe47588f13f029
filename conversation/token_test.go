package conversation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"myelin/auth"
	"myelin/conversation/conversationtest"
	"myelin/protocol"
)

func connectWith(token string) *command {
	return &command{Id: 1, Connect: &protocol.ConnectRequest{Token: token}}
}

// refused returns tokens that must let nobody in, and what they come to.
func refused(t *testing.T) map[string]struct{ token, want string } {
	sign := func(c claims) string { return conversationtest.Token(t, c) }
	other, err := auth.NewSigner(auth.SignerOptions{HMACSecret: "another secret, just as long as the first"})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Sign(claims{"sub": "u"})
	if err != nil {
		t.Fatal(err)
	}
	const expired, invalid = "1 error 109, disconnect 3005", "disconnect 3500"
	return map[string]struct{ token, want string }{
		"expired":             {sign(claims{"sub": "u", "exp": conversationtest.In(-time.Hour)}), expired},
		"expired a moment":    {sign(claims{"sub": "u", "exp": conversationtest.In(0)}), expired},
		"not valid yet":       {sign(claims{"sub": "u", "nbf": conversationtest.In(time.Hour)}), expired},
		"expire_at is over":   {sign(claims{"sub": "u", "expire_at": conversationtest.In(-time.Hour)}), expired},
		"not a token":         {"x", invalid},
		"of another key":      {foreign, invalid},
		"cut":                 {sign(claims{"sub": "u"})[:40], invalid},
		"for a subscription":  {sign(claims{"sub": "u", "channel": "log:a"}), invalid},
		"with a bad claim":    {sign(claims{"sub": 7}), invalid},
		"anonymous, but late": {sign(claims{"sub": "", "exp": conversationtest.In(-time.Hour)}), expired},
	}
}

// Who comes with a token is who the token says or nobody at all, even where
// those without a token are let in.
func TestNobodyBecomesAnonymous(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		for name, c := range refused(t) {
			p := w.open(t)
			if got := tell(p.do(connectWith(c.token))); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
			if !p.gone {
				t.Errorf("%s: the conversation goes on", name)
			}
			p.expect("", connectWith(""))
		}
	})
}

func TestConnectWithoutAToken(t *testing.T) {
	stage(t, conversationtest.Options{Private: true}, func(t *testing.T, w *world) {
		w.open(t).expect("1 error 101, disconnect 3507", connectWith(""))
		w.open(t).expect("1 connect", connectWith(conversationtest.Token(t, claims{"sub": "u"})))
		w.open(t).expect("1 connect", connectWith(conversationtest.Token(t, claims{"sub": ""})))
	})
}

// Without any key a token is not ignored but refused.
func TestTokenWithoutAKey(t *testing.T) {
	stage(t, conversationtest.Options{Keys: &auth.Options{}}, func(t *testing.T, w *world) {
		w.open(t).expect("disconnect 3500", connectWith(conversationtest.Token(t, claims{"sub": "u"})))
		p := w.connected(t, "")
		p.expect("2 error 103", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{
			Channel: "log:a", Token: conversationtest.Token(t, claims{"sub": "", "channel": "log:a"}),
		}})
	})
}

// stuck is a key set that never answers.
type stuck struct{}

func (stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func elsewhere(t *testing.T, c claims) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := auth.NewSigner(auth.SignerOptions{
		PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), KeyID: "k",
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// While the keys are on their way the client is asked to try again.
func TestKeysThatAreNotThereYet(t *testing.T) {
	o := conversationtest.Options{Keys: &auth.Options{
		HMACSecret: conversationtest.Secret, JWKSURL: "https://keys.invalid/", HTTPClient: &http.Client{Transport: stuck{}},
	}}
	stage(t, o, func(t *testing.T, w *world) {
		w.open(t).expect("1 error 1000, disconnect 3004", connectWith(elsewhere(t, claims{"sub": "u"})))
		p := w.connected(t, conversationtest.Token(t, claims{"sub": "u"}))
		p.expect("2 error 1000", &command{Id: 2, Subscribe: &protocol.SubscribeRequest{
			Channel: "log:a", Token: elsewhere(t, claims{"sub": "u", "channel": "log:a"}),
		}})
		p.expect("3 error 1000", &command{Id: 3, Refresh: &protocol.RefreshRequest{Token: elsewhere(t, claims{"sub": "u"})}})
	})
}

func TestRefresh(t *testing.T) {
	refresh := func(c claims) *command {
		return &command{Id: 7, Refresh: &protocol.RefreshRequest{Token: conversationtest.Token(t, c)}}
	}
	stage(t, conversationtest.Options{Quiet: true}, func(t *testing.T, w *world) {
		for name, c := range map[string]struct {
			of   string
			c    claims
			want string
		}{
			"own":                  {"u", claims{"sub": "u", "exp": conversationtest.In(time.Hour)}, "7 refresh"},
			"own, for ever":        {"u", claims{"sub": "u"}, "7 refresh"},
			"another's":            {"u", claims{"sub": "v"}, "disconnect 3500"},
			"nobody's":             {"u", claims{"sub": ""}, "disconnect 3500"},
			"a user's for nobody":  {"", claims{"sub": "u"}, "disconnect 3500"},
			"a subscription's":     {"u", claims{"sub": "u", "channel": "log:a"}, "disconnect 3500"},
			"expired, try another": {"u", claims{"sub": "u", "exp": conversationtest.In(-time.Hour)}, "disconnect 3005"},
		} {
			p := w.connected(t, conversationtest.Token(t, claims{"sub": c.of, "exp": conversationtest.In(time.Hour)}))
			if got := tell(p.do(refresh(c.c))); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	})
}

// The end of a token is the end of the connection, unless it is refreshed; an
// anonymous user's as well.
func TestConnectionExpires(t *testing.T) {
	for _, user := range []string{"u", ""} {
		stage(t, conversationtest.Options{Quiet: true}, func(t *testing.T, w *world) {
			token := func(d time.Duration) string {
				return conversationtest.Token(t, claims{"sub": user, "exp": conversationtest.In(d)})
			}
			p := w.open(t)
			res := p.connect(token(time.Minute))
			if !res.Expires || res.Ttl < 59 || res.Ttl > 60 {
				t.Errorf("expires %v, ttl %d", res.Expires, res.Ttl)
			}
			time.Sleep(50 * time.Second)
			r := only(t, p.do(&command{Id: 2, Refresh: &protocol.RefreshRequest{Token: token(time.Minute)}}))
			if r.Refresh == nil || !r.Refresh.Expires || r.Refresh.Ttl < 59 {
				t.Fatalf("refresh gave %s", tell([]*protocol.Reply{r}))
			}
			time.Sleep(80 * time.Second)
			if got := tell(p.rest()); got != "" {
				t.Fatalf("within the delay: %s", got)
			}
			time.Sleep(10 * time.Second)
			if got := tell(p.rest()); got != "disconnect 3005" {
				t.Errorf("at the end: %s", got)
			}
		})
	}
}

func TestSubscriptionTokens(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.connected(t, conversationtest.Token(t, claims{"sub": "u"}))
		id := uint32(10)
		for name, c := range map[string]struct {
			c    claims
			want string
		}{
			"right":                    {claims{"sub": "u", "channel": "token:a"}, "subscribe"},
			"for this client":          {claims{"sub": "u", "channel": "token:b", "client": p.conv.ID()}, "subscribe"},
			"for this client, no user": {claims{"channel": "token:c", "client": p.conv.ID()}, "subscribe"},
			"expired":                  {claims{"sub": "u", "channel": "token:d", "exp": conversationtest.In(-time.Hour)}, "error 109"},
			"for another channel":      {claims{"sub": "u", "channel": "token:x"}, "error 103"},
			"for another user":         {claims{"sub": "v", "channel": "token:e"}, "error 103"},
			"for an anonymous user":    {claims{"sub": "", "channel": "token:f"}, "error 103"},
			"for another client":       {claims{"sub": "u", "channel": "token:g", "client": "x"}, "error 103"},
			"for a connection":         {claims{"sub": "u"}, "error 103"},
			"where nobody may":         {claims{"sub": "u", "channel": "nobody:a"}, "error 103"},
		} {
			id++
			name2, _ := c.c["channel"].(string)
			if name == "for another channel" || name2 == "" {
				name2 = "token:z"
			}
			got := tell(p.do(&command{Id: id, Subscribe: &protocol.SubscribeRequest{
				Channel: name2, Token: conversationtest.Token(t, c.c),
			}}))
			if want := fmtID(id, c.want); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	})
}

func TestSubscriptionExpires(t *testing.T) {
	stage(t, conversationtest.Options{Quiet: true}, func(t *testing.T, w *world) {
		token := func(d time.Duration) string {
			return conversationtest.Token(t, claims{"sub": "u", "channel": "token:a", "exp": conversationtest.In(d)})
		}
		refresh := func(id uint32, token string) *command {
			return &command{Id: id, SubRefresh: &protocol.SubRefreshRequest{Channel: "token:a", Token: token}}
		}
		p := w.connected(t, conversationtest.Token(t, claims{"sub": "u"}))
		p.expect("2 error 103", refresh(2, token(time.Minute))) // not subscribed yet
		r := only(t, p.do(&command{Id: 3, Subscribe: &protocol.SubscribeRequest{Channel: "token:a", Token: token(time.Minute)}}))
		if r.Subscribe == nil || !r.Subscribe.Expires || r.Subscribe.Ttl < 59 {
			t.Fatalf("subscribe gave %v", r)
		}
		time.Sleep(50 * time.Second)
		p.expect("4 error 103", refresh(4, conversationtest.Token(t, claims{"sub": "v", "channel": "token:a"})))
		r = only(t, p.do(refresh(5, token(time.Minute))))
		if r.SubRefresh == nil || !r.SubRefresh.Expires || r.SubRefresh.Ttl < 59 {
			t.Fatalf("sub_refresh gave %v", r)
		}
		time.Sleep(80 * time.Second)
		if got := tell(p.rest()); got != "" {
			t.Fatalf("within the delay: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := tell(p.rest()); got != "token:a unsubscribed 2501" {
			t.Errorf("at the end: %s", got)
		}
		// Whose new token is expired already comes back with another one: an
		// error would be final for some clients.
		p.expect("6 subscribe", &command{Id: 6, Subscribe: &protocol.SubscribeRequest{Channel: "token:a", Token: token(time.Minute)}})
		p.expect("disconnect 3006", refresh(7, token(-time.Minute)))
	})
}
