package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"arid/acme"
	"arid/internal/atomicfile"
	"arid/keys"
)

// Registration is what an account is made with, where there is none.
type Registration struct {
	AcceptTerms bool
	Contact     []string // addresses, see Contacts
	EAB         *acme.EAB
	Algo        keys.Algo // of a new key; "" is P-256
	LockWait    time.Duration
}

// TermsError is a CA with terms of service that nobody has agreed to.
type TermsError struct {
	CA, URL string // the directory; the terms ("" where the CA does not say)
}

func (e *TermsError) Error() string {
	if e.URL == "" {
		return fmt.Sprintf("CA %q: its terms of service have not been accepted", e.CA)
	}
	return fmt.Sprintf("CA %q: its terms of service have not been accepted: %.300q", e.CA, e.URL)
}

// GoneError is an account that the CA does not have any more, or not as a
// valid one.
type GoneError struct {
	CA   string
	File string // what to move away for a new start
	Err  error  // the CA's words; may be nil
	What string
}

func (e *GoneError) Error() string {
	text := fmt.Sprintf("CA %q: %s", e.CA, e.What)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *GoneError) Unwrap() error { return e.Err }

// Hint is what the user might do.
func (e *GoneError) Hint() string {
	return fmt.Sprintf("move %q away and register again", e.File)
}

// Lost turns the CA's answer that the account does not exist into a
// *GoneError. Other errors come back as they are.
func (s *Store) Lost(err error) error {
	if short(err) != "accountDoesNotExist" {
		return err
	}
	return &GoneError{CA: s.CA, File: s.idFile(), What: "does not know the account any more", Err: err}
}

// Ensure makes the client ready to sign with the account: one that is stored,
// else one the CA knows by its key, else a new one. created tells the last.
//
//   - key and URL stored: nothing is asked and nothing written, unless a Rollover
//     was interrupted: that is finished first;
//   - key stored: one newAccount with onlyReturnExisting, and the URL is kept.
//     So is found what an earlier run made without hearing of it;
//   - neither, or the CA does not know the key: registration, if allowed.
//
// Nothing is posted to register before the directory says that the terms
// (*TermsError) and the external account (*EABError) are met. The key is on disk
// before the CA sees it. When the CA refuses (*acme.Problem), a key made in
// this run is removed again, and its folder if nothing else is in it; after
// a network failure it stays, as the account may exist.
func (s *Store) Ensure(ctx context.Context, c *acme.Client, r Registration) (a *Account, created bool, err error) {
	if s.Turn != nil {
		s.Turn.Lock()
		defer s.Turn.Unlock()
	}
	a, err = s.openToMake()
	if err != nil {
		return nil, false, err
	}
	if a.known() && !s.rolling() {
		c.UseAccount(a.Key, a.URL)
		return a, false, nil
	}
	request, err := s.request(r)
	if err != nil {
		return nil, false, err
	}
	if a.Key == nil { // before anything is put on disk
		if err := s.allowed(ctx, c, request); err != nil {
			return nil, false, err
		}
	}
	// A key outside the tree is made by whoever is first, and to register one key
	// twice gives one account (RFC 8555 §7.3.1): no lock is needed.
	if s.KeyFile == "" {
		unlock, err := s.lock(ctx, r.LockWait)
		if err != nil {
			return nil, false, err
		}
		defer unlock()
		if err := s.settle(ctx, c); err != nil {
			return nil, false, err
		}
		if a, err = s.Open(); err != nil { // another run may have been first
			return nil, false, err
		}
		if a.known() {
			c.UseAccount(a.Key, a.URL)
			return a, false, nil
		}
	}
	if a.Key == nil {
		if err := s.fetchEAB(ctx, c, &request); err != nil {
			return nil, false, err
		}
		a, created, err = s.create(ctx, c, request, r.Algo)
		return a, created, s.explain(err, request)
	}
	if a.URL, err = s.find(ctx, c, a); a.URL != "" || err != nil {
		return a, false, err
	}
	if err := s.allowed(ctx, c, request); err != nil {
		return nil, false, fmt.Errorf("account key %q is not registered: %w", s.KeyPath(), err)
	}
	if err := s.fetchEAB(ctx, c, &request); err != nil {
		return nil, false, err
	}
	a, created, err = s.register(ctx, c, a, request)
	return a, created, s.explain(err, request)
}

// Check says why Ensure would fail, as far as that is known before the CA is asked.
func (s *Store) Check(r Registration) error {
	a, err := s.openToMake()
	if err != nil || a.Key != nil {
		return err
	}
	request, err := s.request(r)
	if err != nil {
		return err
	}
	return s.enough(request)
}

func (s *Store) request(r Registration) (acme.AccountRequest, error) {
	contact, err := Contacts(r.Contact)
	if err == nil {
		err = checkEAB(s.CA, r.EAB)
	}
	return acme.AccountRequest{Contact: contact, TermsOfServiceAgreed: r.AcceptTerms, EAB: r.EAB}, err
}

func (a *Account) known() bool { return a.Key != nil && a.URL != "" }

// allowed holds the request against what the directory demands.
func (s *Store) allowed(ctx context.Context, c *acme.Client, r acme.AccountRequest) error {
	if err := s.enough(r); err != nil {
		return err
	}
	d, err := c.Directory(ctx)
	if err != nil {
		return err
	}
	if d.Meta.TermsOfService != "" && !r.TermsOfServiceAgreed {
		return &TermsError{s.CA, d.Meta.TermsOfService}
	}
	if d.Meta.ExternalAccountRequired && r.EAB == nil && s.MailEAB == "" {
		return s.wantsEAB()
	}
	return nil
}

