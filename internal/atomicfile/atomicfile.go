// Package atomicfile writes whole files or none, makes and reads them without
// being led astray by links that others plant, and locks.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say who may use a new file. The zero value leaves it to the umask and
// the directory's default ACL, and syncs.
type Options struct {
	Perm  fs.FileMode // asked for at creation; 0 is 0666, so that umask and default ACL decide
	Like  *Attributes // owner, group, mode and ACL of another file; owner and group only as far as we may
	Owner *Owner      // nil keeps; unlike Like's, a failure to set it is an error
	Mode  fs.FileMode // not 0: exactly this mode; an ACL stays beside it
	NoACL bool        // the directory's default ACL is not for this file
	// NoSync leaves out fsync: for what nobody needs after a crash of the machine.
	NoSync bool
}

// Owner is a user and a group by number; -1 keeps what is there.
type Owner struct {
	UID, GID int
}

// tempPrefix begins the names of files under way. What a killed process left of
// them is taken away by Sweep.
const tempPrefix = ".arid-"

// Write puts a file with this content under name into the directory, in place of
// what stands there: a planted link is replaced and not followed. Owner and mode
// are right before the first byte is in. After an error, or a kill at any time,
// name is what it was before; after success it outlives a power cut.
func Write(dir *os.Root, name string, data []byte, o Options) error {
	if err := checkName(name); err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	if err := create(dir, temp, data, o); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		_ = dir.Remove(temp)
		return err
	}
	if o.NoSync {
		return nil
	}
	return SyncDir(dir)
}

// WriteFile is Write for a path. Links on the way to the directory are followed,
// one in the last place is replaced.
func WriteFile(path string, data []byte, o Options) error {
	dir, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return Write(dir, filepath.Base(path), data, o)
}

// Create makes a file that must not be there yet (fs.ErrExist), for directories
// that nobody reads before they are complete. The file is synced, the directory
// is not. After an error there is no file.
func Create(dir *os.Root, name string, data []byte, o Options) error {
	if err := checkName(name); err != nil {
		return err
	}
	return create(dir, name, data, o)
}

// NewFile is WriteFile for a path at which nothing may stand yet (fs.ErrExist).
func NewFile(path string, data []byte, o Options) error {
	dir, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := tempPrefix + rand.Text()
	if err := create(dir, temp, data, o); err != nil {
		return err
	}
	defer dir.Remove(temp)
	err = dir.Link(temp, filepath.Base(path))
	if err != nil && !errors.Is(err, fs.ErrExist) { // there are no links on this file system
		err = create(dir, filepath.Base(path), data, o)
	}
	if err != nil {
		return err
	}
	return SyncDir(dir)
}

func create(dir *os.Root, name string, data []byte, o Options) (err error) {
	perm := o.Perm
	if perm == 0 {
		perm = 0o666
	}
	// O_EXCL never follows a link in the last place.
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = dir.Remove(name)
		}
	}()
	if err := o.apply(f); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if o.NoSync {
		return nil
	}
	return f.Sync()
}

// apply sets what the options say on an open file.
func (o Options) apply(f *os.File) error {
	if o.Like != nil {
		if err := o.Like.Apply(f); err != nil {
			return err
		}
	}
	if o.Owner != nil {
		if err := f.Chown(o.Owner.UID, o.Owner.GID); err != nil {
			return err
		}
	}
	if o.NoACL {
		if err := removeACL(f); err != nil {
			return err
		}
	}
	if o.Mode != 0 {
		return f.Chmod(o.Mode)
	}
	return nil
}

// Symlink makes name a link to target, in place of what stands there (a
// directory excepted), by one rename; then it syncs the directory.
func Symlink(dir *os.Root, target, name string) error {
	if err := PutSymlink(dir, target, name); err != nil {
		return err
	}
	return SyncDir(dir)
}

// PutSymlink is Symlink for one link of several: the caller syncs after the last.
func PutSymlink(dir *os.Root, target, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	if err := dir.Symlink(target, temp); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		_ = dir.Remove(temp)
		return err
	}
	return nil
}

// Writable asks whether we may make and remove files there, by our effective ids.
func Writable(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Faccessat(int(f.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// here is in directories only. os.OpenRoot opens whatever it finds, and waits for
// ever at a FIFO.
const here = "/."

// OpenDir opens a directory; links are followed.
func OpenDir(path string) (*os.Root, error) {
	if path == "" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	dir, err := os.OpenRoot(path + here)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		p.Path = path
	}
	return dir, err
}

// Subdir opens a directory inside dir. It must be one itself: a link, also one
// that leads to a directory, is refused.
func Subdir(dir *os.Root, name string) (*os.Root, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	found, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	refused := &fs.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: syscall.ENOTDIR}
	if !found.IsDir() {
		return nil, refused
	}
	// It may have been swapped for a FIFO since, or a link.
	sub, err := dir.OpenRoot(name + here)
	if err != nil {
		return nil, err
	}
	opened, err := sub.Stat(".")
	if err == nil && !os.SameFile(found, opened) {
		err = refused
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// MakeDir makes a directory, and those above it that are missing, with mode 0777
// less the umask, or as a default ACL has it; the parents of new ones are synced.
// Links on the way are followed.
func MakeDir(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent == path {
		return err
	}
	if err := MakeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		// Another process may have been faster.
		if info, statErr := os.Stat(path); statErr != nil || !info.IsDir() {
			return err
		}
	}
	f, err := os.Open(parent)
	if errors.Is(err, fs.ErrPermission) {
		return nil // it may be entered, not listed
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return syncDir(f)
}

// SyncDir makes the names in dir outlive a power cut.
func SyncDir(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return syncDir(f)
}

func syncDir(f *os.File) error {
	err := f.Sync()
	// Some network and FUSE file systems sync no directories.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// Sweep takes away the temporary files that killed processes left in dir. The
// caller must know that nobody else is writing there.
func Sweep(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), tempPrefix)
		if !ours || len(rest) != len(rand.Text()) || e.IsDir() {
			continue
		}
		if err := dir.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// checkName keeps names to one component: os.Root would also take a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no name for a file", name)
	}
	return nil
}
