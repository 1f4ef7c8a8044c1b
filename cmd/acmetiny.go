package cmd

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/account"
	"arid/acme"
	"arid/certs"
	"arid/challenge"
	"arid/config"
	"arid/internal/guard"
	"arid/issue"
	"arid/keys"
)

// acmeTinyNames are the names by which arid is called to be acme-tiny.
var acmeTinyNames = []string{"acme-tiny", "acme_tiny", "acme_tiny.py"}

// acmeTinyArgs are the words for acme-tiny's mode, and how the program was called; nil
// where this is none of it.
func (p *Process) acmeTinyArgs() (words []string, program string) {
	name := filepath.Base(p.Args[0])
	switch {
	case slices.Contains(acmeTinyNames, name):
		return append([]string{}, p.Args[1:]...), name
	case len(p.Args) > 1 && p.Args[1] == "acme-tiny":
		return append([]string{}, p.Args[2:]...), name + " acme-tiny"
	}
	return nil, ""
}

// acmeTinyCommand is there to be found in the help; Main sends its words elsewhere.
func (a *app) acmeTinyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "acme-tiny",
		Short: "acme-tiny's own command line, streams and statuses",
		Long: `Signs one CSR as acme-tiny does: no config, no state, the chain on stdout;
"arid acme-tiny --help" lists the words. Under the name acme-tiny, as by a symlink,
arid does the same. The words are on arid sign, too, which can do more.`,
		Example:            "  arid acme-tiny --account-key account.key --csr domain.csr --acme-dir DIR > chain.pem",
		GroupID:            groupCompatibility,
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{what: "acme-tiny is the first word or none", hint: "arid acme-tiny WORDS…"}
		},
	}
}

// acmeTiny runs a command line in acme-tiny's manner, and returns its status.
func (a *app) acmeTiny(ctx context.Context, words []string, program string) int {
	err := guard.Run(func() error {
		l, err := parseTiny(words)
		switch {
		case err != nil:
			return err
		case l.help:
			return a.out(tinyHelp(program))
		}
		return a.runTiny(ctx, l)
	})
	if cause := context.Cause(ctx); err != nil && is[*SignalError](cause) {
		err = cause // whatever it made fail
	}
	status := tinyStatus(err)
	if err != nil && !is[*SignalError](err) {
		a.tellTiny(err, program)
	}
	return status
}

// tinyStatus maps an error to the status of acme-tiny's mode. It stands beside
// exitStatus.
func tinyStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case is[*SignalError](err):
		return exitStatus(err) // seen by tests only: main dies by the signal
	case is[*tinyUsageError](err):
		return 2
	}
	return 1
}

// tellTiny says on stderr what went wrong. Hints about words that are none here are
// left out.
func (a *app) tellTiny(err error, program string) {
	if is[*tinyUsageError](err) {
		a.complain(strings.TrimSuffix(tinyUsage(program), "\n"))
		a.complain(program + ": error: " + err.Error())
		return
	}
	known := func(flag string) bool {
		return slices.ContainsFunc(tinyWords, func(w tinyWord) bool { return w.name == flag })
	}
	for _, b := range blames(err) {
		a.complain(program + ": " + strings.Replace(b.text, "WELLKNOWN ", "--acme-dir ", 1)) // what it is called here
		for _, n := range b.notes {
			if flags := flagWord.FindAllString(n.Text, -1); !slices.ContainsFunc(flags, func(f string) bool { return !known(f) }) {
				a.complain(program + ": " + n.Label + ": " + n.Text)
			}
		}
	}
	if is[*issue.SelfCheckError](err) {
		a.complain(program + ": hint: where only the CA can see it, --disable-check leaves it to the CA")
	}
}

