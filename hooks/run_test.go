package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// soon bounds what should take no time at all, on a loaded machine too. What a test
// wants to see ended would go on for ten times as long.
const soon = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("TEST_CONTROLLING_TERMINAL") != "" {
		fmt.Print(ControllingTerminal())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// file writes an executable and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// runner runs a /bin/sh script in a fresh directory whose name it gets as $OUT.
func runner(t *testing.T, script string) (r *Runner, out string) {
	t.Helper()
	out = t.TempDir()
	return &Runner{
		Program:   file(t, "#!/bin/sh\n"+script),
		Env:       []string{"PATH=" + os.Getenv("PATH"), "OUT=" + out},
		TermGrace: 50 * time.Millisecond,
	}, out
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// await reads a file that a process is about to complete with a newline.
func await(t *testing.T, name string) string {
	t.Helper()
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(name); bytes.HasSuffix(b, []byte("\n")) {
			return strings.TrimSpace(string(b))
		}
		if time.Now().After(end) {
			t.Fatalf("%s was not written", name)
		}
	}
}

func awaitPID(t *testing.T, name string) int {
	t.Helper()
	pid, err := strconv.Atoi(await(t, name))
	if err != nil || pid < 2 {
		t.Fatalf("%s: %d, %v", name, pid, err)
	}
	return pid
}

// state is the letter that proc(5) has for a process, "" if there is none.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

func running(pid int) bool { return !strings.Contains("ZX", state(pid)) }
func stopped(pid int) bool { return strings.Contains("TZX", state(pid)) }

// kept kills a process that a test left running on purpose.
func kept(t *testing.T, pid int) {
	t.Helper()
	t.Cleanup(func() { unix.Kill(pid, unix.SIGKILL) })
}

// held is a stream for a hook, and tells whether all that have it have ended, or let
// go of it: a hook that is ended early may not have come to its first line.
func held(t *testing.T) (stream *os.File, released func() bool) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, func() bool {
		w.Close()
		r.SetReadDeadline(time.Now().Add(soon))
		_, err := io.Copy(io.Discard, r)
		return err == nil
	}
}

