package fakeca

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// obj is short for a JSON object.
type obj = map[string]any

func TestAccountLife(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca)
	url := c.dir["newAccount"].(string)
	c.post(url, obj{"onlyReturnExisting": true}, signing{}).refused(t, "accountDoesNotExist")
	c.post(url, obj{}, signing{}).refused(t, "userActionRequired")
	c.post(url, obj{"termsOfServiceAgreed": true, "contact": []string{"tel:+1"}}, signing{}).refused(t, "unsupportedContact")
	c.post(url, obj{"termsOfServiceAgreed": true, "contact": []string{"mailto:a@example.org,b@example.org"}}, signing{}).refused(t, "invalidContact")
	c.post(url, obj{"termsOfServiceAgreed": true, "contact": []string{"mailto:%zz\x7f"}}, signing{}).refused(t, "invalidContact")
	made := c.post(url, obj{"termsOfServiceAgreed": true, "contact": []string{"mailto:a@example.org"}}, signing{}).ok(t)
	again := c.post(url, obj{"onlyReturnExisting": true}, signing{}).ok(t)
	if made.status != 201 || again.status != 200 || again.header.Get("Location") != made.header.Get("Location") {
		t.Errorf("made %d %q, again %d %q", made.status, made.header.Get("Location"), again.status, again.header.Get("Location"))
	}
	c.kid = made.header.Get("Location")
	if a := c.post(c.kid, obj{"contact": []string{}}, signing{}).ok(t); a.json["contact"] != nil {
		t.Errorf("contact still %s", a.body)
	}
	c.order("http-01", "example.org")
	if a := c.post(made.json["orders"].(string), nil, signing{}).ok(t); len(a.json["orders"].([]any)) != 1 {
		t.Errorf("orders: %s", a.body)
	}
	if a := c.post(c.kid, obj{"status": "deactivated"}, signing{}).ok(t); a.json["status"] != "deactivated" {
		t.Errorf("%s", a.body)
	}
	c.post(c.kid, nil, signing{}).refused(t, "unauthorized")
	c.kid = ""
	c.post(url, obj{"termsOfServiceAgreed": true}, signing{}).refused(t, "unauthorized")
}

func TestNoTermsNoAgreement(t *testing.T) {
	ca := New(t).TermsOfService("")
	c := newHand(t, ca)
	if c.dir["meta"].(obj)["termsOfService"] != nil {
		t.Error("terms in the directory")
	}
	c.post(c.dir["newAccount"].(string), obj{}, signing{}).ok(t)
}

func TestIdentifiersThatAreRefused(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	for value, typ := range map[string]string{
		"dns Example.org": "rejectedIdentifier", "dns example.org.": "rejectedIdentifier", "dns *.*.example.org": "rejectedIdentifier",
		"dns 192.0.2.1": "rejectedIdentifier", "dns münchen.example": "rejectedIdentifier", "dns localhost": "rejectedIdentifier",
		"ip 2001:DB8::1": "malformed", "ip ::ffff:192.0.2.1": "malformed", "ip fe80::1%eth0": "malformed", "onion x": "unsupportedIdentifier",
	} {
		kind, name, _ := strings.Cut(value, " ")
		c.post(c.dir["newOrder"].(string), obj{"identifiers": []Identifier{{kind, name}}}, signing{}).refused(t, typ)
	}
}

func TestOrderGoesThroughItsStates(t *testing.T) {
	ca := New(t).Processing(3).ValidationPolls(2).RetryAfter(1500 * time.Millisecond)
	c := newHand(t, ca).register()
	url, order := c.order("http-01", "example.org", "www.example.org")
	key, _ := newKey()
	csr := obj{"csr": c.csr(key, "example.org", "www.example.org")}
	finalize := order.json["finalize"].(string)
	c.post(finalize, csr, signing{}).refused(t, "orderNotReady")
	poll := func(want string) {
		t.Helper()
		a := c.post(url, nil, signing{}).ok(t)
		if a.json["status"] != want {
			t.Errorf("order %s, want %s", a.json["status"], want)
		}
		if waits := want == "pending" || want == "processing"; (a.header.Get("Retry-After") == "2") != waits {
			t.Errorf("%s: Retry-After %q", want, a.header.Get("Retry-After"))
		}
	}
	poll("pending")
	poll("pending")
	poll("ready")
	poll("ready")
	if a := c.post(finalize, csr, signing{}).ok(t); a.json["status"] != "processing" || a.header.Get("Location") != "" {
		t.Errorf("finalize: %s", a.body)
	}
	c.post(finalize, csr, signing{}).refused(t, "orderNotReady")
	poll("processing")
	poll("processing")
	poll("valid")
	poll("valid")
}

