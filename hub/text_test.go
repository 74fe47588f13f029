package hub_test

import (
	"fmt"
	"strings"
	"sync/atomic"

	"myelin/channel"
	"myelin/hub"
)

// text is a Form that people can read: a line for each event. It counts how
// often it encodes.
type text struct {
	name  string
	calls atomic.Int64
	// keyed shows what a publication does to which key.
	keyed bool
}

// AppendEvent appends a line.
func (f *text) AppendEvent(dst []byte, e *hub.Event) []byte {
	f.calls.Add(1)
	switch e.Kind {
	case hub.EventPublication:
		return append(dst, pubLineOf(e.Pub, f.keyed)+"\n"...)
	case hub.EventJoin:
		return fmt.Appendf(dst, "join %s %s\n", e.Channel, e.Info.User)
	case hub.EventLeave:
		return fmt.Appendf(dst, "leave %s %s\n", e.Channel, e.Info.User)
	case hub.EventUserJoin:
		return fmt.Appendf(dst, "user-join %s %s\n", e.Channel, e.Info.User)
	case hub.EventUserLeave:
		return fmt.Appendf(dst, "user-leave %s %s\n", e.Channel, e.Info.User)
	case hub.EventPing:
		return append(dst, "ping\n"...)
	case hub.EventUnsubscribed:
		return fmt.Appendf(dst, "unsub %s %d\n", e.Channel, e.Code)
	case hub.EventSubscribed:
		return fmt.Appendf(dst, "sub %s %s %d\n", e.Channel, epoch(e.Position), e.Position.Offset)
	case hub.EventNotice:
		return fmt.Appendf(dst, "notice %s\n", e.Data)
	case hub.EventRefreshed:
		return fmt.Appendf(dst, "refresh %d\n", e.ExpiresAt)
	case hub.EventDisconnected:
		return fmt.Appendf(dst, "bye %d\n", e.Code)
	default:
		return fmt.Appendf(dst, "what is kind %d\n", e.Kind)
	}
}

// epoch is that of a position, as a word.
func epoch(p channel.Position) string {
	if p.Epoch == "" {
		return "-"
	}
	return p.Epoch
}

func pubLineOf(p *channel.Publication, keyed bool) string {
	if !keyed {
		return pubLine(p)
	}
	op := "put"
	if p.Op != channel.OpPut {
		op = "del"
	}
	return fmt.Sprintf("pub %s %s %d %d %s=%s %s", p.Channel, p.Epoch, p.Offset, p.Prev, op, p.Key, p.Data)
}

func pubLine(p *channel.Publication) string {
	return fmt.Sprintf("pub %s %s %d %d %s", p.Channel, p.Epoch, p.Offset, p.Prev, p.Data)
}

// replyTo is what a client gets for a subscription.
func replyTo(name string, sn *hub.Subscription) []byte {
	how := "fresh"
	switch {
	case sn.Recovered:
		how = "recovered"
	case sn.WasRecovering:
		how = "unrecovered"
	}
	var b strings.Builder
	// The position of the reply is where the client stands after what follows.
	fmt.Fprintf(&b, "ok %s %s %d %s %d\n", name, epoch(sn.Position), sn.Position.Offset, how, len(sn.Publications))
	for _, p := range sn.Publications {
		b.WriteString(pubLine(p) + "\n")
	}
	return []byte(b.String())
}

// data returns the data of the publications among lines, in their order.
func data(lines []string) []string {
	var out []string
	for _, l := range lines {
		if f := strings.SplitN(l, " ", 6); f[0] == "pub" {
			out = append(out, f[5])
		}
	}
	return out
}
