package hub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"myelin/channel"
	"myelin/roster"
)

// The topics of the hub on the bus.
const (
	topicMembers  = "hub.members"
	topicOperate  = "hub.operate"
	topicChannels = "hub.channels"
	topicInfo     = "hub.info"
	topicRates    = "hub.rates"
	topicBans     = "hub.bans"
)

// Bounds of what nodes do with each other.
const (
	// surveyTimeout is how long another node may take to answer.
	surveyTimeout = 2 * time.Second
	// fetchTimeout is how long it may take for a page of its members.
	fetchTimeout = 5 * time.Second
	// membersDelay is how long joins and leaves wait for others to share a
	// message with.
	membersDelay = 2 * time.Millisecond
	// membersDigest is how often a node says how many members it has told of.
	membersDigest = 2 * time.Second
	// membersInbox is how many bytes of other nodes' messages may wait; more
	// are dropped, and their members read anew.
	membersInbox = 32 << 20
	// membersChunk is after how many events the shards are waited for.
	membersChunk = 256
)

// cluster is a hub's part in a cluster. A node alone has none.
type cluster struct {
	hub     *Hub
	bus     channel.Bus
	journal *roster.Journal
	// roster is changed by the goroutine of follow alone.
	roster *roster.Roster

	inbox struct {
		sync.Mutex
		queue []item
		bytes int
	}
	wake chan struct{}

	absent absentees

	// infos is what the other nodes said of themselves last.
	infos struct {
		sync.Mutex
		last map[string]Info
	}
}

// item is one thing that the roster has to be told.
type item struct {
	kind  itemKind
	node  channel.Node
	b     []byte
	fetch *roster.Fetch
	err   error
	topic *topic
}

type itemKind uint8

const (
	itemUp itemKind = iota
	itemDown
	itemFrame
	itemPage
	itemSeed
)

// newCluster makes h hear and answer on the bus, which has not been started.
func newCluster(h *Hub, bus channel.Bus) *cluster {
	c := &cluster{
		hub: h, bus: bus, wake: make(chan struct{}, 1),
		journal: roster.NewJournal(bus.Self().Incarnation),
		roster:  roster.New(h.opts.Limits.RemoteMembers),
	}
	bus.Watch(c.peer)
	bus.Hear(topicMembers, func(from channel.Node, b []byte) {
		// It is the listener's own only for the call.
		c.push(item{kind: itemFrame, node: from, b: slices.Clone(b)})
	})
	bus.Answer(topicMembers, func(_ context.Context, _ channel.Node, b []byte) ([]byte, error) {
		return c.journal.Answer(b)
	})
	bus.Answer(topicOperate, c.answerOperate)
	bus.Answer(topicChannels, c.answerChannels)
	bus.Answer(topicInfo, c.answerInfo)
	bus.Hear(topicRates, h.quotas.hear)
	bus.Answer(topicExplain, c.answerExplain)
	if h.bans != nil {
		bus.Answer(topicBans, h.bans.answer)
	}
	bus.Answer(topicTail, c.answerTail)
	bus.Answer(topicConnections, func(_ context.Context, _ channel.Node, b []byte) ([]byte, error) { return c.answerConnections(b) })
	bus.Answer(topicLimits, func(context.Context, channel.Node, []byte) ([]byte, error) {
		return encode(LimitsHit{Limits: c.hub.opts.Metrics.Limits()}), nil
	})
	return c
}

// Answer is what one node answered to a survey.
type Answer struct {
	Node channel.Node
	Data []byte
	// Err is why there is no answer; ErrUnavailable where the node is silent.
	Err error
}

// silent returns the error of an operation that a node has not done. done says
// what became of it elsewhere.
func (a *Answer) silent(done string) error {
	e := channel.Public(a.Err)
	if e.Code != channel.CodeUnavailable {
		return e
	}
	return &channel.Error{
		Code: channel.CodeUnavailable, Temporary: true, Err: a.Err,
		Message: fmt.Sprintf("%snode %s did not answer within %v: try again", done, a.Node.ID, surveyTimeout),
	}
}

// Survey asks all other nodes at once and returns their answers, in the order
// of their ids. One that does not answer within 2 s, or before ctx ends, has an
// error for an answer. One that is down by then is left out. What answers on a
// topic is registered with the bus before it starts.
func (h *Hub) Survey(ctx context.Context, topic string, data []byte) []Answer {
	c := h.cluster
	if c == nil {
		return nil
	}
	peers := c.bus.Peers()
	slices.SortFunc(peers, func(a, b channel.Node) int { return cmp.Compare(a.ID, b.ID) })
	answers := make([]Answer, len(peers))
	var asking sync.WaitGroup
	for i, n := range peers {
		asking.Go(func() { answers[i] = c.ask(ctx, n, topic, data) })
	}
	asking.Wait()
	return slices.DeleteFunc(answers, func(a Answer) bool { return a.Err != nil && !c.sees(a.Node) })
}

// ask asks one node.
func (c *cluster) ask(ctx context.Context, n channel.Node, topic string, data []byte) Answer {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	b, err := c.bus.Request(ctx, n.ID, topic, data)
	return Answer{Node: n, Data: b, Err: err}
}

// sees reports whether an incarnation of a node is believed alive.
func (c *cluster) sees(n channel.Node) bool {
	return slices.ContainsFunc(c.bus.Peers(), func(p channel.Node) bool {
		return p.ID == n.ID && p.Incarnation == n.Incarnation
	})
}
