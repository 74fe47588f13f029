package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"myelin/auth"
	"myelin/channel"
)

// Condition is what must be so for an entry to be changed.
type Condition uint8

// The conditions.
const (
	// Always changes it.
	Always Condition = iota
	// IfNew wants no entry of the key, IfExists one.
	IfNew
	IfExists
	// IfAt wants the entry that was put at EntryRequest.At.
	IfAt
)

// ParseCondition reads a condition as the doors spell it: "", "new", "exists", or
// "" with an offset.
func ParseCondition(word string, offset *uint64) (c Condition, at uint64, err error) {
	switch {
	case offset != nil && word == "":
		return IfAt, *offset, nil
	case offset != nil:
		err = channel.ErrBadRequest.With("give if or offset, not both: an offset wants the entry that was put at it")
	case word == "":
		return Always, 0, nil
	case word == "new":
		return IfNew, 0, nil
	case word == "exists":
		return IfExists, 0, nil
	default:
		err = channel.ErrBadRequest.With("if is \"new\" or \"exists\", or left out")
	}
	return Always, 0, err
}

// EntryRequest asks to put or remove an entry of a state channel.
type EntryRequest struct {
	Channel string
	Key     string
	// Remove removes the entry. Removing what is not there is no error.
	Remove bool
	// Data, ContentType, Tags, Score, TTL and ID are as in
	// channel.PublishRequest.
	Data        []byte
	ContentType string
	Tags        map[string]string
	Score       int64
	TTL         time.Duration
	ID          string
	// If is the condition; where it does not hold the answer is ErrConflict.
	If Condition
	At uint64
	// Leave has the entry removed when the session's subscription to the channel
	// ends, however that comes. It needs one.
	Leave bool
}

// check refuses what no namespace takes.
func (r *EntryRequest) check() error {
	switch {
	case r.Key == "":
		return channel.ErrBadRequest.With("the key is empty; an entry needs one")
	case len(r.Key) > channel.MaxKeyBytes:
		return channel.ErrTooLarge.With(fmt.Sprintf("the key has %d bytes, at most %d are allowed", len(r.Key), channel.MaxKeyBytes))
	case !utf8.ValidString(r.Key):
		return channel.ErrBadRequest.With("the key is not valid UTF-8")
	case r.TTL < 0:
		return channel.ErrBadRequest.With("the ttl is negative; 0 takes that of the namespace")
	case r.Remove && (len(r.Data) > 0 || r.TTL != 0 || r.Score != 0 || r.Leave):
		return channel.ErrBadRequest.With("a removal has no data, ttl or score")
	case r.Leave && r.TTL != 0:
		return channel.ErrBadRequest.With("an entry that leaves with its session has no ttl of its own")
	}
	return nil
}

// namespaceOfState returns the namespace of a channel that holds entries.
func (h *Hub) namespaceOfState(name string) (*Namespace, error) {
	ns, err := h.Namespace(name)
	if err != nil {
		return nil, err
	}
	if !ns.isState() {
		return nil, errNoState(ns)
	}
	return ns, nil
}

// SetEntry puts or removes an entry in the session's name.
func (s *Session) SetEntry(ctx context.Context, r EntryRequest) (channel.Ack, error) {
	ns, err := s.hub.namespaceOfState(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	if ns.Gate != nil {
		return channel.Ack{}, errGated(ns)
	}
	ask := channel.PublishRequest{Channel: r.Channel, Key: r.Key, Data: r.Data}
	if err := s.mayPublish(ctx, ns, &ask); err != nil {
		return channel.Ack{}, err
	}
	r.Data = ask.Data
	if err := s.ownsKey(ns, r.Key); err != nil {
		return channel.Ack{}, err
	}
	if r.Leave {
		return s.lease(ctx, ns, r)
	}
	if r.ID, err = s.ownID(r.ID); err != nil {
		return channel.Ack{}, err
	}
	return s.hub.setEntry(ctx, ns, r, s)
}

// ownsKey refuses the keys of others where the namespace wants that.
func (s *Session) ownsKey(ns *Namespace, key string) error {
	if !ns.OwnKeys {
		return nil
	}
	user := s.Identity().User
	if user != "" && (key == user || strings.HasPrefix(key, user+":")) {
		return nil
	}
	return channel.ErrPermissionDenied.With(fmt.Sprintf(
		"in namespace %q a client writes the keys of its user: the user's id, or what begins with it and a colon", ns.Policy.Namespace))
}

// SetEntry puts or removes an entry in the server's name.
func (h *Hub) SetEntry(ctx context.Context, r EntryRequest) (channel.Ack, error) {
	ns, err := h.namespaceOfState(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	if ns.System {
		return channel.Ack{}, errSystem(ns)
	}
	if r.Leave {
		return channel.Ack{}, channel.ErrBadRequest.With("only what a client puts can leave with it")
	}
	return h.setEntry(ctx, ns, r, nil)
}

// maxAttempts is how often a change of what must exist is tried while others
// change it.
const maxAttempts = 8

// setEntry changes an entry in the name of a session, or of the server.
func (h *Hub) setEntry(ctx context.Context, ns *Namespace, r EntryRequest, by *Session) (channel.Ack, error) {
	publish, info := h.publish, (*channel.ClientInfo)(nil)
	if by != nil {
		publish, info = by.publish, by.speaker(r.Channel)
	}
	if err := r.check(); err != nil {
		return channel.Ack{}, err
	}
	for attempt := 1; ; attempt++ {
		at := r.At
		if r.If == IfExists {
			page, err := h.entry(ctx, ns, r.Channel, r.Key)
			if err != nil {
				return channel.Ack{}, err
			}
			if len(page.Items) == 0 {
				return channel.Ack{}, channel.ErrConflict.With("there is no entry of the key")
			}
			at = page.Items[0].Offset
		}
		p := &channel.PublishRequest{
			Channel: r.Channel, Op: channel.OpPut, Key: r.Key, Data: r.Data, ContentType: r.ContentType, Tags: r.Tags,
			Score: r.Score, TTL: r.TTL, ID: r.ID, Info: info,
		}
		if r.Remove {
			p.Op = channel.OpDelete
		}
		if ns.TagKeys {
			p.Tags = tagKey(p.Tags, r.Key, r.Remove)
		}
		if r.If != Always {
			p.Expect = &at
		}
		ack, err := publish(ctx, ns, p)
		if errors.Is(err, channel.ErrConflict) && r.If == IfExists && attempt < maxAttempts {
			continue
		}
		return ack, err
	}
}

// The tags that repeat what is known of an entry, for clients that see no keys.
const (
	TagKey     = "$key"
	TagRemoved = "$removed"
)

// tagKey returns tags with the key of an entry, and whether that ends.
func tagKey(tags map[string]string, key string, removed bool) map[string]string {
	out := make(map[string]string, len(tags)+2)
	maps.Copy(out, tags)
	out[TagKey] = key
	if removed {
		out[TagRemoved] = "true"
	}
	return out
}

// entry reads one entry from the engine.
func (h *Hub) entry(ctx context.Context, ns *Namespace, name, key string) (channel.StatePage, error) {
	if err := (&EntryRequest{Key: key}).check(); err != nil {
		return channel.StatePage{}, err
	}
	return h.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: name, Policy: ns.Policy, Key: key})
}

