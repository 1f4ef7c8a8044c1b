package cmd_test

import (
	"strings"
	"testing"

	"arid/internal/fakeca"
)

// An outage is told when it is met, and not by every run until it is over: not of the
// first certificate, and not of those that fail alike.
func TestABackOffOfManyIsQuiet(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.domains("a.test", "b.test", "c.test")
	w.ca.Problem(fakeca.NewOrder, 503, "", "away", -1, "Retry-After: 3600")
	if _, talk := w.must(75, "renew"); strings.Contains(talk, "locked by") || !strings.Contains(talk, "away") {
		t.Errorf("%q", talk)
	}
	requests := len(w.ca.Requests())
	for range 2 {
		if _, talk := w.must(75, "renew"); talk != "" {
			t.Errorf("%q", talk)
		}
	}
	// A CSR is no way around it.
	csr := w.csr("d.test")
	if _, talk := w.must(75, "sign", "--csr", csr); talk != "" {
		t.Errorf("%q", talk)
	}
	if n := len(w.ca.Requests()); n != requests {
		t.Errorf("%d requests", n-requests)
	}
}

// And what a CA says to a CSR holds for all.
func TestRetryAfterForACSR(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	w.ca.Problem(fakeca.NewOrder, 503, "", "away", 1, "Retry-After: 3600")
	csr := w.csr("d.test")
	w.must(75, "sign", "--csr", csr)
	requests := len(w.ca.Requests())
	w.must(75, "sign", "--csr", csr)
	w.must(75, "sign", "a.test")
	if n := len(w.ca.Requests()); n != requests {
		t.Errorf("%d requests", n-requests)
	}
}

// A pause is that of the CA which asked for it.
func TestDueAsksForTheCAOfTheCommandLine(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	w.ca.Problem(fakeca.NewOrder, 503, "", "away", 1, "Retry-After: 3600")
	w.must(75, "renew", "--accept-terms")
	w.must(1, "due")
	w.must(0, "due", "--ca", "https://ca.example/dir")
	if table, _ := w.must(0, "status"); !strings.Contains(table, "not tried before") {
		t.Error(table)
	}
	if table, _ := w.must(0, "status", "--ca", "https://ca.example/dir"); strings.Contains(table, "not tried before") {
		t.Error(table)
	}
}

// What is wrong may be how it was looked at: another look is worth a try.
func TestWithoutTheSelfCheckItIsTriedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.must(1, "sign", "--accept-terms", "--self-check", "--check-port", "1", "a.test")
	w.must(0, "sign", "a.test")
}
