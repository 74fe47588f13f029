package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"myelin/protocol"
)

// Unsubscribe codes of the server.
const (
	// From this one on the client subscribes again.
	firstResubscribe = 2500
	// The subscription's token and position are worthless.
	codeSubInvalidated = 2502
)

// reconcile makes the loop's subscriptions those that the registry wants.
func (l *loop) reconcile() {
	wanted := l.c.subs.all()
	for ch, s := range l.subs {
		if wanted[ch] == s {
			continue
		}
		delete(l.subs, ch)
		if l.phase == phaseConnected && s.state != subWaiting {
			l.request(&protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: ch}}, l.unsubscribeAnswered)
		}
		l.emitUnsubscribed(s, CodeCalled, "unsubscribe called")
	}
	for ch, s := range wanted {
		if l.subs[ch] == nil {
			l.subs[ch] = s
		}
	}
	l.tick()
}

// unsubscribeAnswered drops the connection if the server did not do as told:
// whether it goes on sending is unknown.
func (l *loop) unsubscribeAnswered(_ *protocol.Reply, err error) {
	if err != nil {
		l.fail(&Disconnected{CodeBadProtocol, "unsubscribe: " + err.Error()})
	}
}

// advance takes a subscription as far as it can go now.
func (l *loop) advance(s *Subscription) {
	if l.phase != phaseConnected || s.refresh.fetching {
		return
	}
	switch s.state {
	case subWaiting:
		if !s.due.IsZero() && !l.passed(s.due) {
			return
		}
		if s.token == "" && s.opts.GetToken != nil {
			l.fetchSubToken(s, func(token string) { s.token = token; l.advance(s) })
			return
		}
		l.subscribe(s)
	case subSubscribed:
		if l.passed(s.refresh.due) {
			l.fetchSubToken(s, func(token string) { l.refreshSub(s, token) })
		}
	case subRequested:
	}
}

// fetchSubToken gets a token in the background and hands it to then, if the
// subscription and the connection are still there.
func (l *loop) fetchSubToken(s *Subscription, then func(token string)) {
	s.refresh = refresher{fetching: true}
	on := l.link
	l.background(func(ctx context.Context) func() {
		token, err := fetchToken(ctx, func(ctx context.Context) (string, error) { return s.opts.GetToken(ctx, s.channel) })
		return func() {
			if l.link != on || l.subs[s.channel] != s {
				return
			}
			s.refresh = refresher{}
			switch {
			case err == nil:
				then(token)
			case errors.Is(err, ErrUnauthorized):
				l.remove(s, CodeUnauthorized, err.Error())
			case s.state == subSubscribed:
				l.emitError(err)
				s.refresh.retry(l)
			default:
				l.emitError(err)
				l.waitToSubscribe(s)
			}
		}
	})
}

func (l *loop) subscribe(s *Subscription) {
	s.state = subRequested
	req := &protocol.SubscribeRequest{
		Channel: s.channel, Token: s.token, Data: s.opts.Data,
		Recoverable: s.opts.Recover, Positioned: s.opts.Positioned, JoinLeave: s.opts.JoinLeave,
	}
	if s.recover {
		req.Recover, req.Epoch, req.Offset = true, s.pos.Epoch, s.pos.Offset
	}
	l.request(&protocol.Command{Subscribe: req}, func(r *protocol.Reply, err error) {
		if l.subs[s.channel] != s {
			return
		}
		if err != nil {
			l.subscribeRefused(s, err)
			return
		}
		l.subscribed(s, r.GetSubscribe())
	})
}

func (l *loop) subscribeRefused(s *Subscription, err error) {
	s.state = subWaiting
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok && e.Code == codeTokenExpired && s.opts.GetToken != nil:
		s.token = ""
		l.emitError(err)
		l.waitToSubscribe(s)
	case ok && !retryable(err):
		l.remove(s, e.Code, e.Message)
	default:
		l.emitError(err)
		l.waitToSubscribe(s)
	}
}

func (l *loop) subscribed(s *Subscription, res *protocol.SubscribeResult) {
	if res == nil {
		l.fail(&Disconnected{CodeBadProtocol, "reply to subscribe without its result"})
		return
	}
	before := s.pos
	info, pos := subscribedInfo(res)
	s.state, s.since = subSubscribed, time.Now()
	s.ordered = info.Recoverable || info.Positioned
	s.recover = info.Recoverable
	s.refresh.schedule(l, res.GetExpires() && s.opts.GetToken != nil, res.GetTtl())
	if h := s.opts.OnSubscribed; h != nil {
		l.emit(func() { h(info) })
	}
	if !info.Recovered {
		// Publications of an initial state lie before the position.
		s.pos = Position{Epoch: pos.Epoch}
	} else if before.Epoch != pos.Epoch {
		s.pos = pos
	}
	for _, p := range res.GetPublications() {
		l.deliver(s, p)
	}
	s.pos.Offset = max(s.pos.Offset, pos.Offset)
}

