package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myelin/channel"
)

const (
	// retireStep is the pause between two looks at who leads.
	retireStep = 20 * time.Millisecond
	// retireAgain is how long a group may take to find its new leader before it
	// is asked to once more.
	retireAgain = time.Second
	// catchUpTime is how long a group may take to have somebody who is up to
	// date. After that one who is not has to do: it costs an election.
	catchUpTime = 3 * time.Second
	// globalAccount is whose streams are ours.
	globalAccount = "$G"
	leading       = "LEADER"
	// stepDownMeta and stepDownStream are what a leader is asked by.
	stepDownMeta   = "$JS.API.META.LEADER.STEPDOWN"
	stepDownStream = "$JS.API.STREAM.LEADER.STEPDOWN."
)

// Retire hands over everything that this node leads to the others, so that a
// planned stop costs publishers a moment instead of an election. It is for just
// before Close. Without others that could take over there is nothing to do. An
// error says that something is still led from here when ctx ends; stopping is
// then as safe as ever, and others pause for an election.
func (n *Network) Retire(ctx context.Context) error {
	e := n.embedded
	if e == nil || !n.options.Storage || !n.options.clustered() || len(n.routes()) == 0 {
		return nil
	}
	system, err := e.connectSystem()
	if err != nil {
		return channel.ErrUnavailable.With("the leaders on this node could not be moved").Wrap(err)
	}
	defer system.Close()
	r := &retirement{n: n, system: system, begun: time.Now(), asked: make(map[string]time.Time)}
	step := time.NewTicker(retireStep)
	defer step.Stop()
	for {
		left := e.led()
		if left == 0 || len(n.routes()) == 0 {
			return nil
		}
		r.resign(ctx)
		select {
		case <-ctx.Done():
			return channel.ErrUnavailable.With(fmt.Sprintf("%d groups of this node have no other leader yet", left)).Wrap(ctx.Err())
		case <-step.C:
		}
	}
}

// led counts the groups of several nodes that are led from here, or that have
// no leader at all after they were.
func (e *embedded) led() int {
	count := 0
	for _, account := range []string{globalAccount, systemAccount} {
		groups := e.Raftz(&server.RaftzOptions{AccountFilter: account})
		if groups == nil {
			continue
		}
		for _, group := range (*groups)[account] {
			if group.Size > 1 && (group.State == leading || group.Leader == "") {
				count++
			}
		}
	}
	return count
}

// retirement is a Retire on its way.
type retirement struct {
	n      *Network
	system *nats.Conn
	begun  time.Time
	// asked is when each group was last asked, by the subject of the question.
	asked map[string]time.Time
}

// resign asks each group that is led from here to follow another node. What
// goes wrong shows in that it is still led from here.
func (r *retirement) resign(ctx context.Context) {
	e := r.n.embedded
	state, err := e.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return
	}
	for _, account := range state.AccountDetails {
		for _, stream := range account.Streams {
			if c := stream.Cluster; c != nil && c.Leader == e.Name() {
				r.ask(ctx, r.n.conn, stepDownStream+stream.Name, c.Replicas)
			}
		}
	}
	if state.Meta != nil && e.JetStreamIsLeader() {
		r.ask(ctx, r.system, stepDownMeta, state.Meta.Replicas)
	}
}

// ask asks one group, where somebody is there who can lead it.
func (r *retirement) ask(ctx context.Context, conn *nats.Conn, subject string, replicas []*server.PeerInfo) {
	heir := heirOf(replicas, time.Since(r.begun) < catchUpTime)
	if heir == "" || time.Since(r.asked[subject]) < retireAgain {
		return
	}
	r.asked[subject] = time.Now()
	question, err := json.Marshal(server.JSApiLeaderStepdownRequest{Placement: &server.Placement{Preferred: heir}})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, _ = conn.RequestWithContext(ctx, subject, question)
}

// heirOf returns the replica that is furthest; left alone the server takes any,
// also one that has just been restarted and cannot lead. Strict wants one that
// is up to date. It is empty where there is none.
func heirOf(replicas []*server.PeerInfo, strict bool) string {
	var best *server.PeerInfo
	for _, p := range replicas {
		switch {
		case p.Offline || p.Pending || strict && !p.Current:
		case best == nil, p.Current && !best.Current, p.Current == best.Current && p.Lag < best.Lag:
			best = p
		}
	}
	if best == nil {
		return ""
	}
	return best.Name
}
