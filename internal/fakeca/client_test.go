package fakeca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

// hand is a client made by hand: just enough to run a whole issue, and every
// part of a signed request can be put wrong.
type hand struct {
	t     *testing.T
	ca    *CA
	key   crypto.Signer
	kid   string
	nonce string
	dir   map[string]any
}

// answered is a reply read whole.
type answered struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

// signing says how a request departs from a good one; zero is a good one.
type signing struct {
	key         crypto.Signer           // signs instead of the account's
	alg         jose.SignatureAlgorithm // instead of the key's
	jwk         bool                    // jwk instead of kid
	nonce       string
	noNonce     bool
	url         string // in the header
	noURL       bool
	contentType string
	agent       string
	header      map[string]any           // more protected header members
	body        func(body []byte) []byte // the JWS, changed after signing
	method      string
}

func newHand(t *testing.T, ca *CA) *hand {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &hand{t: t, ca: ca, key: key}
	c.dir = c.do("GET", ca.URL(), nil, signing{}).json
	return c
}

func (c *hand) do(method, url string, body []byte, s signing) answered {
	c.t.Helper()
	a, err := c.try(method, url, body, s)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *hand) try(method, url string, body []byte, s signing) (answered, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	agent := "hand/1"
	if s.agent != "" {
		agent = strings.TrimSpace(s.agent)
	}
	req.Header.Set("User-Agent", agent)
	if method == "POST" {
		req.Header.Set("Content-Type", "application/jose+json")
		if s.contentType != "" {
			req.Header.Set("Content-Type", s.contentType)
		}
	}
	res, err := c.ca.HTTPClient().Do(req)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = res.Body.Close() }()
	a := answered{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return a, err
	}
	_ = json.Unmarshal(a.body, &a.json)
	if n := res.Header.Get("Replay-Nonce"); n != "" {
		c.nonce = n
	}
	return a, nil
}

// sign makes a JWS of the payload, nil for POST-as-GET.
func (c *hand) sign(url string, payload []byte, s signing) []byte {
	c.t.Helper()
	if c.nonce == "" {
		c.do("HEAD", c.dir["newNonce"].(string), nil, signing{})
	}
	key := c.key
	if s.key != nil {
		key = s.key
	}
	alg := algOf(key.Public())
	if s.alg != "" {
		alg = s.alg
	}
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	if !s.noURL {
		o.ExtraHeaders["url"] = url
	}
	if s.url != "" {
		o.ExtraHeaders["url"] = s.url
	}
	if !s.noNonce {
		o.ExtraHeaders["nonce"] = c.nonce
		c.nonce = ""
	}
	if s.nonce != "" {
		o.ExtraHeaders["nonce"] = s.nonce
	}
	jwk := jose.JSONWebKey{Key: key}
	if c.kid != "" && !s.jwk {
		jwk.KeyID = c.kid
	} else {
		o.EmbedJWK = true
	}
	for k, v := range s.header {
		o.ExtraHeaders[jose.HeaderKey(k)] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jwk}, o)
	if err != nil {
		c.t.Fatal(err)
	}
	if payload == nil {
		payload = []byte{}
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	body := []byte(jws.FullSerialize())
	if s.body != nil {
		body = s.body(body)
	}
	return body
}

// post signs v (nil for POST-as-GET) and sends it.
func (c *hand) post(url string, v any, s signing) answered {
	c.t.Helper()
	var payload []byte
	switch v := v.(type) {
	case nil:
	case string:
		payload = []byte(v)
	default:
		payload = encode(v)
	}
	method := "POST"
	if s.method != "" {
		method = s.method
	}
	return c.do(method, url, c.sign(url, payload, s), s)
}

// ok fails the test unless the reply is a success.
func (a answered) ok(t *testing.T) answered {
	t.Helper()
	if a.status/100 != 2 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	return a
}

// refused fails the test unless the reply is a problem of that type.
func (a answered) refused(t *testing.T, typ string) {
	t.Helper()
	if a.status/100 != 4 && a.status/100 != 5 || a.json["type"] != errorPrefix+typ {
		t.Errorf("status %d: %s; want problem %s", a.status, a.body, typ)
	}
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("problem with content type %q", a.header.Get("Content-Type"))
	}
}

// refusedFor is refused, with why in the detail.
func (a answered) refusedFor(t *testing.T, typ, why string) {
	t.Helper()
	a.refused(t, typ)
	if detail, _ := a.json["detail"].(string); !strings.Contains(detail, why) {
		t.Errorf("refused with %q, want %q in it", detail, why)
	}
}

func (c *hand) register() *hand {
	c.t.Helper()
	a := c.post(c.dir["newAccount"].(string), map[string]any{"termsOfServiceAgreed": true}, signing{}).ok(c.t)
	c.kid = a.header.Get("Location")
	return c
}

func (c *hand) csr(key crypto.Signer, names ...string) string {
	c.t.Helper()
	t := &x509.CertificateRequest{}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificateRequest(nil, t, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

func identifiers(names ...string) (ids []Identifier) {
	for _, n := range names {
		typ := "dns"
		if net.ParseIP(n) != nil {
			typ = "ip"
		}
		ids = append(ids, Identifier{typ, n})
	}
	return ids
}

// order makes an order and accepts one challenge of that type for each name.
func (c *hand) order(typ string, names ...string) (url string, order answered) {
	c.t.Helper()
	order = c.post(c.dir["newOrder"].(string), map[string]any{"identifiers": identifiers(names...)}, signing{}).ok(c.t)
	for _, a := range order.json["authorizations"].([]any) {
		az := c.post(a.(string), nil, signing{}).ok(c.t)
		for _, ch := range az.json["challenges"].([]any) {
			ch := ch.(map[string]any)
			if ch["type"] == typ && az.json["status"] == "pending" {
				c.post(ch["url"].(string), "{}", signing{}).ok(c.t)
			}
		}
	}
	return order.header.Get("Location"), order
}

// issue runs the whole of RFC 8555 §7.1's table for names.
func (c *hand) issue(typ string, names ...string) (certURL string, chain []*x509.Certificate) {
	c.t.Helper()
	url, order := c.order(typ, names...)
	if o := c.post(url, nil, signing{}).ok(c.t); o.json["status"] != "ready" {
		c.t.Fatalf("order is %s, want ready", o.body)
	}
	key, err := newKey()
	if err != nil {
		c.t.Fatal(err)
	}
	o := c.post(order.json["finalize"].(string), map[string]string{"csr": c.csr(key, names...)}, signing{}).ok(c.t)
	for i := 0; o.json["status"] == "processing" && i < 5; i++ {
		o = c.post(url, nil, signing{}).ok(c.t)
	}
	if o.json["status"] != "valid" {
		c.t.Fatalf("order is %s, want valid", o.body)
	}
	certURL = o.json["certificate"].(string)
	return certURL, parseChain(c.t, c.post(certURL, nil, signing{}).ok(c.t).body)
}

func parseChain(t *testing.T, data []byte) (chain []*x509.Certificate) {
	t.Helper()
	for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
		if b.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}
