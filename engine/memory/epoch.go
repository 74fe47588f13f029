package memory

import "math/rand/v2"

// epochLen is the length of an epoch's name: 8 characters of base 62, about
// 48 bits, so that two epochs of one channel practically never share a name.
const epochLen = 8

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// appendEpoch appends a fresh epoch's name to b.
func appendEpoch(b []byte) []byte {
	n := rand.Uint64()
	for range epochLen {
		b = append(b, base62[n%62])
		n /= 62
	}
	return b
}

// newEpoch returns a fresh epoch's name.
func newEpoch() string {
	return string(appendEpoch(make([]byte, 0, epochLen)))
}
