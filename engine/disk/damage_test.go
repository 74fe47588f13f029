package disk_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// patient is a directory whose files are damaged, and what is in it.
type patient struct {
	fs   *vfs.MemFS
	dir  string
	top  map[string]channel.Position
	pubs map[string]string
	// reborn: its epochs are others each time. busy: one channel was marked.
	reborn, busy bool
}

// patients returns directories after a clean stop and after a kill, and a
// backup.
func patients(tb testing.TB) map[string]*patient {
	tb.Helper()
	fs := vfs.NewMem()
	all := map[string]*patient{
		"clean": {fs: vfs.NewMem(), dir: "data"}, "killed": {fs: vfs.NewMem(), dir: "data", busy: true},
		"backup": {fs: vfs.NewMem(), dir: "copy", reborn: true},
	}
	clone := func(name string, from string) {
		if _, err := vfs.Clone(fs, all[name].fs, from, from, vfs.CloneTryLink); err != nil {
			tb.Fatal(err)
		}
	}
	r := start(tb, disk.Options{FS: fs})
	fill := func(from, to int) {
		for n := from; n < to; n++ {
			r.publish("c", kinds()["c"], fmt.Sprint(n))
			r.put("s", kinds()["s"], fmt.Sprint(n%20), fmt.Sprint(n))
			r.send(channel.PublishRequest{Channel: "a", Policy: kinds()["a"], Data: fmt.Append(nil, n), ID: fmt.Sprint(n)})
		}
	}
	// A part of it is in tables.
	fill(0, 40)
	r.stop()
	r = start(tb, disk.Options{FS: fs})
	fill(40, 80)
	for _, p := range all {
		p.top, p.pubs = positions(r), r.contents()
	}
	if err := r.Backup(tb.Context(), "copy"); err != nil {
		tb.Fatal(err)
	}
	if err := r.Testify(); err != nil {
		tb.Fatal(err)
	}
	clone("backup", "copy")
	clone("killed", "data")
	r.stop()
	clone("clean", "data")
	return all
}

// contents returns what can be read of all channels.
func (r *rig) contents() map[string]string {
	r.tb.Helper()
	all := make(map[string]string)
	for name, p := range kinds() {
		all[name] = datas(r.since(name, p, channel.Position{}).Pubs)
	}
	for key, data := range r.entries("s", kinds()["s"]) {
		all["s/"+key] = data
	}
	return all
}

// files returns the names of all files, without the locks.
func (p *patient) files(tb testing.TB) []string {
	tb.Helper()
	var all []string
	for _, dir := range []string{p.dir, p.dir + "/db"} {
		names, err := p.fs.List(dir)
		if err != nil {
			tb.Fatal(err)
		}
		for _, n := range names {
			if n != "db" && n != "LOCK" {
				all = append(all, dir+"/"+n)
			}
		}
	}
	slices.Sort(all)
	return all
}

