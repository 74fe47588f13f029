package auth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/auth"
)

// bubbleStart is the time at which every synctest bubble begins.
const bubbleStart = 946684800

// claimCase is a connection token and what becomes of it.
type claimCase struct {
	claims obj
	want   auth.Identity
}

func TestConnectionClaims(t *testing.T) {
	now := int64(bubbleStart)
	checkClaims(t, map[string]claimCase{
		"user":                     {obj{"sub": "42"}, auth.Identity{User: "42"}},
		"empty user is anonymous":  {obj{"sub": ""}, auth.Identity{Anonymous: true}},
		"no user is anonymous":     {obj{}, auth.Identity{Anonymous: true}},
		"null user is anonymous":   {obj{"sub": nil}, auth.Identity{Anonymous: true}},
		"case of names matters":    {obj{"sub": "a", "SUB": "b", "Sub": "c"}, auth.Identity{User: "a"}},
		"unknown claims":           {obj{"sub": "a", "scope": "x", "azp": 1}, auth.Identity{User: "a"}},
		"exp":                      {obj{"sub": "a", "exp": now + 60}, auth.Identity{User: "a", ExpiresAt: now + 60}},
		"exp with a fraction":      {obj{"sub": "a", "exp": float64(now) + 60.9}, auth.Identity{User: "a", ExpiresAt: now + 60}},
		"expire_at beside exp":     {obj{"sub": "a", "exp": now + 60, "expire_at": now + 9}, auth.Identity{User: "a", ExpiresAt: now + 9}},
		"expire_at without exp":    {obj{"sub": "a", "expire_at": now + 9}, auth.Identity{User: "a", ExpiresAt: now + 9}},
		"expire_at 0 is never":     {obj{"sub": "a", "exp": now + 60, "expire_at": 0}, auth.Identity{User: "a"}},
		"nbf reached":              {obj{"sub": "a", "nbf": now}, auth.Identity{User: "a"}},
		"iat and jti":              {obj{"sub": "a", "iat": now - 5, "jti": "t1"}, auth.Identity{User: "a", IssuedAt: now - 5, TokenID: "t1"}},
		"iat to come is no reason": {obj{"sub": "a", "iat": now + 5}, auth.Identity{User: "a", IssuedAt: now + 5}},
		"info":                     {obj{"sub": "a", "info": obj{"name": "Ada"}}, auth.Identity{User: "a", Info: []byte(`{"name":"Ada"}`)}},
		"info null":                {obj{"sub": "a", "info": nil, "meta": nil}, auth.Identity{User: "a"}},
		"info any JSON":            {obj{"sub": "a", "info": 7}, auth.Identity{User: "a", Info: []byte(`7`)}},
		"b64info":                  {obj{"sub": "a", "b64info": "AAH/"}, auth.Identity{User: "a", Info: []byte{0, 1, 255}}},
		"b64info before info":      {obj{"sub": "a", "info": 1, "b64info": "AAH/"}, auth.Identity{User: "a", Info: []byte{0, 1, 255}}},
		"meta":                     {obj{"sub": "a", "meta": obj{"k": 1}}, auth.Identity{User: "a", Meta: []byte(`{"k":1}`)}},
		"limits": {
			obj{"sub": "a", "limits": obj{"commands_per_second": 1, "publish_per_second": 2, "bytes_per_second": 3, "connections": 4, "subscriptions": 5}},
			auth.Identity{User: "a", Limits: &auth.Limits{CommandsPerSecond: 1, PublishPerSecond: 2, BytesPerSecond: 3, Connections: 4, Subscriptions: 5}},
		},
		"channels":               {obj{"sub": "a", "channels": []string{"x", "y:z"}}, auth.Identity{User: "a", Channels: []string{"x", "y:z"}}},
		"audience not asked for": {obj{"sub": "a", "aud": "x", "iss": "y"}, auth.Identity{User: "a"}},
	})
}

