package cmd_test

import (
	"net/http"
	"strings"
	"testing"

	"arid/internal/fakeca"
)

// elsewhere are places where no resource of the CA may be. The CA's origin in
// the bubble is https://127.0.0.1:14000.
var elsewhere = []struct{ name, url, says string }{
	{"another host", "https://evil.test/x", "the CA's directory names no such host and port"},
	{"another port", "https://127.0.0.1:22/x", "the CA's directory names no such host and port"},
	{"plain http", "http://127.0.0.1:14000/x", "plain http"},
	{"a file", "file:///etc/passwd", "the scheme is \"file\", not https"},
	{"a user", "https://root@127.0.0.1:14000/x", "a user in the URL"},
	{"a fragment", "https://127.0.0.1:14000/x#y", "a fragment in the URL"},
	{"a line end", "https://127.0.0.1:14000/x\r\nHost: evil.test", "invalid control character"},
	{"an escape", "https://evil.test/\x1b[2J", "invalid control character"},
	{"a relative path", "/order/1", "the scheme is \"\", not https"},
	{"100 kB", "https://127.0.0.1:14000/" + strings.Repeat("x", 100<<10), "longer than 4 KiB"},
}

func TestHostileURLs(t *testing.T) {
	members := []struct {
		kind, path string
		newcomer   bool
		args       []string
	}{
		{kind: fakeca.NewOrder, path: "Location"},
		{kind: fakeca.NewOrder, path: "authorizations.0"},
		{kind: fakeca.NewOrder, path: "finalize"},
		{kind: fakeca.Order, path: "finalize"},
		{kind: fakeca.Order, path: "certificate"},
		{kind: fakeca.Finalize, path: "certificate"},
		{kind: fakeca.Authz, path: http01 + ".url"},
		{kind: fakeca.Certificate, path: "Link", args: []string{"--preferred-chain", "Some Root"}},
		{kind: fakeca.NewAccount, path: "Location", newcomer: true},
	}
	var rows []attack
	for _, m := range members {
		for _, e := range elsewhere {
			if header := m.path == "Location" || m.path == "Link"; header && (strings.ContainsAny(e.url, "\r\x1b") || strings.HasPrefix(e.url, "/") || len(e.url) > 64<<10) {
				continue // no header has these, or it is no attack there
			}
			only := []variant{firstTime, renewal, csrOnly}[len(rows)%3]
			if m.newcomer && only == renewal {
				only = firstTime
			}
			rows = append(rows, attack{
				name: m.kind + " " + m.path + " at " + e.name, newcomer: m.newcomer, args: m.args, only: only,
				does:   func(ca *fakeca.CA) { ca.ForeignURL(m.kind, m.path, e.url) },
				status: 76, says: []string{e.says}, most: map[string]int{fakeca.Unknown: 0},
			})
		}
	}
	for _, m := range []string{"newNonce", "newAccount", "newOrder", "revokeCert"} {
		for _, e := range elsewhere[2:] { // another https host is the directory's to name
			rows = append(rows, attack{name: "directory " + m + " at " + e.name, status: 76, only: firstTime, newcomer: m == "newAccount",
				does: member(fakeca.Directory, m, e.url), says: []string{"member " + m, e.says}, most: map[string]int{fakeca.Unknown: 0}})
		}
	}
	against(t, rows)
}

func TestHostileRedirects(t *testing.T) {
	var rows []attack
	for _, o := range append(objects, struct {
		kind, what string
		newcomer   bool
	}{fakeca.Certificate, "certificate", false}, struct {
		kind, what string
		newcomer   bool
	}{fakeca.Nonce, "new nonce", false}) {
		for name, to := range map[string]string{
			"another host": "https://evil.test/x", "plain http": "http://127.0.0.1:14000/x", "a portal": "http://portal.example/login?from=arid",
			"a file": "file:///etc/passwd", "an escape": "https://evil.test/%1b[2J",
		} {
			only := []variant{firstTime, renewal, csrOnly}[len(rows)%3]
			if o.newcomer && only == renewal {
				only = firstTime
			}
			rows = append(rows, attack{name: o.kind + " to " + name, newcomer: o.newcomer, only: only,
				does: func(ca *fakeca.CA) { ca.Redirect(o.kind, to) }, status: 76, says: []string{o.what + " \"https://127.0.0.1:14000/", "redirect"},
				most: map[string]int{o.kind: 1, fakeca.Unknown: 0}})
		}
	}
	loop := func(ca *fakeca.CA) {
		ca.On(fakeca.Directory, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/directory", http.StatusFound)
			return true
		})
	}
	rows = append(rows,
		attack{name: "directory round and round", does: loop, status: 76, says: []string{"more than 3 redirects"}, most: map[string]int{fakeca.Directory: 4}},
		attack{name: "directory to nowhere", does: on(fakeca.Directory, 302, ""), status: 76, says: []string{"without a Location"}},
		attack{name: "directory moved on the same host", does: func(ca *fakeca.CA) { ca.Redirect(fakeca.Directory, "/moved/here") }, status: 0},
	)
	against(t, rows)
}
