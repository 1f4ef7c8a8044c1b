package alpn

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"arid/internal/atomicfile"
)

// maxFile bounds what is read of a file: ten times what a certificate or a key
// of the largest kind has.
const maxFile = 16 << 10

// files are the names of a pair, and of the files in which it comes and goes.
// These follow from the key authorization, as nobody can guess before the CA has
// told it: what a killed run left is used up by the next one, which has the same
// order and thus the same key authorization.
type files struct {
	serverName        string
	cert, key         string
	tempCert, tempKey string
}

// filesOf is lighttpd's rule: the SNI in lower case, then .crt.pem and .key.pem.
func filesOf(serverName, keyAuth string) (files, error) {
	serverName, err := canonical(serverName)
	if err != nil {
		return files{}, err
	}
	f := files{serverName: serverName, cert: serverName + ".crt.pem", key: serverName + ".key.pem"}
	f.tempCert, f.tempKey = tempName(f.cert, keyAuth), tempName(f.key, keyAuth)
	return f, nil
}

func tempName(name, keyAuth string) string {
	hash := sha256.Sum256([]byte(name + "\n" + keyAuth))
	return ".arid-" + hex.EncodeToString(hash[:13])
}

// written is a pair that we made, and may take away.
type written struct {
	files
	certInfo, keyInfo fs.FileInfo
}

// Put makes a validation certificate and writes it with its key. Each has mode
// 0640 whatever the umask is, and the directory's group or the one that OpenDir
// got; not to be able to set that is an error. What stands there under those
// names, links too, is replaced and not followed. At any instant there is the old
// pair, or no certificate, or the new pair. After an error there is no new one.
func (d *Dir) Put(name, keyAuth string, now time.Time) error {
	f, err := filesOf(ServerName(name), keyAuth)
	if err != nil {
		return err
	}
	cert, key, err := Make(name, sha256.Sum256([]byte(keyAuth)), now)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.write(f, cert, key); err != nil {
		_ = d.removeTemps(f)
		return d.explain(err)
	}
	return nil
}

// write has both files at hand before it touches the pair that is there.
func (d *Dir) write(f files, cert, key []byte) error {
	w := written{files: f}
	var err error
	if w.keyInfo, err = d.create(f.tempKey, key); err != nil {
		return err
	}
	if w.certInfo, err = d.create(f.tempCert, cert); err != nil {
		return err
	}
	if err := d.remove(f.cert); err != nil {
		return err
	}
	d.put[f.serverName] = w
	err = d.root.Rename(f.tempKey, f.key)
	if err == nil {
		err = d.root.Rename(f.tempCert, f.cert)
	}
	if err != nil {
		_ = d.takeAway(w)
		delete(d.put, f.serverName)
	}
	return err
}

// create makes a file under a temporary name.
func (d *Dir) create(temp string, data []byte) (fs.FileInfo, error) {
	if err := d.remove(temp); err != nil {
		return nil, err
	}
	// Not synced: after a crash of the machine the pair is put again. What a default
	// ACL gives somebody the admin gave, unless the group has been named.
	o := atomicfile.Options{Perm: 0o600, Mode: 0o640, NoSync: true}
	if d.gid >= 0 {
		o.Owner = &atomicfile.Owner{UID: -1, GID: d.gid}
		o.NoACL = true
	}
	if err := atomicfile.Create(d.root, temp, data, o); err != nil {
		return nil, err
	}
	return d.root.Lstat(temp)
}

// remove takes away what is there under a name, if anything, but no directory.
func (d *Dir) remove(name string) error {
	info, err := d.root.Lstat(name)
	if err == nil && info.IsDir() {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.EISDIR}
	}
	if err == nil {
		err = d.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Dir) removeTemps(f files) error {
	return errors.Join(d.remove(f.tempCert), d.remove(f.tempKey))
}

