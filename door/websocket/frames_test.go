package websocket_test

import (
	"fmt"
	"strings"
	"testing"

	"myelin/conversation/conversationtest"
)

// A case is what a client sends, in one write or in several, and what it gets.
// Where the connection has to live the last frame is answered: see alive.
type frames struct {
	name string
	send [][]byte
	want []string
}

// alive ends a case whose connection goes on: a probe and its answer.
func alive(name string, send []byte, want ...string) frames {
	return frames{name, [][]byte{all(send, text(say("probe")))}, append(want, "echo probe")}
}

// broken is a case that ends with a close code.
func broken(name string, code int, send ...[]byte) frames {
	return frames{name, send, []string{fmt.Sprintf("close %d", code), "end"}}
}

// run runs every case over a bare socket and over what is none, such as TLS.
func run(t *testing.T, cases []frames) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		seen[c.name] = true
	}
	for kind, s := range map[string]*stage{
		"socket": newStage(t, conversationtest.Options{}), "stream": newVeiledStage(t, conversationtest.Options{}),
	} {
		t.Run(kind, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					p := s.listening(t)
					for _, b := range c.send {
						p.send(b)
					}
					p.wantsInTurn(c.want)
				})
			}
		})
	}
	t.Logf("%d cases", len(cases))
}

