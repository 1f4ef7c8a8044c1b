package cmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"arid/challenge"
	"arid/config"
	"arid/dns"
	"arid/probe"
	"arid/report"
)

// checkDNS looks at names as a CA would, by the challenge that the settings have for
// each.
func (a *app) checkDNS(c *cobra.Command, f *checkFlags, words []string) error {
	switch {
	case len(words) == 0:
		return &usageError{what: "no name given", hint: "arid check --dns www.example.org"}
	case f.name != "" || f.cert != "" || f.startTLS != "":
		return &usageError{what: "--dns looks at names alone: --name, --cert and --starttls are for HOST:PORT"}
	}
	var names []string
	for _, word := range words {
		name, err := config.CanonicalName(word)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := a.load(c, "check", nil); err != nil {
		return err
	}
	types, err := challenge.ParseChoice(a.settings.Value("CHALLENGETYPE"))
	if err != nil {
		return a.settings.Wrong("CHALLENGETYPE", err)
	}
	client, err := a.dnsClient()
	if err != nil {
		return err
	}
	s := &nameCheck{app: a, client: client, prober: &probe.Prober{DNS: client}}
	all := &verdicts{}
	for _, name := range names {
		typ, err := types.For(name)
		if err != nil {
			return &inputError{"name", err}
		}
		n, err := s.look(c.Context(), name, typ)
		if c.Context().Err() != nil {
			return context.Cause(c.Context())
		}
		if err != nil {
			return err
		}
		if err := s.tell(n); err != nil {
			return err
		}
		all.count(n.Result)
	}
	return all.error()
}

func (v *verdicts) count(result string) {
	switch result {
	case resultFine:
		v.same++
	case resultUnknown:
		v.nobody++
	default:
		v.other++
	}
}

// What a CA would find for a name.
const (
	resultFine    = "fine"
	resultBad     = "bad"
	resultUnknown = "unknown" // no name server could be asked
)

// nameCheck looks at names.
type nameCheck struct {
	*app
	client *dns.Client
	prober *probe.Prober
}

// nameJSON is what a CA would find: of arid check --dns.
type nameJSON struct {
	head
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Result    string   `json:"result"`
	Addresses []string `json:"addresses,omitempty"`
	Private   []string `json:"private,omitempty"`
	Record    string   `json:"record,omitempty"`
	Zone      string   `json:"zone,omitempty"`
	Servers   []string `json:"servers,omitempty"`
	Seen      string   `json:"seen,omitempty"`
	Hint      string   `json:"hint,omitempty"`
}

func (s *nameCheck) look(ctx context.Context, name, typ string) (*nameJSON, error) {
	n := &nameJSON{Name: name, Type: typ, Result: resultFine}
	if typ == challenge.DNS01 {
		s.lookRecord(ctx, n)
		return n, nil
	}
	found, err := s.addresses(ctx, name)
	for _, address := range found {
		n.Addresses = append(n.Addresses, address.String())
		if !probe.Public(address) {
			n.Private = append(n.Private, address.String())
		}
	}
	switch {
	case err != nil:
		n.fail(err.Error(), probe.NoAddress)
		if is[*dns.ResolverError](err) {
			n.Result = resultUnknown
		}
		return n, nil
	case typ == challenge.HTTP01:
		return n, s.lookHTTP(ctx, n)
	}
	s.lookTLS(ctx, n)
	return n, nil
}

func (s *nameCheck) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address}, nil
	}
	found, err := s.client.Addresses(ctx, name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%q has no address", name)
	}
	return found, err
}

func (n *nameJSON) fail(seen string, cause probe.Cause) {
	n.Result, n.Seen, n.Hint = resultBad, seen, hintNamed(string(cause))
}

