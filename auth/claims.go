package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"myelin/filter"
)

// Bounds on what a token may carry, whatever its size.
const (
	maxIDBytes     = 255
	maxServerSubs  = 1024
	maxCaps        = 64
	maxCapChannels = 256
)

// lastSecond is the end of the year 9999. A time after it is no date but a
// mistake, most likely milliseconds.
const lastSecond = 253402300799

// claimSet is a token's payload with every claim still raw, so that names are
// matched exactly and Info keeps its bytes. The jwt package only decodes it
// and checks the signature over it; what it says is checked here, because the
// refusals must say what would have been right.
type claimSet map[string]json.RawMessage

// GetExpirationTime implements jwt.Claims.
func (claimSet) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }

// GetIssuedAt implements jwt.Claims.
func (claimSet) GetIssuedAt() (*jwt.NumericDate, error) { return nil, nil }

// GetNotBefore implements jwt.Claims.
func (claimSet) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }

// GetIssuer implements jwt.Claims.
func (claimSet) GetIssuer() (string, error) { return "", nil }

// GetSubject implements jwt.Claims.
func (claimSet) GetSubject() (string, error) { return "", nil }

// GetAudience implements jwt.Claims.
func (claimSet) GetAudience() (jwt.ClaimStrings, error) { return nil, nil }

// claimReader reads claims one by one and keeps the first thing wrong, so that
// the code reading them stays a list.
type claimReader struct {
	claims claimSet
	path   string // where in the token this object stands: "subs.news."
	err    *Error
}

func (r *claimReader) fail(name, format string, args ...any) {
	if r.err == nil {
		e := invalid(ReasonClaim, format, args...)
		e.message = "token claim " + quote(r.path+name) + " " + e.message
		r.err = e
	}
}

// get returns a claim; one that is null counts as absent.
func (r *claimReader) get(name string) (json.RawMessage, bool) {
	raw, ok := r.claims[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return nil, false
	}
	return raw, true
}

// decode reads a claim into out, and says whether it was there and right.
func (r *claimReader) decode(name, want string, out any) bool {
	raw, ok := r.get(name)
	if !ok {
		return false
	}
	if err := json.Unmarshal(raw, out); err != nil {
		r.fail(name, "must be %s, it is %s", want, shape(raw))
		return false
	}
	return true
}

func (r *claimReader) text(name string) (s string, ok bool) {
	ok = r.decode(name, "a string", &s)
	return s, ok
}

// id reads a bounded string that the server will keep for long.
func (r *claimReader) id(name string) (s string, ok bool) {
	s, ok = r.text(name)
	if len(s) > maxIDBytes {
		r.fail(name, "has %d bytes, at most %d are allowed", len(s), maxIDBytes)
	}
	return s, ok
}

// list reads an array of at most most strings.
func (r *claimReader) list(name string, most int) []string {
	var list []string
	if !r.decode(name, "an array of strings", &list) {
		return nil
	}
	if len(list) > most {
		r.fail(name, "has %d entries, at most %d are allowed", len(list), most)
		return nil
	}
	return list
}

// audience reads what may be a string or an array of them.
func (r *claimReader) audience() []string {
	if raw, ok := r.get("aud"); ok && raw[0] == '"' {
		s, _ := r.text("aud")
		return []string{s}
	}
	return r.list("aud", maxServerSubs)
}

// seconds reads a time in Unix seconds, fractions cut off.
func (r *claimReader) seconds(name string) (int64, bool) {
	raw, ok := r.get(name)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil:
		r.fail(name, "must be a number of seconds since 1970, it is %s", shape(raw))
	case f < 0:
		r.fail(name, "must be a number of seconds since 1970, it is negative")
	case f > lastSecond:
		r.fail(name, "lies after the year 9999, it must be in seconds, not in milliseconds")
	default:
		return int64(f), true
	}
	return 0, false
}

// payload reads raw JSON from one claim, or bytes in base64 from another,
// which wins.
func (r *claimReader) payload(name, name64 string) []byte {
	if s, ok := r.text(name64); ok && s != "" {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			r.fail(name64, "must be standard base64 with padding")
			return nil
		}
		return b
	}
	raw, _ := r.get(name)
	return raw
}

// object opens a nested object. Its mistakes become this reader's.
func (r *claimReader) object(name string) (*claimReader, bool) {
	in := &claimReader{path: r.path + name + "."}
	if !r.decode(name, "an object", &in.claims) {
		return nil, false
	}
	return in, true
}

func (r *claimReader) adopt(in *claimReader) {
	if r.err == nil {
		r.err = in.err
	}
}

func (r *claimReader) channelName(name, channel string) {
	switch {
	case channel == "":
		r.fail(name, "has an empty channel name")
	case len(channel) > MaxPatternBytes:
		r.fail(name, "has a channel name of %d bytes, at most %d are allowed", len(channel), MaxPatternBytes)
	}
}

