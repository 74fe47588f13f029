package conversation

import "myelin/channel"

// ParseResume gives a test what a resume token says of some channels, by name.
func ParseResume(token string, names ...string) (map[string]channel.Position, int, error) {
	known, err := parseResume(token)
	out := make(map[string]channel.Position)
	for _, name := range names {
		if pos, ok := known[hashName(name)]; ok {
			out[name] = pos
		}
	}
	return out, len(known), err
}

// ResumePoint is a resume point.
type ResumePoint = resumePoint

// The methods of a resume point.
func NewResumePoint() *ResumePoint                        { return newResumePoint() }
func (r *ResumePoint) Move(n string, at channel.Position) { r.move(n, at) }
func (r *ResumePoint) Drop(n string)                      { r.drop(n) }
func (r *ResumePoint) Token() string                      { return r.token() }

// MaxResumeToken bounds a resume token.
const MaxResumeToken = maxResumeToken

// Reason is reason.
func Reason(text string) string { return reason(text) }
