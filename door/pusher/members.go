package pusher

import (
	"encoding/json"

	"myelin/channel"
)

// members is who is in a presence channel, as one connection has been told.
type members struct {
	clients map[string]string // whose a connection is
	users   map[string]int    // how many connections a user has
}

// userOf returns the id under which Pusher knows a member.
func userOf(i *channel.ClientInfo) string {
	if i.User == "" {
		return i.Client
	}
	return i.User
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

// newMembers returns those who are there.
func newMembers(there []*channel.ClientInfo) *members {
	m := &members{clients: make(map[string]string, len(there)), users: make(map[string]int, len(there))}
	for _, i := range there {
		m.join(i, len(there))
	}
	return m
}

// join notes a connection and reports whether it is the first of its user. No
// more than most are noted.
func (m *members) join(i *channel.ClientInfo, most int) bool {
	if _, ok := m.clients[i.Client]; ok {
		return false
	}
	user := userOf(i)
	if len(m.clients) < most {
		m.clients[i.Client] = user
		m.users[user]++
		return m.users[user] == 1
	}
	return m.users[user] == 0
}

// leave forgets a connection and reports whether it was the last of its user.
func (m *members) leave(client string) (user string, last bool) {
	user, ok := m.clients[client]
	if !ok {
		return "", false
	}
	delete(m.clients, client)
	if m.users[user]--; m.users[user] > 0 {
		return user, false
	}
	delete(m.users, user)
	return user, true
}

// presence is what a new subscriber is told of those who are there.
type presence struct {
	Presence struct {
		IDs   []string                   `json:"ids"`
		Hash  map[string]json.RawMessage `json:"hash"`
		Count int                        `json:"count"`
	} `json:"presence"`
}

func newPresence(there []*channel.ClientInfo) *presence {
	p := new(presence)
	p.Presence.IDs, p.Presence.Hash = []string{}, make(map[string]json.RawMessage, len(there))
	for _, i := range there {
		user := userOf(i)
		if _, ok := p.Presence.Hash[user]; !ok {
			p.Presence.IDs = append(p.Presence.IDs, user)
			p.Presence.Hash[user] = infoOf(i)
		}
	}
	p.Presence.Count = len(p.Presence.IDs)
	return p
}
