package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"

	"myelin/auth"
)

// keyring is one private key of every kind, by the algorithms it signs with.
func keyring(t testing.TB) map[string]crypto.Signer {
	rsaKey := newRSA(t, 2048)
	return map[string]crypto.Signer{
		"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey,
		"PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey,
		"ES256": newEC(t, elliptic.P256()),
		"ES384": newEC(t, elliptic.P384()),
		"ES512": newEC(t, elliptic.P521()),
		"EdDSA": newEd25519(t),
	}
}

func TestEveryAlgorithm(t *testing.T) {
	ring := keyring(t)
	other := keyring(t)
	all := []byte{}
	for _, alg := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		all = append(all, publicPEM(t, ring[alg])...)
	}
	several := newVerifier(t, auth.Options{HMACSecret: secret, PublicKeyPEM: all})
	if got := several.Algorithms(); len(got) != 13 {
		t.Errorf("Algorithms: %v", got)
	}
	for alg, key := range ring {
		t.Run(alg, func(t *testing.T) {
			signer := newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, key), Algorithm: alg})
			if signer.Algorithm() != alg {
				t.Errorf("signs with %s", signer.Algorithm())
			}
			token := sign(t, signer, auth.Claims{User: "42"})
			single := newVerifier(t, auth.Options{PublicKeyPEM: publicPEM(t, key)})
			for _, v := range []*auth.Verifier{single, several} {
				id, err := v.Connection(token)
				if err != nil || id.User != "42" {
					t.Fatalf("got %+v, %v", id, err)
				}
			}
			parts := strings.Split(token, ".")
			changed := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root"}`)) + "." + parts[2]
			foreign := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, other[alg]), Algorithm: alg}), auth.Claims{User: "42"})
			for _, bad := range []string{changed, foreign, parts[0] + "." + parts[1] + "."} {
				_, err := single.Connection(bad)
				refused(t, err, auth.ErrTokenInvalid, auth.ReasonSignature, bad, "token signature does not match the configured")
			}
			hs := hmacToken(t, obj{"sub": "a"})
			_, err := single.Connection(hs)
			refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, hs, `token is signed with "HS256", the server's keys are for`, alg)
		})
	}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		token := sign(t, newSigner(t, auth.SignerOptions{HMACSecret: secret, Algorithm: alg}), auth.Claims{User: "42"})
		if _, err := several.Connection(token); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		bad := sign(t, newSigner(t, auth.SignerOptions{HMACSecret: secret + "x", Algorithm: alg}), auth.Claims{User: "42"})
		_, err := several.Connection(bad)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonSignature, bad, "token signature does not match the configured HMAC key")
	}
}

