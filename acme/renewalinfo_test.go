package acme_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

// RFC 9773 §4.1 has this example.
func TestCertificateID(t *testing.T) {
	leaf := &x509.Certificate{
		AuthorityKeyId: []byte{0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4},
		SerialNumber:   big.NewInt(0x87654321),
	}
	if got := acme.CertificateID(leaf); got != "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE" {
		t.Errorf("got %s", got)
	}
	leaf.AuthorityKeyId = nil
	if got := acme.CertificateID(leaf); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestRenewalInfo(t *testing.T) {
	ca := fakeca.New(t)
	customer := newCustomer(t, ca)
	chain, err := issued(t, customer, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	id := acme.CertificateID(chain.Certificates[0])
	if info, err := customer.FetchRenewalInfo(t.Context(), id); info != nil || err != nil {
		t.Errorf("a CA without: %+v %v", info, err)
	}
	start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	ca.RenewalWindow(start, start.Add(time.Hour))
	c := newClient(t, ca) // no account
	info, err := c.FetchRenewalInfo(t.Context(), id)
	if err != nil || !info.Start.Equal(start) || !info.End.Equal(start.Add(time.Hour)) || time.Until(info.RetryAfter) < 5*time.Hour {
		t.Errorf("%+v %v", info, err)
	}
	_, err = c.FetchRenewalInfo(t.Context(), "AAAA.AAAA")
	wantProblem(t, err, "malformed")
	for _, window := range []any{nil, "x", map[string]string{}, map[string]string{"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, map[string]string{"start": "\x1b", "end": "2026-01-01T00:00:00Z"},
		map[string]string{"start": "2026-01-01T00:00:00Z", "end": "9999-12-31T23:59:59-01:00"}, map[string]string{"start": "0000-01-01T00:00:00+01:00", "end": "2026-01-01T00:00:00Z"}} {
		ca.Calm().Member(fakeca.RenewalInfo, "suggestedWindow", window)
		_, err := c.FetchRenewalInfo(t.Context(), id)
		wantProtocol(t, err, "")
	}

	next := request("example.org")
	next.Replaces = id
	if _, err := customer.NewOrder(t.Context(), next); err != nil {
		t.Error(err)
	}
}
