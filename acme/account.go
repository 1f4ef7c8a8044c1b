package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"net/http"
)

// AccountRequest is what newAccount asks for. Contact has mailto: URIs; with nil
// the member is left out.
type AccountRequest struct {
	Contact              []string
	TermsOfServiceAgreed bool
	OnlyReturnExisting   bool
	EAB                  *EAB
}

// Account is an account at the CA (RFC 8555 §7.1.2). Created tells a new one
// from one that was there; Raw is the CA's object as it came.
type Account struct {
	URL, Status string
	Contact     []string
	Orders      string
	Created     bool
	Raw         json.RawMessage
}

// NewAccount makes an account for the key, or finds the one it has (RFC 8555
// §7.3), and signs with it from then on. OnlyReturnExisting where there is none
// gives the *Problem "accountDoesNotExist".
func (c *Client) NewAccount(ctx context.Context, key crypto.Signer, r AccountRequest) (*Account, error) {
	payload := struct {
		Contact    []string        `json:"contact,omitempty"`
		Agreed     bool            `json:"termsOfServiceAgreed,omitempty"`
		OnlyReturn bool            `json:"onlyReturnExisting,omitempty"`
		EAB        json.RawMessage `json:"externalAccountBinding,omitempty"`
	}{r.Contact, r.TermsOfServiceAgreed, r.OnlyReturnExisting, nil}
	reply, err := c.send(ctx, &call{what: "new account", member: newAccount, account: account{key: key},
		payloadAt: func(url string) (_ []byte, err error) {
			if r.EAB != nil {
				payload.EAB, err = r.EAB.sign(key.Public(), url)
			}
			return encode(payload), err
		}})
	if err != nil {
		return nil, err
	}
	url, err := c.location(reply)
	if err != nil {
		return nil, err
	}
	a, err := reply.account(url)
	if err != nil {
		return nil, err
	}
	a.Created = reply.status == http.StatusCreated
	c.UseAccount(key, url)
	return a, nil
}

// FetchAccount reads the account that signs.
func (c *Client) FetchAccount(ctx context.Context) (*Account, error) {
	who := c.signer()
	r, err := c.fetch(ctx, "account", who.url)
	if err != nil {
		return nil, err
	}
	return r.account(who.url)
}

// AccountUpdate is what UpdateAccount changes. Contact has mailto: URIs in place
// of those there are: with an empty one they are taken away, with nil they stay.
type AccountUpdate struct {
	Contact              []string
	TermsOfServiceAgreed bool // to the terms as they are now (RFC 8555 §7.3.3)
}

// UpdateAccount changes the account that signs (RFC 8555 §7.3.2).
func (c *Client) UpdateAccount(ctx context.Context, u AccountUpdate) (*Account, error) {
	payload := map[string]any{}
	if u.Contact != nil {
		payload["contact"] = u.Contact
	}
	if u.TermsOfServiceAgreed {
		payload["termsOfServiceAgreed"] = true
	}
	return c.changeAccount(ctx, "account update", payload)
}

// DeactivateAccount ends the account for good (RFC 8555 §7.3.6).
func (c *Client) DeactivateAccount(ctx context.Context) error {
	_, err := c.changeAccount(ctx, "account deactivation", deactivated)
	return err
}

var deactivated = struct {
	Status string `json:"status"`
}{"deactivated"}

func (c *Client) changeAccount(ctx context.Context, what string, payload any) (*Account, error) {
	who := c.signer()
	r, err := c.send(ctx, &call{what: what, url: who.url, account: who, payload: encode(payload)})
	if err != nil {
		return nil, err
	}
	return r.account(who.url)
}

func (r *reply) account(url string) (*Account, error) {
	var in struct {
		Status  string   `json:"status"`
		Contact []string `json:"contact"`
		Orders  string   `json:"orders"`
	}
	if err := r.object(&in); err != nil {
		return nil, err
	}
	return &Account{URL: url, Status: in.Status, Contact: in.Contact, Orders: in.Orders, Raw: r.body}, nil
}
