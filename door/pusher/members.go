package pusher

import (
	"encoding/json"

	"myelin/channel"
	"myelin/hub"
)

// members is who is in a presence channel, as one connection has been told: by
// the answer to its subscription and by events, which may overlap. Nobody hears
// of himself that way either.
type members map[string]struct{}

// newMembers returns those who are there.
func newMembers(there []hub.PresentUser) members {
	m := make(members, len(there))
	for i := range there {
		m[there[i].User] = struct{}{}
	}
	return m
}

// join notes a user and reports whether that is news. Of more than most it is
// told without a note.
func (m members) join(user string, most int) bool {
	// There is no note of a channel that the client has just left.
	if _, known := m[user]; known || user == "" || m == nil {
		return false
	}
	if len(m) < most {
		m[user] = struct{}{}
	}
	return true
}

// leave forgets a user and reports whether that is news.
func (m members) leave(user string) bool {
	_, known := m[user]
	delete(m, user)
	return known
}

// infoOf returns what a member shows of himself.
func infoOf(i *channel.ClientInfo) json.RawMessage {
	for _, b := range [][]byte{i.ChanInfo, i.ConnInfo} {
		if json.Valid(b) {
			return b
		}
	}
	return json.RawMessage("null")
}

// presence is what a new subscriber is told of those who are there.
type presence struct {
	Presence struct {
		IDs   []string                   `json:"ids"`
		Hash  map[string]json.RawMessage `json:"hash"`
		Count int                        `json:"count"`
	} `json:"presence"`
}

func newPresence(there []hub.PresentUser) *presence {
	p := new(presence)
	p.Presence.IDs, p.Presence.Hash = []string{}, make(map[string]json.RawMessage, len(there))
	for _, u := range there {
		// Anonymous clients of other doors are members of no name.
		if _, ok := p.Presence.Hash[u.User]; !ok && u.User != "" {
			p.Presence.IDs = append(p.Presence.IDs, u.User)
			p.Presence.Hash[u.User] = infoOf(u.Info)
		}
	}
	p.Presence.Count = len(p.Presence.IDs)
	return p
}
