package client_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/client"
	"myelin/protocol"
)

// channelModel is a server with one recoverable channel. It answers by itself;
// the test publishes, cuts and loses.
type channelModel struct {
	f  *fake
	mu sync.Mutex

	epoch   int
	top     uint64
	log     []*protocol.Publication            // of the epoch
	history map[string][]*protocol.Publication // of the epochs before
	kept    int                                // how many of log can be recovered
	peer    *peer
	live    bool // peer is subscribed
}

func (m *channelModel) name() string { return fmt.Sprintf("e%d", m.epoch) }

// serve answers the commands of every connection until ctx ends.
func (m *channelModel) serve(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case p := <-m.f.accepted:
			wg.Go(func() {
				for cmd := range p.commands {
					m.answer(p, cmd)
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

func (m *channelModel) answer(p *peer, cmd *protocol.Command) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &protocol.Reply{Id: cmd.GetId()}
	switch {
	case cmd.GetConnect() != nil:
		m.peer, m.live = p, false
		r.Connect = &protocol.ConnectResult{Client: "c"}
	case cmd.GetSubscribe() != nil:
		r.Subscribe = m.subscribe(cmd.GetSubscribe())
		m.live = true
	default:
		return
	}
	m.send(p, r)
}

// subscribe recovers if nothing between the position and the top was evicted.
func (m *channelModel) subscribe(req *protocol.SubscribeRequest) *protocol.SubscribeResult {
	res := &protocol.SubscribeResult{
		Recoverable: true, Positioned: true, Epoch: m.name(), Offset: m.top, WasRecovering: req.GetRecover(),
	}
	if !req.GetRecover() || req.GetEpoch() != m.name() {
		return res
	}
	missed := slices.DeleteFunc(slices.Clone(m.log), func(p *protocol.Publication) bool { return p.GetOffset() <= req.GetOffset() })
	if len(missed) <= m.kept {
		res.Recovered, res.Offset, res.Publications = true, req.GetOffset(), missed
	}
	return res
}

// send ignores that the connection may be gone: the model cuts.
func (m *channelModel) send(p *peer, r *protocol.Reply) {
	b := protocol.AppendReply(nil, m.f.format, r)
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_ = writeText(p, b)
}

func (m *channelModel) publish(step uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.top += step
	p := wirePub(m.top, fmt.Sprint(m.top))
	m.log = append(m.log, p)
	if m.live {
		m.send(m.peer, &protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: p}})
	}
}

// repeat sends a publication a second time.
func (m *channelModel) repeat() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live && len(m.log) > 0 {
		m.send(m.peer, &protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: m.log[len(m.log)-1]}})
	}
}

func (m *channelModel) unsubscribe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live {
		m.live = false
		m.send(m.peer, &protocol.Reply{Push: &protocol.Push{Channel: "a", Unsubscribe: &protocol.Unsubscribe{Code: 2500}}})
	}
}

func (m *channelModel) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = false
	if m.peer != nil {
		m.peer.cut()
	}
}

// restart is a cut after which the channel is a new one.
func (m *channelModel) restart() {
	m.cut()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history[m.name()] = m.log
	m.epoch, m.top, m.log = m.epoch+1, 0, nil
}

// step is one thing that happens to the model.
type step struct {
	what string
	n    int
}

func drawSteps(t *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			what: rapid.SampledFrom([]string{"publish", "publish", "publish", "burst", "repeat", "cut", "wait", "unsubscribe", "restart"}).Draw(t, "what"),
			n:    rapid.IntRange(1, 3000).Draw(t, "n"),
		}
	}), 20, 80).Draw(t, "steps")
}

func (m *channelModel) do(s step) {
	switch s.what {
	case "publish":
		m.publish(uint64(s.n%5 + 1))
	case "burst":
		for range 20 {
			m.publish(1)
		}
	case "repeat":
		m.repeat()
	case "cut":
		m.cut()
	case "unsubscribe":
		m.unsubscribe()
	case "restart":
		m.restart()
	case "wait":
		time.Sleep(time.Duration(s.n) * time.Millisecond)
	}
}

// observed is what a subscriber was told, by epoch.
type observed map[string]*observedEpoch

type observedEpoch struct {
	from    uint64 // position of the first subscribe
	gap     bool   // a later subscribe did not recover
	offsets []uint64
}

// options record into o, which must be read only when the client has ended.
func (o observed) options() client.SubOptions {
	return client.SubOptions{
		Recover: true,
		OnSubscribed: func(i client.SubscribedInfo) {
			if e := o[i.Position.Epoch]; e == nil {
				o[i.Position.Epoch] = &observedEpoch{from: i.Position.Offset}
			} else if !i.Recovered {
				e.gap = true
			}
		},
		OnPublication: func(p client.Publication) {
			e := o[p.Position.Epoch]
			e.offsets = append(e.offsets, p.Position.Offset)
		},
	}
}

// Whatever happens to connection, subscription and server: within an epoch each
// publication arrives at most once, in order, and none is missing unless the
// subscriber was told.
func TestSubscriptionAgainstModel(t *testing.T) {
	gaps, epochs := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt)
		kept := rapid.SampledFrom([]int{1000, 2, 0}).Draw(rt, "kept")
		events := rapid.SampledFrom([]int{1, 100}).Draw(rt, "events")
		var m *channelModel
		o := observed{}
		synctest.Test(t, func(t *testing.T) {
			m = &channelModel{f: newFake(t), kept: kept, history: map[string][]*protocol.Publication{}}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { m.serve(ctx) })
			c := m.f.start(client.Options{MaxEvents: events})
			m.f.subscribe(c, "a", o.options())
			for _, s := range steps {
				m.do(s)
			}
			time.Sleep(time.Minute)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			m.cut()
			wg.Wait()
		})
		m.history[m.name()] = m.log
		if o[m.name()] == nil {
			rt.Fatalf("the last epoch %s was never subscribed", m.name())
		}
		for epoch, got := range o {
			if err := got.check(m.history[epoch], epoch == m.name()); err != nil {
				rt.Fatalf("epoch %s: %v", epoch, err)
			}
			if epochs++; got.gap {
				gaps++
			}
		}
	})
	t.Logf("%d gaps in %d epochs", gaps, epochs)
	if gaps == 0 && epochs > 100 {
		t.Errorf("%d gaps in %d epochs: the model tries too little", gaps, epochs)
	}
}

// check compares what arrived of an epoch with what was published.
func (e *observedEpoch) check(log []*protocol.Publication, last bool) error {
	var want []uint64
	for _, p := range log {
		if p.GetOffset() > e.from {
			want = append(want, p.GetOffset())
		}
	}
	for i, offset := range e.offsets {
		if i > 0 && offset <= e.offsets[i-1] {
			return fmt.Errorf("offset %d after %d", offset, e.offsets[i-1])
		}
		if !slices.Contains(want, offset) {
			return fmt.Errorf("offset %d was not published, or before the subscribe", offset)
		}
	}
	// What comes after the last reconnect to an epoch is lost with it.
	complete := len(e.offsets) == len(want) || !last && len(e.offsets) < len(want)
	if !e.gap && (!complete || !slices.Equal(e.offsets, want[:len(e.offsets)])) {
		return fmt.Errorf("got %v, want %v", e.offsets, want)
	}
	return nil
}
