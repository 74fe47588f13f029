package config

// deliveryRules are the rules about lanes and slow clients.
func deliveryRules() []rule {
	return []rule{
		eachNamespace("In a namespace, `lane: alarm` goes with `slow: disconnect`: alarms are not left out.", checkAlarms),
		eachNamespace("In a namespace, `slow: resync` needs history to come back to.", checkResync),
		{"`limits.message` fits into `limits.alarm_queue` where a namespace has `lane: alarm`.", checkAlarmQueue},
	}
}

func checkAlarms(n Namespace, report func(*fault, ...string)) {
	if n.Lane == "alarm" && n.Slow != "disconnect" {
		report(faultf("alarms are never left out, so slow: %s has no effect on them; leave it out, or use another lane", n.Slow), "slow", "lane")
	}
}

func checkResync(n Namespace, report func(*fault, ...string)) {
	if n.Slow == "resync" && n.Kind == "log" && n.History.Size == 0 {
		report(faultf("there is no history to come back to, so what is left out would be lost: set history.size, or use drop_oldest"), "slow", "history.size")
	}
}

func checkAlarmQueue(c *Config, report func(*fault, ...string)) {
	for _, name := range sortedNames(c.Namespaces) {
		if n := c.Namespaces[name]; n.Lane == "alarm" && c.Limits.Message > c.Limits.AlarmQueue {
			report(faultf("an alarm of %v would never fit into limits.alarm_queue, %v; raise the queue to at least %v",
				c.Limits.Message, c.Limits.AlarmQueue, c.Limits.Message), "limits.alarm_queue", "limits.message", join("namespaces."+name, "lane"))
			return
		}
	}
}
