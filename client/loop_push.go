package client

import (
	"strings"

	"myelin/protocol"
)

// serverSub is a subscription that the server made.
type serverSub struct {
	recoverable bool
	ordered     bool // publications have positions
	pos         Position
}

// onPush deals with what the server sends of its own accord. Pushes of channels
// that are not subscribed (any more) are dropped.
func (l *loop) onPush(p *protocol.Push) {
	switch {
	case p.GetMessage() != nil:
		if h := l.c.opts.OnMessage; h != nil {
			data := p.GetMessage().GetData()
			l.emit(func() { h(data) })
		}
		return
	case p.GetDisconnect() != nil:
		d := p.GetDisconnect()
		code := d.GetCode()
		if code < 3000 {
			code = CodeTransportClosed
		}
		l.fail(&Disconnected{code, strings.Clone(d.GetReason())})
		return
	case p.GetRefresh() != nil:
		r := p.GetRefresh()
		l.refresh.schedule(l, r.GetExpires() && l.c.opts.GetToken != nil, r.GetTtl())
		return
	case p.GetSubscribe() != nil:
		l.serverPushed(p.GetChannel(), p.GetSubscribe())
		return
	}
	if s := l.subs[p.GetChannel()]; s != nil {
		if s.state == subSubscribed {
			l.onChannelPush(s, p)
		}
		return
	}
	if s := l.server[p.GetChannel()]; s != nil {
		l.onServerPush(s, p)
	}
}

// onChannelPush deals with a push of a subscription of the client's own.
func (l *loop) onChannelPush(s *Subscription, p *protocol.Push) {
	switch {
	case p.GetPub() != nil:
		l.deliver(s, p.GetPub())
	case p.GetJoin() != nil:
		l.emitInfo(s.opts.OnJoin, p.GetJoin().GetInfo())
	case p.GetLeave() != nil:
		l.emitInfo(s.opts.OnLeave, p.GetLeave().GetInfo())
	case p.GetUnsubscribe() != nil:
		l.unsubscribed(s, p.GetUnsubscribe())
	}
}

func (l *loop) emitInfo(h func(ClientInfo), i *protocol.ClientInfo) {
	if h != nil {
		info := fromWireInfo(i)
		l.emit(func() { h(info) })
	}
}

// onServerPush deals with a push of a subscription that the server made.
func (l *loop) onServerPush(s *serverSub, p *protocol.Push) {
	h := l.c.opts.Server
	channel := strings.Clone(p.GetChannel())
	switch {
	case p.GetPub() != nil:
		l.deliverServer(s, channel, p.GetPub())
	case p.GetJoin() != nil && h.OnJoin != nil:
		l.emitInfo(func(i ClientInfo) { h.OnJoin(channel, i) }, p.GetJoin().GetInfo())
	case p.GetLeave() != nil && h.OnLeave != nil:
		l.emitInfo(func(i ClientInfo) { h.OnLeave(channel, i) }, p.GetLeave().GetInfo())
	case p.GetUnsubscribe() != nil:
		delete(l.server, channel)
		l.emitServerGone(channel, p.GetUnsubscribe().GetCode(), strings.Clone(p.GetUnsubscribe().GetReason()))
	}
}

func (l *loop) emitServerGone(channel string, code uint32, reason string) {
	if h := l.c.opts.Server.OnUnsubscribed; h != nil {
		l.emit(func() { h(channel, code, reason) })
	}
}

func (l *loop) deliverServer(s *serverSub, channel string, p *protocol.Publication) {
	if s.ordered && !s.pos.advance(p) {
		return
	}
	if h := l.c.opts.Server.OnPublication; h != nil {
		pub := fromWirePublication(channel, s.pos.Epoch, p)
		l.emit(func() { h(channel, pub) })
	}
}

// serverPushed deals with a subscription that the server makes later on.
func (l *loop) serverPushed(channel string, p *protocol.Subscribe) {
	l.addServerSub(strings.Clone(channel), &protocol.SubscribeResult{
		Recoverable: p.GetRecoverable(), Positioned: p.GetPositioned(),
		Epoch: p.GetEpoch(), Offset: p.GetOffset(), Data: p.GetData(),
	})
}

// serverSubscribed takes over the subscriptions that came with the connect
// reply, and drops those that it no longer names.
func (l *loop) serverSubscribed(subs map[string]*protocol.SubscribeResult) {
	for ch := range l.server {
		if subs[ch] == nil {
			delete(l.server, ch)
			l.emitServerGone(ch, CodeCalled, "the server did not renew it")
		}
	}
	for ch, res := range subs {
		l.addServerSub(strings.Clone(ch), res)
	}
}

func (l *loop) addServerSub(channel string, res *protocol.SubscribeResult) {
	before := Position{}
	if old := l.server[channel]; old != nil {
		before = old.pos
	} else if len(l.server) >= l.c.opts.MaxSubscriptions {
		l.fail(&Disconnected{CodeBadProtocol, "the server makes more subscriptions than MaxSubscriptions"})
		return
	}
	info, pos := subscribedInfo(res)
	s := &serverSub{
		recoverable: info.Recoverable, ordered: info.Recoverable || info.Positioned, pos: pos,
	}
	l.server[channel] = s
	if h := l.c.opts.Server.OnSubscribed; h != nil {
		l.emit(func() { h(channel, info) })
	}
	if !info.Recovered {
		// Publications of an initial state lie before the position.
		s.pos = Position{Epoch: pos.Epoch}
	} else if before.Epoch == pos.Epoch {
		s.pos = before
	}
	for _, p := range res.GetPublications() {
		l.deliverServer(s, channel, p)
	}
	s.pos.Offset = max(s.pos.Offset, pos.Offset)
}
