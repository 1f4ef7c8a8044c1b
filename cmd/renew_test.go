package cmd_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// domains writes domains.txt.
func (w *world) domains(lines ...string) {
	w.t.Helper()
	if err := os.MkdirAll(w.base, 0o700); err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.base, "domains.txt")
	w.env = append(w.env, "ARID_DOMAINS_TXT="+file)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestRenewGoesThroughDomainsTxt(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test www.a.test", "# a comment", "", "b.test > second")
	_, talk := w.must(0, "renew", "--accept-terms")
	for _, want := range []string{"arid: a.test: issued, valid until ", "arid: b.test: issued, valid until "} {
		if strings.Count(talk, want) != 1 {
			t.Errorf("%q not once in %q", want, talk)
		}
	}
	for _, folder := range []string{"a.test", "second"} {
		if _, err := os.Stat(filepath.Join(w.base, "certs", folder, "fullchain.pem")); err != nil {
			t.Error(err)
		}
	}
	asked, before := len(w.ca.Requests()), tree(t, w.base)
	if out, talk := w.must(0, "renew"); out+talk != "" {
		t.Errorf("nothing is due, and yet: %q %q", out, talk)
	}
	if len(w.ca.Requests()) != asked || tree(t, w.base) != before {
		t.Error("nothing is due, and yet something was asked or changed")
	}
	w.must(7, "renew", "--exit-unchanged", "7")
	w.must(0, "sign", "a.test", "www.a.test") // the same certificate, by another word
	if n := w.ca.NewOrders(); n != 2 {
		t.Errorf("%d orders", n)
	}
}

func TestRenewByName(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test www.a.test", "b.test > second", "c.test")
	w.must(0, "renew", "--accept-terms", "WWW.a.test", "second")
	if n := w.ca.NewOrders(); n != 2 {
		t.Errorf("%d orders", n)
	}
	_, talk := w.must(64, "renew", "d.test")
	if !strings.Contains(talk, `no line of domains.txt has "d.test"`) {
		t.Errorf("%q", talk)
	}
	w.must(64, "renew", "-x")
	w.must(0, "renew", "-x", "a.test")
	if n := w.ca.NewOrders(); n != 3 {
		t.Errorf("%d orders", n)
	}
	w.must(0, "renew", "-x", "--all")
	if n := w.ca.NewOrders(); n != 6 {
		t.Errorf("%d orders", n)
	}
}

func TestRenewGoesOnAfterAFailure(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "bad_name.test", "b.test", "c.test > x/y", "d.test", "d.test e.test")
	w.ca.FailValidation("a.test", "connection", "nobody there")
	_, talk := w.must(1, "renew", "--accept-terms")
	file := filepath.Join(w.base, "domains.txt")
	for _, want := range []string{
		"arid: a.test: http-01: ", "arid: b.test: issued", file + ":2: ", file + ":4: ", "arid: d.test: issued", "would undo each other",
	} {
		if strings.Count(talk, want) != 1 {
			t.Errorf("%q not once in:\n%s", want, talk)
		}
	}
	w.domains("a.test", "b.test")
	_, talk = w.must(1, "renew", "--fail-fast", "a.test", "b.test")
	if strings.Contains(talk, "b.test") {
		t.Errorf("%q", talk)
	}
	w.domains("bad_name.test", "b.test", "d.test")
	w.must(65, "renew") // all failures are of one kind
}

func TestRenewDryRun(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test")
	w.must(0, "renew", "--accept-terms", "a.test")
	asked, before := len(w.ca.Requests()), tree(t, w.base)
	out, _ := w.must(0, "renew", "--dry-run")
	if !strings.Contains(out, "\na.test       ok     ") || !strings.Contains(out, "\nb.test       due    there is none yet") {
		t.Errorf("%q", out)
	}
	if len(w.ca.Requests()) != asked || tree(t, w.base) != before {
		t.Error("a dry run asked or changed something")
	}
}

func TestNothingExpiresInSilence(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "old.test")
	w.domains("a.test")
	_, talk := w.must(0, "renew") // it is not due yet
	if strings.Contains(talk, "old.test") {
		t.Errorf("%q", talk)
	}
	w.env = append(w.env, "ARID_RENEW_DAYS=95")
	_, talk = w.must(78, "renew")
	if !strings.Contains(talk, "old.test: no line of domains.txt covers this certificate") || !strings.Contains(talk, "--forget old.test") {
		t.Errorf("%q", talk)
	}
}

func TestSignAndRenewDoNotUndoEachOther(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test www.a.test")
	_, talk := w.must(64, "sign", "--accept-terms", "a.test")
	if !strings.Contains(talk, "domains.txt:1 has \"a.test\" with other names: a.test www.a.test") || !strings.Contains(talk, "arid renew a.test") {
		t.Errorf("%q", talk)
	}
	w.must(0, "sign", "--accept-terms", "--out", filepath.Join(w.dir, "out"), "a.test")
}

func TestAConfigOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test")
	dir := filepath.Join(w.base, "certs/b.test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hook := w.file("hook", "#!/bin/sh\necho \"$1 $alias\" >>"+w.dir+"/log\n", 0o700)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(fmt.Sprintf("HOOK=%q\nKEY_ALGO=rsa\nKEYSIZE=2048\n", hook)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(0, "renew", "--accept-terms")
	log, _ := os.ReadFile(filepath.Join(w.dir, "log"))
	if !strings.Contains(string(log), "deploy_cert b.test\n") || strings.Contains(string(log), "a.test") {
		t.Errorf("%s", log)
	}
	kinds := map[string]string{}
	for _, c := range w.ca.Issued() { // at the same time, in any order
		kinds[c.DNSNames[0]] = fmt.Sprintf("%T", c.PublicKey)
	}
	if want := map[string]string{"a.test": "*ecdsa.PublicKey", "b.test": "*rsa.PublicKey"}; !maps.Equal(kinds, want) {
		t.Errorf("%v", kinds)
	}
}

func TestNoDomainsTxt(t *testing.T) {
	_, talk := newWorld(t).must(65, "renew")
	if !strings.Contains(talk, "domains.txt") || !strings.Contains(talk, "hint: ") {
		t.Errorf("%q", talk)
	}
}

func TestWhatIsWrongWithAllIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test", "c.test")
	_, talk := w.must(78, "renew", "--wellknown", filepath.Join(w.dir, "none"))
	if strings.Count(talk, "\n") != 3 || !strings.Contains(talk, "the same with 2 more certificates (b.test c.test): ") {
		t.Errorf("%q", talk)
	}
}

// What root wrote into the tree of a user, that user's dehydrated could not go on with.
func TestAConfigOfAnotherUser(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	w.env = append(w.env, "ARID_CONFIG="+w.file("config", "DEHYDRATED_USER=nobody\n", 0o600))
	for _, words := range [][]string{{"sign", "--accept-terms", "a.test"}, {"renew"}} {
		_, talk := w.must(78, words...)
		if !strings.Contains(talk, "the config is for that user") || !strings.Contains(talk, "sudo -u nobody arid …") {
			t.Errorf("%v: %q", words, talk)
		}
	}
	if n := len(w.ca.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}
