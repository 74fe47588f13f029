package config

import (
	"maps"
	"net"
	"reflect"
	"slices"
	"time"
)

// finding is a problem of the tree as a whole, whatever it was built from.
type finding struct {
	// about names the keys concerned, the one to change first.
	about []string
	fault
}

func (f finding) path() string {
	if len(f.about) == 0 {
		return ""
	}
	return f.about[0]
}

// Validate checks every value against its range and all values against each
// other. Load has done so; it is for configurations built in Go.
func (c *Config) Validate() []Problem {
	var problems []Problem
	for _, f := range c.findings() {
		problems = append(problems, Problem{Path: f.path(), Message: f.message, Suggestion: f.suggestion})
	}
	return problems
}

func (c *Config) findings() []finding {
	var all []finding
	report := func(flt *fault, about ...string) {
		all = append(all, finding{about: about, fault: *flt})
	}
	inspect(reflect.ValueOf(c).Elem(), rootField(), "", report)
	for _, r := range rules() {
		r.check(c, report)
	}
	return all
}

// inspect holds every value against its tags.
func inspect(v reflect.Value, f field, path string, report func(*fault, ...string)) {
	switch f.typ.Kind() {
	case reflect.Struct:
		for _, child := range fieldsOf(f.typ) {
			inspect(v.Field(child.index), child, join(path, child.name), report)
		}
	case reflect.Map:
		for _, name := range entriesOf(v) {
			full := join(path, name)
			if flt := checkNamespace(name); flt != nil {
				report(flt, full)
			}
			inspect(v.MapIndex(reflect.ValueOf(name)), field{typ: f.typ.Elem()}, full, report)
		}
	default:
		if flt := f.check(v); flt != nil {
			report(flt, path)
		}
	}
}

// entriesOf returns the names in a map of named groups, sorted.
func entriesOf(v reflect.Value) []string {
	names := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		names = append(names, key.String())
	}
	slices.Sort(names)
	return names
}

func sortedNames(namespaces map[string]Namespace) []string {
	return slices.Sorted(maps.Keys(namespaces))
}

// rule is one way in which settings contradict each other.
type rule struct {
	// doc is its line in docs/config.md.
	doc   string
	check func(c *Config, report func(*fault, ...string))
}

func rules() []rule {
	return append([]rule{
		{"Something has to let clients or publishers in: a key for tokens, `api.key`, `auth.anonymous: true`, or `--dev`. A server that is open by accident does not start.", checkDoors},
		{"`--dev` listens on loopback addresses only.", checkDev},
		{"`api.insecure` needs a loopback listener, and no `api.key` beside it.", checkAPI},
		{"`listen`, `admin.listen` and `cluster.listen` differ.", checkListen},
		{"`tls.cert_file` and `tls.key_file` come together.", checkTLS},
		{"`auth.tokens.audience` and `auth.tokens.issuer` need a key to check tokens with.", checkTokens},
		{"`client.ping_interval` is in whole seconds and longer than `client.pong_timeout`.", checkPing},
		{"`limits.message` fits into `limits.queue`.", checkQueue},
		{"`drain.grace` is shorter than `drain.timeout`.", checkDrain},
		{"There are at most 1000 namespaces, one of them `default`.", checkNamespaces},
	}, slices.Concat(namespaceRules(), stateRules(), engineRules(), clusterRules(), hookRules(), limitRules(), doorRules(), consumerRules(), deliveryRules())...)
}

func checkDoors(c *Config, report func(*fault, ...string)) {
	if c.DevMode || c.hasTokenKey() || c.API.Key != "" || c.API.Insecure || c.Auth.Anonymous || c.Pusher.Key != "" || c.Hooks.Connect.URL != "" {
		return
	}
	report(faultf("nothing lets a client in: set auth.tokens.hmac_secret, public_key_file or jwks_url, or api.key, "+
		"or say auth.anonymous: true; to try things out on this machine use --dev"),
		"auth", "auth.anonymous", "auth.tokens.hmac_secret", "auth.tokens.public_key_file", "auth.tokens.jwks_url", "api.key", "api.insecure")
}

