package account

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/internal/fakeca"
)

func TestUpdate(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	now := time.Unix(1795000000, 0)
	c := client(t, ca)
	if _, _, err := s.Ensure(t.Context(), c, willing); err != nil {
		t.Fatal(err)
	}
	info := s.inFolder("registration_info.json")
	first := read(t, info)
	update := func(addresses ...string) *Update {
		t.Helper()
		u, err := s.Update(t.Context(), c, Change{Contact: append([]string{}, addresses...)}, now)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := update("a@example.org"); !u.Same || u.Backup != "" {
		t.Errorf("nothing new: %+v", u)
	}
	u := update("b@example.org")
	if want := s.inFolder("registration_info-1795000000.json"); u.Same || u.File != info || u.Backup != want {
		t.Errorf("%+v, want a backup %q", u, want)
	}
	if got := read(t, u.Backup); got != first {
		t.Errorf("the backup holds %q, want %q", got, first)
	}
	if got := read(t, info); !strings.Contains(got, "b@example.org") {
		t.Errorf("stored is %q", got)
	}
	// In the same second the backup is another file; without an address they are gone.
	if u := update(); u.Backup != s.inFolder("registration_info-1795000001.json") || strings.Contains(read(t, info), "@") {
		t.Errorf("%+v: %q", u, read(t, info))
	}
	if err := os.Remove(info); err != nil {
		t.Fatal(err)
	}
	if u := update("c@example.org"); u.Same || u.Backup != "" || !strings.Contains(read(t, info), "c@example.org") {
		t.Errorf("nothing was stored: %+v", u)
	}
	asked := requests(ca, func() {
		if _, err := s.Update(t.Context(), c, Change{Contact: []string{"a b"}}, now); err == nil {
			t.Error("no address is taken")
		}
	})
	if asked != "" {
		t.Errorf("the CA was asked %s", asked)
	}
}

func TestDeactivate(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	c := client(t, ca)
	if _, _, err := s.Ensure(t.Context(), c, willing); err != nil {
		t.Fatal(err)
	}
	ca.Problem(fakeca.Account, 403, "unauthorized", "not today", 1)
	if err := s.Deactivate(t.Context(), c); err == nil || exists(s.inFolder("deactivated")) {
		t.Fatalf("refused, and taken for done: %v", err)
	}
	if err := s.Deactivate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.inFolder("deactivated")); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the marker: %v, %v", info, err)
	}
	if _, err := s.Open(); err == nil {
		t.Error("the account is used again")
	}
}

func TestDeactivateAKeyOutsideTheTree(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	ensure(t, ca, s, willing)
	key := filepath.Join(t.TempDir(), "key.pem")
	put(t, filepath.Dir(key), map[string]string{"key.pem": newKeyPEM(t)})
	outside := *s
	outside.KeyFile = key
	c := client(t, ca)
	if _, _, err := outside.Ensure(t.Context(), c, willing); err != nil {
		t.Fatal(err)
	}
	if err := outside.Deactivate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(); err != nil {
		t.Errorf("the account of the tree: %v", err)
	}
}

// A run that was killed after the CA had ended the account leaves no marker.
func TestDeactivateOnceMore(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	c := client(t, ca)
	if _, _, err := s.Ensure(t.Context(), c, willing); err != nil {
		t.Fatal(err)
	}
	if err := c.DeactivateAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	var gone *GoneError
	if _, err := s.Fetch(t.Context(), c); !errors.As(err, &gone) {
		t.Errorf("looking at it: %v", err)
	}
	if err := s.Deactivate(t.Context(), c); err != nil || !exists(s.inFolder("deactivated")) {
		t.Errorf("%v, files %s", err, files(t, s.Dir))
	}
}

func TestUpdateAcceptsTermsAndLeavesContacts(t *testing.T) {
	ca := fakeca.New(t)
	s := tree(t, ca)
	c := client(t, ca)
	if _, _, err := s.Ensure(t.Context(), c, willing); err != nil {
		t.Fatal(err)
	}
	u, err := s.Update(t.Context(), c, Change{AcceptTerms: true}, time.Now())
	if err != nil || len(u.Contact) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	all := ca.Requests()
	if got := string(all[len(all)-1].Payload); got != `{"termsOfServiceAgreed":true}` {
		t.Errorf("sent %s", got)
	}
}
