package account

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"arid/acme"
	"arid/internal/atomicfile"
	"arid/internal/fakeca"
	"arid/keys"
)

// client is a fresh client, as each run of arid has one.
func client(t *testing.T, ca *fakeca.CA) *acme.Client {
	t.Helper()
	c, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient(), UserAgent: "arid/test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tree(t *testing.T, ca *fakeca.CA) *Store {
	t.Helper()
	return &Store{Dir: filepath.Join(t.TempDir(), "accounts"), CA: ca.URL()}
}

var willing = Registration{AcceptTerms: true, Contact: []string{"a@example.org"}, LockWait: time.Minute}

// ensure must work.
func ensure(t *testing.T, ca *fakeca.CA, s *Store, r Registration) (a *Account, created bool) {
	t.Helper()
	a, created, err := s.Ensure(t.Context(), client(t, ca), r)
	if err != nil {
		t.Fatal(err)
	}
	if a.Key == nil || !strings.HasPrefix(a.URL, ca.Base()) {
		t.Fatalf("account %+v", a)
	}
	return a, created
}

// requests runs do and tells what the CA was asked meanwhile.
func requests(ca *fakeca.CA, do func()) string {
	before := len(ca.Requests())
	do()
	var kinds []string
	for _, r := range ca.Requests()[before:] {
		kinds = append(kinds, r.Kind)
	}
	return strings.Join(kinds, " ")
}

