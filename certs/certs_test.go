package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/keys"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // as cmd does
	if dir := os.Getenv("ARID_CERTS_CHILD"); dir != "" {
		childMain(dir)
	}
	os.Exit(m.Run())
}

// needs skips, or fails where everything was asked for.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("ARID_TEST_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// authority is a root with an intermediate that issues.
type authority struct {
	root, intermediate *x509.Certificate
	key                crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(cn string, isCA bool) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, IsCA: isCA,
	}
}

func sign(t testing.TB, c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	rootKey := newKey(t)
	r := template("Test Root", true)
	a.root = sign(t, r, r, rootKey.Public(), rootKey)
	a.intermediate = sign(t, template("Test Intermediate", true), a.root, a.key.Public(), rootKey)
	return a
}

// leaf makes a certificate for the key; change may be nil.
func (a *authority) leaf(t testing.TB, pub crypto.PublicKey, change func(*x509.Certificate), names ...string) *x509.Certificate {
	t.Helper()
	c := template("", false)
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	if change != nil {
		change(c)
	}
	return sign(t, c, a.intermediate, pub, a.key)
}

// material is a new key with its certificate.
func (a *authority) material(t testing.TB) Material {
	t.Helper()
	key := newKey(t)
	csr, err := keys.MakeCSR(key, keys.CSROptions{Names: []string{"www.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	return Material{Key: key, CSR: csr, Chain: []*x509.Certificate{a.leaf(t, key.Public(), nil, "www.example.org"), a.intermediate}}
}

func newCertificate(t testing.TB) *Certificate {
	t.Helper()
	s := &Store{Dir: filepath.Join(t.TempDir(), "lib", "certs")}
	c, err := s.Certificate("www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var start = time.Unix(1_795_000_000, 0)

// publish is what issue does after the download, without hooks.
func publish(t testing.TB, c *Certificate, at time.Time, m Material) *Version {
	t.Helper()
	v, err := c.Write(at, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Switch(v); err != nil {
		t.Fatal(err)
	}
	return v
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// content is what the stable names show; a name that shows nothing is missing.
func content(t testing.TB, c *Certificate) map[string]string {
	t.Helper()
	shown := map[string]string{}
	for _, name := range fileNames() {
		data, err := os.ReadFile(c.file(name))
		if err == nil {
			shown[name] = string(data)
		} else if !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return shown
}

func encoded(t testing.TB, m Material) map[string]string {
	t.Helper()
	files, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for name, data := range files {
		want[name] = string(data)
	}
	return want
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%v", got), fmt.Sprintf("%v", want); g != w {
		t.Errorf("%s:\n got %.600s\nwant %.600s", what, g, w)
	}
}

func TestFirstCertificateHasTheDocumentedLayout(t *testing.T) {
	c, m := newCertificate(t), newAuthority(t).material(t)
	v := publish(t, c, start, m)
	same(t, "folder", list(t, c.Path()), []string{
		"cert-1795000000.csr", "cert-1795000000.pem", "cert.csr", "cert.pem", "chain-1795000000.pem", "chain.pem",
		"fullchain-1795000000.pem", "fullchain.pem", "live", "privkey-1795000000.pem", "privkey.pem", "versions",
	})
	for link, want := range map[string]string{
		"privkey.pem": "live/privkey.pem", "cert.pem": "live/cert.pem", "chain.pem": "live/chain.pem",
		"fullchain.pem": "live/fullchain.pem", "cert.csr": "live/cert.csr", "live": "versions/1795000000",
	} {
		if got, err := os.Readlink(c.file(link)); err != nil || got != want {
			t.Errorf("%s -> %s, %v; want %s", link, got, err, want)
		}
	}
	for _, name := range fileNames() {
		flat, err := os.Stat(*v.Paths.of(name))
		own, err2 := os.Stat(c.file(versionsName, v.ID, name))
		if err != nil || err2 != nil || !os.SameFile(flat, own) {
			t.Errorf("%s is no hard link to the version's file: %v, %v", *v.Paths.of(name), err, err2)
		}
		if own.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, own.Mode().Perm())
		}
	}
	for _, dir := range []string{c.store.Dir, c.Path(), c.file(versionsName), c.file(versionsName, v.ID)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o, %v", dir, info.Mode().Perm(), err)
		}
	}
	shown := content(t, c)
	same(t, "content", shown, encoded(t, m))
	if shown[fullchainName] != shown[certName]+shown[chainName] {
		t.Error("fullchain.pem is not cert.pem and chain.pem")
	}
	same(t, "key path for hooks", v.Paths.Key, c.file("privkey-1795000000.pem"))

	live, err := c.Live()
	if err != nil {
		t.Fatal(err)
	}
	if live.Version != v.ID || len(live.Chain) != 2 || !keys.Fits(live.Leaf.PublicKey, live.Key) {
		t.Errorf("live: %+v", live)
	}
	same(t, "live path", live.Paths.Cert, c.file("versions/1795000000/cert.pem"))
}

func TestRenewalInTheSameSecondTakesTheNext(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	// A name that dehydrated has used is not taken either.
	if err := os.WriteFile(c.file("cert-1795000001.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := a.material(t)
	v := publish(t, c, start, m)
	same(t, "version", v.ID, "1795000002")
	same(t, "content", content(t, c), encoded(t, m))
	if err := c.Switch(v); err != nil {
		t.Errorf("switching to what is shown: %v", err)
	}
	same(t, "content", content(t, c), encoded(t, m))
}

// The last one made has the highest number, whatever the clock says and whatever
// Prune has made free: by the number Prune tells which are the last.
func TestVersionsHaveTheNumbersOfTheirOrder(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	c.store.Keep = 2
	var before Material
	for i, at := range []time.Time{start, start, start, start, start.Add(-time.Hour), start, start.Add(time.Hour)} {
		m := a.material(t)
		v := publish(t, c, at, m)
		if err := c.Prune(v.ID); err != nil {
			t.Fatal(err)
		}
		versions := list(t, c.file(versionsName))
		same(t, fmt.Sprintf("the last of %d", i+1), versions[len(versions)-1], v.ID)
		if i > 0 {
			same(t, "versions", len(versions), 2)
			same(t, "the one before", read(t, c.file(versionsName, versions[0], certName)), encoded(t, before)[certName])
		}
		before = m
	}
	same(t, "after an hour", list(t, c.file(versionsName))[1], strconv.FormatInt(start.Add(time.Hour).Unix(), 10))
	// A number that no clock has shown is no reason to write nothing.
	if err := os.Mkdir(c.file(versionsName, strconv.FormatInt(math.MaxInt64, 10)), 0o700); err != nil {
		t.Fatal(err)
	}
	m := a.material(t)
	publish(t, c, start.Add(2*time.Hour), m)
	same(t, "content", content(t, c), encoded(t, m))
}

func TestSetsWithoutKeyOrChain(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	alone := a.material(t)
	alone.Chain = alone.Chain[:1]
	alone.Key, alone.CSR = nil, nil
	v := publish(t, c, start, alone)
	same(t, "content", content(t, c), encoded(t, alone))
	if chain, found := content(t, c)[chainName]; !found || chain != "" {
		t.Errorf("chain.pem: %q, %v; want an empty file", chain, found)
	}
	if _, err := os.Lstat(c.file(keyName)); err == nil {
		t.Error("there is a privkey.pem without a key")
	}
	same(t, "key path for hooks", v.Paths.Key, c.file("privkey-1795000000.pem"))
	if _, err := os.Lstat(v.Paths.Key); err == nil {
		t.Error("there is a key's file without a key")
	}
	if live, err := c.Live(); err != nil || live.Key != nil || live.Paths.Key != "" || len(live.Chain) != 1 {
		t.Errorf("live: %+v, %v", live, err)
	}
	// With a key, and without one again: no key of another set stays behind.
	full := a.material(t)
	publish(t, c, start, full)
	same(t, "content", content(t, c), encoded(t, full))
	publish(t, c, start, alone)
	same(t, "content", content(t, c), encoded(t, alone))
	if _, err := os.Lstat(c.file(keyName)); err == nil {
		t.Error("privkey.pem leads nowhere and is still there")
	}
}

func TestWriteRefusesAndLeavesNothing(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	before := list(t, c.Path())
	wrong := a.material(t)
	wrong.Key = newKey(t)
	if _, err := c.Write(start, wrong); err == nil {
		t.Error("a key that does not fit was written")
	}
	if _, err := c.Write(start, Material{}); err == nil {
		t.Error("nothing was written")
	}
	c.store.KeyGroup = "no-such-group"
	if _, err := c.Write(start, a.material(t)); err == nil || !strings.Contains(err.Error(), "KEY_GROUP") {
		t.Errorf("unknown group: %v", err)
	}
	same(t, "folder", list(t, c.Path()), before)
	same(t, "versions", list(t, c.file(versionsName)), []string{"1795000000"})
}

func TestSwitchRefusesADamagedVersion(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	m := a.material(t)
	publish(t, c, start, m)
	v, err := c.Write(start, a.material(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.Paths.Cert, 100); err != nil {
		t.Fatal(err)
	}
	if err := c.Switch(v); err == nil {
		t.Error("half a certificate is shown")
	}
	key, _ := keys.MarshalPEM(newKey(t))
	v, _ = c.Write(start, a.material(t))
	if err := os.WriteFile(v.Paths.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Switch(v); err == nil {
		t.Error("a strange key is shown")
	}
	same(t, "content", content(t, c), encoded(t, m))
}

func TestVersionMakesItsFlatNamesAgain(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	v := publish(t, c, start, a.material(t))
	if err := os.Remove(v.Paths.Key); err != nil {
		t.Fatal(err)
	}
	again, err := c.Version(v.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "paths", again.Paths, v.Paths)
	if _, err := os.Stat(v.Paths.Key); err != nil {
		t.Error(err)
	}
	// Where another file has taken the name, the version's own is given.
	if err := os.Remove(v.Paths.Key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.Paths.Key, []byte("strange"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err = c.Version(v.ID); err != nil {
		t.Fatal(err)
	}
	same(t, "key", again.Paths.Key, c.file("versions/1795000000/privkey.pem"))
	for _, id := range []string{"1795000009", "", "..", "../versions/1795000000", "01795000000", "+1"} {
		if _, err := c.Version(id); !os.IsNotExist(err) && !missing(err) {
			t.Errorf("version %q: %v", id, err)
		}
	}
}

func TestPruneKeepsTheLastAndWhatIsUsed(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	var ids []string
	for range 7 {
		v, err := c.Write(start, a.material(t))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	first, err := c.Version(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Switch(first); err != nil {
		t.Fatal(err)
	}
	// A stable name that somebody has pinned to a version.
	if err := os.Remove(c.file(chainName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("chain-"+ids[1]+".pem", c.file(chainName)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cert-1600000000.pem": "dehydrated's", "cert-" + ids[3] + ".pem.bak": "the user's",
		".arid-ABCDEFGHIJKLMNOPQRSTUVWXYZ": "a killed run's", "versions/notes": "the user's",
	} {
		if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What killed runs leave: a version that was claimed, one under way.
	for _, dir := range []string{"versions/1795000100", "versions/" + tempPrefix + "ABC"} {
		if err := os.Mkdir(c.file(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(c.file("versions", tempPrefix+"ABC", keyName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Prune(ids[2]); err != nil {
		t.Fatal(err)
	}
	// 0 is live, 1 pinned, 2 owed, 4 to 6 are the last three: 3 goes.
	same(t, "versions", list(t, c.file(versionsName)), append(slices.Delete(slices.Clone(ids), 3, 4), "notes"))
	var flats []string
	for _, name := range list(t, c.Path()) {
		if strings.HasPrefix(name, "cert-") && strings.HasSuffix(name, ".pem") {
			flats = append(flats, name)
		}
	}
	same(t, "flat names", flats, []string{"cert-1600000000.pem", "cert-1795000000.pem", "cert-1795000001.pem",
		"cert-1795000002.pem", "cert-1795000004.pem", "cert-1795000005.pem", "cert-1795000006.pem"})
	if _, err := os.Lstat(c.file(".arid-ABCDEFGHIJKLMNOPQRSTUVWXYZ")); err == nil {
		t.Error("a killed run's temporary file is still there")
	}
	if _, err := os.Lstat(c.file("cert-" + ids[3] + ".pem.bak")); err != nil {
		t.Error(err)
	}
}

func TestPruneLetsAStrangeFileUnderAFlatNameAlone(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	c.store.Keep = 1
	old := publish(t, c, start, a.material(t))
	if err := os.Remove(old.Paths.Cert); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old.Paths.Cert, []byte("strange"), 0o600); err != nil {
		t.Fatal(err)
	}
	publish(t, c, start, a.material(t))
	if err := c.Prune(""); err != nil {
		t.Fatal(err)
	}
	same(t, "versions", list(t, c.file(versionsName)), []string{"1795000001"})
	same(t, "content", read(t, old.Paths.Cert), "strange")
}

func TestAlias(t *testing.T) {
	s := &Store{Dir: "/nowhere"}
	for _, alias := range []string{"", ".", "..", "a/b", "/", "../x", "a b", "a\nb", "a\x00b", "a\x1bb", "a\xffb", "a\u202eb", strings.Repeat("a", 256)} {
		if _, err := s.Certificate(alias); err == nil {
			t.Errorf("%q was taken", alias)
		}
	}
	for _, alias := range []string{"www.example.org", "ip:192.0.2.1", "ip:2001:db8::1", "_x", "ü"} {
		if c, err := s.Certificate(alias); err != nil || c.Path() != "/nowhere/"+alias {
			t.Errorf("%q: %v", alias, err)
		}
	}
}

func TestLiveErrors(t *testing.T) {
	a := newAuthority(t)
	key, _ := keys.MarshalPEM(newKey(t))
	for _, test := range []struct {
		name   string
		change func(c *Certificate) error
		want   string // missing, unreadable, or "" for none
	}{
		{"no folder", func(c *Certificate) error { return os.RemoveAll(c.store.Dir) }, "missing"},
		{"empty folder", func(c *Certificate) error { os.RemoveAll(c.Path()); return os.Mkdir(c.Path(), 0o700) }, "missing"},
		{"live gone", func(c *Certificate) error { return os.Remove(c.file(liveName)) }, "missing"},
		{"version gone", func(c *Certificate) error { return os.RemoveAll(c.file(versionsName)) }, "missing"},
		{"cert.pem leads nowhere", func(c *Certificate) error { return os.Remove(c.file("live", certName)) }, "missing"},
		{"cert.pem revoked by dehydrated", func(c *Certificate) error {
			os.Remove(c.file(certName))
			return os.Symlink("cert-1.pem", c.file(certName))
		}, "missing"},
		{"cert.pem empty", func(c *Certificate) error { return os.Truncate(c.file(certName), 0) }, "unreadable"},
		{"cert.pem cut", func(c *Certificate) error { return os.Truncate(c.file(certName), 200) }, "unreadable"},
		{"cert.pem huge", func(c *Certificate) error { return os.Truncate(c.file(certName), maxPEM+1) }, "unreadable"},
		{"cert.pem a FIFO", func(c *Certificate) error {
			os.Remove(c.file(certName))
			return syscall.Mkfifo(c.file(certName), 0o600)
		}, "unreadable"},
		{"cert.pem a directory", func(c *Certificate) error {
			os.Remove(c.file(certName))
			return os.Mkdir(c.file(certName), 0o700)
		}, "unreadable"},
		{"cert.pem a loop", func(c *Certificate) error {
			os.Remove(c.file(certName))
			return os.Symlink(certName, c.file(certName))
		}, "unreadable"},
		{"key empty", func(c *Certificate) error { return os.Truncate(c.file(keyName), 0) }, "unreadable"},
		{"key a FIFO in the version", func(c *Certificate) error {
			os.Remove(c.file("live", keyName))
			return syscall.Mkfifo(c.file("live", keyName), 0o600)
		}, "unreadable"},
		{"key a link out of the version", func(c *Certificate) error {
			os.Remove(c.file("live", keyName))
			return os.Symlink("../../privkey-1795000000.pem", c.file("live", keyName))
		}, "unreadable"},
		{"fullchain of another", func(c *Certificate) error {
			other := EncodeChain(a.material(t).Chain)
			return os.WriteFile(c.file(fullchainName), other, 0o600)
		}, "unreadable"},
		{"chain.pem cut", func(c *Certificate) error { return os.Truncate(c.file(chainName), 0) }, ""},
		{"fullchain missing", func(c *Certificate) error { return os.Remove(c.file("live", fullchainName)) }, ""},
		{"key missing", func(c *Certificate) error { return os.Remove(c.file("live", keyName)) }, ""},
		{"key of another", func(c *Certificate) error { return os.WriteFile(c.file("live", keyName), key, 0o600) }, ""},
		{"text around the certificate", func(c *Certificate) error {
			return os.WriteFile(c.file(certName), []byte("Certificate:\n  Data:\n"+read(t, c.file(certName))+"bye\n"), 0o600)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCertificate(t)
			publish(t, c, start, a.material(t))
			if err := test.change(c); err != nil {
				t.Fatal(err)
			}
			live, err := c.Live()
			got := ""
			switch err.(type) {
			case nil:
				if live.Leaf == nil || len(live.Chain) != 2 {
					t.Errorf("live: %+v", live)
				}
			case *UnreadableError:
				got = "unreadable"
			default:
				got = err.Error()
				if missing(err) {
					got = "missing"
				}
			}
			if got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
			// Whatever it is, a renewal mends it.
			if fi, err := os.Lstat(c.file(certName)); err == nil && fi.IsDir() {
				return // a directory is somebody's
			}
			m := a.material(t)
			publish(t, c, start, m)
			same(t, "after a renewal", content(t, c), encoded(t, m))
		})
	}
}

func TestPlantedLinksLeadNowhereElse(t *testing.T) {
	a := newAuthority(t)
	for _, name := range []string{
		"versions", "pending", "live", "state.json", ".arid.lock", "privkey.pem", "cert.pem", "chain.pem",
		"fullchain.pem", "cert.csr", "versions/1795000000", "privkey-1795000000.pem", "pending/order.json", "pending/privkey.pem",
	} {
		for _, kind := range []string{"file", "directory", "hard link", "FIFO"} {
			t.Run(kind+" at "+name, func(t *testing.T) {
				c := newCertificate(t)
				outside := t.TempDir()
				canary := filepath.Join(outside, "canary")
				if err := os.WriteFile(canary, []byte("canary"), 0o644); err != nil {
					t.Fatal(err)
				}
				before, _ := os.Stat(canary)
				at := c.file(name)
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				var err error
				switch kind {
				case "file":
					err = os.Symlink(canary, at)
				case "directory":
					err = os.Symlink(outside, at)
				case "hard link":
					err = os.Link(canary, at)
				case "FIFO":
					err = syscall.Mkfifo(at, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				// Errors are fine, waiting or writing elsewhere is not.
				if unlock, err := c.Lock(t.Context(), 0); err == nil {
					unlock()
				}
				_, _ = c.Live()
				_, _ = c.Set("1795000000")
				m := a.material(t)
				_ = c.StartPending(m.Key, m.CSR)
				_ = c.SaveOrder(PendingOrder{URL: "https://ca.example/order/1"})
				_, _ = c.Pending()
				if v, err := c.Write(start, m); err == nil {
					_ = c.Switch(v)
				}
				if s, _ := c.State(); s != nil {
					s.CA = "https://ca.example/"
					_ = c.SaveState(s)
				}
				_ = c.DropPending()
				_ = c.Prune("")
				_, _ = c.Live()
				same(t, "the directory outside", list(t, outside), []string{"canary"})
				after, err := os.Stat(canary)
				if err != nil || read(t, canary) != "canary" || after.Mode() != before.Mode() ||
					!after.ModTime().Equal(before.ModTime()) {
					t.Errorf("the canary was touched: %v %v", after, err)
				}
			})
		}
	}
}

func TestCERTDIRMayBeALink(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "certs")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c, _ := (&Store{Dir: link}).Certificate("x")
	m := newAuthority(t).material(t)
	publish(t, c, start, m)
	same(t, "content", content(t, c), encoded(t, m))
	same(t, "the tree", list(t, real), []string{"x"})
}

func TestAFolderMayBeALinkWhereOthersCannotPutIt(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	outside := t.TempDir()
	if err := os.MkdirAll(c.store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, c.Path()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(c.store.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lock(t.Context(), 0); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("locking: %v", err)
	}
	if _, err := c.Write(start, a.material(t)); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("writing: %v", err)
	}
	same(t, "the directory outside", list(t, outside), []string(nil))

	if err := os.Chmod(c.store.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := a.material(t)
	publish(t, c, start, m)
	same(t, "content", content(t, c), encoded(t, m))
}

func TestIdleReadsWriteNothing(t *testing.T) {
	c := newCertificate(t)
	publish(t, c, start, newAuthority(t).material(t))
	snapshot := func() (all []string) {
		_ = filepath.WalkDir(c.store.Dir, func(path string, d fs.DirEntry, err error) error {
			info, _ := d.Info()
			all = append(all, fmt.Sprint(path, info.ModTime(), info.Mode(), info.Size()))
			return err
		})
		return all
	}
	before := snapshot()
	if _, err := c.Live(); err != nil {
		t.Fatal(err)
	}
	s, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	_ = s
	if p, err := c.Pending(); p != nil || err != nil {
		t.Fatal(p, err)
	}
	same(t, "tree", snapshot(), before)
}
