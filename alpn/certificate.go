package alpn

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"arid/keys"
)

// acmeIdentifier is the extension that holds the digest of the key authorization
// (RFC 8737 §3).
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// Make makes a validation certificate and its key (RFC 8737 §3): self-signed,
// P-256, for the name alone, good from an hour ago for a day and an hour. The
// subject is empty, as no name must fit into 64 characters then, and the
// subjectAltName is critical for it (RFC 5280 §4.2.1.6). The key is PKCS#8. A
// wildcard, and what is neither a name nor an address, is an error.
func Make(name string, digest [sha256.Size]byte, now time.Time) (certPEM, keyPEM []byte, err error) {
	value, err := asn1.Marshal(digest[:])
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{ // without a serial number it gets a random one
		NotBefore:       now.Add(-time.Hour),
		NotAfter:        now.Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: acmeIdentifier, Critical: true, Value: value}},
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Is4In6() || ip.Zone() != "" {
			return nil, nil, fmt.Errorf("%q is no plain IPv4 or IPv6 address", name)
		}
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		host, err := canonical(name)
		if err != nil {
			return nil, nil, err
		}
		template.DNSNames = []string{host}
	}
	key, err := keys.Generate(keys.P256)
	if err != nil {
		return nil, nil, err
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM, nil
}

// parse reads a validation certificate for serverName, and the digest in it.
func parse(certPEM []byte, serverName string) (cert *x509.Certificate, digest [sha256.Size]byte, err error) {
	block, rest := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, digest, errors.New("not one certificate in PEM")
	}
	cert, err = x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, digest, err
	}
	if err := keys.Check(cert.PublicKey); err != nil {
		return nil, digest, err
	}
	if err := checkSAN(extension(cert, subjectAltName).Value, serverName); err != nil {
		return nil, digest, err
	}
	found := extension(cert, acmeIdentifier)
	inside, isDigest := bytes.CutPrefix(found.Value, []byte{asn1.TagOctetString, sha256.Size})
	if !found.Critical || !isDigest || len(inside) != sha256.Size {
		return nil, digest, errors.New("no critical acmeIdentifier with a digest")
	}
	return cert, [sha256.Size]byte(inside), nil
}

// extension is empty where there is none. There is never a second of a kind:
// crypto/x509 refuses that.
func extension(cert *x509.Certificate, id asn1.ObjectIdentifier) pkix.Extension {
	for _, e := range cert.Extensions {
		if e.Id.Equal(id) {
			return e
		}
	}
	return pkix.Extension{}
}

// checkSAN wants serverName, or the address whose reverse name it is, and nothing
// beside it, of kinds that crypto/x509 passes over neither.
func checkSAN(der []byte, serverName string) error {
	const dNSName, iPAddress = 2, 7 // RFC 5280 §4.2.1.6
	var names []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &names)
	if err != nil || len(rest) > 0 || len(names) != 1 || names[0].Class != asn1.ClassContextSpecific {
		return errors.New("not exactly one name in the subjectAltName")
	}
	has := ""
	switch names[0].Tag {
	case dNSName:
		has = string(names[0].Bytes)
	case iPAddress:
		if ip, isIP := netip.AddrFromSlice(names[0].Bytes); isIP {
			has = ServerName(ip.String())
		}
	}
	if has != serverName {
		return fmt.Errorf("certificate is for %.80q", has)
	}
	return nil
}

// pair puts a certificate and the key that must fit it together.
func pair(cert *x509.Certificate, keyPEM []byte) (*tls.Certificate, error) {
	key, err := keys.Parse(keyPEM)
	if err != nil {
		return nil, err
	}
	if !keys.Fits(cert.PublicKey, key) {
		return nil, errors.New("key does not fit the certificate")
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}
