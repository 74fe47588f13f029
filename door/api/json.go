package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"myelin/channel"
	"myelin/protocol"
)

// checkJSON returns nil for one JSON value in UTF-8, nested at most MaxDepth
// deep, with nothing behind it. What it let through the functions below walk
// without looking for errors.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return channel.ErrBadRequest.With("the body is not valid UTF-8")
	}
	if depth(body) > MaxDepth {
		return channel.ErrBadRequest.With(fmt.Sprintf("the body is nested deeper than %d", MaxDepth))
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		at := ""
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = " at byte " + strconv.FormatInt(e.Offset, 10)
		}
		return channel.ErrBadRequest.With("the body is not JSON: " + err.Error() + at)
	}
	return nil
}

// depth returns how deep the brackets of a text nest, not looking into strings.
func depth(b []byte) int {
	level, deepest := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		}
	}
	return deepest
}

// stringEnd returns where the string that begins at i ends, quote included.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(b []byte, i int) int {
	for level := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			level++
		case '}', ']':
			if level == 0 {
				return i
			}
			level--
		case ',', ':', ' ', '\t', '\r', '\n':
			if level == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if level == 0 {
			return i + 1
		}
	}
	return len(b)
}

// skip returns where the next thing begins: white space, commas and colons do
// not matter in what has been checked.
func skip(b []byte, i int) int {
	for i < len(b) && strings.IndexByte(" \t\r\n,:", b[i]) >= 0 {
		i++
	}
	return i
}

// members calls fn for each member of the object raw until one fails.
func members(raw []byte, fn func(name, value []byte) error) error {
	for i := skip(raw, 1); i < len(raw) && raw[i] != '}'; i = skip(raw, i) {
		end := stringEnd(raw, i)
		name := raw[i:end]
		i = skip(raw, end)
		end = valueEnd(raw, i)
		if err := fn(name, raw[i:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// elements calls fn for each element of the list raw until one fails.
func elements(raw []byte, fn func(i int, value []byte) error) error {
	n := 0
	for i := skip(raw, 1); i < len(raw) && raw[i] != ']'; i = skip(raw, i) {
		end := valueEnd(raw, i)
		if err := fn(n, raw[i:end]); err != nil {
			return err
		}
		i = end
		n++
	}
	return nil
}

// text returns the text of a JSON string. Half a surrogate pair is refused:
// decoding would make another text of it.
func text(raw []byte) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if protocol.HalfSurrogate(raw) {
		return "", errors.New("half a surrogate pair")
	}
	return s, nil
}
