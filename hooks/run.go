package hooks

import (
	"context"
	"io"
	"syscall"
	"time"
)

// Runner runs one program for every event, one at a time.
type Runner struct {
	Program   string   // as Find returned it; "" (and no Function): no hooks, Run does nothing
	Function  string   // HOOK names this function of Config: run by bash
	Config    string   // the file that defines Function
	Sources   []string // files to source after Config (CONFIG_D's)
	Env       []string // base environment, complete
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	Timeout   time.Duration // 0: none
	Group     bool
	TermGrace time.Duration // 0: 10 s
}

// ExitError is a hook that ended with a status other than 0, or by a signal.
type ExitError struct {
	Event, Program string
	Status         int
	Signal         syscall.Signal
}

func (e *ExitError) Error() string { return e.Event }

// TimeoutError is a hook that ran longer than Runner.Timeout.
type TimeoutError struct {
	Event, Program string
	Limit          time.Duration
}

func (e *TimeoutError) Error() string { return e.Event }

// Run calls the hook for e.
func (r *Runner) Run(ctx context.Context, e Event) error { return nil }

// Output calls the hook for e and returns what it prints.
func (r *Runner) Output(ctx context.Context, e Event, max int64) ([]byte, error) { return nil, nil }

// ControllingTerminal says whether this process has a terminal of its own.
func ControllingTerminal() bool { return false }
