package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"myelin/protocol"
)

// codeStateInvalidated is the disconnect after which tokens and positions are
// worthless.
const codeStateInvalidated = 3014

// dialed is what an attempt to connect came to.
type dialed struct {
	link  *link
	token string
	err   error
}

// refresher says when a token is refreshed.
type refresher struct {
	due      time.Time // zero if never
	fetching bool      // GetToken is under way, or its token is
}

// schedule plans a refresh for a token that expires after ttl seconds.
func (r *refresher) schedule(l *loop, expires bool, ttl uint32) {
	*r = refresher{}
	if expires {
		r.due = time.Now().Add(refreshDelay(ttl))
		l.at(r.due)
	}
}

// retry plans another attempt after a refresh that failed for the moment.
func (r *refresher) retry(l *loop) {
	*r = refresher{due: time.Now().Add(l.c.opts.MinBackoff + rand.N(l.c.opts.MaxBackoff/4+1))}
	l.at(r.due)
}

// dial starts an attempt to connect.
func (l *loop) dial() {
	l.phase = phaseDialing
	token := l.token
	l.wg.Go(func() {
		d := dialed{token: token}
		if token == "" && l.c.opts.GetToken != nil {
			d.token, d.err = fetchToken(l.ctx, l.c.opts.GetToken)
		}
		if d.err == nil {
			d.link, d.err = dial(l.ctx, l.c.url, &l.c.opts)
		}
		l.dialed <- d
	})
}

func fetchToken(ctx context.Context, get func(context.Context) (string, error)) (string, error) {
	token, err := get(ctx)
	if err != nil {
		return "", fmt.Errorf("get token: %w", err)
	}
	if token == "" {
		return "", fmt.Errorf("get token: the token is empty: %w", ErrUnauthorized)
	}
	return token, nil
}

func (l *loop) onDialed(d dialed) {
	l.token = d.token
	switch {
	case errors.Is(d.err, ErrUnauthorized):
		l.end = &Disconnected{CodeUnauthorized, d.err.Error()}
		return
	case d.err != nil:
		l.emitError(d.err)
		l.waitToConnect()
		return
	}
	l.link, l.phase = d.link, phaseConnecting
	req := &protocol.ConnectRequest{
		Token: l.token, Data: l.c.opts.Data, Name: l.c.opts.Name, Version: l.c.opts.Version,
	}
	for ch, s := range l.server {
		if s.recoverable {
			if req.Subs == nil {
				req.Subs = make(map[string]*protocol.SubscribeRequest)
			}
			req.Subs[ch] = &protocol.SubscribeRequest{Recover: true, Epoch: s.pos.Epoch, Offset: s.pos.Offset}
		}
	}
	l.request(&protocol.Command{Connect: req}, func(r *protocol.Reply, err error) {
		if err != nil {
			l.refused(err)
			return
		}
		l.connected(r.GetConnect())
	})
}

// refused deals with an error reply to the connect command.
func (l *loop) refused(err error) {
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok && e.Code == codeTokenExpired && l.c.opts.GetToken != nil:
		l.token = ""
		l.fail(&Disconnected{CodeTransportClosed, "token expired"})
	case ok && e.Code == codeTokenExpired:
		l.fail(&Disconnected{CodeUnauthorized, "token expired, and there is no GetToken to get another"})
	case ok && !retryable(err):
		l.fail(&Disconnected{e.Code, e.Message})
	default:
		l.fail(&Disconnected{CodeTransportClosed, "connect: " + err.Error()})
	}
}

