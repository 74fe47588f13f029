package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

const (
	// MaxMembers is the most subscribers a swarm may have: what fits under the
	// usual hard limit of open files and the local ports of one address.
	MaxMembers = 18_000
	// MaxLoops is the most loops a swarm may have.
	MaxLoops = 16
	// MaxWindow is the most publications that may be outstanding.
	MaxWindow = 1 << 16
)

// Config says where a swarm goes and how. Zero values are as documented.
type Config struct {
	// URL is the server's WebSocket endpoint, ws://host:port/path.
	URL string
	// Token goes into every connect command; empty connects anonymously.
	Token string
	// Run marks this swarm's publications, so that those of earlier runs in the
	// same channel are not counted.
	Run uint32
	// Loops is the number of threads that carry members; 0 means 1.
	Loops int
	// Dialing is how many members of a loop may be on the way to ready at once;
	// 0 means 128.
	Dialing int
	// Window is how many publications may be outstanding; 0 means 1.
	Window int
	// Stall is how long nothing may happen while something is awaited; 0 means
	// 10 seconds.
	Stall time.Duration
	// Protobuf chooses the binary encoding instead of JSON.
	Protobuf bool
	// Recover asks for recoverable subscriptions and keeps their positions.
	Recover bool
	// Bare members are ready when TCP is connected: they only read frames. It
	// is how a server without a protocol is measured.
	Bare bool
}

// Swarm is a set of connections to one server. See the package's promises.
type Swarm struct {
	handshake   handshake
	dialect     dialect
	start       time.Time
	ledger      *ledger
	failed      chan struct{} // closed at the first failure
	mu          failure
	address     netip.AddrPort
	config      Config
	channels    []string
	loops       []*loop
	subscribers []*member
	published   uint32
}

// failure guards the first error of the swarm.
type failure struct {
	sync.Mutex
	err error
}

// Stalled says that nothing happened for too long.
type Stalled struct {
	// What was awaited, and how much of it had come.
	What string
	// After is how long nothing happened.
	After time.Duration
}

// Error says what was awaited and for how long nothing happened.
func (s *Stalled) Error() string {
	return fmt.Sprintf("%s: nothing happened for %v", s.What, s.After)
}

// Open resolves the server's address and starts the loops; nothing is
// connected yet. The swarm must be closed.
func Open(ctx context.Context, config Config) (*Swarm, error) {
	config.Loops = max(config.Loops, 1)
	config.Window = max(config.Window, 1)
	if config.Dialing <= 0 {
		config.Dialing = 128
	}
	if config.Stall <= 0 {
		config.Stall = 10 * time.Second
	}
	if config.Loops > MaxLoops || config.Window > MaxWindow {
		return nil, fmt.Errorf("%d loops and a window of %d: want at most %d and %d", config.Loops, config.Window, MaxLoops, MaxWindow)
	}
	s := &Swarm{config: config, dialect: jsonDialect{offsets: config.Recover}, failed: make(chan struct{}), start: time.Now()}
	if config.Protobuf {
		s.dialect = protobufDialect{}
	}
	if err := s.resolve(ctx); err != nil {
		return nil, err
	}
	for range config.Loops {
		l, err := newLoop(s)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.loops = append(s.loops, l)
		go l.run()
	}
	return s, nil
}

// resolve turns the URL into an address and a handshake.
func (s *Swarm) resolve(ctx context.Context) error {
	u, err := url.Parse(s.config.URL)
	if err != nil {
		return fmt.Errorf("server's address: %w", err)
	}
	if u.Scheme != "ws" || u.Host == "" {
		return fmt.Errorf("server's address %q: want ws://host:port/path", s.config.URL)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "80"
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return fmt.Errorf("server's port: %w", err)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("server's address: %w", err)
	}
	ip := found[0]
	for _, other := range found {
		if other.Unmap().Is4() { // "localhost" is both, servers often listen on this one only
			ip = other
			break
		}
	}
	s.address = netip.AddrPortFrom(ip.Unmap(), uint16(number))
	s.handshake = newHandshake(u.Host, u.RequestURI(), s.dialect.subprotocol())
	return nil
}

// Subscribe connects n members; member i subscribes to channel i modulo the
// number of channels. It returns when every subscription is confirmed, and is
// called once.
func (s *Swarm) Subscribe(ctx context.Context, channels []string, n int) error {
	if n < 1 || n > MaxMembers {
		return fmt.Errorf("%d connections: want 1 to %d", n, MaxMembers)
	}
	if len(channels) == 0 || n%len(channels) != 0 {
		return fmt.Errorf("%d connections over %d channels: want the same number on each", n, len(channels))
	}
	if err := checkDescriptors(n); err != nil {
		return err
	}
	s.channels = channels
	each := n / len(channels)
	if !s.config.Bare {
		each++ // the acknowledgement
	}
	s.ledger = newLedger(s.config.Window, int32(each))
	shares := make([][]*member, len(s.loops))
	for i := range n {
		lane := i % len(channels)
		share := i % len(s.loops)
		m := &member{
			loop: s.loops[share], index: len(shares[share]), fd: -1,
			channel: channels[lane], lane: uint32(lane), next: uint32(lane),
			from: since{recoverable: s.config.Recover},
		}
		shares[share] = append(shares[share], m)
		s.subscribers = append(s.subscribers, m)
	}
	arrivals := newLatch(n)
	for i, l := range s.loops {
		l.do(func() {
			l.members = shares[i]
			l.dial(shares[i], arrivals)
		})
	}
	return s.awaitArrivals(ctx, arrivals, "connecting")
}

