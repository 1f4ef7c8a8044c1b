package acme_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

// countingTransport is NewTransport whose connections count what is read.
func countingTransport(ca *fakeca.CA, read *atomic.Int64) *http.Transport {
	transport := acme.NewTransport(acme.TransportOptions{Roots: ca.Roots()})
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &countingConn{conn, read}, err
	}
	return transport
}

type countingConn struct {
	net.Conn
	read *atomic.Int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func TestHugeBodiesAreNotRead(t *testing.T) {
	for _, modes := range [][]fakeca.Mode{nil, {fakeca.HTTP1}} {
		for _, kind := range []string{fakeca.Directory, fakeca.NewAccount, fakeca.NewOrder, fakeca.Authz, fakeca.Challenge, fakeca.Order, fakeca.Finalize, fakeca.Certificate} {
			t.Run(fmt.Sprint(kind, modes), func(t *testing.T) {
				ca := fakeca.New(t, modes...)
				var read atomic.Int64
				c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: countingTransport(ca, &read)}})
				if err != nil {
					t.Fatal(err)
				}
				ca.HugeBody(kind, 1<<30)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err = c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
				if err == nil {
					_, err = issued(t, c, "example.org")
				}
				runtime.ReadMemStats(&after)
				wantProtocol(t, err, "larger than 1024 KiB")
				if n := read.Load(); n > 1<<20+256<<10 {
					t.Errorf("%d KiB read", n>>10)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
					t.Errorf("%d MiB allocated", n>>20)
				}
			})
		}
	}
}

func TestHugeBodyOfARefusal(t *testing.T) {
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	ca.HugeBody(fakeca.NewOrder, 1<<30).Status(fakeca.NewOrder, 400)
	_, err := c.NewOrder(t.Context(), request("example.org"))
	wantProtocol(t, err, "larger")
}

func TestHugeHeader(t *testing.T) {
	for _, modes := range [][]fakeca.Mode{nil, {fakeca.HTTP1}} {
		ca := fakeca.New(t, modes...)
		ca.Header(fakeca.Directory, "X-Huge", strings.Repeat("x", 200<<10))
		c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: acme.NewTransport(acme.TransportOptions{Roots: ca.Roots()})}, RequestTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Directory(ctx)
		wantTemporary(t, err)
	}
}

// withBody is an issue with the kind's replies spoiled.
func withBody(t *testing.T, kind string, spoil func(*fakeca.CA)) error {
	t.Helper()
	ca := fakeca.New(t)
	c := newCustomer(t, ca)
	if kind == fakeca.NewAccount {
		c = newClient(t, ca)
	}
	spoil(ca)
	if kind == fakeca.NewAccount {
		_, err := c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
		return err
	}
	_, err := issued(t, c, "example.org")
	return err
}

func TestSpoiledJSON(t *testing.T) {
	body := func(text string) func(*fakeca.CA, string) {
		return func(ca *fakeca.CA, kind string) { ca.Body(kind, func([]byte) []byte { return []byte(text) }) }
	}
	for name, spoil := range map[string]func(*fakeca.CA, string){
		"truncated":              func(ca *fakeca.CA, kind string) { ca.TruncateJSON(kind) },
		"nested 65 deep":         func(ca *fakeca.CA, kind string) { ca.DeepJSON(kind, 64) },
		"nested 100000 deep":     func(ca *fakeca.CA, kind string) { ca.DeepJSON(kind, 100_000) },
		"a million brackets":     body(strings.Repeat("[", 1_000_000)),
		"empty":                  body(""),
		"null":                   body("null"),
		"an array":               body("[]"),
		"a string":               body(`"hello"`),
		"a number":               body("1e999"),
		"NULs":                   body(strings.Repeat("\x00", 1000)),
		"terminal control":       body("\x1b[2J\x1b]0;owned\x07"),
		"trailing garbage":       func(ca *fakeca.CA, kind string) { ca.Body(kind, func(b []byte) []byte { return append(b, "{}"...) }) },
		"an HTML page":           body("<!doctype html><title>Log in to the hotel</title>"),
		"members of other types": body(`{"status":[],"identifiers":"x","newNonce":1,"contact":5,"type":{}}`),
	} {
		for _, kind := range []string{fakeca.Directory, fakeca.NewAccount, fakeca.NewOrder, fakeca.Authz, fakeca.Challenge, fakeca.Order, fakeca.Finalize} {
			t.Run(name+" "+kind, func(t *testing.T) {
				err := withBody(t, kind, func(ca *fakeca.CA) { spoil(ca, kind) })
				if name == "members of other types" && kind == fakeca.Challenge {
					return // a challenge of unknown type is kept as it is
				}
				wantProtocol(t, err)
				if name == "an HTML page" && !strings.Contains(err.Error(), "HTML page") || kind == fakeca.Directory && name == "an HTML page" && !strings.Contains(err.Error(), "captive portal or a proxy") {
					t.Error(err)
				}
			})
		}
	}
}

