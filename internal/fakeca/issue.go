package fakeca

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// signer is a CA certificate and its key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issuer signs leaves: one intermediate key, certified by two roots.
type issuer struct {
	roots         [2]signer
	intermediates [2]signer // same key, same subject
}

func newIssuer() (*issuer, error) {
	i := &issuer{}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	for n, name := range []string{"Fake Root X1", "Fake Root X2"} {
		if i.roots[n], err = newRoot(name); err != nil {
			return nil, err
		}
		t := caTemplate("Fake Intermediate E1")
		t.MaxPathLenZero = true
		if i.intermediates[n], err = sign(t, key, i.roots[n]); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newRoot(name string) (signer, error) {
	key, err := newKey()
	if err != nil {
		return signer{}, err
	}
	return sign(caTemplate(name), key, signer{})
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"fakeca"}, CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(20 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// sign makes a certificate for key; a zero parent means self-signed.
func sign(t *x509.Certificate, key crypto.Signer, parent signer) (signer, error) {
	if parent.key == nil {
		parent = signer{t, key}
	}
	c, err := signPublic(t, key.Public(), parent)
	return signer{c, key}, err
}

func signPublic(t *x509.Certificate, pub crypto.PublicKey, parent signer) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial)
	serial[0] = serial[0]&0x7f | 0x40
	t.SerialNumber = new(big.Int).SetBytes(serial)
	der, err := x509.CreateCertificate(rand.Reader, t, parent.cert, pub, parent.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// certificate is one issued certificate.
type certificate struct {
	id       string
	account  *account
	leaf     *x509.Certificate
	replaced bool
	revoked  bool
}

// pendingCert is what finalize leaves for the issuance.
type pendingCert struct{ csr *x509.CertificateRequest }

var oidTLSFeature = []int{1, 3, 6, 1, 5, 5, 7, 1, 24}

// finalize is the end of RFC 8555 §7.4.
func (ca *CA) finalize(q *request) (*reply, *Problem) {
	o := ca.orders[q.id]
	switch {
	case o == nil:
		return nil, refuse(404, "malformed", "no such order")
	case o.account != q.jws.account:
		return nil, refuse(403, "unauthorized", "not your order")
	}
	var in struct {
		CSR string `json:"csr"`
	}
	if p := q.readPayload(&in); p != nil {
		return nil, p
	}
	if s := o.status(); s != "ready" {
		return nil, refuse(403, "orderNotReady", "order is %s", s)
	}
	der, err := decode64(in.CSR)
	if err != nil {
		return nil, fault(400, "malformed", "csr is no base64url: %v", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fault(400, "badCSR", "csr: %v", err)
	}
	if p := checkCSR(csr, o); p != nil {
		return nil, p
	}
	ca.csrs = append(ca.csrs, csr)
	o.pending = &pendingCert{csr}
	o.finalized, o.polls = "processing", ca.policy.processing
	if o.polls == 0 {
		ca.complete(o)
	}
	// No Location here: the order's URL is known from newOrder.
	return ca.orderReply(200, o), nil
}

// checkCSR wants a CSR that asks for just the order's names (§7.4).
func checkCSR(csr *x509.CertificateRequest, o *order) *Problem {
	if err := csr.CheckSignature(); err != nil {
		return refuse(400, "badCSR", "signature does not hold: %v", err)
	}
	switch k := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return refuse(400, "badCSR", "RSA key of %d bits", k.N.BitLen())
		}
	}
	// §11.1: the account's key must not be a certificate's.
	if k := (&jose.JSONWebKey{Key: csr.PublicKey}); k.Valid() && thumbprint(k) == thumbprint(o.account.key) {
		return refuse(400, "badCSR", "the account's key in a CSR")
	}
	if len(csr.EmailAddresses) > 0 || len(csr.URIs) > 0 {
		return refuse(400, "badCSR", "names that are neither dns nor ip")
	}
	var asked, ordered []string
	for _, n := range csr.DNSNames {
		asked = append(asked, "dns "+strings.ToLower(n))
	}
	for _, n := range csr.IPAddresses {
		asked = append(asked, "ip "+ipString(n))
	}
	if cn := csr.Subject.CommonName; cn != "" {
		if a, err := netip.ParseAddr(cn); err == nil {
			asked = append(asked, "ip "+a.Unmap().String())
		} else {
			asked = append(asked, "dns "+strings.ToLower(cn))
		}
	}
	for _, id := range o.identifiers {
		ordered = append(ordered, id.Type+" "+id.Value)
	}
	slices.Sort(asked)
	slices.Sort(ordered)
	if asked = slices.Compact(asked); !slices.Equal(asked, ordered) {
		return refuse(400, "badCSR", "csr has %q, the order %q", asked, ordered)
	}
	return nil
}

func ipString(ip net.IP) string {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap().String()
}

// complete issues what a processing order waits for, or lets it fail.
func (ca *CA) complete(o *order) {
	if p := ca.policy.failIssuance; p != nil {
		o.finalized, o.problem = "invalid", p
		return
	}
	leaf, err := ca.issue(o)
	if err != nil {
		o.finalized, o.problem = "invalid", refuse(500, "serverInternal", "%v", err)
		return
	}
	c := &certificate{id: ca.newID(), account: o.account, leaf: leaf}
	ca.certs[c.id] = c
	o.finalized, o.cert = "valid", c
}

func (ca *CA) issue(o *order) (*x509.Certificate, error) {
	csr, now := o.pending.csr, time.Now()
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: csr.Subject.CommonName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ca.policy.lifetime - time.Second),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if !o.notBefore.IsZero() {
		t.NotBefore = o.notBefore
		t.NotAfter = o.notBefore.Add(ca.policy.lifetime - time.Second)
	}
	if !o.notAfter.IsZero() {
		t.NotAfter = o.notAfter
	}
	for _, id := range o.identifiers {
		addName(t, id.Value)
	}
	for _, e := range csr.Extensions {
		if e.Id.Equal(oidTLSFeature) {
			t.ExtraExtensions = append(t.ExtraExtensions, e)
		}
	}
	pub := crypto.PublicKey(csr.PublicKey)
	for _, change := range ca.quirks.leaf {
		change(t, &pub)
	}
	return signPublic(t, pub, ca.issuer.intermediates[0])
}

func addName(t *x509.Certificate, name string) {
	if ip := net.ParseIP(name); ip != nil {
		t.IPAddresses = append(t.IPAddresses, ip)
		return
	}
	t.DNSNames = append(t.DNSNames, name)
}

// fetchCertificate is RFC 8555 §7.4.2; ID/1 is the alternate chain.
func (ca *CA) fetchCertificate(q *request) (*reply, *Problem) {
	id, alternate, _ := strings.Cut(q.id, "/")
	c := ca.certs[id]
	n := 0
	if alternate == "1" {
		n = 1
	}
	switch {
	case c == nil || alternate != "" && !(n == 1 && ca.policy.alternate):
		return nil, refuse(404, "malformed", "no such certificate")
	case c.account != q.jws.account:
		return nil, refuse(403, "unauthorized", "not your certificate")
	case !q.postAsGet():
		return nil, fault(400, "malformed", "payload where POST-as-GET is wanted (§6.3)")
	}
	r := newReply(200)
	r.header.Set("Content-Type", "application/pem-certificate-chain")
	if ca.policy.alternate {
		r.link(ca.url(Certificate, id+[]string{"/1", ""}[n]), "alternate")
	}
	blocks := [][]byte{encodePEM(c.leaf.Raw), encodePEM(ca.issuer.intermediates[n].cert.Raw)}
	for _, change := range ca.quirks.chain {
		blocks = change(blocks)
	}
	r.body = slices.Concat(blocks...)
	return r, nil
}

// revoke is RFC 8555 §7.6, by the account's key or the certificate's.
func (ca *CA) revoke(q *request) (*reply, *Problem) {
	var in struct {
		Certificate string `json:"certificate"`
		Reason      *int   `json:"reason"`
	}
	if p := q.readPayload(&in); p != nil {
		return nil, p
	}
	der, err := decode64(in.Certificate)
	if err != nil {
		return nil, fault(400, "malformed", "certificate is no base64url: %v", err)
	}
	var c *certificate
	for _, known := range ca.certs {
		if string(known.leaf.Raw) == string(der) {
			c = known
		}
	}
	if c == nil {
		return nil, refuse(404, "malformed", "no such certificate")
	}
	if a := q.jws.account; a != nil {
		if a != c.account {
			return nil, refuse(403, "unauthorized", "not your certificate")
		}
	} else if key := (&jose.JSONWebKey{Key: c.leaf.PublicKey}); thumbprint(key) != thumbprint(q.jws.key) {
		return nil, refuse(403, "unauthorized", "signed neither by an account nor by the certificate's key")
	}
	if n := in.Reason; n != nil && (*n < 0 || *n == 7 || *n > 10) { // RFC 5280 §5.3.1
		return nil, refuse(400, "badRevocationReason", "reason %d", *n)
	}
	if c.revoked {
		return nil, refuse(400, "alreadyRevoked", "revoked already")
	}
	c.revoked = true
	return newReply(200), nil
}

// Revoked says whether that certificate was revoked.
func (ca *CA) Revoked(cert *x509.Certificate) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for _, c := range ca.certs {
		if c.leaf.Equal(cert) {
			return c.revoked
		}
	}
	return false
}

