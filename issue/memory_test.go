package issue_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"arid/acme"
	"arid/certs"
	"arid/hooks"
	"arid/internal/fakeca"
	"arid/issue"
	"arid/keys"
)

// tries runs a request and returns how many orders that made, and its error.
func (s *scene) tries(r *issue.Request) (orders int, err error) {
	before := s.ca.Count(fakeca.NewOrder)
	_, err = issue.Sign(s.t.Context(), r)
	return s.ca.Count(fakeca.NewOrder) - before, err
}

// held fails the test unless the request is put off without a word to the CA.
func (s *scene) held(what string, r *issue.Request) *issue.HeldError {
	s.t.Helper()
	before := len(s.ca.Requests())
	_, err := issue.Sign(s.t.Context(), r)
	var held *issue.HeldError
	if !errors.As(err, &held) || len(s.ca.Requests()) != before {
		s.t.Fatalf("%s: %d requests, and %v", what, len(s.ca.Requests())-before, err)
	}
	return held
}

// tried fails the test unless the request makes that many orders and fails for
// another reason than that its time has not come.
func (s *scene) tried(what string, r *issue.Request, orders int) {
	s.t.Helper()
	n, err := s.tries(r)
	var held *issue.HeldError
	if n != orders || err == nil || errors.As(err, &held) {
		s.t.Errorf("%s: %d orders and %v, want %d and a failure", what, n, err, orders)
	}
}

