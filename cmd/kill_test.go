//go:build linux

package cmd_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"arid/internal/fakeca"
	"arid/keys"
	"arid/respond"
)

// arid killed with SIGKILL before every system call that changes a file or sends
// something: what the stable names show is one whole set at every instant, and
// the next run just works, with the order that the killed one had.

const killName = "www.example.test"

// bench is a world for the real binary that can be put back to a stage.
type bench struct {
	t       *testing.T
	ca      *fakeca.CA
	dir     string // home and working directory
	certs   string // CERTDIR
	folder  string // of the certificate
	webroot string
	hookLog string
	env     []string
	stage   string // copy of the tree as it stands before each run; "" empty
	old     *set   // what the stage shows
	args    []string
	again   []string // the next run; nil: the same; empty: the same, and it orders nothing

	stride   int      // of sweep; 0: every call
	failing  bool     // the disk may keep us from removing what is old or empty
	problems []string // found at the present point
}

func (b *bench) errorf(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, ca: fakeca.New(t, fakeca.HTTP1), dir: t.TempDir()}
	b.webroot, b.hookLog = filepath.Join(b.dir, "webroot"), filepath.Join(b.dir, "log")
	b.use(filepath.Join(b.dir, "base"))
	web := httptest.NewServer(respond.HTTP01(b.webroot))
	t.Cleanup(web.Close)
	b.ca.ValidateHTTP(web.Listener.Addr().(*net.TCPAddr).Port)
	b.write("ca-tls.pem", string(b.ca.RootsPEM()), 0o644)
	b.write("hook", `#!/bin/sh
case $1 in
sync_cert) echo "$1 $3" >>"`+b.hookLog+`" ;;
deploy_cert) echo "$1 $7" >>"`+b.hookLog+`"; [ ! -e "`+b.dir+`/broken" ] ;;
esac
`, 0o700)
	b.args = []string{"sign", killName}
	b.reset()
	return b
}

// use makes base the BASEDIR.
func (b *bench) use(base string) {
	b.certs = filepath.Join(base, "certs")
	b.folder = filepath.Join(b.certs, killName)
	b.env = []string{
		"HOME=" + b.dir, "PATH=" + os.Getenv("PATH"), "ARID_BASEDIR=" + base,
		"ARID_WELLKNOWN=" + b.webroot, "ARID_HOOK=" + filepath.Join(b.dir, "hook"),
		"ARID_CA=" + b.ca.URL(), "ARID_CA_BUNDLE=" + filepath.Join(b.dir, "ca-tls.pem"),
	}
}

func (b *bench) base() string { return filepath.Dir(b.certs) }

func (b *bench) write(name, text string, mode fs.FileMode) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bench) child(args ...string) *child {
	return &child{dir: b.dir, env: b.env, args: args}
}

func (b *bench) must(status int, args ...string) *ending {
	b.t.Helper()
	e := b.child(args...).run(b.t)
	if e.status != status {
		b.t.Fatalf("arid %q: want status %d: %s", args, status, e)
	}
	return e
}

// keep makes the present tree the stage.
func (b *bench) keep() {
	b.t.Helper()
	b.ca.WaitClosed()
	b.stage = filepath.Join(b.dir, "stage")
	copyTree(b.t, b.base(), b.stage)
	var err error
	if b.old, err = b.shown(); err != nil {
		b.t.Fatal(err)
	}
}

// reset puts the tree back to the stage, empties the webroot and the log.
func (b *bench) reset() {
	b.t.Helper()
	for _, path := range []string{b.webroot, b.hookLog} {
		if err := os.RemoveAll(path); err != nil {
			b.t.Fatal(err)
		}
	}
	entries, _ := os.ReadDir(b.base()) // itself may be a mount point
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(b.base(), e.Name())); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := os.Mkdir(b.webroot, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if b.stage != "" {
		copyTree(b.t, b.stage, b.base())
	}
}

