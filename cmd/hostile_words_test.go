package cmd_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"arid/internal/fakeca"
)

func tokens(token string) func(*fakeca.CA) {
	return func(ca *fakeca.CA) { ca.Token(func(_, _ string) string { return token }) }
}

func member(kind, path string, value any) func(*fakeca.CA) {
	return func(ca *fakeca.CA) { ca.Member(kind, path, value) }
}

// http01 is where an authorization has the challenge.
const http01 = "challenges.1"

func TestHostileTokens(t *testing.T) {
	const says = "the token of the http-01 challenge is no base64url"
	rows := []attack{}
	for name, token := range map[string]string{
		"traversal": "../../../../../../tmp/arid-canary", "absolute path": "/tmp/arid-canary-0123456789",
		"empty": "", "dot": ".", "dots": "..", "short": "abc", "10 kB": strings.Repeat("A", 10<<10),
		"newline": "0123456789abcdef\n0123456789abcdef", "NUL": "0123456789abcdef\x00", "blank": "0123456789 abcdef",
		"shell": "$(touch /tmp/arid-canary)xxxxxxx", "escape": "0123456789abcdef\x1b[2J", "padding": "0123456789abcdef==",
		"bidi": "0123456789abcdef\u202e", "no UTF-8": "0123456789abcdef\xff",
	} {
		rows = append(rows, attack{name: name, does: tokens(token), status: 76, says: []string{says},
			most: map[string]int{fakeca.Challenge: 0}})
	}
	for name, value := range map[string]any{"number": 1234567890123456, "null": nil, "array": []string{"0123456789abcdef"}, "object": map[string]any{}} {
		rows = append(rows, attack{name: name, does: member(fakeca.Authz, http01+".token", value), status: 76, says: []string{says}})
	}
	rows = append(rows, attack{name: "missing", does: func(ca *fakeca.CA) { ca.DropMember(fakeca.Authz, http01+".token") }, status: 76, says: []string{says}})
	against(t, rows)
}

// objects are the kinds of reply that hold a JSON object, as errors name them.
var objects = []struct {
	kind, what string
	newcomer   bool
}{
	{fakeca.Directory, "directory", false},
	{fakeca.NewAccount, "new account", true},
	{fakeca.NewOrder, "new order", false},
	{fakeca.Authz, "authorization", false},
	{fakeca.Challenge, "http-01 challenge", false},
	{fakeca.Order, "order", false},
	{fakeca.Finalize, "finalize", false},
}

func TestHostileJSON(t *testing.T) {
	var rows []attack
	for _, o := range objects {
		add := func(name, says string, ca func(*fakeca.CA)) {
			rows = append(rows, attack{name: o.kind + " " + name, does: ca, status: 76, newcomer: o.newcomer, only: inTurn(len(rows), o.newcomer),
				says: []string{o.what + " \"https://127.0.0.1:14000/", says}})
		}
		raw := func(text string) func(*fakeca.CA) {
			return func(ca *fakeca.CA) { ca.Body(o.kind, func([]byte) []byte { return []byte(text) }) }
		}
		portal := "HTML page"
		if o.kind == fakeca.Directory {
			portal = "captive portal"
		}
		add("truncated", "no readable JSON", func(ca *fakeca.CA) { ca.TruncateJSON(o.kind) })
		add("nested 100 deep", "nested more than 64 deep", func(ca *fakeca.CA) { ca.DeepJSON(o.kind, 100) })
		add("nested 400000 deep", "nested more than 64 deep", func(ca *fakeca.CA) { ca.DeepJSON(o.kind, 400_000) })
		add("brackets only", "nested more than 64 deep", raw(strings.Repeat("[", 1<<20)))
		add("empty", "no readable JSON", raw(""))
		add("NULs", "no readable JSON", raw("\x00\x00\x00"))
		add("an array", "no JSON object", raw("[]"))
		add("a string", "no JSON object", raw(`"directory"`))
		add("null", "no JSON object", raw("null"))
		add("two objects", "no readable JSON", func(ca *fakeca.CA) {
			ca.Body(o.kind, func(b []byte) []byte { return append(bytes.TrimSpace(b), b...) })
		})
		add("HTML", portal, on(o.kind, 200, "<!DOCTYPE html><html><title>Welcome to Hotel WiFi</title>", "Content-Type: text/html; charset=utf-8"))
		add("HTML without a type", portal, raw("\n<html><body>Log in</body></html>"))
		add("2 MB", "larger than 1024 KiB", func(ca *fakeca.CA) { ca.HugeBody(o.kind, 2<<20) })
		add("gzip", "encoded as \"gzip\"", func(ca *fakeca.CA) { ca.Header(o.kind, "Content-Encoding", "gzip") })
	}
	against(t, rows)
}

