package auth_test

import (
	"crypto/elliptic"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"myelin/auth"
)

// publisher is a key set's server without a network.
type publisher struct {
	fetches atomic.Int64
	answer  atomic.Pointer[func(*http.Request) (*http.Response, error)]
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.fetches.Add(1)
	return (*p.answer.Load())(r)
}

func (p *publisher) do(answer func(*http.Request) (*http.Response, error)) { p.answer.Store(&answer) }

func (p *publisher) publish(status int, body string) {
	p.do(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
}

// hang answers nothing until the request is given up, as a dead server does.
func (p *publisher) hang() {
	p.do(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

func (p *publisher) options() auth.Options {
	return auth.Options{
		JWKSURL:      "https://keys.example/jwks.json",
		HTTPClient:   &http.Client{Transport: p},
		JWKSRefresh:  15 * time.Minute,
		JWKSInterval: 30 * time.Second,
	}
}

func respond(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// endless answers without end, and breaks down when too much of it is read.
func endless(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&endlessReader{})}, nil
}

type endlessReader struct{ read int }

func (e *endlessReader) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 4<<20 {
		panic("a key set is read without bound")
	}
	clear(p)
	return len(p), nil
}

func dies(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"keys":`), deadReader{}))}, nil
}

type deadReader struct{}

func (deadReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// publishedKey is a private key and its place in a key set.
type publishedKey struct {
	signer *auth.Signer
	public jwkset.JWKMarshal
}

func newPublishedKey(t testing.TB, id string) publishedKey {
	t.Helper()
	key := newEC(t, elliptic.P256())
	return publishedKey{
		signer: newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, key), KeyID: id}),
		public: jwk(t, key, id, jwkset.AlgES256),
	}
}

func (k publishedKey) token(t testing.TB) string {
	t.Helper()
	return sign(t, k.signer, auth.Claims{User: "42"})
}

// unknownKey is a token that claims to be signed with a key of that id.
func unknownKey(id string) string {
	return forge(`{"alg":"EdDSA","kid":"`+id+`"}`, `{}`, make([]byte, 64))
}
