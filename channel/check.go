package channel

import "fmt"

// Check returns nil where r does what channels of policy p can do, else an
// error that says what would be right. Every engine refuses the same. p is
// apart from r because a channel keeps the policy it was opened with.
func (r *PublishRequest) Check(p *Policy) error {
	if p == nil {
		return ErrBadRequest.With("the request has no policy; the engine needs that of the namespace")
	}
	if len(r.ID) > MaxIDBytes {
		return ErrTooLarge.With(fmt.Sprintf("the message id has %d bytes, at most %d are allowed", len(r.ID), MaxIDBytes))
	}
	if r.Expires < 0 {
		return ErrBadRequest.With("the time of expiry is negative; 0 is never")
	}
	if p.Kind != KindState {
		if r.Op != OpAppend || r.Key != "" || r.Expect != nil || r.TTL != 0 || r.Score != 0 || r.Base != 0 {
			return ErrBadRequest.With("a log channel takes appends, without key, expected offset, ttl, score or base")
		}
		return nil
	}
	switch {
	case r.Op != OpPut && r.Op != OpDelete:
		return ErrBadRequest.With("a state channel holds entries by key: set and remove them (myelin.state.set in clients, state_set over HTTP) instead of publishing")
	case r.Key == "":
		return ErrBadRequest.With("the key is empty; a state channel needs one")
	case len(r.Key) > MaxKeyBytes:
		return ErrTooLarge.With(fmt.Sprintf("the key has %d bytes, at most %d are allowed", len(r.Key), MaxKeyBytes))
	case r.TTL < 0:
		return ErrBadRequest.With("the ttl is negative; 0 takes that of the namespace")
	case r.Base < 0 || r.Base > len(r.Data):
		return ErrBadRequest.With("the base is not within the data")
	case r.Op == OpDelete && (r.Score != 0 || r.Base != 0):
		return ErrBadRequest.With("a delete has neither score nor base")
	}
	return nil
}
