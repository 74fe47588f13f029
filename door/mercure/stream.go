package mercure

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/internal/gauge"
	"myelin/internal/pipe"
	"myelin/observe"
)

// The names of the last event id, and the value that stands for the beginning.
const (
	lastEventID = "Last-Event-ID"
	earliest    = "earliest"
)

// asked is what a subscriber wants.
type asked struct {
	matchers matchers
	// from is the last event id, "" for none.
	from string
}

// ask reads the query of a subscriber.
func (d *Door) ask(r *http.Request, q url.Values) (*asked, error) {
	a := &asked{from: r.Header.Get(lastEventID)}
	if a.from == "" {
		a.from = cmp.Or(q.Get("lastEventID"), q.Get(lastEventID))
	}
	for _, name := range slices.Sorted(keys(q)) {
		kind, selects := "", true
		switch {
		case name == "topic":
			kind = kindSelector
		case name == "match" || name == "match"+kindExact:
			kind = kindExact
		case name == "match"+kindPattern:
			kind = kindPattern
		case len(name) >= 5 && strings.EqualFold(name[:5], "match"):
			return nil, channel.ErrBadRequest.With("a parameter that begins with match is match, matchExact or matchURLPattern")
		default:
			selects = false
		}
		for _, text := range q[name] {
			if !selects {
				break
			}
			m, err := newMatcher(kind, text, d.home)
			if err != nil {
				return nil, err
			}
			if m.exact() {
				if err := d.spaces.check(text); err != nil {
					return nil, channel.ErrBadRequest.With(channel.Public(err).Message)
				}
			}
			a.matchers = append(a.matchers, m)
		}
	}
	switch n := len(a.matchers); {
	case n == 0:
		return nil, channel.ErrBadRequest.With("say what to listen to: topic, match or matchURLPattern")
	case n > maxMatchers:
		d.opts.Metrics.Limit(observe.LimitTopics).Inc()
		return nil, channel.ErrBadRequest.With("more than " + strconv.Itoa(maxMatchers) + " matchers")
	}
	return a, nil
}

func keys(q url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range q {
			if !yield(k) {
				return
			}
		}
	}
}

// subscribe answers with an event stream and lives as long as that.
func (d *Door) subscribe(w http.ResponseWriter, r *http.Request) error {
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	b, err := d.identify(r, q)
	if err != nil {
		return err
	}
	asks := b.who == nil && d.opts.Host.AsksConnect()
	switch {
	case b.who == nil && !asks && !d.opts.Anonymous:
		return &refused{status: http.StatusUnauthorized, why: "this hub wants a token"}
	case b.who == nil && !asks:
		b.who = &d.nobody
	}
	a, err := d.ask(r, q)
	if err != nil {
		return err
	}
	out := pipe.New(pipeBytes, gauge.Of(r.Context()))
	s := &stream{door: d, bearer: b, asked: a, resume: conversation.NewResumePoint(), exact: make(map[string]bool)}
	s.session, err = d.hub.Open(hub.SessionOptions{Conn: out, Form: s, Private: true, Address: auth.AddressOf(r), About: d.opts.Host.AboutGuest("sse", "mercure", r)})
	if err != nil {
		return err
	}
	s.guest = d.opts.Host.Guest(s.session)
	defer s.guest.Gone()
	defer s.session.Close(hub.DisconnectConnectionClosed)
	if err := s.enter(asks); err != nil {
		return err
	}
	ctx := r.Context()
	if !b.ends.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, b.ends)
		defer cancel()
	}
	whole, err := s.begin(ctx)
	switch {
	case err != nil && b.who == &d.nobody && channel.Public(err).Code == channel.CodePermissionDenied:
		return &refused{status: http.StatusUnauthorized, why: channel.Public(err).Message}
	case err != nil:
		return err
	}
	end, err := s.register(ctx)
	if err != nil {
		return err
	}
	defer end()
	d.metrics.Opened.Inc()
	d.metrics.Connections.Add(1)
	defer d.metrics.Connections.Add(-1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Link", "<"+Path+`>; rel="mercure"`)
	if a.from != "" {
		h.Set(lastEventID, earliest)
		if whole {
			h.Set(lastEventID, a.from)
		}
	}
	w.WriteHeader(http.StatusOK)
	// The server's deadline is for requests, and this one has been read.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	_ = out.Copy(ctx, counted{w, d.metrics.BytesOut}, writeTimeout) // ends with the client
	return nil
}

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	bytes *observe.Counter
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Unwrap lets a ResponseController find the writer below.
func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// stream is one subscriber, and the form of its session. Once its subscriptions
// are live it belongs to the session's shard.
type stream struct {
	door    *Door
	session *hub.Session
	guest   *conversation.Guest
	bearer  *bearer
	asked   *asked
	resume  *conversation.ResumePoint
	// given is what the backend gives, whether asked for or not.
	given map[string]auth.SubOptions
	// exact is the channels that it is subscribed to by their names.
	exact map[string]bool
	// seen is the last updates with several topics, next the place of the next.
	seen [remembered]string
	next int
}

