package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func TestCheckChain(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	key := newKey(t)
	now := time.Now()
	leaf := func(change func(*x509.Certificate), names ...string) *x509.Certificate {
		return a.leaf(t, key.Public(), change, names...)
	}
	expired := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-48*time.Hour), now.Add(-time.Second) }
	from := func(d time.Duration) func(c *x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore = now.Add(d) }
	}
	plain := leaf(nil, "a.example")
	// The same name and another key: only the signature tells.
	impostorKey := newKey(t)
	impostor := sign(t, template("Test Intermediate", true), template("Test Root", true), impostorKey.Public(), impostorKey)
	notCA := sign(t, template("Test Intermediate", false), template("Test Root", true), impostorKey.Public(), impostorKey)
	oldCA := template("Test Intermediate", true)
	expired(oldCA)
	oldIntermediate := sign(t, oldCA, template("Test Root", true), a.key.Public(), impostorKey)
	unknown := *plain
	unknown.SignatureAlgorithm = x509.UnknownSignatureAlgorithm

	for _, test := range []struct {
		name    string
		chain   []*x509.Certificate
		pub     crypto.PublicKey
		names   []string
		want    string // part of the error
		warning string
	}{
		{"as ordered", []*x509.Certificate{plain, a.intermediate}, key.Public(), []string{"a.example"}, "", ""},
		{"with the root", []*x509.Certificate{plain, a.intermediate, a.root}, key.Public(), []string{"a.example"}, "", ""},
		{"a leaf alone", []*x509.Certificate{plain}, key.Public(), []string{"a.example"}, "", ""},
		{"nothing", nil, key.Public(), nil, "no certificate", ""},
		{"another key", []*x509.Certificate{plain, a.intermediate}, impostorKey.Public(), []string{"a.example"}, "another key", ""},
		{"a name lacks", []*x509.Certificate{plain}, key.Public(), []string{"a.example", "b.example"}, `lacks "b.example"`, ""},
		{"a name more", []*x509.Certificate{leaf(nil, "a.example", "www.a.example")}, key.Public(), []string{"a.example"}, "", `"www.a.example"`},
		{"upper case", []*x509.Certificate{leaf(nil, "A.Example")}, key.Public(), []string{"a.example"}, "", ""},
		{"wildcard", []*x509.Certificate{leaf(nil, "*.a.example")}, key.Public(), []string{"*.a.example"}, "", ""},
		{"wildcard is no name", []*x509.Certificate{leaf(nil, "*.a.example")}, key.Public(), []string{"b.a.example"}, "lacks", ""},
		{"addresses", []*x509.Certificate{leaf(nil, "192.0.2.1", "2001:db8::1")}, key.Public(), []string{"192.0.2.1", "2001:db8::1"}, "", ""},
		{"another address", []*x509.Certificate{leaf(nil, "192.0.2.1")}, key.Public(), []string{"192.0.2.2"}, "lacks", ""},
		{"the common name does not count", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.Subject.CommonName = "a.example" })}, key.Public(), []string{"a.example"}, "lacks", ""},
		{"expired", []*x509.Certificate{leaf(expired, "a.example")}, key.Public(), []string{"a.example"}, "was valid until", ""},
		{"our clock is slow", []*x509.Certificate{leaf(from(59*time.Minute), "a.example")}, key.Public(), []string{"a.example"}, "", ""},
		{"not yet valid", []*x509.Certificate{leaf(from(61*time.Minute), "a.example")}, key.Public(), []string{"a.example"}, "is the clock right", ""},
		{"a CA", []*x509.Certificate{leaf(func(c *x509.Certificate) { c.IsCA = true }, "a.example")}, key.Public(), []string{"a.example"}, "that of a CA", ""},
		{"another's chain", []*x509.Certificate{plain, other.root}, key.Public(), []string{"a.example"}, "is issued by", ""},
		{"an impostor's chain", []*x509.Certificate{plain, impostor}, key.Public(), []string{"a.example"}, "not signed by", ""},
		{"wrong order", []*x509.Certificate{plain, a.root, a.intermediate}, key.Public(), []string{"a.example"}, "is issued by", ""},
		{"signed by no CA", []*x509.Certificate{plain, notCA}, key.Public(), []string{"a.example"}, "no CA", ""},
		{"an old intermediate", []*x509.Certificate{plain, oldIntermediate}, key.Public(), []string{"a.example"}, "", "certificate 2 of the chain: it was valid until"},
		{"a new algorithm", []*x509.Certificate{&unknown, a.intermediate}, key.Public(), []string{"a.example"}, "", "cannot be checked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			warnings, err := CheckChain(test.chain, test.pub, test.names, now)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
			if all := strings.Join(warnings, "\n"); (test.warning == "") != (all == "") || !strings.Contains(all, test.warning) {
				t.Errorf("warnings %q, want %q", all, test.warning)
			}
		})
	}
}

func TestNamesAndFeatures(t *testing.T) {
	a, key := newAuthority(t), newKey(t)
	c := a.leaf(t, key.Public(), func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
	}, "B.example", "*.a.example", "2001:DB8::1", "192.0.2.1")
	same(t, "names", Names(c), []string{"b.example", "*.a.example", "2001:db8::1", "192.0.2.1"})
	if !MustStaple(c) || MustStaple(a.root) {
		t.Error("must-staple")
	}
	same(t, "common name", Names(a.root), []string{"test root"})
	if len(Fingerprint(c)) != 64 || Fingerprint(nil) != "" {
		t.Error("fingerprint")
	}
	block, rest := pem.Decode(EncodeChain([]*x509.Certificate{c, a.root}))
	if !bytes.Equal(block.Bytes, c.Raw) || !bytes.Equal(rest, EncodeChain([]*x509.Certificate{a.root})) {
		t.Error("encoding")
	}
}

func FuzzChain(f *testing.F) {
	a := newAuthority(f)
	f.Add(EncodeChain([]*x509.Certificate{a.intermediate, a.root}))
	f.Add([]byte("text\n" + string(EncodeChain([]*x509.Certificate{a.root}))))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := parseChain(data)
		if err != nil || len(chain) == 0 {
			return
		}
		_, _ = CheckChain(chain, chain[0].PublicKey, Names(chain[0]), time.Now())
		again, err := parseChain(EncodeChain(chain))
		if err != nil || len(again) != len(chain) {
			t.Errorf("%d certificates, then %d: %v", len(chain), len(again), err)
		}
	})
}
