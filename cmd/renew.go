package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"arid/challenge"
	"arid/config"
	"arid/internal/atomicfile"
	"arid/internal/guard"
	"arid/issue"
	"arid/report"
)

type renewFlags struct {
	orderFlags
	all, failFast, dryRun bool
	redeploy              bool
	unchanged             int
	jitter                time.Duration
}

func (a *app) renewCommand() *cobra.Command {
	var f renewFlags
	c := &cobra.Command{
		Use:   "renew [NAME…]",
		Short: "every certificate of domains.txt that is missing, changed or due",
		Long: `Goes through domains.txt and gets what is missing, changed or due, and repeats
deployments that failed; without NAME all lines, else those whose alias or one of
whose names is NAME. It goes on after a failure, and is silent off a terminal
where nothing is due: this is what cron runs.`,
		Example: `  arid renew
  arid renew --dry-run
  arid renew -x www.example.org`,
		GroupID: groupCertificates,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.renew(c, &f, args)
		},
		ValidArgsFunction: a.completeNames,
	}
	flags := c.Flags()
	flags.BoolVarP(&f.force, "force", "x", false, "order anew even if it is not due; needs NAME or --all")
	flags.BoolVar(&f.all, "all", false, "with --force or --redeploy: all certificates")
	flags.BoolVar(&f.redeploy, "redeploy", false, "deploy the live certificate again, now; needs NAME or --all")
	flags.BoolVar(&f.failFast, "fail-fast", false, "stop at the first failure")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what is due, ask nobody and change nothing")
	flags.IntVar(&f.unchanged, "exit-unchanged", 0, "end with status `N` where nothing was due")
	flags.DurationVar(&f.jitter, "jitter", 0, "wait up to `DURATION` first, a random time")
	f.orderFlags.add(c)
	caFlags(c)
	settingFlags(c, slices.Concat(validateSettings, dnsSettings, orderSettings, []string{"LISTEN", "DOMAINS_TXT", "PRIVATE_KEY_RENEW", "CERTDIR", "RENEW_DAYS", "PARALLEL"})...)
	return c
}

func (a *app) renew(c *cobra.Command, f *renewFlags, words []string) error {
	switch {
	case f.force && len(words) == 0 && !f.all:
		return &usageError{what: "--force needs NAME or --all", hint: "arid renew -x NAME"}
	case f.redeploy && len(words) == 0 && !f.all:
		return &usageError{what: "--redeploy needs NAME or --all", hint: "arid renew --redeploy NAME"}
	case f.redeploy && f.force:
		return &usageError{what: "--redeploy and --force: a new certificate is deployed anyway"}
	case f.unchanged < 0 || f.unchanged > 255:
		return &usageError{what: fmt.Sprintf("--exit-unchanged: %d is no exit status", f.unchanged)}
	}
	if err := a.load(c, "sign_domains", f.registrationFlags.settings()); err != nil {
		return err
	}
	if err := a.rightUser(); err != nil {
		return err
	}
	domains, err := a.domains()
	if err != nil {
		return err
	}
	if f.dryRun {
		a.report.TellOdd()
	}
	chosen, bad, err := choose(domains, words)
	if err != nil {
		return err
	}
	if err := jitter(c.Context(), f.jitter); err != nil {
		return err
	}
	w := &walk{app: a, flags: f}
	defer func() { a.remember(w.authority) }()
	if w.authority, err = a.openCA(c.Context()); err != nil {
		return err
	}
	if err := f.begin(a); err != nil {
		return err
	}
	if w.common, err = a.plan(&f.orderFlags, w.authority); err != nil {
		return err
	}
	w.session = &session{app: a, hooks: w.common.common.Hooks, noLock: f.noLock}
	defer func() {
		f.listening.end()
		a.report.Clear() // the screen is exit_hook's
		w.session.end(c.Context(), w.first)
	}()
	for _, b := range bad {
		w.fail(aliasOf(b), b)
	}
	if err := w.lines(c.Context(), chosen); err != nil {
		return err
	}
	if len(words) == 0 {
		w.orphans(c.Context(), domains)
	}
	w.tellIdle()
	return w.end()
}

