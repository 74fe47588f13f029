package mesh

import (
	"fmt"
	"regexp"

	"myelin/channel"
)

// ofDisk is what the server says when it stops to store because of its disk.
var ofDisk = regexp.MustCompile(`^JetStream out of .*(resources|space), will be DISABLED|permission denied while writing, disabling JetStream`)

// noticeDisk remembers that the server stops to store because of its disk.
func (v *voice) noticeDisk(text string) {
	if ofDisk.MatchString(text) {
		v.diskFailed.Store(true)
	}
}

// diskFailure says that the embedded server has stopped to store because of its
// disk; nil where it has not. It does not begin again by itself.
func (n *Network) diskFailure() error {
	if n.embedded == nil || !n.options.Storage || !n.embedded.voice.diskFailed.Load() || n.embedded.JetStreamEnabled() {
		return nil
	}
	return channel.ErrUnavailable.With(fmt.Sprintf("the disk at %s is full or fails: make room and start this node again", n.options.StorePath))
}
