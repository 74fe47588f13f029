package auth

import (
	"crypto/sha256"
	"crypto/subtle"
)

// KeyMatch says whether the API key that came is the one configured, in time
// that tells nothing about either. An empty configured key matches nothing.
func KeyMatch(got, want string) bool {
	g, w := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1 && want != ""
}
