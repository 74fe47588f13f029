package memory_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"myelin/channel"
)

func completenessFaults() []fault {
	return []fault{
		{"every answer is said to be complete", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) { res.Complete = !r.Reverse })
		}, []string{
			"read/size-edge", "read/foreign-position", "read/no-epoch", "read/limit", "read/ephemeral", "remove/history",
			"expiry/history", "expiry/history-while-publishing", "expiry/position-forgotten", "read/while-publishing", "restart/clean",
		}},
		{"no answer is said to be complete", func(b *bent) {
			b.results(func(_ *channel.ReadRequest, res *channel.ReadResult) { res.Complete = false })
		}, []string{"read/empty", "read/size-edge", "order/one-channel", "names/good", "state/history", "snapshot/between-pages"}},
		{"one publication too many is wanted for completeness", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				if res.Complete && r.Since.Offset > 0 && len(res.Pubs) > 1 {
					before := *r
					before.Reverse, before.Since, before.Limit = true, res.Pubs[0].Position, 1
					older, _ := b.Engine.Read(context.Background(), &before)
					res.Complete = len(older.Pubs) > 0
				}
			})
		}, []string{"read/size-edge", "expiry/history-while-publishing", "read/limit"}},
		{"a position beyond the top is complete", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				res.Complete = res.Complete || r.Since.Offset > res.Top.Offset && r.Since.Epoch == res.Top.Epoch
			})
		}, []string{"read/foreign-position"}},
	}
}

func readFaults() []fault {
	return []fault{
		{"one publication too few is kept", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.HistorySize = max(0, p.HistorySize-1) })
		}, []string{"read/size-edge", "read/reverse", "read/pages"}},
		{"one publication too many is kept", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.HistorySize++ })
		}, []string{"read/size-edge", "read/reverse", "read/ephemeral", "model/state"}},
		{"history does not expire", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.HistoryTTL = 0 })
		}, []string{"expiry/history", "expiry/history-while-publishing", "model/state"}},
		{"history expires too early", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.HistoryTTL /= 2 })
		}, []string{"expiry/history", "expiry/history-while-publishing"}},
		{"the epoch of a position is not looked at", func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				c.Since.Epoch = ""
				return b.Engine.Read(ctx, &c)
			}
		}, []string{"read/foreign-position", "restart/clean"}},
		{"the limit is not looked at", func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				c.Limit = -1
				return b.Engine.Read(ctx, &c)
			}
		}, []string{"read/limit", "read/pages", "read/reverse", "model/state"}},
		{"limit 0 is no limit", func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				if c.Limit == 0 {
					c.Limit = -1
				}
				return b.Engine.Read(ctx, &c)
			}
		}, []string{"read/limit", "read/reverse"}},
		{"backwards is forwards", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				if r.Reverse {
					slices.Reverse(res.Pubs)
				}
			})
		}, []string{"read/reverse", "read/pages"}},
		{"backwards takes in where it starts", func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				if c.Reverse && !c.Since.IsZero() {
					c.Since.Offset++
				}
				return b.Engine.Read(ctx, &c)
			}
		}, []string{"read/reverse"}},
	}
}

func byteFaults() []fault {
	reads := func(tamper func(r *channel.ReadRequest)) func(b *bent) {
		return func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				tamper(&c)
				return b.Engine.Read(ctx, &c)
			}
		}
	}
	return []fault{
		{"the bytes of an answer are not looked at", reads(func(r *channel.ReadRequest) {
			r.MaxBytes = 0
		}), []string{"read/bytes", "read/byte-pages", "model/state"}},
		{"the bytes of an answer are not looked at backwards", reads(func(r *channel.ReadRequest) {
			if r.Reverse {
				r.MaxBytes = 0
			}
		}), []string{"read/bytes", "read/byte-pages"}},
		{"an answer may be a byte too long", reads(func(r *channel.ReadRequest) {
			if r.MaxBytes > 0 {
				r.MaxBytes++
			}
		}), []string{"read/bytes"}},
		{"an answer stops a byte early", reads(func(r *channel.ReadRequest) {
			if r.MaxBytes > 0 {
				r.MaxBytes = max(1, r.MaxBytes-1)
			}
		}), []string{"read/bytes"}},
		{"no publications are one where bytes are limited", reads(func(r *channel.ReadRequest) {
			if r.Limit == 0 && r.MaxBytes > 0 {
				r.Limit = 1
			}
		}), []string{"read/bytes"}},
		{"what is larger than an answer is left out", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				if r.MaxBytes > 0 && len(res.Pubs) == 1 && len(res.Pubs[0].Data) > r.MaxBytes {
					res.Pubs = nil
				}
			})
		}, []string{"read/bytes", "read/byte-pages"}},
		{"an answer that was cut is not said to be complete", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				if n := len(res.Pubs); r.MaxBytes > 0 && n > 0 && res.Pubs[n-1].Position != res.Top {
					res.Complete = false
				}
			})
		}, []string{"read/bytes"}},
		{"the top of an answer that was cut is its end", func(b *bent) {
			b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
				if n := len(res.Pubs); r.MaxBytes > 0 && n > 0 {
					res.Top = res.Pubs[n-1].Position
				}
			})
		}, []string{"read/bytes", "read/byte-pages"}},
	}
}

