package cmd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// csrFor makes request.csr for the names, and returns its key.
func (w *world) csrFor(names ...string) *ecdsa.PrivateKey {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.file("request.csr", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), 0o600)
	return key
}

// chainOf is a chain of the CA's for the key, good from now-old to now+left.
func (w *world) chainOf(key *ecdsa.PrivateKey, old, left time.Duration, names ...string) string {
	w.t.Helper()
	issuer, signer := w.ca.Issuer()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: names, NotBefore: time.Now().Add(-old), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, &key.PublicKey, signer)
	if err != nil {
		w.t.Fatal(err)
	}
	encode := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return encode(der) + encode(issuer.Raw)
}

// staging is a chain of a CA for tests, by its name.
func staging(t *testing.T, key *ecdsa.PrivateKey, names ...string) string {
	t.Helper()
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "(STAGING) Pretend"}, IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCurrentIsPrintedAgainWhileItServes(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	key := w.csrFor("a.test", "b.test")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	good := w.chainOf(key, 30*day, 60*day, "b.test", "a.test")
	for _, tc := range []struct {
		what    string
		current string
		words   string
		again   bool
		says    string
	}{
		{"good", good, "", true, ""},
		{"with text and a key in the file", "text\n" + good + "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "", true, ""},
		{"more than a third left", w.chainOf(key, 59*day, 31*day, "a.test", "b.test"), "", true, ""},
		{"less than a third left", w.chainOf(key, 61*day, 29*day, "a.test", "b.test"), "", false, ""},
		{"more than half of a short life left", w.chainOf(key, 2*day, 4*day, "a.test", "b.test"), "", true, ""},
		{"less than half of it left", w.chainOf(key, 4*day, 2*day, "a.test", "b.test"), "", false, ""},
		{"due by days", good, "--renew-days 61", false, ""},
		{"by another name", good, "--renew-within 61d", false, ""},
		{"not due by days", w.chainOf(key, 61*day, 29*day, "a.test", "b.test"), "--renew-days 28", true, ""},
		{"--force", good, "--force", false, ""},
		{"expired", w.chainOf(key, 91*day, -day, "a.test", "b.test"), "", false, ""},
		{"one name less", w.chainOf(key, 0, 90*day, "a.test"), "", false, ""},
		{"one name more", w.chainOf(key, 0, 90*day, "a.test", "b.test", "c.test"), "", false, ""},
		{"another key", w.chainOf(other, 0, 90*day, "a.test", "b.test"), "", false, ""},
		{"links that do not hold", w.chainOf(key, 0, 90*day, "a.test", "b.test") + staging(t, other, "x.test"), "", false, ""},
		{"from a CA for tests", staging(t, key, "a.test", "b.test"), "", false, ""},
		{"empty", "", "", false, ""},
		{"no certificate", "hello\n", "", false, "no certificate"},
		{"a damaged one", strings.Replace(good, "MII", "NII", 1), "", false, "a new one is ordered"},
		{"far too large", strings.Repeat("x", 2<<20), "", false, "no certificate"},
	} {
		w.file("chain.pem", tc.current, 0o600)
		before := w.posts()
		out, talk := w.must(0, append([]string{"sign", "--csr", "request.csr", "--current", "chain.pem"}, strings.Fields(tc.words)...)...)
		if again := strings.Contains(tc.current, out) && w.posts() == before; again != tc.again || out == "" {
			t.Errorf("%s: printed again: %v (%d posts), stdout %q", tc.what, again, w.posts()-before, out)
		}
		if strings.Contains(out, "KEY") || !strings.Contains(talk, tc.says) || tc.says == "" && talk != "" {
			t.Errorf("%s: stdout %q, stderr %q", tc.what, out, talk)
		}
	}
}

func TestCurrentThatSaysThatSomethingIsWrong(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	key := w.csrFor("a.test")
	posts := w.posts()
	w.file("chain.pem", w.chainOf(key, -3*time.Hour, 2000*time.Hour, "a.test"), 0o600)
	if out, talk := w.must(75, "sign", "--csr", "request.csr", "--current", "chain.pem"); out != "" || !strings.Contains(talk, "clock") {
		t.Errorf("a certificate of the future: stdout %q, stderr %q", out, talk)
	}
	w.file("chain.pem", w.chainOf(key, time.Hour, 2000*time.Hour, "a.test"), 0o600)
	if out, talk := w.must(78, "sign", "--csr", "request.csr", "--current", "chain.pem", "--ca", "letsencrypt-test"); out != "" || !strings.Contains(talk, "leave --current out") {
		t.Errorf("a test CA in place of a real one: stdout %q, stderr %q", out, talk)
	}
	w.must(64, "sign", "a.test", "--current", "chain.pem")
	w.must(64, "sign", "--csr", "request.csr", "--out", "certs", "--current", "chain.pem")
	w.must(65, "sign", "--csr", "request.csr", "--current", ".")
	if n := w.posts() - posts; n != 0 {
		t.Errorf("%d posts", n)
	}
}

func TestTouch(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	stamp := filepath.Join(w.dir, "stamp")
	age := func() time.Duration {
		info, err := os.Stat(stamp)
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(info.ModTime())
	}
	back := func() {
		if err := os.Chtimes(stamp, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	defer unix.Umask(unix.Umask(0o027))
	w.must(0, "sign", "a.test", "--touch", "stamp")
	if info, err := os.Stat(stamp); err != nil || info.Mode().Perm() != 0o640 || age() > time.Hour {
		t.Errorf("made: %v, %v", info, err)
	}
	back()
	w.must(0, "sign", "a.test", "--touch", "stamp") // not due
	if age() > time.Hour {
		t.Error("not touched where nothing was due")
	}
	back()
	w.ca.FailValidation("b.test", "unauthorized", "no")
	w.must(1, "sign", "b.test", "--touch", "stamp")
	if age() < time.Hour {
		t.Error("touched though it failed")
	}
	if _, talk := w.must(0, "sign", "a.test", "--touch", "none/stamp"); !strings.Contains(talk, `warning: --touch "none/stamp": no such file`) {
		t.Errorf("a file that cannot be: %q", talk)
	}
}
