package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/MicahParks/jwkset"

	"myelin/auth"
)

const secret = "a secret that is long enough for HS256"

type obj = map[string]any

func newVerifier(t testing.TB, o auth.Options) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(o)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func newSigner(t testing.TB, o auth.SignerOptions) *auth.Signer {
	t.Helper()
	s, err := auth.NewSigner(o)
	if err != nil {
		t.Fatalf("NewSigner: %v", err)
	}
	return s
}

func sign(t testing.TB, s *auth.Signer, claims any) string {
	t.Helper()
	token, err := s.Sign(claims)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	return token
}

func hmacToken(t testing.TB, claims any) string {
	t.Helper()
	return sign(t, newSigner(t, auth.SignerOptions{HMACSecret: secret}), claims)
}

// forge makes a token by hand, with a signature of the caller's.
func forge(header, payload string, signature []byte) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload)) + "." + enc.EncodeToString(signature)
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func privatePEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwk is the public half of a key as a key set has it.
func jwk(t testing.TB, key crypto.Signer, id string, alg jwkset.ALG) jwkset.JWKMarshal {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: id, ALG: alg, USE: jwkset.UseSig},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.Marshal()
}

func keySetBody(t testing.TB, keys ...jwkset.JWKMarshal) string {
	t.Helper()
	body, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// refused checks an error's kind and reason, that its text holds every part
// given, and that it does not repeat the token.
func refused(t testing.TB, err error, kind error, reason auth.Reason, token string, parts ...string) {
	t.Helper()
	var e *auth.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v of type %T, want *auth.Error", err, err)
	}
	if !errors.Is(err, kind) || e.Reason != reason {
		t.Errorf("got %q, which is %v for reason %q, want %v for %q", err, errors.Unwrap(e), e.Reason, kind, reason)
	}
	if e.Temporary() != errors.Is(kind, auth.ErrUnavailable) {
		t.Errorf("%q: Temporary is %v", err, e.Temporary())
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("error %q repeats the token", err)
		}
	}
}

func reasonOf(err error) auth.Reason {
	if e, ok := errors.AsType[*auth.Error](err); ok {
		return e.Reason
	}
	return ""
}
