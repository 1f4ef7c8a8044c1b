//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"arid/internal/guard"
)

// A client is not started by the bench itself but by a small process between
// them, this program again: what the kernel calls a process's peak memory begins
// with that of its parent. (`bench launch` has some 6 MB.)

// usage is what the launcher tells: of the client and all that it waited for.
type usage struct {
	Wall, CPU time.Duration
	Memory    int64 // KiB, of the largest process
	Status    int   // exit status, -1 for a signal
}

const launchWord = "launch"

// systemRoots is where Debian's programs look for roots.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// launched is the launcher: `bench launch ROOTS PROGRAM ARGUMENT...` with the result on
// descriptor 3. Where ROOTS is not empty, that file stands in the place of the
// system's roots, for this process and its children alone.
func launched(args []string) int {
	if len(args) < 2 {
		return 64
	}
	if err := launchInside(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		return 70
	}
	return 0
}

func launchInside(roots string, args []string) error {
	if roots != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("mount namespace: %w", err)
		}
		if err := syscall.Mount(roots, systemRoots, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", systemRoots, err)
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if cmd.ProcessState == nil {
		return err
	}
	rusage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return json.NewEncoder(os.NewFile(3, "result")).Encode(usage{
		Wall:   wall,
		CPU:    time.Duration(rusage.Utime.Nano() + rusage.Stime.Nano()),
		Memory: rusage.Maxrss,
		Status: cmd.ProcessState.ExitCode(),
	})
}

// command is one call of a client.
type command struct {
	args   []string
	env    []string
	own    bool // needs the roots in the place of the system's
	status int  // the exit status that is expected
}

// maxRun bounds one call.
const maxRun = 5 * time.Minute

// launch runs a command through the launcher and waits for it. Its output goes to the
// file log; where trace is not empty, strace writes there.
func (b *bench) launch(ctx context.Context, c command, log, trace string) (*usage, error) {
	ctx, cancel := context.WithTimeout(ctx, maxRun)
	defer cancel()
	output, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	result, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer result.Close()
	roots := ""
	if c.own {
		roots = b.roots
	}
	args := []string{launchWord, roots}
	if trace != "" {
		args = append(args, "strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none",
			"-e", "trace=execve,clone,clone3,fork,vfork", "-o", trace)
	}
	cmd := exec.CommandContext(ctx, b.self, append(args, c.args...)...)
	cmd.Env = append(b.environment(), c.env...)
	cmd.Dir = b.dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.own {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return nil, err
	}
	told, readErr := io.ReadAll(io.LimitReader(result, 1<<16))
	if err := errors.Join(cmd.Wait(), readErr); err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	var u usage
	if err := json.Unmarshal(told, &u); err != nil {
		return nil, fmt.Errorf("launcher: %w", err)
	}
	if u.Status != c.status {
		return &u, fmt.Errorf("exit status %d", u.Status)
	}
	return &u, nil
}

// guarded starts a goroutine; an error or a panic of it is said.
func guarded(do func() error) {
	go func() {
		if err := guard.Run(do); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
}

// forked and executed recognise calls that went well.
var (
	forked   = regexp.MustCompile(`^(clone|clone3|fork|vfork)\(.* = [1-9][0-9]*$`)
	executed = regexp.MustCompile(`^execve\(.* = 0$`)
)

// readTrace counts processes (the client's own included, threads not) and programs
// that were executed.
func readTrace(r io.Reader) (processes, programs int, err error) {
	processes = 1
	begun := map[string]string{} // calls by process id, before their end
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		pid, call, _ := strings.Cut(lines.Text(), " ")
		call = strings.TrimSpace(call)
		if first, ok := strings.CutSuffix(call, "<unfinished ...>"); ok {
			begun[pid] = first
			continue
		}
		if _, rest, ok := strings.Cut(call, " resumed>"); ok && strings.HasPrefix(call, "<... ") {
			call = begun[pid] + rest
		}
		switch {
		case forked.MatchString(call) && !strings.Contains(call, "CLONE_THREAD"):
			processes++
		case executed.MatchString(call):
			programs++
		}
	}
	return processes, programs, lines.Err()
}

// lastLine is the last of a client's words: of the lines that hold more than one.
func lastLine(log string) (last string) {
	data, _ := os.ReadFile(log)
	for line := range strings.Lines(string(data)) {
		if len(strings.Fields(line)) > 1 || last == "" {
			last = strings.TrimSpace(line)
		}
	}
	return last
}
