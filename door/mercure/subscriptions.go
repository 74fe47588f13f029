package mercure

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
)

// SubscriptionsNamespace is the namespace of the server's own in which the
// active subscriptions are: its one channel has every stream as a member.
const (
	SubscriptionsNamespace = "$mercure"
	subscriptionsChannel   = SubscriptionsNamespace + ":subscriptions"
)

// SubscriptionsPath is where active subscriptions are listed, and below which
// the topics of the updates about them are.
const SubscriptionsPath = Path + "/subscriptions"

// subscription is one matcher of one stream, as it is told and listed.
type subscription struct {
	Context     string          `json:"@context,omitempty"`
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	MatchType   string          `json:"matchType"`
	Match       string          `json:"match"`
	Subscriber  string          `json:"subscriber"`
	Active      bool            `json:"active"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	LastEventID string          `json:"lastEventID,omitempty"`
}

// The fixed values of the JSON-LD documents.
const (
	contextLD        = "https://mercure.rocks/"
	typeSubscription = "Subscription"
	typeCollection   = "Subscriptions"
	contentLD        = "application/ld+json"
)

// expand percent-encodes a value once, as RFC 6570 section 3.2.2 has it: all but
// the unreserved characters.
func expand(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// subscriptions returns what the stream's matchers are. The subscriber's name is
// what his token proves, made unique by the connection's id.
func (s *stream) subscriptions() []subscription {
	who := s.session.ID()
	if user := s.bearer.who.User; user != "" {
		who = user + "/" + who
	}
	var all []subscription
	for _, m := range s.asked.matchers {
		sub := subscription{
			ID:   SubscriptionsPath + "/" + expand(m.kind()) + "/" + expand(m.text) + "/" + expand(who),
			Type: typeSubscription, MatchType: m.kind(), Match: m.text, Subscriber: who, Active: true, Payload: s.bearer.payload(m.text),
		}
		if !slices.ContainsFunc(all, func(other subscription) bool { return other.ID == sub.ID }) {
			all = append(all, sub)
		}
	}
	return all
}

// register makes the stream's subscriptions known, and returns what ends that.
func (s *stream) register(ctx context.Context) (end func(), err error) {
	d := s.door
	if !d.opts.Subscriptions {
		return func() {}, nil
	}
	all := s.subscriptions()
	info, err := json.Marshal(all)
	if err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	if len(info) > maxTold {
		d.opts.Metrics.Limit(observe.LimitTopics).Inc()
		return nil, channel.ErrBadRequest.With("what is told of the subscriptions is too long: use fewer or shorter matchers, or less payload")
	}
	yes, no := true, false
	sn, err := s.session.Subscribe(ctx, hub.SubscribeRequest{
		Channel: subscriptionsChannel, Granted: true, ServerSide: true,
		Options: auth.SubOptions{Info: info, Override: auth.Override{Presence: &yes, JoinLeave: &no, ForcePushJoinLeave: &no}},
	})
	if err != nil {
		return nil, err
	}
	sn.Live(nil)
	d.tell(ctx, all)
	return func() {
		s.session.Close(hub.DisconnectConnectionClosed) // what is told has happened
		for i := range all {
			all[i].Active = false
		}
		ctx, cancel := context.WithTimeout(d.ctx, publishTimeout)
		defer cancel()
		d.tell(ctx, all)
	}, nil
}

// tell publishes updates about subscriptions, each private. One whose topic is
// too long for a channel is not told, and counted.
func (d *Door) tell(ctx context.Context, all []subscription) {
	for i := range all {
		if d.spaces.check(all[i].ID) != nil {
			d.opts.Metrics.Limit(observe.LimitTopics).Inc()
			continue
		}
		told := all[i]
		told.Context = contextLD
		data, err := json.Marshal(told)
		if err == nil {
			_, err = d.hub.Publish(ctx, &channel.PublishRequest{Channel: d.spaces.channel(told.ID, true), Data: data})
		}
		if err != nil {
			d.opts.Logger.Debug("a subscription was not told", observe.KeyErr, err)
		}
	}
}

// ServeSubscriptions answers requests for SubscriptionsPath and what is below.
func (d *Door) ServeSubscriptions(w http.ResponseWriter, r *http.Request) {
	if err := d.serveSubscriptions(w, r); err != nil {
		d.metrics.Refused.Inc()
		d.refuse(w, r, err)
	}
}

func (d *Door) serveSubscriptions(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return conversation.MethodError(http.MethodGet)
	}
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	b, err := d.identify(r, q)
	path := r.URL.EscapedPath()
	switch {
	case err != nil:
		return err
	case b.who == nil:
		return &refused{status: http.StatusUnauthorized, why: "listing subscriptions needs a token"}
	case !b.subscribe.matches(path):
		return insufficient("the token does not let its bearer subscribe to this topic")
	}
	if err := d.hub.KeptOut(auth.AddressOf(r), b.who); err != nil {
		return err
	}
	members, err := d.hub.Presence(subscriptionsChannel)
	if err != nil {
		return err
	}
	found := []subscription{}
	for _, m := range members {
		var all []subscription
		if json.Unmarshal(m.ChanInfo, &all) != nil {
			continue
		}
		for _, sub := range all {
			if sub.ID == path {
				sub.Context, sub.LastEventID = contextLD, earliest
				return writeLD(w, sub)
			}
			if strings.HasPrefix(sub.ID, path+"/") {
				found = append(found, sub)
			}
		}
	}
	parts := strings.Split(strings.TrimPrefix(path, SubscriptionsPath), "/")
	if len(parts) != 1 && len(parts) != 3 {
		return channel.ErrUnknownChannel.With("there is no such subscription")
	}
	slices.SortFunc(found, func(a, b subscription) int { return cmp.Compare(a.ID, b.ID) })
	return writeLD(w, map[string]any{
		"@context": contextLD, "id": path, "type": typeCollection, "lastEventID": earliest, "subscriptions": found,
	})
}

// writeLD answers with a JSON-LD document. There is no order over all topics in
// which one event would be the last, so lastEventID is always earliest: who
// listens first and then asks misses nothing.
func writeLD(w http.ResponseWriter, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return channel.ErrInternal.Wrap(err)
	}
	h := w.Header()
	h.Set("Content-Type", contentLD)
	h.Set("Cache-Control", "private, no-store")
	h.Set("Link", "<"+Path+`>; rel="mercure"`)
	_, _ = w.Write(b)
	return nil
}
