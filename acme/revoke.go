package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
)

// Revoke asks for a certificate's revocation (RFC 8555 §7.6), signed by the
// account, or by the certificate's own key where key is not nil: then no account
// is needed. reason is RFC 5280's code, -1 leaves it out. One revoked before
// gives the *Problem "alreadyRevoked".
func (c *Client) Revoke(ctx context.Context, cert *x509.Certificate, reason int, key crypto.Signer) error {
	payload := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(cert.Raw)}
	if reason >= 0 {
		payload["reason"] = reason
	}
	who := c.signer()
	if key != nil {
		who = account{key: key}
	}
	_, err := c.send(ctx, &call{what: "revocation", member: revokeCert, account: who, payload: encode(payload)})
	return err
}
