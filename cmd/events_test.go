package cmd_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/keys"
)

// withLog gives the world a hook that logs every call; more is what it does.
func (w *world) withLog(more string) (log string) {
	w.t.Helper()
	log = filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\necho \"$1 $alias ($#) $ARID_HOOK_CHANGED/$ARID_HOOK_FAILED\" >>"+log+"\n"+more+"\nexit 0\n", 0o700)
	w.env = append(w.env, "ARID_HOOK="+hook)
	return log
}

func (w *world) logged(log string) string {
	w.t.Helper()
	text, _ := os.ReadFile(log)
	if err := os.RemoveAll(log); err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestTheFrameOfARun(t *testing.T) {
	w := newWorld(t)
	log := w.withLog("")
	w.domains("a.test", "b.test > second")
	w.ca.FailValidation("b.test", "connection", "nobody there")
	w.must(1, "renew", "--accept-terms", "--parallel", "1")
	calls := w.logged(log)
	if !strings.HasPrefix(calls, "startup_hook  (1) /\ngenerate_csr a.test (4) /\n") ||
		!strings.HasSuffix(calls, "exit_hook  (2) a.test/second\n") || strings.Count(calls, "_hook ") != 2 {
		t.Errorf("%s", calls)
	}
	w.domains("a.test")
	w.must(0, "renew")
	if calls := w.logged(log); calls != "" {
		t.Errorf("nothing was due, and yet:\n%s", calls)
	}
	w.file("config", "HOOK_UNCHANGED=yes\n", 0o600)
	w.must(0, "renew", "-f", filepath.Join(w.dir, "config"))
	if calls := w.logged(log); calls != "unchanged_cert a.test (6) /\n" {
		t.Errorf("%s", calls)
	}
}

func TestAFailingStartupHookStopsTheRun(t *testing.T) {
	w := newWorld(t)
	log := w.withLog("[ $1 != startup_hook ] || exit 3")
	w.domains("a.test")
	w.must(1, "renew", "--accept-terms")
	if calls := w.logged(log); strings.Contains(calls, "generate_csr") || w.ca.NewOrders() != 0 {
		t.Errorf("%s", calls)
	}
}

func TestACSRFromTheHook(t *testing.T) {
	w := newWorld(t)
	key, err := keys.Generate(keys.P384)
	if err != nil {
		t.Fatal(err)
	}
	der, err := keys.MakeCSR(key, keys.CSROptions{Names: []string{"real.test", "a.test"}})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	fmt.Fprintln(&text, "some noise")
	_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	file := w.file("hook.csr", text.String(), 0o600)
	log := w.withLog("[ $1 != generate_csr ] || cat " + file)
	w.domains("a.test")
	w.must(0, "renew", "--accept-terms")
	if csrs := w.ca.CSRs(); len(csrs) != 1 || !keys.Equal(csrs[0].PublicKey, key.Public()) {
		t.Fatalf("%d CSRs", len(csrs))
	}
	if _, err := os.Stat(filepath.Join(w.base, "certs/a.test/privkey.pem")); !os.IsNotExist(err) {
		t.Errorf("a private key out of nowhere: %v", err)
	}
	w.logged(log)
	w.must(0, "renew") // the hook's names are those that it has
	if calls := w.logged(log); calls != "generate_csr a.test (4) /\n" || w.ca.NewOrders() != 1 {
		t.Errorf("%d orders\n%s", w.ca.NewOrders(), calls)
	}
	w.withLog("[ $1 != generate_csr ] || { echo '-----BEGIN CERTIFICATE REQUEST-----'; echo rubbish; }")
	w.must(65, "renew", "-x", "a.test")
}

func TestTheNextKeyLiesReady(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "ARID_PRIVATE_KEY_ROLLOVER=yes")
	folder := filepath.Join(w.base, "certs/a.test")
	read := func(name string) string {
		t.Helper()
		key, err := keys.Read(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
	w.must(0, "sign", "--accept-terms", "a.test")
	first, next := read("privkey.pem"), read("privkey.roll.pem")
	for range 2 {
		w.must(0, "sign", "-x", "a.test")
		if got := read("privkey.pem"); got != next || got == first {
			t.Error("the new certificate does not have the key that lay ready")
		}
		first, next = next, read("privkey.roll.pem")
		if first == next {
			t.Error("the next key is the present one")
		}
	}
	w.env = append(w.env, "ARID_PRIVATE_KEY_ROLLOVER=no")
	w.must(0, "sign", "-x", "a.test")
	if _, err := os.Stat(filepath.Join(folder, "privkey.roll.pem")); !os.IsNotExist(err) {
		t.Errorf("the next key is left: %v", err)
	}
	last := read("privkey.pem")
	w.env = append(w.env, "ARID_PRIVATE_KEY_ROLLOVER=yes")
	w.must(0, "sign", "-x", "a.test")
	if read("privkey.pem") != last { // it has not been announced yet
		t.Error("the first renewal with the setting does not keep the key")
	}
}

func TestLockFile(t *testing.T) {
	w := newWorld(t)
	lock := filepath.Join(w.dir, "lock")
	w.env = append(w.env, "ARID_LOCKFILE="+lock)
	if err := os.WriteFile(lock, []byte("Sat Nov 21 10:00:00 UTC 2026\n"), 0o600); err != nil { // dehydrated's
		t.Fatal(err)
	}
	_, talk := w.must(75, "sign", "--accept-terms", "a.test")
	if !strings.Contains(talk, "another program has held this lock for ") || len(w.ca.Requests()) > 0 {
		t.Errorf("%d requests: %q", len(w.ca.Requests()), talk)
	}
	w.domains("a.test", "b.test")
	if _, talk = w.must(75, "renew", "--accept-terms"); strings.Count(talk, "this lock") != 1 {
		t.Errorf("%q", talk)
	}
	w.must(0, "sign", "--accept-terms", "-n", "a.test")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	w.withLog("cat " + lock + " >>" + w.dir + "/seen")
	w.must(0, "renew")
	if seen, _ := os.ReadFile(filepath.Join(w.dir, "seen")); !strings.HasPrefix(string(seen), "arid ") {
		t.Errorf("while the hook ran, LOCKFILE held %q", seen)
	}
	if _, err := os.Lstat(lock); !os.IsNotExist(err) {
		t.Errorf("LOCKFILE is left: %v", err)
	}
}
