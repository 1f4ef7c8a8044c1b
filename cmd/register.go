package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"arid/account"
)

func (a *app) registerCommand() *cobra.Command {
	var f registrationFlags
	c := &cobra.Command{
		Use:   "register",
		Short: "create or find the account at a CA; prints its URL",
		Long: `Makes the account key if there is none and registers it with the CA. Where that
has been done before, it prints the account's URL and asks nobody.`,
		Example: `  arid register --accept-terms --contact hostmaster@example.org
  arid register --accept-terms --ca zerossl --eab-kid ID --eab-hmac-file FILE`,
		GroupID: groupAccount,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.load(c, "register", f.settings()); err != nil {
				return err
			}
			return a.register(c.Context(), &f)
		},
	}
	f.add(c)
	caFlags(c)
	return c
}

func (a *app) register(ctx context.Context, f *registrationFlags) error {
	authority, err := a.openCA(ctx)
	if err != nil {
		return err
	}
	registration, err := a.registration(f)
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	made, created, err := authority.store.Ensure(ctx, authority.client, registration)
	if err != nil {
		return err
	}
	if created {
		a.report.Result("account made at " + authority.url)
	} else {
		a.report.Note("the account was there already")
	}
	if !a.json {
		return a.out(made.URL + "\n")
	}
	o := &registerJSON{URL: made.URL, CA: authority.url, Created: created}
	if created {
		o.Contact, _ = account.Contacts(registration.Contact) // good ones, or there were no account
	}
	return a.emit(o)
}
