package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"myelin/protocol"
)

// ids returns the ids of the commands of a frame.
func ids(f protocol.Format, frame string) ([]uint32, error) {
	var got []uint32
	err := protocol.DecodeCommands(f, []byte(frame), func(c *protocol.Command) error {
		got = append(got, c.Id)
		return nil
	})
	return got, err
}

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     protocol.Format
		frame string
		want  []uint32
	}{
		{"empty", protocol.JSON, "", nil},
		{"blank lines", protocol.JSON, "\n \n\t\r\n", nil},
		{"one", protocol.JSON, `{"id":1}`, []uint32{1}},
		{"trailing newline", protocol.JSON, "{\"id\":1}\n", []uint32{1}},
		{"lines of Windows", protocol.JSON, "{\"id\":1}\r\n\r\n{\"id\":2}\r\n", []uint32{1, 2}},
		{"space around", protocol.JSON, " {\"id\" : 1 } \n\t{\"id\":2}", []uint32{1, 2}},
		{"pong", protocol.JSON, `{}`, []uint32{0}},
		{"null is pong", protocol.JSON, `null`, []uint32{0}},
		{"unknown field", protocol.JSON, `{"x_new":{"a":[1]},"id":3}`, []uint32{3}},
		{"null field", protocol.JSON, `{"id":3,"connect":null}`, []uint32{3}},
		{"largest id", protocol.JSON, `{"id":4294967295}`, []uint32{1<<32 - 1}},
		{"empty", protocol.Protobuf, "", nil},
		{"pong", protocol.Protobuf, "\x00", []uint32{0}},
		{"two", protocol.Protobuf, "\x02\x08\x01\x02\x08\x02", []uint32{1, 2}},
		{"long form of a length", protocol.Protobuf, "\x82\x00\x08\x01", []uint32{1}},
		{"unknown field", protocol.Protobuf, "\x05\x08\x01\xfa\x3e\x00", []uint32{1}},
	} {
		t.Run(c.f.String()+" "+c.name, func(t *testing.T) {
			got, err := ids(c.f, c.frame)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
		})
	}
}

func TestMalformedJSON(t *testing.T) {
	for _, frame := range []string{
		`{`, `}`, `{"id"`, `{"id":`, `{"id":1`, `{"id":1,}`, `{id:1}`, `{'id':1}`, `[]`, `[{"id":1}]`, `1`, `"x"`, `nul`, `true`,
		// What goes on after the message.
		`{"id":1}{"id":2}`, `{"id":1} x`, `{"id":1},`,
		// A key twice, at any level.
		`{"id":1,"id":2}`, `{"id":1,"publish":{"channel":"a","channel":"b"}}`,
		`{"connect":{"headers":{"a":"1","a":"2"}}}`, `{"connect":{"subs":{"a":{},"a":{}}}}`,
		// Another type, or out of range.
		`{"id":"1"}`, `{"id":1.0}`, `{"id":1e0}`, `{"id":-1}`, `{"id":4294967296}`, `{"id":01}`, `{"id":true}`, `{"id":[1]}`,
		`{"publish":[]}`, `{"publish":"x"}`, `{"publish":{"channel":1}}`, `{"subscribe":{"channel":"a","offset":18446744073709551616}}`,
		`{"subscribe":{"recover":1}}`, `{"connect":{"subs":[]}}`, `{"connect":{"headers":{"a":1}}}`,
		// A payload that is not one JSON value.
		`{"publish":{"channel":"a","data":}}`, `{"publish":{"channel":"a","data":{"a":}}}`, `{"publish":{"channel":"a","data":{"a":1,}}}`,
		`{"publish":{"channel":"a","data":[1,2}}}`, `{"publish":{"channel":"a","data":1 2}}`, `{"publish":{"channel":"a","data":tru}}`,
		`{"publish":{"channel":"a","data":"\x"}}`, `{"publish":{"channel":"a","data":"\u12"}}`, `{"publish":{"channel":"a","data":{"deep":[[["` + "\t" + `"]]]}}}`,
		`{"send":{"data":{1:2}}}`, `{"rpc":{"data":NaN}}`, `{"connect":{"data":.5}}`, `{"x_unknown":{"a":}}`,
		// A line break inside a message ends it.
		"{\"id\":\n1}", "{\"publish\":{\"data\":\"a\nb\"}}",
		// Only the four space characters of JSON are space.
		"\v", "\f{}", "\u00a0", "\ufeff{}", "{}\x00",
	} {
		if got, err := ids(protocol.JSON, frame); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q: %v and %v, want ErrMalformed", frame, got, err)
		}
	}
}

