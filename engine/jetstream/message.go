package jetstream

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
)

// message is one message of a stream.
type message struct {
	frame
	sequence uint64
	// previous is, in the feed, the sequence of the message before it of the
	// same subject; 0 where there was none any more.
	previous uint64
	// at is when the stream got it, in Unix nanoseconds.
	at int64
}

// readMessage reads a message as a stream sends it on or answers with it. The
// numbers are there even where the frame cannot be read.
func readMessage(m *nats.Msg) (message, error) {
	msg := message{sequence: number(m.Header.Get(headerSequence)), previous: number(m.Header.Get(headerLast))}
	if t, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerTime)); err == nil {
		msg.at = t.UnixNano()
	}
	f, err := decode(m.Data)
	msg.frame = f
	return msg, err
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// when returns the time of a publication in Unix milliseconds.
func (m *message) when() int64 {
	if m.time != 0 {
		return m.time
	}
	return m.at / int64(time.Millisecond)
}

// publication returns what a message says, as the channel's own.
func (m *message) publication(name, epoch string, prev uint64) *channel.Publication {
	return &channel.Publication{
		Channel: name, Position: channel.Position{Epoch: epoch, Offset: m.sequence}, Prev: prev,
		Op: m.op, Key: m.key, Data: m.data, ContentType: m.contentType, Tags: m.tags, Info: m.info,
		Time: m.when(), Expires: m.expires, Score: m.score, Base: m.base,
	}
}
