package hub

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"

	"myelin/auth"
	"myelin/channel"
	"myelin/observe"
	"myelin/roster"
)

// counts is how many connections users and tokens have that may have so many
// only. Nodes know each other's the way they know the members of channels: a
// user is a channel in a namespace that is none.
type counts struct {
	mu struct {
		sync.Mutex
		here map[string]int
	}
}

// seat is a connection that is counted.
type seat struct {
	name  string
	entry roster.Place
}

func (c *counts) init() { c.mu.here = make(map[string]int) }

// What is counted. A user and a token may be called the same.
const (
	seatUser  = 'u'
	seatToken = 't'
)

// seatName returns the name under which connections are counted. It is hashed,
// because a user may be called what a channel may not.
func seatName(kind byte, name string) string {
	sum := sha256.Sum256(append([]byte{kind}, name...))
	return "$connections:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// sit counts a session's connection in, or refuses it.
func (q *quotas) sit(s *Session, id *auth.Identity) ([]seat, error) {
	var seats []seat
	take := func(name string, most int, say string) error {
		entry, err := q.sitAt(s, name, most, say)
		if err == nil {
			seats = append(seats, seat{name, entry})
		}
		return err
	}
	var err error
	user := q.hub.opts.Limits.PerUser.Connections
	if id.Limits != nil && id.Limits.Connections > 0 {
		switch {
		case id.TokenID != "":
			err = take(seatName(seatToken, id.TokenID), id.Limits.Connections, "your token allows %d")
		case id.User != "" && (user == 0 || id.Limits.Connections < user):
			user = id.Limits.Connections
		}
	}
	if err == nil && id.User != "" && user > 0 {
		err = take(seatName(seatUser, id.User), user, "a user may have %d")
	}
	if err != nil {
		q.stand(seats)
		return nil, err
	}
	return seats, nil
}

// sitAt counts one more under a name, unless most are there on all nodes.
func (q *quotas) sitAt(s *Session, name string, most int, say string) (roster.Place, error) {
	cluster := q.hub.cluster
	away := 0
	if cluster != nil {
		away = len(cluster.roster.Members(name, most))
	}
	q.counts.mu.Lock()
	defer q.counts.mu.Unlock()
	if q.counts.mu.here[name]+away >= most {
		q.hub.opts.Metrics.Limit(observe.LimitUserConnections).Inc()
		return 0, Disconnect{
			Code:   DisconnectConnectionLimit.Code,
			Reason: fmt.Sprintf("%s: "+say, DisconnectConnectionLimit.Reason, most),
		}
	}
	q.counts.mu.here[name]++
	if cluster == nil {
		return 0, nil
	}
	return cluster.journal.Join(roster.Member{Channel: name, Info: &channel.ClientInfo{Client: s.id}, Present: true}), nil
}

// stand counts connections out.
func (q *quotas) stand(seats []seat) {
	if len(seats) == 0 {
		return
	}
	q.counts.mu.Lock()
	defer q.counts.mu.Unlock()
	for _, st := range seats {
		if q.counts.mu.here[st.name]--; q.counts.mu.here[st.name] == 0 {
			delete(q.counts.mu.here, st.name)
		}
		if q.hub.cluster != nil {
			q.hub.cluster.journal.Leave(st.entry)
		}
	}
}
