package hooks

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"arid/internal/guard"

	"golang.org/x/sys/unix"
)

// Runner runs one program for every event, one at a time, however many
// goroutines ask. Its working directory and umask are ours. It is used through
// a pointer and not changed once it has run.
type Runner struct {
	Program  string   // as Find returned it; "" (and no Function): no hooks, Run does nothing
	Function string   // HOOK names this function; bash runs it with Config sourced
	Config   string   // the file that defines Function
	Sources  []string // files to source after Config, in order (CONFIG_D's)

	Env []string // base environment, complete, as "NAME=value"

	// An *os.File is handed on as it is, so that a hook sees the terminal that
	// we see; anything else goes through a pipe. nil is /dev/null.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Timeout time.Duration // for one hook; 0 is none

	// Group gives each hook a process group of its own, so that its children
	// are ended with it. Only where there is no controlling terminal (see
	// ControllingTerminal): a background group that reads one stops for ever.
	Group     bool
	TermGrace time.Duration // between TERM and KILL; 0 is 10 s

	// Turn has room for one, and is shared by runners whose hooks never run side by
	// side. Nil: this runner's own.
	Turn chan struct{}

	Trace func(Call) // is told of every call that was made, in its turn; may be nil

	once sync.Once
	hold time.Duration // tests shorten pipeHold with it
}

const (
	termGrace = 10 * time.Second

	// pipeHold is how long, after the hook's own end, output is awaited from
	// what it left running with its stdout. Only where stdout is a pipe of ours.
	pipeHold = 2 * time.Second

	killGrace = 4 * time.Second // longer than pipeHold
	groupPoll = 5 * time.Millisecond
)

// Call is one call of the program, fit to be shown to anybody: of its arguments it has
// the number alone.
type Call struct {
	Event, Program string
	Arguments      int // without the event
	Began          time.Time
	Duration       time.Duration
	Err            error // as Run returns it
}

// ExitError is a hook that ended with another status than 0 or by a signal.
type ExitError struct {
	Event, Program string
	Status         int            // 0 when Signal is set
	Signal         syscall.Signal // 0 when it exited
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("%q %s: killed by %s", e.Program, e.Event, signalName(e.Signal))
	}
	return fmt.Sprintf("%q %s: exit status %d", e.Program, e.Event, e.Status)
}

// TimeoutError is a hook that ran longer than Runner.Timeout and was ended.
type TimeoutError struct {
	Event, Program string
	Limit          time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%q %s: ended after %s, its time limit", e.Program, e.Event, e.Limit)
}

// Run calls the hook for e and waits for its end (and its turn). Status 0 is
// nil; else *ExitError, *TimeoutError, or why it could not be started.
//
// When ctx is done or the time is up, the hook gets TERM, and KILL after
// TermGrace; with Group so does all of its group. The error then wraps the cause
// of ctx. Whatever a hook leaves running when it ends by itself is let alone.
func (r *Runner) Run(ctx context.Context, e Event) error {
	return r.run(ctx, e, r.Stdout)
}

// Output is Run, and returns what the hook printed; more than max bytes are an
// error (the rest is read and dropped, so that the hook comes to its end).
func (r *Runner) Output(ctx context.Context, e Event, max int64) ([]byte, error) {
	out := &capture{max: max}
	if err := r.run(ctx, e, out); err != nil {
		return nil, err
	}
	if out.over {
		return nil, fmt.Errorf("%q %s: printed more than %d bytes", r.name(), e.Name, max)
	}
	return out.kept.Bytes(), nil
}

// ControllingTerminal says whether this process has a controlling terminal.
func ControllingTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func (r *Runner) run(ctx context.Context, e Event, stdout io.Writer) (err error) {
	if r.name() == "" {
		return nil
	}
	done, err := r.takeTurn(ctx)
	if err != nil {
		return r.errorf(e, err)
	}
	defer done()
	if r.Trace != nil {
		call := Call{Event: e.Name, Program: r.name(), Arguments: len(e.Args), Began: time.Now()}
		defer func() {
			call.Duration, call.Err = time.Since(call.Began), err
			r.Trace(call)
		}()
	}

	if r.Timeout > 0 {
		limit := &TimeoutError{Event: e.Name, Program: r.name(), Limit: r.Timeout}
		timed, cancel := context.WithTimeoutCause(ctx, r.Timeout, limit)
		defer cancel()
		ctx = timed
	}
	cmd, err := r.start(e, stdout)
	if err != nil {
		return r.errorf(e, err)
	}
	return r.wait(ctx, cmd, e)
}

// name is what messages call the hook; "" where there is none.
func (r *Runner) name() string {
	if r.Function != "" {
		return r.Function
	}
	return r.Program
}

func (r *Runner) errorf(e Event, err error) error {
	return fmt.Errorf("%q %s: %w", r.name(), e.Name, err)
}

