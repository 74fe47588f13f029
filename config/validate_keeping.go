package config

// leastSecret is how many bytes cluster.secret has.
const leastSecret = 16

// mostInNATS is the longest message that the jetstream engine takes.
const mostInNATS = 4 * MiB

// engineRules are the rules about what keeps the channels.
func engineRules() []rule {
	return []rule{
		{"`engine.kind: disk` needs `engine.disk.path`.", checkDiskPath},
		{"The jetstream engine needs a place: `engine.jetstream.path`, or servers elsewhere in `engine.jetstream.url`, or other nodes that store (`cluster.storage: false`).", checkJetStreamPlace},
		{"`engine.jetstream.url` and `cluster.peers` are two ways to the same end.", checkWays},
		{"`engine.jetstream.url` takes one way to log in: `credentials_file`, `user` with `password`, or `token`. They, `ca_file` and `synced` have no effect without it.", checkLogin},
		{"`engine.jetstream.replicas` is odd, and not more than `cluster.storage_nodes`.", checkReplicas},
		{"With the jetstream engine `limits.message` is at most 4MiB.", checkNATSMessage},
	}
}

// clusterRules are the rules about the nodes.
func clusterRules() []rule {
	return []rule{
		{"A cluster keeps its channels with the jetstream engine.", checkClusterEngine},
		{"`cluster.peers` needs a `cluster.secret` of at least 16 bytes, and `cluster.secret`, `advertise`, `tls` and `storage: false` need peers.", checkClusterSecret},
		{"`cluster.storage_nodes` is 1, 3 or 5: of four no more may fail than of three.", checkStorageNodes},
		{"The three files of `cluster.tls` come together.", checkClusterTLS},
		{"`cluster.listen` on anything but loopback needs `cluster.tls`, or `cluster.insecure: true` said aloud.", checkClusterOpen},
	}
}

func checkDurability(c *Config, report func(*fault, ...string)) {
	kept := c.Kept()
	for _, name := range sortedNames(c.Namespaces) {
		d, path := c.Namespaces[name].Durability, join("namespaces."+name, "durability")
		switch {
		case kept == "memory" && (d == "async" || d == "sync"):
			report(faultf("the memory engine cannot keep publications through a restart; set engine.disk.path, or use durability: memory"), path)
		case kept == "jetstream" && c.External() && !c.Engine.JetStream.Synced && d == "sync":
			report(faultf("NATS servers acknowledge before they fsync, unless they are set to sync_interval: always; where they are, say engine.jetstream.synced: true, otherwise use durability: async"),
				path, "engine.jetstream.synced")
		}
	}
}

func checkDiskPath(c *Config, report func(*fault, ...string)) {
	if c.Engine.Kind == "disk" && c.Engine.Disk.Path == "" {
		report(faultf("the disk engine needs a directory; set engine.disk.path"), "engine.kind", "engine.disk.path")
	}
}

func checkJetStreamPlace(c *Config, report func(*fault, ...string)) {
	js := c.Engine.JetStream
	switch kept := c.Kept(); {
	case kept != "jetstream" && !c.Clustered() && js.Path != "" && c.Engine.Disk.Path == "":
		report(faultf("has no effect with the %s engine; set engine.kind: jetstream, or cluster.peers", kept), "engine.jetstream.path", "engine.kind")
	case kept == "jetstream" && js.Path == "" && !c.External() && (c.Cluster.Storage || !c.Clustered()):
		report(faultf("the jetstream engine needs a directory, set engine.jetstream.path or start with --data DIR; or NATS servers elsewhere, set engine.jetstream.url"),
			"engine.jetstream.path", "engine.kind", "cluster.peers")
	}
}

func checkWays(c *Config, report func(*fault, ...string)) {
	if c.Clustered() && c.External() {
		report(faultf("the nodes talk over the NATS servers of engine.jetstream.url, or over their own listeners of cluster.peers; keep one of them"),
			"engine.jetstream.url", "cluster.peers")
	}
	if kept := c.Kept(); kept != "jetstream" && c.External() {
		report(faultf("has no effect with engine.kind: %s; keep one of them", kept), "engine.jetstream.url", "engine.kind")
	}
}

