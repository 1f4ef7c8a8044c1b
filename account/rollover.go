package account

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"time"

	"arid/acme"
	"arid/internal/atomicfile"
	"arid/keys"
)

// nextKeyName is the account's next key, from before the CA is told of it until the
// CA is known to hold it.
const nextKeyName = "account_key.next.pem"

// Rollover is what the account's key is changed to.
type Rollover struct {
	Key      crypto.Signer // nil: one is made
	Algo     keys.Algo     // of one that is made; "" is P-256
	LockWait time.Duration
	Now      time.Time
}

// Rolled is what became of it.
type Rolled struct {
	Account *Account
	Same    bool   // the account had that key already
	Backup  string // the key of before; "" where the tree had none
}

// errNoNewKey is a mistake of the caller.
var errNoNewKey = errors.New("a key outside the tree is replaced by one that is given")

// Rollover gives the account another key (RFC 8555 §7.3.5), and makes the client
// sign with it. The key of before is kept beside it, with the time in its name.
//
// Whenever it is interrupted, no key is lost: the new one is on disk before the CA
// hears of it. What uses the account next asks the CA which of the two it holds, and
// finishes (settle). So a Rollover after one that was interrupted makes no third key.
// When the CA will not have the key (*RolloverError), nothing has changed.
//
// With KeyFile, Key must be given; only the side file KEYFILE_id.json goes then, and it
// is for the user to name the other file from then on. Asked again, it finds that the CA has the key.
func (s *Store) Rollover(ctx context.Context, c *acme.Client, r Rollover) (*Rolled, error) {
	if a, err := s.Open(); err != nil {
		return nil, err
	} else if a.Key == nil {
		return nil, &NoneError{s.CA} // and no folder is made for it
	}
	if s.KeyFile != "" {
		return s.rollOutside(ctx, c, r)
	}
	unlock, err := s.lock(ctx, r.LockWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rolled := &Rolled{}
	interrupted := s.rolling()
	if interrupted {
		if rolled.Backup, err = s.finish(ctx, c, r.Now); err != nil {
			return nil, err
		}
	}
	if rolled.Account, err = s.Open(); err != nil {
		return nil, err
	}
	if err := s.use(ctx, c, rolled.Account); err != nil {
		return nil, err
	}
	switch {
	case r.Key == nil && interrupted:
		return rolled, nil
	case r.Key != nil && keys.Fits(rolled.Account.Key.Public(), r.Key):
		rolled.Same = !interrupted
		return rolled, nil
	}
	if r.Key != nil { // it may have an account, here or elsewhere
		if _, err := s.holds(ctx, c, rolled.Account, r.Key); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(r); err != nil {
		return nil, err
	}
	if rolled.Backup, err = s.finish(ctx, c, r.Now); err != nil {
		return nil, err
	}
	rolled.Account, err = s.Open()
	return rolled, err
}

func (s *Store) rollOutside(ctx context.Context, c *acme.Client, r Rollover) (*Rolled, error) {
	if r.Key == nil {
		return nil, errNoNewKey
	}
	a, err := s.Open()
	if err != nil {
		return nil, err
	}
	rolled := &Rolled{Account: a, Same: keys.Fits(a.Key.Public(), r.Key)}
	if rolled.Same {
		return rolled, s.use(ctx, c, a)
	}
	// Where an earlier run was interrupted the CA may not know the old key any more.
	found, err := s.holds(ctx, c, a, r.Key)
	if err == nil && !found {
		err = s.ask(ctx, c, a, r.Key)
	}
	if err != nil {
		return nil, err
	}
	// Who goes on with the old key is to hear that it has no account.
	if a.URL != "" && s.readURL(a.Key) == a.URL {
		_ = os.Remove(s.idFile())
	}
	rolled.Account = &Account{Key: r.Key, URL: a.URL}
	return rolled, nil
}

func (s *Store) nextFile() string { return s.inFolder(nextKeyName) }

// rolling tells whether a change of the key has been begun and not finished.
func (s *Store) rolling() bool { return s.KeyFile == "" && exists(s.nextFile()) }

// prepare puts the new key on disk, open to whom the key of now is.
func (s *Store) prepare(r Rollover) (err error) {
	if r.Key == nil {
		if r.Algo == "" {
			r.Algo = keys.P256
		}
		if r.Key, err = keys.Generate(r.Algo); err != nil {
			return err
		}
	}
	text, err := keys.MarshalPEM(r.Key)
	if err != nil {
		return err
	}
	like, err := atomicfile.ReadAttributes(s.KeyPath())
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(s.nextFile(), text, atomicfile.Options{Like: like.WithoutOthers()})
}

// settle finishes a change of the key that was interrupted. Where it is given up
// the key of before stays in use, and that is no error: something else was asked for.
// The lock is held.
func (s *Store) settle(ctx context.Context, c *acme.Client) error {
	if !s.rolling() {
		return nil
	}
	_, err := s.finish(ctx, c, time.Now())
	if !s.rolling() {
		return nil
	}
	return err
}

// finish brings the change to its end: the CA has the next key, and it takes the
// place of the old one, or it will not have it, and the key goes. After any other
// error both are there, and nobody knows which of them the CA has.
func (s *Store) finish(ctx context.Context, c *acme.Client, now time.Time) (backup string, err error) {
	next, err := keys.Read(s.nextFile())
	if err != nil {
		return "", keyError(s.nextFile(), err)
	}
	a, err := s.Open()
	if err != nil {
		return "", err
	}
	found, err := s.holds(ctx, c, a, next)
	switch {
	case err == nil && found:
		return s.promote(now)
	case err == nil && a.Key == nil: // the user has moved it away to begin anew
		return "", os.Remove(s.nextFile())
	case err == nil:
		err = s.ask(ctx, c, a, next)
	}
	if err == nil {
		return s.promote(now)
	}
	if _, ok := errors.AsType[*RolloverError](err); ok {
		err = errors.Join(err, os.Remove(s.nextFile()))
	}
	return "", err
}

// RolloverError is a new key that the CA will not have. The account has the one of
// before.
type RolloverError struct {
	Err error
}

func (e *RolloverError) Error() string { return "the account keeps its key: " + e.Err.Error() }

func (e *RolloverError) Unwrap() error { return e.Err }

// ask sends the change. It is a *RolloverError only where the CA is sure not to have
// the new key: a request of an earlier run may have come late.
func (s *Store) ask(ctx context.Context, c *acme.Client, a *Account, next crypto.Signer) error {
	d, err := c.Directory(ctx)
	if err != nil {
		return err
	}
	if err := s.use(ctx, c, a); err != nil {
		return err
	}
	err = c.ChangeKey(ctx, next)
	if err == nil || acme.Refusal(err) == nil && d.KeyChange != "" {
		return err
	}
	found, asked := s.holds(ctx, c, a, next)
	switch {
	case asked != nil:
		return asked
	case found:
		return nil
	}
	return &RolloverError{s.Lost(err)}
}

// holds asks the CA whether this is the account's key.
func (s *Store) holds(ctx context.Context, c *acme.Client, a *Account, key crypto.Signer) (bool, error) {
	found, err := c.NewAccount(ctx, key, acme.AccountRequest{OnlyReturnExisting: true})
	switch {
	case short(err) == "accountDoesNotExist":
		return false, nil
	case short(err) == "unauthorized": // RFC 8555 §7.3.6
		return false, s.invalid(err)
	case err != nil:
		return false, err
	case a.URL != "" && found.URL != a.URL:
		return false, &RolloverError{fmt.Errorf("the new one is that of another account there, %.300q", found.URL)}
	}
	return true, nil
}

// promote puts the next key in the place of the old one, by one rename.
func (s *Store) promote(now time.Time) (old string, err error) {
	file := s.inFolder("account_key.pem")
	if exists(file) {
		if old, err = backup(file, now); err != nil {
			return "", err
		}
	}
	if err := os.Rename(s.nextFile(), file); err != nil {
		return "", err
	}
	return old, syncDir(s.Path())
}
