package cmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/internal/fakeca"
)

func problem(kind string, status int, typ, detail string, headers ...string) func(*fakeca.CA) {
	return func(ca *fakeca.CA) { ca.Problem(kind, status, typ, detail, -1, headers...) }
}

// stages are the requests of a first run, in order, as errors name them.
var stages = []struct {
	kind, what string
	newcomer   bool
}{
	{fakeca.Directory, "directory", false},
	{fakeca.Nonce, "new nonce", false},
	{fakeca.NewAccount, "new account", true},
	{fakeca.NewOrder, "new order", false},
	{fakeca.Authz, "authorization", false},
	{fakeca.Challenge, "http-01 challenge", false},
	{fakeca.Order, "order", false},
	{fakeca.Finalize, "finalize", false},
	{fakeca.Certificate, "certificate", false},
}

// inTurn spreads rows over the variants, where all of them would take long.
func inTurn(n int, newcomer bool) variant {
	v := []variant{firstTime, renewal, csrOnly}[n%3]
	if newcomer && v == renewal {
		return firstTime
	}
	return v
}

func TestRefusals(t *testing.T) {
	var rows []attack
	for _, s := range stages {
		add := func(name string, status int, ca func(*fakeca.CA), says ...string) {
			rows = append(rows, attack{name: s.kind + " " + name, does: ca, status: status, newcomer: s.newcomer,
				only: inTurn(len(rows), s.newcomer), says: append(says, s.what), most: map[string]int{s.kind: 4}})
		}
		add("403", 1, problem(s.kind, 403, "unauthorized", "not today"), `"not today" (unauthorized)`)
		add("400 of an unknown type", 1, problem(s.kind, 400, "https://ca.test/probs/moon-phase", "wrong phase"), `"wrong phase" (https://ca.test/probs/moon-phase)`)
		add("404 without a body", 1, on(s.kind, 404, ""), "404")
		add("403 in HTML", 1, on(s.kind, 403, "<html><h1>Blocked by policy</h1>", "Content-Type: text/html"), "HTML page")
		add("511 in HTML", 75, on(s.kind, 511, "<html>log in</html>", "Content-Type: text/html"), "HTML page")
		add("full of escapes", 1, problem(s.kind, 403, "unauthorized", "\x1b[2J\x1b]0;owned\x07\r\narid: all is well\u202e\u0085\x00"), `\x1b[2J\x1b]0;owned\a\r\narid: all is well\u202e\u0085\x00`)
		add("of 1 MB", 1, problem(s.kind, 403, "unauthorized", strings.Repeat("A very long story. ", 50_000)), "A very long story.", "…")
		add("of 1 MB of escapes", 1, problem(s.kind, 403, strings.Repeat("\x1b", 1000), strings.Repeat("\x1b\u202e", 100_000)), `\x1b\u202e`, "…")
		add("500", 75, problem(s.kind, 500, "serverInternal", "out of order"), `"out of order" (serverInternal)`)
		add("502 in HTML", 75, on(s.kind, 502, "<html>Bad Gateway</html>", "Content-Type: text/html"), "HTML page")
		add("204", 76, on(s.kind, 204, "", "Location: /order/1"))
		add("100 kB of headers", 75, func(ca *fakeca.CA) { ca.Header(s.kind, "X-Long", strings.Repeat("x", 100<<10)) })
	}
	for i := range rows {
		kind, what, _ := strings.Cut(rows[i].name, " ")
		switch {
		case kind == fakeca.Nonce: // a HEAD has no body
			rows[i].says = []string{"new nonce"}
		case kind == fakeca.Challenge: // once, and then a look at what became of it
			rows[i].most = map[string]int{fakeca.Challenge: 5}
		case kind == fakeca.Finalize && what == "100 kB of headers": // it was carried out
			rows[i].status, rows[i].says, rows[i].most = 0, nil, map[string]int{fakeca.Finalize: 1}
		}
	}
	against(t, rows)
}

