package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"myelin/client"
)

// room runs a host and records what it says.
type room struct {
	h  *host
	mu sync.Mutex
	at []time.Time
	is []string
}

func openRoom(t *testing.T) *room {
	t.Helper()
	r := &room{h: newHost()}
	r.h.onConnected(client.ConnectedInfo{Client: "self"})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		r.h.serve(ctx, func(_ context.Context, channel string, data []byte) error {
			var m chatMessage
			if err := json.Unmarshal(data, &m); err != nil || channel != "chat:lobby" || m.From != "myelin" {
				t.Errorf("%s %s: %v", channel, data, err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.at, r.is = append(r.at, time.Now()), append(r.is, m.Text)
			return nil
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

// said returns what was said since the last call.
func (r *room) said() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.is
	r.is = nil
	return is
}

func (r *room) hear(from, text string) {
	data, _ := json.Marshal(chatMessage{from, text})
	offer(r.h.messages, data)
}

func TestHostAnswersCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openRoom(t)
		for _, c := range []struct{ text, want string }{
			{"/help", "I answer to /help, /time (by the server's clock) and /hr (the patient's heart rate)."},
			{"  /TIME now ", "It is " + time.Now().UTC().Format("15:04:05 on 2 January 2006, UTC") + "."},
			{"/hr", "I have not heard the heart for a while."},
			{"/nonsense", "I do not know that one. Try /help."},
			{"hello", ""},
			{"", ""},
		} {
			r.hear("ann", c.text)
			if got := strings.Join(r.said(), "|"); got != c.want {
				t.Errorf("to %q: %q, want %q", c.text, got, c.want)
			}
		}
		r.h.onRate(client.Publication{Data: fmt.Appendf(nil, `{"t":%d,"bpm":72.4,"rr":833}`, time.Now().UnixMilli())})
		r.hear("ann", "/hr")
		if got := r.said(); !slices.Equal(got, []string{"The heart in bed 1 beats 72 times a minute."}) {
			t.Errorf("%q", got)
		}
		time.Sleep(time.Minute)
		r.hear("ann", "/hr")
		if got := r.said(); !slices.Equal(got, []string{"I have not heard the heart for a while."}) {
			t.Errorf("%q", got)
		}
		// Its own words, and what is no message.
		r.hear("myelin", "/help")
		offer(r.h.messages, []byte(`{"text":`))
		offer(r.h.messages, []byte(`"/help"`))
		offer(r.h.messages, fmt.Appendf(nil, `{"text":"/help","x":%q}`, strings.Repeat("x", maxChatMessage)))
		if got := r.said(); got != nil {
			t.Errorf("%q", got)
		}
	})
}

func TestHostIsNotDriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openRoom(t)
		for range 1000 {
			r.hear("eve", "/help")
			time.Sleep(10 * time.Millisecond)
		}
		// Ten seconds: a burst, and one a second.
		if n := len(r.said()); n < 12 || n > answerBurst+11 {
			t.Fatalf("%d answers", n)
		}
		for range 10 * chatInbox {
			r.hear("eve", "/help")
		}
		if n := len(r.said()); n > answerBurst {
			t.Fatalf("%d answers at once", n)
		}
		time.Sleep(time.Hour)
		r.hear("ann", "/help")
		if n := len(r.said()); n != 1 {
			t.Fatalf("%d answers to one question", n)
		}
	})
}

func TestHostGreets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openRoom(t)
		come := func(client_, user string) { r.h.onJoin(client.ClientInfo{Client: client_, User: user}) }
		expect := func(want ...string) {
			t.Helper()
			if got := r.said(); !slices.Equal(got, want) {
				t.Fatalf("said %q, want %q", got, want)
			}
		}
		come("self", "")
		expect()
		come("1", "ann")
		expect("Welcome, ann! Try /help.")
		for i := range 5 {
			come("2", fmt.Sprintf("guest%d", i))
		}
		come("3", "")
		expect()
		time.Sleep(greetingPause)
		expect("Welcome, guest0, guest1, guest2 and 3 more! Try /help.")
		time.Sleep(time.Minute)
		come("4", "")
		expect("Welcome! Try /help.")
		come("5", "")
		come("6", "")
		time.Sleep(greetingPause)
		expect("Welcome, all 2 of you! Try /help.")
		time.Sleep(time.Minute)
		come("7", strings.Repeat("é", 100))
		expect("Welcome, " + strings.Repeat("é", 32) + "! Try /help.")
	})
}

func TestGreetingsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openRoom(t)
		for range 6000 {
			r.h.onJoin(client.ClientInfo{Client: "x"})
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(r.said()); n > 21 {
			t.Fatalf("%d greetings in a minute", n)
		}
	})
}

func TestBucket(t *testing.T) {
	b := bucket{size: 2, refill: time.Second}
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	for _, c := range []struct {
		ms int
		ok bool
	}{{0, true}, {100, true}, {200, false}, {999, false}, {1000, true}, {1001, false}, {2000, true}, {9000, true}, {9001, true}, {9002, false}} {
		if got := b.take(at(c.ms)); got != c.ok {
			t.Errorf("at %d ms: %v", c.ms, got)
		}
	}
}
