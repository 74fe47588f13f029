package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// streamKey says which channels share a stream: those of one namespace, of one
// kind, kept in the same place.
type streamKey struct {
	namespace string
	kind      channel.Kind
	memory    bool
}

// stream is the JetStream stream of the channels of a namespace.
type stream struct {
	engine *Engine
	key    streamKey
	// name is the stream's own, prefix what its subjects begin with after
	// their letter: "f.chat.".
	name, prefix string

	mu struct {
		sync.Mutex
		// ready: the stream is there and what follows is known.
		ready bool
		keeps retention
		epoch string
	}
}

// retention is how much a stream keeps.
type retention struct {
	// size is how many messages of one subject, age how long, where 0 is for
	// ever, and window how long ids are known.
	size   int
	age    time.Duration
	window time.Duration
}

// spare is how many messages of a channel are kept beyond its history: the one
// before it, and a marker.
const spare = 2

// wanted returns the retention that a policy needs.
func (o *Options) wanted(p *channel.Policy) retention {
	r := retention{size: p.HistorySize + spare, window: p.DedupeWindow}
	orElse(&r.window, channel.DefaultDedupeWindow)
	meta := p.MetaTTL
	orElse(&meta, channel.DefaultMetaTTL)
	if p.HistoryTTL > 0 {
		// The last message must outlive its time in the history, or nobody
		// could tell that nothing came after it.
		r.age = max(p.HistoryTTL, r.window, min(meta, o.MaxMetaTTL))
	}
	return r
}

// covers reports whether what r keeps is enough for other.
func (r retention) covers(other retention) bool { return r == r.union(other) }

// union returns what keeps as much as both.
func (r retention) union(other retention) retention {
	u := retention{size: max(r.size, other.size), age: max(r.age, other.age), window: max(r.window, other.window)}
	if r.age == 0 || other.age == 0 {
		u.age = 0
	}
	if u.age > 0 {
		u.age = max(u.age, u.window)
	}
	return u
}

// streams finds the streams by what they keep.
type streams struct {
	engine *Engine
	mu     struct {
		sync.RWMutex
		byKey map[streamKey]*stream
	}
}

func newStreams(e *Engine) *streams {
	s := &streams{engine: e}
	s.mu.byKey = make(map[streamKey]*stream)
	return s
}

// of returns the stream for a policy, which is made where there is none. exact
// says that it must keep what the policy wants and no more.
func (t *streams) of(ctx context.Context, p *channel.Policy, exact bool) (*stream, error) {
	key := streamKey{namespace: p.Namespace, kind: p.Kind, memory: p.Durability == channel.DurabilityMemory}
	t.mu.RLock()
	s := t.mu.byKey[key]
	t.mu.RUnlock()
	if s == nil {
		t.mu.Lock()
		if s = t.mu.byKey[key]; s == nil {
			s = newStream(t.engine, key)
			t.mu.byKey[key] = s
		}
		t.mu.Unlock()
	}
	return s, s.prepare(ctx, t.engine.options.wanted(p), exact)
}

func newStream(e *Engine, key streamKey) *stream {
	kind, place := "log", "file"
	if key.kind == channel.KindState {
		kind = "state"
	}
	if key.memory {
		place = "memory"
	}
	return &stream{
		engine: e, key: key,
		name:   fmt.Sprintf("%s_%s_%s_%s", assetToken(e.options.Prefix), kind, place, assetToken(key.namespace)),
		prefix: place[:1] + "." + token(key.namespace) + ".",
	}
}

// The letters of subjects: of log channels in a stream, of what the stream
// sends on when it has it, of the ticks, and of channels that nothing keeps.
const (
	letterLog   = "h"
	letterLive  = "l"
	letterTick  = "t"
	letterFleet = "e"
)

// subject returns that of a channel.
func (s *stream) subject(letter, name string) string {
	return s.engine.options.Prefix + "." + letter + "." + s.prefix + token(name)
}

// prepare makes sure that the stream is there and keeps enough.
func (s *stream) prepare(ctx context.Context, want retention, exact bool) error {
	s.mu.Lock()
	ready := s.mu.ready && s.mu.keeps.covers(want)
	s.mu.Unlock()
	if ready {
		return nil
	}
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	for pause := minPause; ; {
		err := s.ensure(ctx, want, exact)
		if err == nil {
			return nil
		}
		var next error
		if pause, next = wait(ctx, pause); next != nil {
			return channel.ErrUnavailable.With("the stream of the namespace is not there").Wrap(errors.Join(next, err))
		}
	}
}

// ensure tries once.
func (s *stream) ensure(ctx context.Context, want retention, exact bool) error {
	js := s.engine.js
	st, err := js.Stream(ctx, s.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		st, err = js.CreateStream(ctx, s.config(want))
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	info := st.CachedInfo()
	keeps := retention{size: int(info.Config.MaxMsgsPerSubject), age: info.Config.MaxAge, window: info.Config.Duplicates}
	if exact && keeps != want || !keeps.covers(want) {
		if !exact {
			want = keeps.union(want)
		}
		st, err = js.UpdateStream(ctx, s.config(want))
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		info, keeps = st.CachedInfo(), want
	}
	if err := s.tick(ctx, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.keeps, s.mu.ready = keeps, true
	s.mu.epoch = s.epochOf(info)
	return nil
}

// config returns what the stream should be.
func (s *stream) config(keeps retention) natsjs.StreamConfig {
	o := &s.engine.options
	c := natsjs.StreamConfig{
		Name:              s.name,
		Description:       "Myelin: the log channels of a namespace",
		Subjects:          []string{s.subjects(letterLog), s.subjects(letterTick)},
		MaxMsgsPerSubject: int64(keeps.size),
		MaxAge:            keeps.age,
		Duplicates:        keeps.window,
		MaxBytes:          -1,
		Discard:           natsjs.DiscardNew,
		Replicas:          o.Replicas,
		AllowDirect:       true,
		DenyDelete:        true,
		RePublish:         &natsjs.RePublish{Source: s.subjects(letterLog), Destination: s.subjects(letterLive)},
	}
	if s.key.memory {
		c.Storage = natsjs.MemoryStorage
	}
	if o.MaxBytesPerStream > 0 {
		c.MaxBytes = o.MaxBytesPerStream
	}
	return c
}

// subjects returns those of all channels of the stream.
func (s *stream) subjects(letter string) string {
	return s.engine.options.Prefix + "." + letter + "." + s.prefix + ">"
}

// epochOf returns the epoch of the stream's channels: it ends when the stream
// does.
func (s *stream) epochOf(info *natsjs.StreamInfo) string {
	text := fmt.Sprintf("%s\n%s\n%d", s.engine.options.Prefix, s.name, info.Created.UnixNano())
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (s *stream) epoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.epoch
}

// tick puts a mark into the stream, unless somebody else has.
func (s *stream) tick(ctx context.Context, number int64) error {
	f := frame{kind: kindTick}
	m := nats.NewMsg(s.engine.options.Prefix + "." + letterTick + "." + s.prefix + strconv.FormatInt(number, 10))
	m.Data = f.encode()
	m.Header.Set(headerExpectedSubject, "0")
	_, err := s.engine.send(ctx, m, false)
	if errors.Is(err, errElsewhere) {
		return nil
	}
	return err
}
