package hub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/observe"
)

// RevokedNamespace is the namespace in which the nodes keep who is kept out, as
// the entries of one state channel. It is a system namespace.
const RevokedNamespace = "$revoked"

const (
	bansChannel = RevokedNamespace + ":list"
	// MaxBans is how many bans there may be, beside those configured.
	MaxBans = 100_000
	// bansPage is how many are read at a time.
	bansPage = 1000
	// bansTimeout is how long reading them may take.
	bansTimeout = 10 * time.Second
	// bansPause is how long it waits before another try, and between looks
	// whether the list has changed unheard.
	bansPause = time.Second
	bansCheck = 30 * time.Second
	// bansFew is up to how many new bans of users are looked up one by one;
	// for more, and other kinds, all sessions are looked at.
	bansFew = 256
)

// bans is a hub's part in keeping out who is to be kept out.
type bans struct {
	hub  *Hub
	list *auth.Bans
	// poked has something in it when the list may have changed.
	poked chan struct{}

	// turn is taken by who reads the list from the engine and applies it.
	turn chan struct{}
	// keys is the list by the keys of its entries. It belongs to who has the
	// turn.
	keys map[string]auth.Ban
	mu   struct {
		sync.Mutex
		at  channel.Position
		err error
	}
}

func newBans(h *Hub, list *auth.Bans) *bans {
	if list == nil {
		return nil
	}
	return &bans{hub: h, list: list, poked: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// LearnBans reads who is kept out and follows the list from there on. It is
// called once, when the engine has started; until it has returned nil no
// session can identify itself.
func (h *Hub) LearnBans(ctx context.Context) error {
	b := h.bans
	if b == nil {
		return nil
	}
	stop, err := h.Tap(ctx, bansChannel, b.poke)
	if err != nil {
		return err
	}
	for changed := true; changed; {
		if err := b.refresh(ctx, channel.Position{}); err != nil {
			stop()
			return err
		}
		// What changed while it was read is not to wait until clients are in.
		select {
		case <-b.poked:
		default:
			changed = false
		}
	}
	h.task(func() {
		defer stop()
		b.follow()
	})
	return nil
}

// BansHealthy returns nil while the list is known to be up to date, else why
// it is not: the one known before holds.
func (h *Hub) BansHealthy() error {
	if h.bans == nil {
		return nil
	}
	h.bans.mu.Lock()
	defer h.bans.mu.Unlock()
	return h.bans.mu.err
}

func (b *bans) poke() {
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// follow reads the list whenever it changes, until the hub closes.
func (b *bans) follow() {
	look := time.NewTicker(bansCheck)
	defer look.Stop()
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case <-b.poked:
		case <-look.C:
		case <-b.hub.ctx.Done():
			return
		}
		for b.refresh(b.hub.ctx, channel.Position{}) != nil {
			pause.Reset(bansPause)
			select {
			case <-pause.C:
			case <-b.hub.ctx.Done():
				return
			}
		}
	}
}

// refresh reads the list, unless it is as it was, and applies it. At least what
// was there at a position is in it.
func (b *bans) refresh(ctx context.Context, least channel.Position) error {
	ctx, cancel := context.WithTimeout(ctx, bansTimeout)
	defer cancel()
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return channel.ErrUnavailable.With("who is kept out is being read, try again").Wrap(ctx.Err())
	}
	defer func() { <-b.turn }()
	err := b.readAnew(ctx, least)
	b.mu.Lock()
	defer b.mu.Unlock()
	if changed := (err == nil) != (b.mu.err == nil); changed && err != nil {
		b.hub.opts.Logger.Warn("who is kept out cannot be read; the list known so far holds", observe.KeyErr, err)
	}
	b.mu.err = err
	return err
}

// readAnew is refresh, by who has the turn.
func (b *bans) readAnew(ctx context.Context, least channel.Position) error {
	ns, err := b.hub.Namespace(bansChannel)
	if err != nil {
		return err
	}
	b.mu.Lock()
	at, failed := b.mu.at, b.mu.err != nil
	b.mu.Unlock()
	if b.list.Known() && !failed {
		reached, err := b.catchUp(ctx, ns, at, least)
		if err != nil || reached {
			return err
		}
	}
	for {
		all, at, err := b.read(ctx, ns)
		if err != nil {
			return err
		}
		if reaches(at, least) {
			b.replace(all, at)
			return nil
		}
		// A replica that has not heard of it yet.
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return channel.ErrUnavailable.With("the list of who is kept out is behind").Wrap(ctx.Err())
		}
	}
}

// reaches reports whether what is known at a position holds what was there at
// another. In another epoch nobody can tell, and what was read is newer.
func reaches(at, least channel.Position) bool {
	return at.Epoch != least.Epoch || at.Offset >= least.Offset
}

