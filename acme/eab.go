package acme

import (
	"cmp"
	"crypto"
	"encoding/json"
	"fmt"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
)

// EAB is an external account binding: what the CA's customer account gave, to
// tie the ACME account to it (RFC 8555 §7.3.4). Key is the MAC key, decoded.
type EAB struct {
	KID string
	Key []byte
	Alg string // HS256, HS384 or HS512; "" is HS256
}

// sign binds the account key: a JWS inside newAccount's payload, for its URL.
func (b *EAB) sign(accountKey crypto.PublicKey, url string) (json.RawMessage, error) {
	alg := cmp.Or(b.Alg, "HS256")
	size := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[alg]
	switch {
	case size == 0:
		return nil, fmt.Errorf("external account binding: unknown algorithm %q; there are HS256, HS384 and HS512", b.Alg)
	case b.KID == "" || len(b.Key) == 0:
		return nil, fmt.Errorf("external account binding: key identifier or key is empty")
	}
	public, err := (&jose.JSONWebKey{Key: accountKey}).MarshalJSON()
	if err != nil {
		return nil, err
	}
	// HMAC pads with zeros itself (RFC 2104), so the MAC stays the same; go-jose
	// takes no key shorter than the hash, and some CAs give such.
	key := slices.Concat(b.Key, make([]byte, max(0, size-len(b.Key))))
	header := map[jose.HeaderKey]any{"url": url, "kid": b.KID}
	return jws(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, jose.SignerOptions{ExtraHeaders: header}, public)
}
