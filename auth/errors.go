package auth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a refused token comes to. An error of this package is one of them
// under errors.Is.
var (
	// ErrTokenExpired means that the token is outside its time: expired, or not
	// valid yet. A fresh token may be accepted.
	ErrTokenExpired = errors.New("token expired")
	// ErrTokenInvalid means that the token will never be accepted here.
	ErrTokenInvalid = errors.New("token invalid")
	// ErrUnavailable means that the keys to check the token with are not known
	// yet. It is temporary: the same token may be accepted a moment later.
	ErrUnavailable = errors.New("token keys unavailable")
)

// Reason is the short, fixed name of why a token was refused, fit for a metric
// label.
type Reason string

// The reasons.
const (
	ReasonDisabled    Reason = "disabled"    // no key is configured
	ReasonMalformed   Reason = "malformed"   // not a token at all, or too long
	ReasonAlgorithm   Reason = "algorithm"   // an algorithm no configured key has
	ReasonKey         Reason = "key"         // a key id nobody knows
	ReasonSignature   Reason = "signature"   // signed with another key
	ReasonExpired     Reason = "expired"     // exp or expire_at has passed
	ReasonEarly       Reason = "early"       // nbf has not come
	ReasonAudience    Reason = "audience"    // meant for another service
	ReasonIssuer      Reason = "issuer"      // made by another issuer
	ReasonClaim       Reason = "claim"       // a claim is missing or of a wrong shape
	ReasonChannel     Reason = "channel"     // for another channel
	ReasonUser        Reason = "user"        // for another user
	ReasonClient      Reason = "client"      // for another client
	ReasonUnavailable Reason = "unavailable" // the key set is not there yet
)

// Error says why a token was refused. Its text is meant for the developer at
// the other end: it says what was wrong and what would be right, holds no part
// of the token but short quoted claims, and may be sent to the client.
type Error struct {
	// Reason is the fixed name of the refusal.
	Reason Reason

	kind    error
	message string
}

// Error returns the public message.
func (e *Error) Error() string { return e.message }

// Unwrap returns the sentinel this error is.
func (e *Error) Unwrap() error { return e.kind }

// Temporary says whether the same token may be accepted later.
func (e *Error) Temporary() bool { return errors.Is(e.kind, ErrUnavailable) }

func invalid(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, kind: ErrTokenInvalid, message: fmt.Sprintf(format, args...)}
}

func outsideTime(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, kind: ErrTokenExpired, message: fmt.Sprintf(format, args...)}
}

func unavailable(format string, args ...any) *Error {
	return &Error{Reason: ReasonUnavailable, kind: ErrUnavailable, message: fmt.Sprintf(format, args...)}
}

// maxQuoted bounds how much of a foreign string an error message repeats.
const maxQuoted = 64

// quote makes a foreign string safe and short enough for a message.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "..."
}

// quoteAll quotes a list, and leaves out what would make it long.
func quoteAll(list []string) string {
	const most = 4
	quoted := make([]string, 0, most)
	for i, s := range list {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		quoted = append(quoted, quote(s))
	}
	return strings.Join(quoted, ", ")
}
