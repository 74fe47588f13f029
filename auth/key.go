package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxPEMBytes = 256 << 10
	maxPEMKeys  = 16
	minRSABits  = 2048
	maxRSABits  = 8192
)

// keyKind is a family of keys that share their algorithms.
type keyKind uint8

const (
	kindHMAC keyKind = iota
	kindRSA
	kindP256
	kindP384
	kindP521
	kindEd25519
)

// String names the kind for messages.
func (k keyKind) String() string {
	switch k {
	case kindHMAC:
		return "HMAC"
	case kindRSA:
		return "RSA"
	case kindP256:
		return "ECDSA P-256"
	case kindP384:
		return "ECDSA P-384"
	case kindP521:
		return "ECDSA P-521"
	case kindEd25519:
		return "Ed25519"
	}
	return "unknown"
}

// algorithms lists what a key of the kind may verify, the usual one first.
func (k keyKind) algorithms() []string {
	switch k {
	case kindHMAC:
		return []string{"HS256", "HS384", "HS512"}
	case kindRSA:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case kindP256:
		return []string{"ES256"}
	case kindP384:
		return []string{"ES384"}
	case kindP521:
		return []string{"ES512"}
	case kindEd25519:
		return []string{"EdDSA"}
	}
	return nil
}

// publicKinds are the kinds a key set may hold.
func publicKinds() []keyKind {
	return []keyKind{kindRSA, kindP256, kindP384, kindP521, kindEd25519}
}

// verifyKey is a key that checks signatures.
type verifyKey struct {
	kind keyKind
	alg  string // the one algorithm it is for, "" for all of its kind
	id   string // its key id in a key set
	key  any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// accepts is the guard against algorithm confusion: no key is ever handed to
// an algorithm of another family, whatever the token's header says.
func (k *verifyKey) accepts(alg string) bool {
	return (k.alg == "" || k.alg == alg) && slices.Contains(k.kind.algorithms(), alg)
}

// newVerifyKey tells a public key's kind and refuses weak ones.
func newVerifyKey(public any) (*verifyKey, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		switch n := key.N.BitLen(); {
		case n < minRSABits || n > maxRSABits:
			return nil, fmt.Errorf("the RSA key has %d bits, want %d to %d", n, minRSABits, maxRSABits)
		case key.E < 3 || key.E%2 == 0:
			return nil, fmt.Errorf("the RSA key has the exponent %d, want an odd one from 3, like 65537", key.E)
		}
		return &verifyKey{kind: kindRSA, key: key}, nil
	case *ecdsa.PublicKey:
		kind, err := curveKind(key.Curve)
		return &verifyKey{kind: kind, key: key}, err
	case ed25519.PublicKey:
		return &verifyKey{kind: kindEd25519, key: key}, nil
	}
	return nil, fmt.Errorf("a %T cannot check tokens, want an RSA, ECDSA or Ed25519 key", public)
}

func curveKind(curve elliptic.Curve) (keyKind, error) {
	switch curve {
	case elliptic.P256():
		return kindP256, nil
	case elliptic.P384():
		return kindP384, nil
	case elliptic.P521():
		return kindP521, nil
	}
	return 0, fmt.Errorf("curve %s has no token algorithm, want P-256, P-384 or P-521", curve.Params().Name)
}

// parsePublicKeys reads every block of a PEM text.
func parsePublicKeys(text []byte) ([]*verifyKey, error) {
	if len(text) > maxPEMBytes {
		return nil, fmt.Errorf("the PEM text has %d bytes, at most %d are allowed", len(text), maxPEMBytes)
	}
	var keys []*verifyKey
	var errs []error
	for n, rest := 1, text; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue // openssl ecparam writes it in front, the key names its curve itself
		}
		if len(keys) == maxPEMKeys {
			errs = append(errs, fmt.Errorf("more than %d keys are given", maxPEMKeys))
			break
		}
		key, err := parsePublicKey(block)
		if err != nil {
			errs = append(errs, fmt.Errorf("PEM block %d: %w", n, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && len(errs) == 0 {
		errs = append(errs, noPEM(text, "PUBLIC KEY"))
	}
	return keys, errors.Join(errs...)
}

func noPEM(text []byte, want string) error {
	hint := ""
	if bytes.Contains(text, []byte(`\n`)) {
		hint = `; it holds "\n" as two characters where line breaks belong`
	}
	return fmt.Errorf("no whole PEM block found, want one that begins with \"-----BEGIN %s-----\"%s", want, hint)
}

func parsePublicKey(block *pem.Block) (*verifyKey, error) {
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("%q is a secret that does not belong here, give its public half (openssl pkey -pubout)", block.Type)
		}
		return nil, fmt.Errorf("is a %s, want PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", quote(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", block.Type, err)
	}
	return newVerifyKey(public)
}
