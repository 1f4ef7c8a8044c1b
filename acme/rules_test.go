package acme_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

func TestRule1OrderURLComesFromNewOrder(t *testing.T) {
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	o, err := ordered(t, c, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	url := o.URL
	for _, kind := range []string{fakeca.Finalize, fakeca.Order} {
		ca.Header(kind, "Location", ca.Base()+"/order/999")
	}
	if o, err = c.WaitOrder(t.Context(), o, is("ready")); err != nil || o.URL != url {
		t.Fatalf("%+v, %v", o, err)
	}
	if o, err = c.Finalize(t.Context(), o, csr(t, "example.org")); err != nil || o.URL != url {
		t.Fatalf("%+v, %v", o, err)
	}
	if o, err = c.WaitOrder(t.Context(), o, is("valid")); err != nil || o.Status != "valid" || o.URL != url {
		t.Fatalf("%+v, %v", o, err)
	}
	ca.Header(fakeca.NewOrder, "Location")
	_, err = c.NewOrder(t.Context(), request("example.org"))
	wantProtocol(t, err, "Location")
}

func TestRule2SignedBodyIsSentOnce(t *testing.T) {
	inBubble := func(name string, f func(*testing.T, *fakeca.CA, *acme.Client)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := fakeca.New(t, fakeca.InMemory)
				f(t, ca, newCustomer(t, ca))
			})
		})
	}
	for name, drop := range map[string]func(*fakeca.CA, string, int) *fakeca.CA{
		"lost before": (*fakeca.CA).DropBefore, "lost after": (*fakeca.CA).DropAfter,
		"500": func(ca *fakeca.CA, kind string, n int) *fakeca.CA {
			return ca.Problem(kind, 500, "serverInternal", "oops", n)
		},
	} {
		inBubble("new order, "+name, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			drop(ca, fakeca.NewOrder, 1)
			_, err := c.NewOrder(t.Context(), request("example.org"))
			wantTemporary(t, err)
			if n := ca.Count(fakeca.NewOrder); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
		inBubble("POST-as-GET, "+name, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			o, err := c.NewOrder(t.Context(), request("example.org"))
			if err != nil {
				t.Fatal(err)
			}
			drop(ca, fakeca.Order, 3)
			began := time.Now()
			if _, err := c.FetchOrder(t.Context(), o.URL); err != nil || ca.Count(fakeca.Order) != 4 {
				t.Errorf("%v after %d", err, ca.Count(fakeca.Order))
			}
			if d := time.Since(began); d < 5*time.Second || d > 9*time.Second {
				t.Errorf("the tries took %v, not about 1+2+4 s", d)
			}
			drop(ca, fakeca.Order, 4)
			_, err = c.FetchOrder(t.Context(), o.URL)
			wantTemporary(t, err)
			if ca.Count(fakeca.Order) != 8 {
				t.Errorf("tried %d times", ca.Count(fakeca.Order)-4)
			}
		})
		// How often finalize and the challenge are sent when the first answer is lost.
		sent := map[string]int{"lost before": 2, "lost after": 1, "500": 2}[name]
		inBubble("finalize, "+name, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			drop(ca, fakeca.Finalize, 1)
			if _, err := issued(t, c, "example.org"); err != nil {
				t.Fatal(err)
			}
			if n := ca.Count(fakeca.Finalize); n != sent || ca.NewOrders() != 1 {
				t.Errorf("finalize %d times, want %d; %d orders", n, sent, ca.NewOrders())
			}
		})
		inBubble("challenge, "+name, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			drop(ca, fakeca.Challenge, 1)
			if _, err := issued(t, c, "example.org"); err != nil {
				t.Fatal(err)
			}
			accepted := 0
			for _, r := range ca.Requests() {
				if r.Kind == fakeca.Challenge && (r.Payload == nil || string(r.Payload) == "{}") {
					accepted++
				}
			}
			if accepted != sent {
				t.Errorf("accepted %d times, want %d", accepted, sent)
			}
		})
	}
	inBubble("every answer of finalize lost", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.DropBefore(fakeca.Finalize, -1)
		_, err := issued(t, c, "example.org")
		wantTemporary(t, err)
		if n := ca.Count(fakeca.Finalize); n != 4 {
			t.Errorf("finalize %d times", n)
		}
	})
	inBubble("500 although it was carried out", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.Status(fakeca.Finalize, 500)
		if _, err := issued(t, c, "example.org"); err != nil || ca.NewOrders() != 1 || ca.Count(fakeca.Finalize) != 1 {
			t.Errorf("%v, %d orders, %d finalize", err, ca.NewOrders(), ca.Count(fakeca.Finalize))
		}
	})
}