func (c *Config) hasTokenKey() bool {
	t := c.Auth.Tokens
	return t.HMACSecret != "" || t.PublicKeyFile != "" || t.JWKSURL != ""
}

func checkDev(c *Config, report func(*fault, ...string)) {
	if !c.DevMode {
		return
	}
	const say = "%s can be reached from other machines, which --dev does not allow, because it lets everybody do everything; use 127.0.0.1 or leave --dev out"
	if !Loopback(c.Listen) {
		report(faultf(say, quote(c.Listen)), "listen")
	}
	if c.Admin.Listen != "" && !Loopback(c.Admin.Listen) {
		report(faultf(say, quote(c.Admin.Listen)), "admin.listen")
	}
	if c.Clustered() && !Loopback(c.Cluster.Listen) {
		report(faultf(say, quote(c.Cluster.Listen)), "cluster.listen")
	}
}

func checkAPI(c *Config, report func(*fault, ...string)) {
	if !c.API.Insecure || c.DevMode {
		return
	}
	if !Loopback(c.Listen) {
		report(faultf("the API without a key is for loopback listeners, but listen is %s; set api.key instead", quote(c.Listen)), "api.insecure", "listen")
	}
	if c.API.Key != "" {
		report(faultf("api.key is set, but api.insecure means that no key is asked for; keep one of them"), "api.insecure", "api.key")
	}
}

func checkListen(c *Config, report func(*fault, ...string)) {
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil && c.Listen == c.Admin.Listen && port != "0" {
		report(faultf("both listeners have the address %s; give admin another one, or \"\" to switch it off", c.Listen), "admin.listen", "listen")
	}
	if c.Clustered() && (c.Cluster.Listen == c.Listen || c.Cluster.Listen == c.Admin.Listen) {
		report(faultf("another listener has the address %s; the nodes need one of their own", c.Cluster.Listen), "cluster.listen", "listen", "admin.listen")
	}
}

func checkTLS(c *Config, report func(*fault, ...string)) {
	switch {
	case c.TLS.CertFile != "" && c.TLS.KeyFile == "":
		report(faultf("a certificate needs its private key: set tls.key_file"), "tls.cert_file", "tls.key_file")
	case c.TLS.CertFile == "" && c.TLS.KeyFile != "":
		report(faultf("a private key needs its certificate: set tls.cert_file"), "tls.key_file", "tls.cert_file")
	}
}

func checkTokens(c *Config, report func(*fault, ...string)) {
	if c.hasTokenKey() {
		return
	}
	keys := []string{"auth.tokens.hmac_secret", "auth.tokens.public_key_file", "auth.tokens.jwks_url"}
	const say = "has no effect, because no key is set that tokens could be checked with"
	if c.Auth.Tokens.Audience != "" {
		report(faultf(say), append([]string{"auth.tokens.audience"}, keys...)...)
	}
	if c.Auth.Tokens.Issuer != "" {
		report(faultf(say), append([]string{"auth.tokens.issuer"}, keys...)...)
	}
}

func checkPing(c *Config, report func(*fault, ...string)) {
	ping, pong := c.Client.PingInterval, c.Client.PongTimeout
	if time.Duration(ping)%time.Second != 0 {
		whole := Duration(time.Duration(ping).Round(time.Second))
		report(faultf("%v is not a whole number of seconds", ping).suggest(whole.String()), "client.ping_interval")
	}
	if pong >= ping {
		report(faultf("the timeout %v is not shorter than client.ping_interval, %v", pong, ping), "client.pong_timeout", "client.ping_interval")
	}
}

