package mercure

import (
	"context"
	"encoding/json"
	"net/url"

	"myelin/auth"
	"myelin/channel"
)

// Matches reports whether a matcher of a kind selects a topic.
func Matches(kind, text, topic string) (bool, error) {
	return MatchesAt("", kind, text, topic)
}

// MatchesAt is Matches at a hub with an identifier.
func MatchesAt(audience, kind, text, topic string) (bool, error) {
	m, err := newMatcher(kind, text, homeOf(audience))
	if err != nil {
		return false, err
	}
	return m.matches(topic), nil
}

// The kinds of matcher.
const (
	Exact    = kindExact
	Pattern  = kindPattern
	Selector = kindSelector
)

// IsOwn reports whether a topic is the hub's own.
func IsOwn(topic string) bool { return isOwn(topic) }

// Text returns the data of an update after it was kept, and Body its event.
func Text(text string) string { return textOf(kept(text)) }

func Body(text string) string { return string(body(kept(text))) }

func kept(text string) *channel.Publication {
	data, isText := payload(text)
	p := &channel.Publication{Data: data, Tags: map[string]string{}}
	if isText {
		p.Tags[tagText] = "1"
	}
	return p
}

// ReadClaims reads the claims of a token, in both forms, and says whether they
// are good.
func ReadClaims(raw []byte) bool {
	var b bearer
	old := b.readClaim(raw) == nil
	b = bearer{}
	_ = b.readDetails(&auth.Raw{Type: accessToken, Claims: map[string]json.RawMessage{}}, raw, "")
	return old
}

// ReadForm reads the form of an update.
func ReadForm(body string) bool {
	form, err := url.ParseQuery(body)
	if err != nil {
		return false
	}
	_, err = New(context.Background(), Options{Public: "mercure", Private: "mercure-private"}).read(form, false)
	return err == nil
}
