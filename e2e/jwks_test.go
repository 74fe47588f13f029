package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const tokenSecret = "a-token-secret-for-these-tests-0123456789"

// issuer publishes a key set, once it feels like it.
type issuer struct {
	*httptest.Server
	key     string // file with the private key
	awake   chan struct{}
	fetches atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: filepath.Join(t.TempDir(), "k1.key"), awake: make(chan struct{})}
	write(t, i.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.fetches.Add(1) == 1 {
			select {
			case <-i.awake:
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(set)
	}))
	t.Cleanup(i.Close)
	return i
}

// newToken makes one with the command line.
func newToken(t testing.TB, args ...string) string {
	t.Helper()
	out, stderr, code := run(t, append([]string{"token", "-u", "ann"}, args...)...)
	if code != 0 {
		t.Fatalf("myelin token: %s", stderr)
	}
	return strings.TrimSpace(out)
}

// connectBy says connect by HTTP streaming and returns the first line of the
// answer.
func connectBy(w *way, token string) string {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"id": 1, "connect": map[string]string{"token": token}})
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.stream(http.MethodPost, "/connection/http_stream", string(body))
	defer s.close()
	return s.until("{")
}

// TestKeySetThatHangs starts a server whose issuer does not answer. Those who
// need its keys are told to try again, nobody else notices, and when the keys
// come all is well.
func TestKeySetThatHangs(t *testing.T) {
	t.Parallel()
	from := newIssuer(t)
	server := serve(t, "auth: {anonymous: true}",
		"--set", "auth.tokens.jwks_url="+from.URL+"/keys", "--set", "auth.tokens.hmac_secret="+tokenSecret)
	w := newWay(t, server.main, nil, 1)
	eventually(t, "the server asks for keys", func() bool { return from.fetches.Load() > 0 })

	signed := newToken(t, "--private-key", from.key, "--key-id", "k1")
	const again = `"error":{"code":1000,`
	if reply := connectBy(w, signed); !strings.Contains(reply, again) || !strings.Contains(reply, `"temporary":true`) {
		t.Errorf("without keys it is answered with %s, want a temporary error", reply)
	}
	resp := w.do(http.MethodGet, "/connection/uni_sse?channel=x&token="+signed, "")
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), again) {
		t.Errorf("without keys EventSource is answered with %s %s (%v)", resp.Status, body, err)
	}
	for who, tok := range map[string]string{"anonymous": "", "hmac": newToken(t, "--secret", tokenSecret)} {
		if reply := connectBy(w, tok); !strings.Contains(reply, `"connect":{"client"`) {
			t.Errorf("%s is answered with %s", who, reply)
		}
	}

	// A node that cannot check tokens gets no traffic where another one can.
	if code := status(t, server.adminHTTP("/health/ready")); code != http.StatusServiceUnavailable {
		t.Errorf("without keys it is ready with %d", code)
	}
	if code := status(t, server.adminHTTP("/health/live")); code != http.StatusOK {
		t.Errorf("without keys it is alive with %d", code)
	}

	close(from.awake)
	eventually(t, "it is ready", func() bool { return status(t, server.adminHTTP("/health/ready")) == http.StatusOK })
	eventually(t, "a token of the key set is good", func() bool {
		return strings.Contains(connectBy(w, signed), `"connect":{"client"`)
	})
	// A key that the set does not have may come with the next fetch.
	if reply := connectBy(w, newToken(t, "--private-key", from.key, "--key-id", "k2")); !strings.Contains(reply, again) {
		t.Errorf("an unknown key is answered with %s, want a temporary error", reply)
	}
	forged := newIssuer(t)
	if reply := connectBy(w, newToken(t, "--private-key", forged.key, "--key-id", "k1")); !strings.Contains(reply, `"code":3500`) {
		t.Errorf("a forged token is answered with %s, want 3500", reply)
	}
}