func TestNestingWithinLimits(t *testing.T) {
	ca := fakeca.New(t).DeepJSON(fakeca.Order, 63).DeepJSON(fakeca.Directory, 63)
	if _, err := issued(t, newCustomer(t, ca), "example.org"); err != nil {
		t.Error(err)
	}
}

func TestDirectoryWithoutAMember(t *testing.T) {
	for _, member := range []string{"newNonce", "newAccount", "newOrder"} {
		ca := fakeca.New(t).DropMember(fakeca.Directory, member)
		_, err := newClient(t, ca).Directory(t.Context())
		wantProtocol(t, err, "no member "+member)
	}
	ca := fakeca.New(t)
	chain, err := issued(t, newCustomer(t, ca), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	c := newCustomer(t, ca.DropMember(fakeca.Directory, "revokeCert").DropMember(fakeca.Directory, "keyChange"))
	wantProtocol(t, c.Revoke(t.Context(), chain.Certificates[0], -1, nil), "no member revokeCert")
	wantProtocol(t, c.ChangeKey(t.Context(), newKey(t)), "no member keyChange")
}

func TestCompressedReplyIsRefused(t *testing.T) {
	ca := fakeca.New(t)
	ca.On(fakeca.Directory, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 1000 {
			_, _ = z.Write(make([]byte, 64<<10))
		}
		_ = z.Close()
		return true
	})
	_, err := newClient(t, ca).Directory(t.Context())
	wantProtocol(t, err, `"gzip"`)
}

