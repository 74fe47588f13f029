package jetstream

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// A tick is a small message in a stream, on a subject of its own. What has a
// higher sequence is younger: so a tick that is younger than the age at which
// messages go proves that nothing behind it has gone by age.

// mark is where a tick is.
type mark struct {
	sequence uint64
	at       int64
}

const (
	// genesis is the name of the tick that a stream begins with.
	genesis = "0.0"
	// ticksPerAge is how many ticks are in the age of a stream, within limits.
	ticksPerAge = 32
	minTick     = time.Second
	maxTick     = time.Hour
	// skew is how much the clocks of nodes may differ.
	skew = 2 * time.Second
)

// tickEvery returns the time between two ticks.
func tickEvery(age time.Duration) time.Duration {
	return min(max(age/ticksPerAge, minTick), maxTick).Truncate(time.Second)
}

// tickName returns that of the tick that is due at a time.
func tickName(age time.Duration, now time.Time) string {
	every := int64(tickEvery(age) / time.Second)
	return strconv.FormatInt(every, 10) + "." + strconv.FormatInt(now.Unix()/every, 10)
}

// tick puts a tick into the stream, unless somebody else has.
func (s *stream) tick(ctx context.Context, name string) error {
	f := frame{kind: kindTick}
	m := nats.NewMsg(s.under(letterTick) + s.kept() + "." + name)
	m.Data = f.encode()
	m.Header.Set(headerExpectedSubject, "0")
	_, err := s.engine.send(ctx, m, true)
	if errors.Is(err, errElsewhere) {
		return nil
	}
	return err
}

// learnTicks puts the tick that is due into the stream and learns where all of
// them are.
func (s *stream) learnTicks(ctx context.Context) error {
	s.mu.Lock()
	age := s.mu.shape.keeps.age
	s.mu.Unlock()
	if age > 0 {
		if err := s.tick(ctx, tickName(age, time.Now())); err != nil {
			return err
		}
	}
	var ticks []mark
	for next := uint64(1); ; {
		b, err := s.engine.fetcher.get(ctx, s.name, query{Sequence: next, Next: s.under(letterTick) + s.kept() + ".>"})
		if err != nil {
			return err
		}
		for _, m := range b.msgs {
			ticks = append(ticks, mark{m.sequence, m.at})
			next = m.sequence + 1
		}
		if b.pending == 0 || len(b.msgs) == 0 {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// An answer may be one from before, of another node.
	if n := len(s.mu.ticks); n == 0 || len(ticks) > 0 && ticks[len(ticks)-1].sequence >= s.mu.ticks[n-1].sequence {
		s.mu.ticks = ticks
	}
	return nil
}

// floorNow returns the sequence up to which messages may have gone by age, as
// far as the ticks known tell.
func (s *stream) floorNow(now time.Time) (floor uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return floorOf(s.mu.ticks, s.mu.shape.keeps.age, now)
}

func floorOf(ticks []mark, age time.Duration, now time.Time) (floor uint64, known bool) {
	oldest := int64(math.MinInt64)
	if age > 0 {
		oldest = now.Add(skew - age).UnixNano()
	}
	i := slices.IndexFunc(ticks, func(t mark) bool { return t.at > oldest })
	if i < 0 {
		return math.MaxUint64, false
	}
	return ticks[i].sequence - 1, true
}

// floor is floorNow, which asks the stream where it must.
func (s *stream) floor(ctx context.Context) (uint64, error) {
	for pause := minPause; ; {
		if floor, known := s.floorNow(time.Now()); known {
			return floor, nil
		}
		err := s.learnTicks(ctx)
		if _, known := s.floorNow(time.Now()); err == nil && known {
			continue
		}
		var over error
		if pause, over = wait(ctx, pause); over != nil {
			return 0, errors.Join(over, err)
		}
	}
}