// catchUp applies what has changed since a position, where all of that is kept
// still. It reports whether the list is as it was at least.
func (b *bans) catchUp(ctx context.Context, ns *Namespace, at, least channel.Position) (bool, error) {
	res, err := b.hub.engine.Read(ctx, &channel.ReadRequest{Channel: bansChannel, Policy: ns.Policy, Since: at, Limit: -1})
	if err != nil || !res.Complete || res.Top.Epoch != at.Epoch {
		return false, err
	}
	var added []auth.Ban
	for _, p := range res.Pubs {
		if p.Op != channel.OpPut {
			ban := b.keys[p.Key]
			delete(b.keys, p.Key)
			b.list.Remove(ban.Kind, ban.Value)
		} else if ban := b.decode(p); b.list.Put(ban) {
			b.keys[p.Key] = ban
			added = append(added, ban)
		}
		at = p.Position
	}
	b.applied(added, at)
	return reaches(at, least), nil
}

// decode reads an entry. One that cannot be read keeps nobody out.
func (b *bans) decode(p *channel.Publication) auth.Ban {
	var ban auth.Ban
	err := json.Unmarshal(p.Data, &ban)
	if err == nil {
		ban, err = ban.Check()
	}
	if err != nil {
		b.hub.opts.Logger.Error("one of those who are kept out cannot be read; let all nodes be of one release", observe.KeyErr, err)
		return auth.Ban{}
	}
	return ban
}

// read reads the whole list, by key.
func (b *bans) read(ctx context.Context, ns *Namespace) (all map[string]auth.Ban, at channel.Position, err error) {
	r := &channel.SnapshotRequest{Channel: bansChannel, Policy: ns.Policy, Limit: bansPage}
	all = make(map[string]auth.Ban)
	for {
		page, err := b.hub.engine.Snapshot(ctx, r)
		if err != nil {
			return nil, at, err
		}
		for _, item := range page.Items {
			all[item.Key] = b.decode(item)
		}
		if page.Next == "" {
			return all, page.At, nil
		}
		r.Cursor = page.Next
	}
}

// replace makes a list that was read the one that holds.
func (b *bans) replace(all map[string]auth.Ban, at channel.Position) {
	b.keys = all
	added, _ := b.list.Replace(slices.Collect(maps.Values(all)))
	b.applied(added, at)
}

// applied notes up to where the list holds now, and sends away who is new in it.
func (b *bans) applied(added []auth.Ban, at channel.Position) {
	b.mu.Lock()
	b.mu.at = at
	b.mu.Unlock()
	for _, s := range b.concerned(added) {
		b.hub.enforce(s)
	}
}

// concerned returns the sessions that new bans may be about.
func (b *bans) concerned(added []auth.Ban) []*Session {
	var out []*Session
	if len(added) == 0 {
		return nil
	}
	if len(added) > bansFew {
		return b.hub.clients.all()
	}
	for _, ban := range added {
		switch ban.Kind {
		case auth.BanUser, auth.BanUserTokens:
			out = append(out, b.hub.clients.of(ban.Value, "")...)
		default:
			return b.hub.clients.all()
		}
	}
	return out
}

// enforce sends a session away that is kept out now, and ends those of its
// subscriptions whose tokens are refused now.
func (h *Hub) enforce(s *Session) {
	id := s.Identity()
	if id == nil {
		return // it will be asked when it says who it is
	}
	if err := h.keptOut(s.address, id); err != nil {
		if d, ok := err.(Disconnect); ok { //nolint:errorlint // it is made right there
			s.Close(d)
		}
		return
	}
	var over []*sub
	s.mu.Lock()
	for _, sb := range s.mu.subs.list {
		if _, banned := h.bans.list.Grant(id.User, sb.grant); banned {
			over = append(over, sb)
		}
	}
	s.mu.Unlock()
	for _, sb := range over {
		s.leave(sb, UnsubscribeServer)
	}
}

// keptOut returns nil for who may come in, else the Disconnect that says why
// not, or ErrUnavailable while nobody can tell.
func (h *Hub) keptOut(from auth.Addr, id *auth.Identity) error {
	if h.bans == nil {
		return nil
	}
	if !h.bans.list.Known() {
		return channel.ErrUnavailable.With("who is kept out is not known yet, try again")
	}
	ban, banned := h.bans.list.Address(from)
	if !banned {
		ban, banned = h.bans.list.Identity(id)
	}
	if !banned {
		return nil
	}
	h.opts.Metrics.Limit(observe.LimitBanned).Inc()
	return BanDisconnect(ban)
}

// BanDisconnect returns what a client is told that a ban keeps out.
func BanDisconnect(ban auth.Ban) Disconnect {
	d, why := DisconnectForceNoReconnect, "blocked"
	if ban.Kind == auth.BanToken || ban.Kind == auth.BanUserTokens {
		d, why = DisconnectInvalidToken, "revoked"
	}
	if ban.Reason != "" {
		why += ": " + ban.Reason
	}
	return Disconnect{Code: d.Code, Reason: d.Reason + ": " + why}
}