// RFC 6455 section 5.2: reserved bits, opcodes, masking.
func TestHeaders(t *testing.T) {
	var cases []frames
	ops := map[byte]string{opMore: "continuation", opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong"}
	for op, name := range ops {
		for rsv := byte(1); rsv < 8; rsv++ {
			cases = append(cases, broken(fmt.Sprintf("%s with reserved bits %d", name, rsv), 1002, f{op: op, rsv: rsv}.bytes()))
		}
		cases = append(cases, broken(name+", not masked", 1002, f{op: op, bare: true}.bytes()))
		cases = append(cases, broken(name+", not masked, with a payload", 1002, f{op: op, bare: true, payload: say("x")}.bytes()))
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(cases,
			broken(fmt.Sprintf("opcode %d", op), 1002, f{op: op, payload: "x"}.bytes()),
			broken(fmt.Sprintf("opcode %d, not final", op), 1002, f{op: op, more: true}.bytes()),
			broken(fmt.Sprintf("opcode %d behind a message", op), 1002, f{op: op}.bytes()))
		last := &cases[len(cases)-1]
		last.send = [][]byte{all(text(say("before")), last.send[0], text(say("after")))}
		last.want = append([]string{"echo before"}, last.want...)
	}
	cases = append(cases,
		alive("a mask of zeros", zeroMask(say("x")), "echo x"),
		broken("reserved bits on the second frame", 1002, f{op: opText, more: true, payload: "{"}.bytes(), f{op: opMore, rsv: 4, payload: "}"}.bytes()),
	)
	run(t, cases)
}

// zeroMask masks with zeros, which a client may draw.
func zeroMask(s string) []byte {
	b := f{op: opText, payload: s, bare: true}.bytes()
	b[1] |= 0x80
	return all(b[:2], make([]byte, 4), b[2:])
}

// Section 5.5: control frames.
func TestControlFrames(t *testing.T) {
	var cases []frames
	for _, n := range []int{0, 1, 2, 124, 125} {
		payload := strings.Repeat("p", n)
		cases = append(cases, alive(fmt.Sprintf("ping of %d", n), ping(payload), "pong "+payload))
		cases = append(cases, alive(fmt.Sprintf("pong of %d that nobody asked for", n), f{op: opPong, payload: payload}.bytes()))
	}
	cases = append(cases,
		alive("ping of bytes that are no text", ping("\xff\x00\xfe"), "pong \xff\x00\xfe"),
		alive("ten pings", all(ping("0"), ping("1"), ping("2"), ping("3"), ping("4"), ping("5"), ping("6"), ping("7"), ping("8"), ping("9")),
			"pong 0", "pong 1", "pong 2", "pong 3", "pong 4", "pong 5", "pong 6", "pong 7", "pong 8", "pong 9"),
		alive("a ping between messages", all(text(say("a")), ping("x"), text(say("b"))), "echo a", "pong x", "echo b"),
	)
	for op, name := range map[byte]string{opClose: "close", opPing: "ping", opPong: "pong"} {
		cases = append(cases,
			broken(name+" of 126", 1002, f{op: op, payload: strings.Repeat("x", 126)}.bytes()),
			broken(name+" of 65536", 1002, f{op: op, payload: strings.Repeat("x", 65536)}.bytes()),
			broken(name+" of 5 with a length of two bytes", 1002, f{op: op, payload: "hello", size: 2}.bytes()),
			broken(name+" of 5 with a length of eight bytes", 1002, f{op: op, payload: "hello", size: 8}.bytes()),
			broken(name+" in fragments", 1002, f{op: op, more: true, payload: "x"}.bytes()),
			broken(name+" in fragments, in a message", 1002, f{op: opText, more: true, payload: "{"}.bytes(), f{op: op, more: true}.bytes()),
		)
	}
	run(t, cases)
}

// Section 5.2: lengths.
func TestLengths(t *testing.T) {
	var cases []frames
	room := len(say(""))
	for _, n := range []int{125, 126, 127, 128, 255, 256, 4095, 4096, 4097, 8192, 65535, 65536, 65537} {
		data := strings.Repeat("l", n-room)
		cases = append(cases, alive(fmt.Sprintf("message of %d", n), text(say(data)), "echo "+data))
	}
	const most = 64<<10 + 4<<10
	pad := func(n int) []byte { return text(say("x") + strings.Repeat(" ", n-len(say("x")))) }
	cases = append(cases,
		alive("a message of the most", pad(most), "echo x"),
		broken("a message of one more", 1009, pad(most+1)),
		broken("a message of four more bytes of length", 1009, f{op: opText, hasClaim: true, claims: 1 << 32}.bytes()),
		broken("a message of the most there can be", 1009, f{op: opBinary, hasClaim: true, claims: 1<<63 - 1}.bytes()),
		broken("a length with the top bit", 1002, f{op: opText, hasClaim: true, claims: 1 << 63}.bytes()),
		broken("a length of all ones", 1002, f{op: opText, hasClaim: true, claims: 1<<64 - 1}.bytes()),
		broken("fragments of one more in all", 1009,
			f{op: opText, more: true, payload: strings.Repeat(" ", most)}.bytes(), f{op: opMore, payload: " "}.bytes()),
		frames{"fragments of the most in all", [][]byte{
			f{op: opText, more: true, payload: strings.Repeat(" ", most-len(say("x")))}.bytes(), f{op: opMore, payload: say("x")}.bytes(),
		}, []string{"echo x"}},
	)
	// The fewest bytes must be used.
	for _, c := range []struct{ n, size int }{{0, 2}, {1, 2}, {125, 2}, {0, 8}, {125, 8}, {126, 8}, {65535, 8}} {
		cases = append(cases, broken(fmt.Sprintf("a length of %d in %d bytes", c.n, c.size), 1002,
			f{op: opText, payload: strings.Repeat("x", c.n), size: c.size}.bytes()))
	}
	run(t, cases)
}

// Section 5.4: fragmentation.
func TestFragments(t *testing.T) {
	m := say("fragments")
	split := func(n int) [][]byte {
		var parts [][]byte
		rest := m
		for i := range n - 1 {
			at := len(rest) / (n - i)
			x := f{op: opMore, more: true, payload: rest[:at]}
			if i == 0 {
				x.op = opText
			}
			parts = append(parts, x.bytes())
			rest = rest[at:]
		}
		return append(parts, f{op: opMore, payload: rest}.bytes())
	}
	var cases []frames
	for _, n := range []int{2, 3, 4, 7, 20, len(m)} {
		parts := split(n)
		cases = append(cases, alive(fmt.Sprintf("%d fragments in one write", n), all(parts...), "echo fragments"))
		cases = append(cases, frames{fmt.Sprintf("%d fragments, each in its own write", n), parts, []string{"echo fragments"}})
		var mixed [][]byte
		want := []string{}
		for i, part := range parts {
			mixed = append(mixed, part)
			if i < len(parts)-1 {
				mixed = append(mixed, ping(fmt.Sprint(i)), f{op: opPong, payload: "x"}.bytes())
				want = append(want, fmt.Sprint("pong ", i))
			}
		}
		cases = append(cases, alive(fmt.Sprintf("%d fragments with pings between", n), all(mixed...), append(want, "echo fragments")...))
	}
	begin, end := f{op: opText, more: true, payload: m[:10]}.bytes(), f{op: opMore, payload: m[10:]}.bytes()
	empty := f{op: opMore, more: true}.bytes()
	cases = append(cases,
		alive("an empty first fragment", all(f{op: opText, more: true}.bytes(), f{op: opMore, payload: m}.bytes()), "echo fragments"),
		alive("empty fragments between", all(begin, empty, empty, end), "echo fragments"),
		alive("an empty last fragment", all(f{op: opText, more: true, payload: m}.bytes(), f{op: opMore}.bytes()), "echo fragments"),
		alive("two messages in fragments", all(begin, end, begin, end), "echo fragments", "echo fragments"),
		alive("binary fragments", all(f{op: opBinary, more: true, payload: m[:10]}.bytes(), end), "echo fragments"),
		broken("a continuation of nothing", 1002, f{op: opMore, payload: m}.bytes()),
		broken("a continuation of nothing, not final", 1002, f{op: opMore, more: true, payload: m}.bytes()),
		broken("an empty continuation of nothing", 1002, f{op: opMore}.bytes()),
		frames{"a continuation behind a message", [][]byte{all(text(m), end)}, []string{"echo fragments", "close 1002", "end"}},
		frames{"a continuation behind fragments", [][]byte{all(begin, end, end)}, []string{"echo fragments", "close 1002", "end"}},
		broken("text in fragments", 1002, begin, text(m)),
		broken("binary in fragments", 1002, begin, f{op: opBinary, payload: m}.bytes()),
		broken("the beginning of text in fragments", 1002, begin, begin),
		broken("text in binary fragments", 1002, f{op: opBinary, more: true, payload: m}.bytes(), text(m)),
		frames{"close in fragments", [][]byte{all(begin, closing(1000, ""), end)}, []string{"close 1000", "end"}},
		frames{"a ping, then close in fragments", [][]byte{all(begin, ping("x"), closing(1001, ""), end)}, []string{"pong x", "close 1001", "end"}},
		frames{"only empty fragments", [][]byte{all(f{op: opText, more: true}.bytes(), f{op: opMore}.bytes())}, []string{"close 3501", "end"}},
	)
	run(t, cases)
}
