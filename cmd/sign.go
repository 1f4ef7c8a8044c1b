package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/certs"
	"arid/challenge"
	"arid/config"
	"arid/issue"
	"arid/keys"
)

type signFlags struct {
	orderFlags
	domains []string
	alias   string
	csr     string
	current string
	touch   string
	tiny    tinyFlags
	fds     descriptors

	selfCheck bool
}

// tinyFlags are acme-tiny's words for what arid has others for.
type tinyFlags struct {
	acmeDir      string
	directoryURL string
	disableCheck bool
	checkPort    uint16
}

func (f *tinyFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.acmeDir, "acme-dir", "", "--wellknown `DIR` with -t http-01, and files by the umask (acme-tiny)")
	flags.StringVar(&f.directoryURL, "directory-url", "", "--ca `URL` (acme-tiny)")
	flags.BoolVar(&f.disableCheck, "disable-check", false, "do without --self-check, as is the default (acme-tiny)")
	flags.Uint16Var(&f.checkPort, "check-port", 0, "`PORT` where --self-check looks for http-01 (default 80; acme-tiny)")
}

// check refuses two words for one thing.
func (f *tinyFlags) check(c *cobra.Command) error {
	for _, pair := range [][2]string{{"acme-dir", "wellknown"}, {"acme-dir", "challenge"}, {"directory-url", "ca"}, {"disable-check", "self-check"}} {
		if c.Flags().Changed(pair[0]) && c.Flags().Changed(pair[1]) {
			return &usageError{what: fmt.Sprintf("--%s and --%s exclude each other", pair[0], pair[1])}
		}
	}
	return nil
}

// settings are those that the words stand for.
func (f *tinyFlags) settings() map[string]string {
	s := map[string]string{}
	if f.acmeDir != "" {
		s["WELLKNOWN"], s["CHALLENGETYPE"] = f.acmeDir, challenge.HTTP01
	}
	if f.directoryURL != "" {
		s["CA"] = f.directoryURL
	}
	return s
}

func (a *app) signCommand() *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use:   "sign NAME…",
		Short: "one certificate, now, if it is missing, changed or due",
		Long: `Gets one certificate and puts it under CERTDIR/<first name>, unless the one there
is still good: then it does nothing and ends 0. The same line is what cron runs.
With --csr the chain goes to stdout and nothing is kept; --current FILE is the chain
of the run before, which is printed again as long as it is good and not due.`,
		Example: `  arid sign www.example.org example.org
  arid sign -t dns-01 -k /etc/arid/dns-hook example.org '*.example.org'
  arid sign -t tls-alpn-01 --alpn /var/lib/arid/alpn www.example.org
  arid sign -t tls-alpn-01 --listen :443 www.example.org
  arid sign --csr request.csr --current chain.pem > chain.new && mv chain.new chain.pem
  arid sign --account-key account.key --csr domain.csr --acme-dir DIR > chain.pem`,
		GroupID: groupCertificates,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.sign(c, &f, append(slices.Clone(f.domains), args...))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := c.Flags()
	flags.StringArrayVarP(&f.domains, "domain", "d", nil, "`NAME` in the certificate, as the arguments; may be repeated")
	flags.StringVar(&f.alias, "alias", "", "folder `NAME` instead of the first name")
	flags.StringVar(&f.csr, "csr", "", "sign this CSR (`FILE`, or - for stdin); the chain goes to stdout")
	flags.StringVar(&f.current, "current", "", "with --csr: print the chain in `FILE` again if it is good and not due")
	flags.StringVar(&f.touch, "touch", "", "set the time of `FILE` to now when all is well, for snooze -t")
	flags.BoolVarP(&f.force, "force", "x", false, "order anew even if it is not due")
	flags.BoolVar(&f.selfCheck, "self-check", false, "look at http-01 and tls-alpn-01 from here first, and do not tell the CA what fails")
	f.orderFlags.add(c)
	caFlags(c)
	settingFlags(c, slices.Concat(validateSettings, dnsSettings, orderSettings, []string{"LISTEN", "PRIVATE_KEY_RENEW", "CERTDIR", "RENEW_DAYS"})...)
	f.tiny.add(c)
	f.fds.add(c)
	for _, name := range []string{"csr", "current", "touch"} {
		_ = c.MarkFlagFilename(name)
	}
	_ = c.MarkFlagDirname("acme-dir")
	return c
}

