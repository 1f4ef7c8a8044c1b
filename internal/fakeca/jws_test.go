package fakeca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

// member sets a member of the JWS itself.
func member(name string, value any) func([]byte) []byte {
	return func(body []byte) []byte {
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		if m[name] = value; value == nil {
			delete(m, name)
		}
		return encode(m)
	}
}

// header replaces the protected header; HERE stands for the first account's URL.
func header(h map[string]any) func([]byte) []byte {
	return func(body []byte) []byte {
		var m map[string]string
		_ = json.Unmarshal(body, &m)
		was, _ := base64.RawURLEncoding.DecodeString(m["protected"])
		var old map[string]any
		_ = json.Unmarshal(was, &old)
		if h["url"] == "HERE" {
			h["url"] = old["url"]
		}
		return member("protected", base64.RawURLEncoding.EncodeToString(encode(h)))(body)
	}
}

func replace(old, new string) func([]byte) []byte {
	return func(body []byte) []byte { return bytes.Replace(body, []byte(old), []byte(new), 1) }
}

// flip changes a bit in the middle of the signature.
func flip(body []byte) []byte {
	i := bytes.Index(body, []byte(`"signature":"`)) + 30
	body[i] = map[bool]byte{true: 'B', false: 'A'}[body[i] == 'A']
	return body
}

func TestEveryFaultOfASignedRequestIsRefused(t *testing.T) {
	other, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	// each POSTs to the account, with an empty payload unless one is given
	cases := []struct {
		what    string
		payload any
		s       signing
		typ     string
		why     string // in the detail
	}{
		{"content type of plain JSON", nil, signing{contentType: "application/json"}, "malformed", "Content-Type"},
		{"no User-Agent", nil, signing{agent: " "}, "malformed", "User-Agent"},
		{"GET of an account", nil, signing{method: "GET"}, "malformed", "only POST"},
		{"PUT of an account", nil, signing{method: "PUT"}, "malformed", "only POST"},
		{"url of another resource", nil, signing{url: "https://127.0.0.1/account/1"}, "unauthorized", "url header"},
		{"no url", nil, signing{noURL: true}, "malformed", "no url"},
		{"no nonce", nil, signing{noNonce: true}, "badNonce", "no nonce"},
		{"nonce never given", nil, signing{nonce: "AAAA"}, "badNonce", "never given"},
		{"nonce not base64url", nil, signing{nonce: "a+b="}, "malformed", "is no base64url"},
		{"jwk where kid is needed", nil, signing{jwk: true}, "malformed", "jwk where kid"},
		{"jwk beside kid", nil, signing{header: map[string]any{"jwk": jose.JSONWebKey{Key: other.Public()}}}, "malformed", "exactly one"},
		{"signed by another key", nil, signing{key: other}, "malformed", "does not hold"},
		{"signature altered", nil, signing{body: flip}, "malformed", "does not hold"},
		{"payload altered", nil, signing{body: member("payload", base64.RawURLEncoding.EncodeToString([]byte("{}")))}, "malformed", "does not hold"},
		{"payload null", nil, signing{body: replace(`"payload":""`, `"payload":null`)}, "malformed", "no string"},
		{"payload absent", nil, signing{body: member("payload", nil)}, "malformed", "no member"},
		{"payload an object", nil, signing{body: replace(`"payload":""`, `"payload":{}`)}, "malformed", "no string"},
		{"payload twice", nil, signing{body: replace(`"payload":""`, `"payload":"","payload":""`)}, "malformed", "twice"},
		{"signature absent", nil, signing{body: member("signature", nil)}, "malformed", "no member"},
		{"signature padded", nil, signing{body: func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"}`), []byte(`=="}`), 1)
		}}, "malformed", "is no base64url"},
		{"unprotected header", nil, signing{body: member("header", map[string]string{"alg": "ES256"})}, "malformed", "member \"header\""},
		{"general serialization", nil, signing{body: member("signatures", []any{})}, "malformed", "member \"signatures\""},
		{"compact serialization", nil, signing{body: func(b []byte) []byte {
			var m map[string]string
			_ = json.Unmarshal(b, &m)
			return []byte(m["protected"] + "." + m["payload"] + "." + m["signature"])
		}}, "malformed", "no JSON object"},
		{"something after the JWS", nil, signing{body: func(b []byte) []byte { return append(b, '{', '}') }}, "malformed", "something after"},
		{"not JSON", nil, signing{body: func([]byte) []byte { return []byte("hello") }}, "malformed", "no JSON object"},
		{"crit", nil, signing{header: map[string]any{"crit": []string{"url"}}}, "malformed", "crit"},
		{"neither jwk nor kid", nil, signing{body: header(map[string]any{"alg": "ES256", "nonce": "AAAA", "url": "HERE"})}, "malformed", "exactly one"},
		{"protected header no JSON", nil, signing{body: member("protected", "AAAA")}, "malformed", "protected header"},
		{"protected header with a member twice", nil, signing{body: member("protected", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","alg":"ES256"}`)))}, "malformed", "twice"},
		{"protected header of wrong types", nil, signing{body: header(map[string]any{"alg": 5})}, "malformed", "protected header: json"},
		{"member of wrong type", `{"contact":"mailto:a@example.org"}`, signing{}, "malformed", "payload: json"},
		{"payload not JSON", "hello", signing{}, "malformed", "payload: begins"},
		{"payload an array", "[]", signing{}, "malformed", "payload: begins"},
		{"payload with a member twice", `{"contact":[],"contact":[]}`, signing{}, "malformed", "twice"},
		{"unknown status", `{"status":"revoked"}`, signing{}, "malformed", "status"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			ca := New(t).Tolerate()
			hand := newHand(t, ca).register()
			hand.post(hand.kid, c.payload, c.s).refusedFor(t, c.typ, c.why)
			if n := len(ca.Faults()); n != 1 {
				t.Errorf("%d faults noted: %q", n, ca.Faults())
			}
			hand.post(hand.kid, nil, signing{}).ok(t) // and an honest one goes on
			if n := len(ca.Faults()); n != 1 {
				t.Errorf("an honest request was noted as a fault: %q", ca.Faults())
			}
		})
	}
}