// domains reads domains.txt, and shows what is odd in it.
func (a *app) domains() (*config.Domains, error) {
	file := a.path("DOMAINS_TXT")
	d, err := config.ReadDomains(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, a.from("DOMAINS_TXT", &hintedError{err, "a line of names for each certificate; \"arid sign NAME…\" needs no file"})
	}
	if err != nil {
		return nil, a.from("DOMAINS_TXT", err)
	}
	for _, w := range d.Warnings {
		a.report.Odd(w)
	}
	if dir := a.path("DOMAINS_D"); dir != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			a.report.Warning(a.settings.Wrong("DOMAINS_D", errors.New("there is no such directory")).Error())
		}
	}
	return d, nil
}

// choose takes the lines that the words mean, by alias or by any name, and what
// is wrong in lines that may be meant. No words mean all.
func choose(d *config.Domains, words []string) (chosen []config.Line, bad []error, err error) {
	if len(words) == 0 {
		for _, b := range d.Bad {
			bad = append(bad, b)
		}
		return d.Lines, bad, nil
	}
	meant := map[int]bool{}
	for _, word := range words {
		name := canonicalOr(word)
		found := false
		for i, line := range d.Lines {
			if line.Alias == strings.ToLower(word) || slices.Contains(line.Names, name) {
				meant[i], found = true, true
			}
		}
		for _, b := range d.Bad {
			if b.Alias != "" && b.Alias == strings.ToLower(word) {
				bad, found = append(bad, b), true
			}
		}
		if !found {
			return nil, nil, &usageError{what: fmt.Sprintf("no line of domains.txt has %q", word), hint: "\"arid sign NAME…\" needs no line"}
		}
	}
	for i, line := range d.Lines {
		if meant[i] {
			chosen = append(chosen, line)
		}
	}
	return chosen, bad, nil
}

// canonicalOr is a name in canonical form; what is none, such as an alias, in small letters.
func canonicalOr(word string) string {
	if name, err := config.CanonicalName(word); err == nil {
		return name
	}
	return strings.ToLower(word)
}

