package cmd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"arid/acme"
	"arid/internal/fakeca"
	"arid/keys"
)

// The hostile tests see arid from the CA's side: each row is something a CA
// does, and what the person who reads arid's one line must be told. Whatever
// the CA does, the invariants of (*siege).run hold.

// attack is one row: what the CA does, and what comes of it.
type attack struct {
	name   string
	does   func(ca *fakeca.CA)
	args   []string // more of them, after "sign"
	status int
	says   []string // in the error line, or in a warning or result where status is 0
	hint   string   // in a hint line

	only     variant             // "": all of them
	newcomer bool                // there is no account yet
	names    []string            // nil: a.test
	most     map[string]int      // requests of each kind, at most
	within   time.Duration       // 0: ten minutes and what a last request takes
	heal     func(ca *fakeca.CA) // takes back what Calm does not; before the next run
	fatal    bool                // the next run fails too
	also     func(s *siege)      // more to look at, after the run
}

type attacks []attack

// with sets the status of all rows.
func (a attacks) with(status int) attacks {
	for i := range a {
		a[i].status = status
	}
	return a
}

// variant is what there was before the CA turned hostile.
type variant string

const (
	firstTime variant = "first"   // no certificate yet
	renewal   variant = "renewal" // a good one, and -x
	csrOnly   variant = "csr"     // --csr: the chain goes to stdout
)

// against runs each attack in all variants, in a bubble where waiting costs
// nothing.
func against(t *testing.T, rows attacks) {
	t.Helper()
	for _, a := range rows {
		for _, v := range []variant{firstTime, renewal, csrOnly} {
			if a.newcomer && v == renewal || a.only != "" && a.only != v {
				continue
			}
			t.Run(a.name+"/"+string(v), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { newSiege(t, a, v).run() })
			})
		}
	}
}

// siege is a world whose CA attacks.
type siege struct {
	*world
	attack
	variant variant
	talk    string // stderr of the run under attack
	began   time.Time
	asked   int // requests before it
	orders  int // and orders
}

func newSiege(t *testing.T, a attack, v variant) *siege {
	t.Helper()
	s := &siege{world: newBubbleWorld(t), attack: a, variant: v}
	if a.names == nil {
		s.names = []string{"a.test"}
	}
	if !a.newcomer {
		s.must(0, "register", "--accept-terms")
	}
	if v == renewal {
		s.must(0, append([]string{"sign"}, s.names...)...)
	}
	if v == csrOnly {
		s.stdin = s.csr()
	}
	s.forget()
	return s
}

// newBubbleWorld is a world without sockets, whose CA looks for http-01 in the
// webroot itself.
func newBubbleWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: fakeca.New(t, fakeca.InMemory), dir: t.TempDir()}
	w.base, w.webroot = filepath.Join(w.dir, "base"), filepath.Join(w.dir, "webroot")
	if err := os.Mkdir(w.webroot, 0o755); err != nil {
		t.Fatal(err)
	}
	w.ca.Validate("http-01", func(v fakeca.Validation) *fakeca.Problem {
		data, err := os.ReadFile(filepath.Join(w.webroot, v.Token))
		if err != nil || string(data) != v.KeyAuth {
			return &fakeca.Problem{Type: "unauthorized", Detail: "not what was expected", Status: 403}
		}
		return nil
	})
	transport := acme.NewTransport(acme.TransportOptions{Roots: w.ca.Roots()})
	transport.DialContext = w.ca.DialContext
	t.Cleanup(transport.CloseIdleConnections)
	w.http = transport
	w.env = []string{
		"ARID_DNS_RESOLVER=127.0.0.1:9",
		"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"),
		"ARID_BASEDIR=" + w.base, "ARID_WELLKNOWN=" + w.webroot, "ARID_CA=" + w.ca.URL(),
	}
	return w
}

