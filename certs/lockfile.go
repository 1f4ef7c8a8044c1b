package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"arid/internal/atomicfile"
)

// ForeignLockError says that another program holds LOCKFILE, or died with it.
type ForeignLockError struct {
	Path string
	Age  time.Duration // since it was made
}

func (e *ForeignLockError) Error() string {
	return fmt.Sprintf("%q: another program has held this lock for %v", e.Path, e.Age)
}

// StaleLock is a LOCKFILE that nobody held any more, and that was taken over.
type StaleLock struct {
	Path string
	PID  int // the arid that left it; 0: another program, before this machine was started
	Age  time.Duration
}

func (s *StaleLock) String() string {
	who := "from before this machine was started"
	if s.PID != 0 {
		who = fmt.Sprintf("of process %d, which did not end by itself", s.PID)
	}
	return fmt.Sprintf("%q: a lock %s, %v old, was taken over", s.Path, who, s.Age)
}

// LockFile takes the lock that dehydrated keeps its runs apart with: a file that
// must not be there yet. dehydrated does not run while there is one; ours says
// "arid PID", and has a flock that dies with the process. unlock removes it.
//
// A file with our mark and no flock was left by an arid that was killed, and one
// from before this machine was started by whatever program: it is stale, and goes.
// The caller tells the user if stale is not nil, which may be beside an error too, if
// another was faster then. Any other file, after wait, is a
// *ForeignLockError, or the *atomicfile.LockedError of another arid. What is not a
// regular file (atomicfile.ErrNotRegular), or a directory that is missing or in which
// nothing can be made, is a *fs.PathError.
func LockFile(ctx context.Context, path string, wait time.Duration) (unlock func(), stale *StaleLock, err error) {
	dir, err := atomicfile.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	l := &lockFile{dir: dir, path: path, name: filepath.Base(path)}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaited)
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		err := l.try()
		if err == nil {
			return l.unlock, l.stale, nil
		}
		if isHeld(err) {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
			if cause := context.Cause(ctx); cause != errWaited {
				err = fmt.Errorf("waiting for the lock %q: %w", path, cause)
			}
		}
		dir.Close()
		return nil, l.stale, err
	}
}

var errWaited = errors.New("waited long enough")

func isHeld(err error) bool {
	var foreign *ForeignLockError
	var busy *atomicfile.LockedError
	return errors.As(err, &foreign) || errors.As(err, &busy)
}

// lockFile is LOCKFILE: a name in a directory that others use too.
type lockFile struct {
	dir        *os.Root
	path, name string
	held       *os.File   // with the flock; nil: not locked
	stale      *StaleLock // the last that was removed
}

// maxChanges bounds how often LOCKFILE may change under our hands in one try.
const maxChanges = 100

func (l *lockFile) try() (err error) {
	for range maxChanges {
		var info fs.FileInfo
		info, err = l.dir.Lstat(l.name)
		switch {
		case missing(err):
			err = l.make()
			if err == nil {
				l.sweep()
				return nil
			}
		case err != nil:
		case !info.Mode().IsRegular():
			return &fs.PathError{Op: "lock", Path: l.path, Err: atomicfile.ErrNotRegular}
		default:
			err = l.removeStale(info)
		}
		// It came or went meanwhile: look again.
		if err != nil && !errors.Is(err, fs.ErrExist) && !missing(err) {
			return err
		}
	}
	if missing(err) {
		return err // the directory itself has gone
	}
	return &atomicfile.LockedError{Path: l.path}
}

// make puts our lock in place, complete: whoever sees it sees our mark, and the
// flock. The error is fs.ErrExist where another was faster.
func (l *lockFile) make() (err error) {
	temp := l.tempPrefix() + rand.Text()
	f, err := l.dir.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return l.named(err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := atomicfile.Flock(f); err != nil {
		_ = l.dir.Remove(temp)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fs.ErrExist // a sweep has it
		}
		return &fs.PathError{Op: "flock", Path: l.path, Err: err}
	}
	_, err = fmt.Fprintf(f, "%s%d\n", lockMark, os.Getpid())
	if err == nil {
		err = l.dir.Link(temp, l.name)
	}
	if noLink(err) {
		// Until it has the flock it is a foreign lock to other runs.
		_ = l.dir.Remove(temp)
		return l.makePlain(f)
	}
	_ = l.dir.Remove(temp)
	if err != nil {
		return l.named(err)
	}
	l.held = f
	return nil
}

