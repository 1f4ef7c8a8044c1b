package challenge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"arid/internal/atomicfile"

	"golang.org/x/sys/unix"
)

// HTTPDir is the directory that a web server shows as
// /.well-known/acme-challenge/ (RFC 8555 §8.3). It is opened once and worked in,
// so that it may be swapped for a link meanwhile. Safe for concurrent use.
type HTTPDir struct {
	Mode fs.FileMode // of the files; 0: 0644 whatever a default ACL says

	root *os.Root
	path string

	mu  sync.Mutex
	put map[string]fs.FileInfo // by token: the file we made
}

// DirError says why WELLKNOWN cannot be used. Err keeps fs.ErrNotExist or
// fs.ErrPermission where that is the cause.
type DirError struct {
	Path   string
	Reason string
	Err    error
	hint   string
}

func (e *DirError) Error() string { return fmt.Sprintf("WELLKNOWN %q %s", e.Path, e.Reason) }

func (e *DirError) Unwrap() error { return e.Err }

// Hint is what the user might do about it, or "".
func (e *DirError) Hint() string { return e.hint }

// OpenHTTPDir opens WELLKNOWN, which must be a directory that we may write to;
// links on the way to it are the admin's and are followed. Nothing is written.
// The error is a *DirError.
func OpenHTTPDir(path string) (*HTTPDir, error) {
	root, err := atomicfile.OpenDir(path)
	if err != nil {
		return nil, dirError(path, err)
	}
	if err := atomicfile.Writable(root); err != nil {
		root.Close()
		return nil, dirError(path, err)
	}
	return &HTTPDir{root: root, path: path, put: map[string]fs.FileInfo{}}, nil
}

func dirError(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	e := &DirError{Path: path, Reason: "cannot be opened: " + err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason = "does not exist"
		e.hint = "create it, or name another with --wellknown"
	case errors.Is(err, unix.ENOTDIR):
		e.Reason = "is not a directory"
		e.hint = "name another with --wellknown"
	case errors.Is(err, fs.ErrPermission):
		e.Reason = "cannot be written to: " + err.Error()
	}
	return e
}

// checkToken is RFC 8555 §8.3's alphabet, and a sane length. The wire has checked
// it already; here it becomes a file name, and nothing else may.
func checkToken(token string) error {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(token) < 16 || len(token) > 256 || strings.Trim(token, base64url) != "" {
		return fmt.Errorf("token %.64q is no base64url text of 16 to 256 characters", token)
	}
	return nil
}

// Put writes the file that answers for token: the key authorization without a
// newline, with d.Mode whatever the umask says. What stands there under that name,
// a link too, is replaced and not followed.
func (d *HTTPDir) Put(token, keyAuth string) error {
	if err := checkToken(token); err != nil {
		return err
	}
	// Another token's answer, or a text that is not ours at all.
	if !strings.HasPrefix(keyAuth, token+".") {
		return fmt.Errorf("key authorization does not begin with its token %q", token)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.write(token, keyAuth); err != nil {
		return fmt.Errorf("WELLKNOWN %q: %w", d.path, err)
	}
	info, err := d.root.Lstat(token)
	if err != nil {
		return fmt.Errorf("WELLKNOWN %q: %w", d.path, err)
	}
	d.put[token] = info
	return nil
}

// write goes through a file whose name follows from the token, as nobody can guess
// before the CA has told it: what a killed run left is used up by the next one,
// which has the same order and thus the same token.
func (d *HTTPDir) write(token, keyAuth string) error {
	hash := sha256.Sum256([]byte(token))
	temp := ".arid-" + hex.EncodeToString(hash[:13])
	if err := d.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Not synced: after a crash of the machine the token is put again.
	o := atomicfile.Options{Mode: d.Mode, NoSync: true}
	if d.Mode == 0 {
		o.Mode, o.NoACL = 0o644, true
	}
	err := atomicfile.Create(d.root, temp, []byte(keyAuth), o)
	if err != nil {
		return err
	}
	if err := d.root.Rename(temp, token); err != nil {
		_ = d.root.Remove(temp)
		return err
	}
	return nil
}

// Empty tells whether nothing is in the directory.
func (d *HTTPDir) Empty() bool {
	dir, err := d.root.Open(".")
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// RemoveStale takes away what a killed run put for token: a file with just this
// key authorization. Anything else is let alone.
func (d *HTTPDir) RemoveStale(token, keyAuth string) error {
	if checkToken(token) != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := d.root.Lstat(token)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := atomicfile.ReadIn(d.root, token, 4<<10)
	if err != nil || string(text) != keyAuth {
		return nil
	}
	if err := d.root.Remove(token); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("WELLKNOWN %q: %w", d.path, err)
	}
	return nil
}

// Remove takes away the file that Put wrote for token. One that is gone
// already, or that somebody has put in its place, is let alone.
func (d *HTTPDir) Remove(token string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours, found := d.put[token]
	if !found {
		return nil
	}
	info, err := d.root.Lstat(token)
	if err == nil && os.SameFile(info, ours) {
		err = d.root.Remove(token)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("WELLKNOWN %q: %w", d.path, err)
	}
	delete(d.put, token)
	return nil
}

// Close closes the directory; files that were not removed stay.
func (d *HTTPDir) Close() error { return d.root.Close() }
