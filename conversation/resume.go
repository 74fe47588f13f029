package conversation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"myelin/channel"
)

// A resume token is where a one-way client stands in every channel it listens
// to: base64url of a version byte and, for each channel, 6 bytes of the
// SHA-256 of its name, the epoch behind its length, and the offset as a
// varint. It is an id for EventSource and nothing to read.
const (
	resumeVersion = 1
	nameHashBytes = 6
	// maxResumeToken bounds what is decoded: room for 1,024 channels.
	maxResumeToken = 32 << 10
)

type nameHash [nameHashBytes]byte

func hashName(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:nameHashBytes])
}

// resumePoint follows the positions of one session.
type resumePoint struct {
	index   map[string]int
	entries []resumeEntry
	cached  string
}

type resumeEntry struct {
	hash nameHash
	pos  channel.Position
}

func newResumePoint() *resumePoint { return &resumePoint{index: make(map[string]int)} }

// move notes that the client will have seen pos.
func (r *resumePoint) move(name string, pos channel.Position) {
	r.cached = ""
	if i, ok := r.index[name]; ok {
		r.entries[i].pos = pos
		return
	}
	r.index[name] = len(r.entries)
	r.entries = append(r.entries, resumeEntry{hashName(name), pos})
}

// drop forgets a channel.
func (r *resumePoint) drop(name string) {
	i, ok := r.index[name]
	if !ok {
		return
	}
	r.cached = ""
	delete(r.index, name)
	r.entries = append(r.entries[:i], r.entries[i+1:]...)
	for n, j := range r.index {
		if j > i {
			r.index[n] = j - 1
		}
	}
}

func (r *resumePoint) token() string {
	if len(r.entries) == 0 {
		return ""
	}
	if r.cached == "" {
		b := []byte{resumeVersion}
		for _, e := range r.entries {
			b = append(b, e.hash[:]...)
			b = append(b, byte(len(e.pos.Epoch)))
			b = append(b, e.pos.Epoch...)
			b = binary.AppendUvarint(b, e.pos.Offset)
		}
		r.cached = base64.RawURLEncoding.EncodeToString(b)
	}
	return r.cached
}

var errResumeToken = errors.New("not a resume token")

// parseResume reads a resume token.
func parseResume(token string) (map[nameHash]channel.Position, error) {
	if len(token) > maxResumeToken {
		return nil, errResumeToken
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 || b[0] != resumeVersion {
		return nil, errResumeToken
	}
	out := make(map[nameHash]channel.Position)
	for b = b[1:]; len(b) > 0; {
		if len(b) < nameHashBytes+1 {
			return nil, errResumeToken
		}
		hash := nameHash(b[:nameHashBytes])
		size := int(b[nameHashBytes])
		b = b[nameHashBytes+1:]
		if len(b) < size {
			return nil, errResumeToken
		}
		pos := channel.Position{Epoch: string(b[:size])}
		offset, n := binary.Uvarint(b[size:])
		if n <= 0 || offset > channel.MaxOffset {
			return nil, errResumeToken
		}
		pos.Offset = offset
		out[hash] = pos
		b = b[size+n:]
	}
	return out, nil
}