// files are the names below a directory.
func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, filepath.Base(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestRegisterThenKnown(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	var first *Account
	got := requests(ca, func() {
		var created bool
		if first, created = ensure(t, ca, s, willing); !created {
			t.Error("not created")
		}
	})
	if want := "directory nonce new-account"; got != want {
		t.Errorf("registration: %s", got)
	}
	if payload := string(ca.Requests()[2].Payload); !strings.Contains(payload, `"mailto:a@example.org"`) || !strings.Contains(payload, `"termsOfServiceAgreed":true`) {
		t.Errorf("payload %s", payload)
	}

	if got, want := read(t, s.Path(), "account_id.json"), `{"url":"`+first.URL+`"}`+"\n"; got != want {
		t.Errorf("account_id.json %q", got)
	}
	if got := read(t, s.Path(), "registration_info.json"); !strings.Contains(got, `"valid"`) {
		t.Errorf("registration_info.json %q", got)
	}
	if algo, err := keys.AlgoOf(first.Key.Public()); algo != keys.P256 {
		t.Errorf("key of type %q, %v", algo, err)
	}
	if got := read(t, s.Path(), "account_key.pem"); !strings.HasPrefix(got, "-----BEGIN EC PRIVATE KEY-----\n") {
		t.Errorf("account_key.pem %.40q", got)
	}
	if got := files(t, s.Path()); got != ".arid.lock account_id.json account_key.pem registration_info.json" {
		t.Errorf("files: %s", got)
	}
	for name, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o700, "account_key.pem": 0o600, "account_id.json": 0o600, "registration_info.json": 0o600} {
		if info, err := os.Stat(s.inFolder(name)); err != nil || info.Mode() != mode {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}

	// The next run knows it all, and may write nothing.
	c := client(t, ca)
	got = requests(ca, func() {
		a, created, err := s.Ensure(t.Context(), c, Registration{})
		if err != nil || created || a.URL != first.URL || !keys.Fits(first.Key.Public(), a.Key) {
			t.Errorf("%+v, %v, %v", a, created, err)
		}
	})
	if got != "" {
		t.Errorf("a known account: %s", got)
	}
	// And the client can sign with it.
	if a, err := c.FetchAccount(t.Context()); err != nil || a.URL != first.URL {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestKnownAccountWritesNothing(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	ensure(t, ca, s, willing)
	dirs := []string{s.Dir, s.Path()}
	var before []time.Time
	for _, dir := range dirs {
		if err := os.Chtimes(dir, time.Time{}, time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		before = append(before, time.Unix(1e9, 0))
	}
	if err := os.Remove(s.inFolder(lockName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(s.Path(), time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	ensure(t, ca, s, Registration{})
	for i, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.ModTime().Equal(before[i]) {
			t.Errorf("%s was written to", dir)
		}
	}
}

func TestTermsAndEABBeforeAnythingIsPosted(t *testing.T) {
	const terms = "https://ca.example/terms v1"
	mac := []byte("a mac key of a CA")
	for _, c := range []struct {
		name  string
		ca    func(*fakeca.CA)
		r     Registration
		err   string // type
		asked string
	}{
		{"terms not accepted", func(ca *fakeca.CA) { ca.TermsOfService(terms) }, Registration{}, "terms", "directory"},
		{"no terms, no flag", func(ca *fakeca.CA) { ca.TermsOfService("") }, Registration{}, "", "directory nonce new-account"},
		{"EAB missing", func(ca *fakeca.CA) { ca.ExternalAccountRequired() }, willing, "eab", "directory"},
		{"EAB given", func(ca *fakeca.CA) { ca.ExternalAccountRequired().EAB("kid-1", mac) }, Registration{AcceptTerms: true, EAB: &acme.EAB{KID: "kid-1", Key: mac}}, "", "directory nonce new-account"},
		{"EAB given, HS512", func(ca *fakeca.CA) { ca.ExternalAccountRequired().EAB("kid-1", mac) }, Registration{AcceptTerms: true, EAB: &acme.EAB{KID: "kid-1", Key: mac, Alg: "HS512"}}, "", "directory nonce new-account"},
		{"EAB algorithm unknown", func(*fakeca.CA) {}, Registration{AcceptTerms: true, EAB: &acme.EAB{KID: "kid-1", Key: mac, Alg: "none"}}, "eab", ""},
		{"EAB without key", func(*fakeca.CA) {}, Registration{AcceptTerms: true, EAB: &acme.EAB{KID: "kid-1"}}, "eab", ""},
		{"bad contact", func(*fakeca.CA) {}, Registration{AcceptTerms: true, Contact: []string{"a b"}}, "contact", ""},
		{"EAB wanted, but not by the directory", func(ca *fakeca.CA) { ca.Problem(fakeca.NewAccount, 403, "externalAccountRequired", "no", 1) }, willing, "eab", "directory nonce new-account"},
		{"terms wanted, but not in the directory", func(ca *fakeca.CA) {
			ca.TermsOfService("").ProblemWith(fakeca.NewAccount, fakeca.Problem{Status: 403, Type: "userActionRequired", Instance: terms}, 1)
		}, Registration{}, "terms", "directory nonce new-account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ca := fakeca.New(t)
			c.ca(ca)
			s := tree(t, ca)
			var err error
			asked := requests(ca, func() { _, _, err = s.Ensure(t.Context(), client(t, ca), c.r) })
			if asked != c.asked {
				t.Errorf("asked: %s", asked)
			}
			var noTerms *TermsError
			var noEAB *EABError
			var noContact *ContactError
			switch {
			case c.err == "" && err != nil,
				c.err == "terms" && (!errors.As(err, &noTerms) || noTerms.URL != terms || noTerms.CA != ca.URL()),
				c.err == "eab" && !errors.As(err, &noEAB),
				c.err == "contact" && !errors.As(err, &noContact):
				t.Errorf("error %v", err)
			}
			if err == nil {
				return
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), string(mac)) || strings.Contains(err.Error(), base64.RawURLEncoding.EncodeToString(mac)) {
				t.Errorf("message: %v", err)
			}
			if exists(s.Path()) {
				t.Errorf("left behind: %s", files(t, s.Dir))
			}
		})
	}
}

// An earlier run may have been killed, or cut off, at any point after the key
// was on disk: the next one finds the account or makes it, with the same key.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		name    string
		cut     func(*fakeca.CA)
		made    int // accounts after the first run
		created bool
		asked   string // by the second run
	}{
		{"before the CA acted", func(ca *fakeca.CA) { ca.DropBefore(fakeca.NewAccount, 1) }, 0, true, "directory nonce new-account new-account"},
		{"after the CA acted", func(ca *fakeca.CA) { ca.DropAfter(fakeca.NewAccount, 1) }, 1, false, "directory nonce new-account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ca := fakeca.New(t)
			s := tree(t, ca)
			c.cut(ca)
			if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); err == nil {
				t.Fatal("no error")
			}
			if ca.Accounts() != c.made {
				t.Fatalf("%d accounts", ca.Accounts())
			}
			key := read(t, s.Path(), "account_key.pem")
			if key == "" {
				t.Fatal("the key is gone, and the account may exist")
			}
			ca.Calm()
			var created bool
			if asked := requests(ca, func() { _, created = ensure(t, ca, s, willing) }); asked != c.asked {
				t.Errorf("asked: %s", asked)
			}
			if created != c.created || ca.Accounts() != 1 || read(t, s.Path(), "account_key.pem") != key {
				t.Errorf("created %v, %d accounts", created, ca.Accounts())
			}
			if asked := requests(ca, func() { ensure(t, ca, s, Registration{}) }); asked != "" {
				t.Errorf("third run asked: %s", asked)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	ca := fakeca.New(t).Problem(fakeca.NewAccount, 400, "invalidContact", "no such domain", 1)
	s := tree(t, ca)
	put(t, s.Path(), map[string]string{"config": "X=1"})
	_, _, err := s.Ensure(t.Context(), client(t, ca), willing)
	var p *acme.Problem
	if !errors.As(err, &p) || p.Short() != "invalidContact" {
		t.Fatalf("%v", err)
	}
	if got := files(t, s.Path()); got != "config" {
		t.Errorf("left: %s", got)
	}

	// A key that was there before is the user's.
	ca = fakeca.New(t).Problem(fakeca.NewAccount, 400, "accountDoesNotExist", "", 1).Problem(fakeca.NewAccount, 400, "badPublicKey", "", 1)
	s = tree(t, ca)
	put(t, s.Path(), map[string]string{"account_key.pem": newKey(t, keys.P256)})
	if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &p) || p.Short() != "badPublicKey" {
		t.Errorf("%v", err)
	}
	if files(t, s.Path()) != ".arid.lock account_key.pem" {
		t.Error("the key is gone")
	}
}

// Trouble at the CA is no refusal: the account may have been made.
func TestTroubleKeepsKey(t *testing.T) {
	for name, spoil := range map[string]func(*fakeca.CA){
		"500":              func(ca *fakeca.CA) { ca.Problem(fakeca.NewAccount, 500, "serverInternal", "", -1) },
		"too many":         func(ca *fakeca.CA) { ca.Problem(fakeca.NewAccount, 429, "rateLimited", "", -1, "Retry-After: 86000") },
		"answer is broken": func(ca *fakeca.CA) { ca.TruncateJSON(fakeca.NewAccount) },
	} {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t)
			spoil(ca)
			s := tree(t, ca)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, _, err := s.Ensure(ctx, client(t, ca), willing)
			if err == nil || read(t, s.Path(), "account_key.pem") == "" {
				t.Errorf("%v; files: %s", err, files(t, s.Path()))
			}
		})
	}
}

