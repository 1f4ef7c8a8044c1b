package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"arid/internal/atomicfile"
)

// access says who may use the files and directories of a new version.
type access struct {
	c          *Certificate
	folder     *os.Root
	attributes *atomicfile.Attributes // of the folder
	mode       fs.FileMode            // KEY_MODE; 0: not set
	group      int                    // KEY_GROUP; -1: not set
}

func (c *Certificate) access(folder *os.Root) (*access, error) {
	a := &access{c: c, folder: folder, mode: c.store.KeyMode}
	var err error
	if a.group, err = c.store.groupID(); err != nil {
		return nil, err
	}
	if a.mode == 0 && a.group >= 0 {
		a.mode = 0o640
	}
	a.attributes, err = atomicfile.ReadAttributes(c.Path())
	return a, err
}

func (s *Store) groupID() (int, error) {
	if s.KeyGroup == "" {
		return -1, nil
	}
	gid, found := atomicfile.Group(s.KeyGroup)
	if !found {
		return -1, fmt.Errorf("KEY_GROUP: there is no group %q", s.KeyGroup)
	}
	return gid, nil
}

// file is what a new file gets: what the file before it has, then the settings.
func (a *access) file(name string) atomicfile.Options {
	o := atomicfile.Options{Like: a.predecessor(name)}
	if name == keyName && o.Like != nil {
		// A key that all can read is somebody's slip; only KEY_MODE makes one.
		o.Like = o.Like.WithoutOthers()
	}
	if a.group >= 0 {
		o.Owner = &atomicfile.Owner{UID: -1, GID: a.group}
	}
	if o.Mode = a.mode; o.Mode != 0 && o.Like != nil && name != keyName {
		o.Mode |= o.Like.Mode.Perm() // the certificate may be open to more
	}
	return o
}

// predecessor is the file that a stable name shows now, unless somebody may have
// put it there to be given our key: where others can write in the folder, a link
// out of it is not followed, and only the folder's owner and ourselves are believed.
func (a *access) predecessor(name string) *atomicfile.Attributes {
	if a.attributes.Mode&0o022 == 0 {
		_, before, err := atomicfile.ReadFileAs(a.c.file(name), maxPEM)
		if err != nil {
			return nil
		}
		return before
	}
	_, before, err := atomicfile.ReadInAs(a.folder, name, maxPEM)
	if err != nil || before.UID != a.attributes.UID && before.UID != os.Geteuid() {
		return nil
	}
	return before
}

// adopt gives a directory that we made what the folder has.
func (a *access) adopt(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.attributes.Apply(f); err != nil {
		return err
	}
	return a.pass(f)
}

// openWay lets those whom KEY_MODE and KEY_GROUP mean reach the versions.
func (a *access) openWay(versions *os.Root) error {
	if a.mode == 0 {
		return nil
	}
	tree, err := atomicfile.OpenDir(a.c.store.Dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	for _, dir := range []*os.Root{tree, a.folder, versions} {
		// One that is not ours is its owner's to open.
		if err := a.passIn(dir); err != nil && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	return nil
}

func (a *access) passIn(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return a.pass(f)
}

// pass lets those enter a directory who may read the files. A group that has
// rights in it already is not replaced.
func (a *access) pass(dir *os.File) error {
	if a.mode == 0 {
		return nil
	}
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky)
	want := mode
	if a.mode&0o004 != 0 {
		want |= 0o001
	}
	if a.mode&0o040 != 0 && want&0o001 == 0 {
		strange := a.group >= 0 && int(stat.Gid) != a.group
		switch {
		case !strange:
			want |= 0o010
		case mode&0o070 == 0:
			if err := dir.Chown(-1, a.group); err != nil {
				return err
			}
			want |= 0o010
		}
	}
	if want == mode {
		return nil
	}
	return dir.Chmod(want)
}
