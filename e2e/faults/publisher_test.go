//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/client"
	"myelin/e2e/faults/history"
)

// How publishers go about it.
const (
	// publishPause is between two publications of one publisher.
	publishPause = 10 * time.Millisecond
	// publishPatience is how long one try waits for its answer.
	publishPatience = 2 * time.Second
	// maxTries is how often one publication is tried.
	maxTries = 40
)

// message is what is published: its id, and something to carry.
type message struct {
	ID  string `json:"id"`
	Pad string `json:"pad,omitempty"`
}

func newMessage(id string) []byte {
	b, err := json.Marshal(message{ID: id, Pad: "0123456789012345678901234567890123456789012345678901234567890123"})
	if err != nil {
		panic(err) // two strings
	}
	return b
}

// idOf returns the id of what was published, and the text where it has none.
func idOf(data []byte) string {
	var m message
	if err := json.Unmarshal(data, &m); err != nil || m.ID == "" {
		return "not ours: " + string(data)
	}
	return m.ID
}

// publisher publishes on all channels, one after another, and notes what it is
// told.
type publisher struct {
	name, node string
	channels   []string
	log        *history.PublisherLog
	now        func() time.Duration
	publish    func(ctx context.Context, channel, id string) (history.Position, error)
	// retries: its publications have message ids, so a try may be repeated.
	retries bool
	// after: it publishes when everything is over.
	after bool

	// flowing is when the last try that was acknowledged began, doubt when the
	// last try of unknown outcome ended; both are times of the history.
	flowing, doubt atomic.Int64
}

// run publishes until ctx ends. The try that is under way then is given time.
func (p *publisher) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		p.one(ctx, p.channels[n%len(p.channels)], fmt.Sprintf("%s-%d", p.name, n))
		rest(ctx, publishPause)
	}
}

// one publishes one message, again and again while there is hope, and gives up
// now and then, so that it becomes known what becomes of those.
func (p *publisher) one(ctx context.Context, name, id string) {
	for try := range maxTries {
		outcome := p.try(ctx, name, id)
		if outcome == history.Acked || ctx.Err() != nil {
			return
		}
		if !p.retries || outcome == history.Refused && rand.IntN(4) == 0 || outcome == history.Unknown && rand.IntN(8) == 0 {
			rest(ctx, 50*time.Millisecond)
			return
		}
		rest(ctx, time.Duration(20+10*min(try, 20))*time.Millisecond)
	}
}

func (p *publisher) try(ctx context.Context, name, id string) history.Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishPatience)
	defer cancel()
	note := history.Publish{Publisher: p.name, Node: p.node, Channel: name, ID: id, Call: p.now(), After: p.after}
	pos, err := p.publish(ctx, name, id)
	note.Return, note.Outcome = p.now(), outcomeOf(err)
	if err != nil {
		note.Error = err.Error()
	} else {
		note.Position = pos
	}
	p.log.Note(note)
	switch note.Outcome {
	case history.Acked:
		p.flowing.Store(int64(note.Call))
	case history.Unknown:
		p.doubt.Store(int64(note.Return))
	case history.Refused:
	}
	return note.Outcome
}

// outcomeOf says what an error tells of a publication.
func outcomeOf(err error) history.Outcome {
	if err == nil {
		return history.Acked
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		switch channel.Code(e.Code) {
		case channel.CodeUnknownOutcome, channel.CodeInternal:
			return history.Unknown
		default:
			return history.Refused
		}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return history.Refused
	}
	return history.Unknown
}

// byAPI publishes by the HTTP API, with message ids.
func byAPI(api client.API) func(context.Context, string, string) (history.Position, error) {
	return func(ctx context.Context, name, id string) (history.Position, error) {
		pos, err := api.Publish(ctx, name, newMessage(id), client.PublishOptions{IdempotencyKey: id})
		return history.Position{Epoch: pos.Epoch, Offset: pos.Offset}, err
	}
}

// byClient publishes over a WebSocket, where there are no message ids and no
// positions are told.
func byClient(c *client.Client) func(context.Context, string, string) (history.Position, error) {
	return func(ctx context.Context, name, id string) (history.Position, error) {
		return history.Position{}, c.Publish(ctx, name, newMessage(id))
	}
}
