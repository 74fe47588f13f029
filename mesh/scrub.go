package mesh

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myelin/observe"
)

const (
	// scrubCalm is the pause between two looks at the streams of all nodes, and
	// scrubAlert the one while there is a doubt.
	scrubCalm  = 10 * time.Second
	scrubAlert = time.Second
	// scrubLooks is how many looks in a row have to find messages missing. Purges
	// that the others are about to do make a difference for a moment.
	scrubLooks = 20
	// scrubTime is how long the nodes may take to answer one look.
	scrubTime = 3 * time.Second
	// scrubQueue bounds the answers that wait.
	scrubQueue = 2 * MaxPeers
)

// scrub looks for messages that a majority of the replicas has and ours has
// not. The server drops messages that it finds damaged and says nothing.
type scrub struct {
	n *Network
	// doubts counts the looks in a row that found messages of a stream missing.
	doubts map[string]int
}

// scrubs says that this node has replicas that can be compared.
func (o *Options) scrubs() bool { return o.clustered() && o.Storage && o.StorageNodes > 1 }

// Damage returns an error once messages are known to be missing from what this
// node keeps. It must not answer any more; the directory is refused from then
// on.
func (n *Network) Damage() error {
	if found := n.watch.damage.Load(); found != nil {
		return found.err
	}
	return nil
}

// scrub runs until it finds a damage or ctx ends.
func (w *watch) scrub(ctx context.Context) {
	s := &scrub{n: w.n, doubts: make(map[string]int)}
	pause := time.NewTimer(scrubAlert)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if d := s.look(ctx); d != nil {
			w.found(d)
			return
		}
		pause.Reset(s.pause())
	}
}

// pause is longer where all was well.
func (s *scrub) pause() time.Duration {
	if len(s.doubts) > 0 {
		return scrubAlert
	}
	return scrubCalm
}

// found notes a damage and has everybody know.
func (w *watch) found(d *damage) {
	o := &w.n.options
	err := d.refusal(o.Node, o.StorePath)
	log := o.Logger.With(observe.KeyComponent, "mesh")
	if noted := w.n.embedded.home.mark(d); noted != nil {
		log.Error("the directory could not be marked as damaged; it must be emptied all the same", observe.KeyErr, noted)
	}
	log.Error("messages are missing here that other nodes have; this node must not answer without them", observe.KeyErr, err)
	w.damage.Store(&condition{err})
}

// look asks everybody once, and returns a damage that is beyond doubt.
func (s *scrub) look(ctx context.Context) *damage {
	own, peers := s.ask(ctx)
	for name := range s.doubts {
		if own[name] == nil {
			delete(s.doubts, name)
		}
	}
	now := time.Now()
	for name, detail := range own {
		what, lacks := judge(detail, peers[name], s.n.options.Node, now)
		switch what {
		case verdictNone:
		case verdictWhole:
			delete(s.doubts, name)
		case verdictLacks:
			s.doubts[name]++
			if s.doubts[name] >= scrubLooks {
				return &damage{Stream: name, Lacks: lacks, Found: now.UTC()}
			}
		}
	}
	return nil
}

// ask asks every server for what it keeps, and sorts the answers by stream.
func (s *scrub) ask(ctx context.Context) (own map[string]*server.StreamDetail, peers map[string][]*server.StreamDetail) {
	own, peers = make(map[string]*server.StreamDetail), make(map[string][]*server.StreamDetail)
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	system, err := s.n.embedded.connectSystem()
	if err != nil {
		return own, peers
	}
	defer system.Close()
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, scrubQueue)
	question, err := json.Marshal(server.JSzOptions{Accounts: true, Streams: true, Config: true})
	if err != nil {
		return own, peers
	}
	if _, err := system.ChanSubscribe(inbox, answers); err != nil {
		return own, peers
	}
	if err := system.PublishRequest(askStores, inbox, question); err != nil {
		return own, peers
	}
	heard := make(map[string]bool)
	for len(heard) < s.n.options.StorageNodes {
		select {
		case <-ctx.Done():
			return own, peers
		case msg := <-answers:
			var answer server.ServerAPIJszResponse
			if json.Unmarshal(msg.Data, &answer) != nil || answer.Server == nil || answer.Data == nil || answer.Data.Disabled {
				continue
			}
			name := answer.Server.Name
			if heard[name] {
				continue
			}
			heard[name] = true
			sortOut(answer.Data, name == s.n.options.Node, own, peers)
		}
	}
	return own, peers
}

// sortOut puts what one server said into its place.
func sortOut(state *server.JSInfo, ours bool, own map[string]*server.StreamDetail, peers map[string][]*server.StreamDetail) {
	for _, account := range state.AccountDetails {
		if account.Name != globalAccount {
			continue
		}
		for i := range account.Streams {
			detail := &account.Streams[i]
			if ours {
				own[detail.Name] = detail
			} else {
				peers[detail.Name] = append(peers[detail.Name], detail)
			}
		}
	}
}
