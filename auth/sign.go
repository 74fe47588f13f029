package auth

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"myelin/filter"
)

// SignerOptions say what tokens are signed with: a secret or a private key.
type SignerOptions struct {
	// HMACSecret signs with HS256 unless Algorithm says otherwise.
	HMACSecret string
	// PrivateKeyPEM is an RSA, ECDSA or Ed25519 key, not encrypted.
	PrivateKeyPEM []byte
	// Algorithm is one that the key can have, by default its usual one: HS256,
	// RS256, ES256, ES384, ES512 or EdDSA.
	Algorithm string
	// KeyID goes into the token's header as "kid" when set.
	KeyID string
}

// Signer makes tokens. It may be used from many goroutines.
type Signer struct {
	method jwt.SigningMethod
	key    any
	id     string
}

// NewSigner makes a signer.
func NewSigner(o SignerOptions) (*Signer, error) {
	var kind keyKind
	s := &Signer{id: o.KeyID}
	switch {
	case o.HMACSecret != "" && len(o.PrivateKeyPEM) > 0:
		return nil, errors.New("a secret and a private key are given, want one of them")
	case o.HMACSecret != "":
		kind, s.key = kindHMAC, []byte(o.HMACSecret)
	case len(o.PrivateKeyPEM) > 0:
		private, err := parsePrivateKey(o.PrivateKeyPEM)
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		public, err := newVerifyKey(private.Public())
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		kind, s.key = public.kind, private
	default:
		return nil, errors.New("no key is given, want a secret or a private key")
	}
	known := kind.algorithms()
	if o.Algorithm == "" {
		o.Algorithm = known[0]
	}
	if !slices.Contains(known, o.Algorithm) {
		return nil, fmt.Errorf("an %s key cannot sign with %s, want %s", kind, quote(o.Algorithm), strings.Join(known, ", "))
	}
	s.method = jwt.GetSigningMethod(o.Algorithm)
	return s, nil
}

func parsePrivateKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, noPEM(text, "PRIVATE KEY")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("it is encrypted, decrypt it first (openssl pkey -in key.pem -out plain.pem)")
	default:
		return nil, fmt.Errorf("it is a %s, want a PRIVATE KEY", quote(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", block.Type, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

// Algorithm returns what the tokens are signed with.
func (s *Signer) Algorithm() string { return s.method.Alg() }

// Sign makes a token of the claims: a Claims, or anything else that is a JSON
// object when marshaled.
func (s *Signer) Sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	if payload[0] != '{' {
		return "", fmt.Errorf("claims must be a JSON object, they are %s", shape(payload))
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{s.method.Alg(), "JWT", s.id})
	if err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := s.method.Sign(text, s.key)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", s.method.Alg(), err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Claims are the claims of a connection or subscription token, for signing.
// Zero values are left out, but for the user: an empty one is said aloud.
type Claims struct {
	User      string                     `json:"sub"`
	ExpiresAt int64                      `json:"exp,omitempty"` // Unix seconds
	IssuedAt  int64                      `json:"iat,omitempty"`
	NotBefore int64                      `json:"nbf,omitempty"`
	ExpireAt  *int64                     `json:"expire_at,omitempty"`
	ID        string                     `json:"jti,omitempty"`
	Audience  string                     `json:"aud,omitempty"`
	Issuer    string                     `json:"iss,omitempty"`
	Info      json.RawMessage            `json:"info,omitempty"`
	Channels  []string                   `json:"channels,omitempty"`
	Subs      map[string]json.RawMessage `json:"subs,omitempty"`
	Caps      []Capability               `json:"caps,omitempty"`
	Meta      json.RawMessage            `json:"meta,omitempty"`
	Limits    *Limits                    `json:"limits,omitempty"`
	Channel   string                     `json:"channel,omitempty"` // makes it a subscription token
	Client    string                     `json:"client,omitempty"`
	Allow     []string                   `json:"allow,omitempty"`
	Filter    *filter.Filter             `json:"filter,omitempty"` // of a subscription token
}
