package hub

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"myelin/auth"
	"myelin/channel"
)

// PresentUser is a user in a channel.
type PresentUser struct {
	// User is the user's id; that of all anonymous clients is "".
	User string
	// Clients is how many connections the user has in it.
	Clients int
	// Info is that of one of them.
	Info *channel.ClientInfo
}

// PresenceUsers returns the users in a channel on all nodes, in the order of
// their ids, at most MaxPresence.
func (h *Hub) PresenceUsers(name string) ([]PresentUser, error) {
	members, err := h.membersOf(name, math.MaxInt)
	if err != nil {
		return nil, err
	}
	at := make(map[string]int)
	var users []PresentUser
	for _, m := range members {
		i, ok := at[m.User]
		if !ok {
			i = len(users)
			if i == MaxPresence {
				return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("more than the %d users that presence answers with; presence_stats counts them", MaxPresence))
			}
			at[m.User] = i
			users = append(users, PresentUser{User: m.User, Info: m})
		}
		users[i].Clients++
		if m.Client < users[i].Info.Client {
			users[i].Info = m // the same one whoever asks
		}
	}
	slices.SortFunc(users, func(a, b PresentUser) int { return strings.Compare(a.User, b.User) })
	return users, nil
}

// PresenceUsers is that of the hub, for who may ask for presence.
func (s *Session) PresenceUsers(name string) ([]PresentUser, error) {
	ns, err := s.hub.Namespace(name)
	if err != nil {
		return nil, err
	}
	if err := s.may(auth.VerbPresence, ns, name, false); err != nil {
		return nil, err
	}
	return s.hub.PresenceUsers(name)
}