// mayRead returns the namespace of a state channel that the session may read:
// that is for those who may subscribe.
func (s *Session) mayRead(name string) (*Namespace, error) {
	ns, err := s.hub.namespaceOfState(name)
	if err != nil || s.subscription(name) != nil && !s.closed() {
		return ns, err
	}
	return ns, s.may(auth.VerbSubscribe, ns, name, false)
}

// Entry returns the entry of a key, none where there is no item in the page.
func (s *Session) Entry(ctx context.Context, name, key string) (channel.StatePage, error) {
	ns, err := s.mayRead(name)
	if err != nil {
		return channel.StatePage{}, err
	}
	page, err := s.hub.entry(ctx, ns, name, key)
	page.Items = matching(s.Filter(name), page.Items)
	return page, err
}

// Entry returns the entry of a key, none where there is no item in the page.
func (h *Hub) Entry(ctx context.Context, name, key string) (channel.StatePage, error) {
	ns, err := h.namespaceOfState(name)
	if err != nil {
		return channel.StatePage{}, err
	}
	return h.entry(ctx, ns, name, key)
}

// ListRequest asks for a page of entries, each page as it is at its moment.
type ListRequest struct {
	Channel string
	// Cursor is "" for the first page, then the Next of the page before.
	Cursor string
	// Limit is how many at most, 0 for DefaultStatePage; it is cut to
	// Limits.HistoryRead.
	Limit int
	// Scored reads by score, where the namespace keeps that order, and
	// Descending from the highest.
	Scored, Descending bool
}

// By sets the order as the doors spell it: "" or "key", "score" from the
// highest, "score_up" from the lowest.
func (r *ListRequest) By(order string) error {
	switch order {
	case "", "key":
	case "score":
		r.Scored, r.Descending = true, true
	case "score_up":
		r.Scored = true
	default:
		return channel.ErrBadRequest.With("order is \"key\", \"score\" (from the highest) or \"score_up\"")
	}
	return nil
}

// Entries returns a page of entries. By score a session reads only what it is
// subscribed to.
func (s *Session) Entries(ctx context.Context, r ListRequest) (channel.StatePage, error) {
	ns, err := s.mayRead(r.Channel)
	if err != nil {
		return channel.StatePage{}, err
	}
	if r.Scored && s.subscription(r.Channel) == nil {
		return channel.StatePage{}, channel.ErrNotSubscribed.With("entries in order of their score are listed for subscribers")
	}
	page, err := s.hub.list(ctx, ns, &r)
	page.Items = matching(s.Filter(r.Channel), page.Items)
	return page, err
}

// Entries returns a page of entries.
func (h *Hub) Entries(ctx context.Context, r ListRequest) (channel.StatePage, error) {
	ns, err := h.namespaceOfState(r.Channel)
	if err != nil {
		return channel.StatePage{}, err
	}
	return h.list(ctx, ns, &r)
}

func (h *Hub) list(ctx context.Context, ns *Namespace, r *ListRequest) (channel.StatePage, error) {
	if r.Limit <= 0 {
		r.Limit = DefaultStatePage
	}
	r.Limit = min(r.Limit, h.opts.Limits.HistoryRead)
	switch {
	case r.Scored:
		return h.listScored(ctx, ns, r)
	case r.Descending:
		return channel.StatePage{}, channel.ErrBadRequest.With("entries in order of their keys are listed upwards only")
	}
	page, err := h.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: ns.Policy, Cursor: r.Cursor, Limit: r.Limit})
	return h.cutPage(ctx, ns, r, page, err)
}

// cutPage has a page hold no more bytes than one answer may.
func (h *Hub) cutPage(ctx context.Context, ns *Namespace, r *ListRequest, page channel.StatePage, err error) (channel.StatePage, error) {
	if err != nil {
		return page, err
	}
	if fit := fitting(page.Items); len(fit) < len(page.Items) {
		// The cursor behind what fits is the engine's to give.
		return h.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: r.Channel, Policy: ns.Policy, Cursor: r.Cursor, Limit: len(fit)})
	}
	return page, nil
}