// grantRevoked returns the refusal of a subscription token, nil where it is
// good.
func (h *Hub) grantRevoked(s *Session, g *auth.Grant) error {
	if h.bans == nil || g == nil {
		return nil
	}
	user := ""
	if id := s.Identity(); id != nil {
		user = id.User
	}
	if _, banned := h.bans.list.Grant(user, g); banned {
		h.opts.Metrics.Limit(observe.LimitBanned).Inc()
		return channel.ErrPermissionDenied.With("the subscription token has been revoked")
	}
	return nil
}

// Bans returns all that is kept out now.
func (h *Hub) Bans() ([]auth.Ban, error) {
	if h.bans == nil {
		return nil, errNoBans()
	}
	return h.bans.list.List(), nil
}

// BannedAddress returns what a client is told that comes from an address that
// is kept out.
func (h *Hub) BannedAddress(a auth.Addr) (Disconnect, bool) {
	if h.bans == nil {
		return Disconnect{}, false
	}
	ban, banned := h.bans.list.Address(a)
	if !banned {
		return Disconnect{}, false
	}
	h.opts.Metrics.Limit(observe.LimitBanned).Inc()
	return BanDisconnect(ban), true
}

// KeptOut returns nil for who may act, else the Disconnect that says why not.
// It is for doors at which somebody acts without a session.
func (h *Hub) KeptOut(from auth.Addr, id *auth.Identity) error { return h.keptOut(from, id) }

func errNoBans() error {
	return channel.ErrNotAvailable.With("this server keeps no list of who is kept out")
}

// Ban keeps somebody out, on all nodes: those who are in are sent away when it
// returns, and it is kept as safely as the engine can. Where a node does not
// answer it is done elsewhere, the error names that node, and it follows when
// it can.
func (h *Hub) Ban(ctx context.Context, ban auth.Ban) error {
	ban, err := ban.Check()
	if err != nil {
		return channel.ErrBadRequest.With(err.Error())
	}
	if h.bans == nil {
		return errNoBans()
	}
	data, err := json.Marshal(ban)
	if err != nil {
		return channel.ErrBadRequest.Wrap(err)
	}
	r := &channel.PublishRequest{Channel: bansChannel, Op: channel.OpPut, Key: banKey(&ban), Data: data}
	if ban.ExpiresAt != 0 {
		if r.TTL = time.Until(time.Unix(ban.ExpiresAt, 0)); r.TTL <= 0 {
			return channel.ErrExpired.With("expire_at has passed")
		}
	}
	return h.bans.change(ctx, r)
}

// Unban takes back what Ban did. Who is not kept out is no error.
func (h *Hub) Unban(ctx context.Context, kind auth.BanKind, value string) error {
	ban, err := (auth.Ban{Kind: kind, Value: value}).Check()
	if err != nil {
		return channel.ErrBadRequest.With(err.Error())
	}
	if h.bans == nil {
		return errNoBans()
	}
	if b, found := h.bans.list.Find(kind, ban.Value); found && b.Configured {
		return channel.ErrPermissionDenied.With("it is blocked by the configuration (auth.block)")
	}
	return h.bans.change(ctx, &channel.PublishRequest{Channel: bansChannel, Op: channel.OpDelete, Key: banKey(&ban)})
}

// banKey is the key of a ban in the list. It is hashed, because a user may be
// called what a key may not.
func banKey(b *auth.Ban) string {
	sum := sha256.Sum256([]byte(b.Value))
	return string(b.Kind) + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// change publishes a change of the list and has all nodes apply it.
func (b *bans) change(ctx context.Context, r *channel.PublishRequest) error {
	ns, err := b.hub.Namespace(bansChannel)
	if err != nil {
		return err
	}
	r.Policy = ns.Policy
	// The list is not for subscribers, so nobody's queue need be asked.
	ack, err := b.hub.engine.Publish(ctx, r)
	if err != nil {
		return err
	}
	var answers []Answer
	var asking sync.WaitGroup
	asking.Go(func() { answers = b.hub.Survey(ctx, topicBans, encode(ack.Position)) })
	err = b.refresh(ctx, ack.Position)
	asking.Wait()
	for i := range answers {
		if err == nil && answers[i].Err != nil {
			err = answers[i].silent("done elsewhere, and it will follow; ")
		}
	}
	return err
}

// answer applies the list as it is at a position, because another node asks.
func (b *bans) answer(ctx context.Context, _ channel.Node, data []byte) ([]byte, error) {
	var at channel.Position
	if err := decode(data, &at); err != nil {
		return nil, err
	}
	if !b.list.Known() {
		// It is still coming up, and reads the list before it lets clients in.
		b.poke()
		return nil, nil
	}
	return nil, b.refresh(ctx, at)
}
