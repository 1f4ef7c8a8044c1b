package keys

import (
	"crypto"

	jose "github.com/go-jose/go-jose/v4"
)

func parseJWK(text []byte) (crypto.Signer, error) {
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(text); err != nil {
		return nil, &ParseError{What: "JWK cannot be read", Err: err}
	}
	key, ok := k.Key.(crypto.Signer)
	if !ok {
		return nil, notKey("JWK holds no private key")
	}
	return key, nil
}