func TestConnectionSubsAndCaps(t *testing.T) {
	yes, no := true, false
	checkClaims(t, map[string]claimCase{
		"subs": {
			obj{"sub": "a", "subs": obj{
				"news": obj{"info": 1, "data": obj{"hi": 1}, "override": obj{
					"presence": obj{"value": true}, "join_leave": obj{"value": false},
					"force_push_join_leave": obj{}, "force_positioning": obj{"value": true}, "force_recovery": obj{"value": true},
				}},
				"raw":   obj{"b64info": "AQ==", "b64data": "Ag==", "new_option": 1},
				"plain": nil,
			}},
			auth.Identity{User: "a", Subs: map[string]auth.SubOptions{
				"news": {Info: []byte("1"), Data: []byte(`{"hi":1}`), Override: auth.Override{
					Presence: &yes, JoinLeave: &no, ForcePushJoinLeave: &no, ForcePositioning: &yes, ForceRecovery: &yes,
				}},
				"raw":   {Info: []byte{1}, Data: []byte{2}},
				"plain": {},
			}},
		},
		"caps": {
			obj{"sub": "a", "caps": []obj{
				{"channels": []string{"x"}, "allow": []string{"sub", "pub"}},
				{"channels": []string{"n:*"}, "match": "wildcard", "allow": []string{"prs", "hst"}},
			}},
			auth.Identity{User: "a", Caps: []auth.Capability{
				{Channels: []string{"x"}, Allow: []string{"sub", "pub"}},
				{Channels: []string{"n:*"}, Match: auth.MatchWildcard, Allow: []string{"prs", "hst"}},
			}},
		},
	})
}

func checkClaims(t *testing.T, cases map[string]claimCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, auth.Options{HMACSecret: secret})
				got, err := v.Connection(hmacToken(t, c.claims))
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(*got, c.want) {
					t.Errorf("got  %+v\nwant %+v", *got, c.want)
				}
			})
		})
	}
}

// refusalCase is what spoils a good connection token, and how it is refused.
type refusalCase struct {
	claims obj
	kind   error
	reason auth.Reason
	say    string
}

