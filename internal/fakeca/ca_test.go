package fakeca

import (
	"crypto/x509"
	"strings"
	"testing"
)

// wantVerifies fails the test unless chain leads to root and is good for names.
func wantVerifies(t *testing.T, chain []*x509.Certificate, root *x509.Certificate, names ...string) {
	t.Helper()
	if len(chain) != 2 {
		t.Fatalf("chain of %d", len(chain))
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	between.AddCert(chain[1])
	for _, n := range names {
		n = strings.Replace(n, "*", "star", 1)
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: n, Roots: roots, Intermediates: between}); err != nil {
			t.Error(err)
		}
	}
}

func TestWholeIssueOfOneNameTakesNineRequests(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	before := ca.Count() - 2 // directory and nonce, which registering has had
	_, chain := c.issue("http-01", "example.org")
	wantVerifies(t, chain, ca.Root(), "example.org")
	if n := ca.Count() - before; n != 9 {
		t.Errorf("%d requests, want 9: %v", n, ca.Requests())
	}
	for kind, want := range map[string]int{Directory: 1, Nonce: 1, NewAccount: 1, NewOrder: 1, Authz: 1, Challenge: 1, Order: 2, Finalize: 1, Certificate: 1} {
		if n := ca.Count(kind); n != want {
			t.Errorf("%d of kind %s, want %d", n, kind, want)
		}
	}
	if ca.NewOrders() != 1 || ca.Connections() != 1 || ca.Accounts() != 1 || len(ca.Issued()) != 1 || len(ca.CSRs()) != 1 {
		t.Errorf("orders %d, connections %d, accounts %d", ca.NewOrders(), ca.Connections(), ca.Accounts())
	}
	last := ca.Requests()[ca.Count()-1]
	if last.Kind != Certificate || last.Status != 200 || last.Method != "POST" || last.Payload == nil || len(last.Payload) != 0 {
		t.Errorf("last request: %+v", last)
	}
}

func TestModes(t *testing.T) {
	for name, modes := range map[string][]Mode{
		"plain": {Plain}, "in memory": {InMemory}, "plain in memory": {Plain, InMemory}, "HTTP/1.1": {HTTP1},
	} {
		t.Run(name, func(t *testing.T) {
			ca := New(t, modes...)
			_, chain := newHand(t, ca).register().issue("dns-01", "example.org", "*.example.org")
			wantVerifies(t, chain, ca.Root(), "example.org", "*.example.org")
		})
	}
}

func TestAddressesAsNames(t *testing.T) {
	ca := New(t)
	_, chain := newHand(t, ca).register().issue("tls-alpn-01", "192.0.2.1", "2001:db8::1")
	wantVerifies(t, chain, ca.Root(), "192.0.2.1", "2001:db8::1")
}
