package cmd_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/cmd"
	"arid/internal/atomicfile"
	"arid/internal/fakeca"
)

// printed reads what --json prints: lines of objects that begin with the schema, in
// which nothing is null and nothing is an empty list.
func printed(t *testing.T, stdout string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil || !strings.HasPrefix(line, `{"schema":1,`) || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("no object: %v: %q", err, line)
		}
		if strings.Contains(line, ":null") || strings.Contains(line, ":[]") || strings.Contains(line, `0001-01-01`) {
			t.Errorf("a member that says nothing: %s", line)
		}
		delete(o, "schema")
		all = append(all, o)
	}
	return all
}

// one is the only object.
func one(t *testing.T, stdout string) map[string]any {
	t.Helper()
	all := printed(t, stdout)
	if len(all) != 1 {
		t.Fatalf("%d objects: %s", len(all), stdout)
	}
	return all[0]
}

// byName are the objects of certificates, of which each has one.
func byName(t *testing.T, stdout string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, o := range printed(t, stdout) {
		name := fmt.Sprint(o["name"])
		if found[name] != nil {
			t.Errorf("%q has two objects:\n%s", name, stdout)
		}
		found[name] = o
	}
	return found
}

// has looks at members of an object. A value that is a regexp has to match the text of
// it, nil means that it is absent; everything else has to be equal.
func has(t *testing.T, o map[string]any, want map[string]any) {
	t.Helper()
	for _, member := range slices.Sorted(maps.Keys(want)) {
		got, there := o[member]
		switch want := want[member].(type) {
		case nil:
			if there {
				t.Errorf("%s is %v, want none in %v", member, got, o)
			}
		case *regexp.Regexp:
			if !there || !want.MatchString(fmt.Sprint(got)) {
				t.Errorf("%s is %q, want %s", member, got, want)
			}
		default:
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s is %v, want %v", member, got, want)
			}
		}
	}
}

var (
	moment = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	some   = regexp.MustCompile(`.`)
)

