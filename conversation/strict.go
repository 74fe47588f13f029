package conversation

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"myelin/channel"
	"myelin/protocol"
)

// decodeStrict reads the JSON of an rpc, in which every name has to mean
// something: a condition or a deadline that is spelled wrong must not count for
// nothing.
func decodeStrict(method, takes string, data []byte, into any) error {
	// What goes out to JSON clients as text must be text; the decoder does not
	// look into what it passes on as it is.
	if !utf8.Valid(data) {
		return channel.ErrBadRequest.With(method + " takes JSON, and JSON is UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return channel.ErrBadRequest.With(method + " takes " + takes + ": " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return channel.ErrBadRequest.With(method + " takes one JSON value, and something stands behind it")
	}
	return nil
}

// text is a text that arrived as it was sent. JavaScript cuts strings between
// the halves of a surrogate pair where it is told to, and what a decoder makes
// of a half is another text, the same for each of them.
type text string

// UnmarshalJSON refuses half a surrogate pair.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if protocol.HalfSurrogate(raw) {
		return errors.New("half a surrogate pair is no text; send the two halves together")
	}
	*t = text(s)
	return nil
}
