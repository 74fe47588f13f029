package mercure

import (
	"fmt"
	"strings"

	"myelin/channel"
)

// spaces is the two namespaces of updates.
type spaces struct{ public, private string }

// channel returns the channel of a topic's updates.
func (s spaces) channel(topic string, private bool) string {
	if private {
		return s.private + ":" + topic
	}
	return s.public + ":" + topic
}

// topic returns what a channel is about, and whether its updates are private.
func (s spaces) topic(of string) (topic string, private bool) {
	space, topic, _ := strings.Cut(of, ":")
	return topic, space == s.private
}

// check returns nil for a topic that there can be.
func (s spaces) check(topic string) error {
	if err := checkText(topic); err != nil {
		return err
	}
	most := channel.MaxNameBytes - 1 - max(len(s.public), len(s.private))
	switch {
	case len(topic) > most:
		return channel.ErrBadRequest.With(fmt.Sprintf("the topic has %d bytes, at most %d are allowed here", len(topic), most))
	case strings.ContainsRune(topic, '*'):
		return channel.ErrBadRequest.With("a topic has no *, which is for matchers")
	}
	return nil
}

// ownPath is where the hub is; topics below it are its own.
const ownPath = "/.well-known/mercure"

// isOwn reports whether a topic is for the hub itself to publish: by its path,
// whatever its host.
func isOwn(topic string) bool {
	path := topic
	if _, rest, ok := strings.Cut(topic, "://"); ok {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return false
		}
		path = rest[i:]
	} else if rest, ok := strings.CutPrefix(topic, "//"); ok {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return false
		}
		path = rest[i:]
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	path = clean(path)
	return path == ownPath || strings.HasPrefix(path, ownPath+"/")
}

// clean resolves a path as a reference against that of the hub: dots, and what
// is relative.
func clean(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = "/.well-known/" + path
	}
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		switch strings.ToLower(strings.ReplaceAll(strings.ToLower(part), "%2e", ".")) {
		case ".", "":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, part)
		}
	}
	return "/" + strings.Join(out, "/")
}