func (r *Runner) takeTurn(ctx context.Context) (done func(), err error) {
	r.once.Do(func() {
		if r.Turn == nil {
			r.Turn = make(chan struct{}, 1)
		}
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case r.Turn <- struct{}{}:
		return func() { <-r.Turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

//go:embed function.sh
var functionScript string

func (r *Runner) start(e Event, stdout io.Writer) (*exec.Cmd, error) {
	env := environment(r.Env, e.Env)
	args := append([]string{e.Name}, e.Args...)
	if r.Function != "" {
		bash := findShell("bash", env)
		if bash == "" {
			return nil, errors.New("HOOK names a function, and there is no bash to run it")
		}
		call := []string{"--norc", "-c", functionScript, withSlash(r.Config)}
		for _, file := range r.Sources {
			call = append(call, withSlash(file))
		}
		call = append(call, "--", r.Function)
		return r.spawn(bash, append(call, args...), env, stdout)
	}

	cmd, err := r.spawn(r.Program, args, env, stdout)
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return r.startScript(args, env, stdout)
	case errors.Is(err, unix.ENOENT):
		// The script or its interpreter; check knows which.
		if why := check(r.Program, r.Program); why != nil {
			return nil, fmt.Errorf("%s: %w", why.Reason, err)
		}
	}
	return cmd, err
}

// startScript runs a script without "#!" line as a shell does it, and like one
// refuses a binary (of another machine, say), which begins with a line with NUL.
func (r *Runner) startScript(args, env []string, stdout io.Writer) (*exec.Cmd, error) {
	line, _, _ := bytes.Cut(head(r.Program), []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, unix.ENOEXEC
	}
	shell := findShell("bash", env)
	if shell == "" {
		shell = "/bin/sh"
	}
	return r.spawn(shell, append([]string{withSlash(r.Program)}, args...), env, stdout)
}

func (r *Runner) spawn(program string, args, env []string, stdout io.Writer) (*exec.Cmd, error) {
	cmd := &exec.Cmd{
		Path:        program,
		Args:        append([]string{program}, args...),
		Env:         env,
		Stdin:       r.Stdin,
		Stdout:      stdout,
		Stderr:      r.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: r.Group},
		WaitDelay:   r.hold,
	}
	if r.hold == 0 {
		cmd.WaitDelay = pipeHold
	}
	closeOnExec()
	if err := cmd.Start(); err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err // the message names the program already
		}
		return nil, err
	}
	return cmd, nil
}

func (r *Runner) wait(ctx context.Context, cmd *exec.Cmd, e Event) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Its error tells of the status, which result reads, or of output that
		// nobody takes any more, which is not the hook's fault.
		_ = guard.Run(cmd.Wait)
	}()
	select {
	case <-ended:
		return r.result(cmd.ProcessState, e)
	case <-ctx.Done():
	}
	select {
	case <-ended: // at the same moment: then it came to its own end
		return r.result(cmd.ProcessState, e)
	default:
	}
	r.end(cmd.Process.Pid, ended)
	cause := context.Cause(ctx)
	if limit, ok := cause.(*TimeoutError); ok {
		return limit
	}
	return r.errorf(e, cause)
}

func (r *Runner) result(state *os.ProcessState, e Event) error {
	if state == nil {
		return r.errorf(e, errors.New("its exit status was lost"))
	}
	status := state.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return &ExitError{Event: e.Name, Program: r.name(), Signal: status.Signal()}
	case status.ExitStatus() != 0:
		return &ExitError{Event: e.Name, Program: r.name(), Status: status.ExitStatus()}
	}
	return nil
}

// end makes an end of the hook, and with Group of all in its group: TERM, KILL
// after the grace, and no waiting for what even KILL does not end (a process
// stuck in the kernel).
func (r *Runner) end(pid int, ended <-chan struct{}) {
	target := pid
	if r.Group {
		target = -pid
	}
	grace := r.TermGrace
	if grace == 0 {
		grace = termGrace
	}
	unix.Kill(target, unix.SIGTERM)
	unix.Kill(target, unix.SIGCONT) // a stopped process would not see it
	if r.gone(pid, ended, grace) {
		return
	}
	unix.Kill(target, unix.SIGKILL)
	r.gone(pid, ended, killGrace)
}

// gone waits for the hook, and with Group for the last process of its group,
// and says whether they went within the time given.
func (r *Runner) gone(pid int, ended <-chan struct{}, within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		return false
	}
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for r.Group && groupAlive(pid) {
		select {
		case <-tick.C:
		case <-late.C:
			return false
		}
	}
	return true
}

// environment is base with more on top: one value a name, the last one, at the
// place of the first.
func environment(base, more []string) []string {
	env := make([]string, 0, len(base)+len(more))
	at := make(map[string]int, len(base)+len(more))
	for _, list := range [][]string{base, more} {
		for _, pair := range list {
			pair = strings.ReplaceAll(pair, "\x00", "")
			name, _, found := strings.Cut(pair, "=")
			if !found {
				continue
			}
			if i, known := at[name]; known {
				env[i] = pair
				continue
			}
			at[name] = len(env)
			env = append(env, pair)
		}
	}
	return env
}

// findShell looks for a shell in the hook's PATH and at its usual places; "" if
// there is none.
func findShell(name string, env []string) string {
	path := ""
	for _, pair := range env {
		if value, found := strings.CutPrefix(pair, "PATH="); found {
			path = value
		}
	}
	shell, err := lookPath(name, path+":/bin:/usr/bin:/usr/local/bin", "")
	if err != nil {
		return ""
	}
	return shell
}

// withSlash keeps a shell from looking file up in PATH or taking it for an option.
func withSlash(file string) string {
	if strings.HasPrefix(file, "-") || !strings.Contains(file, "/") {
		return "./" + file
	}
	return file
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// capture keeps the first max bytes written to it. (The buffer is not embedded:
// its ReadFrom would pass by Write.)
type capture struct {
	kept bytes.Buffer
	max  int64
	over bool
}

func (c *capture) Write(p []byte) (int, error) {
	room := max(c.max-int64(c.kept.Len()), 0)
	if int64(len(p)) > room {
		c.over = true
		c.kept.Write(p[:room])
		return len(p), nil
	}
	return c.kept.Write(p)
}
