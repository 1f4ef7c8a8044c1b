//go:build linux

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
)

// check says whether these files hold a certificate for just those names that
// leads to the CA's root, and its key.
func check(roots *x509.CertPool, files [2]string, names []string) error {
	pair, err := tls.LoadX509KeyPair(files[0], files[1]) // also: does the key fit?
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		intermediates.AddCert(issuer)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return err
	}
	got, want := slices.Sorted(slices.Values(pair.Leaf.DNSNames)), slices.Sorted(slices.Values(names))
	if !slices.Equal(got, want) {
		return fmt.Errorf("the certificate is for %v", got)
	}
	return nil
}

// unchanged says whether do has left the certificate as it was.
func unchanged(file string, do func() error) error {
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("a new certificate was made")
	}
	return nil
}
