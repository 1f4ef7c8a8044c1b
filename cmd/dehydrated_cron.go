package cmd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"arid/certs"
	"arid/challenge"
	"arid/config"
	"arid/hooks"
	"arid/issue"
)

// dehydratedCron is --cron.
func (a *app) dehydratedCron(ctx context.Context, l *dehydratedLine) error {
	if _, err := a.dehydratedRequest(l, nil); err != nil {
		return err // before anybody is asked
	}
	authority, err := a.openDehydrated(ctx, l)
	if err != nil {
		return err
	}
	for _, e := range []hooks.Event{hooks.Probe(), hooks.StartupHook()} {
		if err := a.callHook(ctx, l, e); err != nil {
			return inItsWords(err)
		}
	}
	domains, err := a.dehydratedDomains(l)
	if err != nil {
		return err
	}
	failed, err := a.dehydratedLines(ctx, l, authority, domains)
	if err != nil {
		return err
	}
	if err := a.callHook(ctx, l, hooks.ExitHook()); err != nil {
		a.complain("exit_hook returned with non-zero exit code!")
	}
	if err := a.autoCleanup(ctx); err != nil {
		return err
	}
	if failed {
		return &toldError{1}
	}
	return nil
}

// openDehydrated opens the CA, which is asked for its directory even where nothing
// is due, and the account.
func (a *app) openDehydrated(ctx context.Context, l *dehydratedLine) (*ca, error) {
	authority, _, err := a.dehydratedAccount(ctx, l)
	if err != nil {
		return nil, err
	}
	_, err = authority.client.Directory(ctx)
	return authority, a.reportRefusal(ctx, l, err)
}

func (a *app) callHook(ctx context.Context, l *dehydratedLine, e hooks.Event) error {
	runner, err := a.dehydratedHooks(l)
	if err != nil {
		return err
	}
	return runner.Run(ctx, e)
}

// dehydratedDomains are the certificates of domains.txt, or the one of --domain.
func (a *app) dehydratedDomains(l *dehydratedLine) (*config.Domains, error) {
	if l.domains != "" {
		text := l.domains
		if l.alias != "" {
			text += " > " + l.alias
		}
		return config.ParseDomains([]byte(text+"\n"), "--domain"), nil
	}
	d, err := config.ReadDomains(a.path("DOMAINS_TXT"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("domains.txt not found and --domain not given")
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("domains.txt found but not readable")
	case err != nil:
		return nil, err
	}
	a.warnDehydrated(d.Warnings)
	return d, nil
}

// dehydratedLines works through the lines, one after another. A failure ends it
// unless KEEP_GOING says otherwise; then it tells whether there was one.
func (a *app) dehydratedLines(ctx context.Context, l *dehydratedLine, authority *ca, d *config.Domains) (failed bool, err error) {
	bad := d.Bad
	if len(bad) > 0 && a.settings.Bool("KEEP_GOING") {
		for _, b := range bad {
			a.tellDehydrated(b, l.program)
		}
		bad, failed = nil, true
	}
	for _, line := range d.Lines {
		if at := slices.IndexFunc(bad, func(b *config.LineError) bool { return b.File == line.File && b.Line < line.Line }); at >= 0 {
			return failed, bad[at]
		}
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
		err := a.dehydratedCertificate(ctx, l, authority, &line)
		var abort *issue.AbortError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return failed, context.Cause(ctx)
		case l.keepGoing && !errors.As(err, &abort) && !is[*config.Error](err):
			a.tellDehydrated(inItsWords(err), l.program)
			failed = true
		default:
			return failed, inItsWords(err)
		}
	}
	if len(bad) > 0 {
		return failed, bad[0]
	}
	return failed, nil
}

// dehydratedCertificate brings one certificate to where its line wants it.
func (a *app) dehydratedCertificate(ctx context.Context, l *dehydratedLine, authority *ca, line *config.Line) error {
	if len(line.Words) > 1 {
		a.progress(l, "Processing %s with alternative names: %s", line.Words[0], strings.Join(line.Words[1:], " "))
	} else {
		a.progress(l, "Processing %s", line.Words[0])
	}
	l.env = []string{"alias=" + line.Alias}
	own, err := a.settings.ForCertificate(ctx, line.Alias, line.Words)
	if err != nil {
		return err
	}
	mine := *a
	mine.settings = own
	if own != a.settings {
		a.tellOwn(l, own)
	}
	l.keepGoing = own.Bool("KEEP_GOING")
	r, err := mine.dehydratedRequest(l, authority)
	if err != nil {
		return err
	}
	r.Names, r.Words, r.Now = line.Names, line.Words, time.Now()
	if r.Certificate, err = mine.store().Certificate(line.Alias); err != nil {
		return err
	}
	l.env = certificateEnv(line, own)
	t := &dehydratedTalk{app: a, line: l, request: r, days: own.Value("RENEW_DAYS")}
	r.Tell = t.tell
	result, err := issue.Sign(ctx, r)
	if err == nil {
		l.env = certificateEnv(line, a.settings) // exit_hook: its own settings have ended with it
	}
	if err == nil && (result.Issued || result.Deployed) {
		a.progress(l, " + Done!")
	}
	return err
}