func TestWholePEMChainOrNothing(t *testing.T) {
	for name, spoil := range map[string]func(*fakeca.CA){
		"a private key between": func(ca *fakeca.CA) { ca.ExtraPEM("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") },
		"text between":          func(ca *fakeca.CA) { ca.ExtraPEM("subject=CN=x\n") },
		"text after":            func(ca *fakeca.CA) { ca.AppendAfterChain("#!/bin/sh\n") },
		"half a block after":    func(ca *fakeca.CA) { ca.AppendAfterChain("-----BEGIN CERTIFICATE-----\nMIIB") },
		"junk in the block": func(ca *fakeca.CA) {
			ca.ChainRaw([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		},
		"nothing": func(ca *fakeca.CA) { ca.ChainRaw(nil) },
		"HTML":    func(ca *fakeca.CA) { ca.ChainRaw([]byte("<html>")) },
		"DER":     func(ca *fakeca.CA) { ca.ChainRaw([]byte("\x30\x82\x01\x00")) },
		"PEM headers": func(ca *fakeca.CA) {
			ca.Chain(func(b [][]byte) [][]byte {
				b[0] = []byte(strings.Replace(string(b[0]), "-----\n", "-----\nX-Evil: 1\n\n", 1))
				return b
			})
		},
		"33 certificates": func(ca *fakeca.CA) {
			ca.Chain(func(b [][]byte) [][]byte {
				for len(b) < 33 {
					b = append(b, b[1])
				}
				return b
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantProtocol(t, withBody(t, fakeca.Certificate, spoil))
		})
	}
	for name, spoil := range map[string]func(*fakeca.CA){
		"leaf alone": func(ca *fakeca.CA) { ca.LeafOnly() },
		"blanks":     func(ca *fakeca.CA) { ca.ExtraPEM("\r\n\n").AppendAfterChain("\n \n") },
		"CRLF": func(ca *fakeca.CA) {
			ca.Body(fakeca.Certificate, func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "\n", "\r\n")) })
		},
		"any content type": func(ca *fakeca.CA) { ca.ContentType(fakeca.Certificate, "application/octet-stream") },
	} {
		t.Run(name, func(t *testing.T) {
			if err := withBody(t, fakeca.Certificate, spoil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTrustInTheCAsOwnTLS(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fakeca.CA)
		trust bool
		words string
	}{
		"untrusted":  {func(*fakeca.CA) {}, false, "unknown authority"},
		"expired":    {func(ca *fakeca.CA) { ca.ExpiredTLS() }, true, "expired"},
		"wrong name": {func(ca *fakeca.CA) { ca.WrongNameTLS() }, true, "127.0.0.1"},
		"old TLS":    {func(ca *fakeca.CA) { ca.OldTLS() }, true, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			ca := fakeca.New(t)
			c.spoil(ca)
			var o acme.TransportOptions
			if c.trust {
				o.Roots = ca.Roots()
			}
			client, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: acme.NewTransport(o)}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Directory(t.Context())
			e := wantTemporary(t, err)
			if !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "TLS") || !e.Until.IsZero() {
				t.Error(err)
			}
			if ca.Count() != 0 {
				t.Errorf("%d requests", ca.Count())
			}
		})
	}
	t.Run("not TLS at all", func(t *testing.T) {
		ca := fakeca.New(t, fakeca.Plain)
		client, err := acme.New(strings.Replace(ca.URL(), "http:", "https:", 1), acme.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Directory(t.Context())
		wantTemporary(t, err)
		if !strings.Contains(err.Error(), "TLS") {
			t.Error(err)
		}
	})
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	client, err := acme.New("https://"+addr+"/directory", acme.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err = client.Directory(ctx)
	wantTemporary(t, err)
}

func TestSilentServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // silent until the test ends
		}
	}()
	for _, scheme := range []string{"http", "https"} {
		client, err := acme.New(scheme+"://"+l.Addr().String()+"/directory", acme.Options{RequestTimeout: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err = client.Directory(ctx)
		cancel()
		wantTemporary(t, err)
	}
}

func TestRefusalsWithoutADocument(t *testing.T) {
	for _, c := range []struct {
		status            int
		contentType, body string
		want              string
	}{
		{403, "text/html", "<html>\x1b[31mno</html>", "HTML page"},
		{404, "", "", "HTTP status 404 Not Found"},
		{400, "application/problem+json", `{"type":"urn:ietf:params:acme:error:caa","detail":"a\u001b[31mb\u202ec\n` + strings.Repeat("x", 5000) + `"}`, "(caa)"},
		{400, "application/problem+json", `{"type":"urn:ietf:params:acme:error:` + strings.Repeat("é", 5000) + `","title":"t"}`, `"t"`},
		{400, "application/problem+json", `{"type":7,"detail":"still read","status":"x"}`, `"still read"`},
		{400, "application/problem+json", `{"type":"about:blank","status":200}`, "HTTP status 400"},
		{400, "application/problem+json", `[]`, "HTTP status 400"},
		{599, "", "", "599"},
		{999, "", "", "999"},
	} {
		ca := fakeca.New(t)
		client := newCustomer(t, ca)
		ca.Body(fakeca.NewOrder, func([]byte) []byte { return []byte(c.body) }).ContentType(fakeca.NewOrder, c.contentType).Status(fakeca.NewOrder, c.status)
		_, err := client.NewOrder(t.Context(), request("example.org"))
		var p *acme.Problem
		if !errors.As(err, &p) || p.Status != c.status || string(p.Body) != c.body || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v %+v", c.status, err, p)
			continue
		}
		oneLine(t, err)
		if len(err.Error()) > 2<<10 {
			t.Errorf("%d bytes: %v", len(err.Error()), err)
		}
	}
}

