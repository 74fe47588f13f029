package mesh_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

func TestDirectoryIsGuarded(t *testing.T) {
	first := meshtest.Options(t, "a")
	cluster := func(o *mesh.Options) {
		o.Listen, o.Secret = meshtest.FreeAddress(t), meshtest.Secret
	}
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := open(t, first)
	refused := func(o mesh.Options, words string) {
		t.Helper()
		before := files(t, o.StorePath)
		if _, err := mesh.Open(t.Context(), o); !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want one that says %q", err, words)
		}
		if after := files(t, o.StorePath); after != before {
			t.Errorf("a directory that was refused had %s and has %s", before, after)
		}
	}
	refused(first, "in use by another process")
	shut(t, n)

	o := first
	o.Node = "b"
	refused(o, `that of node "a"`)
	o = first
	cluster(&o)
	refused(o, "written by a node alone")
	o.Storage = false
	refused(o, "has data that the cluster counts on")

	clustered := meshtest.Options(t, "a")
	cluster(&clustered)
	shut(t, open(t, clustered))
	o = clustered
	o.Cluster = "other"
	refused(o, `that of cluster "myelin"`)
	o = clustered
	o.Listen = ""
	refused(o, "would be alone")

	o = first
	o.StorePath = t.TempDir()
	write(o.StorePath, "photo.jpg", "x")
	refused(o, "not that of a cluster node")
	o.StorePath = t.TempDir()
	write(o.StorePath, "myelin.json", `{"product":"myelin engine/disk","format":1}`)
	refused(o, `that of "myelin engine/disk"`)
	write(o.StorePath, "myelin.json", `{"product":"myelin mesh","format":99}`)
	refused(o, "written by a newer Myelin")
	write(o.StorePath, "myelin.json", `{"product`)
	refused(o, "damaged myelin.json")

	shut(t, open(t, first))

	// A store that the server cannot open is no reason to fall over.
	clustered.StorePath = t.TempDir()
	shut(t, open(t, clustered))
	meta := filepath.Join(clustered.StorePath, "nats", "jetstream", "$SYS", "_js_", "_meta_")
	if err := os.RemoveAll(filepath.Join(meta, "msgs")); err != nil {
		t.Fatal(err)
	}
	write(meta, "msgs", "not a directory")
	refused(clustered, "the embedded NATS server")
}

// files lists what is in a directory, but for the lock.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) != "LOCK" && !strings.Contains(path, "/nats") {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
