package config

import "time"

// limitRules are the rules about rates and quotas.
func limitRules() []rule {
	return []rule{
		{"`limits.per_user.publish_burst` needs `publish_per_second`.", checkPerUser},
		{"In a namespace, `message` is not more than `limits.message`.", checkMessages},
		eachNamespace("In a namespace, `rate.burst`, `user_burst` and `per` need the rate that they are about.", checkRates),
	}
}

func checkPerUser(c *Config, report func(*fault, ...string)) {
	if l := c.Limits.PerUser; l.PublishBurst > 0 && l.Publish == 0 {
		report(faultf("a burst is what a rate allows at once: set limits.per_user.publish_per_second too"),
			"limits.per_user.publish_burst", "limits.per_user.publish_per_second")
	}
}

func checkMessages(c *Config, report func(*fault, ...string)) {
	for _, name := range sortedNames(c.Namespaces) {
		if n := c.Namespaces[name]; n.Message > c.Limits.Message {
			report(faultf("%v is more than limits.message, %v, which no message passes; raise that to %v, or lower this", n.Message, c.Limits.Message, n.Message),
				join("namespaces."+name, "message"), "limits.message")
		}
	}
}

func checkRates(n Namespace, report func(*fault, ...string)) {
	r := n.Rate
	if r.Burst > 0 && r.Publish == 0 {
		report(faultf("a burst is what a rate allows at once: set publish too"), "rate.burst", "rate.publish")
	}
	if r.UserBurst > 0 && r.UserPublish == 0 {
		report(faultf("a burst is what a rate allows at once: set user_publish too"), "rate.user_burst", "rate.user_publish")
	}
	if r.Per != Duration(time.Second) && r.Publish == 0 && r.UserPublish == 0 {
		report(faultf("has no effect without a rate: set publish or user_publish"), "rate.per", "rate.publish")
	}
}
