package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"arid/certs"
	"arid/hooks"
	"arid/issue"
)

// session frames what one run does: LOCKFILE and startup_hook before the first
// thing that is done, and exit_hook at the end of a run that did something.
type session struct {
	*app
	hooks  *hooks.Runner
	noLock bool
	unlock func()

	mu      sync.Mutex
	begun   bool
	failure error    // to begin
	changed []string // aliases of what was issued or deployed
	failed  []string // of what went wrong
}

// begin takes LOCKFILE and calls startup_hook, once.
func (s *session) begin(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun && s.failure == nil {
		if s.failure = s.lock(ctx); s.failure != nil {
			return s.failure
		}
		s.begun = true
		s.report.TellOdd()
		if err := s.hooks.Run(ctx, hooks.StartupHook()); err != nil {
			s.failure = &issue.AbortError{Err: err}
		}
	}
	return s.failure
}

// broken says whether the session could not be begun.
func (s *session) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure != nil
}

// lock takes dehydrated's own lock where the tree is one that dehydrated may be at
// work in: its config says so.
func (s *session) lock(ctx context.Context) error {
	dehydrated := filepath.Base(filepath.Dir(s.settings.File())) == "dehydrated"
	if s.noLock || !dehydrated && !s.settings.Set("LOCKFILE") {
		return nil
	}
	unlock, stale, err := certs.LockFile(ctx, s.path("LOCKFILE"), s.settings.Duration("LOCK_WAIT"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no BASEDIR, no dehydrated
	}
	if stale != nil {
		s.report.Warning(stale.String())
	}
	if err != nil {
		return fmt.Errorf("LOCKFILE: %w", err)
	}
	s.unlock = unlock
	return nil
}

// locked does something while LOCKFILE is held, where a session would take it.
func (a *app) locked(ctx context.Context, noLock bool, do func() error) error {
	s := &session{app: a, noLock: noLock}
	if err := s.lock(ctx); err != nil {
		return err
	}
	if s.unlock != nil {
		defer s.unlock()
	}
	return do()
}

// note remembers what became of a certificate.
func (s *session) note(alias string, result *issue.Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case is[*issue.HeldError](err): // nothing was done
	case err != nil:
		s.failed = append(s.failed, alias)
	case result != nil && (result.Issued || result.Deployed):
		s.changed = append(s.changed, alias)
	}
}

// end calls exit_hook, with a text if something failed. Its own failure is a
// warning. A run that was told to end does without.
func (s *session) end(ctx context.Context, err error) {
	if s.unlock != nil {
		defer s.unlock()
	}
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
