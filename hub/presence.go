package hub

import (
	"fmt"
	"math"

	"myelin/channel"
)

// PresenceStats counts the members of a channel.
type PresenceStats struct {
	Clients int
	Users   int
}

// announce makes a subscription that goes live a member of its channel, unless
// it has left before.
func (t *topic) announce(sb *sub) {
	if sb.info == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if sb.joined {
		return
	}
	sb.joined = true
	if sb.present {
		if t.mu.members == nil {
			t.mu.members = make(map[string]*channel.ClientInfo)
		}
		t.mu.members[sb.info.Client] = sb.info
		t.hub.presence.changed(t.name)
	}
	if t.hub.cluster != nil {
		t.hub.cluster.joined(t, sb)
	}
	t.tellLocked(true, sb)
}

// departLocked undoes announce, or keeps a late one from being done.
func (t *topic) departLocked(sb *sub) {
	if !sb.joined {
		sb.joined = true
		return
	}
	delete(t.mu.members, sb.infoClient())
	t.hub.presence.changed(t.name)
	if t.hub.cluster != nil {
		t.hub.cluster.left(sb)
	}
	t.tellLocked(false, sb)
}

func (sb *sub) infoClient() string {
	if sb.info == nil {
		return ""
	}
	return sb.info.Client
}

func (t *topic) tellLocked(joined bool, sb *sub) {
	if !sb.announced {
		return
	}
	if joined {
		t.ns.metrics.Joins.Inc()
	} else {
		t.ns.metrics.Leaves.Inc()
	}
	t.movedLocked(joined, false, sb.info)
}

// presenceOf returns the namespace of a channel whose members are kept.
func (h *Hub) presenceOf(name string) error {
	ns, err := h.Namespace(name)
	if err != nil {
		return err
	}
	if !ns.Presence {
		return channel.ErrNotAvailable.With("presence is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	return nil
}

// membersOf returns the members of a channel on all nodes, at most most of them.
func (h *Hub) membersOf(name string, most int) ([]*channel.ClientInfo, error) {
	if err := h.presenceOf(name); err != nil {
		return nil, err
	}
	var members []*channel.ClientInfo
	if h.cluster != nil {
		if err := h.cluster.complete(); err != nil {
			return nil, err
		}
		members = h.cluster.roster.Members(name, most)
	}
	t := h.topics.get(name)
	if t == nil {
		return members, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range t.mu.members {
		if len(members) == most {
			break
		}
		members = append(members, i)
	}
	return members, nil
}

// Presence returns the members of a channel on all nodes, at most MaxPresence.
func (h *Hub) Presence(name string) ([]*channel.ClientInfo, error) {
	members, err := h.membersOf(name, MaxPresence+1)
	if err != nil {
		return nil, err
	}
	if len(members) > MaxPresence {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("more than the %d members that presence answers with; presence_stats counts them", MaxPresence))
	}
	return members, nil
}

// PresenceStats returns how many connections and users are in a channel, on all
// nodes.
func (h *Hub) PresenceStats(name string) (PresenceStats, error) {
	members, err := h.membersOf(name, math.MaxInt)
	if err != nil {
		return PresenceStats{}, err
	}
	users := make(map[string]struct{}, len(members))
	for _, i := range members {
		users[i.User] = struct{}{}
	}
	return PresenceStats{Clients: len(members), Users: len(users)}, nil
}
