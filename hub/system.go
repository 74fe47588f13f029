package hub

import (
	"context"
	"fmt"

	"myelin/auth"
	"myelin/channel"
)

// PublishSystem publishes to a channel of a system namespace, which nobody but
// the rooms of the server may. Limits are kept as for others.
func (h *Hub) PublishSystem(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
	ns, err := h.Namespace(r.Channel)
	if err != nil {
		return channel.Ack{}, err
	}
	return h.publish(ctx, ns, r)
}

// errSystem refuses to write what the server writes itself.
func errSystem(ns *Namespace) error {
	return channel.ErrPermissionDenied.With(fmt.Sprintf("namespace %q is written by the server alone", ns.Policy.Namespace))
}

// maySystem is may for the namespaces of the server itself: they are read by
// those whose token names them, and a capability for everything does not.
func maySystem(verb auth.Verb, ns *Namespace, name string, id *auth.Identity, viaToken bool) error {
	switch {
	case verb == auth.VerbPublish:
		return errSystem(ns)
	case verb == auth.VerbSubscribe && viaToken, id.CanByName(verb, name):
		return nil
	}
	return channel.ErrPermissionDenied.With(fmt.Sprintf(
		"%s in namespace %q is for a token with capability %q on channels that begin with \"$\"", verb, ns.Policy.Namespace, verb.Short()))
}
