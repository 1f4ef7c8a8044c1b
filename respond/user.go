package respond

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"arid/internal/atomicfile"
)

// User is whom to become once the sockets are open.
type User struct {
	name     string // as it was given, for people
	uid, gid int    // -1: as it is
	groups   []int
}

// FindUser looks a user and a group up, by name or number; "" leaves it as it is.
// A user comes with his groups, the first of which is the one that is given.
func FindUser(name, group string) (*User, error) {
	u := &User{name: name, uid: -1, gid: -1}
	if name != "" {
		if err := u.find(name); err != nil {
			return nil, err
		}
	}
	if group != "" {
		gid, found := atomicfile.Group(group)
		if !found {
			return nil, fmt.Errorf("there is no group %q", group)
		}
		u.gid, u.groups = gid, append([]int{gid}, u.groups...)
	}
	if u.uid >= 0 && u.gid < 0 {
		return nil, fmt.Errorf("user %q has no group by itself: --group names one", name)
	}
	return u, nil
}

func (u *User) find(name string) error {
	found, err := user.Lookup(name)
	if err != nil {
		// A number may do without an entry. It is looked at before the system is asked,
		// which takes 4294967296 for 0.
		if u.uid, err = parseID(name); err != nil {
			return fmt.Errorf("there is no user %q", name)
		}
		if found, err = user.LookupId(name); err != nil {
			return nil
		}
	}
	if u.uid, err = strconv.Atoi(found.Uid); err != nil {
		return err
	}
	if u.gid, err = strconv.Atoi(found.Gid); err != nil {
		return err
	}
	ids, err := found.GroupIds()
	if err != nil {
		return fmt.Errorf("the groups of user %q: %w", name, err)
	}
	for _, id := range ids {
		gid, err := strconv.Atoi(id)
		if err != nil {
			return err
		}
		u.groups = append(u.groups, gid)
	}
	return nil
}

func parseID(word string) (int, error) {
	id, err := strconv.ParseUint(word, 10, 31)
	return int(id), err
}

// Become gives up, for good, what this process may do beyond that user. One that is
// that user already stays as it is.
func (u *User) Become() error {
	same := (u.uid < 0 || u.uid == os.Geteuid() && u.uid == os.Getuid()) && (u.gid < 0 || u.gid == os.Getegid())
	if same && os.Geteuid() != 0 {
		return nil
	}
	if u.gid >= 0 {
		if err := syscall.Setgroups(u.groups); err != nil {
			return u.cannot(err)
		}
		if err := syscall.Setgid(u.gid); err != nil {
			return u.cannot(err)
		}
	}
	if u.uid >= 0 {
		if err := syscall.Setuid(u.uid); err != nil {
			return u.cannot(err)
		}
		if u.uid != 0 && syscall.Setuid(0) == nil {
			return u.cannot(errors.New("root can be had back"))
		}
	}
	return nil
}

func (u *User) cannot(err error) error {
	return fmt.Errorf("cannot become user %q, group %d: %w", u.name, u.gid, err)
}