func TestSyncStuckAndFailingIssuance(t *testing.T) {
	ca := New(t).ReadyOrder().SyncFinalize()
	c := newHand(t, ca).register()
	finalize := func() (string, answered) {
		url, order := c.order("http-01", "example.org")
		if order.json["status"] != "ready" {
			t.Errorf("new order is %s", order.json["status"])
		}
		key, _ := newKey()
		return url, c.post(order.json["finalize"].(string), obj{"csr": c.csr(key, "example.org")}, signing{}).ok(t)
	}
	if _, a := finalize(); a.json["status"] != "valid" || a.json["certificate"] == nil {
		t.Errorf("sync: %s", a.body)
	}
	ca.StuckProcessing()
	url, _ := finalize()
	for range 5 {
		if a := c.post(url, nil, signing{}); a.json["status"] != "processing" {
			t.Errorf("stuck: %s", a.body)
		}
	}
	ca.Unstick()
	if a := c.post(url, nil, signing{}); a.json["status"] != "valid" {
		t.Errorf("unstuck: %s", a.body)
	}
	ca.FailIssuance("caa", "no")
	url, _ = finalize()
	if a := c.post(url, nil, signing{}); a.json["status"] != "invalid" || a.json["error"] == nil {
		t.Errorf("failed: %s", a.body)
	}
}

func TestCSRMustBeTheOrders(t *testing.T) {
	ca := New(t).ReadyOrder().Tolerate()
	c := newHand(t, ca).register()
	_, order := c.order("", "example.org", "192.0.2.1")
	finalize := order.json["finalize"].(string)
	key, _ := newKey()
	t.Setenv("GODEBUG", "rsa1024min=0")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := c.csr(key, "example.org", "192.0.2.1")
	der, _ := base64.RawURLEncoding.DecodeString(good)
	der[len(der)-1] ^= 1
	for what, csr := range map[string]string{
		"no CSR at all":      "AAAA",
		"an e-mail address":  encodeCSR(t, key, &x509.CertificateRequest{DNSNames: []string{"example.org"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, EmailAddresses: []string{"a@example.org"}}),
		"a short RSA key":    encodeCSR(t, short, &x509.CertificateRequest{DNSNames: []string{"example.org"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}),
		"another CN":         encodeCSR(t, key, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "example.com"}, DNSNames: []string{"example.org"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}),
		"a name missing":     c.csr(key, "example.org"),
		"a name too many":    c.csr(key, "example.org", "192.0.2.1", "www.example.org"),
		"another name":       c.csr(key, "example.com", "192.0.2.1"),
		"the account's key":  c.csr(c.key, "example.org", "192.0.2.1"),
		"a broken signature": base64.RawURLEncoding.EncodeToString(der),
	} {
		t.Run(what, func(t *testing.T) {
			c.post(finalize, obj{"csr": csr}, signing{}).refused(t, "badCSR")
		})
	}
	c.post(finalize, obj{"csr": good + "="}, signing{}).refused(t, "malformed")
	c.post(finalize, nil, signing{}).refused(t, "malformed")
	c.post(finalize, obj{"csr": good}, signing{}).ok(t)
}

func encodeCSR(t *testing.T, key crypto.Signer, c *x509.CertificateRequest) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, c, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(der)
}

