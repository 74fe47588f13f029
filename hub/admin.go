package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// Publish publishes in the server's name: rights are not asked, limits are.
func (h *Hub) Publish(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	if ns.Gate != nil {
		return channel.Ack{}, errGated(ns)
	}
	if ns.System {
		return channel.Ack{}, errSystem(ns)
	}
	return h.publish(ctx, ns, r)
}

// publish waits until the shards keep up, then has the engine publish.
func (h *Hub) publish(ctx context.Context, ns *Namespace, r *channel.PublishRequest) (channel.Ack, error) {
	most := h.opts.Limits.MessageBytes
	if ns.MessageBytes > 0 {
		most = min(most, ns.MessageBytes)
	}
	if len(r.Data) > most {
		h.opts.Metrics.Limit("message").Inc()
		return channel.Ack{}, channel.ErrLimitExceeded.With(fmt.Sprintf("the data has %d bytes, at most %d are allowed", len(r.Data), most))
	}
	if len(r.Data) == 0 && r.Op != channel.OpDelete {
		return channel.Ack{}, channel.ErrBadRequest.With("a publication needs data")
	}
	if err := ns.expiry(r); err != nil {
		return channel.Ack{}, err
	}
	if err := h.quotas.channel(ns, r.Channel); err != nil {
		return channel.Ack{}, err
	}
	for _, s := range h.shards {
		if err := h.waitFor(ctx, s); err != nil {
			return channel.Ack{}, err
		}
	}
	if r.Expires != 0 && r.Expires <= time.Now().UnixMilli() {
		h.opts.Metrics.Expired(queuePublish).Inc()
		return channel.Ack{}, channel.ErrTooManyRequests.With("the server is busy, and the publication expired before its turn came")
	}
	r.Channel = h.topics.intern(r.Channel)
	r.Policy = ns.Policy
	began := time.Now()
	ack, err := h.engine.Publish(ctx, r)
	if err != nil {
		if ns.isState() && errors.Is(err, channel.ErrLimitExceeded) {
			h.opts.Metrics.Limit(observe.LimitStateKeys).Inc()
		}
		return ack, err
	}
	ns.latency.Observe(time.Since(began).Seconds())
	if ack.Duplicate {
		ns.metrics.Duplicates.Inc()
	} else {
		ns.metrics.Published.Inc()
	}
	return ack, nil
}

// waitFor returns when a shard has room for more.
func (h *Hub) waitFor(ctx context.Context, s *shard) error {
	for {
		full := s.full()
		if full == nil {
			return nil
		}
		h.opts.Metrics.Limit("shard_inbox").Inc()
		select {
		case <-full:
		case <-ctx.Done():
			return channel.ErrTooManyRequests.With("the server is busy delivering, try again")
		case <-h.ctx.Done():
			return channel.ErrUnavailable.With("the server is shutting down")
		}
	}
}

// HistoryRequest asks for what is kept of a channel.
type HistoryRequest struct {
	Channel string
	// Since is the position to read from, nil for the beginning (the end,
	// where Reverse).
	Since *channel.Position
	// Limit is how many publications; 0 asks for the position only, a
	// negative one for as many as a call may have.
	Limit   int
	Reverse bool
	// MaxBytes is where to stop, as in channel.ReadRequest.
	MaxBytes int
}

// History reads what is kept of a channel. An epoch that is not the channel's
// is ErrUnrecoverable.
func (h *Hub) History(ctx context.Context, r HistoryRequest) (channel.ReadResult, error) {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return channel.ReadResult{}, err
	}
	if !ns.Policy.Recoverable() {
		return channel.ReadResult{}, channel.ErrNotAvailable.With("history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	most := h.opts.Limits.HistoryRead
	if r.Limit < 0 || r.Limit > most {
		r.Limit = most
	}
	read := &channel.ReadRequest{Channel: r.Channel, Policy: ns.Policy, Limit: r.Limit, Reverse: r.Reverse, MaxBytes: r.MaxBytes}
	if r.Since != nil {
		if r.Reverse && r.Since.Offset == 0 {
			return channel.ReadResult{}, channel.ErrBadRequest.With("nothing is before offset 0; leave since out to read from the end")
		}
		read.Since = *r.Since
	}
	out, err := h.engine.Read(ctx, read)
	if err != nil {
		return out, err
	}
	if r.Since != nil && r.Since.Epoch != "" && r.Since.Epoch != out.Top.Epoch {
		return out, channel.ErrUnrecoverable.With("the epoch is now \"" + out.Top.Epoch + "\"")
	}
	return h.unexpired(ctx, read, out)
}

// unexpired leaves out what has expired, and reads on where nothing is left: an
// empty answer would look like the end.
func (h *Hub) unexpired(ctx context.Context, read *channel.ReadRequest, out channel.ReadResult) (channel.ReadResult, error) {
	for {
		n := len(out.Pubs)
		if n == 0 {
			return out, nil
		}
		last := out.Pubs[n-1].Position
		out.Pubs = h.current(out.Pubs, queueHistory)
		if len(out.Pubs) > 0 || (n < read.Limit && read.MaxBytes == 0) || (read.Reverse && last.Offset <= 1) {
			return out, nil
		}
		read.Since = last
		next, err := h.engine.Read(ctx, read)
		if err != nil {
			return out, err
		}
		next.Complete = out.Complete && next.Complete
		out = next
	}
}

// HistoryRemove forgets what is kept of a channel.
func (h *Hub) HistoryRemove(ctx context.Context, name string) error {
	ns, err := h.Namespace(name)
	if err != nil {
		return err
	}
	if ns.System {
		return errSystem(ns)
	}
	if !ns.Policy.Recoverable() {
		return channel.ErrNotAvailable.With("history is off in namespace \"" + ns.Policy.Namespace + "\"")
	}
	if ns.Policy.Kind == channel.KindState {
		return channel.ErrUnsupported.With("the history of a state channel goes with its entries; remove them one by one with state_remove")
	}
	if err := h.engine.Remove(ctx, name, ns.Policy); err != nil {
		return err
	}
	h.Cleared(name)
	return nil
}

// Cleared takes word from the engine that what was kept of a channel is gone.
func (h *Hub) Cleared(name string) {
	if t := h.topics.get(name); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.mu.ring = ring{}
	}
}
