package consumer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"myelin/channel"
)

// An ack token comes with each delivery. Who has it may acknowledge that
// publication for that consumer and can do nothing else: it is base64url of 16
// bytes of an HMAC-SHA256 over the rest, then the offset as a varint, the epoch
// behind its length, and "NAME~CHANNEL".
const (
	macBytes = 16
	maxToken = 1024
)

// ticket is what an ack token says.
type ticket struct {
	full   string
	epoch  string
	offset uint64
}

func sign(secret []byte, t ticket) string {
	body := make([]byte, macBytes, macBytes+16+len(t.epoch)+len(t.full))
	body = binary.AppendUvarint(body, t.offset)
	body = append(body, byte(len(t.epoch)))
	body = append(body, t.epoch...)
	body = append(body, strings.TrimPrefix(t.full, Namespace+":")...)
	copy(body, mac(secret, body[macBytes:]))
	return base64.RawURLEncoding.EncodeToString(body)
}

func mac(secret, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(body)
	return h.Sum(nil)[:macBytes]
}

var errToken = channel.ErrBadRequest.With("this is no ack token of a delivery; hand back what came in the tag " + TagAck)

// verify reads a token that was signed with secret.
func verify(secret []byte, token string) (ticket, error) {
	if len(token) > maxToken {
		return ticket{}, errToken
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < macBytes+2 || !hmac.Equal(b[:macBytes], mac(secret, b[macBytes:])) {
		return ticket{}, errToken
	}
	// What follows has been signed, so it is whole.
	b = b[macBytes:]
	offset, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+1 || len(b) < n+1+int(b[n]) {
		return ticket{}, errToken
	}
	epoch, name := b[n+1:n+1+int(b[n])], b[n+1+int(b[n]):]
	return ticket{full: Namespace + ":" + string(name), epoch: string(epoch), offset: offset}, nil
}
