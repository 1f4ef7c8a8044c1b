package cmd_test

import (
	"regexp"
	"strings"
	"testing"

	"arid/internal/fakeca"
)

func TestHintsFromWhatTheCASays(t *testing.T) {
	const pause = "https://portal.ca.test/sfe/v1/unpause?jwt="
	jwt := strings.Repeat("eyJhbGciOiJIUzI1NiJ9", 60)
	sub := func(name, typ, detail string) fakeca.Problem {
		return fakeca.Problem{Type: typ, Detail: detail, Identifier: &fakeca.Identifier{Type: "dns", Value: name}}
	}
	limited := fakeca.Problem{Status: 429, Type: "rateLimited"}
	with := func(p fakeca.Problem, detail string) fakeca.Problem { p.Detail = detail; return p }
	order := func(p fakeca.Problem, headers ...string) func(*fakeca.CA) {
		return func(ca *fakeca.CA) { ca.ProblemWith(fakeca.NewOrder, p, -1, headers...) }
	}
	refused := func(typ string) fakeca.Problem { return fakeca.Problem{Status: 403, Type: typ, Detail: "no"} }
	validation := func(typ, detail string) func(*fakeca.CA) {
		return func(ca *fakeca.CA) { ca.FailValidation("a.test", typ, detail) }
	}
	for _, c := range []struct {
		name  string
		does  func(*fakeca.CA)
		hints []string // each is the beginning or the end of one, in this order
	}{
		{"a limit with its time and its link", order(with(limited, "too many: see https://ca.test/limits/#orders."), "Retry-After: 36000"),
			[]string{"[ca-rate-limited]", "see https://ca.test/limits/#orders"}},
		{"a limit with the link in a header", order(with(limited, "too many"), `Link: <https://ca.test/limits>;rel="help"`), []string{"[ca-rate-limited]", "see https://ca.test/limits"}},
		{"a limit without a word", order(limited), []string{"[ca-rate-limited]"}},
		{"a paused account", order(with(limited, "Your account is temporarily prevented from requesting certificates for a.test and possibly others. Please visit: "+pause+jwt)),
			[]string{"[ca-paused]", "see " + pause + jwt}},
		{"rejected", order(refused("rejectedIdentifier")), []string{"[ca-rejected-identifier]"}},
		{"unsupported", order(refused("unsupportedIdentifier")), []string{"[ca-unsupported-identifier]"}},
		{"CAA", order(refused("caa")), []string{"[ca-caa]"}},
		{"terms that have changed", order(fakeca.Problem{Status: 403, Type: "userActionRequired", Detail: "see https://ca.test/why", Instance: "https://ca.test/agree"}),
			[]string{"[ca-user-action-required]", `visit "https://ca.test/agree"`}},
		{"several subproblems, each kind once, and three at most", order(fakeca.Problem{Status: 403, Type: "malformed", Detail: "some names", Subproblems: []fakeca.Problem{
			sub("a.test", "caa", "x"), sub("b.test", "caa", "x"), sub("c.test", "dnssec", "x"), sub("d.test", "rejectedIdentifier", "x"), sub("e.test", "unsupportedIdentifier", "x"),
		}}), []string{"[ca-caa]", "[ca-dnssec]", "[ca-rejected-identifier]"}},
		{"unauthorized, of a request", order(refused("unauthorized")), nil}, // the account's, and no web server's
		{"the CSR", func(ca *fakeca.CA) { ca.ProblemWith(fakeca.Finalize, refused("badCSR"), -1) }, []string{"[ca-bad-csr]"}},
		{"the key", func(ca *fakeca.CA) { ca.ProblemWith(fakeca.Finalize, refused("badPublicKey"), -1) }, []string{"[ca-bad-public-key]"}},
		{"an order that fails", func(ca *fakeca.CA) { ca.FailIssuance("caa", "While processing CAA for a.test: see https://a.test/") }, []string{"[ca-caa]"}},

		{"a validation: CAA", validation("caa", "x"), []string{"[ca-caa]"}},
		{"a validation: DNSSEC", validation("dnssec", "x"), []string{"[ca-dnssec]"}},
		{"a validation: connection", validation("connection", "x"), []string{"[ca-connection]"}},
		{"a validation: other networks see it otherwise", validation("unauthorized", "During secondary validation: Invalid response from https://www.a.test/: 403"), []string{"[ca-perspectives]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.must(0, "register", "--accept-terms")
			c.does(w.ca)
			_, _, talk := w.run("sign", "a.test")
			var got []string
			for line := range strings.Lines(talk) {
				if hint, found := strings.CutPrefix(line, "arid: hint: "); found {
					got = append(got, strings.TrimSuffix(hint, "\n"))
				}
			}
			if len(got) != len(c.hints) {
				t.Fatalf("%d hints, want %q:\n%s", len(got), c.hints, talk)
			}
			for i, want := range c.hints {
				if !strings.HasPrefix(got[i], want) && !strings.HasSuffix(got[i], want) {
					t.Errorf("hint %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestAnExternalAccountIsHintedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ca.ProblemWith(fakeca.NewAccount, fakeca.Problem{Status: 403, Type: "externalAccountRequired", Detail: "no"}, -1)
	_, talk := w.must(78, "register", "--accept-terms")
	if strings.Count(talk, "arid: hint: ") != 1 || !strings.Contains(talk, "--eab-kid ID") {
		t.Errorf("%q", talk)
	}
	hmac := w.file("hmac", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", 0o600)
	_, _, talk = w.run("register", "--accept-terms", "--eab-kid", "kid", "--eab-hmac-file", hmac)
	if strings.Count(talk, "arid: hint: ") != 1 || !strings.Contains(talk, "[ca-external-account-required]") {
		t.Errorf("%q", talk)
	}
}

// They are validated by the same record, and fail alike.
func TestANameAndItsWildcardAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.ca.FailValidation("example.test", "unauthorized", "no TXT record")
	_, talk := w.must(1, "sign", "--accept-terms", "-t", "dns-01", "-k", w.file("hook", "#!/bin/sh\n", 0o755), "--alias", "a", "example.test", "*.example.test")
	if strings.Count(talk, "no TXT record") != 1 {
		t.Errorf("%s", talk)
	}
}

// After a failure nothing said when it is tried again, unless the CA named a time.
func TestAFailureSaysWhenItIsTriedAgain(t *testing.T) {
	next := regexp.MustCompile(`(?m)^arid: next try: (.*?)not before (\S+Z), in (\d+[smhd])$`)
	refuse := func(w *world) { w.ca.Problem(fakeca.NewOrder, 403, "unauthorized", "no", -1) }
	hook := func(w *world) {
		w.env = append(w.env, "ARID_HOOK="+w.file("hook", "#!/bin/sh\n[ \"$1\" != deploy_cert ]\n", 0o755))
	}
	limit := func(w *world) { w.ca.Problem(fakeca.NewOrder, 429, "rateLimited", "no", -1, "Retry-After: 36000") }
	for _, c := range []struct {
		name   string
		does   func(*world)
		args   []string
		status int
		byHand string
	}{
		{"refused, renew", refuse, []string{"renew"}, 1, ""},
		{"refused, sign", refuse, []string{"sign", "a.test"}, 1, ""},
		{"refused, and somebody insists", refuse, []string{"renew", "-x", "a.test"}, 1, "by hand at once, else "},
		{"a hook", hook, []string{"renew"}, 10, ""},
		{"the CA names a time", limit, []string{"renew"}, 75, ""},
		{"which holds for those who insist", limit, []string{"sign", "-x", "a.test"}, 75, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.must(0, "register", "--accept-terms")
			w.domains("a.test")
			c.does(w)
			_, talk := w.must(c.status, c.args...)
			found := next.FindAllStringSubmatch(talk, -1)
			if len(found) != 1 || found[0][1] != c.byHand || strings.Contains(talk, "hint: not before") {
				t.Fatalf("%s", talk)
			}
			// That is what the next run goes by, which says nothing.
			out, talk := w.must(c.status, "renew", "--json")
			has(t, one(t, out), map[string]any{"result": "held", "until": found[0][2]})
			if talk != "" {
				t.Errorf("the next run says %q", talk)
			}
		})
	}
	t.Run("in an object", func(t *testing.T) {
		w := newWorld(t)
		refuse(w)
		out, _ := w.must(1, "sign", "--json", "--accept-terms", "a.test")
		has(t, one(t, out), map[string]any{"result": "failed", "until": moment})
	})
	t.Run("nobody tries again what was forced", func(t *testing.T) {
		w := newWorld(t)
		w.must(0, "sign", "--accept-terms", "a.test")
		refuse(w)
		if _, talk := w.must(1, "sign", "-x", "a.test"); strings.Contains(talk, "next try") {
			t.Error(talk)
		}
	})
}
