package hub_test

import (
	"context"
	"slices"
	"testing"

	"myelin/channel"
)

// The reader is what the tests of recovery rest on. These tests plant what it
// is there to notice, and want it noticed.

// garble is what can happen to lines on their way to a reader.
func garbles() map[string]func(lines []string) []string {
	return map[string]func(lines []string) []string{
		"one is missing":   func(l []string) []string { return slices.Delete(l, 5, 6) },
		"one comes twice":  func(l []string) []string { return slices.Insert(l, 5, l[5]) },
		"two are swapped":  func(l []string) []string { l[5], l[6] = l[6], l[5]; return l },
		"one is another's": func(l []string) []string { l[5] = l[5][:len(l[5])-1] + "?"; return l },
		"one after the end": func(l []string) []string {
			return slices.Insert(l, 5, "unsub log:x 2000")
		},
		"the reply comes again": func(l []string) []string { return slices.Insert(l, 5, l[0]) },
		"the first of a recovery": func(l []string) []string {
			i := slices.IndexFunc(l[1:], func(line string) bool { return line[:2] == "ok" })
			return slices.Delete(l, i+2, i+3)
		},
	}
}

func TestReaderNotices(t *testing.T) {
	// session is what a reader hears that subscribes, leaves, misses some and
	// comes back.
	session := func(t *testing.T, r *reader) (lines []string, log []*channel.Publication) {
		e := &fake{}
		s := newStage(t, e, nil)
		s.connect("").subscribe("log:x")
		c := s.connect("")
		c.listen(func(line string) {
			lines = append(lines, line)
			r.hear(0, line)
		})
		join := func() {
			if err := c.join(r.request()); err != nil {
				t.Fatal(err)
			}
			s.settle()
		}
		join()
		s.publish("log:x", numbers(1, 20)...)
		s.settle()
		r.leave()
		if err := c.Unsubscribe("log:x"); err != nil {
			t.Fatal(err)
		}
		c.Send([]byte("unsub log:x 0\n"))
		s.publish("log:x", numbers(21, 30)...)
		join()
		s.publish("log:x", numbers(31, 40)...)
		s.settle()
		return lines, e.log("log:x")
	}
	for name, garble := range garbles() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				honest := newReader("log:x")
				lines, log := session(t, honest)
				honest.verify(t, log)
				misled := newReader("log:x")
				for _, line := range garble(slices.Clone(lines)) {
					if line == "unsub log:x 0" {
						misled.leave()
					}
					misled.hear(0, line)
				}
				if len(misled.faults(log)) == 0 {
					t.Error("the reader did not notice")
				}
			})
		})
	}
}

// liar is an engine whose reads leave one publication out and say that nothing
// is missing.
type liar struct{ *fake }

// Read is channel.Engine's.
func (e *liar) Read(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
	res, err := e.fake.Read(ctx, r)
	if n := len(res.Pubs); n > 2 {
		res.Pubs = slices.Delete(slices.Clone(res.Pubs), n/2, n/2+1)
	}
	return res, err
}

// A wrong engine is noticed through the hub, whether it is read to recover or
// to repair.
func TestReaderNoticesAWrongEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := &liar{&fake{feed: dropping(func(n int64) bool { return n > 12 && n < 20 })}}
		s := newStage(t, e, nil)
		s.publish("log:x", numbers(1, 10)...)
		recovers, follows := newReader("log:x"), newReader("log:x")
		recovers.mu.at, recovers.mu.known = channel.Position{Epoch: "e1"}, true
		for _, r := range []*reader{recovers, follows} {
			c := s.connect("")
			r.attach(c)
			if err := c.join(r.request()); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		if len(recovers.faults(e.log("log:x"))) == 0 {
			t.Error("a hole in what was recovered went unnoticed")
		}
		follows.verify(t, e.log("log:x"))
		s.publish("log:x", numbers(11, 30)...)
		s.settle()
		if len(follows.faults(e.log("log:x"))) == 0 {
			t.Error("a hole in what was repaired went unnoticed")
		}
	})
}
