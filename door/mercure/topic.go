package mercure

import (
	"fmt"
	"net/url"
	"regexp"
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
		return channel.ErrTooLarge.With(fmt.Sprintf("the topic has %d bytes, at most %d are allowed here", len(topic), most))
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
	scheme := schemed.FindString(topic)
	path := topic[len(scheme):]
	if scheme != "" && !strings.HasPrefix(path, "/") {
		return false // such as urn:x, which has no path of a hub
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
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

// homeDir is what a relative reference without a slash in front is relative to.
const homeDir = "/.well-known/"

// home is where the hub is, scheme and host, by its configuration and never by
// what a request says: what a token allows depends on it. It is empty where that
// is not known, and then relative patterns are for relative topics only.
type home string

// homeOf returns what a hub's identifier says of where it is.
func homeOf(audience string) home {
	u, err := url.Parse(audience)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return home(lowerHost(u.Scheme + "://" + u.Host))
}

// schemed finds the scheme of an absolute IRI.
var schemed = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.\-]*:`)

// pattern returns a URL pattern as it is matched, and what of a topic it is
// matched with. A relative one is about paths of the hub.
func (at home) pattern(text string) (string, func(string) (string, bool)) {
	scheme, _, absolute := strings.Cut(text, "://")
	if absolute && !strings.ContainsAny(scheme, "/?#") || schemed.MatchString(text) {
		return text, at.absolute
	}
	if !strings.HasPrefix(text, "/") {
		text = homeDir + text
	}
	return text, at.relative
}

// absolute returns a topic as an absolute IRI.
func (at home) absolute(topic string) (string, bool) {
	if schemed.MatchString(topic) {
		return lowerHost(topic), true
	}
	path, ok := pathOf(topic)
	return string(at) + path, ok && at != ""
}

// relative returns a topic of the hub as a path, and what follows it.
func (at home) relative(topic string) (string, bool) {
	if !schemed.MatchString(topic) {
		return pathOf(topic)
	}
	rest, ok := strings.CutPrefix(lowerHost(topic), string(at))
	return rest, ok && at != "" && strings.HasPrefix(rest, "/")
}

// pathOf resolves a relative reference against that of the hub. One to another
// host is none.
func pathOf(topic string) (string, bool) {
	if strings.HasPrefix(topic, "//") {
		return "", false
	}
	end := strings.IndexAny(topic, "?#")
	if end < 0 {
		end = len(topic)
	}
	path, rest := topic[:end], topic[end:]
	if !strings.HasPrefix(path, "/") {
		path = homeDir + path
	}
	if strings.Contains(path, "/.") && path != "/" {
		slash := strings.HasSuffix(path, "/")
		if path = clean(path); slash && path != "/" {
			path += "/"
		}
	}
	return path + rest, true
}

// lowerHost returns an absolute IRI with its scheme and host in lower case, which
// is what they are compared in.
func lowerHost(topic string) string {
	scheme, rest, ok := strings.Cut(topic, "://")
	if !ok {
		return topic
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return strings.ToLower(scheme+"://"+rest[:end]) + rest[end:]
}
