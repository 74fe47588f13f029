package jetstream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/mesh"
	"myelin/observe"
)

// The keeper looks after what nobody calls for: the ticks of streams, the
// positions of quiet channels, and what a disturbance may have done.

const (
	// keepEvery is how often the keeper looks.
	keepEvery = time.Second
	// roundsPerAge is how often within the age of a stream quiet channels are
	// looked for.
	roundsPerAge = 32
	// maxAnchors is how many channels are anchored at one look.
	maxAnchors = 256
	// maxChecks is how many channels are checked at once after a disturbance.
	maxChecks = 16
	// grace is how long what a stream has may be under way in the feed.
	grace = time.Second
)

// elected begins the subjects on which servers tell that a stream has a new
// leader. The old one may not have sent on all that it had.
const elected = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."

// keeper is the goroutine that does so.
type keeper struct {
	engine  *Engine
	trouble chan struct{}
	quit    []func()
	// looked is when all feeds were looked at, and more says that not all
	// could be served. They are the goroutine's own.
	looked time.Time
	more   bool
	// again: the next repair is of the same disturbance as the last.
	again bool
}

func newKeeper(e *Engine) *keeper { return &keeper{engine: e, trouble: make(chan struct{}, 1)} }

// start begins to listen for disturbances, and to look.
func (k *keeper) start() error {
	e := k.engine
	ours := assetToken(e.options.Prefix) + "_"
	sub, err := e.conn.Subscribe(elected+">", func(m *nats.Msg) {
		if strings.HasPrefix(strings.TrimPrefix(m.Subject, elected), ours) {
			k.disturb()
		}
	})
	if err != nil {
		return err
	}
	k.quit = append(k.quit, func() { _ = sub.Unsubscribe() })
	k.quit = append(k.quit, e.options.Network.Watch(func(mesh.Disturbance) { k.disturb() }))
	e.work.Go(k.run)
	return nil
}

// mute ends the listening.
func (k *keeper) mute() {
	for _, quit := range k.quit {
		quit()
	}
}

// disturb has everything looked at: messages may have been lost.
func (k *keeper) disturb() {
	select {
	case k.trouble <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	look := time.NewTicker(keepEvery)
	defer look.Stop()
	for {
		select {
		case <-k.engine.stop:
			return
		case <-k.trouble:
			k.repair()
		case <-look.C:
			k.keep()
		}
	}
}

// keep does what is due.
func (k *keeper) keep() {
	now := time.Now()
	for _, s := range k.engine.streams.all() {
		if s.tickDue(now) {
			if err := s.learnTicks(k.engine.ctx); err != nil {
				k.engine.warn("a stream did not get its tick", s, err)
			}
		}
	}
	if !k.rounds(now) {
		return
	}
	k.more = false
	anchors := 0
	for _, f := range k.engine.feeds.all() {
		if !f.quiet(now) {
			continue
		}
		if anchors == maxAnchors {
			k.more = true
			return
		}
		anchors++
		if err := f.anchor(k.engine.ctx); err != nil {
			k.engine.warn("the position of a quiet channel could not be renewed", f.stream, err)
		}
	}
}

// rounds reports whether it is time to look at all feeds, which is a few times
// within the shortest age of a stream.
func (k *keeper) rounds(now time.Time) bool {
	var every time.Duration
	for _, s := range k.engine.streams.all() {
		if age := s.age(); age > 0 && (every == 0 || age/roundsPerAge < every) {
			every = max(age/roundsPerAge, keepEvery)
		}
	}
	if every == 0 || now.Sub(k.looked) < every && !k.more {
		return false
	}
	k.looked = now
	return true
}

// tickDue reports whether the stream wants a tick.
func (s *stream) tickDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.shape.keeps.age == 0 {
		return false
	}
	var last time.Time
	if n := len(s.mu.ticks); n > 0 {
		last = time.Unix(0, s.mu.ticks[n-1].at)
	}
	return now.Sub(last) >= tickEvery(s.mu.shape.keeps.age)
}

