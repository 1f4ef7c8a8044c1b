package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"arid/internal/atomicfile"
	"arid/keys"
)

// Material is what a version is made of.
type Material struct {
	Key   crypto.Signer       // nil: it is not ours (a CSR from elsewhere)
	CSR   []byte              // DER; empty: none is kept
	Chain []*x509.Certificate // leaf first
}

// Version is a set that is complete on disk, shown or not.
type Version struct {
	ID string // seconds since 1970, in decimal

	// Paths are names in the folder that carry the ID, as dehydrated's hooks know
	// them: privkey-1795000000.pem. They are hard links to the version's files, or
	// copies where the file system has no hard links. A file that the set lacks has
	// a path all the same, as it is with the stable names: hooks look whether it is
	// there, and "" is no path to look at.
	Paths Paths
}

// maxRaise bounds the search for a version's name that is not taken.
const maxRaise = 100_000

// Write puts a new set on disk whole, synced, without showing it. Its ID is the
// second of start, or the next one that is free and later than those of all versions
// there are. After an error nothing is left of it.
func (c *Certificate) Write(start time.Time, m Material) (*Version, error) {
	content, err := m.encode()
	if err != nil {
		return nil, err
	}
	dir, err := c.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	v, err := c.write(dir, start, content)
	if err != nil {
		return nil, c.inFolder(err)
	}
	return v, nil
}

