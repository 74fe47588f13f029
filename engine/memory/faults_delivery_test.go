package memory_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

// passesFirst holds the first delivery after a pause back until the next one
// was made.
func passesFirst(b *bent) {
	var mu sync.Mutex
	var at time.Time
	var held *channel.Publication
	b.deliveries(func(next channel.Sink, p *channel.Publication) {
		mu.Lock()
		defer mu.Unlock()
		pause := time.Since(at) > time.Second
		at = time.Now()
		if pause && held == nil && p.Offset > 1 {
			held = p
			return
		}
		next.Deliver(p)
		if held != nil {
			next.Deliver(held)
			held = nil
		}
	})
}

// every returns a function that says true at each n-th call.
func every(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

func deliveryFaults() []fault {
	return []fault{
		{"a delivery is skipped now and then", skipsDeliveries, []string{
			"order/one-channel", "order/ephemeral", "subscribe/race", "order/many-channels", "snapshot/while-writing",
			"state/expire-many",
		}},
		{"a delivery comes twice", func(b *bent) {
			third := every(3)
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				next.Deliver(p)
				if third() {
					next.Deliver(p)
				}
			})
		}, []string{"order/one-channel", "subscribe/race", "names/good", "cas/expect"}},
		{"two deliveries change places", swapsDeliveries, []string{"order/one-channel", "order/ephemeral", "cas/contention"}},
		{"the first after a pause is passed by the next", passesFirst, []string{"order/bursts"}},
		{"deliveries run into each other", func(b *bent) {
			b.deliveries(func(next channel.Sink, p *channel.Publication) { go next.Deliver(p) })
		}, []string{"order/one-channel", "order/many-channels"}},
		{"prev is wrong now and then", func(b *bent) {
			fourth := every(4)
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				c := *p
				if fourth() {
					c.Prev = 0
				}
				next.Deliver(&c)
			})
		}, []string{"order/one-channel", "expiry/history-while-publishing"}},
		{"a publication is changed after its delivery", func(b *bent) {
			var last *channel.Publication
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				c := *p
				if last != nil {
					last.Time++
				}
				last = &c
				next.Deliver(&c)
			})
		}, []string{"order/one-channel"}},
		{"tags are lost on the way", func(b *bent) {
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				c := *p
				c.Tags = nil
				next.Deliver(&c)
			})
		}, []string{"order/whole-publication"}},
		{"the publisher's info is not kept", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.Info = nil })
		}, []string{"order/whole-publication"}},
		{"large payloads are cut", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.Data = r.Data[:min(len(r.Data), 64<<10)] })
		}, []string{"payload/sizes"}},
	}
}

func subscribeFaults() []fault {
	return []fault{
		{"Subscribe tells an old top", func(b *bent) {
			b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
				old, err := b.Engine.Read(ctx, &channel.ReadRequest{Channel: name, Policy: p})
				if err != nil {
					return channel.Position{}, err
				}
				for range 20 {
					runtime.Gosched()
				}
				_, err = b.Engine.Subscribe(ctx, name, p)
				return old.Top, err
			}
		}, []string{"subscribe/race"}},
		{"Subscribe begins a little late", func(b *bent) {
			b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
				top, err := b.Engine.Read(ctx, &channel.ReadRequest{Channel: name, Policy: p})
				if err != nil {
					return channel.Position{}, err
				}
				go func() {
					for range 20 {
						runtime.Gosched()
					}
					_, _ = b.Engine.Subscribe(context.Background(), name, p)
				}()
				return top.Top, nil
			}
		}, []string{"subscribe/race"}},
		{"subscribing again answers as the first time", func(b *bent) {
			var tops sync.Map
			b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
				top, err := b.Engine.Subscribe(ctx, name, p)
				first, _ := tops.LoadOrStore(name, top)
				return first.(channel.Position), err
			}
		}, []string{"subscribe/again", "subscribe/unsubscribe"}},
		{"Unsubscribe does nothing", func(b *bent) { b.unsubscribe = func(string) {} }, []string{"subscribe/unsubscribe"}},
		{"Unsubscribe acts a little late", func(b *bent) {
			b.unsubscribe = func(name string) {
				go func() {
					<-time.After(time.Millisecond)
					b.Engine.Unsubscribe(name)
				}()
			}
		}, []string{"subscribe/churn"}},
		{"names are not told apart by case", func(b *bent) { b.names(strings.ToLower) }, []string{"subscribe/only-its-own", "names/good"}},
		{"names end at a space", func(b *bent) {
			b.names(func(name string) string {
				before, _, ok := strings.Cut(name, " ")
				if !ok || before == "" {
					return name
				}
				return before
			})
		}, []string{"subscribe/only-its-own", "names/good"}},
	}
}

func skipsDeliveries(b *bent) {
	fifth := every(5)
	b.deliveries(func(next channel.Sink, p *channel.Publication) {
		if !fifth() {
			next.Deliver(p)
		}
	})
}

// swapsDeliveries holds every tenth publication of a channel back until the
// next one was delivered.
func swapsDeliveries(b *bent) {
	var mu sync.Mutex
	held := make(map[string]*channel.Publication)
	tenth := every(10)
	b.deliveries(func(next channel.Sink, p *channel.Publication) {
		mu.Lock()
		before := held[p.Channel]
		delete(held, p.Channel)
		if before == nil && tenth() {
			held[p.Channel] = p
			mu.Unlock()
			return
		}
		mu.Unlock()
		next.Deliver(p)
		if before != nil {
			next.Deliver(before)
		}
	})
}

