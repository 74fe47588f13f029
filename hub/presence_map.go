package hub

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/internal/ordered"
)

// The namespaces of presence maps. The rest of a name in them is the channel
// whose members are the entries: by connection, or by user.
const (
	ClientsNamespace = "$clients"
	UsersNamespace   = "$users"
)

const (
	// presenceMapPause is how long changes of presence are gathered, and
	// presenceMapTick how often a cluster is looked at for changes elsewhere.
	presenceMapPause = 50 * time.Millisecond
	presenceMapTick  = time.Second
)

// presenceMaps lets clients follow who is in a channel as the entries of a map.
// What it tells is the difference between who is there and whom it told of
// before; so however often somebody comes and goes in between, and whatever the
// bus lost, in the end it is right.
type presenceMaps struct {
	hub *Hub
	// offered: there are such maps.
	offered bool
	// watched counts the seats: where there are none a change costs nothing.
	watched atomic.Int64
	wake    chan struct{}
	// dirty is the channels whose members have changed. Its lock is taken under
	// those of topics.
	dirty struct {
		sync.Mutex
		names map[string]struct{}
	}
	mu struct {
		sync.Mutex
		maps map[string]*presenceMap
	}
}

// presenceMap is one channel's members as its seats know them.
type presenceMap struct {
	name, of string
	byUser   bool
	mu       struct {
		sync.Mutex
		entries ordered.Tree[*channel.Publication]
		// seats are those who follow: what each began with until it takes part,
		// then nil.
		seats map[Seat]*ordered.Tree[*channel.Publication]
	}
}

// newPresenceMaps adds the two namespaces, where any other keeps presence.
func newPresenceMaps(h *Hub) *presenceMaps {
	m := &presenceMaps{hub: h, wake: make(chan struct{}, 1)}
	m.dirty.names = make(map[string]struct{})
	m.mu.maps = make(map[string]*presenceMap)
	for _, ns := range h.opts.Namespaces {
		if !ns.Presence {
			continue
		}
		for _, name := range []string{ClientsNamespace, UsersNamespace} {
			h.opts.Namespaces[name] = &Namespace{
				Policy: &channel.Policy{Namespace: name}, System: true, Gate: m, PositionCheck: -1,
				metrics: h.opts.Metrics.Namespace(name), latency: h.opts.Metrics.PublishSeconds(name),
			}
		}
		m.offered = true
		break
	}
	return m
}

// Enter is for those who may ask for the presence of the channel.
func (m *presenceMaps) Enter(_ context.Context, s *Session, name string, granted bool) error {
	_, of, _ := strings.Cut(name, ":")
	if err := m.hub.presenceOf(of); err != nil {
		return err
	}
	ns, err := m.hub.Namespace(of)
	if err != nil || granted {
		return err
	}
	return s.may(auth.VerbPresence, ns, of, false)
}

// SubscribePresence subscribes to a presence map. All its entries are one page.
func (s *Session) SubscribePresence(ctx context.Context, r SubscribeRequest) (*StatePage, error) {
	switch channel.Namespace(r.Channel) {
	case ClientsNamespace, UsersNamespace:
	default:
		return nil, channel.ErrBadRequest.With("who is in a channel is told by " + ClientsNamespace + ":" + r.Channel + " and " + UsersNamespace + ":" + r.Channel)
	}
	r.Recover, r.Filter = false, nil
	sn, err := s.Subscribe(ctx, r)
	if err != nil {
		return nil, err
	}
	entries, err := s.hub.presence.begin(Seat{sn.sub})
	if err != nil {
		sn.Cancel()
		return nil, err
	}
	return &StatePage{Entries: entries, Live: sn}, nil
}

// begin gives a seat what its map holds, for it to go on from.
func (m *presenceMaps) begin(at Seat) ([]*channel.Publication, error) {
	name := at.Channel()
	m.mu.Lock()
	p := m.mu.maps[name]
	if p == nil {
		ns, of, _ := strings.Cut(name, ":")
		p = &presenceMap{name: name, of: of, byUser: ns == UsersNamespace}
		p.mu.entries = ordered.New(compareKeys)
		p.mu.seats = make(map[Seat]*ordered.Tree[*channel.Publication])
		m.mu.maps[name] = p
	}
	// A map without seats goes under both locks, so this one stays.
	p.mu.Lock()
	p.mu.seats[at] = &ordered.Tree[*channel.Publication]{}
	p.mu.Unlock()
	m.mu.Unlock()
	m.watched.Add(1)
	err := m.refresh(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		return nil, err // its Left is to come
	}
	base := p.mu.entries
	if _, ok := p.mu.seats[at]; ok {
		p.mu.seats[at] = &base
	}
	return slices.Collect(base.All()), nil
}