// takeAway removes a pair as far as it is still the one that was written. The
// certificate goes first, but under its temporary name only, until the key
// is gone too: should we be killed, RemoveStale can still tell whose key that is.
func (d *Dir) takeAway(w written) error {
	if d.same(w.cert, w.certInfo) {
		if d.root.Rename(w.cert, w.tempCert) != nil {
			if err := d.remove(w.cert); err != nil {
				return err
			}
		}
	}
	if d.same(w.key, w.keyInfo) {
		if err := d.remove(w.key); err != nil {
			return err
		}
	}
	return d.removeTemps(w.files)
}

// same tells whether the file of that name is the one seen before.
func (d *Dir) same(name string, seen fs.FileInfo) bool {
	info, err := d.root.Lstat(name)
	return err == nil && os.SameFile(info, seen)
}

// Remove takes away the pair that Put wrote for name. What is gone already, or
// what somebody has put in its place, is let alone.
func (d *Dir) Remove(name string) error {
	f, err := filesOf(ServerName(name), "")
	if err != nil {
		return nil // Put refused it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w, found := d.put[f.serverName]
	if !found {
		return nil
	}
	if err := d.takeAway(w); err != nil {
		return d.explain(err)
	}
	delete(d.put, f.serverName)
	return nil
}

// RemoveStale takes away what a killed run put for a name: the pair whose
// certificate has the digest of this key authorization, the key of such a one that
// was under way, and temporary files. Anything else is let alone.
func (d *Dir) RemoveStale(name, keyAuth string) error {
	f, err := filesOf(ServerName(name), keyAuth)
	if err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range []string{f.cert, f.tempCert} {
		w, found := d.stale(f, at, sha256.Sum256([]byte(keyAuth)))
		if !found {
			continue
		}
		if err := d.takeAway(w); err != nil {
			return d.explain(err)
		}
	}
	if err := d.removeTemps(f); err != nil {
		return d.explain(err)
	}
	return nil
}

// stale looks for a certificate with this digest, and the key that fits it.
func (d *Dir) stale(f files, at string, digest [sha256.Size]byte) (w written, found bool) {
	w.files = f
	certPEM, certInfo, err := d.read(at)
	if err != nil {
		return w, false
	}
	cert, has, err := parse(certPEM, f.serverName)
	if err != nil || has != digest {
		return w, false
	}
	w.certInfo = certInfo
	if keyPEM, keyInfo, err := d.read(f.key); err == nil {
		if _, err := pair(cert, keyPEM); err == nil {
			w.keyInfo = keyInfo
		}
	}
	return w, true
}

// Pair reads the pair for a server name, as it came by SNI, back. It follows no
// links and waits for no FIFO. The certificate must be a validation certificate for
// just this name, or the address whose reverse name it is, and the key must fit
// it; anything else is an error, with fs.ErrNotExist where there is no pair.
func (d *Dir) Pair(serverName string) (*tls.Certificate, error) {
	f, err := filesOf(serverName, "")
	if err != nil {
		return nil, err
	}
	certPEM, _, err := d.read(f.cert)
	if err != nil {
		return nil, err
	}
	cert, _, err := parse(certPEM, f.serverName)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", f.cert, err)
	}
	keyPEM, _, err := d.read(f.key)
	if err != nil {
		return nil, err
	}
	found, err := pair(cert, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", f.key, err)
	}
	return found, nil
}

// read reads a regular file, and tells which one it was.
func (d *Dir) read(name string) ([]byte, fs.FileInfo, error) {
	seen, err := d.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: atomicfile.ErrNotRegular}
	}
	file, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	// os.Root follows links that stay inside it, so one put here since Lstat shows
	// as another file.
	opened, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !os.SameFile(seen, opened) {
		return nil, nil, fmt.Errorf("%q: replaced while being opened", name)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, &atomicfile.TooLargeError{Path: name, Max: maxFile}
	}
	return data, opened, nil
}

func (d *Dir) explain(err error) error {
	if d.gid >= 0 && isChown(err) {
		return notGiven(d.path, d.group, err)
	}
	return fmt.Errorf("ALPNCERTDIR %q: %w", d.path, err)
}
