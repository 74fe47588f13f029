package hub

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"myelin/channel"
)

// ownID returns the id by which the engine knows a publication of this session's
// user. Ids of different users, and those of the server, are never the same:
// otherwise whoever may publish and guesses an id could use it up, and the
// publication that it was meant for would be taken for a second one.
func (s *Session) ownID(id string) (string, error) {
	if id == "" {
		return "", nil
	}
	if len(id) > channel.MaxIDBytes {
		return "", channel.ErrTooLarge.With(fmt.Sprintf("the message id has %d bytes, at most %d are allowed", len(id), channel.MaxIDBytes))
	}
	user := s.Identity().User
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", len(user), user, id))
	return "user " + base64.RawURLEncoding.EncodeToString(sum[:24]), nil
}
