package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
)

// Headers that NATS gives a meaning.
const (
	headerID              = natsjs.MsgIDHeader
	headerExpectedSubject = natsjs.ExpectedLastSubjSeqHeader
	headerExpectedOf      = natsjs.ExpectedLastSubjSeqSubjHeader
	headerExpectedID      = natsjs.ExpectedLastMsgIDHeader
	headerSequence        = natsjs.SequenceHeader
	headerLast            = natsjs.LastSequenceHeader
	headerTime            = natsjs.TimeStampHeaer
)

// attemptTimeout is how long an acknowledgement may take before a message with
// an id is sent again.
const attemptTimeout = 4 * time.Second

// Publish orders and keeps one publication. It returns when the stream has it.
func (e *Engine) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	if err := e.enter(ctx, r.Channel, r.Policy); err != nil {
		return channel.Ack{}, err
	}
	defer e.calls.end()
	if err := r.Check(r.Policy); err != nil {
		return channel.Ack{}, err
	}
	if fleeting(r.Policy) {
		return e.breeze.publish(r)
	}
	s, err := e.streams.of(ctx, r.Policy, false)
	if err != nil {
		return channel.Ack{}, err
	}
	if r.Policy.Kind == channel.KindState {
		return e.books.put(ctx, s, r)
	}
	f := frame{
		kind: kindPublication, op: r.Op, contentType: r.ContentType, tags: r.Tags, info: r.Info, data: r.Data,
		expires: r.Expires,
	}
	m := nats.NewMsg(s.subject(r.Channel))
	m.Data = f.encode()
	if r.ID != "" {
		m.Header.Set(headerID, messageID(r.Channel, r.ID))
	}
	return s.store(ctx, m, r.ID != "")
}

// store brings a message into the stream and returns its position. again says
// that it may be sent a second time.
func (s *stream) store(ctx context.Context, m *nats.Msg, again bool) (channel.Ack, error) {
	e := s.engine
	epoch, high := s.place()
	ack, err := e.send(ctx, m, again)
	if err != nil {
		return channel.Ack{}, err
	}
	if !ack.Duplicate && ack.Sequence <= high {
		// It was given before: the stream is not the one that it was.
		if _, err := s.refresh(ctx); err != nil {
			return channel.Ack{}, channel.ErrUnknownOutcome.With("the stream is not the one that it was").Wrap(err)
		}
		e.keeper.disturb()
		epoch = s.epoch()
	}
	s.reached(epoch, ack.Sequence)
	return channel.Ack{Position: channel.Position{Epoch: epoch, Offset: ack.Sequence}, Duplicate: ack.Duplicate}, nil
}

