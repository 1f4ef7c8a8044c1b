package certs

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"arid/internal/atomicfile"
	"arid/internal/statefile"
	"arid/keys"
)

const orderName = "order.json"

// Pending is an order that was begun and has not become a version yet.
type Pending struct {
	Key   crypto.Signer // nil with a CSR from elsewhere
	CSR   []byte        // DER
	Order PendingOrder
}

// PendingOrder is what must be known to go on with an order, and to tell
// whether it is still the one that is wanted.
type PendingOrder struct {
	Schema   int      `json:"schema"`
	URL      string   `json:"url"`
	CA       string   `json:"ca"`      // directory URL
	Account  string   `json:"account"` // URL
	Names    []string `json:"names"`
	Profile  string   `json:"profile,omitempty"`
	NotAfter string   `json:"not_after,omitempty"` // RFC 3339; as asked for
}

// Pending reads the order under way. Half of one, a key that does not belong to
// its CSR, or a file that cannot be understood count as none: nil, nil.
func (c *Certificate) Pending() (*Pending, error) {
	dir, pending, err := c.openPending()
	if err != nil || pending == nil {
		return nil, err
	}
	defer dir.Close()
	defer pending.Close()
	p := &Pending{}
	text, err := c.readPending(pending, orderName, statefile.Max)
	if err != nil || text == nil {
		return nil, err
	}
	if json.Unmarshal(text, &p.Order) != nil || p.Order.URL == "" {
		return nil, nil
	}
	text, err = c.readPending(pending, csrName, maxPEM)
	if err != nil || text == nil {
		return nil, err
	}
	csr, err := keys.ParseCSR(text)
	if err != nil {
		return nil, nil
	}
	p.CSR = csr.DER
	text, err = c.readPending(pending, keyName, maxKey)
	if err != nil || text == nil {
		return p, err
	}
	if p.Key, err = keys.Parse(text); err != nil || !keys.Fits(csr.PublicKey, p.Key) {
		return nil, nil
	}
	return p, nil
}

// readPending returns nil for a file that is not there or is none.
func (c *Certificate) readPending(pending *os.Root, name string, max int64) ([]byte, error) {
	text, err := atomicfile.ReadIn(pending, name, max)
	if missing(err) || unreadable("", err) != err {
		return nil, nil
	}
	return text, fileError(c.file(pendingName, name), err)
}

// openPending returns nil where there is no such directory.
func (c *Certificate) openPending() (dir, pending *os.Root, err error) {
	dir, err = c.folderIfAny()
	if err != nil || dir == nil {
		return nil, nil, err
	}
	pending, err = atomicfile.Subdir(dir, pendingName)
	if err != nil {
		dir.Close()
		if missing(err) {
			err = nil
		}
		return nil, nil, err
	}
	return dir, pending, nil
}

// StartPending makes key (nil: not ours) and CSR outlive a crash, before the CA
// hears of the order. An older order under way is forgotten first, so that its
// URL never stands beside a key of another.
func (c *Certificate) StartPending(key crypto.Signer, csrDER []byte) error {
	csr, err := keys.ParseCSR(csrDER)
	if err != nil {
		return err
	}
	if key != nil && !keys.Fits(csr.PublicKey, key) {
		return errors.New("the key does not belong to the CSR")
	}
	gid, err := c.store.groupID()
	if err != nil {
		return err
	}
	if err := c.DropPending(); err != nil {
		return err
	}
	dir, err := c.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Mkdir(pendingName, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fileError(c.file(pendingName), err)
	}
	if err := atomicfile.SyncDir(dir); err != nil {
		return err
	}
	pending, err := atomicfile.Subdir(dir, pendingName)
	if err != nil {
		return err
	}
	defer pending.Close()
	if key != nil {
		text, err := keys.MarshalPEM(key)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(pending, keyName, text, atomicfile.Options{}); err != nil {
			return fileError(c.file(pendingName, keyName), err)
		}
	}
	o := atomicfile.Options{}
	if gid >= 0 {
		// A group that we may not give files to is found out before the order.
		o.Owner = &atomicfile.Owner{UID: -1, GID: gid}
	}
	if err := atomicfile.Write(pending, csrName, encodeCSR(csr.DER), o); err != nil {
		err = fileError(c.file(pendingName, csrName), err)
		if o.Owner != nil && errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("KEY_GROUP %q: %w", c.store.KeyGroup, err)
		}
		return err
	}
	return nil
}

// SaveOrder makes the order outlive a crash, after StartPending and as soon as
// the CA has told its URL; or again when something about it has changed.
func (c *Certificate) SaveOrder(o PendingOrder) error {
	o.Schema = schema
	text, err := new(statefile.File).Write(o)
	if err != nil {
		return err
	}
	dir, pending, err := c.openPending()
	if err != nil {
		return err
	}
	if pending == nil {
		return fmt.Errorf("%q: is gone", c.file(pendingName))
	}
	defer dir.Close()
	defer pending.Close()
	return fileError(c.file(pendingName, orderName), atomicfile.Write(pending, orderName, text, atomicfile.Options{}))
}

// DropPending forgets the order under way, and whatever is left of one.
func (c *Certificate) DropPending() error {
	dir, pending, err := c.openPending()
	if err != nil || pending == nil {
		return err
	}
	defer dir.Close()
	defer pending.Close()
	// The order first: without it the rest counts as nothing.
	for _, name := range []string{orderName, keyName, csrName} {
		if err := removeName(pending, name); err != nil {
			return fileError(c.file(pendingName, name), err)
		}
		if name == orderName {
			if err := atomicfile.SyncDir(pending); err != nil {
				return err
			}
		}
	}
	if err := atomicfile.Sweep(pending); err != nil {
		return err
	}
	// A file of somebody else's keeps the directory.
	_ = dir.Remove(pendingName)
	return atomicfile.SyncDir(dir)
}
