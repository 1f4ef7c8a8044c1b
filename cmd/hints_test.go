package cmd

import (
	"strings"
	"testing"

	"arid/acme"
	"arid/issue"
	"arid/probe"
)

func TestEveryCauseHasAHintAndAPlaceInTheDocs(t *testing.T) {
	text := page(t, "hints.md")
	rows := map[string]bool{}
	for _, row := range hintTable() {
		if rows[row.name] {
			t.Errorf("%q stands twice", row.name)
		}
		rows[row.name] = true
		if want := "| `" + row.name + "` | " + row.text + " |\n"; !strings.Contains(text, want) {
			t.Errorf("docs/hints.md lacks %s", want)
		}
	}
	for _, c := range probe.Causes() {
		if !rows[string(c)] {
			t.Errorf("no hint for %q", c)
		}
	}
}

func TestWhichHintExplainsMore(t *testing.T) {
	for _, c := range []struct {
		seen        probe.Cause
		typ, detail string
		want        string
	}{
		{probe.HTTPRefused, "connection", "refused", "http-refused"},
		{probe.HTTPRefused, "connection", "During secondary validation: refused", "ca-perspectives"},
		{probe.SeenRight, "unauthorized", "During secondary validation: 403", "ca-perspectives"},
		{probe.HTTPRefused, "caa", "x", "ca-caa"},
		{probe.DNSMissing, "dns", "x", "dns-missing"},
		{probe.SeenRight, "dns", "x", "ca-dns"},
		{probe.NoAddress, "connection", "x", "ca-connection"},
		{probe.NoAddress, "malformed", "x", "no-address"},
		{probe.SeenRight, "connection", "x", "seen-right"},
		{"", "badCSR", "x", "ca-bad-csr"},
		{"", "serverInternal", "x", ""},
	} {
		f := issue.Failure{Seen: probe.Seen{Cause: c.seen}, Problem: &acme.Problem{Type: "urn:ietf:params:acme:error:" + c.typ, Detail: c.detail}}
		got := validationHint(f)
		if !strings.HasSuffix(got, "["+c.want+"]") && got+c.want != "" {
			t.Errorf("seen %q, said %s %q: %q, want %q", c.seen, c.typ, c.detail, got, c.want)
		}
	}
}