// messageID returns the id of a message in its stream, where all channels
// share one space of ids.
func messageID(name, id string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s%s", len(name), name, id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// errElsewhere says that a subject was not at the sequence it was expected at.
var errElsewhere = errors.New("the subject is at another sequence")

// errAnotherStream says that a message was for another stream.
var errAnotherStream = errors.New("the message is for another stream")

// pubAck is what a stream answers to a message.
type pubAck struct {
	Sequence  uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Error     *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// send brings a message into its stream. again says that it may be sent a
// second time, because it has an id or expects a sequence.
func (e *Engine) send(ctx context.Context, m *nats.Msg, again bool) (pubAck, error) {
	if err := e.fits(m); err != nil {
		return pubAck{}, err
	}
	inner, cancel := e.within(ctx)
	defer cancel()
	unsure := false
	for pause := minPause; ; {
		attempt, stop := inner, func() {}
		if again {
			attempt, stop = context.WithTimeout(inner, attemptTimeout)
		}
		answer, err := e.conn.RequestMsgWithContext(attempt, m)
		stop()
		var ack pubAck
		var retry bool
		switch {
		case err == nil:
			ack, retry, err = readAck(answer.Data)
		case notSent(err):
			retry = true
		default:
			unsure = true
			retry = again
		}
		if err == nil {
			return ack, nil
		}
		if !retry {
			return pubAck{}, giveUp(ctx, err, unsure)
		}
		next, over := wait(inner, pause)
		if over != nil {
			return pubAck{}, giveUp(ctx, err, unsure)
		}
		pause = next
	}
}

// headerRoom is how many bytes the headers of a message may take, those that
// servers add included.
const headerRoom = 512

// fits returns nil for a message that the network can carry.
func (e *Engine) fits(m *nats.Msg) error {
	if size, most := int64(len(m.Data)+headerRoom), e.conn.MaxPayload(); most > 0 && size > most {
		return channel.ErrTooLarge.With(fmt.Sprintf("the publication takes %d bytes, the network carries at most %d", size, most))
	}
	return nil
}

// notSent reports whether an error means that nobody has the message.
func notSent(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, nats.ErrConnectionReconnecting)
}

// giveUp says what became of a message that was not acknowledged.
func giveUp(ctx context.Context, err error, unsure bool) error {
	if e, ok := errors.AsType[*channel.Error](err); ok || errors.Is(err, errElsewhere) || errors.Is(err, errAnotherStream) {
		if ok && !unsure {
			return e
		}
		return err
	}
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if unsure {
		return channel.ErrUnknownOutcome.With("no acknowledgement came in time").Wrap(err)
	}
	return channel.ErrUnavailable.With("the stream of the namespace has no leader now").Wrap(err)
}

// Error codes of JetStream.
const (
	codeWrongLast       = 10071
	codeWrongLastAnyway = 10164
	codeInProcess       = 10158
	codeAnotherStream   = 10060
	codeAnotherID       = 10070
	codeStoreFailed     = 10077
	codeNoResources     = 10023
	codeNoStorage       = 10047
	codeTooBig          = 10054
)

// readAck reads what a stream has answered. retry says that it may do better
// next time.
func readAck(b []byte) (ack pubAck, retry bool, err error) {
	if err := json.Unmarshal(b, &ack); err != nil {
		return pubAck{}, false, channel.ErrInternal.Wrap(fmt.Errorf("acknowledgement: %w", err))
	}
	if ack.Error == nil {
		if ack.Sequence == 0 {
			return pubAck{}, false, channel.ErrInternal.Wrap(errors.New("acknowledgement without a sequence"))
		}
		return ack, false, nil
	}
	cause := fmt.Errorf("jetstream error %d: %s", ack.Error.ErrCode, ack.Error.Description)
	switch ack.Error.ErrCode {
	case codeWrongLast, codeWrongLastAnyway, codeAnotherID:
		return pubAck{}, false, errElsewhere
	case codeAnotherStream:
		return pubAck{}, false, errAnotherStream
	case codeInProcess:
		return pubAck{}, true, cause
	case codeStoreFailed, codeNoResources, codeNoStorage:
		return pubAck{}, false, channel.ErrUnavailable.With("the storage of the namespace is full or failing").Wrap(cause)
	case codeTooBig:
		return pubAck{}, false, channel.ErrTooLarge.Wrap(cause)
	}
	if ack.Error.Code == 503 {
		return pubAck{}, true, cause
	}
	return pubAck{}, false, channel.ErrInternal.Wrap(cause)
}

// announce makes sure that the leader of the stream knows what this connection
// listens to: it refuses a message that came on the same way after it.
func (s *stream) announce(ctx context.Context, name string) error {
	if s.engine.options.Alone {
		return nil
	}
	to := s.subject(name)
	if s.key.kind == channel.KindState {
		to = s.keySubject(name, "")
	}
	m := nats.NewMsg(to)
	m.Header.Set(natsjs.ExpectedStreamHeader, "nobody")
	_, err := s.engine.send(ctx, m, true)
	if errors.Is(err, errAnotherStream) {
		return nil
	}
	if err == nil {
		err = channel.ErrInternal.With("a stream took a message for another one")
	}
	return err
}
