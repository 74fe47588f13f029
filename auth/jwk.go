package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

const (
	maxSetKeys      = 256
	maxKeysPerID    = 4 // a token's key id may cost this many checks
	maxWithoutKeyID = 4 // and a token without one may cost this many
)

// keySet is one key set as fetched. It is read-only once made.
type keySet struct {
	keys []*verifyKey
	byID map[string][]*verifyKey
}

// parseKeySet reads a JWK set. Keys that cannot check tokens are left out, with
// the reasons returned beside the set; a set without any other is an error.
func parseKeySet(body []byte) (set *keySet, skipped []error, err error) {
	var in struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, nil, errors.New(`the body is no JSON object with an array "keys"`)
	}
	if len(in.Keys) > maxSetKeys {
		return nil, nil, fmt.Errorf("the set has %d keys, at most %d are allowed", len(in.Keys), maxSetKeys)
	}
	set = &keySet{byID: make(map[string][]*verifyKey)}
	for i, raw := range in.Keys {
		key, err := parseJWK(raw)
		if err == nil && len(set.byID[key.id]) == maxKeysPerID && key.id != "" {
			err = fmt.Errorf("more than %d keys have the id %s", maxKeysPerID, quote(key.id))
		}
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		set.keys = append(set.keys, key)
		if key.id != "" {
			set.byID[key.id] = append(set.byID[key.id], key)
		}
	}
	if len(set.keys) == 0 {
		return nil, skipped, fmt.Errorf("none of the set's %d keys can check tokens", len(in.Keys))
	}
	return set, skipped, nil
}

func parseJWK(raw json.RawMessage) (*verifyKey, error) {
	var in jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, errors.New("is no JSON Web Key")
	}
	switch {
	case in.USE != "" && in.USE != jwkset.UseSig:
		return nil, fmt.Errorf(`has "use" %s, want "sig"`, quote(in.USE.String()))
	case len(in.KEYOPS) > 0 && !slices.Contains(in.KEYOPS, jwkset.KeyOpsVerify):
		return nil, errors.New(`has "key_ops" without "verify"`)
	case len(in.KID) > maxIDBytes:
		return nil, fmt.Errorf(`has a "kid" of %d bytes, at most %d are allowed`, len(in.KID), maxIDBytes)
	}
	public, err := publicKey(&in)
	if err != nil {
		return nil, err
	}
	key, err := newVerifyKey(public)
	if err != nil {
		return nil, err
	}
	key.id, key.alg = in.KID, in.ALG.String()
	if key.alg != "" && !slices.Contains(key.kind.algorithms(), key.alg) {
		return nil, fmt.Errorf(`has "alg" %s, which no %s key can have`, quote(key.alg), key.kind)
	}
	return key, nil
}

func publicKey(in *jwkset.JWKMarshal) (any, error) {
	switch in.KTY {
	case jwkset.KtyRSA:
		return rsaKey(in)
	case jwkset.KtyEC:
		return ecdsaKey(in)
	case jwkset.KtyOKP:
		x, err := octets("x", in.X)
		if err != nil || in.CRV != jwkset.CrvEd25519 || len(x) != ed25519.PublicKeySize {
			return nil, errors.New(`is an OKP key but not a whole Ed25519 one`)
		}
		return ed25519.PublicKey(x), nil
	case jwkset.KtyOct:
		return nil, errors.New("is a shared secret, which has no place in a published set")
	}
	return nil, fmt.Errorf(`has "kty" %s, want "RSA", "EC" or "OKP"`, quote(in.KTY.String()))
}

func rsaKey(in *jwkset.JWKMarshal) (any, error) {
	n, errN := octets("n", in.N)
	e, errE := octets("e", in.E)
	if err := errors.Join(errN, errE); err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, fmt.Errorf(`has an "e" of %d bits, at most 31 are allowed`, exponent.BitLen())
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func ecdsaKey(in *jwkset.JWKMarshal) (any, error) {
	x, errX := octets("x", in.X)
	y, errY := octets("y", in.Y)
	if err := errors.Join(errX, errY); err != nil {
		return nil, err
	}
	curve, err := namedCurve(in.CRV)
	if err != nil {
		return nil, err
	}
	size := int(math.Ceil(float64(curve.Params().BitSize) / 8))
	if len(x) > size || len(y) > size {
		return nil, fmt.Errorf("has coordinates of %d and %d bytes, %s has %d", len(x), len(y), in.CRV, size)
	}
	point := make([]byte, 1+2*size)
	point[0] = 4
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("is no point on %s", in.CRV)
	}
	return key, nil
}

func namedCurve(name jwkset.CRV) (elliptic.Curve, error) {
	switch name {
	case jwkset.CrvP256:
		return elliptic.P256(), nil
	case jwkset.CrvP384:
		return elliptic.P384(), nil
	case jwkset.CrvP521:
		return elliptic.P521(), nil
	}
	return nil, fmt.Errorf(`has "crv" %s, want P-256, P-384 or P-521`, quote(name.String()))
}

// octets decodes base64url. Some publishers pad it, against the RFC.
func octets(name, s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("has no base64url in %q", name)
	}
	return b, nil
}
