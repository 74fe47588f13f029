package conversation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"myelin/channel"
)

// topicEmulate is where the hosts of a cluster hand each other frames whose
// conversations are elsewhere.
const topicEmulate = "conversation.emulate"

// emulateTimeout is how long another node may take to handle a frame. A publish
// in it may wait for its engine.
const emulateTimeout = 10 * time.Second

// emulateVersion is the first byte of such a message; the session behind its
// length and the frame follow.
const emulateVersion = 1

// ErrNoSession is what Emulate returns for a session that is not here.
var ErrNoSession = errors.New("no such session on this node")

// Emulate handles a frame of commands for the conversation whose secret is
// session.
func (h *Host) Emulate(session string, frame []byte) error {
	h.mu.RLock()
	c := h.mu.emulated[session]
	h.mu.RUnlock()
	if c == nil {
		return ErrNoSession
	}
	c.Handle(frame)
	return nil
}

// EmulateAt is Emulate where the conversation is on another node. It returns
// once that node has handled the frame. A node that is not known, or gone, is
// ErrUnknownChannel: the client begins anew. ErrUnavailable says that it could
// not be reached now, or has not answered; then the frame may have been handled.
func (h *Host) EmulateAt(ctx context.Context, node, session string, frame []byte) error {
	if !h.sees(node) {
		return elsewhere(node)
	}
	b := binary.AppendUvarint([]byte{emulateVersion}, uint64(len(session)))
	b = append(append(b, session...), frame...)
	if len(b) > channel.MaxBusMessage {
		return channel.ErrTooLarge.With(fmt.Sprintf("commands for a session on another node may have %d bytes", channel.MaxBusMessage))
	}
	ctx, cancel := context.WithTimeout(ctx, emulateTimeout)
	defer cancel()
	_, err := h.hub.Options().Bus.Request(ctx, node, topicEmulate, b)
	switch {
	case err == nil:
		return nil
	case !h.sees(node):
		return elsewhere(node)
	case errors.Is(err, channel.ErrUnavailable):
		return &channel.Error{
			Code: channel.CodeUnavailable, Temporary: true, Err: err,
			Message: fmt.Sprintf("node %q, where the session is, did not answer: try again", node),
		}
	}
	return err
}

func elsewhere(node string) error {
	return channel.ErrUnknownChannel.With(fmt.Sprintf("node %q is not here; connect again", node))
}

// sees reports whether another node is believed alive.
func (h *Host) sees(node string) bool {
	bus := h.hub.Options().Bus
	return bus != nil && slices.ContainsFunc(bus.Peers(), func(n channel.Node) bool { return n.ID == node })
}

// answerEmulate handles a frame that came to another node. A session that is
// gone is no error, as it is none here.
func (h *Host) answerEmulate(_ context.Context, _ channel.Node, b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != emulateVersion {
		return nil, channel.ErrBadRequest.With("commands from another node are of another version; let all nodes be of one release")
	}
	n, used := binary.Uvarint(b[1:])
	if used <= 0 || n > uint64(len(b)-1-used) {
		return nil, channel.ErrBadRequest.With("commands from another node are cut")
	}
	rest := b[1+used:]
	if err := h.Emulate(string(rest[:n]), rest[n:]); err != nil && !errors.Is(err, ErrNoSession) {
		return nil, err
	}
	return nil, nil
}