func TestAuthorizationsAndChallenges(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	order := c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("*.example.org", "192.0.2.1", "example.org", "example.org")}, signing{}).ok(t)
	urls := order.json["authorizations"].([]any)
	if len(urls) != 3 {
		t.Fatalf("%d authorizations", len(urls))
	}
	want := []string{"smoke-signal-01 dns-01", "smoke-signal-01 http-01 tls-alpn-01", "smoke-signal-01 http-01 dns-01 tls-alpn-01"}
	for i, u := range urls {
		a := c.post(u.(string), nil, signing{}).ok(t)
		var types []string
		for _, ch := range a.json["challenges"].([]any) {
			ch := ch.(obj)
			types = append(types, ch["type"].(string))
			if _, has := ch["token"]; has != (ch["type"] != UnknownChallenge) {
				t.Errorf("%v", ch)
			}
		}
		if got := strings.Join(types, " "); got != want[i] {
			t.Errorf("challenges %q, want %q", got, want[i])
		}
		if wild := a.json["wildcard"] == true; wild != (i == 0) {
			t.Errorf("%s", a.body)
		}
	}
	last := c.post(urls[2].(string), nil, signing{}).ok(t)
	challenge := func(n int) string { return last.json["challenges"].([]any)[n].(obj)["url"].(string) }
	c.post(challenge(0), "{}", signing{}).refused(t, "malformed") // unknown type
	for _, body := range []string{`{"keyAuthorization":"x"}`, "null", "[]", "{ }"} {
		c.post(challenge(1), body, signing{}).refused(t, "malformed")
	}
	if a := c.post(challenge(1), nil, signing{}).ok(t); a.json["status"] != "pending" {
		t.Errorf("reading a challenge accepted it: %s", a.body)
	}
	if a := c.post(challenge(1), "{}", signing{}).ok(t); !strings.Contains(strings.Join(a.header["Link"], " "), `rel="up"`) || a.json["status"] != "processing" {
		t.Errorf("%s %v", a.body, a.header)
	}
	c.post(challenge(2), "{}", signing{}).refused(t, "malformed") // a second one
	if a := c.post(challenge(1), nil, signing{}).ok(t); a.json["status"] != "valid" {
		t.Errorf("%s", a.body)
	}
	if a := c.post(urls[2].(string), obj{"status": "deactivated"}, signing{}).ok(t); a.json["status"] != "deactivated" {
		t.Errorf("%s", a.body)
	}
	if a := c.post(order.header.Get("Location"), nil, signing{}).ok(t); a.json["status"] != "invalid" {
		t.Errorf("%s", a.body)
	}
}

func TestOthersCannotLook(t *testing.T) {
	ca := New(t)
	c, thief := newHand(t, ca).register(), newHand(t, ca).register()
	cert, chain := c.issue("http-01", "example.org")
	url, order := c.order("http-01", "example.org")
	for _, u := range []string{url, cert, order.json["authorizations"].([]any)[0].(string)} {
		thief.post(u, nil, signing{}).refused(t, "unauthorized")
	}
	thief.post(c.kid, nil, signing{}).refused(t, "unauthorized")
	thief.post(c.post(c.kid, nil, signing{}).json["orders"].(string), nil, signing{}).refused(t, "unauthorized")
	az := c.post(order.json["authorizations"].([]any)[0].(string), nil, signing{}).ok(t)
	thief.post(az.json["challenges"].([]any)[1].(obj)["url"].(string), "{}", signing{}).refused(t, "unauthorized")
	key, _ := newKey()
	thief.post(order.json["finalize"].(string), obj{"csr": c.csr(key, "example.org")}, signing{}).refused(t, "unauthorized")
	replaces := obj{"identifiers": identifiers("example.org"), "replaces": ariID(chain[0])}
	ca.RenewalInfo()
	thief.post(c.dir["newOrder"].(string), replaces, signing{}).refusedFor(t, "malformed", "no certificate of yours")
	thief.post(c.dir["revokeCert"].(string), obj{"certificate": base64.RawURLEncoding.EncodeToString(chain[0].Raw)}, signing{}).refused(t, "unauthorized")
}

func TestWhatIsNotThere(t *testing.T) {
	ca := New(t).RenewalInfo()
	c := newHand(t, ca).register()
	for _, kind := range []string{Order, Authz, Challenge, Finalize, Certificate} {
		c.post(ca.url(kind, "99"), nil, signing{}).refusedFor(t, "malformed", "no such")
	}
	url, _ := c.issue("http-01", "example.org")
	c.post(url+"/1", nil, signing{}).refusedFor(t, "malformed", "no such") // alternates are off
	c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("example.org"), "replaces": "AAAA.AAAA"}, signing{}).refused(t, "malformed")
}