// begin subscribes, and hands over what was missed. whole reports whether that
// is all there was.
func (s *stream) begin(ctx context.Context) (whole bool, err error) {
	var subs []*hub.Subscription
	defer func() {
		if err != nil {
			for _, sn := range subs {
				sn.Cancel()
			}
		}
	}()
	patterns := false
	var starts []start
	joined := func(name string, sn *hub.Subscription) {
		s.exact[name] = true
		subs, starts = append(subs, sn), append(starts, start{name, sn.Position})
	}
	if err := s.takeGiven(ctx, joined); err != nil {
		return false, err
	}
	for _, m := range s.asked.matchers {
		if !m.exact() {
			patterns = true
			continue
		}
		for _, private := range []bool{false, true} {
			name := s.door.spaces.channel(m.text, private)
			if s.exact[name] || private && !s.bearer.subscribe.matches(m.text) {
				continue
			}
			sn, err := s.join(ctx, name, private)
			if err != nil {
				return false, err
			}
			s.guest.Joined(name, sn)
			joined(name, sn)
		}
	}
	if patterns {
		more, err := s.joinPatterns(ctx)
		subs = append(subs, more...)
		if err != nil {
			return false, err
		}
	}
	missed, whole := s.missed(ctx, starts)
	s.session.Send(missed)
	for _, sn := range subs {
		sn.Live(nil)
	}
	return whole && !patterns, nil
}

// join subscribes to the updates of one topic. Whose token says so may have the
// private ones; public ones are for whom the namespace's rules let in.
func (s *stream) join(ctx context.Context, name string, private bool) (*hub.Subscription, error) {
	// It cannot be told of a gap otherwise than by its end.
	r := hub.SubscribeRequest{Channel: name, ServerSide: true, Recoverable: true}
	if private {
		r.Grant = &auth.Grant{Channel: name}
	}
	return s.session.Subscribe(ctx, r)
}

// joinPatterns subscribes to all topics, of which AppendEvent takes those that
// were asked for.
func (s *stream) joinPatterns(ctx context.Context) (subs []*hub.Subscription, err error) {
	for _, private := range []bool{false, true} {
		if private && len(s.bearer.subscribe) == 0 {
			continue
		}
		name := s.door.spaces.channel("**", private)
		space, _, _ := strings.Cut(name, ":")
		ns, err := s.door.hub.Namespace(space + ":x")
		switch {
		case err != nil:
			return subs, err
		case ns.AskSubscribe && !private:
			return subs, channel.ErrNotAvailable.With("the backend is asked about each topic: name them, in place of templates, patterns and *")
		case ns.Patterns == 0:
			return subs, channel.ErrNotAvailable.With("templates, patterns and * need subscribe_patterns in namespace \"" + space + "\"")
		}
		r := hub.SubscribeRequest{Channel: name, ServerSide: true, Granted: private}
		sn, err := s.session.Subscribe(ctx, r)
		if err != nil {
			return subs, err
		}
		subs = append(subs, sn)
	}
	return subs, nil
}

// start is where a subscription to a channel begins.
type start struct {
	name string
	at   channel.Position
}

// missed returns the events that came after the one the subscriber has seen,
// and whether those are all. It moves the resume point behind them.
func (s *stream) missed(ctx context.Context, starts []start) (events []byte, whole bool) {
	whole = true
	var pubs []*channel.Publication
	room, looked := maxReplay, scanned
	token, isOurs := strings.CutPrefix(s.asked.from, "#")
	known, err := conversation.ParseResume(token)
	isOurs = isOurs && err == nil
	for _, st := range starts {
		var since channel.Position
		found := s.asked.from != ""
		switch {
		case s.asked.from == "" || s.asked.from == earliest:
		case isOurs:
			since, found = known.At(st.name)
		default:
			since, found = s.locate(ctx, st, s.asked.from, &looked)
		}
		if found {
			more, all := s.read(ctx, st, since, &room)
			pubs, whole = append(pubs, more...), whole && all
		} else if s.asked.from != "" && (st.at.Epoch == "" || st.at.Offset > 0) {
			whole = false // there was something, and who knows what of it was seen
		}
		if st.at.Epoch != "" {
			s.resume.Move(st.name, st.at)
		}
	}
	if s.asked.from == earliest {
		whole = false // which is what earliest is answered with
	}
	// Each id stands for all of them: who loses the connection in between would
	// miss the rest, so they are moved back, and then by each event.
	slices.SortStableFunc(pubs, func(a, b *channel.Publication) int { return cmp.Compare(a.Time, b.Time) })
	for _, p := range slices.Backward(pubs) {
		s.resume.Move(p.Channel, channel.Position{Epoch: p.Epoch, Offset: p.Prev})
	}
	events = s.first()
	for _, p := range pubs {
		events = s.event(events, p)
	}
	return events, whole
}

