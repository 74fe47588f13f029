package conversation

import (
	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// Framing is how a transport wraps messages.
type Framing struct {
	// Frame appends one message. id is the resume token of a resumable wire,
	// empty on others.
	Frame func(dst, message []byte, id string) []byte
	// Close appends the transport's own goodbye. Where it is nil the client
	// gets a disconnect push instead.
	Close func(dst []byte, code uint32, reason string) []byte
}

// Wire is one format in one framing, for clients that talk or for clients
// that only listen.
type Wire struct {
	format  protocol.Format
	framing Framing
	oneWay  bool
	// resume is set on the private wire of one resumable session.
	resume *ResumePoint
}

// NewWire returns a wire. A door makes one for each of its formats and gives
// it to all its sessions.
func NewWire(f protocol.Format, framing Framing, oneWay bool) *Wire {
	return &Wire{format: f, framing: framing, oneWay: oneWay}
}

// resumable returns a copy of w that belongs to one session.
func (w *Wire) resumable() *Wire {
	c := *w
	c.resume = NewResumePoint()
	return &c
}

// reply appends a framed reply.
func (w *Wire) reply(dst []byte, r *protocol.Reply) []byte {
	return w.framing.Frame(dst, protocol.AppendReply(nil, w.format, r), w.id())
}

// push appends a framed push, in a reply where the client talks.
func (w *Wire) push(dst []byte, p *protocol.Push) []byte {
	if w.oneWay {
		return w.framing.Frame(dst, protocol.AppendPush(nil, w.format, p), w.id())
	}
	return w.reply(dst, &protocol.Reply{Push: p})
}

func (w *Wire) id() string {
	if w.resume == nil {
		return ""
	}
	return w.resume.Token()
}

// AppendEvent makes Wire a hub.Form.
func (w *Wire) AppendEvent(dst []byte, e *hub.Event) []byte {
	switch e.Kind {
	case hub.EventPublication:
		if w.resume != nil && e.Recoverable {
			w.resume.Move(e.Channel, e.Pub.Position)
		}
		return w.push(dst, addressed(e, &protocol.Push{Pub: w.news(e)}))
	case hub.EventPassed:
		if w.resume != nil && e.Recoverable {
			w.resume.Move(e.Channel, e.Pub.Position)
		}
		return dst
	case hub.EventJoin, hub.EventUserJoin:
		return w.push(dst, addressed(e, &protocol.Push{Join: &protocol.Join{Info: w.info(e.Info)}}))
	case hub.EventLeave, hub.EventUserLeave:
		return w.push(dst, addressed(e, &protocol.Push{Leave: &protocol.Leave{Info: w.info(e.Info)}}))
	case hub.EventPing:
		if w.oneWay {
			return w.push(dst, &protocol.Push{})
		}
		return w.reply(dst, &protocol.Reply{})
	case hub.EventUnsubscribed:
		if w.resume != nil {
			w.resume.Drop(e.Channel)
		}
		return w.push(dst, &protocol.Push{Channel: e.Channel, Unsubscribe: &protocol.Unsubscribe{Code: e.Code, Reason: e.Reason}})
	case hub.EventSubscribed:
		if w.resume != nil && e.Recoverable {
			w.resume.Move(e.Channel, e.Position)
		}
		return w.push(dst, &protocol.Push{Channel: e.Channel, Subscribe: w.subscribePush(e)})
	case hub.EventNotice:
		return w.push(dst, &protocol.Push{Message: &protocol.Message{Data: e.Data}})
	case hub.EventRefreshed:
		expires, ttl := lifetime(e.ExpiresAt, e.Now)
		return w.push(dst, &protocol.Push{Refresh: &protocol.Refresh{Expires: expires, Ttl: ttl}})
	case hub.EventDisconnected:
		return w.goodbye(dst, e)
	default:
		return dst
	}
}

func (w *Wire) subscribePush(e *hub.Event) *protocol.Subscribe {
	p := &protocol.Subscribe{Recoverable: e.Recoverable, Positioned: e.Recoverable, Data: w.payload(e.Data)}
	if e.Recoverable {
		p.Epoch, p.Offset = e.Position.Epoch, e.Position.Offset
	}
	return p
}

func (w *Wire) goodbye(dst []byte, e *hub.Event) []byte {
	if e.Data != nil {
		return append(dst, e.Data...)
	}
	if w.framing.Close != nil {
		return w.framing.Close(dst, e.Code, e.Reason)
	}
	if e.Code == hub.DisconnectConnectionClosed.Code {
		return dst
	}
	return w.push(dst, &protocol.Push{Disconnect: &protocol.Disconnect{Code: e.Code, Reason: e.Reason}})
}

// lifetime returns the protocol's pair for an end at Unix second at.
func lifetime(at, now int64) (expires bool, ttl uint32) {
	if at == 0 {
		return false, 0
	}
	return true, uint32(min(max(at-now, 1), 1<<31))
}

// publication returns p as the wire shows it.
func (w *Wire) publication(p *channel.Publication, recoverable bool) *protocol.Publication {
	out := protocol.FromPublication(w.format, p, recoverable)
	if p.Info != nil && w.format == protocol.JSON {
		out.Info = w.info(p.Info)
	}
	return out
}

// publications returns what was recovered as the wire shows it.
func (w *Wire) publications(pubs []*channel.Publication) []*protocol.Publication {
	out := make([]*protocol.Publication, len(pubs))
	for i, p := range pubs {
		out[i] = w.publication(p, true)
	}
	return out
}

// info returns who somebody is as the wire shows it.
func (w *Wire) info(i *channel.ClientInfo) *protocol.ClientInfo {
	out := protocol.FromClientInfo(i)
	if out != nil {
		out.ConnInfo, out.ChanInfo = w.payload(i.ConnInfo), w.payload(i.ChanInfo)
	}
	return out
}

// payload returns what a token brought along as the wire can show it: a token
// may hold any bytes, a JSON message nothing but JSON.
func (w *Wire) payload(b []byte) protocol.Raw {
	if len(b) == 0 || w.format == protocol.Protobuf {
		return b
	}
	return protocol.Payload(w.format, &channel.Publication{Data: b, ContentType: protocol.ContentType(protocol.Protobuf, b)})
}
