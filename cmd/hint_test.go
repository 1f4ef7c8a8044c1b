package cmd_test

import (
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
			[]string{"[ca-rate-limited]", "not before 20", "see https://ca.test/limits/#orders"}},
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
