package cmd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/fakeca"
)

// object is a line of status --json.
type object map[string]any

// objects are those that arid prints, which asks nobody and writes nothing for it.
func (w *world) objects(args ...string) (all []object) {
	w.t.Helper()
	requests, before := len(w.ca.Requests()), tree(w.t, w.dir)
	out, _ := w.must(0, args...)
	if len(w.ca.Requests()) != requests || tree(w.t, w.dir) != before {
		w.t.Errorf("%q: something was asked or written", args)
	}
	for line := range strings.Lines(out) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, o)
	}
	return all
}

// states are the certificates of arid status, in that order, as NAME=STATE.
func (w *world) states(args ...string) string {
	w.t.Helper()
	var all []string
	for _, o := range w.objects(append([]string{"status", "--json"}, args...)...) {
		all = append(all, fmt.Sprintf("%v=%v", o["name"], o["state"]))
	}
	return strings.Join(all, " ")
}

// only is the one certificate that the words mean.
func (w *world) only(words ...string) object {
	w.t.Helper()
	all := w.objects(append([]string{"status", "--json"}, words...)...)
	if len(all) != 1 {
		w.t.Fatalf("%q: %d certificates", words, len(all))
	}
	return all[0]
}

// put puts a certificate into CERTDIR that another program has made.
func (w *world) put(alias string, from, until time.Time, names ...string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Hand-made CA"}, NotBefore: from, NotAfter: until, DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.base, "certs", alias)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "fullchain.pem": {Type: "CERTIFICATE", Bytes: der}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// set changes settings for the runs that follow.
func (w *world) set(settings ...string) { w.env = append(w.env, settings...) }

func TestEachState(t *testing.T) {
	w := newWorld(t)
	w.domains("expired.test", "missing.test", "key.test", "names.test www.names.test", "revoked.test", "failed.test", "owed.test", "ok.test")
	w.put("expired.test", time.Now().Add(-90*24*time.Hour), time.Now().Add(-time.Hour), "expired.test")
	w.put("names.test", time.Now().Add(-time.Hour), time.Now().Add(92*24*time.Hour), "names.test")
	w.must(0, "renew", "--accept-terms", "key.test", "revoked.test", "failed.test", "ok.test")
	if err := os.Remove(filepath.Join(w.base, "certs/key.test/privkey.pem")); err != nil {
		t.Fatal(err)
	}
	w.must(0, "revoke", "revoked.test")
	w.must(10, "renew", "-k", w.file("hook", "#!/bin/sh\n[ \"$1\" != deploy_cert ]\n", 0o700), "owed.test")
	w.ca.FailValidation("failed.test", "connection", "nobody there")
	w.must(1, "renew", "--renew-days", "95", "failed.test")
	if got, want := w.states("--renew-days", "95"), "expired.test=expired missing.test=missing key.test=mismatch names.test=mismatch "+
		"revoked.test=revoked failed.test=failed owed.test=owed ok.test=due"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := w.states("ok.test"); got != "ok.test=ok" {
		t.Error(got)
	}

	w.domains("failed.test") // and no longer the others
	w.must(0, "sign", "unlisted.test")
	if got, want := w.states("--renew-days", "95"), "expired.test=expired key.test=mismatch revoked.test=revoked "+
		"failed.test=failed owed.test=owed ok.test=orphan unlisted.test=orphan names.test=orphan"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	w.put("near.test", time.Now().Add(-40*24*time.Hour), time.Now().Add(50*24*time.Hour), "near.test")
	if got, want := w.states("ok.test", "failed.test", "near.test"), "near.test=orphan failed.test=ok ok.test=orphan"; got != want {
		t.Errorf("orphans that are not due stand with those that are well: %s, want %s", got, want)
	}

	w.domains("failed.test", "ok.test")
	w.later()
	w.ca.Problem(fakeca.NewOrder, 503, "", "closed", 1, "Retry-After: 7200")
	w.must(75, "renew", "--renew-days", "95", "failed.test")
	if got, want := w.states("--renew-days", "95", "failed.test", "ok.test"), "failed.test=failed ok.test=held"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// members are the names of an object's members.
func (o object) members() string {
	return strings.Join(slices.Sorted(maps.Keys(o)), " ")
}

// is compares members of an object.
func (o object) is(t *testing.T, want object) {
	t.Helper()
	for name, value := range want {
		if got := fmt.Sprint(o[name]); got != fmt.Sprint(value) {
			t.Errorf("%s of %v: %s, want %v", name, o["name"], got, value)
		}
	}
}

// time reads a member.
func (o object) time(t *testing.T, member string) time.Time {
	t.Helper()
	text, _ := o[member].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		t.Fatalf("%s of %v: %q is no time in UTC", member, o["name"], text)
	}
	return at
}

const (
	always = "action error failures name names path schema state why"
	living = "action ca error failures issuer name names next not_after not_before path schema spent state why"
)

func TestTheMembersOfStatusJSON(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test www.a.test", "b.test", "c.test > third", "d.test")
	w.must(0, "renew", "--accept-terms", "a.test", "third", "d.test")
	leaf := w.checkSet("a.test", "a.test", "www.a.test")
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)

	a := w.only("www.a.test")
	if a.members() != living {
		t.Errorf("%s", a.members())
	}
	due := leaf.NotAfter.Add(-lifetime / 3).UTC().Format(time.RFC3339)
	a.is(t, object{
		"schema": 1, "name": "a.test", "state": "ok", "names": []string{"a.test", "www.a.test"}, "issuer": leaf.Issuer.CommonName, "ca": w.ca.URL(),
		"action": "renew", "why": "not due before " + due, "failures": 0, "error": "", "path": filepath.Join(w.base, "certs/a.test"),
	})
	if !a.time(t, "not_before").Equal(leaf.NotBefore) || !a.time(t, "not_after").Equal(leaf.NotAfter) {
		t.Errorf("%v %v", a["not_before"], a["not_after"])
	}
	if spent := a["spent"].(float64); spent < time.Hour.Seconds()/lifetime.Seconds()-1e-4 || spent > 0.001 {
		t.Errorf("spent %v of a lifetime that began an hour ago", spent)
	}

	b := w.only("b.test")
	if b.members() != strings.Replace(always, "name names", "name names next", 1) {
		t.Errorf("%s", b.members())
	}
	b.is(t, object{"state": "missing", "names": "[b.test]", "action": "renew", "why": "there is none yet", "failures": 0, "path": filepath.Join(w.base, "certs/b.test")})

	w.set("ARID_RENEW_DAYS=95")
	w.ca.FailValidation("c.test", "connection", "nobody there")
	began := time.Now()
	w.must(1, "renew", "third")
	c := w.only("third")
	c.is(t, object{"name": "third", "names": "[c.test]", "state": "failed", "action": "renew", "failures": 1, "path": filepath.Join(w.base, "certs/third")})
	if !strings.Contains(c["error"].(string), "nobody there") || !strings.Contains(c["why"].(string), "; not tried before ") {
		t.Errorf("%v %v", c["why"], c["error"])
	}
	if next := c.time(t, "next"); next.Before(began.Add(30*time.Second)) || next.After(time.Now().Add(2*time.Minute)) {
		t.Errorf("the next attempt at %s, and the last began at %s", next, began)
	}

	w.set("ARID_RENEW_DAYS=", "ARID_HOOK="+w.file("hook", "#!/bin/sh\n[ \"$1\" != deploy_cert ]\n", 0o700))
	w.must(10, "renew", "--redeploy", "d.test")
	d := w.only("d.test")
	d.is(t, object{"state": "owed", "action": "deploy", "failures": 1})
	if !strings.Contains(d["error"].(string), "deploy_cert") || !strings.Contains(d["why"].(string), " is owed to a hook, which failed") {
		t.Errorf("%v %v", d["why"], d["error"])
	}

	w.domains("a.test www.a.test")
	o := w.only("d.test")
	o.is(t, object{"state": "owed", "action": "none"})
	if o.members() != strings.Replace(living, " next", "", 1) || !strings.HasPrefix(o["why"].(string), "no line of domains.txt covers it; ") {
		t.Errorf("nobody works on an orphan: %s: %v", o.members(), o["why"])
	}
}

