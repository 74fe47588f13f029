package conversation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
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

// Opening returns what an HTTP request brings to begin a conversation with:
// the body of a POST, the parameter cf_connect of a GET. most bounds it.
func Opening(w http.ResponseWriter, r *http.Request, most int) ([]byte, error) {
	switch r.Method {
	case http.MethodGet:
		return []byte(r.URL.Query().Get(paramConnect)), nil
	case http.MethodPost:
		return Body(w, r, most)
	}
	return nil, errMethod
}

// Body reads the whole body of a request, which holds at most most bytes.
func Body(w http.ResponseWriter, r *http.Request, most int) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return nil, channel.ErrTooLarge.With(fmt.Sprintf("a request may have %d bytes", most))
	}
	if err != nil {
		return nil, channel.ErrBadRequest.Wrap(err)
	}
	return b, nil
}

// errMethod is what Opening returns for a method that begins nothing.
var errMethod = errors.New("method not allowed")

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
	for _, name := range query[paramChannel] {
		if r.Subs == nil {
			r.Subs = make(map[string]*protocol.SubscribeRequest)
		}
		if r.Subs[name] == nil {
			r.Subs[name] = new(protocol.SubscribeRequest)
		}
	}
	return r, nil
}

// LastEventID returns the resume token a request brings, "" for none.
func LastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return r.URL.Query().Get(paramLastID)
}

// Refuse answers an HTTP request that does not become a conversation. The body
// is {"error":{"code","message"}}, the code that of the error or disconnect.
func Refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, errMethod) {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	var body struct {
		Error struct {
			Code    uint32 `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	status := http.StatusBadRequest
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		body.Error.Code, body.Error.Message = d.Code, d.Reason
		if d.Code == hub.DisconnectInvalidToken.Code {
			status = http.StatusUnauthorized
		}
	} else {
		e := channel.Public(err)
		body.Error.Code, body.Error.Message = uint32(e.Code), e.Message
		status = statusOf(e)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
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
