package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/keys"
)

// pair is a certificate with its chain, and a key, as files have them.
type pair struct{ cert, key string }

func pairOf(t testing.TB, m Material) pair {
	t.Helper()
	key, err := keys.MarshalPEM(m.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{string(EncodeChain(m.Chain)), string(key)}
}

// newPair is one that is good now; change may be nil.
func newPair(t testing.TB, a *authority, change func(*x509.Certificate)) pair {
	t.Helper()
	key := newKey(t)
	leaf := a.leaf(t, key.Public(), change, "www.example.org")
	return pairOf(t, Material{Key: key, Chain: []*x509.Certificate{leaf, a.intermediate}})
}

// desk is a directory with www.pem and www.key, and what waits beside them.
type desk struct {
	t    testing.TB
	dir  string
	plan Promotion
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, dir: t.TempDir()}
	d.plan = Promotion{Cert: d.path("www.pem"), Key: d.path("www.key"), Backups: 1}
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// lay writes files; those with no text are not there.
func (d *desk) lay(files map[string]string) {
	d.t.Helper()
	for name, text := range files {
		if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *desk) files() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	for _, name := range list(d.t, d.dir) {
		all[name] = read(d.t, d.path(name))
	}
	return all
}

func (d *desk) run() (*Promoted, error) { return d.plan.Run(d.t.Context(), time.Now()) }

func TestWhatWaitsIsPutInPlaceAsAPair(t *testing.T) {
	a := newAuthority(t)
	one, two := newPair(t, a, nil), newPair(t, a, nil)
	reused := pair{two.cert, two.key}
	again := pairOf(t, Material{Key: mustKey(t, two.key), Chain: []*x509.Certificate{a.leaf(t, mustKey(t, two.key).Public(), nil, "www.example.org"), a.intermediate}})
	expired := newPair(t, a, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	future := newPair(t, a, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(48*time.Hour), time.Now().Add(72*time.Hour)
	})
	for _, tc := range []struct {
		name   string
		before map[string]string
		after  map[string]string // nil: as before
		done   bool
		fails  string
	}{
		{name: "nothing waits", before: map[string]string{"www.pem": one.cert, "www.key": one.key}},
		{
			name:   "a pair waits",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": two.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key, "www.pem.old.0": one.cert, "www.key.old.0": one.key}, done: true,
		},
		{
			name:   "a run was killed while it put the key back",
			before: map[string]string{"www.pem": one.cert, "www.key": two.key, "www.pem.upd": two.cert, "www.key.upd": two.key, "www.key.old.0": one.key, "www.pem.old.0": one.cert, ".www.key.arid-new": one.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key, "www.pem.old.0": one.cert, "www.key.old.0": two.key}, done: true,
		},
		{
			name:   "a pair waits, and there is none yet",
			before: map[string]string{"www.pem.upd": two.cert, "www.key.upd": two.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key}, done: true,
		},
		{
			name:   "a pair waits, in place are empty files",
			before: map[string]string{"www.pem": "", "www.key": "", "www.pem.upd": two.cert, "www.key.upd": two.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key}, done: true,
		},
		{
			name:   "a certificate for the key that is in place",
			before: map[string]string{"www.pem": reused.cert, "www.key": reused.key, "www.pem.upd": again.cert},
			after:  map[string]string{"www.pem": again.cert, "www.key": again.key, "www.pem.old.0": reused.cert}, done: true,
		},
		{
			name:   "empty files wait, as lws leaves them",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": "", "www.key.upd": ""},
		},
		{
			name:   "killed between the two renames",
			before: map[string]string{"www.pem": one.cert, "www.key": two.key, "www.pem.upd": two.cert, "www.key.old.0": one.key, "www.pem.old.0": one.cert},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key, "www.key.old.0": one.key, "www.pem.old.0": one.cert}, done: true,
		},
		{
			name:   "the power went, and only the second rename is on disk",
			before: map[string]string{"www.pem": two.cert, "www.key": one.key, "www.key.upd": two.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key, "www.key.old.0": one.key}, done: true,
		},
		{
			name:   "a key waits for its certificate",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.key.upd": two.key},
		},
		{
			name:   "two that do not fit",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": otherKeyOf(t)}, fails: "does not fit",
		},
		{
			name:   "a certificate without its key",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert}, fails: "does not fit",
		},
		{
			name:   "a certificate that is cut off",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert[:len(two.cert)-40], "www.key.upd": two.key}, fails: "cut off",
		},
		{
			name:   "a tail of the longer one before",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert + "kBkk\n-----END CERTIFICATE-----\n", "www.key.upd": two.key}, fails: "cut off",
		},
		{
			name:   "one that has expired",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": expired.cert, "www.key.upd": expired.key}, fails: "valid until",
		},
		{
			name:   "one of the day after tomorrow",
			before: map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": future.cert, "www.key.upd": future.key}, fails: "valid from",
		},
		{name: "nothing at all", before: map[string]string{}, fails: "there are none"},
		{name: "no key", before: map[string]string{"www.pem": one.cert}, fails: "there is no private key"},
		{name: "a mixed pair in place", before: map[string]string{"www.pem": one.cert, "www.key": two.key}, fails: "does not fit"},
		{
			name:   "damage in place, and a pair waits",
			before: map[string]string{"www.pem": "-----BEGIN", "www.key": "x", "www.pem.upd": two.cert, "www.key.upd": two.key},
			after:  map[string]string{"www.pem": two.cert, "www.key": two.key, "www.pem.old.0": "-----BEGIN", "www.key.old.0": "x"}, done: true,
		},
	} {
		d := newDesk(t)
		d.lay(tc.before)
		if tc.after == nil {
			tc.after = tc.before
		}
		for _, run := range []string{"once", "again"} {
			got, err := d.run()
			var refused *PairError
			switch {
			case tc.fails != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("%s, %s: %v", tc.name, run, err)
			case tc.fails == "" && err != nil:
				t.Errorf("%s, %s: %v", tc.name, run, err)
			case tc.fails == "" && got.Done != (tc.done && run == "once"):
				t.Errorf("%s, %s: %+v", tc.name, run, got)
			}
			if got := d.files(); fmt.Sprint(got) != fmt.Sprint(tc.after) {
				t.Errorf("%s, %s: there are %v", tc.name, run, list(t, d.dir))
			}
		}
	}
}