// copyTree copies files with modes, links and hard links.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	var first []string // of all files that were copied
	var infos []fs.FileInfo
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		dest := to + strings.TrimPrefix(path, from)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(dest, 0o700); err != nil {
				return err
			}
			return os.Chmod(dest, info.Mode())
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dest)
		}
		for i := range infos {
			if os.SameFile(infos[i], info) {
				return os.Link(first[i], dest)
			}
		}
		first, infos = append(first, dest), append(infos, info)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(dest, data, 0o600); err != nil {
			return err
		}
		return os.Chmod(dest, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// set is what the stable names show.
type set struct {
	files map[string]string
	leaf  *x509.Certificate
}

func (s *set) same(o *set) bool {
	if s == nil || o == nil {
		return s == o
	}
	for _, name := range stableNames {
		if s.files[name] != o.files[name] {
			return false
		}
	}
	return true
}

var stableNames = []string{"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "cert.csr"}

func (b *bench) withKey() bool { return !slices.Contains(b.args, "--csr") }

// shown reads the stable names: nil where there is nothing, an error where it is
// not one whole set.
func (b *bench) shown() (*set, error) {
	s := &set{files: map[string]string{}}
	var missing []string
	for _, name := range stableNames {
		data, err := os.ReadFile(filepath.Join(b.folder, name))
		switch {
		case os.IsNotExist(err):
			missing = append(missing, name)
		case err != nil:
			return nil, err
		}
		s.files[name] = string(data)
	}
	switch {
	case len(missing) == len(stableNames):
		return nil, nil
	case b.withKey() && len(missing) > 0, !b.withKey() && !slices.Equal(missing, []string{"privkey.pem"}):
		return nil, fmt.Errorf("missing: %q", missing)
	case s.files["fullchain.pem"] != s.files["cert.pem"]+s.files["chain.pem"]:
		return nil, fmt.Errorf("fullchain.pem is not cert.pem and chain.pem")
	}
	block, rest := pem.Decode([]byte(s.files["cert.pem"]))
	if block == nil || len(rest) > 0 {
		return nil, fmt.Errorf("cert.pem is %q", s.files["cert.pem"])
	}
	var err error
	if s.leaf, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(b.ca.Root())
	between.AppendCertsFromPEM([]byte(s.files["chain.pem"]))
	if _, err := s.leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: killName}); err != nil {
		return nil, err
	}
	csr, err := keys.ParseCSR([]byte(s.files["cert.csr"]))
	if err != nil || !keys.Equal(csr.PublicKey, s.leaf.PublicKey) {
		return nil, fmt.Errorf("cert.csr does not fit the certificate (%v)", err)
	}
	if b.withKey() {
		key, err := keys.Parse([]byte(s.files["privkey.pem"]))
		if err != nil || !keys.Fits(s.leaf.PublicKey, key) {
			return nil, fmt.Errorf("privkey.pem does not fit the certificate (%v)", err)
		}
	}
	return s, nil
}

// counts are what the CA has seen.
type counts struct{ accounts, orders, finalized int }

func (b *bench) counts() counts {
	b.ca.WaitClosed()
	return counts{b.ca.Accounts(), b.ca.NewOrders(), len(b.ca.CSRs())}
}

func (c counts) since(before counts) counts {
	return counts{c.accounts - before.accounts, c.orders - before.orders, c.finalized - before.finalized}
}

// check looks at the tree after a disturbed run, then lets arid run undisturbed
// and looks again. It returns what the disturbed run left on the stable names.
func (b *bench) check(before counts) (outcome string) {
	left, err := b.shown()
	switch {
	case err != nil:
		b.errorf("torn: %v", err)
		return "torn"
	case left.same(b.old) && left == nil:
		outcome = "none"
	case left.same(b.old):
		outcome = "old"
	case left == nil:
		b.errorf("the old set is gone")
		return "gone"
	default:
		outcome = "new"
	}
	disturbed := b.counts().since(before)
	tokens := b.tokens()
	b.recover()
	total := b.counts().since(before)

	now, err := b.shown()
	switch {
	case err != nil:
		b.errorf("torn after the next run: %v", err)
	case now == nil || now.same(b.old) && b.due():
		b.errorf("the next run made nothing new")
	case outcome == "new" && !now.same(left):
		b.errorf("the next run made another certificate")
	}
	if total.accounts != b.newAccounts() {
		b.errorf("%d accounts made", total.accounts)
	}
	if more := total.orders - disturbed.orders; disturbed.finalized > 0 && more > 0 || more > 1 {
		b.errorf("the disturbed run made %d orders and finalized %d of them; the next one made %d more", disturbed.orders, disturbed.finalized, more)
	}
	if b.due() && total.finalized != 1 {
		b.errorf("%d certificates for one", total.finalized)
	}
	b.checkDeployed()
	b.checkLitter()
	if after := b.tokens(); len(after) > 0 && !b.failing || len(after) > len(tokens) || len(after) > 1 {
		b.errorf("in the webroot: %q, then %q", tokens, after)
	}
	return outcome
}

// due tells whether the runs on this bench have something to order.
func (b *bench) due() bool { return b.again == nil || len(b.again) > 0 }

