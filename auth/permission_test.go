package auth_test

import (
	"strings"
	"testing"

	"myelin/auth"
)

func TestRulesAllow(t *testing.T) {
	verbs := []auth.Verb{auth.VerbSubscribe, auth.VerbPublish, auth.VerbPresence, auth.VerbHistory}
	user := &auth.Identity{User: "42"}
	anonymous := &auth.Identity{Anonymous: true}
	for _, c := range []struct {
		name                 string
		who                  []auth.Who
		id                   *auth.Identity
		subscribed, viaToken bool
		want                 bool
	}{
		{"anonymous lets anyone in", []auth.Who{auth.WhoAnonymous}, anonymous, false, false, true},
		{"anonymous lets the unknown in", []auth.Who{auth.WhoAnonymous}, nil, false, false, true},
		{"anonymous lets users in", []auth.Who{auth.WhoAnonymous}, user, false, false, true},
		{"user", []auth.Who{auth.WhoUser}, user, false, false, true},
		{"user, not anonymous", []auth.Who{auth.WhoUser}, anonymous, true, true, false},
		{"user, not unknown", []auth.Who{auth.WhoUser}, nil, true, true, false},
		{"user without id", []auth.Who{auth.WhoUser}, &auth.Identity{}, true, true, false},
		{"user called anonymous", []auth.Who{auth.WhoUser}, &auth.Identity{User: "x", Anonymous: true}, true, true, false},
		{"token", []auth.Who{auth.WhoToken}, anonymous, false, true, true},
		{"token of the unknown", []auth.Who{auth.WhoToken}, nil, false, true, true},
		{"no token of the unknown", []auth.Who{auth.WhoToken}, nil, true, false, false},
		{"token, not a user", []auth.Who{auth.WhoToken}, user, true, false, false},
		{"token, channels claim", []auth.Who{auth.WhoToken}, &auth.Identity{Channels: []string{"a", "news"}}, false, false, true},
		{"token, subs claim", []auth.Who{auth.WhoToken}, &auth.Identity{Subs: map[string]auth.SubOptions{"news": {}}}, false, false, true},
		{"token, other channel claimed", []auth.Who{auth.WhoToken}, &auth.Identity{Channels: []string{"new", "news1"}}, true, false, false},
		{"channels claim is no right by itself", nil, &auth.Identity{User: "42", Channels: []string{"news"}}, true, false, false},
		{"nobody", []auth.Who{auth.WhoNobody}, user, true, true, false},
		{"empty", nil, user, true, true, false},
		{"any of several", []auth.Who{auth.WhoToken, auth.WhoUser}, user, false, false, true},
		{"none of several", []auth.Who{auth.WhoToken, auth.WhoUser}, anonymous, false, false, false},
	} {
		for _, verb := range verbs {
			var r auth.Rules
			*ruleFor(&r, verb) = auth.NewWhoSet(c.who...)
			if got := r.Allows(verb, "news", c.id, c.subscribed, c.viaToken); got != c.want {
				t.Errorf("%s: %v is %v, want %v", c.name, verb, got, c.want)
			}
			for _, other := range verbs {
				if other != verb && r.Allows(other, "news", c.id, c.subscribed, c.viaToken) {
					t.Errorf("%s: a rule for %v allows %v", c.name, verb, other)
				}
			}
		}
	}
}

func ruleFor(r *auth.Rules, verb auth.Verb) *auth.WhoSet {
	switch verb {
	case auth.VerbSubscribe:
		return &r.Subscribe
	case auth.VerbPublish:
		return &r.Publish
	case auth.VerbPresence:
		return &r.Presence
	}
	return &r.History
}

func TestSubscriberRule(t *testing.T) {
	set := auth.NewWhoSet(auth.WhoSubscriber)
	r := auth.Rules{Subscribe: set, Publish: set, Presence: set, History: set}
	for _, verb := range []auth.Verb{auth.VerbPublish, auth.VerbPresence, auth.VerbHistory} {
		if !r.Allows(verb, "news", nil, true, false) || r.Allows(verb, "news", &auth.Identity{User: "42"}, false, true) {
			t.Errorf("%v: a subscriber, and nobody else, may", verb)
		}
	}
	if r.Allows(auth.VerbSubscribe, "news", nil, true, false) {
		t.Error("a subscription is no right to subscribe")
	}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "nobody is a subscriber before subscribing") {
		t.Errorf("got %v", err)
	}
	r.Subscribe = 0
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if r.Allows(auth.Verb(9), "news", nil, true, true) || (&auth.Rules{}).For(9) != 0 {
		t.Error("an unknown verb is allowed")
	}
}

func TestCapabilitiesAdd(t *testing.T) {
	id := &auth.Identity{User: "42", Caps: []auth.Capability{
		{Channels: []string{"news", "user_42"}, Allow: []string{"sub"}},
		{Channels: []string{"user_42"}, Allow: []string{"sub", "pub", "prs", "hst"}},
		{Channels: []string{"ward:*"}, Match: auth.MatchWildcard, Allow: []string{"hst", "sub"}},
		{Channels: []string{"lit:*"}, Allow: []string{"pub"}},
		{Channels: []string{"ward:bed1", "x**"}, Match: auth.MatchWildcard, Allow: []string{"pub"}},
	}}
	var none auth.Rules
	for _, c := range []struct{ channel, allowed string }{
		{"news", "sub"},
		{"user_42", "sub"}, // the first that names the channel decides
		{"ward:bed1", "sub hst"},
		{"ward:bed1:ecg", ""},
		{"ward:", "sub hst"},
		{"lit:*", "pub"},
		{"lit:a", ""},
		{"x:y:z", "pub"},
		{"other", ""},
		{"", ""},
	} {
		for _, verb := range []auth.Verb{auth.VerbSubscribe, auth.VerbPublish, auth.VerbPresence, auth.VerbHistory} {
			want := strings.Contains(c.allowed, verb.Short())
			if got := none.Allows(verb, c.channel, id, false, false); got != want {
				t.Errorf("%v on %q is %v, want %v", verb, c.channel, got, want)
			}
		}
	}
	open := auth.Rules{Publish: auth.NewWhoSet(auth.WhoUser)}
	if !open.Allows(auth.VerbPublish, "news", id, false, false) {
		t.Error("a capability took away what the rules give")
	}
	if none.Allows(auth.Verb(9), "news", &auth.Identity{Caps: []auth.Capability{{Channels: []string{"news"}, Allow: []string{""}}}}, false, false) {
		t.Error("an unknown verb is allowed by an empty one")
	}
}