func words(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

func TestSignJSON(t *testing.T) {
	w := newWorld(t)
	out, talk := w.must(0, "sign", "--json", "--accept-terms", "a.test", "b.test")
	path := filepath.Join(w.base, "certs/a.test")
	leaf := w.checkSet("a.test", "a.test", "b.test")
	has(t, one(t, out), map[string]any{"name": "a.test", "names": []string{"a.test", "b.test"}, "result": "issued", "reason": "there is none yet",
		"not_after": leaf.NotAfter.UTC().Format(time.RFC3339), "path": path, "status": 0, "error": nil, "hints": nil, "chain": nil, "until": nil})
	if want := "arid: a.test: issued, valid until "; !strings.HasPrefix(talk, want) {
		t.Errorf("stderr %q, want %q", talk, want)
	}
	issuers, _ := one(t, out)["issuers"].([]any)
	if len(issuers) == 0 || issuers[0] != leaf.Issuer.CommonName {
		t.Errorf("issuers %q, want %q first", issuers, leaf.Issuer.CommonName)
	}
	out, talk = w.must(0, "sign", "--json", "a.test", "b.test")
	has(t, one(t, out), map[string]any{"result": "unchanged", "reason": some, "not_after": moment, "path": path, "status": 0})
	if talk != "" {
		t.Errorf("stderr %q", talk)
	}
	hook := w.file("hook", "#!/bin/sh\necho from the hook\n[ $1 != deploy_cert ]\n", 0o700)
	out, _ = w.must(10, "sign", "--json", "-x", "-k", hook, "a.test", "b.test")
	has(t, one(t, out), map[string]any{"result": "issued", "status": 10, "error": words("deploy_cert: exit status 1$"), "hints": words("a later run repeats")})
	w.later()
	w.env = append(w.env, "ARID_HOOK="+w.file("hook", "#!/bin/sh\n", 0o700))
	out, _ = w.must(0, "sign", "--json", "a.test", "b.test")
	has(t, one(t, out), map[string]any{"result": "deployed", "not_after": moment, "status": 0, "error": nil})
}

func TestSignCSRJSON(t *testing.T) {
	w := newWorld(t)
	w.stdin = (&siege{world: w, attack: attack{names: []string{"a.test"}}}).csr()
	out, _ := w.must(0, "sign", "--json", "--accept-terms", "--csr", "-")
	o := one(t, out)
	has(t, o, map[string]any{"name": "a.test", "result": "issued", "path": nil, "not_after": moment})
	block, rest := pem.Decode([]byte(fmt.Sprint(o["chain"])))
	if block == nil || block.Type != "CERTIFICATE" || !strings.HasPrefix(string(rest), "-----BEGIN") {
		t.Errorf("chain %q", o["chain"])
	}
	w.ca.FailValidation("a.test", "connection", "nobody there")
	out, _ = w.must(1, "sign", "--json", "--csr", "-")
	has(t, one(t, out), map[string]any{"name": "a.test", "result": "failed", "status": 1, "chain": nil})
}

func TestAFailedValidationJSON(t *testing.T) {
	w := newWorld(t)
	w.ca.FailValidation("a.test", "unauthorized", "got \x1b[2J\u009b instead").FailValidation("b.test", "caa", "forbidden")
	out, talk := w.must(1, "sign", "--json", "--accept-terms", "a.test", "b.test", "c.test")
	o := one(t, out)
	has(t, o, map[string]any{"result": "failed", "status": 1, "error": words(`^a.test: http-01: "got \\x1b\[2J`), "not_after": nil, "path": nil})
	failures, _ := o["failures"].([]any)
	if len(failures) != 2 {
		t.Fatalf("failures %v", o["failures"])
	}
	first, second := failures[0].(map[string]any), failures[1].(map[string]any)
	has(t, first, map[string]any{"name": "a.test", "type": "http-01", "problem": "unauthorized", "detail": "got \x1b[2J\u009b instead", "seen": some, "hint": words(`\[[a-z-]+\]$`)})
	has(t, second, map[string]any{"name": "b.test", "problem": "caa", "detail": "forbidden", "hint": words(`\[ca-caa\]$`)})
	if strings.ContainsAny(out, "\x1b\u009b") {
		t.Errorf("stdout steers the terminal: %q", out)
	}
	for _, want := range []string{"arid: a.test: http-01: ", "arid: seen: ", "arid: hint: "} {
		if !strings.Contains(talk, want) {
			t.Errorf("%q is not on stderr: %q", want, talk)
		}
	}
}

func TestRenewJSONHasOneObjectForEachCertificate(t *testing.T) {
	w := newWorld(t)
	hook := w.file("hook", "#!/bin/sh\necho from the hook\n[ \"$1 $2\" != 'deploy_cert owed.test' ]\n", 0o700)
	w.env = append(w.env, "ARID_HOOK="+hook)
	w.must(0, "sign", "--accept-terms", "old.test")
	w.must(0, "sign", "same.test")
	w.ca.FailValidation("bad.test", "connection", "nobody there").FailValidation("worse.test", "connection", "nobody there")
	w.domains("new.test www.new.test > alias", "same.test", "owed.test", "bad.test", "worse.test", "no_name.test > broken", "c.test > x/y")
	out, talk := w.must(1, "renew", "--json")
	found := byName(t, out)
	for name, want := range map[string]map[string]any{
		"alias":      {"names": []string{"new.test", "www.new.test"}, "result": "issued", "status": 0, "path": filepath.Join(w.base, "certs/alias")},
		"same.test":  {"result": "unchanged", "status": 0, "not_after": moment},
		"owed.test":  {"result": "issued", "status": 10, "error": some},
		"bad.test":   {"result": "failed", "status": 1, "failures": some},
		"worse.test": {"result": "failed", "status": 1, "failures": some},
		"broken":     {"result": "failed", "status": 65, "error": words("domains.txt:6: ")},
	} {
		has(t, found[name], want)
	}
	if n := len(printed(t, out)); n != 7 {
		t.Errorf("%d objects:\n%s", n, out)
	}
	if strings.Contains(out, "from the hook") || !strings.Contains(talk, "from the hook") {
		t.Errorf("stdout %q", out)
	}
	w.later()
	w.env = append(w.env, "ARID_RENEW_DAYS=95", "ARID_HOOK=")
	w.domains("same.test")
	out, _ = w.must(78, "renew", "--json")
	has(t, byName(t, out)["same.test"], map[string]any{"result": "issued"})
	has(t, byName(t, out)["old.test"], map[string]any{"result": "failed", "status": 78, "hints": words("--forget old.test")})
}

func TestARunOfEqualFailuresJSONNamesEach(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.domains("a.test", "b.test", "c.test")
	w.ca.Problem(fakeca.NewOrder, 403, "rejectedIdentifier", "not here", -1)
	out, talk := w.must(1, "renew", "--json")
	found := byName(t, out)
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		has(t, found[name], map[string]any{"result": "failed", "status": 1, "hints": words(`\[ca-rejected-identifier\]`)})
	}
	if !strings.Contains(talk, "the same with 2 more certificates") {
		t.Errorf("%q", talk)
	}
}

