package consumer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"

	"myelin/channel"
)

// keyRecord is the one entry of a record's channel.
const keyRecord = "record"

// owner is the run of a node that works a consumer.
type owner struct {
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
}

// record is what is kept of a consumer.
type record struct {
	Settings Settings `json:"settings"`
	// Epoch and Next are how far the channel has been read.
	Epoch string `json:"epoch"`
	Next  uint64 `json:"next"`
	// Pending holds what is not settled: offset and attempts.
	Pending [][2]uint64 `json:"pending,omitempty"`
	Counts  Counts      `json:"counts"`
	Owner   owner       `json:"owner"`
	// Began is the offset behind which it began or was last sent to, GivenUp
	// what was given up last, and Forgotten up to which offset more may have
	// been.
	Began     *uint64   `json:"began,omitempty"`
	GivenUp   []givenUp `json:"given_up,omitempty"`
	Forgotten uint64    `json:"forgotten,omitempty"`
	// Created is when it was made, in Unix ms.
	Created int64 `json:"created"`
}

// registry keeps records and their index in the engine.
type registry struct {
	engine channel.Engine
	policy *channel.Policy
}

// read returns a record and where it is, ErrUnknownChannel for none.
func (r *registry) read(ctx context.Context, full string) (*record, uint64, error) {
	page, err := r.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: recordOf(full), Policy: r.policy, Key: keyRecord})
	if err != nil {
		return nil, 0, err
	}
	if len(page.Items) == 0 {
		return nil, 0, errNoConsumer(full)
	}
	out := new(record)
	if err := json.Unmarshal(page.Items[0].Data, out); err != nil {
		return nil, 0, channel.ErrInternal.Wrap(err)
	}
	return out, page.Items[0].Offset, nil
}

func errNoConsumer(full string) error {
	name, source, _ := strings.Cut(strings.TrimPrefix(full, Namespace+":"), separator)
	return channel.ErrUnknownChannel.With("channel " + strconv.Quote(source) + " has no consumer " + strconv.Quote(name) + "; make it first")
}

// put writes an entry that is expected at an offset.
func (r *registry) put(ctx context.Context, name, key, id string, value []byte, expect uint64) (uint64, error) {
	ack, err := r.engine.Publish(ctx, &channel.PublishRequest{
		Channel: name, Policy: r.policy, Op: channel.OpPut, Key: key, Data: value, Expect: &expect, ID: id,
	})
	return ack.Offset, err
}

// write writes a record.
func (r *registry) write(ctx context.Context, full, id string, rec []byte, expect uint64) (uint64, error) {
	return r.put(ctx, recordOf(full), keyRecord, id, rec, expect)
}

// list notes a consumer in the index.
func (r *registry) list(ctx context.Context, full string, l listed) error {
	data, err := json.Marshal(l)
	if err != nil {
		return channel.ErrInternal.Wrap(err)
	}
	_, err = r.engine.Publish(ctx, &channel.PublishRequest{
		Channel: index, Policy: r.policy, Op: channel.OpPut, Key: full, Data: data,
	})
	return err
}

// remove forgets a consumer.
func (r *registry) remove(ctx context.Context, full string) error {
	for _, entry := range [][2]string{{recordOf(full), keyRecord}, {index, full}} {
		_, err := r.engine.Publish(ctx, &channel.PublishRequest{Channel: entry[0], Policy: r.policy, Op: channel.OpDelete, Key: entry[1]})
		if err != nil {
			return err
		}
	}
	return nil
}

// all returns the channels of all consumers, in order.
func (r *registry) all(ctx context.Context) (out []string, err error) {
	err = r.each(ctx, func(full string, _ listed) { out = append(out, full) })
	return out, err
}

// secret returns what tokens are signed with, and makes it the first time.
func (r *registry) secret(ctx context.Context) ([]byte, error) {
	for {
		page, err := r.engine.Snapshot(ctx, &channel.SnapshotRequest{Channel: index, Policy: r.policy, Key: secretKey})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return page.Items[0].Data, nil
		}
		own := []byte(strconv.Quote(rand.Text() + rand.Text()))
		_, err = r.put(ctx, index, secretKey, "", own, 0)
		if err == nil {
			return own, nil
		}
		if channel.Public(err).Code != channel.CodeConflict {
			return nil, err
		}
	}
}
