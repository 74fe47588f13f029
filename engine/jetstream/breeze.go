package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

// breeze carries the channels that nothing keeps. Each node gives their
// publications offsets of its own.
type breeze struct {
	engine *Engine
	epoch  string
	ids    *ids
	mu     struct {
		sync.Mutex
		// offset is the last one given.
		offset uint64
	}
}

func newBreeze(e *Engine) *breeze {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], e.origin)
	return &breeze{engine: e, epoch: base64.RawURLEncoding.EncodeToString(b[:]), ids: newIDs(e.options.MaxIDs)}
}

func (b *breeze) next() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.offset++
	return b.mu.offset
}

func (b *breeze) now() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.offset
}

func (b *breeze) at(offset uint64) channel.Position {
	return channel.Position{Epoch: b.epoch, Offset: offset}
}

// under returns what the subjects of a namespace begin with.
func (b *breeze) under(namespace string) string {
	return b.engine.options.Prefix + "." + letterFleet + "." + token(namespace) + "."
}

func (b *breeze) subject(p *channel.Policy, name string) string {
	return b.under(p.Namespace) + token(name)
}

// publish sends to the other nodes, and delivers here.
func (b *breeze) publish(r *channel.PublishRequest) (channel.Ack, error) {
	f := frame{
		kind: kindPublication, contentType: r.ContentType, tags: r.Tags, info: r.Info, data: r.Data,
		origin: b.engine.origin, time: time.Now().UnixMilli(), expires: r.Expires,
	}
	m := &nats.Msg{Subject: b.subject(r.Policy, r.Channel), Data: f.encode()}
	if err := b.engine.fits(m); err != nil {
		return channel.Ack{}, err
	}
	if r.ID == "" {
		return b.send(r.Channel, &f, m)
	}
	for {
		// Those who publish the same id at the same time wait for the first.
		claim := b.ids.claim(messageID(r.Channel, r.ID), r.Policy.DedupeWindow)
		if claim.first {
			ack, err := b.send(r.Channel, &f, m)
			claim.settle(ack.Position, err)
			return ack, err
		}
		if at, known := claim.wait(); known {
			return channel.Ack{Position: at, Duplicate: true}, nil
		}
	}
}

// send sends to the others before it delivers here, so that nobody who waits
// for the network holds up the feed.
func (b *breeze) send(name string, f *frame, m *nats.Msg) (channel.Ack, error) {
	if err := b.cast(m); err != nil {
		return channel.Ack{}, err
	}
	feed := b.engine.feeds.get(name)
	if feed == nil || feed.stream != nil {
		return channel.Ack{Position: b.at(b.next())}, nil
	}
	feed.mu.Lock()
	defer feed.mu.Unlock()
	return channel.Ack{Position: b.handLocked(feed, f)}, nil
}

// cast sends to the other nodes, without waiting for any.
func (b *breeze) cast(m *nats.Msg) error {
	if err := b.engine.conn.PublishMsg(m); err != nil {
		return channel.ErrUnavailable.Wrap(err)
	}
	return nil
}

// handLocked delivers a publication with the next offset.
func (b *breeze) handLocked(f *feed, fr *frame) channel.Position {
	at := b.at(b.next())
	if f.mu.phase != phaseRunning {
		return at
	}
	b.engine.sink.Deliver(&channel.Publication{
		Channel: f.name, Position: at, Prev: f.mu.last,
		Data: fr.data, ContentType: fr.contentType, Tags: fr.tags, Info: fr.info,
		Time: fr.time, Expires: fr.expires,
	})
	f.mu.last = at.Offset
	return at
}

// deliverLocked takes what another node sent.
func (b *breeze) deliverLocked(f *feed, m *nats.Msg) {
	fr, err := decode(m.Data)
	if err != nil || fr.kind != kindPublication {
		b.engine.options.Metrics.Limit(observe.LimitForeign).Inc()
		b.engine.options.Logger.Debug("a message of another node cannot be read", observe.KeyErr, err)
		return
	}
	if fr.origin != b.engine.origin {
		b.handLocked(f, &fr)
	}
}

// subscribe opens the feed of a channel. Its top is a new offset, as nobody
// knows what came while nobody listened.
func (b *breeze) subscribe(ctx context.Context, name string, p *channel.Policy) (channel.Position, error) {
	for {
		f, fresh, err := b.engine.feeds.add(name, b.subject(p, name), nil)
		if err != nil {
			return channel.Position{}, err
		}
		if fresh {
			return b.open(f)
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			return channel.Position{}, channel.ErrUnavailable.Wrap(ctx.Err())
		}
		if at, ok := b.top(f); ok {
			return at, nil
		}
	}
}

func (b *breeze) open(f *feed) (channel.Position, error) {
	defer close(f.ready)
	f.mu.Lock()
	top := b.next()
	f.mu.last = top
	if f.mu.phase == phaseNew {
		f.mu.phase = phaseRunning
	}
	f.mu.Unlock()
	if err := f.listen(); err != nil {
		b.engine.feeds.remove(f)
		return channel.Position{}, err
	}
	return b.at(top), nil
}

// top returns where a feed is, and whether it is open.
func (b *breeze) top(f *feed) (channel.Position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return b.at(f.mu.last), f.mu.phase == phaseRunning
}

// read answers for a channel of which nothing is kept.
func (b *breeze) read(r *channel.ReadRequest) channel.ReadResult {
	res := channel.ReadResult{Top: b.at(b.now())}
	if f := b.engine.feeds.get(r.Channel); f != nil && f.stream == nil {
		res.Top, _ = b.top(f)
	}
	fits := r.Since.Epoch == "" || r.Since.Epoch == res.Top.Epoch
	res.Complete = fits && !r.Reverse && r.Since.Offset == res.Top.Offset
	return res
}
