package consumer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"myelin/channel"
	"myelin/protocol"
)

// Why a publication was given up.
const (
	reasonAttempts = "attempts" // delivered as often as it may be
	reasonExpired  = "expired"  // its time was over
	reasonEvicted  = "evicted"  // the channel did not keep it
	reasonEpoch    = "epoch"    // the channel began anew
)

// letter is a dead letter.
type letter struct {
	Reason   string `json:"reason"`
	Consumer string `json:"consumer"`
	Channel  string `json:"channel"`
	Epoch    string `json:"epoch"`
	Offset   uint64 `json:"offset"`
	// To is, where more than one was lost, the offset of the last.
	To       uint64            `json:"to,omitempty"`
	Attempts int               `json:"attempts"`
	Time     int64             `json:"time,omitempty"`
	Data     json.RawMessage   `json:"data,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// id makes a letter that is sent again the same one.
func (l *letter) id() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{l.Consumer, l.Channel, l.Epoch, strconv.FormatUint(l.Offset, 10), l.Reason}, "\x00")))
	return "dead:" + hex.EncodeToString(sum[:16])
}

// letterOf returns the letter about an entry.
func (w *worker) letterOf(e *entry) *letter {
	l := &letter{
		Reason: e.doomed, Consumer: w.name, Channel: w.source, Epoch: w.ledger.epoch, Offset: e.offset, Attempts: e.attempts,
	}
	if p := e.pub; p != nil {
		l.Time, l.Tags = p.Time, p.Tags
		l.Data = json.RawMessage(protocol.Payload(protocol.JSON, p))
	}
	return l
}

// send publishes a dead letter, where there is a channel for them. What is too
// large with all around it goes without its data: the position tells.
func (w *worker) send(ctx context.Context, l *letter) error {
	to := w.ledger.set.DeadLetter
	if to == "" {
		return nil
	}
	b, err := json.Marshal(l)
	if err != nil || len(b) > w.m.hub.Limits().MessageBytes {
		l.Data, l.Tags = nil, nil
		if b, err = json.Marshal(l); err != nil {
			return channel.ErrInternal.Wrap(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = w.m.hub.Publish(ctx, &channel.PublishRequest{Channel: to, Data: b, ID: l.id()})
	return err
}

// bury sends the letters of what is doomed, and settles it.
func (w *worker) bury(ctx context.Context, now time.Time) error {
	for _, e := range w.ledger.doomed() {
		if err := w.send(ctx, w.letterOf(e)); err != nil {
			return err
		}
		w.notes.giveUp(givenUp{
			Epoch: w.ledger.epoch, Offset: e.offset, Attempts: e.attempts, At: now.UnixMilli(), Why: e.doomed, Letter: w.ledger.set.DeadLetter,
		})
		w.ledger.bury(e)
		if w.urgent = true; w.behind {
			w.poke() // there is room for others now
		}
	}
	return nil
}
