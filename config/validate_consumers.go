package config

import "strings"

// consumerRules are the rules about acknowledged consumers.
func consumerRules() []rule {
	return []rule{
		{"`consumers.clients` of a namespace needs `history.size` above 0, and `consumers.max_attempts` a `consumers.dead_letter`.", checkConsumers},
		{"`consumers.dead_letter` is a channel of another namespace, which is configured.", checkDeadLetter},
	}
}

func checkConsumers(c *Config, report func(*fault, ...string)) {
	for _, name := range sortedNames(c.Namespaces) {
		n, at := c.Namespaces[name], join("namespaces."+name, "consumers")
		switch {
		case n.Consumers.Clients != "nobody" && n.Kind == "log" && n.History.Size == 0:
			report(faultf("a consumer reads history, which is off here; set history.size"), join(at, "clients"), join("namespaces."+name, "history.size"))
		case n.Consumers.Clients != "nobody" && n.Kind != "log":
			report(faultf("consumers are for namespaces of kind log"), join(at, "clients"), join("namespaces."+name, "kind"))
		case n.Consumers.MaxAttempts > 0 && n.Consumers.DeadLetter == "":
			report(faultf("what is delivered too often needs a place to go to; set dead_letter, or leave max_attempts out"), join(at, "max_attempts"), join(at, "dead_letter"))
		case n.Consumers.MaxPerSession > n.Consumers.MaxUnacked:
			report(faultf("one connection cannot have more than all, which is max_unacked: %d", n.Consumers.MaxUnacked), join(at, "max_per_session"), join(at, "max_unacked"))
		}
	}
}

func checkDeadLetter(c *Config, report func(*fault, ...string)) {
	for _, name := range sortedNames(c.Namespaces) {
		to, path := c.Namespaces[name].Consumers.DeadLetter, join("namespaces."+name, "consumers.dead_letter")
		if to == "" {
			continue
		}
		space, _, ok := strings.Cut(to, ":")
		if !ok {
			space = DefaultNamespace
		}
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