func TestRule3LinksAreResolvedAgainstTheirPage(t *testing.T) {
	ca := fakeca.New(t).Alternate()
	c := newCustomer(t, ca)
	chain, err := issued(t, c, "example.org")
	if err != nil || len(chain.Alternates) != 1 {
		t.Fatalf("%+v, %v", chain, err)
	}
	chain.Alternates = append([]string{ca.Base() + "/certificate/gone"}, chain.Alternates...)
	var tops []string
	for alternate, err := range c.FetchAlternates(t.Context(), chain) {
		if err != nil {
			tops = append(tops, acme.Refusal(err).Short())
			continue
		}
		tops = append(tops, alternate.Certificates[len(alternate.Certificates)-1].Issuer.String())
	}
	if want := []string{"malformed", ca.AlternateRoot().Subject.String()}; !slices.Equal(tops, want) {
		t.Errorf("alternates go up to %q, want %q", tops, want)
	}
	o, err := ordered(t, c, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if o, err = c.WaitOrder(t.Context(), o, is("ready")); err != nil {
		t.Fatal(err)
	}
	ca.SyncFinalize()
	if o, err = c.Finalize(t.Context(), o, csr(t, "example.org")); err != nil {
		t.Fatal(err)
	}
	many := []string{`<../relative/1>;rel="alternate", </absolute/2>; rel=alternate`, `<` + o.Certificate + `>;rel="alternate"`, `<../relative/1>;rel="alternate"`}
	for i := range 40 {
		many = append(many, `</n`+string(rune('A'+i))+`>;rel="alternate"`)
	}
	ca.Header(fakeca.Certificate, "Link", many...)
	if chain, err = c.FetchCertificate(t.Context(), o.Certificate); err != nil {
		t.Fatal(err)
	}
	if len(chain.Alternates) > 20 || chain.Alternates[0] != ca.Base()+"/relative/1" || chain.Alternates[1] != ca.Base()+"/absolute/2" || slices.Contains(chain.Alternates, o.Certificate) {
		t.Errorf("alternates %v", chain.Alternates)
	}
	elsewhere := fakeca.New(t)
	ca.ForeignURL(fakeca.Certificate, "Link", elsewhere.Base()+"/certificate/1")
	if chain, err = c.FetchCertificate(t.Context(), o.Certificate); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.FetchAlternates(t.Context(), chain) {
		wantProtocol(t, err, "refused")
	}
	if elsewhere.Count() != 0 {
		t.Error("the alternate elsewhere was asked for")
	}
}

func TestRule3RedirectsStayWithTheCA(t *testing.T) {
	elsewhere := fakeca.New(t)
	t.Run("directory, on its origin", func(t *testing.T) {
		ca := fakeca.New(t).Redirect(fakeca.Directory, "/moved")
		if _, err := newClient(t, ca).Directory(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("directory, without end", func(t *testing.T) {
		ca := fakeca.New(t).On(fakeca.Directory, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/directory", http.StatusFound)
			return true
		})
		_, err := newClient(t, ca).Directory(t.Context())
		wantProtocol(t, err, "more than 3 redirects")
		if ca.Count() != 4 {
			t.Errorf("%d requests", ca.Count())
		}
	})
	for name, to := range map[string]string{
		"elsewhere": elsewhere.URL(), "plain http": "http://127.0.0.1:1/directory", "file": "file:///etc/passwd", "nowhere": "",
	} {
		t.Run("directory, to "+name, func(t *testing.T) {
			ca := fakeca.New(t).On(fakeca.Directory, func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Location", to)
				w.WriteHeader(http.StatusFound)
				return true
			})
			_, err := newClient(t, ca).Directory(t.Context())
			wantProtocol(t, err)
		})
	}
	for _, kind := range []string{fakeca.NewOrder, fakeca.Order, fakeca.Nonce} {
		t.Run("never a "+kind, func(t *testing.T) {
			ca := fakeca.New(t)
			c := newCustomer(t, ca)
			if kind == fakeca.Nonce {
				ca.NoNonceInReplies(fakeca.Directory)
			}
			ca.Redirect(kind, elsewhere.Base()+"/new-order")
			_, err := c.NewOrder(t.Context(), request("example.org"))
			if kind == fakeca.Order {
				_, err = c.FetchOrder(t.Context(), ca.Base()+"/order/1")
			}
			wantProtocol(t, err, "redirect")
			if n := ca.Count(kind); n > 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
	if elsewhere.Count() != 0 {
		t.Errorf("the other server was asked: %v", kinds(elsewhere, 0))
	}
}

func TestRule3ResourcesElsewhereAreRefused(t *testing.T) {
	elsewhere := fakeca.New(t)
	bad := []string{elsewhere.Base() + "/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "//127.0.0.1/x", "/relative",
		"https://user@127.0.0.1/x", "javascript:alert(1)", "https://127.0.0.1:99999999/x", "https://[::1/x", "https://a b/x", "ftp://127.0.0.1/"}
	place := []struct {
		kind, member string
		words        string
	}{
		{fakeca.NewOrder, "authorizations.0", "authorization"},
		{fakeca.NewOrder, "finalize", "finalize"},
		{fakeca.NewOrder, "Location", "Location"},
		{fakeca.Order, "certificate", "certificate"},
		{fakeca.Authz, "challenges.1.url", "challenge"},
		{fakeca.NewAccount, "Location", "Location"},
	}
	for _, p := range place {
		for _, to := range bad {
			if p.member == "Location" && (strings.HasPrefix(to, "/") || !strings.Contains(to, ":")) {
				continue // relative to the page: fine
			}
			t.Run(p.kind+" "+p.member+" "+to, func(t *testing.T) {
				ca := fakeca.New(t)
				c := newCustomer(t, ca)
				ca.ForeignURL(p.kind, p.member, to)
				var err error
				if p.kind == fakeca.NewAccount {
					_, err = newClient(t, ca).NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
				} else {
					_, err = issued(t, c, "example.org")
				}
				wantProtocol(t, err, p.words)
			})
		}
	}
	for _, member := range []string{"newNonce", "newOrder", "newAccount", "revokeCert", "renewalInfo"} {
		for _, to := range []string{"http://127.0.0.1:1/x", "file:///x", "/relative", "https://", "https://u:p@host/"} {
			ca := fakeca.New(t).Member(fakeca.Directory, member, to)
			_, err := newClient(t, ca).Directory(t.Context())
			wantProtocol(t, err, member)
		}
	}
	if elsewhere.Count() != 0 {
		t.Errorf("the other server was asked: %v", kinds(elsewhere, 0))
	}
	t.Run("a URL from disk", func(t *testing.T) {
		ca := fakeca.New(t)
		c := newCustomer(t, ca)
		_, err := c.FetchOrder(t.Context(), elsewhere.Base()+"/order/1")
		wantProtocol(t, err, "refused")
		if elsewhere.Count() != 0 {
			t.Error("asked")
		}
	})
}

func TestRule4TokensAreChecked(t *testing.T) {
	good := strings.Repeat("-", 16)
	for _, c := range []struct {
		token any
		ok    bool
	}{
		{good, true}, {"-_AZaz09-_AZaz09", true}, {strings.Repeat("a", 256), true},
		{strings.Repeat("a", 15), false}, {strings.Repeat("a", 257), false}, {strings.Repeat("a", 100_000), false},
		{"", false}, {".", false}, {"..", false}, {"../../../../etc/passwd", false}, {"/etc/cron.d/aaaaaaaaaaaaaa", false},
		{"aaaaaaaaaaaaaaaaaaaa\n", false}, {"aaaaaaaaaaaaaaaaaa\x00a", false}, {"$(touch /tmp/canary)aaaa", false},
		{"aaaaaaaaaaaaaaaaaaaaaa==", false}, {"aaaaaaaaaaaaaaaaaaa+/a", false}, {"ａａａａａａａａａａａａａａａａ", false},
		{12345678901234567, false}, {nil, false}, {[]string{good}, false}, {map[string]string{"a": good}, false},
	} {
		for _, typ := range []string{"http-01", "dns-01", "tls-alpn-01", "dns-account-01"} {
			ca := fakeca.New(t).ChallengeTypes(typ).Member(fakeca.Authz, "challenges.0.token", c.token)
			client := newCustomer(t, ca)
			o, err := client.NewOrder(t.Context(), request("example.org"))
			if err != nil {
				t.Fatal(err)
			}
			a, err := client.FetchAuthorization(t.Context(), o.Authorizations[0])
			if c.ok {
				if err != nil || a.Challenges[0].Token != c.token {
					t.Errorf("%q: %v", c.token, err)
				}
				continue
			}
			wantProtocol(t, err, "token", typ)
		}
	}
	t.Run("types that nobody knows need none", func(t *testing.T) {
		ca := fakeca.New(t).ChallengeTypes("dns-persist-01", fakeca.UnknownChallenge, "http-01")
		client := newCustomer(t, ca)
		o, err := client.NewOrder(t.Context(), request("example.org"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.FetchAuthorization(t.Context(), o.Authorizations[0])
		if err != nil || len(a.Challenges) != 3 || a.Challenges[1].Type != fakeca.UnknownChallenge {
			t.Fatalf("%+v %v", a, err)
		}
	})
	t.Run("challenges of odd shapes", func(t *testing.T) {
		ca := fakeca.New(t).Member(fakeca.Authz, "challenges", []any{1, "x", nil, []int{1}, map[string]any{}, map[string]any{"type": 7}, map[string]any{"type": "odd-01", "url": 5, "token": nil}})
		client := newCustomer(t, ca)
		o, err := client.NewOrder(t.Context(), request("example.org"))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := client.FetchAuthorization(t.Context(), o.Authorizations[0]); err != nil || len(a.Challenges) != 7 {
			t.Errorf("%+v %v", a, err)
		}
	})
}

func TestRule5OrderIsForWhatWasAsked(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]fakeca.Identifier) []fakeca.Identifier
		ok     bool
	}{
		"as asked":        {func(i []fakeca.Identifier) []fakeca.Identifier { return i }, true},
		"another order":   {func(i []fakeca.Identifier) []fakeca.Identifier { slices.Reverse(i); return i }, true},
		"upper case":      {func(i []fakeca.Identifier) []fakeca.Identifier { i[0].Value = "EXAMPLE.org"; return i }, true},
		"IP written long": {func(i []fakeca.Identifier) []fakeca.Identifier { i[1].Value = "2001:0db8:0:0::1"; return i }, true},
		"one missing":     {func(i []fakeca.Identifier) []fakeca.Identifier { return i[:1] }, false},
		"none":            {func(i []fakeca.Identifier) []fakeca.Identifier { return nil }, false},
		"one more": {func(i []fakeca.Identifier) []fakeca.Identifier {
			return append(i, fakeca.Identifier{Type: "dns", Value: "evil.example"})
		}, false},
		"another":         {func(i []fakeca.Identifier) []fakeca.Identifier { i[0].Value = "evil.example\n\x1b"; return i }, false},
		"of another type": {func(i []fakeca.Identifier) []fakeca.Identifier { i[0].Type = "ip"; return i }, false},
		"one for both":    {func(i []fakeca.Identifier) []fakeca.Identifier { i[1] = i[0]; return i }, false},
	} {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t).Identifiers(c.change)
			_, err := newCustomer(t, ca).NewOrder(t.Context(), request("example.org", "2001:db8::1"))
			if c.ok && err != nil {
				t.Error(err)
			}
			if !c.ok {
				wantProtocol(t, err, "not for what was asked")
			}
		})
	}
}

func TestRule7PostAsGetHasAnEmptyPayload(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string][]byte{}
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	ca.On("", func(_ http.ResponseWriter, r *http.Request) bool {
		if b, _ := io.ReadAll(r.Body); r.Method == "POST" {
			mu.Lock()
			bodies[strings.Split(r.URL.Path, "/")[1]] = b
			mu.Unlock()
		}
		return false
	})
	if _, err := issued(t, c, "example.org"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"authz", "order", "certificate"} {
		if !bytes.Contains(bodies[kind], []byte(`"payload":""`)) {
			t.Errorf("%s: %s", kind, bodies[kind])
		}
	}
	for _, r := range ca.Requests() {
		if r.Header.Get("User-Agent") != "arid-test" || strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("%s: %v", r.Kind, r.Header)
		}
		if want := map[bool]string{true: "application/pem-certificate-chain"}[r.Kind == fakeca.Certificate]; r.Header.Get("Accept") != want {
			t.Errorf("%s: Accept %q", r.Kind, r.Header.Get("Accept"))
		}
	}
}

