package auth

import (
	"encoding/json"
	"errors"
)

// errNoAnswer refuses an answer that is no JSON object.
var errNoAnswer = errors.New("the result is not a JSON object")

// Admission is what a backend says of a connection in place of a token.
type Admission struct {
	*Identity
	// Data goes to the client with the answer to its connect.
	Data []byte
}

// ReadAdmission reads a backend's answer about a connection. Its members are
// the claims of a connection token, but that the user is in "user", and "data"
// or "b64data" beside them; it is held to the same limits.
func ReadAdmission(answer []byte) (*Admission, error) {
	r, err := readAnswer(answer)
	if err != nil {
		return nil, err
	}
	id := &Identity{
		Info: r.payload("info", "b64info"), Channels: r.channels(), Subs: r.subs(), Caps: r.caps(), Limits: r.limits(),
	}
	id.User, _ = r.id("user")
	id.Anonymous = id.User == ""
	id.Meta, _ = r.get("meta")
	id.ExpiresAt, _ = r.seconds("expire_at")
	a := &Admission{Identity: id, Data: r.payload("data", "b64data")}
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

// ReadGrant reads a backend's answer about a subscription. Its members are the
// claims of a subscription token.
func ReadGrant(channel string, answer []byte) (*Grant, error) {
	r, err := readAnswer(answer)
	if err != nil {
		return nil, err
	}
	g := &Grant{Channel: channel, SubOptions: r.subOptions(), Allow: r.verbs("allow")}
	g.ExpiresAt, _ = r.seconds("expire_at")
	if r.err != nil {
		return nil, r.err
	}
	return g, nil
}

// Renewal is what a backend says of something that would end.
type Renewal struct {
	// Expired: it ends now.
	Expired bool
	// ExpiresAt is when it has to be asked again, in Unix seconds; 0 is never.
	ExpiresAt int64
	// Info replaces what others are shown, where it is not nil.
	Info []byte
}

// ReadRenewal reads a backend's answer about a connection or subscription that
// would end.
func ReadRenewal(answer []byte) (Renewal, error) {
	r, err := readAnswer(answer)
	if err != nil {
		return Renewal{}, err
	}
	out := Renewal{Expired: r.flagged("expired")}
	out.ExpiresAt, _ = r.seconds("expire_at")
	out.Info = r.payload("info", "b64info")
	return out, r.result(nil)
}

// flagged reads a plain boolean.
func (r *claimReader) flagged(name string) (on bool) {
	r.decode(name, "true or false", &on)
	return on
}

func readAnswer(answer []byte) (*claimReader, error) {
	r := new(claimReader)
	if err := json.Unmarshal(answer, &r.claims); err != nil || r.claims == nil {
		return nil, errNoAnswer
	}
	return r, nil
}