func TestStatusWithoutDomainsTxt(t *testing.T) {
	w := newWorld(t)
	if all := w.objects("status", "--json"); len(all) != 0 {
		t.Errorf("nothing there: %v", all)
	}
	if out, talk := w.must(0, "status"); out+talk != "" {
		t.Errorf("%q %q", out, talk)
	}
	w.must(0, "sign", "--accept-terms", "a.test", "www.a.test")
	w.ca.FailValidation("b.test", "connection", "nobody there")
	began := time.Now()
	w.must(1, "sign", "-t", "http-01", "--reuse-key", "b.test")
	w.put("theirs", time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), "c.test")
	if err := os.MkdirAll(filepath.Join(w.base, "certs/empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, want := w.states(), "b.test=missing theirs=ok a.test=ok"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := w.states("www.a.test", "C.test"), "theirs=ok a.test=ok"; got != want {
		t.Errorf("by name: %s, want %s", got, want)
	}
	if w.only("b.test")["names"] != nil {
		t.Error("nobody knows what names there are to be in it")
	}
	// What b.test was asked for with is not known, and held back all the same.
	if next := w.only("b.test").time(t, "next"); next.Before(began.Add(30 * time.Second)) {
		t.Errorf("the next attempt at %s, and the last began at %s", next, began)
	}
	_, talk := w.must(64, "status", "a.test", "d.test")
	if !strings.Contains(talk, `no certificate and no line of domains.txt has "d.test"`) {
		t.Errorf("%q", talk)
	}
	w.must(65, "status", "--domains-txt", "nowhere")
}

