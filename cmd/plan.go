package cmd

import (
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/alpn"
	"arid/certs"
	"arid/challenge"
	"arid/hooks"
	"arid/issue"
	"arid/keys"
	"arid/probe"
	"arid/renew"
)

// orderFlags are those of every command that orders certificates and are no
// plain setting.
type orderFlags struct {
	registrationFlags
	notAfter  string
	force     bool
	noLock    bool
	listening *listening // made by begin; nil where nobody is to listen
}

func (f *orderFlags) add(c *cobra.Command) {
	f.registrationFlags.add(c)
	c.Flags().StringVar(&f.notAfter, "not-after", "", "ask for a certificate that ends at `TIME` (RFC 3339)")
	noLockFlag(c, &f.noLock)
}

// begin reads LISTEN, for a run as a whole.
func (f *orderFlags) begin(a *app) error {
	f.listening = &listening{app: a, addrs: strings.Fields(a.settings.Value("LISTEN"))}
	return f.listening.check()
}

func noLockFlag(c *cobra.Command, noLock *bool) {
	c.Flags().BoolVarP(noLock, "no-lock", "n", false, "do without LOCKFILE")
}

// plan is what the settings say about every certificate that they are for. All
// that can be found wrong without the CA is found here, once.
type plan struct {
	*app
	common issue.Request
	store  *certs.Store
	usable map[string]error // by challenge type: why it cannot work here
}

