package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"myelin/internal/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is what lies below and always takes so many bytes.
type room int

func (r room) Room() int { return int(r) }

func next(t *testing.T, p *pipe.Pipe) string {
	t.Helper()
	b, err := p.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return string(b)
}

func write(t *testing.T, p *pipe.Pipe, s string, want int) {
	t.Helper()
	if n, err := p.WriteNow([]byte(s)); n != want || err != nil {
		t.Fatalf("WriteNow(%q) took %d, %v; want %d", s, n, err, want)
	}
}

func TestNextTakesAllThatWaits(t *testing.T) {
	p := pipe.New(10, room(100))
	write(t, p, "abc", 3)
	write(t, p, "", 0)
	write(t, p, "def", 3)
	if got := next(t, p); got != "abcdef" {
		t.Errorf("Next gave %q", got)
	}
}

func TestWriteNowTakesWhatFits(t *testing.T) {
	p := pipe.New(4, room(100))
	write(t, p, "abcdef", 4)
	write(t, p, "ef", 0)
	if got := next(t, p); got != "abcd" {
		t.Errorf("Next gave %q", got)
	}
	write(t, p, "ef", 2)
	if got := next(t, p); got != "ef" {
		t.Errorf("Next gave %q", got)
	}
}

// What is not urgent has the room that there is below, less what waits.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		limit       int
		below       room
		first, then int
	}{
		{10, 7, 7, 4},
		{10, 100, 10, 7},
		{10, 2, 2, -1},
		{10, 0, 0, -3},
		{10, -5, -5, -8},
	} {
		p := pipe.New(c.limit, c.below)
		if n := p.Room(); n != c.first {
			t.Errorf("limit %d, %d below: room for %d, want %d", c.limit, c.below, n, c.first)
		}
		write(t, p, "abc", 3)
		if n := p.Room(); n != c.then {
			t.Errorf("limit %d, %d below, 3 waiting: room for %d, want %d", c.limit, c.below, n, c.then)
		}
		_ = next(t, p)
		if n := p.Room(); n != c.then {
			t.Errorf("limit %d, %d below: room for %d while the reader has 3, want %d", c.limit, c.below, n, c.then)
		}
	}
}

func TestWhatIsWrittenMayBeChangedAfter(t *testing.T) {
	p := pipe.New(10, room(100))
	b := []byte("abc")
	if _, err := p.WriteNow(b); err != nil {
		t.Fatal(err)
	}
	b[0] = 'X'
	if got := next(t, p); got != "abc" {
		t.Errorf("Next gave %q: the pipe kept the writer's bytes", got)
	}
}

func TestWhatWasReadStaysAsItIs(t *testing.T) {
	p := pipe.New(10, room(100))
	write(t, p, "abc", 3)
	got, err := p.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p, "XYZ", 3)
	if string(got) != "abc" {
		t.Errorf("what Next gave became %q", got)
	}
}

func TestTheEndComesAfterTheRest(t *testing.T) {
	p := pipe.New(10, room(100))
	write(t, p, "rest", 4)
	p.Close()
	p.Close()
	if n, err := p.WriteNow([]byte("x")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("WriteNow after Close: %d, %v", n, err)
	}
	if got := next(t, p); got != "rest" {
		t.Errorf("Next gave %q", got)
	}
	for range 2 {
		if b, err := p.Next(t.Context()); len(b) > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Next at the end: %q, %v", b, err)
		}
	}
}

func TestNextWaits(t *testing.T) {
	for name, wake := range map[string]func(p *pipe.Pipe, cancel func()){
		"for bytes":   func(p *pipe.Pipe, _ func()) { _, _ = p.WriteNow([]byte("x")) },
		"for the end": func(p *pipe.Pipe, _ func()) { p.Close() },
		"for ctx":     func(_ *pipe.Pipe, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe.New(10, room(100))
				// A token left by what has been read already wakes nobody to nothing.
				write(t, p, "old", 3)
				next(t, p)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := false
				var err error
				go func() {
					_, err = p.Next(ctx)
					done = true
				}()
				synctest.Wait()
				if done {
					t.Fatalf("Next returned before there was anything: %v", err)
				}
				wake(p, cancel)
				synctest.Wait()
				if !done {
					t.Fatal("Next still waits")
				}
			})
		})
	}
}

