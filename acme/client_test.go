package acme_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newClient talks to the CA, with no account yet.
func newClient(t testing.TB, ca *fakeca.CA) *acme.Client {
	t.Helper()
	c, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient(), UserAgent: "arid-test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newCustomer is a new client, of a run of its own, whose account is known
// already.
func newCustomer(t testing.TB, ca *fakeca.CA) *acme.Client {
	t.Helper()
	first, key := newClient(t, ca), newKey(t)
	a, err := first.NewAccount(t.Context(), key, acme.AccountRequest{TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, ca)
	c.UseAccount(key, a.URL)
	return c
}

func request(names ...string) (r acme.OrderRequest) {
	for _, n := range names {
		r.Identifiers = append(r.Identifiers, acme.NewIdentifier(n))
	}
	return r
}

func csr(t testing.TB, names ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	for _, n := range names {
		if addr, err := netip.ParseAddr(n); err == nil {
			template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func challengeOf(a *acme.Authorization, typ string) acme.Challenge {
	for _, ch := range a.Challenges {
		if ch.Type == typ {
			return ch
		}
	}
	return acme.Challenge{}
}

// ordered makes an order and accepts a challenge for each of its names.
func ordered(t testing.TB, c *acme.Client, names ...string) (*acme.Order, error) {
	t.Helper()
	ctx := t.Context()
	o, err := c.NewOrder(ctx, request(names...))
	if err != nil {
		return nil, err
	}
	for _, url := range o.Authorizations {
		a, err := c.FetchAuthorization(ctx, url)
		if err != nil {
			return nil, err
		}
		typ := "http-01"
		if a.Wildcard {
			typ = "dns-01"
		}
		if _, err := c.Accept(ctx, challengeOf(a, typ)); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// issued is a whole run from order to chain.
func issued(t testing.TB, c *acme.Client, names ...string) (*acme.Chain, error) {
	t.Helper()
	ctx := t.Context()
	o, err := ordered(t, c, names...)
	if err != nil {
		return nil, err
	}
	if o, err = c.WaitOrder(ctx, o, not("pending")); err != nil {
		return nil, err
	}
	if o.Status != "ready" {
		return nil, fmt.Errorf("order is %s", o.Status)
	}
	if o, err = c.Finalize(ctx, o, csr(t, names...)); err != nil {
		return nil, err
	}
	if o.Status != "valid" {
		if o, err = c.WaitOrder(ctx, o, is("valid")); err != nil {
			return nil, err
		}
	}
	if o.Status != "valid" {
		return nil, fmt.Errorf("order is %s", o.Status)
	}
	return c.FetchCertificate(ctx, o.Certificate)
}

func is(status string) func(string) bool  { return func(s string) bool { return s == status } }
func not(status string) func(string) bool { return func(s string) bool { return s != status } }

// kinds are the requests since the nth, in order.
func kinds(ca *fakeca.CA, n int) (all []string) {
	for _, r := range ca.Requests()[n:] {
		all = append(all, r.Kind)
	}
	return all
}

// oneLine holds an error's text against what every one has to be.
func oneLine(t *testing.T, err error) {
	t.Helper()
	for _, r := range err.Error() {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || 0x202a <= r && r <= 0x202e {
			t.Errorf("control character in %q", err)
			break
		}
	}
	if len(err.Error()) > 8<<10 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
	if strings.Count(err.Error(), "https://") > 2 {
		t.Errorf("repeats itself: %v", err)
	}
}

func wantTemporary(t *testing.T, err error) *acme.TemporaryError {
	t.Helper()
	var e *acme.TemporaryError
	if !errors.As(err, &e) {
		t.Fatalf("want *TemporaryError, got %T %v", err, err)
	}
	oneLine(t, err)
	return e
}

func wantProtocol(t *testing.T, err error, words ...string) {
	t.Helper()
	var e *acme.ProtocolError
	if !errors.As(err, &e) {
		t.Fatalf("want *ProtocolError, got %T %v", err, err)
	}
	oneLine(t, err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in %q", w, err)
		}
	}
}

func wantProblem(t *testing.T, err error, short string) *acme.Problem {
	t.Helper()
	var p *acme.Problem
	if !errors.As(err, &p) {
		t.Fatalf("want *Problem, got %T %v", err, err)
	}
	oneLine(t, err)
	if p.Short() != short {
		t.Errorf("problem %q, want %q: %v", p.Short(), short, err)
	}
	return p
}

func TestNineRequestsForOneName(t *testing.T) {
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	before := ca.Count()
	if _, err := issued(t, c, "example.org"); err != nil {
		t.Fatal(err)
	}
	want := []string{fakeca.Directory, fakeca.Nonce, fakeca.NewOrder, fakeca.Authz, fakeca.Challenge,
		fakeca.Order, fakeca.Finalize, fakeca.Order, fakeca.Certificate}
	if got := kinds(ca, before); !slices.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
}

func TestRule10RequestCounts(t *testing.T) {
	t.Run("five names one after another", func(t *testing.T) {
		ca := fakeca.New(t)
		c := newCustomer(t, ca)
		before := ca.Count()
		if _, err := issued(t, c, "a.example", "b.example", "*.c.example", "192.0.2.1", "2001:db8::1"); err != nil {
			t.Fatal(err)
		}
		if got := ca.Count() - before; got != 17 {
			t.Errorf("%d requests, want 17: %v", got, kinds(ca, before))
		}
	})
	t.Run("a hundred names sixteen side by side", func(t *testing.T) {
		ca := fakeca.New(t)
		c := newCustomer(t, ca)
		before, connections := ca.Count(), ca.Connections()
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("n%d.example", i))
		}
		o, err := c.NewOrder(t.Context(), request(names...))
		if err != nil {
			t.Fatal(err)
		}
		urls := make(chan string, len(o.Authorizations))
		for _, u := range o.Authorizations {
			urls <- u
		}
		close(urls)
		var work sync.WaitGroup
		for range 16 {
			work.Go(func() {
				for u := range urls {
					a, err := c.FetchAuthorization(t.Context(), u)
					if err == nil {
						_, err = c.Accept(t.Context(), challengeOf(a, "http-01"))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		if o, err = c.WaitOrder(t.Context(), o, is("ready")); err != nil || o.Status != "ready" {
			t.Fatal(o, err)
		}
		if got, most := ca.Count()-before, 4+200+15; got > most { // directory, nonce, order, poll
			t.Errorf("%d requests, want at most %d", got, most)
		}
		if n := ca.Connections() - connections; n > 1 {
			t.Errorf("%d connections, want the one there was", n)
		}
	})
}

func TestEveryKindOfAccountKey(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ca := fakeca.New(t)
	for name, key := range map[string]crypto.Signer{"P-256": p256, "P-384": p384, "P-521": p521, "RSA": rsa2048, "Ed25519": ed} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, ca)
			a, err := c.NewAccount(t.Context(), key, acme.AccountRequest{TermsOfServiceAgreed: true, Contact: []string{"mailto:me@example.org"}})
			if err != nil {
				t.Fatal(err)
			}
			if !a.Created || a.Status != "valid" || !slices.Equal(a.Contact, []string{"mailto:me@example.org"}) || a.Orders == "" || !strings.Contains(string(a.Raw), `"orders"`) {
				t.Errorf("account %+v", a)
			}
			if !reflect.DeepEqual(c.AccountKey(), key) {
				t.Error("the key is not in use")
			}
			if _, err := issued(t, c, "example.org"); err != nil {
				t.Fatal(err)
			}
		})
	}
	c := newClient(t, ca)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	before := ca.Count(fakeca.NewAccount)
	if _, err := c.NewAccount(t.Context(), p224, acme.AccountRequest{}); err == nil || ca.Count(fakeca.NewAccount) != before {
		t.Errorf("P-224: %v", err)
	}
}

func TestAccount(t *testing.T) {
	ca := fakeca.New(t)
	ctx, key := t.Context(), newKey(t)
	c := newClient(t, ca)
	_, err := c.NewAccount(ctx, key, acme.AccountRequest{OnlyReturnExisting: true})
	wantProblem(t, err, "accountDoesNotExist")
	_, err = c.NewAccount(ctx, key, acme.AccountRequest{})
	if p := wantProblem(t, err, "userActionRequired"); p.Header.Get("Link") == "" || p.Method != "POST" || len(p.Body) == 0 || p.Status != 403 {
		t.Errorf("problem %+v", p)
	}
	made, err := c.NewAccount(ctx, key, acme.AccountRequest{TermsOfServiceAgreed: true})
	if err != nil || !made.Created {
		t.Fatal(made, err)
	}
	found, err := newClient(t, ca).NewAccount(ctx, key, acme.AccountRequest{OnlyReturnExisting: true})
	if err != nil || found.Created || found.URL != made.URL {
		t.Errorf("found %+v, %v; made %+v", found, err, made)
	}
	if a, err := c.UpdateAccount(ctx, acme.AccountUpdate{Contact: []string{"mailto:x@example.org"}}); err != nil || len(a.Contact) != 1 {
		t.Errorf("updated %+v, %v", a, err)
	}
	if a, err := c.FetchAccount(ctx); err != nil || len(a.Contact) != 1 || a.URL != made.URL {
		t.Errorf("fetched %+v, %v", a, err)
	}
	if a, err := c.UpdateAccount(ctx, acme.AccountUpdate{TermsOfServiceAgreed: true}); err != nil || len(a.Contact) != 1 {
		t.Errorf("the contact stays: %+v, %v", a, err)
	}
	if a, err := c.UpdateAccount(ctx, acme.AccountUpdate{Contact: []string{}}); err != nil || len(a.Contact) != 0 {
		t.Errorf("updated %+v, %v", a, err)
	}
	next := newKey(t)
	if err := c.ChangeKey(ctx, next); err != nil || c.AccountKey() != next {
		t.Errorf("key change: %v", err)
	}
	if _, err := issued(t, c, "example.org"); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	if err := c.DeactivateAccount(ctx); err != nil {
		t.Error(err)
	}
	_, err = c.NewOrder(ctx, request("example.org"))
	wantProblem(t, err, "unauthorized")
}

func TestNoAccountSendsNothing(t *testing.T) {
	ca := fakeca.New(t)
	if _, err := newClient(t, ca).FetchOrder(t.Context(), ca.Base()+"/order/1"); err == nil || ca.Count() != 0 {
		t.Errorf("%v, %d requests", err, ca.Count())
	}
}

func TestExternalAccountBinding(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	for _, alg := range []string{"", "HS256", "HS384", "HS512"} {
		t.Run("alg "+alg, func(t *testing.T) {
			ca := fakeca.New(t).EAB("kid-1", secret)
			eab := &acme.EAB{KID: "kid-1", Key: secret, Alg: alg}
			if _, err := newClient(t, ca).NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true, EAB: eab}); err != nil {
				t.Error(err)
			}
		})
	}
	ca := fakeca.New(t).EAB("kid-1", secret)
	_, err := newClient(t, ca).NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
	wantProblem(t, err, "externalAccountRequired")
	for _, bad := range []acme.EAB{{KID: "kid-1", Key: secret, Alg: "RS256"}, {KID: "", Key: secret}, {KID: "kid-1"}} {
		before := ca.Count(fakeca.NewAccount)
		_, err := newClient(t, ca).NewAccount(t.Context(), newKey(t), acme.AccountRequest{EAB: &bad})
		if err == nil || ca.Count(fakeca.NewAccount) != before || strings.Contains(err.Error(), string(secret)) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	chain, err := issued(t, c, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), chain.Certificates[0], 1, nil); err != nil {
		t.Error(err)
	}
	wantProblem(t, c.Revoke(t.Context(), chain.Certificates[0], -1, nil), "alreadyRevoked")

	// By the certificate's own key, with no account at all.
	key := newKey(t)
	ctx := t.Context()
	o, err := ordered(t, c, "example.net")
	if err != nil {
		t.Fatal(err)
	}
	if o, err = c.WaitOrder(ctx, o, is("ready")); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"example.net"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	if o, err = c.Finalize(ctx, o, der); err != nil {
		t.Fatal(err)
	}
	if o, err = c.WaitOrder(ctx, o, is("valid")); err != nil {
		t.Fatal(err)
	}
	if chain, err = c.FetchCertificate(ctx, o.Certificate); err != nil {
		t.Fatal(err)
	}
	if err := newClient(t, ca).Revoke(ctx, chain.Certificates[0], -1, key); err != nil {
		t.Error(err)
	}
}

func TestOrderExtras(t *testing.T) {
	ca := fakeca.New(t).Profiles(map[string]string{"short": "six days"})
	c := newCustomer(t, ca)
	d, err := c.Directory(t.Context())
	if err != nil || d.Meta.Profiles["short"] != "six days" || d.Meta.TermsOfService == "" {
		t.Fatalf("%+v, %v", d, err)
	}
	r := request("example.org")
	r.Profile, r.NotAfter = "short", time.Now().Add(24*time.Hour)
	o, err := c.NewOrder(t.Context(), r)
	if err != nil || o.Profile != "short" || o.Expires.IsZero() || o.Status != "pending" || len(o.Authorizations) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := c.DeactivateAuthorization(t.Context(), o.Authorizations[0]); err != nil {
		t.Error(err)
	}
	o, err = c.WaitOrder(t.Context(), o, is("ready"))
	if err != nil || o.Status != "invalid" {
		t.Errorf("an order that turns invalid is no error: %+v, %v", o, err)
	}
}

func TestFailedValidationIsTheCallersToExplain(t *testing.T) {
	ca := fakeca.New(t).FailValidation("example.org", "connection", "nobody at home\x1b[2J")
	c := newCustomer(t, ca)
	o, err := ordered(t, c, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	o, err = c.WaitOrder(t.Context(), o, not("pending"))
	if err != nil || o.Status != "invalid" {
		t.Fatalf("%+v, %v", o, err)
	}
	a, err := c.FetchAuthorization(t.Context(), o.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	ch := challengeOf(a, "http-01")
	if ch.Error == nil || ch.Error.Short() != "connection" || !strings.Contains(string(ch.Raw), "nobody at home") {
		t.Fatalf("%+v", ch)
	}
	oneLine(t, ch.Error)
	if got := ch.Error.Error(); got != `"nobody at home\x1b[2J" (connection)` {
		t.Errorf("got %s", got)
	}
}

func TestUnknownThingsAreNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := fakeca.New(t, fakeca.InMemory).
			Member(fakeca.Order, "surprise", map[string]any{"a": []int{1}}).
			Body(fakeca.NewOrder, func(b []byte) []byte { // duplicate members
				return []byte(strings.Replace(string(b), `{`, `{"status":"pending","note":1,"note":2,`, 1))
			}).
			ContentType(fakeca.Order, "text/plain").ContentType(fakeca.Directory, "")
		c := newCustomer(t, ca)
		if _, err := issued(t, c, "example.org"); err != nil {
			t.Fatal(err)
		}
		ca.Member(fakeca.Order, "status", "meditating")
		o, err := ordered(t, c, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o, err = c.WaitOrder(ctx, o, func(status string) bool {
			<-ctx.Done() // time runs out between two looks, not in one
			return status == "ready"
		})
		wantTemporary(t, err)
		if o.Status != "meditating" || !strings.Contains(err.Error(), "meditating") {
			t.Errorf("%+v %v", o, err)
		}
	})
}