// lookHTTP puts a file where arid sign would put one, and fetches it as a CA does.
func (s *nameCheck) lookHTTP(ctx context.Context, n *nameJSON) error {
	dir, err := challenge.OpenHTTPDir(s.path("WELLKNOWN"))
	if err != nil {
		return s.from("WELLKNOWN", err)
	}
	defer dir.Close()
	token := "arid-check-" + rand.Text()
	answer := token + "." + rand.Text()
	if err := dir.Put(token, answer); err != nil {
		return err
	}
	defer func() { _ = dir.Remove(token) }()
	seen := s.prober.HTTP01(ctx, n.Name, token, answer)
	if n.Seen = seen.Text; seen.Cause != probe.SeenRight {
		n.fail(seen.Text, seen.Cause)
	}
	return nil
}

// lookTLS looks whether a TLS server answers. Whether it would show a validation
// certificate, only a rehearsal tells.
func (s *nameCheck) lookTLS(ctx context.Context, n *nameJSON) {
	seen := s.prober.TLSALPN01(ctx, n.Name, "")
	n.Seen = seen.Text
	switch seen.Cause {
	case probe.TLSNoALPN, probe.TLSOrdinary, probe.TLSOld, probe.TLSOtherName: // it has nothing to show
	default:
		n.fail(seen.Text, seen.Cause)
	}
}

// lookRecord looks for the zone of the TXT record, and for servers that answer.
func (s *nameCheck) lookRecord(ctx context.Context, n *nameJSON) {
	record := challenge.Record(strings.TrimPrefix(n.Name, "*."))
	place, err := s.client.Place(ctx, record)
	if err != nil {
		cause := probe.DNSUnreachable
		switch {
		case is[*dns.ChainError](err):
			cause = probe.DNSChain
		case is[*dns.ZoneError](err):
			cause = probe.DNSNoZone
		}
		n.fail(err.Error(), cause)
		if is[*dns.ResolverError](err) {
			n.Result = resultUnknown
		}
		return
	}
	n.Record, n.Zone = place.Name, place.Zone
	var silent []string
	for _, sight := range s.client.Look(ctx, place) {
		n.Servers = append(n.Servers, sight.Server.String())
		if sight.Err != nil {
			silent = append(silent, fmt.Sprintf("%s: %v", sight.Server, sight.Err))
		}
	}
	if n.Seen = strings.Join(silent, "; "); len(silent) == len(n.Servers) {
		n.fail(n.Seen, probe.DNSUnreachable)
	}
}

// tell prints what was found, as text or as an object.
func (s *nameCheck) tell(n *nameJSON) error {
	if s.json {
		if err := s.emit(n); err != nil {
			return err
		}
	} else if err := s.out(n.text(s.report.Shade)); err != nil {
		return err
	}
	if len(n.Private) > 0 {
		s.report.Warning(fmt.Sprintf("%s: no public CA comes to %s", n.Name, strings.Join(n.Private, ", ")))
	}
	if n.Result != resultFine {
		s.tellError(&hintedError{errors.New(n.Name + ": " + n.Seen), n.Hint})
	}
	return nil
}

// text is the finding for people.
func (n *nameJSON) text(shade func(string, report.Tone) string) string {
	head := map[string]string{
		resultFine:    shade(n.Name+": nothing seen that speaks against "+n.Type, report.Calm),
		resultBad:     shade(n.Name+": "+n.Type+" WOULD FAIL", report.Alarm),
		resultUnknown: shade(n.Name+": the DNS cannot be asked", report.Alarm),
	}[n.Result]
	lines := []string{head}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, fmt.Sprintf("  %-9s %s", label, report.Escape(text)))
		}
	}
	add("addresses", strings.Join(n.Addresses, ", "))
	if n.Zone != "" {
		record := challenge.Record(strings.TrimPrefix(n.Name, "*."))
		if n.Record != record {
			record += " (CNAME to " + n.Record + ")"
		}
		add("record", record)
		add("zone", fmt.Sprintf("%s, at %s", n.Zone, strings.Join(n.Servers, ", ")))
	}
	add("seen", n.Seen)
	return strings.Join(lines, "\n") + "\n"
}
