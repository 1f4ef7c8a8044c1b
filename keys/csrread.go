package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// CSR is a certificate signing request that was made elsewhere and may be
// sent to a CA.
type CSR struct {
	DER        []byte
	Names      []string         // canonical, the SANs in their order, then the common name; no duplicates
	PublicKey  crypto.PublicKey // passed Check
	MustStaple bool
}

// maxNames is more than any CA puts into one certificate.
const maxNames = 1000

// Extensions a request may have besides SANs and must-staple, and the
// attributes that carry extensions.
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidServerAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidExtensionsOfMS   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 14}
)

// otherNames are the GeneralNames that no ACME order has, by tag.
var otherNames = map[int]string{
	0: "otherName", tagEmail: "e-mail address", 3: "X.400 address", 4: "directory name",
	5: "EDI party name", tagURI: "URI", 8: "registered ID",
}

// ParseCSR reads a PKCS#10 request of at most 64 KiB, in DER or as the only
// block of a PEM text ("CERTIFICATE REQUEST" or "NEW CERTIFICATE REQUEST", text
// around it is passed over), and holds it against what a CA may be asked: the
// signature fits the key, the key passes Check, each SAN is a DNS name or an IP
// address. Extensions other than SAN, TLS feature, subject key identifier, key
// usage, "CA:FALSE" and the server's own extended key usage are refused by
// name, as the CA would refuse them or, worse, grant them.
//
// The common name counts as a name too where it is a host name: CAs want it in
// the order (RFC 8555 §7.4). Errors are *ParseError.
func ParseCSR(data []byte) (*CSR, error) {
	der, err := requestDER(data)
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, &ParseError{What: "certificate signing request cannot be read", Err: err}
	}
	// The key before the signature: a monstrous one would take long to verify.
	if err := Check(request.PublicKey); err != nil {
		return nil, &ParseError{What: "certificate signing request", Err: err}
	}
	if err := request.CheckSignature(); err != nil {
		return nil, &ParseError{What: "signature of the certificate signing request does not hold", Err: err}
	}
	extensions, err := requestedExtensions(request.RawTBSCertificateRequest)
	if err != nil {
		return nil, err
	}
	csr := &CSR{DER: request.Raw, PublicKey: request.PublicKey}
	for _, e := range extensions {
		if err := csr.take(e); err != nil {
			return nil, err
		}
	}
	if err := csr.takeCommonName(request.Subject); err != nil {
		return nil, err
	}
	if len(csr.Names) > maxNames {
		return nil, badCSR("asks for more than %d names", maxNames)
	}
	if len(csr.Names) == 0 {
		return nil, badCSR("has neither a subject alternative name nor a host name as common name")
	}
	return csr, nil
}

func badCSR(format string, args ...any) error {
	return &ParseError{What: "certificate signing request " + fmt.Sprintf(format, args...)}
}

// requestDER takes the request out of its PEM block, if it is in one.
func requestDER(data []byte) ([]byte, error) {
	if len(data) > maxFile {
		return nil, badCSR("is larger than %d bytes", maxFile)
	}
	if isDER(data) {
		return data, nil
	}
	text := trim(data)
	if len(text) == 0 {
		return nil, &ParseError{What: "empty, no certificate signing request"}
	}
	block, _ := pem.Decode(text)
	n := begins(text)
	switch {
	case n == 0:
		return nil, &ParseError{What: "neither PEM nor DER, no certificate signing request"}
	case n > 1:
		return nil, &ParseError{What: fmt.Sprintf("%d PEM blocks; one certificate signing request alone is taken", n)}
	case block == nil:
		return nil, &ParseError{What: "damaged PEM block (cut off, or with a bad line)"}
	case block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST":
		return nil, &ParseError{What: fmt.Sprintf("holds %q, no certificate signing request", clip(block.Type))}
	}
	return block.Bytes, nil
}

// requestedExtensions reads the extensions strictly: readers that differ in
// which one they take would see different requests.
func requestedExtensions(tbs []byte) ([]pkix.Extension, error) {
	var info struct {
		Version    int
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0"`
	}
	if err := unmarshal(tbs, &info); err != nil {
		return nil, badCSR("has damaged attributes")
	}
	var extensions []pkix.Extension
	found := false
	for _, raw := range info.Attributes {
		var attribute struct {
			ID     asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}
		if err := unmarshal(raw.FullBytes, &attribute); err != nil {
			return nil, badCSR("has a damaged attribute")
		}
		switch {
		case attribute.ID.Equal(oidExtensionsOfMS):
			return nil, badCSR("keeps extensions in Microsoft's attribute %s", attribute.ID)
		case !attribute.ID.Equal(oidExtensionRequest): // a challenge password and the like: CAs pass over them
		case found || len(attribute.Values) != 1:
			return nil, badCSR("has more than one list of extensions")
		default:
			found = true
			if err := unmarshal(attribute.Values[0].FullBytes, &extensions); err != nil {
				return nil, badCSR("has damaged extensions")
			}
		}
	}
	return extensions, nil
}

