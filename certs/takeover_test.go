package certs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dehydratedTree writes a set as dehydrated does, links one by one.
func dehydratedTree(t testing.TB, c *Certificate, unix int64, m Material) {
	t.Helper()
	if err := os.MkdirAll(c.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range encoded(t, m) {
		target := flat(name, fmt.Sprint(unix))
		if err := os.WriteFile(c.file(target), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(c.file(name))
		if err := os.Symlink(target, c.file(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// oddTrees are folders that may be found, other than what arid itself leaves.
// Each is given the folder with a set that dehydrated wrote.
var oddTrees = []struct {
	name   string
	change func(t testing.TB, c *Certificate, a *authority)
}{
	{"dehydrated's", func(t testing.TB, c *Certificate, a *authority) {}},
	{"dehydrated's, second generation", func(t testing.TB, c *Certificate, a *authority) {
		dehydratedTree(t, c, 1_700_000_000, a.material(t))
	}},
	{"dehydrated's without a key of its own", func(t testing.TB, c *Certificate, a *authority) { remove(t, c, keyName) }},
	{"dehydrated's without chain and request", func(t testing.TB, c *Certificate, a *authority) {
		remove(t, c, chainName, csrName)
	}},
	{"dehydrated's, revoked", func(t testing.TB, c *Certificate, a *authority) {
		target, _ := os.Readlink(c.file(certName))
		if err := os.Rename(c.file(target), c.file(target+"-revoked")); err != nil {
			t.Fatal(err)
		}
	}},
	{"dehydrated's, torn by a crash", func(t testing.TB, c *Certificate, a *authority) {
		other := encoded(t, a.material(t))
		if err := os.WriteFile(c.file("privkey-1700000000.pem"), []byte(other[keyName]), 0o600); err != nil {
			t.Fatal(err)
		}
		remove(t, c, keyName)
		if err := os.Symlink("privkey-1700000000.pem", c.file(keyName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"absolute links", func(t testing.TB, c *Certificate, a *authority) {
		for _, name := range fileNames() {
			target, _ := os.Readlink(c.file(name))
			remove(t, c, name)
			if err := os.Symlink(c.file(target), c.file(name)); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"a key outside the tree", func(t testing.TB, c *Certificate, a *authority) {
		outside := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(outside, []byte(read(t, c.file(keyName))), 0o600); err != nil {
			t.Fatal(err)
		}
		remove(t, c, keyName)
		if err := os.Symlink(outside, c.file(keyName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"regular files (cp -L)", func(t testing.TB, c *Certificate, a *authority) { copyTree(t, c, "-rL") }},
	{"a key alone, put there by hand", func(t testing.TB, c *Certificate, a *authority) {
		key := read(t, c.file(keyName))
		os.RemoveAll(c.Path())
		os.Mkdir(c.Path(), 0o700)
		if err := os.WriteFile(c.file(keyName), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{"a copy of arid's with every link followed", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		copyTree(t, c, "-rL")
	}},
	{"a copy of arid's with live a directory under the links", func(t testing.TB, c *Certificate, a *authority) {
		v := publish(t, c, start.Add(-time.Hour), a.material(t))
		if err := os.Remove(c.file(liveName)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(c.file(versionsName, v.ID), c.file(liveName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"live an absolute link", func(t testing.TB, c *Certificate, a *authority) {
		v := publish(t, c, start.Add(-time.Hour), a.material(t))
		os.Remove(c.file(liveName))
		if err := os.Symlink(c.file(versionsName, v.ID), c.file(liveName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"arid's, with all links copied as files but live", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		for _, name := range fileNames() {
			text := read(t, c.file(name))
			remove(t, c, name)
			if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"arid's, taken back by dehydrated", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		dehydratedTree(t, c, 1_794_999_000, a.material(t))
	}},
	{"arid's, taken back by dehydrated with the key kept", func(t testing.TB, c *Certificate, a *authority) {
		m := a.material(t)
		publish(t, c, start.Add(-time.Hour), m)
		m.Chain[0] = a.leaf(t, m.Key.Public(), nil, "www.example.org")
		dehydratedTree(t, c, 1_794_999_000, m)
		remove(t, c, keyName)
		if err := os.Symlink("live/privkey.pem", c.file(keyName)); err != nil {
			t.Fatal(err)
		}
	}},
	{"arid's, with live gone", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		remove(t, c, liveName)
	}},
	{"arid's, with one link gone", func(t testing.TB, c *Certificate, a *authority) {
		publish(t, c, start.Add(-time.Hour), a.material(t))
		remove(t, c, chainName)
	}},
}

func remove(t testing.TB, c *Certificate, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(c.file(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree replaces the folder by a copy of itself.
func copyTree(t testing.TB, c *Certificate, how string) {
	t.Helper()
	if out, err := exec.Command("cp", how, c.Path(), c.Path()+".copy").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if err := os.RemoveAll(c.Path()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.Path()+".copy", c.Path()); err != nil {
		t.Fatal(err)
	}
}

func oddTree(t testing.TB, i int, a *authority) *Certificate {
	c := newCertificate(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	oddTrees[i].change(t, c, a)
	return c
}

func TestTakeOver(t *testing.T) {
	a := newAuthority(t)
	for i, tree := range oddTrees {
		t.Run(tree.name, func(t *testing.T) {
			c := oddTree(t, i, a)
			shown := content(t, c)
			flats := dehydratedFiles(t, c)
			if live, err := c.Live(); err == nil {
				same(t, "live key", live.Paths.Key != "", shown[keyName] != "")
			}
			m := a.material(t)
			v, err := c.Write(start, m)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "before the switch", content(t, c), shown)
			if err := c.Switch(v); err != nil {
				t.Fatal(err)
			}
			same(t, "after the switch", content(t, c), encoded(t, m))
			for _, name := range fileNames() {
				if target, err := os.Readlink(c.file(name)); err != nil || target != "live/"+name {
					t.Errorf("%s -> %s, %v", name, target, err)
				}
			}
			if live, err := c.Live(); err != nil || live.Version != v.ID {
				t.Errorf("live: %+v, %v", live, err)
			}
			// The old set is a version like any other, and pruning it takes none of
			// dehydrated's files.
			versions := list(t, c.file(versionsName))
			if len(shown) > 0 && !slices.ContainsFunc(versions, func(id string) bool { return holds(t, c, id, shown) }) {
				t.Errorf("none of the versions %v is the old set", versions)
			}
			c.store.Keep = 1
			if err := c.Prune(""); err != nil {
				t.Fatal(err)
			}
			same(t, "versions", list(t, c.file(versionsName)), []string{v.ID})
			same(t, "after pruning", content(t, c), encoded(t, m))
			same(t, "dehydrated's files", dehydratedFiles(t, c), flats)
		})
	}
}

// holds tells whether a version has all of these files.
func holds(t *testing.T, c *Certificate, id string, files map[string]string) bool {
	for name, text := range files {
		data, err := os.ReadFile(c.file(versionsName, id, name))
		if err != nil || string(data) != text {
			return false
		}
	}
	return true
}

// dehydratedFiles are the flat files that arid did not make: those of times
// before its own.
func dehydratedFiles(t testing.TB, c *Certificate) (names []string) {
	for _, name := range list(t, c.Path()) {
		if strings.Contains(name, "-16") || strings.Contains(name, "-17000") || strings.Contains(name, "-1794999") {
			names = append(names, name)
		}
	}
	return names
}

func TestTheOldSetComesBeforeTheNewOne(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	shown := content(t, c)
	var v *Version
	for range 3 { // two attempts before this one were killed before the switch
		var err error
		if v, err = c.Write(start, a.material(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Switch(v); err != nil {
		t.Fatal(err)
	}
	same(t, "versions", list(t, c.file(versionsName)), []string{"1794999999", "1795000000", "1795000001", "1795000002"})
	if !holds(t, c, "1794999999", shown) {
		t.Error("the first version is not the old set")
	}
}

func TestTakeOverRefusesADirectoryOfSomebodys(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	remove(t, c, chainName)
	if err := os.Mkdir(c.file(chainName), 0o700); err != nil {
		t.Fatal(err)
	}
	v, err := c.Write(start, a.material(t))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, name := range []string{keyName, certName, fullchainName} {
		shown[name] = read(t, c.file(name))
	}
	if err := c.Switch(v); err == nil {
		t.Error("no error")
	}
	for name, want := range shown {
		same(t, name, read(t, c.file(name)), want)
	}
}

// dehydrated runs the real one.
func dehydrated(t *testing.T, c *Certificate, args ...string) string {
	t.Helper()
	needs(t, "dehydrated")
	base := filepath.Dir(c.store.Dir)
	config := filepath.Join(base, "config")
	text := fmt.Sprintf("BASEDIR=%q\nCERTDIR=%q\nWELLKNOWN=%q\nDOMAINS_TXT=%q\n", base, c.store.Dir, base, filepath.Join(base, "domains.txt"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("dehydrated", append(args, "--config", config)...)
	command.Env = append(os.Environ(), "HOME="+base)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("dehydrated %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestRealDehydratedCleansUpBesideArid(t *testing.T) {
	for _, word := range []string{"--cleanup", "--cleanup-delete"} {
		t.Run(word, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			dehydratedTree(t, c, 1_690_000_000, a.material(t))
			first := a.material(t)
			dehydratedTree(t, c, 1_700_000_000, first)

			// Its own tree, before arid: the old files go, the live ones stay.
			dehydrated(t, c, word)
			same(t, "dehydrated's own", content(t, c), encoded(t, first))

			// Written and not switched to: the old set is dehydrated's still.
			m := a.material(t)
			v, err := c.Write(start, m)
			if err != nil {
				t.Fatal(err)
			}
			dehydrated(t, c, word)
			same(t, "before the switch", content(t, c), encoded(t, first))
			if v, err = c.Version(v.ID); err != nil { // as the next run does
				t.Fatal(err)
			}
			if err := c.Switch(v); err != nil {
				t.Fatal(err)
			}
			out := dehydrated(t, c, word)
			same(t, "after the switch", content(t, c), encoded(t, m))
			if !strings.Contains(out, "cert-1700000000.pem") {
				t.Errorf("dehydrated left its old files: %s", out)
			}
			if live, err := c.Live(); err != nil || live.Version != v.ID {
				t.Fatalf("live: %+v, %v", live, err)
			}
			// A renewal after that, and a clean-up again.
			next := a.material(t)
			publish(t, c, start.Add(time.Hour), next)
			if err := c.Prune(""); err != nil {
				t.Fatal(err)
			}
			dehydrated(t, c, word)
			same(t, "after a renewal", content(t, c), encoded(t, next))

			// dehydrated takes the folder back, and cleans up: no live file is lost.
			back := a.material(t)
			dehydratedTree(t, c, 1_796_000_000, back)
			dehydrated(t, c, word)
			same(t, "taken back", content(t, c), encoded(t, back))
			live, err := c.Live()
			if err != nil || live.Version != "" {
				t.Fatalf("live: %+v, %v", live, err)
			}
		})
	}
}
