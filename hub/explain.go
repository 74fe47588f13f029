package hub

import (
	"context"
	"fmt"
	"time"

	"myelin/channel"
)

// topicExplain is where a node says what it knows of a client.
const topicExplain = "hub.explain"

// maxAccounts is how many sessions one explanation looks at.
const maxAccounts = 20

// ExplainRequest asks what became of one publication for one client, or for
// the clients of one user. Without either it asks how far it has come on each
// node.
type ExplainRequest struct {
	Channel string
	// At is the position of the publication. An empty epoch stands for the
	// current one.
	At     channel.Position
	Client string
	User   string
	// Bare asks about nobody, and not how far it has come either.
	Bare bool

	// Tags are those of the publication, for the filters of other nodes.
	Tags map[string]string
}

// Verdict is what became of a publication for a client, in a word.
type Verdict string

// The verdicts.
const (
	// VerdictReceived: the client has answered a ping that stood behind it.
	VerdictReceived Verdict = "received"
	// VerdictWritten: the operating system has taken all its bytes.
	VerdictWritten Verdict = "written"
	// VerdictQueued: it waits for a connection that takes nothing now.
	VerdictQueued Verdict = "queued"
	// VerdictPending: the subscription has not come to it yet.
	VerdictPending Verdict = "pending"
	// VerdictEarlier: the client subscribed behind it, or recovered it by itself.
	VerdictEarlier Verdict = "before_subscription"
	// VerdictSkipped: it was left out, and the reason says by which rule.
	VerdictSkipped Verdict = "skipped"
	// VerdictEnded: the subscription or the connection had ended before.
	VerdictEnded Verdict = "ended"
	// VerdictNotSubscribed: the client has no subscription to the channel.
	VerdictNotSubscribed Verdict = "not_subscribed"
	// VerdictUnknownClient: no node knows the client, nor that it was there.
	VerdictUnknownClient Verdict = "unknown_client"
	// VerdictNotPublished: the channel has not come to such an offset.
	VerdictNotPublished Verdict = "not_published"
)

// Explanation is the answer.
type Explanation struct {
	// Pub is the publication where it is still kept. At is its position, with
	// the epoch, and Top that of the channel's last one.
	Pub *channel.Publication
	At  channel.Position
	Top channel.Position
	// Clients holds one finding for each session, Nodes one for each node
	// where nobody in particular was asked about.
	Clients []Finding
	Nodes   []Reach
}

// Finding is what became of the publication for one session.
type Finding struct {
	Verdict Verdict
	// Reason says the same in a sentence, and what to do where that is known.
	Reason string
	// Account is what the verdict is drawn from; nil where nobody has one.
	Account *Account
}

// Reach is how far a publication has come on one node.
type Reach struct {
	Node string
	// Subscribers of the channel, and how many of them it was handed to.
	Subscribers, Reached int
	// Silent: the node did not answer.
	Silent bool
}

// Account is what a node knows of a session and of its subscription to one
// channel. Times are in Unix milliseconds.
type Account struct {
	Node      string `json:"node"`
	Client    string `json:"client"`
	User      string `json:"user,omitempty"`
	Connected bool   `json:"connected"`
	// Subscribed: it has a subscription, which got what came after From and
	// was last handed Last.
	Subscribed bool   `json:"subscribed"`
	Waiting    bool   `json:"waiting,omitempty"`
	From       uint64 `json:"from,omitempty"`
	Last       uint64 `json:"last,omitempty"`
	Epoch      string `json:"epoch,omitempty"`
	// Pattern is one that the client is subscribed to, since PatternSince, and
	// that matches the channel. Denied: it does not bring this channel, which
	// the client may not subscribe to.
	Pattern      string `json:"pattern,omitempty"`
	PatternSince int64  `json:"pattern_since,omitempty"`
	Denied       bool   `json:"denied,omitempty"`
	// Paced: it waits for its turn, by the subscription's rate.
	Paced bool `json:"paced,omitempty"`
	// Filtered: the subscription's filter does not let it through.
	Filtered bool `json:"filtered,omitempty"`
	// Queued is how many bytes wait for the connection, since BlockedAt.
	Queued    int   `json:"queued,omitempty"`
	BlockedAt int64 `json:"blocked_at,omitempty"`
	// AnsweredAt is when the last ping was sent that the client has answered.
	AnsweredAt int64 `json:"answered_at,omitempty"`
	// ClosedAt, Code and Close are the end of the connection.
	ClosedAt int64  `json:"closed_at,omitempty"`
	Code     uint32 `json:"code,omitempty"`
	Close    string `json:"close,omitempty"`
	// Trail is what else happened to its subscriptions to the channel.
	Trail []Trace `json:"trail,omitempty"`
}

