package jetstream

import (
	"context"
	"maps"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// Deafen has an engine hear nothing of its feeds until heal is called, which is
// like a connection that was lost and made again.
func Deafen(e channel.Engine) (heal func()) {
	j := e.(*Engine)
	feeds := j.feeds.all()
	for _, f := range feeds {
		f.mu.Lock()
		_ = f.mu.sub.Unsubscribe()
		f.mu.Unlock()
	}
	watches := j.watches.all()
	for _, w := range watches {
		_ = w.sub.Unsubscribe()
	}
	return func() {
		for _, w := range watches {
			if err := w.listen(w.sub.Subject); err != nil {
				panic(err)
			}
		}
		for _, f := range feeds {
			if err := f.listen(); err != nil {
				panic(err)
			}
		}
		j.keeper.disturb()
	}
}

// Streams returns the names of the streams that an engine uses.
func Streams(e channel.Engine) []string {
	j := e.(*Engine)
	names := []string{j.life.stream(), j.life.stopStream()}
	j.streams.mu.RLock()
	defer j.streams.mu.RUnlock()
	for _, s := range slices.Collect(maps.Values(j.streams.mu.byKey)) {
		names = append(names, s.name)
	}
	return names
}

// Frame is what a message of a stream says, in the open.
type Frame struct {
	Kind        uint8
	Op          channel.Op
	Key         string
	Last, Prev  uint64
	Due         int64
	Origin      uint64
	Time        int64
	ContentType string
	Tags        map[string]string
	Info        *channel.ClientInfo
	Data        []byte
	Expires     int64
	Score       int64
	Base        int
}

// Encode returns the bytes of a frame.
func Encode(f Frame) []byte {
	fr := frame{
		kind: kind(f.Kind), op: f.Op, key: f.Key, last: f.Last, prev: f.Prev, due: f.Due, origin: f.Origin, time: f.Time,
		contentType: f.ContentType, tags: f.Tags, info: f.Info, data: f.Data,
		expires: f.Expires, score: f.Score, base: f.Base,
	}
	return fr.encode()
}

// Decode is the inverse of Encode.
func Decode(b []byte) (Frame, error) {
	f, err := decode(b)
	return Frame{
		Kind: uint8(f.kind), Op: f.op, Key: f.key, Last: f.last, Prev: f.prev, Due: f.due, Origin: f.origin, Time: f.time,
		ContentType: f.contentType, Tags: f.tags, Info: f.info, Data: f.data,
		Expires: f.expires, Score: f.score, Base: f.base,
	}, err
}

// Why a frame cannot be read.
func Newer() error { return errNewer }

// Foreign says that a frame is none.
func Foreign() error { return errFrame }

// Token returns a string as one token of a subject.
func Token(s string) string { return token(s) }

// Untoken is the inverse of Token.
func Untoken(t string) (string, bool) { return untoken(t) }

// AssetToken returns a string as a part of a stream's name.
func AssetToken(s string) string { return assetToken(s) }

// SetMinAge sets the least time that streams keep messages.
func (o *Options) SetMinAge(age time.Duration) { o.minAge = age }

// SetLaneRoom sets how many messages may wait for delivery in a lane.
func (o *Options) SetLaneRoom(n int) { o.laneRoom = n }

// StreamOf returns the name of the stream that a policy's channels have.
func StreamOf(ctx context.Context, e *Engine, p *channel.Policy) (string, error) {
	s, err := e.streams.of(ctx, p, false)
	return s.name, err
}

// SubjectOf returns the subject of a log channel.
func SubjectOf(ctx context.Context, e *Engine, p *channel.Policy, name string) (string, error) {
	s, err := e.streams.of(ctx, p, false)
	return s.subject(name), err
}

// Kept is what a stream holds of a log channel.
type Kept struct {
	Size  int
	Age   time.Duration
	Least int
	// Raised and Floor are sequences.
	Raised, Floor uint64
	Messages      []KeptMessage
}

// KeptMessage is one message of it.
type KeptMessage struct {
	Kind           uint8
	Sequence, Last uint64
	At             time.Time
}

// Answer returns what a read of it says, the top being known.
func (k Kept) Answer(top uint64, r *channel.ReadRequest, now time.Time) channel.ReadResult {
	inner := kept{start: 1, floor: k.Floor, shape: shape{keeps: retention{size: k.Size, age: k.Age}, least: k.Least, raised: k.Raised}}
	for _, m := range k.Messages {
		inner.msgs = append(inner.msgs, message{frame: frame{kind: kind(m.Kind), last: m.Last}, sequence: m.Sequence, at: m.At.UnixNano()})
	}
	inner.age(now)
	v := inner.view(top, r.Policy, now)
	return v.answer(r, channel.ReadResult{Top: channel.Position{Epoch: "e", Offset: top}})
}

// FloorOf returns the sequence up to which messages may have gone by age.
func FloorOf(sequences []uint64, at []time.Time, age time.Duration, now time.Time) (uint64, bool) {
	var marks []mark
	for i, s := range sequences {
		marks = append(marks, mark{s, at[i].UnixNano()})
	}
	return floorOf(marks, age, now)
}

// JetStream returns the interface to the streams.
func (e *Engine) JetStream() natsjs.JetStream { return e.js }

// SetRest sets how long deletions stay that could go.
func (o *Options) SetRest(d time.Duration) { o.rest = d }

// Ends are when entries end.
type Ends struct{ inner ends }

// Set says when the entry of a key ends, 0 for never.
func (e *Ends) Set(key string, at int64) { e.inner.set(key, at) }

// First returns when the next one ends.
func (e *Ends) First() int64 { return e.inner.first() }

// Over returns those that have ended.
func (e *Ends) Over(now int64) []string { return e.inner.over(now) }

// Size returns how much is remembered.
func (e *Ends) Size() int { return len(e.inner.heap) }

// SetBootFile says where to read what names this run of the machine.
func (o *Options) SetBootFile(path string) { o.bootFile = path }

// Gather returns the sequences that a reader keeps of the batches it got, each
// with how many were pending after it, of a channel with room for size.
func Gather(size int, batches [][]uint64, pending []uint64) []uint64 {
	k := kept{start: 1, shape: shape{keeps: retention{size: size}}}
	for i, sequences := range batches {
		var b batch
		for _, s := range sequences {
			b.msgs = append(b.msgs, message{frame: frame{kind: kindPublication}, sequence: s})
		}
		b.pending = pending[i]
		k.add(b)
	}
	var all []uint64
	for _, m := range k.msgs {
		all = append(all, m.sequence)
	}
	return all
}

// LiveSubjectOf returns the subject on which a stream sends on what it has of a
// log channel.
func LiveSubjectOf(ctx context.Context, e *Engine, p *channel.Policy, name string) (string, error) {
	s, err := e.streams.of(ctx, p, false)
	return s.feedSubject(name), err
}

// Lasting reports whether an error will be the same next time.
func Lasting(err error) bool { return lasting(err) }
