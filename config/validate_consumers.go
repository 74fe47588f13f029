package config

import "myelin/channel"

// consumerRules are the rules about acknowledged consumers.
func consumerRules() []rule {
	return []rule{
		eachNamespace("`consumers.clients` of a namespace needs `history.size` above 0, and `consumers.max_attempts` a `consumers.dead_letter`.", checkConsumers),
		{"`consumers.dead_letter` is a channel of another namespace, which is configured.", checkDeadLetter},
	}
}

func checkConsumers(n Namespace, report func(*fault, ...string)) {
	switch c := n.Consumers; {
	case c.Clients != "nobody" && n.Kind == "log" && n.History.Size == 0:
		report(faultf("a consumer reads history, which is off here; set history.size"), "consumers.clients", "history.size")
	case c.Clients != "nobody" && n.Kind != "log":
		report(faultf("consumers are for namespaces of kind log"), "consumers.clients", "kind")
	case c.MaxAttempts > 0 && c.DeadLetter == "":
		report(faultf("what is delivered too often needs a place to go to; set dead_letter, or leave max_attempts out"), "consumers.max_attempts", "consumers.dead_letter")
	case c.MaxPerSession > c.MaxUnacked:
		report(faultf("one connection cannot have more than all, which is max_unacked: %d", c.MaxUnacked), "consumers.max_per_session", "consumers.max_unacked")
	}
}

func checkDeadLetter(c *Config, report func(*fault, ...string)) {
	for _, name := range sortedNames(c.Namespaces) {
		to, path := c.Namespaces[name].Consumers.DeadLetter, join("namespaces."+name, "consumers.dead_letter")
		if to == "" {
			continue
		}
		space := channel.Namespace(to)
		switch n, known := c.Namespaces[space]; {
		case !known:
			report(faultf("channel %s is in namespace %s, which is not configured", quote(to), quote(space)), path)
		case space == name:
			report(faultf("dead letters of a namespace go to a channel of another, so that they are no work again"), path)
		case n.Kind != "log":
			report(faultf("dead letters are publications; namespace %s has to be of kind log", quote(space)), path)
		}
	}
}