func TestConnectionRefusals(t *testing.T) {
	now := int64(bubbleStart)
	checkRefusals(t, map[string]refusalCase{
		"expired":                 {obj{"exp": now - 1}, auth.ErrTokenExpired, auth.ReasonExpired, "token expired at 1999-12-31T23:59:59Z"},
		"expires now":             {obj{"exp": now}, auth.ErrTokenExpired, auth.ReasonExpired, "token expired at"},
		"limit of zero":           {obj{"limits": obj{"connections": 0}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"limits.connections" is 0, want 1 to`},
		"limit below zero":        {obj{"limits": obj{"connections": -5}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"limits.connections" is -5`},
		"limit with a fraction":   {obj{"limits": obj{"publish_per_second": 0.5}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"limits.publish_per_second" must be a whole number`},
		"limit that is none":      {obj{"limits": obj{"publishes": 5}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"limits.publishes" is no limit`},
		"limits as a number":      {obj{"limits": 5}, auth.ErrTokenInvalid, auth.ReasonClaim, `"limits" must be an object`},
		"exp zero":                {obj{"exp": 0}, auth.ErrTokenExpired, auth.ReasonExpired, "1970-01-01"},
		"expire_at past":          {obj{"expire_at": now - 1}, auth.ErrTokenExpired, auth.ReasonExpired, `"expire_at" in the past`},
		"early":                   {obj{"nbf": now + 1}, auth.ErrTokenExpired, auth.ReasonEarly, "not valid before 2000-01-01T00:00:01Z"},
		"exp in milliseconds":     {obj{"exp": 1700000000000}, auth.ErrTokenInvalid, auth.ReasonClaim, `claim "exp" lies after the year 9999, it must be in seconds`},
		"exp as text":             {obj{"exp": "17"}, auth.ErrTokenInvalid, auth.ReasonClaim, `claim "exp" must be a number of seconds since 1970, it is a string`},
		"exp negative":            {obj{"exp": -1}, auth.ErrTokenInvalid, auth.ReasonClaim, "negative"},
		"exp beyond numbers":      {obj{"exp": json.RawMessage("1e999")}, auth.ErrTokenInvalid, auth.ReasonClaim, `"exp"`},
		"nbf as object":           {obj{"nbf": obj{}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"nbf" must be a number of seconds since 1970, it is an object`},
		"iat as bool":             {obj{"iat": true}, auth.ErrTokenInvalid, auth.ReasonClaim, "it is true or false"},
		"expire_at as text":       {obj{"expire_at": ""}, auth.ErrTokenInvalid, auth.ReasonClaim, `"expire_at"`},
		"audience":                {obj{"aud": "x"}, auth.ErrTokenInvalid, auth.ReasonAudience, `token audience is "x", want "myelin"`},
		"audiences":               {obj{"aud": []string{"x", "y"}}, auth.ErrTokenInvalid, auth.ReasonAudience, `token audience is "x", "y", want "myelin"`},
		"many audiences":          {obj{"aud": strings.Split("a b c d e f g h i", " ")}, auth.ErrTokenInvalid, auth.ReasonAudience, "5 more"},
		"long audience":           {obj{"aud": "x" + strings.Repeat("é", 99)}, auth.ErrTokenInvalid, auth.ReasonAudience, `"x` + strings.Repeat("é", 31) + `"...`},
		"no audience":             {obj{"aud": nil}, auth.ErrTokenInvalid, auth.ReasonAudience, `token has no audience, want "myelin"`},
		"empty audiences":         {obj{"aud": []string{}}, auth.ErrTokenInvalid, auth.ReasonAudience, "no audience"},
		"audience as number":      {obj{"aud": 1}, auth.ErrTokenInvalid, auth.ReasonClaim, `"aud" must be an array of strings, it is a number`},
		"issuer":                  {obj{"iss": "evil"}, auth.ErrTokenInvalid, auth.ReasonIssuer, `token issuer is "evil", want "app"`},
		"no issuer":               {obj{"iss": nil}, auth.ErrTokenInvalid, auth.ReasonIssuer, `token has no issuer, want "app"`},
		"issuer as array":         {obj{"iss": []string{"app"}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"iss" must be a string, it is an array`},
		"user as number":          {obj{"sub": 42}, auth.ErrTokenInvalid, auth.ReasonClaim, `claim "sub" must be a string, it is a number`},
		"long user":               {obj{"sub": strings.Repeat("u", 256)}, auth.ErrTokenInvalid, auth.ReasonClaim, "256 bytes, at most 255"},
		"subscription token":      {obj{"channel": "news"}, auth.ErrTokenInvalid, auth.ReasonClaim, "subscription token"},
		"b64info":                 {obj{"b64info": "no!"}, auth.ErrTokenInvalid, auth.ReasonClaim, `"b64info" must be standard base64`},
		"jti as number":           {obj{"jti": 1}, auth.ErrTokenInvalid, auth.ReasonClaim, `"jti" must be a string`},
		"first mistake is spoken": {obj{"exp": "x", "nbf": "y"}, auth.ErrTokenInvalid, auth.ReasonClaim, `"exp"`},
		"long jti":                {obj{"jti": strings.Repeat("j", 256)}, auth.ErrTokenInvalid, auth.ReasonClaim, `"jti" has 256 bytes`},
	})
}

func TestConnectionShapeRefusals(t *testing.T) {
	many, manySubs := make([]string, 1025), obj{}
	for i := range many {
		many[i] = "c"
		manySubs[fmt.Sprint(i)] = obj{}
	}
	cap1 := func(c obj) obj { return obj{"caps": []obj{c}} }
	sub1 := func(o any) obj { return obj{"subs": obj{"news": o}} }
	checkRefusals(t, map[string]refusalCase{
		"channels as text":       {obj{"channels": "news"}, auth.ErrTokenInvalid, auth.ReasonClaim, `"channels" must be an array of strings, it is a string`},
		"empty channel":          {obj{"channels": []string{""}}, auth.ErrTokenInvalid, auth.ReasonClaim, "empty channel name"},
		"long channel":           {obj{"channels": []string{strings.Repeat("c", 256)}}, auth.ErrTokenInvalid, auth.ReasonClaim, "256 bytes, at most 255"},
		"too many channels":      {obj{"channels": many}, auth.ErrTokenInvalid, auth.ReasonClaim, "1025 entries, at most 1024"},
		"subs as array":          {obj{"subs": []string{}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"subs" must be an object, it is an array`},
		"sub options as bool":    {sub1(true), auth.ErrTokenInvalid, auth.ReasonClaim, `"subs.news" must be an object`},
		"sub b64data":            {sub1(obj{"b64data": "!"}), auth.ErrTokenInvalid, auth.ReasonClaim, `"subs.news.b64data" must be standard base64`},
		"override as array":      {sub1(obj{"override": []int{}}), auth.ErrTokenInvalid, auth.ReasonClaim, `"subs.news.override" must be an object`},
		"override without value": {sub1(obj{"override": obj{"presence": true}}), auth.ErrTokenInvalid, auth.ReasonClaim, `"subs.news.override.presence" must be {"value": true}`},
		"long sub":               {obj{"subs": obj{strings.Repeat("c", 256): obj{}}}, auth.ErrTokenInvalid, auth.ReasonClaim, "256 bytes"},
		"caps as object":         {obj{"caps": obj{}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"caps" must be an array of objects, it is an object`},
		"too many caps":          {obj{"caps": make([]obj, 65)}, auth.ErrTokenInvalid, auth.ReasonClaim, "65 entries, at most 64"},
		"too many cap channels":  {cap1(obj{"channels": many[:257]}), auth.ErrTokenInvalid, auth.ReasonClaim, `"caps.0.channels" has 257 entries`},
		"empty cap channel":      {cap1(obj{"channels": []string{""}}), auth.ErrTokenInvalid, auth.ReasonClaim, `"caps.0.channels" has an entry that is empty`},
		"long cap pattern":       {cap1(obj{"channels": []string{strings.Repeat("*", 256)}}), auth.ErrTokenInvalid, auth.ReasonClaim, "256 bytes, at most 255"},
		"unknown verb":           {cap1(obj{"allow": []string{"write"}}), auth.ErrTokenInvalid, auth.ReasonClaim, `"caps.0.allow" has an unknown verb "write", want sub, pub, prs or hst`},
		"regex is not supported": {cap1(obj{"match": "regex"}), auth.ErrTokenInvalid, auth.ReasonClaim, `"caps.0.match" is "regex", want "wildcard" or none`},
		"match as number":        {cap1(obj{"match": 1}), auth.ErrTokenInvalid, auth.ReasonClaim, `"caps.0.match" must be a string`},
		"too many subs":          {obj{"subs": manySubs}, auth.ErrTokenInvalid, auth.ReasonClaim, `"subs" has 1025 entries, at most 1024`},
	})
}

func checkRefusals(t *testing.T, cases map[string]refusalCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, auth.Options{HMACSecret: secret, Audience: "myelin", Issuer: "app"})
				claims := obj{"sub": "a", "aud": []string{"other", "myelin"}, "iss": "app"}
				maps.Copy(claims, c.claims)
				token := hmacToken(t, claims)
				got, err := v.Connection(token)
				if got != nil {
					t.Errorf("refused with an identity: %+v", got)
				}
				refused(t, err, c.kind, c.reason, token, c.say)
			})
		})
	}
}

