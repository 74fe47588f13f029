package hub

import (
	"fmt"
	"strings"

	"myelin/channel"
)

// MaxDeparted is how many sessions that left are remembered.
const MaxDeparted = maxDeparted

// MaxTails is how many clients of a node may be listened to.
const MaxTails = maxTails

// SkipTrace skips the offsets up to last that leave reports, and says of some
// whether they were, in the words of the verdict.
func SkipTrace(last uint64, leave func(uint64) bool, ask ...uint64) []string {
	s := new(Session)
	sb := &sub{session: s, topic: &topic{name: "x"}}
	for o := range last + 1 {
		if leave(o) && o > 0 {
			sb.skipped(&channel.Publication{Position: channel.Position{Epoch: "e", Offset: o}}, "rule")
		}
	}
	var out []string
	for _, o := range ask {
		at, word := channel.Position{Epoch: "e", Offset: o}, ""
		if t := &s.trail.list[0]; t.concerns(at) {
			word = "surely"
			if _, reason := t.verdict(at); strings.HasPrefix(reason, "probably") {
				word = "probably"
			}
		}
		out = append(out, fmt.Sprintf("%d %s", o, word))
	}
	return out
}