// plan reads the settings; authority is nil where another is to fill in the CA.
func (a *app) plan(f *orderFlags, authority *ca) (*plan, error) {
	p := &plan{app: a, usable: map[string]error{}}
	r := &p.common
	r.Built = built()
	r.Now, r.Force, r.Insist, r.Tell = time.Now(), f.force, f.force, a.tell
	if authority != nil {
		r.CA, r.TestCA, r.Client, r.Account = authority.url, authority.test, authority.client, authority.store
		r.Trial = authority.test && a.settings.Origin("CERTDIR").Kind == "flag"
		r.Memory, r.StatusOf = authority.memory, exitStatus
		r.OCSP, r.HTTP = a.settings.Bool("OCSP_FETCH"), authority.http
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
	var err error
	if r.Registration, err = a.registration(&f.registrationFlags); err != nil {
		return nil, err
	}
	if err := a.timing(r, f.notAfter); err != nil {
		return nil, err
	}
	if err := a.key(r); err != nil {
		return nil, err
	}
	if err := a.validation(r); err != nil {
		return nil, err
	}
	if f.listening != nil {
		f.listening.fill(r)
	}
	p.store = a.store()
	return p, nil
}

// request is for one certificate with these names. It refuses names that cannot
// be proved as the settings say.
func (p *plan) request(names []string) (*issue.Request, error) {
	r := p.common
	r.Names = names
	for _, name := range names {
		typ, err := r.Types.For(name)
		if err != nil {
			return nil, &inputError{"name", err}
		}
		why, known := p.usable[typ]
		if !known {
			why = p.canProve(typ)
			p.usable[typ] = why
		}
		if why != nil {
			return nil, why
		}
	}
	r.Updater = p.common.Updater
	return &r, nil
}

// canProve looks whether a challenge type can work here: directories, and who is
// to write TXT records.
func (p *plan) canProve(typ string) error {
	answers := p.common.Proofs != nil // arid itself, and needs no directory
	switch typ {
	case challenge.HTTP01:
		if answers && p.common.WellKnown == "" {
			return nil
		}
		dir, err := challenge.OpenHTTPDir(p.common.WellKnown)
		if err != nil {
			return p.from("WELLKNOWN", err)
		}
		return dir.Close()
	case challenge.TLSALPN01:
		if answers && p.common.ALPNDir == "" {
			return nil
		}
		return p.from("ALPNCERTDIR", alpn.CheckDir(p.common.ALPNDir, p.common.ALPNGroup))
	case challenge.DNS01:
		if p.settings.Bool("DNS_UPDATE") {
			var err error
			p.common.Updater, err = p.updater()
			return err
		}
		if p.settings.Value("HOOK") == "" {
			return p.settings.Wrong("HOOK", errors.New("dns-01 needs a hook that writes the TXT records, or --dns-update (DNS_UPDATE=yes)"))
		}
	}
	return nil
}

// timing fills in when it is due and how long anything may take.
func (a *app) timing(r *issue.Request, notAfter string) (err error) {
	if r.Policy, err = renew.ParsePolicy(a.settings.Value("RENEW_DAYS")); err != nil {
		return a.settings.Wrong("RENEW_DAYS", err)
	}
	r.Timeout, r.LockWait = a.settings.Duration("TIMEOUT"), a.settings.Duration("LOCK_WAIT")
	r.DNSWait, r.OCSPDays = a.settings.Duration("DNS_WAIT"), a.settings.Int("OCSP_DAYS")
	if notAfter != "" {
		if r.NotAfter, err = time.Parse(time.RFC3339, notAfter); err != nil {
			return &usageError{what: fmt.Sprintf("--not-after: %q is no time like 2026-01-31T12:00:00Z", notAfter)}
		}
		if !r.NotAfter.After(r.Now) {
			return &usageError{what: fmt.Sprintf("--not-after: %s is past", notAfter)}
		}
	}
	return nil
}

// key fills in what the key and the CSR are made of.
func (a *app) key(r *issue.Request) (err error) {
	if r.Algo, err = keys.ParseAlgo(a.settings.Value("KEY_ALGO"), a.settings.Int("KEYSIZE")); err != nil {
		return a.settings.Wrong("KEY_ALGO", err)
	}
	r.ReuseKey, r.Rollover = !a.settings.Bool("PRIVATE_KEY_RENEW"), a.settings.Bool("PRIVATE_KEY_ROLLOVER")
	r.MustStaple = a.settings.Bool("OCSP_MUST_STAPLE")
	if r.Subject, err = parseSubject(a.settings.Value("CSR_SUBJECT")); err != nil {
		return a.settings.Wrong("CSR_SUBJECT", err)
	}
	return nil
}

// validation fills in how names are proved: types, directories, hook, name servers.
func (a *app) validation(r *issue.Request) (err error) {
	if r.Types, err = challenge.ParseChoice(a.settings.Value("CHALLENGETYPE")); err != nil {
		return a.settings.Wrong("CHALLENGETYPE", err)
	}
	r.HookChain, r.HookUnchanged = a.settings.Bool("HOOK_CHAIN"), a.settings.Bool("HOOK_UNCHANGED")
	if r.Hooks, err = a.hooks(); err != nil {
		return err
	}
	r.WellKnown, r.ALPNDir, r.ALPNGroup = a.path("WELLKNOWN"), a.path("ALPNCERTDIR"), a.settings.Value("ALPN_GROUP")
	if r.DNS, err = a.dnsClient(); err != nil {
		return err
	}
	r.Prober = &probe.Prober{DNS: r.DNS}
	return nil
}

// hooks makes the runner of the user's program.
func (a *app) hooks() (*hooks.Runner, error) {
	program := a.settings.Value("HOOK")
	r := &hooks.Runner{
		Env:     a.settings.HookEnv(),
		Stdin:   a.Stdin,
		Stdout:  a.Stderr,
		Stderr:  a.Stderr,
		Timeout: a.settings.Duration("HOOK_TIMEOUT"),
		Group:   !hooks.ControllingTerminal(),
		Turn:    a.turn,
	}
	if a.trace != nil {
		r.Trace = a.trace.hook
	}
	var err error
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
func (p *plan) certificate(alias string, words, names []string) (*certs.Certificate, error) {
	if alias == "" {
		alias = names[0]
		if len(words) > 0 && strings.HasPrefix(strings.ToLower(words[0]), "ip:") {
			alias = strings.ToLower(words[0]) // as dehydrated names the folder
		}
	}
	if strings.HasPrefix(alias, "*.") {
		return nil, &usageError{what: fmt.Sprintf("%q cannot name a folder", alias), hint: "put a plain name first, or give --alias NAME"}
	}
	certificate, err := p.store.Certificate(alias)
	if err != nil {
		return nil, &usageError{what: fmt.Sprintf("--alias: %v", err)}
	}
	return certificate, nil
}

// store is the certificate tree of the settings.
func (a *app) store() *certs.Store {
	mode, _ := strconv.ParseUint(a.settings.Value("KEY_MODE"), 8, 9) // checked; "" is not set
	return &certs.Store{
		Dir: a.path("CERTDIR"), Keep: a.settings.Int("KEEP_VERSIONS"),
		KeyMode: fs.FileMode(mode), KeyGroup: a.settings.Value("KEY_GROUP"),
	}
}

// subjectField begins a part of CSR_SUBJECT. A comma or slash with no such word
// after it is part of a value: "O=Example, Inc.".
var subjectField = regexp.MustCompile(`(?:^|[,/])\s*([A-Za-z]+)\s*=`)

// parseSubject reads CSR_SUBJECT, "C=TW/O=Crash Barrier, Ltd/CN=…" or with commas.
func parseSubject(text string) (pkix.Name, error) {
	var n pkix.Name
	fields := subjectField.FindAllStringSubmatchIndex(text, -1)
	if text != "" && (len(fields) == 0 || fields[0][0] != 0) {
		return n, fmt.Errorf("%q does not begin with FIELD=value", text)
	}
	for i, at := range fields {
		end := len(text)
		if i+1 < len(fields) {
			end = fields[i+1][0]
		}
		key, value := text[at[2]:at[3]], strings.TrimSpace(text[at[1]:end])
		if value == "" {
			return n, fmt.Errorf("%q has no value", key)
		}
		switch strings.ToUpper(key) {
		case "C":
			if len(value) != 2 {
				return n, fmt.Errorf("C=%q is no country code of two letters", value)
			}
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