func TestAudienceAndIssuer(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret, Audience: "myelin", Issuer: "app"})
	for _, audience := range []any{"myelin", []string{"other", "myelin"}} {
		if _, err := v.Connection(hmacToken(t, obj{"sub": "a", "aud": audience, "iss": "app"})); err != nil {
			t.Errorf("audience %v was refused: %v", audience, err)
		}
	}
}

func TestLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		v := newVerifier(t, auth.Options{HMACSecret: secret, Leeway: 5 * time.Second})
		id, err := v.Connection(hmacToken(t, obj{"sub": "a", "exp": now - 4, "nbf": now + 5}))
		if err != nil {
			t.Fatal(err)
		}
		if id.ExpiresAt != now+1 {
			t.Errorf("ExpiresAt is %d, want %d: a session must not be over before the token is", id.ExpiresAt, now+1)
		}
		token := hmacToken(t, obj{"sub": "a", "exp": now - 5})
		_, err = v.Connection(token)
		refused(t, err, auth.ErrTokenExpired, auth.ReasonExpired, token)
		token = hmacToken(t, obj{"sub": "a", "nbf": now + 6})
		_, err = v.Connection(token)
		refused(t, err, auth.ErrTokenExpired, auth.ReasonEarly, token)
	})
}

func TestTokenExpiresWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, auth.Options{HMACSecret: secret})
		token := hmacToken(t, obj{"sub": "a", "exp": time.Now().Unix() + 10})
		time.Sleep(10*time.Second - time.Nanosecond)
		if _, err := v.Connection(token); err != nil {
			t.Fatalf("refused before its time: %v", err)
		}
		time.Sleep(time.Nanosecond)
		_, err := v.Connection(token)
		refused(t, err, auth.ErrTokenExpired, auth.ReasonExpired, token)
	})
}

func TestUserIDClaim(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret, UserIDClaim: "uid"})
	id, err := v.Connection(hmacToken(t, obj{"sub": "account", "uid": "7"}))
	if err != nil || id.User != "7" || id.Anonymous {
		t.Errorf("got %+v, %v", id, err)
	}
	token := hmacToken(t, obj{"sub": "account"})
	_, err = v.Connection(token)
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonClaim, token, `claim "uid" is missing`)

	if _, err := v.Subscription(hmacToken(t, obj{"uid": "7", "channel": "news"}), "7", "c", "news"); err != nil {
		t.Error(err)
	}
	token = hmacToken(t, obj{"sub": "7", "channel": "news"})
	_, err = v.Subscription(token, "7", "c", "news")
	refused(t, err, auth.ErrTokenInvalid, auth.ReasonUser, token)
}

