package conversation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
	"myelin/socket"
)

// Query parameters of a request that begins a conversation.
const (
	// paramConnect holds the first commands, or the connect request of a
	// one-way client.
	paramConnect = "cf_connect"
	// paramChannel names a channel of a one-way client that is too simple for
	// a connect request, such as curl. It may be repeated.
	paramChannel = "channel"
	// paramToken is the connection token of such a client.
	paramToken = "token"
	// paramLastID is the resume token where headers cannot be set.
	paramLastID = "last_event_id"
)

// bodyTimeout is how long a request's body may take to come.
const bodyTimeout = 10 * time.Second

// contentProtobuf is the content type of Protobuf; all else is JSON.
const contentProtobuf = "application/octet-stream"

// FormatOf returns the format of a request's body.
func FormatOf(r *http.Request) protocol.Format {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == contentProtobuf {
		return protocol.Protobuf
	}
	return protocol.JSON
}

// Query returns the query parameters of a request. One that cannot be read is
// an error and not left out: it may be a token, and without it the client
// would be somebody else.
func Query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, channel.ErrBadRequest.With("the query is not URL-encoded: every & ; % + in a value must be")
	}
	return q, nil
}

// opening returns what an HTTP request brings to begin a conversation with:
// the body of a POST, the parameter cf_connect of a GET. most bounds it.
func opening(w http.ResponseWriter, r *http.Request, q url.Values, most int) ([]byte, error) {
	switch r.Method {
	case http.MethodGet:
		b := []byte(q.Get(paramConnect))
		if len(b) > most {
			return nil, tooLong(most)
		}
		return b, nil
	case http.MethodPost:
		return Body(w, r, most)
	}
	return nil, MethodError("GET, POST")
}

func tooLong(most int) error {
	return channel.ErrTooLarge.With(fmt.Sprintf("a request may have %d bytes", most))
}

// Body reads the whole body of a request, which holds at most most bytes and
// comes within bodyTimeout.
func Body(w http.ResponseWriter, r *http.Request, most int) ([]byte, error) {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	_, long := errors.AsType[*http.MaxBytesError](err)
	switch {
	case long:
		return nil, tooLong(most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errTimeout
	case err != nil:
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	// The deadline is the connection's: a stream would end by it.
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	return b, nil
}

// MethodError refuses a request for its method; it lists those allowed.
type MethodError string

// Error says what would be right.
func (e MethodError) Error() string { return "method not allowed: use " + string(e) }

// errTimeout refuses a request whose body did not come.
var errTimeout = errors.New("the request's body did not come in time")

// ConnectsByQuery reports whether a query holds what a one-way client connects
// with, and returns its connect request, which may be empty.
func ConnectsByQuery(query url.Values) (request []byte, ok bool) {
	return []byte(query.Get(paramConnect)), query.Get(paramConnect) != "" || query.Has(paramChannel)
}

// OneWayRequest makes the connect request of a one-way client: from opening,
// as the public protocol has it, or from the parameters channel and token.
func OneWayRequest(f protocol.Format, opening []byte, query url.Values) (*protocol.ConnectRequest, error) {
	r := new(protocol.ConnectRequest)
	if len(opening) > 0 {
		var err error
		if r, err = protocol.DecodeConnectRequest(f, opening); err != nil {
			return nil, channel.ErrBadRequest.With("the connect request is " + err.Error())
		}
	}
	if r.Token == "" {
		r.Token = query.Get(paramToken)
	}
	wants, err := wishesByQuery(query)
	if err != nil {
		return nil, err
	}
	tags, err := queryFilter(query)
	if err != nil {
		return nil, err
	}
	for _, name := range query[paramChannel] {
		if r.Subs == nil {
			r.Subs = make(map[string]*protocol.SubscribeRequest)
		}
		if r.Subs[name] == nil {
			r.Subs[name] = &protocol.SubscribeRequest{Recoverable: true, Data: wants, Tf: tags} // it cannot say so
		}
	}
	return r, nil
}

// lastEventID returns the resume token a request brings, "" for none.
func lastEventID(r *http.Request, q url.Values) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return q.Get(paramLastID)
}

// Refuse answers an HTTP request that does not become a conversation. The body
// is {"error":{"code","message"}}, the code that of the error or disconnect.
func Refuse(w http.ResponseWriter, err error) {
	var body struct {
		Error struct {
			Code    uint32 `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	var status int
	h := w.Header()
	d, isDisconnect := errors.AsType[hub.Disconnect](err)
	method, isMethod := errors.AsType[MethodError](err)
	upgrade, isUpgrade := errors.AsType[*socket.Refusal](err)
	switch {
	case isDisconnect:
		body.Error.Code, body.Error.Message = d.Code, d.Reason
		status = statusOfDisconnect(d)
	case isMethod:
		h.Set("Allow", string(method))
		body.Error.Code, body.Error.Message = uint32(channel.CodeBadRequest), err.Error()
		status = http.StatusMethodNotAllowed
	case isUpgrade:
		body.Error.Code, body.Error.Message = uint32(channel.CodeBadRequest), upgrade.Reason
		if upgrade.Status == http.StatusBadRequest {
			body.Error.Message = channel.ErrBadRequest.With(upgrade.Reason).Message
		}
		status = upgrade.Status
	case errors.Is(err, errTimeout):
		body.Error.Code, body.Error.Message = uint32(channel.CodeBadRequest), err.Error()
		status = http.StatusRequestTimeout
	default:
		e := channel.Public(err)
		body.Error.Code, body.Error.Message = uint32(e.Code), e.Message
		status = statusOf(e)
	}
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2 wants one
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", "1")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// statusOf returns the HTTP status that says a code best.
func statusOf(e *channel.Error) int {
	switch e.Code {
	case channel.CodeUnauthorized, channel.CodeTokenExpired, channel.CodeExpired:
		return http.StatusUnauthorized
	case channel.CodePermissionDenied:
		return http.StatusForbidden
	case channel.CodeUnknownChannel, channel.CodeMethodNotFound:
		return http.StatusNotFound
	case channel.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case channel.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case channel.CodeLimitExceeded, channel.CodeUnavailable:
		return http.StatusServiceUnavailable
	case channel.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// statusOfDisconnect is the same for a disconnect. Codes below 3500 ask the
// client to come back.
func statusOfDisconnect(d hub.Disconnect) int {
	switch {
	case d.Code == hub.DisconnectInvalidToken.Code, d.Code == hub.DisconnectExpired.Code:
		return http.StatusUnauthorized
	case d.Code < hub.DisconnectInvalidToken.Code:
		return http.StatusServiceUnavailable
	case d.Code == hub.DisconnectForceNoReconnect.Code, d.Code == hub.DisconnectPermissionDenied.Code:
		return http.StatusForbidden
	case d.Code == hub.DisconnectConnectionLimit.Code:
		return http.StatusTooManyRequests
	}
	return http.StatusBadRequest
}