func subscribedInfo(res *protocol.SubscribeResult) (SubscribedInfo, Position) {
	pos := Position{Epoch: strings.Clone(res.GetEpoch()), Offset: res.GetOffset()}
	return SubscribedInfo{
		WasRecovering: res.GetWasRecovering(), Recovered: res.GetRecovered(),
		Recoverable: res.GetRecoverable(), Positioned: res.GetPositioned(),
		Position: pos, Data: res.GetData(),
	}, pos
}

// advance moves the position to a publication. It returns false for one that
// lies at or before the position: a duplicate.
func (pos *Position) advance(p *protocol.Publication) bool {
	if p.GetEpoch() != "" && p.GetEpoch() != pos.Epoch {
		*pos = Position{Epoch: strings.Clone(p.GetEpoch())}
	}
	if p.GetOffset() == 0 {
		return true
	}
	if p.GetOffset() <= pos.Offset {
		return false
	}
	pos.Offset = p.GetOffset()
	return true
}

// deliver hands a publication to the application, unless it has had it.
func (l *loop) deliver(s *Subscription, p *protocol.Publication) {
	if s.ordered && !s.pos.advance(p) {
		return
	}
	if h := s.opts.OnPublication; h != nil {
		pub := fromWirePublication(s.channel, s.pos.Epoch, p)
		l.emit(func() { h(pub) })
	}
}

// unsubscribed deals with the server's unsubscribe push.
func (l *loop) unsubscribed(s *Subscription, u *protocol.Unsubscribe) {
	if u.GetCode() < firstResubscribe {
		l.remove(s, u.GetCode(), strings.Clone(u.GetReason()))
		return
	}
	if u.GetCode() == codeSubInvalidated {
		s.invalidate()
	}
	s.interrupted()
	l.waitToSubscribe(s)
}

// waitToSubscribe plans another attempt. A subscription that has lived is no
// reason for a longer wait than the first.
func (l *loop) waitToSubscribe(s *Subscription) {
	if !s.since.IsZero() && time.Since(s.since) >= 2*l.c.opts.MinBackoff {
		s.attempts = 0
	}
	s.state, s.since = subWaiting, time.Time{}
	s.due = time.Now().Add(backoff(l.c.opts.MinBackoff, l.c.opts.MaxBackoff, s.attempts))
	s.attempts++
	l.at(s.due)
}

// remove ends a subscription for good.
func (l *loop) remove(s *Subscription, code uint32, reason string) {
	delete(l.subs, s.channel)
	l.c.subs.remove(s)
	l.emitUnsubscribed(s, code, reason)
}

func (l *loop) emitUnsubscribed(s *Subscription, code uint32, reason string) {
	if h := s.opts.OnUnsubscribed; h != nil {
		l.emit(func() { h(code, reason) })
	}
}

// refreshSub gives the server a new token for a subscription.
func (l *loop) refreshSub(s *Subscription, token string) {
	s.token = token
	s.refresh.fetching = true
	req := &protocol.SubRefreshRequest{Channel: s.channel, Token: token}
	l.request(&protocol.Command{SubRefresh: req}, func(r *protocol.Reply, err error) {
		if l.subs[s.channel] != s {
			return
		}
		s.refresh = refresher{}
		switch e, ok := errors.AsType[*Error](err); {
		case err == nil:
			s.refresh.schedule(l, r.GetSubRefresh().GetExpires(), r.GetSubRefresh().GetTtl())
		case retryable(err):
			l.emitError(err)
			s.refresh.retry(l)
		case ok:
			l.remove(s, e.Code, e.Message)
		}
	})
}

// interrupted notes that publications have stopped to flow.
func (s *Subscription) interrupted() {
	s.state, s.due, s.refresh = subWaiting, time.Time{}, refresher{}
}

// invalidate drops what the server has declared worthless.
func (s *Subscription) invalidate() {
	if s.opts.GetToken != nil {
		s.token = ""
	}
	s.pos, s.recover = Position{}, false
}