func BenchmarkConnection(b *testing.B) {
	ring := keyring(b)
	all := []byte{}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		all = append(all, publicPEM(b, ring[alg])...)
	}
	v := newVerifier(b, auth.Options{HMACSecret: secret, PublicKeyPEM: all})
	claims := auth.Claims{
		User: "42", ExpiresAt: time.Now().Unix() + 3600, Info: []byte(`{"name":"Ada"}`),
		Caps: []auth.Capability{{Channels: []string{"ward:*"}, Match: auth.MatchWildcard, Allow: []string{"sub", "hst"}}},
	}
	tokens := map[string]string{"HS256": hmacToken(b, claims)}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		tokens[alg] = sign(b, newSigner(b, auth.SignerOptions{PrivateKeyPEM: privatePEM(b, ring[alg])}), claims)
	}
	for alg, token := range tokens {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Connection(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Each of these tokens would be good if the server let the token's header, and
// not its own configuration, say what a key is for.
func TestAlgorithmConfusion(t *testing.T) {
	synctest.Test(t, testAlgorithmConfusion)
}

func testAlgorithmConfusion(t *testing.T) {
	rsaKey, p256 := newRSA(t, 2048), newEC(t, elliptic.P256())
	rsaPEM := publicPEM(t, rsaKey)
	der, _ := pem.Decode(rsaPEM)
	p := &publisher{}
	p.publish(200, keySetBody(t, jwk(t, rsaKey, "r", ""), jwk(t, p256, "e", jwkset.AlgES256)))
	remote := newVerifier(t, p.options())
	synctest.Wait()
	verifiers := map[string]*auth.Verifier{
		"RSA key":        newVerifier(t, auth.Options{PublicKeyPEM: rsaPEM}),
		"HMAC and RSA":   newVerifier(t, auth.Options{HMACSecret: secret, PublicKeyPEM: rsaPEM}),
		"ECDSA key":      newVerifier(t, auth.Options{PublicKeyPEM: publicPEM(t, p256)}),
		"key set":        remote,
		"HMAC secret":    newVerifier(t, auth.Options{HMACSecret: secret}),
		"nothing at all": newVerifier(t, auth.Options{}),
	}
	payload := `{"sub":"root"}`
	withSecret := func(header string, key []byte) string {
		text := strings.TrimSuffix(forge(header, payload, nil), ".")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	forged := map[string]string{
		"none":                     forge(`{"alg":"none"}`, payload, nil),
		"none with a signature":    forge(`{"alg":"none"}`, payload, []byte("x")),
		"None":                     forge(`{"alg":"None"}`, payload, nil),
		"no algorithm":             forge(`{}`, payload, nil),
		"algorithm is a number":    forge(`{"alg":0}`, payload, nil),
		"unknown algorithm":        forge(`{"alg":"HS257"}`, payload, nil),
		"lower case":               withSecret(`{"alg":"hs256"}`, []byte(secret)),
		"empty secret":             withSecret(`{"alg":"HS256"}`, nil),
		"RSA PEM as secret":        withSecret(`{"alg":"HS256"}`, rsaPEM),
		"RSA DER as secret":        withSecret(`{"alg":"HS256"}`, der.Bytes),
		"RSA modulus as secret":    withSecret(`{"alg":"HS256"}`, rsaKey.N.Bytes()),
		"RSA PEM as secret, kid":   withSecret(`{"alg":"HS256","kid":"r"}`, rsaPEM),
		"kid of another kind":      forge(`{"alg":"RS256","kid":"e"}`, payload, make([]byte, 256)),
		"key inside the token":     withSecret(`{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}`, []byte{0}),
		"key set inside the token": withSecret(`{"alg":"HS256","jku":"https://evil.example/"}`, []byte{0}),
		"zero ECDSA signature":     forge(`{"alg":"ES256"}`, payload, make([]byte, 64)),
		"zero ECDSA with kid":      forge(`{"alg":"ES256","kid":"e"}`, payload, make([]byte, 64)),
		"long ECDSA curve":         forge(`{"alg":"ES384","kid":"e"}`, payload, make([]byte, 96)),
		"EdDSA":                    forge(`{"alg":"EdDSA"}`, payload, make([]byte, 64)),
	}
	for who, v := range verifiers {
		for name, token := range forged {
			if id, err := v.Connection(token); err == nil {
				t.Errorf("%s: %q was let in as %+v", who, name, id)
			} else {
				refused(t, err, auth.ErrTokenInvalid, reasonOf(err), token)
			}
		}
	}
	_, err := verifiers["HMAC secret"].Connection(forged["none"])
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, "", `token is signed with "none", the server's keys are for HS256, HS384, HS512`)
	_, err = verifiers["HMAC secret"].Connection(forged["no algorithm"])
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, "", "token is signed with no algorithm")
	_, err = remote.Connection(forged["kid of another kind"])
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, "", `token is signed with "RS256", but key "e" is for ES256`)
	_, err = remote.Connection(forged["EdDSA"])
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, "", `token is signed with "EdDSA", for which the key set has no key`)
}

