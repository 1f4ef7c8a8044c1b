package cmd_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/internal/atomicfile"
	"arid/internal/fakeca"
)

func TestFirstCertificateThenNothing(t *testing.T) {
	w := newWorld(t)
	out, _ := w.must(0, "register", "--accept-terms")
	if !strings.HasPrefix(out, "https://") || strings.Count(out, "\n") != 1 {
		t.Errorf("register: stdout %q", out)
	}
	if again, _ := w.must(0, "register", "--accept-terms"); again != out {
		t.Errorf("registered twice: %q, then %q", out, again)
	}
	if n := w.ca.Accounts(); n != 1 {
		t.Errorf("%d accounts", n)
	}

	before := len(w.ca.Requests())
	out, talk := w.must(0, "sign", "a.example.test", "b.example.test")
	if out != "" || strings.Count(talk, "\n") != 1 || !strings.Contains(talk, "a.example.test: issued, valid until 20") {
		t.Errorf("sign: stdout %q, stderr %q", out, talk)
	}
	if n := len(w.ca.Requests()) - before; n != 11 { // 7 + 2n
		t.Errorf("%d requests for two names", n)
	}
	w.checkSet("a.example.test", "a.example.test", "b.example.test")

	before, was := len(w.ca.Requests()), tree(t, w.base)
	out, talk = w.must(0, "sign", "a.example.test", "b.example.test")
	if out+talk != "" || len(w.ca.Requests()) != before || tree(t, w.base) != was {
		t.Errorf("a second run said %q, asked %d times, or wrote:\n%s", out+talk, len(w.ca.Requests())-before, tree(t, w.base))
	}

	live := func() string {
		target, err := os.Readlink(filepath.Join(w.base, "certs/a.example.test/live"))
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	first := live()
	w.must(0, "sign", "-x", "a.example.test", "b.example.test")
	if live() == first {
		t.Error("-x made no new version")
	}
	if left, _ := os.ReadDir(w.webroot); len(left) > 0 {
		t.Errorf("left in the webroot: %v", left)
	}
}

// checkSet holds the stable names of a certificate against each other.
func (w *world) checkSet(alias string, names ...string) *x509.Certificate {
	w.t.Helper()
	dir := filepath.Join(w.base, "certs", alias)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			w.t.Fatal(err)
		}
		return string(data)
	}
	if read("fullchain.pem") != read("cert.pem")+read("chain.pem") {
		w.t.Error("fullchain.pem is not cert.pem and chain.pem")
	}
	block, _ := pem.Decode([]byte(read("cert.pem")))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(w.ca.Root())
	between.AppendCertsFromPEM([]byte(read("chain.pem")))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		w.t.Error(err)
	}
	for _, name := range names {
		if err := leaf.VerifyHostname(name); err != nil {
			w.t.Error(err)
		}
	}
	key, _ := pem.Decode([]byte(read("privkey.pem")))
	private, err := x509.ParseECPrivateKey(key.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	if !private.PublicKey.Equal(leaf.PublicKey) {
		w.t.Error("the key does not fit the certificate")
	}
	return leaf
}

func TestRequestsOfAKnownAccount(t *testing.T) {
	for n, want := range map[int]int{1: 9, 5: 17} {
		w := newWorld(t)
		w.must(0, "register", "--accept-terms")
		before := len(w.ca.Requests())
		w.must(0, append([]string{"sign"}, []string{"a.test", "b.test", "c.test", "d.test", "e.test"}[:n]...)...)
		if got := len(w.ca.Requests()) - before; got != want {
			t.Errorf("%d names: %d requests, want %d: %v", n, got, want, w.ca.Requests()[before:])
		}
	}
}

func TestManyNamesSideBySide(t *testing.T) {
	w := newWorld(t)
	args := []string{"sign", "--accept-terms"}
	for i := range 40 {
		args = append(args, "n"+strings.Repeat("x", i+1)+".example.test")
	}
	w.must(0, args...)
	w.checkSet("nx.example.test", args[2:]...)
}