func TestRefusedOrders(t *testing.T) {
	sub := func(name, typ, detail string) fakeca.Problem {
		return fakeca.Problem{Type: typ, Detail: detail, Identifier: &fakeca.Identifier{Type: "dns", Value: name}}
	}
	many := fakeca.Problem{Status: 400, Type: "rejectedIdentifier", Detail: "several"}
	for range 500 {
		many.Subproblems = append(many.Subproblems, sub("sub.evil.test", "malformed", strings.Repeat("x", 1000)))
	}
	var sixty []string
	for i := range 60 {
		sixty = append(sixty, fmt.Sprintf("a%d.test", i))
	}
	with := func(p fakeca.Problem) func(*fakeca.CA) {
		return func(ca *fakeca.CA) { ca.ProblemWith(fakeca.NewOrder, p, -1) }
	}
	against(t, []attack{
		{name: "subproblems", names: []string{"a.test", "b.test"}, does: with(fakeca.Problem{Status: 400, Type: "rejectedIdentifier", Detail: "some names are refused",
			Subproblems: []fakeca.Problem{sub("a.test", "malformed", "no such top level"), sub("b.test", "rejectedIdentifier", "on the list")}}),
			status: 1, says: []string{`"some names are refused" (rejectedIdentifier)`, `"a.test": "no such top level" (malformed)`, `"b.test": "on the list" (rejectedIdentifier)`}},
		{name: "500 subproblems", does: with(many), status: 1, says: []string{"several", `"sub.evil.test"`, "…"}},
		{name: "problem without anything", does: on(fakeca.NewOrder, 400, "{}", "Content-Type: application/problem+json"), status: 1, says: []string{"400 Bad Request"}},
		{name: "problem of wrong types", does: on(fakeca.NewOrder, 400, `{"type":7,"detail":["x"],"status":"no","subproblems":{}}`, "Content-Type: application/problem+json"), status: 1, says: []string{"400 Bad Request"}},
		{name: "problem nested deep", does: on(fakeca.NewOrder, 400, strings.Repeat(`{"subproblems":[`, 60_000), "Content-Type: application/problem+json"), status: 1, says: []string{"400 Bad Request"}},
		{name: "CAA", does: problem(fakeca.NewOrder, 403, "caa", "CAA record for a.test prevents issuance"), status: 1, says: []string{"CAA record for a.test prevents issuance"}},
		{name: "no such account", does: problem(fakeca.NewOrder, 400, "accountDoesNotExist", "who are you?"), status: 78, says: []string{"does not know the account any more", `"who are you?"`}, hint: "register again"},
		{name: "account deactivated", does: problem(fakeca.NewOrder, 403, "unauthorized", "account is deactivated"), status: 1, says: []string{"account is deactivated"}},
		{name: "terms changed", does: with(fakeca.Problem{Status: 403, Type: "userActionRequired", Detail: "terms have changed", Instance: "https://ca.test/agree?\x1b"}),
			status: 1, says: []string{"terms have changed"}, hint: `visit "https://ca.test/agree?\x1b"`},
		{name: "invalid after finalize", does: func(ca *fakeca.CA) { ca.FailIssuance("serverInternal", "the HSM is on fire") }, fatal: true,
			status: 1, says: []string{"the CA did not issue the certificate", `"the HSM is on fire" (serverInternal)`}, most: map[string]int{fakeca.NewOrder: 1}},
		{name: "invalid at finalize", does: func(ca *fakeca.CA) { ca.SyncFinalize().FailIssuance("caa", "forbidden by CAA") }, fatal: true,
			status: 1, says: []string{`"forbidden by CAA" (caa)`}, most: map[string]int{fakeca.NewOrder: 1}},
		{name: "invalid without a word", does: func(ca *fakeca.CA) {
			ca.FailIssuance("x", "y").DropMember(fakeca.Order, "error")
		}, fatal: true, status: 1, says: []string{"the CA gave no reason"}},
		{name: "validation with escapes", does: func(ca *fakeca.CA) { ca.FailValidation("a.test", "unauthorized", "got \x1b[2J\u202e instead") }, fatal: true,
			status: 1, says: []string{`a.test: http-01: "got \x1b[2J\u202e instead" (unauthorized)`}, hint: "WELLKNOWN"},
		{name: "validation with 1 MB", does: func(ca *fakeca.CA) { ca.FailValidation("a.test", "connection", strings.Repeat("no route ", 50_000)) }, fatal: true,
			status: 1, says: []string{"no route no route", "…"}, hint: "[ca-connection]"},
		{name: "60 names fail with 1 MB each", names: sixty, only: firstTime, does: func(ca *fakeca.CA) {
			for _, name := range sixty {
				ca.FailValidation(name, "connection", strings.Repeat("no route\x1b", 20_000))
			}
		}, fatal: true, status: 1, says: []string{"a0.test: http-01: ", " more"}, hint: "[ca-connection]"},
		{name: "CSR refused", does: problem(fakeca.Finalize, 400, "badCSR", "weak key"), status: 1, says: []string{`"weak key" (badCSR)`}, most: map[string]int{fakeca.Finalize: 1}},
	})
}

func TestHostileTalkReachesHooksAsData(t *testing.T) {
	w := newWorld(t)
	w.must(0, "register", "--accept-terms")
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\n{ echo \"$# $1\"; for a; do printf '%s\\n' \"<$a>\"; done; } >>"+log+"\n", 0o700)
	canary := filepath.Join(w.dir, "canary")
	evil := "$(touch " + canary + ")`touch " + canary + "`;touch " + canary + "\n-rf\x1b[2J"
	w.ca.Problem(fakeca.NewOrder, 403, "unauthorized", evil, 1)
	w.must(1, "sign", "-k", hook, "a.test")
	w.ca.On(fakeca.NewOrder, func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(403)
		_, _ = rw.Write([]byte("NUL\x00 in the body")) // no argument can hold it
		return true
	})
	_, talk := w.must(1, "sign", "-k", hook, "a.test")
	if strings.Count(talk, "\n") > 2 {
		t.Errorf("stderr %q", talk)
	}
	w.later()
	w.ca.Calm().FailValidation("a.test", "unauthorized", evil)
	w.must(1, "sign", "-k", hook, "a.test")
	if _, err := os.Stat(canary); err == nil {
		t.Error("text of the CA's was run")
	}
	calls, _ := os.ReadFile(log)
	quoted, _ := json.Marshal(evil)
	for _, want := range []string{"5 request_failure\n", "3 invalid_challenge\n", strings.Trim(string(quoted), `"`)} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("%q is not among the calls:\n%s", want, calls)
		}
	}
}

func TestATokenThatBeginsWithADashIsIssued(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\nprintf '%s|' \"$@\" >>"+log+"\necho >>"+log+"\n", 0o700)
	const token = "--rf_-0123456789abcdef"
	w.ca.Token(func(_, _ string) string { return token })
	w.must(0, "sign", "--accept-terms", "-k", hook, "a.test")
	w.checkSet("a.test", "a.test")
	calls, _ := os.ReadFile(log)
	for _, event := range []string{"deploy_challenge", "clean_challenge"} {
		if !strings.Contains(string(calls), event+"|a.test|"+token+"|"+token+".") {
			t.Errorf("calls:\n%s", calls)
		}
	}
}