func TestGrantAllows(t *testing.T) {
	var none *auth.Grant
	g := &auth.Grant{Allow: []string{"pub", "prs"}}
	for verb, want := range map[auth.Verb]bool{
		auth.VerbSubscribe: true, auth.VerbPublish: true, auth.VerbPresence: true, auth.VerbHistory: false, 9: false,
	} {
		if g.Allows(verb) != want {
			t.Errorf("%v is %v, want %v", verb, !want, want)
		}
		if none.Allows(verb) {
			t.Errorf("no grant allows %v", verb)
		}
	}
}

func TestParseWhoSet(t *testing.T) {
	for _, c := range []struct {
		names string
		want  auth.WhoSet
		show  string
	}{
		{"", 0, "nobody"},
		{"nobody", 0, "nobody"},
		{"anonymous", auth.NewWhoSet(auth.WhoAnonymous), "anonymous"},
		{"token user user", auth.NewWhoSet(auth.WhoUser, auth.WhoToken), "user, token"},
		{"subscriber anonymous", auth.NewWhoSet(auth.WhoAnonymous, auth.WhoSubscriber), "anonymous, subscriber"},
	} {
		got, err := auth.ParseWhoSet(strings.Fields(c.names))
		if err != nil || got != c.want || got.String() != c.show {
			t.Errorf("%q is %v (%v), want %v shown as %q", c.names, got, err, c.want, c.show)
		}
		if got.Has(auth.WhoNobody) != (c.want == 0) {
			t.Errorf("%q: Has(nobody) is wrong", c.names)
		}
	}
	for _, c := range []struct {
		names string
		say   []string
	}{
		{"usr", []string{`unknown "usr", did you mean "user"? (known: anonymous, user, subscriber, token, nobody)`}},
		{"users", []string{`"user"?`}},
		{"User", []string{`"user"?`}},
		{"subscribers", []string{`"subscriber"?`}},
		{"anon", []string{`"anonymous"?`}},
		{"everyone", []string{`unknown "everyone" (known:`}},
		{strings.Repeat("x", 99), []string{`"... (known`}},
		{"a tokn b", []string{`unknown "a"`, `"token"?`, `unknown "b"`}},
		{"nobody user", []string{`"nobody" stands beside user: leave one of them out`}},
	} {
		set, err := auth.ParseWhoSet(strings.Fields(c.names))
		if err == nil || set != 0 {
			t.Errorf("%q was accepted as %v", c.names, set)
			continue
		}
		for _, say := range c.say {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%q: error %q does not say %q", c.names, err, say)
			}
		}
	}
	if _, err := auth.ParseWho(""); err == nil {
		t.Error("an empty name was accepted")
	}
}

func TestVerbs(t *testing.T) {
	for short, name := range map[string]string{"sub": "subscribe", "pub": "publish", "prs": "presence", "hst": "history"} {
		v, err := auth.ParseVerb(short)
		if err != nil || v.String() != name || v.Short() != short {
			t.Errorf("%q is %v, %v", short, v, err)
		}
	}
	if auth.Verb(9).String() != "verb(9)" || auth.Verb(9).Short() != "" || auth.Who(9).String() != "who(9)" {
		t.Error("what is unknown has a name")
	}
	if _, err := auth.ParseVerb(""); err == nil {
		t.Error("an empty verb was accepted")
	}
}

func TestKeyMatch(t *testing.T) {
	for _, c := range []struct {
		got, want string
		match     bool
	}{
		{"key", "key", true},
		{"key", "kez", false},
		{"key", "key1", false},
		{"", "key", false},
		{"", "", false},
		{"key", "", false},
	} {
		if auth.KeyMatch(c.got, c.want) != c.match {
			t.Errorf("KeyMatch(%q, %q) is %v", c.got, c.want, !c.match)
		}
	}
}

// A right at everything is none at the channels of the server itself: those
// have to be named.
func TestTheServersOwnChannelsAreNamed(t *testing.T) {
	can := func(match string, names ...string) bool {
		id := &auth.Identity{Caps: []auth.Capability{{Channels: names, Match: match, Allow: []string{"sub"}}}}
		return id.CanByName(auth.VerbSubscribe, "$lifecycle:events")
	}
	if can(auth.MatchWildcard, "**") || can(auth.MatchWildcard, "*:events") || can(auth.MatchExact, "news") {
		t.Error("a right at everything lets in")
	}
	if !can(auth.MatchExact, "$lifecycle:events") || !can(auth.MatchWildcard, "$lifecycle:*") || !can(auth.MatchWildcard, "**", "$**") {
		t.Error("who is named is not let in")
	}
	var nobody *auth.Identity
	if nobody.CanByName(auth.VerbSubscribe, "$lifecycle:events") {
		t.Error("nobody is let in")
	}
}