func TestOptionsRefused(t *testing.T) {
	p256 := newEC(t, elliptic.P256())
	good := publicPEM(t, p256)
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	p224, err := x509.MarshalPKIXPublicKey(newEC(t, elliptic.P224()).Public())
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := x509.MarshalPKIXPublicKey(exchange.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o   auth.Options
		say []string
	}{
		"no PEM":              {auth.Options{PublicKeyPEM: []byte("key")}, []string{"public_key: no whole PEM block found", "-----BEGIN PUBLIC KEY-----"}},
		"escaped line breaks": {auth.Options{PublicKeyPEM: []byte(strings.ReplaceAll(string(good), "\n", `\n`))}, []string{`holds "\n" as two characters`}},
		"garbage in block":    {auth.Options{PublicKeyPEM: block("PUBLIC KEY", []byte("x"))}, []string{"PEM block 1: PUBLIC KEY cannot be read"}},
		"garbage in RSA":      {auth.Options{PublicKeyPEM: block("RSA PUBLIC KEY", []byte("x"))}, []string{"RSA PUBLIC KEY cannot be read"}},
		"garbage certificate": {auth.Options{PublicKeyPEM: block("CERTIFICATE", []byte("x"))}, []string{"CERTIFICATE cannot be read"}},
		"private key":         {auth.Options{PublicKeyPEM: privatePEM(t, p256)}, []string{`"PRIVATE KEY" is a secret that does not belong here`, "openssl pkey -pubout"}},
		"other block":         {auth.Options{PublicKeyPEM: block("SSH KEY", nil)}, []string{`is a "SSH KEY", want PUBLIC KEY`}},
		"second block":        {auth.Options{PublicKeyPEM: append(slices.Clone(good), block("X", nil)...)}, []string{"PEM block 2"}},
		"small RSA":           {auth.Options{PublicKeyPEM: publicPEM(t, newRSA(t, 1024))}, []string{"the RSA key has 1024 bits, want 2048 to 8192"}},
		"curve":               {auth.Options{PublicKeyPEM: block("PUBLIC KEY", p224)}, []string{"curve P-224 has no token algorithm"}},
		"exchange key":        {auth.Options{PublicKeyPEM: block("PUBLIC KEY", x25519)}, []string{"cannot check tokens, want an RSA, ECDSA or Ed25519 key"}},
		"too many keys":       {auth.Options{PublicKeyPEM: []byte(strings.Repeat(string(good), 17))}, []string{"more than 16 keys"}},
		"huge PEM":            {auth.Options{PublicKeyPEM: make([]byte, 257<<10)}, []string{"at most 262144 are allowed"}},
		"PEM as secret":       {auth.Options{HMACSecret: string(good)}, []string{"hmac_secret: holds a PEM key, which belongs in public_key"}},
		"blank secret":        {auth.Options{HMACSecret: " \n"}, []string{"nothing but white space"}},
		"no scheme":           {auth.Options{JWKSURL: "example.com/jwks"}, []string{`jwks_url: has the scheme "", want https`}},
		"file URL":            {auth.Options{JWKSURL: "file:///etc/keys"}, []string{`has the scheme "file"`}},
		"no host":             {auth.Options{JWKSURL: "https:///jwks"}, []string{"has no host"}},
		"no URL":              {auth.Options{JWKSURL: "https://user:hunter2@%zz"}, []string{"is no URL"}},
		"audience alone":      {auth.Options{Audience: "x"}, []string{`audience: is set to "x", but there is no key`}},
		"issuer alone":        {auth.Options{Issuer: "x"}, []string{"issuer: is set"}},
		"user claim alone":    {auth.Options{UserIDClaim: "uid"}, []string{"user_id_claim: is set"}},
		"tiny tokens":         {auth.Options{HMACSecret: secret, MaxTokenBytes: 63}, []string{"max_token_bytes: is 63, want 64 to 1048576"}},
		"huge tokens":         {auth.Options{HMACSecret: secret, MaxTokenBytes: 2 << 20}, []string{"max_token_bytes"}},
		"negative leeway":     {auth.Options{HMACSecret: secret, Leeway: -1}, []string{"leeway: is -1ns, want 0s to 10m0s"}},
		"long leeway":         {auth.Options{HMACSecret: secret, Leeway: time.Hour}, []string{"leeway: is 1h0m0s"}},
		"fast refresh":        {auth.Options{JWKSURL: "https://x/", JWKSRefresh: time.Millisecond}, []string{"jwks_refresh: is 1ms"}},
		"interval too long":   {auth.Options{JWKSURL: "https://x/", JWKSInterval: time.Hour}, []string{"interval of 1h0m0s"}},
		"all at once":         {auth.Options{HMACSecret: " ", PublicKeyPEM: []byte("x"), JWKSURL: "x", Leeway: -1}, []string{"hmac_secret", "public_key", "jwks_url", "leeway"}},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := auth.NewVerifier(c.o)
			if err == nil {
				_ = v.Close()
				t.Fatal("accepted")
			}
			for _, say := range c.say {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("error %q does not say %q", err, say)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q tells a secret", err)
			}
		})
	}
}

// What is doubtful but may be meant is accepted with a warning, which does not
// tell the secret.
func TestDoubtfulOptions(t *testing.T) {
	for _, c := range []struct {
		secret, url, say string
	}{
		{"hunter2", "", "hmac_secret is short"},
		{secret + "\n", "", "hmac_secret begins or ends with white space"},
		{secret, "http://keys.example:1/?key=hunter2", "jwks_url is not https"},
		{secret, "", ""},
	} {
		var log bytes.Buffer
		p := &publisher{}
		p.publish(503, "")
		v := newVerifier(t, auth.Options{
			HMACSecret: c.secret, JWKSURL: c.url, HTTPClient: &http.Client{Transport: p},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		if (log.Len() == 0) != (c.say == "") || !strings.Contains(log.String(), c.say) || strings.Contains(log.String(), c.secret) || strings.Contains(log.String(), "hunter2") {
			t.Errorf("the log says %q, want %q and no secret", &log, c.say)
		}
	}
}

func TestPublicKeyForms(t *testing.T) {
	rsaKey, p256 := newRSA(t, 2048), newEC(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		key  crypto.Signer
	}{
		"PKCS1":       {pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)}), rsaKey},
		"certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), p256},
		"among words": {append([]byte("my key:\n"), publicPEM(t, p256)...), p256},
		"parameters":  {append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}), publicPEM(t, p256)...), p256},
		"the second":  {append(publicPEM(t, newEC(t, elliptic.P256())), publicPEM(t, p256)...), p256},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, auth.Options{PublicKeyPEM: c.text})
			token := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, c.key), KeyID: "ignored"}), auth.Claims{User: "a"})
			if _, err := v.Connection(token); err != nil {
				t.Error(err)
			}
		})
	}
}
