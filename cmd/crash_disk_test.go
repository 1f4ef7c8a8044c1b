//go:build linux

package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A full, failing or read-only disk: never status 0 without the new set in place,
// never a torn set, and the next run just works.

// takesSpace tells whether the call may need room on the disk.
func (c *call) takesSpace() bool {
	switch c.name {
	case "openat", "mkdirat", "symlinkat", "linkat", "renameat", "renameat2", "fsetxattr":
		return true
	}
	return c.toFile()
}

func TestBadDisk(t *testing.T) {
	ours := func(c *call) bool { return !c.hook && c.changesFile() }
	trouble := []struct {
		name  string
		errno unix.Errno
		at    func(c *call) bool
		once  bool
	}{
		{"full for names and data", unix.ENOSPC, func(c *call) bool { return ours(c) && c.takesSpace() }, false},
		{"full for data", unix.EDQUOT, func(c *call) bool { return ours(c) && c.toFile() }, false},
		{"failing once", unix.EIO, ours, true},
		{"read-only", unix.EROFS, ours, false},
	}
	for _, name := range []string{"first certificate, no account", "renewal", "folder of dehydrated's"} {
		for _, d := range trouble {
			t.Run(name+", "+d.name, func(t *testing.T) {
				t.Parallel()
				b := situations[name](t)
				b.failing = true
				if d.errno == unix.EROFS {
					b.stride = 3 // from one call to the next little changes
				}
				b.sweep(t, 0, func(c *call, at *point) verdict {
					if d.at(c) && (at.here(c) || at.reached && !d.once) {
						return verdict(d.errno)
					}
					return carryOut
				})
			})
		}
	}
}

// A real file system with 0 to 64 KiB left, then with 0 to 30 files left.
func TestFullFileSystem(t *testing.T) {
	for _, name := range []string{"first certificate, no account", "renewal", "folder of dehydrated's"} {
		t.Run(name, func(t *testing.T) {
			// For good: the thread ends with the test, and its mounts with it.
			runtime.LockOSThread()
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				t.Skipf("no mounts of our own: %v", err) // not root
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				t.Skipf("the root directory is no mount point, as in a chroot: %v", err)
			}
			b := situations[name](t)
			if err := os.MkdirAll(b.base(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", b.base(), "tmpfs", 0, "size=512k,nr_inodes=200,mode=700"); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(b.base(), unix.MNT_DETACH)
			found := map[string]int{}
			try := func(what string, left uint64, fill func(left uint64)) {
				b.reset()
				before := b.counts()
				fill(left)
				e := b.child(b.args...).run(t)
				if err := os.RemoveAll(filepath.Join(b.base(), "ballast")); err != nil {
					t.Fatal(err)
				}
				found[b.after(e, before, fmt.Sprintf("%d %s left", left, what))]++
			}
			for left := uint64(0); left <= 64; left += 4 {
				try("KiB", left, func(left uint64) { b.fillSpace(left << 10) })
			}
			for left := range uint64(31) {
				try("files", left, b.fillFiles)
			}
			t.Logf("%v", found)
		})
	}
}

func (b *bench) free() (bytes, files uint64) {
	b.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(b.base(), &s); err != nil {
		b.t.Fatal(err)
	}
	return s.Bfree * uint64(s.Bsize), s.Ffree
}

func (b *bench) ballast() string {
	b.t.Helper()
	dir := filepath.Join(b.base(), "ballast")
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// fillSpace leaves so many bytes.
func (b *bench) fillSpace(left uint64) {
	b.t.Helper()
	file := filepath.Join(b.ballast(), "file")
	free, _ := b.free()
	if err := os.WriteFile(file, make([]byte, free-left), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if free, _ = b.free(); free != left {
		b.t.Fatalf("%d bytes left, not %d", free, left)
	}
}

// fillFiles leaves room for so many files.
func (b *bench) fillFiles(left uint64) {
	b.t.Helper()
	dir := b.ballast()
	for _, free := b.free(); free > left; free-- {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(free)), nil, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}
