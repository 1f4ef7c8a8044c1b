package cmd

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/alpn"
	"arid/certs"
	"arid/challenge"
	"arid/config"
	"arid/hooks"
	"arid/internal/atomicfile"
	"arid/issue"
	"arid/keys"
	"arid/probe"
	"arid/renew"
)

type signFlags struct {
	registrationFlags
	domains  []string
	alias    string
	csr      string
	notAfter string
	force    bool
}

func (a *app) signCommand() *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use:   "sign NAME…",
		Short: "one certificate, now, if it is missing, changed or due",
		Long: `Gets one certificate and puts it under CERTDIR/<first name>, unless the one there
is still good: then it does nothing and ends 0. The same line is what cron runs.
With --csr the chain goes to stdout and nothing is kept.`,
		Example: `  arid sign www.example.org example.org
  arid sign -t dns-01 -k /etc/arid/dns-hook example.org '*.example.org'
  arid sign -t tls-alpn-01 --alpn /var/lib/arid/alpn www.example.org
  arid sign --csr request.csr > chain.pem`,
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
	flags.StringVar(&f.notAfter, "not-after", "", "ask for a certificate that ends at `TIME` (RFC 3339)")
	flags.BoolVarP(&f.force, "force", "x", false, "order anew even if it is not due")
	f.registrationFlags.add(c)
	caFlags(c)
	settingFlags(c, slices.Concat(validateSettings, dnsSettings, orderSettings, []string{"PRIVATE_KEY_RENEW", "CERTDIR", "RENEW_DAYS"})...)
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
	if err := a.load(c, word, f.registrationFlags.settings()); err != nil {
		return err
	}
	request, err := a.request(c.Context(), f, words)
	if err != nil {
		return err
	}
	result, err := issue.Sign(c.Context(), request)
	if result != nil && (err == nil || !result.Deployed) { // what was owed is still owed
		if sayErr := a.sayResult(request, result); err == nil {
			err = sayErr
		}
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

// sayResult writes the product, or the one line that a new certificate is worth.
func (a *app) sayResult(r *issue.Request, result *issue.Result) error {
	switch {
	case r.Certificate == nil:
		if err := a.report.Out(string(certs.EncodeChain(result.Chain))); err != nil {
			return &outputError{err}
		}
	case result.Issued:
		a.report.Result(fmt.Sprintf("%s: issued, valid until %s: %s", r.Names[0],
			result.Chain[0].NotAfter.UTC().Format(time.RFC3339), filepath.Dir(result.Paths.Cert)))
	case result.Deployed:
		a.report.Result(fmt.Sprintf("%s: deployed, as owed from an earlier run", r.Names[0]))
	default:
		a.report.Note(fmt.Sprintf("%s: %s", r.Names[0], result.Reason))
	}
	return nil
}

// request turns flags and settings into a request, and refuses whatever can be
// refused without asking the CA.
func (a *app) request(ctx context.Context, f *signFlags, words []string) (*issue.Request, error) {
	r := &issue.Request{Now: time.Now(), Force: f.force, Tell: a.tell}
	if err := a.names(r, f.csr, words); err != nil {
		return nil, err
	}
	authority, err := a.openCA(ctx)
	if err != nil {
		return nil, err
	}
	r.CA, r.TestCA, r.Client, r.Account = authority.url, authority.test, authority.client, authority.store
	if r.Registration, err = a.registration(&f.registrationFlags); err != nil {
		return nil, err
	}
	if err := a.timing(r, f); err != nil {
		return nil, err
	}
	if err := a.key(r); err != nil {
		return nil, err
	}
	if err := a.validation(r); err != nil {
		return nil, err
	}
	r.Profile = a.settings.Value("ACME_PROFILE")
	r.PreferredChain = a.settings.Value("PREFERRED_CHAIN")
	r.Explicit = issue.Explicit{
		Algo:       a.settings.Set("KEY_ALGO"),
		MustStaple: a.settings.Set("OCSP_MUST_STAPLE"),
		Profile:    a.settings.Set("ACME_PROFILE"),
		// A CA given on the command line is for this once: it makes nothing due.
		CA: a.settings.Set("CA") && a.settings.Origin("CA").Kind != "flag",
	}
	if f.csr == "" || a.settings.Origin("CERTDIR").Kind == "flag" {
		if r.Certificate, err = a.certificate(f.alias, words, r.Names); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// names fills in what the certificate is for: the words given, or a CSR.
func (a *app) names(r *issue.Request, csr string, words []string) error {
	if csr != "" {
		var err error
		r.CSR, err = a.readCSR(csr)
		if err != nil {
			return err
		}
		r.Names = r.CSR.Names
		return nil
	}
	for _, word := range words {
		name, err := config.CanonicalName(word)
		if err != nil {
			return err
		}
		if !slices.Contains(r.Names, name) {
			r.Names = append(r.Names, name)
		}
	}
	return nil
}

func (a *app) readCSR(file string) (*keys.CSR, error) {
	what := fmt.Sprintf("CSR %q", file)
	var data []byte
	var err error
	if file == "-" {
		what = "CSR on stdin"
		data, err = io.ReadAll(io.LimitReader(a.Stdin, 64<<10+1))
	} else {
		data, err = atomicfile.ReadInput(a.abs(file), 64<<10)
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

// timing fills in when it is due and how long anything may take.
func (a *app) timing(r *issue.Request, f *signFlags) (err error) {
	if r.Policy, err = renew.ParsePolicy(a.settings.Value("RENEW_DAYS")); err != nil {
		return a.settings.Wrong("RENEW_DAYS", err)
	}
	if r.Timeout, err = a.settings.Duration("TIMEOUT"); err != nil {
		return err
	}
	if r.LockWait, err = a.settings.Duration("LOCK_WAIT"); err != nil {
		return err
	}
	if f.notAfter != "" {
		if r.NotAfter, err = time.Parse(time.RFC3339, f.notAfter); err != nil {
			return &usageError{what: fmt.Sprintf("--not-after: %q is no time like 2026-01-31T12:00:00Z", f.notAfter)}
		}
		if !r.NotAfter.After(r.Now) {
			return &usageError{what: fmt.Sprintf("--not-after: %s is past", f.notAfter)}
		}
	}
	return nil
}

// key fills in what the key and the CSR are made of.
func (a *app) key(r *issue.Request) error {
	size, err := a.settings.Int("KEYSIZE")
	if err != nil {
		return err
	}
	if r.Algo, err = keys.ParseAlgo(a.settings.Value("KEY_ALGO"), size); err != nil {
		return a.settings.Wrong("KEY_ALGO", err)
	}
	r.ReuseKey = !a.settings.Bool("PRIVATE_KEY_RENEW")
	r.MustStaple = a.settings.Bool("OCSP_MUST_STAPLE")
	if r.Subject, err = parseSubject(a.settings.Value("CSR_SUBJECT")); err != nil {
		return a.settings.Wrong("CSR_SUBJECT", err)
	}
	return nil
}

// validation fills in how the names are proved, and looks whether that can work:
// types, directories, hook, name servers.
func (a *app) validation(r *issue.Request) (err error) {
	if r.Types, err = challenge.ParseChoice(a.settings.Value("CHALLENGETYPE")); err != nil {
		return a.settings.Wrong("CHALLENGETYPE", err)
	}
	used := map[string]bool{}
	for _, name := range r.Names {
		typ, err := r.Types.For(name)
		if err != nil {
			return &inputError{"name", err}
		}
		used[typ] = true
	}
	r.HookChain = a.settings.Bool("HOOK_CHAIN")
	if r.Hooks, err = a.hooks(); err != nil {
		return err
	}
	r.WellKnown, r.ALPNDir, r.ALPNGroup = a.path("WELLKNOWN"), a.path("ALPNCERTDIR"), a.settings.Value("ALPN_GROUP")
	if used[challenge.HTTP01] {
		dir, err := challenge.OpenHTTPDir(r.WellKnown)
		if err != nil {
			return a.from("WELLKNOWN", err)
		}
		dir.Close()
	}
	if used[challenge.TLSALPN01] {
		if err := alpn.CheckDir(r.ALPNDir, r.ALPNGroup); err != nil {
			return a.from("ALPNCERTDIR", err)
		}
	}
	if r.DNS, err = a.dnsClient(); err != nil {
		return err
	}
	r.Prober = &probe.Prober{DNS: r.DNS}
	if used[challenge.DNS01] {
		return a.records(r)
	}
	return nil
}

// records fills in who writes dns-01 records, and how long they are looked for.
func (a *app) records(r *issue.Request) (err error) {
	if r.DNSWait, err = a.settings.Duration("DNS_WAIT"); err != nil {
		return err
	}
	switch {
	case a.settings.Bool("DNS_UPDATE"):
		r.Updater, err = a.updater()
		return err
	case a.settings.Value("HOOK") == "":
		return a.settings.Wrong("HOOK", errors.New("dns-01 needs a hook that writes the TXT records, or --dns-update (DNS_UPDATE=yes)"))
	}
	return nil
}

// hooks makes the runner of the user's program.
func (a *app) hooks() (*hooks.Runner, error) {
	program := a.settings.Value("HOOK")
	timeout, err := a.settings.Duration("HOOK_TIMEOUT")
	if err != nil {
		return nil, err
	}
	r := &hooks.Runner{
		Env:     a.settings.HookEnv(),
		Stdin:   a.Stdin,
		Stdout:  a.Stderr,
		Stderr:  a.Stderr,
		Timeout: timeout,
		Group:   !hooks.ControllingTerminal(),
	}
	switch {
	case program == "":
	case a.settings.HookFunction():
		r.Function, r.Config, r.Sources = program, a.settings.File(), a.settings.Dropins()
	default:
		search := Process{Env: r.Env}
		r.Program, err = hooks.Find(program, search.getenv("PATH"), a.Dir)
		err = a.from("HOOK", err)
	}
	return r, err
}

// certificate is the folder for these names.
func (a *app) certificate(alias string, words, names []string) (*certs.Certificate, error) {
	if alias == "" {
		alias = names[0]
		if len(words) > 0 && strings.HasPrefix(strings.ToLower(words[0]), "ip:") {
			alias = strings.ToLower(words[0]) // as dehydrated names the folder
		}
	}
	if strings.HasPrefix(alias, "*.") {
		return nil, &usageError{what: fmt.Sprintf("%q cannot name a folder", alias), hint: "put a plain name first, or give --alias NAME"}
	}
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	certificate, err := store.Certificate(alias)
	if err != nil {
		return nil, &usageError{what: fmt.Sprintf("--alias: %v", err)}
	}
	return certificate, nil
}

// store is the certificate tree of the settings.
func (a *app) store() (*certs.Store, error) {
	keep, err := a.settings.Int("KEEP_VERSIONS")
	if err != nil {
		return nil, err
	}
	s := &certs.Store{Dir: a.path("CERTDIR"), Keep: keep, KeyGroup: a.settings.Value("KEY_GROUP")}
	if text := a.settings.Value("KEY_MODE"); text != "" {
		mode, err := strconv.ParseUint(text, 8, 9) // nine bits: rwxrwxrwx
		if err != nil {
			return nil, a.settings.Wrong("KEY_MODE", fmt.Errorf("%q is no mode like 0640", text))
		}
		s.KeyMode = fs.FileMode(mode)
	}
	return s, nil
}

// parseSubject reads CSR_SUBJECT, "C=TW/O=Crash Barrier/CN=…" or with commas.
func parseSubject(text string) (pkix.Name, error) {
	var n pkix.Name
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == '/' || r == ',' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if value == "" {
			return n, fmt.Errorf("%q is no FIELD=value", part)
		}
		switch strings.ToUpper(key) {
		case "C":
			n.Country = append(n.Country, value)
		case "ST":
			n.Province = append(n.Province, value)
		case "L":
			n.Locality = append(n.Locality, value)
		case "O":
			n.Organization = append(n.Organization, value)
		case "OU":
			n.OrganizationalUnit = append(n.OrganizationalUnit, value)
		case "CN":
			n.CommonName = value
		default:
			return n, fmt.Errorf("%q is none of C, ST, L, O, OU, CN", key)
		}
	}
	return n, nil
}

// tell shows progress: each step where somebody watches, warnings always.
func (a *app) tell(e issue.Event) {
	switch e.Step {
	case issue.StepWarning:
		a.report.Warning(named(e.Name, errors.New(e.Text)).Error())
	case issue.StepHook:
		a.report.Step(e.Text)
		a.report.Clear() // the screen is the hook's now
	default:
		a.report.Step(e.Text)
	}
}
