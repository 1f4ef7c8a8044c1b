package certs

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"arid/keys"
)

// CheckChain tells whether a chain (leaf first) is the one that was ordered for
// the public key and the canonical names, and fit to be served at now: the key
// is the leaf's, every name is in it, its dates hold (an hour of the CA's clock
// being ahead is tolerated), it is no CA, and each certificate is signed by the
// next. A leaf alone is fine. Warnings are for what is odd and does no harm, such
// as more names than were asked for.
func CheckChain(chain []*x509.Certificate, pub crypto.PublicKey, names []string, now time.Time) (warnings []string, err error) {
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	leaf := chain[0]
	switch {
	case !keys.Equal(leaf.PublicKey, pub):
		return nil, errors.New("the first certificate is for another key")
	case leaf.BasicConstraintsValid && leaf.IsCA:
		return nil, errors.New("the first certificate is that of a CA")
	case leaf.NotBefore.After(now.Add(time.Hour)):
		return nil, fmt.Errorf("the certificate is valid from %s on, and now it is %s (is the clock right?)", stamp(leaf.NotBefore), stamp(now))
	case !leaf.NotAfter.After(now):
		return nil, fmt.Errorf("the certificate was valid until %s, and now it is %s (is the clock right?)", stamp(leaf.NotAfter), stamp(now))
	}
	have := alternativeNames(leaf)
	if lacking := without(names, have); len(lacking) > 0 {
		return nil, fmt.Errorf("the certificate lacks %s", quoted(lacking))
	}
	if more := without(have, names); len(more) > 0 {
		warnings = append(warnings, "the certificate has names that nobody asked for: "+quoted(more))
	}
	for i := range chain[:len(chain)-1] {
		warning, err := checkLink(chain[i], chain[i+1])
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		if warning == "" && !chain[i+1].NotAfter.After(now) {
			warning = "it was valid until " + stamp(chain[i+1].NotAfter)
		}
		if warning != "" {
			warnings = append(warnings, fmt.Sprintf("certificate %d of the chain: %s", i+2, warning))
		}
	}
	return warnings, nil
}

// without are the words that are not among others.
func without(words, others []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(word string) bool { return slices.Contains(others, word) })
}

// checkLink looks whether parent signed child.
func checkLink(child, parent *x509.Certificate) (warning string, err error) {
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return "", fmt.Errorf("is issued by %.200q, and %.200q follows", child.Issuer, parent.Subject)
	}
	if parent.BasicConstraintsValid && !parent.IsCA || parent.Version == 3 && !parent.BasicConstraintsValid {
		return "", fmt.Errorf("is signed by %.200q, which is no CA", parent.Subject)
	}
	err = parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
	var insecure x509.InsecureAlgorithmError
	if errors.Is(err, x509.ErrUnsupportedAlgorithm) || errors.As(err, &insecure) {
		// A root signed with SHA-1, or an algorithm younger than this program.
		return "its signature on the one before it cannot be checked: " + err.Error(), nil
	}
	if err != nil {
		return "", fmt.Errorf("is not signed by %.200q: %w", parent.Subject, err)
	}
	return "", nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// quoted lists the first names of perhaps many.
func quoted(names []string) string {
	const most = 10
	var words []string
	for _, name := range names[:min(len(names), most)] {
		words = append(words, fmt.Sprintf("%.300q", name))
	}
	if len(names) > most {
		words = append(words, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(words, ", ")
}

// EncodeChain writes certificates in PEM, one after another, and nothing else.
func EncodeChain(chain []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		// Neither a buffer nor a block without headers can fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

// Names are those that a certificate is for, in canonical form: its alternative
// names, or its common name where it has none.
func Names(c *x509.Certificate) []string {
	names := alternativeNames(c)
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, strings.ToLower(c.Subject.CommonName))
	}
	return names
}

func alternativeNames(c *x509.Certificate) []string {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, ip := range c.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			names = append(names, addr.Unmap().String())
		}
	}
	return names
}

// Fingerprint is the SHA-256 of a certificate's DER in hexadecimal, "" of nil.
func Fingerprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// MustStaple tells whether a certificate has the TLS feature status_request
// (RFC 7633).
func MustStaple(c *x509.Certificate) bool {
	feature := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
	for _, e := range c.Extensions {
		if !e.Id.Equal(feature) {
			continue
		}
		var features []int
		if _, err := asn1.Unmarshal(e.Value, &features); err == nil && slices.Contains(features, 5) {
			return true
		}
	}
	return false
}
