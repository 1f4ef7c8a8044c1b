package cmd_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"arid/internal/fakeca"
)

// responder is the OCSP responder of a world's CA.
type responder struct {
	t  *testing.T
	ca *fakeca.CA

	mu     sync.Mutex
	asked  int
	answer func(serial *big.Int) (status int, der []byte)
}

// withOCSP lets the world's certificates name a responder, whose answers are good,
// an hour old and live for a week, and makes a hook that tells its calls.
func withOCSP(t *testing.T, w *world) *responder {
	t.Helper()
	r := &responder{t: t, ca: w.ca}
	r.good(-time.Hour, 7*24*time.Hour)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	w.ca.Leaf(func(c *x509.Certificate, _ *crypto.PublicKey) { c.OCSPServer = []string{server.URL + "/ocsp"} })
	return r
}

func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	body, _ := io.ReadAll(q.Body)
	question, err := xocsp.ParseRequest(body)
	if err != nil {
		r.t.Error(err)
		return
	}
	status, der := r.answer(question.SerialNumber)
	w.WriteHeader(status)
	_, _ = w.Write(der)
}

func (r *responder) set(answer func(serial *big.Int) (status int, der []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// good answers "good", with these times from now on.
func (r *responder) good(this, next time.Duration) {
	now := time.Now()
	signed := map[string][]byte{} // an answer stays the same until there is news
	r.set(func(serial *big.Int) (int, []byte) {
		if signed[serial.String()] == nil {
			signed[serial.String()] = r.sign(xocsp.Response{Status: xocsp.Good, SerialNumber: serial, ThisUpdate: now.Add(this), NextUpdate: now.Add(next)})
		}
		return 200, signed[serial.String()]
	})
}

func (r *responder) sign(response xocsp.Response) []byte {
	cert, key := r.ca.Issuer()
	der, err := xocsp.CreateResponse(cert, cert, response, key)
	if err != nil {
		r.t.Error(err)
	}
	return der
}

// times is how often it was asked since this was called last.
func (r *responder) times() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, r.asked = r.asked, 0
	return n
}

// ocspHook writes a hook that tells its calls of deploy_ocsp, and returns what they
// were since it was asked last.
func (w *world) ocspHook(more string) (calls func() string) {
	log := filepath.Join(w.dir, "ocsp-calls")
	hook := w.file("ocsp-hook", "#!/bin/sh\n[ \"$1\" = deploy_ocsp ] || exit 0\necho \"$* <$altnames>\" >>"+log+"\n"+more+"\n", 0o700)
	w.env = append(w.env, "ARID_HOOK="+hook)
	return func() string {
		data, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return string(data)
	}
}

// stamp is what stands for the time in the name that ocsp.der leads to.
func (w *world) stamp(alias string) string {
	w.t.Helper()
	target, err := os.Readlink(filepath.Join(w.base, "certs", alias, "ocsp.der"))
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(target, "ocsp-"), ".der")
}

