package fakeca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// Algorithms taken from accounts, and those for an external account's MAC.
var (
	accountAlgs = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
	macAlgs     = map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}
)

// verified is what a JWS says once its signature held.
type verified struct {
	key     *jose.JSONWebKey // the account's, or the one in the header
	account *account         // nil when signed by jwk
	payload []byte           // empty, never nil
}

// protected is a JWS's protected header (RFC 8555 §6.2).
type protected struct {
	Alg   string           `json:"alg"`
	Nonce *string          `json:"nonce"`
	URL   *string          `json:"url"`
	KID   *string          `json:"kid"`
	JWK   *json.RawMessage `json:"jwk"`
	Crit  []string         `json:"crit"`
	B64   *bool            `json:"b64"`
}

// verify checks the request's JWS from the outside in and fills q.jws.
// ca.mu is held.
func (ca *CA) verify(q *request) *Problem {
	mediaType, _, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/jose+json" {
		return fault(415, "malformed", "Content-Type %q is not application/jose+json (RFC 8555 §6.2)", q.http.Header.Get("Content-Type"))
	}
	h, payload, p := readJWS(q.body)
	if p != nil {
		return p
	}
	here := ca.base + q.http.URL.RequestURI()
	switch {
	case h.URL == nil:
		return fault(400, "malformed", "no url in the protected header (§6.4)")
	case *h.URL != here:
		return fault(401, "unauthorized", "url header %q, request URL %q (§6.4.1)", *h.URL, here)
	case h.Nonce == nil:
		return fault(400, "badNonce", "no nonce in the protected header (§6.5)")
	case (h.KID == nil) == (h.JWK == nil):
		return fault(400, "malformed", "not exactly one of jwk and kid (§6.2)")
	}

	v := &verified{payload: payload}
	if h.JWK != nil {
		if q.kind != NewAccount && q.kind != Revoke {
			return fault(400, "malformed", "jwk where kid is needed (§6.2)")
		}
		if v.key, p = readJWK(*h.JWK); p != nil {
			return p
		}
	} else {
		if q.kind == NewAccount {
			return fault(400, "malformed", "kid where jwk is needed (§6.2)")
		}
		if v.account = ca.accountAt(*h.KID); v.account == nil {
			return refuse(400, "accountDoesNotExist", "no account %q", *h.KID)
		}
		v.key = v.account.key
	}
	if p := checkSignature(q.body, h.Alg, v.key, payload); p != nil {
		return p
	}
	if p := ca.useNonce(*h.Nonce); p != nil {
		return p
	}
	if v.account != nil && v.account.status != "valid" {
		return refuse(401, "unauthorized", "account is %s", v.account.status)
	}
	q.jws = v
	return nil
}

// readJWS takes a flattened JWS apart (RFC 7515 §7.2.2, RFC 8555 §6.2).
func readJWS(data []byte) (*protected, []byte, *Problem) {
	members, err := readObject(data)
	if err != nil {
		return nil, nil, fault(400, "malformed", "body is no JSON object: %v", err)
	}
	part := map[string][]byte{}
	for name, raw := range members {
		switch name {
		case "protected", "payload", "signature":
		default:
			return nil, nil, fault(400, "malformed", "member %q in the JWS; flattened and without unprotected header it must be", name)
		}
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil || text == nil {
			return nil, nil, fault(400, "malformed", "JWS member %q is %s, no string", name, raw)
		}
		if part[name], err = decode64(*text); err != nil {
			return nil, nil, fault(400, "malformed", "JWS member %q is no base64url: %v", name, err)
		}
	}
	for _, name := range []string{"protected", "payload", "signature"} {
		if part[name] == nil {
			return nil, nil, fault(400, "malformed", "JWS has no member %q (for POST-as-GET the payload is the empty string, §6.3)", name)
		}
	}
	if _, err := readObject(part["protected"]); err != nil {
		return nil, nil, fault(400, "malformed", "protected header: %v", err)
	}
	var h protected
	if err := json.Unmarshal(part["protected"], &h); err != nil {
		return nil, nil, fault(400, "malformed", "protected header: %v", err)
	}
	if h.Crit != nil || h.B64 != nil {
		return nil, nil, fault(400, "malformed", "crit or b64 in the protected header (§6.2)")
	}
	if h.Nonce != nil {
		if n, err := decode64(*h.Nonce); err != nil || len(n) == 0 {
			return nil, nil, fault(400, "malformed", "nonce %q is no base64url (§6.5.2)", *h.Nonce)
		}
	}
	return &h, part["payload"], nil
}

// readJWK reads a public key from a header or an object.
func readJWK(raw []byte) (*jose.JSONWebKey, *Problem) {
	k := new(jose.JSONWebKey)
	if err := k.UnmarshalJSON(raw); err != nil {
		return nil, fault(400, "badPublicKey", "jwk: %v", err)
	}
	if !k.Valid() || !k.IsPublic() {
		return nil, fault(400, "badPublicKey", "jwk is not a valid public key")
	}
	if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
		return nil, refuse(400, "badPublicKey", "RSA key of %d bits", r.N.BitLen())
	}
	return k, nil
}

