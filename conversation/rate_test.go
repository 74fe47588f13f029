package conversation_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"myelin/conversation"
	"myelin/conversation/conversationtest"
	"myelin/hub"
	"myelin/protocol"
)

func ask(id uint32) *command {
	return &command{Id: id, Rpc: &protocol.RPCRequest{Method: "myelin.time"}}
}

// A client over its rate is told to slow down, and goes when it does not.
func TestCommandRate(t *testing.T) {
	o := conversationtest.Options{Quiet: true}
	o.Limits.CommandsPerSecond, o.Limits.CommandBurst = 10, 20
	stage(t, o, func(t *testing.T, w *world) {
		flood := func(p *peer, n int) map[string]int {
			var commands []*command
			for i := range n {
				commands = append(commands, ask(uint32(i)+1))
			}
			got := map[string]int{}
			for _, r := range p.do(commands...) {
				switch {
				case r.Push != nil:
					got[tellPush(r.Push)]++
				case r.Error != nil && r.Error.Temporary:
					got[fmtID(r.Error.Code, "temporary")]++
				default:
					got[kindOf(r)]++
				}
			}
			return got
		}
		p := w.connected(t, "")
		if got := flood(p, 50); got["rpc"] != 19 || got["111 temporary"] != 31 {
			t.Errorf("50 at once: %v", got)
		}
		time.Sleep(time.Second)
		if got := flood(p, 20); got["rpc"] != 10 || got["111 temporary"] != 10 {
			t.Errorf("20 after a second: %v", got)
		}
		// A hundred refusals in a row are enough; those before do not count,
		// because commands were admitted since.
		time.Sleep(time.Second)
		if got := flood(p, 111); got["rpc"] != 10 || got["111 temporary"] != 100 || got["disconnect 3013"] != 1 {
			t.Errorf("111 after another second: %v", got)
		}
		if !p.gone {
			t.Error("the conversation goes on")
		}
		// What has no answer cannot be refused.
		p = w.connected(t, "")
		flood(p, 19)
		p.expect("disconnect 3013", &command{Send: &protocol.SendRequest{Data: []byte(`1`)}})
	})
}

// nextWord waits up to a minute for something to come and returns it.
func (p *peer) nextWord() string {
	for range 60 {
		time.Sleep(time.Second)
		if got := tell(p.rest()); got != "" {
			return got
		}
	}
	return "nothing"
}

func TestPings(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.open(t)
		if r := p.connect(""); r.Ping != 25 || !r.Pong {
			t.Errorf("ping %d, pong %v", r.Ping, r.Pong)
		}
		for range 5 {
			if got := p.nextWord(); got != "ping" {
				t.Fatalf("want a ping, got %s", got)
			}
			p.expect("", &command{})
		}
		p.expect("disconnect 3501", &command{}) // one ping, one pong

		p = w.connected(t, "")
		if got := p.nextWord() + ", " + p.nextWord(); got != "ping, disconnect 3012" {
			t.Errorf("without a pong: %s", got)
		}
	})
}

func TestStale(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		p := w.open(t)
		time.Sleep(14 * time.Second)
		if got := tell(p.rest()); got != "" {
			t.Errorf("after 14 s: %q", got)
		}
		time.Sleep(2 * time.Second)
		if got := tell(p.rest()); got != "disconnect 3502" {
			t.Errorf("after 16 s: %q", got)
		}
	})
}

// A client that does not read is dropped with what it needs to come back.
func TestSlowClient(t *testing.T) {
	stage(t, conversationtest.Options{Quiet: true}, func(t *testing.T, w *world) {
		p := w.connected(t, "")
		p.subscribe("log:a")
		p.conn.block(true)
		data := make([]byte, 4000)
		for i := range data {
			data[i] = 'x'
		}
		for range 30 {
			w.Publish(t, "log:a", string(data))
			synctest.Wait()
		}
		p.conn.block(false)
		got := p.rest()
		seen := offsets(got)
		if len(seen) == 0 || len(seen) > 18 || !slices.Equal(seen, span(1, uint64(len(seen)))) {
			t.Errorf("got publications %v, want the first of them, no more than the queue holds", seen)
		}
		if last := tell(got[len(got)-1:]); last != "disconnect 3008" {
			t.Errorf("the last word was %s", last)
		}
	})
}

// Who is thrown out is not heard any more, even if the news has not reached
// its door: behind /emulation commands come by requests of their own.
func TestThrownOutAndStillTalking(t *testing.T) {
	stage(t, conversationtest.Options{}, func(t *testing.T, w *world) {
		witness := w.connected(t, "")
		witness.subscribe("log:a")
		p := w.openAs(t, w.format, true)
		res := p.connect(conversationtest.Token(t, claims{"sub": "u"}))
		p.conn.block(true)
		for range 2 {
			if _, err := w.Hub.Disconnect(t.Context(), hub.Target{User: "u"}, hub.DisconnectForceNoReconnect, nil); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*command{
				{Id: 2, Publish: &protocol.PublishRequest{Channel: "log:a", Data: []byte(`1`)}},
				{Id: 3, Rpc: &protocol.RPCRequest{Method: "myelin.publish", Data: []byte(`{"channel":"log:a","data":1}`)}},
			} {
				if err := w.Host.Emulate(res.Session, frame(w.format, c)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := tell(witness.rest()); got != "" {
			t.Errorf("a client that was thrown out brought about %s", got)
		}
		p.conv.Close(hub.DisconnectConnectionClosed)
		if err := w.Host.Emulate(res.Session, frame(w.format, ask(4))); !errors.Is(err, conversation.ErrNoSession) {
			t.Errorf("after its door has closed it: %v", err)
		}
		p.conn.block(false)
		if got := tell(p.rest()); got != "disconnect 3503" {
			t.Errorf("it was told %s", got)
		}
	})
}