func TestReadingWantsAnEmptyPayload(t *testing.T) {
	ca := New(t).Tolerate()
	c := newHand(t, ca).register()
	cert, _ := c.issue("http-01", "example.org")
	url, order := c.order("http-01", "example.org")
	authz := order.json["authorizations"].([]any)[0].(string)
	orders := c.post(c.kid, nil, signing{}).json["orders"].(string)
	for _, u := range []string{cert, url, orders} {
		c.post(u, "{}", signing{}).refusedFor(t, "malformed", "POST-as-GET")
	}
	c.post(authz, "{}", signing{}).refusedFor(t, "malformed", "status")
	c.post(authz, obj{"status": "deactivated"}, signing{}).ok(t)
	c.post(authz, obj{"status": "deactivated"}, signing{}).refusedFor(t, "malformed", "is deactivated")
	az := c.post(authz, nil, signing{}).ok(t)
	c.post(az.json["challenges"].([]any)[1].(obj)["url"].(string), "{}", signing{}).refusedFor(t, "malformed", "is deactivated")
	c.post(c.dir["newOrder"].(string), "{}", signing{}).refusedFor(t, "malformed", "no identifiers")
	c.do("POST", c.dir["newNonce"].(string), nil, signing{}).refusedFor(t, "malformed", "only GET")
	c.post(c.dir["revokeCert"].(string), obj{"certificate": "a+b="}, signing{}).refusedFor(t, "malformed", "base64url")
}

func TestFailedValidationIsToldInOrderAndAuthorization(t *testing.T) {
	ca := New(t).FailValidation("b.example.org", "dns", "no such host").PreValidated("c.example.org")
	c := newHand(t, ca).register()
	url, order := c.order("http-01", "a.example.org", "b.example.org", "c.example.org")
	a := c.post(url, nil, signing{}).ok(t)
	if a.json["status"] != "invalid" || a.json["error"].(obj)["type"] != errorPrefix+"dns" {
		t.Errorf("%s", a.body)
	}
	for i, want := range []string{"valid", "invalid", "valid"} {
		a := c.post(order.json["authorizations"].([]any)[i].(string), nil, signing{}).ok(t)
		if a.json["status"] != want {
			t.Errorf("%s", a.body)
		}
		if strings.Contains(string(a.body), "no such host") != (want == "invalid") {
			t.Errorf("%s", a.body)
		}
	}
}

func TestHTTP01IsReallyFetched(t *testing.T) {
	var body string
	var host string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host = r.Host
		if strings.Contains(body, "404") {
			w.WriteHeader(404)
			body = strings.TrimPrefix(body, "404")
		}
		_, _ = io.WriteString(w, body)
	}))
	defer web.Close()
	u, _ := url.Parse(web.URL)
	port, _ := strconv.Atoi(u.Port())
	ca := New(t).ValidateHTTP(port)
	c := newHand(t, ca).register()
	var right string
	ca.Validate("http-01", func(v Validation) *Problem {
		right = v.KeyAuth
		return fetchHTTP01(port, v)
	})
	for _, v := range []struct{ what, before, after, status string }{
		{"exact", "", "", "ready"}, {"newline after", "", "\n", "invalid"}, {"wrong", "x", "", "invalid"}, {"right, but 404", "404", "", "invalid"},
	} {
		// the body is known only once the CA asks
		ca.Validate("http-01", func(val Validation) *Problem {
			right = val.KeyAuth
			body = v.before + right + v.after
			return fetchHTTP01(port, val)
		})
		url, _ := c.order("http-01", "example.org")
		if a := c.post(url, nil, signing{}).ok(t); a.json["status"] != v.status {
			t.Errorf("%s: %s", v.what, a.body)
		}
	}
	if host != "example.org" {
		t.Errorf("Host %q", host)
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	free := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	ca.ValidateHTTP(free)
	url, _ := c.order("http-01", "2001:db8::1")
	if a := c.post(url, nil, signing{}).ok(t); a.json["error"].(obj)["type"] != errorPrefix+"connection" {
		t.Errorf("%s", a.body)
	}
}