// algOf is the one algorithm a key signs with (RFC 7518 §3.1, RFC 8037 §3.1).
func algOf(key any) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return jose.RS256
	case ed25519.PublicKey:
		return jose.EdDSA
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256
		case elliptic.P384():
			return jose.ES384
		case elliptic.P521():
			return jose.ES512
		}
	}
	return ""
}

func checkSignature(body []byte, alg string, key *jose.JSONWebKey, payload []byte) *Problem {
	if alg != string(algOf(key.Key)) {
		p := fault(400, "badSignatureAlgorithm", "alg %q for a key of type %T", alg, key.Key)
		for _, a := range accountAlgs {
			p.Algorithms = append(p.Algorithms, string(a))
		}
		return p
	}
	if key.Algorithm != "" && key.Algorithm != alg {
		return fault(400, "badSignatureAlgorithm", "alg %q, but the jwk says %q", alg, key.Algorithm)
	}
	jws, err := jose.ParseSignedJSON(string(body), accountAlgs)
	if err != nil {
		return fault(400, "malformed", "JWS: %v", err)
	}
	signed, err := jws.Verify(key.Key)
	if err != nil {
		return fault(400, "malformed", "signature does not hold: %v", err)
	}
	if !bytes.Equal(signed, payload) {
		return fault(400, "malformed", "payload read twice differs")
	}
	return nil
}

// newNonce makes a nonce that is good once. ca.mu is held.
func (ca *CA) newNonce() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	n := base64.RawURLEncoding.EncodeToString(b)
	ca.nonces[n] = true
	return n
}

// useNonce takes a nonce out of those given (RFC 8555 §6.5). ca.mu is held.
func (ca *CA) useNonce(n string) *Problem {
	fresh, known := ca.nonces[n]
	ca.nonces[n] = false
	switch {
	case !known:
		return fault(400, "badNonce", "nonce %q was never given", n)
	case !fresh:
		return fault(400, "badNonce", "nonce %q was used before", n)
	case ca.quirks.rejectNonces != 0:
		if ca.quirks.rejectNonces > 0 {
			ca.quirks.rejectNonces--
		}
		return refuse(400, "badNonce", "nonce is stale")
	}
	return nil
}

// checkEAB verifies an externalAccountBinding (RFC 8555 §7.3.4): a JWS within,
// with the MAC key of kid, whose payload is the account's key. ca.mu is held.
func (ca *CA) checkEAB(raw json.RawMessage, accountKey *jose.JSONWebKey) *Problem {
	h, payload, p := readJWS(raw)
	if p != nil {
		p.Detail = "externalAccountBinding: " + p.Detail
		return p
	}
	switch {
	case h.KID == nil || h.JWK != nil || h.Nonce != nil:
		return fault(400, "malformed", "externalAccountBinding: wants kid, and neither jwk nor nonce")
	case h.URL == nil || *h.URL != ca.url(NewAccount, ""):
		return fault(400, "malformed", "externalAccountBinding: url is not that of the outer JWS")
	}
	mac, ok := ca.policy.eab[*h.KID]
	if !ok {
		return refuse(401, "unauthorized", "no external account %q", *h.KID)
	}
	newHash := macAlgs[h.Alg]
	if newHash == nil {
		return fault(400, "badSignatureAlgorithm", "externalAccountBinding: alg %q", h.Alg)
	}
	if !checkMAC(raw, newHash, mac) {
		return refuse(401, "unauthorized", "externalAccountBinding: MAC does not hold")
	}
	inner, p := readJWK(payload)
	if p != nil {
		return p
	}
	if thumbprint(inner) != thumbprint(accountKey) {
		return fault(400, "malformed", "externalAccountBinding: payload is not the account's key")
	}
	return nil
}

// checkMAC does it by hand: go-jose refuses the short keys that some CAs give.
func checkMAC(jws []byte, newHash func() hash.Hash, key []byte) bool {
	var in struct{ Protected, Payload, Signature string }
	if json.Unmarshal(jws, &in) != nil {
		return false
	}
	m := hmac.New(newHash, key)
	m.Write([]byte(in.Protected + "." + in.Payload))
	given, err := decode64(in.Signature)
	return err == nil && hmac.Equal(given, m.Sum(nil))
}

// thumbprint is the RFC 7638 SHA-256 thumbprint in base64url.
func thumbprint(k *jose.JSONWebKey) string {
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		panic(err) // only keys that readJWK took come here
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// decode64 reads base64url as RFC 7515 §2 has it: no padding, no line breaks,
// no stray bits. The result is never nil.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// readObject reads one JSON object; a member given twice is an error.
func readObject(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("begins with %v (%v)", t, err)
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %q twice", name)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		members[name] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something after the object")
	}
	return members, nil
}

// readPayload reads a payload that must be an object into v; members v does
// not have are ignored (RFC 8555 §7.1 wants that of servers as well).
func (q *request) readPayload(v any) *Problem {
	if len(q.jws.payload) == 0 {
		return fault(400, "malformed", "empty payload where an object is needed")
	}
	if _, err := readObject(q.jws.payload); err != nil {
		return fault(400, "malformed", "payload: %v", err)
	}
	if err := json.Unmarshal(q.jws.payload, v); err != nil {
		return fault(400, "malformed", "payload: %v", err)
	}
	return nil
}

// postAsGet says whether the request only reads (RFC 8555 §6.3).
func (q *request) postAsGet() bool { return len(q.jws.payload) == 0 }
