package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// epochLen is the length of an epoch's name: 8 characters of base 62, about
// 48 bits, so that two epochs of one channel practically never share a name.
const epochLen = 8

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func epochOf(n uint64) string {
	var b [epochLen]byte
	for i := range b {
		b[i] = base62[n%62]
		n /= 62
	}
	return string(b[:])
}

// newEpoch returns a fresh epoch's name.
func newEpoch() string { return epochOf(rand.Uint64()) }

// derivedEpoch returns the epoch that follows from its parts, always the
// same. A channel of which nothing is on disk has such a one, so that it need
// not be written down before there is something to lose.
func derivedEpoch(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		_, _ = h.Write(p)
	}
	return epochOf(binary.BigEndian.Uint64(h.Sum(nil)))
}
