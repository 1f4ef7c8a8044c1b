package keys

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestMakeCSR(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example.org"
	for _, c := range []struct {
		name    string
		key     Algo
		o       CSROptions
		subject string
		alg     x509.SignatureAlgorithm
	}{
		{"one name", RSA2048, CSROptions{Names: []string{"example.org"}}, "CN=example.org", x509.SHA256WithRSA},
		{"order kept, DNS and IP mixed", P256, CSROptions{Names: []string{"example.org", "2001:db8::1", "*.example.org", "192.0.2.7"}}, "CN=example.org", x509.ECDSAWithSHA256},
		{"address first", P384, CSROptions{Names: []string{"192.0.2.7", "example.org"}}, "", x509.ECDSAWithSHA384},
		{"long name first", P521, CSROptions{Names: []string{long, "example.org"}}, "", x509.ECDSAWithSHA512},
		{"wildcard", Ed25519, CSROptions{Names: []string{"*.example.org"}, MustStaple: true}, "CN=*.example.org", x509.PureEd25519},
		{"own subject", P256, CSROptions{Names: []string{"example.org"}, Subject: pkix.Name{Organization: []string{"Example"}}}, "O=Example", x509.ECDSAWithSHA256},
	} {
		key := sample(t, c.key)
		der, err := MakeCSR(key, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		raw, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		extensions := 1
		if c.o.MustStaple {
			extensions = 2
		}
		if raw.Subject.String() != c.subject || raw.SignatureAlgorithm != c.alg || len(raw.Extensions) != extensions {
			t.Errorf("%s: subject %q, %s, %d extensions", c.name, raw.Subject, raw.SignatureAlgorithm, len(raw.Extensions))
		}
		got, err := ParseCSR(der)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.Equal(got.Names, c.o.Names) || got.MustStaple != c.o.MustStaple || !Fits(got.PublicKey, key) || !bytes.Equal(got.DER, der) {
			t.Errorf("%s: read back as %+v", c.name, got)
		}
	}
	for _, names := range [][]string{nil, {""}, {"Example.org"}, {"exa mple.org"}, {"*.*.org"}, {"::ffff:192.0.2.7"}, {"2001:DB8::1"}, {"fe80::1%eth0"}} {
		if _, err := MakeCSR(sample(t, P256), CSROptions{Names: names}); err == nil {
			t.Errorf("made for %q", names)
		}
	}
}

func TestParseCSRByOpenSSL(t *testing.T) {
	csr, err := ParseCSR(file(t, "openssl.csr"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"www.example.org", "192.0.2.7", "*.example.org", "2001:db8::1", "example.org"}; !slices.Equal(csr.Names, want) || !csr.MustStaple {
		t.Errorf("%v, must-staple %v", csr.Names, csr.MustStaple)
	}
	csr, err = ParseCSR(file(t, "minimal.csr"))
	if err != nil || !slices.Equal(csr.Names, []string{"host.example"}) || csr.MustStaple {
		t.Errorf("%+v, %v", csr, err)
	}
}

// request is a request with these extensions, in DER.
func request(t testing.TB, key crypto.Signer, subject pkix.Name, extensions ...pkix.Extension) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, ExtraExtensions: extensions}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// general is a GeneralName.
func general(tag int, b string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(b)}
}

func san(t testing.TB, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	return pkix.Extension{Id: oidSAN, Value: marshal(t, names)}
}

