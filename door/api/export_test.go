package api

// Methods returns the names of the methods, in order.
func Methods() []string { return names(newMethods()) }

// Fields returns the fields that a request of a method may have. Fields of an
// object that is a field stand behind its name and a dot; an element of a list
// is called [].
func Fields(method string) map[string]string {
	out := make(map[string]string)
	var walk func(at string, s *shape)
	walk = func(at string, s *shape) {
		if at != "" {
			out[at] = [...]string{"any", "string", "boolean", "integer", "integer", "object", "array", "map"}[s.kind]
		}
		for name, f := range s.fields {
			walk(join(at, name), f)
		}
		if s.elem != nil {
			walk(at+"[]", s.elem)
		}
	}
	walk("", newMethods()[method].shape)
	return out
}
