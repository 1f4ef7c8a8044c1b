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

	mdns "github.com/miekg/dns"

	"arid/acme"
	"arid/alpn"
	"arid/challenge"
	"arid/keys"
	"arid/respond"
)

// A whole order, request by request: the CA looks at what the test put into the
// directories that respond serves, and into the CA's own DNS.
func TestCAIssues(t *testing.T) {
	for _, tt := range []struct {
		what, typ string
		names     []string
	}{
		{"one name", challenge.HTTP01, []string{"example.test"}},
		{"several names", challenge.HTTP01, []string{"example.test", "www.example.test", "a.b.c.example.test"}},
		{"an IP address", challenge.HTTP01, []string{"127.0.0.1"}},
		{"several names", challenge.TLSALPN01, []string{"example.test", "a.b.c.example.test"}},
		{"an IP address", challenge.TLSALPN01, []string{"127.0.0.1"}},
		{"apex and wildcard, two values at one name", challenge.DNS01, []string{"example.test", "*.example.test"}},
		{"names of two zones", challenge.DNS01, []string{"www.example.test", "a.b.c.example.org"}},
	} {
		t.Run(tt.typ+" "+tt.what, func(t *testing.T) {
			dir := t.TempDir()
			ca := start(t, CAOptions{
				HTTPPort: serve(t, dir, respond.ServeHTTP01),
				TLSPort:  serve(t, dir, respond.ServeTLSALPN01),
				Strict:   true,
			})
			client := register(t, ca)
			order := place(t, client, tt.names)
			shown := make([]acme.Challenge, len(order.Authorizations))
			for i, url := range order.Authorizations {
				shown[i] = put(t, ca, client, tt.typ, dir, url)
			}
			for _, ch := range shown { // after all was put: apex and wildcard share a name
				if _, err := client.Accept(t.Context(), ch); err != nil {
					t.Fatal(err)
				}
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

// It validates for real: without the material there is no certificate.
func TestCARefuses(t *testing.T) {
	for typ, says := range map[string]string{
		challenge.HTTP01:    "/.well-known/acme-challenge/",
		challenge.TLSALPN01: "Failed to connect",
		challenge.DNS01:     "No TXT records found",
	} {
		dir := t.TempDir()
		ca := start(t, CAOptions{
			HTTPPort: serve(t, dir, respond.ServeHTTP01),
			TLSPort:  serve(t, dir, respond.ServeTLSALPN01),
			Strict:   true,
		})
		client := register(t, ca)
		order := place(t, client, []string{"example.test"})
		ch, _ := find(t, client, typ, order.Authorizations[0])
		if _, err := client.Accept(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
		order, err := client.WaitOrder(t.Context(), order, func(status string) bool { return status == "ready" })
		var problem *acme.Problem
		if err != nil && !errors.As(err, &problem) {
			t.Fatal(err)
		}
		if err == nil {
			problem = order.Error
		}
		if order != nil && order.Status != "invalid" || problem == nil || problem.Short() != "unauthorized" {
			t.Errorf("%s: order %+v, %v: want it invalid, unauthorized", typ, order, err)
		} else if !strings.Contains(problem.Detail, says) {
			t.Errorf("%s: %q does not say %q", typ, problem.Detail, says)
		}
	}
}

// serve answers from dir on a free port while the test runs.
func serve(t *testing.T, dir string, answer func(context.Context, net.Listener, string) error) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- answer(ctx, l, dir) }()
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

// put shows the CA what it wants to see for one authorization.
func put(t *testing.T, ca *CA, client *acme.Client, typ, dir, url string) acme.Challenge {
	t.Helper()
	ch, name := find(t, client, typ, url)
	keyAuth, err := acme.KeyAuthorization(ch.Token, client.AccountKey())
	if err != nil {
		t.Fatal(err)
	}
	switch typ {
	case challenge.HTTP01:
		err = os.WriteFile(filepath.Join(dir, ch.Token), []byte(keyAuth), 0o644)
	case challenge.TLSALPN01:
		var pairs *alpn.Dir
		if pairs, _, err = alpn.OpenDir(dir, ""); err == nil {
			defer pairs.Close()
			err = pairs.Put(name, keyAuth, time.Now())
		}
	case challenge.DNS01:
		m := new(mdns.Msg).SetUpdate(zoneOf(name))
		m.Insert(texts("_acme-challenge."+name+".", challenge.Value(typ, keyAuth)))
		if reply := exchange(t, "udp", ca.Resolver(), m); reply.Rcode != mdns.RcodeSuccess {
			t.Fatal(reply)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// find is an authorization's challenge of the type, and the name it is for.
func find(t *testing.T, client *acme.Client, typ, url string) (ch acme.Challenge, name string) {
	t.Helper()
	authorization, err := client.FetchAuthorization(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range authorization.Challenges {
		if ch.Type == typ {
			return ch, authorization.Identifier.Value
		}
	}
	t.Fatalf("no %s in %+v", typ, authorization)
	return
}
