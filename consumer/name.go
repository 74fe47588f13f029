package consumer

import (
	"fmt"
	"strings"

	"myelin/channel"
)

const (
	// Namespace is the namespace of the channels on which deliveries come.
	Namespace = "$consumers"
	// StateNamespace is that of the records.
	StateNamespace = "$consumer-state"

	// separator stands between a consumer's name and its channel's.
	separator = "~"
	// maxName is how long a consumer's name may be, maxChannel the name of the
	// channel its deliveries come on: that of its record is some bytes longer.
	maxName    = 100
	maxChannel = channel.MaxNameBytes - (len(StateNamespace) - len(Namespace))
	// index is the state channel that lists all consumers, by the channels of
	// their deliveries. No record is called so, because a name has a separator.
	index = StateNamespace + ":index"
	// secretKey is the entry of the index with what tokens are signed with. No
	// channel is called so.
	secretKey = "secret"
)

// Channel returns the channel on which the deliveries of a consumer come.
func Channel(name, source string) (string, error) {
	switch {
	case name == "":
		return "", channel.ErrBadRequest.With("the consumer has no name")
	case len(name) > maxName:
		return "", channel.ErrBadRequest.With(fmt.Sprintf("the name of the consumer has %d bytes, at most %d are allowed", len(name), maxName))
	case strings.Contains(name, separator):
		return "", channel.ErrBadRequest.With("the name of a consumer has no " + separator + " in it")
	case strings.HasPrefix(source, "$"):
		return "", channel.ErrNotAvailable.With("channels of the server itself have no consumers")
	}
	if err := channel.CheckName(source); err != nil {
		return "", err
	}
	full := Namespace + ":" + name + separator + source
	if len(full) > maxChannel {
		return "", channel.ErrBadRequest.With(fmt.Sprintf("the names of consumer and channel have %d bytes together, at most %d are allowed",
			len(name)+len(source), maxChannel-len(Namespace)-len(":"+separator)))
	}
	return full, channel.CheckName(full)
}

// parse is the inverse of Channel.
func parse(full string) (name, source string, err error) {
	rest, ok := strings.CutPrefix(full, Namespace+":")
	if ok {
		name, source, ok = strings.Cut(rest, separator)
	}
	if !ok {
		return "", "", channel.ErrBadRequest.With("a channel of deliveries is called " + Namespace + ":NAME" + separator + "CHANNEL")
	}
	_, err = Channel(name, source)
	return name, source, err
}

// Source returns the consumer whose deliveries come on a channel, and the
// channel they are of; no for channels of another kind.
func Source(full string) (name, source string, ok bool) {
	name, source, err := parse(full)
	return name, source, err == nil
}

// recordOf returns the state channel with the record of a consumer.
func recordOf(full string) string { return StateNamespace + strings.TrimPrefix(full, Namespace) }
