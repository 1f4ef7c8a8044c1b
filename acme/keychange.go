package acme

import (
	"context"
	"crypto"
	"encoding/json"

	jose "github.com/go-jose/go-jose/v4"
)

// ChangeKey gives the account another key (RFC 8555 §7.3.5) and signs with it
// from then on. After a *TemporaryError nobody knows which key the CA holds:
// NewAccount with OnlyReturnExisting tells.
func (c *Client) ChangeKey(ctx context.Context, key crypto.Signer) error {
	who := c.signer()
	inner := func(url string) ([]byte, error) {
		old, err := (&jose.JSONWebKey{Key: who.key.Public()}).MarshalJSON()
		if err != nil {
			return nil, err
		}
		return sign(account{key: key}, "", url, encode(struct {
			Account string          `json:"account"`
			OldKey  json.RawMessage `json:"oldKey"`
		}{who.url, old}))
	}
	if _, err := c.send(ctx, &call{what: "key change", member: keyChange, account: who, payloadAt: inner}); err != nil {
		return err
	}
	c.UseAccount(key, who.url)
	return nil
}
