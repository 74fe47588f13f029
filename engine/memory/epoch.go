package memory

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	"myelin/channel"
)

// epochLen is the length of an epoch's name: 8 characters of base 62, about
// 48 bits, so that two epochs of one channel practically never share a name.
const epochLen = 8

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// secret is what the epochs of an engine are derived from, so that those of
// another one differ and nobody can foretell them.
type secret [32]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // which never fails
	return s
}

// seasons count what was forgotten of the channels of one shard. A channel's
// epoch follows from the season it comes to be in, so a channel without
// publications need not be remembered; and one that had some is forgotten with
// a new season, so that its epoch never comes back with other content.
// Channels that are kept for a subscriber only have seasons of their own, as
// what nobody heard on them must not change the epochs of the others.
type seasons struct {
	kept, fleeting atomic.Uint64
}

func (s *seasons) of(p *channel.Policy) *atomic.Uint64 {
	if fleeting(p) {
		return &s.fleeting
	}
	return &s.kept
}

// title returns the epoch of a channel in a season, followed by its name.
func (s *secret) title(name string, p *channel.Policy, season uint64) string {
	b := append(make([]byte, 0, len(s)+9+channel.MaxNameBytes), s[:]...)
	b = binary.BigEndian.AppendUint64(b, season)
	if fleeting(p) {
		b = append(b, 'f')
	} else {
		b = append(b, 'k')
	}
	sum := sha256.Sum256(append(b, name...))
	n := binary.BigEndian.Uint64(sum[:])
	b = b[:0]
	for range epochLen {
		b = append(b, base62[n%62])
		n /= 62
	}
	return string(append(b, name...))
}

// epoch returns the epoch of a channel in a season.
func (s *secret) epoch(name string, p *channel.Policy, season uint64) string {
	return s.title(name, p, season)[:epochLen]
}