// Explain says what became of a publication. Whom no node knows any more is
// found among the last that left, of which each node remembers maxDeparted.
func (h *Hub) Explain(ctx context.Context, r *ExplainRequest) (*Explanation, error) {
	out := new(Explanation)
	if err := h.findPublication(ctx, r, out); err != nil {
		return nil, err
	}
	if r.Bare {
		return out, nil
	}
	if r.Client == "" && r.User == "" {
		h.reach(ctx, r, out)
		return out, nil
	}
	accounts, silent := h.accounts(ctx, r)
	for i := range accounts {
		out.Clients = append(out.Clients, judge(r, out, &accounts[i]))
	}
	if len(accounts) == 0 {
		out.Clients = []Finding{unknownClient(silent)}
	}
	return out, nil
}

// ExplainHanded says what became of something that a client was handed at a
// time, in Unix milliseconds, as the gate of its channel wanted.
func (h *Hub) ExplainHanded(ctx context.Context, name, client string, at int64) Finding {
	accounts, silent := h.accounts(ctx, &ExplainRequest{Channel: name, Client: client})
	if len(accounts) == 0 {
		return unknownClient(silent)
	}
	a := &accounts[0]
	if !a.Connected {
		return Finding{VerdictEnded, fmt.Sprintf("the connection ended at %s with %d (%s)", clockTime(a.ClosedAt), a.Code, a.Close), a}
	}
	verdict, reason := handed(&Explanation{Pub: &channel.Publication{Time: at}}, a)
	return Finding{verdict, reason, a}
}

func unknownClient(silent string) Finding {
	reason := "no node has such a client, nor remembers that it left; names of clients are those they got when they connected"
	if silent != "" {
		reason = "node " + silent + " did not answer, the others have no such client"
	}
	return Finding{Verdict: VerdictUnknownClient, Reason: reason}
}

// accounts returns what all nodes know of those asked about, and a node that
// did not answer.
func (h *Hub) accounts(ctx context.Context, r *ExplainRequest) (all []Account, silent string) {
	all = h.accountsHere(r)
	for _, a := range h.Survey(ctx, topicExplain, encode(r)) {
		var more []Account
		if a.Err != nil || decode(a.Data, &more) != nil {
			silent = a.Node.ID
			continue
		}
		all = append(all, more...)
	}
	return latest(all), silent
}

// latest returns the accounts of sessions that are there, or where there are
// none those of the ones that left, newest first, at most maxAccounts.
func latest(all []Account) []Account {
	there := all[:0:0]
	for _, a := range all {
		if a.Connected {
			there = append(there, a)
		}
	}
	if len(there) == 0 {
		there = all
	}
	return there[:min(len(there), maxAccounts)]
}

// findPublication looks up what the question is about.
func (h *Hub) findPublication(ctx context.Context, r *ExplainRequest, out *Explanation) error {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return err
	}
	if r.At.Offset == 0 || r.At.Offset > channel.MaxOffset {
		return channel.ErrBadRequest.With("offset must be that of a publication, from 1")
	}
	read := &channel.ReadRequest{Channel: r.Channel, Policy: ns.Policy, Since: channel.Position{Epoch: r.At.Epoch, Offset: r.At.Offset - 1}, Limit: 1}
	res, err := h.engine.Read(ctx, read)
	if err != nil {
		return err
	}
	out.Top = res.Top
	if len(res.Pubs) == 1 && res.Pubs[0].Offset == r.At.Offset {
		out.Pub = res.Pubs[0]
		r.Tags = out.Pub.Tags
	}
	if r.At.Epoch == "" {
		r.At.Epoch = res.Top.Epoch
	}
	out.At = r.At
	return nil
}

// judge draws the verdict from what a node knows.
func judge(r *ExplainRequest, e *Explanation, a *Account) Finding {
	verdict, reason := weigh(r, e, a)
	return Finding{Verdict: verdict, Reason: reason, Account: a}
}

