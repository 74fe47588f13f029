package socket

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so; it protects nothing
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// version is the one version of the protocol there is.
const version = "13"

// acceptGUID is what the key of a handshake is hashed with.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Refusal is why a request does not become a socket: an HTTP status, and what
// would be right. The header fields that go with it have been set.
type Refusal struct {
	Status int
	Reason string
}

// Error says what would be right.
func (e *Refusal) Error() string { return e.Reason }

func refused(reason string) error { return &Refusal{http.StatusBadRequest, reason} }

// noUpgrade refuses a request that does not ask for the one version there is.
func noUpgrade(w http.ResponseWriter) error {
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Connection", "Upgrade")
	return &Refusal{http.StatusUpgradeRequired, "this endpoint wants a request to upgrade to websocket"}
}

// checkHandshake returns what is wrong with an opening handshake over HTTP/1.1
// (RFC 6455 section 4.2.1).
func checkHandshake(w http.ResponseWriter, r *http.Request) error {
	h := r.Header
	switch key, err := base64.StdEncoding.DecodeString(h.Get("Sec-WebSocket-Key")); {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		return &Refusal{http.StatusMethodNotAllowed, "method not allowed: use " + http.MethodGet}
	case !r.ProtoAtLeast(1, 1):
		return refused("a WebSocket is opened over HTTP/1.1 or newer")
	case !hasToken(h, "Upgrade", "websocket"):
		return noUpgrade(w)
	case !hasToken(h, "Connection", "upgrade"):
		return refused(`the header "Connection" must have "Upgrade" in it; is there a proxy that takes it away?`)
	case r.ContentLength != 0:
		// What follows the header are frames; a body would be taken for some.
		return refused("a request to upgrade has no body")
	case len(h.Values("Sec-WebSocket-Key")) != 1 || err != nil || len(key) != 16:
		return refused(`the header "Sec-WebSocket-Key" must be there once, 16 bytes in base64`)
	}
	return checkVersion(w, r)
}

// checkVersion wants the version of RFC 6455 and tells the client so.
func checkVersion(w http.ResponseWriter, r *http.Request) error {
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != version {
		w.Header().Set("Sec-WebSocket-Version", version)
		return noUpgrade(w)
	}
	return nil
}

// hasToken reports whether a header that is a list has a token in it, whatever
// its case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// upgrade takes the connection over and agrees to the handshake. It returns
// the bytes that came right behind the request.
func upgrade(w http.ResponseWriter, r *http.Request, subprotocol string) (net.Conn, []byte, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	_ = raw.SetDeadline(time.Time{})
	_ = raw.SetWriteDeadline(time.Now().Add(lingerTimeout))
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + acceptGUID)) //nolint:gosec // see the import
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if subprotocol != "" {
		answer += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	if _, err := raw.Write([]byte(answer + "\r\n")); err != nil {
		_ = raw.Close()
		return nil, nil, ErrGone
	}
	_ = raw.SetWriteDeadline(time.Time{})
	return raw, takeOut(buffered.Reader), nil
}

// takeOut returns what a buffer holds, so that the buffer can be let go.
func takeOut(b *bufio.Reader) []byte {
	held, _ := b.Peek(b.Buffered())
	return append([]byte(nil), held...)
}
