package channeltest_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/channel/channeltest"
)

// bent is a bus with one fault. What is nil is as it should be.
type bent struct {
	channeltest.BusNode
	broadcast func(b channeltest.BusNode, topic string, p []byte) error
	request   func(b channeltest.BusNode, ctx context.Context, node, topic string, p []byte) ([]byte, error)
	hear      func(fn hearer) hearer
	answer    func(fn answerer) answerer
	watch     func(fn func(channel.PeerEvent)) func(channel.PeerEvent)
	start     func(b channeltest.BusNode, ctx context.Context) error
	finish    func(b channeltest.BusNode, ctx context.Context) error
}

type (
	hearer   = func(from channel.Node, b []byte)
	answerer = func(ctx context.Context, from channel.Node, b []byte) ([]byte, error)
)

func (b *bent) Broadcast(topic string, p []byte) error {
	if b.broadcast != nil {
		return b.broadcast(b.BusNode, topic, p)
	}
	return b.BusNode.Broadcast(topic, p)
}

func (b *bent) Request(ctx context.Context, node, topic string, p []byte) ([]byte, error) {
	if b.request != nil {
		return b.request(b.BusNode, ctx, node, topic, p)
	}
	return b.BusNode.Request(ctx, node, topic, p)
}

func (b *bent) Hear(topic string, fn func(from channel.Node, b []byte)) {
	if b.hear != nil {
		fn = b.hear(fn)
	}
	b.BusNode.Hear(topic, fn)
}

func (b *bent) Answer(topic string, fn func(ctx context.Context, from channel.Node, b []byte) ([]byte, error)) {
	if b.answer != nil {
		fn = b.answer(fn)
	}
	b.BusNode.Answer(topic, fn)
}

func (b *bent) Watch(fn func(channel.PeerEvent)) {
	if b.watch != nil {
		fn = b.watch(fn)
	}
	b.BusNode.Watch(fn)
}

func (b *bent) Start(ctx context.Context) error {
	if b.start != nil {
		return b.start(b.BusNode, ctx)
	}
	return b.BusNode.Start(ctx)
}

func (b *bent) Close(ctx context.Context) error {
	if b.finish != nil {
		return b.finish(b.BusNode, ctx)
	}
	return b.BusNode.Close(ctx)
}

// busFaults are planted faults, by the check that must find each.
func busFaults() map[string]map[string]func(b *bent) {
	all := messageFaults()
	maps.Copy(all, lifeFaults())
	maps.Copy(all, requestFaults())
	return all
}

// messageFaults are those of broadcasts.
func messageFaults() map[string]map[string]func(b *bent) {
	return map[string]map[string]func(b *bent){
		"bus/order": {
			"messages come twice": func(b *bent) {
				b.hear = func(fn hearer) hearer {
					return func(from channel.Node, p []byte) { fn(from, p); fn(from, p) }
				}
			},
			"messages change places": func(b *bent) { b.hear = swapped },
			"one message is lost": func(b *bent) {
				var once sync.Once
				b.broadcast = func(n channeltest.BusNode, topic string, p []byte) (err error) {
					lost := false
					once.Do(func() { lost = true })
					if lost {
						return nil
					}
					return n.Broadcast(topic, p)
				}
			},
			"a node hears itself": func(b *bent) {
				var own hearer
				b.hear = func(fn hearer) hearer { own = fn; return fn }
				b.broadcast = func(n channeltest.BusNode, topic string, p []byte) error {
					own(n.Self(), p)
					return n.Broadcast(topic, p)
				}
			},
		},
		"bus/copies": {"messages are kept": func(b *bent) {
			var kept []byte
			b.broadcast = func(n channeltest.BusNode, topic string, p []byte) error {
				last := kept
				kept = p
				if last == nil {
					return nil
				}
				return n.Broadcast(topic, last)
			}
		}},
		"bus/size": {"large messages are dropped": func(b *bent) {
			b.broadcast = func(n channeltest.BusNode, topic string, p []byte) error {
				if len(p) > channel.MaxBusMessage {
					return nil
				}
				return n.Broadcast(topic, p)
			}
		}},
		"bus/slow-listener": {
			"a sender waits": func(b *bent) {
				sent := 0
				b.broadcast = func(n channeltest.BusNode, topic string, p []byte) error {
					if sent++; sent > 4096 {
						time.Sleep(time.Second)
					}
					return n.Broadcast(topic, p)
				}
			},
			"listeners are called beside each other": func(b *bent) {
				b.hear = func(fn hearer) hearer {
					return func(from channel.Node, p []byte) { go fn(from, p) }
				}
			},
		},
		"bus/not-running": {"a bus that does not run takes messages": func(b *bent) {
			b.broadcast = func(n channeltest.BusNode, topic string, p []byte) error {
				_ = n.Broadcast(topic, p)
				return nil
			}
		}},
	}
}

