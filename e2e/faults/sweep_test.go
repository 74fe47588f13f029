//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What tests make outside of their own process is called by this and their
// process id, so that it is known whose it is.
const ourPrefix = "myelin-faults-"

// ourName is the name of something of this process.
func ourName(suffix string) string { return fmt.Sprintf("%s%d%s", ourPrefix, os.Getpid(), suffix) }

// abandoned says whether something is of a test process that has ended.
func abandoned(name string) bool {
	rest, ours := strings.CutPrefix(name, ourPrefix)
	id, _, _ := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(id)
	return ours && err == nil && syscall.Kill(pid, 0) != nil
}

// sweep removes what tests that crashed have left. What it cannot remove stays.
func sweep() {
	mounts, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && abandoned(f[0]) {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
	spaces, _ := filepath.Glob("/run/netns/" + ourPrefix + "*")
	for _, space := range spaces {
		if name := filepath.Base(space); abandoned(name) {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}
	links, _ := filepath.Glob("/sys/class/net/" + bridgePrefix + "*")
	for _, link := range links {
		name := filepath.Base(link)
		if abandoned(ourPrefix + strings.TrimPrefix(name, bridgePrefix)) {
			_ = exec.Command("ip", "link", "del", name).Run()
		}
	}
}

// bridgePrefix begins the names of network bridges, which may be no longer than
// 15 bytes.
const bridgePrefix = "mfb"

// smallDisk makes dir a file system of so many MiB of its own.
func smallDisk(t *testing.T, dir string, size int) {
	t.Helper()
	if !root() {
		t.Skip("a small file system of its own needs root")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=0700", size), ourName(""), dir); err != nil {
		t.Skipf("this machine makes no small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := run(context.Background(), "umount", "-l", dir); err != nil {
			t.Error(err)
		}
	})
}

// ballast is the file that fills a file system.
const ballast = "ballast"

// fill writes to a file system until there is no room.
func fill(dir string) error {
	f, err := os.Create(filepath.Join(dir, ballast))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			// Smaller and smaller ones, to the last byte.
			block = block[:len(block)/2]
		}
	}
	return nil
}

// TestSweep holds that what an ended process left is known from what a living
// one uses.
func TestSweep(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		ourName(""): false, ourName("-a"): false, "eth0": false, ourPrefix + "x": false, ourPrefix: false,
		ourPrefix + "4194305": true, ourPrefix + "4194305-b": true,
	} {
		if abandoned(name) != want {
			t.Errorf("%s is abandoned: %v", name, !want)
		}
	}
}
