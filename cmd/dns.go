package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/config"
	"arid/dns"
)

func (a *app) dnsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dns add|del|wait",
		Short: "change TXT records by DNS updates, or wait for them; for hooks",
		Long: `Adds or takes away TXT records by updates of RFC 2136, signed with a TSIG key, or
waits until every authoritative server shows them. CNAMEs are followed: what
changes is the record that the CA will find.`,
		Example: `  arid dns add --dns-key /etc/arid/dns.key _acme-challenge.example.org VALUE
  arid dns wait _acme-challenge.example.org VALUE
  arid dns del --dns-key /etc/arid/dns.key _acme-challenge.example.org VALUE`,
		GroupID: groupChallenges,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{what: "dns: no command given", hint: "arid dns --help lists them"}
			}
			return &usageError{what: fmt.Sprintf("dns: unknown command %q", args[0]), hint: "there are add, del and wait"}
		},
	}
	update := []string{"DNS_SERVER", "DNS_ZONE", "DNS_KEY_FILE", "DNS_RESOLVER"}
	c.AddCommand(
		a.dnsSubcommand("add", "put records beside those that are there", update,
			func(ctx context.Context, records []dns.Record) error {
				return a.dnsUpdate(ctx, "added", (*dns.Updater).Add, records)
			}),
		a.dnsSubcommand("del", "take away these records, and no others of the name", update,
			func(ctx context.Context, records []dns.Record) error {
				return a.dnsUpdate(ctx, "deleted", (*dns.Updater).Delete, records)
			}),
		a.dnsSubcommand("wait", "wait until every authoritative server shows the records", []string{"DNS_WAIT", "DNS_RESOLVER"}, a.dnsWait),
	)
	return c
}

func (a *app) dnsSubcommand(word, short string, settings []string, do func(context.Context, []dns.Record) error) *cobra.Command {
	c := &cobra.Command{
		Use:                   word + " [FLAG…] NAME VALUE [NAME VALUE …]",
		DisableFlagsInUseLine: true,
		Short:                 short,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			records, err := parseRecords(words)
			if err != nil {
				return err
			}
			if err := a.load(c, "dns", nil); err != nil {
				return err
			}
			return do(c.Context(), records)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	// A VALUE may begin with "-": flags end at the first NAME.
	c.Flags().SetInterspersed(false)
	settingFlags(c, settings...)
	c.Flags().BoolP("ipv4", "4", false, "connect over IPv4 only")
	c.Flags().BoolP("ipv6", "6", false, "connect over IPv6 only")
	return c
}

func (a *app) dnsUpdate(ctx context.Context, done string, change func(*dns.Updater, context.Context, ...dns.Record) error, records []dns.Record) error {
	u, err := a.updater()
	if err != nil {
		return err
	}
	u.Tell = func(zone, server string, records int) {
		a.report.Step(fmt.Sprintf("zone %q at %s: %d %s", zone, server, records, done))
		if a.json {
			_ = a.emit(&dnsJSON{Result: done, Records: records, Zone: zone, Server: server}) // a broken stdout is known to report
		}
	}
	return change(u, ctx, records...)
}

func (a *app) dnsWait(ctx context.Context, records []dns.Record) error {
	c, err := a.dnsClient()
	if err != nil {
		return err
	}
	limit := a.settings.Duration("DNS_WAIT")
	if limit == 0 {
		err = c.See(ctx, records)
	} else {
		within, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err = c.Wait(within, records)
	}
	if unseen, ok := errors.AsType[*dns.UnseenError](err); ok && unseen.OnlyUnreachable() {
		a.report.Warning(err.Error())
		err = nil
	}
	if err == nil && a.json {
		err = a.emit(&dnsJSON{Result: "seen", Records: len(records)})
	}
	return err
}

// parseRecords reads pairs of a record's full name and its text.
func parseRecords(words []string) ([]dns.Record, error) {
	const hint = "flags stand before the first NAME; a wildcard's record has the name without its \"*.\""
	if len(words) == 0 {
		return nil, &usageError{what: "no record given", hint: "NAME VALUE, such as _acme-challenge.example.org and the text"}
	}
	if len(words)%2 != 0 {
		return nil, &usageError{what: fmt.Sprintf("no VALUE for %q", words[len(words)-1]), hint: hint}
	}
	var records []dns.Record
	for i := 0; i < len(words); i += 2 {
		name, err := recordName(words[i])
		if err != nil {
			return nil, &usageError{what: fmt.Sprintf("%q cannot be the name of a record: %v", words[i], err), hint: hint}
		}
		if words[i+1] == "" {
			return nil, &usageError{what: fmt.Sprintf("the VALUE for %q is empty", words[i])}
		}
		records = append(records, dns.Record{Name: name, Value: words[i+1]})
	}
	return records, nil
}

// recordName is the name of a record: like a host's, but each label may begin
// with an underscore or have one inside.
func recordName(word string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(word, "."))
	if strings.IndexFunc(name, func(r rune) bool { return r > '~' }) >= 0 {
		var services string // _acme-challenge, which is no host's
		host := name
		for strings.HasPrefix(host, "_") {
			label, rest, _ := strings.Cut(host, ".")
			services, host = services+label+".", rest
		}
		canonical, err := config.CanonicalName(host)
		if err != nil {
			return "", err
		}
		name = services + canonical
	}
	if strings.HasPrefix(name, "-") {
		return "", errors.New("it begins with \"-\"")
	}
	if len(name) > 253 {
		return "", errors.New("it has more than 253 letters")
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "", errors.New("a part of it is empty")
		case len(label) > 63:
			return "", errors.New("a part of it has more than 63 letters")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return "", errors.New("only letters, digits, \"-\" and \"_\" stand in one")
		}
	}
	return name, nil
}

