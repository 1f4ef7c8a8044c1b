package certs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// swapping exchanges two names while f runs, as fast as the kernel can.
func swapping(t *testing.T, one, other string, f func()) {
	t.Helper()
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	defer swaps.Wait()
	defer close(stop)
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	})
	f()
}

func TestVersionsSwappedForALinkOpensNothingElse(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	c.store.KeyMode = 0o644
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, c.file("link")); err != nil {
		t.Fatal(err)
	}
	m := a.material(t)
	swapping(t, c.file(versionsName), c.file("link"), func() {
		for range 50 {
			_, _ = c.Write(start, m)
		}
	})
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory outside has %v, %v", info.Mode(), err)
	}
}

func TestAFileSwappedMeanwhileIsNotOpenedToMore(t *testing.T) {
	c := newCertificate(t)
	outside := t.TempDir()
	for name, mode := range map[string]os.FileMode{"secret": 0o600, "open": 0o644} {
		file := filepath.Join(outside, name)
		if err := os.WriteFile(file, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(c.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	for at, target := range map[string]string{csrName: "secret", "other": "open"} {
		if err := os.Symlink(filepath.Join(outside, target), c.file(at)); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.OpenRoot(c.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	swapping(t, c.file(csrName), c.file("other"), func() {
		for i := range 300 {
			to := "copy-" + strconv.Itoa(i)
			if err := c.keepFile(dir, csrName, to); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(c.file(to))
			if err != nil {
				t.Fatal(err)
			}
			if read(t, c.file(to)) == "secret" && info.Mode().Perm() != 0o600 {
				t.Fatalf("the secret has %v", info.Mode())
			}
		}
	})
}

// A link that a stranger puts on the way while it is looked at is not followed:
// nothing, no lock either, gets to where it leads.
func TestALinkThatComesMeanwhileIsNotFollowed(t *testing.T) {
	asRoot(t)
	top := t.TempDir()
	theirs, closed := filepath.Join(top, "theirs"), filepath.Join(top, "closed")
	way, link := filepath.Join(theirs, "way"), filepath.Join(theirs, "link")
	for _, dir := range []string{theirs, way, closed} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("../closed", link), os.Lchown(link, nobody, nobody), os.Chown(theirs, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	installed := 0
	swapping(t, way, link, func() {
		for n := range 2000 {
			in, err := Install(t.Context(), []Destination{to(filepath.Join(way, "file.pem"), strconv.Itoa(n))})
			if err == nil {
				installed++
				_ = in.Keep(t.Context()) // what was there before may be a file for once
				in.Close()
			}
			if found := list(t, closed); len(found) > 0 {
				t.Fatalf("after %d: %v", n, found)
			}
		}
	})
	if installed == 0 {
		t.Error("nothing was ever installed")
	}
}

// Nor is a file believed that a stranger puts in the place of root's while that is
// looked at: the key would be his.
func TestAFileThatComesMeanwhileGetsNoKey(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path, theirs := filepath.Join(dir, "file.pem"), filepath.Join(dir, "theirs.pem")
	for range 100 {
		write(t, path, otherKey, 0o600)
		write(t, theirs, otherKey, 0o600)
		if err := errors.Join(os.Chown(path, 0, 0), os.Chown(theirs, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		swapping(t, path, theirs, func() {
			in, err := Install(t.Context(), []Destination{to(path, someKey)})
			if err == nil {
				_ = in.Keep(t.Context())
				in.Close()
			}
		})
		for _, name := range list(t, dir) {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if read(t, filepath.Join(dir, name)) == someKey && ownerOf(info) != 0 {
				t.Fatalf("%s is of user %d", name, ownerOf(info))
			}
		}
	}
}
