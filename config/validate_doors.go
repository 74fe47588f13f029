package config

import "slices"

// doorRules are the rules about the doors of other protocols.
func doorRules() []rule {
	return []rule{
		{"`pusher.key`, `app_id` and `secret` come together; the two namespaces are configured and differ, and the private one lets in `token` and not `anonymous`.", checkPusher},
		{"`mercure.enabled` needs a key to check tokens with, and two namespaces likewise.", checkMercure},
	}
}

func checkPusher(c *Config, report func(*fault, ...string)) {
	p := c.Pusher
	if p.Key == "" && p.AppID == "" && p.Secret == "" {
		return
	}
	for _, s := range []struct {
		key   string
		there bool
	}{
		{"pusher.key", p.Key != ""}, {"pusher.app_id", p.AppID != ""}, {"pusher.secret", p.Secret != ""},
	} {
		if !s.there {
			report(faultf("an application of Pusher has an id, a key and a secret; set all three, or none to switch the door off"), s.key, "pusher.key", "pusher.app_id", "pusher.secret")
		}
	}
	checkTwoNamespaces(c, report, "pusher.namespace", p.Namespace, "pusher.private_namespace", p.PrivateNamespace)
}

func checkMercure(c *Config, report func(*fault, ...string)) {
	m := c.Mercure
	if !m.Enabled {
		return
	}
	if !c.hasTokenKey() && !c.DevMode {
		report(faultf("nobody could publish without a key to check tokens with; set auth.tokens.hmac_secret, public_key_file or jwks_url"),
			"mercure.enabled", "auth.tokens.hmac_secret")
	}
	checkTwoNamespaces(c, report, "mercure.namespace", m.Namespace, "mercure.private_namespace", m.PrivateNamespace)
}

// checkTwoNamespaces checks those of a door that keeps what is private apart.
func checkTwoNamespaces(c *Config, report func(*fault, ...string), publicKey, public, privateKey, private string) {
	for _, s := range []struct{ key, name string }{{publicKey, public}, {privateKey, private}} {
		if _, ok := c.Namespaces[s.name]; !ok {
			report(faultf("namespace %s is not configured; add it to namespaces", quote(s.name)), s.key)
		}
	}
	if public == private {
		report(faultf("who may have what is public would have what is private; name two namespaces"), privateKey, publicKey)
		return
	}
	ns, ok := c.Namespaces[private]
	path := "namespaces." + private + ".subscribe"
	switch {
	case !ok || c.DevMode:
	case slices.Contains(ns.Subscribe, "anonymous"):
		report(faultf("anonymous clients of other doors would have what is private; use [token]"), path, privateKey)
	case !slices.Contains(ns.Subscribe, "token"):
		report(faultf("this door's word is to a private channel what a subscription token is; add token"), path, privateKey)
	}
}
