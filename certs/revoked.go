package certs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arid/internal/atomicfile"
)

// MarkRevoked does on disk what dehydrated does after a revocation: the file (where
// it is a link, the one behind it) gets the ending -revoked. The stable name that
// showed it leads nowhere from then on, so that the next run of either program has
// no certificate and orders one. That the CA has revoked it is the caller's to know,
// and where it lies in the tree the caller has the certificate's lock.
//
// In a folder of arid's the file behind cert.pem is that of a version. It stays, as
// versions are whole or gone: cert.pem is made a link as dehydrated makes them, to
// the version's name in the folder (cert-1795000000.pem), and that one is renamed.
// Key, chain and the rest are shown as before, as dehydrated leaves them. The next
// switch makes cert.pem a link through `live` again.
func MarkRevoked(file string) (renamed string, err error) {
	path, err := followFile(file)
	if err != nil {
		return "", err
	}
	if path, err = dehydratedForm(path); err != nil {
		return "", err
	}
	dir, err := atomicfile.OpenDir(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	name := filepath.Base(path)
	if err := dir.Rename(name, name+revokedSuffix); err != nil {
		return "", err
	}
	return path + revokedSuffix, atomicfile.SyncDir(dir)
}

// maxLinks is how many links Linux follows.
const maxLinks = 40

// followFile follows links in the last place, to a regular file.
func followFile(path string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() {
			return path, nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			break
		}
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			// Not Join, which takes "link/.." for nothing.
			target = filepath.Dir(path) + "/" + target
		}
		path = target
	}
	return "", &fs.PathError{Op: "revoke", Path: path, Err: atomicfile.ErrNotRegular}
}

// dehydratedForm makes a link as dehydrated makes them of the stable name that
// shows a version's file, without a change to what it shows, and returns the name in
// the folder that it leads to then. Any other path is returned as it is.
func dehydratedForm(path string) (string, error) {
	folder, name, id := versionFile(path)
	if folder == "" {
		return path, nil
	}
	dir, err := atomicfile.OpenDir(folder)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	short, own := flat(name, id), versionsName+"/"+id+"/"+name
	// A clean-up may have taken the name. No link, see Version.
	if err := copyFile(dir, own, short); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if !sameFile(dir, own, short) {
		return path, nil // somebody else's file; the version's own is renamed, as dehydrated does
	}
	if isStable(dir, name) && liveVersion(dir) == id {
		if err := atomicfile.Symlink(dir, short, name); err != nil {
			return "", err
		}
	}
	return filepath.Join(folder, short), nil
}

// versionFile tells which file of which version a path is, by whichever of its
// names: live/cert.pem, versions/1795000000/cert.pem, cert-1795000000.pem. folder
// is "" where it is none.
func versionFile(path string) (folder, name, id string) {
	parent, name := filepath.Dir(path), filepath.Base(path)
	above := filepath.Dir(parent)
	switch {
	case filepath.Base(parent) == liveName:
		folder, id = above, liveIn(above)
	case filepath.Base(above) == versionsName:
		folder, id = filepath.Dir(above), filepath.Base(parent)
	default:
		folder = parent
		name, id = splitFlat(name)
	}
	if !isVersionID(id) || !slices.Contains(fileNames(), name) {
		return "", "", ""
	}
	info, err := os.Lstat(filepath.Join(folder, versionsName, id, name))
	if err != nil || !info.Mode().IsRegular() {
		return "", "", ""
	}
	return folder, name, id
}

func liveIn(folder string) string {
	dir, err := atomicfile.OpenDir(folder)
	if err != nil {
		return ""
	}
	defer dir.Close()
	return liveVersion(dir)
}

// splitFlat undoes flat.
func splitFlat(file string) (name, id string) {
	ext := filepath.Ext(file)
	base, id, _ := strings.Cut(strings.TrimSuffix(file, ext), "-")
	return base + ext, id
}
