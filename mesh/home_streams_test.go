package mesh_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// remove takes files of a stream away.
func remove(names ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// rewrite changes a file of a stream.
func rewrite(name, old, fresh string, at time.Time) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		name := filepath.Join(dir, name)
		b, err := os.ReadFile(name)
		if err == nil {
			b = bytes.Replace(b, []byte(old), []byte(fresh), 1)
			err = errors.Join(os.WriteFile(name, b, 0o600), os.Chtimes(name, at, at))
		}
		if err != nil || !bytes.Contains(b, []byte(fresh)) {
			t.Fatalf("%v, in %s", err, b)
		}
	}
}

// A process can die between any two of the files that the server writes when
// it makes or changes a stream. The next one starts all the same, and has what
// was kept.
func TestStreamHalfWritten(t *testing.T) {
	t.Parallel()
	const about, sum = "meta.inf", "meta.sum"
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		kept    int
		harm    func(t *testing.T, dir string)
		refused string
	}{
		"its directory alone":                {0, remove("msgs", "obs", about, sum), ""},
		"nothing said of it":                 {0, remove(about, sum, "msgs/index.db"), ""},
		"no checksum":                        {0, remove(sum), ""},
		"no checksum, and messages":          {3, remove(sum), ""},
		"changed, with the checksum before":  {3, rewrite(about, `"max_msgs":-1`, `"max_msgs":-2`, later), ""},
		"damaged":                            {3, rewrite(about, `"max_msgs":-1`, `"max_msgs":-9`, before), "no change of it was under way"},
		"damaged, and nobody can read it":    {3, rewrite(about, `"max_msgs":-1`, `"max_msgs:-1`, later), "description cannot be used"},
		"that of another":                    {3, rewrite(about, `"name":"S"`, `"name":"T"`, later), `that of the stream "T"`},
		"nothing said of it, and messages":   {3, remove(about, sum), "there are messages"},
		"as the server left it":              {3, remove(), ""},
		"as the server left it, and nothing": {0, remove(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := meshtest.Options(t, "a")
			n := open(t, o)
			stream(t, n, 1)
			for _, text := range []string{"x", "y", "z"}[:c.kept] {
				publish(t, n, text)
			}
			shut(t, n)
			c.harm(t, filepath.Join(o.StorePath, "nats", "jetstream", "$G", "streams", "S"))
			if c.refused != "" {
				for range 2 {
					_, err := mesh.Open(t.Context(), o)
					if !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "stream S ") {
						t.Fatalf("%v, want one that says %q", err, c.refused)
					}
				}
				return
			}
			for range 2 {
				n = open(t, o)
				if err := n.Ready(within(t)); err != nil {
					t.Fatal(err)
				}
				stream(t, n, 1)
				messages(t, n, uint64(c.kept))
				shut(t, n)
			}
		})
	}
}
