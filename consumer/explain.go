package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"myelin/channel"
)

// MaxExplained is how many consumers of a channel one explanation looks at, and
// explainers how many of them at a time.
const (
	MaxExplained = 100
	explainers   = 8
)

// Verdict is what became of a publication at a consumer, in a word.
type Verdict string

// The verdicts.
const (
	// VerdictAcknowledged: it was acknowledged, and does not come again.
	VerdictAcknowledged Verdict = "acknowledged"
	// VerdictDelivered: somebody has it, and may acknowledge it still.
	VerdictDelivered Verdict = "delivered"
	// VerdictRedelivery: it was delivered in vain and comes again.
	VerdictRedelivery Verdict = "redelivery"
	// VerdictUnsent: nobody was handed it yet.
	VerdictUnsent Verdict = "unsent"
	// VerdictGivenUp: it does not come any more, for the reason Why.
	VerdictGivenUp Verdict = "given_up"
	// VerdictBefore: the consumer began, or was sent, behind it.
	VerdictBefore Verdict = "before_consumer"
	// VerdictUnpublished: the channel has not come to such an offset.
	VerdictUnpublished Verdict = "not_published"
	// VerdictUnknown: nobody knows any more, or the node that does not answer.
	VerdictUnknown Verdict = "unknown"
)

// ExplainRequest asks what became of a publication at one consumer of its
// channel, or at all of them.
type ExplainRequest struct {
	Channel string
	// Consumer is "" for all. Client and User, where either is given, leave
	// those in which they have neither a seat nor had the publication last.
	Consumer, Client, User string
	// At is the position of the publication, Top that of the channel. Kept: it
	// is known that there was a publication.
	At, Top channel.Position
	Kept    bool
}

// Finding is what became of the publication at one consumer.
type Finding struct {
	Consumer string `json:"consumer"`
	// Reason says the verdict in a sentence.
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	// Attempts is how often it was delivered, the last time to Client of User
	// at DeliveredAt. Times are Unix milliseconds.
	Attempts    int    `json:"attempts,omitempty"`
	Client      string `json:"client,omitempty"`
	User        string `json:"user,omitempty"`
	DeliveredAt int64  `json:"delivered_at,omitempty"`
	// Due is when the acknowledgement is due, or until when it is put off.
	Due int64 `json:"due,omitempty"`
	// SettledAt is when it was acknowledged or given up; Why is the reason of
	// the latter, as in dead letters, and DeadLetter the channel of that one.
	SettledAt  int64  `json:"settled_at,omitempty"`
	Why        string `json:"why,omitempty"`
	DeadLetter string `json:"dead_letter,omitempty"`
	// Node has the consumer.
	Node string `json:"node,omitempty"`
}

