package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// maxRSABytes bounds a modulus before anything is computed with it.
const maxRSABytes = 16384 / 8

// jwkMembers are the members of each kind of private JWK that are needed
// (RFC 7518 §6.2, §6.3; RFC 8037 §2). An RSA key's dp, dq and qi follow from
// the others and are not looked at.
var jwkMembers = map[string][]string{
	"RSA": {"n", "e", "d", "p", "q"},
	"EC":  {"x", "y", "d"},
	"OKP": {"x", "d"},
}

// coordinateSize is the length of a coordinate and of d on each curve, in
// bytes (RFC 7518 §6.2.1.2, §6.2.2.1; RFC 8037 §2).
var coordinateSize = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}

// parseJWK reads one private JWK. It takes what other programs write against
// the RFC: padding, plain base64, numbers with too many leading zeros or too few
// (libwebsockets strips them).
func parseJWK(text []byte) (crypto.Signer, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, notKey("begins like a JWK, but is no JSON object")
	}
	if _, isSet := members["keys"]; isSet {
		return nil, notKey("is a set of JWKs; one JWK alone is needed")
	}
	kty := jwkText(members, "kty")
	needed, known := jwkMembers[kty]
	switch {
	case kty == "":
		return nil, notKey("is JSON, but no JWK (it has no kty)")
	case kty == "oct":
		return nil, notKey("JWK is a symmetric key; an RSA, EC or OKP one is needed")
	case !known:
		return nil, notKey("JWK of the unknown type %q", clip(kty))
	}
	if _, private := members["d"]; !private {
		return nil, notKey("JWK is a public key, the private one is needed")
	}
	clean := map[string]string{"kty": kty}
	size, isCurve := 0, true
	if kty != "RSA" {
		clean["crv"] = jwkText(members, "crv")
		size, isCurve = coordinateSize[clean["crv"]]
	}
	for _, name := range needed {
		b, err := jwkNumber(jwkText(members, name))
		if err != nil || len(b) == 0 {
			return nil, notKey("member %q of the JWK is missing or damaged", name)
		}
		if kty == "RSA" || isCurve {
			b = bytes.TrimLeft(b, "\x00")
		}
		switch {
		case kty == "RSA" && len(b) > maxRSABytes, name == "e" && len(b) > 4, size > 0 && len(b) > size:
			return nil, notKey("member %q of the JWK is too large", name)
		case size > 0:
			b = append(make([]byte, size-len(b)), b...)
		}
		clean[name] = base64.RawURLEncoding.EncodeToString(b)
	}
	text, err := json.Marshal(clean)
	if err != nil {
		return nil, err
	}
	return parseCleanJWK(text)
}

// parseCleanJWK reads a private JWK whose form is right, and checks that its
// public half belongs to it.
func parseCleanJWK(text []byte) (crypto.Signer, error) {
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(text); err != nil {
		return nil, &ParseError{What: "JWK cannot be read", Err: err}
	}
	switch key := k.Key.(type) {
	case *rsa.PrivateKey: // go-jose has validated it
		key.Precompute()
		return key, nil
	case ed25519.PrivateKey: // go-jose has compared x
		return key, nil
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			return nil, &ParseError{What: "JWK cannot be read", Err: err}
		}
		own, err := ecdsa.ParseRawPrivateKey(key.Curve, d)
		if err != nil || !own.PublicKey.Equal(&key.PublicKey) {
			return nil, notKey("JWK is damaged: x and y do not belong to d")
		}
		return own, nil
	}
	return nil, notKey("JWK is no key to sign with")
}

// jwkText is a member that is a string, "" if it is anything else.
func jwkText(members map[string]json.RawMessage, name string) string {
	var s string
	if json.Unmarshal(members[name], &s) != nil {
		return ""
	}
	return s
}

// jwkNumber decodes base64url or base64, with padding or without.
func jwkNumber(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}

// PublicJWK reads the public key of a JWK; nil if it is none. A private one
// gives its public half.
func PublicJWK(text []byte) crypto.PublicKey {
	var k jose.JSONWebKey
	if len(text) > maxFile || k.UnmarshalJSON(text) != nil {
		return nil
	}
	pub := k.Public()
	return pub.Key
}