func TestHostileMembers(t *testing.T) {
	drop := func(kind, path string) func(*fakeca.CA) {
		return func(ca *fakeca.CA) { ca.DropMember(kind, path) }
	}
	slow := []string{"--timeout", "1m"}
	against(t, []attack{
		{name: "directory without newNonce", does: drop(fakeca.Directory, "newNonce"), status: 76, says: []string{"it has no member newNonce"}},
		{name: "directory without newAccount", does: drop(fakeca.Directory, "newAccount"), status: 76, says: []string{"it has no member newAccount"}},
		{name: "directory without newOrder", does: drop(fakeca.Directory, "newOrder"), status: 76, says: []string{"it has no member newOrder"}},
		{name: "directory with a number for newOrder", does: member(fakeca.Directory, "newOrder", 7), status: 76, says: []string{`member "newOrder" is of a wrong type (number)`}},
		{name: "order without status", does: drop(fakeca.NewOrder, "status"), status: 76, says: []string{"the order has no status"}},
		{name: "order without identifiers", does: drop(fakeca.NewOrder, "identifiers"), status: 76, says: []string{"the order is for nothing"}},
		{name: "order without authorizations", does: drop(fakeca.NewOrder, "authorizations"), status: 76, says: []string{"names no authorizations"}},
		{name: "order without finalize", does: drop(fakeca.Order, "finalize"), status: 76, says: []string{"the order names no finalize URL"}},
		{name: "order with a string for authorizations", does: member(fakeca.NewOrder, "authorizations", "all"), status: 76, says: []string{`member "authorizations" is of a wrong type (string)`}},
		{name: "order with 2000 authorizations", does: member(fakeca.NewOrder, "authorizations", make([]string, 2000)), status: 76, says: []string{"the order has 2000 authorizations"}},
		{name: "valid order without certificate", does: drop(fakeca.Order, "certificate"), status: 76, says: []string{"names no certificate"}},
		{name: "order for another name", does: member(fakeca.NewOrder, "identifiers", []fakeca.Identifier{{Type: "dns", Value: "evil.test"}}), status: 76, says: []string{`the order is for "evil.test", and not for what was asked`}},
		{name: "order for a name more", does: func(ca *fakeca.CA) {
			ca.Identifiers(func(ids []fakeca.Identifier) []fakeca.Identifier {
				return append(ids, fakeca.Identifier{Type: "dns", Value: "evil.test"})
			})
		}, status: 76, says: []string{`"evil.test", and not for what was asked`}},
		{name: "order for a name less", names: []string{"a.test", "b.test"}, does: func(ca *fakeca.CA) {
			ca.Identifiers(func(ids []fakeca.Identifier) []fakeca.Identifier { return ids[:1] })
		}, status: 76, says: []string{`the order is for "a.test", and not for what was asked`}},
		{name: "order for 5000 names", does: func(ca *fakeca.CA) {
			ca.Identifiers(func(ids []fakeca.Identifier) []fakeca.Identifier {
				for range 5000 {
					ids = append(ids, fakeca.Identifier{Type: "dns", Value: "evil.test"})
				}
				return ids
			})
		}, status: 76, says: []string{"and 4991 more"}},
		{name: "newOrder without Location", does: func(ca *fakeca.CA) { ca.Header(fakeca.NewOrder, "Location") }, status: 76, says: []string{"the reply has no Location"}},
		{name: "newAccount without Location", newcomer: true, does: func(ca *fakeca.CA) { ca.Header(fakeca.NewAccount, "Location") }, status: 76, says: []string{"new account", "the reply has no Location"}},
		{name: "authorization for another name", does: member(fakeca.Authz, "identifier.value", "evil.test"), status: 76, says: []string{`an authorization for "evil.test", which was not ordered`}},
		{name: "authorization for an address", does: member(fakeca.Authz, "identifier.type", "ip"), status: 76, says: []string{"which was not ordered"}},
		{name: "authorization with an escape for a name", does: member(fakeca.Authz, "identifier.value", "\x1b]0;owned\x07"), status: 76, says: []string{`\x1b]0;owned\a`}},
		{name: "authorization without identifier", does: drop(fakeca.Authz, "identifier"), status: 76, says: []string{"authorization"}},
		{name: "authorization without challenges", does: drop(fakeca.Authz, "challenges"), status: 78, says: []string{"the CA offers no http-01"}},
		{name: "authorization without status", does: drop(fakeca.Authz, "status"), status: 76, says: []string{"the authorization has no status"}},
		{name: "authorization of an unknown status", does: member(fakeca.Authz, "status", "meditating"), status: 1, says: []string{`the authorization is "meditating"`}},
		{name: "authorization invalid already", does: member(fakeca.Authz, "status", "invalid"), status: 1, says: []string{`a.test: the authorization is "invalid"`}},
		{name: "authorization deactivated already", does: member(fakeca.Authz, "status", "deactivated"), status: 1, says: []string{`a.test: the authorization is "deactivated"`}},
		// The order is taken up again, by the next run, with a challenge that is there.
		{name: "no http-01 offered", does: func(ca *fakeca.CA) { ca.ChallengeTypes("dns-01") }, fatal: true,
			status: 78, says: []string{"the CA offers no http-01"}, hint: "dns-01"},
		{name: "5000 challenges that nobody knows", does: func(ca *fakeca.CA) {
			ca.Member(fakeca.Authz, "challenges", slices.Repeat([]any{map[string]any{"type": "\x1b[2J" + strings.Repeat("x", 150)}}, 5000))
		}, status: 78, says: []string{"the CA offers no http-01"}, hint: "and 4990 more"},
		{name: "challenge without url", does: drop(fakeca.Authz, http01+".url"), status: 76, says: []string{"the http-01 challenge has no url"}},
		{name: "order of an unknown status for ever", does: member(fakeca.Order, "status", "meditating"), args: slow, status: 75, says: []string{"is still meditating"}},
		{name: "order with a status full of escapes", does: member(fakeca.Order, "status", "\x1b[31m\nroot# \u202e"), args: slow, status: 75, says: []string{`is still \x1b[31m\nroot#`}},
		{name: "order with a number for status", does: member(fakeca.Order, "status", 7), status: 76, says: []string{`member "status" is of a wrong type (number)`}},
		{name: "newOrder with an unknown status", does: member(fakeca.NewOrder, "status", "meditating"), args: slow, status: 75, says: []string{"is still pending"}},
		{name: "order invalid from the start", does: func(ca *fakeca.CA) {
			ca.Member(fakeca.NewOrder, "status", "invalid").Member(fakeca.Order, "status", "invalid")
		}, status: 1, says: []string{"the CA gave no reason"}},
	})
}

