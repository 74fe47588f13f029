package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myelin/channel"
)

const (
	// retireStep is the pause between two looks at who leads.
	retireStep = 20 * time.Millisecond
	// retireAgain is how long a stream may take to find its new leader before
	// it is asked to once more.
	retireAgain = time.Second
	// globalAccount is whose streams are ours.
	globalAccount = "$G"
	leading       = "LEADER"
	stepDown      = "$JS.API.META.LEADER.STEPDOWN"
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
	c := e.system
	system, err := nats.Connect("", nats.InProcessServer(e), nats.UserInfo(c.user, c.password), nats.Timeout(connectTimeout), nats.NoReconnect())
	if err != nil {
		return channel.ErrUnavailable.With("the leaders on this node could not be moved").Wrap(err)
	}
	defer system.Close()
	step := time.NewTicker(retireStep)
	defer step.Stop()
	for asked := (time.Time{}); ; {
		left := e.led()
		if left == 0 || len(n.routes()) == 0 {
			return nil
		}
		if time.Since(asked) >= retireAgain {
			e.resign(ctx, system)
			asked = time.Now()
		}
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

// resign asks each group that is led from here to find another leader. Errors
// show in that it is still led from here.
func (e *embedded) resign(ctx context.Context, system *nats.Conn) {
	state, err := e.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return
	}
	for _, account := range state.AccountDetails {
		for _, stream := range account.Streams {
			if stream.Cluster != nil && stream.Cluster.Leader == e.Name() && len(stream.Cluster.Replicas) > 0 {
				_ = e.JetStreamStepdownStream(account.Name, stream.Name)
			}
		}
	}
	if e.JetStreamIsLeader() {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		_, _ = system.RequestWithContext(ctx, stepDown, nil)
	}
}
