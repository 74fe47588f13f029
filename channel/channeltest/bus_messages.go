package channeltest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"myelin/channel"
)

func busMessageChecks() []busCheck {
	return []busCheck{
		{"bus/order", checkBusOrder},
		{"bus/copies", checkBusCopies},
		{"bus/size", checkBusSize},
		{"bus/slow-listener", checkBusSlowListener},
		{"bus/not-running", checkBusNotRunning},
	}
}

// checkBusOrder has three nodes broadcast on two topics at once. What was heard
// is verified in the end.
func checkBusOrder(x *busExam) {
	const messages, batch = 600, 100
	topics := []string{"news", "weather"}
	nodes := make([]*busEars, 3)
	nodes[0], nodes[1], nodes[2] = x.trio(topics...)
	// Batches keep the queues of a slow machine from running over.
	for begin := 0; begin < messages; begin += batch {
		var wg sync.WaitGroup
		errs := make(chan error, len(nodes)*len(topics)*batch)
		for _, n := range nodes {
			for _, topic := range topics {
				wg.Go(func() {
					for i := range batch {
						errs <- n.Broadcast(topic, busText(begin+i+1, topic))
					}
				})
			}
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			x.ok(err, "Broadcast")
		}
		for _, n := range nodes {
			for _, from := range nodes {
				for _, topic := range topics {
					if n != from {
						x.heard(n, from.Self().ID, topic, begin+batch)
					}
				}
			}
		}
	}
	x.ok(nodes[0].Broadcast("nobody listens", []byte("x")), "Broadcast on a topic without listeners")
}

// heard waits until a node has heard so many messages.
func (x *busExam) heard(n *busEars, from, topic string, want int) {
	x.eventually(x.f.Patience, func() string {
		if got := n.count(from, topic); got != want {
			return fmt.Sprintf("%s heard %d messages of %s on %q, want %d", n.Self().ID, got, from, topic, want)
		}
		return ""
	})
}

// checkBusCopies holds that the bus does not keep what it is given.
func checkBusCopies(x *busExam) {
	a, b, _ := x.trio("news")
	const messages = 50
	buffer := make([]byte, 64)
	for i := range messages {
		clear(buffer)
		n := copy(buffer, busText(i+1, "as it was"))
		x.ok(a.Broadcast("news", buffer[:n]), "Broadcast")
		for j := range buffer {
			buffer[j] = '!'
		}
	}
	x.heard(b, "a", "news", messages)
	for _, note := range b.notes() {
		if note.event == nil && !strings.HasSuffix(note.text, " as it was") {
			x.failf("%q was heard: the sender changed it after Broadcast", note.text)
		}
	}
}

// checkBusSize stands on both sides of the largest message.
func checkBusSize(x *busExam) {
	a, b, _ := x.trio("news")
	largest := busText(1, "")
	largest = append(largest, bytes.Repeat([]byte("x"), channel.MaxBusMessage-len(largest))...)
	x.ok(a.Broadcast("news", largest), "Broadcast of the largest message")
	x.heard(b, "a", "news", 1)
	x.refused(a.Broadcast("news", append(largest, 'x')), "Broadcast of more", channel.ErrTooLarge)
	_, err := a.Request(x.ctx, "b", "ask", append(largest, 'x'))
	x.refused(err, "Request of more", channel.ErrTooLarge)
	for _, note := range b.notes() {
		if note.event == nil && note.text != string(largest) {
			x.failf("the largest message came as %d bytes, want %d", len(note.text), len(largest))
		}
	}
	x.ok(a.Broadcast("news", busText(2, "")), "Broadcast of a small message")
	x.heard(b, "a", "news", 2)
}

// checkBusSlowListener holds that nobody waits for a listener that does not
// return, and that it goes on in order when it does.
func checkBusSlowListener(x *busExam) {
	a, b, c := x.trio("news")
	release := b.hold()
	defer func() {
		if release != nil {
			release()
		}
	}()
	const messages = 10_000
	refused, sent := 0, 0
	begin := time.Now()
	for sent < messages {
		// A bus may also say that it cannot keep up. It must not wait.
		err := a.Broadcast("news", busText(sent+1, "flood"))
		sent++
		if err != nil {
			x.refused(err, "Broadcast of a flood", channel.ErrUnavailable, channel.ErrTooManyRequests)
			refused++
			time.Sleep(time.Millisecond)
		}
		if time.Since(begin) > x.f.Patience {
			x.failf("%d broadcasts took %v while a listener did not return", sent, x.f.Patience)
		}
	}
	if refused > messages/2 {
		x.failf("%d of %d broadcasts were refused", refused, messages)
	}
	x.eventually(x.f.Patience, func() string {
		if c.count("a", "news") == 0 {
			return "another listener heard nothing"
		}
		return ""
	})
	release()
	release = nil
	x.eventually(x.f.Patience, func() string {
		sent++
		if err := a.Broadcast("news", busText(sent, "after")); err != nil {
			return err.Error()
		}
		for _, note := range b.notes() {
			if strings.HasSuffix(note.text, " after") {
				return ""
			}
		}
		return "the listener that was slow hears nothing any more"
	})
	if x.f.RealTime {
		return // a machine that is busy with the flood may be late for anything
	}
	for _, n := range []*busEars{a, b, c} {
		for _, note := range n.notes() {
			if note.event != nil && !note.event.Up {
				x.failf("%s took %s for dead in a flood", n.Self().ID, note.event.Node.ID)
			}
		}
	}
}

// checkBusNotRunning holds what a bus says before it runs and after.
func checkBusNotRunning(x *busExam) {
	a, b := x.prepare("a", "news"), x.join("b", "news")
	refused := func(when string) {
		x.refused(a.Broadcast("news", busText(1, "")), "Broadcast "+when, channel.ErrUnavailable)
		_, err := a.Request(x.ctx, "b", "ask", nil)
		x.refused(err, "Request "+when, channel.ErrUnavailable)
		if a.Self().ID != "a" {
			x.failf("Self %s is %v", when, a.Self())
		}
	}
	refused("before Start")
	if peers := a.Peers(); len(peers) > 0 {
		x.failf("a bus that was not started has peers %v", peers)
	}
	x.start(a)
	x.acquainted(a, b)
	x.ok(a.Close(x.ctx), "Close")
	x.ok(a.Close(x.ctx), "Close again")
	x.down(x.f.Patience, b, a.Self())
	refused("after Close")
	if b.count("a", "news") > 0 {
		x.failf("what was refused was heard")
	}
}