// repair finds out what a disturbance has done: whether the streams are still
// the same, and whether the feeds have all that the streams have.
func (k *keeper) repair() {
	e := k.engine
	if !k.again {
		e.watches.gap()
	}
	k.again = false
	e.life.forget()
	for _, s := range e.streams.all() {
		changed, err := s.refresh(e.ctx)
		if err != nil {
			// It is looked at again with the next look of the feeds.
			e.warn("a stream cannot be looked at", s, err)
			k.later()
			return
		}
		if changed {
			e.options.Logger.Warn("the channels of a stream begin a new epoch", observe.KeyNamespace, s.key.namespace)
		}
	}
	feeds := e.feeds.all()
	suspects := make([]suspicion, len(feeds))
	if k.each(len(feeds), func(i int) error {
		var err error
		suspects[i], err = feeds[i].suspect(e.ctx)
		return err
	}) != nil {
		k.later()
		return
	}
	if !k.pause() {
		return
	}
	for i, f := range feeds {
		f.accuse(suspects[i])
	}
}

// later has everything looked at again in a moment.
func (k *keeper) later() {
	if k.pause() {
		k.again = len(k.trouble) == 0
		k.disturb()
	}
}

// pause lets what is under way arrive. It reports false where the engine ends.
func (k *keeper) pause() bool {
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.engine.stop:
		return false
	}
}

// each calls do for 0 to n-1, a few at a time.
func (k *keeper) each(n int, do func(i int) error) error {
	errs := make([]error, maxChecks)
	var wg sync.WaitGroup
	for w := range maxChecks {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += maxChecks {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// suspicion is what a feed should have got by now.
type suspicion struct {
	head head
	// renewed: the epoch is another one.
	renewed bool
}

// suspect asks the stream where the channel is.
func (f *feed) suspect(ctx context.Context) (suspicion, error) {
	if f.stream == nil || !f.isOpen() {
		return suspicion{}, nil
	}
	h, err := f.stream.head(ctx, f.name)
	if err != nil {
		return suspicion{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return suspicion{head: h, renewed: f.mu.epoch != h.epoch}, nil
}

// accuse says that the feed has lost something, where it has.
func (f *feed) accuse(s suspicion) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.phase != phaseRunning || s.head.epoch == "" {
		return
	}
	switch {
	case s.renewed && f.mu.epoch != s.head.epoch:
		f.mu.epoch, f.mu.chain, f.mu.last, f.mu.at = s.head.epoch, s.head.sequence, s.head.last, s.head.at
	case f.mu.chain >= s.head.sequence:
		return
	}
	f.engine.sink.Lost(f.name)
}

// quiet reports whether a channel needs an anchor: soon nothing would be kept
// that tells where it is.
func (f *feed) quiet(now time.Time) bool {
	if f.stream == nil || f.stream.key.kind != channel.KindLog {
		return false
	}
	floor, known := f.stream.floorNow(now)
	age := f.stream.age()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.phase != phaseRunning || age == 0 || !known {
		return false
	}
	if f.mu.at == 0 {
		return floor != f.mu.last || now.Sub(f.mu.sure) > (age-skew)/2
	}
	return now.Sub(time.Unix(0, f.mu.at)) > age/4*3
}

// anchor puts a marker at the head of a quiet channel.
func (f *feed) anchor(ctx context.Context) error {
	h, err := f.stream.head(ctx, f.name)
	if err != nil {
		return err
	}
	floor, known := f.stream.floorNow(time.Now())
	switch {
	case h.sequence == 0 && (!known || floor == h.last):
		return nil // who asks the stream finds the same
	case h.sequence != 0 && time.Since(time.Unix(0, h.at)) <= f.stream.age()/4*3:
		return nil // another node was faster, or somebody has published
	}
	_, err = f.stream.mark(ctx, f.name, kindAnchor, h)
	if errors.Is(err, errElsewhere) {
		return nil
	}
	return err
}

func (s *stream) age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.shape.keeps.age
}
