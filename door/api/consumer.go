package api

import (
	"context"
	"fmt"

	"myelin/channel"
	"myelin/consumer"
)

// MaxListedConsumers is how many consumers one answer lists.
const MaxListedConsumers = 1000

type consumerCreateRequest struct {
	Consumer      string    `json:"consumer"`
	Channel       string    `json:"channel"`
	Start         string    `json:"start"`
	Since         *position `json:"since"`
	AckTimeoutMs  int64     `json:"ack_timeout_ms"`
	MaxUnacked    uint32    `json:"max_unacked"`
	MaxPerSession uint32    `json:"max_per_session"`
	MaxAttempts   uint32    `json:"max_attempts"`
	DeadLetter    string    `json:"dead_letter"`
	Ordered       bool      `json:"ordered"`
	Exclusive     bool      `json:"exclusive"`
}

type consumerRequest struct {
	Consumer string `json:"consumer"`
	Channel  string `json:"channel"`
}

type consumerSeekRequest struct {
	Consumer string    `json:"consumer"`
	Channel  string    `json:"channel"`
	Start    string    `json:"start"`
	Since    *position `json:"since"`
}

type consumerListRequest struct {
	Channel string `json:"channel"`
	After   string `json:"after"`
	Limit   uint32 `json:"limit"`
}

type consumerAckRequest struct {
	Acks       []string `json:"acks"`
	Consumer   string   `json:"consumer"`
	Channel    string   `json:"channel"`
	Offsets    []uint64 `json:"offsets"`
	Nack       bool     `json:"nack"`
	DelayMs    int64    `json:"delay_ms"`
	InProgress bool     `json:"in_progress"`
}

type consumerListResult struct {
	Consumers []*consumer.Info `json:"consumers"`
	// Next is where to go on with after, "" at the end.
	Next string `json:"next"`
}

// consumerMethods returns the methods of consumers and growing texts by name.
func consumerMethods() map[string]method {
	return map[string]method{
		"append":          methodOf((*call).appendText),
		"consumer_create": methodOf((*call).consumerCreate),
		"consumer_list":   methodOf((*call).consumerList),
		"consumer_info":   methodOf((*call).consumerInfo),
		"consumer_seek":   methodOf((*call).consumerSeek),
		"consumer_delete": methodOf((*call).consumerDelete),
		"consumer_ack":    methodOf((*call).consumerAck),
	}
}

// startOf returns where a consumer is to begin.
func startOf(start string, since *position, otherwise string) (consumer.Start, error) {
	switch {
	case start != "" && since != nil:
		return consumer.Start{}, channel.ErrBadRequest.With("start and since are two places; give one")
	case since != nil:
		return consumer.Start{Epoch: since.Epoch, Offset: since.Offset}, nil
	case start == "":
		start = otherwise
	}
	if start == "" {
		return consumer.Start{}, channel.ErrBadRequest.With("say where to: start, or since")
	}
	return consumer.Start{At: start}, nil
}

// consumerCreate makes a consumer, or gives one other settings.
func (c *call) consumerCreate(ctx context.Context, r *consumerCreateRequest) (any, error) {
	from, err := startOf(r.Start, r.Since, consumer.StartNew)
	if err != nil {
		return nil, err
	}
	return c.door.opts.Consumers.Create(ctx, r.Consumer, r.Channel, consumer.Settings{
		AckTimeout: consumer.Milliseconds(r.AckTimeoutMs), MaxUnacked: int(r.MaxUnacked), MaxPerSession: int(r.MaxPerSession),
		MaxAttempts: int(r.MaxAttempts), DeadLetter: r.DeadLetter, Ordered: r.Ordered, Exclusive: r.Exclusive,
	}, from)
}

// consumerInfo tells how one stands.
func (c *call) consumerInfo(ctx context.Context, r *consumerRequest) (any, error) {
	return c.door.opts.Consumers.Info(ctx, r.Consumer, r.Channel)
}

// consumerList tells how they stand, a page at a time.
func (c *call) consumerList(ctx context.Context, r *consumerListRequest) (any, error) {
	if r.Limit > MaxListedConsumers {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("one answer lists at most %d consumers; go on with after", MaxListedConsumers))
	}
	if r.Limit == 0 {
		r.Limit = MaxListedConsumers
	}
	list, next, err := c.door.opts.Consumers.List(ctx, r.Channel, r.After, int(r.Limit))
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []*consumer.Info{}
	}
	return &consumerListResult{list, next}, c.take(len(list) * (perItem + 1024))
}

// consumerSeek has one go on from another place.
func (c *call) consumerSeek(ctx context.Context, r *consumerSeekRequest) (any, error) {
	to, err := startOf(r.Start, r.Since, "")
	if err != nil {
		return nil, err
	}
	return c.door.opts.Consumers.Seek(ctx, r.Consumer, r.Channel, to)
}

// consumerDelete forgets one.
func (c *call) consumerDelete(ctx context.Context, r *consumerRequest) (any, error) {
	return &empty{}, c.door.opts.Consumers.Delete(ctx, r.Consumer, r.Channel)
}

// consumerAck answers deliveries, by their tokens, or by their offsets in the
// name of whoever has them.
func (c *call) consumerAck(ctx context.Context, r *consumerAckRequest) (any, error) {
	word, err := (&consumer.WordJSON{
		Acks: r.Acks, Consumer: r.Consumer, Channel: r.Channel, Offsets: r.Offsets,
		Nack: r.Nack, DelayMs: r.DelayMs, InProgress: r.InProgress,
	}).Word("")
	if err != nil {
		return nil, err
	}
	word.Operator = true
	return c.door.opts.Consumers.Settle(ctx, word)
}