func TestNotifyWritable(t *testing.T) {
	cases := []struct {
		name        string
		fill        int
		event       func(t *testing.T, p *pipe.Pipe)
		before, end bool
	}{
		{"at once where there is room", 3, nil, true, true},
		{"not while it is full", 4, nil, false, false},
		{"when the reader takes", 4, func(t *testing.T, p *pipe.Pipe) { next(t, p) }, false, true},
		{"when it is closed", 4, func(_ *testing.T, p *pipe.Pipe) { p.Close() }, false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipe.New(4, room(100))
				write(t, p, "abcd"[:c.fill], c.fill)
				calls := 0
				p.NotifyWritable(func() { calls++ })
				synctest.Wait()
				if got := calls > 0; got != c.before {
					t.Errorf("called %d times before anything happened", calls)
				}
				if c.event != nil {
					c.event(t, p)
				}
				synctest.Wait()
				if got := calls == 1; got != c.end {
					t.Errorf("called %d times", calls)
				}
				p.Close()
				synctest.Wait()
				if calls != 1 {
					t.Errorf("called %d times in the end, want once", calls)
				}
			})
		})
	}
}

func TestNotifyWritableOfAClosedPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe.New(4, room(100))
		write(t, p, "abcd", 4)
		p.Close()
		calls := 0
		p.NotifyWritable(func() { calls++ })
		synctest.Wait()
		if calls != 1 {
			t.Errorf("called %d times: the writer would never learn that it is closed", calls)
		}
	})
}

// The pipe against a byte slice.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// rapid asks a *testing.T for its deadline, which a bubble has not.
		rapid.Check(struct{ testing.TB }{t}, checkModel)
	})
}

func checkModel(t *rapid.T) {
	limit := rapid.IntRange(1, 40).Draw(t, "limit")
	p := pipe.New(limit, room(100))
	var waits []byte
	seq, closed := byte(0), false
	asked, answered := 0, 0
	settled := func() {
		synctest.Wait()
		want := asked
		if asked > 0 && !closed && len(waits) == limit {
			want = asked - 1
		}
		if answered < want || answered > asked {
			t.Fatalf("NotifyWritable asked %d times, answered %d (full: %v, closed: %v)", asked, answered, len(waits) == limit, closed)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			b := make([]byte, rapid.IntRange(0, 50).Draw(t, "n"))
			for i := range b {
				seq++
				b[i] = seq
			}
			n, err := p.WriteNow(b)
			want := min(len(b), limit-len(waits))
			if closed {
				if n != 0 || !errors.Is(err, io.ErrClosedPipe) {
					t.Fatalf("closed: took %d, %v", n, err)
				}
				return
			}
			if n != want || err != nil {
				t.Fatalf("took %d, %v; want %d", n, err, want)
			}
			waits = append(waits, b[:n]...)
			seq -= byte(len(b) - n)
		},
		"read": func(t *rapid.T) {
			if len(waits) == 0 && !closed {
				t.Skip("it would wait")
			}
			b, err := p.Next(context.Background())
			if len(waits) == 0 {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("at the end: %v", err)
				}
				return
			}
			if !bytes.Equal(b, waits) || err != nil {
				t.Fatalf("read %v, %v; want %v", b, err, waits)
			}
			waits = nil
		},
		"notify": func(t *rapid.T) {
			settled()
			if asked != answered {
				t.Skip("one answer is owed")
			}
			asked++
			p.NotifyWritable(func() { answered++ })
		},
		"close": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
				p.Close()
				closed = true
			}
		},
		"": func(*rapid.T) { settled() },
	})
	p.Close()
	synctest.Wait()
	if asked != answered {
		t.Fatalf("NotifyWritable asked %d times, answered %d", asked, answered)
	}
}

// One writer and one reader at full speed: every byte arrives, once, in order.
func TestConcurrently(t *testing.T) {
	const total = 1 << 20
	p := pipe.New(1000, room(100))
	var group sync.WaitGroup
	group.Go(func() {
		defer p.Close()
		rest := make([]byte, total)
		for i := range rest {
			rest[i] = byte(i * 7)
		}
		for len(rest) > 0 {
			n, err := p.WriteNow(rest[:min(len(rest), 1+rand.IntN(3000))])
			if err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
			if n == 0 {
				room := make(chan struct{})
				p.NotifyWritable(func() { close(room) })
				<-room
			}
		}
	})
	at := 0
	for {
		b, err := p.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1000 {
			t.Fatalf("%d bytes waited, the limit is 1000", len(b))
		}
		for _, c := range b {
			if c != byte(at*7) {
				t.Fatalf("byte %d is %d", at, c)
			}
			at++
		}
	}
	group.Wait()
	if at != total {
		t.Errorf("%d bytes arrived, want %d", at, total)
	}
}
