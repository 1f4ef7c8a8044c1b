package cmd_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"arid/certs"
	"arid/internal/fakeca"
	"arid/keys"
)

// leaveOpen signs up to a CA that is too busy to issue.
func (w *world) leaveOpen(args ...string) {
	w.t.Helper()
	w.ca.Problem(fakeca.Finalize, 503, "", "busy", 1, "Retry-After: 3600")
	w.must(75, append([]string{"sign", "--accept-terms"}, args...)...)
	w.later()
	w.forget()
}

func (w *world) live(alias string) *certs.Live {
	w.t.Helper()
	c, err := (&certs.Store{Dir: filepath.Join(w.base, "certs")}).Certificate(alias)
	if err != nil {
		w.t.Fatal(err)
	}
	live, err := c.Live()
	if err != nil {
		w.t.Fatal(err)
	}
	return live
}

// The CA may have the open order's CSR already, and then takes no other.
func TestOpenOrderIsNotTakenUpForAnotherRequest(t *testing.T) {
	cases := []struct {
		what        string
		first, then []string
		orders      int
	}{
		{"the same", []string{"--must-staple"}, []string{"--must-staple"}, 1},
		{"must-staple", nil, []string{"--must-staple"}, 2},
		{"without must-staple", []string{"--must-staple"}, nil, 2},
		{"a subject", nil, []string{"--subject", "O=Crash Barrier/CN=www.example.org"}, 2},
		{"a key type", nil, []string{"-a", "secp384r1"}, 2},
		{"a key type, keys being reused", nil, []string{"-a", "secp384r1", "--reuse-key"}, 2},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			w.leaveOpen(append(c.first, "www.example.org")...)
			w.must(0, append(append([]string{"sign"}, c.then...), "www.example.org")...)
			if n := w.ca.NewOrders(); n != c.orders {
				t.Errorf("%d orders, want %d", n, c.orders)
			}
		})
	}
}

func TestOpenOrderIsNotTakenUpWithAnotherKeyThanTheOneToReuse(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "www.example.org")
	was := w.live("www.example.org").Leaf.PublicKey
	w.leaveOpen("-x", "www.example.org")
	w.must(0, "sign", "-x", "--reuse-key", "www.example.org")
	if now := w.live("www.example.org").Leaf.PublicKey; !keys.Equal(was, now) {
		t.Error("--reuse-key ended in another key")
	}
	w.leaveOpen("-x", "--reuse-key", "www.example.org")
	w.must(0, "sign", "-x", "www.example.org")
	if now := w.live("www.example.org").Leaf.PublicKey; keys.Equal(was, now) {
		t.Error("the old key again, without --reuse-key")
	}
}

func TestDiskIsWarnedAboutOnce(t *testing.T) {
	t.Run("damaged state", func(t *testing.T) {
		w := newWorld(t)
		w.must(0, "sign", "--accept-terms", "www.example.org")
		w.file("base/certs/www.example.org/state.json", "{", 0o600)
		_, stderr := w.must(0, "sign", "-x", "www.example.org")
		if n := strings.Count(stderr, "state.json"); n != 1 {
			t.Errorf("warned %d times:\n%s", n, stderr)
		}
	})
	t.Run("owed version that is gone", func(t *testing.T) {
		w := newWorld(t)
		hook := w.file("hook", "#!/bin/sh\n[ $1 != deploy_cert ]\n", 0o755)
		w.must(10, "sign", "--accept-terms", "-k", hook, "www.example.org")
		state := filepath.Join(w.base, "certs/www.example.org/state.json")
		text, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`"version": "\d+"`).ReplaceAll(text, []byte(`"version": "1234567890"`))
		w.file("base/certs/www.example.org/state.json", string(text), 0o600)
		_, stderr := w.must(0, "sign", "www.example.org")
		if strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, `"1234567890"`) {
			t.Errorf("first run: %q", stderr)
		}
		if _, stderr = w.must(0, "sign", "www.example.org"); stderr != "" {
			t.Errorf("second run: %q", stderr)
		}
	})
}

func TestCertificateIsKeptAtTheCAWhereAnAlternateCannotBeHad(t *testing.T) {
	w := newWorld(t)
	w.ca.Alternate()
	args := []string{"sign", "--accept-terms", "--preferred-chain", w.ca.AlternateRoot().Subject.CommonName, "www.example.org"}
	w.ca.On(fakeca.Certificate, func(reply http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/1") {
			http.NotFound(reply, r)
			return true
		}
		return false
	})
	if _, stderr := w.must(1, args...); !strings.Contains(stderr, "404") {
		t.Errorf("it does not tell why: %s", stderr)
	}
	w.ca.Calm()
	w.later()
	w.must(0, args...)
	if n := w.ca.NewOrders(); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
}

// Two names: the first one's failure is the end of the order, and the answer for
// the second is refused.
func TestFailedNameIsToldNotTheAnswerRefusedBecauseOfIt(t *testing.T) {
	w := newWorld(t)
	w.ca.FailValidation("a.example.org", "connection", "no route to 192.0.2.7")
	var answers atomic.Int32
	w.ca.On(fakeca.Challenge, func(reply http.ResponseWriter, _ *http.Request) bool {
		if answers.Add(1) == 1 {
			return false
		}
		reply.Header().Set("Content-Type", "application/problem+json")
		reply.WriteHeader(http.StatusBadRequest)
		_, _ = reply.Write([]byte(`{"type":"urn:ietf:params:acme:error:malformed","detail":"the order is over"}`))
		return true
	})
	if _, stderr := w.must(1, "sign", "--accept-terms", "a.example.org", "b.example.org"); !strings.Contains(stderr, `a.example.org: http-01: "no route to 192.0.2.7" (connection)`) {
		t.Error(stderr)
	}
}

func TestRefusedAnswerNamesItsName(t *testing.T) {
	w := newWorld(t)
	w.ca.PreValidated("a.example.org").Problem(fakeca.Challenge, 400, "malformed", "no", -1)
	if _, stderr := w.must(1, "sign", "--accept-terms", "a.example.org", "b.example.org"); !strings.Contains(stderr, "b.example.org: http-01 challenge") {
		t.Error(stderr)
	}
}

func TestAuthorizationThatHasFailedBeforeTellsWhy(t *testing.T) {
	w := newWorld(t)
	w.ca.Member(fakeca.Authz, "status", "invalid").
		Member(fakeca.Authz, "challenges.1.error", map[string]any{"type": "urn:ietf:params:acme:error:connection", "detail": "no route to 192.0.2.7"})
	if _, stderr := w.must(1, "sign", "--accept-terms", "a.example.org"); !strings.Contains(stderr, `the authorization is "invalid": "no route to 192.0.2.7" (connection)`) {
		t.Error(stderr)
	}
}
