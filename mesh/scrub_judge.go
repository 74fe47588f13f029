package mesh

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// agingTime is how long before its end a message does not count any more: each
// replica lets go of what is old by a clock and in steps of its own.
const agingTime = time.Minute

// verdict is what one look at a stream says.
type verdict int

const (
	// verdictNone: too few replicas stood where ours stands.
	verdictNone verdict = iota
	// verdictWhole: ours has what a majority has.
	verdictWhole
	// verdictLacks: a majority has messages that ours has not.
	verdictLacks
)

// judge holds our replica of a stream against those of the peers and returns
// how many messages it lacks, where it does. Only replicas with the same last
// message can be compared, and a majority of all has to have more than ours:
// one that has kept too much accuses nobody, of three replicas only one can be
// accused, and when it goes the others are a quorum. It cannot tell a purge
// that others are about to do; who asks often enough can.
func judge(own *server.StreamDetail, peers []*server.StreamDetail, node string, now time.Time) (what verdict, lacks uint64) {
	if own.Config == nil || own.Config.Storage != server.FileStorage || own.Config.AllowMsgTTL {
		return verdictNone, 0
	}
	majority := own.Config.Replicas/2 + 1
	alike, richer := 0, 0
	for _, peer := range peers {
		if behind(peer.Cluster, node) {
			return verdictNone, 0
		}
		if peer.State.LastSeq != own.State.LastSeq || !peer.Created.Equal(own.Created) {
			continue
		}
		alike++
		if few := lacking(own, peer, now); few > 0 {
			richer++
			if lacks == 0 || few < lacks {
				lacks = few
			}
		}
	}
	switch {
	case alike < majority:
		return verdictNone, 0
	case richer < majority:
		return verdictWhole, 0
	}
	return verdictLacks, lacks
}

// behind says that the leader, who alone knows the lag of others, still has to
// bring a node up to date.
func behind(cluster *server.ClusterInfo, node string) bool {
	if cluster == nil {
		return false
	}
	for _, p := range cluster.Replicas {
		if p.Name == node && !p.Current && p.Lag > 0 {
			return true
		}
	}
	return false
}

// lacking returns how many messages the peer has that ours must have too.
func lacking(own, peer *server.StreamDetail, now time.Time) uint64 {
	ours, theirs := &own.State, &peer.State
	if theirs.Msgs <= ours.Msgs {
		return 0
	}
	// What the peer begins with may be old and gone here already. Where ours
	// begins before it, all that the peer has lies within.
	if ours.FirstSeq > theirs.FirstSeq {
		for _, d := range []*server.StreamDetail{own, peer} {
			if d.Config == nil || d.Config.MaxAge > 0 && theirs.FirstTime.Add(d.Config.MaxAge).Before(now.Add(agingTime)) {
				return 0
			}
		}
	}
	return theirs.Msgs - ours.Msgs
}
