//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myelin/client"
	"myelin/e2e/faults/history"
)

// TestFullDisk fills the disk under load, and makes room again: publishes are
// refused with words while it is full, and go on without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := smallNode(t)
	var words string
	h := play(t, alone("full disk", n, 2, func(int) fault {
		return fault{
			name: "full disk", node: n.name, hold: 1500 * time.Millisecond,
			do: func(ctx context.Context) (err error) {
				words, err = fillUntilRefused(ctx, n, n.data)
				return err
			},
			undo: func(context.Context) error { return os.Remove(filepath.Join(n.data, ballast)) },
		}
	}))
	t.Logf("a publisher is told: %s", words)
	if !strings.Contains(words, "disk") && !strings.Contains(words, "space") {
		t.Errorf("of a full disk a publisher is told %q", words)
	}
	linear(t, h)
	if history.Count(h).Refused == 0 {
		t.Error("nothing was refused while the disk was full")
	}
}

// smallNode starts a node with a small disk. It ends before that is unmounted:
// cleanups run from the last.
func smallNode(t *testing.T) *node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	smallDisk(t, dir, 128)
	n := newNode(t, "a", strings.Replace(diskConfig, "path: data", "path: "+dir, 1))
	n.data = dir
	if err := n.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// fillUntilRefused fills a node's disk, and publishes large messages on a channel
// that nobody judges until that is refused. It returns with what words.
func fillUntilRefused(ctx context.Context, n *node, dir string) (string, error) {
	api := n.api()
	large := []byte(`"` + strings.Repeat("x", 50<<10) + `"`)
	var words string
	err := eventually(ctx, patience, "publishes are refused", func() bool {
		if err := fill(dir); err != nil {
			words = err.Error()
			return true
		}
		ctx, cancel := context.WithTimeout(ctx, publishPatience)
		defer cancel()
		_, err := api.Publish(ctx, "sync:bulk", large, client.PublishOptions{})
		if outcomeOf(err) == history.Refused {
			words = err.Error()
			return true
		}
		return false
	})
	return words, err
}

// damage is what is done to a file.
type damage struct {
	name string
	do   func(path string, size int64, r *rand.Rand) error
}

func damages() []damage {
	return []damage{
		{"one bit flipped", func(path string, size int64, r *rand.Rand) error { return flip(path, r.Int64N(size), r) }},
		{"a bit flipped near the end", func(path string, size int64, r *rand.Rand) error {
			return flip(path, size-1-r.Int64N(min(size, 64)), r)
		}},
		{"cut to a half", func(path string, size int64, _ *rand.Rand) error { return os.Truncate(path, size/2) }},
		{"cut a little", func(path string, size int64, r *rand.Rand) error {
			return os.Truncate(path, size-1-r.Int64N(min(size, 32)))
		}},
		{"emptied", func(path string, _ int64, _ *rand.Rand) error { return os.Truncate(path, 0) }},
		{"removed", func(path string, _ int64, _ *rand.Rand) error { return os.Remove(path) }},
	}
}

func flip(path string, at int64, r *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	if err == nil {
		b[0] ^= 1 << r.IntN(8)
		_, err = f.WriteAt(b[:], at)
	}
	return errors.Join(err, f.Close())
}

// TestDamage damages each file of a node that is down, in each way, and starts
// it again. Either it does not start, with words, or a read fails, with words, or
// everything that was acknowledged is there.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		name := map[bool]string{true: "after a stop", false: "after kill -9"}[clean]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := diskNode(t)
			c := sediment(t, n, clean)
			pristine := filepath.Join(t.TempDir(), "pristine")
			if err := os.CopyFS(pristine, os.DirFS(n.data)); err != nil {
				t.Fatal(err)
			}
			counts := map[string]int{}
			r := rand.New(rand.NewPCG(7, uint64(len(name))))
			for _, file := range filesOf(t, pristine) {
				for _, d := range damages() {
					what := d.name + ": " + file
					if err := restore(pristine, n.data); err != nil {
						t.Fatal(err)
					}
					info, err := os.Stat(filepath.Join(n.data, file))
					if err != nil {
						t.Fatal(err)
					}
					if info.Size() == 0 && d.name != "removed" {
						continue
					}
					if err := d.do(filepath.Join(n.data, file), info.Size(), r); err != nil {
						t.Fatal(err)
					}
					counts[c.afterDamage(t, n, what)]++
				}
			}
			t.Logf("%s: %v", name, counts)
			if counts["refused"] == 0 || counts["harmless"] == 0 {
				t.Errorf("this shows little: %v", counts)
			}
		})
	}
}

// sediment publishes on a node, so that it has several files, and ends it.
func sediment(t *testing.T, n *node, clean bool) *crowd {
	t.Helper()
	c := &crowd{rec: history.NewRecorder(rules()[:2]...), nodes: []*node{n}, channels: []string{"sync:a", "sync:b"}}
	p := &publisher{name: "api", node: n.name, channels: c.channels, log: c.rec.Publisher(), now: c.rec.Now, publish: byAPI(n.api())}
	for i := range 400 {
		if i == 200 {
			// Another life, so that there is more than a log.
			if err := errors.Join(n.stop(), n.start(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if p.try(t.Context(), c.channels[i%2], fmt.Sprint("m", i)) != history.Acked {
			t.Fatal("a publish on a healthy node fails")
		}
	}
	if clean {
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// The witness of the log has the last word four times a second.
	rest(t.Context(), time.Second)
	n.kill()
	return c
}

func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

func restore(from, to string) error {
	return errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from)))
}

// afterDamage starts a node whose data was damaged and says what came of it.
func (c *crowd) afterDamage(t *testing.T, n *node, what string) string {
	t.Helper()
	p, err := n.begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ready(t.Context(), p); err != nil {
		if !p.hasEnded() {
			t.Errorf("%s: it neither starts nor ends: %v", what, err)
			n.kill()
		}
		words := p.out.String()
		if code := p.cmd.ProcessState.ExitCode(); code != 1 && code != 2 || !strings.Contains(words, "myelin: ") {
			t.Errorf("%s: it ends with %d and says\n%s", what, code, tail(words))
		}
		return "refused"
	}
	defer n.kill()
	judged := c.fork(n)
	for _, channel := range c.channels {
		if err := judged.readAll(t.Context(), n, channel); err != nil {
			return "a read fails"
		}
	}
	if found := history.Check(judged.rec.History()); len(found) > 0 {
		t.Errorf("%s: %v", what, found)
		return "silent"
	}
	return "harmless"
}

// TestSecondProcess starts a server on the directory of another one, which goes
// on.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	n := diskNode(t)
	second := newNode(t, "second", strings.Replace(diskConfig, "path: data", "path: "+n.data, 1))
	p, err := second.begin()
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.wait(patience); err != nil || code != 1 && code != 2 || !strings.Contains(p.out.String(), "in use by another process") {
		t.Errorf("a second process ends with %d (%v) and says %s", code, err, p.out)
	}
	if _, err := n.api().Publish(t.Context(), "sync:a", newMessage("m"), client.PublishOptions{}); err != nil {
		t.Errorf("the first one does not go on: %v", err)
	}
}