// timed fails the test when f takes much longer than it may.
func timed(t *testing.T, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > soon {
		t.Errorf("took %s", took)
	}
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	r, out := runner(t, `printf '%s\0' "$@" >"$OUT/args"`)
	args := []string{"-n", "--", "-e .thumb", "it's \"quoted\"", "two\nlines\n", "", "*", "$(touch /tmp/x)`id`",
		" a  b ", "\\", "\x01\xff", strings.Repeat("x", maxText)}
	if err := r.Run(t.Context(), Event{Name: "deploy_challenge", Args: args}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join(append([]string{"deploy_challenge"}, args...), "\x00") + "\x00"
	if got := read(t, out+"/args"); got != want {
		t.Errorf("got %.300q", got)
	}
}

func TestEnvironmentIsExactlyBaseAndEvent(t *testing.T) {
	t.Setenv("ARID_EAB_HMAC_KEY", "ours")
	r, out := runner(t, `cat /proc/$$/environ >"$OUT/env"`)
	r.Env = append(r.Env, "A=1", "MULTI=two\nlines", "WELLKNOWN=/base", "A=2", "BASH_FUNC_f%%=() {  :\n}", "=odd", "none")
	e := StartupHook()
	e.Env = []string{"ARID_HOOK_NAMES=a b"}
	e.Env = append(e.Env, "WELLKNOWN=/event", "NUL=a\x00b")
	if err := r.Run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want := []string{r.Env[0], r.Env[1], "A=2", "MULTI=two\nlines", "WELLKNOWN=/event", "BASH_FUNC_f%%=() {  :\n}", "=odd",
		"ARID_HOOK_NAMES=a b", "NUL=ab"}
	got := strings.Split(strings.TrimSuffix(read(t, out+"/env"), "\x00"), "\x00")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestZeroNameDirectoryUmaskAreInherited(t *testing.T) {
	r, out := runner(t, `{ echo "$0"; pwd; umask; } >"$OUT/seen"`)
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Symlink(r.Program, "link"); err != nil {
		t.Fatal(err)
	}
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	r.Program = "./link"
	if err := r.Run(t.Context(), StartupHook()); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, out+"/seen"), "./link\n"+dir+"\n0027\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoHookIsNoError(t *testing.T) {
	if err := new(Runner).Run(t.Context(), StartupHook()); err != nil {
		t.Error(err)
	}
}

func TestHowAHookEnded(t *testing.T) {
	for _, c := range []struct {
		script string
		group  bool
		want   ExitError
		text   string
	}{
		{script: "exit 3", want: ExitError{Status: 3}, text: "exit status 3"},
		{script: "exit 255", want: ExitError{Status: 255}, text: "exit status 255"},
		{script: "kill -KILL $$", want: ExitError{Signal: syscall.SIGKILL}, text: "killed by SIGKILL"},
		{script: "kill -PIPE $$", want: ExitError{Signal: syscall.SIGPIPE}, text: "killed by SIGPIPE"},
		{script: "kill 0", group: true, want: ExitError{Signal: syscall.SIGTERM}, text: "killed by SIGTERM"},
		{script: "exec <&- >&- 2>&-; exit 4", want: ExitError{Status: 4}, text: "exit status 4"},
		{script: "no-such-command 2>/dev/null", want: ExitError{Status: 127}, text: "exit status 127"},
	} {
		r, _ := runner(t, c.script)
		r.Group = c.group
		r.Stdout, r.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		err := r.Run(t.Context(), Event{Name: "deploy_cert"})
		c.want.Event, c.want.Program = "deploy_cert", r.Program
		var e *ExitError
		if !errors.As(err, &e) || *e != c.want {
			t.Errorf("%s: got %#v", c.script, err)
			continue
		}
		if want := fmt.Sprintf("%q deploy_cert: %s", r.Program, c.text); err.Error() != want {
			t.Errorf("%s: %q, want %q", c.script, err, want)
		}
	}
}

func TestScriptWithoutShebangRuns(t *testing.T) {
	r, out := runner(t, "")
	text := "if [ -n \"${BASH_VERSION-}\" ]; then echo bash; fi\nprintf '%s\\n' \"$0\" \"$@\"\n"
	t.Chdir(t.TempDir())
	for _, name := range []string{file(t, text), "./-hook", "-d/hook"} {
		if err := os.MkdirAll("-d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(out + "/text")
		if err != nil {
			t.Fatal(err)
		}
		r.Program, r.Stdout = name, f
		if err := r.Run(t.Context(), Event{Name: "deploy_cert", Args: []string{"-x", "a b"}}); err != nil {
			t.Error(err)
		}
		f.Close()
		shown := name
		if strings.HasPrefix(name, "-") {
			shown = "./" + name
		}
		if got, want := read(t, out+"/text"), "bash\n"+shown+"\ndeploy_cert\n-x\na b\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	r.Program = file(t, "")
	if err := r.Run(t.Context(), StartupHook()); err != nil {
		t.Errorf("empty script: %v", err)
	}
}

func TestWhatCannotStart(t *testing.T) {
	binary := file(t, "\x7fELF\x02\x01\x01\x00\x00\ntouch here")
	plain := file(t, "#!/bin/sh\n")
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, program, text string
		is                  error
	}{
		{"a binary of another machine is not fed to a shell", binary, "exec format error", unix.ENOEXEC},
		{"removed since", plain + ".gone", "does not exist", fs.ErrNotExist},
		{"no longer executable", plain, "permission denied", fs.ErrPermission},
		{"interpreter removed since", file(t, "#!/no/such\n"), `interpreter "/no/such" does not exist`, fs.ErrNotExist},
		{"a directory", t.TempDir(), "permission denied", fs.ErrPermission},
	} {
		err := (&Runner{Program: c.program}).Run(t.Context(), StartupHook())
		want := fmt.Sprintf("%q startup_hook: ", c.program)
		if !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestTimeLimit(t *testing.T) {
	r, _ := runner(t, `exec sleep 600`)
	r.Timeout = 200 * time.Millisecond
	stdout, released := held(t)
	r.Stdout = stdout
	timed(t, func() {
		err := r.Run(t.Context(), Event{Name: "deploy_challenge"})
		var limit *TimeoutError
		if !errors.As(err, &limit) || limit.Limit != r.Timeout {
			t.Fatalf("got %v", err)
		}
		if want := fmt.Sprintf("%q deploy_challenge: ended after 200ms, its time limit", r.Program); err.Error() != want {
			t.Errorf("%q", err)
		}
	})
	if !released() {
		t.Error("hook still runs")
	}
	r, _ = runner(t, "exit 3")
	r.Timeout = time.Hour
	var exit *ExitError
	if err := r.Run(t.Context(), StartupHook()); !errors.As(err, &exit) {
		t.Errorf("in time: %v", err)
	}
}

func TestNothingIsLeftOfAHookThatWasEnded(t *testing.T) {
	const child = `sh -c 'trap "" TERM; echo $$ >"$OUT/child"; while :; do sleep 1; done' & ` +
		`while ! test -s "$OUT/child"; do :; done; `
	const ready = `echo $$ >"$OUT/ready"; `
	for _, c := range []struct {
		what, script string
		group        bool
	}{
		{"hangs", child + ready + "wait", true},
		{"ignores TERM", `trap "" TERM; ` + child + ready + "while :; do sleep 1; done", true},
		{"ends on TERM, its child does not", child + "trap 'exit 0' TERM; " + ready + "wait", true},
		{"stops itself", child + ready + "kill -STOP $$", true},
		{"hangs, without group", ready + "exec sleep 600", false},
		{"ignores TERM, without group", `trap "" TERM; ` + ready + "exec sleep 600", false},
	} {
		r, out := runner(t, c.script)
		r.Group = c.group
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			await(t, out+"/ready")
			cancel()
		}()
		timed(t, func() {
			if err := r.Run(ctx, StartupHook()); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", c.what, err)
			}
		})
		if pid := awaitPID(t, out+"/ready"); running(pid) {
			t.Errorf("%s: hook still runs", c.what)
			kept(t, pid)
		}
		if !c.group {
			continue
		}
		if pid := awaitPID(t, out+"/child"); running(pid) {
			t.Errorf("%s: child still runs", c.what)
			kept(t, pid)
		}
	}
}

func TestCancelledRunEndsTheHookWithItsCause(t *testing.T) {
	r, out := runner(t, `trap 'echo term >"$OUT/trap"; exit 0' TERM; echo $$ >"$OUT/pid"; while :; do sleep 0.01; done`)
	r.TermGrace = soon
	why := errors.New("SIGTERM")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		await(t, out+"/pid")
		cancel(why)
	}()
	timed(t, func() {
		if err := r.Run(ctx, StartupHook()); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	})
	if got := await(t, out+"/trap"); got != "term" {
		t.Errorf("got %q", got)
	}
	// And one that was cancelled before is not run at all.
	if err := os.Remove(out + "/pid"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := r.Run(ctx, StartupHook()); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(out + "/pid"); err == nil {
		t.Error("the hook was run after the cancel")
	}
}

func TestAStoppedHookCanStillCleanUp(t *testing.T) {
	r, out := runner(t, `trap 'echo term >"$OUT/trap"; exit 0' TERM; echo $$ >"$OUT/pid"; kill -STOP $$; while :; do sleep 0.01; done`)
	r.TermGrace = soon
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		pid := awaitPID(t, out+"/pid")
		for !stopped(pid) {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	timed(t, func() {
		if err := r.Run(ctx, StartupHook()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	await(t, out+"/trap")
}

func TestWaitingForATurnCanBeCancelled(t *testing.T) {
	r, out := runner(t, `echo $$ >>"$OUT/pid"; read line`)
	in, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r.Stdin = in
	first := make(chan error)
	go func() { first <- r.Run(t.Context(), StartupHook()) }()
	await(t, out+"/pid")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, ExitHook()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	fmt.Fprintln(stop, "go on")
	stop.Close()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := strings.Count(read(t, out+"/pid"), "\n"); got != 1 {
		t.Errorf("%d hooks ran", got)
	}
}

func TestADaemonThatKeepsStdoutDoesNotHoldUs(t *testing.T) {
	for _, c := range []struct {
		what   string
		stdout func(dir string) io.Writer
	}{
		{"file", func(dir string) io.Writer {
			f, err := os.Create(dir + "/stdout")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}},
		{"pipe", func(string) io.Writer { return new(bytes.Buffer) }},
	} {
		for _, script := range []string{"sleep 600 & echo $! >$OUT/pid; echo done", "sleep 600 & echo $! >$OUT/pid; exit 5"} {
			r, out := runner(t, script)
			r.Group = true
			r.hold = 20 * time.Millisecond
			r.Stdout = c.stdout(out)
			r.Stderr = r.Stdout
			var err error
			timed(t, func() { err = r.Run(t.Context(), Event{Name: "deploy_cert"}) })
			var exit *ExitError
			if failed := errors.As(err, &exit); failed != strings.Contains(script, "exit 5") {
				t.Errorf("%s: %v", c.what, err)
			}
			pid := awaitPID(t, out+"/pid")
			kept(t, pid)
			if !running(pid) {
				t.Errorf("%s: the daemon was ended with the hook", c.what)
			}
		}
	}
}

func TestHundredOrphans(t *testing.T) {
	r, out := runner(t, `i=0; while [ $i -lt 100 ]; do sleep 600 & echo $! >>$OUT/pids; i=$((i+1)); done`)
	r.Group = true
	timed(t, func() {
		if err := r.Run(t.Context(), StartupHook()); err != nil {
			t.Error(err)
		}
	})
	for line := range strings.Lines(read(t, out+"/pids")) {
		pid, _ := strconv.Atoi(strings.TrimSpace(line))
		kept(t, pid)
	}
}

func TestDeletedWorkingDirectory(t *testing.T) {
	r, out := runner(t, `echo ran >"$OUT/ran"`)
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), StartupHook()); err != nil {
		t.Error(err)
	}
	await(t, out+"/ran")
}

func TestStdin(t *testing.T) {
	r, out := runner(t, `cat >"$OUT/in"`)
	if err := r.Run(t.Context(), StartupHook()); err != nil || read(t, out+"/in") != "" {
		t.Errorf("nothing given: %v, %q", err, read(t, out+"/in"))
	}
	r.Stdin = strings.NewReader("yes\n")
	if err := r.Run(t.Context(), StartupHook()); err != nil || read(t, out+"/in") != "yes\n" {
		t.Errorf("%v, %q", err, read(t, out+"/in"))
	}
	// A shared file: each hook takes what it reads and leaves the rest.
	f := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(f, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r2, out := runner(t, `read -r line; echo "$line" >>"$OUT/in"`)
	r2.Stdin = in
	for range 2 {
		if err := r2.Run(t.Context(), StartupHook()); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, out+"/in"); got != "one\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

const noisy = `head -c 104857600 /dev/zero`

func TestHundredMegabytesOfOutput(t *testing.T) {
	r, out := runner(t, noisy)
	f, err := os.Create(out + "/zeros")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r.Stdout = f
	if err := r.Run(t.Context(), StartupHook()); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 100<<20 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOutput(t *testing.T) {
	const max = 1 << 20
	for _, c := range []struct {
		what, script, want, err string
	}{
		{"text", `printf 'a\0b\n'; echo talk >&2`, "a\x00b\n", ""},
		{"nothing", `:`, "", ""},
		{"closed stdout", `exec >&-`, "", ""},
		{"just fits", `head -c 1048576 /dev/zero`, strings.Repeat("\x00", max), ""},
		{"one byte more", `head -c 1048577 /dev/zero`, "", "printed more than 1048576 bytes"},
		{"very much more, to its end", noisy + ` && echo >"$OUT/end"`, "", "printed more than"},
		{"fails", `echo half; exit 1`, "", "exit status 1"},
	} {
		r, out := runner(t, c.script)
		r.Stdout = nil
		got, err := r.Output(t.Context(), Event{Name: "generate_csr"}, max)
		switch {
		case c.err == "" && (err != nil || string(got) != c.want):
			t.Errorf("%s: %d bytes, %v", c.what, len(got), err)
		case c.err != "" && (err == nil || got != nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %d bytes, %v", c.what, len(got), err)
		}
		if strings.Contains(c.script, "end") {
			await(t, out+"/end")
		}
	}
}

func TestOneHookAtATime(t *testing.T) {
	r, out := runner(t, `mkdir "$OUT/busy" || exit 9; sleep 0.01; rmdir "$OUT/busy"; echo $1 >>"$OUT/ran"`)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			if err := r.Run(t.Context(), Event{Name: fmt.Sprint("n", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := strings.Count(read(t, out+"/ran"), "\n"); n != 16 {
		t.Errorf("%d ran", n)
	}
}

func TestNoDescriptorOfOursReachesTheHook(t *testing.T) {
	// As an inherited descriptor is: without close-on-exec.
	var pair [2]int
	if err := unix.Pipe(pair[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	for _, group := range []bool{false, true} {
		r, _ := runner(t, "exec ls -l /proc/self/fd")
		r.Group = group
		got, err := r.Output(t.Context(), StartupHook(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(got)) {
			_, link, found := strings.Cut(strings.TrimSpace(line), " -> ")
			fields := strings.Fields(line)
			if !found || strings.HasSuffix(link, "/fd") { // ls itself reads that
				continue
			}
			if fd := fields[len(fields)-3]; fd != "0" && fd != "1" && fd != "2" {
				t.Errorf("descriptor %s -> %s", fd, link)
			}
		}
	}
}

func TestACallIsTracedAtItsEnd(t *testing.T) {
	r, _ := runner(t, `[ "$1" != deploy_cert ] || exit 3`)
	var calls []Call
	r.Trace = func(c Call) { calls = append(calls, c) }
	_ = r.Run(t.Context(), DeployChallenge(Challenge{"a.test", "token", "value"}))
	err := r.Run(t.Context(), DeployCert("a.test", "k", "c", "f", "h", "1"))
	if len(calls) != 2 || calls[0].Event != "deploy_challenge" || calls[0].Arguments != 3 || calls[0].Err != nil || calls[0].Duration <= 0 ||
		calls[1].Program != r.Program || calls[1].Arguments != 6 || err == nil || calls[1].Err != err {
		t.Errorf("%+v, %v", calls, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Run(over, StartupHook()) // it is never called
	if len(calls) != 2 {
		t.Errorf("%+v", calls)
	}
}
