package cmd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"arid/account"
	"arid/acme"
	"arid/certs"
	"arid/internal/atomicfile"
	"arid/keys"
)

// lockDehydrated takes LOCKFILE, as every command of dehydrated's does that works
// with the CA.
func (a *app) lockDehydrated(ctx context.Context, l *dehydratedLine) (unlock func(), err error) {
	file := a.lockFile(l)
	if file == "" {
		return func() {}, nil
	}
	unlock, stale, err := certs.LockFile(ctx, a.abs(file), a.settings.Duration("LOCK_WAIT"))
	switch {
	case is[*certs.ForeignLockError](err) || is[*atomicfile.LockedError](err):
		return nil, &lockPresentError{file, err}
	case err != nil:
		return nil, fmt.Errorf("LOCKFILE: %w", err)
	case stale != nil:
		a.warnDehydrated([]string{stale.String()})
	}
	return unlock, nil
}

// lockPresentError is a LOCKFILE that another run holds.
type lockPresentError struct {
	file string
	err  error
}

func (e *lockPresentError) Error() string {
	text := fmt.Sprintf("Lock file '%s' present, aborting", e.file)
	var foreign *certs.ForeignLockError
	var busy *atomicfile.LockedError
	switch {
	case errors.As(e.err, &foreign):
		text += fmt.Sprintf(": made by another program, %v ago", foreign.Age)
	case errors.As(e.err, &busy) && busy.PID != 0:
		text += fmt.Sprintf(": process %d is at work", busy.PID)
	}
	return text
}

func (e *lockPresentError) Unwrap() error { return e.err }

// Hint is for the lock that nobody takes away: that of a program which was killed.
func (e *lockPresentError) Hint() string {
	if is[*certs.ForeignLockError](e.err) {
		return "if nothing runs that could have made it, remove it"
	}
	return ""
}

// lockFile is LOCKFILE with what --lock-suffix and --no-lock make of it.
func (a *app) lockFile(l *dehydratedLine) string {
	switch {
	case l.noLock:
		return ""
	case l.lockSuffix != "":
		return a.settings.Value("LOCKFILE") + "-" + l.lockSuffix
	}
	return a.settings.Value("LOCKFILE")
}

// registerError is an account that could not be made.
type registerError struct {
	err error
}

func (e *registerError) Error() string { return e.err.Error() }
func (e *registerError) Unwrap() error { return e.err }

// openDehydratedCA is openCA, with the accounts of older versions in place.
func (a *app) openDehydratedCA(ctx context.Context) (*ca, error) {
	url, _, err := a.settings.CAURL()
	if err != nil {
		return nil, err
	}
	store := account.Store{Dir: a.path("ACCOUNTDIR"), CA: url, KeyFile: a.path("ACCOUNT_KEY"), Base: a.path("BASEDIR")}
	done, err := store.Adopt(ctx, a.settings.OldCA(url), a.settings.Duration("LOCK_WAIT"))
	for _, what := range done {
		_ = a.report.Out("! " + what + "\n")
	}
	if err != nil {
		return nil, fmt.Errorf("account of an older version: %w", err)
	}
	return a.openCA(ctx)
}

