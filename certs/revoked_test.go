package certs

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/fakeca"
)

func TestMarkRevoked(t *testing.T) {
	a := newAuthority(t)
	arids := func(t *testing.T, c *Certificate, m Material) { publish(t, c, start, m) }
	theirs := func(t *testing.T, c *Certificate, m Material) { dehydratedTree(t, c, 1_795_000_000, m) }
	both := func(change func(t *testing.T, c *Certificate)) func(t *testing.T, c *Certificate, m Material) {
		return func(t *testing.T, c *Certificate, m Material) {
			arids(t, c, m)
			change(t, c)
		}
	}
	for _, test := range []struct {
		name    string
		build   func(t *testing.T, c *Certificate, m Material)
		file    string // given
		renamed string // flat
		gone    string // stable name that shows nothing afterwards
	}{
		{"dehydrated's", theirs, certName, "cert-1795000000.pem-revoked", certName},
		{"dehydrated's, by the file's own name", theirs, "cert-1795000000.pem", "cert-1795000000.pem-revoked", certName},
		{"dehydrated's, the full chain", theirs, fullchainName, "fullchain-1795000000.pem-revoked", fullchainName},
		{"arid's", arids, certName, "cert-1795000000.pem-revoked", certName},
		{"arid's, through live", arids, "live/cert.pem", "cert-1795000000.pem-revoked", certName},
		{"arid's, the version's", arids, "versions/1795000000/cert.pem", "cert-1795000000.pem-revoked", certName},
		{"arid's, by the name with the time", arids, "cert-1795000000.pem", "cert-1795000000.pem-revoked", certName},
		{"arid's, the full chain", arids, fullchainName, "fullchain-1795000000.pem-revoked", fullchainName},
		{"arid's, cleaned up by dehydrated", both(func(t *testing.T, c *Certificate) {
			remove(t, c, "cert-1795000000.pem")
		}), certName, "cert-1795000000.pem-revoked", certName},
		{"arid's, with a strange file of that name", both(func(t *testing.T, c *Certificate) {
			remove(t, c, "cert-1795000000.pem")
			put(t, c.file("cert-1795000000.pem"), "strange")
		}), certName, "live/cert.pem-revoked", certName},
		{"arid's, an older version", both(func(t *testing.T, c *Certificate) {
			publish(t, c, start, a.material(t))
		}), "cert-1795000000.pem", "cert-1795000000.pem-revoked", ""},
		{"arid's, an older version's own file", both(func(t *testing.T, c *Certificate) {
			publish(t, c, start, a.material(t))
		}), "versions/1795000000/cert.pem", "cert-1795000000.pem-revoked", ""},
		{"a link elsewhere", both(func(t *testing.T, c *Certificate) {
			link(t, c.file(certName), filepath.Join(c.store.Dir, "server.pem"))
		}), "../server.pem", "cert-1795000000.pem-revoked", certName},
		{"a regular file", both(func(t *testing.T, c *Certificate) { copyTree(t, c, "-rL") }), certName, "cert.pem-revoked", certName},
		{"a copy with live a directory", both(func(t *testing.T, c *Certificate) {
			remove(t, c, liveName)
			if err := os.Rename(c.file(versionsName, "1795000000"), c.file(liveName)); err != nil {
				t.Fatal(err)
			}
		}), certName, "live/cert.pem-revoked", certName},
		{"revoked before, and forced on", both(func(t *testing.T, c *Certificate) {
			put(t, c.file("cert-1795000000.pem-revoked"), "older")
		}), certName, "cert-1795000000.pem-revoked", certName},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCertificate(t)
			m := a.material(t)
			test.build(t, c, m)
			want := content(t, c)
			text := read(t, c.file(test.file))
			delete(want, test.gone)
			renamed, err := MarkRevoked(c.Path() + "/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "renamed", filepath.Clean(renamed), c.file(test.renamed))
			same(t, "its content", read(t, renamed), text)
			same(t, "shown", content(t, c), want)
			if _, err := os.Lstat(strings.TrimSuffix(renamed, revokedSuffix)); !os.IsNotExist(err) && !strings.Contains(test.name, "strange") {
				t.Errorf("the file itself: %v", err)
			}
			if test.gone == certName {
				if _, err := c.Live(); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("live: %v", err)
				}
			}
			// The next run.
			next := a.material(t)
			v, err := c.Write(start, next)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Switch(v); err != nil {
				t.Fatal(err)
			}
			if err := c.Prune(v.ID); err != nil {
				t.Fatal(err)
			}
			same(t, "after a renewal", content(t, c), encoded(t, next))
			same(t, "stable", len(lostNames(t, c)), 0)
			cleaned(t, c, inArchive(c))
			same(t, "cleaned up", content(t, c), encoded(t, next))
			left := slices.DeleteFunc(list(t, c.file(versionsName)), isTemp) // Prune keeps what it does not know
			same(t, "versions", left, []string{v.ID})
		})
	}
}

