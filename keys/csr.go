package keys

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
)

var (
	oidSAN        = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidTLSFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24} // RFC 7633
)

// GeneralName tags (RFC 5280 §4.2.1.6).
const (
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
	tagIP    = 7
)

// mustStaple is the TLS feature extension that asks for status_request (5).
var mustStaple = []byte{0x30, 0x03, 0x02, 0x01, 0x05}

// maxCN is the longest common name that X.509 allows (RFC 5280, ub-common-name).
const maxCN = 64

// CSROptions is what a certificate signing request asks for.
type CSROptions struct {
	Names []string // canonical names; they become the SANs in this order

	// Subject is used as it is. Zero gives the common name Names[0], or none
	// where that is an IP address or longer than 64 bytes.
	Subject pkix.Name

	MustStaple bool // OCSP must-staple (RFC 7633)
}

// MakeCSR makes a PKCS#10 request in DER: the key, the subject, the SANs and,
// where asked for, must-staple. Nothing else: CAs refuse what they do not expect.
func MakeCSR(key crypto.Signer, o CSROptions) (der []byte, err error) {
	if len(o.Names) == 0 {
		return nil, errors.New("a certificate signing request needs a name")
	}
	san, err := marshalSAN(o.Names)
	if err != nil {
		return nil, err
	}
	request := &x509.CertificateRequest{
		Subject: o.Subject,
		// Given whole, as x509 would put DNS names before addresses.
		ExtraExtensions: []pkix.Extension{{Id: oidSAN, Value: san}},
	}
	if o.MustStaple {
		request.ExtraExtensions = append(request.ExtraExtensions, pkix.Extension{Id: oidTLSFeature, Value: mustStaple})
	}
	if len(o.Subject.ToRDNSequence()) == 0 && len(o.Names[0]) <= maxCN && !isIP(o.Names[0]) {
		request.Subject.CommonName = o.Names[0]
	}
	return x509.CreateCertificateRequest(rand.Reader, request, key)
}

// marshalSAN writes canonical names as GeneralNames.
func marshalSAN(names []string) ([]byte, error) {
	var general []asn1.RawValue
	for _, name := range names {
		same, err := canonicalName(name)
		if err != nil {
			return nil, err
		}
		if same != name {
			return nil, fmt.Errorf("name %q should be %q", name, same)
		}
		v := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagDNS, Bytes: []byte(name)}
		if ip, err := netip.ParseAddr(name); err == nil {
			v.Tag, v.Bytes = tagIP, ip.AsSlice()
		}
		general = append(general, v)
	}
	return asn1.Marshal(general)
}
