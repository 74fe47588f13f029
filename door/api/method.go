package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"

	"myelin/channel"
)

// run does what a request asked for and returns the result.
type run func(context.Context, *call) (any, error)

// method is one name of the API.
type method struct {
	shape *shape
	// prepare reads a request, which is valid JSON, and returns what does it.
	// at is where the request stands in the body.
	prepare func(at string, raw []byte) (run, error)
	// bare: the result is the whole answer, without an envelope.
	bare bool
}

// newMethods returns every method by name.
func newMethods() map[string]method {
	m := map[string]method{
		"publish":        methodOf((*call).publish),
		"broadcast":      methodOf((*call).broadcast, (*broadcastRequest).check),
		"subscribe":      methodOf((*call).subscribe),
		"unsubscribe":    methodOf((*call).unsubscribe),
		"disconnect":     methodOf((*call).disconnect, (*disconnectRequest).check),
		"refresh":        methodOf((*call).refresh),
		"presence":       methodOf((*call).presence),
		"presence_stats": methodOf((*call).presenceStats),
		"presence_users": methodOf((*call).presenceUsers),
		"history":        methodOf((*call).history),
		"history_remove": methodOf((*call).historyRemove),
		"channels":       methodOf((*call).channels),
		"info":           methodOf((*call).info),
		"state_set":      methodOf((*call).stateSet),
		"state_remove":   methodOf((*call).stateRemove),
		"state_get":      methodOf((*call).stateGet),
		"state_list":     methodOf((*call).stateList),
		"revoke":         methodOf((*call).revoke, (*revokeRequest).check),
		"block":          methodOf((*call).block, (*blockRequest).check),
		"unblock":        methodOf((*call).unblock, (*unblockRequest).check),
		"blocks":         methodOf((*call).blocks),
		"explain":        methodOf((*call).explain),
		"tail":           methodOf((*call).tail),
		"connections":    methodOf((*call).connections),
		"limits":         methodOf((*call).limits),
	}
	maps.Copy(m, consumerMethods())
	m["batch"] = newBatch(maps.Clone(m))
	return m
}

// methodOf makes a method of the function that does it. checks are asked about
// a request before anything of its body is done.
func methodOf[R any](do func(*call, context.Context, *R) (any, error), checks ...func(*R) error) method {
	s := shapeOf(reflect.TypeFor[R]())
	return method{shape: s, prepare: func(at string, raw []byte) (run, error) {
		r, err := read[R](s, at, raw)
		if err != nil {
			return nil, err
		}
		for _, check := range checks {
			if err := check(r); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context, c *call) (any, error) { return do(c, ctx, r) }, nil
	}}
}

// read decodes a request of shape s.
func read[R any](s *shape, at string, raw []byte) (*R, error) {
	if err := s.check(at, raw); err != nil {
		return nil, err
	}
	r := new(R)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, channel.ErrInternal.Wrap(err)
	}
	return r, nil
}

// names returns the names of methods in order.
func names(methods map[string]method) []string { return slices.Sorted(maps.Keys(methods)) }

// call is one HTTP request at work.
type call struct {
	door *Door
	// left is how much its answers may still hold.
	left atomic.Int64
}

// take makes room for n more bytes of answer.
func (c *call) take(n int) error {
	if c.left.Add(-int64(n)) < 0 {
		c.left.Add(int64(n))
		return channel.ErrLimitExceeded.With(fmt.Sprintf("the answer would hold more than %d bytes, ask for less at a time", MaxAnswerBytes))
	}
	return nil
}

// do runs one command, counts it, and returns its result.
func (c *call) do(ctx context.Context, name string, do run) (any, error) {
	out, err := do(ctx, c)
	if err != nil && channel.Public(err).Code == channel.CodeInternal {
		c.door.failed(name, err)
	}
	return out, err
}
