package cmd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"arid/acme"
	"arid/issue"
	"arid/probe"
	"arid/report"
)

// hintRow is one row of the table that "arid help hints" prints. The name stays
// the same for ever: it is what people search for.
type hintRow struct {
	name string // with "ca-" and the CA's word, where it is for one: "ca-bad-csr" for badCSR
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
		{"ca-perspectives", "the CA looks from several networks at once, and some of them did not see the proof: a firewall that goes by country or address, or a DNS server or mirror that lags behind?"},

		{"ca-rate-limited", "a limit of the CA's that time lifts; trying again sooner, or with --force, does not"},
		{"ca-paused", "the CA has paused these names for this account, since they have failed for long: mend what fails, then follow the link; waiting does not end it"},
		{"ca-unsupported-identifier", "this CA gives no certificates for names, or addresses, of this kind"},
		{"ca-rejected-identifier", "the CA does not take this name, by its rules or a list: leave it out, or ask the CA"},
		{"ca-bad-csr", "the CA does not take the signing request: look at --algo, --must-staple and --subject, or at your own CSR"},
		{"ca-bad-public-key", "the CA does not take the key: try another type (--algo; of an account: ACCOUNT_KEY_ALGO), and a new one, since it may be weak or known to others"},
		{"ca-external-account-required", "the CA knows its accounts from before: its own site gives out a key id and a key for --eab-kid and --eab-hmac-file"},
		{"ca-user-action-required", "the CA waits for a person, mostly to agree to new terms: arid account update --accept-terms"},
	}
}

// rowOf is the row for what a CA says. Paused names, and networks that disagree, have no
// type of their own.
func rowOf(p *acme.Problem) (row hintRow, found bool) {
	name := ""
	switch { // in the words of Let's Encrypt
	case strings.Contains(strings.ToLower(p.Detail), "secondary validation"):
		name = "ca-perspectives"
	case strings.Contains(p.Link(), "/unpause"):
		name = "ca-paused"
	}
	for _, row := range hintTable() {
		if row.name == name || name == "" && row.isFor(p.Short()) {
			return row, true
		}
	}
	return hintRow{}, false
}

// isFor says whether the row is for this word of the CA's.
func (r hintRow) isFor(word string) bool {
	name, ofCA := strings.CutPrefix(r.name, "ca-")
	return ofCA && strings.EqualFold(strings.ReplaceAll(name, "-", ""), word)
}

// maxProblemHints is how many of perhaps many subproblems are worth a line.
const maxProblemHints = 3

// problemHints are for a refused request, or an order that failed: what the CA says of
// all of it, then what it says of single names.
func problemHints(p *acme.Problem) (lines []string) {
	if p == nil {
		return nil
	}
	for _, said := range append([]acme.Problem{*p}, p.Subproblems...) {
		row, found := rowOf(&said)
		if p.URL != "" && row.name == "ca-unauthorized" { // of a request it is about the account
			continue
		}
		if line := row.String(); found && !slices.Contains(lines, line) && len(lines) < maxProblemHints {
			lines = append(lines, line)
		}
	}
	return lines
}

func (r hintRow) String() string { return fmt.Sprintf("%s [%s]", r.text, r.name) }

// validationHint names what to look at after a refused challenge: by what arid
// saw itself, or by what the CA said where arid saw less than the CA.
func validationHint(f issue.Failure) string {
	var said hintRow
	if f.Problem != nil {
		said, _ = rowOf(f.Problem)
	}
	names := []string{string(f.Seen.Cause), said.name}
	if said.better(f.Seen.Cause) {
		slices.Reverse(names)
	}
	return cmp.Or(hintNamed(names[0]), hintNamed(names[1]))
}

// hintNamed is the row of that name, as it is printed; "" where there is none.
func hintNamed(name string) string {
	for _, row := range hintTable() {
		if row.name == name {
			return row.String()
		}
	}
	return ""
}

// better says whether what the CA said explains more than what was seen from here.
func (r hintRow) better(seen probe.Cause) bool {
	switch r.name {
	case "ca-caa", "ca-dnssec", "ca-perspectives", "ca-rejected-identifier", "ca-unsupported-identifier":
		return true
	case "ca-dns":
		return seen == probe.SeenRight || seen == probe.NoAddress
	}
	return seen == probe.NoAddress
}

// hintsTopic is "arid help hints".
func (a *app) hintsTopic() *cobra.Command {
	c := &cobra.Command{
		Use:   "hints",
		Short: "what the hints after a failure mean",
	}
	var rows [][]string
	for _, row := range hintTable() {
		rows = append(rows, []string{row.name, row.text})
	}
	c.Long = `When the CA could not validate a name, arid looks at the same URL, address or TXT
record itself, and prints what it saw and a hint, with its name in brackets. Those
that begin with ca- are about what the CA says, of a name or of a request.

` + strings.TrimRight(report.Table(rows), "\n")
	return c
}
