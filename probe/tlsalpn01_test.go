package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/alpn"
	"arid/internal/guard"
)

// certificate makes one that begins today in 2026; change it as you like.
func certificate(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.org"},
		NotBefore: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	var signer crypto.Signer = key
	parent := template
	change(template)
	if template.IsCA { // signed by another
		parent = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "issuer"}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// attests puts acmeIdentifier into a certificate.
func attests(value []byte, critical bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: acmeIdentifier, Critical: critical, Value: value}}
	}
}

func digestOf(keyAuth string) []byte {
	digest := sha256.Sum256([]byte(keyAuth))
	return append([]byte{4, 32}, digest[:]...)
}

// handshakes is a TLS server.
func handshakes(c *tls.Config) site {
	return raw(func(conn net.Conn) {
		server := tls.Server(conn, c)
		_ = server.Handshake()
		_, _ = io.Copy(io.Discard, conn)
	})
}

func TestTLSALPN01(t *testing.T) {
	right := digestOf(keyAuth)
	speaks := func(protocols []string, change ...func(*x509.Certificate)) site {
		c := certificate(t, func(c *x509.Certificate) {
			for _, do := range change {
				do(c)
			}
		})
		return handshakes(&tls.Config{Certificates: []tls.Certificate{c}, NextProtos: protocols})
	}
	acme := []string{alpn.Protocol}
	for _, c := range []struct {
		name  string
		site  site // at 192.0.2.7 port 443
		text  string
		cause Cause
	}{
		{"right", speaks(acme, attests(right, true)), " shows the right certificate", SeenRight},
		{"right, by TLS 1.2", func() site {
			c := certificate(t, attests(right, true))
			return handshakes(&tls.Config{Certificates: []tls.Certificate{c}, NextProtos: acme, MaxVersion: tls.VersionTLS12})
		}(), " shows the right certificate", SeenRight},
		{"right, in capitals", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.DNSNames = []string{"Example.ORG"} }), " shows the right certificate", SeenRight},

		{"refused", fails(syscall.ECONNREFUSED), ": connection refused", TLSRefused},
		{"timeout of the kernel", fails(syscall.ETIMEDOUT), ": no connection in time", TLSTimeout},
		{"no route", fails(syscall.EHOSTUNREACH), ": no route to host", TLSUnreachable},

		{"HTTP on the port", raw(func(c net.Conn) {
			c.Read(make([]byte, 9))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
			io.Copy(io.Discard, c)
		}), ` answers "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", which is no TLS`, TLSNoTLS},
		{"SSH on the port", raw(func(c net.Conn) {
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n")
			io.Copy(io.Discard, c)
		}), ` answers "SSH-2.0-OpenSSH_9.2p1\r\n", which is no TLS`, TLSNoTLS},

		{"closed", raw(func(c net.Conn) { c.Read(make([]byte, 4096)) }), " closes the connection in the TLS handshake", TLSHandshake},
		{"cut off", raw(func(c net.Conn) { c.Read(make([]byte, 4096)); c.Write([]byte{22, 3, 3, 0, 80, 2, 0}) }), " closes the connection in the TLS handshake", TLSHandshake},
		{"name unknown", raw(func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write([]byte{21, 3, 3, 0, 2, 2, 112})
			io.Copy(io.Discard, c)
		}),
			": the server ends the TLS handshake (alert unrecognized_name)", TLSHandshake},
		{"alert nobody knows", raw(func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write([]byte{21, 3, 3, 0, 2, 2, 250})
			io.Copy(io.Discard, c)
		}),
			": the server ends the TLS handshake (alert alert(250))", TLSHandshake},
		{"garbage in TLS", raw(func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write([]byte{22, 3, 3, 0, 8, 2, 0, 0, 4, 0xff, 0xff, 0xff, 0xff})
			io.Copy(io.Discard, c)
		}), ": the TLS handshake fails: tls: error decoding message", TLSHandshake},
		{"only TLS 1.1", handshakes(&tls.Config{Certificates: []tls.Certificate{certificate(t, attests(right, true))}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
			": the server ends the TLS handshake (alert protocol_version_not_supported)", TLSHandshake},
		{"certificate that is none", handshakes(&tls.Config{NextProtos: acme, Certificates: []tls.Certificate{{Certificate: [][]byte{[]byte("no certificate")}, PrivateKey: certificate(t, attests(right, true)).PrivateKey}}}),
			": the TLS handshake fails: tls: failed to parse certificate from server: x509: malformed certificate", TLSHandshake},

		{"alert 120", speaks([]string{"h2", "http/1.1"}), ": the server does not take acme-tls/1 (alert no_application_protocol)", TLSNoALPN},
		{"acme-tls/1 ignored", speaks(nil, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org", "b", "c", "d"} }),
			`: the server ignores acme-tls/1, and shows its ordinary certificate, for "www.example.org", "b", "c" and 1 more`, TLSNoALPN},
		{"right, but without the protocol", speaks(nil, attests(right, true)), `: the server ignores acme-tls/1, and shows the right certificate`, TLSNoALPN},

		{"ordinary", speaks(acme, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} }), ` shows its ordinary certificate, for "www.example.org"`, TLSOrdinary},
		{"ordinary, with a common name", speaks(acme, func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "snake\noil" }), ` shows its ordinary certificate, for "snake\noil" by common name only`, TLSOrdinary},
		{"ordinary, without a name", speaks(acme, func(c *x509.Certificate) { c.DNSNames = nil }), ` shows its ordinary certificate, for no name`, TLSOrdinary},
		{"not critical", speaks(acme, attests(right, false)), ` shows a certificate for "example.org" that is no validation certificate: acmeIdentifier is not critical`, TLSOrdinary},
		{"no digest", speaks(acme, attests([]byte{4, 1, 2}, true)), ` shows a certificate for "example.org" that is no validation certificate: acmeIdentifier holds no SHA-256 digest`, TLSOrdinary},
		{"bytes after the digest", speaks(acme, attests(append(right[:34:34], 0), true)), ` shows a certificate for "example.org" that is no validation certificate: acmeIdentifier holds no SHA-256 digest`, TLSOrdinary},
		{"bare digest", speaks(acme, attests(right[2:], true)), ` shows a certificate for "example.org" that is no validation certificate: acmeIdentifier holds no SHA-256 digest`, TLSOrdinary},
		{"signed by another", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.IsCA = true }), ` shows a certificate for "example.org" that is no validation certificate: it is not self-signed`, TLSOrdinary},

		{"old", speaks(acme, attests(digestOf("another"), true)), " shows a validation certificate of another challenge or account, made 2026-11-20", TLSOld},

		{"another name", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.DNSNames = []string{"example.net"} }), ` shows a validation certificate for "example.net"`, TLSOtherName},
		{"one name too many", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.DNSNames = []string{"example.org", "www.example.org"} }), ` shows a validation certificate for "example.org" and "www.example.org"`, TLSOtherName},
		{"an address too many", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 7}} }), ` shows a validation certificate for "example.org" and "192.0.2.7"`, TLSOtherName},
		{"no name", speaks(acme, attests(right, true), func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "example.org" }), ` shows a validation certificate for "example.org" by common name only`, TLSOtherName},
		{"old, of another name", speaks(acme, attests(digestOf("another"), true), func(c *x509.Certificate) { c.DNSNames = []string{"example.net"} }), ` shows a validation certificate for "example.net"`, TLSOtherName},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7"}, sites: map[string]site{"192.0.2.7:443": c.site}}.prober()
			check(t, p.TLSALPN01(t.Context(), "example.org", keyAuth), `TLS at 192.0.2.7 port 443`+c.text, c.cause)
		})
	}
}

