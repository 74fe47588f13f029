package pusher

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the protocol has it so, within a signature
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

// credentials are those of one application.
type credentials struct{ key, secret string }

// sign returns the signature of a text.
func (c credentials) sign(text string) string {
	h := hmac.New(sha256.New, []byte(c.secret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// grants reports whether given, "key:signature", is this application's word
// for a text.
func (c credentials) grants(given, text string) bool {
	key, signature, ok := strings.Cut(given, ":")
	return ok && auth.KeyMatch(key, c.key) && hmac.Equal([]byte(signature), []byte(c.sign(text)))
}

func unsigned(why string) error { return channel.ErrUnauthorized.With(why) }

// The parameters of a signed request.
const (
	paramKey       = "auth_key"
	paramTime      = "auth_timestamp"
	paramVersion   = "auth_version"
	paramSignature = "auth_signature"
	paramBody      = "body_md5"
)

// checkRequest returns nil for a request whose query is signed. That the body
// is the one that was signed is for checkBody.
func (c credentials) checkRequest(r *http.Request, q url.Values) error {
	for k, v := range q {
		if len(v) != 1 {
			return channel.ErrBadRequest.With("the parameter " + strconv.QuoteToASCII(k) + " is there twice")
		}
	}
	at, err := strconv.ParseInt(q.Get(paramTime), 10, 64)
	switch off := time.Since(time.Unix(at, 0)); {
	case !auth.KeyMatch(q.Get(paramKey), c.key):
		return unsigned("auth_key is not the key of this application")
	case q.Get(paramVersion) != "1.0":
		return unsigned("auth_version must be 1.0")
	case err != nil:
		return unsigned("auth_timestamp must be in Unix seconds")
	case off.Abs() > signatureAge:
		return unsigned("auth_timestamp is " + off.Round(time.Second).String() + " off; the clocks may differ by " + signatureAge.String())
	}
	given := []byte(q.Get(paramSignature))
	for _, path := range []string{r.URL.EscapedPath(), r.URL.Path} {
		if hmac.Equal(given, []byte(c.sign(toSign(r.Method, path, q)))) {
			return nil
		}
	}
	return unsigned("auth_signature is not that of this request and secret")
}

// toSign is the text that a request's signature is for.
func toSign(method, path string, q url.Values) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(q)) {
		if k != paramSignature {
			parts = append(parts, strings.ToLower(k)+"="+q.Get(k))
		}
	}
	return method + "\n" + path + "\n" + strings.Join(parts, "&")
}

// checkBody returns nil for the body that the query of a request was signed
// with.
func checkBody(q url.Values, body []byte) error {
	sum := md5.Sum(body) //nolint:gosec // see the import
	if (len(body) > 0 || q.Has(paramBody)) && q.Get(paramBody) != hex.EncodeToString(sum[:]) {
		return unsigned("body_md5 is not the MD5 of the body")
	}
	return nil
}