// NoneError says that there is no account.
type NoneError struct {
	CA string
}

func (e *NoneError) Error() string { return fmt.Sprintf("there is no account at %q", e.CA) }

// Hint is what the user might do.
func (e *NoneError) Hint() string { return "arid register makes one" }

// Find makes the client ready to sign with the account that there is, as Ensure
// does, and never makes one: where there is none the error is a *NoneError.
func (s *Store) Find(ctx context.Context, c *acme.Client, wait time.Duration) (*Account, error) {
	a, err := s.Open()
	switch {
	case err != nil:
		return nil, err
	case a.Key == nil:
		return nil, &NoneError{s.CA}
	case a.known() && !s.rolling():
		c.UseAccount(a.Key, a.URL)
		return a, nil
	}
	if s.KeyFile == "" {
		unlock, err := s.lock(ctx, wait)
		if err != nil {
			return nil, err
		}
		defer unlock()
		if err := s.settle(ctx, c); err != nil {
			return nil, err
		}
		if a, err = s.Open(); err != nil {
			return nil, err
		}
	}
	return a, s.use(ctx, c, a)
}

// use makes the client sign with the account, whose URL the CA tells where it is
// not known.
func (s *Store) use(ctx context.Context, c *acme.Client, a *Account) (err error) {
	if a.Key == nil {
		return &NoneError{s.CA}
	}
	if a.URL == "" {
		if a.URL, err = s.find(ctx, c, a); err != nil {
			return err
		}
	}
	if a.URL == "" {
		return &NoneError{s.CA}
	}
	c.UseAccount(a.Key, a.URL)
	return nil
}

// find asks the CA for the URL of the key's account, and stores it; "" if it has none.
func (s *Store) find(ctx context.Context, c *acme.Client, a *Account) (string, error) {
	found, err := c.NewAccount(ctx, a.Key, acme.AccountRequest{OnlyReturnExisting: true})
	switch {
	case short(err) == "accountDoesNotExist":
		return "", nil
	case short(err) == "unauthorized": // RFC 8555 §7.3.6: deactivated
		return "", s.invalid(err)
	case err != nil:
		return "", err
	case !valid(found.Status):
		return "", s.invalid(fmt.Errorf("status %q", found.Status))
	}
	return found.URL, s.save(a.Key, found.URL, found.Raw)
}

func (s *Store) invalid(err error) error {
	return &GoneError{CA: s.CA, File: s.KeyPath(), What: "the account of this key is not valid any more", Err: err}
}

// valid tells whether an account of that status can order. Some CAs leave
// the status out of what they send for an existing account.
func valid(status string) bool { return status == "" || status == "valid" }

// create makes a key and registers it.
func (s *Store) create(ctx context.Context, c *acme.Client, r acme.AccountRequest, algo keys.Algo) (*Account, bool, error) {
	if algo == "" {
		algo = keys.P256
	}
	key, err := keys.Generate(algo)
	if err != nil {
		return nil, false, err
	}
	text, err := keys.MarshalPEM(key)
	if err != nil {
		return nil, false, err
	}
	err = s.writeKey(text)
	if errors.Is(err, fs.ErrExist) { // another run was first
		a, err := s.Open()
		if err != nil {
			return nil, false, err
		}
		return s.register(ctx, c, a, r)
	}
	if err != nil {
		return nil, false, err
	}
	a, created, err := s.register(ctx, c, &Account{Key: key}, r)
	if acme.Refusal(err) != nil { // so there is no account
		if e := s.forget(); e != nil {
			err = errors.Join(err, e)
		}
	}
	return a, created, err
}

// writeKey puts a new key where it belongs; one outside the tree is 0600, and takes
// no other file's place.
func (s *Store) writeKey(text []byte) error {
	if s.KeyFile == "" {
		return s.write(s.inFolder("account_key.pem"), text)
	}
	return atomicfile.NewFile(s.KeyFile, text, atomicfile.Options{Mode: 0o600, NoACL: true})
}

// register posts newAccount and stores what came back.
func (s *Store) register(ctx context.Context, c *acme.Client, a *Account, r acme.AccountRequest) (*Account, bool, error) {
	made, err := c.NewAccount(ctx, a.Key, r)
	if err != nil {
		return nil, false, err
	}
	if !valid(made.Status) {
		return nil, false, s.invalid(fmt.Errorf("status %q", made.Status))
	}
	a.URL = made.URL
	return a, made.Created, s.save(a.Key, made.URL, made.Raw)
}

// explain finds in a refusal what the directory kept back: a CA may want terms
// or an external account without saying so there.
func (s *Store) explain(err error, r acme.AccountRequest) error {
	switch short(err) {
	case "externalAccountRequired":
		if r.EAB == nil {
			return s.wantsEAB()
		}
	case "userActionRequired", "agreementRequired": // the latter is Boulder's
		if !r.TermsOfServiceAgreed {
			return &TermsError{s.CA, acme.Refusal(err).Instance} // RFC 8555 §7.3.3
		}
	}
	return err
}

// short is the CA's word for a refusal, "" where err is none.
func short(err error) string {
	if p := acme.Refusal(err); p != nil {
		return p.Short()
	}
	return ""
}
