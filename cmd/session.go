package cmd

import (
	"context"
	"strings"

	"arid/hooks"
	"arid/issue"
)

// session frames the hooks of one run: startup_hook before the first thing that is
// done, and exit_hook at the end of a run that did something.
type session struct {
	*app
	hooks   *hooks.Runner
	begun   bool
	changed []string // aliases of what was issued or deployed
	failed  []string // of what went wrong
}

// begin calls startup_hook, once.
func (s *session) begin(ctx context.Context) error {
	if s.begun {
		return nil
	}
	s.begun = true
	if err := s.hooks.Run(ctx, hooks.StartupHook()); err != nil {
		return &issue.AbortError{Err: err}
	}
	return nil
}

// note remembers what became of a certificate.
func (s *session) note(alias string, result *issue.Result, err error) {
	switch {
	case err != nil:
		s.failed = append(s.failed, alias)
	case result != nil && (result.Issued || result.Deployed):
		s.changed = append(s.changed, alias)
	}
}

// end calls exit_hook, with a text if something failed. Its own failure is a
// warning. A run that was told to end does without.
func (s *session) end(ctx context.Context, err error) {
	if !s.begun || ctx.Err() != nil {
		return
	}
	e := hooks.ExitHook()
	if err != nil {
		e = hooks.ExitHook(err.Error())
	}
	e.Env = []string{
		"ARID_HOOK_CHANGED=" + strings.Join(s.changed, " "),
		"ARID_HOOK_FAILED=" + strings.Join(s.failed, " "),
	}
	if err := s.hooks.Run(ctx, e); err != nil {
		s.report.Warning(err.Error())
	}
}