func TestParseCSRNames(t *testing.T) {
	key := sample(t, P256)
	cn := func(s string) pkix.Name { return pkix.Name{CommonName: s} }
	dns := func(names ...string) []asn1.RawValue {
		var all []asn1.RawValue
		for _, n := range names {
			all = append(all, general(tagDNS, n))
		}
		return all
	}
	var many []asn1.RawValue
	for i := range maxNames + 1 {
		many = append(many, general(tagDNS, "a"+itoa(uintptr(i))+".org"))
	}
	for _, c := range []struct {
		name    string
		subject pkix.Name
		san     []asn1.RawValue
		want    string // names with blanks between, or the error
	}{
		{"lower case, no duplicates", cn("Example.ORG"), dns("WWW.example.org", "example.org", "www.EXAMPLE.org"), "www.example.org example.org"},
		{"common name added", cn("example.org"), dns("www.example.org"), "www.example.org example.org"},
		{"common name that is a title", cn("Example Ltd."), dns("www.example.org"), "www.example.org"},
		{"common name of one label beside a SAN", cn("server"), dns("www.example.org"), "www.example.org"},
		{"common name of one label alone", cn("server"), nil, "server"},
		{"common name is an address", cn("192.0.2.7"), nil, "192.0.2.7"},
		{"no names", pkix.Name{}, nil, "has neither a subject alternative name nor a host name as common name"},
		{"only a title", cn("Example Ltd."), nil, "has neither a subject alternative name nor a host name as common name"},
		{"two common names", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "a.org"}, {Type: oidCommonName, Value: "b.org"}}}, nil, "has 2 common names"},
		{"address", pkix.Name{}, []asn1.RawValue{general(tagIP, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), general(tagIP, "\xc0\x00\x02\x07")}, "2001:db8::1 192.0.2.7"},
		{"mapped address", pkix.Name{}, []asn1.RawValue{general(tagIP, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07")}, `: address "::ffff:192.0.2.7" is no plain IPv4 or IPv6 address`},
		{"address of five bytes", pkix.Name{}, []asn1.RawValue{general(tagIP, "\xc0\x00\x02\x07\x00")}, "cannot be read: x509: cannot parse IP address of length 5"},
		{"address as DNS name", pkix.Name{}, dns("192.0.2.7"), `has the address "192.0.2.7" as a DNS name`},
		{"e-mail", pkix.Name{}, append(dns("example.org"), general(tagEmail, "a@example.org")), "has the subject alternative name e-mail address: only DNS names and IP addresses can be ordered"},
		{"URI", pkix.Name{}, append(dns("example.org"), general(tagURI, "https://example.org/")), "has the subject alternative name URI: only DNS names and IP addresses can be ordered"},
		{"otherName", pkix.Name{}, append(dns("example.org"), asn1.RawValue{Class: 2, Tag: 0, IsCompound: true}), "has the subject alternative name otherName: only DNS names and IP addresses can be ordered"},
		{"unknown kind", pkix.Name{}, append(dns("example.org"), general(9, "x")), "has the subject alternative name name of kind 9: only DNS names and IP addresses can be ordered"},
		{"trailing dot", pkix.Name{}, dns("example.org."), `: name "example.org.": empty label (a dot too many)`},
		{"UTF-8", pkix.Name{}, dns("müller.example"), "cannot be read: x509: SAN dNSName is malformed"},
		{"underscore", pkix.Name{}, dns("_dmarc.example.org"), `: name "_dmarc.example.org": '_' is not allowed in host names`},
		{"path", pkix.Name{}, dns("../../etc/passwd"), `: name "../../etc/passwd": empty label (a dot too many)`},
		{"newline", pkix.Name{}, dns("a\n.org"), `: name "a\n.org": '\n' is not allowed in host names`},
		{"NUL", pkix.Name{}, dns("a.org\x00.evil.org"), `: name "a.org\x00.evil.org": '\x00' is not allowed in host names`},
		{"star within", pkix.Name{}, dns("a.*.org"), `: name "a.*.org": a wildcard stands alone before the first dot`},
		{"label of 64 bytes", pkix.Name{}, dns(strings.Repeat("a", 64) + ".org"), `: name "` + strings.Repeat("a", 64) + `…": label longer than 63 bytes`},
		{"hyphen first", pkix.Name{}, dns("-a.org"), `: name "-a.org": label begins or ends with a hyphen`},
		{"hyphen last", pkix.Name{}, dns("a-.org"), `: name "a-.org": label begins or ends with a hyphen`},
		{"254 bytes", pkix.Name{}, dns(strings.Repeat("a.", 125) + "orgs"), `: name "` + strings.Repeat("a.", 32) + `…": longer than 253 bytes`},
		{"253 bytes", pkix.Name{}, dns(strings.Repeat("a.", 125) + "org"), strings.Repeat("a.", 125) + "org"},
		{"last label a number", pkix.Name{}, dns("192.0.2"), `: name "192.0.2": last label is a number`},
		{"tag of another class", pkix.Name{}, []asn1.RawValue{{Class: asn1.ClassUniversal, Tag: tagDNS, Bytes: []byte("a.org")}}, "has damaged subject alternative names"},
		{"star alone", pkix.Name{}, dns("*"), `: name "*": a wildcard stands alone before the first dot`},
		{"too many", pkix.Name{}, many, "asks for more than 1000 names"},
	} {
		var extensions []pkix.Extension
		if c.san != nil {
			extensions = append(extensions, san(t, c.san...))
		}
		csr, err := ParseCSR(request(t, key, c.subject, extensions...))
		got := ""
		if err != nil {
			got = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "certificate signing request"), " ")
		} else {
			got = strings.Join(csr.Names, " ")
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestParseCSRExtensions(t *testing.T) {
	key := sample(t, P256)
	name := san(t, general(tagDNS, "example.org"))
	basic := func(ca bool) pkix.Extension {
		return pkix.Extension{Id: oidBasicConstraints, Value: marshal(t, struct {
			CA bool `asn1:"optional"`
		}{ca})}
	}
	usage := func(bits byte) pkix.Extension {
		return pkix.Extension{Id: oidKeyUsage, Value: marshal(t, asn1.BitString{Bytes: []byte{bits}, BitLength: 8})}
	}
	eku := func(ids ...asn1.ObjectIdentifier) pkix.Extension {
		return pkix.Extension{Id: oidExtKeyUsage, Value: marshal(t, ids)}
	}
	clientAuth := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	for _, c := range []struct {
		name string
		e    pkix.Extension
		want string // "": taken
	}{
		{"must-staple", pkix.Extension{Id: oidTLSFeature, Value: mustStaple}, ""},
		{"other TLS feature", pkix.Extension{Id: oidTLSFeature, Value: marshal(t, []int{5, 17})}, "asks for a TLS feature other than must-staple"},
		{"subject key identifier", pkix.Extension{Id: oidSubjectKeyID, Value: marshal(t, []byte("abc"))}, ""},
		{"key usage", usage(0xa0), ""},
		{"keyCertSign", usage(0x04), "asks for a CA's key usage"},
		{"cRLSign", usage(0x02), "asks for a CA's key usage"},
		{"CA:FALSE", basic(false), ""},
		{"CA:TRUE", basic(true), "asks for a CA certificate (CA:TRUE)"},
		{"damaged basic constraints", pkix.Extension{Id: oidBasicConstraints, Value: []byte{0x30, 0x03, 0x01, 0x01}}, "has damaged basic constraints"},
		{"a byte too many", pkix.Extension{Id: oidBasicConstraints, Value: []byte{0x30, 0x00, 0x00}}, "has damaged basic constraints"},
		{"server authentication", eku(oidServerAuth), ""},
		{"client authentication", eku(oidServerAuth, clientAuth), "asks for the extended key usage 1.3.6.1.5.5.7.3.2"},
		{"certificate policies", pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: []byte{0x30, 0}}, "asks for the extension 2.5.29.32"},
		{"tls-alpn-01", pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: []byte{4, 0}}, "asks for the extension 1.3.6.1.5.5.7.1.31"},
	} {
		_, err := ParseCSR(request(t, key, pkix.Name{}, name, c.e))
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "certificate signing request ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// attributes signs a request with these raw attributes.
func attributes(t *testing.T, all ...asn1.RawValue) []byte {
	t.Helper()
	key := sample(t, Ed25519)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	tbs := marshal(t, struct {
		Version    int
		Subject    pkix.RDNSequence
		Key        asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}{0, pkix.Name{CommonName: "example.org"}.ToRDNSequence(), asn1.RawValue{FullBytes: spki}, all})
	signature, err := key.Sign(rand.Reader, tbs, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, struct {
		TBS       asn1.RawValue
		Alg       pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
}

// Readers that take different lists of extensions would see different requests.
func TestParseCSRAttributes(t *testing.T) {
	attribute := func(id asn1.ObjectIdentifier, values ...any) asn1.RawValue {
		var set []asn1.RawValue
		for _, v := range values {
			set = append(set, asn1.RawValue{FullBytes: marshal(t, v)})
		}
		return asn1.RawValue{FullBytes: marshal(t, struct {
			ID     asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}{id, set})}
	}
	none := []pkix.Extension{{Id: oidSubjectKeyID, Value: []byte{4, 0}}}
	ca := []pkix.Extension{{Id: oidBasicConstraints, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}}
	for _, c := range []struct {
		name string
		der  []byte
		want string
	}{
		{"none", attributes(t), ""},
		{"one list", attributes(t, attribute(oidExtensionRequest, none)), ""},
		{"challenge password", attributes(t, attribute(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, "secret")), ""},
		{"two values", attributes(t, attribute(oidExtensionRequest, none, ca)), "has more than one list of extensions"},
		{"no value", attributes(t, attribute(oidExtensionRequest)), "has more than one list of extensions"},
		{"two lists", attributes(t, attribute(oidExtensionRequest, none), attribute(oidExtensionRequest, ca)), "has more than one list of extensions"},
		{"Microsoft's list", attributes(t, attribute(oidExtensionsOfMS, ca)), "keeps extensions in Microsoft's attribute 1.3.6.1.4.1.311.2.1.14"},
		{"damaged", attributes(t, asn1.RawValue{FullBytes: []byte{0x30, 0x00}}), "has a damaged attribute"},
	} {
		_, err := ParseCSR(c.der)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "certificate signing request ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseCSRForms(t *testing.T) {
	der := request(t, sample(t, P256), pkix.Name{CommonName: "example.org"})
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	good := block("CERTIFICATE REQUEST")
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	broken := slices.Clone(der)
	broken[len(broken)-1] ^= 1
	for _, c := range []struct {
		name string
		data []byte
		want string // "": taken
	}{
		{"DER", der, ""},
		{"PEM", good, ""},
		{"PEM, old header", block("NEW CERTIFICATE REQUEST"), ""},
		{"text around, CRLF", bytes.ReplaceAll(join([]byte("hello\n"), good, []byte("bye\n")), []byte("\n"), []byte("\r\n")), ""},
		{"DER with a byte after it", append(slices.Clone(der), 0), "certificate signing request cannot be read: asn1: syntax error: trailing data"},
		{"PEM with a byte after the DER", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: append(slices.Clone(der), 0)}), "certificate signing request cannot be read: asn1: syntax error: trailing data"},
		{"two", join(good, good), "2 PEM blocks; one certificate signing request alone is taken"},
		{"request and key", join(good, file(t, "ed25519.pem")), "2 PEM blocks; one certificate signing request alone is taken"},
		{"certificate", file(t, "cert.pem"), `holds "CERTIFICATE", no certificate signing request`},
		{"key", file(t, "ed25519.pem"), `holds "PRIVATE KEY", no certificate signing request`},
		{"cut off", good[:len(good)-10], "damaged PEM block (cut off, or with a bad line)"},
		{"text", []byte("hello"), "neither PEM nor DER, no certificate signing request"},
		{"empty", nil, "empty, no certificate signing request"},
		{"too large", make([]byte, maxFile+1), "certificate signing request is larger than 65536 bytes"},
		{"weak key", request(t, weakKey, pkix.Name{CommonName: "example.org"}), "certificate signing request: RSA key of 1024 bits; it must have 2048 to 8192"},
		{"signature broken", broken, "signature of the certificate signing request does not hold: x509: ECDSA verification failure"},
	} {
		_, err := ParseCSR(c.data)
		got := ""
		if err != nil {
			got = err.Error()
			var bad *ParseError
			if !errors.As(err, &bad) {
				t.Errorf("%s: error of type %T", c.name, err)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzParseCSR(f *testing.F) {
	f.Add(file(f, "openssl.csr"))
	f.Add(file(f, "minimal.csr"))
	for _, name := range []string{"openssl.csr", "minimal.csr"} {
		b, _ := pem.Decode(file(f, name))
		f.Add(b.Bytes)
	}
	f.Add(request(f, sample(f, Ed25519), pkix.Name{CommonName: "x"}, san(f, general(tagURI, "https://a/"), general(tagIP, "1234"))))
	// A signature that must hold would stop the fuzzer at the door: what lies
	// behind it is fed to the readers of each part as well.
	f.Fuzz(func(t *testing.T, data []byte) {
		if csr, err := ParseCSR(data); err == nil {
			checkNames(t, csr.Names)
		}
		var c CSR
		extensions, err := requestedExtensions(data)
		if err == nil {
			for _, e := range extensions {
				_ = c.take(e)
			}
		}
		for _, id := range []asn1.ObjectIdentifier{oidSAN, oidBasicConstraints, oidKeyUsage, oidExtKeyUsage, oidTLSFeature} {
			_ = c.take(pkix.Extension{Id: id, Value: data})
		}
		checkNames(t, c.Names)
	})
}

func checkNames(t *testing.T, names []string) {
	t.Helper()
	for _, n := range names {
		if same, err := canonicalName(n); err != nil || same != n {
			t.Errorf("name %q is not canonical", n)
		}
		if strings.ContainsAny(n, "/\\\x00\n\r \t'\"$`") || strings.Contains(n, "..") {
			t.Errorf("name %q got through", n)
		}
		if u, err := url.Parse("https://" + strings.ReplaceAll(n, ":", "") + "/"); err != nil || u.Path != "/" {
			t.Errorf("name %q", n)
		}
	}
}