// An address is asked for by the name of its reverse mapping (RFC 8738 §6).
func TestTLSALPN01OfAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":   "7.2.0.192.in-addr.arpa",
		"2001:db8::7": "7." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		a := netip.MustParseAddr(address)
		asked := make(chan tls.ClientHelloInfo, 1)
		good := certificate(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = nil, []net.IP{a.AsSlice()}
			attests(digestOf(keyAuth), true)(c)
		})
		p := world{t: t, sites: map[string]site{netip.AddrPortFrom(a, 443).String(): handshakes(&tls.Config{
			NextProtos: []string{alpn.Protocol},
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				asked <- *hello
				return &good, nil
			},
		})}}.prober()
		check(t, p.TLSALPN01(t.Context(), address, keyAuth), "TLS at "+bracket(a)+" port 443 shows the right certificate", SeenRight)
		hello := <-asked
		if hello.ServerName != want || len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != alpn.Protocol {
			t.Errorf("asked for %q by %q", hello.ServerName, hello.SupportedProtos)
		}
	}
}

func TestTLSALPN01OfAnotherAddress(t *testing.T) {
	p := world{t: t, sites: map[string]site{"192.0.2.7:443": handshakes(&tls.Config{
		NextProtos: []string{alpn.Protocol},
		Certificates: []tls.Certificate{certificate(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 8}}
			attests(digestOf(keyAuth), true)(c)
		})},
	})}}.prober()
	check(t, p.TLSALPN01(t.Context(), "192.0.2.7", keyAuth), `TLS at 192.0.2.7 port 443 shows a validation certificate for "192.0.2.8"`, TLSOtherName)
}

