package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults and bounds of Options.
const (
	DefaultUserIDClaim   = "sub"
	DefaultMaxTokenBytes = 16 << 10
	DefaultJWKSRefresh   = 15 * time.Minute
	DefaultJWKSInterval  = 30 * time.Second
	MaxLeeway            = 10 * time.Minute

	maxMaxTokenBytes = 1 << 20
	shortSecret      = 32 // an HS256 secret should not be shorter than its hash
)

// Options say which tokens are good. With no key at all every token is
// refused.
type Options struct {
	// HMACSecret checks HS256, HS384 and HS512.
	HMACSecret string
	// PublicKeyPEM holds RSA, ECDSA (P-256, P-384, P-521) and Ed25519 public
	// keys or certificates, one or several PEM blocks.
	PublicKeyPEM []byte
	// JWKSURL is where a key set is fetched.
	JWKSURL string
	// Audience and Issuer, when set, must be in every token.
	Audience, Issuer string
	// UserIDClaim names the claim with the user id, "sub" by default. Another
	// one must be present in every connection token.
	UserIDClaim string
	// MaxTokenBytes bounds a token, 16 KiB by default.
	MaxTokenBytes int
	// Leeway is how far the clocks may differ, at most MaxLeeway.
	Leeway time.Duration
	// JWKSRefresh is the time between fetches of the key set, 15 minutes by
	// default.
	JWKSRefresh time.Duration
	// JWKSInterval is the least time between a fetch and the next that
	// requests cause by unknown key ids, 30 seconds by default.
	JWKSInterval time.Duration
	// HTTPClient fetches the key set, nil for one of the verifier's own.
	HTTPClient *http.Client
	// Logger hears of the key set and of doubtful options, nil for nobody.
	Logger *slog.Logger
}

// Verifier checks tokens. It may be used from many goroutines, and after
// Close, which only ends the refreshing of the key set.
type Verifier struct {
	options Options
	methods []string // the algorithms of all keys
	static  []*verifyKey
	remote  *remoteKeys // nil without a key set
	parser  *jwt.Parser
}

