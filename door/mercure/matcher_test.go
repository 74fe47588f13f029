package mercure_test

import (
	"strings"
	"testing"
	"time"

	"myelin/door/mercure"
)

func TestMatchers(t *testing.T) {
	for _, c := range []struct {
		kind, matcher string
		yes, no       []string
	}{
		{mercure.Exact, "https://e.x/1", []string{"https://e.x/1"}, []string{"https://e.x/2", "https://E.x/1", "https://e.x/1/"}},
		{mercure.Exact, "{id}", []string{"{id}"}, []string{"1"}},
		{mercure.Exact, "*", []string{"anything", "https://e.x/1"}, nil},
		{mercure.Pattern, "*", []string{"anything", "urn:a"}, nil},
		{mercure.Selector, "*", []string{"anything"}, nil},
		{mercure.Selector, "https://e.x/books/{id}", []string{"https://e.x/books/1", "https://e.x/books/", "https://e.x/books/a%20b", "https://e.x/books/é", "https://e.x/books/{id}"}, []string{"https://e.x/books/1/2", "https://e.x/books/1?a=b", "https://e.x/book/1", "xhttps://e.x/books/1"}},
		{mercure.Selector, "https://e.x/{+path}", []string{"https://e.x/a/b?c=d#e", "https://e.x/"}, []string{"https://e.y/"}},
		{mercure.Selector, "/a{/b,c}", []string{"/a", "/a/1", "/a/1/2"}, []string{"/ab", "/a?1"}},
		{mercure.Selector, "/a{?q,r}", []string{"/a", "/a?q=1", "/a?q=1&r=2"}, []string{"/a/1", "/a&q=1"}},
		{mercure.Selector, "/a{.ext}{#f}", []string{"/a", "/a.json", "/a.json#x"}, []string{"/ajson"}},
		{mercure.Selector, "/a{;p}{&x}", []string{"/a", "/a;p=1", "/a;p=1&x=2"}, []string{"/ap"}},
		{mercure.Selector, "/a.b{x}", []string{"/a.b", "/a.bc"}, []string{"/aXb"}},
		{mercure.Pattern, "https://e.x/books/:id", []string{"https://e.x/books/1", "https://e.x/books/1?q=2", "https://e.x/books/1#f"}, []string{"https://e.x/books/", "https://e.x/books/1/2", "https://e.x/books"}},
		{mercure.Pattern, "https://e.x/books/:id?", []string{"https://e.x/books/1", "https://e.x/books/"}, []string{"https://e.x/books/1/2"}},
		{mercure.Pattern, "https://e.x/:a/:b", []string{"https://e.x/1/2"}, []string{"https://e.x/1"}},
		{mercure.Pattern, "https://:sub.e.x/*", []string{"https://a.e.x/1/2"}, []string{"https://a.b.e.x/", "https://e.x/"}},
		{mercure.Pattern, "https://{*.}?e.x/:id(\\d+)", []string{"https://e.x/1", "https://a.b.e.x/12"}, []string{"https://e.x/a"}},
		{mercure.Pattern, "/:id", []string{"/1"}, []string{"/1/2", "https://e.x/1"}},
		{mercure.Pattern, "https://e.x:8080/a\\:b", []string{"https://e.x:8080/a:b"}, []string{"https://e.x:8080/a"}},
	} {
		for _, list := range []struct {
			topics []string
			want   bool
		}{{c.yes, true}, {c.no, false}} {
			for _, topic := range list.topics {
				if got, err := mercure.Matches(c.kind, c.matcher, topic); err != nil || got != list.want {
					t.Errorf("%s %q, %q: %v, %v", c.kind, c.matcher, topic, got, err)
				}
			}
		}
	}
	for _, c := range [][2]string{
		{mercure.Exact, ""},
		{mercure.Exact, "a\nb"},
		{mercure.Exact, "\u0085"},
		{mercure.Exact, "\xff"},
		{mercure.Exact, strings.Repeat("x", 1025)},
		{mercure.Selector, "{"},
		{mercure.Selector, "{}"},
		{mercure.Selector, "{++a}"},
		{mercure.Pattern, "{a"},
		{mercure.Pattern, "a}"},
		{mercure.Pattern, "(a"},
		{mercure.Pattern, "((?=x))"},
		{mercure.Pattern, `a\`},
		{mercure.Pattern, strings.Repeat("{", 9) + strings.Repeat("}", 9)},
		{"Regexp", "a"},
	} {
		if _, err := mercure.Matches(c[0], c[1], "x"); err == nil {
			t.Errorf("%s %q is taken", c[0], c[1])
		}
	}
}

// Relative topics and patterns are relative to the hub, where it is known where
// that is; no request says where.
func TestRelativeTopics(t *testing.T) {
	const hub = "https://Hub.x/.well-known/mercure"
	for _, c := range []struct {
		at, pattern, topic string
		want               bool
	}{
		{hub, "/books/:id", "https://hub.x/books/1", true},
		{hub, "/books/:id", "https://HUB.x/books/1?a=b", true},
		{hub, "/books/:id", "/books/1", true},
		{hub, "/books/:id", "https://other.x/books/1", false},
		{hub, "/books/:id", "https://hub.x.evil/books/1", false},
		{hub, "/books/:id", "//hub.x/books/1", false},
		{hub, "https://hub.x/books/:id", "/books/1", true},
		{hub, "https://hub.x/books/:id", "/a/../books/1", true},
		{hub, "https://hub.x/.well-known/:id", "1", true},
		{hub, ":id", "1", true},
		{hub, ":id", "https://hub.x/.well-known/1", true},
		{hub, "https://other.x/books/:id", "/books/1", false},
		{hub, "https://:host/books/:id", "/books/1", false}, // a host's label has no dots
		{hub, "https://*/books/:id", "/books/1", true},
		{"", "/books/:id", "/books/1", true},
		{"", "/books/:id", "https://hub.x/books/1", false},
		{"", "https://hub.x/books/:id", "/books/1", false},
		{"", "https://*/books/:id", "/books/1", false},
		{"urn:hub", "/books/:id", "https://hub.x/books/1", false},
		{"", "https://E.x/:id", "https://e.X/1", true},
		{"", "https://e.x/A", "https://e.x/a", false},
		{"", "urn:isbn::n", "urn:isbn:1", true},
	} {
		if got, err := mercure.MatchesAt(c.at, mercure.Pattern, c.pattern, c.topic); err != nil || got != c.want {
			t.Errorf("at %q %q, %q: %v, %v", c.at, c.pattern, c.topic, got, err)
		}
	}
}

// A pattern that is made to be slow is not.
func TestPatternsAreLinear(t *testing.T) {
	began := time.Now()
	topic := "https://e.x/" + strings.Repeat("a", 200) + "!"
	for _, p := range []string{"https://e.x/:a(((a+)+)+)b", "https://e.x/" + strings.Repeat("*a", 100), "https://e.x/" + strings.Repeat("{a}*", 100) + "b"} {
		if got, err := mercure.Matches(mercure.Pattern, p, topic); got {
			t.Errorf("%.40q: %v, %v", p, got, err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestOwnTopics(t *testing.T) {
	for topic, want := range map[string]bool{
		"/.well-known/mercure": true, "/.well-known/mercure/x": true, "https://hub.x/.well-known/mercure/subscriptions/a": true,
		"https://hub.x/.well-known/./mercure": true, "https://hub.x/a/../.well-known/mercure": true, "//hub.x/.well-known/mercure": true,
		"mercure": true, "mercure/a": true, "/.well-known/%2e%2e/.well-known/mercure": true, "/.well-known/mercure?x": true, "/.well-known/mercure#x": true,
		"/.well-known/mercure/subscriptions/Exact/https://e.x/1/x": true, "/.well-known/mercure/x?://y/z": true, "HTTPS://hub.x/.well-known/mercure": true,
		"https:/.well-known/mercure": true,
		"/.well-known/mercurex":      false, "https://hub.x": false, "https://hub.x/mercure": false, "urn:a": false, "urn:mercure": false, "x": false,
	} {
		if mercure.IsOwn(topic) != want {
			t.Errorf("%q", topic)
		}
	}
}

// Data comes as it was sent, whatever it is, but for the line ends, of which
// event streams have one.
func TestData(t *testing.T) {
	for _, text := range []string{"", "x", `{"a":1}`, " [1]\n", `"q"`, "a\nb", "é\u2028"} {
		if got := mercure.Text(text); got != text {
			t.Errorf("%q came as %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"a": "data: a\n\n", "": "data: \n\n", "a\nb": "data: a\ndata: b\n\n", "a\r\nb\rc": "data: a\ndata: b\ndata: c\n\n",
		"a\n\nid: forged": "data: a\ndata: \ndata: id: forged\n\n",
	} {
		if got := mercure.Body(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzMatcher(f *testing.F) {
	f.Add("https://e.x/{id}", "https://e.x/:id", "https://e.x/1")
	f.Add("{?a,b}{+c}{/d}", "{*.}?(a|b)+\\:", "x")
	f.Fuzz(func(t *testing.T, template, pattern, topic string) {
		if got, err := mercure.Matches(mercure.Selector, template, template); err == nil && !got {
			t.Errorf("%q does not select itself", template)
		}
		_, _ = mercure.Matches(mercure.Selector, template, topic)
		_, _ = mercure.Matches(mercure.Pattern, pattern, topic)
		mercure.IsOwn(topic)
	})
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"publish":["*"],"subscribe":["https://e.x/{id}"]}`))
	f.Add([]byte(`[{"type":"mercure","actions":["publish"],"topics":[{"match":"*"}]}]`))
	f.Fuzz(func(_ *testing.T, b []byte) { mercure.ReadClaims(b) })
}

// No field of an update can be taken for another one of its event.
func FuzzUpdate(f *testing.F) {
	f.Add("topic=a&data=b&id=c&type=d&retry=1&private=on", "data")
	f.Fuzz(func(t *testing.T, form, text string) {
		mercure.ReadForm(form)
		for line := range strings.SplitSeq(strings.TrimSuffix(mercure.Body(text), "\n\n"), "\n") {
			if !strings.HasPrefix(line, "data: ") {
				t.Errorf("%q has the line %q", text, line)
			}
		}
	})
}