// lifeFaults are those of coming and going.
func lifeFaults() map[string]map[string]func(b *bent) {
	return map[string]map[string]func(b *bent){
		"bus/goodbye": {"there is no goodbye": func(b *bent) {
			b.finish = func(n channeltest.BusNode, _ context.Context) error {
				time.Sleep(5 * time.Second)
				return nil
			}
		}},
		"bus/death": {"death is not announced": func(b *bent) {
			b.watch = func(fn func(channel.PeerEvent)) func(channel.PeerEvent) {
				return func(e channel.PeerEvent) {
					if e.Up {
						fn(e)
					}
				}
			}
		}},
		"bus/acquaintance": {"peers come twice": func(b *bent) {
			b.watch = func(fn func(channel.PeerEvent)) func(channel.PeerEvent) {
				return func(e channel.PeerEvent) { fn(e); fn(e) }
			}
		}},
		"bus/flood-and-die": {"the dead speak": func(b *bent) { speakAfterDeath(b) }},
		"bus/same-name": {"a second one is let in": func(b *bent) {
			b.start = func(n channeltest.BusNode, ctx context.Context) error {
				if err := n.Start(ctx); !errors.Is(err, channel.ErrConflict) {
					return err
				}
				return nil
			}
		}},
	}
}

// requestFaults are those of questions and answers.
func requestFaults() map[string]map[string]func(b *bent) {
	return map[string]map[string]func(b *bent){
		"bus/request-errors": {"errors lose their code": func(b *bent) {
			b.request = func(n channeltest.BusNode, ctx context.Context, node, topic string, p []byte) ([]byte, error) {
				out, err := n.Request(ctx, node, topic, p)
				if err != nil {
					return nil, channel.ErrInternal
				}
				return out, nil
			}
		}},
		"bus/requests-at-once": {"requests wait for each other": func(b *bent) {
			// A channel, because a bubble sees who waits for it.
			one := make(chan struct{}, 1)
			b.answer = func(fn answerer) answerer {
				return func(ctx context.Context, from channel.Node, p []byte) ([]byte, error) {
					one <- struct{}{}
					defer func() { <-one }()
					return fn(ctx, from, p)
				}
			}
		}},
		"bus/request-given-up": {"an answer goes on for ever": func(b *bent) {
			b.answer = func(fn answerer) answerer {
				return func(ctx context.Context, from channel.Node, p []byte) ([]byte, error) {
					over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
					defer cancel()
					return fn(over, from, p)
				}
			}
		}},
		"bus/request-of-the-dying": {"who asks the dead waits": func(b *bent) {
			b.request = func(n channeltest.BusNode, ctx context.Context, node, topic string, p []byte) ([]byte, error) {
				out, err := n.Request(ctx, node, topic, p)
				if err != nil {
					time.Sleep(10 * time.Second)
				}
				return out, err
			}
		}},
	}
}

// swapped lets every second message come before the one ahead of it.
func swapped(fn hearer) hearer {
	type held struct {
		from channel.Node
		p    []byte
	}
	var waiting *held
	return func(from channel.Node, p []byte) {
		if waiting == nil {
			waiting = &held{from, p}
			return
		}
		fn(from, p)
		fn(waiting.from, waiting.p)
		waiting = nil
	}
}

// speakAfterDeath repeats the last words of a node that is gone.
func speakAfterDeath(b *bent) {
	var hears hearer
	last := make(map[channel.Node][]byte)
	b.hear = func(fn hearer) hearer {
		hears = func(from channel.Node, p []byte) {
			last[from] = p
			fn(from, p)
		}
		return hears
	}
	b.watch = func(fn func(channel.PeerEvent)) func(channel.PeerEvent) {
		return func(e channel.PeerEvent) {
			fn(e)
			if p := last[e.Node]; !e.Up && p != nil {
				hears(e.Node, p)
			}
		}
	}
}

// TestBusFaultsAreFound holds the suite against buses with planted faults.
func TestBusFaultsAreFound(t *testing.T) {
	for check, faults := range busFaults() {
		for name, plant := range faults {
			t.Run(name, func(t *testing.T) {
				f := inMemory()
				straight := f.New
				f.New = func(tb testing.TB) channeltest.BusWorld {
					w := straight(tb)
					join := w.Join
					w.Join = func(id string) channeltest.BusNode {
						b := &bent{BusNode: join(id)}
						plant(b)
						return b
					}
					return w
				}
				err := channeltest.ExamineBus(t, f, check)
				if err == nil {
					t.Errorf("%s did not find that %s", check, name)
				}
				t.Log(err)
			})
		}
	}
}