// NewVerifier makes a verifier and reports everything wrong with the options
// at once. With a JWKSURL it starts the refresher; it does not wait for it, so
// that a server starts whether or not its key set can be reached.
func NewVerifier(o Options) (*Verifier, error) {
	o.setDefaults()
	keys, err := o.check()
	if err != nil {
		return nil, err
	}
	v := &Verifier{options: o, static: keys}
	for _, key := range keys {
		v.addMethods(key.kind)
	}
	if o.JWKSURL != "" {
		for _, kind := range publicKinds() {
			v.addMethods(kind)
		}
	}
	v.parser = jwt.NewParser(jwt.WithValidMethods(v.methods), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	if o.JWKSURL != "" {
		v.remote = newRemoteKeys(&v.options)
	}
	return v, nil
}

func (v *Verifier) addMethods(kind keyKind) {
	for _, alg := range kind.algorithms() {
		if !slices.Contains(v.methods, alg) {
			v.methods = append(v.methods, alg)
		}
	}
}

func (o *Options) setDefaults() {
	if o.UserIDClaim == "" {
		o.UserIDClaim = DefaultUserIDClaim
	}
	if o.MaxTokenBytes == 0 {
		o.MaxTokenBytes = DefaultMaxTokenBytes
	}
	if o.JWKSRefresh == 0 {
		o.JWKSRefresh = DefaultJWKSRefresh
	}
	if o.JWKSInterval == 0 {
		o.JWKSInterval = min(DefaultJWKSInterval, o.JWKSRefresh)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func (o *Options) hasKey() bool {
	return o.HMACSecret != "" || len(o.PublicKeyPEM) > 0 || o.JWKSURL != ""
}

// check returns the static keys, or all that is wrong.
func (o *Options) check() ([]*verifyKey, error) {
	var keys []*verifyKey
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if o.HMACSecret != "" {
		keys = append(keys, &verifyKey{kind: kindHMAC, key: []byte(o.HMACSecret)})
		o.checkSecret(refuse)
	}
	if len(o.PublicKeyPEM) > 0 {
		public, err := parsePublicKeys(o.PublicKeyPEM)
		if err != nil {
			refuse("public_key: %w", err)
		}
		keys = append(keys, public...)
	}
	if o.JWKSURL != "" {
		o.checkURL(refuse)
	}
	if !o.hasKey() {
		for _, set := range []struct{ name, value, none string }{
			{"audience", o.Audience, ""},
			{"issuer", o.Issuer, ""},
			{"user_id_claim", o.UserIDClaim, DefaultUserIDClaim},
		} {
			if set.value != set.none {
				refuse("%s: is set to %s, but there is no key to check tokens with: set hmac_secret, public_key or jwks_url", set.name, quote(set.value))
			}
		}
	}
	if o.MaxTokenBytes < 64 || o.MaxTokenBytes > maxMaxTokenBytes {
		refuse("max_token_bytes: is %d, want 64 to %d", o.MaxTokenBytes, maxMaxTokenBytes)
	}
	if o.Leeway < 0 || o.Leeway > MaxLeeway {
		refuse("leeway: is %v, want 0s to %v", o.Leeway, MaxLeeway)
	}
	if o.JWKSInterval < time.Second || o.JWKSInterval > o.JWKSRefresh {
		refuse("jwks_refresh: is %v with an interval of %v, want both at least 1s and the interval not longer", o.JWKSRefresh, o.JWKSInterval)
	}
	return keys, errors.Join(errs...)
}

func (o *Options) checkSecret(refuse func(string, ...any)) {
	switch trimmed := strings.TrimSpace(o.HMACSecret); {
	case trimmed == "":
		refuse("hmac_secret: holds nothing but white space")
	case strings.HasPrefix(trimmed, "-----BEGIN "):
		refuse("hmac_secret: holds a PEM key, which belongs in public_key: as a secret it would let everyone who knows it sign tokens")
	case trimmed != o.HMACSecret:
		o.Logger.Warn("hmac_secret begins or ends with white space, is that meant?")
	case len(o.HMACSecret) < shortSecret:
		o.Logger.Warn("hmac_secret is short and may be guessed", "bytes", len(o.HMACSecret), "want", shortSecret)
	}
}

func (o *Options) checkURL(refuse func(string, ...any)) {
	u, err := url.Parse(o.JWKSURL)
	switch {
	case err != nil:
		refuse("jwks_url: is no URL: %w", withoutURL(err))
	case u.Scheme != "https" && u.Scheme != "http":
		refuse("jwks_url: has the scheme %s, want https", quote(u.Scheme))
	case u.Hostname() == "":
		refuse(`jwks_url: has no host, want something like "https://example.com/.well-known/jwks.json"`)
	case u.Scheme == "http":
		o.Logger.Warn("jwks_url is not https: whoever is on the way can make tokens", "host", u.Host)
	}
}

// Enabled says whether any key is configured.
func (v *Verifier) Enabled() bool { return v.options.hasKey() }

// Algorithms lists what a token may be signed with.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.methods) }

// Ready says whether every configured key is there: false only while a key set
// has not been loaded for the first time.
func (v *Verifier) Ready() bool { return v.remote == nil || v.remote.set.Load() != nil }

// Close stops refreshing the key set and waits until that has ended. It may be
// called more than once, and its error is always nil.
func (v *Verifier) Close() error {
	if v.remote != nil {
		v.remote.close()
	}
	return nil
}

// Connection checks a connection token. Its errors are of type *Error.
func (v *Verifier) Connection(token string) (*Identity, error) {
	r, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	if _, ok := r.get("channel"); ok {
		return nil, invalid(ReasonClaim, `token has a claim "channel": it is a subscription token, want a connection token`)
	}
	id := &Identity{
		Info:     r.payload("info", "b64info"),
		Channels: r.channels(),
		Subs:     r.subs(),
		Caps:     r.caps(),
	}
	var hasUser bool
	id.User, hasUser = r.id(v.options.UserIDClaim)
	if name := v.options.UserIDClaim; !hasUser && name != DefaultUserIDClaim {
		r.fail(name, "is missing, it must hold the user id")
	}
	id.Anonymous = id.User == ""
	id.Meta, _ = r.get("meta")
	id.TokenID, _ = r.id("jti")
	id.IssuedAt, _ = r.seconds("iat")
	id.Limits = r.limits()
	id.ExpiresAt, err = v.expiry(r)
	if err := r.result(err); err != nil {
		return nil, err
	}
	return id, nil
}

// Subscription checks a token for one subscription of one client. The token
// must name the channel. Its user must be the connection's; a token that names
// neither a user nor a client is good for anonymous users only. Its errors are
// of type *Error.
func (v *Verifier) Subscription(token, user, client, channel string) (*Grant, error) {
	r, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	if err := v.bearer(r, user, client, channel); err != nil {
		return nil, err
	}
	g := &Grant{Channel: channel, SubOptions: r.subOptions(), Allow: r.verbs("allow")}
	g.TokenID, _ = r.id("jti")
	g.IssuedAt, _ = r.seconds("iat")
	g.ExpiresAt, err = v.expiry(r)
	if err := r.result(err); err != nil {
		return nil, err
	}
	return g, nil
}

// bearer checks that a subscription token is for this channel, user and
// client.
func (v *Verifier) bearer(r *claimReader, user, client, channel string) error {
	forChannel, ok := r.text("channel")
	if !ok && r.err == nil {
		return invalid(ReasonChannel, `token has no claim "channel": it is a connection token, want a subscription token for %s`, quote(channel))
	}
	forClient, hasClient := r.text("client")
	forUser, hasUser := r.text(v.options.UserIDClaim)
	switch {
	case r.err != nil:
		return r.err
	case forChannel != channel:
		return invalid(ReasonChannel, "token is for channel %s, not for %s", quote(forChannel), quote(channel))
	case hasClient && forClient != "" && forClient != client:
		return invalid(ReasonClient, "token is for client %s, not for this one", quote(forClient))
	case forUser == user, !hasUser && forClient != "":
		return nil
	case forUser == "":
		return invalid(ReasonUser, "token is for an anonymous user, this connection is of user %s", quote(user))
	}
	return invalid(ReasonUser, "token is for user %s, not for this connection's", quote(forUser))
}

// result is what reading all claims came to: the first that was wrong, else
// what was found out beside them.
func (r *claimReader) result(err error) error {
	if r.err != nil {
		return r.err
	}
	return err
}

// expiry is when a session or subscription must have been refreshed. The time
// in "exp" has been checked before.
func (v *Verifier) expiry(r *claimReader) (int64, error) {
	leeway := int64(v.options.Leeway / time.Second)
	at, own := r.seconds("expire_at")
	switch {
	case own && at == 0:
		return 0, nil
	case own && !time.Now().Before(time.Unix(at+leeway, 0)):
		return 0, outsideTime(ReasonExpired, `token has "expire_at" in the past, at %s`, date(at))
	case own:
		return at + leeway, nil
	}
	if at, ok := r.seconds("exp"); ok {
		return at + leeway, nil
	}
	return 0, nil
}

// verify checks the signature and what all tokens have in common.
func (v *Verifier) verify(token string) (*claimReader, error) {
	switch {
	case !v.Enabled():
		return nil, invalid(ReasonDisabled, "a token was sent, but the server has no key to check tokens with")
	case token == "":
		return nil, invalid(ReasonMalformed, "token is empty")
	case len(token) > v.options.MaxTokenBytes:
		return nil, invalid(ReasonMalformed, "token has %d bytes, at most %d are allowed", len(token), v.options.MaxTokenBytes)
	case strings.ContainsAny(token, "\r\n"):
		return nil, invalid(ReasonMalformed, "token has a line break in it") // which base64 decoders skip
	}
	if dots := strings.Count(token, "."); dots != 2 {
		return nil, invalid(ReasonMalformed, "token has %d parts between dots, a signed JSON Web Token has 3", dots+1)
	}
	r := &claimReader{}
	parsed, err := v.parser.ParseWithClaims(token, &r.claims, v.candidates)
	if err != nil {
		return nil, v.explain(parsed, err)
	}
	if r.claims == nil {
		return nil, invalid(ReasonMalformed, "token has a payload that is no JSON object")
	}
	if err := v.checkTimes(r); err != nil {
		return nil, err
	}
	return r, v.checkParties(r)
}

// candidates returns the keys that may check a token, from its header.
func (v *Verifier) candidates(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, invalid(ReasonMalformed, `token has critical extensions in its header ("crit"), none are supported`)
	}
	id, err := keyID(token.Header)
	if err != nil {
		return nil, err
	}
	alg := token.Method.Alg()
	keys := accepting(v.static, alg)
	switch {
	case !v.asksRemote(alg):
	case len(keys) > 0:
		keys = append(keys, v.remote.known(id, alg)...)
	default:
		if keys, err = v.remote.find(id, alg); err != nil {
			return nil, err
		}
	}
	set := jwt.VerificationKeySet{Keys: make([]jwt.VerificationKey, len(keys))}
	for i, key := range keys {
		set.Keys[i] = key.key
	}
	return set, nil
}

// asksRemote says whether the key set may have keys for the algorithm. It never
// has shared secrets.
func (v *Verifier) asksRemote(alg string) bool {
	return v.remote != nil && !slices.Contains(kindHMAC.algorithms(), alg)
}

func keyID(header map[string]any) (string, error) {
	raw, ok := header["kid"]
	if !ok || raw == nil {
		return "", nil
	}
	id, ok := raw.(string)
	switch {
	case !ok:
		return "", invalid(ReasonMalformed, `token has a "kid" in its header that is not a string`)
	case len(id) > maxIDBytes:
		return "", invalid(ReasonMalformed, `token has a "kid" of %d bytes in its header, at most %d are allowed`, len(id), maxIDBytes)
	}
	return id, nil
}

// explain says in our words why the jwt package refused a token.
func (v *Verifier) explain(token *jwt.Token, err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, jwt.ErrTokenMalformed):
		return invalid(ReasonMalformed, "token is no JSON Web Token: its three parts must be base64url without padding, the first two JSON objects")
	case token == nil || token.Method == nil || !slices.Contains(v.methods, token.Method.Alg()):
		return v.wrongAlgorithm(token)
	}
	alg := token.Method.Alg()
	if v.asksRemote(alg) {
		// A static key did not fit; the one meant may be on its way.
		if id, err := keyID(token.Header); err == nil {
			if _, err := v.remote.find(id, alg); errors.Is(err, ErrUnavailable) {
				return err
			}
		}
		return invalid(ReasonSignature, "token signature does not match any key the server has for %s", alg)
	}
	if keys := accepting(v.static, alg); len(keys) > 0 {
		return invalid(ReasonSignature, "token signature does not match the configured %s key", keys[0].kind)
	}
	return v.wrongAlgorithm(token)
}

