package auth

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
)

// Raw is the claims of a token for whom they mean something else than to
// Myelin: its signature, times and parties have been checked, nothing else.
type Raw struct {
	// Type is the header "typ", as it stands there.
	Type string
	// Claims are raw JSON.
	Claims map[string]json.RawMessage
}

// Raw checks a token and returns what it says. Its errors are of type *Error.
func (v *Verifier) Raw(token string) (*Raw, error) {
	r, err := v.verify(token)
	if err != nil {
		return nil, err
	}
	out := &Raw{Claims: maps.Clone(r.claims)}
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		Type any `json:"typ"`
	}
	if err == nil && json.Unmarshal(b, &header) == nil {
		out.Type, _ = header.Type.(string)
	}
	return out, nil
}
