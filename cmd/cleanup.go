package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"arid/certs"
	"arid/config"
	"arid/internal/atomicfile"
)

type cleanupFlags struct {
	remove bool
	forget string
	noLock bool
}

func (a *app) cleanupCommand() *cobra.Command {
	var f cleanupFlags
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "archive or delete files that a newer certificate has replaced",
		Long: `Moves what no certificate in use needs any more into BASEDIR/archive: old versions,
files of failed attempts, revoked ones. With --forget it takes a whole certificate
away instead, with its key and its settings.`,
		Example: `  arid cleanup -v
  arid cleanup --forget old.example.org`,
		GroupID: groupCertificates,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("forget") && f.forget == "" {
				return &usageError{what: "--forget: no name given"}
			}
			if err := a.load(c, "cleanup", nil); err != nil {
				return err
			}
			return a.locked(c.Context(), f.noLock, func() error { return a.cleanup(c.Context(), &f) })
		},
	}
	c.Flags().BoolVar(&f.remove, "delete", false, "delete instead of archiving")
	c.Flags().StringVar(&f.forget, "forget", "", "take the whole certificate `NAME` away")
	noLockFlag(c, &f.noLock)
	settingFlags(c, "CERTDIR", "LOCK_WAIT")
	c.Flags().Lookup("out").Usage = "look in `DIR` instead of CERTDIR"
	_ = c.RegisterFlagCompletionFunc("forget", a.completeNames)
	return c
}

func (a *app) cleanup(ctx context.Context, f *cleanupFlags) error {
	if f.forget != "" {
		return a.forget(ctx, f)
	}
	done := putAway(f.remove)
	err := a.cleanUp(ctx, f.remove, func(file string) {
		a.report.Step(file + ": " + done)
		if a.json {
			name, file, _ := strings.Cut(file, "/")
			_ = a.emit(&cleanupJSON{Name: name, File: file, Result: done}) // a broken stdout is known to report
		}
	})
	return a.tellCleanup(err)
}

// cleanUp puts superseded files away, and tells each. Its error may have several
// in it.
func (a *app) cleanUp(ctx context.Context, remove bool, tell func(file string)) error {
	return a.store().Cleanup(ctx, certs.CleanupOptions{
		Archive: a.archive(remove),
		Tell:    func(dir, file string) { tell(dir + "/" + file) },
	})
}

// putAway is what becomes of things.
func putAway(remove bool) string {
	if remove {
		return "deleted"
	}
	return "archived"
}

// archive is where certs puts things; "" has them deleted.
func (a *app) archive(remove bool) string {
	if remove {
		return ""
	}
	return filepath.Join(a.path("BASEDIR"), "archive")
}

// forget takes one certificate away.
func (a *app) forget(ctx context.Context, f *cleanupFlags) error {
	store := a.store()
	c, err := store.Certificate(f.forget)
	if err != nil {
		return &inputError{"--forget", err}
	}
	err = c.Forget(ctx, a.archive(f.remove))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &inputError{fmt.Sprintf("--forget %q", f.forget), fmt.Errorf("there is no such folder in %q", store.Dir)}
	case is[*atomicfile.LockedError](err):
		return &busyError{[]string{f.forget}, err}
	case err != nil:
		return fmt.Errorf("%s: %w", f.forget, err)
	}
	a.report.Note(fmt.Sprintf("%s is forgotten", f.forget))
	if a.json {
		if err := a.emit(&cleanupJSON{Name: f.forget, Result: putAway(f.remove)}); err != nil {
			return err
		}
	}
	domains, err := config.ReadDomains(a.path("DOMAINS_TXT"))
	if err != nil {
		return nil // nobody needs one
	}
	for _, line := range domains.Lines {
		if line.Alias == f.forget {
			a.report.Warning(fmt.Sprintf("%s:%d: this line makes it anew with the next renew", line.File, line.Line))
		}
	}
	return nil
}

// busyError is what another run is at work on.
type busyError struct {
	names []string
	err   error // the first
}

func (e *busyError) Error() string {
	return fmt.Sprintf("%s: left alone: %v", strings.Join(e.names, ", "), e.err)
}

func (e *busyError) Unwrap() error { return e.err }

func (e *busyError) Hint() string { return "another run is at work there; run this again after it" }

// tellCleanup tells what could not be cleaned up, where there are several things:
// each, but those that are locked together.
func (a *app) tellCleanup(err error) error {
	if is[*SignalError](err) {
		return err
	}
	var all []error
	var busy *busyError
	for _, err := range apart(err) {
		var locked *atomicfile.LockedError
		if !errors.As(err, &locked) {
			all = append(all, err)
			continue
		}
		if busy == nil {
			busy = &busyError{nil, locked}
		}
		name, _, _ := strings.Cut(err.Error(), ": ")
		busy.names = append(busy.names, name)
	}
	if busy != nil {
		all = append(all, busy)
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	status := exitStatus(all[0])
	for _, err := range all {
		a.tellError(err)
		a.emitError(err)
	}
	if slices.ContainsFunc(all, func(err error) bool { return exitStatus(err) != status }) {
		status = statusFailed
	}
	return &toldError{status}
}

// apart are the errors that were joined to one.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