func TestFaultFailsTheTestUnlessTolerated(t *testing.T) {
	for _, tolerant := range []bool{false, true} {
		fake := &fakeTB{T: t}
		ca := New(fake)
		if tolerant {
			ca.Tolerate()
		}
		c := newHand(t, ca).register()
		c.post(c.kid, "[]", signing{})
		for _, f := range fake.cleanup {
			f()
		}
		if failed := len(fake.errors) == 1; failed == tolerant {
			t.Errorf("tolerant %t: errors %q", tolerant, fake.errors)
		}
	}
}

// fakeTB is a test whose end can be looked at.
type fakeTB struct {
	*testing.T
	cleanup []func()
	errors  []string
}

func (f *fakeTB) Cleanup(g func())                  { f.cleanup = append(f.cleanup, g) }
func (f *fakeTB) Errorf(format string, args ...any) { f.errors = append(f.errors, format) }

func TestNonceIsGoodOnce(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	used := c.nonce
	c.post(c.kid, nil, signing{}).ok(t)
	c.post(c.kid, nil, signing{nonce: used}).refused(t, "badNonce")
	if f := ca.Faults(); len(f) != 1 || !strings.Contains(f[0], "used before") {
		t.Errorf("faults %q", f)
	}
}

func TestSameRequestTwiceIsRefused(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	body := c.sign(c.kid, nil, signing{})
	c.do("POST", c.kid, body, signing{}).ok(t)
	c.do("POST", c.kid, body, signing{}).refused(t, "badNonce")
}

func TestAccountKeysOfEveryType(t *testing.T) {
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ca := New(t)
	for _, key := range []crypto.Signer{r, p384, p521, ed} {
		c := newHand(t, ca)
		c.key = key
		c.register().issue("http-01", "example.org")
	}
}

