package certs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"arid/internal/atomicfile"
)

// maxOCSP is the largest response that is read. They have some 500 bytes, 2 KB
// with a responder's certificate.
const maxOCSP = 64 << 10

// OCSPPath is the stable name of the response beside the certificate.
func (c *Certificate) OCSPPath() string { return c.file(ocspName) }

// OCSP reads that response, and what stands for the time in its file's name. What
// is in it is the caller's to check; it is nil where there is nothing that can be
// one.
func (c *Certificate) OCSP() (der []byte, timestamp string, err error) {
	dir, err := c.folderIfAny()
	if err != nil || dir == nil {
		return nil, "", err
	}
	defer dir.Close()
	der, err = atomicfile.ReadIn(dir, ocspName, maxOCSP)
	if errors.Is(err, fs.ErrPermission) {
		return nil, "", fileError(c.OCSPPath(), err)
	}
	target, _ := dir.Readlink(ocspName)
	timestamp, _ = flatID(target, ocspName, "")
	return der, timestamp, nil
}

// SaveOCSP puts a response beside the certificate, under the second in which it
// was fetched or the next one that is free, and shows it by one rename of the link
// ocsp.der. Of older ones as many stay as of versions. It returns what stands for
// the time in the file's name.
func (c *Certificate) SaveOCSP(der []byte, fetched time.Time) (timestamp string, err error) {
	dir, err := c.open()
	if err != nil {
		return "", err
	}
	defer dir.Close()
	access, err := c.access(dir)
	if err != nil {
		return "", err
	}
	name, err := createOCSP(dir, der, fetched.Unix(), access.file(ocspName))
	if err != nil {
		return "", fileError(c.OCSPPath(), err)
	}
	if err := atomicfile.Symlink(dir, name, ocspName); err != nil {
		_ = dir.Remove(name)
		return "", fileError(c.OCSPPath(), err)
	}
	c.pruneOCSP(dir)
	timestamp, _ = flatID(name, ocspName, "")
	return timestamp, nil
}

func createOCSP(dir *os.Root, der []byte, second int64, o atomicfile.Options) (name string, err error) {
	for n := range int64(maxRaise) {
		name = flat(ocspName, strconv.FormatInt(second+n, 10))
		if err = atomicfile.Create(dir, name, der, o); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", errors.New("no name is free")
}

// pruneOCSP deletes old responses, whoever fetched them: they are worth nothing
// after some days, and there is a new one every few. What ocsp.der shows stays.
// What cannot be deleted now is tried again with the next one.
func (c *Certificate) pruneOCSP(dir *os.Root) {
	entries, _ := fs.ReadDir(dir.FS(), ".")
	var ids []string
	for _, e := range entries {
		if id, found := flatID(e.Name(), ocspName, ""); found && isVersionID(id) && e.Type().IsRegular() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, byNumber)
	shown, _ := dir.Readlink(ocspName)
	for _, id := range ids[:max(len(ids)-c.store.keep(), 0)] {
		if name := flat(ocspName, id); name != shown {
			_ = dir.Remove(name)
		}
	}
}
