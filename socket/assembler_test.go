package socket_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"myelin/socket"
)

// stream is a sequence of frames that mostly keep the rules.
func stream(t *rapid.T) []byte {
	var b []byte
	open := false
	for range rapid.IntRange(0, 8).Draw(t, "frames") {
		x := f{payload: rapid.OneOf(rapid.StringN(0, 30, 60), rapid.Just(strings.Repeat("é", 100))).Draw(t, "payload")}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1, 2:
			x.op, x.more = opText, rapid.Bool().Draw(t, "more")
		case 3, 4, 5, 6:
			x.op, x.more = opMore, rapid.Bool().Draw(t, "more")
		case 7:
			x.op, x.payload = opPing, x.payload[:min(len(x.payload), 100)]
		case 8:
			x.op, x.more = opBinary, rapid.Bool().Draw(t, "more")
		default:
			x.op = rapid.Byte().Draw(t, "op") & 15
		}
		if !open && x.op == opMore {
			x.op = opText
		}
		open = x.more
		b = append(b, x.bytes()...)
	}
	return b
}

func feed(a *socket.Assembler, pieces ...[]byte) (bool, uint16) {
	for _, b := range pieces {
		if more, code := a.Feed(b); !more {
			return false, code
		}
	}
	return true, 0
}

// chunks cuts b into pieces.
func chunks(t *rapid.T, b []byte) [][]byte {
	var out [][]byte
	for len(b) > 0 {
		n := rapid.IntRange(1, min(len(b), 40)).Draw(t, "n")
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

// However bytes are cut the assembler does the same with them.
func TestAssemblerIgnoresPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := stream(t)
		whole, pieces := socket.NewAssembler(300), socket.NewAssembler(300)
		more, code := feed(whole, b)
		more2, code2 := feed(pieces, chunks(t, b)...)
		if more != more2 || code != code2 || !slices.Equal(whole.Messages, pieces.Messages) || !slices.Equal(whole.Controls, pieces.Controls) {
			t.Fatalf("whole: %v %d %q %q\npieces: %v %d %q %q", more, code, whole.Messages, whole.Controls,
				more2, code2, pieces.Messages, pieces.Controls)
		}
	})
}

// The assembler holds no more than a message, whatever is said of lengths, and
// nothing at all between messages.
func TestAssemblerHoldsLittle(t *testing.T) {
	const limit = 1000
	a := socket.NewAssembler(limit)
	most := 0
	push := func(pieces ...[]byte) {
		t.Helper()
		for _, b := range pieces {
			if more, code := a.Feed(b); !more {
				t.Fatalf("broken: %d", code)
			}
			most = max(most, a.Held())
		}
	}
	fragment := f{op: opMore, more: true, payload: strings.Repeat("x", 100)}.bytes()
	for range 50 {
		push(f{op: opText, more: true}.bytes())
		for range 9 {
			for i := range fragment {
				push(fragment[i : i+1])
			}
			push(f{op: opMore, more: true}.bytes(), ping(strings.Repeat("p", 125)))
		}
		push(f{op: opMore, payload: strings.Repeat("x", 100)}.bytes())
		if held := a.Held(); held != 0 {
			t.Fatalf("%d bytes are held between messages", held)
		}
	}
	// A slice grows by a quarter or to the double; two of them stay below this.
	if most > 4*limit {
		t.Errorf("%d bytes were held for messages of %d", most, limit)
	}
	if len(a.Messages) != 50 {
		t.Errorf("%d messages", len(a.Messages))
	}
}

// After the receiver has had enough nothing more is handed on.
func TestAssemblerStops(t *testing.T) {
	a := socket.NewAssembler(100)
	a.Stop = 2
	if more, code := a.Feed(all(text("a"), text("b"), text("c"))); more || code != 0 || len(a.Messages) != 2 {
		t.Errorf("%v, %d, %q", more, code, a.Messages)
	}
}