func TestHalfWrittenKeyOfAKilledRunGoes(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	if err := os.MkdirAll(s.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	half := s.inFolder(".arid-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if err := os.WriteFile(half, []byte("-----BEGIN EC"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure(t, ca, s, willing)
	if exists(half) {
		t.Error("it is still there")
	}
}

func TestUnreadableKeyStays(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	put(t, s.Path(), map[string]string{"account_key.pem": "damaged"})
	asked := requests(ca, func() {
		var bad *KeyError
		if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
	})
	if asked != "" || read(t, s.Path(), "account_key.pem") != "damaged" {
		t.Errorf("asked %q", asked)
	}
}

func TestURLAskedAnew(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	first, _ := ensure(t, ca, s, willing)
	want := read(t, s.Path(), "account_id.json")
	for _, text := range []string{"gone", `{"id":"1"}`, `{"url":`, ""} {
		if text == "gone" {
			if err := os.Remove(s.inFolder("account_id.json")); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, s.Path(), map[string]string{"account_id.json": text})
		}
		info := `{"the":"first one is kept"}`
		put(t, s.Path(), map[string]string{"registration_info.json": info})
		asked := requests(ca, func() {
			if a, created := ensure(t, ca, s, Registration{}); created || a.URL != first.URL {
				t.Errorf("%q: %+v", text, a)
			}
		})
		if asked != "directory nonce new-account" || read(t, s.Path(), "account_id.json") != want {
			t.Errorf("%q: asked %s; rewritten as %q", text, asked, read(t, s.Path(), "account_id.json"))
		}
		all := ca.Requests()
		if payload := string(all[len(all)-1].Payload); payload != `{"onlyReturnExisting":true}` {
			t.Errorf("payload %s", payload)
		}
		if read(t, s.Path(), "registration_info.json") != info {
			t.Error("registration_info.json was rewritten")
		}
	}
	if ca.Accounts() != 1 {
		t.Errorf("%d accounts", ca.Accounts())
	}
}

// An account that dehydrated made, of each key type, and one in JWK.
func TestForeignKeys(t *testing.T) {
	texts := map[string]string{"jwk": jwkKey}
	for _, a := range []keys.Algo{keys.RSA2048, keys.P256, keys.P384, keys.P521, keys.Ed25519} {
		texts[string(a)] = newKey(t, a)
	}
	for name, text := range texts {
		ca := fakeca.New(t)
		s := tree(t, ca)
		put(t, s.Path(), map[string]string{"account_key.pem": text})
		_, _, err := s.Ensure(t.Context(), client(t, ca), Registration{})
		var terms *TermsError
		if !errors.As(err, &terms) || !strings.Contains(err.Error(), "is not registered") {
			t.Errorf("%s: unknown to the CA, terms not accepted: %v", name, err)
		}
		if _, created := ensure(t, ca, s, willing); !created {
			t.Errorf("%s: not created", name)
		}
		if read(t, s.Path(), "account_key.pem") != text {
			t.Errorf("%s: key was rewritten", name)
		}
	}
}

func TestLegacyKeyStaysInPlace(t *testing.T) {
	ca := fakeca.New(t)
	base := t.TempDir()
	put(t, base, map[string]string{"private_key.pem": newKey(t, keys.P256)})
	s := &Store{Dir: filepath.Join(base, "accounts"), CA: ca.URL(), Base: base}
	ensure(t, ca, s, willing)
	if files(t, s.Path()) != ".arid.lock account_id.json registration_info.json" || !exists(filepath.Join(base, "private_key.pem")) {
		t.Errorf("files: %s", files(t, base))
	}
	if asked := requests(ca, func() { ensure(t, ca, s, Registration{}) }); asked != "" {
		t.Errorf("asked: %s", asked)
	}
}

func TestKeyFile(t *testing.T) {
	ca := fakeca.New(t)
	dir := t.TempDir()
	put(t, dir, map[string]string{"k.pem": jwkKey})
	s := &Store{Dir: filepath.Join(dir, "accounts"), CA: ca.URL(), KeyFile: filepath.Join(dir, "k.pem")}
	first, created := ensure(t, ca, s, willing)
	if !created || files(t, dir) != "k.pem k.pem.json k.pem_id.json" {
		t.Errorf("created %v; files: %s", created, files(t, dir))
	}
	if asked := requests(ca, func() { ensure(t, ca, s, Registration{}) }); asked != "" {
		t.Errorf("second run asked: %s", asked)
	}
	thumbprint, err := acme.Thumbprint(first.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "k.pem_id.json"), `{"ca":"`+ca.URL()+`","key":"`+thumbprint+`","url":"`+first.URL+`"}`+"\n"; got != want {
		t.Errorf("k.pem_id.json %q", got)
	}

	// The same key at another CA is another account, and the way back works.
	other := fakeca.New(t)
	elsewhere := &Store{Dir: s.Dir, CA: other.URL(), KeyFile: s.KeyFile}
	if a, created := ensure(t, other, elsewhere, willing); !created || a.URL == first.URL {
		t.Errorf("%+v, created %v", a, created)
	}
	if a, created := ensure(t, ca, s, Registration{}); created || a.URL != first.URL {
		t.Errorf("%+v, created %v", a, created)
	}

	// Another key in the same file is another account.
	put(t, dir, map[string]string{"k.pem": newKeyPEM(t)})
	if a, created := ensure(t, ca, s, willing); !created || a.URL == first.URL {
		t.Errorf("another key: %+v, created %v", a, created)
	}
}

// The key may lie where this user can only read.
func TestKeyFileReadOnly(t *testing.T) {
	ca := fakeca.New(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(jwkKey); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s := &Store{Dir: filepath.Join(t.TempDir(), "accounts"), CA: ca.URL(), KeyFile: "/dev/fd/" + itoa(int(r.Fd()))}
	if _, created := ensure(t, ca, s, willing); !created {
		t.Error("not created")
	}
	if exists(s.Dir) {
		t.Error("the tree was touched")
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestTwoRegisterAtOnce(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	const runs = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, urls := 0, map[string]bool{}
	for range runs {
		c := client(t, ca)
		wg.Go(func() {
			a, created, err := s.Ensure(t.Context(), c, willing)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			urls[a.URL] = true
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 || len(urls) != 1 || ca.Accounts() != 1 || ca.Count(fakeca.NewAccount) != 1 {
		t.Errorf("%d made, %d URLs, %d accounts at the CA, %d newAccount", made, len(urls), ca.Accounts(), ca.Count(fakeca.NewAccount))
	}
}

// A refused run takes its folder and lock away while others wait for them.
func TestSomeRefusedAtOnce(t *testing.T) {
	const runs, refusals = 12, 5
	ca := fakeca.New(t).Problem(fakeca.NewAccount, 400, "invalidContact", "", refusals)
	s := tree(t, ca)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, refused := 0, 0
	for range runs {
		c := client(t, ca)
		wg.Go(func() {
			_, created, err := s.Ensure(t.Context(), c, willing)
			mu.Lock()
			defer mu.Unlock()
			var p *acme.Problem
			switch {
			case errors.As(err, &p):
				refused++
			case err != nil:
				t.Error(err)
			case created:
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 || refused != refusals || ca.Accounts() != 1 {
		t.Errorf("%d made, %d refused, %d accounts at the CA", made, refused, ca.Accounts())
	}
}

// The CA denies the account once, and then has it all the same.
func TestRegisterFindsExisting(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	first, _ := ensure(t, ca, s, willing)
	if err := os.Remove(s.idFile()); err != nil {
		t.Fatal(err)
	}
	ca.Problem(fakeca.NewAccount, 400, "accountDoesNotExist", "", 1)
	if a, created := ensure(t, ca, s, willing); created || a.URL != first.URL {
		t.Errorf("%+v, created %v", a, created)
	}
}

func TestLockBusy(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	unlock, err := s.lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	var busy *atomicfile.LockedError
	if _, _, err := s.Ensure(t.Context(), client(t, ca), Registration{AcceptTerms: true}); !errors.As(err, &busy) {
		t.Errorf("%v", err)
	}
	if ca.Count(fakeca.NewAccount) != 0 {
		t.Error("registered all the same")
	}
}

func TestGone(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	ensure(t, ca, s, willing)
	c := client(t, ca)
	if _, _, err := s.Ensure(t.Context(), c, Registration{}); err != nil {
		t.Fatal(err)
	}
	if err := c.DeactivateAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.idFile()); err != nil {
		t.Fatal(err)
	}
	var gone *GoneError
	if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &gone) || gone.File != s.KeyPath() {
		t.Errorf("deactivated at the CA: %v", err)
	}

	// The URL is stored, and the CA has forgotten the account.
	p := &acme.Problem{Type: "urn:ietf:params:acme:error:accountDoesNotExist", Status: 400, Header: http.Header{}}
	if err := s.Lost(p); !errors.As(err, &gone) || gone.File != s.idFile() || !errors.Is(err, error(p)) {
		t.Errorf("%v", err)
	}
	if other := errors.New("x"); s.Lost(other) != other || s.Lost(nil) != nil {
		t.Error("other errors are changed")
	}
}

func TestStatusOfExistingAccount(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	ensure(t, ca, s, willing)
	if err := os.Remove(s.idFile()); err != nil {
		t.Fatal(err)
	}
	ca.Member(fakeca.NewAccount, "status", "revoked") // a CA that answers 200 for it
	var gone *GoneError
	if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &gone) {
		t.Errorf("%v", err)
	}
	if _, _, err := tree(t, ca).Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &gone) {
		t.Errorf("new: %v", err)
	}
}

func TestKeyFileIsMadeWhereThereIsNone(t *testing.T) {
	ca := fakeca.New(t).TermsOfService("https://ca.test/terms")
	dir := t.TempDir()
	s := &Store{Dir: filepath.Join(dir, "accounts"), CA: ca.URL(), KeyFile: filepath.Join(dir, "k.pem"), MakeKey: true}
	var terms *TermsError
	var bad *KeyError
	if _, _, err := s.Ensure(t.Context(), client(t, ca), Registration{}); !errors.As(err, &terms) || files(t, dir) != "" {
		t.Errorf("terms: %v; files: %s", err, files(t, dir))
	}
	a, created := ensure(t, ca, s, willing)
	info, err := os.Stat(s.KeyFile)
	if !created || err != nil || info.Mode() != 0o600 || files(t, dir) != "k.pem k.pem.json k.pem_id.json" {
		t.Errorf("created %v; %v, %v; files: %s", created, info, err, files(t, dir))
	}
	if again, created := ensure(t, ca, s, Registration{}); created || again.URL != a.URL {
		t.Errorf("again: %+v, created %v", again, created)
	}

	// A refused key goes again, and what is there and cannot be read stays.
	ca.Problem("new-account", 403, "unauthorized", "no", 1)
	refused := &Store{Dir: s.Dir, CA: ca.URL(), KeyFile: filepath.Join(dir, "refused.pem"), MakeKey: true}
	if _, _, err := refused.Ensure(t.Context(), client(t, ca), willing); acme.Refusal(err) == nil || exists(refused.KeyFile) {
		t.Errorf("refused: %v; files: %s", err, files(t, dir))
	}
	put(t, dir, map[string]string{"broken.pem": "no key"})
	if err := os.Symlink("nowhere", filepath.Join(dir, "link.pem")); err != nil {
		t.Fatal(err)
	}
	was := files(t, dir)
	for _, name := range []string{"broken.pem", "link.pem"} {
		s := &Store{Dir: s.Dir, CA: ca.URL(), KeyFile: filepath.Join(dir, name), MakeKey: true}
		if _, _, err := s.Ensure(t.Context(), client(t, ca), willing); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Check(willing); !errors.As(err, &bad) {
			t.Errorf("%s, checked: %v", name, err)
		}
	}
	if files(t, dir) != was || read(t, dir, "broken.pem") != "no key" {
		t.Errorf("files: %s", files(t, dir))
	}
	// Who only looks for an account makes nothing.
	none := &Store{Dir: s.Dir, CA: ca.URL(), KeyFile: filepath.Join(dir, "none.pem"), MakeKey: true}
	if _, err := none.Find(t.Context(), client(t, ca), 0); !errors.As(err, &bad) {
		t.Errorf("found: %v", err)
	}
	if a, err := (&Store{CA: ca.URL(), KeyFile: s.KeyFile, URL: "https://ca.test/known"}).Open(); err != nil || a.URL != "https://ca.test/known" {
		t.Errorf("a URL that the caller knows: %+v, %v", a, err)
	}
}

// They all have the key of whoever was first.
func TestKeyFileMadeByManyAtOnce(t *testing.T) {
	ca := fakeca.New(t)
	file := filepath.Join(t.TempDir(), "k.pem")
	var wg sync.WaitGroup
	var mu sync.Mutex
	urls := map[string]bool{}
	for range 8 {
		c := client(t, ca)
		wg.Go(func() {
			s := &Store{Dir: filepath.Join(filepath.Dir(file), "accounts"), CA: ca.URL(), KeyFile: file, MakeKey: true}
			a, _, err := s.Ensure(t.Context(), c, willing)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			urls[a.URL] = true
		})
	}
	wg.Wait()
	if len(urls) != 1 || ca.Accounts() != 1 {
		t.Errorf("%d URLs, %d accounts", len(urls), ca.Accounts())
	}
}
