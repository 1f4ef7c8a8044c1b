package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"arid/acme"
	"arid/internal/atomicfile"
)

// Update is what became of the stored account object.
type Update struct {
	File   string // where it is stored
	Backup string // what was stored before; "" where nothing was, or nothing has changed
	Same   bool   // nothing has changed
}

// UpdateContacts tells the CA these addresses instead of those it has; none take
// them away (RFC 8555 §7.3.2). The client signs with the account already, see
// Ensure. The object that the CA sends back is stored, and the one from before is
// kept beside it with the time in its name, as dehydrated does.
func (s *Store) UpdateContacts(ctx context.Context, c *acme.Client, addresses []string, now time.Time) (*Update, error) {
	contact, err := Contacts(addresses)
	if err != nil {
		return nil, err
	}
	changed, err := c.UpdateAccount(ctx, contact)
	if err != nil {
		return nil, s.Lost(err)
	}
	u := &Update{File: s.infoFile()}
	before, err := atomicfile.ReadFile(u.File, maxJSON)
	switch {
	case err == nil && sameJSON(before, changed.Raw):
		u.Same = true
		return u, nil
	case err == nil:
		if u.Backup, err = backup(u.File, now); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return u, s.write(u.File, changed.Raw)
}

// sameJSON tells whether both texts say the same, however they are laid out.
func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

// backup gives a file that is about to be replaced a second name with the time in
// it: registration_info-1795000000.json.
func backup(file string, now time.Time) (string, error) {
	ext := filepath.Ext(file)
	base := strings.TrimSuffix(file, ext)
	for n := now.Unix(); ; n++ {
		name := fmt.Sprintf("%s-%d%s", base, n, ext)
		err := os.Link(file, name)
		if err == nil || !errors.Is(err, fs.ErrExist) || n > now.Unix()+100 {
			return name, err
		}
	}
}

// Deactivate ends the account at the CA, for good (RFC 8555 §7.3.6), and leaves the
// marker that keeps Open from using it. A key outside the tree has no marker: that
// of the tree would be another account's.
func (s *Store) Deactivate(ctx context.Context, c *acme.Client) error {
	if err := c.DeactivateAccount(ctx); err != nil {
		return s.Lost(err)
	}
	if s.KeyFile != "" {
		return nil
	}
	return s.write(s.inFolder("deactivated"), nil)
}
