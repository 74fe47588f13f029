package conversation

import (
	"fmt"
	"strings"

	"myelin/protocol"
)

// describe says what a command asks for, without data and tokens, for an
// operator who listens to the client.
func describe(method string, cmd *protocol.Command) string {
	about, detail := "", ""
	switch {
	case cmd.Subscribe != nil:
		about = cmd.Subscribe.Channel
		if cmd.Subscribe.Recover {
			detail = fmt.Sprintf("recover from %d of %s", cmd.Subscribe.Offset, cmd.Subscribe.Epoch)
		}
	case cmd.Unsubscribe != nil:
		about = cmd.Unsubscribe.Channel
	case cmd.Publish != nil:
		about, detail = cmd.Publish.Channel, fmt.Sprintf("%d bytes", len(cmd.Publish.Data))
	case cmd.Presence != nil:
		about = cmd.Presence.Channel
	case cmd.PresenceStats != nil:
		about = cmd.PresenceStats.Channel
	case cmd.History != nil:
		about, detail = cmd.History.Channel, fmt.Sprintf("limit %d", cmd.History.Limit)
	case cmd.Rpc != nil:
		about, detail = cmd.Rpc.Method, fmt.Sprintf("%d bytes", len(cmd.Rpc.Data))
	case cmd.SubRefresh != nil:
		about = cmd.SubRefresh.Channel
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d %s", cmd.Id, method)
	for _, more := range []string{about, detail} {
		if more != "" {
			text.WriteString(" " + more)
		}
	}
	return text.String()
}
