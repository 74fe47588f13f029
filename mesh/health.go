package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

const (
	// examineEvery is how old what Healthy says may be.
	examineEvery = 2 * time.Second
	// answerTimeout is how long the storage may take to answer.
	answerTimeout = 2 * time.Second
	// agreeTime is how long after the start the groups of streams that do not
	// come to an agreement count.
	agreeTime = time.Minute
	// readyStep is the pause between two attempts of Ready.
	readyStep = 100 * time.Millisecond
	// progressEvery is how often Ready says what it waits for.
	progressEvery = 5 * time.Second
	// hopelessAfter is how long most peers have to refuse a node before Ready
	// gives up. A dead process of the same node is forgotten sooner.
	hopelessAfter = 10 * time.Second
)

// condition is an error in a place where nil is a value too.
type condition struct{ err error }

var errStarting = channel.ErrUnavailable.With("the network is starting")

// Healthy returns nil while this node can keep and find data, else why not. It
// does not wait: what it says is at most a few seconds old.
func (n *Network) Healthy() error {
	if n.closed.Load() {
		return channel.ErrUnavailable.With("the network is closed")
	}
	if err := n.Damage(); err != nil {
		return err
	}
	n.mu.Lock()
	bus := n.mu.bus
	n.mu.Unlock()
	if bus != nil {
		if err := bus.Err(); err != nil {
			return err
		}
	}
	return n.watch.health.Load().err
}

// examine keeps what Healthy says fresh.
func (w *watch) examine(ctx context.Context) {
	tick := time.NewTicker(examineEvery)
	defer tick.Stop()
	for {
		err := w.n.diagnose(ctx)
		if ctx.Err() != nil {
			return
		}
		w.health.Store(&condition{err})
		w.n.countMembers()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// diagnose finds out what is wrong now.
func (n *Network) diagnose(ctx context.Context) error {
	if err := n.diskFailure(); err != nil {
		return err
	}
	if n.embedded != nil && n.options.Storage {
		return n.diagnoseStorage()
	}
	return n.askStorage(ctx)
}

// diagnoseStorage asks the embedded server about what it keeps. Streams that
// are behind count until all of them were up to date once: from then on a
// replica that lags is normal, and a disk that fails is not.
func (n *Network) diagnoseStorage() error {
	if err := n.embedded.voice.fatal(); err != nil {
		return err
	}
	caught := n.watch.caught.Load()
	state := n.embedded.Healthz(&server.HealthzOptions{Details: true})
	for _, e := range state.Errors {
		// A stream in memory finds no leader while a node is missing that was
		// down with all others: what it kept is gone, and nobody waits for it.
		alone := strings.Contains(e.Error, "group node unhealthy") && time.Since(n.opened) > agreeTime
		if e.Type == server.HealthzErrorStream && (caught || alone) && !strings.Contains(e.Error, "write error") {
			continue
		}
		return channel.ErrUnavailable.With(e.Error)
	}
	n.watch.caught.Store(true)
	return nil
}

// askStorage asks whoever keeps the data whether they are there.
func (n *Network) askStorage(ctx context.Context) error {
	if n.conn.Status() != nats.CONNECTED {
		return channel.ErrUnavailable.With("there is no connection to the NATS servers")
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := n.js.AccountInfo(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		if n.embedded != nil {
			return channel.ErrUnavailable.With("no node with storage can be reached")
		}
		return channel.ErrUnavailable.With("the NATS servers have no JetStream for this account; turn it on there")
	}
	return channel.ErrUnavailable.With("the storage does not answer; too few of its nodes are there").Wrap(err)
}

// Ready waits until the storage of the cluster answers, which takes a quorum
// of the nodes that have some. Every few seconds it says in the log what it
// waits for. It returns an error when ctx ends, and before that when waiting is
// of no use: most peers refuse this node and none lets it in, another one of its
// name is there, or its storage has no place.
func (n *Network) Ready(ctx context.Context) error {
	log := n.options.Logger.With(observe.KeyComponent, "mesh")
	progress := time.Now().Add(progressEvery)
	step := time.NewTicker(readyStep)
	defer step.Stop()
	for {
		err := n.present(ctx)
		if err == nil || n.leaves() {
			final, unsettled := n.settle(ctx)
			if final {
				return unsettled
			}
			if err == nil {
				err = unsettled
			}
		}
		// Who has another's name may well be answered, and must not stay.
		if hopeless := n.hopeless(err); hopeless != nil {
			return hopeless
		}
		if err == nil {
			n.ready.Store(true)
			n.watch.poke()
			return nil
		}
		if now := time.Now(); now.After(progress) {
			progress = now.Add(progressEvery)
			log.Info("waiting for a quorum of storage; the first start of a cluster needs all nodes with storage",
				observe.KeyReason, fmt.Sprintf("have %s of %d", n.company(), n.options.StorageNodes), observe.KeyErr, err)
		}
		select {
		case <-ctx.Done():
			return channel.ErrUnavailable.With(fmt.Sprintf("there was no quorum of storage: have %s of %d (%v)",
				n.company(), n.options.StorageNodes, err)).Wrap(ctx.Err())
		case <-step.C:
		}
	}
}

// present returns nil when the storage answers.
func (n *Network) present(ctx context.Context) error {
	if n.closed.Load() {
		return channel.ErrUnavailable.With("the network is closed")
	}
	if n.embedded == nil || !n.options.Storage {
		return n.askStorage(ctx)
	}
	if err := n.diskFailure(); err != nil {
		return err
	}
	if err := n.embedded.voice.fatal(); err != nil {
		return err
	}
	if state := n.embedded.Healthz(&server.HealthzOptions{JSMetaOnly: true}); state.Error != "" {
		return channel.ErrUnavailable.With(state.Error)
	}
	return n.askStorage(ctx)
}

// company names the nodes that are connected, this one first.
func (n *Network) company() string {
	peers := slices.Sorted(maps.Values(n.routes()))
	peers = slices.DeleteFunc(slices.Compact(peers), func(name string) bool { return name == "" })
	return strings.Join(append([]string{n.options.Node}, peers...), ", ")
}

// hopeless returns why waiting for a storage that does not answer is of no use,
// nil where it is.
func (n *Network) hopeless(err error) error {
	if n.embedded == nil || !n.options.clustered() {
		return nil
	}
	refused := n.embedded.voice.refused()
	for remote, r := range refused {
		// Once this node was there it is the other one that came later.
		if r.trouble == troubleName && !n.ready.Load() {
			return channel.ErrConflict.With(fmt.Sprintf("a node called %q runs already (seen at %s): give each node its own name, or stop the other", n.options.Node, remote))
		}
	}
	if err == nil || time.Since(n.opened) < hopelessAfter || len(n.routes()) > 0 {
		return nil
	}
	ports := make(map[string]bool)
	others := 0
	for _, peer := range routes(&n.options) {
		if peer == n.options.Listen || peer == n.options.Advertise {
			continue
		}
		others++
		if _, port, err := net.SplitHostPort(peer); err == nil {
			ports[port] = true
		}
	}
	var last trouble
	refusing := 0
	for remote, r := range refused {
		_, port, err := net.SplitHostPort(remote)
		if err == nil && ports[port] && time.Since(r.at) < hopelessAfter {
			refusing++
			last = r.trouble
		}
	}
	// Not all have to: one of this node's name may hang up before a word is
	// said, and without most of them there is no quorum.
	if 2*refusing <= others {
		return nil
	}
	return channel.ErrUnavailable.With("no peer lets this node in: " + string(last))
}
