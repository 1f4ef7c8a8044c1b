package certs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"arid/internal/atomicfile"
)

// Prune removes old versions with their names in the folder, and what killed
// runs left. The last Keep stay, whatever the stable names show, and the version
// that is owed ("": none). Files of dehydrated's and of others are let alone.
func (c *Certificate) Prune(owed string) error {
	dir, err := c.folderIfAny()
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	if err := atomicfile.Sweep(dir); err != nil {
		return err
	}
	versions, err := atomicfile.Subdir(dir, versionsName)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer versions.Close()
	found, err := listVersions(versions)
	if err != nil {
		return err
	}
	keep := c.store.keep()
	var failed []error
	for i, id := range found {
		if i < len(found)-keep && id != owed && !c.inUse(dir, id) {
			failed = append(failed, removeVersion(dir, versions, id))
		}
	}
	return errors.Join(append(failed, atomicfile.SyncDir(versions), atomicfile.SyncDir(dir))...)
}

func (s *Store) keep() int {
	if s.Keep <= 0 {
		return 3
	}
	return s.Keep
}

// listVersions removes litter, and returns the IDs of the versions, oldest first.
func listVersions(versions *os.Root) ([]string, error) {
	f, err := versions.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case !e.IsDir():
		case isTemp(name):
			removeSet(versions, name)
		// One that was claimed and never filled is empty: only such a one goes.
		case isVersionID(name) && versions.Remove(name) != nil:
			ids = append(ids, name)
		}
	}
	slices.SortFunc(ids, byNumber)
	return ids, nil
}

func byNumber(a, b string) int { return cmp.Compare(number(a), number(b)) }

func number(id string) int64 {
	n, _ := strconv.ParseInt(id, 10, 64)
	return n
}

// inUse tells whether a version is shown, by `live` or by any stable name.
func (c *Certificate) inUse(dir *os.Root, id string) bool {
	if liveVersion(dir) == id {
		return true
	}
	for _, name := range fileNames() {
		target, _ := dir.Readlink(name)
		if strings.HasPrefix(target, versionsName+"/"+id+"/") {
			return true
		}
		shown, err := os.Stat(c.file(name))
		if err != nil {
			continue
		}
		own, err := os.Stat(c.file(versionsName, id, name))
		if err == nil && os.SameFile(own, shown) {
			return true
		}
	}
	return false
}

// removeVersion removes a version, and those names in the folder that are its.
func removeVersion(dir, versions *os.Root, id string) error {
	for _, name := range fileNames() {
		if !sameFile(dir, versionsName+"/"+id+"/"+name, flat(name, id)) {
			continue
		}
		if err := removeName(dir, flat(name, id)); err != nil {
			return err
		}
	}
	return removeSet(versions, id)
}

// removeSet removes a directory with the files of a set. One with other files
// in it, somebody put them there, stays.
func removeSet(versions *os.Root, name string) error {
	set, err := atomicfile.Subdir(versions, name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer set.Close()
	for _, file := range append(fileNames(), certName+revokedSuffix) { // dehydrated's mark
		if err := removeName(set, file); err != nil {
			return err
		}
	}
	entries, err := fs.ReadDir(set.FS(), ".")
	if err != nil || len(entries) > 0 {
		return err
	}
	return versions.Remove(name)
}
