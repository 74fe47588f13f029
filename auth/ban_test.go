package auth_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"myelin/auth"
)

// Whatever is put in, taken out and replaced, what is found is what a plain
// list of all bans says.
func TestBansModel(t *testing.T) {
	users := []string{"", "ann", "bob", "\x00"}
	addresses := []string{"192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7", "::/0", "10.0.0.0/8"}
	rapid.Check(t, func(t *rapid.T) {
		bans, err := auth.NewBans([]auth.Ban{{Kind: auth.BanUser, Value: "root"}})
		if err != nil {
			t.Fatal(err)
		}
		bans.Replace(nil)
		model := map[string]auth.Ban{}
		draw := func() auth.Ban {
			b := auth.Ban{Kind: rapid.SampledFrom([]auth.BanKind{auth.BanUser, auth.BanUserTokens, auth.BanToken, auth.BanAddress}).Draw(t, "kind")}
			b.Value = rapid.SampledFrom(users[1:]).Draw(t, "value")
			if b.Kind == auth.BanAddress {
				b.Value = rapid.SampledFrom(addresses).Draw(t, "address")
			}
			if b.Kind == auth.BanUserTokens {
				b.IssuedBefore = rapid.Int64Range(0, 3).Draw(t, "before")
			}
			return b
		}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			b := draw()
			key := string(b.Kind) + b.Value
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				bans.Remove(b.Kind, b.Value)
				delete(model, key)
			case 1:
				all := slices.Collect(maps.Values(model))
				if added, unreadable := bans.Replace(append(all, auth.Ban{Kind: "?"})); len(added) != 0 || unreadable != 1 {
					t.Fatalf("the same list anew adds %v, %d cannot be read", added, unreadable)
				}
			default:
				if news := bans.Put(b); news != (model[key] != b) {
					t.Fatalf("%+v is news: %v", b, news)
				}
				model[key] = b
			}
		}
		bans.Remove(auth.BanUser, "root")
		if bans.Put(auth.Ban{Kind: auth.BanUser, Value: "root", ExpiresAt: 1}) {
			t.Fatal("something stands above what is configured")
		}
		if n := len(bans.List()); n != len(model)+1 {
			t.Fatalf("%d are listed, want %d", n, len(model)+1)
		}
		for _, user := range users {
			for issued := range int64(4) {
				id := &auth.Identity{User: user, TokenID: rapid.SampledFrom(users).Draw(t, "jti"), IssuedAt: issued}
				want, token := false, false
				for _, b := range model {
					of := b.Kind == auth.BanToken && b.Value == id.TokenID || b.Kind == auth.BanUserTokens && b.Value == user && issued <= b.IssuedBefore
					token = token || of
					want = want || of || b.Kind == auth.BanUser && b.Value == user
				}
				if _, got := bans.Identity(id); got != want {
					t.Fatalf("%+v is banned: %v, of %v", id, got, model)
				}
				if _, got := bans.Grant(user, &auth.Grant{TokenID: id.TokenID, IssuedAt: issued}); got != token {
					t.Fatalf("a grant of %+v is banned: %v, of %v", id, got, model)
				}
			}
		}
		for _, a := range []string{"192.0.2.7", "192.0.2.8", "10.1.2.3:99", "8.8.8.8", "2001:db8::7", "[2001:db8::7]:80", "2001:db9::1", "::ffff:10.1.2.3", "fe80::1%eth0", "x"} {
			at, want := auth.ParseAddress(a), false
			for _, b := range model {
				if p, err := auth.ParsePrefix(b.Value); b.Kind == auth.BanAddress && err == nil && p.Contains(at) {
					want = true
				}
			}
			if _, got := bans.Address(at); got != want {
				t.Fatalf("%s is banned: %v, of %v", a, got, model)
			}
		}
		if b, got := bans.Identity(&auth.Identity{User: "root"}); !got || !b.Configured {
			t.Fatal("what is configured does not hold")
		}
	})
}

func TestBansEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bans, _ := auth.NewBans(nil)
		if bans.Known() || bans.Put(auth.Ban{Kind: auth.BanUser, Value: "ann"}) {
			t.Error("a list that nobody has read is known")
		}
		at := time.Now().Unix() + 60
		bans.Replace([]auth.Ban{{Kind: auth.BanUser, Value: "ann", ExpiresAt: at}, {Kind: auth.BanAddress, Value: "10.0.0.1", ExpiresAt: at}})
		for _, want := range []bool{true, false} {
			_, user := bans.Identity(&auth.Identity{User: "ann"})
			_, address := bans.Address(auth.ParseAddress("10.0.0.1:5"))
			if user != want || address != want || len(bans.List()) == 2 != want {
				t.Errorf("user %v, address %v, %d listed, want %v", user, address, len(bans.List()), want)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A ban has one spelling, so that it can be taken back by another.
func TestBanSpelling(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.77/24": "192.0.2.0/24", "192.0.2.7/32": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:DB8:0::7": "2001:db8::7", "2001:db8::7/32": "2001:db8::/32",
	} {
		b, err := auth.Ban{Kind: auth.BanAddress, Value: in, IssuedBefore: 5}.Check()
		if err != nil || b.Value != want || b.IssuedBefore != 0 {
			t.Errorf("%s is %+v, %v, want %s", in, b, err, want)
		}
	}
	for _, bad := range []string{"192.0.2", "192.0.2.0/33", "fe80::1%eth0", "example.com", "", fmt.Sprintf("%0256d", 1)} {
		if b, err := (auth.Ban{Kind: auth.BanAddress, Value: bad}).Check(); err == nil {
			t.Errorf("%s is %+v", bad, b)
		}
	}
}
