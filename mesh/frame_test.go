package mesh_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/mesh"
)

// golden is how frames are on the wire. It changes with the wire version only.
const golden = "testdata/frames.hex"

func TestFramesAreAsTheyWere(t *testing.T) {
	var lines []string
	for _, f := range mesh.Frames() {
		lines = append(lines, hex.EncodeToString(f.Bytes()))
	}
	got := strings.Join(lines, "\n") + "\n"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v; it should have:\n%s", err, got)
	}
	if got != string(want) {
		t.Errorf("frames are\n%swant\n%s", got, want)
	}
}

func TestFramesComeBack(t *testing.T) {
	for _, f := range mesh.Frames() {
		b := f.Bytes()
		got, err := mesh.ParseFrame(b)
		if err != nil {
			t.Errorf("%x: %v", b, err)
			continue
		}
		if !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%x came back as %+v, want %+v", b, got, f)
		}
		for n := range b {
			short, err := mesh.ParseFrame(b[:n])
			if err == nil && bytes.Equal(short.Bytes(), b) {
				t.Errorf("%x was taken for the whole of %x", b[:n], b)
			}
		}
		b[0]++
		if _, err := mesh.ParseFrame(b); err == nil || !strings.Contains(err.Error(), `"node-1.eu" speaks version 2`) {
			t.Errorf("another version: %v", err)
		}
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	f := *mesh.Frames()[6]
	err := channel.ErrConflict.With(strings.Repeat("x", 1<<20))
	mesh.Fail(&f, err)
	got, parseErr := mesh.ParseFrame(f.Bytes())
	if parseErr != nil || !errors.Is(mesh.Failure(got), channel.ErrConflict) || len(f.Bytes()) > 8<<10 {
		t.Errorf("%d bytes, %v", len(f.Bytes()), parseErr)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, frame := range mesh.Frames() {
		f.Add(frame.Bytes())
	}
	f.Add([]byte{2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 'z'})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := mesh.ParseFrame(b)
		if err != nil {
			return
		}
		again, err := mesh.ParseFrame(frame.Bytes())
		if err != nil {
			t.Fatalf("%x was read, and what it is written as was not: %v", b, err)
		}
		if !bytes.Equal(again.Bytes(), frame.Bytes()) {
			t.Fatalf("%+v came back as %+v", frame, again)
		}
	})
}