func TestRule8BadNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := fakeca.New(t, fakeca.InMemory)
		c := newCustomer(t, ca)
		nonces := ca.Count(fakeca.Nonce)

		ca.RejectNonces(4)
		began := time.Now()
		if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the first four took %v", d)
		}
		ca.RejectNonces(15)
		if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
			t.Fatal(err)
		}
		if n := ca.Count(fakeca.Nonce) - nonces; n != 1 {
			t.Errorf("%d new nonces, want 1: those of the refusals are good", n)
		}
		before := ca.Count(fakeca.NewOrder)
		ca.RejectAllNonces()
		began = time.Now()
		_, err := c.NewOrder(t.Context(), request("example.org"))
		wantTemporary(t, err)
		if n := ca.Count(fakeca.NewOrder) - before; n != 16 {
			t.Errorf("%d tries, want 16", n)
		}
		if d := time.Since(began); d < 5*time.Second || d > 20*time.Second {
			t.Errorf("took %v", d)
		}
		// Any status will do, and a refusal that brings no nonce.
		ca.Calm().RejectNonces(3).NoNonceInReplies(fakeca.NewOrder).Status(fakeca.NewOrder, 403)
		_, err = c.NewOrder(t.Context(), request("example.org"))
		if !strings.Contains(err.Error(), "403") { // the good reply has that status too
			t.Error(err)
		}
	})
}

func TestRule9OneConnection(t *testing.T) {
	for name, modes := range map[string][]fakeca.Mode{"HTTP/2": nil, "HTTP/1.1": {fakeca.HTTP1}, "plain": {fakeca.Plain}} {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t, modes...).RejectNonces(3)
			c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: acme.NewTransport(acme.TransportOptions{Roots: ca.Roots(), Network: "tcp4"})}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := issued(t, c, "example.org"); err != nil {
					t.Fatal(err)
				}
			}
			if n := ca.Connections(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestRule9ConcurrentOrders(t *testing.T) {
	ca := fakeca.New(t).RejectNonces(10)
	c := newCustomer(t, ca)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			if _, err := issued(t, c, "example.org"); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := ca.Count(fakeca.Directory); n != 2 { // newCustomer's first client has its own
		t.Errorf("%d directories", n)
	}
}
