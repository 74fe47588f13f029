package swarm

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it, and not for secrecy
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// maxHandshake is the largest answer to an upgrade request, in bytes.
const maxHandshake = 16 << 10

// keyGUID is the constant of RFC 6455 section 1.3.
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshake is the upgrade request all members send, and the answer it expects.
type handshake struct {
	accept   string
	protocol string
	request  []byte
}

// newHandshake prepares the request for a host and a path. A subprotocol is
// asked for, and then required, when it is not empty.
func newHandshake(host, path, protocol string) handshake {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails, see crypto/rand
	key := base64.StdEncoding.EncodeToString(nonce[:])
	digest := sha1.Sum([]byte(key + keyGUID)) //nolint:gosec // RFC 6455 asks for it

	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", path, host)
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", key)
	if protocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", protocol)
	}
	b.WriteString("\r\n")
	return handshake{
		request:  []byte(b.String()),
		accept:   base64.StdEncoding.EncodeToString(digest[:]),
		protocol: protocol,
	}
}

// check reads the answer at the start of b and returns its size; 0 means that
// it is not complete yet.
func (h *handshake) check(b []byte) (size int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHandshake {
			return 0, fmt.Errorf("answer to the upgrade is larger than %d bytes", maxHandshake)
		}
		return 0, nil
	}
	status, rest, _ := strings.Cut(string(b[:end]), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return 0, fmt.Errorf("server did not upgrade to WebSocket: %q", status)
	}
	var accept, protocol string
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "sec-websocket-accept":
			accept = strings.TrimSpace(value)
		case "sec-websocket-protocol":
			protocol = strings.TrimSpace(value)
		case "sec-websocket-extensions":
			return 0, errors.New("server chose a WebSocket extension that was not offered")
		}
	}
	if accept != h.accept {
		return 0, fmt.Errorf("answer to the upgrade has Sec-WebSocket-Accept %q, want %q", accept, h.accept)
	}
	if protocol != h.protocol {
		return 0, fmt.Errorf("answer to the upgrade has subprotocol %q, want %q", protocol, h.protocol)
	}
	return end + 4, nil
}