func TestRefusedBeforeAnythingIsPosted(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	badCSR := w.file("bad.csr", "-----BEGIN CERTIFICATE REQUEST-----\nMAAA\n-----END CERTIFICATE REQUEST-----\n", 0o600)
	open := w.file("open", "HOOK=/bin/true\n", 0o666)
	syntax := w.file("syntax", "A=1\nif then\n", 0o600)
	good := w.file("good", "CHALLENGETYPE=http-01\n", 0o600)
	noexec := w.file("noexec", "#!/bin/sh\n", 0o600)
	for _, tc := range []struct {
		status int
		says   string
		args   []string
	}{
		{64, "no command", nil},
		{64, "unknown command", []string{"sing", "a.test"}},
		{64, "unknown command \"frob\"", []string{"help", "frob"}},
		{64, "did you mean \"arid sign\"", []string{"help", "sing"}},
		{64, "no shell", []string{"completion"}},
		{64, "unknown shell \"tcsh\"", []string{"completion", "tcsh"}},
		{64, "unknown flag", []string{"sign", "--frobnicate", "a.test"}},
		{64, "--force \"maybe\": neither true nor false\n", []string{"sign", "--force=maybe", "a.test"}},
		{64, "--http-port \"web\": not a number\n", []string{"rehearse", "--http-port", "web", "a.test"}},
		{64, "--eab-kid \"kid\": there is no", []string{"register", "--eab-kid", "kid"}},
		{64, "no EAB_KID", []string{"register", "--eab-hmac-file", good}},
		{65, "good\": EAB key", []string{"register", "--eab-kid", "kid", "--eab-hmac-file", good}},
		{64, "is not HOST:PORT", []string{"rehearse", "--dns", "127.0.0.1", "a.test"}},
		{64, "no name", []string{"sign"}},
		{64, "ipv4", []string{"sign", "-4", "-6", "a.test"}},
		{64, "cannot name a folder", []string{"sign", "-t", "dns-01", "-k", "/bin/true", "*.a.test"}},
		{64, "--color", []string{"--color", "blue", "sign", "a.test"}},
		{64, "--not-after", []string{"sign", "--not-after", "tomorrow", "a.test"}},
		{64, "--algo", []string{"sign", "--algo", "rot13", "a.test"}},
		{64, "--challenge", []string{"sign", "--challenge", "http-02", "a.test"}},
		{64, "--alias", []string{"sign", "--alias", "../x", "a.test"}},
		{64, "--reason", []string{"revoke", "--reason", "whim", "a.test"}},
		{64, "takes one certificate", []string{"revoke"}},
		{64, "--csr and the name", []string{"sign", "--csr", badCSR, "a.test"}},
		{65, "bad.csr", []string{"sign", "--csr", badCSR}},
		{65, "missing.csr", []string{"sign", "--csr", "missing.csr"}},
		{65, "http-01", []string{"sign", "www.a.test", "*.a.test"}},
		{65, "a/b", []string{"sign", "a/b.test"}},
		{65, "..", []string{"sign", "a..test"}},
		{65, "blank", []string{"sign", "a b.test"}},
		{65, `a\"b`, []string{"sign", `a"b.test`}},
		{65, `a\nb`, []string{"sign", "a\nb.test"}},
		{65, "253", []string{"sign", strings.Repeat("abcdefg.", 32) + "test"}},
		{65, "none.example.test", []string{"revoke", "none.example.test"}},
		{78, "writ", []string{"sign", "-f", open, "a.test"}},
		{78, "syntax:2", []string{"sign", "-f", syntax, "a.test"}},
		{78, "no-such-config", []string{"sign", "-f", "no-such-config", "a.test"}},
		{78, "no-such-hook", []string{"sign", "-k", "./no-such-hook", "a.test"}},
		{78, "execut", []string{"sign", "-k", noexec, "a.test"}},
		{78, "no-such-dir", []string{"sign", "--wellknown", "./no-such-dir", "a.test"}},
		{64, "--ca", []string{"sign", "--ca", "http://ca.example.test/", "a.test"}},
		{78, "needs a hook", []string{"sign", "-f", good, "-t", "dns-01", "a.test"}},
	} {
		before := len(w.ca.Requests())
		status, out, talk := w.run(tc.args...)
		if status != tc.status || !strings.Contains(talk, tc.says) || out != "" {
			t.Errorf("arid %q:\n status %d, want %d\n stdout %q\n stderr %q, want %q in it", tc.args, status, tc.status, out, talk, tc.says)
		}
		if n := len(w.ca.Requests()) - before; n > 0 {
			t.Errorf("arid %q: %d requests", tc.args, n)
		}
		first, _, _ := strings.Cut(talk, "\n")
		if !strings.HasPrefix(first, "arid: ") {
			t.Errorf("arid %q: not one clear line: %q", tc.args, talk)
		}
	}
}

func TestTermsMustBeAccepted(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"register"}, {"sign", "a.test"}} {
		_, talk := w.must(78, args...)
		if !strings.Contains(talk, "--accept-terms") {
			t.Errorf("%v: %q", args, talk)
		}
	}
	if n := w.posts(); n > 0 {
		t.Errorf("%d posts", n)
	}
	w.must(0, "sign", "--accept-terms", "a.test")
}

