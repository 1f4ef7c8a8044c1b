package cmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"arid/internal/fakeca"
)

func TestHostileCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	times := func(n int) func([][]byte) [][]byte {
		return func(blocks [][]byte) [][]byte {
			for len(blocks) < n {
				blocks = append(blocks, blocks[1])
			}
			return blocks
		}
	}
	const ordered, noChain = "the certificate is not the one ordered: ", "no good chain: "
	against(t, attacks{
		{name: "for another key", does: func(ca *fakeca.CA) { ca.LeafForOtherKey() }, says: []string{ordered, "is for another key"}},
		{name: "for another name", does: func(ca *fakeca.CA) { ca.LeafNames("evil.test") }, says: []string{ordered, `lacks "a.test"`}},
		{name: "for a name less", names: []string{"a.test", "b.test"}, does: func(ca *fakeca.CA) { ca.LeafNames("a.test") }, says: []string{ordered, `lacks "b.test"`}},
		{name: "for a wildcard instead", does: func(ca *fakeca.CA) { ca.LeafNames("*.test") }, says: []string{ordered, `lacks "a.test"`}},
		{name: "expired", does: func(ca *fakeca.CA) { ca.LeafExpired() }, says: []string{ordered, "was valid until", "is the clock right?"}},
		{name: "not yet valid", does: func(ca *fakeca.CA) { ca.LeafValid(time.Now().Add(48*time.Hour), time.Now().Add(96*time.Hour)) }, says: []string{ordered, "is valid from", "is the clock right?"}},
		{name: "of a CA", does: func(ca *fakeca.CA) { ca.LeafIsCA() }, says: []string{ordered, "is that of a CA"}},
		{name: "chain upside down", does: func(ca *fakeca.CA) { ca.ReverseChain() }, says: []string{ordered}},
		{name: "wrong intermediate", does: func(ca *fakeca.CA) { ca.WrongIntermediate() }, says: []string{ordered, "Someone Else"}},
		{name: "a key in the chain", does: func(ca *fakeca.CA) { ca.ExtraPEM(private) }, says: []string{noChain, "something other than certificates", "PRIVATE KEY"}},
		{name: "a key after the chain", does: func(ca *fakeca.CA) { ca.AppendAfterChain(private) }, says: []string{noChain, "something other than certificates"}},
		{name: "text between", does: func(ca *fakeca.CA) { ca.ExtraPEM("ssl_certificate_key /etc/passwd;\n") }, says: []string{noChain, "something other than certificates"}},
		{name: "an escape after the chain", does: func(ca *fakeca.CA) { ca.AppendAfterChain("\x1b]0;owned\x07\n") }, says: []string{noChain, `\x1b]0;owned\a`}},
		{name: "a header in the block", does: func(ca *fakeca.CA) {
			ca.Chain(func(b [][]byte) [][]byte {
				b[0] = bytes.Replace(b[0], []byte("-----\n"), []byte("-----\nX: y\n\n"), 1)
				return b
			})
		}, says: []string{noChain, "certificate 1 of the chain is no good PEM"}},
		{name: "empty", does: func(ca *fakeca.CA) { ca.ChainRaw(nil) }, says: []string{noChain, "the chain is empty"}},
		{name: "blanks", does: func(ca *fakeca.CA) { ca.ChainRaw([]byte("\n \n\n")) }, says: []string{noChain, "the chain is empty"}},
		{name: "NULs", does: func(ca *fakeca.CA) { ca.ChainRaw(make([]byte, 1000)) }, says: []string{noChain}},
		{name: "no DER", does: func(ca *fakeca.CA) {
			ca.ChainRaw([]byte("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"))
		}, says: []string{noChain, "certificate 1 of the chain"}},
		{name: "cut", does: func(ca *fakeca.CA) {
			ca.Body(fakeca.Certificate, func(b []byte) []byte { return b[:len(b)-200] })
		}, says: []string{noChain}},
		{name: "40 certificates", does: func(ca *fakeca.CA) { ca.Chain(times(40)) }, says: []string{noChain, "more than 32 certificates"}},
		{name: "2 MB", does: func(ca *fakeca.CA) { ca.HugeBody(fakeca.Certificate, 2<<20) }, says: []string{"larger than 1024 KiB"}},
		{name: "HTML", does: on(fakeca.Certificate, 200, "<html>Welcome</html>", "Content-Type: text/html"), says: []string{"certificate", noChain, "an HTML page"}},
		{name: "JSON", does: on(fakeca.Certificate, 200, `{"status":"valid"}`, "Content-Type: application/json"), says: []string{"certificate", noChain}},
	}.with(76))
	against(t, []attack{
		{name: "a name more", does: func(ca *fakeca.CA) { ca.LeafNames("a.test", "b.test") }, says: []string{`warning: a.test: the certificate has names that nobody asked for: "b.test"`}, only: firstTime},
		{name: "blank lines", only: csrOnly, does: func(ca *fakeca.CA) {
			ca.Body(fakeca.Certificate, func(b []byte) []byte { return []byte("\n\n" + strings.ReplaceAll(string(b), "\n", "\r\n")) })
		}},
	})
}
