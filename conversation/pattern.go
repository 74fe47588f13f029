package conversation

import (
	"maps"

	"myelin/channel"
	"myelin/protocol"
)

// tagChannel is the tag that tells a client which of the channels that its
// pattern matches a publication was on. The protocol has a field for that, which
// not every SDK shows to its application; all of them show tags.
const tagChannel = "$channel"

// matched has a publication of a pattern say which channel it was on, and what
// it did to an entry of a state channel.
func matched(out *protocol.Publication, p *channel.Publication) {
	out.Channel, out.Key = p.Channel, p.Key
	out.Removed = p.Op == channel.OpDelete || p.Op == channel.OpExpire
	tags := make(map[string]string, len(p.Tags)+1)
	maps.Copy(tags, p.Tags)
	tags[tagChannel] = p.Channel
	out.Tags = tags
}
