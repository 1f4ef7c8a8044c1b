package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"arid/issue"
	"arid/probe"
	"arid/report"
)

// hintRow is one row of the table that "arid help hints" prints. The name stays
// the same for ever: it is what people search for.
type hintRow struct {
	name string
	text string // what the user might do
}

// hintTable has a row for whatever probe may find, and for what only the CA
// can say.
func hintTable() []hintRow {
	return []hintRow{
		{"no-address", "the name has no address that can be found from here: does it have an A or AAAA record, for everybody?"},
		{"seen-right", "all looks right from this host, but the CA comes from outside, and from several places: look at firewalls, at other A and AAAA records, at caches"},

		{"http-refused", "nothing listens there: is the web server running, on this address and port?"},
		{"http-timeout", "no answer: a firewall, or an address that is not this server's"},
		{"http-unreachable", "there is no way to this address: is the A or AAAA record out of date?"},
		{"http-no-http", "what answers there does not speak plain HTTP, with which a CA begins"},
		{"http-missing", "does the web server show the files of WELLKNOWN as /.well-known/acme-challenge/? Put a file there and fetch it"},
		{"http-forbidden", "the web server will not show it: can its user enter WELLKNOWN, and does a rule (password, dot files) cover /.well-known/?"},
		{"http-status", "the web server, or what stands before it, fails at this path: look into its log"},
		{"http-redirect", "the redirect leads nowhere: answer /.well-known/acme-challenge/ on port 80 itself"},
		{"http-other-text", "something else answers for this path: is it the right host, the right site, and are its rewrite rules after this path?"},
		{"http-changed", "the answer must be the file's content and nothing else: what adds to it, or cuts it?"},
		{"http-other-account", "another ACME client, or another account, answers for this path"},
		{"http-v6", "IPv4 and IPv6 show different things, and CAs prefer IPv6: mend one, or remove its record; or does this host have no IPv6 itself?"},

		{"tls-refused", "nothing listens there: is the TLS server running, on this address and port?"},
		{"tls-timeout", "no answer: a firewall, or an address that is not this server's"},
		{"tls-unreachable", "there is no way to this address: is the A or AAAA record out of date?"},
		{"tls-no-tls", "what answers there does not speak TLS"},
		{"tls-handshake", "the TLS handshake fails, and not over acme-tls/1: look into the server's log"},
		{"tls-no-alpn", "does the server know the directory (lighttpd: ssl.acme-tls-1), and can its user read it? chgrp GROUP DIR; chmod 2750 DIR gives new files to GROUP"},
		{"tls-ordinary", "the server shows its own certificate to acme-tls/1: does it know the directory, or does a proxy end the TLS before it?"},
		{"tls-old", "an older proof is shown: does the server keep certificates in memory, or read another directory?"},
		{"tls-other-name", "the proof of another name is shown: does what stands before the server change the name (SNI)?"},
		{"tls-v6", "IPv4 and IPv6 show different things, and CAs prefer IPv6: mend one, or remove its record; or does this host have no IPv6 itself?"},

		{"dns-no-zone", "no name server has this zone: is the name right, and registered?"},
		{"dns-missing", "the TXT record is not there: did the hook put it into this zone, under this very name?"},
		{"dns-other", "other TXT records are there, and not this one: a hook must add to them, not replace them"},
		{"dns-some", "not all name servers have the record yet: a longer --dns-wait, or look at how the zone gets to them"},
		{"dns-unreachable", "the name servers do not answer this host, and perhaps not the CA"},
		{"dns-servfail", "a name server answers with an error: a zone that it does not have, or that has expired, or DNSSEC; ask it with dig"},
		{"dns-chain", "the CNAME leads nowhere or round in circles"},

		{"ca-caa", "a CAA record forbids this CA, for this name or for one above it"},
		{"ca-dns", "the CA cannot resolve the name: does it have an A or AAAA record, for everybody?"},
		{"ca-dnssec", "the zone's DNSSEC signatures do not hold: expired, or a DS record of an older key?"},
		{"ca-connection", "the CA cannot connect: does the server answer, on this address, from everywhere?"},
		{"ca-unauthorized", "what the CA saw is not the proof: does the web server show the files of WELLKNOWN, and on every address?"},
	}
}

// validationHint names what to look at after a refused challenge: by what arid
// saw itself, or by what the CA said where arid saw less than the CA.
func validationHint(f issue.Failure) string {
	said := ""
	if f.Problem != nil {
		said = f.Problem.Short()
	}
	names := []string{string(f.Seen.Cause), "ca-" + said}
	if said == "caa" || said == "dnssec" || f.Seen.Cause == probe.NoAddress || said == "dns" && f.Seen.Cause == probe.SeenRight {
		slices.Reverse(names)
	}
	for _, name := range names {
		for _, row := range hintTable() {
			if row.name == name {
				return fmt.Sprintf("%s [%s]", row.text, row.name)
			}
		}
	}
	return ""
}

// hintsTopic is "arid help hints".
func (a *app) hintsTopic() *cobra.Command {
	c := &cobra.Command{
		Use:   "hints",
		Short: "what the hints after a failed validation mean",
	}
	var rows [][]string
	for _, row := range hintTable() {
		rows = append(rows, []string{row.name, row.text})
	}
	c.Long = `When the CA could not validate a name, arid looks at the same URL, address or TXT
record itself, and prints what it saw and a hint, with its name in brackets.

` + strings.TrimRight(report.Table(rows), "\n")
	return c
}