// dehydratedAccount opens the CA with the account that signs. Where there is none it
// is made, if the line allows that.
func (a *app) dehydratedAccount(ctx context.Context, l *dehydratedLine) (*ca, *account.Account, error) {
	authority, err := a.openDehydratedCA(ctx)
	if err != nil {
		return nil, nil, err
	}
	if authority.store.KeyFile != "" {
		a.progress(l, "Using private key %s instead of account key", a.settings.Value("ACCOUNT_KEY"))
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	known, err := authority.store.Open()
	if err != nil {
		return nil, nil, err
	}
	// As dehydrated: of no use once there is an account, and a half is none.
	withoutEAB := known.URL != "" || a.settings.Value("EAB_KID") == "" || a.settings.Value("EAB_HMAC_KEY") == ""
	registration, err := a.registration(&registrationFlags{acceptTerms: l.acceptTerms, withoutEAB: withoutEAB})
	if err != nil {
		return nil, nil, err
	}
	switch {
	case known.Key == nil, l.command == "register" && known.URL == "" && authority.store.KeyFile != "":
		known, err = a.makeAccount(ctx, l, authority, known, registration)
		return authority, known, err
	case known.URL == "":
		a.progress(l, "+ Fetching account URL...")
	}
	known, created, err := authority.store.Ensure(ctx, authority.client, registration)
	if is[*account.TermsError](err) {
		err = a.wantsTerms(l, err)
	}
	l.registered = !created
	return authority, known, a.reportRefusal(ctx, l, err)
}

// makeAccount registers a key, and makes it where there is none.
func (a *app) makeAccount(ctx context.Context, l *dehydratedLine, authority *ca, there *account.Account, r account.Registration) (*account.Account, error) {
	if err := authority.store.Check(r); err != nil {
		return nil, a.wantsEAB(l, err)
	}
	directory, err := authority.client.Directory(ctx)
	if err != nil {
		return nil, a.reportRefusal(ctx, l, err)
	}
	if there.Key != nil {
		r.AcceptTerms = true // dehydrated asks for no word on them where the key is named
	}
	if terms := directory.Meta.TermsOfService; terms != "" && !r.AcceptTerms {
		return nil, a.wantsTerms(l, &account.TermsError{CA: authority.url, URL: terms})
	}
	if there.Key == nil {
		a.progress(l, "+ Generating account key...")
	}
	a.progress(l, "+ Registering account key with ACME server...")
	known, _, err := authority.store.Ensure(ctx, authority.client, r)
	switch {
	case is[*account.TermsError](err):
		return nil, a.wantsTerms(l, err)
	case is[*account.EABError](err) && r.EAB == nil:
		return nil, a.wantsEAB(l, err)
	case err != nil:
		return nil, &registerError{a.reportRefusal(ctx, l, err)}
	}
	a.progress(l, "+ Fetching account URL...")
	return known, nil
}

// wantsEAB is what dehydrated says where the account lacks what the CA wants.
func (a *app) wantsEAB(l *dehydratedLine, err error) error {
	if is[*account.EABError](err) {
		a.progress(l, "This CA requires an external account but no EAB_KID/EAB_HMAC_KEY has been configured")
	}
	return &registerError{err}
}

// wantsTerms is what dehydrated says where terms are to be accepted first.
func (a *app) wantsTerms(l *dehydratedLine, err error) error {
	var terms *account.TermsError
	where := ""
	if errors.As(err, &terms) {
		where = terms.URL
	}
	return &quietError{fmt.Sprintf("\nTo use this certificate authority you have to agree to its terms of service, which you find here: %s\n\n"+
		"To accept these terms of service run `%s --register --accept-terms`.", where, l.program)}
}

// dehydratedRegister is --register.
func (a *app) dehydratedRegister(ctx context.Context, l *dehydratedLine) error {
	_, _, err := a.dehydratedAccount(ctx, l)
	switch {
	case err != nil:
		return err
	case l.registered:
		a.progress(l, "+ Account already registered!")
	default:
		a.progress(l, "+ Done!")
	}
	return nil
}

// dehydratedContacts is --account.
func (a *app) dehydratedContacts(ctx context.Context, l *dehydratedLine) error {
	authority, known, err := a.dehydratedAccount(ctx, l)
	if err != nil {
		return err
	}
	registration, err := a.registration(&registrationFlags{withoutEAB: true})
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	a.progress(l, "+ Updating registration url: %s contact information...", known.URL)
	update, err := authority.store.Update(ctx, authority.client, account.Change{Contact: append([]string{}, registration.Contact...)}, time.Now())
	switch {
	case err != nil:
		return a.reportRefusal(ctx, l, err)
	case update.Same:
		a.progress(l, "+ Account information was the same after the update")
	default:
		if update.Backup != "" {
			a.progress(l, "+ Backup %s as %s", update.File, update.Backup)
		}
		a.progress(l, "+ Populate %s", update.File)
	}
	a.progress(l, "+ Done!")
	return nil
}

// dehydratedDeactivate is --deactivate.
func (a *app) dehydratedDeactivate(ctx context.Context, l *dehydratedLine) error {
	authority, known, err := a.dehydratedAccount(ctx, l)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	a.progress(l, "Deactivating account %s", known.URL)
	if err := authority.store.Deactivate(ctx, authority.client); err != nil {
		return a.reportRefusal(ctx, l, err)
	}
	a.progress(l, " + Done.")
	return nil
}

// dehydratedTerms is --display-terms. It needs no account, and no lock.
func (a *app) dehydratedTerms(ctx context.Context, l *dehydratedLine) error {
	authority, err := a.openCA(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	directory, err := authority.client.Directory(ctx)
	if err != nil {
		return a.reportRefusal(ctx, l, err)
	}
	a.progress(l, "The current terms of service: %s", directory.Meta.TermsOfService)
	a.progress(l, "+ Done!")
	return nil
}

// dehydratedRevoke is --revoke. Files change only when the CA has said that the
// certificate is revoked, by this request or an earlier one.
func (a *app) dehydratedRevoke(ctx context.Context, l *dehydratedLine) error {
	file, err := a.followOnce(l.file)
	if err != nil {
		return err
	}
	data, err := a.readInput(a.abs(file), 1<<20)
	if err != nil {
		return &inputError{"certificate", err}
	}
	leaf, err := firstCertificate(data)
	if err != nil {
		return &inputError{fmt.Sprintf("certificate %q", file), err}
	}
	if err := a.askDehydratedRevocation(ctx, l, file, leaf); err != nil {
		return err
	}
	a.progress(l, " + Done.")
	if strings.HasSuffix(file, "-revoked") {
		return nil
	}
	renamed, err := a.renameRevoked(ctx, l.file, leaf)
	if err != nil {
		return fmt.Errorf("revoked, but the file keeps its name: %w", err)
	}
	if dir := filepath.Dir(l.file); a.abs(dir) == filepath.Dir(renamed) {
		renamed = dir + "/" + filepath.Base(renamed) // as the user wrote it
	}
	a.progress(l, " + Renaming certificate to %s", renamed)
	return nil
}

// followOnce is the file behind a link, one step as dehydrated goes, that a line
// for the user names.
func (a *app) followOnce(file string) (string, error) {
	if info, err := os.Stat(a.abs(file)); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("Could not find certificate %s", file)
	}
	target, err := os.Readlink(a.abs(file))
	switch {
	case err != nil: // no link
		return file, nil
	case filepath.IsAbs(target):
		return target, nil
	}
	return filepath.Dir(file) + "/" + target, nil
}

// askDehydratedRevocation asks the CA. With --privkey the key may be an account's, or
// the certificate's own, which needs no account.
func (a *app) askDehydratedRevocation(ctx context.Context, l *dehydratedLine, file string, leaf *x509.Certificate) error {
	if own := a.path("ACCOUNT_KEY"); own != "" {
		key, err := keys.Read(own)
		if err != nil {
			return &inputError{"--privkey", err}
		}
		if keys.Fits(leaf.PublicKey, key) {
			authority, err := a.openCA(ctx)
			if err != nil {
				return err
			}
			a.progress(l, "Using private key %s of the certificate", a.settings.Value("ACCOUNT_KEY"))
			ctx, cancel := a.deadline(ctx)
			defer cancel()
			a.progress(l, "Revoking %s", file)
			return a.revoked(ctx, l, authority.client.Revoke(ctx, leaf, -1, key))
		}
	}
	authority, _, err := a.dehydratedAccount(ctx, l)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	a.progress(l, "Revoking %s", file)
	return a.revoked(ctx, l, authority.store.Lost(authority.client.Revoke(ctx, leaf, -1, nil)))
}

// revoked takes a certificate that the CA had revoked before for what it is.
func (a *app) revoked(ctx context.Context, l *dehydratedLine, err error) error {
	if p, ok := errors.AsType[*acme.Problem](err); ok && p.Short() == "alreadyRevoked" {
		a.progress(l, " + The CA had revoked it already.")
		return nil
	}
	return a.reportRefusal(ctx, l, err)
}

// renameRevoked does on disk what dehydrated does, and remembers it where arid looks.
func (a *app) renameRevoked(ctx context.Context, file string, leaf *x509.Certificate) (renamed string, err error) {
	store := a.store()
	file = a.abs(file)
	var certificate *certs.Certificate
	if folder := filepath.Dir(file); filepath.Dir(folder) == filepath.Clean(a.abs(store.Dir)) {
		certificate, _ = store.Certificate(filepath.Base(folder))
	}
	if err := markRevoked(ctx, certificate, leaf); err != nil {
		return "", err
	}
	if certificate != nil {
		unlock, err := certificate.Lock(ctx, 0)
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	return certs.MarkRevoked(file)
}