func answerFaults() []fault {
	return []fault{
		{"answers share their list", sharesAnswers, []string{"read/answer-is-mine"}},
		{"the top of an answer is older than its end", func(b *bent) {
			b.read = func(ctx context.Context, r *channel.ReadRequest) (channel.ReadResult, error) {
				c := *r
				c.Limit = 0
				first, err := b.Engine.Read(ctx, &c)
				if err != nil {
					return first, err
				}
				// Until somebody has published, if anybody is about to.
				for range 5000 {
					runtime.Gosched()
					if now, err := b.Engine.Read(ctx, &c); err != nil || now.Top != first.Top {
						break
					}
				}
				second, err := b.Engine.Read(ctx, r)
				second.Top = first.Top
				return second, err
			}
		}, []string{"read/while-publishing"}},
		{"an unused channel has another epoch each time", func(b *bent) {
			fresh := every(1)
			b.results(func(_ *channel.ReadRequest, res *channel.ReadResult) {
				if res.Top.Offset == 0 && fresh() {
					res.Top.Epoch = "other"
				}
			})
		}, []string{"read/empty", "order/epoch-stays"}},
		{"Remove does nothing", func(b *bent) {
			b.remove = func(context.Context, string, *channel.Policy) error { return nil }
		}, []string{"remove/history", "remove/entries", "model/state", "snapshot/cursor"}},
	}
}

// sharesAnswers gives the same list to all who ask the same, while the top
// stays.
func sharesAnswers(b *bent) {
	var mu sync.Mutex
	type question struct {
		r   channel.ReadRequest
		top channel.Position
	}
	given := make(map[question][]*channel.Publication)
	b.results(func(r *channel.ReadRequest, res *channel.ReadResult) {
		mu.Lock()
		defer mu.Unlock()
		q := question{*r, res.Top}
		if before, ok := given[q]; ok {
			res.Pubs = before
			return
		}
		given[q] = res.Pubs
	})
}

func idFaults() []fault {
	return []fault{
		{"ids are not remembered", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.ID = "" })
		}, []string{
			"dedupe/same-id", "dedupe/window", "dedupe/in-parallel", "dedupe/ephemeral", "dedupe/failed-is-forgotten",
			"dedupe/retried-expectation", "model/state",
		}},
		{"ids are remembered for too long", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.DedupeWindow *= 2 })
		}, []string{"dedupe/window", "model/state"}},
		{"ids are forgotten too early", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.DedupeWindow /= 2 })
		}, []string{"dedupe/window"}},
		{"ids are forgotten with their subscriber", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) {
				if !r.Policy.Recoverable() {
					r.ID = ""
				}
			})
		}, []string{"dedupe/ephemeral"}},
		{"duplicates are not said to be", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				ack, err := b.Engine.Publish(ctx, r)
				ack.Duplicate = false
				return ack, err
			}
		}, []string{"dedupe/same-id", "dedupe/in-parallel"}},
		{"ids of all channels are one", func(b *bent) {
			ids := rememberAcks(func(r *channel.PublishRequest) string { return r.ID })
			b.publish = ids(b, false)
		}, []string{"dedupe/same-id"}},
		{"who meets is not told apart", func(b *bent) {
			ids := rememberAcks(func(r *channel.PublishRequest) string { return r.Channel + " " + r.ID })
			b.publish = ids(b, true)
		}, []string{"dedupe/in-parallel"}},
		{"the id of a failed publish is remembered", func(b *bent) {
			var failed sync.Map
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				if _, ok := failed.Load(r.ID); ok && r.ID != "" {
					return channel.Ack{Position: channel.Position{Epoch: "e", Offset: 1}, Duplicate: true}, nil
				}
				ack, err := b.Engine.Publish(ctx, r)
				if err != nil {
					failed.Store(r.ID, true)
				}
				return ack, err
			}
		}, []string{"dedupe/failed-is-forgotten", "life/given-up"}},
		{"an expectation is held against its own success", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				if r.Expect != nil && r.ID != "" {
					page, err := b.Engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: r.Policy})
					if err == nil && len(page.Items) > 0 && page.Items[0].Offset != *r.Expect {
						return channel.Ack{}, channel.ErrConflict
					}
				}
				return b.Engine.Publish(ctx, r)
			}
		}, []string{"dedupe/retried-expectation"}},
	}
}

