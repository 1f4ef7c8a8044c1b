package cmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/internal/fakeca"
)

// orders runs arid and returns how many orders that made.
func (w *world) orders(status int, args ...string) int {
	w.t.Helper()
	before := w.ca.NewOrders()
	w.must(status, args...)
	return w.ca.NewOrders() - before
}

func TestWhatMakesALiveCertificateDue(t *testing.T) {
	w := newWorld(t)
	w.ca.Profiles(map[string]string{"classic": "", "short": ""})
	w.orders(0, "sign", "--accept-terms", "a.test", "b.test")
	for _, tc := range []struct {
		what string
		args []string
		want int
	}{
		{"nothing", []string{"a.test", "b.test"}, 0},
		{"the same names otherwise written", []string{"a.test", "B.TEST", "b.test"}, 0},
		{"the same type of key", []string{"-a", "prime256v1", "a.test", "b.test"}, 0},
		{"a share of the lifetime not reached", []string{"--renew-days", "10%", "a.test", "b.test"}, 0},
		{"days before the end", []string{"--renew-days", "9999", "a.test", "b.test"}, 1},
		{"a name more", []string{"a.test", "b.test", "c.test"}, 1},
		{"that name again", []string{"a.test", "c.test", "b.test"}, 0},
		{"a name less", []string{"a.test", "b.test"}, 1},
		{"another type of key", []string{"-a", "secp384r1", "a.test", "b.test"}, 1},
		{"the default type of key, not asked for", []string{"a.test", "b.test"}, 0},
		{"must-staple", []string{"--must-staple", "a.test", "b.test"}, 1},
		{"a profile", []string{"--must-staple", "--profile", "short", "a.test", "b.test"}, 1},
		{"that profile again", []string{"--must-staple", "--profile", "short", "a.test", "b.test"}, 0},
		{"force", []string{"-x", "a.test", "b.test"}, 1},
	} {
		if got := w.orders(0, append([]string{"sign"}, tc.args...)...); got != tc.want {
			t.Errorf("%s: %d orders, want %d", tc.what, got, tc.want)
		}
	}
	if err := os.Remove(filepath.Join(w.base, "certs/a.test/privkey.pem")); err != nil {
		t.Fatal(err)
	}
	if got := w.orders(0, "sign", "a.test", "b.test"); got != 1 {
		t.Errorf("key gone: %d orders", got)
	}
	w.file("base/certs/a.test/state.json", "{ nonsense", 0o600)
	_, talk := w.must(0, "sign", "a.test", "b.test")
	if !strings.Contains(talk, "warning: ") || !strings.Contains(talk, "state.json") {
		t.Errorf("a corrupt state: %q", talk)
	}
}

func TestAnotherCA(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "a.test")
	requests := len(w.ca.Requests())

	_, talk := w.must(78, "sign", "--ca", "letsencrypt-test", "a.test")
	if !strings.Contains(talk, "live certificate comes from") || !strings.Contains(talk, "--out DIR") {
		t.Errorf("a test CA over a real one: %q", talk)
	}

	other := fakeca.New(t)
	other.ValidateHTTP(w.port)
	w.env = append(w.env, "ARID_CA_BUNDLE="+w.file("other.pem", string(other.RootsPEM()), 0o644))
	w.must(0, "sign", "--ca", other.URL(), "a.test")
	if n := len(other.Requests()) + len(w.ca.Requests()) - requests; n != 0 {
		t.Errorf("--ca for this once made %d requests", n)
	}
	w.env = append(w.env, "ARID_CA="+other.URL())
	w.must(0, "sign", "--accept-terms", "a.test")
	if other.NewOrders() != 1 {
		t.Errorf("another CA in the settings: %d orders there", other.NewOrders())
	}
}

