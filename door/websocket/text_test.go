package websocket_test

import (
	"fmt"
	"strings"
	"testing"
)

// valid is text that is UTF-8 and may stand in JSON as it is.
func valid() []string {
	return []string{
		"plain", "é", "κόσμε", "日本語", "😀", "a\u0301", "\u007f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
		"\ud7ff", "\ue000", "\ufffd", "\ufffe", "\ufeff", "\u2028\u2029", "\u200d", "\U0001f469\u200d\U0001f680",
		"mixed é日😀 text", strings.Repeat("€", 2000),
	}
}

// invalid is what is no UTF-8 at all, wherever it stands.
func invalid() map[string]string {
	return map[string]string{
		"a lone continuation byte":       "\x80",
		"the last continuation byte":     "\xbf",
		"two continuation bytes":         "\x80\x80",
		"0xc0":                           "\xc0 ",
		"0xc1":                           "\xc1 ",
		"0xf5":                           "\xf5 ",
		"0xf8":                           "\xf8\x88\x80\x80\x80",
		"0xfc":                           "\xfc\x84\x80\x80\x80\x80",
		"0xfe":                           "\xfe",
		"0xff":                           "\xff",
		"a start without an end, of two": "\xc3 ",
		"a start without an end, of 3":   "\xe2\x82 ",
		"a start without an end, of 4":   "\xf0\x9f\x98 ",
		"a start and a start":            "\xc3\xc3\xa9",
		"overlong slash of two":          "\xc0\xaf",
		"overlong slash of three":        "\xe0\x80\xaf",
		"overlong slash of four":         "\xf0\x80\x80\xaf",
		"overlong NUL":                   "\xc0\x80",
		"overlong 0x7f":                  "\xc1\xbf",
		"overlong 0x7ff":                 "\xe0\x9f\xbf",
		"overlong 0xffff":                "\xf0\x8f\xbf\xbf",
		"the first surrogate":            "\xed\xa0\x80",
		"the last surrogate":             "\xed\xbf\xbf",
		"a pair of surrogates":           "\xed\xa0\xbd\xed\xb8\x80",
		"beyond the last code point":     "\xf4\x90\x80\x80",
		"far beyond it":                  "\xf7\xbf\xbf\xbf",
		"an example of the RFC's":        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
		"latin-1":                        "caf\xe9",
		"utf-16":                         "\xff\xfea\x00",
	}
}

// RFC 6455 section 8.1: text is UTF-8, in whatever pieces it comes.
func TestText(t *testing.T) {
	var cases []frames
	prefix := strings.TrimSuffix(say(""), `"}}`)
	for _, s := range valid() {
		name := fmt.Sprintf("%.20q", s)
		cases = append(cases, alive(name, text(say(s)), "echo "+s))
		if len(s) > 40 {
			continue
		}
		// Cut in every place, code points included.
		for at := 1; at < len(s); at++ {
			cases = append(cases, alive(fmt.Sprintf("%s, cut at %d", name, at), all(
				f{op: opText, more: true, payload: prefix + s[:at]}.bytes(),
				f{op: opMore, payload: s[at:] + `"}}`}.bytes()), "echo "+s))
		}
	}
	for name, s := range invalid() {
		cases = append(cases,
			broken(name, 1007, text(say(s))),
			broken(name+", in fragments", 1007,
				f{op: opText, more: true, payload: prefix + s[:len(s)/2]}.bytes(), f{op: opMore, payload: s[len(s)/2:] + `"}}`}.bytes()),
			// As it arrives, not at the end of the message.
			broken(name+", before the end", 1007, f{op: opText, more: true, payload: prefix + s + "x"}.bytes()),
			// What is not text is not looked at as text; JSON has to be, though.
			frames{name + ", in binary", [][]byte{f{op: opBinary, payload: say(s)}.bytes()}, []string{"close 3501", "end"}},
		)
	}
	for name, s := range map[string]string{"two": "\xc3", "three": "\xe2\x82", "four": "\xf0\x9f\x98"} {
		cases = append(cases,
			broken("a message that ends within a code point of "+name, 1007, text(s)),
			broken("fragments that end within a code point of "+name, 1007,
				f{op: opText, more: true, payload: "x"}.bytes(), f{op: opMore, payload: s}.bytes()),
			broken("an empty last fragment behind a part of a code point of "+name, 1007,
				f{op: opText, more: true, payload: s}.bytes(), f{op: opMore}.bytes()),
			frames{"a ping within a code point of " + name, [][]byte{all(f{op: opText, more: true, payload: prefix + s}.bytes(), ping("x"))}, []string{"pong x"}},
		)
	}
	run(t, cases)
}