func TestALPN01IsReallyTried(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	for _, v := range []struct {
		what, name, server string
		change             func(*x509.Certificate)
		protos             []string
		status             string
	}{
		{"right", "example.org", "example.org", nil, nil, "ready"},
		{"right for IPv4", "192.0.2.1", "1.2.0.192.in-addr.arpa", nil, nil, "ready"},
		{"right for IPv6", "2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", nil, nil, "ready"},
		{"one name more", "example.org", "example.org", func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "www.example.org") }, nil, "invalid"},
		{"not critical", "example.org", "example.org", func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = false }, nil, "invalid"},
		{"without extension", "example.org", "example.org", func(c *x509.Certificate) { c.ExtraExtensions = nil }, nil, "invalid"},
		{"wrong digest", "example.org", "example.org", func(c *x509.Certificate) { c.ExtraExtensions[0].Value[9] ^= 1 }, nil, "invalid"},
		{"no ALPN", "example.org", "example.org", nil, []string{}, "invalid"},
	} {
		t.Run(v.what, func(t *testing.T) {
			var asked string
			var cert tls.Certificate
			protos := []string{"acme-tls/1"}
			if v.protos != nil {
				protos = v.protos
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: protos, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				asked = h.ServerName
				return &cert, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			ca.Validate("tls-alpn-01", func(val Validation) *Problem {
				sum := sha256.Sum256([]byte(val.KeyAuth))
				value, _ := asn1.Marshal(sum[:])
				key, _ := newKey()
				tmpl := caTemplate("")
				tmpl.IsCA, tmpl.ExtraExtensions = false, []pkix.Extension{{Id: acmeIdentifier, Critical: true, Value: value}}
				addName(tmpl, val.Name)
				if v.change != nil {
					v.change(tmpl)
				}
				made, err := sign(tmpl, key, signer{})
				if err != nil {
					t.Error(err)
				}
				cert = tls.Certificate{Certificate: [][]byte{made.cert.Raw}, PrivateKey: key}
				return tryALPN(l.Addr().(*net.TCPAddr).Port, val)
			})
			url, _ := c.order("tls-alpn-01", v.name)
			if a := c.post(url, nil, signing{}).ok(t); a.json["status"] != v.status {
				t.Errorf("%s", a.body)
			}
			if v.status == "ready" && asked != v.server {
				t.Errorf("server name %q, want %q", asked, v.server)
			}
		})
	}
	ca.ValidateALPN(1)
	url, _ := c.order("tls-alpn-01", "example.org")
	if a := c.post(url, nil, signing{}).ok(t); a.json["error"].(obj)["type"] != errorPrefix+"connection" {
		t.Errorf("%s", a.body)
	}
}

func TestDatesAndLifetime(t *testing.T) {
	ca := New(t).Lifetime(6 * 24 * time.Hour).ReadyOrder().SyncFinalize()
	c := newHand(t, ca).register()
	_, chain := c.issue("http-01", "example.org")
	if d := time.Until(chain[0].NotAfter); d < 143*time.Hour || d > 144*time.Hour {
		t.Errorf("lives %v", d)
	}
	from, until := time.Now().Add(time.Hour).Truncate(time.Second).UTC(), time.Now().Add(30*time.Hour).Truncate(time.Second).UTC()
	order := c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("example.org"), "notBefore": stamp(from), "notAfter": stamp(until)}, signing{}).ok(t)
	if order.json["notAfter"] != stamp(until) {
		t.Errorf("%s", order.body)
	}
	key, _ := newKey()
	c.post(order.json["finalize"].(string), obj{"csr": c.csr(key, "example.org")}, signing{}).ok(t)
	leaf := ca.Issued()[1]
	if !leaf.NotBefore.Equal(from) || !leaf.NotAfter.Equal(until) {
		t.Errorf("from %v until %v, want %v %v", leaf.NotBefore, leaf.NotAfter, from, until)
	}
	c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("example.org"), "notAfter": "2001-01-01T00:00:00Z"}, signing{}).refused(t, "malformed")
}

func TestAlternateChain(t *testing.T) {
	ca := New(t).Alternate()
	c := newHand(t, ca).register()
	url, chain := c.issue("http-01", "example.org")
	wantVerifies(t, chain, ca.Root(), "example.org")
	a := c.post(url+"/1", nil, signing{}).ok(t)
	wantVerifies(t, parseChain(t, a.body), ca.AlternateRoot(), "example.org")
	if links := strings.Join(a.header["Link"], ", "); !strings.Contains(links, "<"+url+`>;rel="alternate"`) {
		t.Errorf("Link %s", links)
	}
	if links := strings.Join(c.post(url, nil, signing{}).header["Link"], ", "); !strings.Contains(links, "<"+url+`/1>;rel="alternate"`) {
		t.Errorf("Link %s", links)
	}
}

