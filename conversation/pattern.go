package conversation

import (
	"maps"

	"myelin/protocol"
)

// tagChannel is the tag that tells a client which of the channels that its
// pattern matches a publication was on. The protocol has a field for that, which
// not every SDK shows to its application; all of them show tags.
const tagChannel = "$channel"

// matched has a publication of a pattern say which channel it was on.
func matched(p *protocol.Publication, name string) {
	p.Channel = name
	tags := make(map[string]string, len(p.Tags)+1)
	maps.Copy(tags, p.Tags)
	tags[tagChannel] = name
	p.Tags = tags
}
