package config_test

import (
	"testing"

	"myelin/config"
)

// TestEdgesOfKeeping tries the rules about engines and clusters where they turn.
func TestEdgesOfKeeping(t *testing.T) {
	t.Parallel()
	tryEdges(t, []edge{
		{append(cluster(), "cluster.secret=0123456789abcdef"), ""},
		{append(cluster(), "cluster.secret=0123456789abcde"), "cluster.secret"},
		{append(cluster(), "engine.jetstream.path="), "engine.jetstream.path"},
		{append(cluster(), "engine.jetstream.path=", "cluster.storage=false"), ""},
		{append(cluster(), "engine.disk.path=/data"), ""},
		{append(cluster(), "engine.kind=jetstream"), ""},
		{append(cluster(), "engine.kind=memory"), "engine.kind"},
		{append(cluster(), "cluster.listen=10.0.0.1:8002"), "cluster.listen"},
		{append(cluster(), "cluster.listen=10.0.0.1:8002", "cluster.insecure=true"), ""},
		{append(cluster(), "cluster.listen=10.0.0.1:8002", "cluster.tls={cert_file: a, key_file: b, ca_file: c}"), ""},
		{append(cluster(), "cluster.listen=10.0.0.1:8002", "cluster.tls={cert_file: a, key_file: b}"), "cluster.tls.cert_file"},
		{append(cluster(), "cluster.storage_nodes=1"), ""},
		{append(cluster(), "cluster.storage_nodes=4"), "cluster.storage_nodes"},
		{append(cluster(), "cluster.storage_nodes=6"), "cluster.storage_nodes"},
		{append(cluster(), "cluster.storage_nodes=5", "engine.jetstream.replicas=5"), ""},
		{append(cluster(), "cluster.storage_nodes=1", "engine.jetstream.replicas=3"), "engine.jetstream.replicas"},
		{append(cluster(), "engine.jetstream.replicas=5"), "engine.jetstream.replicas"},
		{append(cluster(), "engine.jetstream.replicas=2"), "engine.jetstream.replicas"},
		{append(cluster(), "engine.jetstream.url=nats://a:4222"), "engine.jetstream.url"},
		{append(cluster(), "limits.message=4MiB", "limits.queue=4MiB"), ""},
		{append(cluster(), "limits.message=5MiB", "limits.queue=5MiB"), "limits.message"},
		{append(cluster(), "namespaces.a.durability=sync"), ""},
		{append(cluster(), "node=a.b-c_1"), ""},
		{append(cluster(), "node=-a"), "node"},
		{append(cluster(), "listen=127.0.0.1:8002"), "cluster.listen"},
		{[]string{"engine.jetstream.url=nats://a:4222"}, ""},
		{[]string{"engine.jetstream.url=nats://a:4222", "engine.jetstream.replicas=5"}, ""},
		{[]string{"engine.jetstream.url=nats://a:4222", "namespaces.a.durability=async"}, ""},
		{[]string{"engine.jetstream.url=nats://a:4222", "namespaces.a.durability=sync"}, "namespaces.a.durability"},
		{[]string{"engine.jetstream.url=nats://a:4222", "namespaces.a.durability=sync", "engine.jetstream.synced=true"}, ""},
		{[]string{"engine.jetstream.url=nats://a:4222", "engine.jetstream.user=u"}, "engine.jetstream.user"},
		{[]string{"engine.jetstream.url=nats://a:4222", "engine.jetstream.user=u", "engine.jetstream.password=p"}, ""},
		{[]string{"engine.jetstream.url=nats://a:4222", "engine.jetstream.prefix="}, "engine.jetstream.prefix"},
		{[]string{"engine.kind=jetstream", "engine.jetstream.path=/data"}, ""},
		{[]string{"engine.kind=jetstream"}, "engine.jetstream.path"},
		{[]string{"engine.jetstream.path=/data"}, "engine.jetstream.path"},
		{[]string{"engine.jetstream.path=/data/jetstream", "engine.disk.path=/data"}, ""},
	})
}

// cluster is the settings of a node that has a neighbour.
func cluster() []string {
	return []string{"cluster.peers=10.0.0.1:8002,10.0.0.2:8002,10.0.0.3:8002", "cluster.secret=a secret of the nodes", "engine.jetstream.path=/data"}
}

// TestWhatIsInForce tries what auto stands for.
func TestWhatIsInForce(t *testing.T) {
	t.Parallel()
	history := "namespaces.a.history.size=10"
	for _, c := range []struct {
		sets                  []string
		kept, survives, where string
		replicas              int
	}{
		{nil, "memory", "memory", "", 1},
		{[]string{history}, "memory", "memory", "", 1},
		{[]string{"engine.disk.path=/d", "namespaces.a.history.size=0"}, "disk", "memory", "/d", 1},
		{[]string{"engine.disk.path=/d", history}, "disk", "sync", "/d", 1},
		{[]string{"engine.disk.path=/d", history, "namespaces.a.durability=async"}, "disk", "async", "/d", 1},
		{append(cluster(), history), "jetstream", "sync", "/data", 3},
		{append(cluster(), history, "engine.disk.path=/d"), "jetstream", "sync", "/data", 3},
		{append(cluster(), history, "cluster.storage=false"), "jetstream", "sync", "", 3},
		{append(cluster(), "cluster.storage_nodes=1", "namespaces.a.durability=async"), "jetstream", "async", "/data", 1},
		{append(cluster(), "cluster.storage_nodes=5", "cluster.peers=a:1,b:1,c:1,d:1", "namespaces.a.durability=memory"), "jetstream", "memory", "/data", 3},
		{[]string{"engine.kind=jetstream", "engine.jetstream.path=/d", history}, "jetstream", "sync", "/d", 1},
		{[]string{"engine.jetstream.url=nats://a:4222", history}, "jetstream", "async", "", 1},
		{[]string{"engine.jetstream.url=nats://a:4222", history, "engine.jetstream.synced=true"}, "jetstream", "sync", "", 1},
	} {
		cfg, err := config.Load(config.Source{Bytes: []byte(open), Set: append(c.sets, "namespaces.a.presence=true")})
		if err != nil {
			t.Errorf("%v: %v", c.sets, err)
			continue
		}
		if got := cfg.Kept(); got != c.kept {
			t.Errorf("%v: %s keeps, want %s", c.sets, got, c.kept)
		}
		if got := cfg.Survives(cfg.Namespaces["a"]); got != c.survives {
			t.Errorf("%v: durability is %s, want %s", c.sets, got, c.survives)
		}
		if got := cfg.Directory(); got != c.where {
			t.Errorf("%v: data is in %q, want %q", c.sets, got, c.where)
		}
		if got := cfg.Replicas(); got != c.replicas {
			t.Errorf("%v: %d replicas, want %d", c.sets, got, c.replicas)
		}
	}
}
