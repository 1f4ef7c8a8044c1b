// Package certs keeps certificates on disk: a folder for each, with every version
// of key, certificate and chain whole in a directory of its own, and one link that
// says which of them is shown. docs/files.md draws the tree.
package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"arid/internal/atomicfile"
)

// The files of a set: the stable names, and the names in a version's directory.
const (
	keyName       = "privkey.pem"
	certName      = "cert.pem"
	chainName     = "chain.pem"
	fullchainName = "fullchain.pem"
	csrName       = "cert.csr"
)

func fileNames() []string {
	return []string{keyName, chainName, fullchainName, csrName, certName}
}

const (
	liveName     = "live"
	versionsName = "versions"
	pendingName  = "pending"
	stateName    = "state.json"
	lockName     = ".arid.lock"
)

// Limits on what is read. The largest honest chain has some 100 KB.
const (
	maxKey = 64 << 10
	maxPEM = 1 << 20
)

// Store is the tree of all certificates.
type Store struct {
	Dir  string // CERTDIR; may be a link
	Keep int    // versions kept (KEEP_VERSIONS); 0 is 3

	// KeyMode and KeyGroup open the files of new versions, and the directories on
	// the way to them, to a group (KEY_MODE, KEY_GROUP). Where both are zero, umask,
	// default ACL and what the version follows decide. KeyMode defaults to 0640
	// where only the group (a name or a number) is given.
	KeyMode  fs.FileMode
	KeyGroup string
}

// Certificate is one folder of the tree.
type Certificate struct {
	Alias string
	store *Store
}

// Paths name the files of a set. One that is not there is "".
type Paths struct {
	Key, Cert, Fullchain, Chain, CSR string
}

func (p *Paths) of(name string) *string {
	switch name {
	case keyName:
		return &p.Key
	case certName:
		return &p.Cert
	case chainName:
		return &p.Chain
	case fullchainName:
		return &p.Fullchain
	}
	return &p.CSR
}

// Certificate returns the folder for an alias, which must be usable as a file
// name and as a word. No disk is touched.
func (s *Store) Certificate(alias string) (*Certificate, error) {
	if err := checkAlias(alias); err != nil {
		return nil, err
	}
	return &Certificate{Alias: alias, store: s}, nil
}

// Certificates are all folders of the tree that can be one, by name. Where there
// is no tree, there are none.
func (s *Store) Certificates() ([]*Certificate, error) {
	entries, err := os.ReadDir(s.Dir)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Certificate
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && checkAlias(e.Name()) == nil {
			all = append(all, &Certificate{Alias: e.Name(), store: s})
		}
	}
	return all, nil
}

func checkAlias(alias string) error {
	bad := func(r rune) bool { return r == '/' || r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if alias == "" || alias == "." || alias == ".." || len(alias) > 255 || strings.ContainsFunc(alias, bad) {
		return fmt.Errorf("alias %.300q cannot name a folder", alias)
	}
	return nil
}

// Path is the folder.
func (c *Certificate) Path() string { return filepath.Join(c.store.Dir, c.Alias) }

func (c *Certificate) file(name ...string) string {
	return filepath.Join(append([]string{c.Path()}, name...)...)
}

// Stable names the files that servers are told of, whether they are there or not.
func (c *Certificate) Stable() Paths {
	var p Paths
	for _, name := range fileNames() {
		*p.of(name) = c.file(name)
	}
	return p
}

// Make makes the folder where it is missing.
func (c *Certificate) Make() error { return atomicfile.MakeDir(c.Path()) }

// Lock makes the folder where it is missing, and takes its lock: whoever writes
// in it must have that. Where another process has it for longer than wait, the
// error is an *atomicfile.LockedError.
func (c *Certificate) Lock(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	if err := atomicfile.MakeDir(c.Path()); err != nil {
		return nil, err
	}
	dir, err := c.folder()
	if err != nil {
		return nil, err
	}
	dir.Close()
	return atomicfile.Lock(ctx, c.file(lockName), wait)
}

// open opens the folder to write in it.
func (c *Certificate) open() (*os.Root, error) {
	if err := atomicfile.MakeDir(c.Path()); err != nil {
		return nil, err
	}
	return c.folder()
}

// folder opens the folder. It may be a link, but not where others could have put
// it: they would choose where keys go.
func (c *Certificate) folder() (*os.Root, error) {
	info, err := os.Stat(c.store.Dir)
	if err != nil {
		return nil, err
	}
	if info.Mode()&0o022 == 0 {
		return atomicfile.OpenDir(c.Path()) // CERTDIR may be one that we can enter and not list
	}
	tree, err := atomicfile.OpenDir(c.store.Dir)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	return atomicfile.Subdir(tree, c.Alias)
}

// folderIfAny is folder, nil where there is none.
func (c *Certificate) folderIfAny() (*os.Root, error) {
	dir, err := c.folder()
	if missing(err) {
		return nil, nil
	}
	return dir, err
}

// flat is the name that a version's file has in the folder, as dehydrated names
// it: cert-1795000000.pem.
func flat(name, id string) string {
	ext := filepath.Ext(name)
	return strings.TrimSuffix(name, ext) + "-" + id + ext
}

// isVersionID tells whether a name is one that Write gives: the seconds of a time.
func isVersionID(name string) bool {
	n, err := strconv.ParseInt(name, 10, 64)
	return err == nil && n >= 0 && strconv.FormatInt(n, 10) == name
}

// inFolder puts the folder before an error about what lies in it.
func (c *Certificate) inFolder(err error) error { return fmt.Errorf("%q: %w", c.Path(), err) }

// fileError puts the path of a file before what is wrong with it. The error has a
// name within some directory only, or none.
func fileError(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", path, reason(err))
}

// reason takes the names off what the system says.
func reason(err error) error {
	cause := err
	switch e := err.(type) {
	case *fs.PathError:
		cause = e.Err
	case *os.LinkError:
		cause = e.Err
	}
	if _, known := cause.(syscall.Errno); known {
		return cause
	}
	return err
}

// missing tells whether an error says that there is nothing: no name, or a link
// that leads nowhere.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