func (b *bench) newAccounts() int {
	if b.stage == "" {
		return 1
	}
	return 0
}

// recover is the next run.
func (b *bench) recover() {
	args := b.args
	if len(b.again) > 0 {
		args = b.again
	}
	if e := b.child(args...).run(b.t); e.status != 0 {
		b.errorf("the next run: %s", e)
	}
	// Not due, and nothing was owed: what was forced has to be forced again.
	if now, err := b.shown(); slices.Contains(b.args, "-x") && err == nil && now.same(b.old) {
		if e := b.child(b.args...).run(b.t); e.status != 0 {
			b.errorf("the next run with -x: %s", e)
		}
	}
}

// tokens are what the webroot holds.
func (b *bench) tokens() (names []string) {
	entries, err := os.ReadDir(b.webroot)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkDeployed wants both hooks to have been called for what is live.
func (b *bench) checkDeployed() {
	target, err := os.Readlink(filepath.Join(b.folder, "live"))
	if err != nil {
		b.errorf("%v", err)
		return
	}
	id := filepath.Base(target)
	log, _ := os.ReadFile(b.hookLog)
	if !strings.Contains(string(log), "deploy_cert "+id+"\n") {
		b.errorf("deploy_cert was not called for %s:\n%s", id, log)
	}
	if b.due() && !strings.Contains(string(log), "-"+id+".pem\n") {
		b.errorf("sync_cert was not called for %s:\n%s", id, log)
	}
}

// checkLitter wants nothing left of runs that did not end.
func (b *bench) checkLitter() {
	versions := 0
	err := filepath.WalkDir(b.base(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case strings.HasPrefix(name, ".arid-"), name == "pending":
			if entries, _ := os.ReadDir(path); name != "pending" || len(entries) > 0 || !b.failing {
				b.errorf("left: %s %v", path, entries)
			}
		case filepath.Base(filepath.Dir(path)) == "versions":
			versions++
			if files, err := os.ReadDir(path); !b.failing && (err != nil || len(files) < 4) {
				b.errorf("half a version: %s: %v %v", path, files, err)
			}
		case d.Type() == fs.ModeSymlink:
			if _, err := os.Stat(path); err != nil {
				b.errorf("leads nowhere: %v", err)
			}
		}
		return nil
	})
	if err != nil {
		b.errorf("%v", err)
	}
	if versions > 4 || versions > 3 && !b.failing {
		b.errorf("%d versions", versions)
	}
}

// sweep disturbs the bench's run at the first call, the second, and so on, until
// a run comes to its end undisturbed, which has to end with this status.
func (b *bench) sweep(t *testing.T, status int, judge func(c *call, at *point) verdict) {
	t.Helper()
	stride := max(b.stride, 1)
	if testing.Short() {
		stride = 7
	}
	found := map[string]int{}
	tried := 0
	for k := 1; ; k += stride {
		b.reset()
		before := b.counts()
		at := &point{k: k}
		e := b.child(b.args...).trap(t, func(c *call) verdict { return judge(c, at) })
		if !at.reached {
			if e.status != status {
				t.Errorf("undisturbed: %s", e)
			}
			break
		}
		tried++
		found[b.after(e, before, fmt.Sprintf("%d, %s", k, at.call))]++
	}
	if tried < 10/stride {
		t.Errorf("only %d points", tried)
	}
	t.Logf("%d points: %v", tried, found)
}

// after checks what came of a run disturbed at that point, and tells it in a word.
func (b *bench) after(e *ending, before counts, point string) string {
	b.t.Helper()
	b.problems = nil
	outcome := b.check(before)
	if e.status == 0 && outcome != "new" && b.due() {
		b.errorf("status 0, and nothing new was in place")
	}
	if strings.Contains(point, "fsync") && strings.Contains(point, "/versions/.") && outcome == "new" && e.signal == 0 {
		b.errorf("what could not be synced is shown")
	}
	if e.status == 70 || e.status == 2 {
		b.errorf("a bug")
	}
	if len(b.problems) > 0 {
		b.t.Errorf("disturbed at %s\n- %s\n%s", strings.ReplaceAll(point, b.dir, ""), strings.Join(b.problems, "\n- "), e)
	}
	for _, name := range b.tokens() {
		outcome += ", token left"
		if strings.HasPrefix(name, ".") {
			outcome += " half-written"
		}
	}
	if e.signal == 0 {
		outcome += fmt.Sprintf("/%d", e.status)
	}
	return outcome
}

