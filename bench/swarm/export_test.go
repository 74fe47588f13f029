package swarm

import "time"

// What the black-box tests look at.

const (
	OpContinuation = opContinuation
	OpText         = opText
	OpBinary       = opBinary
	OpClose        = opClose
	OpPing         = opPing
	OpPong         = opPong
)

// Kinds of replies.
const (
	ReplyOther       = replyOther
	ReplyPing        = replyPing
	ReplyPublication = replyPublication
	ReplyResult      = replyResult
	ReplyRefused     = replyRefused
	ReplyEnd         = replyEnd
)

// ParseFrame is parseFrame with its frame taken apart.
func ParseFrame(b []byte) (opcode byte, final bool, payload []byte, size int, err error) {
	f, size, err := parseFrame(b)
	return f.opcode, f.final, f.payload, size, err
}

// AppendFrame is appendFrame.
func AppendFrame(b []byte, opcode byte, payload []byte) []byte {
	return appendFrame(b, opcode, payload)
}

// Handshake is a handshake's request and its check.
func Handshake(host, path, protocol string) (request []byte, accept string, check func([]byte) (int, error)) {
	h := newHandshake(host, path, protocol)
	return h.request, h.accept, h.check
}

// FindStamp is findStamp with its stamp taken apart.
func FindStamp(b []byte) (run, number uint32, sent time.Duration, found bool) {
	s, _, found := findStamp(b)
	return s.run, s.number, s.sent, found
}

// Publication is a publication for comparison.
type Publication struct {
	Offset uint64
	Run    uint32
	Number uint32
}

// Reply is a reply for comparison.
type Reply struct {
	Refused      *Refused
	Epoch        string
	Publications []Publication
	Publication  Publication
	Offset       uint64
	ID           uint32
	Kind         replyKind
	Pong         bool
	Recoverable  bool
	Recovering   bool
	Recovered    bool
}

// Dialect is one of the two encodings.
type Dialect struct{ d dialect }

// Dialects are both of them: JSON, Protobuf.
func Dialects() [2]Dialect {
	return [2]Dialect{{jsonDialect{offsets: true}}, {protobufDialect{}}}
}

// Connect appends a connect command.
func (d Dialect) Connect(id uint32, token string) []byte {
	return d.d.connect(nil, id, token)
}

// Subscribe appends a subscribe command.
func (d Dialect) Subscribe(id uint32, channel, epoch string, offset uint64, recoverable, recovers bool) []byte {
	return d.d.subscribe(nil, id, channel, since{epoch: epoch, offset: offset, recoverable: recoverable, recover: recovers})
}

// Publish appends a publish command.
func (d Dialect) Publish(id uint32, channel string, data []byte) []byte {
	return d.d.publish(nil, id, channel, data)
}

// Pong appends a pong.
func (d Dialect) Pong() []byte { return d.d.pong(nil) }

// Replies decodes a whole message.
func (d Dialect) Replies(message []byte) (replies []Reply, err error) {
	var r reply
	for len(message) > 0 {
		if message, err = d.d.next(message, &r); err != nil {
			return replies, err
		}
		one := Reply{
			Refused: r.refused, Epoch: r.epoch, Offset: r.offset, ID: r.id, Kind: r.kind, Pong: r.pong,
			Recoverable: r.recoverable, Recovering: r.recovering, Recovered: r.recovered,
			Publication: exported(r.publication),
		}
		for _, p := range r.publications {
			one.Publications = append(one.Publications, exported(p))
		}
		replies = append(replies, one)
	}
	return replies, nil
}

func exported(p publication) Publication {
	return Publication{Offset: p.offset, Run: p.stamp.run, Number: p.stamp.number}
}

// Ledger is a ledger for a model test.
type Ledger struct{ l *ledger }

// NewLedger makes a ledger.
func NewLedger(window int, each int32) Ledger { return Ledger{newLedger(window, each)} }

// Free is free.
func (l Ledger) Free(number uint32) bool { return l.l.free(number) }

// Open is open.
func (l Ledger) Open(number uint32) { l.l.open(number) }

// Settle is settle.
func (l Ledger) Settle(number uint32) bool { return l.l.settle(number) }

// Expect is expect.
func (l Ledger) Expect(goal int64) { l.l.expect(goal) }

// Reached says whether a waiter would go on.
func (l Ledger) Reached() bool {
	select {
	case <-l.l.reached:
		return l.l.met()
	default:
		return false
	}
}