func TestKeysAndAlgorithmsThatDoNotFitAreRefused(t *testing.T) {
	ca := New(t).Tolerate()
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	c := newHand(t, ca)
	c.key = r
	a := c.post(c.dir["newAccount"].(string), `{"termsOfServiceAgreed":true}`, signing{alg: jose.PS256})
	a.refused(t, "badSignatureAlgorithm")
	if a.json["algorithms"] == nil {
		t.Error("problem without algorithms (RFC 8555 §6.2)")
	}
	// a MAC with the public key, as if it were a secret
	hs := signing{body: header(map[string]any{"alg": "HS256", "nonce": "AAAA", "url": "HERE", "jwk": jose.JSONWebKey{Key: r.Public()}})}
	c.post(c.dir["newAccount"].(string), `{"termsOfServiceAgreed":true}`, hs).refused(t, "badSignatureAlgorithm")
}

func TestKeysThatAreNoneAreRefused(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca)
	for what, jwk := range map[string]any{
		"private": jose.JSONWebKey{Key: c.key},
		"short":   jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}},
		"secret":  map[string]string{"kty": "oct", "k": "AAAA"},
		"junk":    map[string]string{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
	} {
		s := signing{body: header(map[string]any{"alg": "ES256", "nonce": "AAAA", "url": "HERE", "jwk": jwk})}
		a := c.post(c.dir["newAccount"].(string), `{"termsOfServiceAgreed":true}`, s)
		if a.refused(t, "badPublicKey"); t.Failed() {
			t.Fatal(what)
		}
	}
	alg := signing{body: header(map[string]any{"alg": "ES256", "nonce": "AAAA", "url": "HERE", "jwk": jose.JSONWebKey{Key: c.key.Public(), Algorithm: "ES384"}})}
	c.post(c.dir["newAccount"].(string), `{"termsOfServiceAgreed":true}`, alg).refusedFor(t, "badSignatureAlgorithm", "jwk says")
}

func TestNewAccountWantsJWK(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	c.post(c.dir["newAccount"].(string), `{"termsOfServiceAgreed":true}`, signing{}).refusedFor(t, "malformed", "kid where jwk")
	c.post(c.dir["newOrder"].(string), nil, signing{}).refusedFor(t, "malformed", "empty payload")
}

func TestUnknownAccountIsNoFault(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca)
	c.kid = ca.Base() + "/account/99"
	c.post(c.dir["newOrder"].(string), map[string]any{"identifiers": identifiers("example.org")}, signing{}).refused(t, "accountDoesNotExist")
}

// eab makes an externalAccountBinding of a key for url.
func (c *hand) eab(alg jose.SignatureAlgorithm, kid string, mac []byte, url string, key crypto.PublicKey) json.RawMessage {
	c.t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"url": url, "kid": kid}}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: mac}, o)
	if err != nil {
		c.t.Fatal(err)
	}
	jws, err := signer.Sign(bytes.TrimSpace(encode(jose.JSONWebKey{Key: key})))
	if err != nil {
		c.t.Fatal(err)
	}
	return json.RawMessage(jws.FullSerialize())
}