// TestNullMessages shows that no list or map of a decoded message has a nil.
func TestNullMessages(t *testing.T) {
	for _, frame := range []string{
		`{"connect":{"subs":{"a":null}}}`, `{"connect":{"subs":{"a":{"tf":{"nodes":[null]}}}}}`,
		`{"subscribe":{"tf":{"nodes":[{"op":"x"},{"nodes":[null]}]}}}`,
		`{"sub_refresh":{"track":[null]}}`, `{"sub_refresh":{"track":[{"items":[null]}]}}`,
	} {
		if _, err := ids(protocol.JSON, frame); !errors.Is(err, protocol.ErrNull) {
			t.Errorf("%s: %v, want ErrNull", frame, err)
		}
	}
	if _, err := protocol.DecodeConnectRequest(protocol.JSON, []byte(`{"subs":{"a":{},"b":null}}`)); !errors.Is(err, protocol.ErrNull) {
		t.Errorf("connect request: %v, want ErrNull", err)
	}
	for _, frame := range []string{
		`{"connect":{"subs":{"a":null}}}`, `{"connect":{"subs":{"a":{"publications":[null]}}}}`,
		`{"subscribe":{"publications":[{},null]}}`, `{"subscribe":{"state":[null]}}`, `{"presence":{"presence":{"a":null}}}`,
		`{"history":{"publications":[null]}}`, `{"sub_refresh":{"items":[null]}}`, `{"push":{"connect":{"subs":{"a":null}}}}`,
	} {
		if _, err := replyCodec().all(protocol.JSON, []byte(frame)); !errors.Is(err, protocol.ErrNull) {
			t.Errorf("%s: %v, want ErrNull", frame, err)
		}
	}
	if _, err := pushCodec().all(protocol.JSON, []byte(`{"connect":{"subs":{"a":null}}}`)); !errors.Is(err, protocol.ErrNull) {
		t.Errorf("push: %v, want ErrNull", err)
	}
	if got, err := ids(protocol.JSON, `{"id":1,"subscribe":{"tf":{"nodes":[{}]}}}`); err != nil || len(got) != 1 {
		t.Errorf("a filter without null: %v", err)
	}
}

func TestMalformedProtobuf(t *testing.T) {
	huge := strings.Repeat("\xff", 9)
	for name, frame := range map[string]string{
		"no message":                   "\x01",
		"length without an end":        "\x80",
		"length beyond the frame":      "\x03\x08\x01",
		"length of 2^63":               "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x08\x01",
		"length of 2^64-1":             huge + "\x01\x08\x01",
		"length of 11 bytes":           huge + "\xff\x01\x08\x01",
		"length that overflows":        huge + "\x02\x08\x01",
		"second is cut":                "\x02\x08\x01\x02\x08",
		"field without a value":        "\x01\x08",
		"value of 11 bytes":            "\x0c\x08" + huge + "\xff\x01",
		"inner length beyond":          "\x03\x3a\x05\x0a",
		"inner length of 2^64-1":       "\x0b\x3a" + huge + "\x01",
		"field number 0":               "\x02\x00\x01",
		"end of no group":              "\x01\x0c",
		"group without an end":         "\x01\x0b",
		"wire type 7":                  "\x02\x0f\x01",
		"channel is not UTF-8":         "\x05\x3a\x03\x0a\x01\xff",
		"map key is not UTF-8":         "\x09\x22\x07\x32\x05\x0a\x01\xff\x12\x00",
		"JSON in place of a Protobuf ": `{"id":1}`,
	} {
		if got, err := ids(protocol.Protobuf, frame); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v and %v, want ErrMalformed", name, got, err)
		}
	}
}

