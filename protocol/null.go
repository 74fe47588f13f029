package protocol

import cf "github.com/centrifugal/protocol"

// JSON has null where Protobuf has nothing like it: as an element of a list or
// map of messages it would decode to a nil pointer, which whoever walks the
// list does not expect. These functions find one.

func commandHasNull(c *Command) bool {
	return requestsHaveNull(c.Connect.GetSubs()) || filterHasNull(c.Subscribe.GetTf()) ||
		trackHasNull(c.SubRefresh.GetTrack())
}

func replyHasNull(r *Reply) bool {
	return pushHasNull(r.Push) || resultsHaveNull(r.Connect.GetSubs()) || resultHasNull(r.Subscribe) ||
		mapHasNil(r.Presence.GetPresence()) || hasNil(r.History.GetPublications()) || hasNil(r.SubRefresh.GetItems())
}

func pushHasNull(p *Push) bool {
	return p != nil && resultsHaveNull(p.Connect.GetSubs())
}

func requestsHaveNull(subs map[string]*SubscribeRequest) bool {
	for _, s := range subs {
		if s == nil || filterHasNull(s.Tf) {
			return true
		}
	}
	return false
}

func resultsHaveNull(subs map[string]*SubscribeResult) bool {
	for _, s := range subs {
		if s == nil || resultHasNull(s) {
			return true
		}
	}
	return false
}

func resultHasNull(r *SubscribeResult) bool {
	return hasNil(r.GetPublications()) || hasNil(r.GetState())
}

// filterHasNull goes as deep as the codec, which has a limit, let the filter
// be.
func filterHasNull(f *cf.FilterNode) bool {
	for _, node := range f.GetNodes() {
		if node == nil || filterHasNull(node) {
			return true
		}
	}
	return false
}

func trackHasNull(track []*cf.TrackBatch) bool {
	for _, batch := range track {
		if batch == nil || hasNil(batch.Items) {
			return true
		}
	}
	return false
}

func hasNil[T any](list []*T) bool {
	for _, e := range list {
		if e == nil {
			return true
		}
	}
	return false
}

func mapHasNil[T any](m map[string]*T) bool {
	for _, e := range m {
		if e == nil {
			return true
		}
	}
	return false
}
