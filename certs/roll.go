package certs

import (
	"crypto"
	"fmt"

	"arid/internal/atomicfile"
	"arid/keys"
)

// rollName is where dehydrated keeps the next key.
const rollName = "privkey.roll.pem"

// Roll is the key that lies ready for the next certificate; nil if there is none.
func (c *Certificate) Roll() (crypto.Signer, error) {
	dir, err := c.folderIfAny()
	if err != nil || dir == nil {
		return nil, err
	}
	defer dir.Close()
	text, err := atomicfile.ReadIn(dir, rollName, maxKey)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fileError(c.file(rollName), err)
	}
	key, err := keys.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", c.file(rollName), err)
	}
	return key, nil
}

// SaveRoll has a key lie ready, closed to all but its owner.
func (c *Certificate) SaveRoll(key crypto.Signer) error {
	text, err := keys.MarshalPEM(key)
	if err != nil {
		return err
	}
	dir, err := c.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	return fileError(c.file(rollName), atomicfile.Write(dir, rollName, text, atomicfile.Options{Perm: 0o600, NoACL: true}))
}

// DropRoll takes it away.
func (c *Certificate) DropRoll() error {
	dir, err := c.folderIfAny()
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	return fileError(c.file(rollName), removeName(dir, rollName))
}
