package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

func itoa(fd uintptr) string { return strconv.Itoa(int(fd)) }

// jwks are private keys as JWK, in the exact form of RFC 7518, by kind.
func jwks(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"rsa-pkcs1.pem", "ec-params.pem", "ec-521.pem", "ed25519.pem"} {
		key, err := Parse(file(t, name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// rewrite changes each number of a JWK.
func rewrite(t *testing.T, jwk string, change func(name string, b []byte) string) []byte {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal([]byte(jwk), &members); err != nil {
		t.Fatal(err)
	}
	for name, text := range members {
		if name == "kty" || name == "crv" {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		members[name] = change(name, b)
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestJWKForms(t *testing.T) {
	for name, jwk := range jwks(t) {
		want, err := Parse(file(t, name))
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{
			"exact":         []byte(jwk),
			"with newline":  []byte(jwk + "\n"),
			"with BOM":      []byte("\xef\xbb\xbf" + jwk),
			"other members": []byte(strings.Replace(jwk, "{", `{"kid":"x","alg":"RS256","use":"sig","key_ops":["sign"],"dp":"AA","future":{"a":[1]},`, 1)),
			"padding": rewrite(t, jwk, func(_ string, b []byte) string {
				return base64.URLEncoding.EncodeToString(b)
			}),
			"plain base64": rewrite(t, jwk, func(_ string, b []byte) string {
				return base64.StdEncoding.EncodeToString(b)
			}),
		}
		if name != "ed25519.pem" {
			forms["leading zeros"] = rewrite(t, jwk, func(_ string, b []byte) string {
				return base64.RawURLEncoding.EncodeToString(append([]byte{0, 0}, b...))
			})
			forms["leading zeros taken off"] = rewrite(t, jwk, func(_ string, b []byte) string {
				return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00"))
			})
		}
		for form, text := range forms {
			key, err := Parse(text)
			if err != nil || !Fits(want.Public(), key) {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
}

// Keys whose coordinates or d begin with a zero byte are one in 85; those are
// what libwebsockets shortens.
func TestJWKShortCoordinates(t *testing.T) {
	short := 0
	for range 2000 {
		key := sample(t, P256).(*ecdsa.PrivateKey)
		d, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		pub, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		x, y := pub[1:33], pub[33:]
		if d[0] != 0 && x[0] != 0 && y[0] != 0 {
			continue
		}
		short++
		strip := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00")) }
		got, err := Parse(fmt.Appendf(nil, `{"crv":"P-256","d":%q,"kty":"EC","x":%q,"y":%q}`, strip(d), strip(x), strip(y)))
		if err != nil || !Fits(&key.PublicKey, got) {
			t.Fatalf("%v", err)
		}
	}
	if short == 0 {
		t.Error("no key of 2000 has a short coordinate")
	}
}

func TestJWKRefused(t *testing.T) {
	all := jwks(t)
	edit := func(name, member, value string) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(all[name]), &m); err != nil {
			t.Fatal(err)
		}
		if value == "" {
			delete(m, member)
		} else {
			m[member] = value
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	other, err := (&jose.JSONWebKey{Key: sample(t, P256)}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var foreign struct{ D string }
	if err := json.Unmarshal(other, &foreign); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"public", edit("rsa-pkcs1.pem", "d", ""), "JWK is a public key, the private one is needed"},
		{"no prime", edit("rsa-pkcs1.pem", "q", ""), `member "q" of the JWK is missing or damaged`},
		{"no y", edit("ec-params.pem", "y", ""), `member "y" of the JWK is missing or damaged`},
		{"not base64", edit("ec-params.pem", "y", "!!"), `member "y" of the JWK is missing or damaged`},
		{"huge exponent", edit("rsa-pkcs1.pem", "e", "AQAAAAAB"), `member "e" of the JWK is too large`},
		{"huge modulus", edit("rsa-pkcs1.pem", "n", strings.Repeat("B", 4000)), `member "n" of the JWK is too large`},
		{"wrong prime", edit("rsa-pkcs1.pem", "p", "AQAB"), "JWK cannot be read: go-jose/go-jose: invalid RSA private key, p * q != n"},
		{"coordinate too long", edit("ec-params.pem", "x", strings.Repeat("B", 60)), `member "x" of the JWK is too large`},
		{"d of another key", edit("ec-params.pem", "d", foreign.D), "JWK is damaged: x and y do not belong to d"},
		{"off the curve", edit("ec-params.pem", "x", "AQAB"), "JWK cannot be read: go-jose/go-jose: invalid EC key, X/Y are not on declared curve"},
		{"wrong curve", edit("ec-params.pem", "crv", "P-384"), "JWK cannot be read: go-jose/go-jose: invalid EC key, X/Y are not on declared curve"},
		{"unknown curve", edit("ec-params.pem", "crv", "secp256k1"), "JWK cannot be read: go-jose/go-jose: unsupported elliptic curve 'secp256k1'"},
		{"x of another key", edit("ed25519.pem", "x", foreign.D), "JWK cannot be read: go-jose/go-jose: invalid Ed25519 private key, x does not match d"},
		{"symmetric", `{"kty":"oct","k":"AAAA"}`, "JWK is a symmetric key; an RSA, EC or OKP one is needed"},
		{"unknown type", `{"kty":"AKP","d":"AAAA"}`, `JWK of the unknown type "AKP"`},
		{"type is a number", `{"kty":7}`, "is JSON, but no JWK (it has no kty)"},
		{"other JSON", `{"body":{},"uri":"https://ca.example/acct/1"}`, "is JSON, but no JWK (it has no kty)"},
		{"set", `{"keys":[` + all["ed25519.pem"] + `]}`, "is a set of JWKs; one JWK alone is needed"},
		{"two in one file", all["ed25519.pem"] + all["ed25519.pem"], "begins like a JWK, but is no JSON object"},
		{"cut off", all["ed25519.pem"][:40], "begins like a JWK, but is no JSON object"},
	} {
		key, err := Parse([]byte(c.text))
		if err == nil || key != nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Secrets stay out of messages, whatever is wrong.
func TestErrorsTellNoSecret(t *testing.T) {
	for name, jwk := range jwks(t) {
		var m map[string]string
		if err := json.Unmarshal([]byte(jwk), &m); err != nil {
			t.Fatal(err)
		}
		for member := range m {
			for _, broken := range []string{strings.Replace(jwk, m[member], m[member]+"!", 1), strings.Replace(jwk, m[member], m[member][1:], 1), strings.Replace(jwk, `"`+m[member]+`"`, m[member], 1)} {
				_, err := Parse([]byte(broken))
				if err != nil && strings.Contains(err.Error(), m["d"][:12]) {
					t.Errorf("%s, %s: %v", name, member, err)
				}
			}
		}
	}
}

func TestJWKIsUsable(t *testing.T) {
	for name, jwk := range jwks(t) {
		key, err := Parse([]byte(jwk))
		if err != nil {
			t.Fatal(err)
		}
		switch key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		default:
			t.Errorf("%s: %T", name, key)
		}
		if _, err := MakeCSR(key, CSROptions{Names: []string{"example.org"}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := MarshalPEM(key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