func (s *scene) state(alias string) *certs.State {
	s.t.Helper()
	c, err := s.store.Certificate(alias)
	if err != nil {
		s.t.Fatal(err)
	}
	state, err := c.State()
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// calls makes a hook that notes deploy_cert and fails at it.
func (s *scene) calls() (count func() int) {
	s.t.Helper()
	dir := s.t.TempDir()
	program := filepath.Join(dir, "hook")
	script := "#!/bin/sh\n[ \"$1\" = deploy_cert ] || exit 0\necho >>" + dir + "/calls\nexit 3\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.hook = &hooks.Runner{Program: program, Env: os.Environ(), Turn: make(chan struct{}, 1)}
	return func() int {
		data, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return len(data)
	}
}

// An order that fails while a hook is owed is put off like any other: it was tried
// again by every run.
func TestAnOrderThatFailsWhileAHookIsOwed(t *testing.T) {
	s := newScene(t)
	called := s.calls()
	s.tried("deploy_cert fails", s.at(0, "a.test"), 1)
	s.ca.Problem(fakeca.NewOrder, 403, "unauthorized", "no", -1)
	s.tried("due as well", s.at(61*day, "a.test"), 1)
	held := s.held("a second later", s.at(61*day+time.Second, "a.test"))
	if !strings.Contains(held.Error(), "unauthorized") {
		t.Errorf("held back because of another failure: %v", held)
	}
	s.tried("two minutes later", s.at(61*day+2*time.Minute, "a.test"), 1)
	if st := s.state("a.test"); st.Failed == nil || st.Failed.Attempts != 2 || st.Owed == nil || st.Owed.Failed.Attempts != 1 || called() != 1 {
		t.Errorf("remembered: %+v, %+v; %d calls", st.Failed, st.Owed, called())
	}
}

func TestAHookThatFailedIsCalledByTheLadder(t *testing.T) {
	s := newScene(t)
	called := s.calls()
	s.tried("deploy_cert fails", s.at(0, "a.test"), 1)
	for _, step := range []struct {
		after time.Duration
		calls int
	}{{50 * time.Second, 1}, {2 * time.Minute, 2}, {10 * time.Minute, 2}, {14 * time.Minute, 3}, {100 * time.Minute, 3}, {130 * time.Minute, 4}, {23 * time.Hour, 4}, {29 * time.Hour, 5}} {
		_, _ = issue.Sign(t.Context(), s.at(step.after, "a.test"))
		if called() != step.calls {
			t.Fatalf("%s after the certificate was issued: %d calls, want %d", step.after, called(), step.calls)
		}
	}
	if n := s.ca.NewOrders(); n != 1 {
		t.Errorf("%d orders", n)
	}
	if held := s.held("right after", s.at(29*time.Hour, "a.test")); !strings.Contains(held.Error(), "deploy_cert: exit status 3") {
		t.Errorf("%v", held)
	}
}

// A trial beside the live certificates gave a test CA's to the hook that puts them into
// a server.
func TestATrialDeploysNothing(t *testing.T) {
	s := newScene(t)
	called := s.calls()
	r := s.at(0, "a.test")
	r.TestCA, r.Trial = true, true
	var warned []string
	r.Tell = func(e issue.Event) {
		if e.Step == issue.StepWarning {
			warned = append(warned, e.Text)
		}
	}
	if _, err := issue.Sign(t.Context(), r); err != nil || called() != 0 {
		t.Errorf("%v, %d calls", err, called())
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "hooks that deploy are not called") {
		t.Errorf("%q", warned)
	}
	if st := s.state("a.test"); st.Owed != nil {
		t.Errorf("owed: %+v", st.Owed)
	}
}

// Who mends a hook by naming another one need not wait a day for it.
func TestAnotherHookIsCalledAtOnce(t *testing.T) {
	s := newScene(t)
	s.calls()
	s.tried("deploy_cert fails", s.at(0, "a.test"), 1)
	s.hook = nil
	s.sign(s.at(time.Second, "a.test"))
	if st := s.state("a.test"); st.Owed != nil || s.ca.NewOrders() != 1 {
		t.Errorf("still owed: %+v; %d orders", st.Owed, s.ca.NewOrders())
	}
}

// A clock that was years ahead puts a hook off for no longer than its call.
func TestAHookThatFailedInTheFuture(t *testing.T) {
	s := newScene(t)
	called := s.calls()
	s.tried("deploy_cert fails", s.at(0, "a.test"), 1)
	r := s.at(time.Second, "a.test")
	state := s.state("a.test")
	state.Owed.Failed.Last = s.now.Add(3650 * day)
	if err := r.Certificate.SaveState(state); err != nil {
		t.Fatal(err)
	}
	_, _ = issue.Sign(t.Context(), r)
	if called() != 2 {
		t.Errorf("%d calls", called())
	}
}

// What a set of another program's is deployed with is no attempt to renew it.
func TestRedeployOfWhatAridDidNotMake(t *testing.T) {
	s := newScene(t)
	s.sign(s.at(0, "a.test"))
	if err := os.Remove(filepath.Join(s.store.Dir, "a.test/state.json")); err != nil {
		t.Fatal(err)
	}
	// One that arid did not write has no versions: regular files under the stable names.
	dir := filepath.Join(s.store.Dir, "a.test")
	for _, name := range []string{"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "cert.csr"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.Remove(filepath.Join(dir, name))
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "live")); err != nil {
		t.Fatal(err)
	}
	called := s.calls()
	r := s.at(time.Hour, "a.test")
	r.Redeploy = true
	s.tried("deploy_cert fails", r, 0)
	if st := s.state("a.test"); st.Failed != nil || st.Owed != nil || called() != 1 {
		t.Errorf("%+v %+v; %d calls", st.Failed, st.Owed, called())
	}
}

