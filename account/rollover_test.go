package account

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
	"arid/keys"
)

var rollTime = time.Unix(1795000000, 0)

// registered is a tree with an account.
func registered(t *testing.T, ca *fakeca.CA) (*Store, *Account) {
	t.Helper()
	s := tree(t, ca)
	a, _ := ensure(t, ca, s, willing)
	return s, a
}

// wantWorking is an account that is whole: it signs with the key on disk, and
// nothing of a rollover is left to do.
func wantWorking(t *testing.T, ca *fakeca.CA, s *Store, url string) *Account {
	t.Helper()
	c := client(t, ca)
	var a *Account
	asked := requests(ca, func() {
		var err error
		if a, err = s.Find(t.Context(), c, 0); err != nil {
			t.Fatal(err)
		}
	})
	if asked != "" || a.URL != url || exists(s.nextFile()) {
		t.Errorf("asked %q, URL %q, files %s", asked, a.URL, files(t, s.Dir))
	}
	if _, err := s.Fetch(t.Context(), c); err != nil {
		t.Errorf("the key on disk: %v", err)
	}
	if ca.Accounts() != 1 {
		t.Errorf("%d accounts", ca.Accounts())
	}
	return a
}

func TestRollover(t *testing.T) {
	ca := fakeca.New(t)
	s, before := registered(t, ca)
	old := read(t, s.inFolder("account_key.pem"))
	if err := os.Chmod(s.inFolder("account_key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := client(t, ca)
	var rolled *Rolled
	asked := requests(ca, func() {
		var err error
		if rolled, err = s.Rollover(t.Context(), c, Rollover{Algo: keys.P384, Now: rollTime}); err != nil {
			t.Fatal(err)
		}
	})
	if asked != "directory nonce new-account key-change" {
		t.Errorf("asked %s", asked)
	}
	if rolled.Same || rolled.Backup != s.inFolder("account_key-1795000000.pem") || read(t, rolled.Backup) != old {
		t.Errorf("%+v", rolled)
	}
	if info, err := os.Stat(s.inFolder("account_key.pem")); err != nil || info.Mode() != 0o640 && info.Mode() != 0o600 {
		t.Errorf("the new key is open to all: %v, %v", info.Mode(), err)
	}
	after := wantWorking(t, ca, s, before.URL)
	if algo, _ := keys.AlgoOf(after.Key.Public()); algo != keys.P384 {
		t.Errorf("key of type %q", algo)
	}
	if _, err := s.Fetch(t.Context(), c); err != nil {
		t.Errorf("the client that rolled over: %v", err)
	}
}

// cutting is a network that ends, as a killed run does, at the n-th request: before
// the CA has it, or after it was carried out.
type cutting struct {
	http.RoundTripper
	left  int
	after bool
	kill  context.CancelFunc
}

func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.left--
	if c.left > 0 {
		return c.RoundTripper.RoundTrip(r)
	}
	if c.left == 0 && c.after {
		if response, err := c.RoundTripper.RoundTrip(r); err == nil {
			response.Body.Close()
		}
	}
	c.kill()
	return nil, context.Canceled
}

// finishers are what may be done next after a run that was killed.
var finishers = map[string]func(t *testing.T, ca *fakeca.CA, s *Store) error{
	"a run that orders": func(t *testing.T, ca *fakeca.CA, s *Store) error {
		_, created, err := s.Ensure(t.Context(), client(t, ca), willing)
		if created {
			t.Error("a second account")
		}
		return err
	},
	"a look": func(t *testing.T, ca *fakeca.CA, s *Store) error {
		_, err := s.Find(t.Context(), client(t, ca), 0)
		return err
	},
	"the same again": func(t *testing.T, ca *fakeca.CA, s *Store) error {
		_, err := s.Rollover(t.Context(), client(t, ca), Rollover{Now: rollTime})
		return err
	},
}

func TestRolloverSurvivesAKillAtAnyRequest(t *testing.T) {
	for name, finish := range finishers {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= 4; n++ {
				for _, after := range []bool{false, true} {
					ca := fakeca.New(t)
					s, before := registered(t, ca)
					ctx, kill := context.WithCancel(t.Context())
					c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: &cutting{ca.HTTPClient().Transport, n, after, kill}}})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := s.Rollover(ctx, c, Rollover{Now: rollTime}); err == nil {
						t.Fatalf("request %d: not killed", n)
					}
					next := read(t, s.nextFile())
					if !exists(s.nextFile()) {
						t.Fatalf("request %d: the new key is not on disk", n)
					}
					if err := finish(t, ca, s); err != nil {
						t.Fatalf("request %d, carried out %v: %v", n, after, err)
					}
					if got := read(t, s.inFolder("account_key.pem")); got != next {
						t.Errorf("request %d, carried out %v: it is another key now", n, after)
					}
					wantWorking(t, ca, s, before.URL)
				}
			}
		})
	}
}