// flat makes a folder as dehydrated leaves it, with a certificate of the CA's.
func (w *world) flat(alias string) (dir string) {
	w.t.Helper()
	w.must(0, "sign", "--accept-terms", "-o", "made", alias)
	dir = filepath.Join(w.base, "certs", alias)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for name, file := range map[string]string{
		"privkey.pem": "privkey-1700000000.pem", "cert.pem": "cert-1700000000.pem", "chain.pem": "chain-1700000000.pem",
		"fullchain.pem": "fullchain-1700000000.pem", "cert.csr": "cert-1700000000.csr",
	} {
		data, err := os.ReadFile(filepath.Join(w.dir, "made", alias, name))
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

func TestAFolderOfDehydratedsIsUsedAsItIs(t *testing.T) {
	w := newWorld(t)
	dir := w.flat("a.test")
	was, requests := tree(t, dir), len(w.ca.Requests())
	out, talk := w.must(0, "sign", "a.test")
	if out+talk != "" || len(w.ca.Requests()) != requests || tree(t, dir) != was {
		t.Errorf("it said %q, asked %d times, or wrote", out+talk, len(w.ca.Requests())-requests)
	}
	w.must(0, "sign", "-x", "a.test")
	w.checkSet("a.test", "a.test")
	if target, _ := os.Readlink(filepath.Join(dir, "cert.pem")); target != "live/cert.pem" {
		t.Errorf("cert.pem -> %s after the take-over", target)
	}
	if _, err := os.Stat(filepath.Join(dir, "cert-1700000000.pem")); err != nil {
		t.Errorf("dehydrated's own file: %v", err)
	}
}

func TestWhatIsRememberedOfAnotherCertificateIsVoid(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "a.test", "b.test")
	stable, _ := filepath.Glob(filepath.Join(w.base, "certs/a.test/*"))
	for _, name := range stable {
		if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSymlink != 0 {
			os.Remove(name)
		}
	}
	w.flat("a.test") // dehydrated has renewed it, for one name
	if n := w.orders(0, "sign", "a.test"); n != 0 {
		t.Errorf("its own name: %d orders", n)
	}
	if n := w.orders(0, "sign", "a.test", "b.test"); n != 1 {
		t.Errorf("the names remembered: %d orders", n)
	}
}

func TestReuseKey(t *testing.T) {
	w := newWorld(t)
	key := func() string {
		data, err := os.ReadFile(filepath.Join(w.base, "certs/a.test/privkey.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	w.must(0, "sign", "--accept-terms", "a.test")
	first := key()
	w.must(0, "sign", "-x", "--reuse-key", "a.test")
	if key() != first {
		t.Error("--reuse-key: another key")
	}
	w.must(0, "sign", "-x", "a.test")
	if key() == first {
		t.Error("the key was kept without being told so")
	}
}

func TestPreferredChain(t *testing.T) {
	w := newWorld(t)
	w.ca.Alternate()
	other := w.ca.AlternateRoot().Subject.CommonName
	w.must(0, "sign", "--accept-terms", "--preferred-chain", other, "a.test")
	data, _ := os.ReadFile(filepath.Join(w.base, "certs/a.test/chain.pem"))
	block, _ := pem.Decode(data)
	intermediate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || intermediate.Issuer.CommonName != other {
		t.Errorf("the chain leads to %q, %v", intermediate.Issuer.CommonName, err)
	}
	_, talk := w.must(78, "sign", "-x", "--preferred-chain", "Nobody", "a.test")
	if !strings.Contains(talk, other) {
		t.Errorf("what is offered is not told: %q", talk)
	}
	// The certificate was issued: mending the setting costs no second order.
	if n := w.orders(0, "sign", "-x", "a.test"); n != 0 {
		t.Errorf("%d orders more", n)
	}
}

func TestCSRWithAPlaceToKeepIt(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.test", "b.test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	csr := w.file("r.csr", text.String(), 0o644)
	out, _ := w.must(0, "sign", "--accept-terms", "--csr", csr, "--out", "kept")
	if out != "" {
		t.Errorf("stdout %q", out)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "kept/a.test/privkey.pem")); !os.IsNotExist(err) {
		t.Errorf("a private key: %v", err)
	}
	if n := w.orders(0, "sign", "--csr", csr, "--out", "kept"); n != 0 {
		t.Errorf("the same CSR again: %d orders", n)
	}
	w.stdin = text.String()
	out, _ = w.must(0, "sign", "--csr", "-")
	if block, _ := pem.Decode([]byte(out)); block == nil || block.Type != "CERTIFICATE" {
		t.Errorf("stdout %q", out)
	}
}

func TestSixDayCertificates(t *testing.T) {
	w := newWorld(t)
	w.ca.Lifetime(6 * 24 * time.Hour)
	w.must(0, "sign", "--accept-terms", "a.test")
	if n := w.orders(0, "sign", "a.test"); n != 0 {
		t.Errorf("fresh: %d orders", n)
	}
	if n := w.orders(0, "sign", "--renew-days", "6", "a.test"); n != 1 {
		t.Errorf("six days before the end: %d orders", n)
	}
}
