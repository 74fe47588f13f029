package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/hub"
)

// part is what a subscriber gets of an append.
type part struct {
	Key, Text string
	At        int
	Done      bool
}

// typist puts together what subscribers get, as the documentation says.
type typist struct {
	text []uint16
	done bool
}

func (r *typist) take(t testing.TB, p *channel.Publication, whole bool) {
	t.Helper()
	b, ok := hub.Grown(p, whole)
	var got part
	if !ok || json.Unmarshal(b, &got) != nil {
		t.Fatalf("%s is shown as %q, %v", p.Data, b, ok)
	}
	if got.At > len(r.text) {
		t.Fatalf("a part at %d comes to a text of %d", got.At, len(r.text))
	}
	r.text, r.done = append(r.text[:got.At:got.At], utf16.Encode([]rune(got.Text))...), got.Done
}

func (r *typist) String() string { return string(utf16.Decode(r.text)) }

// growing adds a namespace whose entries may grow.
func growing(o *hub.Options) {
	ns := *o.Namespaces["log"]
	ns.Policy = &channel.Policy{Namespace: "state", Kind: channel.KindState, HistorySize: 200}
	o.Namespaces["state"] = &ns
}

func appended(s *stage, text string, at int, done bool) (hub.AppendAck, error) {
	r := hub.AppendRequest{Channel: "state:x", Key: "answer", Text: text, Done: done}
	if at >= 0 {
		r.At = &at
	}
	return s.hub.Append(s.t.Context(), r)
}

// A text grows, a retry is no second append, and after its end it stays.
func TestAppend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, growing)
		const anywhere = -1
		for i, c := range []struct {
			text   string
			at     int
			done   bool
			length int
			again  bool
			want   *channel.Error
		}{
			{text: "Hel", at: 0, length: 3},
			{text: "Hel", at: 0, length: 3, again: true},
			{text: "lo \"<😀>\"\n", at: 3, length: 13},
			{text: "lo \"<😀>\"\n", at: 3, length: 13, again: true},
			{text: "l", at: 2, length: 13, again: true},
			{text: "\n and more", at: 12, length: 22},
			{text: "other", at: 3, want: channel.ErrConflict},
			{text: "gap", at: 23, want: channel.ErrConflict},
			{text: "neg", at: anywhere, length: 25},
			{text: "", at: anywhere, want: channel.ErrBadRequest},
			{text: "\xff", at: anywhere, want: channel.ErrBadRequest},
			{text: ".", at: 25, done: true, length: 26},
			{text: ".", at: 25, done: true, length: 26, again: true},
			{text: "", at: anywhere, done: true, length: 26, again: true},
			{text: "late", at: anywhere, want: channel.ErrConflict},
			{text: "late", at: 26, want: channel.ErrConflict},
		} {
			ack, err := appended(s, c.text, c.at, c.done)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Errorf("%d: %+v, %v", i, ack, err)
				}
				continue
			}
			if err != nil || ack.Length != c.length || ack.Duplicate != c.again {
				t.Errorf("%d: %+v, %v", i, ack, err)
			}
		}
		page, err := s.hub.Entry(t.Context(), "state:x", "answer")
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("%v, %v", page, err)
		}
		var whole typist
		whole.take(t, page.Items[0], true)
		if whole.String() != "Hello \"<😀>\"\n and moreneg." || !whole.done {
			t.Errorf("the whole is %q, done %v", &whole, whole.done)
		}
		if !json.Valid(page.Items[0].Data) {
			t.Errorf("%s is not JSON", page.Items[0].Data)
		}
	})
}

func TestAppendRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, growing)
		if _, err := s.hub.SetEntry(t.Context(), hub.EntryRequest{Channel: "state:x", Key: "answer", Data: []byte(`{"text":"x","length":1,"done":false}`)}); err != nil {
			t.Fatal(err)
		}
		if _, err := appended(s, "more", -1, false); !errors.Is(err, channel.ErrConflict) {
			t.Errorf("to an entry that was set: %v", err)
		}
		within := 2
		if _, err := s.hub.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "pair", Text: "a\U0001F600"}); err != nil {
			t.Fatal(err)
		}
		if ack, err := s.hub.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "pair", Text: "b", At: &within}); !errors.Is(err, channel.ErrConflict) {
			t.Errorf("within a character: %+v, %v", ack, err)
		}
		for _, r := range []hub.AppendRequest{
			{Channel: "log:x", Key: "k", Text: "t"},
			{Channel: "state:x", Text: "t"},
			{Channel: "nowhere:x", Key: "k", Text: "t"},
			{Channel: "state:x", Key: strings.Repeat("k", 256), Text: "t"},
		} {
			if ack, err := s.hub.Append(t.Context(), r); err == nil {
				t.Errorf("%+v was done: %+v", r, ack)
			}
		}
		long := strings.Repeat("x", 40<<10)
		if _, err := s.hub.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "long", Text: long}); err != nil {
			t.Error(err)
		}
		if _, err := s.hub.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "long", Text: long}); !errors.Is(err, channel.ErrLimitExceeded) {
			t.Errorf("a text that is too long: %v", err)
		}
		if n := s.metrics.Limit("append").Value(); n != 1 {
			t.Errorf("%d hits of the limit", n)
		}
	})
}

// How long a text is that a filter hides is not told to who appends to it.
func TestAppendToWhatIsHidden(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, states)
		if _, err := s.hub.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "m", Text: "secret", Tags: map[string]string{"site": "b"}}); err != nil {
			t.Fatal(err)
		}
		c := s.connectAs(sighted(t, "state:x", "site", "a"), nil)
		at := 99
		for _, r := range []hub.AppendRequest{{Text: "?"}, {Text: "?", At: &at}} {
			r.Channel, r.Key = "state:x", "m"
			if ack, err := c.Append(t.Context(), r); !errors.Is(err, channel.ErrPermissionDenied) || ack.Length != 0 || strings.Contains(err.Error(), "6") {
				t.Errorf("%+v, %v", ack, err)
			}
		}
		if _, err := c.Append(t.Context(), hub.AppendRequest{Channel: "state:x", Key: "own", Text: "?", Tags: map[string]string{"site": "a"}}); err != nil {
			t.Error(err)
		}
	})
}

// Many append at once: each piece is there once, and a reader that gets the
// parts has the same text as one that gets the whole.
func TestAppendTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, growing)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 10 {
					if _, err := appended(s, string(rune('a'+i))+"😀", -1, false); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		h, err := s.hub.History(t.Context(), hub.HistoryRequest{Channel: "state:x", Limit: -1})
		if err != nil {
			t.Fatal(err)
		}
		var parts typist
		for _, p := range h.Pubs {
			var whole typist
			parts.take(t, p, false)
			whole.take(t, p, true)
			if parts.String() != whole.String() {
				t.Fatalf("by parts %q, the whole %q", &parts, &whole)
			}
		}
		for i := range 8 {
			if n := strings.Count(parts.String(), string(rune('a'+i))); n != 10 {
				t.Errorf("%d pieces of %c", n, 'a'+i)
			}
		}
	})
}

// Whatever the pieces, and whichever are tried again, the text is right.
func TestAppendModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pieces := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab\"\\\n\u2028<é😀\x00")), 1, 6, -1), 1, 12).Draw(rt, "pieces")
		again := rapid.SliceOfN(rapid.Bool(), len(pieces), len(pieces)).Draw(rt, "again")
		wrong := ""
		bubble(t, func(t *testing.T) { wrong = grown(t, pieces, again) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// grown appends pieces, some of them again, and says what is wrong with what a
// subscriber gets.
func grown(t *testing.T, pieces []string, again []bool) string {
	s := newStage(t, nil, growing)
	want, at := "", 0
	for i, piece := range pieces {
		text, from := piece, at
		if again[i] && i > 0 { // one before, whose answer was lost, together with this
			text, from = pieces[i-1]+piece, at-len(utf16.Encode([]rune(pieces[i-1])))
		}
		if _, err := appended(s, text, from, false); err != nil {
			return err.Error()
		}
		want += piece
		at += len(utf16.Encode([]rune(piece)))
	}
	h, err := s.hub.History(t.Context(), hub.HistoryRequest{Channel: "state:x", Limit: -1})
	if err != nil {
		return err.Error()
	}
	var parts typist
	for _, p := range h.Pubs {
		parts.take(t, p, false)
	}
	if parts.String() != want {
		return fmt.Sprintf("%q, want %q", &parts, want)
	}
	return ""
}
