package websocket_test

import (
	"fmt"
	"strings"
	"testing"
)

// RFC 6455 sections 5.5.1 and 7.4: closing.
func TestClosing(t *testing.T) {
	var cases []frames
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3501, 3999, 4000, 4999} {
		cases = append(cases, frames{fmt.Sprintf("code %d", code), [][]byte{closing(code, "bye")}, []string{fmt.Sprintf("close %d", code), "end"}})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 32768, 65535} {
		cases = append(cases, broken(fmt.Sprintf("code %d, which may not be sent", code), 1002, closing(code, "")))
	}
	long := strings.Repeat("é", 61)
	cases = append(cases,
		frames{"no code", [][]byte{f{op: opClose}.bytes()}, []string{"close", "end"}},
		broken("half a code", 1002, f{op: opClose, payload: "\x03"}.bytes()),
		frames{"the longest reason", [][]byte{closing(1000, long+"x")}, []string{"close 1000", "end"}},
		broken("a reason that is no text", 1007, closing(1000, "\xff")),
		broken("a reason that ends within a code point", 1007, closing(1000, "caf\xc3")),
		frames{"nothing behind close is read", [][]byte{all(closing(1000, ""), text(say("x")), ping("x"))}, []string{"close 1000", "end"}},
		frames{"nor is what would break the rules", [][]byte{all(closing(1000, ""), []byte("\xff\xff\xff\xff"))}, []string{"close 1000", "end"}},
		frames{"one close is answered once", [][]byte{all(closing(1000, ""), closing(1001, ""))}, []string{"close 1000", "end"}},
		frames{"what stands before close is answered", [][]byte{all(text(say("x")), ping("y"), closing(1000, ""))}, []string{"echo x", "pong y", "close 1000", "end"}},
		broken("one breach is answered once", 1002, all(f{op: 3}.bytes(), f{op: 4}.bytes(), closing(1000, ""))),
		// The client protocol's own ends come as close codes.
		broken("an empty message", 3501, text("")),
		broken("a message that is none", 3501, text("nonsense")),
		broken("an unasked pong of the client protocol", 3501, text("{}")),
		broken("a second connect", 3501, text(`{"id":3,"connect":{}}`)),
		broken("a message to nobody", 3508, text(`{"send":{"data":1}}`)),
		frames{"nothing behind the server's close is read", [][]byte{all(text("nonsense"), text(say("x")), f{op: 3}.bytes())}, []string{"close 3501", "end"}},
		frames{"the client may answer the server's close", [][]byte{text("nonsense"), closing(3501, "")}, []string{"close 3501", "end"}},
	)
	run(t, cases)
}
