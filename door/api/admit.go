package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

// The header by which a caller asks for errors in the status, and its value.
const (
	errorMode          = "X-Centrifugo-Error-Mode"
	errorModeTransport = "transport"
)

// admit returns the method of a request whose caller may use it, or the status
// and the reason why not.
func (d *Door) admit(w http.ResponseWriter, r *http.Request, name string) (method, int, error) {
	if status, err := d.checkKey(w, r); err != nil {
		return method{}, status, err
	}
	m, ok := d.methods[name]
	if !ok {
		return method{}, http.StatusNotFound, d.noMethod(name)
	}
	if isRead(name, r) {
		return m, http.StatusOK, nil
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return method{}, http.StatusMethodNotAllowed, channel.ErrBadRequest.With("use POST, not " + cut(r.Method))
	}
	if err := checkContent(r.Header); err != nil {
		return method{}, http.StatusUnsupportedMediaType, err
	}
	return m, http.StatusOK, nil
}

func (d *Door) checkKey(w http.ResponseWriter, r *http.Request) (int, error) {
	switch {
	case d.opts.Insecure:
		return http.StatusOK, nil
	case d.opts.Key == "":
		return http.StatusNotFound, channel.ErrMethodNotFound.With("the HTTP API is off; set api.key to switch it on")
	case auth.KeyMatch(keyOf(r.Header), d.opts.Key):
		return http.StatusOK, nil
	}
	w.Header().Set("WWW-Authenticate", "apikey")
	msg := "send the configured api.key as X-API-Key"
	if r.URL.Query().Has("api_key") {
		msg += "; a key in the URL is not taken, since URLs end up in logs"
	}
	return http.StatusUnauthorized, channel.ErrUnauthorized.With(msg)
}

// keyOf returns the key that a caller sent, "" for none.
func keyOf(h http.Header) string {
	if key := h.Get("X-API-Key"); key != "" {
		return key
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "apikey") {
		return strings.TrimSpace(key)
	}
	return ""
}

func (d *Door) noMethod(name string) error {
	all := names(d.methods)
	if near := nearest(name, all); near != "" {
		return channel.ErrMethodNotFound.With("there is no " + join("", name) + "; did you mean " + near + "?")
	}
	return channel.ErrMethodNotFound.With("use " + Prefix + "<method>, one of " + strings.Join(all, ", "))
}

// checkContent returns nil for headers that announce JSON as it is. What curl
// says of the data it is given is let pass.
func checkContent(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return channel.ErrBadRequest.With("the body must come as it is, not encoded as " + cut(coding))
	}
	content := h.Get("Content-Type")
	if content == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(content)
	if err == nil && (media == "application/json" || media == "application/x-www-form-urlencoded") {
		if charset := params["charset"]; charset == "" || strings.EqualFold(charset, "utf-8") {
			return nil
		}
	}
	return channel.ErrBadRequest.With("the body must be application/json in UTF-8, not " + cut(content))
}

// cut returns what an error repeats of a header.
func cut(s string) string {
	if len(s) > longestName {
		s = s[:longestName] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// read returns the body of a request, which is valid JSON, or the status and
// the reason why there is none. No body is an empty object.
func (d *Door) read(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	most := int64(BodyBytes(d.opts.Hub.Limits().MessageBytes))
	tooLarge := func() ([]byte, int, error) {
		return nil, http.StatusRequestEntityTooLarge, channel.ErrTooLarge.With(fmt.Sprintf("a body may have %d bytes", most))
	}
	if r.ContentLength > most {
		return tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	d.metrics.BytesIn.Add(int64(len(body)))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return tooLarge()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, http.StatusRequestTimeout, channel.ErrBadRequest.With("the body took longer than " + bodyTimeout.String())
	case err != nil:
		return nil, http.StatusBadRequest, channel.ErrBadRequest.With("the body ended early")
	case len(body) == 0:
		return []byte("{}"), http.StatusOK, nil
	}
	if err := checkJSON(body); err != nil {
		return nil, http.StatusBadRequest, err
	}
	return trim(body), http.StatusOK, nil
}

// trim takes off the white space of JSON.
func trim(b []byte) []byte {
	i := skip(b, 0)
	return b[i:valueEnd(b, i)]
}

// unreadable returns the status for a body that is not a request of its method.
func unreadable(err error) int {
	switch channel.Public(err).Code {
	case channel.CodeLimitExceeded:
		return http.StatusRequestEntityTooLarge
	case channel.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// statusOf returns the status of an error for a caller that asked for it: that
// of Centrifugo where it has one.
func statusOf(err error) int {
	switch channel.Public(err).Code {
	case channel.CodeUnknownChannel, channel.CodeMethodNotFound:
		return http.StatusNotFound
	case channel.CodeUnrecoverable:
		return http.StatusRequestedRangeNotSatisfiable
	case channel.CodeConflict:
		return http.StatusConflict
	case channel.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case channel.CodeUnavailable, channel.CodeUnknownOutcome:
		return http.StatusServiceUnavailable
	case channel.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}
