package jetstream

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// plain reports whether a byte stands for itself in a token of a subject.
// What NATS gives a meaning is escaped, and what is not printable ASCII.
func plain(c byte) bool {
	switch c {
	case '.', '*', '>', '%':
		return false
	}
	return c > ' ' && c < 0x7f
}

// appendToken appends s as one token of a subject. "%" alone stands for the
// empty string, which NATS has no token for.
func appendToken(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '%')
	}
	for i := range len(s) {
		if c := s[i]; plain(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// token returns s as one token of a subject.
func token(s string) string {
	for i := range len(s) {
		if !plain(s[i]) {
			return string(appendToken(make([]byte, 0, len(s)+16), s))
		}
	}
	if s == "" {
		return "%"
	}
	return s
}

// untoken is the inverse of token. It says no to what token never returns.
func untoken(t string) (string, bool) {
	if t == "%" {
		return "", true
	}
	if t == "" {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] != '%' {
			if !plain(t[i]) {
				return "", false
			}
			b.WriteByte(t[i])
			continue
		}
		if i+2 >= len(t) {
			return "", false
		}
		high, low := strings.IndexByte(upperHex, t[i+1]), strings.IndexByte(upperHex, t[i+2])
		if high < 0 || low < 0 || plain(byte(high<<4|low)) {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), true
}

// maxAssetToken is the longest part that a namespace has in the name of a
// stream, which is the name of a directory.
const maxAssetToken = 100

// assetToken returns s as a part of a stream's name: what is neither a letter
// nor a digit nor "-" is escaped, and what gets too long is a hash.
func assetToken(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	if b.Len() > maxAssetToken {
		sum := sha256.Sum256([]byte(s))
		return "%%" + hex.EncodeToString(sum[:16])
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}
