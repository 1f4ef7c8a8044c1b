package acme_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"arid/acme"
	"arid/internal/fakeca"
)

// document is the CA's directory with these members elsewhere, or none where the
// URL is empty.
func document(t testing.TB, ca *fakeca.CA, members map[string]string) []byte {
	t.Helper()
	c := newClient(t, ca)
	if _, err := c.Directory(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc, _ := c.DirectoryDocument()
	var d map[string]any
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatal(err)
	}
	for name, url := range members {
		if d[name] = url; url == "" {
			delete(d, name)
		}
	}
	doc, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// knowing is a new client, of a run of its own, that knows account and directory.
func knowing(t testing.TB, ca *fakeca.CA, document []byte, who *acme.Client) *acme.Client {
	t.Helper()
	a, err := who.FetchAccount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient(), UserAgent: "arid-test", KnownDirectory: document})
	if err != nil {
		t.Fatal(err)
	}
	c.UseAccount(who.AccountKey(), a.URL)
	return c
}

func TestKnownDirectorySavesOneRequest(t *testing.T) {
	ca := fakeca.New(t)
	who := newCustomer(t, ca)
	if doc, fetched := who.DirectoryDocument(); doc != nil || fetched {
		t.Errorf("%s, %v before there is one", doc, fetched)
	}
	if _, err := who.FetchAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc, fetched := who.DirectoryDocument()
	if !fetched || !strings.Contains(string(doc), ca.Base()+"/new-order") {
		t.Errorf("%s, %v", doc, fetched)
	}
	c := knowing(t, ca, doc, who)
	before := ca.Count()
	if _, err := issued(t, c, "example.org"); err != nil {
		t.Fatal(err)
	}
	want := []string{fakeca.Nonce, fakeca.NewOrder, fakeca.Authz, fakeca.Challenge,
		fakeca.Order, fakeca.Finalize, fakeca.Order, fakeca.Certificate}
	if got := kinds(ca, before); !slices.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
	if now, fetched := c.DirectoryDocument(); fetched || string(now) != string(doc) {
		t.Errorf("%s, %v", now, fetched)
	}
}

