package certs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"arid/internal/atomicfile"
)

// archive is where the files of one certificate go when nothing uses them any
// more. One without a directory deletes them.
type archive struct {
	dir  *os.Root
	path string
}

// openArchive opens the folder of an alias in the archive, and makes it where it
// is missing. path "" is an archive that deletes. One that cannot be written to is
// an error here, before anything has been moved.
func openArchive(path, alias string) (*archive, error) {
	if path == "" {
		return &archive{}, nil
	}
	folder := filepath.Join(path, alias)
	dir, err := openArchiveFolder(path, alias)
	if err != nil {
		return nil, fmt.Errorf("the archive %w", fileError(folder, err))
	}
	return &archive{dir, folder}, nil
}

func openArchiveFolder(path, alias string) (*os.Root, error) {
	if err := atomicfile.MakeDir(path); err != nil {
		return nil, err
	}
	all, err := atomicfile.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := all.Mkdir(alias, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// No link: who could put one here would be given keys.
	dir, err := atomicfile.Subdir(all, alias)
	if err != nil {
		return nil, err
	}
	err = atomicfile.Writable(dir)
	if err == nil {
		// The certificate's lock keeps others out of this folder too.
		err = errors.Join(atomicfile.SyncDir(all), atomicfile.Sweep(dir))
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func (a *archive) close() {
	if a.dir != nil {
		a.dir.Close()
	}
}

func (a *archive) sync() error {
	if a.dir == nil {
		return nil
	}
	return atomicfile.SyncDir(a.dir)
}

// maxSuffix bounds the search for a name that is not taken.
const maxSuffix = 10_000

// take moves a file into the archive. One of the same name that is there already
// is not replaced: the new one gets a number behind its name, or goes if it is the
// same (a run was killed while it took it, or it has been restored from there).
func (a *archive) take(from *os.Root, name, as string) error {
	if a.dir == nil {
		if err := from.Remove(name); err != nil {
			return fmt.Errorf("deleting %w", fileError(as, err))
		}
		return nil
	}
	if err := a.put(from, name, as); err != nil {
		return fmt.Errorf("moving %q to %q: %w", as, a.path, reason(err))
	}
	return nil
}

// put is take where there is an archive.
func (a *archive) put(from *os.Root, name, as string) error {
	for n := range maxSuffix {
		to := as
		if n > 0 {
			to = fmt.Sprintf("%s.%d", as, n)
		}
		_, err := a.dir.Lstat(to)
		if missing(err) {
			err = move(from, name, a.dir, to)
			if err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if isThere(from, name, a.dir, to) {
			return from.Remove(name)
		}
	}
	return errors.New("there are too many of that name")
}

// isThere tells whether two regular files are one, or equal.
func isThere(dirA *os.Root, a string, dirB *os.Root, b string) bool {
	infoA, errA := dirA.Lstat(a)
	infoB, errB := dirB.Lstat(b)
	if errA != nil || errB != nil || !infoA.Mode().IsRegular() || !infoB.Mode().IsRegular() {
		return false
	}
	if os.SameFile(infoA, infoB) {
		return true
	}
	dataA, errA := atomicfile.ReadIn(dirA, a, maxPEM)
	dataB, errB := atomicfile.ReadIn(dirB, b, maxPEM)
	return errA == nil && errB == nil && bytes.Equal(dataA, dataB)
}

// move moves a file to a name that must be free (fs.ErrExist), to another file
// system too. Killed in between, it leaves the file under both names, or a
// temporary file.
func move(from *os.Root, name string, to *os.Root, as string) error {
	// Not by a rename, which replaces what has come there meanwhile.
	err := linkAcross(from, name, to, as)
	switch {
	case err == nil:
		return from.Remove(name)
	case errors.Is(err, syscall.EXDEV):
		return moveCopy(from, name, to, as)
	case noLink(err):
		return renameAcross(from, name, to, as)
	}
	return err
}

func moveCopy(from *os.Root, name string, to *os.Root, as string) error {
	data, like, err := atomicfile.ReadInAs(from, name, maxPEM)
	if err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	if err := atomicfile.Create(to, temp, data, atomicfile.Options{Like: like}); err != nil {
		return err
	}
	err = linkAcross(to, temp, to, as)
	if noLink(err) {
		err = to.Rename(temp, as)
	} else {
		err = errors.Join(err, to.Remove(temp))
	}
	if err != nil {
		return err
	}
	if err := atomicfile.SyncDir(to); err != nil {
		return err
	}
	return from.Remove(name)
}

// noLink tells whether an error says that a hard link cannot be made here: the
// file system has none (vfat and exFAT say EPERM), or it is not for us to make.
func noLink(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EMLINK)
}

func linkAcross(from *os.Root, name string, to *os.Root, as string) error {
	return across("link", from, name, to, as, func(fromDir, toDir int) error {
		return unix.Linkat(fromDir, name, toDir, as, 0)
	})
}

// renameAcross replaces a file that has the new name.
func renameAcross(from *os.Root, name string, to *os.Root, as string) error {
	return across("rename", from, name, to, as, func(fromDir, toDir int) error {
		return unix.Renameat(fromDir, name, toDir, as)
	})
}

// across does what os.Root can only do within one directory. Neither name may
// lead further: the system calls follow no link in the last place.
func across(op string, from *os.Root, name string, to *os.Root, as string, f func(fromDir, toDir int) error) error {
	fromDir, err := from.Open(".")
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := to.Open(".")
	if err != nil {
		return err
	}
	defer toDir.Close()
	if err := f(int(fromDir.Fd()), int(toDir.Fd())); err != nil {
		return &os.LinkError{Op: op, Old: name, New: as, Err: err}
	}
	return nil
}
