package channeltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

func busRequestChecks() []busCheck {
	return []busCheck{
		{"bus/requests", checkBusRequests},
		{"bus/request-errors", checkBusRequestErrors},
		{"bus/requests-at-once", checkBusRequestsAtOnce},
		{"bus/request-given-up", checkBusRequestGivenUp},
		{"bus/request-of-the-dying", checkBusRequestOfTheDying},
		{"bus/request-on-arrival", checkBusRequestOnArrival},
	}
}

// answering joins three nodes that answer with their name.
func (x *busExam) answering(answer func(self string, ctx context.Context, from channel.Node, b []byte) ([]byte, error)) (a, b, c *busEars) {
	var nodes []*busEars
	for _, id := range []string{"a", "b", "c"} {
		n := x.prepare(id)
		n.Answer("ask", func(ctx context.Context, from channel.Node, b []byte) ([]byte, error) {
			return answer(id, ctx, from, b)
		})
		x.start(n)
		nodes = append(nodes, n)
	}
	x.acquainted(nodes...)
	return nodes[0], nodes[1], nodes[2]
}

func checkBusRequests(x *busExam) {
	a, b, c := x.answering(func(self string, _ context.Context, from channel.Node, b []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%s to %s/%d: %s", self, from.ID, from.Incarnation, b), nil
	})
	for _, from := range []*busEars{a, b, c} {
		for _, to := range []*busEars{a, b, c} {
			if from == to {
				continue
			}
			question := []byte("question")
			got, err := from.Request(x.ctx, to.Self().ID, "ask", question)
			x.ok(err, "Request")
			want := fmt.Sprintf("%s to %s/%d: question", to.Self().ID, from.Self().ID, from.Self().Incarnation)
			if string(got) != want {
				x.failf("%s was answered %q, want %q", from.Self().ID, got, want)
			}
		}
	}
	got, err := a.Request(x.ctx, "b", "ask", nil)
	x.ok(err, "Request without a payload")
	if !bytes.HasSuffix(got, []byte(": ")) {
		x.failf("a request without a payload was answered %q", got)
	}
}

// checkBusRequestErrors holds that errors arrive as they are, without what is
// for the log of the other node only.
func checkBusRequestErrors(x *busExam) {
	a, _, _ := x.answering(func(_ string, _ context.Context, _ channel.Node, b []byte) ([]byte, error) {
		switch string(b) {
		case "own":
			return nil, &channel.Error{Code: channel.CodeConflict, Message: "as it is", Current: 1 << 40, Temporary: true, Err: errors.New("secret")}
		case "foreign":
			return nil, errors.New("secret")
		}
		return make([]byte, channel.MaxBusMessage+1), nil
	})
	_, err := a.Request(x.ctx, "b", "ask", []byte("own"))
	x.refused(err, "a request that is refused", channel.ErrConflict)
	e, _ := errors.AsType[*channel.Error](err)
	if e.Message != "as it is" || e.Current != 1<<40 || !e.Temporary || e.Err != nil {
		x.failf("the error came as %#v", e)
	}
	_, err = a.Request(x.ctx, "b", "ask", []byte("foreign"))
	x.refused(err, "a request that fails", channel.ErrInternal)
	if bytes.Contains([]byte(err.Error()), []byte("secret")) {
		x.failf("the cause left its node: %v", err)
	}
	_, err = a.Request(x.ctx, "b", "ask", []byte("too much"))
	x.refused(err, "a request whose answer is too large", channel.ErrTooLarge)
	_, err = a.Request(x.ctx, "b", "unknown", nil)
	x.refused(err, "a request that nobody answers", channel.ErrUnavailable)
	_, err = a.Request(x.ctx, "nobody", "ask", nil)
	x.refused(err, "a request of a node that is not there", channel.ErrUnavailable)
}