func TestWhatChangesTheRequest(t *testing.T) {
	s := newScene(t)
	s.ca.Profiles(map[string]string{"classic": "", "short": ""})
	s.ca.FailIssuance("serverInternal", "no")
	s.tried("first", s.at(0, "a.test"), 1)
	now := time.Second
	for what, change := range map[string]func(*issue.Request){
		"another name":            func(r *issue.Request) { r.Names = []string{"a.test", "b.test"} },
		"another profile":         func(r *issue.Request) { r.Profile = "short" },
		"another type of key":     func(r *issue.Request) { r.Algo = keys.P384 },
		"another chain":           func(r *issue.Request) { r.PreferredChain = "Other Root" },
		"another directory":       func(r *issue.Request) { r.WellKnown = "/elsewhere" },
		"another hook":            func(r *issue.Request) { r.Hooks = &hooks.Runner{Program: "/bin/true"} },
		"more time":               func(r *issue.Request) { r.Timeout = time.Hour },
		"an address":              func(r *issue.Request) { r.Registration.Contact = []string{"a@example.org"} },
		"an external account":     func(r *issue.Request) { r.Registration.EAB = &acme.EAB{KID: "1"} },
		"somebody who insists":    func(r *issue.Request) { r.Insist = true },
		"must-staple":             func(r *issue.Request) { r.MustStaple = true },
		"an end":                  func(r *issue.Request) { r.NotAfter = s.now.Add(day) },
		"the same key once again": func(r *issue.Request) { r.ReuseKey = true },
	} {
		now += 2 * time.Hour
		s.tried("the same", s.at(now, "a.test"), 1)
		s.held("the same right after: "+what, s.at(now+time.Second, "a.test"))
		r := s.at(now+2*time.Second, "a.test")
		change(r)
		s.tried(what, r, 1)
		now += 48 * time.Hour
	}
}

// A new account need not wait for what the old one was refused.
func TestAnotherAccountIsTriedAtOnce(t *testing.T) {
	s := newScene(t)
	s.sign(s.at(0, "a.test"))
	s.ca.Problem(fakeca.NewOrder, 400, "accountDoesNotExist", "no", 1)
	s.tried("the account is gone", s.at(61*day, "a.test"), 1)
	s.held("with that one", s.at(61*day+time.Second, "a.test"))
	if err := os.RemoveAll(s.place.Path()); err != nil {
		t.Fatal(err)
	}
	s.sign(s.at(61*day+2*time.Second, "a.test"))
}

// A setting that the CA does not go with costs it requests, and not by every run.
func TestASettingThatTheCADoesNotGoWith(t *testing.T) {
	s := newScene(t)
	r := s.at(0, "a.test")
	r.PreferredChain = "Nobody"
	s.tried("no such chain", r, 1)
	r = s.at(time.Second, "a.test")
	r.PreferredChain = "Nobody"
	s.held("right after", r)
	s.sign(s.at(2*time.Second, "a.test"))
	if n := s.ca.NewOrders(); n != 1 {
		t.Errorf("%d orders", n)
	}
}

func TestHeldBackByTheCA(t *testing.T) {
	s := newScene(t)
	s.ca.Problem(fakeca.NewOrder, 403, "unauthorized", "no", 1)
	r := s.at(0, "a.test")
	r.StatusOf = func(error) int { return 1 }
	s.tried("refused", r, 1)
	if err := s.memory.Hold(s.now.Add(2*time.Hour), "closed"); err != nil {
		t.Fatal(err)
	}
	held := s.held("closed", s.at(time.Hour, "a.test"))
	if held.Status != 0 || strings.Contains(held.Error(), "unauthorized") || !strings.Contains(held.Error(), "closed") {
		t.Errorf("status %d: %v", held.Status, held)
	}
	s.sign(s.at(2*time.Hour+time.Second, "a.test"))
}

// Without an account there is no folder yet to remember it in.
func TestRetryAfterBeforeThereIsAnAccount(t *testing.T) {
	s := newScene(t)
	s.ca.Problem(fakeca.Directory, 503, "", "closed", 1, "Retry-After: 7200")
	s.tried("closed", s.at(0, "a.test"), 0)
	var err error
	if s.memory, err = s.place.Memory(); err != nil { // as the next run does
		t.Fatal(err)
	}
	r := s.at(time.Hour, "a.test")
	r.Force, r.Insist = true, true
	s.held("an hour later, and by force", r)
	s.sign(s.at(2*time.Hour+2*time.Second, "a.test"))
}

