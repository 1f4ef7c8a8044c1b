package certs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"arid/internal/atomicfile"
)

// Forget takes the whole folder away: into the archive, under the alias, with the
// second behind it where that is taken already; or for good where archive is "".
// Whatever shows the certificate by its stable names ends with it. At any instant
// the folder stands in the tree whole, or not at all. It is locked meanwhile.
func (c *Certificate) Forget(ctx context.Context, archive string) error {
	info, err := os.Lstat(c.Path())
	if err != nil {
		return err // Lock would make it
	}
	if !info.IsDir() { // what a link leads to is not of this tree
		return &fs.PathError{Op: "forget", Path: c.Path(), Err: syscall.ENOTDIR}
	}
	unlock, err := c.Lock(ctx, 0)
	if err != nil {
		return err
	}
	defer unlock()
	tree, err := atomicfile.OpenDir(c.store.Dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	if archive == "" {
		if err := discard(tree, c.Alias); err != nil {
			return fmt.Errorf("deleting %w", fileError(c.Path(), err))
		}
		return nil
	}
	if err := c.moveTo(tree, archive); err != nil {
		return fmt.Errorf("moving %q to the archive %q: %w", c.Path(), archive, reason(err))
	}
	return nil
}

// moveTo is Forget with an archive; tree is the directory of all certificates.
func (c *Certificate) moveTo(tree *os.Root, archive string) error {
	if err := atomicfile.MakeDir(archive); err != nil {
		return err
	}
	to, err := atomicfile.OpenDir(archive)
	if err != nil {
		return err
	}
	defer to.Close()
	as, err := freeName(to, c.Alias, time.Now())
	if err != nil {
		return err
	}
	err = renameAcross(tree, c.Alias, to, as)
	if errors.Is(err, syscall.EXDEV) {
		return moveTree(tree, c.Alias, to, as)
	}
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(to), atomicfile.SyncDir(tree))
}

// freeName is the name, or the name with a time behind it.
func freeName(dir *os.Root, name string, now time.Time) (string, error) {
	free := name
	for n := range int64(maxSuffix) {
		if _, err := dir.Lstat(free); missing(err) {
			return free, nil
		} else if err != nil {
			return "", err
		}
		free = name + "-" + strconv.FormatInt(now.Unix()+n, 10)
	}
	return "", errors.New("there are too many of that name")
}

// discard deletes a folder. It loses its name first: half of one must never be
// taken for a certificate. What a run left that was killed after that goes too.
func discard(tree *os.Root, name string) error {
	if err := tree.Rename(name, tempPrefix+rand.Text()); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(tree); err != nil {
		return err
	}
	entries, err := fs.ReadDir(tree.FS(), ".")
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if e.IsDir() && isTemp(e.Name()) && len(e.Name()) == len(tempPrefix+rand.Text()) {
			failed = append(failed, tree.RemoveAll(e.Name()))
		}
	}
	return errors.Join(append(failed, atomicfile.SyncDir(tree))...)
}

// moveTree takes a folder to another file system.
func moveTree(tree *os.Root, name string, to *os.Root, as string) error {
	// Under the lock of the folder there is one such copy of it at a time.
	temp := tempPrefix + as
	if err := to.RemoveAll(temp); err != nil {
		return err
	}
	err := copyDir(tree, name, to, temp)
	if err == nil {
		err = to.Rename(temp, as)
	}
	if err != nil {
		return errors.Join(err, to.RemoveAll(temp))
	}
	if err := atomicfile.SyncDir(to); err != nil {
		return err
	}
	return discard(tree, name)
}

// maxCopied bounds the files that are copied; theirs are some KB.
const maxCopied = 64 << 20

func copyDir(from *os.Root, name string, to *os.Root, as string) error {
	source, err := atomicfile.Subdir(from, name)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := to.Mkdir(as, 0o777); err != nil {
		return err
	}
	target, err := atomicfile.Subdir(to, as)
	if err != nil {
		return err
	}
	defer target.Close()
	entries, err := fs.ReadDir(source.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyEntry(source, e, target); err != nil {
			return fmt.Errorf("copying %q: %w", filepath.Join(source.Name(), e.Name()), err)
		}
	}
	return atomicfile.SyncDir(target)
}

func copyEntry(source *os.Root, e fs.DirEntry, target *os.Root) error {
	switch e.Type() {
	case fs.ModeDir:
		return copyDir(source, e.Name(), target, e.Name())
	case fs.ModeSymlink:
		leads, err := source.Readlink(e.Name())
		if err != nil {
			return err
		}
		return target.Symlink(leads, e.Name())
	case 0:
		data, like, err := atomicfile.ReadInAs(source, e.Name(), maxCopied)
		if err != nil {
			return err
		}
		return atomicfile.Create(target, e.Name(), data, atomicfile.Options{Like: like})
	}
	return atomicfile.ErrNotRegular
}
