package mercure

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

// cookies are the names that a token's cookie has, in the two revisions.
func cookies() []string { return []string{"mercureAccessToken", "mercureAuthorization"} }

// bearer is what a request may do.
type bearer struct {
	// who is nil where there is no token.
	who                *auth.Identity
	publish, subscribe matchers
	// payloads is what the token says of subscriptions, the first that matches.
	payloads []payloadOf
	// ends is when the token does, zero for never.
	ends time.Time
	// strict: the token is one of revision 8.
	strict bool
	// byCookie: a browser added the token on its own.
	byCookie bool
}

// payloadOf is what is told of subscriptions whose matcher one of some selects.
type payloadOf struct {
	// topics is nil for all subscriptions.
	topics matchers
	data   json.RawMessage
}

// payload returns what the token says of a subscription by its matcher.
func (b *bearer) payload(text string) json.RawMessage {
	for _, p := range b.payloads {
		if p.topics == nil || slices.ContainsFunc(p.topics, func(m *matcher) bool { return m.text == text || m.matches(text) }) {
			return p.data
		}
	}
	return nil
}

// isObject reports whether raw is a JSON object.
func isObject(raw json.RawMessage) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}

// tokenOf returns the token of a request, "" for none: of the header, else of
// the query, else of the cookie.
func tokenOf(r *http.Request, q url.Values) (token string, byCookie bool, err error) {
	if h := r.Header.Values("Authorization"); len(h) > 0 {
		scheme, token, _ := strings.Cut(h[0], " ")
		if len(h) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", false, invalidToken("the header Authorization must be Bearer and a token")
		}
		return token, false, nil
	}
	for _, name := range []string{"access_token", "authorization"} {
		if token := q.Get(name); token != "" {
			return token, false, nil
		}
	}
	for _, name := range cookies() {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return c.Value, true, nil
		}
	}
	return "", false, nil
}

// refused is a request that its token does not allow, as RFC 6750 section 3.1
// has it. An empty code is for one without a token.
type refused struct {
	status int
	code   string
	why    string
}

// Error says what would be right.
func (e *refused) Error() string { return e.why }

func invalidToken(why string) error { return &refused{http.StatusUnauthorized, "invalid_token", why} }

func insufficient(why string) error { return &refused{http.StatusForbidden, "insufficient_scope", why} }

// identify returns what the bearer of a request's token may do.
func (d *Door) identify(r *http.Request, q url.Values) (*bearer, error) {
	token, byCookie, err := tokenOf(r, q)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return &bearer{}, nil
	}
	raw, err := d.opts.Verifier.Raw(token)
	if err != nil {
		return nil, tokenError(err)
	}
	who, err := d.opts.Verifier.Connection(token)
	if err != nil {
		return nil, tokenError(err)
	}
	b := &bearer{who: who, byCookie: byCookie}
	if who.ExpiresAt != 0 {
		b.ends = time.Unix(who.ExpiresAt, 0)
	}
	if details, ok := raw.Claims["authorization_details"]; ok {
		err = b.readDetails(raw, details, d.home)
	} else if claim, ok := raw.Claims["mercure"]; ok {
		err = b.readClaim(claim)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// tokenError returns what a refused token comes to.
func tokenError(err error) error {
	if e, ok := err.(*auth.Error); ok && e.Temporary() { //nolint:errorlint // that package returns them bare
		return channel.ErrUnavailable.With(e.Error())
	}
	return invalidToken(err.Error())
}

// readClaim reads the claim of revision 7 and before.
func (b *bearer) readClaim(raw json.RawMessage) error {
	var c struct {
		Publish   []string `json:"publish"`
		Subscribe []string `json:"subscribe"`
		// Payload is about all subscriptions.
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return invalidToken(`the claim "mercure" is {"publish": [selectors], "subscribe": [selectors]}`)
	}
	if len(c.Payload) > 0 {
		b.payloads = []payloadOf{{data: c.Payload}}
	}
	for _, list := range []struct {
		texts []string
		to    *matchers
	}{{c.Publish, &b.publish}, {c.Subscribe, &b.subscribe}} {
		if len(list.texts) > maxMatchers {
			return invalidToken("a token has at most " + strconv.Itoa(maxMatchers) + " selectors of a kind")
		}
		for _, text := range list.texts {
			m, err := newMatcher(kindSelector, text, "")
			if err != nil {
				return invalidToken(channel.Public(err).Message)
			}
			*list.to = append(*list.to, m)
		}
	}
	return nil
}

// accessToken is the type of tokens of revision 8 (RFC 9068 section 2.1).
const accessToken = "at+jwt"

// readDetails reads the claim of revision 8. A part that cannot be read makes
// the whole token invalid.
func (b *bearer) readDetails(token *auth.Raw, raw json.RawMessage, at home) error {
	b.strict = true
	if t := strings.ToLower(token.Type); t != accessToken && t != "application/"+accessToken {
		return invalidToken(`the header "typ" of a token with authorization_details must be ` + accessToken)
	}
	if b.ends.IsZero() {
		return invalidToken(`a token with authorization_details needs the claim "exp"`)
	}
	var all []struct {
		Type    string   `json:"type"`
		Actions []string `json:"actions"`
		Topics  []*struct {
			Match *string `json:"match"`
			Type  *string `json:"matchType"`
		} `json:"topics"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(raw, &all); err != nil || len(all) > maxDetails {
		return invalidToken("authorization_details is a list of at most " + strconv.Itoa(maxDetails) + " objects")
	}
	for _, detail := range all {
		if detail.Type != "mercure" {
			continue
		}
		if len(detail.Actions) == 0 || len(detail.Topics) == 0 || len(detail.Topics) > maxMatchers {
			return invalidToken("a detail has actions and 1 to " + strconv.Itoa(maxMatchers) + " topics")
		}
		if detail.Payload != nil && !isObject(detail.Payload) {
			return invalidToken("the payload of a detail is a JSON object")
		}
		var selected matchers
		for _, t := range detail.Topics {
			if t == nil || t.Match == nil {
				return invalidToken(`a topic of a detail is {"match","matchType"}`)
			}
			kind := kindExact
			if t.Type != nil {
				kind = *t.Type
			}
			if kind != kindExact && kind != kindPattern {
				return invalidToken(`a matchType is "Exact" or "URLPattern"`)
			}
			m, err := newMatcher(kind, *t.Match, at)
			if err != nil {
				return invalidToken(channel.Public(err).Message)
			}
			selected = append(selected, m)
		}
		for _, action := range detail.Actions {
			switch action {
			case "publish":
				b.publish = append(b.publish, selected...)
			case "subscribe":
				b.subscribe = append(b.subscribe, selected...)
				if detail.Payload != nil {
					b.payloads = append(b.payloads, payloadOf{selected, detail.Payload})
				}
			default:
				return invalidToken(`the actions of a detail are "publish" and "subscribe"`)
			}
		}
	}
	return nil
}
