package config

import (
	"reflect"
	"slices"
)

// hookRules are the rules about what tells, and asks, the outside.
func hookRules() []rule {
	return []rule{
		{"`lifecycle.namespaces` names namespaces that there are.", checkLifecycle},
		{"`hooks: [subscribe]` of a namespace needs `hooks.subscribe.url`, and `hooks: [publish]` needs `hooks.publish.url`; such an URL needs a namespace that asks.", checkAsked},
		{"`hooks.refresh` needs `hooks.connect`, and `hooks.sub_refresh` needs `hooks.subscribe`: they renew what those gave.", checkRenewals},
		{"`webhooks` need `lifecycle.events`, of which theirs are some, a `url`, and a `secret` of at least 16 bytes. There are at most 16.", checkWebhooks},
	}
}

func checkLifecycle(c *Config, report func(*fault, ...string)) {
	checkNamed(c, "lifecycle.namespaces", c.Lifecycle.Namespaces, report)
}

// checkNamed reports names in a list that are of no namespace.
func checkNamed(c *Config, path string, list []string, report func(*fault, ...string)) {
	for _, name := range list {
		if _, ok := c.Namespaces[name]; !ok {
			report(faultf("there is no namespace %s", quote(name)).suggest(nearest(name, sortedNames(c.Namespaces))), path)
		}
	}
}

func checkAsked(c *Config, report func(*fault, ...string)) {
	for word, url := range map[string]string{"subscribe": c.Hooks.Subscribe.URL, "publish": c.Hooks.Publish.URL} {
		asked := false
		for _, name := range sortedNames(c.Namespaces) {
			if !slices.Contains(c.Namespaces[name].Hooks, word) {
				continue
			}
			asked = true
			if url == "" {
				report(faultf("nobody is there to be asked; set hooks.%s.url", word), "namespaces."+name+".hooks", "hooks."+word+".url")
			}
		}
		if url != "" && !asked {
			report(faultf("no namespace asks; give one hooks: [%s]", word), "hooks."+word+".url")
		}
	}
}

func checkRenewals(c *Config, report func(*fault, ...string)) {
	h := c.Hooks
	if h.Refresh.URL != "" && h.Connect.URL == "" {
		report(faultf("only connections that hooks.connect let in are asked about; set hooks.connect.url"), "hooks.refresh.url", "hooks.connect.url")
	}
	if h.SubRefresh.URL != "" && h.Subscribe.URL == "" {
		report(faultf("only subscriptions that hooks.subscribe granted are asked about; set hooks.subscribe.url"), "hooks.sub_refresh.url", "hooks.subscribe.url")
	}
}

// maxWebhooks is how many there may be: each reads the whole lifecycle.
const maxWebhooks = 16

func checkWebhooks(c *Config, report func(*fault, ...string)) {
	if len(c.Webhooks) > maxWebhooks {
		report(faultf("%d webhooks are too many, at most %d", len(c.Webhooks), maxWebhooks), "webhooks")
	}
	if len(c.Webhooks) > 0 && !c.Lifecycle.On() {
		report(faultf("there is nothing to tell of; set lifecycle.events"), "webhooks", "lifecycle.events")
	}
	for _, name := range entriesOf(reflect.ValueOf(c.Webhooks)) {
		w, path := c.Webhooks[name], "webhooks."+name
		if w.URL == "" {
			report(faultf("a webhook needs an address; set url"), path+".url", path)
		}
		if len(w.Secret) < leastSecret {
			report(faultf("a webhook needs a secret of at least %d random bytes, by which the receiver knows who sends", leastSecret), path+".secret", path)
		}
		if w.Retry.Max < w.Retry.Min {
			report(faultf("the longest pause is shorter than the first one, %v", w.Retry.Min), path+".retry.max", path+".retry.min")
		}
		for _, event := range w.Events {
			if c.Lifecycle.On() && !slices.Contains(c.Lifecycle.Events, event) {
				report(faultf("%s is not told; add it to lifecycle.events", event), path+".events", "lifecycle.events")
			}
		}
		checkNamed(c, path+".namespaces", w.Namespaces, report)
	}
}