func TestRolloverSurvivesAKillBetweenItsFiles(t *testing.T) {
	for name, finish := range finishers {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t)
			s, before := registered(t, ca)
			// The CA has the new key, the old one has its second name.
			if err := s.prepare(Rollover{}); err != nil {
				t.Fatal(err)
			}
			next, err := keys.Read(s.nextFile())
			if err != nil {
				t.Fatal(err)
			}
			c := client(t, ca)
			if err := s.use(t.Context(), c, before); err != nil {
				t.Fatal(err)
			}
			if err := c.ChangeKey(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			if _, err := backup(s.inFolder("account_key.pem"), rollTime); err != nil {
				t.Fatal(err)
			}
			// The URL can be asked for.
			if err := os.Remove(s.inFolder("account_id.json")); err != nil {
				t.Fatal(err)
			}
			if err := finish(t, ca, s); err != nil {
				t.Fatal(err)
			}
			if a, err := s.Open(); err != nil || !keys.Fits(next.Public(), a.Key) {
				t.Errorf("%+v, %v", a, err)
			}
			if _, err := s.Find(t.Context(), client(t, ca), 0); err != nil {
				t.Fatal(err)
			}
			wantWorking(t, ca, s, before.URL)
		})
	}
}

func TestRolloverThatTheCARefuses(t *testing.T) {
	ca := fakeca.New(t)
	s, before := registered(t, ca)
	had := files(t, s.Dir)
	ca.Problem(fakeca.KeyChange, 400, "badPublicKey", "not this one", 2)
	_, err := s.Rollover(t.Context(), client(t, ca), Rollover{Now: rollTime})
	var refused *RolloverError
	if !errors.As(err, &refused) || acme.Refusal(err) == nil {
		t.Fatalf("error %v", err)
	}
	if got := files(t, s.Dir); got != had {
		t.Errorf("files %s, were %s", got, had)
	}
	// What was interrupted and is refused then is not in the way of an order.
	if err := s.prepare(Rollover{}); err != nil {
		t.Fatal(err)
	}
	a, _ := ensure(t, ca, s, willing)
	if !keys.Fits(before.Key.Public(), a.Key) || files(t, s.Dir) != had {
		t.Errorf("account %+v, files %s", a, files(t, s.Dir))
	}
	wantWorking(t, ca, s, before.URL)
}

func TestRolloverAtACAWithoutKeyChange(t *testing.T) {
	ca := fakeca.New(t).DropMember(fakeca.Directory, "keyChange")
	s, _ := registered(t, ca)
	had := files(t, s.Dir)
	_, err := s.Rollover(t.Context(), client(t, ca), Rollover{Now: rollTime})
	if err == nil || !strings.Contains(err.Error(), "keyChange") || files(t, s.Dir) != had {
		t.Errorf("%v, files %s", err, files(t, s.Dir))
	}
}

