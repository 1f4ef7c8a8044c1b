package rehearse

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arid/acme"
	"arid/keys"
	"arid/respond"
)

// A whole order, request by request: the CA fetches the tokens from the
// directory that respond serves.
func TestCAIssues(t *testing.T) {
	for _, tt := range []struct {
		what  string
		names []string
	}{
		{"one name", []string{"example.test"}},
		{"several names", []string{"example.test", "www.example.test", "a.b.c.example.test"}},
		{"an IP address", []string{"127.0.0.1"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			dir := t.TempDir()
			ca := start(t, CAOptions{HTTPPort: serveTokens(t, dir), Strict: true})
			client := register(t, ca)
			order := place(t, client, tt.names)
			for _, url := range order.Authorizations {
				put(t, client, dir, url)
			}
			order, err := client.WaitOrder(t.Context(), order, func(status string) bool { return status == "ready" })
			if err != nil || order.Status != "ready" {
				t.Fatalf("%+v, %v", order, err)
			}
			certKey, err := keys.Generate(keys.P256)
			if err != nil {
				t.Fatal(err)
			}
			csr, err := keys.MakeCSR(certKey, keys.CSROptions{Names: tt.names})
			if err != nil {
				t.Fatal(err)
			}
			if order, err = client.Finalize(t.Context(), order, csr); err != nil {
				t.Fatal(err)
			}
			order, err = client.WaitOrder(t.Context(), order, func(status string) bool { return status == "valid" })
			if err != nil || order.Status != "valid" {
				t.Fatalf("%+v, %v", order, err)
			}
			chain, err := client.FetchCertificate(t.Context(), order.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			leaf, between := chain.Certificates[0], x509.NewCertPool()
			for _, c := range chain.Certificates[1:] {
				between.AddCert(c)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Roots(), Intermediates: between}); err != nil {
				t.Error(err)
			}
			for _, name := range tt.names {
				if err := leaf.VerifyHostname(name); err != nil {
					t.Error(err)
				}
			}
			if lifetime := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); lifetime != 90*24*time.Hour {
				t.Errorf("lifetime %v, want 90 days", lifetime)
			}
		})
	}
}

// It validates for real: without the token there is no certificate.
func TestCARefuses(t *testing.T) {
	dir := t.TempDir()
	ca := start(t, CAOptions{HTTPPort: serveTokens(t, dir), Strict: true})
	client := register(t, ca)
	order := place(t, client, []string{"example.test"})
	token := put(t, client, dir, order.Authorizations[0], os.Remove)
	order, err := client.WaitOrder(t.Context(), order, func(status string) bool { return status == "ready" })
	var problem *acme.Problem
	if err != nil && !errors.As(err, &problem) {
		t.Fatal(err)
	}
	if err == nil {
		problem = order.Error
	}
	if order != nil && order.Status != "invalid" || problem == nil || problem.Short() != "unauthorized" {
		t.Errorf("order %+v, %v: want it invalid, unauthorized", order, err)
	} else if want := "/.well-known/acme-challenge/" + token; !strings.Contains(problem.Detail, want) {
		t.Errorf("%q does not name %q", problem.Detail, want)
	}
}

// serveTokens serves dir for http-01 on a free port while the test runs.
func serveTokens(t *testing.T, dir string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- respond.ServeHTTP01(ctx, l, dir) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// register makes an account of its own at the CA.
func register(t *testing.T, ca *CA) *acme.Client {
	t.Helper()
	transport := acme.NewTransport(acme.TransportOptions{Roots: ca.Transport()})
	t.Cleanup(transport.CloseIdleConnections)
	client, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: transport}, UserAgent: "arid-test"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewAccount(t.Context(), key, acme.AccountRequest{TermsOfServiceAgreed: true}); err != nil {
		t.Fatal(err)
	}
	return client
}

func place(t *testing.T, client *acme.Client, names []string) *acme.Order {
	t.Helper()
	var r acme.OrderRequest
	for _, name := range names {
		r.Identifiers = append(r.Identifiers, acme.NewIdentifier(name))
	}
	order, err := client.NewOrder(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return order
}

// put writes the token's file for one authorization, lets the test do something
// to it, and tells the CA.
func put(t *testing.T, client *acme.Client, dir, url string, spoil ...func(file string) error) (token string) {
	t.Helper()
	authorization, err := client.FetchAuthorization(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		answer, err := acme.KeyAuthorization(challenge.Token, client.AccountKey())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, challenge.Token)
		if err := os.WriteFile(file, []byte(answer), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, do := range spoil {
			if err := do(file); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Accept(t.Context(), challenge); err != nil {
			t.Fatal(err)
		}
		return challenge.Token
	}
	t.Fatalf("no http-01 in %+v", authorization)
	return ""
}
