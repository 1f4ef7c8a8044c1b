package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arid/internal/atomicfile"
)

// CleanupOptions say where files go that nothing uses any more.
type CleanupOptions struct {
	Archive string                 // the directory with a folder for each alias; "": they are deleted
	Tell    func(dir, file string) // each file that was moved or deleted; may be nil
}

const (
	ocspName      = "ocsp.der"
	revokedSuffix = "-revoked" // of what dehydrated has revoked
)

// cleanupNames are the stable names in the order in which dehydrated cleans up.
func cleanupNames() []string {
	return []string{csrName, certName, chainName, fullchainName, keyName, ocspName}
}

// Cleanup is dehydrated's --cleanup for every folder of the tree: what the stable
// names show stays, and of the files that either program names after a time
// (cert-1795000000.pem, and with -revoked behind it) all others go. A version goes
// as a whole: Keep is for Prune, and here only those stay that are shown or owed.
//
// It differs from dehydrated's where that one would lose something. A stable name
// that leads nowhere, as after a revocation, or where half a backup was restored,
// is left as it is, and because nobody can tell what it should show, nothing of its
// kind is unused (but what was revoked), and no version. Only regular files go, and
// only those with a time: who put a privkey-haproxy.pem there may be using it.
//
// Each folder with something to be done is locked. One that cannot be cleaned up,
// or is locked by another run (*atomicfile.LockedError), does not stop the others:
// the error is a list of all that failed. dehydrated knows none of these locks, and
// a new key of its that no name shows yet would be taken for an old one: the caller
// must have its lock, see LockFile.
func (s *Store) Cleanup(ctx context.Context, o CleanupOptions) error {
	names, err := s.folders()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if ctx.Err() != nil {
			return errors.Join(append(failed, context.Cause(ctx))...)
		}
		c, err := s.Certificate(name)
		if err != nil {
			continue // no certificate can have such a folder
		}
		if err := c.cleanUp(ctx, o); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// folders are the names of what may be certificates: every directory, or link to
// one, whose name does not begin with a dot.
func (s *Store) folders() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(s.Dir, e.Name())); err == nil && info.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// cleanUp does one folder. Where there is nothing to do, nothing is written, not
// even a lock.
func (c *Certificate) cleanUp(ctx context.Context, o CleanupOptions) error {
	dir, err := c.folder()
	if err != nil {
		return err
	}
	defer dir.Close()
	if u, err := c.findUnused(dir); err != nil || len(u.files)+len(u.versions) == 0 {
		return err
	}
	unlock, err := c.Lock(ctx, 0)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := c.findUnused(dir) // somebody may have been faster
	if err != nil {
		return err
	}
	if o.Tell == nil {
		o.Tell = func(string, string) {}
	}
	return c.putAway(dir, u, o)
}

// unused is what nothing leads to any more.
type unused struct {
	files    []fs.FileInfo // in the folder
	versions []string
}

func (c *Certificate) findUnused(dir *os.Root) (*unused, error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	ids, err := versionIDs(dir)
	if err != nil {
		return nil, err
	}
	used, err := c.findUsed(dir, ids)
	if err != nil {
		return nil, err
	}
	u := &unused{}
	for _, name := range cleanupNames() {
		for _, suffix := range []string{"", revokedSuffix} {
			for _, e := range entries {
				id, found := flatID(e.Name(), name, suffix)
				if !found || !isVersionID(id) || !e.Type().IsRegular() {
					continue
				}
				info, err := e.Info()
				if missing(err) {
					continue
				}
				if err != nil {
					return nil, err
				}
				if !used.has(info, name, id, suffix) {
					u.files = append(u.files, info)
				}
			}
		}
	}
	if len(used.lost) > 0 {
		return u, nil
	}
	for _, id := range ids {
		if !used.versions[id] && !isStrange(dir, id) {
			u.versions = append(u.versions, id)
		}
	}
	return u, nil
}

// isStrange tells whether there are only files of somebody else's in a version's
// directory: those keep it, whatever is done.
func isStrange(dir *os.Root, id string) bool {
	entries, err := fs.ReadDir(dir.FS(), versionsName+"/"+id)
	return err == nil && len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return slices.Contains(fileNames(), strings.TrimSuffix(e.Name(), revokedSuffix))
	})
}

// flatID tells what stands for the time in a name like cert-1795000000.pem.
func flatID(file, name, suffix string) (id string, found bool) {
	ext := filepath.Ext(name)
	rest, found := strings.CutPrefix(file, strings.TrimSuffix(name, ext)+"-")
	if !found {
		return "", false
	}
	return strings.CutSuffix(rest, ext+suffix)
}

