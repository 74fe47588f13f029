package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/centrifugal/fdelta"
	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/protocol"
)

// apply is what a client does with the data of a publication.
func apply(t interface{ Fatal(...any) }, f protocol.Format, out *protocol.Publication, base []byte) []byte {
	data := []byte(out.Data)
	if f == protocol.JSON {
		var text string
		if err := json.Unmarshal(data, &text); err != nil || !utf8.Valid(data) {
			t.Fatal("not a JSON string: ", string(data), err)
		}
		data = []byte(text)
	}
	if !out.Delta {
		return data
	}
	got, err := fdelta.Apply(base, data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func pub(data string) *channel.Publication {
	return &channel.Publication{Data: []byte(data), Position: channel.Position{Offset: 7}}
}

func TestDelta(t *testing.T) {
	const long = `{"name":"pump 7","state":"running","pressure":17.25,"temperature":80.5,"note":"`
	for _, c := range []struct {
		name, base, data string
		patched          bool
	}{
		{"a small change", long + `a"}`, long + `b"}`, true},
		{"nothing in common", long, `{"x":1}`, false},
		{"the same", long + `"}`, long + `"}`, true},
		{"no base", "", long + `a"}`, false},
		// é is c3 a9, è is c3 a8: a patch of bytes cuts between the two.
		{"within a character", long + `aé"}`, long + `aè"}`, true},
		{"within many", long + `αβγδεζηθικλμν"}`, long + `αβγδεζηθιξλμν"}`, true},
		{"emoji", long + "\U0001F600\U0001F601\U0001F602\"}", long + "\U0001F600\U0001F603\U0001F602\"}", true},
	} {
		for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
			var base *channel.Publication
			if c.base != "" {
				base = pub(c.base)
			}
			out, saved := protocol.FromDelta(f, pub(c.data), base, true)
			if out.Delta != c.patched || (saved > 0) != c.patched || out.Offset != 7 {
				t.Errorf("%s in %v: patched %v, saved %d", c.name, f, out.Delta, saved)
			}
			if got := apply(t, f, out, []byte(c.base)); string(got) != c.data {
				t.Errorf("%s in %v: %s", c.name, f, got)
			}
		}
	}
}

func TestDeltaOfBytes(t *testing.T) {
	base, p := pub(strings.Repeat("\xff\x00", 50)+"\x01"), pub(strings.Repeat("\xff\x00", 50)+"\x02")
	base.ContentType, p.ContentType = channel.ContentBytes, channel.ContentBytes
	out, _ := protocol.FromDelta(protocol.Protobuf, p, base, true)
	if got := apply(t, protocol.Protobuf, out, base.Data); !out.Delta || string(got) != string(p.Data) {
		t.Errorf("%q", got)
	}
	out, _ = protocol.FromDelta(protocol.JSON, p, base, true)
	if got := apply(t, protocol.JSON, out, protocol.Payload(protocol.JSON, base)); !out.Delta || string(got) != string(protocol.Payload(protocol.JSON, p)) {
		t.Errorf("%q", got)
	}
}

// TestDeltaOfAnything changes texts at random places.
func TestDeltaOfAnything(t *testing.T) {
	piece := rapid.StringOfN(rapid.SampledFrom([]rune("abcäöüßéèαβγδ日本語\U0001F600\U0001F601\"\\")), 0, 40, -1)
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(piece, 1, 8).Draw(t, "parts")
		base := strings.Join(parts, "|")
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			parts[rapid.IntRange(0, len(parts)-1).Draw(t, "place")] = piece.Draw(t, "new")
		}
		data := strings.Join(parts, "|")
		for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
			out, _ := protocol.FromDelta(f, pub(data), pub(base), false)
			if got := apply(t, f, out, []byte(base)); string(got) != data {
				t.Fatalf("%v: %q", f, got)
			}
		}
	})
}

// FuzzDelta holds the same of bytes that may be no text.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("aéb"), []byte("aèb"))
	f.Add([]byte(strings.Repeat("äöü", 20)), []byte(strings.Repeat("äöü", 19)+"äöé"))
	f.Add([]byte("\xff"), []byte(strings.Repeat("\xc3", 40)))
	f.Fuzz(func(t *testing.T, base, data []byte) {
		out, _ := protocol.FromDelta(protocol.Protobuf, &channel.Publication{Data: data}, &channel.Publication{Data: base}, false)
		if got := apply(t, protocol.Protobuf, out, base); string(got) != string(data) {
			t.Fatalf("%q", got)
		}
		if !utf8.Valid(base) || !utf8.Valid(data) {
			return
		}
		out, _ = protocol.FromDelta(protocol.JSON, &channel.Publication{Data: data}, &channel.Publication{Data: base}, false)
		if got := apply(t, protocol.JSON, out, base); string(got) != string(data) {
			t.Fatalf("%q", got)
		}
	})
}
