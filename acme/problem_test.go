package acme_test

import (
	"net/http"
	"strings"
	"testing"

	"arid/acme"
	"arid/internal/fakeca"
)

func TestLinkOfAProblem(t *testing.T) {
	long := "https://ca.example/unpause?jwt=" + strings.Repeat("a", 1500)
	help := func(values ...string) http.Header { return http.Header{"Link": values} }
	for _, c := range []struct {
		why  string
		p    acme.Problem
		want string
	}{
		{"a limit, in a sentence", acme.Problem{Detail: "too many new orders (300) recently: see https://ca.example/docs/limits/#new-orders."}, "https://ca.example/docs/limits/#new-orders"},
		{"in brackets", acme.Problem{Detail: "paused (see https://ca.example/docs)"}, "https://ca.example/docs"},
		{"in quotes", acme.Problem{Detail: `visit "https://ca.example/docs" now`}, "https://ca.example/docs"},
		{"long, of a paused account", acme.Problem{Detail: "Please visit: " + long}, long},
		{"longer than any", acme.Problem{Detail: "https://ca.example/" + strings.Repeat("a", 5000)}, ""},
		{"the first that is good", acme.Problem{Detail: "https:// https://user@ca.example/ https://ca.example/1 https://ca.example/2"}, "https://ca.example/1"},
		{"the detail's before the instance", acme.Problem{Detail: "see https://ca.example/1", Instance: "https://ca.example/2"}, "https://ca.example/1"},
		{"the instance", acme.Problem{Detail: "agree", Instance: "https://ca.example/terms?id=1"}, "https://ca.example/terms?id=1"},
		{"an instance that is none", acme.Problem{Instance: "urn:uuid:1"}, ""},
		{"plain http", acme.Problem{Detail: "see http://ca.example/docs", Instance: "http://ca.example/"}, ""},
		{"other schemes", acme.Problem{Detail: "javascript:alert(1)", Instance: "file:///etc/passwd"}, ""},
		{"terminal sequences", acme.Problem{Detail: "see https://ca.example/a\x1b[2J", Instance: "https://ca.example/\x1b[2J"}, "https://ca.example/a"},
		{"letters of other alphabets", acme.Problem{Detail: "see https://ca.example/\u0430bc", Instance: "https://ca.ex\u0430mple/"}, ""},
		{"no host", acme.Problem{Detail: "https:///x https://a_b%41/"}, ""},
		{"help", acme.Problem{Header: help(`<https://ca.example/i>;rel="index"`, `<https://ca.example/h>;rel="help"`)}, "https://ca.example/h"},
		{"help beside the page", acme.Problem{URL: "https://ca.example/new-order", Header: help(`</docs>;rel="help"`)}, "https://ca.example/docs"},
		{"help over plain http", acme.Problem{Header: help(`<http://ca.example/h>;rel="help"`)}, ""},
		{"nothing", acme.Problem{}, ""},
	} {
		if got := c.p.Link(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
	}
	ca := fakeca.New(t)
	customer := newCustomer(t, ca)
	ca.Problem(fakeca.NewOrder, 429, "rateLimited", "too many", 1, `Link: </docs/limits>;rel="help"`)
	_, err := customer.NewOrder(t.Context(), request("example.org"))
	if got := wantProblem(t, err, "rateLimited").Link(); got != ca.Base()+"/docs/limits" {
		t.Errorf("got %q", got)
	}
}
