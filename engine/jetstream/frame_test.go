package jetstream_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/engine/jetstream"
)

func frames() map[string]jetstream.Frame {
	return map[string]jetstream.Frame{
		"bare":    {Kind: 1},
		"data":    {Kind: 1, Data: []byte(`{"a":1}`)},
		"bytes":   {Kind: 1, ContentType: channel.ContentBytes, Data: []byte{0, 255}},
		"type":    {Kind: 1, ContentType: "text/plain", Data: []byte("x")},
		"tags":    {Kind: 1, Tags: map[string]string{"b": "2", "a": "1", "": ""}, Data: []byte("x")},
		"info":    {Kind: 1, Info: &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte("{}"), ChanInfo: []byte{}}, Data: []byte("x")},
		"nobody":  {Kind: 1, Info: &channel.ClientInfo{}},
		"cleared": {Kind: 2, Last: 77},
		"anchor":  {Kind: 3, Last: 1 << 52},
		"swept":   {Kind: 4, Last: 3},
		"tick":    {Kind: 5},
		"put":     {Kind: 1, Op: channel.OpPut, Key: "k", Prev: 300, Due: 1_790_000_000_000, Time: 1_780_000_000_000, Data: []byte("1")},
		"expire":  {Kind: 1, Op: channel.OpExpire, Key: "k", Prev: 301, Time: 1},
		"score":   {Kind: 1, Op: channel.OpPut, Key: "k", Score: -7, Base: 2, Expires: 1_790_000_000_000, Data: []byte("123")},
		"fleet":   {Kind: 1, Origin: 0x0102030405060708, Time: 1_780_000_000_000, Data: []byte("1")},
	}
}

// TestFrameGolden holds that messages that were written stay readable, and that
// nothing writes them differently. A line is added for a new field, never
// changed.
func TestFrameGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for line := range strings.Lines(string(golden)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		want[name] = text
	}
	for name, f := range frames() {
		b := jetstream.Encode(f)
		if got := hex.EncodeToString(b); got != want[name] {
			t.Errorf("%s %s, want %q", name, got, want[name])
		}
		back, err := jetstream.Decode(b)
		if len(back.Data) == 0 {
			back.Data = nil
		}
		if err != nil || !reflect.DeepEqual(back, f) {
			t.Errorf("%s came back as %+v, %v", name, back, err)
		}
	}
}

func TestFrameOfANewerVersion(t *testing.T) {
	good := jetstream.Encode(frames()["tags"])
	for what, change := range map[string]func(b []byte){
		"another version": func(b []byte) { b[0] = 2 },
		"another kind":    func(b []byte) { b[1] = 99 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := jetstream.Decode(b); !errors.Is(err, jetstream.Newer()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := jetstream.Decode([]byte{1, 1, 0, 0xff, 0xff, 0x7f}); !errors.Is(err, jetstream.Newer()) {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestFrameCutOff(t *testing.T) {
	for name, f := range frames() {
		b := jetstream.Encode(f)
		for n := range len(b) - len(f.Data) {
			if _, err := jetstream.Decode(b[:n]); !errors.Is(err, jetstream.Foreign()) {
				t.Errorf("%s cut off at %d: %v", name, n, err)
			}
		}
	}
}

func TestFrameBaseIsWithinTheData(t *testing.T) {
	for base, whole := range map[int]bool{-1: false, 3: true, 4: false} {
		b := jetstream.Encode(jetstream.Frame{Kind: 1, Op: channel.OpPut, Key: "k", Data: []byte("123"), Base: base})
		if _, err := jetstream.Decode(b); (err == nil) != whole {
			t.Errorf("base %d of 3 bytes: %v", base, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, fr := range frames() {
		f.Add(jetstream.Encode(fr))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := jetstream.Decode(b)
		if err != nil {
			if !errors.Is(err, jetstream.Newer()) && !errors.Is(err, jetstream.Foreign()) {
				t.Fatalf("%v is neither newer nor foreign", err)
			}
			return
		}
		again, err := jetstream.Decode(jetstream.Encode(fr))
		if err != nil || show(again) != show(fr) {
			t.Fatalf("%+v came back as %+v, %v", fr, again, err)
		}
	})
}

func show(f jetstream.Frame) string {
	info := f.Info
	f.Info = nil
	return fmt.Sprintf("%+v %+v", f, info)
}
