package history

import (
	"sync"
	"time"
)

// MaxSteps is how much one log takes.
const MaxSteps = 1 << 20

// Recorder hands out logs that share one clock.
type Recorder struct {
	start time.Time
	rules []Rule

	mu struct {
		sync.Mutex
		publishers  []*PublisherLog
		subscribers []*SubscriberLog
		faults      []Fault
		readings    []Reading
	}
}

// NewRecorder starts the clock.
func NewRecorder(rules ...Rule) *Recorder {
	return &Recorder{start: time.Now(), rules: rules}
}

// Now is the time on the history's clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Fork returns a recorder that begins with what publishers have noted here, for
// one of several ways in which things may go on.
func (r *Recorder) Fork() *Recorder {
	h := r.History()
	f := &Recorder{start: r.start, rules: r.rules}
	log := f.Publisher()
	log.mu.tries = h.Publishes
	return f
}

// Publisher returns a new log for a publisher.
func (r *Recorder) Publisher() *PublisherLog {
	l := &PublisherLog{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.publishers = append(r.mu.publishers, l)
	return l
}

// Subscriber returns a new log for what a client sees of a channel.
func (r *Recorder) Subscriber(client, door, name string) *SubscriberLog {
	l := &SubscriberLog{now: r.Now}
	l.mu.said = Subscriber{Client: client, Door: door, Channel: name}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.subscribers = append(r.mu.subscribers, l)
	return l
}

// Fault notes something that was broken.
func (r *Recorder) Fault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.faults = append(r.mu.faults, f)
}

// Read notes something that was read.
func (r *Recorder) Read(read Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.readings) < MaxSteps {
		r.mu.readings = append(r.mu.readings, read)
	}
}

// History returns a copy of all that was noted.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &History{Rules: r.rules}
	h.Faults = append(h.Faults, r.mu.faults...)
	h.Readings = append(h.Readings, r.mu.readings...)
	for _, l := range r.mu.publishers {
		tries, full := l.all()
		h.Publishes = append(h.Publishes, tries...)
		h.Full = h.Full || full
	}
	for _, l := range r.mu.subscribers {
		h.Subscribers = append(h.Subscribers, l.all())
	}
	return h
}

// PublisherLog is what one publisher did.
type PublisherLog struct {
	mu struct {
		sync.Mutex
		tries []Publish
		full  bool
	}
}

// Note notes one try.
func (l *PublisherLog) Note(p Publish) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.tries) == MaxSteps {
		l.mu.full = true
		return
	}
	l.mu.tries = append(l.mu.tries, p)
}

func (l *PublisherLog) all() (tries []Publish, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(tries, l.mu.tries...), l.mu.full
}

// SubscriberLog is what one client saw of one channel.
type SubscriberLog struct {
	now func() time.Duration
	mu  struct {
		sync.Mutex
		said Subscriber
		// stands is where the client has everything up to, epoch that of the last
		// reply to a subscription.
		stands Position
		epoch  string
	}
}

// Note notes one step. Its time is set here.
func (l *SubscriberLog) Note(s Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.At = l.now()
	if s.Kind == Subscribed {
		l.mu.epoch = s.Epoch
	}
	if s.Kind == Publication || s.Kind == Subscribed && !s.Recovered {
		l.mu.stands = s.Position
	}
	if len(l.mu.said.Steps) == MaxSteps {
		l.mu.said.Full = true
		return
	}
	l.mu.said.Steps = append(l.mu.said.Steps, s)
}

// Stands returns where the client has everything up to, as far as it was told.
func (l *SubscriberLog) Stands() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.stands
}

// Epoch returns that of the last reply to a subscription. Publications on the wire
// come without one.
func (l *SubscriberLog) Epoch() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.epoch
}

// Settle says that whatever was not given to this client by now is lost.
func (l *SubscriberLog) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.said.Settled = true
}

func (l *SubscriberLog) all() *Subscriber {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.mu.said
	s.Steps = append([]Step(nil), s.Steps...)
	return &s
}