func weigh(r *ExplainRequest, e *Explanation, a *Account) (Verdict, string) {
	at := r.At
	if at.Epoch == e.Top.Epoch && at.Offset > e.Top.Offset {
		return VerdictNotPublished, fmt.Sprintf("the channel is at offset %d: nothing was published behind it", e.Top.Offset)
	}
	covered := a.Connected && a.Subscribed && a.Epoch == at.Epoch && at.Offset > a.From
	if t := telling(a.Trail, at, covered); t != nil {
		if t.Kind == TraceEnded && at.Offset <= t.Last {
			verdict, reason := handed(e, a)
			return verdict, fmt.Sprintf("%s; that was before the subscription ended at %s (%s)", reason, clockTime(t.At), t.Why)
		}
		return t.verdict(at)
	}
	switch {
	case !a.Connected:
		return VerdictEnded, fmt.Sprintf("the connection ended at %s with %d (%s), and nothing says that it was subscribed then",
			clockTime(a.ClosedAt), a.Code, a.Close)
	case !a.Subscribed && a.Pattern != "":
		return weighPattern(e, a)
	case !a.Subscribed:
		return VerdictNotSubscribed, "the client is connected and has no subscription to the channel"
	case a.Epoch != at.Epoch:
		return VerdictEarlier, "the client's subscription began in epoch " + a.Epoch + ", the publication is of epoch " + at.Epoch
	case at.Offset <= a.From:
		return VerdictEarlier, fmt.Sprintf("the subscription began behind it, at offset %d; what came with its reply, if the client asked to recover, is included in that, if it had not expired and no filter was in its way", a.From)
	case a.Waiting:
		return VerdictPending, "the subscription waits for what it missed to be read, and then gets it"
	case a.Filtered && e.Pub != nil:
		return VerdictSkipped, "the filter of the subscription, its own or that of its token, does not let the publication's tags through"
	case a.Paced:
		return VerdictPending, "it waits for its turn, by the rate that the subscription asked for"
	case at.Offset > a.Last:
		return VerdictPending, fmt.Sprintf("the subscription was last handed offset %d and has not come to it", a.Last)
	}
	return handed(e, a)
}

// telling returns the trace that says most of a position, nil where none does: a
// skip, else an end of a subscription that had handed it over, else the newest
// end. covered: a subscription that goes on would have handed it over.
func telling(trail []Trace, at channel.Position, covered bool) *Trace {
	var best *Trace
	for i := range trail {
		t := &trail[i]
		switch {
		case !t.concerns(at):
		case t.Kind == TraceSkipped:
			return t
		case covered:
		case best == nil || (at.Offset > best.Last && at.Offset <= t.Last):
			best = t
		}
	}
	return best
}

// handed says what became of a publication that the session was handed.
func handed(e *Explanation, a *Account) (Verdict, string) {
	published := int64(0)
	if e.Pub != nil {
		published = e.Pub.Time
	}
	switch {
	case published != 0 && a.AnsweredAt > published:
		return VerdictReceived, "the client answered a ping that was sent behind it at " + clockTime(a.AnsweredAt)
	case !a.Connected && a.Queued > 0 && (published == 0 || published >= a.BlockedAt):
		return VerdictEnded, fmt.Sprintf("the connection took nothing from %s on and ended at %s with %d (%s), while %d bytes waited for it, this publication probably among them",
			clockTime(a.BlockedAt), clockTime(a.ClosedAt), a.Code, a.Close, a.Queued)
	case a.Queued > 0 && (published == 0 || published >= a.BlockedAt):
		return VerdictQueued, fmt.Sprintf("the connection has taken nothing since %s and %d bytes wait for it, this publication probably among them",
			clockTime(a.BlockedAt), a.Queued)
	}
	return VerdictWritten, "it was handed to the session and the operating system has taken its bytes; no ping behind it has been answered yet"
}

func clockTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// answerExplain tells another node what this one knows.
func (c *cluster) answerExplain(_ context.Context, _ channel.Node, b []byte) ([]byte, error) {
	var r ExplainRequest
	if err := decode(b, &r); err != nil {
		return nil, err
	}
	if r.Client == "" && r.User == "" {
		return encode(c.hub.reachHere(&r)), nil
	}
	return encode(c.hub.accountsHere(&r)), nil
}