// versionIDs are the names of the versions, in no order.
func versionIDs(dir *os.Root) ([]string, error) {
	versions, err := atomicfile.Subdir(dir, versionsName)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer versions.Close()
	entries, err := fs.ReadDir(versions.FS(), ".")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && isVersionID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// used is what must stay.
type used struct {
	shown    []fs.FileInfo   // what the stable names show
	kept     []fs.FileInfo   // the files of the versions that stay
	versions map[string]bool // those that stay, on disk or not
	lost     map[string]bool // stable names that are there and show nothing
}

func (u *used) has(info fs.FileInfo, name, id, suffix string) bool {
	return isAmong(u.shown, info) || suffix == "" && (u.lost[name] || u.versions[id] || isAmong(u.kept, info))
}

// isAmong tells whether a file is one of several, by whatever names.
func isAmong(files []fs.FileInfo, info fs.FileInfo) bool {
	return slices.ContainsFunc(files, func(f fs.FileInfo) bool { return os.SameFile(f, info) })
}

func (c *Certificate) findUsed(dir *os.Root, ids []string) (*used, error) {
	u := &used{versions: map[string]bool{}, lost: map[string]bool{}}
	for _, name := range cleanupNames() {
		// Links are followed wherever they lead: by other files, or out of the folder.
		info, err := os.Stat(c.file(name))
		if err == nil {
			u.shown = append(u.shown, info)
		} else if _, err := dir.Lstat(name); !missing(err) {
			u.lost[name] = true
		}
	}
	owed, err := c.mayBeOwed(ids)
	if err != nil {
		return nil, err
	}
	u.versions[owed], u.versions[liveVersion(dir)] = true, true
	delete(u.versions, "")
	for _, id := range ids {
		files := versionFiles(dir, id)
		if slices.ContainsFunc(files, func(f fs.FileInfo) bool { return isAmong(u.shown, f) }) {
			u.versions[id] = true
		}
		if u.versions[id] {
			u.kept = append(u.kept, files...)
		}
	}
	return u, nil
}

func versionFiles(dir *os.Root, id string) (files []fs.FileInfo) {
	for _, name := range fileNames() {
		if info, err := dir.Lstat(versionsName + "/" + id + "/" + name); err == nil {
			files = append(files, info)
		}
	}
	return files
}

// mayBeOwed is the version whose deployment has to be finished. Where that cannot
// be understood, because the state is damaged or a newer arid's, it may be the last.
func (c *Certificate) mayBeOwed(ids []string) (string, error) {
	state, err := c.State()
	switch {
	case state == nil:
		return "", err
	case state.Owed != nil:
		return state.Owed.Version, nil
	case err == nil && !state.ReadOnly, len(ids) == 0:
		return "", nil
	}
	return slices.MaxFunc(ids, byNumber), nil
}

// putAway takes the unused things out of the folder. The versions come first:
// their files have other names in the folder, by which they are archived, and a
// run that is killed in between has lost none.
func (c *Certificate) putAway(dir *os.Root, u *unused, o CleanupOptions) (err error) {
	if len(u.files)+len(u.versions) == 0 {
		return nil
	}
	to, err := openArchive(o.Archive, c.Alias)
	if err != nil {
		return err
	}
	defer to.close()
	defer func() {
		err = errors.Join(err, to.sync(), atomicfile.SyncDir(dir))
	}()
	if len(u.versions) > 0 {
		if err := c.putVersionsAway(dir, u, to, o); err != nil {
			return err
		}
	}
	for _, file := range u.files {
		if err := to.take(dir, file.Name(), file.Name()); err != nil {
			return err
		}
		o.Tell(c.Alias, file.Name())
	}
	return nil
}

func (c *Certificate) putVersionsAway(dir *os.Root, u *unused, to *archive, o CleanupOptions) error {
	versions, err := atomicfile.Subdir(dir, versionsName)
	if err != nil {
		return err
	}
	defer versions.Close()
	for _, id := range u.versions {
		if err := c.putVersionAway(dir, versions, id, u.files, to, o); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(versions)
}

func (c *Certificate) putVersionAway(dir, versions *os.Root, id string, flats []fs.FileInfo, to *archive, o CleanupOptions) error {
	set, err := atomicfile.Subdir(versions, id)
	if err != nil {
		return err
	}
	defer set.Close()
	for _, name := range fileNames() {
		for _, suffix := range []string{"", revokedSuffix} {
			info, err := set.Lstat(name + suffix)
			if missing(err) {
				continue
			}
			if err != nil {
				return err
			}
			own := versionsName + "/" + id + "/" + name + suffix
			if isAmong(flats, info) || !info.Mode().IsRegular() || sameFile(dir, own, flat(name, id)+suffix) {
				if err := set.Remove(name + suffix); err != nil {
					return err
				}
				continue
			}
			if err := to.take(set, name+suffix, flat(name, id)+suffix); err != nil {
				return err
			}
			o.Tell(c.Alias, own)
		}
	}
	return removeSet(versions, id)
}
