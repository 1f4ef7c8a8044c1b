package cmd_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"arid/cmd"
	"arid/internal/fakeca"
	"arid/keys"
)

// dehydratedWorld is a world in which nothing is set but by a config in
// dehydrated's manner, and a hook that writes down its calls.
func dehydratedWorld(t *testing.T, lines ...string) *world {
	t.Helper()
	w := newWorld(t)
	t.Chdir(w.dir) // relative paths stay relative in this mode, as hooks are told them
	w.env = slices.DeleteFunc(w.env, func(kv string) bool {
		return strings.HasPrefix(kv, "ARID_") && !strings.HasPrefix(kv, "ARID_CA_BUNDLE=") && !strings.HasPrefix(kv, "ARID_DNS_RESOLVER=")
	})
	if err := os.Mkdir(w.base, 0o755); err != nil {
		t.Fatal(err)
	}
	hook := w.file("hook", "#!/bin/sh\n{ printf '[%s]' \"$@\"; echo; } >>'"+w.dir+"/calls'\necho hook says $1\n", 0o755)
	w.file("base/config", fmt.Sprintf("CA=%s\nWELLKNOWN=%s\nHOOK=%s\nACCOUNT_KEY_ALGO=prime256v1\nKEY_ALGO=prime256v1\n%s\n",
		w.ca.URL(), w.webroot, hook, strings.Join(lines, "\n")), 0o644)
	return w
}

// as runs a command line in dehydrated's mode with the config, and wants the status.
func (w *world) as(status int, words ...string) (stdout, stderr string) {
	w.t.Helper()
	stdout, stderr = w.must(status, append([]string{"dehydrated", "-f", "base/config"}, words...)...)
	rest, found := strings.CutPrefix(stdout, "# INFO: Using main config file base/config\n")
	if !found && !strings.Contains(strings.Join(words, " "), "-e") {
		w.t.Errorf("%q: stdout begins otherwise: %q", words, stdout)
	}
	return rest, stderr
}

// calls are what the hook was told since it was asked last.
func (w *world) calls() string {
	w.t.Helper()
	data, _ := os.ReadFile(w.dir + "/calls")
	_ = os.Remove(w.dir + "/calls")
	return string(data)
}

