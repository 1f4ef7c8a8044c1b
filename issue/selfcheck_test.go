package issue_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"arid/certs"
	"arid/dns"
	"arid/internal/fakeca"
	"arid/issue"
	"arid/probe"
	"arid/respond"
)

// What cannot be seen from here costs nothing at the CA: no challenge is answered, what was
// put is taken away, and the same order ends well once it can be seen.
func TestSelfCheck(t *testing.T) {
	dir := t.TempDir()
	answers := http.NotFoundHandler()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answers.ServeHTTP(w, r) }))
	defer web.Close()
	port := web.Listener.Addr().(*net.TCPAddr).Port
	s := newSceneWith(t, fakeca.New(t).ValidateHTTP(port))
	try := func() error {
		r := s.at(0, "127.0.0.1")
		r.WellKnown, r.Insist = dir, true
		r.SelfCheck = &probe.Prober{DNS: &dns.Client{}, HTTPPort: port}
		_, err := issue.Sign(t.Context(), r)
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left in the directory: %v", left)
		}
		return err
	}

	err := try()
	var unseen *issue.SelfCheckError
	if !errors.As(err, &unseen) || len(unseen.Failures) != 1 || !strings.Contains(err.Error(), "answers 404 Not Found") {
		t.Fatalf("got %v", err)
	}
	if n := s.ca.Count(fakeca.Challenge); n != 0 {
		t.Errorf("%d requests to the challenge", n)
	}
	certificate, err := s.store.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if state, err := certificate.State(); err != nil || state.Failed == nil {
		t.Errorf("the failure is not remembered: %+v, %v", state, err)
	}

	answers = respond.HTTP01(dir)
	if err := try(); err != nil {
		t.Fatal(err)
	}
	if n := s.ca.NewOrders(); n != 1 {
		t.Errorf("%d orders", n)
	}
	if live, err := certificate.Live(); err != nil || certs.Names(live.Leaf)[0] != "127.0.0.1" {
		t.Errorf("%v, %v", live, err)
	}
}