func (a *app) sign(c *cobra.Command, f *signFlags, words []string) error {
	switch {
	case f.csr == "" && len(words) == 0:
		return &usageError{what: "no name given", hint: "arid sign NAME… or arid sign --csr FILE"}
	case f.csr != "" && len(words) > 0:
		return &usageError{what: fmt.Sprintf("--csr and the name %q: the names are those of the CSR", words[0])}
	}
	word := "sign_domains"
	if f.csr != "" {
		word = "sign_csr"
	}
	if err := f.tiny.check(c); err != nil {
		return err
	}
	if err := f.fds.check(a.json); err != nil {
		return err
	}
	more := f.tiny.settings()
	maps.Copy(more, f.registrationFlags.settings())
	if err := a.load(c, word, more); err != nil {
		return err
	}
	if err := a.rightUser(); err != nil {
		return err
	}
	authority, err := a.openCA(c.Context())
	if err != nil {
		return err
	}
	if err := f.begin(a); err != nil {
		return err
	}
	request, err := a.request(authority, f, words)
	if err != nil {
		return err
	}
	request.Insist = request.Insist || a.report.Terminal() // somebody waits for it
	run := &session{app: a, hooks: request.Hooks, noLock: f.noLock}
	if request.Certificate != nil {
		request.Begin = func(ctx context.Context) error {
			a.report.Clear() // the screen is startup_hook's
			return run.begin(ctx)
		}
	}
	result, err := issue.Sign(c.Context(), request)
	f.listening.end()
	a.remember(authority)
	if request.Certificate != nil {
		run.note(request.Certificate.Alias, result, err)
		a.report.Clear() // and exit_hook's
		run.end(c.Context(), err)
	}
	if result != nil && (err == nil || !result.Deployed) { // what was owed is still owed
		if sayErr := a.hand(&f.fds, request, result); err == nil {
			err = sayErr
		}
	}
	if a.json {
		err = a.emitSigned(request, result, err)
	}
	if err == nil && f.touch != "" {
		a.touch(f.touch)
	}
	return named(request.Names[0], err)
}

