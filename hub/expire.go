package hub

import (
	"time"

	"myelin/channel"
)

// Where a publication waited that had expired when its turn came.
const (
	queuePublish  = "publish"
	queueInbox    = "inbox"
	queueWaiting  = "waiting"
	queuePaced    = "paced"
	queueBacklog  = "backlog"
	queueRecovery = "recovery"
	queueHistory  = "history"
)

// ExpireIn makes a publication one that is handed to nobody once so many
// milliseconds have passed from now on. Senders name a time span and no point
// in time, because their clocks may be wrong; those of the nodes must not be.
func ExpireIn(r *channel.PublishRequest, milliseconds int64) error {
	const most = int64(365 * 24 * time.Hour / time.Millisecond)
	switch {
	case milliseconds == 0:
		return nil
	case milliseconds < 0 || milliseconds > most:
		return channel.ErrBadRequest.With("expires_in_ms is from 1 to 31536000000, a year")
	}
	r.Expires = time.Now().UnixMilli() + milliseconds
	return nil
}

// expiry fills in when a publication expires where its sender does not say,
// and refuses an expiry where there is none.
func (n *Namespace) expiry(r *channel.PublishRequest) error {
	if n.Policy.Kind == channel.KindState {
		if r.Expires != 0 {
			return channel.ErrBadRequest.With("the entries of a state channel have a ttl and do not expire otherwise")
		}
		return nil
	}
	if r.Expires == 0 && n.Expiry > 0 {
		r.Expires = time.Now().Add(n.Expiry).UnixMilli()
	}
	return nil
}

// expired reports whether a publication is of no more use.
func expired(p *channel.Publication) bool {
	return p != nil && p.Expires != 0 && p.Expires <= time.Now().UnixMilli()
}

// current returns those of pubs that have not expired, and counts the others.
func (h *Hub) current(pubs []*channel.Publication, queue string) []*channel.Publication {
	gone := 0
	for _, p := range pubs {
		if expired(p) {
			gone++
		}
	}
	if gone == 0 {
		return pubs
	}
	h.opts.Metrics.Expired(queue).Add(int64(gone))
	kept := make([]*channel.Publication, 0, len(pubs)-gone)
	for _, p := range pubs {
		if !expired(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// fresh returns what of a part's batch has not expired.
func (s *shard) fresh(p *part) []*delivery {
	kept := make([]*delivery, 0, len(p.batch))
	for _, d := range p.batch {
		if !expired(d.event.Pub) {
			kept = append(kept, d)
			continue
		}
		if p.lapsed == nil {
			p.lapsed = new(trail)
		}
		p.lapsed.skipped(p.topic.name, d.event.Pub, skipExpired)
	}
	if gone := len(p.batch) - len(kept); gone > 0 {
		s.hub.opts.Metrics.Expired(queueInbox).Add(int64(gone))
		p.holes = true
	}
	return kept
}

// seen notes that all live subscriptions of a part have seen a batch of which
// something was not handed on.
func (p *part) seen(batch []*delivery) {
	at := newestOf(batch)
	note := func(list []*sub) {
		for _, sb := range list {
			if sb.last < at {
				sb.last, sb.based = at, false
			}
			if sb.session.private {
				for _, d := range batch {
					if expired(d.event.Pub) {
						sb.forgo(&d.event)
					}
				}
			}
		}
	}
	for _, l := range p.lists {
		note(l.subs)
	}
	note(p.private)
	note(p.paced)
	p.holes = false
}

// forgo tells a private form that a publication was not for its client, when
// what was before it has left.
func (sb *sub) forgo(e *Event) {
	gone := *e
	gone.Kind = EventPassed
	sb.session.shard.queue(sb.session, piece{&packet{d: &delivery{event: gone}, lane: sb.lane()}, sb})
}
