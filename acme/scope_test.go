package acme_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"arid/acme"
	"arid/internal/fakeca"
)

func TestWhoseWaitItIs(t *testing.T) {
	ca := fakeca.New(t).RenewalInfo()
	who := newCustomer(t, ca)
	chain, err := issued(t, who, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	open, err := who.NewOrder(t.Context(), request("example.net"))
	if err != nil {
		t.Fatal(err)
	}
	authorization, err := who.FetchAuthorization(t.Context(), open.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	account, err := who.FetchAccount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain.Certificates[0]
	for _, c := range []struct {
		what    string
		kind    string
		wholeCA bool // of 429; 503 is always the CA's
		call    func(context.Context, *acme.Client) error
	}{
		{"directory", fakeca.Directory, true, func(ctx context.Context, c *acme.Client) error {
			_, err := c.Directory(ctx)
			return err
		}},
		{"new nonce", fakeca.Nonce, true, func(ctx context.Context, c *acme.Client) error {
			_, err := c.NewOrder(ctx, request("example.org"))
			return err
		}},
		{"new account", fakeca.NewAccount, true, func(ctx context.Context, c *acme.Client) error {
			_, err := c.NewAccount(ctx, newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
			return err
		}},
		{"external account binding", fakeca.Unknown, true, func(ctx context.Context, c *acme.Client) error {
			_, _, err := c.FetchEAB(ctx, ca.Base()+"/eab", "me@example.org")
			return err
		}},
		{"account", fakeca.Account, true, func(ctx context.Context, c *acme.Client) error {
			_, err := c.FetchAccount(ctx)
			return err
		}},
		{"account update", fakeca.Account, true, func(ctx context.Context, c *acme.Client) error {
			_, err := c.UpdateAccount(ctx, acme.AccountUpdate{TermsOfServiceAgreed: true})
			return err
		}},
		{"account deactivation", fakeca.Account, true, func(ctx context.Context, c *acme.Client) error { return c.DeactivateAccount(ctx) }},
		{"key change", fakeca.KeyChange, true, func(ctx context.Context, c *acme.Client) error { return c.ChangeKey(ctx, newKey(t)) }},
		{"new order", fakeca.NewOrder, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.NewOrder(ctx, request("example.org"))
			return err
		}},
		{"authorization", fakeca.Authz, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.FetchAuthorization(ctx, authorization.URL)
			return err
		}},
		{"authorization deactivation", fakeca.Authz, false, func(ctx context.Context, c *acme.Client) error {
			return c.DeactivateAuthorization(ctx, authorization.URL)
		}},
		{"challenge", fakeca.Challenge, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.Accept(ctx, challengeOf(authorization, "http-01"))
			return err
		}},
		{"order", fakeca.Order, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.FetchOrder(ctx, open.URL)
			return err
		}},
		{"finalize", fakeca.Finalize, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.Finalize(ctx, open, csr(t, "example.net"))
			return err
		}},
		{"certificate", fakeca.Certificate, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.FetchCertificate(ctx, ca.Base()+"/certificate/1")
			return err
		}},
		{"revocation", fakeca.Revoke, false, func(ctx context.Context, c *acme.Client) error { return c.Revoke(ctx, leaf, -1, nil) }},
		{"renewal info", fakeca.RenewalInfo, false, func(ctx context.Context, c *acme.Client) error {
			_, err := c.FetchRenewalInfo(ctx, acme.CertificateID(leaf))
			return err
		}},
	} {
		for _, refusal := range []struct {
			status  int
			typ     string
			wholeCA bool
		}{{429, "rateLimited", c.wholeCA}, {429, "", c.wholeCA}, {403, "rateLimited", c.wholeCA}, {503, "", true}, {503, "rateLimited", true}} {
			if (c.kind == fakeca.Unknown || c.kind == fakeca.Nonce) && refusal.status == 403 {
				continue // no ACME, or a reply to HEAD: they have no type
			}
			t.Run(fmt.Sprint(c.what, " ", refusal.status, " ", refusal.typ), func(t *testing.T) {
				client := newClient(t, ca)
				client.UseAccount(who.AccountKey(), account.URL)
				ca.Problem(c.kind, refusal.status, refusal.typ, "not now", 1, "Retry-After: 36000")
				if c.kind == fakeca.Unknown {
					ca.On(c.kind, func(w http.ResponseWriter, _ *http.Request) bool {
						w.Header().Set("Retry-After", "36000")
						w.WriteHeader(refusal.status)
						return true
					})
				}
				err := c.call(t.Context(), client)
				ca.Calm()
				if e := wantTemporary(t, err); e.Until.IsZero() || e.WholeCA() != refusal.wholeCA {
					t.Errorf("until %v, the whole CA: %v, want %v", e.Until, e.WholeCA(), refusal.wholeCA)
				}
			})
		}
	}
	bubble(t, "an order that takes longer", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.ValidationPolls(-1).RetryAfter(1000 * 60 * 60e9)
		o, err := ordered(t, c, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60e9)
		defer cancel()
		_, err = c.WaitOrder(ctx, o, is("ready"))
		if e := wantTemporary(t, err); e.Until.IsZero() || e.WholeCA() {
			t.Errorf("%+v", e)
		}
	})
}
