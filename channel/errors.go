package channel

import (
	"errors"
	"time"
)

// Code is the number of an error. Numbers are on the wire and in the docs:
// they are appended to, never changed. 100 to 399 are those of the public
// client protocol, 1000 to 1999 are Myelin's own.
type Code uint32

// The codes.
const (
	CodeInternal          Code = 100
	CodeUnauthorized      Code = 101
	CodeUnknownChannel    Code = 102
	CodePermissionDenied  Code = 103
	CodeMethodNotFound    Code = 104
	CodeAlreadySubscribed Code = 105
	CodeLimitExceeded     Code = 106
	CodeBadRequest        Code = 107
	CodeNotAvailable      Code = 108
	CodeTokenExpired      Code = 109
	CodeExpired           Code = 110
	CodeTooManyRequests   Code = 111
	CodeUnrecoverable     Code = 112
	CodeConcurrentPages   Code = 113
	CodeUnavailable       Code = 1000
	CodeConflict          Code = 1001
	CodeUnknownOutcome    Code = 1002
	CodeUnsupported       Code = 1003
	CodeTooLarge          Code = 1004
	CodeNotSubscribed     Code = 1005
)

// Error is the one error type of Myelin. Message is for whoever sent the
// request; Err, when there is one, is for the operator's log and never leaves
// the process.
type Error struct {
	Code    Code
	Message string
	// Temporary says that the same request may succeed later.
	Temporary bool
	// Current is, for CodeConflict, the offset the key has now; 0 otherwise.
	Current uint64
	// Retry is, of an error that is Temporary, after what time the request may
	// succeed, where that is known; 0 otherwise.
	Retry time.Duration
	Err   error
}

// Error returns the public message, with the cause where there is one.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With returns a copy of e whose message goes on with detail: what was wrong
// and what would be right.
func (e *Error) With(detail string) *Error {
	c := *e
	c.Message = e.Message + ": " + detail
	return &c
}

// Wrap returns a copy of e with err as its cause.
func (e *Error) Wrap(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// The sentinels, one for each code. errors.Is matches them whatever the detail.
var (
	ErrInternal          = &Error{Code: CodeInternal, Message: "internal server error", Temporary: true}
	ErrUnauthorized      = &Error{Code: CodeUnauthorized, Message: "unauthorized"}
	ErrUnknownChannel    = &Error{Code: CodeUnknownChannel, Message: "unknown channel"}
	ErrPermissionDenied  = &Error{Code: CodePermissionDenied, Message: "permission denied"}
	ErrMethodNotFound    = &Error{Code: CodeMethodNotFound, Message: "method not found"}
	ErrAlreadySubscribed = &Error{Code: CodeAlreadySubscribed, Message: "already subscribed"}
	ErrLimitExceeded     = &Error{Code: CodeLimitExceeded, Message: "limit exceeded"}
	ErrBadRequest        = &Error{Code: CodeBadRequest, Message: "bad request"}
	ErrNotAvailable      = &Error{Code: CodeNotAvailable, Message: "not available"}
	ErrTokenExpired      = &Error{Code: CodeTokenExpired, Message: "token expired"}
	ErrExpired           = &Error{Code: CodeExpired, Message: "expired"}
	ErrTooManyRequests   = &Error{Code: CodeTooManyRequests, Message: "too many requests", Temporary: true}
	ErrUnrecoverable     = &Error{Code: CodeUnrecoverable, Message: "unrecoverable position"}
	ErrConcurrentPages   = &Error{Code: CodeConcurrentPages, Message: "concurrent pagination", Temporary: true}
	ErrUnavailable       = &Error{Code: CodeUnavailable, Message: "engine unavailable", Temporary: true}
	ErrConflict          = &Error{Code: CodeConflict, Message: "conflict"}
	ErrUnknownOutcome    = &Error{Code: CodeUnknownOutcome, Message: "unknown outcome", Temporary: true}
	ErrUnsupported       = &Error{Code: CodeUnsupported, Message: "unsupported"}
	ErrTooLarge          = &Error{Code: CodeTooLarge, Message: "too large"}
	ErrNotSubscribed     = &Error{Code: CodeNotSubscribed, Message: "not subscribed"}
)

// CodeDoc is one row of the table of codes.
type CodeDoc struct {
	Error *Error
	// Meaning says when it is returned and what to do about it.
	Meaning string
}

// Codes returns the table of all codes, in their order.
func Codes() []CodeDoc {
	return []CodeDoc{
		{ErrInternal, "Something failed inside the server; its log says what. Try again later."},
		{ErrUnauthorized, "The server wants a connection token, or the session has not connected."},
		{ErrUnknownChannel, "The channel's namespace is not configured."},
		{ErrPermissionDenied, "The client may not do this here. The message says who may."},
		{ErrMethodNotFound, "There is no such rpc or API method."},
		{ErrAlreadySubscribed, "A connection has one subscription per channel."},
		{ErrLimitExceeded, "A limit of the server was hit. The message says which."},
		{ErrBadRequest, "The request is malformed. The message says where. Sending it again is no use."},
		{ErrNotAvailable, "The namespace or this build does not offer it."},
		{ErrTokenExpired, "Get a fresh token and try again."},
		{ErrExpired, "The connection or subscription has expired."},
		{ErrTooManyRequests, "Slow down, then try again."},
		{ErrUnrecoverable, "What came after the given position is not kept any more, or the epoch has changed. Read the state anew."},
		{ErrConcurrentPages, "Reserved by the client protocol; not sent."},
		{ErrUnavailable, "The engine, the key set or the server is not there now. Try again with the same id."},
		{ErrConflict, "A compare-and-set found another offset than expected."},
		{ErrUnknownOutcome, "The publish may or may not have been done. Trying again is safe with the same id only."},
		{ErrUnsupported, "The engine cannot do it."},
		{ErrTooLarge, "The data, key, id or request is larger than allowed."},
		{ErrNotSubscribed, "The operation needs a subscription."},
	}
}

// Public returns what a client may see of err: err itself where it is an
// *Error, stripped of its cause, else ErrInternal.
func Public(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Err == nil {
			return e
		}
		c := *e
		c.Err = nil
		return &c
	}
	return ErrInternal
}
