package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"arid/acme"
	"arid/config"
	"arid/hooks"
	"arid/internal/guard"
	"arid/issue"
	"arid/report"
)

// dehydratedNames are the names by which arid is called to be dehydrated.
var dehydratedNames = []string{"dehydrated", "letsencrypt.sh"}

// dehydratedArgs are the words for dehydrated's mode, and how the program was
// called; nil where this is none of it.
func (p *Process) dehydratedArgs() (words []string, program string) {
	switch {
	case slices.Contains(dehydratedNames, filepath.Base(p.Args[0])):
		return append([]string{}, p.Args[1:]...), p.Args[0]
	case len(p.Args) > 1 && p.Args[1] == "dehydrated":
		return append([]string{}, p.Args[2:]...), p.Args[0] + " dehydrated"
	}
	return nil, ""
}

// dehydratedCommand is there to be found in the help; Main sends its words
// elsewhere.
func (a *app) dehydratedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dehydrated",
		Short: "dehydrated's own command line, files, hooks and statuses",
		Long: `What stands behind it is read as dehydrated reads it; "arid dehydrated --help" lists
the words. Under the name dehydrated or letsencrypt.sh, as by a symlink, arid does
the same.`,
		Example:            "  arid dehydrated --cron\n  arid dehydrated -c -d www.example.org -t dns-01 -k ./hook.sh",
		GroupID:            groupCompatibility,
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{what: "dehydrated is the first word or none", hint: "arid dehydrated WORDS…"}
		},
	}
}

// dehydrated runs a command line in dehydrated's manner, and returns its status.
func (a *app) dehydrated(ctx context.Context, words []string, program string) int {
	var l *dehydratedLine
	err := guard.Run(func() (err error) {
		if l, err = parseDehydrated(words); err != nil {
			return err
		}
		l.program = program
		return a.runDehydrated(ctx, l)
	})
	a.report.Clear()
	if cause := context.Cause(ctx); err != nil && is[*SignalError](cause) {
		err = cause // whatever it made fail
	}
	status := dehydratedStatus(err)
	if err != nil && status != 0 && !is[*SignalError](err) && !is[*toldError](err) && !is[*sudoError](err) {
		a.tellDehydrated(err, program)
		a.exitHook(ctx, l, err)
	}
	if status == 0 && a.report.Broken() != nil {
		return 1
	}
	return status
}

// dehydratedStatus maps an error to the status of dehydrated's mode: 0 and 1, and N
// where the config ran "exit N" or sudo ended with N. It stands beside exitStatus.
func dehydratedStatus(err error) int {
	var c *config.Error
	var sudo *sudoError
	switch {
	case err == nil:
		return 0
	case is[*SignalError](err):
		return exitStatus(err) // seen by tests only: main dies by the signal
	case errors.As(err, &c) && c.Exited:
		return c.Status
	case errors.As(err, &sudo):
		return sudo.status
	}
	return 1
}

func (a *app) runDehydrated(ctx context.Context, l *dehydratedLine) error {
	if l.command == "help" {
		return a.out(dehydratedHelp(l.program))
	}
	if l.command == "env" {
		a.progress(l, "# dehydrated configuration")
	}
	if err := a.loadDehydrated(ctx, l); err != nil {
		return err
	}
	switch l.command {
	case "version":
		return a.out(a.dehydratedVersion())
	case "env":
		return a.dehydratedEnv(ctx, l)
	case "cleanup", "cleanupdelete":
		return a.dehydratedCleanup(ctx, l)
	case "terms":
		return a.dehydratedTerms(ctx, l)
	}
	unlock, err := a.lockDehydrated(ctx, l)
	if err != nil {
		return err
	}
	defer unlock()
	switch l.command {
	case "register":
		return a.dehydratedRegister(ctx, l)
	case "account":
		return a.dehydratedContacts(ctx, l)
	case "deactivate":
		return a.dehydratedDeactivate(ctx, l)
	case "revoke":
		return a.dehydratedRevoke(ctx, l)
	case "sign_csr":
		return a.dehydratedSignCSR(ctx, l)
	}
	return a.dehydratedCron(ctx, l)
}

// loadDehydrated reads the settings as dehydrated does, and says which files it
// read.
func (a *app) loadDehydrated(ctx context.Context, l *dehydratedLine) error {
	settings, err := config.Load(ctx, config.Options{
		File: l.config, Flags: l.settings, Environ: a.Env, UID: a.UID, Dir: a.Dir,
		Command: l.command, ScriptDir: a.scriptDir(), Dehydrated: true,
	})
	if settings == nil {
		return err
	}
	a.settings = settings
	a.setUmask()
	switch file := settings.GivenFile(); file {
	case "":
		a.complain("#\n# !! WARNING !! No main config file found, using default config!\n#")
	default:
		a.progress(l, "# INFO: Using main config file %s", file)
	}
	for _, file := range settings.Dropins() {
		a.progress(l, "# INFO: Using additional config file %s", file)
	}
	a.warnDehydrated(settings.Warnings())
	if err != nil {
		return err
	}
	if err := a.switchUser(ctx, l); err != nil {
		return err
	}
	if err := settings.CheckBase(); err != nil {
		return err
	}
	return l.check()
}

// warnDehydrated says what dehydrated would not have noticed.
func (a *app) warnDehydrated(warnings []string) {
	for _, w := range warnings {
		a.complain("# WARNING: " + w)
	}
}

