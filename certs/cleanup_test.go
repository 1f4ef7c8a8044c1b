package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/internal/atomicfile"
)

// cleaned cleans up, and returns what was told.
func cleaned(t testing.TB, c *Certificate, archive string) (told []string) {
	t.Helper()
	err := c.store.Cleanup(context.Background(), CleanupOptions{Archive: archive, Tell: func(dir, file string) {
		told = append(told, dir+"/"+file)
		if _, err := os.Lstat(filepath.Join(c.store.Dir, dir, file)); !os.IsNotExist(err) {
			t.Errorf("%s/%s is told before it is gone: %v", dir, file, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// tree lists every file below dir, "." where there is none.
func tree(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return names
}

func inArchive(c *Certificate) string { return filepath.Join(filepath.Dir(c.store.Dir), "archive") }

func TestCleanupOfDehydratedsTree(t *testing.T) {
	for _, word := range []string{"archived", "deleted"} {
		t.Run(word, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			dehydratedTree(t, c, 1_690_000_000, a.material(t))
			live := a.material(t)
			dehydratedTree(t, c, 1_700_000_000, live)
			for name, text := range map[string]string{
				// A failed attempt, and a renewal that was revoked.
				"privkey-1705000000.pem": "k", "cert-1705000000.csr": "r", "cert-1705000000.pem": "",
				"cert-1680000000.pem-revoked": "r",
				"ocsp-1690000000.der":         "old", "ocsp-1700000000.der": "new",
				// What nobody may take.
				"privkey.roll.pem": "next", "config": "", "cert-1690000000.pem.bak": "", "mycert-1690000000.pem": "", "notes": "",
				"privkey-haproxy.pem": "in use", "cert-.pem": "", "cert-0.5.csr": "", "ocsp-old.der": "",
			} {
				put(t, c.file(name), text)
			}
			link(t, "ocsp-1700000000.der", c.file(ocspName))
			link(t, "notes", c.file("chain-mine.pem"))
			archive := inArchive(c)
			if word == "deleted" {
				archive = ""
			}
			same(t, "told", cleaned(t, c, archive), []string{
				"www.example.org/cert-1690000000.csr", "www.example.org/cert-1705000000.csr",
				"www.example.org/cert-1690000000.pem", "www.example.org/cert-1705000000.pem", "www.example.org/cert-1680000000.pem-revoked",
				"www.example.org/chain-1690000000.pem", "www.example.org/fullchain-1690000000.pem",
				"www.example.org/privkey-1690000000.pem", "www.example.org/privkey-1705000000.pem", "www.example.org/ocsp-1690000000.der",
			})
			same(t, "shown", content(t, c), encoded(t, live))
			same(t, "left", list(t, c.Path()), []string{
				lockName, "cert-.pem", "cert-0.5.csr", "cert-1690000000.pem.bak", "cert-1700000000.csr", "cert-1700000000.pem", "cert.csr", "cert.pem",
				"chain-1700000000.pem", "chain-mine.pem", "chain.pem", "config", "fullchain-1700000000.pem", "fullchain.pem",
				"mycert-1690000000.pem", "notes", "ocsp-1700000000.der", "ocsp-old.der", "ocsp.der",
				"privkey-1700000000.pem", "privkey-haproxy.pem", "privkey.pem", "privkey.roll.pem",
			})
			var want []string
			if archive != "" {
				want = []string{
					"cert-1680000000.pem-revoked", "cert-1690000000.csr", "cert-1690000000.pem", "cert-1705000000.csr", "cert-1705000000.pem",
					"chain-1690000000.pem", "fullchain-1690000000.pem", "ocsp-1690000000.der", "privkey-1690000000.pem", "privkey-1705000000.pem",
				}
			}
			same(t, "archive", tree(t, filepath.Join(inArchive(c), c.Alias)), want)
			same(t, "told the second time", cleaned(t, c, archive), []string(nil))
		})
	}
}

func TestCleanupOfAridsTree(t *testing.T) {
	for _, word := range []string{"archived", "deleted"} {
		t.Run(word, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			old, gone, live, owed := a.material(t), a.material(t), a.material(t), a.material(t)
			publish(t, c, start, old)
			publish(t, c, start, gone)
			publish(t, c, start, live)
			v, err := c.Write(start, owed)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SaveState(&State{Owed: &Owed{Version: v.ID, Step: OwedSync}}); err != nil {
				t.Fatal(err)
			}
			// dehydrated has moved this one's names away, and revoked it in its directory.
			for _, name := range fileNames() {
				remove(t, c, flat(name, "1795000001"))
			}
			if err := os.Rename(c.file("versions/1795000001/cert.pem"), c.file("versions/1795000001/cert.pem-revoked")); err != nil {
				t.Fatal(err)
			}
			archive := inArchive(c)
			if word == "deleted" {
				archive = ""
			}
			told := cleaned(t, c, archive)
			want := []string{
				"www.example.org/versions/1795000001/privkey.pem", "www.example.org/versions/1795000001/chain.pem",
				"www.example.org/versions/1795000001/fullchain.pem", "www.example.org/versions/1795000001/cert.csr",
				"www.example.org/versions/1795000001/cert.pem-revoked",
			}
			for _, name := range []string{csrName, certName, chainName, fullchainName, keyName} {
				want = append(want, "www.example.org/"+flat(name, "1795000000"))
			}
			same(t, "told", told, want)
			same(t, "shown", content(t, c), encoded(t, live))
			same(t, "versions", list(t, c.file(versionsName)), []string{"1795000002", "1795000003"})
			for _, name := range fileNames() {
				same(t, "owed", read(t, c.file(flat(name, v.ID))), encoded(t, owed)[name])
				same(t, "live", read(t, c.file(flat(name, "1795000002"))), encoded(t, live)[name])
			}
			if archive == "" {
				return
			}
			got := map[string]string{}
			for _, name := range tree(t, filepath.Join(archive, c.Alias)) {
				got[name] = read(t, filepath.Join(archive, c.Alias, name))
			}
			wanted := map[string]string{}
			for _, name := range fileNames() {
				wanted[flat(name, "1795000000")] = encoded(t, old)[name]
				wanted[flat(name, "1795000001")] = encoded(t, gone)[name]
			}
			wanted["cert-1795000001.pem-revoked"] = wanted["cert-1795000001.pem"]
			delete(wanted, "cert-1795000001.pem")
			same(t, "archive", got, wanted)
		})
	}
}

// moreTrees are those that only cleaning up has to know.
var moreTrees = []struct {
	name   string
	change func(t testing.TB, c *Certificate, a *authority)
}{
	{"the inverted layout: real files above, links below", func(t testing.TB, c *Certificate, a *authority) {
		for _, id := range []string{"1794000000", "1795000000"} {
			if err := os.MkdirAll(c.file(versionsName, id), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range encoded(t, a.material(t)) {
				put(t, c.file(flat(name, id)), text)
				link(t, "../../"+flat(name, id), c.file(versionsName, id, name))
				link(t, liveName+"/"+name, c.file(name))
			}
			link(t, versionsName+"/"+id, c.file(liveName))
		}
	}},
	{"live lost, and all its versions", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		if err := os.RemoveAll(c.file(versionsName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"a stable name by way of another", func(t testing.TB, c *Certificate, a *authority) {
		link(t, "fullchain-1690000000.pem", c.file("all.pem"))
		link(t, "all.pem", c.file(certName))
		remove(t, c, fullchainName)
	}},
	{"a file of two names", func(t testing.TB, c *Certificate, a *authority) {
		remove(t, c, chainName)
		if err := os.Link(c.file("chain-1690000000.pem"), c.file(chainName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"a switch that was killed after the take-over", func(t testing.TB, c *Certificate, a *authority) {
		dir, err := c.folder()
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := c.takeOver(dir, "1795000000"); err != nil {
			t.Fatal(err)
		}
	}},
}

// shownInodes are the files that the stable names lead to.
func shownInodes(t testing.TB, c *Certificate) map[string]uint64 {
	t.Helper()
	inodes := map[string]uint64{}
	for _, name := range cleanupNames() {
		if info, err := os.Stat(c.file(name)); err == nil {
			inodes[name] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return inodes
}

func TestCleanupLosesNothingThatIsShown(t *testing.T) {
	a := newAuthority(t)
	for i, one := range slices.Concat(oddTrees, moreTrees) {
		for _, word := range []string{"archived", "deleted"} {
			t.Run(one.name+", "+word, func(t *testing.T) {
				c := newCertificate(t)
				dehydratedTree(t, c, 1_690_000_000, a.material(t))
				one.change(t, c, a)
				before, inodes := content(t, c), shownInodes(t, c)
				lost := lostNames(t, c)
				kept := map[string]string{}
				for _, name := range list(t, c.Path()) {
					for _, stable := range lost {
						if _, found := flatID(name, stable, ""); found {
							kept[name] = read(t, c.file(name))
						}
					}
				}
				versions := tree(t, c.file(versionsName))
				archive := inArchive(c)
				if word == "deleted" {
					archive = ""
				}
				cleaned(t, c, archive)
				if len(lost) > 0 {
					same(t, "versions", tree(t, c.file(versionsName)), versions)
				}
				for _, name := range tree(t, inArchive(c)) {
					if info, err := os.Lstat(filepath.Join(inArchive(c), name)); err != nil || !info.Mode().IsRegular() || strings.HasSuffix(name, ".1") {
						t.Errorf("archived: %s, %v", name, err)
					}
				}
				same(t, "shown", content(t, c), before)
				same(t, "shown inodes", shownInodes(t, c), inodes)
				same(t, "names that lead nowhere", lostNames(t, c), lost)
				for name, text := range kept {
					same(t, name, read(t, c.file(name)), text)
				}
				same(t, "told the second time", cleaned(t, c, archive), []string(nil))
				if i >= len(oddTrees) && one.name != "a switch that was killed after the take-over" {
					return
				}
				m := a.material(t)
				v := publish(t, c, start, m)
				if err := c.Prune(v.ID); err != nil {
					t.Fatal(err)
				}
				same(t, "after a renewal", content(t, c), encoded(t, m))
				cleaned(t, c, archive)
				same(t, "cleaned up after a renewal", content(t, c), encoded(t, m))
				same(t, "versions", list(t, c.file(versionsName)), []string{"1795000000"})
			})
		}
	}
}

// lostNames are the stable names that are there and show nothing.
func lostNames(t testing.TB, c *Certificate) (names []string) {
	t.Helper()
	for _, name := range cleanupNames() {
		if _, err := os.Lstat(c.file(name)); err == nil {
			if _, err := os.Stat(c.file(name)); err != nil {
				names = append(names, name)
			}
		}
	}
	return names
}

func TestCleanupKeepsTheNamesOfVersionsThatStay(t *testing.T) {
	t.Run("copies, as Version makes them", func(t *testing.T) {
		c, a := newCertificate(t), newAuthority(t)
		v := publish(t, c, start, a.material(t))
		remove(t, c, flat(certName, v.ID), flat(keyName, v.ID))
		if _, err := c.Version(v.ID); err != nil {
			t.Fatal(err)
		}
		same(t, "told", cleaned(t, c, inArchive(c)), []string(nil))
	})
	t.Run("links of dehydrated's that were taken over", func(t *testing.T) {
		c, a := newCertificate(t), newAuthority(t)
		dehydratedTree(t, c, 1_690_000_000, a.material(t))
		dir, err := c.folder()
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := c.takeOver(dir, "1795000000"); err != nil {
			t.Fatal(err)
		}
		remove(t, c, chainName)
		same(t, "told", cleaned(t, c, inArchive(c)), []string(nil))
	})
}

func TestCleanupKeepsTheLastVersionWhereTheStateIsDamaged(t *testing.T) {
	for name, state := range map[string]string{"damaged": "{", "a newer arid's": `{"schema": 9, "owed": ["1795000002"]}`} {
		t.Run(name, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			publish(t, c, start, a.material(t))
			for range 2 {
				if _, err := c.Write(start, a.material(t)); err != nil {
					t.Fatal(err)
				}
			}
			put(t, c.file(stateName), state)
			cleaned(t, c, inArchive(c))
			same(t, "versions", list(t, c.file(versionsName)), []string{"1795000000", "1795000002"})
			same(t, "state", read(t, c.file(stateName)), state)
		})
	}
}

func TestCleanupArchivesAVersionsCopiesOnce(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	old := publish(t, c, start, a.material(t))
	remove(t, c, flat(certName, old.ID))
	if _, err := c.Version(old.ID); err != nil { // makes a copy
		t.Fatal(err)
	}
	publish(t, c, start, a.material(t))
	var want []string
	for _, name := range []string{csrName, certName, chainName, fullchainName, keyName} {
		want = append(want, "www.example.org/"+flat(name, old.ID))
	}
	same(t, "told", cleaned(t, c, inArchive(c)), want)
	same(t, "archive", len(tree(t, inArchive(c))), 5)
}

func TestCleanupReplacesNothingInTheArchive(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	for name, text := range map[string]string{"cert-1.pem": "one", "chain-1.pem": "two", "privkey-1.pem": "three", "cert-1.csr": "four"} {
		put(t, c.file(name), text)
	}
	there := filepath.Join(inArchive(c), c.Alias)
	if err := os.MkdirAll(there, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(there, "cert-1.pem"), "another")
	put(t, filepath.Join(there, "cert-1.pem.1"), "a third")
	put(t, filepath.Join(there, "chain-1.pem"), "two")
	if err := os.Link(c.file("privkey-1.pem"), filepath.Join(there, "privkey-1.pem")); err != nil {
		t.Fatal(err)
	}
	link(t, "nowhere", filepath.Join(there, "cert-1.csr"))
	put(t, filepath.Join(there, tempPrefix+"ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "a killed run's")
	cleaned(t, c, inArchive(c))
	got := map[string]string{}
	for _, name := range list(t, there) {
		text, _ := os.ReadFile(filepath.Join(there, name))
		got[name] = string(text)
	}
	same(t, "archive", got, map[string]string{
		"cert-1.pem": "another", "cert-1.pem.1": "a third", "cert-1.pem.2": "one", "chain-1.pem": "two", "privkey-1.pem": "three",
		"cert-1.csr": "", "cert-1.csr.1": "four",
	})
	same(t, "left", len(list(t, c.Path())), 2*5+1)
}

func TestCleanupGoesOnAfterAFolderThatFails(t *testing.T) {
	store := &Store{Dir: filepath.Join(t.TempDir(), "certs")}
	a := newAuthority(t)
	folder := func(alias string) *Certificate {
		c, err := store.Certificate(alias)
		if err != nil {
			t.Fatal(err)
		}
		dehydratedTree(t, c, 1_690_000_000, a.material(t))
		dehydratedTree(t, c, 1_700_000_000, a.material(t))
		return c
	}
	held, planted, last := folder("a.held"), folder("b.planted"), folder("c.last")
	folder("d.idle")
	hidden := folder(".hidden")
	unlock, err := held.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	outside := t.TempDir()
	archive := t.TempDir()
	link(t, outside, filepath.Join(archive, planted.Alias))
	put(t, filepath.Join(store.Dir, "file"), "")
	err = store.Cleanup(t.Context(), CleanupOptions{Archive: archive})
	var locked *atomicfile.LockedError
	if !errors.As(err, &locked) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("error: %v", err)
	}
	same(t, "lines", len(strings.Split(fmt.Sprint(err), "\n")), 2)
	same(t, "outside", tree(t, outside), []string(nil))
	for _, c := range []*Certificate{held, planted, hidden} {
		if !slices.Contains(list(t, c.Path()), "cert-1690000000.pem") {
			t.Errorf("%s was cleaned up", c.Alias)
		}
	}
	if slices.Contains(list(t, last.Path()), "cert-1690000000.pem") {
		t.Error("the last was not cleaned up")
	}
	same(t, "archived", len(list(t, filepath.Join(archive, "d.idle"))), 5)
}

// Nothing is moved, and nothing removed, where the archive cannot be written to.
func TestAnArchiveThatCannotBeWrittenTo(t *testing.T) {
	root(t)
	for _, c := range []struct {
		task, roots string // what is root's
		want        string
	}{
		{"clean-up, archived", "archive", `www.example.org: the archive "DIR/archive/www.example.org": permission denied`},
		{"clean-up, archived", "archive/www.example.org", `www.example.org: the archive "DIR/archive/www.example.org": permission denied`},
		{"forgotten, archived", "archive", `moving "DIR/certs/www.example.org" to the archive "DIR/archive": permission denied`},
		{"forgotten, archived", "certs", `moving "DIR/certs/www.example.org" to the archive "DIR/archive": permission denied`},
	} {
		t.Run(c.task+", "+c.roots+" is root's", func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "arid-certs")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			certificate, archive := killPlace(dir)
			buildToClean(t, certificate, newAuthority(t))
			if err := os.MkdirAll(filepath.Join(dir, c.roots), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := exec.Command("cp", os.Args[0], dir+"/test").Run(); err != nil {
				t.Fatal(err)
			}
			if err := exec.Command("chown", "-R", "65534:65534", dir).Run(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chown(filepath.Join(dir, c.roots), 0, 0), os.Chmod(filepath.Join(dir, c.roots), 0o755)); err != nil {
				t.Fatal(err)
			}
			before := contents(t, certificate.Path())
			child := exec.Command(dir + "/test")
			child.Env = append(os.Environ(), "ARID_CERTS_CHILD="+dir, "ARID_CERTS_TASK="+c.task)
			child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := child.CombinedOutput()
			if err == nil {
				t.Error("it did not fail")
			}
			same(t, "error", strings.ReplaceAll(string(out), dir, "DIR"), c.want+"\n")
			same(t, "left", contents(t, certificate.Path()), before)
			same(t, "archive", tree(t, archive), []string(nil))
		})
	}
}

func TestCleanupOfACleanTreeWritesNothing(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	if err := os.MkdirAll(c.file(versionsName, "1795000000"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, c.file(versionsName, "1795000000", "notes"), "the user's")
	before := tree(t, c.Path())
	cleaned(t, c, inArchive(c))
	same(t, "files", tree(t, c.Path()), before) // no lock either
	if _, err := os.Lstat(inArchive(c)); !os.IsNotExist(err) {
		t.Errorf("archive: %v", err)
	}
	nowhere := &Store{Dir: filepath.Join(t.TempDir(), "none")}
	if err := nowhere.Cleanup(t.Context(), CleanupOptions{}); err != nil {
		t.Error(err)
	}
}

func TestCleanupEndsWhenTold(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	dehydratedTree(t, c, 1_700_000_000, a.material(t))
	why := errors.New("told to end")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := c.store.Cleanup(ctx, CleanupOptions{}); !errors.Is(err, why) {
		t.Errorf("error: %v", err)
	}
	if !slices.Contains(list(t, c.Path()), "cert-1690000000.pem") {
		t.Error("it was cleaned up")
	}
}

func TestCleanupFollowsNoPlantedLink(t *testing.T) {
	a := newAuthority(t)
	for _, name := range []string{
		"versions", "versions/1795000000", "versions/1795000000/cert.pem", "cert-1600000000.pem", "cert-1600000000.pem-revoked",
		"live", "cert.pem", "privkey.pem", "state.json", ".arid.lock", "pending",
	} {
		for _, kind := range []string{"file", "directory", "FIFO"} {
			for _, archive := range []string{"", "archive"} {
				t.Run(kind+" at "+name+" "+archive, func(t *testing.T) {
					c := newCertificate(t)
					dehydratedTree(t, c, 1_690_000_000, a.material(t))
					dehydratedTree(t, c, 1_700_000_000, a.material(t))
					outside := t.TempDir()
					canary := filepath.Join(outside, "cert.pem")
					put(t, canary, "canary")
					at := c.file(name)
					if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
						t.Fatal(err)
					}
					_ = os.Remove(at)
					target := map[string]string{"file": canary, "directory": outside}[kind]
					if target == "" {
						if err := syscall.Mkfifo(at, 0o600); err != nil {
							t.Fatal(err)
						}
					} else {
						link(t, target, at)
					}
					if archive != "" {
						archive = inArchive(c)
					}
					_ = c.store.Cleanup(t.Context(), CleanupOptions{Archive: archive}) // errors are fine
					same(t, "the directory outside", list(t, outside), []string{"cert.pem"})
					same(t, "the canary", read(t, canary), "canary")
				})
			}
		}
	}
}

// otherFileSystem is a directory on another file system than t.TempDir.
func otherFileSystem(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "arid-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	here, errHere := os.Stat(t.TempDir())
	there, errThere := os.Stat(dir)
	if errHere != nil || errThere != nil || here.Sys().(*syscall.Stat_t).Dev == there.Sys().(*syscall.Stat_t).Dev {
		t.Skip("there is no other file system")
	}
	return dir
}

func TestCleanupToAnotherFileSystem(t *testing.T) {
	archive := otherFileSystem(t)
	c, a := newCertificate(t), newAuthority(t)
	m := a.material(t)
	publish(t, c, start, m)
	next := a.material(t)
	publish(t, c, start, next)
	if err := os.Chmod(c.file("privkey-1795000000.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	cleaned(t, c, archive)
	same(t, "shown", content(t, c), encoded(t, next))
	same(t, "left", len(list(t, c.file(versionsName))), 1)
	there := filepath.Join(archive, c.Alias)
	same(t, "archive", len(list(t, there)), 5)
	for name, text := range encoded(t, m) {
		same(t, name, read(t, filepath.Join(there, flat(name, "1795000000"))), text)
	}
	if info, err := os.Stat(filepath.Join(there, "privkey-1795000000.pem")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("key: %v, %v", info, err)
	}
	same(t, "told the second time", cleaned(t, c, archive), []string(nil))
}

func TestRealDehydratedAndAridCleanUpInTurn(t *testing.T) {
	for _, word := range []string{"--cleanup", "--cleanup-delete"} {
		t.Run(word, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			archive := inArchive(c)
			if word == "--cleanup-delete" {
				archive = ""
			}
			check := func(what string, m Material) {
				t.Helper()
				for _, who := range []string{"arid", "dehydrated", "arid", "dehydrated"} {
					if who == "arid" {
						cleaned(t, c, archive)
					} else {
						dehydrated(t, c, word)
					}
					same(t, what+", after "+who, content(t, c), encoded(t, m))
					if _, err := c.Live(); err != nil {
						t.Fatalf("%s, after %s: %v", what, who, err)
					}
				}
			}
			dehydratedTree(t, c, 1_690_000_000, a.material(t))
			first := a.material(t)
			dehydratedTree(t, c, 1_700_000_000, first)
			check("dehydrated's own", first)
			m := a.material(t)
			publish(t, c, start, m)
			check("taken over", m)
			next := a.material(t)
			publish(t, c, start.Add(time.Hour), next)
			check("renewed", next)
			back := a.material(t)
			dehydratedTree(t, c, 1_796_000_000, back)
			check("taken back", back)
			last := a.material(t)
			publish(t, c, time.Unix(1_797_000_000, 0), last)
			check("taken over again", last)
			same(t, "versions", list(t, c.file(versionsName)), []string{"1797000000"})
		})
	}
}

// dehydrated's clean-up finds the same files unused as arid's in a tree of its own,
// as long as they have a time in their names.
func TestCleanupTakesWhatDehydratedTakes(t *testing.T) {
	a := newAuthority(t)
	one, other := newCertificate(t), newCertificate(t)
	old, live := a.material(t), a.material(t)
	for _, c := range []*Certificate{one, other} {
		dehydratedTree(t, c, 1_690_000_000, old)
		dehydratedTree(t, c, 1_700_000_000, live)
		for _, name := range []string{"cert-1705000000.pem", "privkey-1705000000.pem", "cert-1680000000.pem-revoked", "ocsp-1.der", "notes"} {
			put(t, c.file(name), "")
		}
	}
	out := dehydrated(t, one, "--cleanup")
	var theirs []string
	for line := range strings.Lines(out) {
		if name, found := strings.CutPrefix(line, "Moving unused file to archive directory: "); found {
			theirs = append(theirs, strings.TrimSuffix(name, "\n"))
		}
	}
	if len(theirs) < 9 {
		t.Fatalf("dehydrated: %s", out)
	}
	ours := cleaned(t, other, inArchive(other))
	same(t, "told", ours, theirs)
	same(t, "archive", tree(t, inArchive(other)), tree(t, inArchive(one)))
	remove(t, other, lockName)
	same(t, "left", tree(t, other.Path()), tree(t, one.Path()))
}
