package cmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Runs of the real binary in which a test sees every system call that changes a
// file or sends something, before it is carried out, in one order for all threads,
// and may refuse it or kill arid instead (seccomp user notification,
// seccomp_unotify(2); strace counts each thread for itself).

// TestMain builds the binary once, when a test first asks for it.
func TestMain(m *testing.M) {
	status := m.Run()
	if dir := builtIn; dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

var builtIn string // the directory of the binary

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "arid-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	binary := filepath.Join(dir, "arid")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "arid")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return binary, nil
})

func binary(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// call is one system call that waits for a verdict.
type call struct {
	name string
	args [6]uint64
	pid  int    // of the thread
	file string // what the descriptor is, for calls on one; or the path, for calls on a path
	hook bool   // made by another program than arid
}

func (c *call) String() string { return c.name + " " + c.file }

// data is what a write is about to write.
func (c *call) data() []byte {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	buf := make([]byte, min(c.args[2], 1<<20))
	n, _ := mem.ReadAt(buf, int64(c.args[1]))
	return buf[:n]
}

// descriptor is the path of the first argument, where that is a descriptor.
func (c *call) descriptor() string { return fmt.Sprintf("/proc/%d/fd/%d", c.pid, int32(c.args[0])) }

// toFile tells whether a write goes to a regular file.
func (c *call) toFile() bool {
	return c.name == "write" && strings.HasPrefix(c.file, "/") && !strings.HasPrefix(c.file, "/dev/")
}

// changesFile tells whether the call changes a file or a name.
func (c *call) changesFile() bool {
	return c.name != "connect" && (c.name != "write" || c.toFile())
}

// verdict is what becomes of a call.
type verdict int

const (
	carryOut verdict = 0
	killArid verdict = -1
	// Above 0: the error number that it fails with.
)

// trapped are the calls that are seen. openat only where it may make or empty a
// file.
var trapped = map[uint32]string{
	unix.SYS_OPENAT: "openat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_LINKAT: "linkat",
	unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_TRUNCATE: "truncate", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHOWN: "fchown",
	unix.SYS_FCHOWNAT: "fchownat", unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_UTIMENSAT: "utimensat",
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev",
	unix.SYS_SENDFILE: "sendfile", unix.SYS_COPY_FILE_RANGE: "copy_file_range",
	unix.SYS_CONNECT: "connect",
}

// In the child: the trap is laid, then the program takes our place.
const trapEnv, trapUmask = "ARID_TEST_TRAP", "ARID_TEST_UMASK"

func init() {
	if os.Getenv(trapEnv) == "" {
		return
	}
	runtime.LockOSThread()
	die := func(err error) {
		fmt.Fprintln(os.Stderr, "trap:", err)
		os.Exit(127)
	}
	if text := os.Getenv(trapUmask); text != "" {
		mask, _ := strconv.ParseUint(text, 8, 9)
		unix.Umask(int(mask))
	}
	os.Unsetenv(trapEnv)
	os.Unsetenv(trapUmask)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		die(err)
	}
	filter := trapFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// WAIT_KILLABLE_RECV: else a signal repeats a call, and it would be seen twice.
	const newListener, waitKillable = 1 << 3, 1 << 5
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, newListener|waitKillable, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		die(errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		die(err)
	}
	unix.Close(3)
	die(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// trapFilter is a program for the kernel (seccomp(2)): notify for the calls in
// the table, allow the rest.
func trapFilter() []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		any    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret    = unix.BPF_RET | unix.BPF_K
		allow  = unix.SECCOMP_RET_ALLOW
		notify = unix.SECCOMP_RET_USER_NOTIF
		number = 0        // offsets in struct seccomp_data
		third  = 16 + 2*8 // of the arguments; the lower half
	)
	f := []unix.SockFilter{{Code: load, K: number}}
	for nr := range trapped {
		if nr == unix.SYS_OPENAT {
			continue
		}
		f = append(f, unix.SockFilter{Code: equal, K: nr, Jf: 1}, unix.SockFilter{Code: ret, K: notify})
	}
	return append(f,
		unix.SockFilter{Code: equal, K: unix.SYS_OPENAT, Jt: 1}, unix.SockFilter{Code: ret, K: allow},
		unix.SockFilter{Code: load, K: third},
		unix.SockFilter{Code: any, K: unix.O_CREAT | unix.O_TRUNC, Jf: 1}, unix.SockFilter{Code: ret, K: notify},
		unix.SockFilter{Code: ret, K: allow})
}

