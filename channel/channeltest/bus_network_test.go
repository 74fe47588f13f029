package channeltest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
)

// listener is a node on a network, and what it was told.
type listener struct {
	*channeltest.MemBus
	mu struct {
		sync.Mutex
		told []string
	}
}

func (l *listener) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.told = append(l.mu.told, fmt.Sprintf(format, args...))
}

// told returns what it was told since the last look.
func (l *listener) told() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.mu.told
	l.mu.told = nil
	return out
}

func listen(t *testing.T, n *channeltest.Network, id string) *listener {
	t.Helper()
	l := &listener{MemBus: n.Join(id)}
	l.Watch(func(e channel.PeerEvent) { l.note("%s %v", e.Node.ID, e.Up) })
	l.Hear("news", func(from channel.Node, b []byte) { l.note("%s: %s", from.ID, b) })
	l.Answer("ask", func(_ context.Context, _ channel.Node, b []byte) ([]byte, error) {
		if len(b) == 0 {
			return nil, channel.ErrConflict.With("nothing asked").Wrap(errors.New("secret"))
		}
		return append([]byte(id+" "), b...), nil
	})
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) hears(t *testing.T, want ...string) {
	t.Helper()
	if got := l.told(); !slices.Equal(got, want) {
		t.Errorf("%s was told %q, want %q", l.Self().ID, got, want)
	}
}

func say(t *testing.T, l *listener, text string) {
	t.Helper()
	if err := l.Broadcast("news", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestNetworkCarriesAndLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := channeltest.NewNetwork()
		defer n.Close()
		a, b := listen(t, n, "a"), listen(t, n, "b")
		a.hears(t, "b true")
		b.hears(t, "a true")
		n.Drop("a", "b", 1)
		for _, text := range []string{"1", "2", "3"} {
			say(t, a, text)
		}
		b.hears(t, "a: 2", "a: 3")
		if n.Lost() != 1 {
			t.Errorf("%d lost", n.Lost())
		}
		if got, err := a.Request(t.Context(), "b", "ask", []byte("x")); string(got) != "b x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_, err := a.Request(t.Context(), "b", "ask", nil)
		if !errors.Is(err, channel.ErrConflict) || err.Error() != "conflict: nothing asked" {
			t.Error(err)
		}
		for node, topic := range map[string]string{"b": "unknown", "c": "ask"} {
			if _, err := a.Request(t.Context(), node, topic, nil); !errors.Is(err, channel.ErrUnavailable) {
				t.Errorf("%s at %s: %v", topic, node, err)
			}
		}
		if err := n.Join("a").Start(t.Context()); !errors.Is(err, channel.ErrConflict) {
			t.Errorf("a second node a: %v", err)
		}
	})
}

func TestNetworkTellsWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := channeltest.NewNetwork()
		defer n.Close()
		a, b := listen(t, n, "a"), listen(t, n, "b")
		a.told()
		n.CutOneWay("b", "a")
		time.Sleep(6 * time.Second)
		a.hears(t, "b false")
		b.hears(t, "a true")
		say(t, a, "you are there")
		b.hears(t, "a: you are there")
		n.Heal("a", "b")
		time.Sleep(time.Second)
		a.hears(t, "b true")

		n.Pause("b")
		say(t, b, "from the pause")
		time.Sleep(3 * time.Second)
		a.hears(t)
		n.Resume("b")
		a.hears(t, "b: from the pause")
		n.Pause("b")
		time.Sleep(6 * time.Second)
		a.hears(t, "b false")
		n.Resume("b")
		time.Sleep(time.Second)
		a.hears(t, "b true")
		b.hears(t) // it was away, not they

		n.Kill("b")
		again := listen(t, n, "b")
		a.hears(t, "b false", "b true")
		if err := again.Close(t.Context()); err != nil {
			t.Error(err)
		}
		a.hears(t, "b false")
		if len(a.Peers()) != 0 {
			t.Errorf("peers %v", a.Peers())
		}
	})
}

// Whatever the delays, what one node says on one topic stays in order.
func TestNetworkKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := channeltest.NewNetwork()
		defer n.Close()
		random := rand.New(rand.NewPCG(1, 2))
		n.Delay(func() time.Duration { return time.Duration(random.Int64N(int64(50 * time.Millisecond))) })
		a, b := listen(t, n, "a"), listen(t, n, "b")
		time.Sleep(time.Second)
		b.told()
		var want []string
		for i := range 100 {
			say(t, a, fmt.Sprint(i))
			want = append(want, fmt.Sprint("a: ", i))
			time.Sleep(time.Duration(i%3) * time.Millisecond)
		}
		time.Sleep(time.Second)
		b.hears(t, want...)
	})
}