// first returns what a stream begins with: when to come back, and an id, so that
// who hears nothing before he has to misses nothing either. By the format of
// event streams that is no event.
func (s *stream) first() []byte {
	b := strconv.AppendInt([]byte("retry: "), retryMs+rand.Int64N(retryMs), 10)
	if token := s.resume.Token(); token != "" {
		b = append(append(b, "\nid: "...), idOf(token)...)
	}
	return append(b, "\n\n"...)
}

// read returns what is kept of a channel after a position and up to where the
// subscription begins, and whether that is all.
func (s *stream) read(ctx context.Context, st start, since channel.Position, room *int) ([]*channel.Publication, bool) {
	var pubs []*channel.Publication
	may := s.session.Filter(st.name)
	for looked := 0; looked < maxReplayed; {
		out, err := s.door.hub.History(ctx, hub.HistoryRequest{Channel: st.name, Since: &since, Limit: -1, MaxBytes: max(*room, 1)})
		if err != nil {
			return pubs, false
		}
		looked += len(out.Pubs)
		for _, p := range out.Pubs {
			if p.Offset > st.at.Offset {
				break // it comes live
			}
			if since = p.Position; !may.Match(p.Tags) {
				continue
			}
			if *room -= len(p.Data); *room < 0 {
				s.door.opts.Metrics.Limit(observe.LimitRecovery).Inc()
				return pubs, false
			}
			pubs = append(pubs, p)
		}
		switch {
		case !out.Complete:
			return pubs, false
		case len(out.Pubs) == 0 || since.Offset >= st.at.Offset:
			return pubs, since.Offset >= st.at.Offset
		}
	}
	s.door.opts.Metrics.Limit(observe.LimitRecovery).Inc()
	return pubs, false
}

// locate returns the position of the update with an id that its publisher chose.
func (s *stream) locate(ctx context.Context, st start, id string, looked *int) (channel.Position, bool) {
	if *looked <= 0 {
		return channel.Position{}, false
	}
	out, err := s.door.hub.History(ctx, hub.HistoryRequest{Channel: st.name, Limit: *looked, Reverse: true, MaxBytes: maxReplay})
	if err != nil {
		return channel.Position{}, false
	}
	*looked -= len(out.Pubs)
	for _, p := range out.Pubs {
		if p.Tags[tagID] == id {
			return p.Position, true
		}
	}
	return channel.Position{}, false
}

// AppendEvent makes the stream the form of its session.
func (s *stream) AppendEvent(dst []byte, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventPing:
		return append(dst, ":\n\n"...)
	case hub.EventPublication:
		if s.wants(e) {
			return s.event(dst, e.Pub)
		}
	}
	return dst
}

// wants reports whether a publication is to be sent.
func (s *stream) wants(e *hub.Event) bool {
	if s.exact[e.Channel] {
		return true
	}
	topic, private := s.door.spaces.topic(e.Pub.Channel)
	return !s.exact[e.Pub.Channel] && s.asked.matchers.matches(topic) && (!private || s.bearer.subscribe.matches(topic))
}

// event appends an event, unless it is a copy of one that was.
func (s *stream) event(dst []byte, p *channel.Publication) []byte {
	s.resume.Move(p.Channel, p.Position)
	id := s.resume.Token()
	if !s.exact[p.Channel] {
		s.resume.Drop(p.Channel) // or it would grow with every topic there is
	}
	if update := p.Tags[tagUpdate]; update != "" {
		if slices.Contains(s.seen[:], update) {
			return dst
		}
		s.seen[s.next] = update
		s.next = (s.next + 1) % remembered
	}
	dst = append(append(append(dst, "id: "...), idOf(id)...), '\n')
	return append(dst, body(p)...)
}
