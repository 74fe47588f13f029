package conversation_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/observe"
	"myelin/protocol"
)

// stalling is an engine that answers for channels with "slow" in their names
// only when it is told to, as one does whose stream has no leader.
type stalling struct {
	channel.Engine
	release chan struct{}
}

func (e *stalling) wait(ctx context.Context, name string) error {
	if !strings.Contains(name, "slow") {
		return nil
	}
	select {
	case <-e.release:
		return nil
	case <-ctx.Done():
		return channel.ErrUnavailable.Wrap(ctx.Err())
	}
}

func (e *stalling) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	if err := e.wait(ctx, r.Channel); err != nil {
		return channel.ReadResult{}, err
	}
	return e.Engine.Read(ctx, r)
}

func (e *stalling) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if err := e.wait(ctx, r.Channel); err != nil {
		return channel.StatePage{}, err
	}
	return e.Engine.Snapshot(ctx, r)
}

func (e *stalling) Subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	if err := e.wait(ctx, name); err != nil {
		return channel.Position{}, err
	}
	return e.Engine.Subscribe(ctx, name, p)
}

// stall runs a test with a stalling engine.
func stall(t *testing.T, test func(t *testing.T, w *world, release func())) {
	t.Helper()
	var engine *stalling
	spaces := conversationtest.Namespaces()
	spaces["state"] = &hub.Namespace{
		Policy: &channel.Policy{Namespace: "state", Kind: channel.KindState, HistorySize: 100}, Rules: spaces["log"].Rules, PositionCheck: -1,
	}
	o := conversationtest.Options{Namespaces: spaces, Engine: func(e channel.Engine) channel.Engine {
		engine = &stalling{e, make(chan struct{})}
		return engine
	}}
	stage(t, o, func(t *testing.T, w *world) {
		test(t, w, func() { close(engine.release) })
	})
}

func sub(id uint32, name string) *command {
	return &command{Id: id, Subscribe: &protocol.SubscribeRequest{Channel: name}}
}

func TestASlowSubscriptionHoldsUpNoOther(t *testing.T) {
	stall(t, func(t *testing.T, w *world, release func()) {
		p := w.connected(t, "")
		began := time.Now()
		f := frame(p.format, sub(2, "log:slow"), sub(3, "log:a"), sub(4, "log:b"))
		got := tell(p.raw(f))
		if want := "3 subscribe, 4 subscribe"; got != want {
			t.Errorf("beside one that is slow: %s, want %s", got, want)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("the others took %s", took)
		}
		clear(f) // the transport uses it for something else
		w.Publish(t, "log:a", 1)
		if got := tell(p.rest()); got != "log:a pub 1" {
			t.Errorf("meanwhile: %s", got)
		}
		release()
		if got := tell(p.rest()); got != "2 subscribe" {
			t.Errorf("when the engine answers: %s", got)
		}
		w.Publish(t, "log:slow", 2)
		if got := tell(p.rest()); got != "log:slow pub 2" {
			t.Errorf("live: %s", got)
		}
	})
}

func TestASlowReadHoldsUpNothing(t *testing.T) {
	stall(t, func(t *testing.T, w *world, release func()) {
		p := w.connected(t, "")
		f := frame(p.format,
			&command{Id: 2, History: &protocol.HistoryRequest{Channel: "log:slow", Limit: 1}},
			&command{Id: 3, Rpc: &protocol.RPCRequest{Method: "myelin.state.list", Data: []byte(`{"channel":"state:slow"}`)}},
			sub(4, "log:a"))
		if got := tell(p.raw(f)); got != "4 subscribe" {
			t.Errorf("beside slow reads: %s", got)
		}
		clear(f)
		release()
		if got := tell(p.rest()); got != "2 history, 3 rpc" && got != "3 rpc, 2 history" {
			t.Errorf("when the engine answers: %s", got)
		}
	})
}

func TestAnEngineThatDoesNotAnswer(t *testing.T) {
	who := conversationtest.Token(t, claims{"sub": "u", "channels": []string{"log:slow"}})
	stall(t, func(t *testing.T, w *world, release func()) {
		p := w.connected(t, "")
		asked := time.Now()
		p.expect("", sub(2, "log:slow"), &command{Id: 3, Subscribe: &protocol.SubscribeRequest{Channel: "state:slow", Type: 1, Phase: 2}})
		time.Sleep(time.Until(asked.Add(3900 * time.Millisecond)))
		if got := tell(p.rest()); got != "" {
			t.Errorf("too early: %s", got)
		}
		time.Sleep(time.Until(asked.Add(4200 * time.Millisecond)))
		// Clients give up after 5 s, and the connection with it.
		if got := tell(p.rest()); got != "2 error 1000, 3 error 1000" {
			t.Errorf("after 4 s: %s", got)
		}
		p.expect("4 subscribe", sub(4, "log:a"))
		began := time.Now()
		w.open(t).expect("1 error 1000, disconnect 3004", connectWith(who))
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("a connect waited for %s", took)
		}
		release()
		p.expect("5 subscribe", sub(5, "log:slow"))
	})
}

func TestWhatHappensToASlowSubscription(t *testing.T) {
	stall(t, func(t *testing.T, w *world, release func()) {
		p, gone := w.connected(t, ""), w.connected(t, "")
		p.expect("", sub(2, "log:slow"))
		p.expect("3 error 105", sub(3, "log:slow"))
		p.expect("4 unsubscribe", unsubscribe(4, "log:slow"))
		gone.expect("", sub(2, "log:slow"))
		gone.conv.Close(hub.DisconnectConnectionClosed)
		release()
		if got := tell(p.rest()); got != "2 error 103" {
			t.Errorf("who did not want it any more got %s", got)
		}
		if n := channels(t, w.Hub); n != 0 {
			t.Errorf("%d channels have subscribers", n)
		}
		p.expect("5 subscribe", sub(5, "log:slow"))
	})
}

func TestTooManySlowSubscriptions(t *testing.T) {
	stall(t, func(t *testing.T, w *world, release func()) {
		p := w.connected(t, "")
		for i := range uint32(64) {
			p.expect("", sub(i+2, "log:slow"+strings.Repeat("x", int(i))))
		}
		limit := w.Metrics.Limit(observe.LimitAsides)
		if n := limit.Value(); n != 0 {
			t.Errorf("counted %d before the limit", n)
		}
		go p.conv.Handle(frame(p.format, sub(100, "log:slow-last"), sub(101, "log:a")))
		time.Sleep(time.Second)
		if got := tell(p.rest()); got != "" || limit.Value() != 1 {
			t.Errorf("beyond the limit: %s, counted %d", got, limit.Value())
		}
		release()
		synctest.Wait()
		if got := tell(p.rest()); strings.Count(got, " subscribe") != 66 {
			t.Errorf("when the engine answers: %s", got)
		}
	})
}
