package cmd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/acme"
	"arid/certs"
	"arid/issue"
	"arid/rehearse"
	"arid/report"
)

type rehearseFlags struct {
	signFlags
	httpPort int
	tlsPort  int
	dns      string
}

func (a *app) rehearseCommand() *cobra.Command {
	var f rehearseFlags
	c := &cobra.Command{
		Use:   "rehearse NAME…",
		Short: "a whole run against a CA inside the process, offline",
		Long: `Starts a CA inside this process, orders a certificate from it with your settings
and hooks, has it validated for real, and tells each step. No account and no
certificate of yours is touched, and nothing is kept without --out.

The CA's own DNS says that every name is this host, and takes the updates (RFC 2136)
of hooks, which find its address in ARID_DNS_SERVER; --dns asks a server of yours
instead. arid answers http-01 and tls-alpn-01 itself from the directories it
filled; with --http-port and --tls-port the CA asks your servers.`,
		Example: `  arid rehearse www.example.org example.org
  arid rehearse --wellknown /var/www/acme --http-port 80 www.example.org
  arid rehearse -t tls-alpn-01 --alpn /var/lib/arid/alpn --tls-port 443 www.example.org
  arid rehearse -t dns-01 -k ./my-dns-hook example.org '*.example.org'`,
		GroupID: groupChallenges,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.rehearse(c, &f, append(slices.Clone(f.domains), args...))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := c.Flags()
	flags.StringArrayVarP(&f.domains, "domain", "d", nil, "`NAME` in the certificate, as the arguments; may be repeated")
	flags.IntVar(&f.httpPort, "http-port", 0, "your web server's `PORT` on this host, to be asked instead of arid")
	flags.IntVar(&f.tlsPort, "tls-port", 0, "your TLS server's `PORT` on this host, to be asked instead of arid")
	flags.StringVar(&f.dns, "dns", "", "resolve names at `HOST:PORT` instead of saying that every name is this host")
	settingFlags(c, slices.Concat(validateSettings, []string{"DNS_UPDATE", "DNS_SERVER", "DNS_ZONE", "DNS_KEY_FILE", "DNS_WAIT", "KEY_ALGO", "OCSP_MUST_STAPLE", "CERTDIR", "TIMEOUT"})...)
	return c
}

func (a *app) rehearse(c *cobra.Command, f *rehearseFlags, words []string) (err error) {
	if len(words) == 0 {
		return &usageError{what: "no name given", hint: "arid rehearse NAME…"}
	}
	if err := f.check(); err != nil {
		return err
	}
	room, err := os.MkdirTemp("", "arid-rehearse-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(room)

	// What a rehearsal writes goes to a room of its own, whatever is configured.
	own := map[string]string{"ACCOUNTDIR": filepath.Join(room, "accounts")}
	kept := c.Flags().Changed("out")
	if !kept {
		own["CERTDIR"] = filepath.Join(room, "certs")
	}
	if err := a.load(c, "sign_domains", own); err != nil {
		return err
	}
	if err := a.ownDir("WELLKNOWN", f.httpPort, room); err != nil {
		return err
	}
	if err := a.ownDir("ALPNCERTDIR", f.tlsPort, room); err != nil {
		return err
	}
	r, err := a.rehearsal(f, words)
	if err != nil {
		return err
	}
	if err := a.traceCA(""); err != nil {
		return err
	}
	a.report.Explain("rehearse", "a CA is started inside this process; your real CA hears nothing of this")
	updater, err := a.updater()
	if err != nil {
		return err
	}
	options := rehearse.CAOptions{HTTPPort: f.httpPort, TLSPort: f.tlsPort, DNS: f.dns, Key: updater.Key, Profile: r.Profile, Strict: true}
	var trace func(acme.Exchange)
	if a.trace != nil {
		trace = a.trace.exchange
	}
	result, err := rehearse.Run(c.Context(), options, room, r, trace)
	switch {
	case a.json:
		err = a.emitRehearsed(r, result, err, kept)
	case result != nil:
		if outErr := a.out(chainTable(result)); err == nil {
			err = outErr
		}
	}
	if err != nil {
		return &rehearsalError{named(r.Names[0], err)}
	}
	a.sayRehearsed(result, kept)
	return nil
}

// check looks at what is a rehearsal's alone.
func (f *rehearseFlags) check() error {
	for flag, port := range map[string]int{"--http-port": f.httpPort, "--tls-port": f.tlsPort} {
		if port < 0 || port > 65535 {
			return &usageError{what: fmt.Sprintf("%s: %d is no port", flag, port)}
		}
	}
	if f.dns != "" {
		if host, port, err := net.SplitHostPort(f.dns); err != nil || host == "" || port == "" {
			return &usageError{what: fmt.Sprintf("--dns: %q is not HOST:PORT", f.dns)}
		}
	}
	return nil
}

// ownDir is a directory in the rehearsal's room where the user has set none, and
// no server of the user's is to be asked.
func (a *app) ownDir(setting string, port int, room string) error {
	if a.settings.Set(setting) || port != 0 {
		return nil
	}
	dir := filepath.Join(room, strings.ToLower(setting))
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	return a.settings.Override(setting, dir)
}

// rehearsalError is what went wrong in a rehearsal, which has no next run.
type rehearsalError struct {
	err error
}

func (e *rehearsalError) Error() string { return e.err.Error() }
func (e *rehearsalError) Unwrap() error { return e.err }

// rehearsal is the request, without the CA and the account.
func (a *app) rehearsal(f *rehearseFlags, words []string) (*issue.Request, error) {
	names, _, err := a.names("", words)
	if err != nil {
		return nil, err
	}
	p, err := a.plan(&f.orderFlags, nil)
	if err != nil {
		return nil, err
	}
	r, err := p.request(names)
	if err != nil {
		return nil, err
	}
	r.Force, r.Tell = true, a.explain
	r.Registration.EAB, r.PreferredChain = nil, "" // what another CA wants, and has
	r.Certificate, err = p.certificate("", words, names)
	return r, err
}

// explanations tell a newcomer what each step is for.
var explanations = map[issue.Step]string{
	issue.StepAccount:   "the CA knows its customers by a key; arid made one and registered it",
	issue.StepOrder:     "arid made a private key, which never leaves this host, and told the CA which names it wants",
	issue.StepAuthorize: "for each name the CA wants proof that it is yours, and gives a token for it",
	issue.StepPut:       "the proof goes where the CA will look: a file, a certificate or a TXT record",
	issue.StepHook:      "your own program is called",
	issue.StepLook:      "before the CA is told, arid looks whether the records can be seen",
	issue.StepProbe:     "the CA refuses, so arid looks for itself",
	issue.StepAccept:    "the proof is in place; the CA is told so and comes to look",
	issue.StepValid:     "the CA has seen the proof",
	issue.StepRemove:    "the proof is needed no longer",
	issue.StepFinalize:  "the signing request (CSR) holds the names and the public key; the CA makes the certificate of it",
	issue.StepDownload:  "the chain is the certificate and those that vouch for it; arid checks key, names and dates",
	issue.StepStore:     "everything is written and synced beside what was there",
	issue.StepSwitch:    "one rename puts key, certificate and chain in place together",
}

// explain shows a step and, the first time, what it is for.
func (a *app) explain(e issue.Event) {
	switch why, known := explanations[e.Step]; {
	case e.Step == issue.StepWarning:
		a.tell(e)
	case e.Step == issue.StepLive, e.Step == issue.StepPending, e.Step == issue.StepKey, e.Step == issue.StepCSR, e.Step == issue.StepHookCSR: // no step of its own
	case known && !a.explained[e.Step]:
		if a.explained == nil {
			a.explained = map[issue.Step]bool{}
		}
		a.explained[e.Step] = true
		a.report.Explain("", "")
		a.report.Explain(string(e.Step), why)
		fallthrough
	default:
		a.report.Explain("", "    "+e.Text)
	}
}

// chainTable is what came out, a line for each certificate.
func chainTable(result *issue.Result) string {
	rows := [][]string{{"CERTIFICATE", "FOR", "FROM", "UNTIL"}}
	for i, c := range result.Chain {
		kind, subject := "leaf", ""
		if i > 0 {
			kind, subject = "intermediate", c.Subject.CommonName
		} else {
			subject = strings.Join(certs.Names(c), " ")
		}
		rows = append(rows, []string{kind, report.Escape(subject), report.Escape(c.Issuer.CommonName), c.NotAfter.UTC().Format(time.RFC3339)})
	}
	return report.Table(rows)
}

// emitRehearsed is that as an object. Its error is the rehearsal's, or stdout's.
func (a *app) emitRehearsed(r *issue.Request, result *issue.Result, err error, kept bool) error {
	o := certificateObject(r.Names[0], r.Names, result, err)
	if err != nil {
		o.troubleJSON = troubleOf(&rehearsalError{err}) // whose hints are not those of a real run
	}
	if !kept {
		o.Path = ""
	}
	return a.emitCertificate(o, err)
}

func (a *app) sayRehearsed(result *issue.Result, kept bool) {
	a.report.Explain("", "")
	if kept {
		a.report.Explain("done", "the chain is verified; the files are in "+filepath.Dir(result.Paths.Cert))
		return
	}
	a.report.Explain("done", "the chain is verified, and nothing of this is kept; \"arid sign\" does the same with your CA")
}
