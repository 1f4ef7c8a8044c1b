package fakeca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validation is what a CA knows when it goes to look at a challenge.
type Validation struct {
	Name     string // without "*."
	Wildcard bool
	Type     string
	Token    string
	KeyAuth  string // token "." thumbprint of the account's key (RFC 8555 §8.1)
}

// validate tries the accepted challenges that the request looks at: all of an
// order, or those of an authorization. It happens when the client looks, not
// when it accepts, so that material taken away too early is missed. Called
// without ca.mu.
func (ca *CA) validate(q *request) {
	if !q.postAsGet() {
		return
	}
	ca.mu.Lock()
	var seen []*authz
	switch q.kind {
	case Order:
		if o := ca.orders[q.id]; o != nil && o.account == q.jws.account {
			seen = o.authzs
		}
	case Authz:
		if a := ca.authzs[q.id]; a != nil && a.order.account == q.jws.account {
			seen = []*authz{a}
		}
	case Challenge:
		if c := ca.challenges[q.id]; c != nil && c.authz.order.account == q.jws.account {
			seen = []*authz{c.authz}
		}
	}
	var due []*challenge
	for _, a := range seen {
		for _, c := range a.challenges {
			if a.status != "pending" || c.status != "processing" || c.checking {
				continue
			}
			if c.polls != 0 {
				c.polls = max(c.polls-1, -1)
				continue
			}
			c.checking = true
			due = append(due, c)
		}
	}
	ca.mu.Unlock()
	for _, c := range due {
		ca.try(c)
	}
}

// try validates one challenge and moves its authorization on (§7.1.6).
func (ca *CA) try(c *challenge) {
	ca.mu.Lock()
	v := Validation{
		Name: c.authz.identifier.Value, Wildcard: c.authz.wildcard, Type: c.typ,
		Token: c.token, KeyAuth: c.token + "." + thumbprint(c.authz.order.account.key),
	}
	p := ca.policy.failing[v.Name]
	check := ca.policy.validators[c.typ]
	ca.mu.Unlock()
	if p == nil && check != nil {
		p = check(v)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	c.checking = false
	if c.authz.status != "pending" { // deactivated meanwhile
		return
	}
	if p == nil {
		c.status, c.validated, c.authz.status = "valid", time.Now(), "valid"
		return
	}
	c.status, c.problem, c.authz.status = "invalid", p, "invalid"
	if o := c.authz.order; o.problem == nil {
		o.problem = p
	}
}

// fetchHTTP01 looks for a key authorization as RFC 8555 §8.3 tells, but always
// at 127.0.0.1:port, and wants the body to the byte.
func fetchHTTP01(port int, v Validation) *Problem {
	host := v.Name
	if a, err := netip.ParseAddr(v.Name); err == nil && a.Is6() {
		host = "[" + v.Name + "]"
	}
	var d net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
	}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	where := "http://" + host + "/.well-known/acme-challenge/" + v.Token
	res, err := client.Get(where)
	if err != nil {
		return refuse(400, "connection", "fetching %s: %v", where, errors.Unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return refuse(400, "connection", "reading %s: %v", where, err)
	}
	if res.StatusCode != 200 {
		return refuse(403, "unauthorized", "invalid response from %s: %d", where, res.StatusCode)
	}
	if string(body) != v.KeyAuth {
		return refuse(403, "unauthorized", "the key authorization file from %s was %s, wanted %s", where, quoteShort(body), fmt.Sprintf("%q", v.KeyAuth))
	}
	return nil
}

// acmeIdentifier is the extension of RFC 8737 §6.1.
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// tryALPN is RFC 8737 §3, but always at 127.0.0.1:port; for addresses the
// server name is the reverse-mapping name (RFC 8738 §6).
func tryALPN(port int, v Validation) *Problem {
	serverName := v.Name
	if a, err := netip.ParseAddr(v.Name); err == nil {
		serverName = reverseName(a)
	}
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		// What is checked below replaces the usual check: the certificate is self-signed.
		Config: &tls.Config{ServerName: serverName, NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true},
	}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return refuse(400, "connection", "tls-alpn-01 for %s: %v", v.Name, err)
	}
	defer func() { _ = conn.Close() }()
	state := conn.(*tls.Conn).ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" {
		return refuse(403, "unauthorized", "protocol %q instead of acme-tls/1", state.NegotiatedProtocol)
	}
	cert := state.PeerCertificates[0]
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return refuse(403, "unauthorized", "certificate is not self-signed: %v", err)
	}
	var names []string
	names = append(names, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ipString(ip))
	}
	if !slices.Equal(names, []string{v.Name}) || len(cert.EmailAddresses)+len(cert.URIs) > 0 {
		return refuse(403, "unauthorized", "certificate is for %q, wanted just %q", names, v.Name)
	}
	sum := sha256.Sum256([]byte(v.KeyAuth))
	for _, e := range cert.Extensions {
		if !e.Id.Equal(acmeIdentifier) {
			continue
		}
		var value []byte
		if rest, err := asn1.Unmarshal(e.Value, &value); err != nil || len(rest) > 0 || !e.Critical || !bytes.Equal(value, sum[:]) {
			return refuse(403, "unauthorized", "acmeIdentifier is %x, critical %t; wanted the octet string %x", e.Value, e.Critical, sum)
		}
		return nil
	}
	return refuse(403, "unauthorized", "certificate has no acmeIdentifier")
}

// reverseName is the in-addr.arpa or ip6.arpa name of an address, without a dot at the end.
func reverseName(a netip.Addr) string {
	raw := a.AsSlice()
	slices.Reverse(raw)
	var b strings.Builder
	for _, octet := range raw {
		if a.Is4() {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&15, octet>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

func quoteShort(b []byte) string {
	if len(b) > 200 {
		return fmt.Sprintf("%q…", b[:200])
	}
	return fmt.Sprintf("%q", b)
}
