package certs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"arid/internal/atomicfile"
	"arid/keys"
)

// Switch shows a version on the stable names. The change itself is one rename;
// whatever has to be made ready for it, a folder of dehydrated's to be taken over
// too, is done before and changes nothing that is shown. A version that is shown
// already is no error.
func (c *Certificate) Switch(v *Version) error {
	set, err := c.Set(v.ID)
	if err != nil {
		return err
	}
	if set.Key != nil && !keys.Fits(set.Leaf.PublicKey, set.Key) {
		return &UnreadableError{set.Paths.Key, errors.New("does not fit the certificate beside it")}
	}
	dir, err := c.folder()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := c.takeOver(dir, v.ID); err != nil {
		return fmt.Errorf("taking the folder over: %w", c.inFolder(err))
	}
	if err := c.show(dir, v, set.Paths); err != nil {
		return c.inFolder(err)
	}
	return nil
}

// show is Switch in a folder that is ready for it; paths are the version's files.
func (c *Certificate) show(dir *os.Root, v *Version, paths Paths) error {
	// Links to what the shown set lacks lead nowhere until the rename, which syncs
	// them too.
	for _, name := range fileNames() {
		if *paths.of(name) == "" || isStable(dir, name) {
			continue
		}
		if err := atomicfile.PutSymlink(dir, liveName+"/"+name, name); err != nil {
			return err
		}
	}
	if err := atomicfile.Symlink(dir, versionsName+"/"+v.ID, liveName); err != nil {
		return err
	}
	for _, name := range fileNames() {
		if *paths.of(name) == "" && isStable(dir, name) {
			if err := dir.Remove(name); err != nil {
				return err
			}
		}
	}
	return atomicfile.SyncDir(dir)
}

// takeOver brings a folder whose stable names show anything by other ways than
// through `live` into arid's form, with what they show unchanged at every
// instant: dehydrated's links to flat files, regular files and a real directory
// `live` of a restored copy, or any mixture that an interrupted run left.
func (c *Certificate) takeOver(dir *os.Root, next string) error {
	names, err := c.shownNames()
	if err != nil {
		return err
	}
	old := liveVersion(dir)
	if old == "" || !c.shows(old, names) {
		live, err := dir.Lstat(liveName)
		isDir := err == nil && live.IsDir()
		if len(names) == 0 && !isDir {
			return nil // nothing is shown
		}
		if old, err = c.keepShown(dir, next, names); err != nil {
			return err
		}
		if isDir {
			if err := setAside(dir, old, names); err != nil {
				return err
			}
		}
		if err := atomicfile.Symlink(dir, versionsName+"/"+old, liveName); err != nil {
			return err
		}
	}
	for _, name := range names {
		if isStable(dir, name) {
			continue
		}
		if err := atomicfile.Symlink(dir, liveName+"/"+name, name); err != nil {
			return err
		}
	}
	return nil
}

// shownNames are the stable names that show a file.
func (c *Certificate) shownNames() ([]string, error) {
	var names []string
	for _, name := range fileNames() {
		info, err := os.Stat(c.file(name))
		switch {
		case missing(err):
		case unreadable("", err) != err: // a link that leads in circles
		case err != nil:
			return nil, err
		case info.Mode().IsRegular():
			names = append(names, name)
		}
	}
	return names, nil
}

// shows tells whether the stable names show the files of a version and no others.
func (c *Certificate) shows(id string, names []string) bool {
	for _, name := range names {
		own, err := os.Stat(c.file(versionsName, id, name))
		if err != nil {
			return false
		}
		shown, err := os.Stat(c.file(name))
		if err != nil || !os.SameFile(own, shown) {
			return false
		}
	}
	return true
}

// keepShown makes a version of what the stable names show. Its ID lies before
// that of the next one, and is not one of dehydrated's: that way Prune can never
// take a file of dehydrated's for its own.
func (c *Certificate) keepShown(dir *os.Root, next string, names []string) (id string, err error) {
	access, err := c.access(dir)
	if err != nil {
		return "", err
	}
	versions, err := openVersions(access)
	if err != nil {
		return "", err
	}
	defer versions.Close()
	before, err := strconv.ParseInt(next, 10, 64)
	if err != nil {
		return "", err
	}
	if id, err = claim(dir, versions, before-1, -1); err != nil {
		return "", err
	}
	err = fill(versions, id, access, func(_ *os.Root, temp string) error {
		for _, name := range names {
			if err := c.keepFile(dir, name, versionsName+"/"+temp+"/"+name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		removeVersion(dir, versions, id)
		return "", err
	}
	return id, atomicfile.SyncDir(dir)
}

// keepFile gives what a stable name shows another name: a hard link, or a copy
// where it lies outside the folder or there are no hard links.
func (c *Certificate) keepFile(dir *os.Root, name, to string) error {
	if inside, found := c.resolve(dir, name); found {
		return linkOrCopy(dir, inside, to)
	}
	data, like, err := atomicfile.ReadFileAs(c.file(name), maxPEM)
	if err != nil {
		return err
	}
	return copyTo(dir, to, data, like)
}

// resolve follows the links from a stable name to the file itself, as long as
// they stay in the folder.
func (c *Certificate) resolve(dir *os.Root, name string) (inside string, found bool) {
	folder, err := filepath.EvalSymlinks(c.Path())
	if err != nil {
		return "", false
	}
	file, err := filepath.EvalSymlinks(c.file(name))
	if err != nil {
		return "", false
	}
	inside, below := strings.CutPrefix(file, folder+"/")
	if !below {
		return "", false
	}
	info, err := dir.Lstat(inside)
	return inside, err == nil && info.Mode().IsRegular()
}

// setAside moves a real directory `live` away, after the stable names have been
// taken off it.
func setAside(dir *os.Root, old string, names []string) error {
	for _, name := range names {
		if err := atomicfile.Symlink(dir, versionsName+"/"+old+"/"+name, name); err != nil {
			return err
		}
	}
	// Prune takes it away, unless there are files of others in it.
	return dir.Rename(liveName, versionsName+"/"+tempPrefix+rand.Text())
}