// rememberAcks remembers the acknowledgements of ids by a key of its own
// making, and lets go of its lock in between where it is careless.
func rememberAcks(key func(r *channel.PublishRequest) string) func(b *bent, careless bool) func(context.Context, *channel.PublishRequest) (channel.Ack, error) {
	var mu sync.Mutex
	acks := make(map[string]channel.Ack)
	return func(b *bent, careless bool) func(context.Context, *channel.PublishRequest) (channel.Ack, error) {
		return func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
			if r.ID == "" {
				return b.Engine.Publish(ctx, r)
			}
			mu.Lock()
			defer mu.Unlock()
			k := key(r)
			if ack, ok := acks[k]; ok {
				ack.Duplicate = true
				return ack, nil
			}
			if careless {
				mu.Unlock()
				runtime.Gosched()
			}
			bare := *r
			bare.ID = ""
			ack, err := b.Engine.Publish(ctx, &bare)
			if careless {
				mu.Lock()
			}
			if err == nil {
				acks[k] = ack
			}
			return ack, err
		}
	}
}

func stateFaults() []fault {
	return []fault{
		{"the end of an entry is not told", func(b *bent) {
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				if p.Op != channel.OpExpire {
					next.Deliver(p)
				}
			})
		}, []string{"state/expire", "state/expire-many", "model/state", "remove/entries", "cas/expect"}},
		{"the end of an entry is told as a delete", func(b *bent) {
			b.deliveries(func(next channel.Sink, p *channel.Publication) {
				c := *p
				if p.Op == channel.OpExpire {
					c.Op = channel.OpDelete
				}
				next.Deliver(&c)
			})
		}, []string{"state/expire", "model/state"}},
		{"a delete does not delete", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) {
				if r.Op == channel.OpDelete {
					r.Op = channel.OpPut
				}
			})
		}, []string{"state/put-and-delete", "cas/expect", "model/state"}},
		{"a delete of nothing is not told", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				if r.Op == channel.OpDelete && len(r.Key) <= channel.MaxKeyBytes {
					page, err := b.Engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: r.Policy})
					if err != nil || !slices.ContainsFunc(page.Items, func(p *channel.Publication) bool { return p.Key == r.Key }) {
						return channel.Ack{Position: page.At}, err
					}
				}
				return b.Engine.Publish(ctx, r)
			}
		}, []string{"state/put-and-delete"}},
		{"the score of a put is lost", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.Score = 0 })
		}, []string{"state/whole-entry", "refuse/wrong-kind"}},
		{"entries do not end", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.KeyTTL = 0 })
		}, []string{"state/expire", "state/expire-unseen", "state/lifetimes", "cas/expect"}},
		{"the ttl of a put is not looked at", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.TTL = 0 })
		}, []string{"state/lifetimes", "state/expire-many", "refuse/wrong-kind"}},
		{"entries leave with the history", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.KeyTTL = p.HistoryTTL })
		}, []string{"state/outlives-history"}},
	}
}

