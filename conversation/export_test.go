package conversation

import "myelin/channel"

// ReadResume gives a test what a resume token says of some channels, by name.
func ReadResume(token string, names ...string) (map[string]channel.Position, int, error) {
	known, err := parseResume(token)
	out := make(map[string]channel.Position)
	for _, name := range names {
		if pos, ok := known[hashName(name)]; ok {
			out[name] = pos
		}
	}
	return out, len(known), err
}

// MaxResumeToken bounds a resume token.
const MaxResumeToken = maxResumeToken

// Reason is reason.
func Reason(text string) string { return reason(text) }