func TestAnOCSPResponseIsKeptBesideTheCertificate(t *testing.T) {
	w := newWorld(t)
	r, calls := withOCSP(t, w), w.ocspHook("")
	dir := filepath.Join(w.base, "certs/a.test")

	w.must(0, "sign", "--accept-terms", "a.test", "b.test")
	if _, err := os.Lstat(filepath.Join(dir, "ocsp.der")); err == nil || r.times() > 0 || calls() != "" {
		t.Error("without OCSP_FETCH there is one, or somebody was asked or told")
	}

	w.env = append(w.env, "ARID_OCSP_FETCH=yes")
	_, talk := w.must(0, "sign", "a.test", "b.test")
	first := w.stamp("a.test")
	if want := fmt.Sprintf("deploy_ocsp a.test %s/ocsp.der %s <a.test b.test>\n", dir, first); calls() != want || r.times() != 1 || talk != "" {
		t.Errorf("a missing response: %q", talk)
	}
	if info, err := os.Stat(filepath.Join(dir, "ocsp.der")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	before, posts := tree(t, w.base), w.posts()
	_, talk = w.must(0, "sign", "a.test", "b.test")
	if tree(t, w.base) != before || w.posts() != posts || r.times() > 0 || calls()+talk != "" {
		t.Errorf("with a fresh one: said %q, or asked, or wrote", talk)
	}

	w.must(0, "sign", "-x", "a.test", "b.test")
	if w.stamp("a.test") == first || r.times() != 1 || strings.Count(calls(), "deploy_ocsp") != 1 {
		t.Error("a new certificate has no new response")
	}

	out, err := exec.Command("openssl", "ocsp", "-no_nonce", "-respin", filepath.Join(dir, "ocsp.der"), "-issuer", filepath.Join(dir, "chain.pem"),
		"-cert", filepath.Join(dir, "cert.pem"), "-verify_other", filepath.Join(dir, "chain.pem"), "-CAfile", w.file("root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Root().Raw})), 0o600)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Response verify OK") || !strings.Contains(string(out), "cert.pem: good") {
		t.Errorf("openssl says %v: %s", err, out)
	}
}

func TestAnOCSPResponseIsFetchedAnewInTime(t *testing.T) {
	day := 24 * time.Hour
	for name, tc := range map[string]struct {
		this, next time.Duration // of the response that is there
		days       string
		asked      int
	}{
		"young":                               {-4 * day, 7 * day, "5", 0},
		"older than OCSP_DAYS":                {-6 * day, 7 * day, "5", 1},
		"of a longer OCSP_DAYS":               {-6 * day, 7 * day, "7", 0},
		"in the last quarter of a short life": {-19 * time.Hour, 5 * time.Hour, "5", 1},
		"earlier in it":                       {-17 * time.Hour, 7 * time.Hour, "5", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, calls := withOCSP(t, w), w.ocspHook("")
			w.env = append(w.env, "ARID_OCSP_FETCH=yes", "ARID_OCSP_DAYS="+tc.days)
			r.good(tc.this, tc.next)
			w.must(0, "sign", "--accept-terms", "a.test")
			r.times()
			calls()
			first := w.stamp("a.test")

			before := tree(t, w.base)
			w.must(0, "sign", "a.test")
			if r.times() != tc.asked {
				t.Fatalf("not asked %d times", tc.asked)
			}
			if tc.asked > 0 && calls() != "" || w.stamp("a.test") != first {
				t.Error("the same answer again is news")
			}
			if tc.asked == 0 && tree(t, w.base) != before {
				t.Error("something was written")
			}
			r.good(-time.Hour, 7*day)
			w.must(0, "sign", "a.test")
			if (w.stamp("a.test") != first) != (tc.asked > 0) || (calls() != "") != (tc.asked > 0) {
				t.Error("another answer is no news, or one that was not needed is")
			}
		})
	}
}

func TestAResponderThatFailsIsAWarning(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(r *responder, serial *big.Int) (int, []byte)
		says   string
	}{
		"not there": {func(*responder, *big.Int) (int, []byte) { return 503, nil }, "HTTP status 503"},
		"nonsense":  {func(*responder, *big.Int) (int, []byte) { return 200, []byte("<html>") }, "no OCSP response"},
		"revoked": {func(r *responder, serial *big.Int) (int, []byte) {
			return 200, r.sign(xocsp.Response{Status: xocsp.Revoked, SerialNumber: serial, ThisUpdate: time.Now(), RevokedAt: time.Unix(1e9, 0)})
		}, "the certificate was revoked at 2001-09-09T01:46:40Z"},
		"another's": {func(r *responder, serial *big.Int) (int, []byte) {
			return 200, r.sign(xocsp.Response{SerialNumber: big.NewInt(7), ThisUpdate: time.Now()})
		}, "no response matching"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, calls := withOCSP(t, w), w.ocspHook("")
			w.env = append(w.env, "ARID_OCSP_FETCH=yes", "ARID_OCSP_DAYS=0")
			r.set(func(serial *big.Int) (int, []byte) { return tc.answer(r, serial) })
			_, talk := w.must(0, "sign", "--accept-terms", "a.test")
			if !strings.Contains(talk, "arid: warning: a.test: OCSP: responder ") || !strings.Contains(talk, tc.says) {
				t.Errorf("%q, want %q", talk, tc.says)
			}
			if _, err := os.Lstat(filepath.Join(w.base, "certs/a.test/ocsp.der")); err == nil || calls() != "" {
				t.Error("something came of that")
			}
			w.checkSet("a.test", "a.test")

			r.good(-time.Hour, 7*24*time.Hour)
			if _, talk := w.must(0, "sign", "a.test"); talk != "" || w.stamp("a.test") == "" || calls() == "" {
				t.Errorf("the next run: %q", talk)
			}
			r.set(func(serial *big.Int) (int, []byte) { return tc.answer(r, serial) })
			_, talk = w.must(0, "sign", "a.test")
			if (talk != "") != (name == "revoked") || w.stamp("a.test") == "" || calls() != "" {
				t.Errorf("while there is a good one: %q", talk)
			}
		})
	}
}