func TestMarkRevokedKeepsTheVersionWhole(t *testing.T) {
	c, m := newCertificate(t), newAuthority(t).material(t)
	v := publish(t, c, start, m)
	if _, err := MarkRevoked(c.file(certName)); err != nil {
		t.Fatal(err)
	}
	if live, err := c.Set(v.ID); err != nil || live.Key == nil {
		t.Errorf("version: %+v, %v", live, err)
	}
	// What is revoked goes with a clean-up; the key and the rest stay.
	want := content(t, c)
	same(t, "told", cleaned(t, c, inArchive(c)), []string{"www.example.org/cert-1795000000.pem-revoked"})
	same(t, "shown", content(t, c), want)
	same(t, "target", lostNames(t, c), []string{certName})
}

func TestMarkRevokedRefuses(t *testing.T) {
	dir := t.TempDir()
	link(t, "two", filepath.Join(dir, "one"))
	link(t, "one", filepath.Join(dir, "two"))
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"none": fs.ErrNotExist, "one": atomicfile.ErrNotRegular, "fifo": atomicfile.ErrNotRegular, ".": atomicfile.ErrNotRegular,
	} {
		if renamed, err := MarkRevoked(filepath.Join(dir, name)); !errors.Is(err, want) || renamed != "" {
			t.Errorf("%s: %q, %v", name, renamed, err)
		}
	}
	same(t, "left", list(t, dir), []string{"fifo", "one", "two"})
}

func TestRealDehydratedOrdersAnewWhatAridMarkedRevoked(t *testing.T) {
	needs(t, "dehydrated")
	ca := fakeca.New(t)
	ca.PreValidated("www.example.org").TermsOfService("https://ca.example/terms")
	c := newCertificate(t)
	if err := os.MkdirAll(c.store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(filepath.Dir(c.store.Dir), "domains.txt"), "www.example.org\n")
	theirs := func(args ...string) string {
		t.Helper()
		command, out := dehydratedAt(t, c, ca.URL(), args...)
		if err := command.Run(); err != nil {
			t.Fatalf("dehydrated %v: %v\n%s", args, err, out)
		}
		return out.String()
	}
	theirs("--register", "--accept-terms")
	m := newAuthority(t).material(t)
	m.Chain[0] = newAuthority(t).leaf(t, m.Key.Public(), func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(60 * 24 * time.Hour)
	}, "www.example.org")
	publish(t, c, start, m)
	if out := theirs("--cron"); !strings.Contains(out, "Skipping renew") || ca.NewOrders() != 0 {
		t.Fatalf("before: %s", out)
	}
	if _, err := MarkRevoked(c.file(certName)); err != nil {
		t.Fatal(err)
	}
	if out := theirs("--cron"); ca.NewOrders() != 1 || !strings.Contains(out, "Done!") {
		t.Errorf("after: %s", out)
	}
	if live, err := c.Live(); err != nil || live.Version != "" {
		t.Errorf("live: %+v, %v", live, err)
	}
}

func TestRealDehydratedCleansUpWhatAridMarkedRevoked(t *testing.T) {
	needs(t, "dehydrated")
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	if _, err := MarkRevoked(c.file(certName)); err != nil {
		t.Fatal(err)
	}
	want := content(t, c)
	out := dehydrated(t, c, "--cleanup")
	for _, line := range []string{"Removing broken symlink: " + c.file(certName), "www.example.org/cert-1795000000.pem-revoked"} {
		if !strings.Contains(out, line) {
			t.Errorf("dehydrated does not say %q: %s", line, out)
		}
	}
	same(t, "shown", content(t, c), want)
	if _, err := c.Live(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("live: %v", err)
	}
	next := a.material(t)
	publish(t, c, start, next)
	same(t, "after a renewal", content(t, c), encoded(t, next))
}
