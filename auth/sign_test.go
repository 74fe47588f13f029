package auth_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"

	"myelin/auth"
)

func TestSignDefaults(t *testing.T) {
	rsaKey, p256 := newRSA(t, 2048), newEC(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]auth.SignerOptions{
		"HS256": {HMACSecret: secret},
		"HS512": {HMACSecret: secret, Algorithm: "HS512"},
		"RS256": {PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})},
		"PS384": {PrivateKeyPEM: privatePEM(t, rsaKey), Algorithm: "PS384"},
		"ES256": {PrivateKeyPEM: append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)},
		"ES384": {PrivateKeyPEM: privatePEM(t, newEC(t, elliptic.P384()))},
		"EdDSA": {PrivateKeyPEM: privatePEM(t, newEd25519(t))},
	} {
		if s := newSigner(t, o); s.Algorithm() != want {
			t.Errorf("signs with %s, want %s", s.Algorithm(), want)
		}
	}
}

func TestSignRefusals(t *testing.T) {
	p256 := newEC(t, elliptic.P256())
	for name, c := range map[string]struct {
		o   auth.SignerOptions
		say string
	}{
		"no key":          {auth.SignerOptions{}, "want a secret or a private key"},
		"two keys":        {auth.SignerOptions{HMACSecret: "x", PrivateKeyPEM: privatePEM(t, p256)}, "want one of them"},
		"other algorithm": {auth.SignerOptions{PrivateKeyPEM: privatePEM(t, p256), Algorithm: "ES384"}, `an ECDSA P-256 key cannot sign with "ES384", want ES256`},
		"none":            {auth.SignerOptions{HMACSecret: "x", Algorithm: "none"}, `cannot sign with "none"`},
		"public key":      {auth.SignerOptions{PrivateKeyPEM: publicPEM(t, p256)}, `it is a "PUBLIC KEY", want a PRIVATE KEY`},
		"encrypted":       {auth.SignerOptions{PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"})}, "decrypt it first"},
		"garbage":         {auth.SignerOptions{PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})}, "cannot be read"},
		"no PEM":          {auth.SignerOptions{PrivateKeyPEM: []byte("x")}, "-----BEGIN PRIVATE KEY-----"},
		"small RSA":       {auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newRSA(t, 1024))}, "1024 bits"},
		"curve":           {auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newEC(t, elliptic.P224()))}, "P-224"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := auth.NewSigner(c.o); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want an error that says %q", err, c.say)
			}
		})
	}
	s := newSigner(t, auth.SignerOptions{HMACSecret: secret})
	for _, claims := range []any{nil, 1, "x", []int{}, make(chan int)} {
		if token, err := s.Sign(claims); err == nil {
			t.Errorf("signed %v as %q", claims, token)
		}
	}
}

func TestSignedClaimsComeBack(t *testing.T) {
	s := newSigner(t, auth.SignerOptions{HMACSecret: secret, KeyID: "k1"})
	v := newVerifier(t, auth.Options{HMACSecret: secret, Audience: "aud", Issuer: "iss"})
	at := time.Now().Unix() + 60
	never := int64(0)
	id, err := v.Connection(sign(t, s, auth.Claims{
		User: "42", ExpiresAt: at, IssuedAt: at - 60, NotBefore: at - 60, ID: "t", Audience: "aud", Issuer: "iss",
		Info: json.RawMessage(`{"n":1}`), Channels: []string{"a"}, Subs: map[string]json.RawMessage{"b": json.RawMessage(`{"data":1}`)},
		Caps: []auth.Capability{{Channels: []string{"x:**"}, Allow: []string{"pub"}, Match: auth.MatchWildcard}}, Meta: json.RawMessage(`{}`),
		Limits: &auth.Limits{PublishPerSecond: 5},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Identity{
		User: "42", ExpiresAt: at, Info: []byte(`{"n":1}`), Channels: []string{"a"}, Subs: map[string]auth.SubOptions{"b": {Data: []byte("1")}},
		Caps: []auth.Capability{{Channels: []string{"x:**"}, Allow: []string{"pub"}, Match: auth.MatchWildcard}}, Meta: []byte(`{}`), TokenID: "t", IssuedAt: at - 60,
		Limits: &auth.Limits{PublishPerSecond: 5},
	}
	if !reflect.DeepEqual(*id, want) {
		t.Errorf("got  %+v\nwant %+v", *id, want)
	}
	g, err := v.Subscription(sign(t, s, auth.Claims{
		User: "42", Channel: "c", Client: "x", Allow: []string{"hst"}, ExpiresAt: at, ExpireAt: &never, Audience: "aud", Issuer: "iss",
	}), "42", "x", "c")
	if err != nil || g.ExpiresAt != 0 || !g.Allows(auth.VerbHistory) || g.Allows(auth.VerbPublish) {
		t.Errorf("got %+v, %v", g, err)
	}
}
