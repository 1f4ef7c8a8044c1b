package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"arid/internal/atomicfile"
	"arid/keys"
)

// Live is one set of key, certificate and chain as it stands on disk.
type Live struct {
	Version string              // "1795000000"; "" where dehydrated, or a hand, put the set there
	Leaf    *x509.Certificate   // never nil
	Chain   []*x509.Certificate // leaf first
	Key     crypto.Signer       // nil: there is none. Whether it fits is the caller's to ask
	Paths   Paths               // the files themselves, links resolved
}

// UnreadableError is a file of a set that is no such thing: damaged, cut short,
// not a file. The certificate is of no use and due at once.
type UnreadableError struct {
	Path string
	Err  error
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("%q: %v", e.Path, e.Err) }
func (e *UnreadableError) Unwrap() error { return e.Err }

// Live reads the set that the stable names show. `live` is resolved once, so that
// a switch in the middle cannot mix two sets. Errors: fs.ErrNotExist where there
// is no certificate (a cert.pem that leads nowhere is none), *UnreadableError
// where it is unusable, fs.ErrPermission.
func (c *Certificate) Live() (*Live, error) {
	dir, err := c.folder()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	shown, err := c.openShown(dir)
	if err != nil {
		return nil, err
	}
	defer shown.close()
	return readSet(shown.version, shown.read)
}

// Set reads a version, shown or not. Errors are those of Live.
func (c *Certificate) Set(version string) (*Live, error) {
	if !isVersionID(version) {
		return nil, fmt.Errorf("version %.80q: %w", version, fs.ErrNotExist)
	}
	dir, err := atomicfile.OpenDir(c.file(versionsName, version))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return readSet(version, func(name string, max int64) ([]byte, string, error) {
		data, err := atomicfile.ReadIn(dir, name, max)
		return data, c.file(versionsName, version, name), err
	})
}

// shown is what the stable names show at one instant.
type shown struct {
	c       *Certificate
	dir     *os.Root
	live    *os.Root // nil: leads nowhere
	path    string   // of live
	version string
}

func (c *Certificate) openShown(dir *os.Root) (*shown, error) {
	s := &shown{c: c, dir: dir}
	if id := liveVersion(dir); id != "" {
		s.path = c.file(versionsName, id)
		// cert.pem decides whose set it is: dehydrated may have moved on.
		if isStable(dir, certName) {
			s.version = id
		}
	} else {
		// A restored copy has a real directory here.
		s.path = c.file(liveName)
	}
	var err error
	s.live, err = atomicfile.OpenDir(s.path)
	if err != nil && !missing(err) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, err
	}
	return s, nil
}

func (s *shown) close() {
	if s.live != nil {
		s.live.Close()
	}
}

func (s *shown) read(name string, max int64) ([]byte, string, error) {
	target, err := s.dir.Readlink(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.c.file(name), err
	case err == nil && !strings.Contains(target, "/"): // as dehydrated makes them
		if data, err := atomicfile.ReadIn(s.dir, target, max); err == nil {
			return data, s.c.file(target), nil
		}
	}
	if err != nil || target != liveName+"/"+name {
		path := s.c.file(name)
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		data, err := atomicfile.ReadFile(path, max)
		return data, path, err
	}
	path := filepath.Join(s.path, name)
	if s.live == nil {
		return nil, path, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	data, err := atomicfile.ReadIn(s.live, name, max)
	return data, path, err
}

// isStable tells whether a stable name is arid's link.
func isStable(dir *os.Root, name string) bool {
	target, err := dir.Readlink(name)
	return err == nil && target == liveName+"/"+name
}

// liveVersion is the version that `live` leads to; "" where it is no such link.
func liveVersion(dir *os.Root) string {
	target, err := dir.Readlink(liveName)
	id, ours := strings.CutPrefix(target, versionsName+"/")
	if err != nil || !ours || !isVersionID(id) {
		return ""
	}
	return id
}

// readSet reads one set through read, which returns content and path of a name.
func readSet(version string, read func(name string, max int64) ([]byte, string, error)) (*Live, error) {
	set := &Live{Version: version}
	content := map[string][]byte{}
	for _, name := range fileNames() {
		max := int64(maxPEM)
		if name == keyName {
			max = maxKey
		}
		data, path, err := read(name, max)
		switch {
		case missing(err) && name != certName:
			continue
		case unreadable(path, err) != err:
			return nil, unreadable(path, err)
		case err != nil:
			return nil, fileError(path, err)
		}
		content[name] = data
		*set.Paths.of(name) = path
	}
	if err := set.parse(content); err != nil {
		return nil, err
	}
	return set, nil
}

func (l *Live) parse(content map[string][]byte) error {
	leaf, err := parseChain(content[certName])
	if err == nil && len(leaf) == 0 {
		err = errors.New("has no certificate in it")
	}
	if err != nil {
		return &UnreadableError{l.Paths.Cert, err}
	}
	l.Leaf, l.Chain = leaf[0], leaf[:1]
	more, err := parseChain(content[chainName])
	if err != nil {
		return &UnreadableError{l.Paths.Chain, err}
	}
	l.Chain = append(l.Chain, more...)
	if full := content[fullchainName]; l.Paths.Fullchain != "" && !bytes.Equal(full, slices.Concat(content[certName], content[chainName])) {
		full, err := parseChain(content[fullchainName])
		if err == nil && (len(full) == 0 || !bytes.Equal(full[0].Raw, l.Leaf.Raw)) {
			err = fmt.Errorf("does not begin with the certificate of %q", l.Paths.Cert)
		}
		if err != nil {
			return &UnreadableError{l.Paths.Fullchain, err}
		}
		l.Chain = full
	}
	if l.Paths.Key != "" {
		if l.Key, err = keys.Parse(content[keyName]); err != nil {
			return &UnreadableError{l.Paths.Key, err}
		}
	}
	return nil
}

// unreadable sorts reading errors: what will be the same for ever, however often
// it is tried, makes the certificate due.
func unreadable(path string, err error) error {
	var large *atomicfile.TooLargeError
	switch {
	case errors.Is(err, atomicfile.ErrNotRegular), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR):
		return &UnreadableError{path, reason(err)}
	case errors.As(err, &large):
		return &UnreadableError{path, fmt.Errorf("has more than %d bytes", large.Max)}
	case leadsOut(err):
		return &UnreadableError{path, errors.New("is a link that leads out of its directory")}
	}
	return err
}

// leadsOut tells whether os.Root refused to follow a link. It has no value for that:
// it is what the system did not say.
func leadsOut(err error) bool {
	var path *fs.PathError
	var number syscall.Errno
	return errors.As(err, &path) && !errors.As(err, &number) && !missing(err)
}

// parseChain reads the certificates of a PEM file; text and blocks of other kinds
// are passed over.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return chain, nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
}