func TestNoOrderBeforeRetryAfterIsOver(t *testing.T) {
	s := newScene(t)
	s.ca.Problem(fakeca.NewOrder, 429, "rateLimited", "no", 1, "Retry-After: 7200")
	began := time.Now()
	s.tried("too many", s.at(0, "a.test"), 1)
	if until := s.state("a.test").Hold.Until; until.Before(began.Add(2*time.Hour)) || until.Nanosecond() != 0 {
		t.Errorf("held until %s, and that was asked for at %s", until, began)
	}
}

// A certificate with other names replaces none, and the CA need not be asked to
// believe it.
func TestReplacesNeedsANameInCommon(t *testing.T) {
	s := newScene(t)
	s.ca.RenewalInfo()
	s.sign(s.at(0, "a.test", "b.test"))
	replaces := func(names ...string) bool {
		t.Helper()
		r := s.at(time.Hour, names...)
		r.Certificate, _ = s.store.Certificate("a.test")
		s.sign(r)
		return strings.Contains(s.lastOrder(), `"replaces"`)
	}
	if !replaces("b.test", "c.test") {
		t.Error("with a name in common it does not say so")
	}
	if replaces("d.test") {
		t.Error("without a name in common it says so")
	}
}

// Whatever the CA has against the certificate that is replaced, it is renewed.
func TestOrderedWithoutWhatIsReplaced(t *testing.T) {
	for _, tc := range []struct {
		status int
		typ    string
		orders int // asked for
		header string
	}{
		{409, "alreadyReplaced", 2, ""},
		{400, "malformed", 2, ""},
		{401, "unauthorized", 2, ""},
		{500, "serverInternal", 2, ""},
		{500, "serverInternal", 1, "Retry-After: 7200"},
		{500, "", 1, ""},
		{429, "rateLimited", 1, ""},
		{503, "serverInternal", 1, "Retry-After: 7200"},
		{403, "rejectedIdentifier", 1, ""},
	} {
		s := newScene(t)
		s.ca.RenewalInfo()
		s.sign(s.at(0, "a.test"))
		var headers []string
		if tc.header != "" {
			headers = []string{tc.header}
		}
		s.ca.Problem(fakeca.NewOrder, tc.status, tc.typ, "no", 1, headers...)
		before := s.ca.Count(fakeca.NewOrder)
		r := s.at(time.Hour, "a.test")
		r.Force = true
		_, err := issue.Sign(t.Context(), r)
		if n := s.ca.Count(fakeca.NewOrder) - before; n != tc.orders || (err == nil) != (n == 2) {
			t.Errorf("%d %s %s: %d orders, %v", tc.status, tc.typ, tc.header, n, err)
		}
		if err == nil && strings.Contains(s.lastOrder(), `"replaces"`) {
			t.Errorf("%d %s: it says again what it replaces", tc.status, tc.typ)
		}
	}
}

// lastOrder is what the latest order asked for.
func (s *scene) lastOrder() string {
	order := ""
	for _, q := range s.ca.Requests() {
		if q.Kind == fakeca.NewOrder {
			order = string(q.Payload)
		}
	}
	return order
}

// What the CA explains with is for people, and state.json for arid.
func TestAnEndlessExplanation(t *testing.T) {
	s := newScene(t)
	s.ca.RenewalWindow(s.now.Add(40*day), s.now.Add(41*day))
	s.ca.Member(fakeca.RenewalInfo, "explanationURL", strings.Repeat("x", 900<<10))
	s.sign(s.at(0, "a.test"))
	s.sign(s.at(day, "a.test"))
	if a := s.state("a.test").ARI; a.Start.IsZero() || a.Explanation != "" {
		t.Errorf("from %s, explained in %d bytes", a.Start, len(a.Explanation))
	}
}

// A hundred runs at once make one question of it.
func TestOneRunAsksWhenToRenew(t *testing.T) {
	s := newScene(t)
	s.ca.RenewalWindow(s.now.Add(40*day), s.now.Add(41*day))
	s.sign(s.at(0, "a.test"))
	var all sync.WaitGroup
	for range 100 {
		r := s.at(day, "a.test")
		all.Go(func() {
			if _, err := issue.Sign(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.ca.Count(fakeca.RenewalInfo); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
