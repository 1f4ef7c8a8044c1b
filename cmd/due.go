package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"arid/internal/guard"
)

func (a *app) dueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "due [NAME…]",
		Short: "whether arid renew would do something now: by its status",
		Long: `Ends with 0 where a certificate of domains.txt is due or a deployment is owed, with
1 where nothing is or all of it is held back, with 255 where that cannot be told.
Prints the names. Nobody is asked and nothing is written.`,
		Example: `  arid due && arid renew
  ExecCondition=/usr/local/bin/arid due         in a systemd unit: the run is skipped, or fails`,
		GroupID: groupInspect,
		Args:    cobra.ArbitraryArgs,
		PersistentPreRunE: func(c *cobra.Command, words []string) error {
			return undecided(c.Root().PersistentPreRunE(c, words))
		},
		RunE: func(c *cobra.Command, words []string) error {
			return undecided(guard.Run(func() error { return a.due(c, words) }))
		},
		ValidArgsFunction: a.completeNames,
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return undecided(c.Root().FlagErrorFunc()(c, err))
	})
	lookFlags(c)
	return c
}

// due looks at what arid renew with these words would work on. What it could not look
// at counts only where nothing else is due: one mistake keeps nothing from being
// renewed.
func (a *app) due(c *cobra.Command, words []string) error {
	l, err := a.lookout(c)
	if err != nil {
		return err
	}
	if l.list, err = a.domains(); err != nil {
		return err
	}
	chosen, bad, err := choose(l.list, words)
	if err != nil {
		return err
	}
	for _, b := range bad {
		l.undecided(b)
	}
	subjects := make([]subject, len(chosen))
	for i, line := range chosen {
		subjects[i] = subject{alias: line.Alias, line: &chosen[i]}
	}
	if len(words) == 0 {
		others, err := l.others()
		if err != nil {
			return err
		}
		subjects = append(subjects, others...)
	}
	sights, err := l.look(c.Context(), subjects)
	if err != nil {
		return err
	}
	var due []*sight
	for _, s := range sights {
		switch {
		case s.line != nil && s.err != nil:
			a.emitError(s.err)
			l.failLine(c.Context(), s.line, s.err)
		case s.lost != nil:
			l.undecided(s.lost)
		case s.now:
			due = append(due, s)
		}
	}
	failure := l.end()
	switch {
	case len(due) > 0:
		return a.showDue(due)
	case failure != nil:
		return &toldError{statusUndecided}
	}
	return &toldError{statusNotDue}
}

// undecided tells what is wrong besides what is due.
func (l *lookout) undecided(err error) {
	l.emitError(err)
	l.failed(err)
}

// showDue prints what is due, unless nobody wants to read it.
func (a *app) showDue(due []*sight) error {
	switch {
	case a.quiet:
		return nil
	case a.json:
		return a.showObjects(due)
	}
	var b strings.Builder
	for _, s := range due {
		b.WriteString(s.Name + "\n")
	}
	return a.out(b.String())
}

// undecidedError is what kept arid due from an answer.
type undecidedError struct{ err error }

func (e *undecidedError) Error() string { return e.err.Error() }
func (e *undecidedError) Unwrap() error { return e.err }

// undecided makes an answer of every error that is none yet.
func undecided(err error) error {
	if err == nil || is[*toldError](err) {
		return err
	}
	return &undecidedError{err}
}
