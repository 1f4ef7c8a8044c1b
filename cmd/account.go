package cmd

import (
	"context"
	"crypto"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/account"
	"arid/keys"
	"arid/report"
)

func (a *app) accountCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "account show|update|rollover|deactivate",
		Short: "look after the account at a CA",
		Long: `Shows the account as the CA has it, changes its contacts, gives it another key, or
ends it. "arid register" makes one.`,
		Example: `  arid account show
  arid account update --contact hostmaster@example.org
  arid account rollover`,
		GroupID: groupAccount,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{what: "account: no command given", hint: "arid account --help lists them"}
			}
			return &usageError{what: fmt.Sprintf("account: unknown command %q", args[0]), hint: "there are show, update, rollover and deactivate"}
		},
	}
	c.AddCommand(a.accountShow(), a.accountUpdate(), a.accountRollover(), a.accountDeactivate())
	return c
}

// accountSubcommand is what the four have in common.
func (a *app) accountSubcommand(word, short, long string, do func(*cobra.Command) error) *cobra.Command {
	c := &cobra.Command{
		Use:   word,
		Short: short,
		Long:  long,
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return do(c) },
	}
	caFlags(c)
	return c
}

func (a *app) accountShow() *cobra.Command {
	return a.accountSubcommand("show", "the account as the CA has it", `Asks the CA for the account, and prints it.`,
		func(c *cobra.Command) error {
			if err := a.load(c, "account", nil); err != nil {
				return err
			}
			return a.withAccount(c.Context(), a.showAccount)
		})
}

// withAccount does something with the account that there is.
func (a *app) withAccount(ctx context.Context, do func(context.Context, *ca, *account.Account) error) error {
	authority, err := a.openCA(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	known, err := authority.store.Find(ctx, authority.client, a.settings.Duration("LOCK_WAIT"))
	if err != nil {
		return err
	}
	return do(ctx, authority, known)
}

func (a *app) showAccount(ctx context.Context, authority *ca, known *account.Account) error {
	there, err := authority.store.Fetch(ctx, authority.client)
	if err != nil {
		return err
	}
	directory, err := authority.client.Directory(ctx)
	if err != nil {
		return err
	}
	algo, err := keys.AlgoOf(known.Key.Public())
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(&accountJSON{URL: known.URL, CA: authority.url, Status: there.Status, Contact: there.Contact,
			Key: authority.store.KeyPath(), KeyType: string(algo), Terms: directory.Meta.TermsOfService})
	}
	var b strings.Builder
	row := func(label, value string) {
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(&b, "%-9s %s\n", label, report.Escape(value))
	}
	row("account", known.URL)
	row("status", there.Status)
	row("contacts", strings.Join(there.Contact, " "))
	row("key", fmt.Sprintf("%s (%s)", authority.store.KeyPath(), algo))
	row("CA", authority.url)
	row("terms", directory.Meta.TermsOfService)
	return a.out(b.String())
}

type updateFlags struct {
	contact             []string
	none, terms, noLock bool
}

func (a *app) accountUpdate() *cobra.Command {
	var f updateFlags
	c := a.accountSubcommand("update", "change the contacts, or accept changed terms",
		`Gives the CA these contacts in place of those that it has, and says that its terms
of service are agreed to as they are now. What is not named stays as it is.`,
		func(c *cobra.Command) error { return a.updateAccount(c, &f) })
	c.Example = `  arid account update --contact hostmaster@example.org --contact admin@example.org
  arid account update --accept-terms`
	c.Flags().StringArrayVar(&f.contact, "contact", nil, "mail `ADDR` for the account; may be repeated")
	c.Flags().BoolVar(&f.none, "no-contact", false, "take all contacts away")
	c.Flags().BoolVar(&f.terms, "accept-terms", false, "agree to the CA's terms of service")
	noLockFlag(c, &f.noLock)
	return c
}

func (a *app) updateAccount(c *cobra.Command, f *updateFlags) error {
	change := account.Change{Contact: f.contact, AcceptTerms: f.terms}
	switch {
	case f.none && f.contact != nil:
		return &usageError{what: "--contact and --no-contact exclude each other"}
	case f.none:
		change.Contact = []string{}
	case f.contact == nil && !f.terms:
		return &usageError{what: "account update: nothing to change", hint: "--contact ADDR, --no-contact or --accept-terms"}
	}
	if _, err := account.Contacts(f.contact); err != nil {
		return err
	}
	if err := a.load(c, "account", nil); err != nil {
		return err
	}
	return a.locked(c.Context(), f.noLock, func() error {
		return a.withAccount(c.Context(), func(ctx context.Context, authority *ca, known *account.Account) error {
			update, err := authority.store.Update(ctx, authority.client, change, time.Now())
			if err != nil {
				return err
			}
			if len(update.Contact) == 0 && len(change.Contact) > 0 {
				a.report.Note("the CA keeps no contacts")
			}
			if update.Same {
				a.report.Note("the account is as it was")
			}
			if !a.json {
				return nil
			}
			o := &accountJSON{URL: known.URL, CA: authority.url, Result: "updated", Contact: update.Contact}
			if update.Same {
				o.Result = resultUnchanged
			}
			return a.emit(o)
		})
	})
}