func TestSubscription(t *testing.T) {
	now := int64(bubbleStart)
	yes := true
	for name, c := range map[string]struct {
		claims obj
		user   string
		want   auth.Grant
	}{
		"plain":                {obj{"sub": "42", "channel": "news"}, "42", auth.Grant{}},
		"anonymous":            {obj{"channel": "news"}, "", auth.Grant{}},
		"anonymous said aloud": {obj{"channel": "news", "sub": ""}, "", auth.Grant{}},
		"client without user":  {obj{"channel": "news", "client": "c1"}, "42", auth.Grant{}},
		"client and user":      {obj{"channel": "news", "client": "c1", "sub": "42"}, "42", auth.Grant{}},
		"empty client":         {obj{"channel": "news", "client": "", "sub": "42"}, "42", auth.Grant{}},
		"exp":                  {obj{"sub": "42", "channel": "news", "exp": now + 60}, "42", auth.Grant{ExpiresAt: now + 60}},
		"expire_at":            {obj{"sub": "42", "channel": "news", "exp": now + 60, "expire_at": now + 600}, "42", auth.Grant{ExpiresAt: now + 600}},
		"expire_at 0":          {obj{"sub": "42", "channel": "news", "exp": now + 60, "expire_at": 0}, "42", auth.Grant{}},
		"everything": {
			obj{
				"sub": "42", "channel": "news", "info": obj{"a": 1}, "b64data": "AQI=", "iat": now, "jti": "t",
				"allow": []string{"pub", "hst"}, "override": obj{"force_recovery": obj{"value": true}},
			},
			"42",
			auth.Grant{
				SubOptions: auth.SubOptions{Info: []byte(`{"a":1}`), Data: []byte{1, 2}, Override: auth.Override{ForceRecovery: &yes}},
				Allow:      []string{"pub", "hst"}, IssuedAt: now, TokenID: "t",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, auth.Options{HMACSecret: secret})
				c.want.Channel = "news"
				got, err := v.Subscription(hmacToken(t, c.claims), c.user, "c1", "news")
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(*got, c.want) {
					t.Errorf("got  %+v\nwant %+v", *got, c.want)
				}
			})
		})
	}
}

func TestSubscriptionRefusals(t *testing.T) {
	now := int64(bubbleStart)
	for name, c := range map[string]struct {
		claims obj
		kind   error
		reason auth.Reason
		say    string
	}{
		"connection token":    {obj{"sub": "42"}, auth.ErrTokenInvalid, auth.ReasonChannel, `no claim "channel": it is a connection token, want a subscription token for "news"`},
		"other channel":       {obj{"sub": "42", "channel": "New"}, auth.ErrTokenInvalid, auth.ReasonChannel, `token is for channel "New", not for "news"`},
		"channel as pattern":  {obj{"sub": "42", "channel": "*"}, auth.ErrTokenInvalid, auth.ReasonChannel, `"*"`},
		"channel as list":     {obj{"sub": "42", "channel": []string{"news"}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"channel" must be a string`},
		"other user":          {obj{"sub": "43", "channel": "news"}, auth.ErrTokenInvalid, auth.ReasonUser, `token is for user "43"`},
		"no user":             {obj{"channel": "news"}, auth.ErrTokenInvalid, auth.ReasonUser, `token is for an anonymous user, this connection is of user "42"`},
		"user as number":      {obj{"sub": 42, "channel": "news"}, auth.ErrTokenInvalid, auth.ReasonClaim, `"sub" must be a string`},
		"other client":        {obj{"sub": "42", "client": "c2", "channel": "news"}, auth.ErrTokenInvalid, auth.ReasonClient, `token is for client "c2"`},
		"client, other user":  {obj{"sub": "43", "client": "c1", "channel": "news"}, auth.ErrTokenInvalid, auth.ReasonUser, `"43"`},
		"expired":             {obj{"sub": "42", "channel": "news", "exp": now - 1, "expire_at": 0}, auth.ErrTokenExpired, auth.ReasonExpired, "token expired"},
		"expire_at past":      {obj{"sub": "42", "channel": "news", "expire_at": now - 1}, auth.ErrTokenExpired, auth.ReasonExpired, "expire_at"},
		"unknown verb":        {obj{"sub": "42", "channel": "news", "allow": []string{"all"}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"allow" has an unknown verb "all"`},
		"allow as text":       {obj{"sub": "42", "channel": "news", "allow": "pub"}, auth.ErrTokenInvalid, auth.ReasonClaim, `"allow" must be an array of strings`},
		"override is no list": {obj{"sub": "42", "channel": "news", "override": []int{}}, auth.ErrTokenInvalid, auth.ReasonClaim, `"override" must be an object`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, auth.Options{HMACSecret: secret})
				token := hmacToken(t, c.claims)
				got, err := v.Subscription(token, "42", "c1", "news")
				if got != nil {
					t.Errorf("refused with a grant: %+v", got)
				}
				refused(t, err, c.kind, c.reason, token, c.say)
			})
		})
	}
}