func TestAFailedValidationSaysWhatTheCASaw(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\necho \"$1 $2 $altnames\" >>"+log+"\n", 0o700)
	w.ca.FailValidation("b.test", "connection", "10.0.0.7: Connection refused")
	_, talk := w.must(1, "sign", "--accept-terms", "-k", hook, "a.test", "b.test")
	if !strings.Contains(talk, "b.test: http-01: ") || !strings.Contains(talk, "10.0.0.7: Connection refused") || !strings.Contains(talk, "hint: ") {
		t.Errorf("stderr %q", talk)
	}
	if left, _ := os.ReadDir(w.webroot); len(left) > 0 {
		t.Errorf("left in the webroot: %v", left)
	}
	if _, err := os.Stat(filepath.Join(w.base, "certs/a.test/pending")); !os.IsNotExist(err) {
		t.Errorf("pending is left: %v", err)
	}
	calls, _ := os.ReadFile(log)
	for _, want := range []string{"invalid_challenge b.test a.test b.test\n", "clean_challenge a.test", "clean_challenge b.test"} {
		if strings.Count(string(calls), want) != 1 {
			t.Errorf("%q not once in:\n%s", want, calls)
		}
	}
	if strings.Contains(string(calls), "deploy_cert") {
		t.Errorf("deployed:\n%s", calls)
	}
}

func TestManyFailuresAreToldInAFewWords(t *testing.T) {
	w := newWorld(t)
	args := []string{"sign", "--accept-terms"}
	for i := range 40 {
		name := fmt.Sprintf("n%d.test", i)
		w.ca.FailValidation(name, "connection", strings.Repeat("no route ", 100))
		args = append(args, name)
	}
	_, talk := w.must(1, args...)
	if !strings.Contains(talk, "and 35 more") || strings.Count(talk, "hint: ") != 5 || strings.Count(talk, "seen: ") != 5 {
		t.Errorf("%d lines: %.2000s", strings.Count(talk, "\n"), talk)
	}
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _ := w.must(0, "completion", shell); !strings.Contains(out, "arid") {
			t.Errorf("%s: %.100q", shell, out)
		}
	}
	if out, _ := w.must(0, "__complete", "revoke", "a.test", "--reason", "key"); !strings.Contains(out, "keyCompromise") {
		t.Errorf("--reason: %q", out)
	}
	w.domains("b.test")
	if err := os.MkdirAll(filepath.Join(w.base, "certs/a.test"), 0o700); err != nil {
		t.Fatal(err)
	}
	const files, dirs, none = ":0\n", ":16\n", ":4\n"
	for flag, want := range map[string]string{
		"sign --csr": files, "sign --hook": files, "--config": files, "respond --fallback-cert": files,
		"sign --wellknown": dirs, "renew --out": dirs, "respond --alpn": dirs,
		"sign --alias": none, "sign --listen": none,
		"sign --ca":        "letsencrypt\nletsencrypt-test\nzerossl\ngoogle\ngoogle-test\n" + none,
		"renew -t":         "http-01\ndns-01\ntls-alpn-01\n" + none,
		"--color":          "auto\nalways\nnever\n" + none,
		"renew":            "a.test\nb.test\n" + none, // a line, and a folder
		"renew a.test":     "b.test\n" + none,
		"status":           "a.test\nb.test\n" + none,
		"cleanup --forget": "a.test\nb.test\n" + none,
		"revoke":           "a.test\nb.test\n" + files,
	} {
		if out, _ := w.must(0, append(append([]string{"__complete"}, strings.Fields(flag)...), "")...); out != want {
			t.Errorf("%s: %q, want %q", flag, out, want)
		}
	}
}

func TestAFailedDeployIsOwedAndRepeated(t *testing.T) {
	for _, event := range []string{"sync_cert", "deploy_cert"} {
		w := newWorld(t)
		log, broken := filepath.Join(w.dir, "log"), w.file("broken", "", 0o600)
		hook := w.file("hook", "#!/bin/sh\necho $1 >>"+log+"\n[ $1 = "+event+" ] && [ -e "+broken+" ] && exit 3\nexit 0\n", 0o700)
		_, talk := w.must(10, "sign", "--accept-terms", "-k", hook, "a.test")
		if !strings.Contains(talk, event+": exit status 3") {
			t.Errorf("stderr %q", talk)
		}
		orders := w.ca.NewOrders()
		if _, talk := w.must(10, "sign", "-k", hook, "a.test"); talk != "" {
			t.Errorf("it is not yet time, and stderr is %q", talk)
		}
		if calls, _ := os.ReadFile(log); strings.Count(string(calls), event) != 1 {
			t.Errorf("it is not yet time, and %s was called:\n%s", event, calls)
		}
		w.later()
		if _, talk := w.must(10, "sign", "-k", hook, "a.test"); strings.Contains(talk, "deployed") {
			t.Errorf("it failed again, and stderr is %q", talk)
		}
		os.Remove(broken)
		w.later()
		w.must(0, "sign", "-k", hook, "a.test")
		calls, _ := os.ReadFile(log)
		if got := strings.Count(string(calls), event); got != 3 {
			t.Errorf("%s called %d times, want 3:\n%s", event, got, calls)
		}
		w.must(0, "sign", "-k", hook, "a.test")
		if again, _ := os.ReadFile(log); len(again) != len(calls) || w.ca.NewOrders() != orders {
			t.Errorf("a run with nothing due called %s, or ordered", again[len(calls):])
		}
		w.checkSet("a.test", "a.test")
	}
}

