package issue_test

import (
	"testing"
	"time"

	"arid/account"
	"arid/acme"
	"arid/challenge"
	"arid/internal/fakeca"
	"arid/issue"
	"arid/keys"
)

// Hooks may take hours: a certificate that is new by then is not from the future.
func TestCertificateMadeLongAfterTheStartOfTheRun(t *testing.T) {
	ca := fakeca.New(t).ReadyOrder().LeafValid(time.Now().Add(-time.Minute), time.Now().Add(90*24*time.Hour))
	client, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := keys.MakeCSR(key, keys.CSROptions{Names: []string{"www.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	csr, err := keys.ParseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	http01, err := challenge.ParseChoice("http-01")
	if err != nil {
		t.Fatal(err)
	}
	_, err = issue.Sign(t.Context(), &issue.Request{
		Now: time.Now().Add(-3 * time.Hour), Names: csr.Names, CSR: csr,
		CA: ca.URL(), Client: client, Account: account.Store{Dir: t.TempDir(), CA: ca.URL()},
		Registration: account.Registration{AcceptTerms: true}, Types: http01, Timeout: time.Minute,
	})
	if err != nil {
		t.Error(err)
	}
}
