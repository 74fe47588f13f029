package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

// retention is how much a stream keeps.
type retention struct {
	// size is how many messages of one subject, age how long, where 0 is for
	// ever, and window how long ids are known.
	size   int
	age    time.Duration
	window time.Duration
}

// spare is how many messages of a log channel are kept beyond its history: the
// one before it, and a marker.
const spare = 2

// minAge is the least time that a stream keeps messages: the clocks of nodes
// differ, and so does when they look.
const minAge = 10 * time.Second

// wanted returns the retention that a policy needs.
func (o *Options) wanted(p *channel.Policy) retention {
	r := retention{size: p.HistorySize + spare, window: p.DedupeWindow}
	orElse(&r.window, channel.DefaultDedupeWindow)
	if p.Kind == channel.KindState {
		// The last message of a key is its entry, however old.
		r.size = p.HistorySize + 1
		return r
	}
	meta := p.MetaTTL
	orElse(&meta, channel.DefaultMetaTTL)
	if p.HistoryTTL > 0 {
		// The last message must outlive its time in the history, or nobody
		// could tell that nothing came after it.
		r.age = max(p.HistoryTTL, r.window, min(meta, o.MaxMetaTTL), o.minAge)
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

// shape is what the configuration of a stream says.
type shape struct {
	keeps retention
	// Once the stream kept fewer messages of each subject: least at the least,
	// up to the sequence raised. What was evicted then nobody can tell.
	least  int
	raised uint64
	// replicas is how many copies there are. A node may ask for more, never for
	// fewer: with them the promise to all the others would go.
	replicas int
	// generation goes up when sequences were given a second time.
	generation uint64
}

// streamFormat is the version of what the messages of a stream mean. A stream
// of a newer one is left alone.
const streamFormat = 1

// Keys of the metadata of streams.
const (
	metaFormat     = "myelin-format"
	metaLeast      = "myelin-least"
	metaRaised     = "myelin-raised"
	metaGeneration = "myelin-generation"
)

// readShape reads the configuration of a stream.
func readShape(c *natsjs.StreamConfig) (shape, error) {
	format := number(c.Metadata[metaFormat])
	switch {
	case format == 0:
		return shape{}, channel.ErrUnsupported.With(fmt.Sprintf("the stream %s was not made by Myelin; give this installation another prefix", c.Name))
	case format > streamFormat:
		return shape{}, channel.ErrUnsupported.With(fmt.Sprintf("the stream %s has format %d, this version knows %d at most; update this node", c.Name, format, streamFormat))
	}
	return shape{
		keeps:      retention{size: int(c.MaxMsgsPerSubject), age: c.MaxAge, window: c.Duplicates},
		replicas:   c.Replicas,
		least:      int(min(number(c.Metadata[metaLeast]), math.MaxInt32)),
		raised:     number(c.Metadata[metaRaised]),
		generation: number(c.Metadata[metaGeneration]),
	}, nil
}

// config returns what the stream should be.
func (s *stream) config(sh shape) natsjs.StreamConfig {
	o := &s.engine.options
	c := natsjs.StreamConfig{
		Name:              s.name,
		Description:       "Channels of a namespace of Myelin. Change it by Myelin's configuration only.",
		Subjects:          []string{s.under(s.kept()) + ">", s.under(letterTick) + s.kept() + ".>"},
		MaxMsgsPerSubject: int64(sh.keeps.size),
		MaxAge:            sh.keeps.age,
		Duplicates:        sh.keeps.window,
		MaxBytes:          -1,
		Discard:           natsjs.DiscardNew,
		Replicas:          max(sh.replicas, o.Replicas),
		AllowDirect:       true,
		DenyDelete:        true,
		RePublish:         &natsjs.RePublish{Source: s.under(s.kept()) + ">", Destination: s.under(s.live()) + ">"},
		Metadata: map[string]string{
			metaFormat:     strconv.Itoa(streamFormat),
			metaLeast:      strconv.Itoa(sh.least),
			metaRaised:     strconv.FormatUint(sh.raised, 10),
			metaGeneration: strconv.FormatUint(sh.generation, 10),
		},
	}
	if s.key.memory() {
		c.Storage = natsjs.MemoryStorage
	}
	if o.MaxBytesPerStream > 0 {
		c.MaxBytes = o.MaxBytesPerStream
	}
	return c
}

// ensure makes the stream what it should be, and learns what it is.
func (s *stream) ensure(ctx context.Context, want retention, exact bool) error {
	st, err := s.engine.js.Stream(ctx, s.name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		st, err = s.engine.js.CreateStream(ctx, s.config(shape{keeps: want}))
		if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
			// Another node made it at the same time, with other wishes.
			return channel.ErrUnavailable.With("another node has just made the stream").Wrap(err)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	info := st.CachedInfo()
	sh, err := readShape(&info.Config)
	if err != nil {
		return err
	}
	// Another node may be of the opinion that less is enough: only who is
	// alone takes away.
	if !exact || !s.engine.options.Alone {
		want = sh.keeps.union(want)
	}
	if s.engine.options.Replicas < sh.replicas {
		s.engine.options.Logger.Warn("a stream has more copies than engine.jetstream.replicas of this node says, and keeps them; let all nodes say the same",
			observe.KeyNamespace, s.key.namespace, observe.KeyCount, sh.replicas, observe.KeyLimit, s.engine.options.Replicas)
	}
	if sh.keeps != want || s.engine.options.Replicas > sh.replicas {
		if info, err = s.reshape(ctx, &sh, want); err != nil {
			return err
		}
	}
	if err := s.tick(ctx, genesis); err != nil {
		return err
	}
	life, err := s.engine.life.of(ctx, s.key.durability)
	if err != nil {
		return err
	}
	s.adopt(info, sh, life)
	return nil
}

// reshape changes what the stream keeps.
func (s *stream) reshape(ctx context.Context, sh *shape, want retention) (*natsjs.StreamInfo, error) {
	raise := want.size > sh.keeps.size
	if raise {
		// Until it is known where the stream was when it began to keep more,
		// nobody shall conclude anything from how little there is.
		if sh.raised == 0 || sh.least > sh.keeps.size {
			sh.least = sh.keeps.size
		}
		sh.raised = math.MaxUint64
	}
	sh.keeps = want
	st, err := s.engine.js.UpdateStream(ctx, s.config(*sh))
	if err == nil && raise {
		if sh.raised = st.CachedInfo().State.LastSeq; sh.raised == 0 {
			sh.least = 0
		}
		st, err = s.engine.js.UpdateStream(ctx, s.config(*sh))
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.name, err)
	}
	s.engine.options.Logger.Info("a stream keeps more or less than before",
		observe.KeyNamespace, s.key.namespace, observe.KeyCount, want.size, observe.KeyDuration, want.age)
	return st.CachedInfo(), nil
}