func TestHooksOfOneRun(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", `#!/bin/sh
{ echo "$# $1 $2"; [ "$1" = deploy_challenge ] && cat "$WELLKNOWN/$3" && echo && printf '%s\n' "$4"; } >>`+log+`
[ "$1" = deploy_cert ] && [ -e "$3" ] && [ -e "$4" ] && [ -e "$5" ] && [ -e "$6" ] && echo "$alias $KEY_ALGO $7" >>`+log+`
exit 0
`, 0o700)
	w.must(0, "sign", "--accept-terms", "-k", hook, "a.test")
	calls, _ := os.ReadFile(log)
	frame := "1 startup_hook \n4 generate_csr a.test\n"
	lines := strings.Split(strings.TrimPrefix(strings.TrimSuffix(string(calls), "1 exit_hook \n"), frame), "\n")
	if !strings.HasPrefix(string(calls), frame) || len(lines) != 8 || lines[0] != "4 deploy_challenge a.test" || lines[1] != lines[2] ||
		lines[3] != "4 clean_challenge a.test" || !strings.HasPrefix(lines[4], "6 sync_cert ") ||
		lines[5] != "7 deploy_cert a.test" || !strings.HasPrefix(lines[6], "a.test prime256v1 1") {
		t.Errorf("calls:\n%s", calls)
	}
}

func TestHookChain(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\necho \"$# $1\" >>"+log+"\n", 0o700)
	w.must(0, "sign", "--accept-terms", "--hook-chain", "-k", hook, "a.test", "b.test", "c.test")
	calls, _ := os.ReadFile(log)
	if string(calls) != "1 startup_hook\n4 generate_csr\n10 deploy_challenge\n10 clean_challenge\n6 sync_cert\n7 deploy_cert\n1 exit_hook\n" {
		t.Errorf("calls:\n%s", calls)
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "a.test")
	leaf := w.checkSet("a.test", "a.test")
	w.must(0, "revoke", "a.test", "--reason", "superseded")
	if !w.ca.Revoked(leaf) {
		t.Error("the CA knows nothing of it")
	}
	w.must(0, "sign", "a.test") // it is due at once
	second := w.checkSet("a.test", "a.test")
	if second.Equal(leaf) {
		t.Error("a revoked certificate was kept")
	}
	dir := filepath.Join(w.base, "certs/a.test")
	w.must(65, "revoke", dir+"/cert.pem", "--key", filepath.Join(w.dir, "ca-tls.pem"))
	w.must(0, "revoke", dir+"/cert.pem", "--key", dir+"/privkey.pem")
	if !w.ca.Revoked(second) {
		t.Error("revocation by the certificate's key did not arrive")
	}
}

func TestRevokeWithAnAccountThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "a.test")
	w.ca.Problem(fakeca.Revoke, 400, "accountDoesNotExist", "who are you?", -1)
	_, talk := w.must(78, "revoke", "a.test")
	if !strings.Contains(talk, "hint: ") {
		t.Errorf("stderr %q", talk)
	}
}

func TestAnotherRunAtWorkIsNoNewsForCron(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "a.test")
	unlock, err := atomicfile.Lock(t.Context(), filepath.Join(w.base, "certs/a.test/.arid.lock"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if out, talk := w.must(75, "sign", "-x", "a.test"); out+talk != "" {
		t.Errorf("said %q", out+talk)
	}
	if _, talk := w.must(75, "sign", "-x", "-v", "a.test"); !strings.Contains(talk, ".arid.lock") {
		t.Errorf("with -v: %q", talk)
	}
}

func TestConfigIsShownWithACAThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "ARID_CA=buypass")
	out, talk := w.must(0, "config")
	if !strings.Contains(out, w.webroot) || !strings.Contains(talk, "warning: ") {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
}

func TestConfigTableHidesSecrets(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "ARID_EAB_HMAC_KEY=c2VjcmV0")
	out, _ := w.must(0, "config")
	if strings.Contains(out, "c2VjcmV0") || !strings.Contains(out, "ARID_WELLKNOWN") || !strings.Contains(out, w.webroot) {
		t.Errorf("config:\n%s", out)
	}
}