// Against the reader of another implementation.
func FuzzParseHeader(fz *testing.F) {
	for _, b := range [][]byte{
		text("x"), ping("y"), f{op: opBinary, payload: strings.Repeat("z", 300)}.bytes(), f{op: opClose, more: true}.bytes(),
		f{op: opText, hasClaim: true, claims: math.MaxUint64}.bytes(),
		{},
		{0x81},
	} {
		fz.Add(b)
	}
	fz.Fuzz(func(t *testing.T, b []byte) {
		h, ok, broken := socket.ParseHeader(b)
		want, err := ws.ReadHeader(bytes.NewReader(b))
		short := err == io.EOF || err == io.ErrUnexpectedEOF //nolint:errorlint // that package returns them bare
		switch {
		case broken != nil:
			if err == nil && ws.CheckHeader(want, ws.StateServerSide) == nil && fewest(b) && !want.OpCode.IsReserved() {
				t.Errorf("%v of a good header %+v", broken, want)
			}
		case ok:
			if err != nil || byte(want.OpCode) != h.Op || want.Fin != h.Fin || uint64(want.Length) != h.Length || want.Mask != h.Mask || h.Size > len(b) {
				t.Errorf("%+v, want %+v, %v", h, want, err)
			}
			if err := ws.CheckHeader(want, ws.StateServerSide); err != nil && want.OpCode != ws.OpContinuation {
				t.Errorf("%+v is good, but %v", h, err)
			}
		case !short:
			t.Errorf("%x is too short, but %+v, %v", b, want, err)
		}
	})
}

// fewest reports whether the length of a header has the fewest bytes.
func fewest(b []byte) bool {
	switch b[1] & 0x7f {
	case 126:
		return binary.BigEndian.Uint16(b[2:]) > 125
	case 127:
		return binary.BigEndian.Uint64(b[2:]) > 65535
	}
	return true
}

// Any bytes, cut anywhere: no panic, no text that is none, bounded memory, the
// same outcome.
func FuzzAssembler(fz *testing.F) {
	fz.Add(all(text("hello"), ping("x"), closing(1000, "bye")), uint64(1))
	fz.Add(all(f{op: opText, more: true, payload: "caf\xc3"}.bytes(), f{op: opMore, payload: "\xa9"}.bytes()), uint64(2))
	fz.Add(all(f{op: opBinary, more: true}.bytes(), f{op: opMore, payload: strings.Repeat("x", 300)}.bytes()), uint64(3))
	fz.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		const limit = 256
		whole, pieces := socket.NewAssembler(limit), socket.NewAssembler(limit)
		more, code := whole.Feed(b)
		random := rand.New(rand.NewPCG(seed, 0))
		more2, code2 := true, uint16(0)
		for rest := b; len(rest) > 0 && more2; {
			n := 1 + random.IntN(min(len(rest), 17))
			more2, code2 = pieces.Feed(rest[:n])
			rest = rest[n:]
			if held := pieces.Held(); more2 && held > 8*limit {
				t.Fatalf("%d bytes are held", held)
			}
		}
		if more != more2 || code != code2 || !slices.Equal(whole.Messages, pieces.Messages) || !slices.Equal(whole.Controls, pieces.Controls) {
			t.Errorf("whole: %v %d %q, pieces: %v %d %q", more, code, whole.Messages, more2, code2, pieces.Messages)
		}
		for _, m := range whole.Messages {
			if len(m) > limit {
				t.Errorf("a message of %d", len(m))
			}
		}
	})
}

// What the server sends is what another implementation reads.
func TestServerFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		payload := bytes.Repeat([]byte("x"), n)
		got, err := readFrame(bytes.NewReader(socket.AppendFrame(nil, ws.OpBinary, payload)))
		if err != nil || !got.Header.Fin || got.Header.Masked || got.Header.OpCode != ws.OpBinary || !bytes.Equal(got.Payload, payload) {
			t.Errorf("%d: %+v, %v", n, got.Header, err)
		}
	}
	for _, reason := range []string{"", "bye", strings.Repeat("x", 123), strings.Repeat("x", 124), strings.Repeat("é", 100), strings.Repeat("€", 100)} {
		got, err := readFrame(bytes.NewReader(socket.AppendClose(nil, 3001, reason)))
		if err != nil || got.Header.Length > 125 || got.Header.OpCode != ws.OpClose {
			t.Fatalf("%q: %+v, %v", reason, got.Header, err)
		}
		code, said := ws.ParseCloseFrameData(got.Payload)
		if code != 3001 || !strings.HasPrefix(reason, said) || !utf8.ValidString(said) || len(said) < min(len(reason), 120) {
			t.Errorf("%q: %d %q", reason, code, said)
		}
	}
}