// scriptDir is the directory that dehydrated would lie in: that of the name by which
// arid was called. Links are followed as long as they lead to such a name, and so
// not to the place where arid itself is installed. "" is none.
func (a *app) scriptDir() string {
	path := a.Args[0]
	if !slices.Contains(dehydratedNames, filepath.Base(path)) {
		return ""
	}
	if !strings.Contains(path, "/") {
		found, err := hooks.Find(path, a.getenv("PATH"), a.Dir)
		if err != nil {
			return ""
		}
		path = found
	}
	path = a.abs(path)
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil || !slices.Contains(dehydratedNames, filepath.Base(target)) {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return filepath.Dir(path)
}

// progress says what is done, on stdout as dehydrated does. --signcsr keeps that
// for its product.
func (a *app) progress(l *dehydratedLine, format string, args ...any) {
	text := report.Escape(fmt.Sprintf(format, args...))
	if l.command == "sign_csr" {
		a.report.Explain("", text)
		return
	}
	_ = a.report.Out(text + "\n") // what is broken is seen at the end
}

// complain writes lines to stderr.
func (a *app) complain(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		a.report.Explain("", strings.ReplaceAll(line, "\t", "    "))
	}
}

// quietError ends the run as dehydrated does here and there: with its own words on
// stderr, and without exit_hook.
type quietError struct {
	text string
}

func (e *quietError) Error() string { return e.text }

// tellDehydrated says on stderr what went wrong, as dehydrated does.
func (a *app) tellDehydrated(err error, program string) {
	var line *lineError
	var quiet *quietError
	switch {
	case errors.As(err, &line):
		line.say(a.Stdout, a.Stderr, program)
		return
	case errors.As(err, &quiet):
		a.complain(quiet.text)
		return
	}
	if p := refusal(err); p != nil {
		a.complain(fmt.Sprintf("  + ERROR: An error occurred while sending %s-request to %s (Status %d)\n\nDetails:\n%s\n%s\n",
			strings.ToLower(p.Method), p.URL, p.Status, p.HeaderText(), strings.TrimRight(string(p.Body), "\n")))
	}
	mark := "ERROR: "
	if own, ok := errors.AsType[*ownWords](err); ok && is[*issue.ValidationError](own.err) {
		a.complain(mark + own.text)
		err, mark = own.err, " + " // what arid has to say beside that
	}
	for _, b := range blames(err) {
		a.complain(mark + b.text)
		for _, n := range b.notes {
			if namesOtherFlags(n.Text) {
				continue
			}
			a.complain(" + " + n.Label + ": " + report.Escape(n.Text))
		}
	}
	if is[*registerError](err) {
		a.complain("\nError registering account key. See message above for more information.")
	}
}

var flagWord = regexp.MustCompile(`--[a-z][a-z-]+`)

// namesOtherFlags tells whether a hint is about flags that are none here.
func namesOtherFlags(text string) bool {
	return slices.ContainsFunc(flagWord.FindAllString(text, -1), func(flag string) bool {
		return !slices.ContainsFunc(dehydratedWords, func(w dehydratedWord) bool { return w.long == flag })
	})
}

// refusal is the CA's answer to a request that it would not do, now or ever; nil
// where err is nothing of the kind.
func refusal(err error) *acme.Problem {
	var p *acme.Problem
	if !errors.As(err, &p) || p.Method == "" {
		return nil
	}
	return p
}

// exitHook tells the hook that the run is given up. The text is empty where the
// CA refused a request: request_failure has told that.
func (a *app) exitHook(ctx context.Context, l *dehydratedLine, err error) {
	var c *config.Error
	var line *lineError
	switch {
	case a.settings == nil, l == nil, is[*quietError](err), errors.As(err, &c) && c.Exited:
		return
	case is[*registerError](err) && refusal(err) == nil:
		return
	}
	text := err.Error()
	switch {
	case refusal(err) != nil:
		text = ""
	case errors.As(err, &line):
		text = strings.TrimPrefix(line.text, "ERROR: ")
	}
	if err := a.callHook(ctx, l, hooks.ExitHook(text)); err != nil {
		a.complain("exit_hook: " + report.Escape(err.Error()))
	}
}

// dehydratedHooks is the user's program with the streams that dehydrated gives it:
// ours, and stderr for both where stdout is for the product.
func (a *app) dehydratedHooks(l *dehydratedLine) (*hooks.Runner, error) {
	r, err := a.hooks()
	if err != nil {
		return nil, err
	}
	r.Stdout, r.Env = io.Writer(a.Stdout), slices.Concat(r.Env, l.env)
	if l.command == "sign_csr" {
		r.Stdout = a.Stderr
	}
	return r, nil
}

// reportRefusal calls request_failure where the CA refused a request, and returns
// the error.
func (a *app) reportRefusal(ctx context.Context, l *dehydratedLine, err error) error {
	p := refusal(err)
	if p == nil || ctx.Err() != nil {
		return err
	}
	event := hooks.RequestFailure(p.Status, strings.TrimRight(string(p.Body), "\n"), p.Method, p.HeaderText())
	if hookErr := a.callHook(ctx, l, event); hookErr != nil {
		a.complain("request_failure: " + report.Escape(hookErr.Error()))
	}
	return err
}