func mustKey(t testing.TB, text string) crypto.Signer {
	t.Helper()
	key, err := keys.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func otherKeyOf(t testing.TB) string {
	t.Helper()
	text, err := keys.MarshalPEM(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBackups(t *testing.T) {
	a := newAuthority(t)
	var pairs []pair
	for range 5 {
		pairs = append(pairs, newPair(t, a, nil))
	}
	for n := range 4 {
		d := newDesk(t)
		d.plan.Backups = n
		d.lay(map[string]string{"www.pem": pairs[0].cert, "www.key": pairs[0].key})
		for _, p := range pairs[1:] {
			d.lay(map[string]string{"www.pem.upd": p.cert, "www.key.upd": p.key})
			if _, err := d.run(); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]string{"www.pem": pairs[4].cert, "www.key": pairs[4].key}
		for i := range n {
			want[fmt.Sprint("www.pem.old.", i)], want[fmt.Sprint("www.key.old.", i)] = pairs[3-i].cert, pairs[3-i].key
		}
		same(t, fmt.Sprint(n, " backups"), d.files(), want)
	}
}

func TestACertificateWaitsForClocksThatAreLate(t *testing.T) {
	a := newAuthority(t)
	one, two := newPair(t, a, nil), newPair(t, a, nil) // both began an hour ago
	old := newPair(t, a, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	for _, tc := range []struct {
		name    string
		current pair
		grace   time.Duration
		waits   bool
	}{
		{"its time has come", one, time.Hour - time.Minute, false},
		{"it has not", one, time.Hour + time.Minute, true},
		{"the one in place has expired", old, time.Hour + time.Minute, false},
		{"the one in place is self-signed", selfSignedPair(t), time.Hour + time.Minute, false},
		{"there is none in place", pair{}, time.Hour + time.Minute, false},
		{"the pair in place is mixed", pair{one.cert, two.key}, time.Hour + time.Minute, false},
	} {
		d := newDesk(t)
		d.plan.Grace = tc.grace
		d.lay(map[string]string{"www.pem": tc.current.cert, "www.key": tc.current.key, "www.pem.upd": two.cert, "www.key.upd": two.key})
		got, err := d.run()
		if err != nil || got.Done == tc.waits || got.Until.IsZero() == tc.waits {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
		want := two.cert
		if tc.waits {
			want = tc.current.cert
		}
		same(t, tc.name, read(t, d.plan.Cert), want)
	}
}

// selfSignedPair is one as a user makes it with openssl.
func selfSignedPair(t testing.TB) pair {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.org"}, DNSNames: []string{"www.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pairOf(t, Material{Key: key, Chain: []*x509.Certificate{leaf}})
}

// A link in the place of the certificate is kept as it is, and once.
func TestALinkInPlaceIsBackedUpOnce(t *testing.T) {
	a := newAuthority(t)
	one, two, three := newPair(t, a, nil), newPair(t, a, nil), newPair(t, a, nil)
	d := newDesk(t)
	d.plan.Backups = 2
	d.lay(map[string]string{
		"elsewhere.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": two.key, "www.pem.old.1": three.cert,
	})
	// As a run leaves it that was killed before the renames.
	if err := errors.Join(os.Symlink("elsewhere.pem", d.path("www.pem")), os.Link(d.path("www.pem"), d.path("www.pem.old.0")), os.Link(d.path("www.key"), d.path("www.key.old.0"))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.run(); err != nil {
		t.Fatal(err)
	}
	same(t, "files", d.files(), map[string]string{
		"elsewhere.pem": one.cert, "www.pem": two.cert, "www.key": two.key,
		"www.pem.old.0": one.cert, "www.key.old.0": one.key, "www.pem.old.1": three.cert,
	})
	if target, err := os.Readlink(d.path("www.pem.old.0")); target != "elsewhere.pem" {
		t.Errorf("%q, %v", target, err)
	}
}

func TestASelfSignedPairWhereThereIsNone(t *testing.T) {
	a := newAuthority(t)
	one, two := newPair(t, a, nil), newPair(t, a, nil)
	for _, tc := range []struct {
		name   string
		before map[string]string
		made   bool
		key    string // that is kept; "": a new one
		old    string // of the certificate
	}{
		{name: "nothing", made: true},
		{name: "empty files", before: map[string]string{"www.pem": "", "www.key": ""}, made: true},
		{name: "a key alone", before: map[string]string{"www.key": one.key}, made: true, key: one.key},
		{name: "a certificate alone", before: map[string]string{"www.pem": one.cert}, made: true, old: one.cert},
		{name: "a pair", before: map[string]string{"www.pem": one.cert, "www.key": one.key}, key: one.key},
		{name: "nothing, and a key waits for its certificate", before: map[string]string{"www.key.upd": one.key}, made: true},
		{name: "nothing, and half a certificate waits", before: map[string]string{"www.pem.upd": one.cert[:100], "www.key.upd": one.key}, made: true},
		{name: "a key alone, and a certificate waits for another", before: map[string]string{"www.key": one.key, "www.pem.upd": two.cert}, made: true, key: one.key},
	} {
		d := newDesk(t)
		d.plan.SelfSigned = true
		d.lay(tc.before)
		got, err := d.run()
		if err != nil || got.Made != tc.made {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
			continue
		}
		files := d.files()
		if !fits([]byte(files["www.pem"]), []byte(files["www.key"])) || tc.key != "" && files["www.key"] != tc.key || files["www.pem.old.0"] != tc.old {
			t.Errorf("%s: %v", tc.name, files)
		}
		for name, text := range tc.before {
			if strings.HasSuffix(name, stagedSuffix) && (files[name] != text || len(got.Warnings) == 0) {
				t.Errorf("%s: what waits is not let alone, and told: %v", tc.name, got.Warnings)
			}
		}
		if tc.made && (perm(t, d.plan.Key) != 0o600 || got.Leaf.Issuer.CommonName != placeholderName) {
			t.Errorf("%s: mode %o, %v", tc.name, perm(t, d.plan.Key), got.Leaf.Issuer)
		}
		for name := range tc.before {
			if strings.HasSuffix(name, stagedSuffix) {
				_ = os.Remove(d.path(name))
			}
		}
		if again, err := d.run(); err != nil || again.Done {
			t.Errorf("%s, again: %+v, %v", tc.name, again, err)
		}
		// A real one follows at once, whatever the grace.
		d.plan.Grace = 100 * time.Hour
		d.lay(map[string]string{"www.pem.upd": one.cert, "www.key.upd": one.key})
		if got, err := d.run(); err != nil || got.Done != tc.made {
			t.Errorf("%s, then a real one: %+v, %v", tc.name, got, err)
		}
	}
	d := newDesk(t)
	d.plan.SelfSigned = true
	d.lay(map[string]string{"www.pem": one.cert, "www.key": otherKeyOf(t)})
	var refused *PairError
	if _, err := d.run(); !errors.As(err, &refused) {
		t.Errorf("a mixed pair is not overwritten: %v", err)
	}
}

func TestWhatIsNoFileIsNotPromoted(t *testing.T) {
	one := newPair(t, newAuthority(t), nil)
	d := newDesk(t)
	d.lay(map[string]string{"www.pem": one.cert, "www.key": one.key, "elsewhere": one.cert})
	for name, make := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink("elsewhere", path) },
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a huge file": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		},
	} {
		for _, file := range []string{"www.pem.upd", "www.key.upd"} {
			if err := make(d.path(file)); err != nil {
				t.Fatal(err)
			}
			var unreadable *UnreadableError
			if _, err := d.run(); !errors.As(err, &unreadable) || !strings.Contains(err.Error(), file) {
				t.Errorf("%s for %s: %v", name, file, err)
			}
			if err := os.Remove(d.path(file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.plan.Key = d.plan.Cert
	var twice *TwiceError
	if _, err := d.run(); !errors.As(err, &twice) {
		t.Errorf("%v", err)
	}
}

// What somebody else may have put where all can write is not promoted.
func TestAStrangersPairIsNotPromoted(t *testing.T) {
	asRoot(t)
	a := newAuthority(t)
	one, two := newPair(t, a, nil), newPair(t, a, nil)
	for _, owner := range []int{nobody, 0} {
		d := newDesk(t)
		d.lay(map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": two.key})
		for _, name := range []string{"www.pem.upd", "www.key.upd"} {
			if err := os.Chown(d.path(name), owner, owner); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(d.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		got, err := d.run()
		var refused *LinkError
		if owner == nobody && !errors.As(err, &refused) || owner == 0 && (err != nil || !got.Done) {
			t.Errorf("of user %d: %+v, %v", owner, got, err)
		}
	}
}

func TestStagedFiles(t *testing.T) {
	a := newAuthority(t)
	one, two, three := newPair(t, a, nil), newPair(t, a, nil), newPair(t, a, nil)
	d := newDesk(t)
	d.plan.Backups = 0
	stage := func(p pair) []bool {
		t.Helper()
		staged, err := Stage(t.Context(), []Destination{to(d.plan.Cert, p.cert), to(d.plan.Key, p.key)})
		if err != nil {
			t.Fatal(err)
		}
		return staged
	}
	promote := func(done bool) {
		t.Helper()
		if got, err := d.run(); err != nil || got.Done != done {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	same(t, "the first", stage(one), []bool{true, true})
	same(t, "again", stage(one), []bool{false, false})
	same(t, "files", d.files(), map[string]string{"www.pem.upd": one.cert, "www.key.upd": one.key})
	promote(true)
	same(t, "what is in place needs none", stage(one), []bool{false, false})
	same(t, "files", d.files(), map[string]string{"www.pem": one.cert, "www.key": one.key})
	promote(false)
	stage(two)
	same(t, "one in place of another that waits", stage(three), []bool{true, true})
	same(t, "files", d.files(), map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": three.cert, "www.key.upd": three.key})
	same(t, "back to what is in place", stage(one), []bool{false, false})
	same(t, "files", d.files(), map[string]string{"www.pem": one.cert, "www.key": one.key})
	promote(false)

	// What is staged has the owner and mode of what it will replace.
	if err := os.Chmod(d.plan.Key, 0o640); err != nil {
		t.Fatal(err)
	}
	stage(two)
	if got := perm(t, d.plan.Key+".upd"); got != fs.FileMode(0o640) {
		t.Errorf("mode %o", got)
	}
	promote(true)
	same(t, "promoted", d.files(), map[string]string{"www.pem": two.cert, "www.key": two.key})
}

func TestGuarded(t *testing.T) {
	top := t.TempDir()
	if err := os.Chmod(top, 0o700); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if !Guarded(filepath.Join(open, "www.key")) {
		t.Error("a closed directory above is not seen")
	}
	if Guarded("/usr/share/www.key") || Guarded(filepath.Join(top, "none", "www.key")) {
		t.Error("an open one, or none, is taken for a closed one")
	}
}