func checkQueue(c *Config, report func(*fault, ...string)) {
	if c.Limits.Message > c.Limits.Queue {
		report(faultf("a message of %v would never fit into limits.queue, %v; raise the queue to at least %v",
			c.Limits.Message, c.Limits.Queue, c.Limits.Message), "limits.message", "limits.queue")
	}
}

func checkDrain(c *Config, report func(*fault, ...string)) {
	if c.Drain.Grace >= c.Drain.Timeout {
		report(faultf("the grace of %v leaves no time to close connections within drain.timeout, %v", c.Drain.Grace, c.Drain.Timeout),
			"drain.grace", "drain.timeout")
	}
}

func checkNamespaces(c *Config, report func(*fault, ...string)) {
	if len(c.Namespaces) > maxNamespaces {
		report(faultf("%d namespaces are too many, at most %d", len(c.Namespaces), maxNamespaces), "namespaces")
	}
	if _, ok := c.Namespaces[DefaultNamespace]; !ok {
		report(faultf("the namespace %s is missing", DefaultNamespace), "namespaces")
	}
}

// eachNamespace is a rule within one namespace, for all of them.
func eachNamespace(doc string, check func(n Namespace, report func(*fault, ...string))) rule {
	return rule{doc, func(c *Config, report func(*fault, ...string)) {
		for _, name := range sortedNames(c.Namespaces) {
			check(c.Namespaces[name], func(flt *fault, keys ...string) {
				about := make([]string, len(keys))
				for i, key := range keys {
					about[i] = join("namespaces."+name, key)
				}
				report(flt, about...)
			})
		}
	}}
}

// namespaceRules are the rules within one namespace.
func namespaceRules() []rule {
	each := eachNamespace
	return []rule{
		each("In a namespace, `recover: true` needs history.", checkRecover),
		each("In a namespace, `history.meta_ttl` is not shorter than `history.ttl`.", checkMetaTTL),
		{"In a namespace, `durability: async` and `sync` need an engine that keeps: disk or jetstream. On NATS servers elsewhere `sync` needs `engine.jetstream.synced: true`.", checkDurability},
		each("In a namespace, `publish: [subscriber]` needs somebody who may subscribe.", checkSubscriber),
		each("In a namespace, `nobody` stands alone in its list.", checkNobody),
	}
}

func checkRecover(n Namespace, report func(*fault, ...string)) {
	if n.Recover == On && n.Keeps() == 0 {
		report(faultf("nothing can be recovered without history: set history.size, or leave recover out"), "recover", "history.size")
	}
}

func checkMetaTTL(n Namespace, report func(*fault, ...string)) {
	if keep, ttl := n.History.MetaTTL, n.History.TTL; keep < ttl {
		report(faultf("publications are kept for %v, but their channel's position only for %v; set history.meta_ttl to at least %v",
			ttl, keep, ttl), "history.meta_ttl", "history.ttl")
	}
}

func checkSubscriber(n Namespace, report func(*fault, ...string)) {
	if slices.Contains(n.Publish, "subscriber") && slices.Equal(n.Subscribe, []string{nobody}) {
		report(faultf("subscribers may publish, but nobody may subscribe; for channels that only tokens grant use subscribe: [token]"),
			"publish", "subscribe")
	}
}

func checkNobody(n Namespace, report func(*fault, ...string)) {
	lists := []struct {
		key string
		who []string
	}{
		{"subscribe", n.Subscribe},
		{"publish", n.Publish},
		{"subscribe_patterns", n.Patterns},
		{"read_presence", n.ReadPresence},
		{"read_history", n.ReadHistory},
	}
	for _, list := range lists {
		if !slices.Contains(list.who, nobody) {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(list.who), func(who string) bool { return who == nobody })
		if len(others) > 0 {
			report(faultf("%s contradicts %s; keep [%s] or the others", nobody, either(others), nobody), list.key)
		}
	}
}

// nobody is the word that grants a right to no client.
const nobody = "nobody"
