package atomicfile

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attributes are who owns a file or directory, and who may use it.
type Attributes struct {
	UID, GID int
	Mode     fs.FileMode // permissions; setgid and sticky of directories too

	acl        []byte // system.posix_acl_access as the kernel writes it; nil: none
	defaultACL []byte // system.posix_acl_default of a directory
}

// Group is the number of a group of this host, by its name or number. found is false
// where there is none of that name; a number need not be known here.
func Group(word string) (gid int, found bool) {
	if g, err := user.LookupGroup(word); err == nil {
		word = g.Gid
	}
	n, err := strconv.ParseUint(word, 10, 31)
	return int(n), err == nil
}

// ReadAttributes reads those of path; a link is followed.
func ReadAttributes(path string) (*Attributes, error) {
	f, err := os.OpenFile(path, readFlags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return attributes(f)
}

func attributes(f *os.File) (*Attributes, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a := &Attributes{Mode: info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky)}
	stat := info.Sys().(*syscall.Stat_t)
	a.UID, a.GID = int(stat.Uid), int(stat.Gid)
	if a.acl, err = readACL(f, accessACL); err != nil {
		return nil, err
	}
	if info.IsDir() {
		a.defaultACL, err = readACL(f, defaultACL)
	}
	return a, err
}

// WithoutOthers is a with nothing allowed to those who are neither owner, group
// nor named in the ACL.
func (a Attributes) WithoutOthers() *Attributes {
	a.Mode &^= 0o007
	a.acl = withoutACL(a.acl, tagOther)
	return &a
}

// Apply gives an open file these attributes. Where we may not change owner or
// group that is no error, but then the strange group gets nothing either. A
// file that has no ACL to be copied keeps the one that its directory gave it.
func (a Attributes) Apply(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	// The group before the mode: nobody may read for an instant who should not.
	if a.GID != int(stat.Gid) {
		err := f.Chown(-1, a.GID)
		switch {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL): // EINVAL: unmapped in this user namespace
			a.Mode &^= 0o070
			a.acl = withoutACL(a.acl, tagGroup)
		case err != nil:
			return err
		}
	}
	if err := a.applyMode(f, info); err != nil {
		return err
	}
	if a.UID != int(stat.Uid) {
		err := f.Chown(a.UID, -1)
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}

func (a Attributes) applyMode(f *os.File, info fs.FileInfo) error {
	if info.IsDir() && a.defaultACL != nil {
		if err := writeACL(f, defaultACL, a.defaultACL); err != nil {
			return err
		}
	}
	if a.acl == nil {
		inherited, err := hasACL(f)
		if err != nil || inherited {
			return err
		}
	}
	if mode := info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky); mode != a.Mode {
		if err := f.Chmod(a.Mode); err != nil {
			return err
		}
	}
	if a.acl == nil {
		return nil
	}
	return writeACL(f, accessACL, a.acl)
}

// The kernel's form of an ACL (linux/posix_acl_xattr.h): a version of four
// bytes, then entries of tag, permissions (two bytes each) and id (four).
const (
	tagGroup = 0x04
	tagOther = 0x20
)

// withoutACL takes away what the entry with this tag allows.
func withoutACL(acl []byte, tag uint16) []byte {
	acl = slices.Clone(acl)
	for at := 4; at+8 <= len(acl); at += 8 {
		if binary.LittleEndian.Uint16(acl[at:]) == tag {
			binary.LittleEndian.PutUint16(acl[at+2:], 0)
		}
	}
	return acl
}