// checkBusRequestsAtOnce holds that requests do not wait for each other, nor
// broadcasts for them: each is answered once all are there.
func checkBusRequestsAtOnce(x *busExam) {
	const requests = 32
	var there atomic.Int64
	all := make(chan struct{})
	a, _, _ := x.answering(func(_ string, ctx context.Context, _ channel.Node, b []byte) ([]byte, error) {
		if there.Add(1) == requests {
			close(all)
		}
		select {
		case <-all:
			return b, nil
		case <-ctx.Done():
			return nil, channel.ErrUnavailable.Wrap(ctx.Err())
		}
	})
	ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, requests)
	for i := range requests {
		wg.Go(func() {
			want := fmt.Sprint(i)
			got, err := a.Request(ctx, "b", "ask", []byte(want))
			if err == nil && string(got) != want {
				err = fmt.Errorf("request %s was answered %q", want, got)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	x.ok(errors.Join(errs...), "requests at once")
}

// checkBusRequestGivenUp holds that who gives up gets an error, and that the
// one who answers learns of it.
func checkBusRequestGivenUp(x *busExam) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	a, _, _ := x.answering(func(_ string, ctx context.Context, _ channel.Node, _ []byte) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, nil
	})
	wait := func(c <-chan struct{}, what string) {
		x.eventually(x.f.Patience, func() string {
			select {
			case <-c:
				return ""
			default:
				return what
			}
		})
	}
	// On a busy machine a request may be over before it is looked at, and is
	// then left.
	for patience := 50 * time.Millisecond; len(begun) == 0; patience *= 2 {
		if patience > x.f.Patience {
			x.failf("the request did not arrive")
		}
		ctx, cancel := context.WithTimeout(x.ctx, patience)
		_, err := a.Request(ctx, "b", "ask", nil)
		cancel()
		x.refused(err, "a request that timed out", channel.ErrUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			x.failf("the error %v does not say that its cause is %v", err, context.DeadlineExceeded)
		}
	}
	<-begun
	wait(ended, "the context of an answer that nobody waits for does not end")

	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, "b", "ask", nil)
		done <- err
	}()
	wait(begun, "the request did not arrive")
	cancel()
	x.refused(<-done, "a request that was cancelled", channel.ErrUnavailable)
	wait(ended, "the context of an answer that was cancelled does not end")
	_, err := a.Request(ctx, "b", "ask", nil)
	x.refused(err, "a request with a context that is over", channel.ErrUnavailable)
}

// checkBusRequestOfTheDying holds that nobody waits for a node that died, and
// that no answer outlives who asked.
func checkBusRequestOfTheDying(x *busExam) {
	ended := make(chan struct{}, 2)
	begun := make(chan struct{}, 2)
	a, b, _ := x.answering(func(_ string, ctx context.Context, _ channel.Node, _ []byte) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, ctx.Err()
	})
	results := make(chan error, 2)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
	defer cancel()
	ask := func(from *busEars, to string) {
		wg.Go(func() {
			_, err := from.Request(ctx, to, "ask", nil)
			results <- err
		})
	}
	ask(a, "c")
	<-begun
	// A bus that is closed answers who waits, and does not wait itself.
	ask(b, "c")
	<-begun
	x.ok(b.Close(x.ctx), "Close")
	x.refused(<-results, "a request of a bus that was closed", channel.ErrUnavailable)
	x.eventually(x.f.Patience, func() string {
		if len(ended) == 0 {
			return "an answer goes on although who asked has gone"
		}
		return ""
	})
	x.world.Kill("c")
	x.eventually(busDown, func() string {
		select {
		case err := <-results:
			x.refused(err, "a request of a node that died", channel.ErrUnavailable)
			return ""
		default:
			return "the request of a node that died still waits"
		}
	})
}

// checkBusRequestOnArrival holds that whom a node is told of, it may ask.
func checkBusRequestOnArrival(x *busExam) {
	a := x.prepare("a")
	asked := make(chan error, 16)
	var wg sync.WaitGroup
	defer wg.Wait()
	a.Watch(func(e channel.PeerEvent) {
		if e.Up {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(x.ctx, x.f.Patience)
				defer cancel()
				_, err := a.Request(ctx, e.Node.ID, "ask", nil)
				asked <- err
			})
		}
	})
	x.start(a)
	for _, id := range []string{"b", "c"} {
		n := x.prepare(id)
		n.Answer("ask", func(context.Context, channel.Node, []byte) ([]byte, error) { return nil, nil })
		x.start(n)
		x.ok(<-asked, "a request of a node that has just come")
	}
}