// OpenPublisher connects the publisher, after Subscribe.
func (s *Swarm) OpenPublisher(ctx context.Context) error {
	arrivals := newLatch(1)
	l := s.loops[0]
	l.do(func() {
		m := &member{loop: l, index: len(l.members), fd: -1}
		m.publisher = &publisher{member: m}
		l.members = append(l.members, m)
		l.publisher = m.publisher
		l.dial([]*member{m}, arrivals)
	})
	return s.awaitArrivals(ctx, arrivals, "connecting the publisher")
}

// Publish sends n publications of size bytes as fast as the window allows and
// returns when all of them are acknowledged and delivered.
func (s *Swarm) Publish(ctx context.Context, n, size int) error {
	if err := s.allow(uint32(n), size); err != nil {
		return err
	}
	return s.Settle(ctx)
}

// ErrWindow says that a publication was due while the window was full.
var ErrWindow = errors.New("server is behind: the window of outstanding publications is full")

// PublishOne sends one publication of size bytes and does not wait for it.
func (s *Swarm) PublishOne(size int) error {
	if !s.ledger.free(s.published) {
		return ErrWindow
	}
	return s.allow(1, size)
}

// allow lets the publisher send n more publications.
func (s *Swarm) allow(n uint32, size int) (err error) {
	if err := checkPayload(size); err != nil {
		return err
	}
	limit := s.published + n
	ran := s.loops[0].do(func() {
		p := s.loops[0].publisher
		if p == nil {
			err = errors.New("publishing without a publisher: OpenPublisher comes first")
			return
		}
		p.size, p.limit = size, limit
		p.pump()
	})
	if !ran || err != nil {
		return errors.Join(err, s.Err())
	}
	s.published = limit
	return s.Err()
}

// Announce makes n publications outstanding that somebody else will send, and
// returns the number of the first. They must fit into the window.
func (s *Swarm) Announce(n int) (first uint32, err error) {
	first = s.published
	for range n {
		if !s.ledger.free(s.published) {
			return 0, ErrWindow
		}
		s.ledger.open(s.published)
		s.published++
	}
	return first, nil
}

// Settle waits until no publication is outstanding.
func (s *Swarm) Settle(ctx context.Context) error {
	s.ledger.expect(int64(s.published))
	err := s.await(ctx, s.ledger.reached, s.ledger.met, s.progress)
	if stalled, ok := errors.AsType[*Stalled](err); ok {
		stalled.What = fmt.Sprintf("awaiting deliveries, %d of %d publications are complete", s.ledger.completed.Load(), s.published)
	}
	return err
}

// Drop cuts all subscribers' connections at once; the publisher stays.
func (s *Swarm) Drop() error {
	for _, l := range s.loops {
		l.do(l.drop)
	}
	return s.Err()
}

// Reconnect connects all subscribers anew, each asking to recover from its
// position, and returns when every subscription is confirmed.
func (s *Swarm) Reconnect(ctx context.Context) error {
	arrivals := newLatch(len(s.subscribers))
	for _, l := range s.loops {
		l.do(func() {
			var mine []*member
			for _, m := range l.members {
				if m.publisher == nil {
					m.from.recover = true
					mine = append(mine, m)
				}
			}
			l.dial(mine, arrivals)
		})
	}
	return s.awaitArrivals(ctx, arrivals, "reconnecting")
}

// Tally is what all loops counted since the last ResetTally.
func (s *Swarm) Tally() *Tally {
	sum := &Tally{}
	for _, l := range s.loops {
		l.do(func() { sum.Add(&l.tally) })
	}
	return sum
}

// ResetTally starts to count anew.
func (s *Swarm) ResetTally() {
	for _, l := range s.loops {
		l.do(func() { l.tally = Tally{} })
	}
}

// Elapsed is the time since the swarm was opened, as stamps have it.
func (s *Swarm) Elapsed() time.Duration { return s.elapsed() }

// Err is the first failure of any member, or nil.
func (s *Swarm) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.err
}

// Close resets all connections and waits for the loops to end.
func (s *Swarm) Close() {
	for _, l := range s.loops {
		l.do(func() { l.stopping = true })
	}
	for _, l := range s.loops {
		<-l.done
	}
}

func (s *Swarm) elapsed() time.Duration { return time.Since(s.start) }

// fail keeps the first error and wakes whoever waits.
func (s *Swarm) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.err == nil {
		s.mu.err = err
		close(s.failed)
	}
}

// progress is a number that changes while deliveries come in.
func (s *Swarm) progress() (sum int64) {
	for _, l := range s.loops {
		sum += l.progress.Load()
	}
	return sum + s.ledger.completed.Load()
}

func (s *Swarm) awaitArrivals(ctx context.Context, arrivals *latch, what string) error {
	opened := func() bool { return true } // the channel is closed but once
	err := s.await(ctx, arrivals.opened, opened, arrivals.left.Load)
	if stalled, ok := errors.AsType[*Stalled](err); ok {
		stalled.What = fmt.Sprintf("%s, %d are not ready", what, arrivals.left.Load())
	}
	return err
}

// await waits for a token on reached that holds, a failure, the context's end,
// or progress that does not change for the configured time.
func (s *Swarm) await(ctx context.Context, reached <-chan struct{}, holds func() bool, progress func() int64) error {
	ticker := time.NewTicker(s.config.Stall)
	defer ticker.Stop()
	for last := progress(); ; {
		select {
		case <-reached:
			if holds() {
				return s.Err()
			}
		case <-s.failed:
			return s.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			now := progress()
			if now == last {
				return &Stalled{After: s.config.Stall}
			}
			last = now
		}
	}
}
