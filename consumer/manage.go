package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/observe"
)

// Clients is which clients may take part in consumers of a namespace beside
// those whose token names the consumer's channel.
type Clients uint8

// The classes.
const (
	// ClientsNone: no others.
	ClientsNone Clients = iota
	// ClientsOwn: those that may subscribe to the channel, in consumers that are
	// called as their user is, or begin with that and "/".
	ClientsOwn
	// ClientsAny: those that may subscribe to the channel, in any.
	ClientsAny
)

// Rules is how consumers are in one namespace.
type Rules struct {
	Clients Clients
	// Start and Settings are those of a consumer that is made by its first
	// subscription.
	Start    string
	Settings Settings
}

// Info is how a consumer stands.
type Info struct {
	Consumer string `json:"consumer"`
	Channel  string `json:"channel"`
	// Deliveries is the channel to subscribe to.
	Deliveries string   `json:"deliveries"`
	Settings   Settings `json:"settings"`
	// Epoch and Next are how far the channel has been read, Behind how many
	// offsets are left: at most as many publications.
	Epoch  string `json:"epoch"`
	Next   uint64 `json:"next"`
	Behind uint64 `json:"behind"`
	// Pending is how many have been taken and are not settled, Unacked how many
	// of them are with a seat now.
	Pending int `json:"pending"`
	Unacked int `json:"unacked"`
	// OldestAge is how long ago, in ms, the oldest of them was published.
	OldestAge int64  `json:"oldest_ms"`
	Seats     int    `json:"seats"`
	Counts    Counts `json:"counts"`
	Node      string `json:"node"`
	Created   int64  `json:"created"`
}

// Start is where a consumer begins, or goes on from.
type Start struct {
	// At is StartNew, StartFirst, or "" for behind Offset of Epoch; an empty
	// epoch is the current one.
	At     string
	Epoch  string
	Offset uint64
}

