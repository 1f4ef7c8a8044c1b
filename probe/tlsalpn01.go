package probe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"arid/alpn"
)

// acmeIdentifier is the extension that carries the digest (RFC 8737 §3).
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// TLSALPN01 asks every address of name for the certificate of a tls-alpn-01
// challenge, as CAs do (RFC 8737 §3). keyAuth is what it should attest.
func (p *Prober) TLSALPN01(ctx context.Context, name, keyAuth string) Seen {
	return p.lookAll(ctx, "TLS", name, p.tlsPort(), func(ctx context.Context, at netip.Addr) look {
		return p.handshake(ctx, at, name, sha256.Sum256([]byte(keyAuth)))
	})
}

// handshake looks at the certificate that one address shows.
func (p *Prober) handshake(ctx context.Context, at netip.Addr, name string, digest [sha256.Size]byte) look {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, errPatience)
	defer cancel()
	bound, err := p.connect(ctx, at, p.tlsPort())
	if err != nil {
		return unconnected(ctx, err, TLSRefused, TLSTimeout, TLSUnreachable)
	}
	defer bound.Close()
	conn := tls.Client(bound, &tls.Config{
		ServerName:         alpn.ServerName(name),
		NextProtos:         []string{alpn.Protocol},
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // it is self-signed
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return unshaken(ctx, err, bound.head)
	}
	state := conn.ConnectionState()
	// A TLS server always shows one, or the handshake had failed.
	leaf := state.PeerCertificates[0]
	l := judgeCertificate(leaf, name, digest)
	if state.NegotiatedProtocol != alpn.Protocol {
		return look{text: ": the server ignores acme-tls/1, and" + l.text, cause: TLSNoALPN}
	}
	return l
}

// unshaken says why a handshake failed; heard is what began to come.
func unshaken(ctx context.Context, err error, heard []byte) look {
	fault, text := netFault(ctx, err)
	var remote *net.OpError
	var notTLS tls.RecordHeaderError
	switch {
	case fault == faultTimeout:
		return look{text: " takes the connection, but ends no TLS handshake " + text, cause: TLSTimeout}
	case fault == faultEnded:
		return look{text: " ended no TLS handshake " + text}
	case errors.As(err, &remote) && remote.Op == "remote error":
		return alert(remote.Err.Error())
	case errors.As(err, &notTLS):
		return look{text: fmt.Sprintf(" answers %s, which is no TLS", quote(string(heard), 60)), cause: TLSNoTLS}
	case fault == faultClosed:
		return look{text: " " + text + " in the TLS handshake", cause: TLSHandshake}
	}
	return look{text: ": the TLS handshake fails: " + strings.TrimPrefix(text, "local error: "), cause: TLSHandshake}
}

// alert says what a TLS alert means. crypto/tls hands it over as text only.
func alert(text string) look {
	const noApplicationProtocol = 120 // RFC 7301 §3.2
	name := strings.ReplaceAll(strings.TrimPrefix(text, "tls: "), " ", "_")
	if text == tls.AlertError(noApplicationProtocol).Error() {
		return look{text: ": the server does not take acme-tls/1 (alert no_application_protocol)", cause: TLSNoALPN}
	}
	return look{text: fmt.Sprintf(": the server ends the TLS handshake (alert %s)", name), cause: TLSHandshake}
}

// judgeCertificate holds a certificate against RFC 8737 §3, in the order in
// which a difference tells most.
func judgeCertificate(leaf *x509.Certificate, name string, digest [sha256.Size]byte) look {
	shown, why := readDigest(leaf)
	if why == "" && !selfSigned(leaf) {
		why = "it is not self-signed"
	}
	switch {
	case why == missing:
		return look{text: " shows its ordinary certificate, " + names(leaf), cause: TLSOrdinary}
	case why != "":
		return look{text: fmt.Sprintf(" shows a certificate %s that is no validation certificate: %s", names(leaf), why), cause: TLSOrdinary}
	case !onlyFor(leaf, name):
		return look{text: " shows a validation certificate " + names(leaf), cause: TLSOtherName}
	case subtle.ConstantTimeCompare(shown, digest[:]) == 0:
		return look{text: " shows a validation certificate of another challenge or account, made " + leaf.NotBefore.UTC().Format("2006-01-02"), cause: TLSOld}
	}
	return look{text: " shows the right certificate", cause: SeenRight}
}

const missing = "acmeIdentifier is missing"

// readDigest reads acmeIdentifier; why says what is wrong with it.
func readDigest(leaf *x509.Certificate) (digest []byte, why string) {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(acmeIdentifier) {
			continue
		}
		rest, err := asn1.Unmarshal(e.Value, &digest)
		switch {
		case err != nil || len(rest) > 0 || len(digest) != sha256.Size:
			return nil, "acmeIdentifier holds no SHA-256 digest"
		case !e.Critical:
			return nil, "acmeIdentifier is not critical"
		}
		return digest, ""
	}
	return nil, missing
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// onlyFor tells whether name is the only one that c is for.
func onlyFor(c *x509.Certificate, name string) bool {
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) != 1 {
		return false
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return len(c.IPAddresses) == 1 && c.IPAddresses[0].Equal(a.AsSlice())
	}
	return len(c.DNSNames) == 1 && strings.EqualFold(c.DNSNames[0], name)
}

// names says whom a certificate is for.
func names(c *x509.Certificate) string {
	var all []string
	for _, n := range c.DNSNames {
		all = append(all, quote(n, 60))
	}
	for _, a := range c.IPAddresses {
		all = append(all, quote(a.String(), 60))
	}
	if len(all) == 0 && c.Subject.CommonName != "" {
		return "for " + quote(c.Subject.CommonName, 60) + " by common name only"
	}
	if len(all) == 0 {
		return "for no name"
	}
	return "for " + list(all, 3)
}