func TestRolloverToAKeyOfOnesOwn(t *testing.T) {
	ca := fakeca.New(t)
	s, before := registered(t, ca)
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		rolled, err := s.Rollover(t.Context(), client(t, ca), Rollover{Key: key, Now: rollTime})
		if err != nil || rolled.Same != (i == 1) || !keys.Fits(key.Public(), rolled.Account.Key) {
			t.Errorf("%d: %+v, %v", i, rolled, err)
		}
	}
	wantWorking(t, ca, s, before.URL)

	// Another account's key is not taken.
	other := tree(t, ca)
	theirs, _ := ensure(t, ca, other, willing)
	had := files(t, s.Dir)
	var refused *RolloverError
	if _, err := s.Rollover(t.Context(), client(t, ca), Rollover{Key: theirs.Key, Now: rollTime}); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if files(t, s.Dir) != had {
		t.Errorf("files %s, were %s", files(t, s.Dir), had)
	}
}

func TestRolloverOutsideTheTree(t *testing.T) {
	ca := fakeca.New(t)
	dir := t.TempDir()
	put(t, dir, map[string]string{"old.pem": newKeyPEM(t), "new.pem": newKeyPEM(t)})
	s := tree(t, ca)
	s.KeyFile = filepath.Join(dir, "old.pem")
	first, _ := ensure(t, ca, s, willing)
	if _, err := s.Rollover(t.Context(), client(t, ca), Rollover{}); err == nil {
		t.Error("a key was made for a file that is not ours")
	}
	key, err := keys.Read(filepath.Join(dir, "new.pem"))
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	ca.DropAfter(fakeca.KeyChange, 1)
	if _, err := s.Rollover(t.Context(), client(t, ca), Rollover{Key: key}); err == nil {
		t.Fatal("no answer came, and all is well")
	}
	rolled, err := s.Rollover(t.Context(), client(t, ca), Rollover{Key: key})
	if err != nil || rolled.Account.URL != first.URL || rolled.Backup != "" {
		t.Errorf("%+v, %v", rolled, err)
	}
	if want := strings.ReplaceAll(before, " old.pem_id.json", ""); files(t, dir) != want || want == before || exists(s.Dir) {
		t.Errorf("files %s, were %s", files(t, dir), before)
	}
	var none *NoneError
	if _, err := s.Find(t.Context(), client(t, ca), 0); !errors.As(err, &none) {
		t.Errorf("the old key: %v", err)
	}
	s.KeyFile = filepath.Join(dir, "new.pem")
	if a, created := ensure(t, ca, s, willing); created || a.URL != first.URL {
		t.Errorf("%+v, created %v", a, created)
	}
}

func TestRolloverWithoutAnAccount(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	asked := requests(ca, func() {
		var none *NoneError
		if _, err := s.Rollover(t.Context(), client(t, ca), Rollover{}); !errors.As(err, &none) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Find(t.Context(), client(t, ca), 0); !errors.As(err, &none) {
			t.Errorf("error %v", err)
		}
	})
	if asked != "" || exists(s.Dir) {
		t.Errorf("asked %s", asked)
	}
}

// Who moves the old key away wants to begin anew: what a rollover left must not be
// in the way.
func TestRegistrationAfterARolloverThatWasGivenUp(t *testing.T) {
	ca := fakeca.New(t)
	s, before := registered(t, ca)
	if err := s.prepare(Rollover{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"account_key.pem", "account_id.json"} {
		if err := os.Remove(s.inFolder(name)); err != nil {
			t.Fatal(err)
		}
	}
	if a, created := ensure(t, ca, s, willing); !created || a.URL == before.URL || exists(s.nextFile()) {
		t.Errorf("%+v, created %v, files %s", a, created, files(t, s.Dir))
	}
}

func TestBackupWithoutHardLinks(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.pem": "old", "b.pem": ""})
	name := filepath.Join(dir, "b.pem")
	if err := duplicate(filepath.Join(dir, "a.pem"), name); !errors.Is(err, os.ErrExist) {
		t.Errorf("what is there was replaced: %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := duplicate(filepath.Join(dir, "a.pem"), name); err != nil || read(t, name) != "old" {
		t.Errorf("%q, %v", read(t, name), err)
	}
}