func TestTLSv6(t *testing.T) {
	right := handshakes(&tls.Config{NextProtos: []string{alpn.Protocol}, Certificates: []tls.Certificate{certificate(t, attests(digestOf(keyAuth), true))}})
	p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7", "example.org. 60 IN AAAA 2001:db8::7"},
		sites: map[string]site{"192.0.2.7:443": right}}.prober()
	check(t, p.TLSALPN01(t.Context(), "example.org", keyAuth),
		`TLS at [2001:db8::7] port 443: connection refused; at 192.0.2.7 port 443 shows the right certificate`, TLSv6)
}

// What arid itself makes is right.
func TestTLSALPN01TakesOurOwn(t *testing.T) {
	for _, name := range []string{"example.org", "127.0.0.1"} {
		certPEM, keyPEM, err := alpn.Make(name, sha256.Sum256([]byte(keyAuth)), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		l := listen(t, "127.0.0.1:0")
		go guard.Run(func() error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			return tls.Server(conn, &tls.Config{NextProtos: []string{alpn.Protocol}, Certificates: []tls.Certificate{pair}}).Handshake()
		})
		p := &Prober{DNS: resolver(t, "example.org. 60 IN A 127.0.0.1"), TLSPort: l.Addr().(*net.TCPAddr).Port}
		if got := p.TLSALPN01(t.Context(), name, keyAuth); got.Cause != SeenRight {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzCertificate(f *testing.F) {
	digest := sha256.Sum256([]byte(keyAuth))
	for _, c := range []func(*x509.Certificate){
		func(*x509.Certificate) {}, attests(digestOf(keyAuth), true), attests(digestOf("x"), true), attests([]byte{4, 0x82, 0xff, 0xff}, true),
		func(c *x509.Certificate) { c.DNSNames = []string{"a\x1b[2J"} },
	} {
		f.Add(certificate(f, c).Certificate[0])
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		for _, name := range []string{"example.org", "192.0.2.7"} {
			l := judgeCertificate(leaf, name, digest)
			checkLine(t, Seen{Text: l.text, Cause: l.cause})
		}
	})
}

// The extension's value alone, which random changes to a whole certificate
// seldom reach.
func FuzzDigest(f *testing.F) {
	for _, seed := range [][]byte{digestOf(keyAuth), {4, 0}, {4, 0x84, 0xff, 0xff, 0xff, 0xff}, {}, {0x24, 0x80}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: acmeIdentifier, Critical: true, Value: value}}}
		digest, why := readDigest(leaf)
		if why != "" {
			return
		}
		again, err := asn1.Marshal(digest)
		if err != nil || string(again) != string(value) || len(value) != 34 {
			t.Errorf("%x was read as %x", value, digest)
		}
	})
}
