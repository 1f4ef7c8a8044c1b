// Package cmd is the command line: flags, help, wiring, exit statuses.
package cmd

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"arid/config"
	"arid/internal/atomicfile"
	"arid/internal/guard"
	"arid/issue"
	"arid/keys"
	"arid/report"
)

// Process is the outside world, so that a test can run the whole program.
type Process struct {
	Args   []string // with the program's name
	Env    []string // NAME=value
	Dir    string   // working directory
	UID    int      // effective user
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	HTTP   http.RoundTripper // nil: the network
}

func (p *Process) getenv(name string) string {
	value := ""
	for _, e := range p.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// SignalError is the cause of a run that was told to end.
type SignalError struct {
	Signal syscall.Signal
}

func (e *SignalError) Error() string { return "ended by signal " + unix.SignalName(e.Signal) }

// Main runs one command line and returns its exit status. The context is ended
// by a signal, with a *SignalError as cause.
func Main(ctx context.Context, p *Process) int {
	a := &app{Process: p, ctx: ctx, turn: make(chan struct{}, 1), umask: unix.Umask(0o077)}
	a.report = report.New(report.Options{Out: p.Stdout, Err: p.Stderr, Env: p.Env})
	if words, program := p.dehydratedArgs(); words != nil {
		return a.dehydrated(ctx, words, program)
	}
	if words, program := p.acmeTinyArgs(); words != nil {
		return a.acmeTiny(ctx, words, program)
	}
	root := a.root()
	err := guard.Run(func() error { return root.ExecuteContext(ctx) })
	return a.finish(err)
}

// app is one run of the program.
type app struct {
	*Process
	ctx      context.Context // of Main
	report   *report.Printer
	settings *config.Settings

	quiet, verbose bool
	json           bool
	color          string
	configFile     string
	base           string
	traceFile      string
	trace          *tracer             // nil: nobody wants one
	explained      map[issue.Step]bool // by rehearse
	turn           chan struct{}       // one hook at a time
	umask          int                 // the caller's, or the config's
}

// readInput is atomicfile.ReadInput for a file that the user named.
func (a *app) readInput(file string, max int64) ([]byte, error) {
	return unlessEnded(a.ctx, func() ([]byte, error) { return atomicfile.ReadInput(file, max) })
}

// readKey is keys.Read for a file that the user named.
func (a *app) readKey(file string) (crypto.Signer, error) {
	return unlessEnded(a.ctx, func() (crypto.Signer, error) { return keys.Read(file) })
}

// unlessEnded reads what may be a pipe or a terminal, on which nothing may ever come:
// once the run is told to end, that is not waited for.
func unlessEnded[T any](ctx context.Context, read func() (T, error)) (T, error) {
	var value T
	done := make(chan error, 1)
	go func() {
		done <- guard.Run(func() (err error) {
			value, err = read()
			return err
		})
	}()
	select {
	case err := <-done:
		return value, err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// setUmask does what the config's own umask says, as dehydrated does: it opens files to a group.
func (a *app) setUmask() {
	if mask, ok := a.settings.Umask(); ok {
		unix.Umask(mask)
		a.umask = mask
	}
}

// finish says what went wrong and turns it into the exit status.
func (a *app) finish(err error) int {
	a.report.Clear()
	if broken := a.report.Broken(); broken != nil && exitStatus(err) == statusOK { // help says nothing of it
		err = &outputError{broken}
	}
	status := exitStatus(err)
	if err != nil && !is[*toldError](err) {
		a.tellOutcome(err)
	}
	a.emitError(err)
	if bug, ok := errors.AsType[*guard.Panic](err); ok && a.verbose {
		for line := range strings.Lines(string(bug.Stack)) {
			a.report.Explain("", strings.TrimRight(line, "\n"))
		}
	}
	if err := a.trace.close(); err != nil && status == statusOK {
		return statusIO
	}
	return status
}

// tellOutcome says what kept a certificate from being made. That another run is at
// work, or that it is not yet time to try again, is no news for cron: the status says it.
func (a *app) tellOutcome(err error) {
	switch {
	case is[*issue.HeldError](err):
		a.report.Note(err.Error())
	case is[*atomicfile.LockedError](err) && !a.report.Terminal() && !a.verbose:
	default:
		a.tellError(err)
	}
}

// tellError says what went wrong, and what might help.
func (a *app) tellError(err error) {
	for _, b := range blames(err) {
		a.report.Error(b.text, b.notes...)
	}
}