// point is where a run is to be disturbed.
type point struct {
	k, seen int
	reached bool
	call    string
}

// here counts a call, and tells whether it is the one.
func (p *point) here(c *call) bool {
	if p.seen++; p.seen != p.k {
		return false
	}
	p.reached, p.call = true, c.String()
	return true
}

// kill is the judge that kills arid at the point.
func kill(c *call, at *point) verdict {
	if at.here(c) {
		return killArid
	}
	return carryOut
}

// withDueCertificate makes an old certificate that is due, in so many versions: the
// same command line is the disturbed run and the next one.
func (b *bench) withDueCertificate(versions int) *bench {
	b.ca.LeafValid(time.Now().Add(-80*24*time.Hour), time.Now().Add(5*24*time.Hour))
	for range versions {
		b.must(0, append([]string{"sign", "--accept-terms", "-x"}, b.args[1:]...)...)
	}
	b.ca.Calm()
	return b
}

// asDehydrated makes the folder what dehydrated would have made of the set.
func (b *bench) asDehydrated() *bench {
	b.t.Helper()
	s, err := b.shown()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.RemoveAll(b.folder); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Mkdir(b.folder, 0o700); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range stableNames {
		ext := filepath.Ext(name)
		flat := strings.TrimSuffix(name, ext) + "-1700000000" + ext
		if err := os.WriteFile(filepath.Join(b.folder, flat), []byte(s.files[name]), 0o600); err != nil {
			b.t.Fatal(err)
		}
		if err := os.Symlink(flat, filepath.Join(b.folder, name)); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

// asCopy makes all links of the folder what they lead to, as a careless backup does.
func (b *bench) asCopy() *bench {
	b.t.Helper()
	for _, args := range [][]string{{"cp", "-rL", b.folder, b.folder + ".copy"}, {"rm", "-r", b.folder}, {"mv", b.folder + ".copy", b.folder}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	return b
}

// Each situation makes a bench whose run works on it from there.
var situations = map[string]func(t *testing.T) *bench{
	"first certificate, no account": func(t *testing.T) *bench {
		b := newBench(t)
		b.args = append(b.args, "--accept-terms")
		return b
	},
	"renewal": func(t *testing.T) *bench {
		b := newBench(t).withDueCertificate(3)
		b.keep()
		return b
	},
	"forced renewal": func(t *testing.T) *bench {
		b := newBench(t)
		b.must(0, "sign", "--accept-terms", killName)
		b.keep()
		b.args, b.again = []string{"sign", "-x", killName}, []string{"sign", killName}
		return b
	},
	"folder of dehydrated's": func(t *testing.T) *bench {
		b := newBench(t).withDueCertificate(1).asDehydrated()
		b.keep()
		return b
	},
	"CSR": func(t *testing.T) *bench {
		b := newBench(t)
		key, err := keys.Generate(keys.P256)
		if err != nil {
			t.Fatal(err)
		}
		der, err := keys.MakeCSR(key, keys.CSROptions{Names: []string{killName}})
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		b.args = []string{"sign", "--csr", b.write("request.csr", text.String(), 0o600), "--out", b.certs}
		b.withDueCertificate(1).keep()
		return b
	},
	"restored copy, dns-01, RSA key reused, KEY_MODE": func(t *testing.T) *bench {
		b := newBench(t)
		b.env = append(b.env, "ARID_CHALLENGETYPE=dns-01", "ARID_KEY_ALGO=rsa2048", "ARID_PRIVATE_KEY_RENEW=no", "ARID_KEY_MODE=0640")
		b.withDueCertificate(1).asCopy().keep()
		return b
	},
	"tls-alpn-01": func(t *testing.T) *bench {
		b := newBench(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		go respond.ServeTLSALPN01(ctx, l, b.webroot)
		b.ca.ValidateALPN(l.Addr().(*net.TCPAddr).Port)
		b.env = append(b.env, "ARID_CHALLENGETYPE=tls-alpn-01", "ARID_ALPNCERTDIR="+b.webroot)
		b.args = append(b.args, "--accept-terms")
		return b
	},
	"switched, not deployed": func(t *testing.T) *bench {
		b := newBench(t)
		broken := b.write("broken", "", 0o600)
		b.must(10, "sign", "--accept-terms", killName)
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		later(t, b.base())
		b.again = []string{}
		b.keep()
		return b
	},
}

func TestKill(t *testing.T) {
	for name, make := range situations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			make(t).sweep(t, 0, kill)
		})
	}
}