func (v *Verifier) wrongAlgorithm(token *jwt.Token) error {
	alg := "no algorithm"
	if token != nil {
		if name, ok := token.Header["alg"].(string); ok {
			alg = quote(name)
		}
	}
	return invalid(ReasonAlgorithm, "token is signed with %s, the server's keys are for %s", alg, strings.Join(v.methods, ", "))
}

func (v *Verifier) checkTimes(r *claimReader) error {
	now := time.Now()
	exp, hasExp := r.seconds("exp")
	nbf, hasNbf := r.seconds("nbf")
	switch {
	case r.err != nil:
		return r.err
	case hasExp && !now.Before(time.Unix(exp, 0).Add(v.options.Leeway)):
		return outsideTime(ReasonExpired, "token expired at %s", date(exp))
	case hasNbf && now.Before(time.Unix(nbf, 0).Add(-v.options.Leeway)):
		return outsideTime(ReasonEarly, "token is not valid before %s", date(nbf))
	}
	return nil
}

func (v *Verifier) checkParties(r *claimReader) error {
	audience := r.audience()
	issuer, _ := r.text("iss")
	switch {
	case r.err != nil:
		return r.err
	case v.options.Audience != "" && len(audience) == 0:
		return invalid(ReasonAudience, "token has no audience, want %s", quote(v.options.Audience))
	case v.options.Audience != "" && !slices.Contains(audience, v.options.Audience):
		return invalid(ReasonAudience, "token audience is %s, want %s", quoteAll(audience), quote(v.options.Audience))
	case v.options.Issuer != "" && issuer == "":
		return invalid(ReasonIssuer, "token has no issuer, want %s", quote(v.options.Issuer))
	case v.options.Issuer != "" && issuer != v.options.Issuer:
		return invalid(ReasonIssuer, "token issuer is %s, want %s", quote(issuer), quote(v.options.Issuer))
	}
	return nil
}
