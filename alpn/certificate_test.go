package alpn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// openssl fails the test unless openssl takes the input.
func openssl(t *testing.T, input []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", args, err, out)
	}
	return string(out)
}

func TestOpenSSLSeesWhatRFC8737Wants(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	digest := sha256.Sum256([]byte("token.thumbprint"))
	var colons []string
	for _, b := range digest {
		colons = append(colons, strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15])))
	}
	for _, test := range []struct{ name, san string }{
		{"example.org", "DNS:example.org"},
		{"Example.ORG", "DNS:example.org"},
		{longest, "DNS:" + longest},
		{"192.0.2.1", "IP Address:192.0.2.1"},
		{"::1", "IP Address:0:0:0:0:0:0:0:1"},
		{"2001:db8::", "IP Address:2001:DB8:0:0:0:0:0:0"},
		{"2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1"},
	} {
		certPEM, keyPEM, err := Make(test.name, digest, now)
		if err != nil {
			t.Fatal(err)
		}
		text := openssl(t, certPEM, "x509", "-noout", "-text")
		for _, want := range []string{
			"Version: 3", "Subject: \n", "Issuer: \n", "ASN1 OID: prime256v1",
			"Not Before: Oct  1 11:00:00 2026 GMT", "Not After : Oct  2 12:00:00 2026 GMT",
			"X509v3 Subject Alternative Name: critical\n                " + test.san + "\n",
			"1.3.6.1.5.5.7.1.31: critical\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", test.name, want, text)
			}
		}
		if got := strings.Count(text, "critical"); got != 2 {
			t.Errorf("%d critical extensions", got)
		}
		dump := openssl(t, certPEM, "asn1parse")
		_, after, _ := strings.Cut(dump, ":1.3.6.1.5.5.7.1.31")
		if want := "[HEX DUMP]:0420" + strings.Join(colons, "") + "\n"; !strings.Contains(after, want) {
			t.Errorf("no %q in %s", want, dump)
		}
		file := filepath.Join(t.TempDir(), "cert.pem")
		if err := os.WriteFile(file, certPEM, 0o600); err != nil {
			t.Fatal(err)
		}
		// Signed by itself; a critical extension that is unknown is what a CA looks for.
		if got := openssl(t, nil, "verify", "-ignore_critical", "-check_ss_sig", "-attime", "1790856000", "-CAfile", file, file); !strings.HasSuffix(got, ": OK\n") {
			t.Error(got)
		}
		if !bytes.HasPrefix(keyPEM, []byte("-----BEGIN PRIVATE KEY-----\n")) ||
			openssl(t, keyPEM, "pkey", "-pubout") != openssl(t, certPEM, "x509", "-noout", "-pubkey") {
			t.Errorf("%s: the key does not fit", test.name)
		}
	}
}

func TestMakeIsNewEachTime(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		certPEM, keyPEM, err := Make("example.org", sha256.Sum256(nil), now)
		if err != nil {
			t.Fatal(err)
		}
		cert, _, err := parse(certPEM, "example.org")
		if err != nil || cert.SerialNumber.BitLen() < 64 {
			t.Fatalf("%v, %v", cert.SerialNumber, err)
		}
		seen[cert.SerialNumber.String()], seen[string(keyPEM)] = true, true
	}
	if len(seen) != 40 {
		t.Errorf("%d serial numbers and keys of 40", len(seen))
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, name := range append([]string{"::ffff:192.0.2.1", "fe80::1%eth0"}, hostile...) {
		if _, _, err := Make(name, sha256.Sum256(nil), now); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.80q: %.600v", name, err)
		}
	}
}

// certificate is what others may have put there.
func certificate(t *testing.T, template *x509.Certificate) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, template, key)
}

