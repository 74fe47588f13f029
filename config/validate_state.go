package config

import "slices"

// stateRules are the rules of the namespaces that hold entries.
func stateRules() []rule {
	return []rule{
		eachNamespace("In a namespace, `state` needs `kind: state`.", checkStateKind),
		eachNamespace("In a namespace, `delta` needs `kind: log`, because patches follow the channel and not a key.", checkStateDelta),
		eachNamespace("In a namespace, `state.keys: own` is for clients with a user id: `publish` does not name `anonymous`.", checkOwnKeys),
	}
}

func checkStateKind(n Namespace, report func(*fault, ...string)) {
	if n.Kind == "state" {
		return
	}
	plain := defaultNamespace().State
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"max_keys", n.State.MaxKeys != plain.MaxKeys},
		{"key_ttl", n.State.KeyTTL != plain.KeyTTL},
		{"order", n.State.Order != plain.Order},
		{"keys", n.State.Keys != plain.Keys},
		{"tag_keys", n.State.TagKeys},
		{"lease", n.State.Lease != plain.Lease},
	} {
		if key.set {
			report(faultf("has no effect, because the channels of this namespace hold no entries; set kind: state"), "state."+key.name, "kind")
		}
	}
}

func checkStateDelta(n Namespace, report func(*fault, ...string)) {
	if n.Kind == "state" && n.Delta {
		report(faultf("publications of a state channel are not patches to each other; leave delta out"), "delta", "kind")
	}
}

func checkOwnKeys(n Namespace, report func(*fault, ...string)) {
	if n.Kind == "state" && n.State.Keys == "own" && slices.Contains(n.Publish, "anonymous") {
		report(faultf("an anonymous client has no user id that its keys could begin with; take anonymous out of publish, or use state.keys: any"),
			"state.keys", "publish")
	}
}
