package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
)

// sign makes the JWS that a POST carries (RFC 8555 §6.2): by kid, or with the
// public key in it where the account has no URL yet. The payload may be empty,
// not nil.
func sign(who account, nonce, url string, payload []byte) ([]byte, error) {
	header := map[jose.HeaderKey]any{"url": url}
	if nonce != "" {
		header["nonce"] = nonce
	}
	if who.url != "" {
		header["kid"] = who.url
	}
	alg, err := algorithm(who.key.Public())
	if err != nil {
		return nil, err
	}
	return jws(jose.SigningKey{Algorithm: alg, Key: who.key}, jose.SignerOptions{EmbedJWK: who.url == "", ExtraHeaders: header}, payload)
}

func jws(key jose.SigningKey, o jose.SignerOptions, payload []byte) ([]byte, error) {
	signer, err := jose.NewSigner(key, &o)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return []byte(signed.FullSerialize()), nil
}

// algorithm is the one that a key of that type signs with.
func algorithm(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
	}
	return "", fmt.Errorf("no signature algorithm for a key of type %T", public)
}

// Thumbprint is the key's RFC 7638 SHA-256 thumbprint in base64url. The error is
// for keys that no account can have.
func Thumbprint(public crypto.PublicKey) (string, error) {
	if _, err := algorithm(public); err != nil {
		return "", err
	}
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// KeyAuthorization is the token, a dot and the key's thumbprint (RFC 8555 §8.1).
func KeyAuthorization(token string, key crypto.Signer) (string, error) {
	thumbprint, err := Thumbprint(key.Public())
	return token + "." + thumbprint, err
}

// encode is v, one of our own types, as JSON.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
