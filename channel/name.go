package channel

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes is the longest channel name, in bytes.
const MaxNameBytes = 255

// DefaultNamespace is the name of the namespace of channels without a colon.
const DefaultNamespace = "default"

// CheckName returns nil for a name a channel may have: 1 to [MaxNameBytes]
// bytes of valid UTF-8 without control characters. Otherwise an error of code
// [CodeBadRequest] says which rule was broken.
func CheckName(name string) error {
	switch {
	case name == "":
		return ErrBadRequest.With("the channel name is empty")
	case len(name) > MaxNameBytes:
		return ErrBadRequest.With(fmt.Sprintf("the channel name has %d bytes, at most %d are allowed", len(name), MaxNameBytes))
	case !utf8.ValidString(name):
		return ErrBadRequest.With("the channel name is not valid UTF-8")
	}
	for i, r := range name {
		if unicode.IsControl(r) {
			return ErrBadRequest.With(fmt.Sprintf("the channel name has a control character at byte %d", i))
		}
	}
	return nil
}

// Namespace returns the namespace part of a channel's name: what stands before
// the first colon, or [DefaultNamespace] where there is none.
func Namespace(name string) string {
	if ns, _, ok := strings.Cut(name, ":"); ok {
		return ns
	}
	return DefaultNamespace
}