func TestACertificateWithoutAResponderIsToldOfOnce(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "ARID_OCSP_FETCH=yes")
	want := "arid: warning: a.test: OCSP_FETCH: the certificate names no OCSP responder\n"
	_, talk := w.must(0, "sign", "--accept-terms", "a.test")
	if strings.Count(talk, want) != 1 {
		t.Errorf("%q, want %q", talk, want)
	}
	before := tree(t, w.base)
	if _, talk = w.must(0, "sign", "a.test"); talk != "" || tree(t, w.base) != before {
		t.Errorf("the second time: %q", talk)
	}
	if _, talk = w.must(0, "sign", "-x", "a.test"); strings.Count(talk, want) != 1 {
		t.Errorf("the next certificate: %q", talk)
	}
}

func TestAFailedOCSPHookIsOwed(t *testing.T) {
	w := newWorld(t)
	r := withOCSP(t, w)
	w.ocspHook("exit 3")
	w.env = append(w.env, "ARID_OCSP_FETCH=yes")
	_, talk := w.must(10, "sign", "--accept-terms", "a.test")
	if !strings.Contains(talk, "deploy_ocsp: exit status 3") {
		t.Error(talk)
	}
	first := w.stamp("a.test")
	w.must(10, "sign", "a.test")
	r.times()
	calls := w.ocspHook("")
	calls()
	w.must(0, "sign", "a.test")
	if got := calls(); !strings.Contains(got, "ocsp.der "+first+" ") || r.times() > 0 || w.stamp("a.test") != first {
		t.Errorf("the hook was told %q, of %s", got, first)
	}
	before := tree(t, w.base)
	w.must(0, "sign", "a.test")
	if calls() != "" || tree(t, w.base) != before {
		t.Error("it is told again")
	}
}

func TestOldOCSPResponsesGo(t *testing.T) {
	w := newWorld(t)
	r := withOCSP(t, w)
	w.env = append(w.env, "ARID_OCSP_FETCH=yes", "ARID_OCSP_DAYS=0")
	dir := filepath.Join(w.base, "certs/a.test")
	w.must(0, "sign", "--accept-terms", "a.test")
	for _, name := range []string{"ocsp-1690000000.der", "ocsp-1700000000.der", "ocsp-4000000000.der", "ocsp-notes.der", "ocsp-1.der-revoked"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		r.good(-time.Hour, 7*24*time.Hour-time.Duration(i)*time.Minute)
		w.must(0, "sign", "a.test")
	}
	left, _ := filepath.Glob(dir + "/ocsp-*")
	if len(left) != 5 || !strings.Contains(strings.Join(left, " "), "ocsp-"+w.stamp("a.test")+".der") || strings.Contains(strings.Join(left, " "), "ocsp-1700000000") {
		t.Errorf("left: %q", left)
	}
}

func TestDehydratedOCSP(t *testing.T) {
	w := dehydratedWorld(t, "OCSP_FETCH=yes")
	w.file("base/domains.txt", "a.test\n", 0o644)
	w.as(0, "--register", "--accept-terms")
	stdout, stderr := w.as(1, "-c")
	if !strings.Contains(stderr, "ERROR: Error while fetching OCSP information: the certificate names no OCSP responder") {
		t.Errorf("without a responder: %q, %q", stdout, stderr)
	}
	r := withOCSP(t, w)
	w.file("hook", "#!/bin/sh\necho \"$*<$altnames>\" >>'"+w.dir+"/calls'\n", 0o755)
	w.calls()
	stdout, _ = w.as(0, "-c", "-x")
	if got := w.calls(); !strings.Contains(stdout, "\n + Updating OCSP stapling file\n") ||
		!strings.Contains(got, "\ndeploy_ocsp a.test base/certs/a.test/ocsp.der "+w.stamp("a.test")+"<a.test >\nexit_hook<") {
		t.Errorf("issued: %q, %q", stdout, got)
	}
	r.times()
	stdout, _ = w.as(0, "-c")
	if got := w.calls(); r.times() > 0 || strings.Contains(got, "deploy_ocsp") || !strings.Contains(stdout, "\n + OCSP stapling file is still valid (skipping update)\n") {
		t.Errorf("unchanged: %q, %q", stdout, got)
	}
	r.set(func(*big.Int) (int, []byte) { return 503, nil })
	_, stderr = w.as(1, "-c", "-x")
	if !strings.Contains(stderr, "ERROR: Error while fetching OCSP information: responder ") {
		t.Errorf("a failing responder: %q", stderr)
	}
}
