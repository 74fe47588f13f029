package api

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
)

// newBatch returns the method that does commands of the others.
func newBatch(methods map[string]method) method {
	s := shapeOf(reflect.TypeFor[batchRequest]())
	known := &shape{names: names(methods)}
	return method{shape: s, bare: true, prepare: func(at string, raw []byte) (run, error) {
		r, err := read[batchRequest](s, at, raw)
		if err != nil {
			return nil, err
		}
		if r.Commands == nil {
			return nil, channel.ErrBadRequest.With("commands is missing: a list of {\"<method>\": {...}}")
		}
		if n := len(r.Commands); n > MaxBatchCommands {
			return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("%d commands, a batch may hold %d", n, MaxBatchCommands))
		}
		b := &batch{commands: make([]command, len(r.Commands)), workers: 1}
		if r.Parallel {
			b.workers = workers
		}
		for i, raw := range r.Commands {
			if b.commands[i], err = commandOf(methods, known, "commands["+strconv.Itoa(i)+"]", raw); err != nil {
				return nil, err
			}
		}
		return b.run, nil
	}}
}

// command is one command of a batch.
type command struct {
	method string
	do     run
}

// commandOf reads a command: an object whose one member is a request, called
// by its method.
func commandOf(methods map[string]method, known *shape, at string, raw json.RawMessage) (command, error) {
	if raw[0] != '{' {
		return command{}, channel.ErrBadRequest.With(at + " must be an object, not " + nameOf(raw))
	}
	var found command
	err := members(raw, func(quoted, value []byte) error {
		name, err := text(quoted)
		if err != nil {
			return channel.ErrBadRequest.With("a name in " + at + " is not text: " + err.Error())
		}
		m, ok := methods[name]
		switch {
		case !ok:
			return channel.ErrBadRequest.With(known.unknown(at, name))
		case found.do != nil:
			return channel.ErrBadRequest.With(at + " holds " + found.method + " and " + name + ", a command is one of them")
		}
		found.method = name
		found.do, err = m.prepare(join(at, name), value)
		return err
	})
	if err == nil && found.do == nil {
		err = channel.ErrBadRequest.With(at + " names no method")
	}
	return found, err
}

// batch is commands that have been read.
type batch struct {
	commands []command
	workers  int
}

func (b *batch) run(ctx context.Context, c *call) (any, error) {
	out := &batchResult{Replies: make([]map[string]any, len(b.commands))}
	each(len(b.commands), b.workers, func(i int) {
		cmd := b.commands[i]
		result, err := b.one(ctx, c, cmd)
		if err != nil {
			out.Replies[i] = map[string]any{"error": failureOf(err)}
			return
		}
		out.Replies[i] = map[string]any{cmd.method: result}
	})
	return out, nil
}

// one does one command. Those that the time is up for are not begun.
func (b *batch) one(ctx context.Context, c *call, cmd command) (any, error) {
	began := time.Now()
	counted := c.door.opts.Metrics.API(cmd.method)
	counted.Requests.Inc()
	defer func() { counted.Observe(time.Since(began).Seconds()) }()
	if ctx.Err() != nil {
		counted.Errors.Inc()
		return nil, channel.ErrTooManyRequests.With("not done: the batch took too long or its caller left")
	}
	out, err := c.do(ctx, cmd.method, cmd.do)
	if err != nil {
		counted.Errors.Inc()
	}
	return out, err
}

// each calls fn with 0 to n-1, in order where there is one worker.
func each(n, workers int, fn func(int)) {
	if workers = min(workers, n); workers <= 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	var next atomic.Int64
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				fn(int(i))
			}
		})
	}
	working.Wait()
}