func TestSubproblems(t *testing.T) {
	ca := fakeca.New(t).Problem(fakeca.NewOrder, 403, "rejectedIdentifier", "some were refused", 1).
		SubProblems(fakeca.NewOrder, fakeca.Problem{Type: "rejectedIdentifier", Detail: "not this one", Identifier: &fakeca.Identifier{Type: "dns", Value: "bad.example"}},
			fakeca.Problem{Type: "caa", Detail: "forbidden"})
	_, err := newCustomer(t, ca).NewOrder(t.Context(), request("example.org"))
	p := wantProblem(t, err, "rejectedIdentifier")
	if want := `new order "` + ca.Base() + `/new-order": "some were refused" (rejectedIdentifier); "bad.example": "not this one" (rejectedIdentifier); "forbidden" (caa)`; p.Error() != want {
		t.Errorf("got  %s\nwant %s", p, want)
	}
}

func TestDirectoryURLs(t *testing.T) {
	for _, bad := range []string{"", "acme.example", "ftp://acme.example/", "http://acme.example/directory", "http://127.0.0.1.example/", "http://10.0.0.1/", "https://", "https:///d",
		"https://user:pw@acme.example/", "https://acme.example/#x", "https://acme.example:/", "https://a b/", "https://acme.example\r\n/", "https://[::1", "https://[fe80::1%25eth0]/", "mailto:x", "https:acme.example", "https://" + strings.Repeat("a", 9000)} {
		_, err := acme.New(bad, acme.Options{})
		var e *acme.URLError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
			continue
		}
		oneLine(t, err)
	}
	for _, good := range []string{"https://acme.example/directory", "https://acme.example:14000/dir?x=y", "https://[2001:db8::1]/", "http://127.0.0.1:14000/dir", "http://[::1]:14000/dir", "http://localhost/dir", "HTTPS://Acme.Example/d"} {
		if _, err := acme.New(good, acme.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestTrace(t *testing.T) {
	ca := fakeca.New(t)
	var seen []acme.Exchange
	c, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient(), Trace: func(x acme.Exchange) { seen = append(seen, x) }})
	if err != nil {
		t.Fatal(err)
	}
	ca.Problem(fakeca.NewAccount, 403, "unauthorized", "no", 1)
	_, err = c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
	wantProblem(t, err, "unauthorized")
	if len(seen) != 3 || seen[0].Method != "GET" || seen[1].Method != "HEAD" || seen[2].Method != "POST" || seen[2].Status != 403 || seen[2].Err != nil || seen[0].Duration <= 0 {
		t.Errorf("%+v", seen)
	}
	ca.DropBefore(fakeca.NewAccount, 1)
	_, err = c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
	wantTemporary(t, err)
	if last := seen[len(seen)-1]; last.Err == nil || last.Status != 0 {
		t.Errorf("%+v", last)
	}
}

// A server that is no CA: what comes is bytes, some of them no HTTP.
func TestOddHTTP(t *testing.T) {
	for name, raw := range map[string]string{
		"no HTTP":           "hello\r\n\r\n",
		"cut header":        "HTTP/1.1 200 OK\r\nContent-Le",
		"cut body":          "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"negative length":   "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
		"control in status": "HTTP/1.1 200 \x1b[31mOK\r\n\r\n",
		"informational":     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"bad chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = io.WriteString(conn, raw)
					_ = conn.Close()
				}
			}))
			defer server.Close()
			c, err := acme.New(server.URL, acme.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err = c.Directory(ctx)
			var temporary *acme.TemporaryError
			var protocol *acme.ProtocolError
			if !errors.As(err, &temporary) && !errors.As(err, &protocol) {
				t.Errorf("%T %v", err, err)
			}
			oneLine(t, err)
		})
	}
}

func TestTransportLimits(t *testing.T) {
	tr := acme.NewTransport(acme.TransportOptions{})
	if tr.TLSHandshakeTimeout != 10*time.Second || tr.ResponseHeaderTimeout != 30*time.Second || tr.MaxResponseHeaderBytes != 64<<10 ||
		!tr.DisableCompression || !tr.ForceAttemptHTTP2 || tr.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Errorf("%+v", tr)
	}
}
