package issue_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/account"
	"arid/acme"
	"arid/certs"
	"arid/challenge"
	"arid/hooks"
	"arid/internal/fakeca"
	"arid/issue"
	"arid/keys"
)

const day = 24 * time.Hour

// scene is a CA without doubts, and a place for certificates of it.
type scene struct {
	t      *testing.T
	ca     *fakeca.CA
	store  *certs.Store
	client *acme.Client
	memory *account.Memory
	place  account.Store
	hook   *hooks.Runner // nil: none
	now    time.Time     // when the first certificate was ordered
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneWith(t, fakeca.New(t).ReadyOrder())
}

func newSceneWith(t *testing.T, ca *fakeca.CA) *scene {
	t.Helper()
	s := &scene{t: t, ca: ca, store: &certs.Store{Dir: t.TempDir()}, now: time.Now()}
	s.place = account.Store{Dir: t.TempDir(), CA: s.ca.URL()}
	var err error
	if s.client, err = acme.New(s.ca.URL(), acme.Options{HTTP: s.ca.HTTPClient()}); err != nil {
		t.Fatal(err)
	}
	if s.memory, err = s.place.Memory(); err != nil {
		t.Fatal(err)
	}
	return s
}

// at is a request for these names, the first of which names the folder, that long
// after the first one.
func (s *scene) at(after time.Duration, names ...string) *issue.Request {
	s.t.Helper()
	types, err := challenge.ParseChoice("http-01")
	if err != nil {
		s.t.Fatal(err)
	}
	r := &issue.Request{
		Now: s.now.Add(after), Names: names, CA: s.ca.URL(), Client: s.client, Account: s.place,
		Registration: account.Registration{AcceptTerms: true}, Types: types, Algo: keys.P256, Timeout: time.Minute,
		Memory: s.memory, Hooks: s.hook,
	}
	if r.Certificate, err = s.store.Certificate(names[0]); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *scene) sign(r *issue.Request) {
	s.t.Helper()
	if _, err := issue.Sign(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) look(r *issue.Request) *issue.Outlook {
	s.t.Helper()
	requests := len(s.ca.Requests())
	o, err := issue.Look(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(s.ca.Requests()) != requests {
		s.t.Error("a look asked the CA")
	}
	return o
}

// failing makes a hook that fails at one operation.
func (s *scene) failing(operation string) {
	s.t.Helper()
	program := filepath.Join(s.t.TempDir(), "hook")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ \"$1\" != "+operation+" ]\n"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.hook = &hooks.Runner{Program: program, Env: os.Environ(), Turn: make(chan struct{}, 1)}
}

func TestLook(t *testing.T) {
	s := newScene(t)
	o := s.look(s.at(0, "a.test"))
	if !o.Due || o.Held || o.Live != nil || o.Mismatch || o.Failed != nil || o.Reason != "there is none yet" {
		t.Errorf("nothing there: %+v", o)
	}
	s.sign(s.at(0, "a.test"))
	o = s.look(s.at(time.Hour, "a.test"))
	leaf := o.Live.Leaf
	third := leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
	if o.Due || o.Owed || o.OCSP || o.Mismatch || o.Revoked || !o.At.Equal(third) {
		t.Errorf("fresh: %+v", o)
	}
	if o = s.look(s.at(61*day, "a.test")); !o.Due || o.Held || o.Mismatch {
		t.Errorf("after two thirds: %+v", o)
	}
	if o = s.look(s.at(time.Hour, "a.test", "b.test")); !o.Due || !o.Mismatch {
		t.Errorf("a name more: %+v", o)
	}
	r := s.at(time.Hour, "a.test")
	r.Algo, r.Explicit.Algo = keys.P384, true
	if o = s.look(r); !o.Due || o.Mismatch {
		t.Errorf("another type of key is wanted, and the key fits: %+v", o)
	}
	if err := os.Remove(filepath.Join(s.store.Dir, "a.test/privkey.pem")); err != nil {
		t.Fatal(err)
	}
	if o = s.look(s.at(time.Hour, "a.test")); !o.Due || !o.Mismatch {
		t.Errorf("the key gone: %+v", o)
	}
}

func TestLookKnowsWhenTheCAIsAsked(t *testing.T) {
	s := newScene(t)
	s.ca.RenewalWindow(s.now.Add(40*day), s.now.Add(41*day))
	s.sign(s.at(0, "a.test"))
	asks := func(after time.Duration) int {
		before := s.ca.Count(fakeca.RenewalInfo)
		s.sign(s.at(after, "a.test"))
		return s.ca.Count(fakeca.RenewalInfo) - before
	}
	ask := s.look(s.at(time.Minute, "a.test")).Ask.Sub(s.now)
	if ask < time.Hour || ask > 13*time.Hour {
		t.Fatalf("to be asked after %s", ask)
	}
	if n := asks(ask - time.Second); n != 0 {
		t.Errorf("a second too early it was asked %d times", n)
	}
	if n := asks(ask); n != 1 {
		t.Errorf("at that moment it was asked %d times", n)
	}
	again := s.look(s.at(ask, "a.test")).Ask.Sub(s.now)
	if again <= ask {
		t.Errorf("asked after %s, and again after %s", ask, again)
	}
	if o := s.look(s.at(again+5*day, "a.test")); !o.Ask.Equal(s.now.Add(again + 5*day)) {
		t.Errorf("over time, and yet only at %s", o.Ask)
	}
	if err := s.memory.Hold(s.now.Add(again+day), "closed"); err != nil {
		t.Fatal(err)
	}
	if o := s.look(s.at(again, "a.test")); o.Ask.Before(s.now.Add(again+day-time.Second)) || asks(again) != 0 {
		t.Errorf("the CA wants not to be asked, and yet at %s", o.Ask)
	}
	r := s.at(again, "a.test")
	if r.CA = "https://other.example/dir"; !s.look(r).Ask.IsZero() {
		t.Error("another CA is to be asked about it")
	}
}

func TestLookAtWhatIsOwed(t *testing.T) {
	s := newScene(t)
	s.failing("deploy_cert")
	var deploy *issue.DeployError
	if _, err := issue.Sign(t.Context(), s.at(0, "a.test")); !errors.As(err, &deploy) {
		t.Fatal(err)
	}
	o := s.look(s.at(time.Second, "a.test"))
	if o.Due || !o.Owed || !o.Held || o.Until.Before(s.now.Add(50*time.Second)) || o.Failed == nil || o.Failed.Attempts != 1 {
		t.Errorf("%+v", o)
	}
	o = s.look(s.at(time.Hour, "a.test"))
	if o.Due || !o.Owed || o.Held || !strings.HasPrefix(o.Reason, "version ") || !strings.HasSuffix(o.Reason, " is owed to a hook") {
		t.Errorf("an hour later: %+v", o)
	}
	r := s.at(time.Second, "a.test")
	r.HookChain = true // as it was not the last time
	if o, err := issue.LookAlone(r); err != nil || !o.Owed || !o.Held {
		t.Errorf("alone: %+v %v", o, err)
	}
	if o = s.look(s.at(61*day, "a.test")); !o.Due || !strings.HasPrefix(o.Reason, "it expires at ") {
		t.Errorf("due as well: %+v", o)
	}
}

func TestLookAtARevokedOne(t *testing.T) {
	s := newScene(t)
	s.sign(s.at(0, "a.test"))
	r := s.at(time.Hour, "a.test")
	state, err := r.Certificate.State()
	if err != nil {
		t.Fatal(err)
	}
	state.Revoked = true
	if err := r.Certificate.SaveState(state); err != nil {
		t.Fatal(err)
	}
	if o := s.look(r); !o.Revoked || !o.Due {
		t.Errorf("%+v", o)
	}
	s.sign(r)
	if o := s.look(r); o.Revoked || o.Due {
		t.Errorf("with another in its place: %+v", o)
	}
}

func TestLookAtOCSP(t *testing.T) {
	s := newScene(t)
	s.ca.Leaf(func(c *x509.Certificate, _ *crypto.PublicKey) { c.OCSPServer = []string{"http://127.0.0.1:9/"} })
	s.sign(s.at(0, "a.test"))
	r := s.at(time.Hour, "a.test")
	if o := s.look(r); o.OCSP {
		t.Errorf("nobody wants a response: %+v", o)
	}
	r.OCSP, r.OCSPDays = true, 5
	if o := s.look(r); !o.OCSP || o.Due || o.Owed {
		t.Errorf("no response yet: %+v", o)
	}
	if r.Now = s.now.Add(61 * day); s.look(r).OCSP {
		t.Error("a new certificate comes first")
	}
}

// What nobody asks for any more is looked at as it was asked for at last.
func TestLookAlone(t *testing.T) {
	s := newScene(t)
	s.sign(s.at(0, "a.test", "b.test"))
	alone := func(after time.Duration) *issue.Outlook {
		t.Helper()
		r := s.at(after, "a.test")
		r.Names = nil
		r.Explicit.CA, r.CA = true, "https://other.example/dir"
		o, err := issue.LookAlone(r)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := alone(time.Hour); o.Due || o.Mismatch || strings.Join(o.Names, " ") != "a.test b.test" {
		t.Errorf("%+v", o)
	}
	s.ca.FailIssuance("serverInternal", "no")
	r := s.at(61*day, "a.test", "b.test")
	r.Profile = "" // and what else alone does not know:
	r.HookChain = true
	if _, err := issue.Sign(t.Context(), r); err == nil {
		t.Fatal("the CA issued")
	}
	if o := alone(61*day + time.Second); !o.Due || !o.Held || o.Failed == nil {
		t.Errorf("right after a failure: %+v", o)
	}
	if err := os.Remove(filepath.Join(s.store.Dir, "a.test/state.json")); err != nil {
		t.Fatal(err)
	}
	if o := alone(time.Hour); o.Due || strings.Join(o.Names, " ") != "a.test b.test" {
		t.Errorf("made by another program: %+v", o)
	}
	r = s.at(0, "none.test")
	r.Names = nil
	if o, err := issue.LookAlone(r); err != nil || !o.Due || o.Live != nil || len(o.Names) != 0 {
		t.Errorf("an empty folder: %+v %v", o, err)
	}
}

// What keeps a certificate from being renewed does not keep it from being seen.
func TestLookWithAnErrorShowsWhatIsThere(t *testing.T) {
	s := newScene(t)
	s.sign(s.at(0, "a.test"))
	r := s.at(time.Hour, "a.test")
	r.TestCA = true
	var config *issue.ConfigError
	o, err := issue.Look(r)
	if !errors.As(err, &config) || o == nil || o.Live == nil || o.State == nil || len(o.Names) != 1 {
		t.Errorf("%+v %v", o, err)
	}
}