// source returns the namespace of a channel that can have consumers.
func (m *Manager) source(name string) (*hub.Namespace, error) {
	if m.hub.IsPattern(name) {
		// It would have to keep a place for each channel that ever matched.
		return nil, channel.ErrBadRequest.With(fmt.Sprintf(
			"%q is a pattern, and a consumer has its place in one channel: publish what is to be acknowledged to one channel, with tags that tell it apart, or make a consumer for each channel",
			name))
	}
	ns, err := m.hub.Namespace(name)
	switch {
	case err != nil:
		return nil, err
	case !m.engine.Caps().State:
		return nil, channel.ErrUnsupported.With("this engine keeps no state, which consumers need")
	case ns.Gate != nil || ns.System:
		return nil, channel.ErrNotAvailable.With("channels of the server itself have no consumers")
	case ns.Policy.Kind != channel.KindLog:
		return nil, channel.ErrNotAvailable.With("namespace \"" + ns.Policy.Namespace + "\" is not of kind log")
	case !ns.Policy.Recoverable():
		return nil, channel.ErrNotAvailable.With("a consumer needs history, which is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	return ns, nil
}

// checkLetters refuses a channel for dead letters that cannot take any.
func (m *Manager) checkLetters(set *Settings, source string) error {
	if set.DeadLetter == "" {
		return nil
	}
	ns, err := m.hub.Namespace(set.DeadLetter)
	switch {
	case err != nil:
		return err
	case ns.Gate != nil || ns.System || ns.Policy.Kind != channel.KindLog || set.DeadLetter == source:
		return channel.ErrBadRequest.With("dead_letter has to be another channel, of kind log")
	}
	return nil
}

// Create makes a consumer, or gives one that is there other settings; where it
// begins is of no matter then.
func (m *Manager) Create(ctx context.Context, name, source string, set Settings, from Start) (*Info, error) {
	return m.create(ctx, name, source, set, from, nil)
}

// create is Create for a client of a user, or, with nil, for the server's side.
func (m *Manager) create(ctx context.Context, name, source string, set Settings, from Start, by *string) (*Info, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	full, err := Channel(name, source)
	if err != nil {
		return nil, err
	}
	ns, err := m.source(source)
	if err != nil {
		return nil, err
	}
	set = set.withDefaults()
	if err := errors.Join(set.check(), m.checkLetters(&set, source)); err != nil {
		return nil, err
	}
	if _, _, err := m.registry.read(ctx, full); errors.Is(err, channel.ErrUnknownChannel) {
		err = m.make(ctx, full, source, ns, set, from, by)
		if err != nil && !errors.Is(err, channel.ErrConflict) {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	out, err := m.call(ctx, &request{Do: doSet, Full: full, Settings: &set})
	if err != nil {
		return nil, err
	}
	return out.Info, nil
}

// make writes the first record of a consumer.
func (m *Manager) make(ctx context.Context, full, source string, ns *hub.Namespace, set Settings, from Start, by *string) error {
	if err := m.reserve(ctx, source, by); err != nil {
		return err
	}
	at, err := m.place(ctx, source, ns, from)
	if err != nil {
		return err
	}
	rec, err := json.Marshal(&record{Settings: set, Epoch: at.Epoch, Next: at.Offset, Began: &at.Offset, Created: time.Now().UnixMilli()})
	if err != nil {
		return channel.ErrInternal.Wrap(err)
	}
	// The index first: one that is listed and not there is nothing, one that is
	// there and not listed would be forgotten by the next node.
	if err := m.registry.list(ctx, full, listed{By: by}); err != nil {
		return err
	}
	_, err = m.registry.write(ctx, full, "", rec, 0)
	return err
}

// place returns the position that a start means.
func (m *Manager) place(ctx context.Context, source string, ns *hub.Namespace, from Start) (channel.Position, error) {
	read := &channel.ReadRequest{Channel: source, Policy: ns.Policy}
	if from.At == StartFirst {
		read.Limit = 1
	}
	r, err := m.engine.Read(ctx, read)
	switch {
	case err != nil:
		return channel.Position{}, err
	case from.At == StartNew, from.At == StartFirst && len(r.Pubs) == 0:
		return r.Top, nil
	case from.At == StartFirst:
		return channel.Position{Epoch: r.Top.Epoch, Offset: r.Pubs[0].Prev}, nil
	case from.At != "":
		return channel.Position{}, channel.ErrBadRequest.With(fmt.Sprintf("start is %q, it may be %q or %q", from.At, StartNew, StartFirst))
	case from.Epoch != "" && from.Epoch != r.Top.Epoch:
		return channel.Position{}, channel.ErrUnrecoverable.With("the epoch is now \"" + r.Top.Epoch + "\"")
	case from.Offset > r.Top.Offset:
		return channel.Position{}, channel.ErrBadRequest.With(fmt.Sprintf("offset %d is yet to come, the channel is at %d", from.Offset, r.Top.Offset))
	}
	return channel.Position{Epoch: r.Top.Epoch, Offset: from.Offset}, nil
}

// Info tells how a consumer stands.
func (m *Manager) Info(ctx context.Context, name, source string) (*Info, error) {
	full, err := Channel(name, source)
	if err != nil {
		return nil, err
	}
	out, err := m.call(ctx, &request{Do: doInfo, Full: full})
	if err != nil {
		return nil, err
	}
	return out.Info, nil
}

// List tells how all consumers of a channel stand, those of all channels where
// source is empty, in order of their names from behind after. It returns at
// most most, and where to go on, "" at the end.
func (m *Manager) List(ctx context.Context, source, after string, most int) (list []*Info, next string, err error) {
	if err := m.usable(); err != nil {
		return nil, "", err
	}
	names, err := m.registry.all(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, full := range names {
		_, of, err := parse(full)
		if err != nil || (source != "" && of != source) || full <= after {
			continue
		}
		if len(list) == most {
			return list, list[most-1].Deliveries, nil
		}
		out, err := m.call(ctx, &request{Do: doInfo, Full: full})
		switch {
		case errors.Is(err, channel.ErrUnknownChannel):
		case err != nil:
			return nil, "", err
		default:
			list = append(list, out.Info)
		}
	}
	return list, "", nil
}

// Seek has a consumer go on from another place. What it has taken is
// forgotten, acknowledged or not.
func (m *Manager) Seek(ctx context.Context, name, source string, to Start) (*Info, error) {
	full, err := Channel(name, source)
	if err != nil {
		return nil, err
	}
	ns, err := m.source(source)
	if err != nil {
		return nil, err
	}
	at, err := m.place(ctx, source, ns, to)
	if err != nil {
		return nil, err
	}
	out, err := m.call(ctx, &request{Do: doSeek, Full: full, Epoch: at.Epoch, Next: at.Offset})
	if err != nil {
		return nil, err
	}
	return out.Info, nil
}

// Delete forgets a consumer. Its subscriptions end.
func (m *Manager) Delete(ctx context.Context, name, source string) error {
	full, err := Channel(name, source)
	if err != nil {
		return err
	}
	_, err = m.call(ctx, &request{Do: doDelete, Full: full})
	m.census.gone.Store(true)
	return err
}

// start is where a consumer begins that does not say.
func (r *Rules) start() string {
	if r.Start == "" {
		return StartNew
	}
	return r.Start
}

// admit returns the rules for a consumer that a client may take part in.
func (m *Manager) admit(s *hub.Session, name, source string) (*Rules, error) {
	full, err := Channel(name, source)
	if err != nil {
		return nil, err
	}
	ns, err := m.source(source)
	if err != nil {
		return nil, err
	}
	rules := m.opts.Rules[ns.Policy.Namespace]
	id := s.Identity()
	if id == nil {
		return nil, channel.ErrUnauthorized.With("connect first")
	}
	if !may(id, full, name, source, ns, rules.Clients) {
		return nil, channel.ErrPermissionDenied.With("this consumer is for a token with capability \"sub\" on \"" + full +
			"\", or for those that consumers.clients of namespace \"" + ns.Policy.Namespace + "\" lets in")
	}
	return &rules, nil
}

// Enter lets those take a seat who may, and makes the consumer where there is
// none yet.
func (m *Manager) Enter(ctx context.Context, s *hub.Session, full string, granted bool) error {
	name, source, err := parse(full)
	if err != nil {
		return err
	}
	var by *string // what the server grants is no client's
	if !granted {
		if _, err := m.admit(s, name, source); err != nil {
			return err
		}
		by = &s.Identity().User
	}
	if err := m.usable(); err != nil {
		return err
	}
	if _, _, err = m.find(ctx, full); errors.Is(err, channel.ErrUnknownChannel) {
		rules := m.opts.Rules[channel.Namespace(source)]
		_, err = m.create(ctx, name, source, rules.Settings, Start{At: rules.start()}, by)
	}
	return err
}

// may reports whether a client may take part in a consumer.
func may(id *auth.Identity, full, name, source string, ns *hub.Namespace, clients Clients) bool {
	named := auth.Rules{Subscribe: auth.NewWhoSet(auth.WhoToken)}
	if id.CanByName(auth.VerbSubscribe, full) || named.Allows(auth.VerbSubscribe, full, &auth.Identity{Subs: id.Subs, Channels: id.Channels}, false, false) {
		return true
	}
	if clients == ClientsNone || !ns.Rules.Allows(auth.VerbSubscribe, source, id, false, false) {
		return false
	}
	if id.Filter(source) != nil {
		return false // a consumer hands out all of the channel
	}
	own := id.User != "" && (name == id.User || strings.HasPrefix(name, id.User+"/"))
	return clients == ClientsAny || own
}

// Word is what is said about deliveries: by their tokens, or, by a session that
// has a seat at the consumer, by their offsets.
type Word struct {
	// Do is "ack", "nack" for another delivery after Delay, or "in_progress"
	// for more time.
	Do     string
	Delay  time.Duration
	Tokens []string
	// Session is the client id of the session.
	Session           string
	Consumer, Channel string
	Offsets           []uint64
	// Operator: it may say so about any offset that has been taken.
	Operator bool
}

// Outcome is what a Word came to: Done were settled by it, Stale had been
// settled before, or their channel began anew.
type Outcome struct {
	Done  int `json:"done"`
	Stale int `json:"stale"`
}

// maxDelay is how long a delivery that is not acknowledged may be put off.
const maxDelay = 24 * time.Hour

// Settle does what is said. It returns once that is kept.
func (m *Manager) Settle(ctx context.Context, word *Word) (*Outcome, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	switch {
	case word.Do != doAck && word.Do != doNack && word.Do != doProgress:
		return nil, channel.ErrBadRequest.With(fmt.Sprintf("a delivery is answered with %q, %q or %q", doAck, doNack, doProgress))
	case word.Delay < 0 || word.Delay > maxDelay:
		return nil, channel.ErrBadRequest.With(fmt.Sprintf("the delay may be 0 to %v", maxDelay))
	case len(word.Tokens)+len(word.Offsets) > MaxAcks:
		m.metrics.Limit(observe.LimitAcks).Inc()
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("one request may be about %d deliveries", MaxAcks))
	case len(word.Tokens)+len(word.Offsets) == 0:
		return nil, channel.ErrBadRequest.With("say which delivery: by the token in its tag " + TagAck + ", or by consumer, channel and offset")
	}
	requests, err := m.requests(ctx, word)
	if err != nil {
		return nil, err
	}
	out := new(Outcome)
	for _, r := range requests {
		a, err := m.call(ctx, r)
		if err != nil {
			return nil, err
		}
		out.Done, out.Stale = out.Done+a.Done, out.Stale+a.Stale
	}
	return out, nil
}

// requests sorts what is said by consumer.
func (m *Manager) requests(ctx context.Context, word *Word) ([]*request, error) {
	var out []*request
	if len(word.Offsets) > 0 {
		full, err := Channel(word.Consumer, word.Channel)
		if err != nil {
			return nil, err
		}
		r := &request{Do: word.Do, Full: full, From: m.self, Offsets: word.Offsets, Delay: word.Delay, Anyway: word.Operator}
		if at, ok := m.seatOf(full, word.Session); ok {
			r.By = &at.id
		} else if !word.Operator {
			return nil, channel.ErrNotSubscribed.With("offsets are for who is subscribed to \"" + full + "\"; others use the token in the tag " + TagAck)
		}
		out = append(out, r)
	}
	if len(word.Tokens) == 0 {
		return out, nil
	}
	key, err := m.signing(ctx)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*request)
	for _, token := range word.Tokens {
		t, err := verify(key, token)
		if err != nil {
			m.metrics.Consumers("other").Refused.Inc()
			return nil, err
		}
		r := byName[t.full+"\x00"+t.epoch]
		if r == nil {
			r = &request{Do: word.Do, Full: t.full, Epoch: t.epoch, Delay: word.Delay}
			byName[t.full+"\x00"+t.epoch] = r
			out = append(out, r)
		}
		r.Offsets = append(r.Offsets, t.offset)
	}
	return out, nil
}
