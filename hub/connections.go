package hub

import (
	"cmp"
	"context"
	"slices"

	"myelin/channel"
)

// The topics of what operators ask of all nodes.
const (
	topicConnections = "hub.connections"
	topicLimits      = "hub.limits"
)

const (
	// MaxConnectionsListed is how many connections one answer shows.
	MaxConnectionsListed = 500
	// connectionsChunk is how many sessions a shard looks at in one go.
	connectionsChunk = 512
	// maxChannelsShown is how many channels of a connection are named.
	maxChannelsShown = 20
)

// Connection is a session as operators see it. Times are in Unix milliseconds.
type Connection struct {
	Client string `json:"client"`
	User   string `json:"user,omitempty"`
	Node   string `json:"node"`
	Since  int64  `json:"since"`
	// Subscriptions is how many it has, Channels the first of them.
	Subscriptions int      `json:"subscriptions"`
	Channels      []string `json:"channels,omitempty"`
	// Queued is how many bytes wait for it, Lanes how many in each lane, and
	// BlockedAt since when the connection takes nothing.
	Queued    int            `json:"queued"`
	Lanes     map[string]int `json:"lanes,omitempty"`
	BlockedAt int64          `json:"blocked_at,omitempty"`
}

// ConnectionList is an answer: those with the largest backlog first.
type ConnectionList struct {
	Connections []Connection `json:"connections"`
	// Total is how many there are in all.
	Total int `json:"total"`
}

// connectionsAsked asks a node for its part.
type connectionsAsked struct {
	User string `json:"user"`
	Most int    `json:"most"`
}

// ListConnections returns connections of all nodes, those of one user where
// that is not empty, at most most of them. A node that does not answer makes
// it ErrUnavailable.
func (h *Hub) ListConnections(ctx context.Context, user string, most int) (*ConnectionList, error) {
	most = min(most, MaxConnectionsListed)
	q := connectionsAsked{user, most}
	out := h.connectionsHere(q)
	for _, a := range h.Survey(ctx, topicConnections, encode(q)) {
		var more ConnectionList
		if a.Err == nil {
			a.Err = decode(a.Data, &more)
		}
		if a.Err != nil {
			return nil, a.silent("")
		}
		out.Connections = append(out.Connections, more.Connections...)
		out.Total += more.Total
	}
	out.cut(most)
	return out, nil
}

func (l *ConnectionList) cut(most int) {
	slices.SortFunc(l.Connections, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(b.Queued, a.Queued), cmp.Compare(b.Since, a.Since), cmp.Compare(a.Client, b.Client))
	})
	l.Connections = l.Connections[:min(len(l.Connections), most)]
}

func (h *Hub) connectionsHere(q connectionsAsked) *ConnectionList {
	out := &ConnectionList{Connections: []Connection{}}
	byShard := make([][]*Session, len(h.shards))
	sessions := h.clients.of(q.User, "")
	if q.User == "" {
		sessions = h.clients.all()
	}
	for _, s := range sessions {
		byShard[s.shard.number] = append(byShard[s.shard.number], s)
		out.Total++
	}
	for i, sessions := range byShard {
		for chunk := range slices.Chunk(sessions, connectionsChunk) {
			h.shards[i].ask(func() {
				for _, s := range chunk {
					out.Connections = append(out.Connections, s.connection())
				}
			})
			// What is not shown need not be kept while the others are looked at.
			out.cut(q.Most)
		}
	}
	for i := range out.Connections {
		c := &out.Connections[i]
		for _, s := range h.clients.of("", c.Client) {
			if id := s.Identity(); id != nil {
				c.User = id.User
			}
			names := s.Subscriptions()
			c.Subscriptions, c.Channels = len(names), names[:min(len(names), maxChannelsShown)]
		}
	}
	return out
}

// connection reads what the shard knows.
func (s *Session) connection() Connection {
	c := Connection{
		Client: s.id, Node: s.hub.opts.Node, Since: s.clock.opened.UnixMilli(),
		Queued: s.out.late.size(), Lanes: s.out.late.byLane(),
	}
	if s.out.blocked {
		c.BlockedAt = s.out.blockedAt
	}
	return c
}

// byLane returns how many bytes wait in each lane that has some.
func (l *backlog) byLane() map[string]int {
	if l == nil {
		return nil
	}
	out := make(map[string]int)
	for i, name := range [...]string{laneControl: "control", laneAlarm: "alarm", laneOrdinary: "ordinary", laneBulk: "bulk"} {
		if n := l.lanes[i].bytes; n > 0 {
			out[name] = n
		}
	}
	return out
}

func (c *cluster) answerConnections(b []byte) ([]byte, error) {
	var q connectionsAsked
	if err := decode(b, &q); err != nil {
		return nil, err
	}
	q.Most = min(q.Most, MaxConnectionsListed)
	out := c.hub.connectionsHere(q)
	if b := encode(out); len(b) <= channel.MaxBusMessage {
		return b, nil
	}
	for i := range out.Connections {
		out.Connections[i].Channels = nil
	}
	return encode(out), nil
}

// LimitsHit is how often a node has refused or given up something because of a
// limit, by the name of the limit, since it started.
type LimitsHit struct {
	Node   string           `json:"node"`
	Limits map[string]int64 `json:"limits"`
	Silent bool             `json:"silent,omitempty"`
}

// LimitsHit asks all nodes, this one first.
func (h *Hub) LimitsHit(ctx context.Context) []LimitsHit {
	out := []LimitsHit{{Node: h.opts.Node, Limits: h.opts.Metrics.Limits()}}
	for _, a := range h.Survey(ctx, topicLimits, encode(struct{}{})) {
		n := LimitsHit{}
		if a.Err != nil || decode(a.Data, &n) != nil {
			n = LimitsHit{Limits: map[string]int64{}, Silent: true}
		}
		n.Node = a.Node.ID
		out = append(out, n)
	}
	return out
}
