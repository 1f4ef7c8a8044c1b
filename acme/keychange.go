package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
)

// ChangeKey gives the account another key (RFC 8555 §7.3.5) and signs with it
// from then on. After a *TemporaryError nobody knows which key the CA holds:
// NewAccount with OnlyReturnExisting tells.
func (c *Client) ChangeKey(ctx context.Context, key crypto.Signer) error {
	d, err := c.Directory(ctx)
	if err != nil {
		return err
	}
	if d.KeyChange == "" {
		return c.lacks("keyChange")
	}
	who := c.signer()
	if who.key == nil {
		return fmt.Errorf("key change: %w", errNoAccount)
	}
	old, err := (&jose.JSONWebKey{Key: who.key.Public()}).MarshalJSON()
	if err != nil {
		return err
	}
	inner, err := sign(account{key: key}, "", d.KeyChange, encode(struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}{who.url, old}))
	if err != nil {
		return err
	}
	if _, err := c.postAs(ctx, who, "key change", d.KeyChange, json.RawMessage(inner)); err != nil {
		return err
	}
	c.UseAccount(key, who.url)
	return nil
}