func casFaults() []fault {
	return []fault{
		{"the expected offset is not looked at", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.Expect = nil })
		}, []string{"cas/expect", "cas/contention", "cas/create-once", "remove/entries", "model/state"}},
		{"the expected offset is looked at too early", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				if r.Expect == nil || r.Op != channel.OpPut {
					return b.Engine.Publish(ctx, r)
				}
				c := *r
				page, err := b.Engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: r.Policy})
				if err != nil {
					return channel.Ack{}, err
				}
				at := uint64(0)
				for _, i := range page.Items {
					if i.Key == r.Key {
						at = i.Offset
					}
				}
				if at == *r.Expect {
					c.Expect = nil
				}
				runtime.Gosched()
				return b.Engine.Publish(ctx, &c)
			}
		}, []string{"cas/contention", "cas/create-once"}},
		{"a conflict does not tell the offset", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				ack, err := b.Engine.Publish(ctx, r)
				if errors.Is(err, channel.ErrConflict) {
					err = channel.ErrConflict
				}
				return ack, err
			}
		}, []string{"cas/expect", "cas/create-once"}},
		{"the change of an entry is not in the history", func(b *bent) {
			b.results(func(_ *channel.ReadRequest, res *channel.ReadResult) {
				res.Pubs = slices.DeleteFunc(res.Pubs, func(p *channel.Publication) bool { return p.Op == channel.OpDelete })
			})
		}, []string{"state/history", "snapshot/between-pages", "model/state"}},
	}
}

func snapshotFaults() []fault {
	return []fault{
		{"every page has its own position", func(b *bent) {
			b.pages(func(r *channel.SnapshotRequest, page *channel.StatePage) {
				res, _ := b.Engine.Read(context.Background(), &channel.ReadRequest{Channel: r.Channel, Policy: r.Policy})
				page.At = res.Top
			})
		}, []string{"snapshot/while-writing", "snapshot/between-pages", "model/state"}},
		{"the position of a snapshot is too new", func(b *bent) {
			b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
				page, err := b.Engine.Snapshot(ctx, r)
				if err == nil && r.Cursor == "" && page.Next != "" {
					page.At.Offset++
				}
				return page, err
			}
		}, []string{"snapshot/pages", "snapshot/between-pages"}},
		{"pages are not in order", func(b *bent) {
			b.pages(func(_ *channel.SnapshotRequest, page *channel.StatePage) { slices.Reverse(page.Items) })
		}, []string{"snapshot/pages", "model/state"}},
		{"the last entry of a page is lost", func(b *bent) {
			b.pages(func(_ *channel.SnapshotRequest, page *channel.StatePage) {
				if page.Next != "" && len(page.Items) > 1 {
					page.Items = page.Items[:len(page.Items)-1]
				}
			})
		}, []string{"snapshot/pages", "snapshot/while-writing"}},
		{"a page has more than was asked for", func(b *bent) {
			b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
				c := *r
				c.Limit *= 2
				return b.Engine.Snapshot(ctx, &c)
			}
		}, []string{"snapshot/pages"}},
		{"a cursor nobody gave begins anew", func(b *bent) {
			b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
				page, err := b.Engine.Snapshot(ctx, r)
				if err != nil && r.Cursor != "" {
					c := *r
					c.Cursor = ""
					return b.Engine.Snapshot(ctx, &c)
				}
				return page, err
			}
		}, []string{"snapshot/cursor"}},
		{"a snapshot goes on after Remove", func(b *bent) {
			b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
				page, err := b.Engine.Snapshot(ctx, r)
				if errors.Is(err, channel.ErrUnrecoverable) {
					res, _ := b.Engine.Read(ctx, &channel.ReadRequest{Channel: r.Channel, Policy: r.Policy})
					return channel.StatePage{At: res.Top}, nil
				}
				return page, err
			}
		}, []string{"snapshot/cursor", "model/state"}},
		{"the entry of one key is the next one", func(b *bent) {
			b.snapshot = func(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
				if r.Key == "" {
					return b.Engine.Snapshot(ctx, r)
				}
				return b.Engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: r.Policy, Limit: 1})
			}
		}, []string{"snapshot/one-key"}},
		{"there may be any number of keys", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.MaxKeys = 0 })
		}, []string{"state/max-keys"}},
	}
}