func signed(t *testing.T, template *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestOnlyValidationCertificatesAreRead(t *testing.T) {
	digest := bytes.Repeat([]byte{7}, 32)
	octets := append([]byte{4, 32}, digest...)
	extension := pkix.Extension{Id: acmeIdentifier, Critical: true, Value: octets}
	with := func(change func(c *x509.Certificate)) []byte {
		c := &x509.Certificate{DNSNames: []string{"example.org"}, ExtraExtensions: []pkix.Extension{extension}}
		change(c)
		return certificate(t, c)
	}
	san := func(names ...asn1.RawValue) func(*x509.Certificate) {
		value, err := asn1.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *x509.Certificate) {
			c.DNSNames = nil
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: subjectAltName, Value: value})
		}
	}
	value := func(value []byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions[0].Value = value }
	}
	bits := func(n int) []byte {
		key, err := rsa.GenerateKey(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		return signed(t, &x509.Certificate{DNSNames: []string{"example.org"}, ExtraExtensions: []pkix.Extension{extension}}, key)
	}
	good := with(func(*x509.Certificate) {})
	dns := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("example.org")}
	for _, test := range []struct {
		what, serverName string
		pem              []byte
		good             bool
	}{
		{"a validation certificate", "example.org", good, true},
		{"with a common name, as dehydrated's", "example.org", with(func(c *x509.Certificate) { c.Subject.CommonName = "example.org" }), true},
		{"RSA, as dehydrated's", "example.org", bits(2048), true},
		{"RSA that no TLS takes", "example.org", bits(1024), false},
		{"text before", "example.org", append([]byte("a line\n"), good...), true},
		{"another name", "example.com", good, false},
		{"upper case in it", "example.org", with(func(c *x509.Certificate) { c.DNSNames[0] = "Example.org" }), false},
		{"two names", "example.org", with(func(c *x509.Certificate) { c.DNSNames = []string{"example.org", "example.com"} }), false},
		{"a wildcard", "www.example.org", with(func(c *x509.Certificate) { c.DNSNames[0] = "*.example.org" }), false},
		{"a name in the subject alone", "example.org", with(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "example.org" }), false},
		{"an address too", "example.org", with(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}} }), false},
		{"a mail address too", "example.org", with(func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.org"} }), false},
		{"a URI too", "example.org", with(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: "example.org"}} }), false},
		{"a registered ID too", "example.org", with(san(dns, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{42}})), false},
		{"the name alone, by hand", "example.org", with(san(dns)), true},
		{"no names at all", "example.org", with(san()), false},
		{"IPv4", "1.2.0.192.in-addr.arpa", with(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 1}} }), true},
		{"IPv6", ServerName("::1"), with(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv6loopback} }), true},
		{"another IPv4", "2.2.0.192.in-addr.arpa", with(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 1}} }), false},
		{"an address by its own digits", "192.0.2.1", with(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 1}} }), false},
		{"no acmeIdentifier", "example.org", with(func(c *x509.Certificate) { c.ExtraExtensions = nil }), false},
		{"one that is not critical", "example.org", with(func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = false }), false},
		{"the draft's number", "example.org", with(func(c *x509.Certificate) {
			c.ExtraExtensions[0].Id = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1}
		}), false},
		{"a digest without a tag", "example.org", with(value(digest)), false},
		{"a short digest", "example.org", with(value(octets[:33])), false},
		{"a long digest", "example.org", with(value(append(octets[:34:34], 0))), false},
		{"an empty acmeIdentifier", "example.org", with(value([]byte{})), false},
		{"a chain", "example.org", append(good[:len(good):len(good)], good...), false},
		{"text behind", "example.org", append(good[:len(good):len(good)], "x"...), false},
		{"half of it", "example.org", good[:len(good)/2], false},
		{"a key", "example.org", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), false},
		{"no DER in it", "example.org", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{48, 3, 1, 2, 3}}), false},
		{"nothing", "example.org", nil, false},
	} {
		cert, got, err := parse(test.pem, test.serverName)
		if (err == nil) != test.good || test.good && (cert == nil || !bytes.Equal(got[:], digest)) {
			t.Errorf("%s: %x, %v", test.what, got, err)
		}
	}
}