// makePlain is for file systems without hard links.
func (l *lockFile) makePlain(temp *os.File) error {
	f, err := l.dir.OpenFile(l.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return l.named(err)
	}
	err = atomicfile.Flock(f)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s%d\n", lockMark, os.Getpid())
	}
	if err != nil {
		_ = l.dir.Remove(l.name)
		f.Close()
		return &fs.PathError{Op: "lock", Path: l.path, Err: err}
	}
	temp.Close()
	l.held = f
	return nil
}

// removeStale removes a lock that nobody holds.
func (l *lockFile) removeStale(info fs.FileInfo) error {
	age := max(time.Since(info.ModTime()), 0).Round(time.Second)
	foreign := &ForeignLockError{l.path, age}
	f, err := l.dir.OpenFile(l.name, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrPermission) {
		return foreign // somebody's, whoever it is
	}
	if err != nil {
		return l.named(err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, opened) {
		return fs.ErrExist
	}
	pid := readMark(f)
	if pid == 0 && !fromBeforeBoot(info) {
		return foreign
	}
	if err := l.remove(f, info, pid); err != nil {
		return err
	}
	l.stale = &StaleLock{l.path, pid, age}
	return nil
}

// remove removes the lock that f is, of a process that may live. While it has the
// flock, no other arid removes it, or what has come in its place.
func (l *lockFile) remove(f *os.File, info fs.FileInfo, pid int) error {
	if err := atomicfile.Flock(f); errors.Is(err, unix.EWOULDBLOCK) {
		return &atomicfile.LockedError{Path: l.path, PID: pid}
	} else if err != nil {
		return &fs.PathError{Op: "flock", Path: l.path, Err: err}
	}
	if there, err := l.dir.Lstat(l.name); err != nil || !os.SameFile(there, info) {
		return fs.ErrExist
	}
	if err := l.dir.Remove(l.name); err != nil {
		return l.named(err)
	}
	return nil
}

// unlock removes the lock, if it is still the one that was made: a user may have
// removed it, and dehydrated made its own.
func (l *lockFile) unlock() {
	info, err := l.held.Stat()
	if err == nil {
		if there, err := l.dir.Lstat(l.name); err == nil && os.SameFile(there, info) {
			_ = l.dir.Remove(l.name)
		}
	}
	// Not left to Close: a child that is being forked has the descriptor too,
	// until it execs.
	_ = unix.Flock(int(l.held.Fd()), unix.LOCK_UN)
	l.held.Close()
	l.dir.Close()
}

// tempPrefix begins the names of locks that are being made.
func (l *lockFile) tempPrefix() string { return "." + l.name + tempPrefix }

// sweep removes what killed runs left of locks that they were making. One that
// is being made just now has a flock, or is made once more.
func (l *lockFile) sweep() {
	entries, err := fs.ReadDir(l.dir.FS(), ".")
	if err != nil {
		return // it may be entered, not listed
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), l.tempPrefix()) || !e.Type().IsRegular() {
			continue
		}
		f, err := l.dir.OpenFile(e.Name(), os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		if atomicfile.Flock(f) == nil {
			_ = l.dir.Remove(e.Name())
		}
		f.Close()
	}
}

// named puts the lock's whole name into an error of its directory's.
func (l *lockFile) named(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: "lock", Path: l.path, Err: p.Err}
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: "lock", Path: l.path, Err: link.Err}
	}
	return err
}

const lockMark = "arid "

// readMark is the process that made the lock, 0 where it has not our mark.
func readMark(f *os.File) int {
	text, err := io.ReadAll(io.LimitReader(f, 64))
	word, found := bytes.CutPrefix(text, []byte(lockMark))
	pid, numErr := strconv.Atoi(strings.TrimSuffix(string(word), "\n"))
	if err != nil || !found || numErr != nil || pid <= 0 {
		return 0
	}
	return pid
}

// fromBeforeBoot tells whether a file is older than the run of this machine.
func fromBeforeBoot(info fs.FileInfo) bool {
	text, err := atomicfile.ReadFile("/proc/stat", 1<<20)
	if err != nil {
		return false // not Linux
	}
	for line := range strings.Lines(string(text)) {
		word, found := strings.CutPrefix(line, "btime ")
		if !found {
			continue
		}
		boot, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
		return err == nil && info.ModTime().Before(time.Unix(boot, 0))
	}
	return false
}