// Many who begin at once share the one connection.
func TestOneConnectionForManyAtOnce(t *testing.T) {
	ca := fakeca.New(t)
	who := newCustomer(t, ca)
	doc := document(t, ca, nil)
	c, err := acme.New(ca.URL(), acme.Options{KnownDirectory: doc,
		HTTP: &http.Client{Transport: acme.NewTransport(acme.TransportOptions{Roots: ca.Roots()})}})
	if err != nil {
		t.Fatal(err)
	}
	c.UseAccount(who.AccountKey(), ca.Base()+"/account/1")
	before := ca.Connections()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := c.NewOrder(t.Context(), acme.OrderRequest{Identifiers: []acme.Identifier{acme.NewIdentifier("example.org")}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := ca.Connections() - before; n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestKnownDirectoryThatIsNoGoodIsFetched(t *testing.T) {
	ca := fakeca.New(t)
	who := newCustomer(t, ca)
	good := string(document(t, ca, nil))
	for name, doc := range map[string]string{
		"empty": "", "null": "null", "no object": "[]", "cut": good[:len(good)/2], "HTML": "<html>", "of nothing": "{}",
		"a member missing": string(document(t, ca, map[string]string{"newOrder": ""})),
		"plain http":       string(document(t, ca, map[string]string{"newOrder": "http://127.0.0.1:1/x"})),
		"a file":           string(document(t, ca, map[string]string{"revokeCert": "file:///etc/passwd"})),
		"deep":             `{"deep":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "," + good[1:],
		"huge":             good + strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			c := knowing(t, ca, []byte(doc), who)
			if doc, fetched := c.DirectoryDocument(); doc != nil || fetched {
				t.Errorf("%s, %v", doc, fetched)
			}
			before := ca.Count(fakeca.Directory)
			if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
				t.Fatal(err)
			}
			if _, fetched := c.DirectoryDocument(); !fetched || ca.Count(fakeca.Directory) != before+1 {
				t.Errorf("fetched: %v, %d requests", fetched, ca.Count(fakeca.Directory)-before)
			}
		})
	}
}

// Each member at an old place, and each way in which nothing is there any more.
func TestKnownDirectoryThatHasMoved(t *testing.T) {
	hmac := []byte("0123456789abcdef0123456789abcdef")
	type world struct {
		ca    *fakeca.CA
		c     *acme.Client
		chain *acme.Chain
	}
	members := []struct {
		name   string
		object bool     // comes with a success
		post   bool     // with a nonce, which the old place has used up
		usual  []string // requests in the end
		before []string // requests before the one that goes astray
		call   func(context.Context, world) error
	}{
		{"newNonce", false, false, []string{fakeca.Nonce, fakeca.NewOrder}, nil, func(ctx context.Context, w world) error {
			_, err := w.c.NewOrder(ctx, request("example.net"))
			return err
		}},
		{"newOrder", true, true, []string{fakeca.NewOrder}, []string{fakeca.Nonce}, func(ctx context.Context, w world) error {
			_, err := w.c.NewOrder(ctx, request("example.net"))
			return err
		}},
		{"newAccount", true, true, []string{fakeca.NewAccount}, []string{fakeca.Nonce}, func(ctx context.Context, w world) error {
			_, err := w.c.NewAccount(ctx, newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true, EAB: &acme.EAB{KID: "kid-1", Key: hmac}})
			return err
		}},
		{"keyChange", false, true, []string{fakeca.KeyChange}, []string{fakeca.Nonce}, func(ctx context.Context, w world) error {
			return w.c.ChangeKey(ctx, newKey(t))
		}},
		{"revokeCert", false, true, []string{fakeca.Revoke}, []string{fakeca.Nonce}, func(ctx context.Context, w world) error {
			return w.c.Revoke(ctx, w.chain.Certificates[0], -1, nil)
		}},
		{"renewalInfo", true, false, []string{fakeca.RenewalInfo}, nil, func(ctx context.Context, w world) error {
			_, err := w.c.FetchRenewalInfo(ctx, acme.CertificateID(w.chain.Certificates[0]))
			return err
		}},
	}
	page := func(status int, body string, header ...string) func(*fakeca.CA) {
		return func(ca *fakeca.CA) {
			ca.On(fakeca.Unknown, func(w http.ResponseWriter, r *http.Request) bool {
				for _, h := range header {
					name, value, _ := strings.Cut(h, ": ")
					w.Header().Set(name, value)
				}
				w.WriteHeader(status)
				if r.Method != http.MethodHead {
					_, _ = w.Write([]byte(body))
				}
				return true
			})
		}
	}
	const html, text = "<html>We have moved.", "text"
	gone := func(status int) func(*fakeca.CA) { return func(ca *fakeca.CA) { ca.Gone(status) } }
	signs := []struct {
		name    string
		at      string
		is      func(*fakeca.CA)
		reaches bool // the CA, which logs it
		nonce   bool // a new one comes with it
	}{
		{"404", "", gone(404), true, true},
		{"405", "", gone(405), true, true},
		{"410", "", gone(410), true, true},
		{"404 of a web server", "", page(404, html, "Content-Type: text/html"), true, false},
		{"redirect", "", page(301, html, "Location: /"), true, false},
		{"permanent redirect", "", page(308, html, "Location: https://new.example/"), true, false},
		{"HTML page", "", page(200, html, "Content-Type: text/html"), true, false},
		{text, "", page(200, "We have moved.", "Content-Type: text/plain"), true, false},
		{"no host", "https://gone.example", func(*fakeca.CA) {}, false, true},
	}
	for _, m := range members {
		for _, sign := range signs {
			if sign.name == text && !m.object {
				continue // nobody looks at what else comes
			}
			t.Run(m.name+" "+sign.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ca := fakeca.New(t, fakeca.InMemory).RenewalInfo()
					who := newCustomer(t, ca)
					chain, err := issued(t, who, "example.org")
					if err != nil {
						t.Fatal(err)
					}
					ca.EAB("kid-1", hmac)
					at := sign.at
					if at == "" {
						at = ca.Base()
					}
					c := knowing(t, ca, document(t, ca, map[string]string{m.name: at + "/old/place"}), who)
					sign.is(ca)
					want := slices.Clone(m.before)
					if sign.reaches {
						want = append(want, fakeca.Unknown)
					}
					want = append(want, fakeca.Directory)
					if m.post && !sign.nonce {
						want = append(want, fakeca.Nonce)
					}
					want = append(want, m.usual...)
					before := ca.Count()
					if err := m.call(t.Context(), world{ca, c, chain}); err != nil {
						t.Fatal(err)
					}
					if got := kinds(ca, before); !slices.Equal(got, want) {
						t.Errorf("requests %v, want %v", got, want)
					}
					if doc, fetched := c.DirectoryDocument(); !fetched || strings.Contains(string(doc), "/old/") {
						t.Errorf("%v: %s", fetched, doc)
					}
				})
			})
		}
	}
}

// newOrder is the CA's own place in both documents.
func TestKnownDirectoryIsFetchedAnewOnce(t *testing.T) {
	for name, spoil := range map[string]func(*fakeca.CA){
		"and says the same":  func(*fakeca.CA) {},
		"but cannot be had":  func(ca *fakeca.CA) { ca.Gone(404).Redirect(fakeca.Directory, "https://new.example/") },
		"but is no good one": func(ca *fakeca.CA) { ca.DropMember(fakeca.Directory, "newOrder") },
	} {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t)
			who := newCustomer(t, ca)
			c := knowing(t, ca, document(t, ca, nil), who)
			spoil(ca)
			ca.Problem(fakeca.NewOrder, 404, "malformed", "no such thing", 2)
			before := ca.Count()
			for range 2 {
				_, err := c.NewOrder(t.Context(), request("example.org"))
				if p := wantProblem(t, err, "malformed"); p.Status != 404 || !strings.Contains(err.Error(), "no such thing") {
					t.Error(err)
				}
			}
			want := []string{fakeca.Nonce, fakeca.NewOrder, fakeca.Directory, fakeca.NewOrder}
			if got := kinds(ca, before); !slices.Equal(got, want) {
				t.Errorf("requests %v, want %v", got, want)
			}
			if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("fetched ones never", func(t *testing.T) {
		ca := fakeca.New(t)
		c := newCustomer(t, ca)
		ca.Problem(fakeca.NewOrder, 404, "malformed", "no such thing", 1)
		before := ca.Count(fakeca.Directory)
		_, err := c.NewOrder(t.Context(), request("example.org"))
		if wantProblem(t, err, "malformed"); ca.Count(fakeca.Directory) != before+1 {
			t.Errorf("%d directories", ca.Count(fakeca.Directory)-before)
		}
	})
}

// What may have been carried out is not sent again, and what is no sign of a move
// costs no request.
func TestKnownDirectoryIsBelieved(t *testing.T) {
	answer := func(f func(w http.ResponseWriter)) func(*fakeca.CA) {
		return func(ca *fakeca.CA) {
			ca.On(fakeca.Unknown, func(w http.ResponseWriter, _ *http.Request) bool { f(w); return true })
		}
	}
	for name, spoil := range map[string]func(*fakeca.CA){
		"500":             answer(func(w http.ResponseWriter) { w.WriteHeader(500) }),
		"403":             answer(func(w http.ResponseWriter) { w.WriteHeader(403) }),
		"429":             answer(func(w http.ResponseWriter) { w.WriteHeader(429) }),
		"connection lost": func(ca *fakeca.CA) { ca.DropBefore(fakeca.Unknown, -1) },
		"reply lost":      func(ca *fakeca.CA) { ca.Gone(404).DropAfter(fakeca.Unknown, -1) },
		"a CA's odd success": answer(func(w http.ResponseWriter) {
			w.Header().Set("Replay-Nonce", "AAAA")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(201)
			_, _ = w.Write([]byte("<html>"))
		}),
	} {
		bubble(t, name, func(t *testing.T, ca *fakeca.CA, who *acme.Client) {
			c := knowing(t, ca, document(t, ca, map[string]string{"newOrder": ca.Base() + "/old/new-order"}), who)
			spoil(ca)
			before := ca.Count()
			if _, err := c.NewOrder(t.Context(), request("example.org")); err == nil {
				t.Error("no error")
			}
			if got, want := kinds(ca, before), []string{fakeca.Nonce, fakeca.Unknown}; !slices.Equal(got, want) {
				t.Errorf("requests %v, want %v", got, want)
			}
		})
	}
	t.Run("connection to another host lost", func(t *testing.T) {
		ca, elsewhere := fakeca.New(t, fakeca.Plain), fakeca.New(t, fakeca.Plain).DropBefore(fakeca.Unknown, -1)
		who := newCustomer(t, ca)
		c := knowing(t, ca, document(t, ca, map[string]string{"newOrder": elsewhere.Base() + "/old/new-order"}), who)
		before := ca.Count()
		_, err := c.NewOrder(t.Context(), request("example.org"))
		wantTemporary(t, err)
		if got, want := kinds(ca, before), []string{fakeca.Nonce}; !slices.Equal(got, want) || elsewhere.Count() != 1 {
			t.Errorf("requests %v, want %v; %d elsewhere", got, want, elsewhere.Count())
		}
	})
	bubble(t, "nobody at the directory's host", func(t *testing.T, ca *fakeca.CA, who *acme.Client) {
		doc := strings.ReplaceAll(string(document(t, ca, nil)), ca.Base(), "https://ca.example")
		dials := 0
		c, err := acme.New("https://ca.example/directory", acme.Options{KnownDirectory: []byte(doc), HTTP: &http.Client{Transport: &http.Transport{
			DialContext: func(_ context.Context, network, _ string) (net.Conn, error) {
				dials++
				return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
			},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		c.UseAccount(who.AccountKey(), "https://ca.example/account/1")
		_, err = c.NewOrder(t.Context(), request("example.org"))
		wantTemporary(t, err)
		if dials != 4 {
			t.Errorf("%d connections tried, want 4 for a nonce and none for a directory", dials)
		}
	})
}

func TestKnownDirectoryThatHasMovedMetByMany(t *testing.T) {
	for _, member := range []string{"newNonce", "newOrder"} {
		ca := fakeca.New(t)
		who := newCustomer(t, ca)
		c := knowing(t, ca, document(t, ca, map[string]string{member: ca.Base() + "/old/place"}), who)
		ca.Gone(404)
		directories, orders := ca.Count(fakeca.Directory), ca.Count(fakeca.NewOrder)
		var work sync.WaitGroup
		for range 16 {
			work.Go(func() {
				if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
					t.Error(err)
				}
				c.DirectoryDocument()
			})
		}
		work.Wait()
		if n := ca.Count(fakeca.Directory) - directories; n != 1 {
			t.Errorf("%s: %d directories", member, n)
		}
		if n := ca.Count(fakeca.NewOrder) - orders; n != 16 {
			t.Errorf("%s: %d new orders", member, n)
		}
	}
}

func TestNewDirectorySaysWhereObjectsAre(t *testing.T) {
	bubble(t, "", func(t *testing.T, ca *fakeca.CA, who *acme.Client) {
		o, err := who.NewOrder(t.Context(), request("example.org"))
		if err != nil {
			t.Fatal(err)
		}
		doc := strings.ReplaceAll(string(document(t, ca, nil)), ca.Base(), "https://old.example")
		c := knowing(t, ca, []byte(doc), who)
		before := ca.Count()
		if _, err := c.FetchOrder(t.Context(), o.URL); err != nil { // the nonce's place is gone
			t.Fatal(err)
		}
		if got, want := kinds(ca, before), []string{fakeca.Directory, fakeca.Nonce, fakeca.Order}; !slices.Equal(got, want) {
			t.Errorf("requests %v, want %v", got, want)
		}
		_, err = c.FetchOrder(t.Context(), "https://old.example/order/1")
		wantProtocol(t, err, "refused")
	})
}

func TestKnownDirectoryThatHasMovedAsAWhole(t *testing.T) {
	ca := fakeca.New(t)
	who := newCustomer(t, ca)
	moved := map[string]string{}
	for _, member := range []string{"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"} {
		moved[member] = ca.Base() + "/old/" + member
	}
	c := knowing(t, ca, document(t, ca, moved), who)
	ca.Gone(404)
	before := ca.Count()
	if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
		t.Fatal(err)
	}
	want := []string{fakeca.Unknown, fakeca.Directory, fakeca.Nonce, fakeca.NewOrder}
	if got := kinds(ca, before); !slices.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
}

func TestMembersThatComeAndGo(t *testing.T) {
	ca := fakeca.New(t)
	who := newCustomer(t, ca)
	chain, err := issued(t, who, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain.Certificates[0]

	c := knowing(t, ca, document(t, ca, map[string]string{"revokeCert": ""}), who)
	if err := c.Revoke(t.Context(), leaf, -1, nil); err != nil {
		t.Errorf("one that came: %v", err)
	}

	c = knowing(t, ca, document(t, ca, map[string]string{"renewalInfo": ca.Base() + "/old/renewal-info"}), who)
	ca.Gone(404)
	if info, err := c.FetchRenewalInfo(t.Context(), acme.CertificateID(leaf)); info != nil || err != nil {
		t.Errorf("one that went: %+v, %v", info, err)
	}

	c = knowing(t, ca, document(t, ca, map[string]string{"keyChange": ca.Base() + "/old/key-change"}), who)
	ca.DropMember(fakeca.Directory, "keyChange")
	wantProtocol(t, c.ChangeKey(t.Context(), newKey(t)), "it has no member keyChange")

	c = knowing(t, ca, document(t, ca, nil), who)
	before := ca.Count()
	for range 2 {
		wantProtocol(t, c.ChangeKey(t.Context(), newKey(t)), "it has no member keyChange")
	}
	if got, want := kinds(ca, before), []string{fakeca.Directory}; !slices.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
}
