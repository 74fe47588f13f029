package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// streamKey says which channels share a stream: those of one namespace, of one
// kind, kept in the same place. Durability sync and async share the stream on
// file, but not what is known of it, as their epochs differ.
type streamKey struct {
	namespace  string
	kind       channel.Kind
	durability channel.Durability
}

func (k streamKey) memory() bool { return k.durability == channel.DurabilityMemory }

// stream is the JetStream stream of the channels of a namespace.
type stream struct {
	engine *Engine
	key    streamKey
	// name is the stream's own, prefix what its subjects begin with after
	// their letter: "f.chat.".
	name, prefix string
	// setup is held by who looks after the stream at the servers.
	setup chan struct{}
	// complained is when an unreadable message was last told of, in Unix
	// seconds.
	complained atomic.Int64

	mu struct {
		sync.Mutex
		// ready: the stream is there and what follows is known.
		ready bool
		shape shape
		epoch string
		ticks []mark
		// high is the highest sequence seen in this epoch.
		high uint64
	}
}

// streams finds the streams by what they keep.
type streams struct {
	engine *Engine
	mu     struct {
		sync.RWMutex
		byKey map[streamKey]*stream
	}
}

// maxStreams is how many streams an Engine may have: each one costs the
// servers goroutines, files and an election.
const maxStreams = 1024

func newStreams(e *Engine) *streams {
	s := &streams{engine: e}
	s.mu.byKey = make(map[streamKey]*stream)
	return s
}

// of returns the stream for a policy, which is made where there is none. exact
// says that it is to keep what the policy wants and no more.
func (t *streams) of(ctx context.Context, p *channel.Policy, exact bool) (*stream, error) {
	key := streamKey{namespace: p.Namespace, kind: p.Kind, durability: p.Durability}
	t.mu.RLock()
	s := t.mu.byKey[key]
	t.mu.RUnlock()
	if s == nil {
		var err error
		if s, err = t.add(key); err != nil {
			return nil, err
		}
	}
	return s, s.prepare(ctx, t.engine.options.wanted(p), exact)
}

func (t *streams) add(key streamKey) (*stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.byKey[key]
	if s == nil {
		if len(t.mu.byKey) >= maxStreams {
			return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("at most %d namespaces can be kept", maxStreams))
		}
		s = newStream(t.engine, key)
		t.mu.byKey[key] = s
	}
	return s, nil
}

// all returns the streams that are ready.
func (t *streams) all() []*stream {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*stream
	for _, s := range t.mu.byKey {
		if s.isReady() {
			all = append(all, s)
		}
	}
	return all
}

func newStream(e *Engine, key streamKey) *stream {
	kind, place := "log", "file"
	if key.kind == channel.KindState {
		kind = "state"
	}
	if key.memory() {
		place = "memory"
	}
	return &stream{
		engine: e, key: key, setup: make(chan struct{}, 1),
		name:   fmt.Sprintf("%s_%s_%s_%s", assetToken(e.options.Prefix), kind, place, assetToken(key.namespace)),
		prefix: place[:1] + "." + token(key.namespace) + ".",
	}
}

// The letters of subjects: of log channels in a stream, of what the stream
// sends on when it has it, the same of state channels, of the ticks, and of
// channels that nothing keeps.
const (
	letterLog       = "h"
	letterLogLive   = "l"
	letterState     = "s"
	letterStateLive = "r"
	letterTick      = "t"
	letterFleet     = "e"
)

// kept and live return the letters of the stream's kind.
func (s *stream) kept() string {
	if s.key.kind == channel.KindState {
		return letterState
	}
	return letterLog
}

func (s *stream) live() string {
	if s.key.kind == channel.KindState {
		return letterStateLive
	}
	return letterLogLive
}

// under returns what the subjects of a letter begin with.
func (s *stream) under(letter string) string {
	return s.engine.options.Prefix + "." + letter + "." + s.prefix
}

// subject returns that of a log channel, or what those of the keys of a state
// channel begin with.
func (s *stream) subject(name string) string { return s.under(s.kept()) + token(name) }

// filter returns what all messages of a channel have as their subject.
func (s *stream) filter(name string) string { return s.subject(name) + s.anyKey() }

// feedSubject returns what comes of a channel's messages once they are kept.
func (s *stream) feedSubject(name string) string {
	return s.under(s.live()) + token(name) + s.anyKey()
}

func (s *stream) anyKey() string {
	if s.key.kind == channel.KindState {
		return ".*"
	}
	return ""
}

// keySubject returns the subject of a key of a state channel. The empty key is
// that of markers.
func (s *stream) keySubject(name, key string) string { return s.subject(name) + "." + token(key) }

func (s *stream) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.ready
}

func (s *stream) epoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.epoch
}

// place returns the epoch and the highest sequence seen in it.
func (s *stream) place() (epoch string, high uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.epoch, s.mu.high
}

// reached notes that a sequence was seen in an epoch.
func (s *stream) reached(epoch string, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.epoch == epoch {
		s.mu.high = max(s.mu.high, sequence)
	}
}

// prepare makes sure that the stream is there and keeps enough.
func (s *stream) prepare(ctx context.Context, want retention, exact bool) error {
	s.mu.Lock()
	ready := s.mu.ready && s.mu.shape.keeps.covers(want)
	s.mu.Unlock()
	if ready && !exact {
		return nil
	}
	return s.attend(ctx, func(ctx context.Context) error { return s.ensure(ctx, want, exact) })
}

// attend has one at a time look after the stream, again and again until it is
// done or ctx ends.
func (s *stream) attend(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := s.engine.within(ctx)
	defer cancel()
	select {
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		return channel.ErrUnavailable.With("the stream of the namespace is not there yet").Wrap(ctx.Err())
	}
	for pause := minPause; ; {
		attempt, stop := context.WithTimeout(ctx, attemptTimeout)
		err := do(attempt)
		stop()
		if err == nil {
			return nil
		}
		if lasting(err) {
			return err
		}
		var over error
		if pause, over = wait(ctx, pause); over != nil {
			return channel.ErrUnavailable.With("the stream of the namespace is not there").Wrap(errors.Join(over, err))
		}
	}
}

// lasting reports whether an error will be the same next time.
func lasting(err error) bool {
	if e, ok := errors.AsType[*channel.Error](err); ok {
		return !e.Temporary
	}
	if e, ok := errors.AsType[*natsjs.APIError](err); ok {
		return e.Code == 400 && e.ErrorCode != errCodeNoPeers
	}
	return false
}

// errCodeNoPeers is what the servers say where too few of them are there or have
// room (JSClusterNoPeersErrF in errors.json of nats-server), which passes: at the
// start of a cluster one may know another for a moment as offline.
const errCodeNoPeers = 10005
