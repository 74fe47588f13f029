package jetstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

// lives tells whether the memory of the servers goes on: a message that is only
// there. When it is gone, what was in memory beside it, and what was written
// but not flushed, may be gone too.
type lives struct {
	engine *Engine
	mu     struct {
		sync.Mutex
		known *life
	}
}

// life is what the message says.
type life struct {
	// Disk goes on over a clean stop of a node alone, Memory never does.
	Disk   string `json:"disk"`
	Memory string `json:"memory"`
}

func newLives(e *Engine) *lives { return &lives{engine: e} }

func (l *lives) stream() string  { return assetToken(l.engine.options.Prefix) + "_life" }
func (l *lives) subject() string { return l.engine.options.Prefix + ".life" }

// forget has the life looked up again.
func (l *lives) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.known = nil
}

// of returns what an epoch of a durability is bound to.
func (l *lives) of(ctx context.Context, d channel.Durability) (string, error) {
	if d == channel.DurabilitySync {
		return "", nil
	}
	l.mu.Lock()
	known := l.mu.known
	l.mu.Unlock()
	if known == nil {
		found, err := l.find(ctx, life{Disk: rand.Text(), Memory: rand.Text()})
		if err != nil {
			return "", err
		}
		known = &found
		l.mu.Lock()
		l.mu.known = known
		l.mu.Unlock()
	}
	if d == channel.DurabilityMemory {
		return known.Memory, nil
	}
	return known.Disk, nil
}

// find returns the life there is, or begins one.
func (l *lives) find(ctx context.Context, fresh life) (life, error) {
	o := &l.engine.options
	_, err := l.engine.js.Stream(ctx, l.stream())
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		_, err = l.engine.js.CreateStream(ctx, natsjs.StreamConfig{
			Name: l.stream(), Description: "Whether the memory of the servers goes on. Myelin needs it.",
			Subjects: []string{l.subject()}, Storage: natsjs.MemoryStorage, Replicas: o.Replicas,
			MaxMsgsPerSubject: 1, AllowDirect: true,
		})
	}
	if err != nil {
		return life{}, fmt.Errorf("stream %s: %w", l.stream(), err)
	}
	body, err := json.Marshal(fresh)
	if err != nil {
		return life{}, err
	}
	m := nats.NewMsg(l.subject())
	m.Data = body
	m.Header.Set(headerExpectedSubject, "0")
	if _, err = l.engine.send(ctx, m, true); err == nil {
		return fresh, nil
	}
	if !errors.Is(err, errElsewhere) {
		return life{}, err
	}
	raw, err := l.engine.fetcher.lastRaw(ctx, l.stream(), l.subject())
	if err != nil {
		return life{}, err
	}
	var found life
	if raw == nil || json.Unmarshal(raw.Data, &found) != nil || found.Disk == "" {
		return life{}, errNoAnswer
	}
	return found, nil
}

// epochOf returns the epoch of the stream's channels: it ends when the stream
// does, when sequences are given a second time, and with the life.
func (s *stream) epochOf(info *natsjs.StreamInfo, sh shape, life string) string {
	text := fmt.Sprintf("%s\n%s\n%d\n%d\n%s", s.engine.options.Prefix, s.name, info.Created.UnixNano(), sh.generation, life)
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// adopt takes over what the stream is. It reports whether its epoch is another
// than before.
func (s *stream) adopt(info *natsjs.StreamInfo, sh shape, life string) (changed bool) {
	epoch := s.epochOf(info, sh, life)
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.mu.ready && s.mu.epoch != epoch
	if changed {
		s.mu.high = 0
	}
	if changed || s.mu.shape.keeps.age != sh.keeps.age {
		// Those known may have gone at the age there was.
		s.mu.ticks = nil
	}
	s.mu.ready, s.mu.shape, s.mu.epoch = true, sh, epoch
	s.mu.high = max(s.mu.high, info.State.LastSeq)
	return changed
}

// refresh looks whether the stream is still the one that it was. It reports
// whether the epoch has changed.
func (s *stream) refresh(ctx context.Context) (changed bool, err error) {
	err = s.attend(ctx, func(ctx context.Context) (err error) {
		changed, err = s.look(ctx)
		return err
	})
	return changed, err
}

// look is one attempt of refresh.
func (s *stream) look(ctx context.Context) (changed bool, err error) {
	s.mu.Lock()
	old, high, keeps := s.mu.shape, s.mu.high, s.mu.shape.keeps
	epoch := s.mu.epoch
	s.mu.Unlock()
	st, err := s.engine.js.Stream(ctx, s.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if err := s.ensure(ctx, keeps, false); err != nil {
			return false, err
		}
		return s.epoch() != epoch, nil
	}
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", s.name, err)
	}
	info := st.CachedInfo()
	sh, err := readShape(&info.Config)
	if err != nil {
		return false, err
	}
	if info.State.LastSeq < high && sh.generation == old.generation {
		if info, err = s.confirmLoss(ctx, info, &sh, high); err != nil {
			return false, err
		}
	}
	life, err := s.engine.life.of(ctx, s.key.durability)
	if err != nil {
		return false, err
	}
	return s.adopt(info, sh, life), nil
}

// confirmLoss finds out whether a stream that seems to be behind has really
// lost what it had: a new leader may only not have got there yet, but whatever
// it takes next comes after all that it has.
func (s *stream) confirmLoss(ctx context.Context, info *natsjs.StreamInfo, sh *shape, high uint64) (*natsjs.StreamInfo, error) {
	f := frame{kind: kindTick}
	m := nats.NewMsg(s.under(letterTick) + s.kept() + ".look." + rand.Text())
	m.Data = f.encode()
	ack, err := s.engine.send(ctx, m, false)
	if err != nil || ack.Sequence > high {
		return info, err
	}
	sh.generation++
	s.engine.options.Logger.Error("a stream has lost what it had acknowledged; its channels begin a new epoch",
		observe.KeyNamespace, s.key.namespace, observe.KeyOffset, ack.Sequence, observe.KeyCount, high-ack.Sequence+1)
	st, err := s.engine.js.UpdateStream(ctx, s.config(*sh))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.name, err)
	}
	return st.CachedInfo(), nil
}