// Explain returns what became of a publication at the consumers of its channel,
// in order of their names, and how many were left out. Of a consumer whose node
// does not answer it says so. A channel that can have none has none.
func (m *Manager) Explain(ctx context.Context, r *ExplainRequest) (list []*Finding, leftOut int, err error) {
	if _, err := m.source(r.Channel); err != nil {
		if r.Consumer != "" {
			return nil, 0, err
		}
		return nil, 0, nil
	}
	if err := m.usable(); err != nil {
		return nil, 0, err
	}
	names, err := m.asked(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	leftOut = max(len(names)-MaxExplained, 0)
	names = names[:len(names)-leftOut]
	found := make([]*Finding, len(names))
	slots := make(chan struct{}, explainers)
	var group sync.WaitGroup
	for i, full := range names {
		slots <- struct{}{}
		group.Go(func() {
			found[i] = m.explainOne(ctx, full, r)
			<-slots
		})
	}
	group.Wait()
	for _, f := range found {
		if f != nil {
			list = append(list, f)
		}
	}
	if r.Consumer != "" && len(list) == 0 && r.Client == "" && r.User == "" {
		return nil, 0, errNoConsumer(names[0])
	}
	return list, leftOut, nil
}

// asked returns the consumers that a question is about.
func (m *Manager) asked(ctx context.Context, r *ExplainRequest) ([]string, error) {
	if r.Consumer != "" {
		full, err := Channel(r.Consumer, r.Channel)
		return []string{full}, err
	}
	all, err := m.registry.all(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, full := range all {
		if _, of, err := parse(full); err == nil && of == r.Channel {
			out = append(out, full)
		}
	}
	return out, nil
}

// question is an ExplainRequest for one consumer.
type question struct {
	At     channel.Position `json:"at"`
	Client string           `json:"client,omitempty"`
	User   string           `json:"user,omitempty"`
	Kept   bool             `json:"kept,omitempty"`
	// Current: the epoch of At is that of the channel now.
	Current bool `json:"current,omitempty"`
}

// explainOne asks one consumer; nil is for one that is not there, or that has
// nothing to do with who is asked about.
func (m *Manager) explainOne(ctx context.Context, full string, r *ExplainRequest) *Finding {
	name, _, _ := strings.Cut(strings.TrimPrefix(full, Namespace+":"), separator)
	current := r.At.Epoch == r.Top.Epoch
	out, err := m.call(ctx, &request{Do: doExplain, Full: full, About: &question{r.At, r.Client, r.User, r.Kept, current}})
	switch {
	case errors.Is(err, channel.ErrUnknownChannel):
		return nil
	case err != nil:
		return &Finding{Consumer: name, Verdict: VerdictUnknown, Reason: "the node that has the consumer does not answer: " + channel.Public(err).Message}
	case out.Finding == nil:
		return &Finding{Consumer: name, Verdict: VerdictUnknown, Reason: "the node that has the consumer does not explain; let all nodes be of one release"}
	}
	f := out.Finding
	if r.Client+r.User != "" && !out.Sits && !(person{f.Client, f.User}).asked(r.Client, r.User) {
		return nil
	}
	if current && r.At.Offset > r.Top.Offset {
		*f = Finding{
			Consumer: name, Verdict: VerdictUnpublished, Node: f.Node,
			Reason: fmt.Sprintf("the channel is at offset %d: nothing was published behind it", r.Top.Offset),
		}
	}
	return f
}

// ack settles an offset, and remembers how it was.
func (w *worker) ack(offset uint64, by *seat, anyway bool, now time.Time) verdict {
	e := w.ledger.get(offset)
	v := w.ledger.ack(offset, by, anyway)
	if v == verdictDone {
		w.notes.ack(acked{offset: offset, attempts: e.attempts, to: e.to, at: now.UnixMilli()})
	}
	return v
}

// explain says what became of a publication here.
func (w *worker) explain(q *question, now time.Time) *answer {
	f := &Finding{Consumer: w.name, Node: w.m.self.Node}
	if e := w.ledger.get(q.At.Offset); e != nil && w.ledger.epoch == q.At.Epoch {
		f.Attempts, f.Client, f.User, f.DeliveredAt = e.attempts, e.to.Client, e.to.User, e.at
		w.explainEntry(f, e, now)
	} else {
		w.explainSettled(f, q)
	}
	out := &answer{Finding: f}
	for _, who := range w.people {
		out.Sits = out.Sits || who.asked(q.Client, q.User)
	}
	return out
}

// explainEntry is about what has been taken and is not settled.
func (w *worker) explainEntry(f *Finding, e *entry, now time.Time) {
	l := &w.ledger
	if e.due.After(now) {
		f.Due = e.due.UnixMilli()
	}
	switch {
	case e.holder != nil:
		f.Verdict = VerdictDelivered
		f.Reason = fmt.Sprintf("delivery %d is not acknowledged yet; that is due at %s, then it comes again", e.attempts, clock(f.Due))
		return
	case e.doomed != "":
		f.Verdict, f.Why, f.DeadLetter = VerdictGivenUp, e.doomed, l.set.DeadLetter
		f.Reason = sayGivenUp(e.doomed, e.attempts) + "; its dead letter waits for the engine"
		return
	}
	f.Verdict = VerdictUnsent
	text := "it was not delivered yet"
	if e.attempts > 0 {
		f.Verdict, text = VerdictRedelivery, fmt.Sprintf("it was delivered %s and not acknowledged, and comes again", times(e.attempts))
	}
	switch {
	case f.Due != 0:
		text += ": not before " + clock(f.Due) + ", as was asked for"
	case e.pub == nil:
		text += " as soon as it has been read from the channel"
	case len(l.members) == 0:
		text += ": nobody is subscribed to the consumer"
	case l.set.Ordered && e != l.entries[0]:
		text += fmt.Sprintf(": the consumer is ordered, and offset %d before it is not settled", l.entries[0].offset)
	case l.set.Exclusive:
		text += fmt.Sprintf(": the consumer is exclusive, and the one who works has %d unacknowledged", l.members[0].out)
	default:
		text += fmt.Sprintf(": the %d who take part have no room for it now", len(l.members))
	}
	f.Reason = text
}

// explainSettled is about what the ledger has no entry of.
func (w *worker) explainSettled(f *Finding, q *question) {
	l, n, at := &w.ledger, &w.notes, q.At
	if g := n.givenUpAt(at); g != nil {
		f.Verdict, f.Attempts, f.SettledAt, f.Why, f.DeadLetter = VerdictGivenUp, g.Attempts, g.At, g.Why, g.Letter
		f.Reason = sayGivenUp(g.Why, g.Attempts)
		if g.Letter != "" {
			f.Reason += "; its dead letter is in channel " + g.Letter
		}
		return
	}
	switch {
	case at.Epoch != l.epoch && q.Current:
		f.Verdict, f.Reason = VerdictUnsent, "the channel began anew, and the consumer is about to"
	case at.Epoch != l.epoch:
		f.Verdict, f.Reason = VerdictUnknown, "the channel has begun anew since: it was acknowledged before, or is told by a dead letter"
	case at.Offset > l.next:
		f.Verdict, f.Reason = VerdictUnsent, w.sayBehind()
	default:
		w.explainPast(f, q)
	}
}

// explainPast is about what the ledger has gone past in its epoch.
func (w *worker) explainPast(f *Finding, q *question) {
	n, offset := &w.notes, q.At.Offset
	a := n.ackedAt(offset)
	switch {
	case a != nil:
		f.Verdict, f.Attempts, f.Client, f.User, f.SettledAt = VerdictAcknowledged, a.attempts, a.to.Client, a.to.User, a.at
		f.Reason = fmt.Sprintf("it was acknowledged at %s, after it had been delivered %s", clock(a.at), times(a.attempts))
		if a.attempts == 0 {
			f.Reason = "it was acknowledged at " + clock(a.at) + " by an operator, before it was delivered"
		}
	case n.began != nil && offset <= *n.began:
		f.Verdict, f.Reason = VerdictBefore, fmt.Sprintf("the consumer began, or was sent, behind offset %d", *n.began)
	case n.covers(offset) && q.Kept:
		f.Verdict, f.Reason = VerdictAcknowledged, "it was acknowledged; when, and by whom, is not remembered"
	case n.covers(offset):
		f.Verdict, f.Reason = VerdictUnknown, "nothing with this offset waits or was given up: where there was such a publication, it was acknowledged"
	default:
		f.Verdict, f.Reason = VerdictUnknown, "it is settled: acknowledged, or given up so long ago that only its dead letter tells"
	}
}

// sayBehind says why the consumer has not come to a publication.
func (w *worker) sayBehind() string {
	l := &w.ledger
	if pubs, bytes := l.room(); pubs > 0 && bytes > 0 {
		return fmt.Sprintf("the consumer has come to offset %d and takes it within moments", l.next)
	}
	text := fmt.Sprintf("the consumer has come to offset %d and takes no more until some of its %d are settled; the oldest is offset %d",
		l.next, len(l.entries), l.entries[0].offset)
	if len(l.members) == 0 {
		text += ", and nobody is subscribed to it"
	}
	return text
}

func sayGivenUp(why string, attempts int) string {
	switch why {
	case reasonAttempts:
		return "it was delivered " + times(attempts) + ", as often as it may be, and never acknowledged"
	case reasonExpired:
		return "its deadline passed before it was acknowledged"
	case reasonEvicted:
		return "the channel did not keep it until it was taken"
	}
	return "the channel began anew before it was acknowledged"
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