// certificateEnv is what hooks of the run find of the present certificate.
func certificateEnv(line *config.Line, s *config.Settings) []string {
	return []string{"alias=" + line.Alias, "altnames=" + strings.Join(line.Words, " "), "CHALLENGETYPE=" + s.Value("CHALLENGETYPE"),
		"KEY_ALGO=" + s.Value("KEY_ALGO"), "PRIVATE_KEY_ROLLOVER=" + s.Value("PRIVATE_KEY_ROLLOVER")}
}

// tellOwn shows what a certificate's own config changes.
func (a *app) tellOwn(l *dehydratedLine, own *config.Settings) {
	a.progress(l, " + Using certificate specific config file!")
	a.warnDehydrated(own.Warnings())
	for _, name := range config.PerCertificate() {
		if own.Origin(name).Kind == config.CertificateKind && own.Value(name) != a.settings.Value(name) {
			a.progress(l, "   + %s = %s", name, own.Value(name))
		}
	}
}

// dehydratedRequest is a request without the names, in dehydrated's manner.
func (a *app) dehydratedRequest(l *dehydratedLine, authority *ca) (*issue.Request, error) {
	f := &orderFlags{registrationFlags: registrationFlags{acceptTerms: l.acceptTerms, withoutEAB: true}, force: l.force}
	p, err := a.plan(f, authority)
	if err != nil {
		return nil, err
	}
	r := p.common
	r.Trial = false // the same calls as dehydrated's
	r.Dehydrated, r.HookUnchanged, r.DNSWait, r.Prober = true, true, 0, nil
	r.Revalidate = l.forceValidation
	r.ValidationTimeout = time.Duration(a.settings.Int("VALIDATION_TIMEOUT")) * time.Second
	r.OrderTimeout = time.Duration(a.settings.Int("ORDER_TIMEOUT")) * time.Second
	if r.Hooks, err = a.dehydratedHooks(l); err != nil {
		return nil, err
	}
	typ := a.settings.Value("CHALLENGETYPE")
	if _, err := r.Types.For("example.org"); err != nil {
		return nil, err
	}
	if authority == nil && typ != challenge.DNS01 {
		// Certificates may have types and directories of their own: for all of them
		// dehydrated looks no further than this.
		if info, err := os.Stat(r.WellKnown); typ == challenge.TLSALPN01 || err == nil && info.IsDir() {
			return &r, nil
		}
	}
	return &r, p.canProve(typ)
}

// dehydratedTalk says what is done, in the words that scripts around dehydrated
// look for.
type dehydratedTalk struct {
	*app
	line     *dehydratedLine
	request  *issue.Request
	days     string // RENEW_DAYS
	signing  bool
	deployed bool
}

func (t *dehydratedTalk) tell(e issue.Event) {
	name, _, _ := strings.Cut(e.Text, ": ")
	say := func(format string, args ...any) { t.progress(t.line, format, args...) }
	switch e.Step {
	case issue.StepWarning:
		t.complain(" + WARNING: " + e.Text)
	case issue.StepLive:
		t.live(e.Leaf, e.Names)
	case issue.StepKey:
		t.begin()
		say(" + Generating private key...")
	case issue.StepHookCSR:
		say(" + Using CSR from hook script (real names: %s)", strings.Join(e.Names, " "))
	case issue.StepCSR:
		t.begin()
		say(" + Generating signing request...")
	case issue.StepOrder:
		t.begin()
		say(" + Requesting new certificate order from CA...")
	case issue.StepAuthorize:
		say(" + Handling authorization for %s", name)
	case issue.StepHeld:
		say(" + Handling authorization for %s", name)
		say(" + Found valid authorization for %s", name)
	case issue.StepGivenUp:
		say(" + Handling authorization for %s", name)
		say(" + A valid authorization has been found but will be ignored")
	case issue.StepPending:
		say(" + %s pending challenge(s)", strings.Fields(e.Text)[0])
	case issue.StepHook:
		if strings.HasSuffix(e.Text, " deploy_challenge") && !t.deployed {
			t.deployed = true // dehydrated says it once for all of them
			say(" + Deploying challenge tokens...")
		}
	case issue.StepAccept:
		say(" + Responding to challenge for %s authorization...", name)
	case issue.StepProved:
		say(" + Challenge is valid!")
	case issue.StepRemove:
		say(" + Cleaning challenge tokens...")
	case issue.StepFinalize:
		say(" + Requesting certificate...")
	case issue.StepDownload:
		if cn := t.request.PreferredChain; cn != "" {
			say(" + Using preferred chain with CN = %s", cn)
		}
		say(" + Checking certificate...")
		say(" + Done!")
	case issue.StepStore:
		say(" + Creating fullchain.pem...")
	case issue.StepOCSP:
		say(" + Updating OCSP stapling file")
	case issue.StepOCSPKept:
		say(" + OCSP stapling file is still valid (skipping update)")
	}
}

func (t *dehydratedTalk) begin() {
	if !t.signing {
		t.signing = true
		t.progress(t.line, " + Signing domains...")
	}
}