// TestTruncated cuts each example at each byte: what is left is an error or
// the messages before the cut, never more.
func TestTruncated(t *testing.T) {
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		for _, e := range commands() {
			frame := commandCodec().frame(f, e.message)
			for n := 1; n < len(frame); n++ {
				got, err := commandCodec().all(f, frame[:n])
				if len(got) != 0 || !errors.Is(err, protocol.ErrMalformed) {
					t.Errorf("%s %s, %d of %d bytes: %v and %v", f, e.kind, n, len(frame), got, err)
				}
			}
			two := commandCodec().frame(f, e.message, e.message)
			for n := len(frame) + 2; n < len(two); n++ {
				got, err := commandCodec().all(f, two[:n])
				if len(got) != 1 || !errors.Is(err, protocol.ErrMalformed) {
					t.Errorf("%s two %s, %d of %d bytes: %v and %v", f, e.kind, n, len(two), got, err)
				}
			}
		}
	}
}

func TestNotUTF8(t *testing.T) {
	for _, frame := range []string{
		"{\"publish\":{\"channel\":\"\xff\"}}", "{\"publish\":{\"channel\":\"a\",\"data\":\"\xc3\"}}", "{\"id\":1}\xff",
		"{\"publish\":{\"channel\":\"\xed\xa0\x80\"}}", // A surrogate.
		"{\"publish\":{\"channel\":\"\xc0\x80\"}}",     // A long form of NUL.
	} {
		if _, err := ids(protocol.JSON, frame); !errors.Is(err, protocol.ErrNotUTF8) || !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q: %v, want ErrNotUTF8", frame, err)
		}
	}
}

func TestMaxMessages(t *testing.T) {
	for f, one := range map[protocol.Format]string{protocol.JSON: "{}\n", protocol.Protobuf: "\x00"} {
		full := strings.Repeat(one, protocol.MaxMessages)
		if got, err := ids(f, full); err != nil || len(got) != protocol.MaxMessages {
			t.Errorf("%s: %d messages and %v at the limit", f, len(got), err)
		}
		if got, err := ids(f, full+one); !errors.Is(err, protocol.ErrTooManyMessages) || len(got) != protocol.MaxMessages {
			t.Errorf("%s: %d messages and %v above the limit", f, len(got), err)
		}
	}
	blank := strings.Repeat("\n", protocol.MaxMessages+1)
	if got, err := ids(protocol.JSON, blank+`{"id":1}`+blank); err != nil || len(got) != 1 {
		t.Errorf("blank lines count: %d messages and %v", len(got), err)
	}
}

// nested returns a JSON value whose brackets nest as deep as depth.
func nested(depth int) string {
	return strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth)
}

func TestMaxDepth(t *testing.T) {
	at := fmt.Sprintf(`{"id":1,"publish":{"channel":"a","data":%s}}`, nested(protocol.MaxDepth-2))
	above := fmt.Sprintf(`{"id":1,"publish":{"channel":"a","data":%s}}`, nested(protocol.MaxDepth-1))
	if _, err := ids(protocol.JSON, at); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := ids(protocol.JSON, above); !errors.Is(err, protocol.ErrTooDeep) {
		t.Errorf("above the limit: %v", err)
	}
	objects := strings.Repeat(`{"a":`, protocol.MaxDepth) + `1` + strings.Repeat(`}`, protocol.MaxDepth)
	if _, err := ids(protocol.JSON, objects); err != nil {
		t.Errorf("objects at the limit: %v", err)
	}
	if _, err := ids(protocol.JSON, `{"a":`+objects+`}`); !errors.Is(err, protocol.ErrTooDeep) {
		t.Errorf("objects above the limit: %v", err)
	}
	// What is far above costs no stack.
	if _, err := ids(protocol.JSON, strings.Repeat("[", 1<<20)); !errors.Is(err, protocol.ErrTooDeep) {
		t.Errorf("a million brackets: %v", err)
	}
	// Brackets in strings nest nothing, wherever a string seems to end.
	text := `{"publish":{"channel":"\\\"` + strings.Repeat("[", 200) + `\\","data":"` + strings.Repeat(`{\"`, 200) + `"}}`
	if _, err := ids(protocol.JSON, text); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
	// Many brackets side by side are not deep.
	flat := `{"publish":{"data":[` + strings.Repeat("[[]],", 500) + `1]}}`
	if _, err := ids(protocol.JSON, flat); err != nil {
		t.Errorf("side by side: %v", err)
	}
	if _, err := protocol.DecodeConnectRequest(protocol.JSON, []byte(`{"data":`+nested(protocol.MaxDepth-1)+`}`)); err != nil {
		t.Errorf("connect request at the limit: %v", err)
	}
	if _, err := protocol.DecodeConnectRequest(protocol.JSON, []byte(`{"data":`+nested(protocol.MaxDepth)+`}`)); !errors.Is(err, protocol.ErrTooDeep) {
		t.Errorf("connect request above the limit: %v", err)
	}
	if _, err := protocol.DecodeEmulationRequest(protocol.JSON, []byte(`{"data":`+nested(protocol.MaxDepth)+`}`)); !errors.Is(err, protocol.ErrTooDeep) {
		t.Errorf("emulation request above the limit: %v", err)
	}
}

