package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LockedError says that another process holds a lock.
type LockedError struct {
	Path string
	PID  int // 0: not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%q: locked by another process", e.Path)
	}
	return fmt.Sprintf("%q: locked by process %d", e.Path, e.PID)
}

// Lock takes the flock on a file, which is made where it is missing, never
// removed, and says "arid PID" while locked. The lock dies with the process, and
// no child inherits it. Where another holds it, Lock tries again for as long as
// wait says, then ends with a *LockedError; or with the cause of ctx.
func Lock(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	open := func() (*os.File, error) { return os.OpenFile(path, lockFlags, 0o666) }
	return lock(ctx, path, open, func() (fs.FileInfo, error) { return os.Lstat(path) }, wait)
}

// LockIn is Lock of a name in a directory that is open already.
func LockIn(ctx context.Context, dir *os.Root, name string, wait time.Duration) (unlock func(), err error) {
	path := filepath.Join(dir.Name(), name)
	open := func() (*os.File, error) {
		at, err := dir.Open(".")
		if err != nil {
			return nil, err
		}
		defer at.Close()
		// os.Root would follow a link inside the directory, whatever the flags.
		fd, err := unix.Openat(int(at.Fd()), name, lockFlags|unix.O_CLOEXEC, 0o666)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	return lock(ctx, path, open, func() (fs.FileInfo, error) { return dir.Lstat(name) }, wait)
}

const lockFlags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// lock takes the lock on what open opens; lstat tells what has its name by then.
func lock(ctx context.Context, path string, open func() (*os.File, error), lstat func() (fs.FileInfo, error), wait time.Duration) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaited)
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		f, err := tryLock(path, open, lstat)
		var busy *LockedError
		if err == nil {
			return func() {
				empty(f)
				// Not left to Close: a child that is being forked has the descriptor too,
				// until it execs.
				_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
				f.Close()
			}, nil
		}
		if !errors.As(err, &busy) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); cause != errWaited {
				return nil, fmt.Errorf("waiting for the lock %q: %w", path, cause)
			}
			return nil, busy
		case <-time.After(pause):
			pause = min(2*pause, 250*time.Millisecond)
		}
	}
}

var errWaited = errors.New("waited long enough")

func tryLock(path string, open func() (*os.File, error), lstat func() (fs.FileInfo, error)) (*os.File, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	if err := lockOpen(f, path, lstat); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lockOpen(f *os.File, path string, lstat func() (fs.FileInfo, error)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "lock", Path: path, Err: ErrNotRegular}
	}
	busy := &LockedError{Path: path}
	switch err := Flock(f); {
	case errors.Is(err, unix.EWOULDBLOCK):
		busy.PID = holder(f)
		return busy
	case err != nil:
		return &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	// Somebody may have removed the file, or the folder around it, while we
	// waited: a lock on what has no name locks nobody out. The next try makes it anew.
	if there, err := lstat(); err != nil || !os.SameFile(there, info) {
		return busy
	}
	// For people only; a full disk must not be in the way.
	if empty(f) {
		_, _ = fmt.Fprintf(f, "arid %d\n", os.Getpid())
	}
	return nil
}

// empty clears a lock file, and lets alone one that has other names: it may be
// somebody's file, linked here to be overwritten.
func empty(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Sys().(*syscall.Stat_t).Nlink == 1 && f.Truncate(0) == nil
}

// Flock takes the flock on an open file: unix.EWOULDBLOCK where another has it.
func Flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holder reads who holds the lock, if it says so.
func holder(f *os.File) int {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	word, found := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "arid ")
	pid, err := strconv.Atoi(word)
	if !found || err != nil {
		return 0
	}
	return pid
}
