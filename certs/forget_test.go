package certs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"arid/internal/atomicfile"
)

// contents are the files below dir, and the links.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range tree(t, dir) {
		path := filepath.Join(dir, name)
		if target, err := os.Readlink(path); err == nil {
			all[name] = "-> " + target
		} else if name != lockName {
			all[name] = read(t, path)
		}
	}
	return all
}

func TestForget(t *testing.T) {
	a := newAuthority(t)
	for _, where := range []string{"archived", "archived elsewhere", "deleted"} {
		t.Run(where, func(t *testing.T) {
			c := newCertificate(t)
			archive := map[string]string{"archived": inArchive(c), "deleted": ""}[where]
			if where == "archived elsewhere" {
				archive = otherFileSystem(t)
			}
			other, _ := c.store.Certificate("other.example.org")
			publish(t, other, start, a.material(t))
			// Deleted by a run that was killed, and somebody's (of that length).
			for _, name := range []string{tempPrefix + "ABCDEFGHIJKLMNOPQRSTUVWXYZ", ".hidden-ABCDEFGHIJKLMNOPQRSTUVWX"} {
				if err := os.MkdirAll(filepath.Join(c.store.Dir, name, "x"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			publish(t, c, start, a.material(t))
			put(t, c.file("config"), "KEY_ALGO=rsa")
			before := contents(t, c.Path())
			if err := c.Forget(t.Context(), archive); err != nil {
				t.Fatal(err)
			}
			want := []string{".hidden-ABCDEFGHIJKLMNOPQRSTUVWX", "other.example.org"}
			if where == "archived" { // nothing was deleted
				want = append([]string{tempPrefix + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, want...)
			}
			same(t, "left", list(t, c.store.Dir), want)
			if archive == "" {
				return
			}
			same(t, "archive", list(t, archive), []string{c.Alias})
			same(t, "archived", contents(t, filepath.Join(archive, c.Alias)), before)

			// The name again: the archive has one of it already.
			dehydratedTree(t, c, 1_690_000_000, a.material(t))
			after := contents(t, c.Path())
			if err := c.Forget(t.Context(), archive); err != nil {
				t.Fatal(err)
			}
			names := list(t, archive)
			if len(names) != 2 || !regexp.MustCompile(`^www\.example\.org-[0-9]{10}$`).MatchString(names[1]) {
				t.Fatalf("archive: %v", names)
			}
			same(t, "archived first", contents(t, filepath.Join(archive, c.Alias)), before)
			same(t, "archived second", contents(t, filepath.Join(archive, names[1])), after)
		})
	}
}

func TestForgetRefuses(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	if err := c.Forget(t.Context(), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	if _, err := os.Lstat(c.Path()); err == nil {
		t.Error("the folder was made")
	}
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	before := contents(t, c.Path())
	unlock, err := c.Lock(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var locked *atomicfile.LockedError
	if err := c.Forget(t.Context(), inArchive(c)); !errors.As(err, &locked) {
		t.Errorf("locked: %v", err)
	}
	unlock()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(c.Path(), elsewhere); err != nil {
		t.Fatal(err)
	}
	link(t, elsewhere, c.Path())
	if err := c.Forget(t.Context(), ""); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a link: %v", err)
	}
	same(t, "left", contents(t, elsewhere), before)
}

func TestForgetKeepsAFolderThatCannotBeCopied(t *testing.T) {
	archive := otherFileSystem(t)
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	if err := syscall.Mkfifo(c.file("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(t.Context(), archive); !errors.Is(err, atomicfile.ErrNotRegular) {
		t.Errorf("error: %v", err)
	}
	same(t, "left", len(tree(t, c.Path())), 2*5+2)
	same(t, "archive", list(t, archive), []string(nil))
}