// runTiny is the straight line from a CSR to the chain on stdout.
func (a *app) runTiny(ctx context.Context, l *tinyLine) error {
	say := func(text string) {
		if !l.quiet {
			a.report.Explain("", text)
		}
	}
	port, err := l.port()
	if err != nil {
		return err
	}
	key, err := a.readKey(a.abs(l.accountKey))
	if err == nil {
		err = keys.Check(key.Public())
	}
	if err != nil {
		return &inputError{"account key", err}
	}
	say("The account key is read.")
	csr, err := a.readCSR(l.csr)
	if err != nil {
		return err
	}
	say("The CSR is for " + strings.Join(csr.Names, ", ") + ".")
	if err := a.loadTiny(ctx, l); err != nil {
		return err
	}
	c, err := a.tinyCA()
	if err != nil {
		return err
	}
	c.store.Key = key
	p, err := a.plan(&orderFlags{}, c)
	if err != nil {
		return err
	}
	r, err := p.request(csr.Names)
	if err != nil {
		return err
	}
	r.CSR, r.TokenMode = csr, fs.FileMode(0o666&^a.umask)
	r.Tell = func(e issue.Event) {
		if e.Step != issue.StepAccount {
			say(sentence(e))
		}
	}
	if !l.disableCheck {
		selfCheck(r, port)
		r.SelfCheck.Lookup = lookup // what /etc/hosts says counts, too
	}
	within, cancel := context.WithTimeoutCause(ctx, r.Timeout, &acme.TemporaryError{What: "the CA took too long"})
	defer cancel()
	if r.Account.URL, err = l.register(within, c.client, key, say); err != nil {
		return err
	}
	result, err := issue.Sign(ctx, r)
	if err != nil {
		return err
	}
	if err := a.out(string(certs.EncodeChain(result.Chain))); err != nil {
		return err
	}
	say("The certificate is signed, and good until " + result.Chain[0].NotAfter.UTC().Format(time.RFC3339) + ".")
	return nil
}

// port is where the challenge file is looked at from here; 0 is 80.
func (l *tinyLine) port() (int, error) {
	if l.checkPort == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(l.checkPort, 10, 16)
	if err != nil || n == 0 {
		return 0, badTiny("argument --check-port: %q is no port", l.checkPort)
	}
	return int(n), nil
}

// loadTiny makes settings of the command line alone: neither a config nor arid's own
// variables count. Proxies do, as they do there.
func (a *app) loadTiny(ctx context.Context, l *tinyLine) (err error) {
	flags := map[string]string{
		"ACCOUNT_KEY": l.accountKey, "WELLKNOWN": l.acmeDir, "CHALLENGETYPE": challenge.HTTP01,
		"TIMEOUT": "1h", // so long acme-tiny has patience
	}
	switch {
	case l.ca != "":
		flags["CA"] = strings.TrimSuffix(l.ca, "/") + "/directory"
	case l.directoryURL != "":
		flags["CA"] = l.directoryURL
	}
	environ := slices.DeleteFunc(slices.Clone(a.Env), func(e string) bool { return strings.HasPrefix(e, "ARID_") || strings.HasPrefix(e, "EAB_") })
	a.settings, err = config.Load(ctx, config.Options{
		File: os.DevNull, Flags: flags, Environ: environ, UID: a.UID, Dir: a.Dir, Command: "sign_csr",
	})
	return err
}

// tinyCA is the CA of the settings, of which nothing is remembered.
func (a *app) tinyCA() (*ca, error) {
	url, test, err := a.settings.CAURL()
	if err != nil {
		return nil, err
	}
	c := &ca{url: url, test: test, store: account.Store{CA: url, KeyFile: a.path("ACCOUNT_KEY")}}
	return c, a.connect(c, nil)
}

// register makes or finds the account: terms are agreed to in every run, and the CA is
// told the contacts where some are given.
func (l *tinyLine) register(ctx context.Context, client *acme.Client, key crypto.Signer, say func(string)) (url string, err error) {
	contact, err := account.Contacts(l.contact)
	if err != nil {
		return "", err
	}
	made, err := client.NewAccount(ctx, key, acme.AccountRequest{Contact: contact, TermsOfServiceAgreed: true})
	if err != nil {
		return "", err
	}
	if made.Created {
		say("An account is made: " + made.URL)
		return made.URL, nil
	}
	say("There is an account: " + made.URL)
	if l.contact == nil {
		return made.URL, nil
	}
	client.UseAccount(key, made.URL)
	if contact == nil {
		contact = []string{}
	}
	changed, err := client.UpdateAccount(ctx, acme.AccountUpdate{Contact: contact})
	if err != nil {
		return "", err
	}
	say("The account's contacts are told: " + strings.Join(changed.Contact, ", "))
	return made.URL, nil
}

// lookup finds addresses as other programs on this host do.
func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range found {
		found[i] = found[i].Unmap()
	}
	if why, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, errors.New(strconv.Quote(name) + ": " + why.Err)
	}
	return found, err
}

// sentence is what a step has to say, with a capital letter.
func sentence(e issue.Event) string {
	text := e.Text
	if e.Step == issue.StepWarning {
		return "Warning: " + text
	}
	if first, _, _ := strings.Cut(text, " "); text != "" && !strings.ContainsAny(first, ".:") { // a name stays as it is
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}
