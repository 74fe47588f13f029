package protocol

import (
	"unicode/utf8"

	"github.com/centrifugal/fdelta"
	"github.com/centrifugal/protocol/cfjson"

	"myelin/channel"
)

// DeltaFossil is the name of the one kind of patches, in SubscribeRequest.
const DeltaFossil = "fossil"

// FromDelta is FromPublication for a client that takes patches: out.Delta says
// that the data is one, against base. Without a base, or where a patch would be
// longer, it is all of the data. saved is how many bytes shorter the patch is.
//
// To a JSON client either is the text inside a JSON string. Text holds whole
// characters only, so there the patch is one whose pieces do.
func FromDelta(f Format, p, base *channel.Publication, recoverable bool) (out *Publication, saved int) {
	out = FromPublication(f, p, recoverable)
	data := []byte(out.Data)
	if base != nil {
		if patch := createPatch(f, Payload(f, base), data); patch != nil {
			out.Delta = true
			saved = len(data) - len(patch)
			data = patch
		}
	}
	if f == JSON {
		data = cfjson.AppendString(nil, string(data))
	}
	out.Data = data
	return out, saved
}

// createPatch returns a patch that is shorter than data, nil where there is none.
func createPatch(f Format, base, data []byte) []byte {
	patch := fdelta.Create(base, data)
	if f == JSON && !utf8.Valid(patch) {
		if !utf8.Valid(base) {
			return nil
		}
		patch = alignPatch(patch, data)
	}
	if len(patch) == 0 || len(patch) >= len(data) {
		return nil
	}
	return patch
}

// piece is a part of the data that a patch copies from the base.
type piece struct {
	from, to int // in the data
	at       int // in the base
}

// alignPatch returns a patch with the same outcome that is valid UTF-8: what it
// copies is cut back to whole characters of data, and what is between two
// copies is put in. It returns nil where that cannot be, because data is not
// UTF-8.
func alignPatch(patch, data []byte) []byte {
	if !utf8.Valid(data) {
		return nil
	}
	pieces, sum, ok := copies(patch, len(data))
	if !ok {
		return nil
	}
	out := appendNumber(nil, len(data))
	out = append(out, '\n')
	done := 0
	insert := func(to int) {
		if to > done {
			out = appendNumber(out, to-done)
			out = append(out, ':')
			out = append(out, data[done:to]...)
			done = to
		}
	}
	for _, c := range pieces {
		for c.from < c.to && !utf8.RuneStart(data[c.from]) {
			c.from++
			c.at++
		}
		for c.to > c.from && c.to < len(data) && !utf8.RuneStart(data[c.to]) {
			c.to--
		}
		if c.from == c.to {
			continue
		}
		insert(c.from)
		out = appendNumber(out, c.to-c.from)
		out = append(out, '@')
		out = appendNumber(out, c.at)
		out = append(out, ',')
		done = c.to
	}
	insert(len(data))
	out = append(out, sum...)
	return append(out, ';')
}

// copies returns what a patch copies, and its checksum as it is written. size
// is the length of what the patch makes.
func copies(patch []byte, size int) (pieces []piece, sum []byte, ok bool) {
	made, rest, ok := cutNumber(patch)
	if !ok || made != size || len(rest) == 0 || rest[0] != '\n' {
		return nil, nil, false
	}
	rest = rest[1:]
	for done := 0; ; {
		start := rest
		var n int
		if n, rest, ok = cutNumber(rest); !ok || len(rest) == 0 {
			return nil, nil, false
		}
		op := rest[0]
		rest = rest[1:]
		switch op {
		case ';':
			return pieces, start[:len(start)-len(rest)-1], done == size
		case ':':
			if n > len(rest) {
				return nil, nil, false
			}
			rest = rest[n:]
		case '@':
			var at int
			if at, rest, ok = cutNumber(rest); !ok || len(rest) == 0 || rest[0] != ',' {
				return nil, nil, false
			}
			rest = rest[1:]
			pieces = append(pieces, piece{done, done + n, at})
		default:
			return nil, nil, false
		}
		if done += n; done > size {
			return nil, nil, false
		}
	}
}

// patchDigits are those of the numbers in a patch, which have base 64.
const patchDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"

// cutNumber reads a number. Its last bits are what a patch of 4 GiB needs.
func cutNumber(b []byte) (n int, rest []byte, ok bool) {
	i := 0
	for ; i < len(b); i++ {
		d := digitOf(b[i])
		if d < 0 {
			break
		}
		n = n<<6 | d
		if n > 1<<32 {
			return 0, nil, false
		}
	}
	return n, b[i:], i > 0
}

func digitOf(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	case c == '_':
		return 36
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 37
	case c == '~':
		return 63
	}
	return -1
}

func appendNumber(dst []byte, n int) []byte {
	if n == 0 {
		return append(dst, '0')
	}
	var b [11]byte
	i := len(b)
	for ; n > 0; n >>= 6 {
		i--
		b[i] = patchDigits[n&63]
	}
	return append(dst, b[i:]...)
}