// TestWhatWasPublishedCanBeRead shows that the deepest payload a client may
// publish can be decoded wherever a server wraps it.
func TestWhatWasPublishedCanBeRead(t *testing.T) {
	p := []*protocol.Publication{{Data: raw(nested(protocol.MaxDepth - 2))}}
	result := &protocol.SubscribeResult{Publications: p}
	subs := map[string]*protocol.SubscribeResult{"a": result}
	for _, r := range []*protocol.Reply{
		{History: &protocol.HistoryResult{Publications: p}},
		{Subscribe: result},
		{Connect: &protocol.ConnectResult{Subs: subs}},
		{Push: &protocol.Push{Connect: &protocol.Connect{Subs: subs}}},
	} {
		got, err := replyCodec().all(protocol.JSON, replyCodec().frame(protocol.JSON, r))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
			t.Errorf("%v (%v), want %v", got, err, r)
		}
	}
}

// TestDecodedIsACopy overwrites the frame after decoding and inside fn.
func TestDecodedIsACopy(t *testing.T) {
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		for _, e := range commands() {
			frame := commandCodec().frame(f, e.message)
			original := bytes.Clone(frame)
			got, err := commandCodec().all(f, frame)
			if err != nil || !bytes.Equal(frame, original) {
				t.Fatalf("%s %s: %v, or decoding wrote to the frame", f, e.kind, err)
			}
			for i := range frame {
				frame[i] = 'X'
			}
			if !reflect.DeepEqual(got[0], e.message) {
				t.Errorf("%s %s: overwriting the frame changed the command to %v", f, e.kind, got[0])
			}
		}
	}
	request := []byte(`{"node":"n1","session":"s1","data":"{}"}`)
	got, err := protocol.DecodeEmulationRequest(protocol.JSON, request)
	if err != nil {
		t.Fatal(err)
	}
	copy(request, bytes.Repeat([]byte{'X'}, len(request)))
	if got.Node != "n1" || got.Session != "s1" || string(got.Data) != "{}" {
		t.Errorf("overwriting the request changed it to %v", got)
	}
}

func TestErrorsOfFnStop(t *testing.T) {
	stop := errors.New("stop")
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		calls := 0
		for name, decode := range map[string]func([]byte) error{
			"commands": func(b []byte) error {
				return protocol.DecodeCommands(f, b, func(*protocol.Command) error { calls++; return stop })
			},
			"replies": func(b []byte) error {
				return protocol.DecodeReplies(f, b, func(*protocol.Reply) error { calls++; return stop })
			},
			"pushes": func(b []byte) error {
				return protocol.DecodePushes(f, b, func(*protocol.Push) error { calls++; return stop })
			},
		} {
			calls = 0
			frame := pushCodec().frame(f, &protocol.Push{}, &protocol.Push{})
			if err := decode(frame); err != stop || calls != 1 { //nolint:errorlint // fn's own error, as it is
				t.Errorf("%s %s: %v after %d calls, want the error of fn after one", f, name, err, calls)
			}
		}
	}
}