func TestExternalAccountBinding(t *testing.T) {
	mac := bytes.Repeat([]byte{7}, 64)
	ca := New(t).Tolerate().EAB("kid-1", mac)
	other, _ := newKey()
	url := ca.Base() + "/new-account"
	wrong := bytes.Repeat([]byte{8}, 64)
	for _, v := range []struct {
		what string
		eab  func(c *hand) any
		typ  string // "" accepted
		why  string
	}{
		{"HS256", func(c *hand) any { return c.eab(jose.HS256, "kid-1", mac, url, c.key.Public()) }, "", ""},
		{"HS384", func(c *hand) any { return c.eab(jose.HS384, "kid-1", mac, url, c.key.Public()) }, "", ""},
		{"HS512", func(c *hand) any { return c.eab(jose.HS512, "kid-1", mac, url, c.key.Public()) }, "", ""},
		{"none", func(c *hand) any { return nil }, "externalAccountRequired", "wants"},
		{"wrong MAC key", func(c *hand) any { return c.eab(jose.HS256, "kid-1", wrong, url, c.key.Public()) }, "unauthorized", "MAC"},
		{"unknown kid", func(c *hand) any { return c.eab(jose.HS256, "kid-2", mac, url, c.key.Public()) }, "unauthorized", "no external account"},
		{"another account's key", func(c *hand) any { return c.eab(jose.HS256, "kid-1", mac, url, other.Public()) }, "malformed", "not the account's key"},
		{"another url", func(c *hand) any { return c.eab(jose.HS256, "kid-1", mac, url+"2", c.key.Public()) }, "malformed", "url"},
		{"no JWS", func(c *hand) any { return "hello" }, "malformed", "no JSON object"},
		{"a nonce in it", func(c *hand) any {
			return json.RawMessage(header(map[string]any{"alg": "HS256", "kid": "kid-1", "url": url, "nonce": "AAAA"})(c.eab(jose.HS256, "kid-1", mac, url, c.key.Public())))
		}, "malformed", "wants kid"},
		{"not a MAC", func(c *hand) any {
			return json.RawMessage(header(map[string]any{"alg": "ES256", "kid": "kid-1", "url": url})(c.eab(jose.HS256, "kid-1", mac, url, c.key.Public())))
		}, "badSignatureAlgorithm", "ES256"},
	} {
		t.Run(v.what, func(t *testing.T) {
			c := newHand(t, ca)
			if c.dir["meta"].(map[string]any)["externalAccountRequired"] != true {
				t.Error("directory does not say so")
			}
			in := map[string]any{"termsOfServiceAgreed": true}
			if e := v.eab(c); e != nil {
				in["externalAccountBinding"] = e
			}
			a := c.post(url, in, signing{})
			if v.typ == "" {
				a.ok(t)
			} else {
				a.refusedFor(t, v.typ, v.why)
			}
		})
	}
}

func TestKeyChange(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	taken := newHand(t, ca).register()
	url := c.dir["keyChange"].(string)
	next, _ := newKey()
	nonce := ""
	inner := func(key crypto.Signer, url, account string, old crypto.PublicKey) string {
		o := &jose.SignerOptions{EmbedJWK: true, ExtraHeaders: map[jose.HeaderKey]any{"url": url}}
		if nonce != "" {
			o.ExtraHeaders["nonce"] = nonce
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key}}, o)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(encode(map[string]any{"account": account, "oldKey": jose.JSONWebKey{Key: old}}))
		if err != nil {
			t.Fatal(err)
		}
		return jws.FullSerialize()
	}
	c.post(url, inner(next, url+"2", c.kid, c.key.Public()), signing{}).refusedFor(t, "malformed", "url is not")
	c.post(url, inner(next, url, taken.kid, c.key.Public()), signing{}).refusedFor(t, "malformed", "not the signer's")
	c.post(url, inner(next, url, c.kid, next.Public()), signing{}).refusedFor(t, "malformed", "oldKey is not")
	nonce = "AAAA"
	c.post(url, inner(next, url, c.kid, c.key.Public()), signing{}).refusedFor(t, "malformed", "nonce must be absent")
	nonce = ""
	kid := header(map[string]any{"alg": "ES256", "url": url, "kid": c.kid})
	c.post(url, string(kid([]byte(inner(next, url, c.kid, c.key.Public())))), signing{}).refusedFor(t, "malformed", "wants jwk")
	c.post(url, string(flip([]byte(inner(next, url, c.kid, c.key.Public())))), signing{}).refusedFor(t, "malformed", "does not hold")
	a := c.post(url, inner(taken.key, url, c.kid, c.key.Public()), signing{})
	if a.refused(t, "malformed"); a.status != 409 || a.header.Get("Location") != taken.kid {
		t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
	c.post(url, inner(next, url, c.kid, c.key.Public()), signing{}).ok(t)
	c.post(c.kid, nil, signing{}).refused(t, "malformed") // the old key is no good any more
	c.key = next
	c.post(c.kid, nil, signing{}).ok(t)
}
