package cmd

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"arid/account"
	"arid/acme"
	"arid/certs"
	"arid/config"
	"arid/keys"
)

// reasons are the words for RFC 5280 §5.3.1's codes that a subscriber may give.
var reasons = map[string]int{
	"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3,
	"superseded": 4, "cessationOfOperation": 5,
}

type revokeFlags struct {
	reason, key string
}

func (a *app) revokeCommand() *cobra.Command {
	var f revokeFlags
	c := &cobra.Command{
		Use:   "revoke FILE|NAME",
		Short: "revoke a certificate, with the account key or its own key",
		Long: `Asks the CA to revoke the certificate in FILE (PEM, the first one in it), or the
live one of NAME. The request is signed with the account key, or with --key by the
certificate's own private key: then no account is needed.`,
		Example: `  arid revoke www.example.org --reason superseded
  arid revoke ./stolen.pem --key ./stolen-key.pem --reason keyCompromise`,
		GroupID: groupCertificates,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{what: fmt.Sprintf("revoke takes one certificate, and got %d", len(args)), hint: "arid revoke FILE|NAME"}
			}
			return a.revoke(c, &f, args[0])
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.certificateNames(c, args), cobra.ShellCompDirectiveDefault
		},
	}
	c.Flags().StringVar(&f.reason, "reason", "", "`WORD`: "+strings.Join(slices.Sorted(maps.Keys(reasons)), ", "))
	c.Flags().StringVar(&f.key, "key", "", "sign with the certificate's private key in `FILE`")
	caFlags(c)
	settingFlags(c, "CERTDIR")
	c.Flags().Lookup("out").Usage = "look for NAME in `DIR` instead of CERTDIR"
	_ = c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(slices.Sorted(maps.Keys(reasons)), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) revoke(c *cobra.Command, f *revokeFlags, what string) error {
	reason := -1
	if f.reason != "" {
		code, known := reasons[f.reason]
		if !known {
			return &usageError{what: fmt.Sprintf("--reason: unknown word %q", f.reason), hint: "one of " + strings.Join(slices.Sorted(maps.Keys(reasons)), ", ")}
		}
		reason = code
	}
	if err := a.load(c, "revoke", nil); err != nil {
		return err
	}
	store := a.store()
	leaf, certificate, err := a.toRevoke(store, what)
	if err != nil {
		return err
	}
	var key crypto.Signer
	if f.key != "" {
		if key, err = a.readKey(a.abs(f.key)); err != nil {
			return &inputError{"--key", err}
		}
		if !keys.Fits(leaf.PublicKey, key) {
			return &inputError{fmt.Sprintf("--key %q", f.key), fmt.Errorf("does not fit the certificate of %q", what)}
		}
	}
	already, err := a.askRevocation(c.Context(), leaf, reason, key)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err = markRevoked(c.Context(), certificate, leaf)
	if a.json {
		o := &revokeJSON{Serial: fmt.Sprintf("%x", leaf.SerialNumber), Reason: f.reason, Result: "revoked"}
		if already {
			o.Result = resultUnchanged
		}
		if certificate != nil {
			o.Name = certificate.Alias
		} else {
			o.File = what
		}
		err = cmp.Or(err, a.emit(o))
	}
	return err
}

// toRevoke finds the certificate: a file if the word has a slash or is one, else
// the live one of that name. Its folder comes along where it is in the tree.
func (a *app) toRevoke(store *certs.Store, what string) (*x509.Certificate, *certs.Certificate, error) {
	file := a.abs(what)
	info, err := os.Stat(file)
	if !strings.Contains(what, "/") && (err != nil || !info.Mode().IsRegular()) {
		name, err := config.CanonicalName(what)
		if err != nil {
			name = what // an alias is no host name
		}
		certificate, err := store.Certificate(name)
		if err != nil {
			return nil, nil, &inputError{what, err}
		}
		live, err := certificate.Live()
		if err != nil {
			return nil, nil, &inputError{what, err}
		}
		return live.Leaf, certificate, nil
	}
	data, err := a.readInput(file, 1<<20)
	if err != nil {
		return nil, nil, &inputError{"certificate", err}
	}
	leaf, err := firstCertificate(data)
	if err != nil {
		return nil, nil, &inputError{fmt.Sprintf("certificate %q", what), err}
	}
	folder := filepath.Dir(file)
	if filepath.Dir(folder) == filepath.Clean(store.Dir) {
		if certificate, err := store.Certificate(filepath.Base(folder)); err == nil {
			return leaf, certificate, nil
		}
	}
	return leaf, nil, nil
}

func firstCertificate(data []byte) (*x509.Certificate, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no certificate in PEM in it")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

// askRevocation asks the CA, and tells whether it had revoked it already.
func (a *app) askRevocation(ctx context.Context, leaf *x509.Certificate, reason int, key crypto.Signer) (already bool, err error) {
	authority, err := a.openCA(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	if key == nil {
		if _, err := authority.store.Find(ctx, authority.client, a.settings.Duration("LOCK_WAIT")); is[*account.NoneError](err) {
			return false, &config.Error{What: fmt.Sprintf("there is no account at %q to sign with (--key FILE signs with the certificate's own key)", authority.url)}
		} else if err != nil {
			return false, err
		}
	}
	err = authority.client.Revoke(ctx, leaf, reason, key)
	if key == nil {
		err = authority.store.Lost(err)
	}
	if p, ok := errors.AsType[*acme.Problem](err); ok && p.Short() == "alreadyRevoked" {
		a.report.Note(fmt.Sprintf("the CA had revoked serial %x already", leaf.SerialNumber))
		return true, nil
	}
	if err == nil {
		a.report.Result(fmt.Sprintf("revoked, serial %x", leaf.SerialNumber))
	}
	return false, err
}

// markRevoked remembers that the live certificate is revoked: it is due at once.
func markRevoked(ctx context.Context, c *certs.Certificate, leaf *x509.Certificate) error {
	if c == nil {
		return nil
	}
	live, err := c.Live()
	if err != nil || certs.Fingerprint(live.Leaf) != certs.Fingerprint(leaf) {
		return nil // an older one; the live one stays good
	}
	unlock, err := c.Lock(ctx, 0)
	if err != nil {
		return err
	}
	defer unlock()
	state, err := c.State()
	if state == nil {
		return err
	}
	if state.Leaf != certs.Fingerprint(leaf) {
		state.Leaf, state.Names = certs.Fingerprint(leaf), certs.Names(leaf)
	}
	state.Revoked = true
	return c.SaveState(state)
}
