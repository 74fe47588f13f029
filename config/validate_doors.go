package config

import "slices"

// doorRules are the rules about the doors of other protocols.
func doorRules() []rule {
	return []rule{
		{"`pusher.key`, `app_id` and `secret` come together; the two namespaces are configured and differ, and the private one lets in `token` and not `anonymous`.", checkPusher},
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
	for _, s := range []struct{ key, name string }{
		{"pusher.namespace", p.Namespace}, {"pusher.private_namespace", p.PrivateNamespace},
	} {
		if _, ok := c.Namespaces[s.name]; !ok {
			report(faultf("namespace %s is not configured; add it to namespaces", quote(s.name)), s.key, "pusher.key")
		}
	}
	if p.Namespace == p.PrivateNamespace {
		report(faultf("who may have public channels would have the private ones; name two namespaces"), "pusher.private_namespace", "pusher.namespace")
		return
	}
	ns, ok := c.Namespaces[p.PrivateNamespace]
	path := "namespaces." + p.PrivateNamespace + ".subscribe"
	switch {
	case !ok || c.DevMode:
	case slices.Contains(ns.Subscribe, "anonymous"):
		report(faultf("anonymous clients of other doors would need no signature for private channels; use [token]"), path, "pusher.private_namespace")
	case !slices.Contains(ns.Subscribe, "token"):
		report(faultf("a signature is to a private channel what a subscription token is; add token"), path, "pusher.private_namespace")
	}
}