func (s *siege) csr() string {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := keys.MakeCSR(key, keys.CSROptions{Names: s.names})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// sign is the command line of the run under attack.
func (s *siege) sign() []string {
	args := []string{"sign"}
	if s.newcomer {
		args = append(args, "--accept-terms")
	}
	args = append(args, s.args...)
	switch s.variant {
	case csrOnly:
		return append(args, "--csr", "-")
	case renewal:
		args = append(args, "-x")
	}
	return append(args, s.names...)
}

// run is one row: the run under attack, what must hold after it, and the next
// run, with the CA as it should be.
func (s *siege) run() {
	t := s.t
	t.Helper()
	before := snapshot(t, s.dir)
	s.asked, s.orders, s.began = len(s.ca.Requests()), s.ca.NewOrders(), time.Now()
	s.http.(*http.Transport).CloseIdleConnections() // as a new process has none
	s.does(s.ca)
	status, out, talk := s.world.run(s.sign()...)
	s.talk = talk
	t.Logf("status %d\n%s", status, talk)
	if status != s.status {
		t.Errorf("status %d, want %d", status, s.status)
	}
	s.checkTalk(status)
	if limit := max(s.within, 0); limit == 0 && time.Since(s.began) > 11*time.Minute || limit > 0 && time.Since(s.began) > limit {
		t.Errorf("took %v", time.Since(s.began))
	}
	requests := s.ca.Requests()[s.asked:]
	if len(requests) > 100+4*len(s.names) {
		t.Errorf("%d requests", len(requests))
	}
	for kind, most := range s.most {
		if n := s.count(kind); n > most {
			t.Errorf("%d requests of kind %s, more than %d", n, kind, most)
		}
	}
	if left := snapshot(t, s.webroot); len(left) > 1 {
		t.Errorf("left in the webroot: %v", slices.Sorted(maps.Keys(left)))
	}
	if status != 0 {
		if out != "" {
			t.Errorf("stdout %q", out)
		}
		s.checkTree(before, status)
	}
	if s.also != nil {
		s.also(s)
	}
	if status == 0 {
		s.checkProduct(out)
	} else if !s.fatal && !t.Failed() {
		s.next()
	}
}

func (s *siege) count(kind string) (n int) {
	for _, r := range s.ca.Requests()[s.asked:] {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// checkTalk wants one line that says what is wrong, and nothing in it that a
// terminal would obey.
func (s *siege) checkTalk(status int) {
	t, talk := s.t, s.talk
	t.Helper()
	var failures, others, hints []string
	seen := 0 // lines of what arid saw itself: each stands below a failed name
	for line := range strings.Lines(talk) {
		text, ours := strings.CutPrefix(line, "arid: ")
		switch {
		case !ours || !strings.HasSuffix(line, "\n"):
			t.Errorf("not a line of ours: %q", line)
		case strings.HasPrefix(text, "hint: "), strings.HasPrefix(text, "next try: "):
			hints = append(hints, text)
		case strings.HasPrefix(text, "seen: "):
			seen++
		case strings.HasPrefix(text, "warning: ") || status == 0:
			others = append(others, text)
		default:
			failures = append(failures, text)
		}
		if len(line) > 16<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if len(talk) > 64<<10 {
		t.Errorf("%d bytes on stderr", len(talk))
	}
	if !utf8.ValidString(talk) || strings.ContainsFunc(strings.ReplaceAll(talk, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("control characters in %q", talk)
	}
	if status != 0 && len(failures) != 1 && !(seen == 5 && len(failures) == 6) {
		t.Errorf("%d error lines", len(failures))
	}
	said := strings.Join(append(failures, others...), "")
	for _, want := range s.says {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if !strings.Contains(strings.Join(hints, ""), s.hint) {
		t.Errorf("no hint with %q", s.hint)
	}
}

// checkTree wants no file changed but those that a failed run may leave.
func (s *siege) checkTree(before map[string]string, status int) {
	s.t.Helper()
	after := snapshot(s.t, s.dir)
	account := filepath.Join("base/accounts", filepath.Base(s.accountDir()))
	mayChange := []string{account + "/state.json"}
	if s.newcomer {
		mayChange = append(mayChange, "base", "base/accounts", account, account+"/.arid.lock", account+"/account_key.pem")
		if s.ca.Accounts() > 0 {
			mayChange = append(mayChange, account+"/account_id.json", account+"/registration_info.json")
		}
	}
	alias := filepath.Join("base/certs", s.names[0])
	if s.variant != csrOnly {
		mayChange = append(mayChange, "base/certs", alias, alias+"/.arid.lock", alias+"/state.json")
	}
	if s.variant != csrOnly && status != 1 && status != 76 {
		pending := alias + "/pending"
		mayChange = append(mayChange, pending, pending+"/privkey.pem", pending+"/cert.csr", pending+"/order.json")
	}
	for path := range maps.Keys(after) {
		if before[path] != after[path] && !slices.Contains(mayChange, path) {
			s.t.Errorf("made or changed: %s", path)
		}
	}
	for path := range maps.Keys(before) {
		if after[path] == "" {
			s.t.Errorf("gone: %s", path)
		}
	}
}

func (s *siege) accountDir() string {
	found, err := filepath.Glob(filepath.Join(s.base, "accounts/*"))
	if err != nil || len(found) == 0 {
		return "none"
	}
	return found[0]
}

// checkProduct wants the certificate where it belongs.
func (s *siege) checkProduct(out string) {
	s.t.Helper()
	if s.variant != csrOnly {
		s.checkSet(s.names[0], s.names...)
		if out != "" {
			s.t.Errorf("stdout %q", out)
		}
		return
	}
	if !strings.HasPrefix(out, "-----BEGIN CERTIFICATE-----\n") || strings.Count(out, "-----BEGIN") != 2 {
		s.t.Errorf("stdout %q", out)
	}
}

// next is the run after, a day later, with a CA that has come to its senses.
func (s *siege) next() {
	s.t.Helper()
	time.Sleep(24 * time.Hour)
	s.later()
	s.forget() // a Retry-After of a year
	s.ca.Calm()
	if s.heal != nil {
		s.heal(s.ca)
	}
	s.args = nil
	status, out, talk := s.world.run(s.sign()...)
	if status != 0 {
		s.t.Errorf("the next run: status %d: %s", status, talk)
		return
	}
	s.checkProduct(out)
}

// snapshot is a tree as path to mode and content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		text := info.Mode().String()
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			text += " -> " + target
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		files[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// on answers a kind of request with a status, headers ("Name: value") and a body.
func on(kind string, status int, body string, headers ...string) func(*fakeca.CA) {
	return func(ca *fakeca.CA) {
		ca.On(kind, func(w http.ResponseWriter, _ *http.Request) bool {
			for _, h := range headers {
				name, value, _ := strings.Cut(h, ": ")
				w.Header().Add(name, value)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		})
	}
}