func (l *loop) connected(res *protocol.ConnectResult) {
	if res == nil {
		l.fail(&Disconnected{CodeBadProtocol, "reply to connect without its result"})
		return
	}
	l.phase, l.since = phaseConnected, time.Now()
	l.pong = res.GetPong()
	l.silent = 0
	l.silence = time.Time{}
	if res.GetPing() > 0 {
		l.silent = time.Duration(res.GetPing())*time.Second + l.c.opts.PingSlack
		l.heard()
		l.at(l.silence)
	}
	l.refresh.schedule(l, res.GetExpires() && l.c.opts.GetToken != nil, res.GetTtl())
	l.c.calls.attach(l.link)
	if h := l.c.opts.OnConnected; h != nil {
		info := ConnectedInfo{
			Client: strings.Clone(res.GetClient()), Version: strings.Clone(res.GetVersion()), Data: res.GetData(),
		}
		l.emit(func() { h(info) })
	}
	select {
	case <-l.c.ready:
	default:
		close(l.c.ready)
	}
	l.serverSubscribed(res.GetSubs())
	for _, s := range l.subs {
		l.advance(s)
	}
}

// lost gives the connection up and decides whether there will be another.
func (l *loop) lost() {
	why := l.broken
	l.broken = nil
	wasConnected := l.phase == phaseConnected
	status := ws.StatusNormalClosure
	switch why.Code {
	case CodeBadProtocol:
		status = ws.StatusProtocolError
	case CodeFrameTooLarge:
		status = ws.StatusMessageTooBig
	}
	l.dropLink(status, false)
	if why.Code == codeStateInvalidated {
		l.invalidate()
	}
	for _, s := range l.subs {
		s.interrupted()
	}
	if why.terminal() {
		l.end = why
		return
	}
	if wasConnected && time.Since(l.since) >= 2*l.c.opts.MinBackoff {
		// A connection that lived is no reason to come back more slowly; one
		// that is cut at once, again and again, is.
		l.attempts = 0
	}
	if wasConnected {
		l.emitConnecting(why.Code, why.Reason)
	} else {
		l.emitError(why)
	}
	l.waitToConnect()
}

// dropLink closes the link, if there is one, and forgets what was under way.
func (l *loop) dropLink(status ws.StatusCode, flush bool) {
	if l.link == nil {
		return
	}
	l.c.calls.detach()
	l.link.close(status, flush)
	l.link = nil
	clear(l.own)
	l.refresh = refresher{}
	l.silent, l.silence = 0, time.Time{}
}

func (l *loop) waitToConnect() {
	l.phase = phaseWaiting
	l.due = time.Now().Add(backoff(l.c.opts.MinBackoff, l.c.opts.MaxBackoff, l.attempts))
	l.attempts++
	l.at(l.due)
}

// invalidate drops what the server has declared worthless.
func (l *loop) invalidate() {
	if l.c.opts.GetToken != nil {
		l.token = ""
	}
	for _, s := range l.subs {
		s.invalidate()
	}
	clear(l.server)
}

// refreshConnection gets a new token and gives it to the server.
func (l *loop) refreshConnection() {
	if l.refresh.fetching {
		return
	}
	l.refresh = refresher{fetching: true}
	on := l.link
	l.background(func(ctx context.Context) func() {
		token, err := fetchToken(ctx, l.c.opts.GetToken)
		return func() {
			if l.link == on {
				l.sendRefresh(token, err)
			} else if err == nil {
				l.token = token
			}
		}
	})
}

func (l *loop) sendRefresh(token string, err error) {
	switch {
	case errors.Is(err, ErrUnauthorized):
		l.fail(&Disconnected{CodeUnauthorized, err.Error()})
		return
	case err != nil:
		l.emitError(err)
		l.refresh.retry(l)
		return
	}
	l.token = token
	l.request(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: token}}, func(r *protocol.Reply, err error) {
		switch e, ok := errors.AsType[*Error](err); {
		case err == nil:
			l.refresh.schedule(l, r.GetRefresh().GetExpires(), r.GetRefresh().GetTtl())
		case retryable(err):
			l.emitError(err)
			l.refresh.retry(l)
		case ok:
			l.fail(&Disconnected{e.Code, e.Message})
		}
	})
}