func TestMalformed(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret, MaxTokenBytes: 512})
	good := hmacToken(t, obj{"sub": "a"})
	parts := strings.Split(good, ".")
	head := `{"alg":"HS256"}`
	for name, c := range map[string]struct{ token, say string }{
		"empty":             {"", "token is empty"},
		"too long":          {good + strings.Repeat("A", 512), "at most 512 are allowed"},
		"no dots":           {"token", "token has 1 parts between dots"},
		"four parts":        {good + ".x", "token has 4 parts"},
		"only dots":         {"..", "no JSON Web Token"},
		"encrypted":         {"a.b.c.d.e", "token has 5 parts"},
		"base64 padding":    {parts[0] + "=." + parts[1] + "." + parts[2], "base64url without padding"},
		"standard base64":   {"+/" + good, "base64url"},
		"header no JSON":    {forge("alg", "{}", nil), "JSON objects"},
		"header array":      {forge("[]", "{}", nil), "JSON objects"},
		"payload no JSON":   {forge(head, "sub", nil), "JSON objects"},
		"payload array":     {forge(head, "[]", nil), "JSON objects"},
		"payload truncated": {forge(head, `{"sub":`, nil), "JSON objects"},
		"payload trailing":  {forge(head, `{} {}`, nil), "JSON objects"},
		"signature bits":    {good[:len(good)-1] + nextBase64(good[len(good)-1]), "base64url"},
		"line break":        {good + "\n", "line break"},
		"kid number":        {forge(`{"alg":"HS256","kid":1}`, "{}", nil), `"kid" in its header that is not a string`},
		"long kid":          {forge(`{"alg":"HS256","kid":"`+strings.Repeat("k", 256)+`"}`, "{}", nil), `"kid" of 256 bytes`},
		"critical header":   {forge(`{"alg":"HS256","crit":["b64"],"b64":false}`, "{}", nil), "critical extensions"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Connection(c.token)
			refused(t, err, auth.ErrTokenInvalid, auth.ReasonMalformed, c.token, c.say)
			_, err = v.Subscription(c.token, "", "", "news")
			refused(t, err, auth.ErrTokenInvalid, auth.ReasonMalformed, c.token, c.say)
		})
	}
	signer := newSigner(t, auth.SignerOptions{HMACSecret: secret})
	token := sign(t, signer, json.RawMessage(`{"a":1}`))
	if _, err := v.Connection(token); err != nil {
		t.Error(err)
	}
}

// nextBase64 changes only the unused bits of a last character, which a lax
// decoder would not notice.
func nextBase64(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func TestDisabled(t *testing.T) {
	v := newVerifier(t, auth.Options{})
	if v.Enabled() || !v.Ready() || len(v.Algorithms()) != 0 {
		t.Errorf("Enabled %v, Ready %v, Algorithms %v", v.Enabled(), v.Ready(), v.Algorithms())
	}
	for _, token := range []string{"", hmacToken(t, obj{"sub": "a"}), forge(`{"alg":"none"}`, "{}", nil)} {
		_, err := v.Connection(token)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonDisabled, token, "no key to check tokens with")
	}
}

func TestErrorIsItsSentinel(t *testing.T) {
	v := newVerifier(t, auth.Options{HMACSecret: secret})
	_, err := v.Connection("x")
	if !errors.Is(err, auth.ErrTokenInvalid) || errors.Is(err, auth.ErrTokenExpired) || errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("%v is not only ErrTokenInvalid", err)
	}
}
