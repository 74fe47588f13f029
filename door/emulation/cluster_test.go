package emulation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
	"myelin/conversation/conversationtest"
	"myelin/door/emulation"
	"myelin/protocol"
)

// place is a node of a cluster: a world and its door.
type place struct {
	*conversationtest.World
	door *emulation.Door
}

// cluster runs a test in a bubble with two nodes on a network.
func cluster(t *testing.T, o conversationtest.Options, test func(t *testing.T, n *channeltest.Network, a, b place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := channeltest.NewNetwork()
		var at []place
		for _, id := range []string{"a", "b"} {
			bus := n.Join(id)
			o.Bus = bus
			w := conversationtest.New(t, o)
			if err := bus.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = bus.Close(context.Background()) })
			at = append(at, place{w, emulation.New(emulation.Options{Host: w.Host, Node: id, Metrics: w.Metrics})})
		}
		synctest.Wait()
		test(t, n, at[0], at[1])
	})
}

func rpc(k *talker, id uint32) []byte {
	return k.frame(&protocol.Command{Id: id, Rpc: &protocol.RPCRequest{Method: "myelin.time"}})
}

// Any node takes requests for any other, and those that wait for each other
// stay in order.
func TestRequestsReachOtherNodes(t *testing.T) {
	cluster(t, conversationtest.Options{}, func(t *testing.T, n *channeltest.Network, a, b place) {
		n.Delay(func() time.Duration { return time.Millisecond })
		for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
			k := talk(t, b.World, f)
			for i := range uint32(40) {
				door := a.door
				if i%4 == 0 {
					door = b.door // the balancer sends it wherever it likes
				}
				if r := post(door, contentType(f), request(t, f, "b", k.session, rpc(k, i+2))); r.Code != http.StatusNoContent || r.Body.Len() > 0 {
					t.Fatalf("%d %s", r.Code, r.Body)
				}
				// 204 says that it was handled.
				if got := k.replies(); len(got) != 1 || got[0].Id != i+2 || got[0].Error != nil {
					t.Fatalf("replies %v", got)
				}
			}
		}
	})
}

// answerOf returns the status of an answer, its code and its message.
func answerOf(t *testing.T, r *httptest.ResponseRecorder) (status int, code channel.Code, message string) {
	t.Helper()
	var body struct{ Error channel.Error }
	if r.Code != http.StatusNoContent {
		if err := json.Unmarshal(r.Body.Bytes(), &body); err != nil {
			t.Errorf("%q: %v", r.Body, err)
		}
	}
	return r.Code, body.Error.Code, body.Error.Message
}

func TestRequestsForOtherNodesRefused(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.MessageBytes = 1 << 20
	cluster(t, o, func(t *testing.T, n *channeltest.Network, a, b place) {
		k := talk(t, b.World, protocol.JSON)
		wants := func(what, node, session string, frame []byte, status int, code channel.Code, words string) {
			t.Helper()
			r := post(a.door, "application/json", request(t, protocol.JSON, node, session, frame))
			gotStatus, gotCode, message := answerOf(t, r)
			if gotStatus != status || gotCode != code || !strings.Contains(message, words) {
				t.Errorf("%s: %d %s, want %d, %d, %q", what, r.Code, r.Body, status, code, words)
			}
		}
		frame := rpc(k, 2)
		wants("a session that is not there", "b", "guess", frame, 204, 0, "")
		wants("a client's id", "b", k.conv.ID(), frame, 204, 0, "")
		wants("a node that is not there", "c", k.session, frame, 404, channel.CodeUnknownChannel, "connect again")
		wants("a session of the other node here", "a", k.session, frame, 204, 0, "")
		wants("more than the bus takes", "b", k.session, bytes.Repeat([]byte("x"), 600<<10), 413, channel.CodeTooLarge, "524288 bytes")
		if got := k.replies(); len(got) > 0 {
			t.Errorf("the client got %v", got)
		}
		began := time.Now()
		n.CutOneWay("b", "a")
		wants("a node that is being lost", "b", k.session, frame, 404, channel.CodeUnknownChannel, "connect again")
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %v to know", took)
		}
		n.Heal("a", "b")
		time.Sleep(2 * time.Second)
		k.replies() // it was only the way back that was cut
		n.Pause("b")
		go func() {
			time.Sleep(3 * time.Second)
			n.Resume("b")
		}()
		wants("a node that is slow", "b", k.session, rpc(k, 3), 204, 0, "")
		if got := k.replies(); len(got) != 1 || got[0].Id != 3 {
			t.Errorf("the client got %v", got)
		}
		n.Kill("b")
		time.Sleep(6 * time.Second)
		wants("a node that is dead", "b", k.session, frame, 404, channel.CodeUnknownChannel, "connect again")
	})
}

// A node that is there and does not answer is not a node that is gone.
func TestRequestsThatAreNotAnswered(t *testing.T) {
	cluster(t, conversationtest.Options{}, func(t *testing.T, n *channeltest.Network, a, _ place) {
		mute := n.Join("mute")
		mute.Answer("conversation.emulate", func(ctx context.Context, _ channel.Node, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err := mute.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = mute.Close(context.Background()) }()
		synctest.Wait()
		r := post(a.door, "application/json", request(t, protocol.JSON, "mute", "s", []byte("{}")))
		if status, code, message := answerOf(t, r); status != 503 || code != channel.CodeUnavailable || !strings.Contains(message, "try again") {
			t.Errorf("%d %s", r.Code, r.Body)
		}
		for _, words := range []string{"", "\x02", "\x01", "\x01\x09short", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
			if _, err := mute.Request(t.Context(), "a", "conversation.emulate", []byte(words)); channel.Public(err).Code != channel.CodeBadRequest {
				t.Errorf("%q: %v", words, err)
			}
		}
	})
}

// FuzzForwarded lets another node forward anything.
func FuzzForwarded(f *testing.F) {
	net := channeltest.NewNetwork()
	bus, other := net.Join("a"), net.Join("b")
	conversationtest.New(f, conversationtest.Options{Quiet: true, Bus: bus})
	for _, b := range []*channeltest.MemBus{bus, other} {
		if err := b.Start(f.Context()); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(net.Close)
	for len(other.Peers()) == 0 {
		runtime.Gosched() // until they know each other
	}
	f.Add([]byte("\x01\x01s{}"))
	f.Add([]byte("\x01\x00"))
	f.Fuzz(func(t *testing.T, words []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := other.Request(ctx, "a", "conversation.emulate", words); err != nil && channel.Public(err).Code != channel.CodeBadRequest {
			t.Error(err)
		}
	})
}