// Issued are the leaves issued so far, oldest first.
func (ca *CA) Issued() []*x509.Certificate {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var all []*certificate
	for _, c := range ca.certs {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *certificate) int { return cmp.Or(len(a.id)-len(b.id), strings.Compare(a.id, b.id)) })
	var leaves []*x509.Certificate
	for _, c := range all {
		leaves = append(leaves, c.leaf)
	}
	return leaves
}

// CSRs are the CSRs taken so far, oldest first.
func (ca *CA) CSRs() []*x509.CertificateRequest {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return slices.Clone(ca.csrs)
}

// certByARI finds a certificate by RFC 9773 §4.1: base64url of the AKI's
// keyIdentifier, ".", base64url of the serial's DER value.
func (ca *CA) certByARI(id string) *certificate {
	for _, c := range ca.certs {
		serial := c.leaf.SerialNumber.Bytes()
		if serial[0]&0x80 != 0 {
			serial = append([]byte{0}, serial...)
		}
		if id == base64.RawURLEncoding.EncodeToString(c.leaf.AuthorityKeyId)+"."+base64.RawURLEncoding.EncodeToString(serial) {
			return c
		}
	}
	return nil
}

// renewalInfo is RFC 9773 §4.2: by default the last third of the lifetime begins the window.
func (ca *CA) renewalInfo(q *request) (*reply, *Problem) {
	c := ca.certByARI(q.id)
	if c == nil || !ca.policy.renewalInfo {
		return nil, refuse(404, "malformed", "no such certificate")
	}
	start, end := ca.policy.windowStart, ca.policy.windowEnd
	if start.IsZero() {
		third := c.leaf.NotAfter.Sub(c.leaf.NotBefore) / 3
		start = c.leaf.NotAfter.Add(-third)
		end = start.Add(third / 4)
		if c.revoked {
			start, end = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}
	}
	r := object(200, map[string]any{"suggestedWindow": map[string]string{"start": stamp(start), "end": stamp(end)}})
	r.header.Set("Retry-After", "21600")
	return r, nil
}

// directory is RFC 8555 §7.1.1.
func (ca *CA) directory() any {
	meta := map[string]any{"website": ca.base + "/", "caaIdentities": []string{"fakeca.example"}}
	if ca.policy.terms != "" {
		meta["termsOfService"] = ca.policy.terms
	}
	if ca.policy.eabRequired {
		meta["externalAccountRequired"] = true
	}
	if ca.policy.profiles != nil {
		meta["profiles"] = ca.policy.profiles
	}
	d := map[string]any{
		"newNonce": ca.url(Nonce, ""), "newAccount": ca.url(NewAccount, ""), "newOrder": ca.url(NewOrder, ""),
		"revokeCert": ca.url(Revoke, ""), "keyChange": ca.url(KeyChange, ""), "meta": meta,
	}
	if ca.policy.renewalInfo {
		d["renewalInfo"] = ca.url(RenewalInfo, "")
	}
	return d
}