func jitter(ctx context.Context, most time.Duration) error {
	if most <= 0 {
		return nil
	}
	select {
	case <-time.After(rand.N(most)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// walk is one run over many certificates. What goes wrong with one is told at
// once, and does not stop the others.
type walk struct {
	*app
	flags     *renewFlags
	authority *ca
	common    *plan // for all certificates without a config of their own
	session   *session
	board     *report.Board

	mu       sync.Mutex        // what follows belongs to all who work
	statuses []int             // of the failures
	first    error             // of the failures
	same     map[string]*alike // failures that were told, by their text
	done     int               // certificates issued or deployed
	idle     int               // certificates with which nothing was to be done
	why      string            // of one of them
	stop     bool              // no more lines are to be begun
}

// fail tells a failure, of a certificate or of none.
func (w *walk) fail(alias string, err error) {
	if alias == "" {
		w.emitError(err)
	} else {
		w.emitLine(certificateObject(alias, nil, nil, err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed(err)
}

// aliasOf is the certificate that a line with a mistake is for, "" if it does not say.
func aliasOf(err error) string {
	var line *config.LineError
	errors.As(err, &line)
	if line == nil {
		return ""
	}
	return line.Alias
}

// emitLine writes the object for a line; a broken stdout is known to report.
func (w *walk) emitLine(o *certificateJSON) {
	if w.json {
		_ = w.emit(o)
	}
}

func (w *walk) failed(err error) {
	if w.first == nil {
		w.first = err
	}
	w.statuses = append(w.statuses, exitStatus(err))
	w.tellOutcome(err)
}

// ended tells what became of a line. Of a run that was told to end, what was begun and
// came to nothing is not worth an object.
func (w *walk) ended(ctx context.Context, line *config.Line, result *issue.Result, err error) {
	if ctx.Err() == nil || result != nil && result.Issued {
		w.emitLine(certificateObject(line.Alias, line.Names, result, err))
	}
	w.failLine(ctx, line, err)
}

// failLine tells what went wrong with a line, if anything did; what is wrong with a
// thousand, as a directory that all of them need, once. A run that was told to end
// tells that alone.
func (w *walk) failLine(ctx context.Context, line *config.Line, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	failure := w.session.broken() // which is the same for all, and told once
	if failure && w.stop {
		return
	}
	w.stop = w.stop || w.flags.failFast || failure
	if told := w.same[err.Error()]; told != nil {
		told.more = append(told.more, line.Alias)
		w.statuses = append(w.statuses, exitStatus(err))
		return
	}
	if w.same == nil {
		w.same = map[string]*alike{}
	}
	w.same[err.Error()] = &alike{err: err}
	if !failure {
		err = named(line.Alias, err)
	}
	w.failed(err)
}

// lines goes through domains.txt, several lines at once.
func (w *walk) lines(ctx context.Context, lines []config.Line) error {
	if w.flags.dryRun {
		return w.dryRun(ctx, lines)
	}
	w.board = w.report.Board(len(lines))
	var workers sync.WaitGroup
	free := make(chan struct{}, w.parallel(lines))
	for i := range lines {
		line := &lines[i]
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil || w.stopped() {
			break
		}
		w.board.Begin(line.Alias)
		r, err := w.request(ctx, line) // one after another: configs are evaluated here
		if err != nil {
			w.ended(ctx, line, nil, err)
			w.board.End(line.Alias)
			<-free
			continue
		}
		if len(lines) > 1 {
			r.Tell = func(e issue.Event) { w.tellLine(line.Alias, e) }
		}
		workers.Go(func() {
			defer func() { <-free }()
			var result *issue.Result
			err := guard.Run(func() (err error) { result, err = w.line(ctx, line, r); return err })
			w.ended(ctx, line, result, err)
			w.board.End(line.Alias)
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// tellLine shows the progress of one line among many.
func (w *walk) tellLine(alias string, e issue.Event) {
	if e.Step == issue.StepHook {
		w.board.Hook(alias)
	} else {
		w.board.Step(alias)
	}
	switch {
	case e.Step == issue.StepWarning:
		w.tell(e)
	case w.verbose:
		e.Text = named(alias, errors.New(e.Text)).Error() // lines of several stand mixed
		w.tell(e)
	}
}

// parallel is how many certificates are worked on at once. Hooks that write TXT
// records were made for one at a time.
func (w *walk) parallel(lines []config.Line) int {
	if w.settings.Value("PARALLEL") != "" {
		return w.settings.Int("PARALLEL")
	}
	types := w.common.common.Types
	byHook := func(l config.Line) bool { return types.Uses(challenge.DNS01, l.Names) }
	if !w.settings.Bool("DNS_UPDATE") && slices.ContainsFunc(lines, byHook) {
		return 1
	}
	return defaultParallel
}

const defaultParallel = 8

// stopped says whether no more lines are to be begun.
func (w *walk) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stop
}

// dryRun is a table of what lines would do, and changes nothing.
func (w *walk) dryRun(ctx context.Context, lines []config.Line) error {
	var table [][]string
	for i := range lines {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r, o, err := w.outlook(ctx, &lines[i])
		switch {
		case err != nil:
			w.ended(ctx, &lines[i], nil, err)
		case w.json:
			w.emitLine(outlookObject(r, o))
		default:
			state := outlookState(o)
			if state == resultUnchanged {
				state = "ok"
			}
			table = append(table, []string{lines[i].Alias, state, report.Escape(o.Reason)})
		}
		if w.stopped() {
			break
		}
	}
	if len(table) > 0 {
		return w.out(report.Table(append([][]string{{"CERTIFICATE", "STATE", "WHY"}}, table...)))
	}
	return nil
}

// line brings one certificate to where its line wants it.
func (w *walk) line(ctx context.Context, line *config.Line, r *issue.Request) (*issue.Result, error) {
	r.Begin = func(ctx context.Context) error {
		w.board.Hook(line.Alias) // startup_hook
		defer w.board.Step(line.Alias)
		return w.session.begin(ctx)
	}
	result, err := issue.Sign(ctx, r)
	w.session.note(line.Alias, result, err)
	if result != nil && (err == nil || !result.Deployed) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if result.Issued || result.Deployed {
			w.done++
			w.sayResult(r, result)
		} else {
			w.idle++
			w.why = fmt.Sprintf("%s: %s", line.Alias, result.Reason)
			if w.verbose {
				w.report.Note(w.why)
			}
		}
	}
	return result, err
}

// tellIdle answers somebody at a terminal who has seen nothing happen.
func (w *walk) tellIdle() {
	switch {
	case w.done > 0, len(w.statuses) > 0, w.flags.dryRun:
	case w.idle == 0:
		w.report.Note("domains.txt names no certificate")
	case w.verbose: // each has been told
	case w.idle == 1:
		w.report.Note(w.why)
	default:
		w.report.Note(fmt.Sprintf("none of the %d certificates is due; \"arid status\" tells when they are", w.idle))
	}
}

// outlook is what would be done for a line.
func (w *walk) outlook(ctx context.Context, line *config.Line) (*issue.Request, *issue.Outlook, error) {
	r, err := w.request(ctx, line)
	if err != nil {
		return nil, nil, err
	}
	o, err := issue.Look(r)
	if err == nil && !o.Held && (o.Due || o.Owed) {
		w.done++
	}
	return r, o, err
}

// outlookState is the word for what would be done.
func outlookState(o *issue.Outlook) string {
	switch {
	case o.Held:
		return resultHeld
	case o.Due:
		return resultDue
	case o.Owed:
		return resultOwed
	}
	return resultUnchanged
}

// request is for a line, by the settings of its own config where it has one.
func (w *walk) request(ctx context.Context, line *config.Line) (*issue.Request, error) {
	if line.Twin != "" {
		return nil, &config.LineError{File: line.File, Line: line.Line, Alias: line.Alias,
			Err: fmt.Errorf("the certificate %q stands in %s already, and the two would undo each other", line.Alias, line.Twin)}
	}
	own, err := w.settings.ForCertificate(ctx, line.Alias, line.Words)
	if err != nil {
		return nil, err
	}
	p := w.common
	if own != w.settings {
		for _, warning := range own.Warnings() {
			w.report.Warning(warning)
		}
		a := *w.app
		a.settings = own
		if p, err = a.plan(&w.flags.orderFlags, w.authority); err != nil {
			return nil, err
		}
	}
	r, err := p.request(line.Names)
	if err != nil {
		return nil, err
	}
	r.Now, r.Words, r.Redeploy = time.Now(), line.Words, w.flags.redeploy
	r.Certificate, err = p.store.Certificate(line.Alias)
	return r, err
}

// orphans names what arid made, that is due, and that no line covers: it would
// expire in silence.
func (w *walk) orphans(ctx context.Context, d *config.Domains) {
	covered := d.Aliases()
	all, err := w.common.store.Certificates()
	if err != nil {
		w.fail("", err)
		return
	}
	for _, c := range all {
		if covered[c.Alias] || ctx.Err() != nil {
			continue
		}
		state, err := c.State()
		if err != nil || state.Leaf == "" { // none of arid's
			continue
		}
		r := w.common.common
		r.Certificate, r.Names, r.Now = c, state.Names, time.Now()
		r.Explicit, r.Force, r.TestCA = issue.Explicit{}, false, state.TestCA
		if o, err := issue.Look(&r); err == nil && o.Due {
			w.fail(c.Alias, &orphanError{c.Alias, o.Reason})
		}
	}
}

// orphanError is a certificate that nobody renews.
type orphanError struct{ alias, why string }

func (e *orphanError) Error() string {
	return fmt.Sprintf("%s: no line of domains.txt covers this certificate, and it is due: %s", e.alias, e.why)
}

func (e *orphanError) Hint() string {
	return "give it a line, or forget it: arid cleanup --forget " + e.alias
}

// end is the status that all failures share, else 1.
func (w *walk) end() error {
	for _, text := range slices.Sorted(maps.Keys(w.same)) {
		told := w.same[text]
		if len(told.more) == 0 {
			continue
		}
		all := fmt.Errorf("the same with %d more certificates (%s): %s", len(told.more), few(told.more), text)
		if is[*issue.HeldError](told.err) || is[*atomicfile.LockedError](told.err) {
			w.report.Note(all.Error()) // no news for cron, as the first was none
		} else {
			w.tellError(all)
		}
	}
	switch {
	case len(w.statuses) > 0:
		status := w.statuses[0]
		if slices.ContainsFunc(w.statuses, func(s int) bool { return s != status }) {
			status = statusFailed
		}
		return &toldError{status}
	case w.done == 0 && w.flags.unchanged > 0:
		return &toldError{w.flags.unchanged}
	}
	return nil
}

// alike is a failure, and the certificates that it was met with besides the first.
type alike struct {
	err  error
	more []string
}

// few are the first names of maybe a thousand.
func few(names []string) string {
	slices.Sort(names) // which was first is chance
	text := strings.Join(names[:min(len(names), 10)], " ")
	if len(names) > 10 {
		text += " …"
	}
	return text
}

// toldError is the status of a run whose failures have been told.
type toldError struct{ status int }

func (e *toldError) Error() string { return fmt.Sprintf("status %d", e.status) }