func checkLogin(c *Config, report func(*fault, ...string)) {
	js := c.Engine.JetStream
	set := []struct {
		key   string
		there bool
	}{
		{"engine.jetstream.credentials_file", js.CredentialsFile != ""},
		{"engine.jetstream.user", js.User != "" || js.Password != ""},
		{"engine.jetstream.token", js.Token != ""},
		{"engine.jetstream.ca_file", js.CAFile != ""},
		{"engine.jetstream.synced", js.Synced},
	}
	var ways []string
	for i, s := range set {
		if s.there && !c.External() {
			report(faultf("has no effect without engine.jetstream.url"), s.key, "engine.jetstream.password")
		}
		if s.there && i < 3 {
			ways = append(ways, s.key)
		}
	}
	if !c.External() {
		return
	}
	if len(ways) > 1 {
		report(faultf("there are %d ways to log in; keep %s", len(ways), either(ways)), ways...)
	}
	if (js.User == "") != (js.Password == "") {
		report(faultf("a user and a password come together"), "engine.jetstream.user", "engine.jetstream.password")
	}
}

func checkReplicas(c *Config, report func(*fault, ...string)) {
	r, store := c.Engine.JetStream.Replicas, 1
	if c.Clustered() {
		store = c.Cluster.StorageNodes
	}
	switch {
	case r > 0 && r%2 == 0:
		report(faultf("%d replicas bear the loss of no more nodes than %d; use %d or %d", r, r-1, r-1, r+1), "engine.jetstream.replicas")
	case r > store && !c.External():
		report(faultf("%d replicas need as many nodes that store, but there are %d; see cluster.storage_nodes", r, store),
			"engine.jetstream.replicas", "cluster.storage_nodes")
	}
}

func checkNATSMessage(c *Config, report func(*fault, ...string)) {
	if c.Kept() == "jetstream" && c.Limits.Message > mostInNATS {
		report(faultf("the jetstream engine takes at most %v; lower limits.message", mostInNATS), "limits.message", "engine.kind")
	}
}

func checkClusterEngine(c *Config, report func(*fault, ...string)) {
	if kept := c.Kept(); c.Clustered() && kept != "jetstream" {
		report(faultf("the %s engine keeps the channels of one node; a cluster needs jetstream: leave engine.kind out, or cluster.peers", kept),
			"engine.kind", "cluster.peers")
	}
}

func checkClusterSecret(c *Config, report func(*fault, ...string)) {
	cl := c.Cluster
	if c.Clustered() {
		switch n := len(cl.Secret); {
		case n == 0:
			report(faultf("the nodes need a secret to know each other by; set the same random text of at least %d bytes on all of them", leastSecret), "cluster.secret", "cluster.peers")
		case n < leastSecret:
			report(faultf("the secret has %d bytes; use at least %d random ones", n, leastSecret), "cluster.secret")
		}
		return
	}
	for _, s := range []struct {
		key   string
		there bool
	}{
		{"cluster.secret", cl.Secret != ""},
		{"cluster.advertise", cl.Advertise != ""},
		{"cluster.tls.cert_file", cl.TLS.any()},
		{"cluster.storage", !cl.Storage},
	} {
		if s.there {
			report(faultf("has no effect, because cluster.peers is empty and this node is alone"), s.key, "cluster.tls.key_file", "cluster.tls.ca_file", "cluster.peers")
		}
	}
}

func checkStorageNodes(c *Config, report func(*fault, ...string)) {
	if n := c.Cluster.StorageNodes; n%2 == 0 {
		report(faultf("of %d nodes that store as many may fail as of %d; use %d or %d", n, n-1, n-1, n+1), "cluster.storage_nodes")
	}
}

func (t ClusterTLS) any() bool { return t.CertFile != "" || t.KeyFile != "" || t.CAFile != "" }

func checkClusterTLS(c *Config, report func(*fault, ...string)) {
	t := c.Cluster.TLS
	if t.any() && (t.CertFile == "" || t.KeyFile == "" || t.CAFile == "") {
		report(faultf("nodes show each other their certificates: set cert_file, key_file and ca_file"),
			"cluster.tls.cert_file", "cluster.tls.key_file", "cluster.tls.ca_file")
	}
}

func checkClusterOpen(c *Config, report func(*fault, ...string)) {
	if c.Clustered() && !Loopback(c.Cluster.Listen) && !c.Cluster.TLS.any() && !c.Cluster.Insecure {
		report(faultf("%s can be reached by others, and without TLS they can read what the nodes say; set cluster.tls, or cluster.insecure: true where the network is private",
			quote(c.Cluster.Listen)), "cluster.listen", "cluster.tls")
	}
}
