package conversation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

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

// ResumePoint follows the positions of one session. Two goroutines move it: the
// one that connects the session, and the shard that writes to it, which has
// word from the server's side as soon as the session is known by its user.
type ResumePoint struct {
	mu struct {
		sync.Mutex
		index   map[string]int
		entries []resumeEntry
		cached  string
	}
}

type resumeEntry struct {
	hash nameHash
	pos  channel.Position
}

// NewResumePoint returns one that knows of no channel.
func NewResumePoint() *ResumePoint {
	r := new(ResumePoint)
	r.mu.index = make(map[string]int)
	return r
}

// Move notes that the client will have seen pos.
func (r *ResumePoint) Move(name string, pos channel.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cached = ""
	if i, ok := r.mu.index[name]; ok {
		r.mu.entries[i].pos = pos
		return
	}
	r.mu.index[name] = len(r.mu.entries)
	r.mu.entries = append(r.mu.entries, resumeEntry{hashName(name), pos})
}

// Drop forgets a channel.
func (r *ResumePoint) Drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.mu.index[name]
	if !ok {
		return
	}
	r.mu.cached = ""
	delete(r.mu.index, name)
	r.mu.entries = slices.Delete(r.mu.entries, i, i+1)
	for n, j := range r.mu.index {
		if j > i {
			r.mu.index[n] = j - 1
		}
	}
}

// Token returns the resume token, empty where there is nothing to resume.
func (r *ResumePoint) Token() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.entries) == 0 {
		return ""
	}
	if r.mu.cached == "" {
		b := []byte{resumeVersion}
		for _, e := range r.mu.entries {
			b = append(b, e.hash[:]...)
			b = append(b, byte(len(e.pos.Epoch)))
			b = append(b, e.pos.Epoch...)
			b = binary.AppendUvarint(b, e.pos.Offset)
		}
		r.mu.cached = base64.RawURLEncoding.EncodeToString(b)
	}
	return r.mu.cached
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

// Positions is what a resume token holds.
type Positions struct{ known map[nameHash]channel.Position }

// ParseResume reads a resume token.
func ParseResume(token string) (Positions, error) {
	known, err := parseResume(token)
	return Positions{known}, err
}

// At returns where the client stands in a channel, if the token says so.
func (p Positions) At(name string) (channel.Position, bool) {
	at, ok := p.known[hashName(name)]
	return at, ok
}