// take reads one extension; x509 has refused those given twice.
func (c *CSR) take(e pkix.Extension) error {
	switch {
	case e.Id.Equal(oidSubjectKeyID):
		return nil
	case e.Id.Equal(oidSAN):
		return c.takeSAN(e.Value)
	case e.Id.Equal(oidTLSFeature):
		if !bytes.Equal(e.Value, mustStaple) {
			return badCSR("asks for a TLS feature other than must-staple")
		}
		c.MustStaple = true
		return nil
	case e.Id.Equal(oidKeyUsage):
		var usage asn1.BitString
		if err := unmarshal(e.Value, &usage); err != nil {
			return badCSR("has a damaged key usage")
		}
		if usage.At(5) == 1 || usage.At(6) == 1 { // keyCertSign, cRLSign (RFC 5280 §4.2.1.3)
			return badCSR("asks for a CA's key usage")
		}
		return nil
	case e.Id.Equal(oidBasicConstraints):
		var basic struct {
			IsCA       bool `asn1:"optional"`
			MaxPathLen int  `asn1:"optional,default:-1"`
		}
		if err := unmarshal(e.Value, &basic); err != nil {
			return badCSR("has damaged basic constraints")
		}
		if basic.IsCA {
			return badCSR("asks for a CA certificate (CA:TRUE)")
		}
		return nil
	case e.Id.Equal(oidExtKeyUsage):
		var usages []asn1.ObjectIdentifier
		if err := unmarshal(e.Value, &usages); err != nil {
			return badCSR("has a damaged extended key usage")
		}
		for _, u := range usages {
			if !u.Equal(oidServerAuth) {
				return badCSR("asks for the extended key usage %s", u)
			}
		}
		return nil
	}
	return badCSR("asks for the extension %s", e.Id)
}

func (c *CSR) takeSAN(value []byte) error {
	var general []asn1.RawValue
	if err := unmarshal(value, &general); err != nil {
		return badCSR("has damaged subject alternative names")
	}
	for _, v := range general {
		if v.Class != asn1.ClassContextSpecific {
			return badCSR("has damaged subject alternative names")
		}
		var name string
		switch v.Tag {
		case tagDNS:
			name = string(v.Bytes)
			if isIP(name) {
				return badCSR("has the address %q as a DNS name", name)
			}
		case tagIP:
			ip, ok := netip.AddrFromSlice(v.Bytes)
			if !ok {
				return badCSR("has a damaged IP address")
			}
			name = ip.String()
		default:
			kind, known := otherNames[v.Tag]
			if !known {
				kind = fmt.Sprintf("name of kind %d", v.Tag)
			}
			return badCSR("has the subject alternative name %s: only DNS names and IP addresses can be ordered", kind)
		}
		name, err := canonicalName(name)
		if err != nil {
			return &ParseError{What: "certificate signing request", Err: err}
		}
		c.add(name)
	}
	return nil
}

// takeCommonName adds the common name if it is a host name. One of a single
// label counts only where nothing else is asked for: beside SANs it is a title.
func (c *CSR) takeCommonName(subject pkix.Name) error {
	var names []string
	for _, v := range subject.Names {
		if cn, isText := v.Value.(string); isText && v.Type.Equal(oidCommonName) {
			names = append(names, cn)
		}
	}
	if len(names) > 1 {
		return badCSR("has %d common names", len(names))
	}
	for _, cn := range names {
		name, err := canonicalName(cn)
		if err == nil && (len(c.Names) == 0 || isIP(name) || strings.Contains(name, ".")) {
			c.add(name)
		}
	}
	return nil
}

func (c *CSR) add(name string) {
	// One more than allowed is enough to refuse, and keeps the search short.
	if len(c.Names) <= maxNames && !slices.Contains(c.Names, name) {
		c.Names = append(c.Names, name)
	}
}

// unmarshal is asn1.Unmarshal without anything after the value.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}
