package certs

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestOCSPResponsesAreNamedAfterTheirSecond(t *testing.T) {
	c := newCertificate(t)
	if der, stamp, err := c.OCSP(); der != nil || stamp != "" || err != nil {
		t.Errorf("where there is nothing: %q, %q, %v", der, stamp, err)
	}
	at := time.Unix(1795000000, 5)
	for i, want := range []string{"1795000000", "1795000001", "1795000002"} { // one second is free for one alone
		text := strings.Repeat("x", i+1)
		got, err := c.SaveOCSP([]byte(text), at)
		if err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		target, err := os.Readlink(c.OCSPPath())
		same(t, "ocsp.der leads to", target, "ocsp-"+want+".der")
		if der, stamp, err2 := c.OCSP(); string(der) != text || stamp != want || err != nil || err2 != nil {
			t.Errorf("read back: %q, %q, %v", der, stamp, err2)
		}
	}
}

func TestOCSPResponsesReplaceWhatStandsThere(t *testing.T) {
	c := newCertificate(t)
	if err := os.MkdirAll(c.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir() + "/outside"
	for name, put := range map[string]func() error{
		"a file":                   func() error { return os.WriteFile(c.OCSPPath(), []byte("old"), 0o600) },
		"a link out of the folder": func() error { return os.Symlink(outside, c.OCSPPath()) },
		"a link to nowhere":        func() error { return os.Symlink("ocsp-1.der", c.OCSPPath()) },
	} {
		_ = os.Remove(c.OCSPPath())
		if err := put(); err != nil {
			t.Fatal(err)
		}
		stamp, err := c.SaveOCSP([]byte("new"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if der, shown, err := c.OCSP(); string(der) != "new" || shown != stamp || err != nil {
			t.Errorf("%s: %q, %q, %v", name, der, shown, err)
		}
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("the link was followed")
	}
	if err := os.WriteFile(c.OCSPPath()+".big", make([]byte, maxOCSP+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.OCSPPath()+".big", c.OCSPPath()); err != nil {
		t.Fatal(err)
	}
	if der, _, err := c.OCSP(); der != nil || err != nil {
		t.Errorf("one that is too large: %d bytes, %v", len(der), err)
	}
}

func TestOCSPResponsesAreAsOpenAsTheOneBefore(t *testing.T) {
	c := newCertificate(t)
	if _, err := c.SaveOCSP([]byte("one"), time.Unix(1795000000, 0)); err != nil {
		t.Fatal(err)
	}
	mode := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(c.OCSPPath()); err != nil || info.Mode() != want {
			t.Errorf("%v, %v; want %v", info.Mode(), err, want)
		}
	}
	mode(0o600)
	if err := os.Chmod(c.OCSPPath(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SaveOCSP([]byte("two"), time.Unix(1795000000, 0)); err != nil {
		t.Fatal(err)
	}
	mode(0o644)
}