// live tells how the present certificate compares with what is wanted.
func (t *dehydratedTalk) live(leaf *x509.Certificate, names []string) {
	wanted, have := slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(certs.Names(leaf)))
	wanted, have = slices.Compact(wanted), slices.Compact(have)
	forced := t.request.Force
	const checking = " + Checking domain name(s) of existing cert..."
	if slices.Equal(wanted, have) {
		t.progress(t.line, checking+" unchanged.")
	} else {
		forced = true
		t.progress(t.line, checking+" changed!")
		t.progress(t.line, " + Domain name(s) are not matching!")
		t.progress(t.line, " + Names in old certificate: %s", strings.Join(have, " "))
		t.progress(t.line, " + Configured names: %s", strings.Join(wanted, " "))
		t.progress(t.line, " + Forcing renew.")
	}
	t.progress(t.line, " + Checking expire date of existing cert...")
	till := " + Valid till " + leaf.NotAfter.UTC().Format("Jan _2 15:04:05 2006 GMT")
	switch {
	case !t.request.Policy.At(leaf.NotBefore, leaf.NotAfter).After(t.request.Now):
		t.progress(t.line, "%s (Less than %s days). Renewing!", till, t.days)
	case forced:
		t.progress(t.line, "%s (Longer than %s days). Ignoring because renew was forced!", till, t.days)
	default:
		t.progress(t.line, "%s (Longer than %s days). Skipping renew!", till, t.days)
	}
}

// ownWords is an error with the text that dehydrated has for it.
type ownWords struct {
	text string
	err  error
}

func (e *ownWords) Error() string { return e.text }
func (e *ownWords) Unwrap() error { return e.err }

// inItsWords gives errors that hooks are told the text that dehydrated has.
func inItsWords(err error) error {
	var exit *hooks.ExitError
	var failed *issue.ValidationError
	var offer *issue.OfferError
	var chain *issue.ChainError
	switch {
	case errors.As(err, &exit) && exit.Event == hooks.Probe().Name:
		return &ownWords{"Please check your hook script, it should exit cleanly without doing anything on unknown/new hooks.", err}
	case errors.As(err, &exit):
		return &ownWords{exit.Event + " hook returned with non-zero exit code", err}
	case errors.As(err, &offer):
		return &ownWords{fmt.Sprintf("Validating this certificate is not possible using %s. Possible validation methods are: %s ",
			offer.Type, strings.Join(offer.Offered, " ")), err}
	case errors.As(err, &chain):
		return &ownWords{fmt.Sprintf("Alternative chain with CN = %s not found, available options: %s", chain.Wanted, strings.Join(chain.Offered, ", ")), err}
	case errors.As(err, &failed) && len(failed.Failures) > 0:
		return &ownWords{fmt.Sprintf("Challenge is invalid! (returned: invalid) (result: %s)", failed.Failures[0].Flat()), err}
	}
	return err
}

// dehydratedSignCSR is --signcsr: nothing is kept, and stdout is for the chain.
func (a *app) dehydratedSignCSR(ctx context.Context, l *dehydratedLine) error {
	csr, err := a.readCSR(l.file)
	if err != nil {
		return err
	}
	authority, err := a.openDehydrated(ctx, l)
	if err != nil {
		return err
	}
	r, err := a.dehydratedRequest(l, authority)
	if err != nil {
		return err
	}
	r.CSR, r.Names, r.Now = csr, csr.Names, time.Now()
	l.env = []string{"altnames=" + strings.Join(csr.Names, " ")}
	r.Tell = (&dehydratedTalk{app: a, line: l, request: r, signing: true}).tell
	result, err := issue.Sign(ctx, r)
	if err != nil {
		return inItsWords(err)
	}
	text := "# CERT #\n" + string(certs.EncodeChain(result.Chain)) + "\n"
	if l.fullChain {
		text += "# CHAIN #\n" + string(certs.EncodeChain(result.Chain[1:])) + "\n"
	}
	if err := a.report.Out(text); err != nil {
		return &outputError{err}
	}
	return nil
}

// dehydratedCleanup is --cleanup and --cleanup-delete.
func (a *app) dehydratedCleanup(ctx context.Context, l *dehydratedLine) error {
	return a.cleanUpAloud(ctx, l.command == "cleanupdelete", "")
}

// autoCleanup is the clean-up at the end of a run, where the config wants it.
func (a *app) autoCleanup(ctx context.Context) error {
	if !a.settings.Bool("AUTO_CLEANUP") {
		return nil
	}
	_ = a.report.Out("+ Running automatic cleanup\n")
	return a.cleanUpAloud(ctx, a.settings.Bool("AUTO_CLEANUP_DELETE"), " + ")
}

// cleanUpAloud names each file on stdout.
func (a *app) cleanUpAloud(ctx context.Context, remove bool, mark string) error {
	what := "Moving unused file to archive directory"
	if remove {
		what = "Deleting unused file"
	}
	return a.cleanUp(ctx, remove, func(file string) {
		_ = a.report.Out(fmt.Sprintf("%s%s: %s\n", mark, what, file))
	})
}
