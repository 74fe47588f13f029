package api

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"myelin/channel"
)

// kind is what may stand at a place of a request.
type kind uint8

const (
	kindAny     kind = iota // any JSON value
	kindText                // a string
	kindFlag                // true or false
	kindWhole               // a whole number, maybe negative
	kindCount               // a whole number from 0
	kindObject              // an object of known names
	kindList                // a list of one kind
	kindTextMap             // an object of any names, of one kind
)

// shape is what a part of a request may be. It is derived from the struct that
// the part is decoded into, and stricter than encoding/json: names have one
// spelling and stand once, null is nothing but a missing member.
type shape struct {
	kind kind
	// low and high bound a number.
	low  int64
	high uint64
	// fields and names are an object's, elem is that of a list or map.
	fields map[string]*shape
	names  []string
	elem   *shape
}

// shapeOf returns the shape of a request type: structs of the types below, with
// json tags.
func shapeOf(t reflect.Type) *shape {
	if t == reflect.TypeFor[json.RawMessage]() {
		return &shape{kind: kindAny}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.String:
		return &shape{kind: kindText}
	case reflect.Bool:
		return &shape{kind: kindFlag}
	case reflect.Int32:
		return &shape{kind: kindWhole, low: math.MinInt32, high: math.MaxInt32}
	case reflect.Int64:
		return &shape{kind: kindWhole, low: math.MinInt64, high: math.MaxInt64}
	case reflect.Uint32:
		return &shape{kind: kindCount, high: math.MaxUint32}
	case reflect.Uint64:
		return &shape{kind: kindCount, high: math.MaxUint64}
	case reflect.Slice:
		return &shape{kind: kindList, elem: shapeOf(t.Elem())}
	case reflect.Map:
		return &shape{kind: kindTextMap, elem: shapeOf(t.Elem())}
	case reflect.Struct:
		s := &shape{kind: kindObject, fields: make(map[string]*shape, t.NumField())}
		for f := range t.Fields() {
			name := f.Tag.Get("json")
			s.fields[name] = shapeOf(f.Type)
			s.names = append(s.names, name)
		}
		return s
	default:
		panic("api: a request cannot hold a " + t.String())
	}
}

// String returns what the shape is called in an error.
func (s *shape) String() string {
	switch s.kind {
	case kindText:
		return "text"
	case kindFlag:
		return "true or false"
	case kindWhole, kindCount:
		return fmt.Sprintf("a whole number from %d to %d", s.low, s.high)
	case kindList:
		return "a list"
	case kindObject, kindTextMap:
		return "an object"
	default:
		return "any JSON"
	}
}

// check returns nil where raw, which is valid JSON, has the shape. at is where
// it stands in the request.
func (s *shape) check(at string, raw []byte) error {
	if s.kind == kindAny {
		return nil
	}
	if !s.admits(raw) {
		return channel.ErrBadRequest.With(fmt.Sprintf("%s must be %s, not %s", place(at), s, nameOf(raw)))
	}
	switch s.kind {
	case kindText:
		if _, err := text(raw); err != nil {
			return channel.ErrBadRequest.With(fmt.Sprintf("%s is not text: %s", place(at), err))
		}
	case kindList:
		return elements(raw, func(i int, value []byte) error {
			return s.elem.check(at+"["+strconv.Itoa(i)+"]", value)
		})
	case kindObject, kindTextMap:
		return s.checkMembers(at, raw)
	}
	return nil
}

// admits reports whether raw begins as the shape has to, and a number is one
// that the field can hold.
func (s *shape) admits(raw []byte) bool {
	switch s.kind {
	case kindText:
		return raw[0] == '"'
	case kindFlag:
		return raw[0] == 't' || raw[0] == 'f'
	case kindWhole:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		return err == nil && n >= s.low && (n < 0 || uint64(n) <= s.high)
	case kindCount:
		n, err := strconv.ParseUint(string(raw), 10, 64)
		return err == nil && n <= s.high
	case kindList:
		return raw[0] == '['
	default:
		return raw[0] == '{'
	}
}

func (s *shape) checkMembers(at string, raw []byte) error {
	seen := make(map[string]struct{})
	return members(raw, func(quoted, value []byte) error {
		name, err := text(quoted)
		if err != nil {
			return channel.ErrBadRequest.With(fmt.Sprintf("a name in %s is not text: %s", place(at), err))
		}
		if _, again := seen[name]; again {
			return channel.ErrBadRequest.With(fmt.Sprintf("%s is given twice", join(at, name)))
		}
		seen[name] = struct{}{}
		if s.kind == kindTextMap {
			return s.elem.check(join(at, name), value)
		}
		f, known := s.fields[name]
		if !known {
			return channel.ErrBadRequest.With(s.unknown(at, name))
		}
		if raw := string(value); raw == "null" && f.kind != kindAny {
			return nil
		}
		return f.check(join(at, name), value)
	})
}

// unknown says what is wrong with a name the shape does not have.
func (s *shape) unknown(at, name string) string {
	msg := "unknown field " + join(at, name)
	switch near := nearest(name, s.names); {
	case near != "":
		msg += "; did you mean " + near + "?"
	case len(s.names) == 0:
		msg += "; there are none here"
	default:
		msg += "; known are " + strings.Join(slices.Sorted(slices.Values(s.names)), ", ")
	}
	return msg
}

// place names a part of a request.
func place(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}

// longestName is how much of a name from a request an error repeats.
const longestName = 64

// join returns the place of a member.
func join(at, name string) string {
	if len(name) > longestName {
		name = strings.ToValidUTF8(name[:longestName], "") + "..."
	}
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		name = strconv.Quote(name)
	}
	if at == "" {
		return name
	}
	return at + "." + name
}

// nameOf says what a JSON value is.
func nameOf(raw []byte) string {
	switch raw[0] {
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	case '[':
		return "a list"
	case '{':
		return "an object"
	}
	if len(raw) > longestName {
		return "a number of " + strconv.Itoa(len(raw)) + " digits"
	}
	return string(raw)
}