// Of <linux/seccomp.h>.
type (
	seccompNotif struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	seccompResponse struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

const (
	notifRecv     = 0xc0502100
	notifSend     = 0xc0182101
	notifContinue = 1
)

// ending is how a run ended.
type ending struct {
	status         int // exit status; -1 after a signal
	signal         syscall.Signal
	stdout, stderr string
}

func (e *ending) String() string {
	return fmt.Sprintf("status %d, signal %d\nstdout: %s\nstderr: %s", e.status, int(e.signal), e.stdout, e.stderr)
}

// child is one command line for the real binary.
type child struct {
	dir   string
	env   []string
	umask string // octal; "" as it is
	args  []string
}

const childLimit = 10 * time.Minute

func (c *child) command(t testing.TB, trap bool) (command *exec.Cmd, stdout, stderr *bytes.Buffer, cancel func()) {
	ctx, cancel := context.WithTimeout(context.Background(), childLimit)
	program := binary(t)
	command = exec.CommandContext(ctx, program, c.args...)
	command.Env = append([]string{"GODEBUG=asyncpreemptoff=1"}, c.env...)
	if trap {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command = exec.CommandContext(ctx, self, append([]string{program}, c.args...)...)
		command.Env = append([]string{"GODEBUG=asyncpreemptoff=1", trapEnv + "=1", trapUmask + "=" + c.umask}, c.env...)
	}
	command.Dir = c.dir
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	command.Stdout, command.Stderr = stdout, stderr
	return command, stdout, stderr, cancel
}

// run lets it run undisturbed.
func (c *child) run(t testing.TB) *ending {
	t.Helper()
	command, stdout, stderr, cancel := c.command(t, false)
	defer cancel()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	return endingOf(command, stdout, stderr)
}

func endingOf(command *exec.Cmd, stdout, stderr *bytes.Buffer) *ending {
	e := &ending{status: command.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	if w := command.ProcessState.Sys().(syscall.WaitStatus); w.Signaled() {
		e.signal = w.Signal()
	}
	return e
}

// trap lets it run with judge asked before each trapped call, of its hooks too.
// It returns when all its processes have ended, or have let go of its streams.
func (c *child) trap(t testing.TB, judge func(*call) verdict) *ending {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "trap")
	command, stdout, stderr, cancel := c.command(t, true)
	defer cancel()
	command.ExtraFiles = []*os.File{theirs}
	err = command.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	listener, err := receive(pair[0])
	if err != nil {
		<-ended
		needTrap(t, stderr.String())
	}
	defer unix.Close(listener)
	arid := command.Process.Pid
	for serve(listener, ended, func(n *seccompNotif) verdict {
		v := carryOut
		if asked := look(n, arid); asked != nil {
			v = judge(asked)
		}
		if v == killArid {
			_ = syscall.Kill(arid, syscall.SIGKILL)
			v = carryOut // for the hook, where the call is a hook's
			if n.pid == uint32(arid) || exists(fmt.Sprintf("/proc/%d/task/%d", arid, n.pid)) {
				v = verdict(unix.EINTR) // nobody will read this
			}
		}
		return v
	}) {
	}
	<-ended
	return endingOf(command, stdout, stderr)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// needTrap skips the test where the kernel does not let us trap.
func needTrap(t testing.TB, why string) {
	t.Helper()
	t.Skipf("system calls cannot be trapped here: %s", why)
}

// receive gets the descriptor that the child sends.
func receive(socket int) (int, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(socket, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) == 0 {
			return 0, errors.New("the child ended")
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) == 0 {
			return 0, errors.New("the child sent nothing")
		}
		return fds[0], nil
	}
}

// serve answers one call; false means that there will be none any more.
func serve(listener int, ended <-chan struct{}, judge func(*seccompNotif) verdict) bool {
	poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 1000)
	switch {
	case errors.Is(err, unix.EINTR):
		return true
	case err != nil || poll[0].Revents&unix.POLLIN == 0 && n > 0:
		return false // POLLHUP: nobody is left
	case n == 0:
		select {
		case <-ended:
			return false
		default:
			return true
		}
	}
	var notif seccompNotif
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifRecv, uintptr(unsafe.Pointer(&notif))); errno != 0 {
		return true // it was killed meanwhile
	}
	response := seccompResponse{id: notif.id}
	if v := judge(&notif); v == carryOut {
		response.flags = notifContinue
	} else {
		response.errno = -int32(v)
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifSend, uintptr(unsafe.Pointer(&response)))
	return true
}

// look finds out what a call is about. Nil is what the Go runtime writes to
// wake its own threads.
func look(n *seccompNotif, arid int) *call {
	c := &call{name: trapped[uint32(n.nr)], args: n.args, pid: int(n.pid)}
	c.hook = c.pid != arid && !exists(fmt.Sprintf("/proc/%d/task/%d", arid, c.pid))
	switch c.name {
	case "openat", "mkdirat", "unlinkat", "fchmodat", "fchownat", "utimensat":
		c.file = pathAt(c.pid, n.args[0], n.args[1])
	case "renameat", "renameat2", "linkat":
		c.file = pathAt(c.pid, n.args[0], n.args[1]) + " " + pathAt(c.pid, n.args[2], n.args[3])
	case "symlinkat":
		c.file = pathAt(c.pid, n.args[1], n.args[2])
	case "truncate":
		c.file = pathAt(c.pid, unix.AT_FDCWD&(1<<64-1), n.args[0])
	default:
		c.file, _ = os.Readlink(c.descriptor())
	}
	if c.file == "anon_inode:[eventfd]" {
		return nil
	}
	return c
}

func pathAt(pid int, fd, address uint64) string {
	name := text(pid, address)
	if strings.HasPrefix(name, "/") {
		return name
	}
	base := fmt.Sprintf("/proc/%d/fd/%d", pid, int32(fd))
	if int32(fd) == unix.AT_FDCWD {
		base = fmt.Sprintf("/proc/%d/cwd", pid)
	}
	dir, _ := os.Readlink(base)
	return filepath.Join(dir, name)
}

// text reads a C string of a process.
func text(pid int, address uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return ""
	}
	defer mem.Close()
	buf := make([]byte, 4096)
	n, _ := mem.ReadAt(buf, int64(address))
	if end := bytes.IndexByte(buf[:n], 0); end >= 0 {
		n = end
	}
	return string(buf[:n])
}