// named says which certificate an error is about, unless the error does.
func named(name string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), name+":") {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// hand gives what came of a request to whom it is for. Descriptors get what was
// issued; where nothing was, whatever is in them stays.
func (a *app) hand(d *descriptors, r *issue.Request, result *issue.Result) error {
	if result.Issued {
		if err := d.deliver(result); err != nil {
			return err
		}
	}
	switch {
	case r.Certificate != nil || !d.takeChain():
		return a.sayResult(r, result)
	case result.Issued:
		a.report.Result(fmt.Sprintf("%s: issued, valid until %s", r.Names[0], result.Chain[0].NotAfter.UTC().Format(time.RFC3339)))
	default:
		a.report.Note(fmt.Sprintf("%s: %s", r.Names[0], result.Reason))
	}
	return nil
}

// sayResult writes the product, or the one line that a new certificate is worth.
func (a *app) sayResult(r *issue.Request, result *issue.Result) error {
	switch {
	case r.Certificate == nil && a.json: // the chain is in the object
	case r.Certificate == nil:
		if err := a.out(string(certs.EncodeChain(result.Chain))); err != nil {
			return err
		}
		if !result.Issued {
			a.report.Note(fmt.Sprintf("%s: %s", r.Names[0], result.Reason))
		}
	case result.Issued:
		a.report.Result(fmt.Sprintf("%s: issued, valid until %s: %s", r.Names[0],
			result.Chain[0].NotAfter.UTC().Format(time.RFC3339), filepath.Dir(result.Paths.Cert)))
	case result.Deployed:
		owed := ", as owed from an earlier run"
		if r.Redeploy {
			owed = ""
		}
		a.report.Result(fmt.Sprintf("%s: deployed%s", r.Names[0], owed))
	default:
		a.report.Note(fmt.Sprintf("%s: %s", r.Names[0], result.Reason))
	}
	return nil
}

// emitSigned is what came of a request as an object, with the chain where nothing else
// has it. Its error is the request's, or stdout's.
func (a *app) emitSigned(r *issue.Request, result *issue.Result, err error) error {
	name := r.Names[0]
	if r.Certificate != nil {
		name = r.Certificate.Alias
	}
	o := certificateObject(name, r.Names, result, err)
	if r.Certificate == nil && result != nil {
		o.Chain = string(certs.EncodeChain(result.Chain))
	}
	return a.emitCertificate(o, err)
}

// request turns flags and settings into a request, and refuses whatever can be
// refused without asking the CA.
func (a *app) request(authority *ca, f *signFlags, words []string) (*issue.Request, error) {
	keep := f.csr == "" && len(f.fds.outputs()) == 0 || a.settings.Origin("CERTDIR").Kind == "flag"
	if err := f.checkKept(keep, a.settings.Origin("PRIVATE_KEY_RENEW").Kind == "flag"); err != nil {
		return nil, err
	}
	names, csr, err := a.names(f.csr, words)
	if err != nil {
		return nil, err
	}
	p, err := a.plan(&f.orderFlags, authority)
	if err != nil {
		return nil, err
	}
	r, err := p.request(names)
	if err != nil {
		return nil, err
	}
	if a.settings.Origin("LISTEN").Kind == "flag" && !r.Types.Uses(challenge.HTTP01, names) && !r.Types.Uses(challenge.TLSALPN01, names) {
		return nil, &usageError{what: "--listen is for http-01 and tls-alpn-01, and no name is proved by either"}
	}
	r.CSR = csr
	if f.selfCheck {
		selfCheck(r, int(f.tiny.checkPort))
	}
	if f.tiny.acmeDir != "" {
		r.TokenMode = fs.FileMode(0o666 &^ a.umask)
	}
	switch {
	case f.current != "":
		r.Current, err = a.readCurrent(f.current)
	case f.fds.current != noDescriptor:
		r.Current, err = a.readCurrentFrom(f.fds.current)
	}
	if err != nil {
		return nil, err
	}
	if keep {
		if r.Certificate, err = p.certificate(f.alias, words, names); err != nil {
			return nil, err
		}
	}
	return r, a.agrees(r)
}

// checkKept refuses what makes no sense where the certificate has a folder, or where
// it has none.
func (f *signFlags) checkKept(keep, reuse bool) error {
	current := f.current != "" || f.fds.current != noDescriptor
	switch {
	case f.csr != "" && f.fds.key != noDescriptor:
		return &usageError{what: "--csr and --key-fd: the key is whose the CSR is, and arid never sees it"}
	case f.current != "" && f.fds.current != noDescriptor:
		return &usageError{what: "--current and --current-fd exclude each other"}
	case f.csr == "-" && f.fds.current == 0:
		return &usageError{what: "--csr - and --current-fd 0 are both stdin"}
	case keep && len(f.fds.outputs()) > 0:
		return &usageError{what: f.fds.outputs()[0].flag + " and --out: either the folder has the certificate, or the descriptors"}
	case !keep && (f.alias != "" || reuse):
		return &usageError{what: "--alias and --reuse-key are for a certificate that has a folder"}
	case keep && current:
		return &usageError{what: "--current: the certificate has a folder, which tells what there is", hint: "--current goes with --csr or descriptors, and without --out"}
	case !keep && f.csr == "" && f.fds.key == noDescriptor:
		return &usageError{what: "a certificate whose key is kept nowhere", hint: "--key-fd N takes the key; --out DIR keeps all"}
	}
	return nil
}

// agrees refuses names that a line of domains.txt has otherwise: that line's
// next renewal would take them back.
func (a *app) agrees(r *issue.Request) error {
	if r.Certificate == nil || a.settings.Origin("CERTDIR").Kind == "flag" {
		return nil
	}
	d, err := config.ReadDomains(a.path("DOMAINS_TXT"))
	if err != nil {
		return nil // there need not be one
	}
	wanted := slices.Sorted(slices.Values(r.Names))
	for _, line := range d.Lines {
		if line.Alias == r.Certificate.Alias && !slices.Equal(slices.Sorted(slices.Values(line.Names)), wanted) {
			return &usageError{
				what: fmt.Sprintf("%s:%d has %q with other names: %s", line.File, line.Line, line.Alias, strings.Join(line.Names, " ")),
				hint: "arid renew " + line.Alias,
			}
		}
	}
	return nil
}

// names are what the certificate is for: the words given, or those of a CSR.
func (a *app) names(file string, words []string) (names []string, csr *keys.CSR, err error) {
	if file != "" {
		if csr, err = a.readCSR(file); err != nil {
			return nil, nil, err
		}
		return csr.Names, csr, nil
	}
	for _, word := range words {
		name, err := config.CanonicalName(word)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil, nil
}

func (a *app) readCSR(file string) (*keys.CSR, error) {
	what := fmt.Sprintf("CSR %q", file)
	var data []byte
	var err error
	if file == "-" {
		what = "CSR on stdin"
		data, err = unlessEnded(a.ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(a.Stdin, 64<<10+1)) })
	} else {
		data, err = a.readInput(a.abs(file), 64<<10)
	}
	if err != nil {
		return nil, &inputError{what, err}
	}
	csr, err := keys.ParseCSR(data)
	if err != nil {
		return nil, &inputError{what, err}
	}
	for _, name := range csr.Names {
		canonical, err := config.CanonicalName(name)
		if err == nil && canonical != name {
			err = fmt.Errorf("the name %q should be written %q", name, canonical)
		}
		if err != nil {
			return nil, &inputError{what, err}
		}
	}
	return csr, nil
}

// tell shows progress: each step where somebody watches, warnings always.
func (a *app) tell(e issue.Event) {
	switch e.Step {
	case issue.StepLive, issue.StepUnchanged: // told in the end
	case issue.StepWarning:
		a.report.Warning(named(e.Name, errors.New(e.Text)).Error())
	case issue.StepHook:
		a.report.Step(e.Text)
		a.report.Clear() // the screen is the hook's now
	default:
		a.report.Step(e.Text)
	}
}
