package hub

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

// Channels returns the channels with subscribers on any node and how many each
// has. pattern is a wildcard pattern as in capabilities; empty is all. At most
// most are returned. A node that does not answer makes it ErrUnavailable.
func (h *Hub) Channels(ctx context.Context, pattern string, most int) (map[string]int, error) {
	if h.cluster == nil {
		return h.channelsHere(pattern, most), nil
	}
	// Each node lists its first by name, so that those that are among the first
	// of all are counted everywhere.
	out := maps.Collect(h.firstChannels(pattern, "", most))
	for _, a := range h.Survey(ctx, topicChannels, encode(channelsAsked{pattern, "", most})) {
		if err := h.cluster.addChannels(ctx, a, pattern, most, out); err != nil {
			return nil, err
		}
	}
	if len(out) > most {
		for _, name := range slices.Sorted(maps.Keys(out))[most:] {
			delete(out, name)
		}
	}
	return out, nil
}

// channelsHere returns channels of this node, whichever come first.
func (h *Hub) channelsHere(pattern string, most int) map[string]int {
	out := make(map[string]int)
	for name, n := range h.subscribed(pattern) {
		if len(out) == most {
			return out
		}
		out[strings.Clone(name)] = n
	}
	return out
}

// subscribed ranges over the channels of this node that have subscribers, and
// how many.
func (h *Hub) subscribed(pattern string) func(yield func(string, int) bool) {
	return func(yield func(string, int) bool) {
		for i := range h.topics.stripes {
			for _, t := range h.topics.stripes[i].all() {
				if t.ns.spaces != nil || pattern != "" && !auth.MatchChannel(pattern, t.name) {
					continue
				}
				// None: it is being opened or closed.
				if n := t.subscribers(); n > 0 && !yield(t.name, n) {
					return
				}
			}
		}
	}
}

// firstChannels ranges over the first channels of this node by name, those
// behind after.
func (h *Hub) firstChannels(pattern, after string, most int) func(yield func(string, int) bool) {
	counts, names := make(map[string]int), []string(nil)
	cut := func() {
		slices.Sort(names)
		for len(names) > most {
			last := len(names) - 1
			delete(counts, names[last])
			names = names[:last]
		}
	}
	for name, n := range h.subscribed(pattern) {
		if name <= after {
			continue
		}
		counts[name] = n
		if names = append(names, name); len(names) > 2*most+1000 {
			cut()
		}
	}
	cut()
	return func(yield func(string, int) bool) {
		for _, name := range names {
			if !yield(name, counts[name]) {
				return
			}
		}
	}
}

// channelsAsked and channelsPage are what nodes say to each other about their
// channels. Next is behind which name to go on, "" where that was all.
type channelsAsked struct {
	Pattern string `json:"pattern"`
	After   string `json:"after"`
	Most    int    `json:"most"`
}

type channelsPage struct {
	Channels map[string]int `json:"channels"`
	Next     string         `json:"next"`
}

// channelsPageBytes is about how large a page of channels is.
const channelsPageBytes = 256 << 10

// answerChannels answers another node.
func (c *cluster) answerChannels(_ context.Context, _ channel.Node, b []byte) ([]byte, error) {
	var r channelsAsked
	if err := decode(b, &r); err != nil {
		return nil, err
	}
	page, size := channelsPage{Channels: make(map[string]int)}, 0
	for name, n := range c.hub.firstChannels(r.Pattern, r.After, max(r.Most, 0)) {
		// JSON makes up to six bytes of one.
		if size += 6*len(name) + 16; size > channelsPageBytes {
			break
		}
		page.Channels[name], page.Next = n, name
	}
	if size <= channelsPageBytes {
		page.Next = ""
	}
	return encode(page), nil
}

// addChannels adds to out what a node answered, and what it has behind its
// first page.
func (c *cluster) addChannels(ctx context.Context, a Answer, pattern string, most int, out map[string]int) error {
	for got := 0; ; {
		if a.Err != nil {
			return a.silent("")
		}
		var page channelsPage
		if err := decode(a.Data, &page); err != nil {
			return err
		}
		for name, n := range page.Channels {
			out[name] += n
		}
		if got += len(page.Channels); page.Next == "" || got >= most || len(page.Channels) == 0 {
			return nil
		}
		a = c.ask(ctx, a.Node, topicChannels, encode(channelsAsked{pattern, page.Next, most - got}))
	}
}

// Info counts what is on one node.
type Info struct {
	Node string `json:"node"`
	// Addr is where its HTTP listener answers, Version that of its build; both
	// are empty on a node alone.
	Addr          string        `json:"addr"`
	Version       string        `json:"version"`
	Uptime        time.Duration `json:"uptime"`
	Clients       int           `json:"clients"`
	Users         int           `json:"users"`
	Channels      int           `json:"channels"`
	Subscriptions int           `json:"subscriptions"`
	// Silent: the node has not answered now. The rest is what it said last,
	// zeros where it has never said anything.
	Silent bool `json:"-"`
}

// Info returns the counts of every node, this one first.
func (h *Hub) Info(ctx context.Context) []Info {
	out := []Info{h.infoHere()}
	if h.cluster == nil {
		return out
	}
	answers := h.Survey(ctx, topicInfo, encode(struct{}{}))
	c := h.cluster
	c.infos.Lock()
	defer c.infos.Unlock()
	known := make(map[string]Info, len(answers))
	for _, a := range answers {
		var i Info
		if a.Err != nil || decode(a.Data, &i) != nil {
			i = c.infos.last[a.Node.ID]
			i.Silent = true
		}
		i.Node, i.Addr, i.Version = a.Node.ID, a.Node.Addr, a.Node.Version
		known[i.Node] = i
		out = append(out, i)
	}
	c.infos.last = known
	return out
}

// infoHere returns the counts of this node.
func (h *Hub) infoHere() Info {
	i := Info{
		Node: h.opts.Node, Uptime: time.Since(h.began),
		Clients: h.Connections(), Users: h.clients.users(),
	}
	if h.cluster != nil {
		self := h.cluster.bus.Self()
		i.Addr, i.Version = self.Addr, self.Version
	}
	for _, n := range h.subscribed("") {
		i.Channels++
		i.Subscriptions += n
	}
	return i
}

func (c *cluster) answerInfo(context.Context, channel.Node, []byte) ([]byte, error) {
	return encode(c.hub.infoHere()), nil
}

// encode and decode are how nodes put down what they ask each other: a version
// and JSON.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("hub: " + err.Error()) // plain structs only
	}
	return append([]byte{surveyVersion}, b...)
}

// surveyVersion is the first byte of what encode makes.
const surveyVersion = 1

func decode(b []byte, into any) error {
	if len(b) == 0 || b[0] != surveyVersion {
		return channel.ErrBadRequest.With("this is of another version of the protocol between nodes; let all nodes be of one release")
	}
	if err := json.Unmarshal(b[1:], into); err != nil {
		return channel.ErrBadRequest.With("what another node said cannot be read").Wrap(err)
	}
	return nil
}