func memRead(tb testing.TB, fs vfs.FS, name string) []byte {
	tb.Helper()
	f, err := fs.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func memWrite(tb testing.TB, fs vfs.FS, name string, b []byte) {
	tb.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

// damages returns what may become of a file: nil is gone.
func damages(was []byte, random *rand.Rand, bits int) map[string][]byte {
	all := map[string][]byte{"gone": nil}
	n := len(was)
	if n == 0 {
		return all
	}
	all["empty"] = []byte{}
	all["half"] = was[:n/2]
	all["short"] = was[:n-1]
	all["zeros at its end"] = append(slices.Clone(was[:n-n/4]), make([]byte, n/4)...)
	places := []int{0, n - 1}
	for range bits {
		places = append(places, random.IntN(n))
	}
	for _, i := range places {
		bit := random.IntN(8)
		flipped := slices.Clone(was)
		flipped[i] ^= 1 << bit
		all[fmt.Sprintf("bit %d of byte %d", bit, i)] = flipped
	}
	return all
}

// TestDamage cuts off and changes every file of a directory, after a clean
// stop, after a kill and of a backup. Whatever is not as it was is refused by
// Open, which says what to do, or is an error of the call that comes upon it:
// it never is another or a shorter answer. With the file as it was everything
// is there again: finding out has damaged nothing. MYELIN_FAULT_ROUNDS is how
// many bits of each file are flipped.
func TestDamage(t *testing.T) {
	bits := rounds(t, 25, 2)
	for kind, p := range patients(t) {
		if raced && kind != "killed" {
			// The code is the same.
			continue
		}
		t.Run(kind, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 5))
			verdicts := make(map[string]map[string]int)
			for _, name := range p.files(t) {
				for what, b := range damages(memRead(t, p.fs, name), random, bits) {
					verdict := p.damage(t, name, b, fmt.Sprintf("%s, %s", path.Base(name), what))
					sort := strings.TrimLeft(path.Base(name), "0123456789")
					if verdicts[sort] == nil {
						verdicts[sort] = make(map[string]int)
					}
					verdicts[sort][verdict]++
				}
			}
			noticed := 0
			for _, sort := range slices.Sorted(maps.Keys(verdicts)) {
				t.Logf("%s: %v", sort, verdicts[sort])
				noticed += verdicts[sort]["refused"] + verdicts[sort]["an error"]
			}
			if noticed < 20 {
				t.Errorf("only %d damages were noticed", noticed)
			}
		})
	}
}

// damage opens a copy of the directory with one file changed, and once more
// with the file as it was, and says what became of it.
func (p *patient) damage(t *testing.T, name string, b []byte, what string) string {
	t.Helper()
	fs := vfs.NewMem()
	if _, err := vfs.Clone(p.fs, fs, p.dir, p.dir); err != nil {
		t.Fatal(err)
	}
	if b == nil {
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
	} else {
		memWrite(t, fs, name, b)
	}
	verdict := p.open(t, fs, what)
	if verdict == "harmless" {
		return verdict
	}
	memWrite(t, fs, name, memRead(t, p.fs, name))
	if again := p.open(t, fs, what+", and undone"); again != "harmless" {
		t.Errorf("%s: %s; with the file as it was: %s", what, verdict, again)
	}
	return verdict
}

// open opens a directory and holds it against what was there.
func (p *patient) open(t *testing.T, fs vfs.FS, what string) string {
	t.Helper()
	e, err := disk.Open(disk.Options{FS: fs, Path: p.dir})
	if err != nil {
		if !strings.Contains(err.Error(), "backup") && !strings.Contains(err.Error(), "empty one") {
			t.Errorf("%s: refused without saying what to do: %v", what, err)
		}
		return "refused"
	}
	r := &rig{Engine: e, tb: t}
	r.mu.got = make(map[string][]*channel.Publication)
	if err := e.Start(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	verdict := p.compare(t, r, what)
	if err := r.Close(context.Background()); err != nil && verdict == "harmless" {
		t.Errorf("%s: Close: %v", what, err)
	}
	return verdict
}

// compare holds what can be read against what was there.
func (p *patient) compare(t *testing.T, r *rig, what string) string {
	t.Helper()
	read := func(name string) (channel.ReadResult, error) {
		return r.Read(context.Background(), &channel.ReadRequest{Channel: name, Policy: kinds()[name], Limit: -1})
	}
	for name, at := range p.top {
		res, err := read(name)
		if err != nil {
			return "an error"
		}
		epoch := (res.Top.Epoch == at.Epoch) != p.reborn || p.busy && name == "a"
		if res.Top.Offset != at.Offset || datas(res.Pubs) != p.pubs[name] || !epoch {
			t.Errorf("%s: %s is at %v with %q, and nobody noticed", what, name, res.Top, datas(res.Pubs))
		}
	}
	page, err := r.Snapshot(context.Background(), &channel.SnapshotRequest{Channel: "s", Policy: kinds()["s"]})
	if err != nil {
		return "an error"
	}
	if len(page.Items) != 20 {
		t.Errorf("%s: %d entries, want 20", what, len(page.Items))
	}
	for _, item := range page.Items {
		if p.pubs["s/"+item.Key] != string(item.Data) {
			t.Errorf("%s: entry %q is %q", what, item.Key, item.Data)
		}
	}
	return "harmless"
}
