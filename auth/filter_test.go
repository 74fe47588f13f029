package auth_test

import (
	"strings"
	"testing"

	"myelin/auth"
	"myelin/filter"
)

// siteA is a filter as tokens write it.
func siteA() obj { return obj{"key": "site", "cmp": "eq", "val": "a"} }

const siteAText = `{"key":"site","cmp":"eq","val":"a"}`

func TestFilterClaims(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret})
	id, err := v.Connection(hmacToken(t, obj{
		"sub": "a", "subs": obj{"news": obj{"filter": siteA()}, "plain": obj{"filter": nil}},
		"caps": []obj{
			{"channels": []string{"log:*"}, "match": "wildcard", "allow": []string{"sub"}, "filter": siteA()},
			{"channels": []string{"news", "log:x"}, "allow": []string{"sub"}, "filter": obj{"key": "kind", "cmp": "ex"}},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	both := `{"op":"and","nodes":[{"key":"kind","cmp":"ex"},` + siteAText + `]}`
	for name, want := range map[string]string{
		"log:x": siteAText, // the first capability decides
		"news":  both, "plain": "", "other": "",
	} {
		if got := id.Filter(name).String(); got != want {
			t.Errorf("filter of %s: %s, want %s", name, got, want)
		}
	}
	g, err := v.Subscription(hmacToken(t, obj{"sub": "a", "channel": "x", "filter": siteA()}), "a", "c", "x")
	if err != nil || g.Filter.String() != siteAText {
		t.Errorf("grant %v %v", g, err)
	}
	if (*auth.Identity)(nil).Filter("x") != nil {
		t.Error("nobody is filtered")
	}
}

// TestBadFilterClaims: a token whose filter cannot be meant so gives nothing.
func TestBadFilterClaims(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret})
	for name, claims := range map[string]obj{
		`"subs.x.filter" has the cmp "like"`:      {"subs": obj{"x": obj{"filter": obj{"key": "k", "cmp": "like", "val": "x"}}}},
		`"subs.x.filter" is not a filter`:         {"subs": obj{"x": obj{"filter": "k=x"}}},
		`"caps.0.filter" has a node "and"`:        {"caps": []obj{{"channels": []string{"x"}, "allow": []string{"sub"}, "filter": obj{"op": "and"}}}},
		`"subs.x.filter" has more than 128`:       {"subs": obj{"x": obj{"filter": obj{"op": "or", "nodes": manyNodes()}}}},
		`"subs.x.filter" is not a filter in JSON`: {"subs": obj{"x": obj{"filter": obj{"cmp": "ex", "tags": 1}}}},
	} {
		claims["sub"] = "a"
		_, err := v.Connection(hmacToken(t, claims))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
	_, err := v.Subscription(hmacToken(t, obj{"sub": "a", "channel": "x", "filter": 1}), "a", "c", "x")
	if err == nil || !strings.Contains(err.Error(), `"filter" is not a filter`) {
		t.Error(err)
	}
}

func manyNodes() []obj {
	nodes := make([]obj, filter.MaxNodes)
	for i := range nodes {
		nodes[i] = obj{"cmp": "ex"}
	}
	return nodes
}
