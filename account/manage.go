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

	Contact []string // URIs that the CA knows now
}

// Change is what Update tells the CA. Contact has addresses in place of those it
// knows: an empty one takes them away, with nil they stay.
type Change struct {
	Contact     []string
	AcceptTerms bool // as they are now
}

// Fetch is the account as the CA has it. The client signs with it already, see Find.
func (s *Store) Fetch(ctx context.Context, c *acme.Client) (*acme.Account, error) {
	a, err := c.FetchAccount(ctx)
	return a, s.gone(ctx, c, err)
}

// Update changes the account at the CA (RFC 8555 §7.3.2). The client signs with it
// already, see Find. The object that the CA sends back is stored, and the one from
// before is kept beside it with the time in its name, as dehydrated does.
func (s *Store) Update(ctx context.Context, c *acme.Client, change Change, now time.Time) (*Update, error) {
	contact, err := Contacts(change.Contact)
	if err != nil {
		return nil, err
	}
	if change.Contact != nil && contact == nil {
		contact = []string{}
	}
	changed, err := c.UpdateAccount(ctx, acme.AccountUpdate{Contact: contact, TermsOfServiceAgreed: change.AcceptTerms})
	if err != nil {
		return nil, s.gone(ctx, c, err)
	}
	u := &Update{File: s.infoFile(), Contact: changed.Contact}
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
// it: registration_info-1795000000.json. Where there are no hard links it is a copy.
func backup(file string, now time.Time) (string, error) {
	ext := filepath.Ext(file)
	base := strings.TrimSuffix(file, ext)
	for n := now.Unix(); ; n++ {
		name := fmt.Sprintf("%s-%d%s", base, n, ext)
		err := os.Link(file, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = duplicate(file, name)
		}
		if err == nil || !errors.Is(err, fs.ErrExist) || n > now.Unix()+100 {
			return name, err
		}
	}
}

// duplicate makes a file of the same content that the same users may read.
func duplicate(file, name string) error {
	like, err := atomicfile.ReadAttributes(file)
	if err != nil {
		return err
	}
	data, err := atomicfile.ReadFile(file, maxJSON)
	if err != nil {
		return err
	}
	dir, err := atomicfile.OpenDir(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return atomicfile.Create(dir, filepath.Base(name), data, atomicfile.Options{Like: like})
}

// Deactivate ends the account at the CA, for good (RFC 8555 §7.3.6), and leaves the
// marker that keeps Open from using it; also where the CA says that this has been
// done before, by a run that was killed then. A key outside the tree has no marker:
// that of the tree would be another account's.
func (s *Store) Deactivate(ctx context.Context, c *acme.Client) error {
	err := c.DeactivateAccount(ctx)
	if short(err) == "unauthorized" {
		err = s.gone(ctx, c, err)
		if _, ok := errors.AsType[*GoneError](err); ok {
			err = nil
		}
	}
	if err != nil {
		return s.Lost(err)
	}
	if s.KeyFile != "" {
		return nil
	}
	return s.write(s.inFolder("deactivated"), nil)
}

// gone turns a refusal into a *GoneError where that is the reason: the account is
// unknown to the CA, or not valid any more. Whoever is not let in may have other
// reasons for that; the CA is asked then. Other errors come back as they are.
func (s *Store) gone(ctx context.Context, c *acme.Client, err error) error {
	if short(err) == "unauthorized" && c.AccountKey() != nil {
		_, asked := s.find(ctx, c, &Account{Key: c.AccountKey()})
		if gone, ok := errors.AsType[*GoneError](asked); ok {
			return gone
		}
	}
	return s.Lost(err)
}