func (a *app) accountRollover() *cobra.Command {
	var newKey string
	var noLock bool
	c := a.accountSubcommand("rollover", "give the account another key",
		`Makes a key (ACCOUNT_KEY_ALGO), tells the CA, and puts it in the place of the old
one, which is kept beside it with the time in its name. Interrupted at any point, no
key is lost: the next run finds out which one the CA has, and finishes.

An account key outside the tree stays as it is. There --new-key names the other one,
and so has --account-key from then on.`,
		func(c *cobra.Command) error {
			var key crypto.Signer
			if newKey != "" {
				var err error
				if key, err = a.readKey(a.abs(newKey)); err == nil {
					err = keys.Check(key.Public())
				}
				if err != nil {
					return &inputError{"--new-key", err}
				}
			}
			if err := a.load(c, "account", nil); err != nil {
				return err
			}
			return a.locked(c.Context(), noLock, func() error { return a.rollover(c.Context(), key) })
		})
	c.Example = `  arid account rollover
  arid account rollover --new-key new-account-key.pem`
	c.Flags().StringVar(&newKey, "new-key", "", "use the private key in `FILE` instead of making one")
	noLockFlag(c, &noLock)
	return c
}

func (a *app) rollover(ctx context.Context, key crypto.Signer) error {
	authority, err := a.openCA(ctx)
	if err != nil {
		return err
	}
	if authority.store.KeyFile != "" && key == nil {
		return &usageError{what: fmt.Sprintf("the account key %q is outside the tree, and none is made there", authority.store.KeyFile),
			hint: "--new-key FILE names the other one"}
	}
	r := account.Rollover{Key: key, Now: time.Now(), LockWait: a.settings.Duration("LOCK_WAIT")}
	if r.Algo, err = a.accountAlgo(); err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	rolled, err := authority.store.Rollover(ctx, authority.client, r)
	if err != nil {
		return err
	}
	switch {
	case rolled.Same:
		a.report.Note("the account has this key already")
	case authority.store.KeyFile != "":
		a.report.Result("the account has the new key; --account-key has to name it from now on")
	case rolled.Backup != "":
		a.report.Note("the key of before is kept as " + rolled.Backup)
	}
	if !a.json {
		return nil
	}
	o := &accountJSON{URL: rolled.Account.URL, CA: authority.url, Result: "changed", Backup: rolled.Backup}
	if rolled.Same {
		o.Result = resultUnchanged
	}
	if authority.store.KeyFile == "" {
		o.Key = authority.store.KeyPath()
	}
	return a.emit(o)
}

func (a *app) accountDeactivate() *cobra.Command {
	var yes, noLock bool
	c := a.accountSubcommand("deactivate", "end the account, for good",
		`Ends the account at the CA, which cannot be undone: it orders, renews and revokes
nothing after that. Certificates stay good until they expire. Without --yes it only
says what would be lost.`,
		func(c *cobra.Command) error {
			if err := a.load(c, "account", nil); err != nil {
				return err
			}
			if !yes {
				return a.deactivateWithoutYes(c.Context())
			}
			return a.locked(c.Context(), noLock, func() error {
				return a.withAccount(c.Context(), func(ctx context.Context, authority *ca, known *account.Account) error {
					err := authority.store.Deactivate(ctx, authority.client)
					if err == nil && a.json {
						err = a.emit(&accountJSON{URL: known.URL, CA: authority.url, Result: "deactivated"})
					}
					return err
				})
			})
		})
	c.Example = `  arid account deactivate --yes`
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	noLockFlag(c, &noLock)
	return c
}

// deactivateWithoutYes says what would be lost. Nobody is asked.
func (a *app) deactivateWithoutYes(ctx context.Context) error {
	authority, err := a.openCA(ctx)
	if err != nil {
		return err
	}
	known, err := authority.store.Open()
	switch {
	case err != nil:
		return err
	case known.Key == nil:
		return &account.NoneError{CA: authority.url}
	}
	which := "the account of " + authority.store.KeyPath()
	if known.URL != "" {
		which = "the account " + known.URL
	}
	return &usageError{
		what: fmt.Sprintf("--yes is missing: %s would be ended for good; it could order, renew and revoke nothing more at %q", which, authority.url),
		hint: "arid account deactivate --yes does it",
	}
}
