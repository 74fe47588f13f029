package conversation_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/conversation"
)

func TestResumeTokens(t *testing.T) {
	r := conversation.NewResumePoint()
	if got := r.Token(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	r.Move("log:a", channel.Position{Epoch: "e", Offset: 7})
	token := r.Token()
	if strings.ContainsAny(token, "\r\n\x00 ") {
		t.Errorf("%q cannot be an id of an event", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	entry := b[1:]
	for name, bad := range map[string]string{
		"not base64":            "!!!",
		"standard base64":       base64.StdEncoding.EncodeToString(append(b, 0xff, 0xff)),
		"no version":            "",
		"another version":       encode(append([]byte{2}, entry...)),
		"cut in the hash":       encode(b[:5]),
		"cut behind the hash":   encode(b[:7]),
		"cut in the epoch":      encode(b[:8]),
		"cut before the offset": encode(b[:9]),
		"cut in the offset":     encode(append(b[:9:9], 0x80)),
		"an endless offset":     encode(append(b[:9:9], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"...)),
		"too large an offset":   encode(append(b[:9:9], "\x81\x80\x80\x80\x80\x80\x80\x10"...)),
		"something behind":      encode(append(b, 0)),
		"too long":              encode(append([]byte{1}, strings.Repeat(string(entry), conversation.MaxResumeToken/len(entry))...)),
	} {
		if _, n, err := conversation.ReadResume(bad); err == nil {
			t.Errorf("%s: read as %d channels", name, n)
		}
	}
	if got, n, err := conversation.ReadResume(encode([]byte{1})); n != 0 || err != nil {
		t.Errorf("of no channel: %v, %d, %v", got, n, err)
	}
	most := append(b[:9:9], "\x80\x80\x80\x80\x80\x80\x80\x10"...)
	if got, _, err := conversation.ReadResume(encode(most), "log:a"); err != nil || got["log:a"].Offset != channel.MaxOffset {
		t.Errorf("the largest offset: %v, %v", got, err)
	}
}

// A resume point against a map, in any order of moves and drops.
func TestResumeRoundTrip(t *testing.T) {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("log:%d", i))
	}
	rapid.Check(t, func(t *rapid.T) {
		r := conversation.NewResumePoint()
		model := map[string]channel.Position{}
		t.Repeat(map[string]func(*rapid.T){
			"move": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				pos := channel.Position{
					Epoch:  rapid.StringN(0, 20, 60).Draw(t, "epoch"),
					Offset: rapid.Uint64Range(0, channel.MaxOffset).Draw(t, "offset"),
				}
				model[name] = pos
				r.Move(name, pos)
			},
			"drop": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				delete(model, name)
				r.Drop(name)
			},
			"": func(t *rapid.T) {
				token := r.Token()
				if len(model) == 0 {
					if token != "" {
						t.Fatalf("of nothing: %q", token)
					}
					return
				}
				got, n, err := conversation.ReadResume(token, names...)
				if err != nil || n != len(model) || !maps.Equal(got, model) {
					t.Fatalf("%v, %d, %v; want %v", got, n, err, model)
				}
				if again := r.Token(); again != token {
					t.Fatalf("%q, then %q", token, again)
				}
			},
		})
	})
}

func FuzzParseResume(f *testing.F) {
	r := conversation.NewResumePoint()
	f.Add("")
	for i := range 3 {
		r.Move(fmt.Sprint("log:", i), channel.Position{Epoch: strings.Repeat("e", i), Offset: 1 << (20 * i)})
		f.Add(r.Token())
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, n, err := conversation.ReadResume(token)
		if err == nil && n > len(token) {
			t.Errorf("%d channels in %d bytes", n, len(token))
		}
	})
}