func (c *Certificate) write(dir *os.Root, start time.Time, content map[string][]byte) (_ *Version, err error) {
	access, err := c.access(dir)
	if err != nil {
		return nil, err
	}
	versions, err := openVersions(access)
	if err != nil {
		return nil, err
	}
	defer versions.Close()
	ids, err := versionIDs(dir)
	if err != nil {
		return nil, err
	}
	id, err := claim(dir, versions, max(start.Unix(), 1, newest(ids)+1), +1)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			removeVersion(dir, versions, id)
		}
	}()
	err = fill(versions, id, access, func(temp *os.Root, _ string) error {
		for _, name := range fileNames() {
			data, found := content[name]
			if !found {
				continue
			}
			if err := atomicfile.Create(temp, name, data, access.file(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.flatten(dir, id, linkOrCopy)
}

// encode makes the files. Everything is written anew from DER: nothing of what
// stood around it where it came from gets to disk.
func (m *Material) encode() (map[string][]byte, error) {
	if len(m.Chain) == 0 {
		return nil, errors.New("there is no certificate to write")
	}
	content := map[string][]byte{
		certName:      EncodeChain(m.Chain[:1]),
		chainName:     EncodeChain(m.Chain[1:]),
		fullchainName: EncodeChain(m.Chain),
	}
	if len(m.CSR) > 0 {
		content[csrName] = encodeCSR(m.CSR)
	}
	if m.Key == nil {
		return content, nil
	}
	if !keys.Fits(m.Chain[0].PublicKey, m.Key) {
		return nil, errors.New("the key does not fit the certificate")
	}
	var err error
	content[keyName], err = keys.MarshalPEM(m.Key)
	return content, err
}

func encodeCSR(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// openVersions opens versions/, and makes it where it is missing.
func openVersions(a *access) (_ *os.Root, err error) {
	versions, err := atomicfile.Subdir(a.folder, versionsName)
	made := missing(err)
	if made {
		if err := a.folder.Mkdir(versionsName, 0o777); err != nil {
			return nil, err
		}
		versions, err = atomicfile.Subdir(a.folder, versionsName)
	}
	if err != nil {
		return nil, err
	}
	if made {
		err = a.adopt(versions)
	}
	if err == nil {
		err = a.openWay(versions)
	}
	if err != nil {
		versions.Close()
		return nil, err
	}
	return versions, nil
}

// maxID bounds what is taken for the time of a version, so that numbers are left.
const maxID = 1 << 53

// newest is the highest number of the IDs; 0 where there is none.
func newest(ids []string) (highest int64) {
	for _, id := range ids {
		if n := number(id); n < maxID {
			highest = max(highest, n)
		}
	}
	return highest
}

// claim makes the empty directory of a version, from the second n on upward or
// downward. One that dehydrated has used for files of its own is not taken.
func claim(dir, versions *os.Root, n int64, step int64) (string, error) {
	for range maxRaise {
		if n < 0 {
			break
		}
		id := strconv.FormatInt(n, 10)
		n += step
		if usedFlat(dir, id) {
			continue
		}
		err := versions.Mkdir(id, 0o777)
		if !errors.Is(err, fs.ErrExist) {
			return id, err
		}
	}
	return "", fmt.Errorf("%q: no free name for a version", filepath.Clean(versions.Name()))
}

func usedFlat(dir *os.Root, id string) bool {
	for _, name := range fileNames() {
		if _, err := dir.Lstat(flat(name, id)); err == nil {
			return true
		}
	}
	return false
}

// fill makes a claimed version complete by one rename: until then it is an empty
// directory, so that nobody takes half a set for a whole one.
func fill(versions *os.Root, id string, a *access, write func(temp *os.Root, name string) error) (err error) {
	name := tempPrefix + rand.Text()
	if err := versions.Mkdir(name, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			removeSet(versions, name)
		}
	}()
	temp, err := atomicfile.Subdir(versions, name)
	if err != nil {
		return err
	}
	defer temp.Close()
	if err := a.adopt(temp); err != nil {
		return err
	}
	if err := write(temp, name); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(temp); err != nil {
		return err
	}
	// Go's rename does not replace a directory, not even an empty one.
	if err := versions.Remove(id); err != nil {
		return err
	}
	if err := versions.Rename(name, id); err != nil {
		return err
	}
	return atomicfile.SyncDir(versions)
}

// tempPrefix begins the names of versions under way.
const tempPrefix = ".arid-"

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// Version returns a set that an earlier run wrote. Names in the folder that a
// clean-up (dehydrated's moves them away) has taken are made again. Errors are
// those of Set.
func (c *Certificate) Version(id string) (*Version, error) {
	if _, err := c.Set(id); err != nil {
		return nil, err
	}
	dir, err := c.folder()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// Not as links: where the clean-up has moved one to an archive, the next one
	// would stop at two names of one file (mv: "are the same file").
	return c.flatten(dir, id, copyFile)
}

// flatten gives a version's files their names in the folder.
func (c *Certificate) flatten(dir *os.Root, id string, put func(dir *os.Root, from, to string) error) (*Version, error) {
	v := &Version{ID: id}
	for _, name := range fileNames() {
		own, short := versionsName+"/"+id+"/"+name, flat(name, id)
		if _, err := dir.Lstat(own); missing(err) {
			if _, err := dir.Lstat(short); err == nil {
				short = own // a strange file is not to be taken for it
			}
			*v.Paths.of(name) = c.file(short)
			continue
		} else if err != nil {
			return nil, err
		}
		err := put(dir, own, short)
		if errors.Is(err, fs.ErrExist) && !sameFile(dir, own, short) {
			short, err = own, nil // somebody else's; the version's own name will do
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		*v.Paths.of(name) = c.file(short)
	}
	return v, atomicfile.SyncDir(dir)
}

// linkOrCopy makes a hard link; where the file system has none, a copy.
func linkOrCopy(dir *os.Root, from, to string) error {
	err := dir.Link(from, to)
	if noLink(err) || errors.Is(err, syscall.EXDEV) {
		return copyFile(dir, from, to)
	}
	return err
}

func copyFile(dir *os.Root, from, to string) error {
	if _, err := dir.Lstat(to); err == nil {
		return fs.ErrExist
	}
	data, like, err := atomicfile.ReadInAs(dir, from, maxPEM)
	if err != nil {
		return err
	}
	return copyTo(dir, to, data, like)
}

func copyTo(dir *os.Root, path string, data []byte, like *atomicfile.Attributes) error {
	sub := dir
	if at := strings.LastIndex(path, "/"); at >= 0 {
		var err error
		if sub, err = dir.OpenRoot(path[:at]); err != nil {
			return err
		}
		defer sub.Close()
		path = path[at+1:]
	}
	return atomicfile.Create(sub, path, data, atomicfile.Options{Like: like})
}

// sameFile tells whether two names in dir are one file, or a file and its copy.
func sameFile(dir *os.Root, a, b string) bool { return isThere(dir, a, dir, b) }
