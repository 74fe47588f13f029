package config

// hookRules are the rules about what tells, and asks, the outside.
func hookRules() []rule {
	return []rule{
		{"`lifecycle.namespaces` names namespaces that there are.", checkLifecycle},
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