// Entered has a seat take part: what has changed since it began it is told now.
// One that did not begin with SubscribePresence is told everything.
func (m *presenceMaps) Entered(at Seat) {
	if m.goOn(at) {
		return
	}
	m.hub.task(func() {
		entries, err := m.begin(at)
		if err != nil {
			at.Session().EndSubscription(at.Channel(), UnsubscribeInsufficient)
			return
		}
		for _, pub := range entries {
			at.Hand(pub)
		}
		m.goOn(at)
		if !at.Session().holds(at.sub) {
			m.Left(at)
		}
	})
}

// goOn has a seat hear of changes, from where it began. It reports whether it
// has begun.
func (m *presenceMaps) goOn(at Seat) bool {
	p := m.of(at)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base := p.mu.seats[at]
	if base == nil {
		return false
	}
	p.mu.seats[at] = nil
	for pub := range p.differences(*base, p.mu.entries) {
		at.Hand(pub)
	}
	return true
}

// Left forgets a seat, and the map with the last one.
func (m *presenceMaps) Left(at Seat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.maps[at.Channel()]
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.mu.seats[at]; !ok {
		return
	}
	delete(p.mu.seats, at)
	m.watched.Add(-1)
	if len(p.mu.seats) == 0 {
		delete(m.mu.maps, p.name)
	}
}

func (m *presenceMaps) of(at Seat) *presenceMap {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.maps[at.Channel()]
}

// changed says that the members of a channel are others. It does not block.
func (m *presenceMaps) changed(name string) {
	if m.watched.Load() == 0 {
		return
	}
	m.dirty.Lock()
	m.dirty.names[name] = struct{}{}
	m.dirty.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run tells of changes until the hub closes.
func (m *presenceMaps) run() {
	var look <-chan time.Time // alone it wakes for nobody
	if m.hub.cluster != nil {
		tick := time.NewTicker(presenceMapTick)
		defer tick.Stop()
		look = tick.C
	}
	for {
		all := false
		select {
		case <-m.wake:
			select {
			case <-time.After(presenceMapPause):
			case <-m.hub.ctx.Done():
				return
			}
		case <-look:
			all = true
		case <-m.hub.ctx.Done():
			return
		}
		m.dirty.Lock()
		names := m.dirty.names
		m.dirty.names = make(map[string]struct{})
		m.dirty.Unlock()
		for _, p := range m.list() {
			if _, ok := names[p.of]; ok || all {
				// What cannot be said now is said when it can.
				_ = m.refresh(p)
			}
		}
	}
}

func (m *presenceMaps) list() []*presenceMap {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*presenceMap, 0, len(m.mu.maps))
	for _, p := range m.mu.maps {
		out = append(out, p)
	}
	return out
}

// refresh makes a map what it should be and tells its seats the difference.
func (m *presenceMaps) refresh(p *presenceMap) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := m.membersOf(p)
	if err != nil {
		return err
	}
	for pub := range p.differences(p.mu.entries, now) {
		for at, base := range p.mu.seats {
			if base == nil {
				at.Hand(pub)
			}
		}
	}
	p.mu.entries = now
	return nil
}

// membersOf returns who is there now. An entry that is as it was stays the same
// one.
func (m *presenceMaps) membersOf(p *presenceMap) (ordered.Tree[*channel.Publication], error) {
	var items []*channel.Publication
	add := func(key string, info *channel.ClientInfo, about any) {
		data, err := json.Marshal(about)
		if err != nil {
			return // numbers and strings always do
		}
		pub := &channel.Publication{Channel: p.name, Op: channel.OpPut, Key: key, Info: info, Data: data}
		if old, ok := p.mu.entries.Get(pub); ok && sameInfo(old.Info, info) && string(old.Data) == string(data) {
			pub = old
		}
		items = append(items, pub)
	}
	if p.byUser {
		users, err := m.hub.PresenceUsers(p.of)
		if err != nil {
			return p.mu.entries, err
		}
		for _, u := range users {
			add(u.User, u.Info, struct {
				Clients int `json:"clients"`
			}{u.Clients})
		}
	} else {
		clients, err := m.hub.Presence(p.of)
		if err != nil {
			return p.mu.entries, err
		}
		for _, c := range clients {
			add(c.Client, c, struct {
				User string `json:"user"`
			}{c.User})
		}
	}
	slices.SortFunc(items, compareKeys)
	items = slices.CompactFunc(items, func(a, b *channel.Publication) bool { return a.Key == b.Key })
	return ordered.FromSorted(compareKeys, items), nil
}

// differences goes through what makes one version of a map another.
func (p *presenceMap) differences(old, now ordered.Tree[*channel.Publication]) func(yield func(*channel.Publication) bool) {
	return func(yield func(*channel.Publication) bool) {
		for pub, put := range ordered.Changes(old, now, func(a, b *channel.Publication) bool { return a == b }) {
			if !put {
				pub = &channel.Publication{Channel: p.name, Op: channel.OpDelete, Key: pub.Key}
			}
			if !yield(pub) {
				return
			}
		}
	}
}