func TestWhatIsHeldJSON(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.domains("a.test", "b.test", "c.test")
	w.must(0, "renew", "b.test")
	w.ca.FailValidation("a.test", "connection", "nobody there").FailValidation("c.test", "connection", "nobody there")
	w.must(1, "renew")
	asked := len(w.ca.Requests())
	out, talk := w.must(1, "renew", "--json")
	found := byName(t, out)
	for _, name := range []string{"a.test", "c.test"} {
		has(t, found[name], map[string]any{"result": "held", "status": 1, "until": moment, "reason": some, "error": nil, "names": []string{name}})
	}
	has(t, found["b.test"], map[string]any{"result": "unchanged", "status": 0})
	if talk != "" || len(w.ca.Requests()) != asked {
		t.Errorf("stderr %q, %d requests", talk, len(w.ca.Requests())-asked)
	}
	if out, talk = w.must(1, "renew"); out+talk != "" { // and without --json nothing at all
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	out, _ = w.must(0, "renew", "--json", "--dry-run")
	has(t, byName(t, out)["a.test"], map[string]any{"result": "held", "until": moment})
	out, _ = w.must(1, "sign", "--json", "a.test")
	has(t, one(t, out), map[string]any{"name": "a.test", "result": "held", "status": 1})
}

func TestDryRunJSON(t *testing.T) {
	w := newWorld(t)
	hook := w.file("hook", "#!/bin/sh\n[ $1 != deploy_cert ]\n", 0o700)
	w.must(10, "sign", "--accept-terms", "-k", hook, "owed.test")
	w.must(0, "sign", "same.test")
	w.later()
	w.domains("due.test", "same.test", "owed.test")
	asked, before := len(w.ca.Requests()), tree(t, w.base)
	out, talk := w.must(0, "renew", "--json", "--dry-run")
	found := byName(t, out)
	has(t, found["due.test"], map[string]any{"result": "due", "reason": "there is none yet", "not_after": nil, "status": 0})
	has(t, found["same.test"], map[string]any{"result": "unchanged", "not_after": moment, "path": filepath.Join(w.base, "certs/same.test")})
	has(t, found["owed.test"], map[string]any{"result": "owed"})
	if talk != "" || len(w.ca.Requests()) != asked || tree(t, w.base) != before {
		t.Errorf("a dry run said, asked or changed something: %q", talk)
	}
	w.must(7, "renew", "--json", "--exit-unchanged", "7", "same.test")
}

// What stops a command before there is a certificate stands on stdout, too.
func TestMistakesJSON(t *testing.T) {
	w := newWorld(t)
	config := w.file("config", "HOOK=./no-such-hook\n", 0o600)
	w.domains("a.test")
	for _, c := range []struct {
		words  string
		status int
		error  string
	}{
		{"--json", 64, "no command given"},
		{"frobnicate --json", 64, `unknown command "frobnicate"`},
		{"sign --bogus --json a.test", 64, "unknown flag: --bogus"},
		{"sign --json --bogus a.test", 64, "unknown flag: --bogus"},
		{"sign --json", 64, "no name given"},
		{"renew --json -x", 64, "--force needs NAME or --all"},
		{"renew --json b.test", 64, `no line of domains.txt has "b.test"`},
		{"sign --json --color mauve a.test", 64, "--color"},
		{"sign --json -f " + config + " a.test", 78, "hook"},
		{"sign --json no_name.test", 65, "no_name.test"},
		{"sign --json --csr no-such-file", 65, "CSR"},
		{"account show --json", 78, "there is no account"},
		{"account --json", 64, "account: no command given"},
		{"account deactivate --json", 78, "there is no account"},
		{"register --json", 78, "terms"},
		{"revoke --json a.test", 65, "a.test"},
		{"cleanup --json --forget a.test", 65, "a.test"},
		{"dns wait --json x", 64, `no VALUE for "x"`},
		{"rehearse --json", 64, "no name given"},
		{"completion --json tcsh", 64, `unknown shell "tcsh"`},
		{"renew --json --domains-txt no-such-file", 65, "no-such-file"},
	} {
		out, talk := w.must(c.status, strings.Fields(c.words)...)
		o := one(t, out)
		has(t, o, map[string]any{"status": c.status, "error": words(regexp.QuoteMeta(c.error)), "result": nil, "name": nil})
		if !strings.Contains(talk, "arid: "+fmt.Sprint(o["error"])) {
			t.Errorf("%s: stderr %q", c.words, talk)
		}
		hint := strings.Contains(talk, "arid: hint: ")
		if _, there := o["hints"]; there != hint {
			t.Errorf("%s: %v, and stderr %q", c.words, o, talk)
		}
	}
	out, _ := w.must(64, "sign", "--bogus", "a.test", "--", "--json") // that is a name
	if out != "" {
		t.Errorf("stdout %q", out)
	}
	if out, _ = w.must(0, "sign", "--json", "--help"); !strings.HasPrefix(out, "Gets one certificate") {
		t.Errorf("--help: %q", out)
	}
}

func TestARunThatIsEndedJSON(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test")
	ctx, end := context.WithCancelCause(context.Background())
	w.ca.On(fakeca.NewOrder, func(_ http.ResponseWriter, r *http.Request) bool {
		end(&cmd.SignalError{Signal: syscall.SIGTERM})
		<-r.Context().Done()
		return true
	})
	status, out, _ := w.runContext(ctx, "renew", "--json", "--accept-terms")
	if status != 128+15 {
		t.Errorf("status %d", status)
	}
	has(t, one(t, out), map[string]any{"status": 128 + 15, "error": words("SIGTERM"), "name": nil})
}

func TestALimitOfTheCAsJSON(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.ca.Problem(fakeca.NewOrder, 429, "rateLimited", "too many new orders: see https://ca.test/limits/#orders.", -1, "Retry-After: 36000")
	out, _ := w.must(75, "sign", "--json", "a.test")
	has(t, one(t, out), map[string]any{"result": "failed", "status": 75, "until": moment,
		"hints": words(`\[ca-rate-limited\] see https://ca.test/limits/#orders\]$`)})
	out, _ = w.must(75, "sign", "--json", "a.test")
	has(t, one(t, out), map[string]any{"result": "held", "status": 75, "until": moment})
}

func TestAccountsJSON(t *testing.T) {
	w := newWorld(t)
	out, talk := w.must(0, "register", "--json", "--accept-terms", "--contact", "a@example.org")
	first := one(t, out)
	has(t, first, map[string]any{"url": words("^" + w.ca.Base()), "ca": w.ca.URL(), "created": true, "contact": []string{"mailto:a@example.org"}})
	if !strings.Contains(talk, "account made at") {
		t.Errorf("stderr %q", talk)
	}
	same := map[string]any{"url": first["url"], "ca": w.ca.URL()}
	out, _ = w.must(0, "register", "--json", "--accept-terms")
	has(t, one(t, out), same)
	has(t, one(t, out), map[string]any{"created": false, "contact": nil})

	key := filepath.Join(w.accountFolder(), "account_key.pem")
	out, _ = w.must(0, "account", "show", "--json")
	has(t, one(t, out), same)
	has(t, one(t, out), map[string]any{"account_status": "valid", "contact": []string{"mailto:a@example.org"}, "key": key,
		"key_type": "prime256v1", "terms": w.ca.Base() + "/terms", "result": nil})
	out, _ = w.must(0, "account", "update", "--json", "--contact", "b@example.org")
	has(t, one(t, out), map[string]any{"url": first["url"], "result": "updated", "contact": []string{"mailto:b@example.org"}})
	out, _ = w.must(0, "account", "update", "--json", "--contact", "b@example.org")
	has(t, one(t, out), map[string]any{"result": "unchanged"})
	out, _ = w.must(0, "account", "rollover", "--json")
	has(t, one(t, out), map[string]any{"url": first["url"], "result": "changed", "key": key, "backup": some})
	out, _ = w.must(64, "account", "deactivate", "--json")
	has(t, one(t, out), map[string]any{"status": 64, "hints": words("--yes")})
	out, _ = w.must(0, "account", "deactivate", "--json", "--yes")
	has(t, one(t, out), same)
	has(t, one(t, out), map[string]any{"result": "deactivated"})
}

func TestRevokeAndCleanupJSON(t *testing.T) {
	w, _ := superseded(t)
	leaf := w.checkSet("a.test", "a.test")
	file := w.file("copy.pem", readFile(t, filepath.Join(w.base, "certs/a.test/cert.pem")), 0o600)
	serial := fmt.Sprintf("%x", leaf.SerialNumber)
	out, _ := w.must(0, "revoke", "--json", "a.test", "--reason", "superseded")
	has(t, one(t, out), map[string]any{"name": "a.test", "file": nil, "serial": serial, "reason": "superseded", "result": "revoked"})
	out, _ = w.must(0, "revoke", "--json", file)
	has(t, one(t, out), map[string]any{"name": nil, "file": file, "serial": serial, "reason": nil, "result": "unchanged"})

	out, talk := w.must(0, "cleanup", "--json")
	if all := printed(t, out); len(all) == 0 || talk != "" {
		t.Errorf("%d objects, stderr %q", len(all), talk)
	}
	for _, o := range printed(t, out) {
		has(t, o, map[string]any{"name": "a.test", "file": some, "result": "archived"})
	}
	w.must(0, "sign", "-x", "a.test")
	out, _ = w.must(0, "cleanup", "--json", "--delete")
	for _, o := range printed(t, out) {
		has(t, o, map[string]any{"result": "deleted"})
	}
	out, _ = w.must(0, "cleanup", "--json", "--forget", "a.test")
	has(t, one(t, out), map[string]any{"name": "a.test", "file": nil, "result": "archived"})
}

func TestConfigJSON(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "ARID_EAB_KID=kid", "ARID_EAB_HMAC_KEY=c2VjcmV0", "ARID_DNS_KEY=hmac-sha256:k:c2VjcmV0")
	out, _ := w.must(0, "config", "--json")
	table, _ := w.must(0, "config")
	if strings.Contains(out, "c2VjcmV0") {
		t.Error("a secret is shown")
	}
	all := printed(t, out)
	if len(all) != strings.Count(table, "\n")-1 {
		t.Errorf("%d objects for %d lines", len(all), strings.Count(table, "\n")-1)
	}
	settings := map[string]map[string]any{}
	for _, o := range all {
		settings[fmt.Sprint(o["setting"])] = o
	}
	has(t, settings["WELLKNOWN"], map[string]any{"value": w.webroot, "origin": "ARID_WELLKNOWN", "flag": "--wellknown", "variable": "ARID_WELLKNOWN"})
	has(t, settings["EAB_HMAC_KEY"], map[string]any{"value": "(secret)", "flag": nil})
	has(t, settings["PREFERRED_CHAIN"], map[string]any{"value": nil, "origin": "default"})
}

