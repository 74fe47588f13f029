package protocol_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"myelin/protocol"
)

// What each fuzzer checks, whatever the bytes: decoding does not panic and
// does not write to its input; an error is an ErrMalformed; an error of the
// callback comes back as it is; and what was decoded encodes to a frame that
// decodes to the same.

func FuzzDecodeCommandsJSON(f *testing.F) { fuzzFrames(f, protocol.JSON, commandCodec(), commands()) }

func FuzzDecodeCommandsProtobuf(f *testing.F) {
	fuzzFrames(f, protocol.Protobuf, commandCodec(), commands())
}

func FuzzDecodeRepliesJSON(f *testing.F) { fuzzFrames(f, protocol.JSON, replyCodec(), replies()) }

func FuzzDecodeRepliesProtobuf(f *testing.F) {
	fuzzFrames(f, protocol.Protobuf, replyCodec(), replies())
}

func FuzzDecodePushesJSON(f *testing.F) { fuzzFrames(f, protocol.JSON, pushCodec(), pushes()) }

func FuzzDecodePushesProtobuf(f *testing.F) { fuzzFrames(f, protocol.Protobuf, pushCodec(), pushes()) }

func fuzzFrames[M any](f *testing.F, format protocol.Format, c codec[M], seeds []example[M]) {
	var all []*M
	for _, s := range seeds {
		f.Add(c.frame(format, s.message))
		all = append(all, s.message)
	}
	f.Add(c.frame(format, all...))
	for _, s := range []string{
		"", "\n", "\x00", "{}\n{}\n", `{"id":1,"x":[{"y":null}]}`, `{"connect":{"subs":{"a":null}}}`, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		`{"subscribe":{"channel":"\ud83d\ude00\u0000","tf":{"op":"and","nodes":[{"op":"or","vals":["a"]}]}}}`, "\x04\xfa\x3e\x01\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		input := bytes.Clone(frame)
		got, err := c.all(format, frame)
		if !bytes.Equal(input, frame) {
			t.Fatal("decoding wrote to the frame")
		}
		if err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("not an ErrMalformed: %v", err)
		}
		if len(got) > protocol.MaxMessages {
			t.Fatalf("%d messages", len(got))
		}
		if len(got) == 0 {
			return
		}
		stop := errors.New("stop")
		if err := c.decode(format, frame, func(*M) error { return stop }); err != stop { //nolint:errorlint // as it is
			t.Fatalf("%v is not the error of the callback", err)
		}
		again := c.frame(format, got...)
		back, err := c.all(format, again)
		if err != nil || len(back) != len(got) {
			t.Fatalf("%d of %d messages of\n%q came back: %v", len(back), len(got), again, err)
		}
		for i := range got {
			if !same(reflect.ValueOf(got[i]), reflect.ValueOf(back[i])) {
				t.Fatalf("message %d is\n%v after encoding, was\n%v", i, back[i], got[i])
			}
		}
	})
}

func FuzzDecodeConnectRequest(f *testing.F) {
	for _, s := range []string{`{"token":"a","data":{"a":[1]},"subs":{"x":{"recover":true}}}`, "{\n}", "null", "\x0a\x01a\x12\x02{}", ""} {
		f.Add(true, []byte(s))
		f.Add(false, []byte(s))
	}
	f.Fuzz(func(t *testing.T, inJSON bool, b []byte) {
		format := formatOf(inJSON)
		input := bytes.Clone(b)
		got, err := protocol.DecodeConnectRequest(format, b)
		if !bytes.Equal(input, b) {
			t.Fatal("decoding wrote to the request")
		}
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) || got != nil {
				t.Fatalf("%v and %v", got, err)
			}
			return
		}
		command := &protocol.Command{Id: 1, Connect: got}
		back, err := commandCodec().all(format, commandCodec().frame(format, command))
		if errors.Is(err, protocol.ErrTooDeep) {
			return // The command is one level deeper than the request.
		}
		if err != nil || len(back) != 1 {
			t.Fatalf("%v did not come back: %v", got, err)
		}
		// Line breaks between the tokens of a payload do not survive encoding.
		if !bytes.ContainsRune(b, '\n') && !same(reflect.ValueOf(command), reflect.ValueOf(back[0])) {
			t.Fatalf("%v after encoding, was %v", back[0], command)
		}
	})
}

func FuzzDecodeEmulationRequest(f *testing.F) {
	for _, s := range []string{
		`{"node":"n","session":"s","data":"{\"id\":1}\n{}"}`, `{"data":{"id":1}}`, `{"data":"\u007b\ud800"}`, "\x0a\x01n\x12\x01s\x1a\x03\x02\x08\x01", "null", "",
	} {
		f.Add(true, []byte(s))
		f.Add(false, []byte(s))
	}
	f.Fuzz(func(t *testing.T, inJSON bool, b []byte) {
		format := formatOf(inJSON)
		input := bytes.Clone(b)
		got, err := protocol.DecodeEmulationRequest(format, b)
		if !bytes.Equal(input, b) {
			t.Fatal("decoding wrote to the request")
		}
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) || got != nil {
				t.Fatalf("%v and %v", got, err)
			}
			return
		}
		if _, err := commandCodec().all(format, got.Data); err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("the commands inside: %v", err)
		}
	})
}

func formatOf(inJSON bool) protocol.Format {
	if inJSON {
		return protocol.JSON
	}
	return protocol.Protobuf
}

// same reports whether two messages are equal, taking what is empty for what
// is missing, because that is how it is encoded.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for field, value := range a.Fields() {
			if field.IsExported() && !same(value, b.FieldByIndex(field.Index)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if other := b.MapIndex(key); !other.IsValid() || !same(a.MapIndex(key), other) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}