func (r *claimReader) channels() []string {
	list := r.list("channels", maxServerSubs)
	for _, channel := range list {
		r.channelName("channels", channel)
	}
	return list
}

func (r *claimReader) subs() map[string]SubOptions {
	in, ok := r.object("subs")
	if !ok {
		return nil
	}
	if len(in.claims) > maxServerSubs {
		r.fail("subs", "has %d entries, at most %d are allowed", len(in.claims), maxServerSubs)
		return nil
	}
	subs := make(map[string]SubOptions, len(in.claims))
	for channel := range in.claims {
		r.channelName("subs", channel)
		subs[channel] = SubOptions{}
		if options, ok := in.object(channel); ok {
			subs[channel] = options.subOptions()
			in.adopt(options)
		}
	}
	r.adopt(in)
	return subs
}

func (r *claimReader) subOptions() SubOptions {
	o := SubOptions{
		Info: r.payload("info", "b64info"),
		Data: r.payload("data", "b64data"),
	}
	o.Filter = r.filter("filter")
	if in, ok := r.object("override"); ok {
		o.Override = Override{
			Presence:           in.flag("presence"),
			JoinLeave:          in.flag("join_leave"),
			ForcePushJoinLeave: in.flag("force_push_join_leave"),
			ForcePositioning:   in.flag("force_positioning"),
			ForceRecovery:      in.flag("force_recovery"),
		}
		r.adopt(in)
	}
	return o
}

// filter reads a filter, which is checked here: a token that cannot be meant so
// gives nothing.
func (r *claimReader) filter(name string) *filter.Filter {
	raw, ok := r.get(name)
	if !ok {
		return nil
	}
	f, err := filter.Parse(raw, filter.Limits{})
	if err != nil {
		r.fail(name, "%v", err)
	}
	return f
}

// flag reads an override, which is written {"value": true}.
func (r *claimReader) flag(name string) *bool {
	raw, ok := r.get(name)
	if !ok {
		return nil
	}
	var in struct {
		Value *bool `json:"value"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		r.fail(name, `must be {"value": true} or {"value": false}, it is %s`, shape(raw))
		return nil
	}
	if in.Value == nil {
		in.Value = new(bool)
	}
	return in.Value
}

func (r *claimReader) caps() []Capability {
	var raw []claimSet
	if !r.decode("caps", "an array of objects", &raw) {
		return nil
	}
	if len(raw) > maxCaps {
		r.fail("caps", "has %d entries, at most %d are allowed", len(raw), maxCaps)
		return nil
	}
	caps := make([]Capability, len(raw))
	for i, c := range raw {
		in := &claimReader{claims: c, path: r.path + "caps." + strconv.Itoa(i) + "."}
		caps[i] = in.capability()
		r.adopt(in)
	}
	return caps
}

func (r *claimReader) capability() Capability {
	c := Capability{Channels: r.list("channels", maxCapChannels), Allow: r.verbs("allow"), Filter: r.filter("filter")}
	c.Match, _ = r.text("match")
	if c.Match != MatchExact && c.Match != MatchWildcard {
		r.fail("match", "is %s, want %q or none", quote(c.Match), MatchWildcard)
	}
	for _, pattern := range c.Channels {
		if err := checkPattern(pattern); err != nil {
			r.fail("channels", "has an entry that %v", err)
		}
	}
	return c
}

func (r *claimReader) verbs(name string) []string {
	list := r.list(name, maxCaps)
	for _, short := range list {
		if _, err := ParseVerb(short); err != nil {
			r.fail(name, "has an %v", err)
		}
	}
	return list
}

// maxLimit is the largest number that a limit in a token may have.
const maxLimit = 1_000_000_000

// limits reads the claim of that name.
func (r *claimReader) limits() *Limits {
	in, ok := r.object("limits")
	if !ok {
		return nil
	}
	l := &Limits{
		CommandsPerSecond: in.limit("commands_per_second"),
		PublishPerSecond:  in.limit("publish_per_second"),
		BytesPerSecond:    in.limit("bytes_per_second"),
		Connections:       int(in.limit("connections")),
		Subscriptions:     int(in.limit("subscriptions")),
	}
	for name := range in.claims {
		switch name {
		case "commands_per_second", "publish_per_second", "bytes_per_second", "connections", "subscriptions":
		default:
			// A limit that is misspelt would be none.
			in.fail(name, "is no limit; there are commands_per_second, publish_per_second, bytes_per_second, connections and subscriptions")
		}
	}
	r.adopt(in)
	return l
}

// limit reads a whole number from 1 on, 0 where there is none.
func (r *claimReader) limit(name string) int64 {
	var n int64
	if r.decode(name, "a whole number", &n) && (n < 1 || n > maxLimit) {
		r.fail(name, "is %d, want 1 to %d, or none for no other limit than the server's", n, maxLimit)
		return 0
	}
	return n
}

// shape names the kind of a JSON value, for messages that must not repeat it.
func shape(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// date prints a claim's time for a message.
func date(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}
