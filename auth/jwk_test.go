package auth_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/MicahParks/jwkset"

	"myelin/auth"
)

func TestJWKRefused(t *testing.T) {
	rsaKey := newRSA(t, 2048)
	good := map[string]jwkset.JWKMarshal{
		"rsa": jwk(t, rsaKey, "r", ""),
		"ec":  jwk(t, newEC(t, elliptic.P256()), "e", ""),
		"okp": jwk(t, newEd25519(t), "o", ""),
	}
	encode := base64.RawURLEncoding.EncodeToString
	for name, c := range map[string]struct {
		from   string
		change func(*jwkset.JWKMarshal)
		say    string
	}{
		"for encryption":        {"rsa", func(k *jwkset.JWKMarshal) { k.USE = jwkset.UseEnc }, `has "use" "enc", want "sig"`},
		"for signing only":      {"rsa", func(k *jwkset.JWKMarshal) { k.KEYOPS = []jwkset.KEYOPS{jwkset.KeyOpsSign} }, `"key_ops" without "verify"`},
		"long kid":              {"rsa", func(k *jwkset.JWKMarshal) { k.KID = strings.Repeat("k", 256) }, `"kid" of 256 bytes`},
		"HMAC alg on RSA":       {"rsa", func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgHS256 }, `has "alg" "HS256", which no RSA key can have`},
		"encryption alg":        {"rsa", func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgRSAOAEP }, `"RSA-OAEP"`},
		"none":                  {"rsa", func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgNone }, `"none"`},
		"ECDSA alg, other crv":  {"ec", func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgES384 }, `has "alg" "ES384", which no ECDSA P-256 key can have`},
		"kty of another":        {"ec", func(k *jwkset.JWKMarshal) { k.KTY = jwkset.KtyRSA }, `no base64url in "n"`},
		"unknown kty":           {"ec", func(k *jwkset.JWKMarshal) { k.KTY = "PQ" }, `has "kty" "PQ"`},
		"no kty":                {"ec", func(k *jwkset.JWKMarshal) { k.KTY = "" }, `has "kty" ""`},
		"shared secret":         {"ec", func(k *jwkset.JWKMarshal) { k.KTY, k.K = jwkset.KtyOct, "c2VjcmV0" }, "shared secret"},
		"small RSA":             {"rsa", func(k *jwkset.JWKMarshal) { k.N = jwk(t, newRSA(t, 1024), "", "").N }, "1024 bits"},
		"huge RSA":              {"rsa", func(k *jwkset.JWKMarshal) { k.N = encode(new(big.Int).Lsh(big.NewInt(1), 8192).Bytes()) }, "8193 bits"},
		"exponent one":          {"rsa", func(k *jwkset.JWKMarshal) { k.E = "AQ" }, "exponent 1"},
		"exponent even":         {"rsa", func(k *jwkset.JWKMarshal) { k.E = "AQAA" }, "exponent 65536"},
		"exponent overflows":    {"rsa", func(k *jwkset.JWKMarshal) { k.E = "AQAAAAAAAAEAAQ" }, `has an "e" of 73 bits`},
		"modulus no base64":     {"rsa", func(k *jwkset.JWKMarshal) { k.N = "a b" }, `no base64url in "n"`},
		"curve":                 {"ec", func(k *jwkset.JWKMarshal) { k.CRV = jwkset.CrvSECP256K1 }, `has "crv" "secp256k1"`},
		"curve of another size": {"ec", func(k *jwkset.JWKMarshal) { k.CRV = jwkset.CrvP384 }, "no point on P-384"},
		"not on the curve":      {"ec", func(k *jwkset.JWKMarshal) { k.X = k.Y }, "no point on P-256"},
		"long coordinate":       {"ec", func(k *jwkset.JWKMarshal) { k.X = encode(make([]byte, 33)) }, "33 and 32 bytes, P-256 has 32"},
		"no coordinate":         {"ec", func(k *jwkset.JWKMarshal) { k.Y = "" }, `no base64url in "y"`},
		"X25519":                {"okp", func(k *jwkset.JWKMarshal) { k.CRV = jwkset.CrvX25519 }, "not a whole Ed25519 one"},
		"short Ed25519":         {"okp", func(k *jwkset.JWKMarshal) { k.X = "AAAA" }, "not a whole Ed25519 one"},
	} {
		t.Run(name, func(t *testing.T) {
			key := good[c.from]
			c.change(&key)
			keys, skipped, err := auth.ParseKeySet([]byte(keySetBody(t, key)))
			if err == nil || keys != 0 || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), c.say) {
				t.Errorf("got %d keys, %v, %v, want a key left out because it %s", keys, skipped, err, c.say)
			}
			if keys, _, err := auth.ParseKeySet([]byte(keySetBody(t, key, good["ec"]))); keys != 1 || err != nil {
				t.Errorf("a bad key takes the good one along: %d, %v", keys, err)
			}
		})
	}
}

func TestJWKTolerated(t *testing.T) {
	key := newEC(t, elliptic.P256())
	public := jwk(t, key, "k", "")
	raw, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(){
		"as it is":        func() {},
		"no use":          func() { delete(fields, "use") },
		"padded":          func() { fields["x"] = public.X + "=" },
		"key_ops":         func() { fields["key_ops"] = []string{"verify"} },
		"foreign members": func() { fields["exp"] = 1; fields["nested"] = obj{"a": []int{1}} },
		"no kid":          func() { delete(fields, "kid") },
	} {
		change()
		body, err := json.Marshal(obj{"keys": []any{fields}, "more": 1})
		if err != nil {
			t.Fatal(err)
		}
		if keys, skipped, err := auth.ParseKeySet(body); keys != 1 || err != nil {
			t.Errorf("%s: %d keys, %v, %v", name, keys, skipped, err)
		}
	}
}

// Coordinates lose their leading zeros with some publishers.
func TestShortCoordinate(t *testing.T) {
	for {
		public := jwk(t, newEC(t, elliptic.P256()), "k", "")
		x, err := base64.RawURLEncoding.DecodeString(public.X)
		if err != nil {
			t.Fatal(err)
		}
		if x[0] != 0 {
			continue
		}
		public.X = base64.RawURLEncoding.EncodeToString(x[1:])
		if keys, skipped, err := auth.ParseKeySet([]byte(keySetBody(t, public))); keys != 1 || err != nil {
			t.Errorf("%d keys, %v, %v", keys, skipped, err)
		}
		return
	}
}

func TestJWKCurves(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		if keys, skipped, err := auth.ParseKeySet([]byte(keySetBody(t, jwk(t, newEC(t, curve), "k", "")))); keys != 1 || err != nil {
			t.Errorf("%s: %d keys, %v, %v", curve.Params().Name, keys, skipped, err)
		}
	}
}

func TestKeysPerID(t *testing.T) {
	var set []jwkset.JWKMarshal
	for range 6 {
		set = append(set, jwk(t, newEd25519(t), "same", ""))
	}
	keys, skipped, err := auth.ParseKeySet([]byte(keySetBody(t, set...)))
	if keys != 4 || len(skipped) != 2 || err != nil {
		t.Errorf("got %d keys, %v, %v, want 4 of 6", keys, skipped, err)
	}
}