func TestHarmlessOddities(t *testing.T) {
	var rows []attack
	add := func(name string, ca func(*fakeca.CA)) {
		rows = append(rows, attack{name: name, does: ca, status: 0, only: []variant{firstTime, renewal, csrOnly}[len(rows)%3]})
	}
	for _, o := range objects {
		if o.newcomer {
			continue
		}
		add(o.kind+" with a wrong Content-Type", func(ca *fakeca.CA) { ca.ContentType(o.kind, "text/plain") })
		add(o.kind+" without a Content-Type", func(ca *fakeca.CA) { ca.ContentType(o.kind, "") })
		add(o.kind+" nested 60 deep", func(ca *fakeca.CA) { ca.DeepJSON(o.kind, 60) })
		add(o.kind+" with unknown members", func(ca *fakeca.CA) {
			ca.Member(o.kind, "future", map[string]any{"deep": []any{1, "x", nil}}).Member(o.kind, "", true)
		})
		add(o.kind+" with members twice", func(ca *fakeca.CA) {
			ca.Body(o.kind, func(b []byte) []byte {
				return append([]byte(`{"status":"invalid","newOrder":"https://evil.test/","finalize":"https://evil.test/",`), b[1:]...)
			})
		})
		add(o.kind+" without a nonce", func(ca *fakeca.CA) { ca.NoNonceInReplies(o.kind) })
		add(o.kind+" with a bad nonce", func(ca *fakeca.CA) { ca.Header(o.kind, "Replay-Nonce", "no nonce=") })
	}
	add("challenge with a status that nobody knows", member(fakeca.Challenge, "status", "meditating"))
	add("finalize with a status that nobody knows", member(fakeca.Finalize, "status", "meditating"))
	add("challenges that nobody knows", member(fakeca.Authz, "challenges.0", map[string]any{"type": 7, "token": []int{1}, "url": "../../x"}))
	add("a challenge that is none", member(fakeca.Authz, "challenges.0", "http-01"))
	add("an expiry that is none", member(fakeca.NewOrder, "expires", "soon"))
	add("a certificate of a wrong type", func(ca *fakeca.CA) { ca.ContentType(fakeca.Certificate, "text/plain") })
	add("a clock far ahead", func(ca *fakeca.CA) { ca.DateSkew(1000 * 60 * 60 * 1e9) })
	against(t, rows)
}