func TestStatusWithMistakes(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test")
	w.must(0, "renew", "--accept-terms", "--parallel", "1") // so that a.test does not end after b.test
	w.domains("a.test", "b.test bad_name.test > b.test", "bad_name.test > new", "worse_name.test", "a.test www.a.test")
	out, talk := w.must(0, "status", "--json")
	file := filepath.Join(w.base, "domains.txt")
	for _, want := range []string{"arid: warning: " + file + ":2: ", "arid: warning: " + file + ":3: ", "arid: warning: " + file + ":4: ", "arid: warning: " + file + ":5: "} {
		if strings.Count(talk, want) != 1 {
			t.Errorf("%q not once in:\n%s", want, talk)
		}
	}
	if strings.Count(out, `"name":"a.test"`) != 1 {
		t.Errorf("two lines for one certificate, and:\n%s", out)
	}
	if got, want := w.states(), "new=missing a.test=ok b.test=ok"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o := w.only("new")
	o.is(t, object{"action": "none"})
	if o["next"] != nil || !strings.Contains(o["why"].(string), "domains.txt:3: ") {
		t.Errorf("%v", o)
	}

	// While it is not due, settings that are of no use do it no harm.
	gone := filepath.Join(w.dir, "gone")
	w.set("ARID_WELLKNOWN=" + gone)
	if got, want := w.states("a.test"), "a.test=ok"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.set("ARID_RENEW_DAYS=95")
	_, talk = w.must(0, "status", "--json", "a.test")
	if strings.Count(talk, gone) != 1 {
		t.Errorf("%q not once in:\n%s", gone, talk)
	}
	o = w.only("a.test")
	o.is(t, object{"state": "failed", "action": "none", "failures": 0})
	if o["next"] != nil || !strings.Contains(o["error"].(string), gone) {
		t.Errorf("%v", o)
	}
}

func TestStatusThatCannotLook(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test", "c.test")
	w.must(0, "renew", "--accept-terms", "b.test")
	w.file("base/certs/a.test", "no folder", 0o600)
	out, talk := w.must(74, "status", "--json")
	if !strings.HasPrefix(out, `{"schema":1,"name":"c.test","state":"missing",`) || !strings.Contains(out, `"name":"a.test","state":"failed"`) ||
		!strings.Contains(out, `"name":"b.test","state":"ok"`) || strings.Count(talk, "\n") != 1 || !strings.Contains(talk, "arid: a.test: ") {
		t.Errorf("%s%s", out, talk)
	}
	w.must(255, "due", "a.test", "b.test")
	w.must(0, "due")
}