func (w *world) account(name string) string {
	w.t.Helper()
	dirs, _ := filepath.Glob(w.base + "/accounts/*")
	if len(dirs) != 1 {
		w.t.Fatalf("accounts: %q", dirs)
	}
	return filepath.Join(dirs[0], name)
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestDehydratedByItsNames(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := cmd.Main(context.Background(), &cmd.Process{Args: args, Dir: t.TempDir(), Env: []string{"HOME=/nowhere"},
			Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
		return status, stdout.String(), stderr.String()
	}
	for _, c := range []struct {
		args           []string
		status         int
		stdout, stderr string // beginnings
	}{
		{[]string{"/usr/bin/dehydrated"}, 0, "Usage: /usr/bin/dehydrated [command", ""},
		{[]string{"letsencrypt.sh", "-h"}, 0, "Usage: letsencrypt.sh [command", ""},
		{[]string{"arid", "dehydrated"}, 0, "Usage: arid dehydrated [command", ""},
		{[]string{"arid", "dehydrated", "--help"}, 0, "Usage: arid dehydrated [command", ""},
		{[]string{"dehydrated", "-4"}, 1, "Usage: ", ""},
		{[]string{"dehydrated", "--foo"}, 1, "", "Unknown parameter detected: --foo\n\nUsage: "},
		{[]string{"dehydrated", "sign", "example.org"}, 1, "", "Unknown parameter detected: sign\n\nUsage: "},
		{[]string{"dehydrated", "-c", "-e"}, 1, "", "ERROR: Only one command"},
		{[]string{"arid", "-q", "dehydrated", "-c"}, 64, "", "arid: dehydrated is the first word or none\n"},
		{[]string{"dehydrated.real", "--foo"}, 64, "", "arid: "}, // anything else is arid
	} {
		status, stdout, stderr := run(c.args...)
		if status != c.status || !strings.HasPrefix(stdout, c.stdout) || !strings.HasPrefix(stderr, c.stderr) ||
			(stdout == "") != (c.stdout == "") || (stderr == "") != (c.stderr == "") {
			t.Errorf("%q: status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}

func TestDehydratedRegister(t *testing.T) {
	w := dehydratedWorld(t)
	w.ca.TermsOfService("https://ca.example/terms")
	stdout, stderr := w.as(1, "--register")
	is(t, "stdout", stdout, "")
	if !strings.Contains(stderr, "find here: https://ca.example/terms\n\nTo accept these terms of service run `arid dehydrated --register --accept-terms`.\n") {
		t.Errorf("stderr %q", stderr)
	}
	if w.posts() > 0 || w.calls() != "" {
		t.Error("somebody was told something")
	}
	stdout, stderr = w.as(0, "--register", "--accept-terms")
	is(t, "stdout", stdout, "+ Generating account key...\n+ Registering account key with ACME server...\n+ Fetching account URL...\n+ Done!\n")
	is(t, "stderr", stderr, "")
	posts := w.posts()
	stdout, _ = w.as(0, "--register")
	is(t, "stdout", stdout, "+ Account already registered!\n")
	if w.posts() != posts || w.ca.Accounts() != 1 {
		t.Errorf("%d requests, %d accounts", w.posts()-posts, w.ca.Accounts())
	}

	// dehydrated 0.6 left no account_id.json, 0.6.4 one without the URL.
	for _, text := range []string{"", `{"id":"1"}`} {
		if err := os.WriteFile(w.account("account_id.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, _ = w.as(0, "--register")
		is(t, "stdout", stdout, "+ Fetching account URL...\n+ Account already registered!\n")
	}
	if w.ca.Accounts() != 1 || w.calls() != "" {
		t.Errorf("%d accounts", w.ca.Accounts())
	}
}

func TestDehydratedRegisterRefused(t *testing.T) {
	w := dehydratedWorld(t)
	w.ca.Problem(fakeca.NewAccount, 403, "rejectedIdentifier", "go away\x1b[2J", 1)
	stdout, stderr := w.as(1, "--register", "--accept-terms")
	is(t, "stdout", stdout, "+ Generating account key...\n+ Registering account key with ACME server...\nhook says request_failure\nhook says exit_hook\n")
	for _, want := range []string{
		"  + ERROR: An error occurred while sending post-request to " + w.ca.Base(), "(Status 403)\n\nDetails:\nHTTP/2 403\n",
		"go away", "\nERROR: ", "\n\nError registering account key. See message above for more information.\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr %q lacks %q", stderr, want)
		}
	}
	if strings.Contains(stderr, "\x1b") {
		t.Error("the CA writes to the terminal")
	}
	calls := w.calls()
	if !strings.HasPrefix(calls, "[request_failure][403][{") || !strings.Contains(calls, "][post][HTTP/2 403\n") || !strings.HasSuffix(calls, "[exit_hook][]\n") {
		t.Errorf("calls %q", calls)
	}
	if files, _ := filepath.Glob(w.base + "/accounts/*/*"); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
}

func TestDehydratedRegisterWithAKeyOfOnesOwn(t *testing.T) {
	w := dehydratedWorld(t)
	w.ca.TermsOfService("https://ca.example/terms")
	w.file("own.pem", newKey(t), 0o600)
	stdout, _ := w.as(0, "--register", "-p", "own.pem")
	is(t, "stdout", stdout, "Using private key own.pem instead of account key\n+ Registering account key with ACME server...\n+ Fetching account URL...\n+ Done!\n")
	for _, name := range []string{"own.pem.json", "own.pem_id.json"} {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			t.Error(err)
		}
	}
	stdout, _ = w.as(0, "-p", "own.pem", "--register")
	is(t, "stdout", stdout, "Using private key own.pem instead of account key\n+ Account already registered!\n")
	// Any other command takes only a key that is registered.
	w.file("other.pem", newKey(t), 0o600)
	if _, stderr := w.as(1, "--account", "-p", "other.pem"); !strings.Contains(stderr, "To accept these terms of service") || w.ca.Accounts() != 1 {
		t.Errorf("stderr %q, %d accounts", stderr, w.ca.Accounts())
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.MarshalPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDehydratedEABMissing(t *testing.T) {
	w := dehydratedWorld(t)
	w.ca.ExternalAccountRequired()
	stdout, stderr := w.as(1, "--register", "--accept-terms")
	if !strings.Contains(stdout, "This CA requires an external account but no EAB_KID/EAB_HMAC_KEY has been configured\n") ||
		!strings.Contains(stderr, "\nError registering account key. See message above for more information.\n") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if w.posts() > 0 || w.calls() != "" || strings.Contains(stderr, "--eab") {
		t.Errorf("%d requests, calls %q, stderr %q", w.posts(), w.calls(), stderr)
	}
}

// An account that exists needs no binding, and half of one is none: it ended the run.
func TestDehydratedEABThatIsOfNoUse(t *testing.T) {
	for _, line := range []string{"EAB_KID=kid", "EAB_HMAC_KEY=c2VjcmV0", "EAB_KID=kid EAB_HMAC_KEY='no base64'"} {
		w := dehydratedWorld(t)
		w.as(0, "--register", "--accept-terms")
		w.file("base/domains.txt", "a.test\n", 0o644)
		w.file("base/config", readFile(t, w.base+"/config")+line+"\n", 0o644)
		w.as(0, "--cron")
		w.as(0, "--account")
	}
	w := dehydratedWorld(t, "EAB_KID=kid")
	w.as(0, "--register", "--accept-terms")
}

// It was done before the chain was looked for.
func TestDehydratedPreferredChain(t *testing.T) {
	w := dehydratedWorld(t, "PREFERRED_CHAIN=Nobody")
	w.ca.Alternate()
	other := w.ca.AlternateRoot().Subject.CommonName
	stdout, stderr := w.as(1, "--cron", "--accept-terms", "-d", "a.test")
	if strings.Contains(stdout, "Done!") || !strings.Contains(stderr, "ERROR: Alternative chain with CN = Nobody not found, available options: ") || !strings.Contains(stderr, ", "+other+"\n") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if calls := w.calls(); !strings.Contains(calls, "[exit_hook][Alternative chain with CN = Nobody not found, available options: ") {
		t.Errorf("%q", calls)
	}
	stdout, _ = w.as(0, "--cron", "-d", "a.test", "--preferred-chain", other)
	if !strings.Contains(stdout, " + Using preferred chain with CN = "+other+"\n + Checking certificate...\n + Done!\n") {
		t.Errorf("stdout %q", stdout)
	}
}

func TestDehydratedAccountAndDeactivate(t *testing.T) {
	w := dehydratedWorld(t, "CONTACT_EMAIL=a@example.org")
	w.as(0, "--register", "--accept-terms")
	url := "https://"
	stdout, _ := w.as(0, "--account")
	first, rest, _ := strings.Cut(stdout, "\n")
	if !strings.HasPrefix(first, "+ Updating registration url: "+url) || !strings.HasSuffix(first, " contact information...") {
		t.Errorf("first line %q", first)
	}
	is(t, "the rest", rest, "+ Account information was the same after the update\n+ Done!\n")
	w.file("base/config", readFile(t, w.base+"/config")+"CONTACT_EMAIL=b@example.org\n", 0o644)
	stdout, _ = w.as(0, "--account")
	backups, _ := filepath.Glob(w.account("registration_info-*.json"))
	if len(backups) != 1 {
		t.Fatalf("backups %q", backups)
	}
	_, rest, _ = strings.Cut(stdout, "\n")
	info := w.account("registration_info.json")
	is(t, "the rest", strings.ReplaceAll(rest, "base/", w.base+"/"), "+ Backup "+info+" as "+backups[0]+"\n+ Populate "+info+"\n+ Done!\n")
	if !strings.Contains(readFile(t, info), "b@example.org") || !strings.Contains(readFile(t, backups[0]), "a@example.org") {
		t.Error("the files do not hold what they say")
	}

	w.ca.Problem(fakeca.Account, 400, "malformed", "no", 1)
	if _, err := os.Stat(w.account("deactivated")); err == nil {
		t.Fatal("deactivated already")
	}
	w.as(1, "--deactivate")
	if calls := w.calls(); !strings.HasPrefix(calls, "[request_failure][400]") || !strings.HasSuffix(calls, "\n[exit_hook][]\n") {
		t.Errorf("calls %q", calls)
	}
	if _, err := os.Stat(w.account("deactivated")); err == nil {
		t.Fatal("refused, and marked nevertheless")
	}
	stdout, _ = w.as(0, "--deactivate")
	if !strings.HasPrefix(stdout, "Deactivating account https://") || !strings.HasSuffix(stdout, "\n + Done.\n") {
		t.Errorf("stdout %q", stdout)
	}
	posts := w.posts()
	_, stderr := w.as(1, "--register")
	if !strings.HasPrefix(stderr, "ERROR: ") || !strings.Contains(stderr, "deactivated") || w.posts() != posts {
		t.Errorf("stderr %q", stderr)
	}
	// What needs no account works.
	w.as(0, "-e")
	w.as(0, "-v")
	w.as(0, "--display-terms")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDehydratedTerms(t *testing.T) {
	w := dehydratedWorld(t)
	w.ca.TermsOfService("https://ca.example/terms")
	before := tree(t, w.base)
	stdout, stderr := w.as(0, "--display-terms")
	is(t, "stdout", stdout, "The current terms of service: https://ca.example/terms\n+ Done!\n")
	is(t, "stderr", stderr, "")
	if w.posts() > 0 || tree(t, w.base) != before {
		t.Error("more than a look was taken")
	}
}

func TestDehydratedRevoke(t *testing.T) {
	w := dehydratedWorld(t)
	w.as(0, "--register", "--accept-terms")
	sign := func(name string) *x509.Certificate {
		w.must(0, "sign", "-f", "base/config", "-k", "", "-x", name)
		return leafOf(t, filepath.Join(w.base, "certs", name, "cert.pem"))
	}
	leaf := sign("a.example.org")
	cert := "base/certs/a.example.org/cert.pem"

	w.ca.Problem(fakeca.Revoke, 403, "unauthorized", "not yours", 1)
	before := tree(t, w.base+"/certs")
	stdout, stderr := w.as(1, "--revoke", cert)
	if !strings.HasPrefix(stdout, "Revoking base/certs/a.example.org/") || strings.Contains(stdout, "Done") || !strings.Contains(stderr, "not yours") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if tree(t, w.base+"/certs") != before {
		t.Error("refused, and files are changed")
	}
	if calls := w.calls(); !strings.HasPrefix(calls, "[request_failure][403][") || !strings.HasSuffix(calls, "\n[exit_hook][]\n") {
		t.Errorf("calls %q", calls)
	}

	stdout, _ = w.as(0, "-r", cert)
	if !strings.Contains(stdout, "\n + Done.\n + Renaming certificate to base/certs/a.example.org/cert-") || !strings.HasSuffix(stdout, ".pem-revoked\n") {
		t.Errorf("stdout %q", stdout)
	}
	if _, err := os.Stat(filepath.Join(w.dir, cert)); err == nil || !w.ca.Revoked(leaf) {
		t.Errorf("cert.pem shows something: %v; revoked: %v", err == nil, w.ca.Revoked(leaf))
	}
	is(t, "calls", w.calls(), "")
	if state := readFile(t, w.base+"/certs/a.example.org/state.json"); !strings.Contains(state, `"revoked": true`) {
		t.Errorf("arid does not remember it: %s", state)
	}

	// Once more, by the new name: that is done, and nothing is left to do.
	revoked, _ := filepath.Glob(w.base + "/certs/a.example.org/*-revoked")
	before = tree(t, w.base+"/certs")
	stdout, _ = w.as(0, "-r", revoked[0])
	if !strings.HasSuffix(stdout, " + The CA had revoked it already.\n + Done.\n") || tree(t, w.base+"/certs") != before {
		t.Errorf("stdout %q", stdout)
	}

	// What the CA does not know is not there.
	_, stderr = w.as(1, "-r", "nowhere.pem")
	is(t, "stderr", stderr, "ERROR: Could not find certificate nowhere.pem\n")
	is(t, "calls", w.calls(), "[exit_hook][Could not find certificate nowhere.pem]\n")
}

func TestDehydratedRevokeWithTheCertificatesKey(t *testing.T) {
	w := dehydratedWorld(t)
	w.as(0, "--register", "--accept-terms")
	w.must(0, "sign", "-f", "base/config", "-k", "", "a.example.org")
	leaf := leafOf(t, w.base+"/certs/a.example.org/cert.pem")
	if err := os.RemoveAll(w.base + "/accounts"); err != nil { // none is needed
		t.Fatal(err)
	}
	stdout, _ := w.as(0, "-r", "base/certs/a.example.org/cert.pem", "-p", "base/certs/a.example.org/privkey.pem")
	if !strings.HasPrefix(stdout, "Using private key base/certs/a.example.org/privkey.pem of the certificate\nRevoking ") || !w.ca.Revoked(leaf) {
		t.Errorf("stdout %q", stdout)
	}
}

func leafOf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(readFile(t, file)))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDehydratedEnv(t *testing.T) {
	w := dehydratedWorld(t, `export CONTACT_EMAIL='a"b$c`+"`d`"+`\e@example.org'`, `DOMAINS_TXT=$'two\nlines'"'"`, "LOCKFILE=/run/lock/x")
	w.file("base/config", strings.Replace(readFile(t, w.base+"/config"), `DOMAINS_TXT=$'two\nlines'"'"`, "", 1), 0o644)
	before := tree(t, w.base)
	stdout, stderr := w.as(0, "-e", "--lock-suffix", "one", "-o", "elsewhere")
	is(t, "stderr", stderr, "")
	folder := "base/accounts/" + folderName(w.ca.URL())
	want := []string{
		"# dehydrated configuration", "# INFO: Using main config file base/config",
		`declare -- CA="` + w.ca.URL() + `"`, `declare -- CERTDIR="elsewhere"`, `declare -- ALPNCERTDIR="base/alpn-certs"`,
		`declare -- CHALLENGETYPE="http-01"`, `declare -- DOMAINS_D=""`, `declare -- DOMAINS_TXT="base/domains.txt"`,
		`declare -- HOOK="` + w.dir + `/hook"`, `declare -- HOOK_CHAIN="no"`, `declare -- RENEW_DAYS="32"`,
		`declare -- ACCOUNT_KEY="` + folder + `/account_key.pem"`, `declare -- ACCOUNT_KEY_JSON="` + folder + `/registration_info.json"`,
		`declare -- ACCOUNT_ID_JSON="` + folder + `/account_id.json"`, `declare -- KEYSIZE="4096"`, `declare -- WELLKNOWN="` + w.webroot + `"`,
		`declare -- PRIVATE_KEY_RENEW="yes"`, "OPENSSL_CNF", `declare -x CONTACT_EMAIL="a\"b\$c\` + "`d\\`" + `\\e@example.org"`, `declare -- LOCKFILE="/run/lock/x-one"`,
	}
	got := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), stdout)
	}
	for i := range want {
		if want[i] == "OPENSSL_CNF" { // the system's
			want[i] = got[i]
		}
		is(t, "line", got[i], want[i])
	}
	if tree(t, w.base) != before || len(w.ca.Requests()) > 0 {
		t.Error("more than a look was taken")
	}
	out, err := exec.Command("bash", "-c", stdout+"\nprintf %s \"$CONTACT_EMAIL\"").Output()
	if err != nil || string(out) != `a"b$c`+"`d`"+`\e@example.org` {
		t.Errorf("bash understands %q, %v", out, err)
	}
	if stdout, _ := w.as(0, "-e", "-n"); !strings.HasSuffix(stdout, "declare -- LOCKFILE=\"\"\n") {
		t.Errorf("without a lock: %q", stdout)
	}
}

func folderName(url string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(url + "\n"))
}

func TestDehydratedStatusAndConfig(t *testing.T) {
	w := dehydratedWorld(t)
	for _, c := range []struct {
		config, words string
		status        int
		stderr        string // contained
	}{
		{"exit 3", "-e", 3, "exit 3"},
		{"exit 0", "-e", 0, ""},
		{"CHALLENGETYPE=dns-99", "-e", 1, "ERROR: "},
		{"CHALLENGETYPE=dns-99", "-v", 0, ""},
		{"", "-t dns-99 -e", 1, `ERROR: --challenge "dns-99"`},
		{"", "-e --force-validation", 1, "ERROR: Argument --force-validation can only be used in combination with --force (-x)\n"},
		{"BASEDIR=/nowhere", "-e", 1, "ERROR: BASEDIR does not exist: /nowhere\n"},
		{"echo x; (", "-e", 1, "ERROR: "},
		{"HOOK_CHAIN=maybe", "-e", 0, "# WARNING: "},
		{"HOOK_TIMEOUT=soon", "-e", 1, "ERROR: "},
		{"CA=buypass", "-e", 1, "ERROR: "},
		{"", "-f nowhere -e", 1, "ERROR: Specified config file doesn't exist"},
	} {
		w.file("x/../config2", "HOOK="+w.dir+"/hook\n"+c.config+"\n", 0o644)
		words := strings.Fields(c.words)
		status, stdout, stderr := w.run(append([]string{"dehydrated", "-f", "config2"}, words...)...)
		if status != c.status || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%q, %s: status %d, stdout %q, stderr %q", c.config, c.words, status, stdout, stderr)
		}
		calls := w.calls()
		if strings.Contains(calls, "ERROR") {
			t.Errorf("%q, %s: calls %q", c.config, c.words, calls)
		}
		if told := strings.HasPrefix(calls, "[exit_hook]["); told != (status == 1 && !strings.Contains(c.config, "(") && !strings.Contains(c.words, "nowhere")) {
			t.Errorf("%q, %s: calls %q", c.config, c.words, calls)
		}
	}
}

func TestDehydratedLock(t *testing.T) {
	w := dehydratedWorld(t)
	w.as(0, "--register", "--accept-terms")
	lock := w.file("base/lock", "Sat Nov 21 16:18:29 UTC 2026\n", 0o600)
	_, stderr := w.as(1, "--account")
	if !strings.HasPrefix(stderr, "ERROR: Lock file 'base/lock' present, aborting: made by another program, ") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("stderr %q", stderr)
	}
	if calls := w.calls(); !strings.HasPrefix(calls, "[exit_hook][Lock file 'base/lock' present, aborting") {
		t.Errorf("calls %q", calls)
	}
	for _, words := range []string{"--account -n", "--account --lock-suffix x", "-e", "-v", "--display-terms"} {
		w.as(0, strings.Fields(words)...)
	}
	if _, err := os.Stat(lock); err != nil {
		t.Error(err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	// Ours goes with the run, and the one of a killed run is no obstacle.
	w.as(0, "--account")
	if _, err := os.Stat(lock); err == nil {
		t.Error("the lock is left")
	}
	w.file("base/lock", "arid 1\n", 0o600)
	if _, stderr := w.as(0, "--account"); !strings.HasPrefix(stderr, "# WARNING: ") {
		t.Errorf("stderr %q", stderr)
	}
}

func TestDehydratedAdoptsOldAccounts(t *testing.T) {
	w := dehydratedWorld(t)
	w.as(0, "--register", "--accept-terms")
	key, info := readFile(t, w.account("account_key.pem")), readFile(t, w.account("registration_info.json"))
	if err := os.RemoveAll(w.base + "/accounts"); err != nil {
		t.Fatal(err)
	}
	w.file("base/private_key.pem", key, 0o600)
	w.file("base/private_key.json", info, 0o600)
	stdout, _ := w.as(0, "--register")
	folder := "base/accounts/" + folderName(w.ca.URL())
	is(t, "stdout", stdout, "! Moving private_key.pem to "+folder+"/account_key.pem\n! Moving private_key.json to "+folder+"/registration_info.json\n"+
		"+ Fetching account URL...\n+ Account already registered!\n")
	// The account of the CA's first protocol version.
	if err := os.Rename(w.dir+"/"+folder, w.base+"/accounts/"+folderName("https://old.example/dir")); err != nil {
		t.Fatal(err)
	}
	w.file("base/config", readFile(t, w.base+"/config")+"OLDCA=https://old.example/dir\n", 0o644)
	stdout, _ = w.as(0, "--register")
	is(t, "stdout", stdout, "! Reusing account from https://old.example/dir\n+ Account already registered!\n")
	if w.ca.Accounts() != 1 {
		t.Errorf("%d accounts", w.ca.Accounts())
	}
}

func TestDehydratedUser(t *testing.T) {
	w := dehydratedWorld(t, "DEHYDRATED_USER=nobody")
	me, err := user.Current()
	if err != nil || me.Username == "nobody" {
		t.Skip("somebody is needed to run this")
	}
	if err := os.Mkdir(w.dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	w.file("bin/sudo", "#!/bin/sh\necho sudo \"$@\"\nexit 7\n", 0o755)
	w.env = append(w.env, "PATH="+w.dir+"/bin:/usr/bin:/bin")
	stdout, _ := w.as(7, "--account")
	is(t, "stdout", stdout, "# INFO: Running arid dehydrated as nobody\nsudo -u nobody arid dehydrated -f base/config --account\n")
	for config, want := range map[string]string{
		"DEHYDRATED_USER=nobody_at_all":                           "DEHYDRATED_USER nobody_at_all is invalid",
		"DEHYDRATED_USER=\nDEHYDRATED_GROUP=x":                    "DEHYDRATED_GROUP can only be used",
		"DEHYDRATED_USER=nobody\nDEHYDRATED_GROUP=nogroup_at_all": "DEHYDRATED_GROUP nogroup_at_all is invalid",
	} {
		w.file("base/config", "BASEDIR=base\n"+config+"\n", 0o644)
		if _, stderr := w.as(1, "--account"); !strings.Contains(stderr, "ERROR: "+want) {
			t.Errorf("%q: %q", config, stderr)
		}
	}
	w.file("base/config", "DEHYDRATED_USER="+me.Username+"\n", 0o644)
	w.as(0, "-e")
}

func TestDehydratedSignal(t *testing.T) {
	w := dehydratedWorld(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&cmd.SignalError{Signal: syscall.SIGTERM})
	status, _, stderr := w.runContext(ctx, "dehydrated", "-f", "base/config", "--register", "--accept-terms")
	if status != 143 || strings.Contains(stderr, "ERROR") || w.calls() != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// The config beside the script is found, and links from elsewhere lead there; arid's
// own place is not one of those.
func TestDehydratedScriptDirectory(t *testing.T) {
	w := dehydratedWorld(t)
	for _, dir := range []string{"opt", "usr", "usr/bin", "etc"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.file("usr/bin/arid", "#!/bin/sh\n", 0o755)
	w.file("etc/config", "X=$(echo \"$SCRIPTDIR\" >&2)\n", 0o644)
	for link, target := range map[string]string{"opt/dehydrated": "../usr/bin/arid", "usr/bin/dehydrated": "../../opt/dehydrated"} {
		if err := os.Symlink(target, filepath.Join(w.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{w.dir + "/opt/dehydrated", w.dir + "/usr/bin/dehydrated", "opt/dehydrated", "dehydrated"} {
		var stdout, stderr bytes.Buffer
		cmd.Main(context.Background(), &cmd.Process{Args: []string{name, "-f", "etc/config", "-e"}, Dir: w.dir, UID: os.Getuid(),
			Env: []string{"PATH=" + w.dir + "/usr/bin:/usr/bin:/bin"}, Stdout: &stdout, Stderr: &stderr})
		if !strings.Contains(stderr.String(), `"`+w.dir+`/opt"`) {
			t.Errorf("%s: the script is not in %s/opt: %s", name, w.dir, &stderr)
		}
	}
}
