package protocol_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"myelin/protocol"
)

var update = flag.Bool("update", false, "write the golden files")

// codec is how one family of messages goes to and from bytes.
type codec[M any] struct {
	name   string
	encode func([]byte, protocol.Format, *M) []byte
	decode func(protocol.Format, []byte, func(*M) error) error
}

func commandCodec() codec[protocol.Command] {
	return codec[protocol.Command]{"commands", protocol.AppendCommand, protocol.DecodeCommands}
}

func replyCodec() codec[protocol.Reply] {
	return codec[protocol.Reply]{"replies", protocol.AppendReply, protocol.DecodeReplies}
}

func pushCodec() codec[protocol.Push] {
	return codec[protocol.Push]{"pushes", protocol.AppendPush, protocol.DecodePushes}
}

// frame returns the frame of some messages.
func (c codec[M]) frame(f protocol.Format, messages ...*M) []byte {
	var b []byte
	for i, m := range messages {
		if i > 0 {
			b = protocol.AppendDelimiter(b, f)
		}
		b = c.encode(b, f, m)
	}
	return b
}

// all returns the messages of a frame.
func (c codec[M]) all(f protocol.Format, frame []byte) ([]*M, error) {
	var got []*M
	err := c.decode(f, frame, func(m *M) error { got = append(got, m); return nil })
	return got, err
}

func TestGoldenCommands(t *testing.T) { golden(t, commandCodec(), commands()) }
func TestGoldenReplies(t *testing.T)  { golden(t, replyCodec(), replies()) }
func TestGoldenPushes(t *testing.T)   { golden(t, pushCodec(), pushes()) }

// golden holds the bytes of each example in both formats against a file, and
// the example against what the file's bytes decode to.
func golden[M any](t *testing.T, c codec[M], examples []example[M]) {
	path := filepath.Join("testdata", c.name+".golden")
	if *update {
		var b bytes.Buffer
		for _, e := range examples {
			fmt.Fprintf(&b, "# %s\njson %s\nprotobuf %x\n\n", e.kind, c.frame(protocol.JSON, e.message), c.frame(protocol.Protobuf, e.message))
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries := strings.Split(strings.TrimSpace(string(file)), "\n\n")
	if len(entries) != len(examples) {
		t.Fatalf("%d entries in %s, %d examples: run go test ./protocol -update", len(entries), path, len(examples))
	}
	for i, e := range examples {
		t.Run(e.kind, func(t *testing.T) { goldenEntry(t, c, e, entries[i]) })
	}
}

func goldenEntry[M any](t *testing.T, c codec[M], e example[M], entry string) {
	kind, body, _ := strings.Cut(entry, "\n")
	inJSON, inHex, _ := strings.Cut(body, "\n")
	inProtobuf, err := hex.DecodeString(strings.TrimPrefix(inHex, "protobuf "))
	if err != nil || kind != "# "+e.kind {
		t.Fatalf("the entry is not of kind %q: %q %v", e.kind, entry, err)
	}
	for f, want := range map[protocol.Format][]byte{
		protocol.JSON: []byte(strings.TrimPrefix(inJSON, "json ")), protocol.Protobuf: inProtobuf,
	} {
		if got := c.frame(f, e.message); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded\n%q, golden\n%q", f, got, want)
		}
		got, err := c.all(f, want)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], e.message) {
			t.Errorf("%s: decoded %v (%v), want %v", f, got, err, e.message)
		}
	}
}

// TestWireByHand holds a few frames against bytes written from the public
// documents, not by this codec.
func TestWireByHand(t *testing.T) {
	publish := &protocol.Command{Id: 1, Publish: &protocol.PublishRequest{Channel: "a", Data: raw(`{}`)}}
	push := &protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: &protocol.Publication{Data: raw(`{}`), Offset: 300}}}
	for _, c := range []struct {
		name      string
		got, want []byte
	}{
		{"command in JSON", commandCodec().frame(protocol.JSON, publish), []byte(`{"id":1,"publish":{"channel":"a","data":{}}}`)},
		// Length 11, field 1 = 1, field 7 of length 7: field 1 "a", field 2 "{}".
		{"command in Protobuf", commandCodec().frame(protocol.Protobuf, publish), []byte("\x0b\x08\x01\x3a\x07\x0a\x01a\x12\x02{}")},
		{"push in JSON", replyCodec().frame(protocol.JSON, push), []byte(`{"push":{"channel":"a","pub":{"data":{},"offset":300}}}`)},
		// Length 14, field 4 of length 12: field 2 "a", field 4 of length 7:
		// field 4 "{}", field 6 = 300.
		{"push in Protobuf", replyCodec().frame(protocol.Protobuf, push), []byte("\x0e\x22\x0c\x12\x01a\x22\x07\x22\x02{}\x30\xac\x02")},
		{"two commands in JSON", commandCodec().frame(protocol.JSON, &protocol.Command{Id: 1}, &protocol.Command{Id: 2}), []byte("{\"id\":1}\n{\"id\":2}")},
		{"two commands in Protobuf", commandCodec().frame(protocol.Protobuf, &protocol.Command{Id: 1}, &protocol.Command{Id: 2}), []byte("\x02\x08\x01\x02\x08\x02")},
		{"ping in JSON", replyCodec().frame(protocol.JSON, &protocol.Reply{}), []byte("{}")},
		{"ping in Protobuf", replyCodec().frame(protocol.Protobuf, &protocol.Reply{}), []byte{0}},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

// TestEveryKindIsAnExample fails when the codec gains a kind of message that
// the goldens do not show.
func TestEveryKindIsAnExample(t *testing.T) {
	shown := make(map[string]bool)
	note := func(m any) {
		v := reflect.ValueOf(m).Elem()
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Type.Kind() == reflect.Pointer && !v.Field(i).IsNil() {
				shown[v.Type().Name()+"."+field.Name] = true
			}
		}
	}
	for _, e := range commands() {
		note(e.message)
	}
	for _, e := range replies() {
		note(e.message)
	}
	for _, e := range pushes() {
		note(e.message)
	}
	for _, m := range []any{protocol.Command{}, protocol.Reply{}, protocol.Push{}} {
		for field := range reflect.TypeOf(m).Fields() {
			if name := reflect.TypeOf(m).Name() + "." + field.Name; field.IsExported() && field.Type.Kind() == reflect.Pointer && !shown[name] {
				t.Errorf("no example has %s", name)
			}
		}
	}
}