// dnsClient asks the name servers of the settings. Nothing is sent.
func (a *app) dnsClient() (*dns.Client, error) {
	c := &dns.Client{Network: a.settings.Value("IP_VERSION"), Port: a.settings.Value("DNS_PORT")}
	if resolver := a.settings.Value("DNS_RESOLVER"); resolver != "" {
		c.Resolvers = []string{dns.HostPort(resolver)}
		return c, nil
	}
	var err error
	if c.Resolvers, err = dns.SystemResolvers(""); err != nil {
		return nil, fmt.Errorf("the system's resolvers: %w", err)
	}
	return c, nil
}

// updater changes records as the settings say. Nothing is sent.
func (a *app) updater() (*dns.Updater, error) {
	client, err := a.dnsClient()
	if err != nil {
		return nil, err
	}
	u := &dns.Updater{Client: client, Server: a.settings.Value("DNS_SERVER")}
	if zone := a.settings.Value("DNS_ZONE"); zone != "" {
		if u.Zone, err = recordName(zone); err != nil {
			return nil, a.settings.Wrong("DNS_ZONE", err)
		}
	}
	u.TTL = max(time.Duration(a.settings.Int("DNS_TTL"))*time.Second, 1) // not 0, which is the default
	u.Key, err = a.dnsKey()
	return u, err
}

// dnsKey is the TSIG key of the settings; nil if there is none.
func (a *app) dnsKey() (*dns.Key, error) {
	text, file := a.settings.Value("DNS_KEY"), a.path("DNS_KEY_FILE")
	switch {
	case text != "" && file != "":
		return nil, a.settings.Wrong("DNS_KEY", fmt.Errorf("there is a DNS_KEY_FILE too (%s), and only one of them can count", a.settings.Origin("DNS_KEY_FILE")))
	case text != "":
		key, err := dns.ParseKey(text)
		if err != nil {
			return nil, a.from("DNS_KEY", &inputError{a.label("DNS_KEY"), err})
		}
		return key, nil
	case file != "":
		key, err := a.readDNSKey(file)
		return key, a.from("DNS_KEY_FILE", err)
	}
	return nil, nil
}

func (a *app) readDNSKey(file string) (*dns.Key, error) {
	data, err := a.readInput(file, 64<<10)
	if err != nil {
		return nil, &inputError{a.label("DNS_KEY_FILE"), err}
	}
	what := fmt.Sprintf("%s %q", a.label("DNS_KEY_FILE"), file)
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0 {
		a.report.Warning(fmt.Sprintf("%s: every user of this host can read the key", what))
	}
	key, err := dns.ReadKey(data)
	if err != nil {
		return nil, &inputError{what, err}
	}
	return key, nil
}

// label is a setting by the name under which the user gave it.
func (a *app) label(name string) string {
	return cmp.Or(a.settings.Origin(name).Name, name)
}
