package server

import (
	"time"

	"myelin/channel"
	"myelin/config"
	"myelin/hub"
)

// keepEntries has the channels of a namespace hold entries, where it says so.
func keepEntries(to *hub.Namespace, ns config.Namespace) {
	if ns.Kind != "state" {
		return
	}
	st := ns.State
	p := to.Policy
	p.Kind, p.MaxKeys, p.KeyTTL = channel.KindState, st.MaxKeys, time.Duration(st.KeyTTL)
	to.TagKeys = st.TagKeys
	to.ByScore, to.OwnKeys, to.Lease = st.Order == "score", st.Keys == "own", time.Duration(st.Lease)
}
