package hooks

import (
	"context"
	"os/exec"
	"syscall"
)

// Line is a shell line of the user's own, such as one that reloads a server.
// Nothing is ever put into it: what it has to know is in Env.
type Line struct {
	What string // what errors call it, such as "--reload"
	Text string
	Env  []string
	As   *syscall.Credential // whom it runs as; nil: ourselves
}

// RunLine has /bin/sh run a line, as Run has a hook: in its turn, within Timeout,
// and ended in the same way. It has no stdin, so that it can take nothing away from
// a script that it is called in.
func (r *Runner) RunLine(ctx context.Context, l Line) error {
	done, err := r.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()

	own := &Runner{Program: l.Text, Group: r.Group, TermGrace: r.TermGrace}
	e := Event{Name: l.What}
	if r.Timeout > 0 {
		limit := &TimeoutError{Event: e.Name, Program: l.Text, Limit: r.Timeout}
		timed, cancel := context.WithTimeoutCause(ctx, r.Timeout, limit)
		defer cancel()
		ctx = timed
	}
	cmd := &exec.Cmd{
		Path:        "/bin/sh",
		Args:        []string{"sh", "-c", l.Text},
		Env:         environment(r.Env, l.Env),
		Stdout:      r.Stdout,
		Stderr:      r.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: r.Group, Credential: l.As},
		WaitDelay:   pipeHold,
	}
	closeOnExec()
	if err := cmd.Start(); err != nil {
		return own.errorf(e, err)
	}
	return own.wait(ctx, cmd, e)
}
