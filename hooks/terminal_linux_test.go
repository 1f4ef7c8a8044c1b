package hooks

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a new pseudo terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestAHookSeesTheTerminal(t *testing.T) {
	_, slave := terminal(t)
	r, _ := runner(t, "test -t 0 && test -t 1 && test -t 2")
	r.Stdin, r.Stdout, r.Stderr = slave, slave, slave
	if err := r.Run(t.Context(), StartupHook()); err != nil {
		t.Error(err)
	}
}

func TestControllingTerminal(t *testing.T) {
	_, slave := terminal(t)
	for _, has := range []bool{true, false} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_CONTROLLING_TERMINAL=1")
		cmd.Stdin = slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: has}
		got, err := cmd.Output()
		if err != nil || string(got) != fmt.Sprint(has) {
			t.Errorf("got %s, %v; want %v", got, err, has)
		}
	}
}