func TestProfiles(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	order := obj{"identifiers": identifiers("example.org"), "profile": "short"}
	c.post(c.dir["newOrder"].(string), order, signing{}).refused(t, "invalidProfile")
	ca.Profiles(map[string]string{"short": "six days"})
	if a := c.post(c.dir["newOrder"].(string), order, signing{}).ok(t); a.json["profile"] != "short" {
		t.Errorf("%s", a.body)
	}
	if d := newHand(t, ca).dir["meta"].(obj)["profiles"]; d == nil {
		t.Error("no profiles in the directory")
	}
}

func TestRevocation(t *testing.T) {
	ca := New(t).ReadyOrder().SyncFinalize()
	c := newHand(t, ca).register()
	url := c.dir["revokeCert"].(string)
	_, first := c.issue("", "example.org")
	b64 := base64.RawURLEncoding.EncodeToString
	c.post(url, obj{"certificate": b64(first[0].Raw), "reason": 7}, signing{}).refused(t, "badRevocationReason")
	c.post(url, obj{"certificate": b64(first[0].Raw), "reason": 1}, signing{}).ok(t)
	if !ca.Revoked(first[0]) {
		t.Error("not revoked")
	}
	c.post(url, obj{"certificate": b64(first[0].Raw)}, signing{}).refused(t, "alreadyRevoked")

	_, order := c.order("", "example.org")
	key, _ := newKey()
	c.post(order.json["finalize"].(string), obj{"csr": c.csr(key, "example.org")}, signing{}).ok(t)
	leaf := ca.Issued()[1]
	other, _ := newKey()
	c.post(url, obj{"certificate": b64(leaf.Raw)}, signing{jwk: true, key: other}).refused(t, "unauthorized")
	c.post(url, obj{"certificate": b64(leaf.Raw)}, signing{jwk: true, key: key}).ok(t)
	if !ca.Revoked(leaf) {
		t.Error("not revoked by its own key")
	}
	c.post(url, obj{"certificate": b64(ca.Root().Raw)}, signing{}).refused(t, "malformed")
}

// ariID is RFC 9773 §4.1, for serials that need no zero before.
func ariID(c *x509.Certificate) string {
	return base64.RawURLEncoding.EncodeToString(c.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(c.SerialNumber.Bytes())
}

func TestRenewalInfo(t *testing.T) {
	ca := New(t).RenewalInfo()
	c := newHand(t, ca).register()
	_, chain := c.issue("http-01", "example.org")
	id := ariID(chain[0])
	a := c.do("GET", c.dir["renewalInfo"].(string)+"/"+id, nil, signing{}).ok(t)
	start, err := time.Parse(time.RFC3339, a.json["suggestedWindow"].(obj)["start"].(string))
	if err != nil || a.header.Get("Retry-After") != "21600" {
		t.Errorf("%v %v", err, a.header)
	}
	if d := time.Until(start); d < 58*24*time.Hour || d > 61*24*time.Hour {
		t.Errorf("window begins in %v", d)
	}
	from := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	ca.RenewalWindow(from, from.Add(time.Hour))
	a = c.do("GET", c.dir["renewalInfo"].(string)+"/"+id, nil, signing{}).ok(t)
	if a.json["suggestedWindow"].(obj)["end"] != "2030-01-01T01:00:00Z" {
		t.Errorf("%s", a.body)
	}
	c.do("GET", c.dir["renewalInfo"].(string)+"/AAAA.AAAA", nil, signing{}).refused(t, "malformed")

	order := obj{"identifiers": identifiers("example.org"), "replaces": id}
	if a := c.post(c.dir["newOrder"].(string), order, signing{}).ok(t); a.json["replaces"] != id {
		t.Errorf("%s", a.body)
	}
	c.post(c.dir["newOrder"].(string), order, signing{}).refused(t, "alreadyReplaced")
}
