package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myelin/channel"
)

const (
	// batchSize is how many messages one request asks a stream for.
	batchSize = 512
	// batchBytes is after how many bytes a stream stops answering one request.
	batchBytes = 4 << 20
	// fetchTimeout is how long nothing may come of an answer before the stream
	// is asked again.
	fetchTimeout = 2 * time.Second
)

// fetcher asks streams for messages and sorts the answers by request.
type fetcher struct {
	conn   *nats.Conn
	prefix string
	sub    *nats.Subscription
	mu     struct {
		sync.Mutex
		serial  uint64
		waiting map[string]*answer
	}
}

// answer gathers what one request is answered with.
type answer struct {
	msgs []*nats.Msg
	done chan struct{}
}

func newFetcher(conn *nats.Conn) *fetcher {
	t := &fetcher{conn: conn, prefix: conn.NewInbox() + "."}
	t.mu.waiting = make(map[string]*answer)
	return t
}

func (t *fetcher) start() (err error) {
	t.sub, err = t.conn.Subscribe(t.prefix+"*", t.take)
	return err
}

func (t *fetcher) close() {
	if t.sub != nil {
		// It fails only where the connection is gone, and the subscription with it.
		_ = t.sub.Unsubscribe()
	}
}

// take sorts in one message of an answer, the last of which has a status.
func (t *fetcher) take(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, t.prefix)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.mu.waiting[token]
	if a == nil || len(a.msgs) > batchSize {
		return
	}
	a.msgs = append(a.msgs, m)
	if m.Header.Get("Status") != "" {
		delete(t.mu.waiting, token)
		close(a.done)
	}
}

// batch is a part of what a stream holds.
type batch struct {
	msgs []message
	// pending is how many more there are.
	pending uint64
}

// query is a direct get request.
type query struct {
	Sequence uint64   `json:"seq,omitempty"`
	Next     string   `json:"next_by_subj,omitempty"`
	LastOf   []string `json:"multi_last,omitempty"`
	UpTo     uint64   `json:"up_to_seq,omitempty"`
	Batch    int      `json:"batch,omitempty"`
	MaxBytes int      `json:"max_bytes,omitempty"`
}

// errNoAnswer says that nobody who holds the stream has answered.
var errNoAnswer = errors.New("nobody who holds the stream has answered")

// get asks whoever holds the stream. The answer may be one from a moment ago.
func (t *fetcher) get(ctx context.Context, stream string, q query) (batch, error) {
	if q.Batch <= 0 || q.Batch > batchSize {
		q.Batch = batchSize
	}
	q.MaxBytes = batchBytes
	body, err := json.Marshal(q)
	if err != nil {
		return batch{}, err
	}
	a := &answer{done: make(chan struct{})}
	t.mu.Lock()
	t.mu.serial++
	token := strconv.FormatUint(t.mu.serial, 36)
	t.mu.waiting[token] = a
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.mu.waiting, token)
	}()
	if err := t.conn.PublishRequest("$JS.API.DIRECT.GET."+stream, t.prefix+token, body); err != nil {
		return batch{}, err
	}
	timer := time.NewTimer(fetchTimeout)
	defer timer.Stop()
	for before := 0; ; {
		select {
		case <-a.done:
			return readBatch(a.msgs)
		case <-timer.C:
			// As long as something comes, the rest may.
			now := t.progress(a)
			if now == before {
				return batch{}, errNoAnswer
			}
			before = now
			timer.Reset(fetchTimeout)
		case <-ctx.Done():
			return batch{}, ctx.Err()
		}
	}
}

// progress returns how much of an answer has come.
func (t *fetcher) progress(a *answer) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(a.msgs)
}

// readBatch reads an answer, whose last message says how it ended.
func readBatch(msgs []*nats.Msg) (batch, error) {
	end := msgs[len(msgs)-1]
	switch status := end.Header.Get("Status"); status {
	case "204":
	case "404":
		return batch{}, nil
	case "503":
		return batch{}, errNoAnswer
	default:
		return batch{}, channel.ErrInternal.Wrap(fmt.Errorf("direct get: %s %s", status, end.Header.Get("Description")))
	}
	b := batch{pending: number(end.Header.Get("Nats-Num-Pending"))}
	for _, m := range msgs[:len(msgs)-1] {
		msg, err := readMessage(m)
		if err != nil {
			return batch{}, channel.ErrInternal.Wrap(err)
		}
		b.msgs = append(b.msgs, msg)
	}
	return b, nil
}

// stored is a message as the leader of a stream answers with it.
type stored struct {
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// last asks the leader of a stream for the last message of a subject, which
// may have a wildcard. The answer is from now.
func (t *fetcher) last(ctx context.Context, stream, subject string) (msg message, ok bool, err error) {
	raw, err := t.lastRaw(ctx, stream, subject)
	if err != nil || raw == nil {
		return message{}, false, err
	}
	f, err := decode(raw.Data)
	msg = message{frame: f, sequence: raw.Sequence, at: raw.Time.UnixNano()}
	if err != nil {
		return msg, true, channel.ErrInternal.Wrap(fmt.Errorf("stream %s, sequence %d: %w", stream, raw.Sequence, err))
	}
	return msg, true, nil
}

// lastRaw is last, for messages of any content. It returns nil where there is
// none.
func (t *fetcher) lastRaw(ctx context.Context, stream, subject string) (*stored, error) {
	body, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	attempt, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	m, err := t.conn.RequestWithContext(attempt, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(errNoAnswer, err)
		}
		return nil, err
	}
	return readLast(m.Data)
}

// codeNoMessage is what a stream answers with where there is no such message.
const codeNoMessage = 10037

// readLast reads what the leader answered.
func readLast(b []byte) (*stored, error) {
	var a struct {
		Error *struct {
			ErrCode     int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
		Message *stored `json:"message"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	if a.Error != nil {
		if a.Error.ErrCode == codeNoMessage {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: jetstream error %d: %s", errNoAnswer, a.Error.ErrCode, a.Error.Description)
	}
	if a.Message == nil {
		return nil, channel.ErrInternal.Wrap(errors.New("an answer without a message"))
	}
	return a.Message, nil
}