func TestVersionJSON(t *testing.T) {
	w := newWorld(t)
	out, _ := w.must(0, "version", "--json")
	has(t, one(t, out), map[string]any{"version": "dev", "go": words("^go1"), "platform": words("/"), "released": nil})
}

func TestDNSJSON(t *testing.T) {
	w := newNameWorld(t)
	key := w.file("dns.key", keyFile("arid", tsigSecret), 0o600)
	out, talk := w.must(0, "dns", "add", "--json", "--dns-key", key, txt, "one", txt, "two")
	has(t, one(t, out), map[string]any{"result": "added", "records": 2, "zone": some, "server": some})
	out, _ = w.must(0, "dns", "wait", "--json", "--dns-wait", "0", txt, "one", txt, "two")
	has(t, one(t, out), map[string]any{"result": "seen", "records": 2, "zone": nil})
	out, _ = w.must(0, "dns", "del", "--json", "--dns-key", key, txt, "one")
	has(t, one(t, out), map[string]any{"result": "deleted", "records": 1})
	if talk != "" {
		t.Errorf("stderr %q", talk)
	}
	out, _ = w.must(75, "dns", "wait", "--json", "--dns-wait", "0", txt, "one")
	has(t, one(t, out), map[string]any{"status": 75, "error": some, "records": nil})
}

