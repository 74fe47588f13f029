package websocket_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
)

// Frames that come byte by byte, all at once, or in pieces of any size make
// the same messages.
func TestArrival(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	long := strings.Repeat("é", 400)
	var sent []byte
	var want []string
	for i := range 5 {
		text1 := strings.Repeat(string(rune('a'+i)), i*13)
		sent = all(sent, text(say(text1)), f{op: opText, more: true, payload: say(long)[:i*100+7]}.bytes(),
			ping("p"), f{op: opMore, payload: say(long)[i*100+7:]}.bytes())
		want = append(want, "echo "+text1, "pong p", "echo "+long)
	}
	for _, most := range []int{0, 1, 2, 3, 7, 100, 4095, 4096, 4097} {
		p := s.listening(t)
		for rest := sent; len(rest) > 0; {
			n := len(rest)
			if most > 0 {
				n = min(n, 1+rand.IntN(most))
			}
			p.send(rest[:n])
			rest = rest[n:]
		}
		p.wantsInTurn(want)
	}
}

// Many frames in one write are handled one after the other.
func TestPipeline(t *testing.T) {
	s := newStage(t, conversationtest.Options{})
	p := s.listening(t)
	var sent []byte
	var want []string
	for i := range 500 {
		name := strings.Repeat("x", i%7) + string(rune('a'+i%26))
		sent = all(sent, text(say(name)))
		want = append(want, "echo "+name)
	}
	p.send(sent)
	p.wantsInTurn(want)
}
