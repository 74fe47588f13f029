package disk

import "myelin/channel"

// checkOp returns nil where a request does what channels of a policy can do.
func checkOp(p *channel.Policy, r *channel.PublishRequest) error {
	if p == nil {
		return errNoPolicy
	}
	if len(r.ID) > channel.MaxIDBytes {
		return channel.ErrTooLarge.With(tooLong("message id", len(r.ID), channel.MaxIDBytes))
	}
	if p.Kind != channel.KindState {
		if r.Op != channel.OpAppend || r.Key != "" || r.Expect != nil || r.TTL != 0 {
			return channel.ErrBadRequest.With("a log channel takes appends, without key, expected offset or ttl")
		}
		return nil
	}
	switch {
	case r.Op != channel.OpPut && r.Op != channel.OpDelete:
		return channel.ErrBadRequest.With("a state channel takes puts and deletes only")
	case r.Key == "":
		return channel.ErrBadRequest.With("the key is empty; a state channel needs one")
	case len(r.Key) > channel.MaxKeyBytes:
		return channel.ErrTooLarge.With(tooLong("key", len(r.Key), channel.MaxKeyBytes))
	case r.TTL < 0:
		return channel.ErrBadRequest.With("the ttl is negative; 0 takes that of the namespace")
	}
	return nil
}