func lifeFaults() []fault {
	return []fault{
		{"Lost is called without need", func(b *bent) {
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				next.Deliver(p)
				next.Lost(p.Channel)
			})
		}, []string{"order/one-channel"}},
		{"the epoch is always the same", sameEpoch, []string{
			"order/epoch-stays", "expiry/position-forgotten", "restart/clean", "restart/crash",
		}},
		{"Remove changes the epoch", changesEpoch, []string{"order/epoch-stays", "remove/history", "remove/entries"}},
		{"positions are forgotten too early", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.MetaTTL /= 3 })
		}, []string{"expiry/position-remembered", "expiry/position-of-subscribed"}},
		{"something is delivered after Close", deliversLate, []string{"life/close-under-load"}},
		{"Close does not close", func(b *bent) {
			closed := false
			b.closing = func(ctx context.Context) error {
				if closed {
					return b.Engine.Close(ctx)
				}
				closed = true
				return nil
			}
		}, []string{"life/after-close"}},
		{"Close of an unstarted engine fails", func(b *bent) {
			b.closing = func(ctx context.Context) error {
				if _, err := b.Engine.Read(ctx, &channel.ReadRequest{Channel: "a", Policy: &channel.Policy{}}); err != nil {
					_ = b.Engine.Close(ctx)
					return err
				}
				return b.Engine.Close(ctx)
			}
		}, []string{"life/close-unstarted"}},
		{"a context that is over is not looked at", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				return b.Engine.Publish(context.WithoutCancel(ctx), r)
			}
		}, []string{"life/given-up"}},
		{"a publish that was given up is done", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				ack, err := b.Engine.Publish(context.WithoutCancel(ctx), r)
				if ctx.Err() != nil {
					return ack, channel.ErrUnavailable.Wrap(ctx.Err())
				}
				return ack, err
			}
		}, []string{"life/given-up"}},
		{"a goroutine stays with each channel", func(b *bent) {
			stop := make(chan struct{})
			b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
				go func() { <-stop }()
				return b.Engine.Subscribe(ctx, name, p)
			}
			b.closing = func(ctx context.Context) error {
				close(stop)
				return b.Engine.Close(ctx)
			}
		}, []string{"scale/channels"}},
		{"a kilobyte stays of each channel", func(b *bent) {
			left := make(map[string][]byte)
			b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
				left[name] = make([]byte, 1024)
				return b.Engine.Subscribe(ctx, name, p)
			}
		}, []string{"scale/channels"}},
	}
}

// sameEpoch gives every epoch one name.
func sameEpoch(b *bent) {
	const epoch = "always"
	b.deliveries(func(next channel.Sink, p *channel.Publication) {
		c := *p
		c.Epoch = epoch
		next.Deliver(&c)
	})
	b.subscribe = func(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
		top, err := b.Engine.Subscribe(ctx, name, p)
		top.Epoch = epoch
		return top, err
	}
	b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
		ack, err := b.Engine.Publish(ctx, r)
		ack.Epoch = epoch
		return ack, err
	}
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		c := *r
		if c.Since.Epoch == epoch {
			c.Since.Epoch = ""
		}
		res, err := b.Engine.Read(ctx, &c)
		res.Top.Epoch = epoch
		return res, err
	}
}

// changesEpoch has each Remove of a channel add to the name of its epoch.
func changesEpoch(b *bent) {
	var removals atomic.Int64
	mark := func(epoch string) string { return epoch + strings.Repeat("x", int(removals.Load())) }
	b.deliveries(func(next channel.Sink, p *channel.Publication) {
		c := *p
		c.Epoch = mark(p.Epoch)
		next.Deliver(&c)
	})
	b.remove = func(ctx context.Context, name string, p *channel.Policy) error {
		removals.Add(1)
		return b.Engine.Remove(ctx, name, p)
	}
	b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
		ack, err := b.Engine.Publish(ctx, r)
		ack.Epoch = mark(ack.Epoch)
		return ack, err
	}
	b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
		c := *r
		if base, ok := strings.CutSuffix(c.Since.Epoch, mark("")); ok && len(base) >= 8 {
			c.Since.Epoch = strings.TrimRight(base, "x")
		}
		res, err := b.Engine.Read(ctx, &c)
		res.Top.Epoch = mark(res.Top.Epoch)
		return res, err
	}
}

// deliversLate hands over to a goroutine that does not end with the engine.
func deliversLate(b *bent) {
	b.sink = func(next channel.Sink) channel.Sink {
		var mu sync.Mutex
		var queue []*channel.Publication
		var running bool
		return &bentSink{Sink: next, deliver: func(p *channel.Publication) {
			mu.Lock()
			defer mu.Unlock()
			queue = append(queue, p)
			if running {
				return
			}
			running = true
			go func() {
				<-time.After(time.Millisecond)
				for {
					mu.Lock()
					if len(queue) == 0 {
						running = false
						mu.Unlock()
						return
					}
					first := queue[0]
					queue = queue[1:]
					mu.Unlock()
					next.Deliver(first)
				}
			}()
		}}
	}
}