func TestStatusTakesNoLock(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	w.must(0, "renew", "--accept-terms")
	accounts, _ := filepath.Glob(filepath.Join(w.base, "accounts/*"))
	for _, folder := range append(accounts, filepath.Join(w.base, "certs/a.test")) {
		unlock, err := atomicfile.Lock(t.Context(), filepath.Join(folder, ".arid.lock"), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	if got := w.states(); got != "a.test=ok" {
		t.Error(got)
	}
	w.must(1, "due")
}

func TestStatusNext(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	next := func(form string) string {
		out, talk := w.must(0, "status", "--next", form)
		if talk != "" || strings.Count(out, "\n") > 1 {
			t.Errorf("%q %q", out, talk)
		}
		return strings.TrimSuffix(out, "\n")
	}
	if got := next("seconds"); got != "0" { // there is none yet
		t.Errorf("due now: %q", got)
	}
	w.must(0, "renew", "--accept-terms")
	var state struct {
		ARI struct{ Ask time.Time }
	}
	text, err := os.ReadFile(filepath.Join(w.base, "certs/a.test/state.json"))
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil || state.ARI.Ask.IsZero() {
		t.Fatal(err)
	}
	if got, want := next("rfc3339"), state.ARI.Ask.Format(time.RFC3339); got != want {
		t.Errorf("the CA is asked at %s, and yet %s", want, got)
	}
	if got, want := next("epoch"), strconv.FormatInt(state.ARI.Ask.Unix(), 10); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if seconds, err := strconv.Atoi(next("seconds")); err != nil || seconds < 11*3600 || seconds > 12*3600 {
		t.Errorf("the CA is asked in %d seconds: %v", seconds, err)
	}

	w.set("ARID_RENEW_DAYS=95")
	if got := next("seconds"); got != "0" {
		t.Errorf("due now: %q", got)
	}
	w.ca.Problem(fakeca.NewOrder, 503, "", "closed", 1, "Retry-After: 7200")
	w.must(75, "renew")
	if seconds, err := strconv.Atoi(next("seconds")); err != nil || seconds < 7100 || seconds > 7200 {
		t.Errorf("the CA wants 7200 seconds, and yet %d: %v", seconds, err)
	}
	w.domains("# nothing")
	if got := next("seconds"); got != "" {
		t.Errorf("an orphan alone: %q", got)
	}
	w.must(64, "status", "--next", "soon")
	w.must(64, "status", "--next", "")
	w.must(64, "status", "--next", "epoch", "--json")
}

func TestStatusTable(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test www.a.test", "b.test")
	w.must(0, "renew", "--accept-terms", "a.test")
	out, talk := w.must(0, "status")
	lines := strings.Split(out, "\n")
	if talk != "" || len(lines) != 4 || strings.Join(strings.Fields(lines[0]), " ") != "CERTIFICATE STATE EXPIRES NEXT LIFETIME NAMES ISSUER WHY" {
		t.Fatalf("%q %q", out, talk)
	}
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "b.test missing - renew now - 1 - there is none yet" {
		t.Errorf("%q", got)
	}
	if got := strings.Join(strings.Fields(lines[2]), " "); !strings.HasPrefix(got, "a.test ok 89d renew in 59d [----------] 2 ") || !strings.Contains(got, " not due before ") {
		t.Errorf("%q", got)
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours: %q", out)
	}
	if out, _ = w.must(0, "status", "--color", "always"); strings.Count(out, "\x1b[") != 2 {
		t.Errorf("the one that is missing is to be coloured: %q", out)
	}
}

// Text of the CA's, and what somebody wrote into a state file, is data.
func TestStatusEscapes(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	w.must(0, "renew", "--accept-terms")
	w.set("ARID_RENEW_DAYS=95")
	w.ca.FailValidation("a.test", "connection", "gone")
	w.must(1, "renew")
	file := filepath.Join(w.base, "certs/a.test/state.json")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "gone") {
		t.Fatalf("%s %v", text, err)
	}
	w.file("base/certs/a.test/state.json", strings.Replace(string(text), "gone", `\u001b[2J\u202e gone\nOK`, 1), 0o600)
	out, _ := w.must(0, "status")
	if strings.ContainsAny(out, "\x1b\u202e") || strings.Count(out, "\n") != 2 || !strings.Contains(out, `\x1b[2J\u202e gone\nOK`) {
		t.Errorf("%q", out)
	}
}

func TestDue(t *testing.T) {
	w := newWorld(t)
	_, talk := w.must(255, "due")
	if !strings.Contains(talk, "domains.txt") || !strings.Contains(talk, "hint: ") {
		t.Errorf("no domains.txt: %q", talk)
	}
	w.domains("b.test", "a.test www.a.test", "c.test > third")
	due := func(status int, want string, args ...string) {
		t.Helper()
		requests, before := len(w.ca.Requests()), tree(t, w.dir)
		if out, _ := w.must(status, append([]string{"due"}, args...)...); out != want {
			t.Errorf("due %q: %q, want %q", args, out, want)
		}
		if len(w.ca.Requests()) != requests || tree(t, w.dir) != before {
			t.Errorf("due %q: something was asked or written", args)
		}
	}
	due(0, "b.test\na.test\nthird\n")
	due(0, "a.test\nthird\n", "third", "WWW.a.test")
	due(0, "", "-q")
	for _, wrong := range [][]string{{"d.test"}, {"--no-such-flag"}, {"--color", "mauve"}, {"--renew-days", "soon"}, {"-f", "nowhere"}} {
		due(255, "", wrong...)
	}
	out, _ := w.must(0, "due", "--json", "third")
	if !strings.HasPrefix(out, `{"schema":1,"name":"third","state":"missing",`) || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}

	w.must(0, "renew", "--accept-terms")
	if out, talk := w.must(1, "due"); out+talk != "" {
		t.Errorf("nothing is due: %q %q", out, talk)
	}
	due(0, "b.test\na.test\nthird\n", "--renew-days", "95")
	hook := w.file("hook", "#!/bin/sh\n[ \"$1\" != deploy_cert ]\n", 0o700)
	w.set("ARID_HOOK=" + hook)
	w.must(10, "renew", "--redeploy", "a.test")
	due(1, "") // the hook has just failed
	w.later()
	due(0, "a.test\n")
	w.file("hook", "#!/bin/sh\n", 0o700)
	w.must(0, "renew")

	w.set("ARID_RENEW_DAYS=95")
	w.ca.Problem(fakeca.NewOrder, 503, "", "closed", 1, "Retry-After: 7200")
	w.must(75, "renew", "a.test")
	due(1, "") // the CA wants a pause
}

// One mistake keeps nothing from being renewed, and is none that is passed over.
func TestDueWithMistakes(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test", "old.test")
	w.must(0, "renew", "--accept-terms", "a.test", "old.test")
	check := func(status int, want, says string) {
		t.Helper()
		if out, talk := w.must(status, "due"); out != want || strings.Count(talk, says) != 1 {
			t.Errorf("%q %q, want %q and %q", out, talk, want, says)
		}
	}
	w.domains("a.test", "bad_name.test", "b.test", "old.test")
	check(0, "b.test\n", "domains.txt:2: ")
	w.domains("a.test", "bad_name.test", "old.test")
	check(255, "", "domains.txt:2: ")
	for args, want := range map[string]string{"due --json": `"status":65,`, "due --json d.test": `"status":255,`} {
		if out, _ := w.must(255, strings.Fields(args)...); !strings.HasPrefix(out, `{"schema":1,`+want+`"error":"`) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %q", args, out)
		}
	}
	w.domains("a.test", "b.test")
	w.set("ARID_RENEW_DAYS=95")
	check(0, "a.test\nb.test\n", "old.test: no line of domains.txt covers this certificate")
	w.domains("# a.test")
	check(255, "", "old.test: no line of domains.txt covers this certificate")
}
