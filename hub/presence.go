package hub

import (
	"fmt"
	"maps"
	"slices"

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
	}
	t.tellLocked(EventJoin, sb)
}

// departLocked undoes announce, or keeps a late one from being done.
func (t *topic) departLocked(sb *sub) {
	if !sb.joined {
		sb.joined = true
		return
	}
	delete(t.mu.members, sb.infoClient())
	t.tellLocked(EventLeave, sb)
}

func (sb *sub) infoClient() string {
	if sb.info == nil {
		return ""
	}
	return sb.info.Client
}

func (t *topic) tellLocked(kind EventKind, sb *sub) {
	if !sb.announced {
		return
	}
	if kind == EventJoin {
		t.ns.metrics.Joins.Inc()
	} else {
		t.ns.metrics.Leaves.Inc()
	}
	if t.mu.watchers == 0 {
		return
	}
	t.sendLocked(message{kind: msgDeliver, delivery: &delivery{event: Event{Kind: kind, Channel: t.name, Info: sb.info}}})
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

// Presence returns the members of a channel, at most MaxPresence.
func (h *Hub) Presence(name string) ([]*channel.ClientInfo, error) {
	if err := h.presenceOf(name); err != nil {
		return nil, err
	}
	t := h.topics.get(name)
	if t == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.mu.members); n > MaxPresence {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("%d members, presence answers at most %d; presence_stats counts them", n, MaxPresence))
	}
	return slices.Collect(maps.Values(t.mu.members)), nil
}

// PresenceStats returns how many connections and users are in a channel.
func (h *Hub) PresenceStats(name string) (PresenceStats, error) {
	if err := h.presenceOf(name); err != nil {
		return PresenceStats{}, err
	}
	t := h.topics.get(name)
	if t == nil {
		return PresenceStats{}, nil
	}
	t.mu.Lock()
	members := slices.Collect(maps.Values(t.mu.members))
	t.mu.Unlock()
	users := make(map[string]struct{}, len(members))
	for _, i := range members {
		users[i.User] = struct{}{}
	}
	return PresenceStats{Clients: len(members), Users: len(users)}, nil
}