// TestWhatIsBeforeAnErrorCounts shows that commands before a malformed one
// have reached fn.
func TestWhatIsBeforeAnErrorCounts(t *testing.T) {
	for f, frame := range map[protocol.Format]string{protocol.JSON: "{\"id\":1}\n{\"id\":2}\n{", protocol.Protobuf: "\x02\x08\x01\x02\x08\x02\x05"} {
		if got, err := ids(f, frame); !errors.Is(err, protocol.ErrMalformed) || !slices.Equal(got, []uint32{1, 2}) {
			t.Errorf("%s: %v and %v", f, got, err)
		}
	}
}

// TestErrorsDoNotQuote shows that errors, which are logged, hold nothing of
// what came in.
func TestErrorsDoNotQuote(t *testing.T) {
	for f, frame := range map[protocol.Format]string{
		protocol.JSON:     `{"connect":{"token":"secret","token":"secret"}}`,
		protocol.Protobuf: "\x09\x22\x08\x0a\x06secret\xff",
	} {
		_, err := ids(f, frame)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := protocol.DecodeEmulationRequest(protocol.JSON, []byte(`{"data":"secret`)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("emulation: %v", err)
	}
}

func TestConnectRequest(t *testing.T) {
	want := commands()[1].message.Connect
	inJSON := want.AppendJSON(nil)
	inProtobuf := commandCodec().frame(protocol.Protobuf, commands()[1].message)
	// Of the frame: its length, id 1, and the tag and length of the request.
	_, n := binary.Uvarint(inProtobuf)
	inProtobuf = inProtobuf[n+2+2:]
	for f, b := range map[protocol.Format][]byte{protocol.JSON: inJSON, protocol.Protobuf: inProtobuf} {
		if got, err := protocol.DecodeConnectRequest(f, b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v (%v), want %v", f, got, err, want)
		}
		if _, err := protocol.DecodeConnectRequest(f, append(b, '{')); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s with a byte more: %v", f, err)
		}
	}
	// It is one message, which a line break does not end.
	if got, err := protocol.DecodeConnectRequest(protocol.JSON, []byte("{\n\"token\":\"a\"\n}\n")); err != nil || got.Token != "a" {
		t.Errorf("%v (%v)", got, err)
	}
	if _, err := protocol.DecodeConnectRequest(protocol.JSON, nil); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("nothing: %v", err)
	}
}

func TestEmulationRequest(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"node":"n","session":"s","data":"{\"id\":1}\n{\"id\":2}"}`, "{\"id\":1}\n{\"id\":2}"},
		{`{"node":"n","session":"s","data": "\u007b}" }`, "{}"},
		{`{"node":"n","session":"s","data":{"id":1}}`, `{"id":1}`},
		{`{"node":"n","session":"s"}`, ""},
	} {
		got, err := protocol.DecodeEmulationRequest(protocol.JSON, []byte(c.body))
		if err != nil || string(got.Data) != c.want || got.Node != "n" || got.Session != "s" {
			t.Errorf("%s: %v (%v), want %q", c.body, got, err, c.want)
		}
	}
	got, err := protocol.DecodeEmulationRequest(protocol.Protobuf, []byte("\x0a\x01n\x12\x01s\x1a\x03\x02\x08\x01"))
	if err != nil || got.Node != "n" || got.Session != "s" || string(got.Data) != "\x02\x08\x01" {
		t.Errorf("Protobuf: %v (%v)", got, err)
	}
	for _, body := range []string{`{"data":"\x"}`, `{"data":"`, `{"data":"a"} x`, `{"session":1}`, "{\"data\":\"\xff\"}", ``} {
		if _, err := protocol.DecodeEmulationRequest(protocol.JSON, []byte(body)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q: %v, want ErrMalformed", body, err)
		}
	}
	if _, err := protocol.DecodeEmulationRequest(protocol.Protobuf, []byte("\x0a\x05n")); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("Protobuf cut: %v", err)
	}
}
