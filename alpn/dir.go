package alpn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"arid/internal/atomicfile"

	"golang.org/x/sys/unix"
)

// Dir is the directory of validation certificates, lighttpd's ssl.acme-tls-1. It
// is opened once and worked in, so that it may be swapped for a link meanwhile.
// Safe for concurrent use.
type Dir struct {
	root  *os.Root
	path  string
	group string // ALPN_GROUP as it was given
	gid   int    // its number; -1: not set

	mu  sync.Mutex
	put map[string]written // by server name
}

// DirError says why ALPNCERTDIR cannot be used. Err keeps fs.ErrNotExist or
// fs.ErrPermission where that is the cause.
type DirError struct {
	Path   string
	Reason string
	Err    error
	hint   string
}

func (e *DirError) Error() string { return fmt.Sprintf("ALPNCERTDIR %q %s", e.Path, e.Reason) }

func (e *DirError) Unwrap() error { return e.Err }

// Hint is what the user might do about it, or "".
func (e *DirError) Hint() string { return e.hint }

func dirError(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	e := &DirError{Path: path, Reason: "cannot be opened: " + err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason = "does not exist"
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSymlink {
			e.Reason = "is a link that leads nowhere"
		}
		e.hint = "create it, or name another with --alpn"
	case errors.Is(err, unix.ENOTDIR):
		e.Reason = "is not a directory"
		e.hint = "name another with --alpn"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		e.Reason = "cannot be written to: " + err.Error()
	}
	return e
}

// CheckDir tells whether OpenDir could open the directory, or make it where it is
// missing. Nothing is written. The error is a *DirError.
func CheckDir(path, group string) error {
	if _, err := groupID(path, group); err != nil {
		return err
	}
	err := checkDir(path)
	if err == nil {
		return nil
	}
	if _, lstatErr := os.Lstat(path); path == "" || !errors.Is(err, fs.ErrNotExist) || lstatErr == nil {
		return dirError(path, err)
	}
	for above := filepath.Clean(path); errors.Is(err, fs.ErrNotExist) && above != filepath.Dir(above); {
		above = filepath.Dir(above)
		err = checkDir(above)
	}
	if err != nil {
		return notMade(path, err)
	}
	return nil
}

func checkDir(path string) error {
	root, err := atomicfile.OpenDir(path)
	if err != nil {
		return err
	}
	defer root.Close()
	return atomicfile.Writable(root)
}

// notMade is the error for a directory that is missing and cannot be made.
func notMade(path string, err error) error {
	e := dirError(path, err).(*DirError)
	e.Reason = "does not exist and cannot be made: " + e.Err.Error()
	e.hint = "create it, or name another with --alpn"
	return e
}

// OpenDir opens the directory to put pairs into. It must be one that we may write
// to; links on the way to it are the admin's and are followed. A missing one is
// made with mode 0750 for the group (a name or number; "" is the one that new
// files have by themselves, the directory's where that is setgid), and the
// directories above it as the umask has it: made tells, as a server that
// reads there may have to be let in. The error is a *DirError.
func OpenDir(path, group string) (d *Dir, made bool, err error) {
	gid, err := groupID(path, group)
	if err != nil {
		return nil, false, err
	}
	d, err = Open(path)
	if errors.Is(err, fs.ErrNotExist) && path != "" {
		d, made, err = makeDir(filepath.Clean(path), group, gid)
	}
	if err != nil {
		return nil, false, err
	}
	if err := atomicfile.Writable(d.root); err != nil {
		d.Close()
		return nil, false, dirError(path, err)
	}
	d.group, d.gid = group, gid
	return d, made, nil
}

// Open opens a directory that others fill, to read pairs back. The error is a
// *DirError.
func Open(path string) (*Dir, error) {
	root, err := atomicfile.OpenDir(path)
	if err != nil {
		return nil, dirError(path, err)
	}
	return newDir(root, path), nil
}

func newDir(root *os.Root, path string) *Dir {
	return &Dir{root: root, path: path, gid: -1, put: map[string]written{}}
}

// Close closes the directory; files that were not removed stay.
func (d *Dir) Close() error { return d.root.Close() }

// makeDir makes the directory in the one above it, which is open: its owner may
// swap names meanwhile, and must not have us open a directory of others.
func makeDir(path, group string, gid int) (d *Dir, made bool, err error) {
	if err := atomicfile.MakeDir(filepath.Dir(path)); err != nil {
		return nil, false, notMade(path, err)
	}
	above, err := atomicfile.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, false, notMade(path, err)
	}
	defer above.Close()
	name := filepath.Base(path)
	err = above.Mkdir(name, 0o750)
	if errors.Is(err, fs.ErrExist) { // another run was faster; or a link to nowhere
		d, err = Open(path)
		return d, false, err
	}
	if err != nil {
		return nil, false, notMade(path, err)
	}
	root, err := atomicfile.Subdir(above, name)
	if err != nil {
		return nil, false, notMade(path, err)
	}
	if err := admit(root, gid); err != nil {
		root.Close()
		_ = above.Remove(name)
		if isChown(err) {
			return nil, false, notGiven(path, group, err)
		}
		return nil, false, notMade(path, err)
	}
	return newDir(root, path), true, nil
}

// admit gives a new directory its group and mode, whatever the umask was.
func admit(root *os.Root, gid int) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	// One that holds something was not made by us just now.
	if _, err := f.Readdirnames(1); !errors.Is(err, io.EOF) {
		return errors.New("replaced while being made")
	}
	if gid >= 0 {
		if err := f.Chown(-1, gid); err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Chmod(0o750 | info.Mode()&fs.ModeSetgid)
}

// groupID is the number of a group, -1 for none. The error is a *DirError.
func groupID(path, group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	gid, found := atomicfile.Group(group)
	if !found {
		return -1, &DirError{
			Path:   path,
			Reason: fmt.Sprintf("cannot have files of group %q: there is no such group", group),
			hint:   "name another with --alpn-group",
		}
	}
	return gid, nil
}

// isChown tells the trouble of giving a file to a group from other trouble.
func isChown(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "chown"
}

// notGiven is the error for a group that we may not give to files.
func notGiven(path, group string, err error) error {
	e := dirError(path, err).(*DirError)
	e.Reason = fmt.Sprintf("cannot have files of group %q: %v", group, e.Err)
	e.hint = fmt.Sprintf("the user that arid runs as must be in group %q; or leave --alpn-group out, and make the directory that group's and setgid", group)
	return e
}

// Modes tells who may read the certificate for a name, and reach it, for people:
// "0640 root:www-data in a directory 2750 root:www-data".
func (d *Dir) Modes(name string) string {
	file := "no file"
	if f, err := filesOf(ServerName(name), ""); err == nil {
		if info, err := d.root.Lstat(f.cert); err == nil {
			file = access(info)
		}
	}
	info, err := d.root.Stat(".")
	if err != nil {
		return file
	}
	return file + " in a directory " + access(info)
}

// access is mode, owner and group, as names where they have some.
func access(info fs.FileInfo) string {
	if info.Mode().Type()&^fs.ModeDir != 0 {
		return "a link or special file"
	}
	stat := info.Sys().(*syscall.Stat_t)
	owner, group := strconv.Itoa(int(stat.Uid)), strconv.Itoa(int(stat.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf("%04o %s:%s", stat.Mode&0o7777, owner, group)
}