func TestRehearseJSON(t *testing.T) {
	w := newWorld(t)
	out, talk := w.must(0, "rehearse", "--json", "a.test", "b.test")
	o := one(t, out)
	has(t, o, map[string]any{"name": "a.test", "names": []string{"a.test", "b.test"}, "result": "issued", "not_after": moment, "path": nil, "status": 0,
		"issuers": words("^.Pebble Intermediate CA .* Pebble Root CA ")})
	if !strings.HasPrefix(talk, "rehearse  a CA is started") {
		t.Errorf("stderr %q", talk)
	}
	dir := filepath.Join(w.dir, "kept")
	out, _ = w.must(0, "rehearse", "--json", "--out", dir, "a.test")
	has(t, one(t, out), map[string]any{"path": filepath.Join(dir, "a.test")})
	out, _ = w.must(1, "rehearse", "--json", "--http-port", "1", "a.test")
	has(t, one(t, out), map[string]any{"result": "failed", "status": 1, "failures": words("http-refused"), "issuers": nil})
}

// A mistake that hides until the end: an object is written although stdout is full.
func TestAFullStdoutJSON(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full") // Linux has it
	}
	defer full.Close()
	w := newWorld(t)
	w.domains("a.test")
	for _, words := range [][]string{{"renew", "--json", "--accept-terms"}, {"sign", "--json", "a.test"}, {"version", "--json"}} {
		var talk strings.Builder
		status := cmd.Main(t.Context(), &cmd.Process{Args: append([]string{"arid"}, words...), Env: w.env, Dir: w.dir, UID: os.Getuid(),
			Stdin: strings.NewReader(""), Stdout: full, Stderr: &talk})
		if status != 74 {
			t.Errorf("%v: status %d, %q", words, status, talk.String())
		}
	}
	w.checkSet("a.test", "a.test")
}

func TestACleanupThatFailsInSeveralWaysJSON(t *testing.T) {
	w, folder := superseded(t)
	for range 2 {
		w.must(0, "sign", "-x", "b.test")
	}
	w.file("base/archive", "", 0o600) // where the archive's folder would be
	unlock, err := atomicfile.Lock(t.Context(), filepath.Join(filepath.Dir(folder), "b.test", ".arid.lock"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	out, _ := w.must(1, "cleanup", "--json")
	all := printed(t, out)
	if len(all) != 2 {
		t.Fatalf("%s", out)
	}
	has(t, all[0], map[string]any{"status": 74, "error": words("^a.test: ")})
	has(t, all[1], map[string]any{"status": 75, "error": words("^b.test: left alone"), "hints": some})
}