func TestHostileDirectoryTexts(t *testing.T) {
	const evil = "https://ca.test/\x1b[2J\r\narid: all is well\u202e"
	for name, tc := range map[string]struct {
		does   func(*fakeca.CA)
		status int
		says   string
		args   []string
	}{
		"terms":            {member(fakeca.Directory, "meta.termsOfService", evil), 78, `\x1b[2J\r\narid: all is well\u202e`, []string{"register"}},
		"terms of 100 kB":  {member(fakeca.Directory, "meta.termsOfService", strings.Repeat("x", 100<<10)), 78, "terms of service have not been accepted", []string{"register"}},
		"profiles":         {member(fakeca.Directory, "meta.profiles", map[string]string{evil: ""}), 78, `\x1b[2J`, []string{"sign", "--profile", "short", "--accept-terms", "a.test"}},
		"profiles in mass": {manyProfiles, 78, "the CA has no profile", []string{"sign", "--profile", "short", "--accept-terms", "a.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &siege{world: newBubbleWorld(t), attack: attack{says: []string{tc.says}}}
				tc.does(s.ca)
				_, s.talk = s.must(tc.status, tc.args...)
				t.Log(s.talk)
				s.checkTalk(tc.status)
				if n := s.posts(); n > 0 {
					t.Errorf("%d posts", n)
				}
			})
		})
	}
}

func manyProfiles(ca *fakeca.CA) {
	profiles := map[string]string{}
	for i := range 5000 {
		profiles[fmt.Sprintf("profile%d-%s", i, strings.Repeat("x", 100))] = "x"
	}
	ca.Member(fakeca.Directory, "meta.profiles", profiles)
}
