// Package fakeca is an ACME CA for tests. It is written from RFC 8555 (and
// RFC 9773, 8738, the profiles draft), not from arid's own client, so that
// each can catch the other's errors: it verifies every signature, nonce, URL
// and state, and it misbehaves on demand, one method a quirk.
//
//	ca := fakeca.New(t).RejectNonces(2).RetryAfter(time.Hour)
//
// What a client does against the protocol (a nonce used twice, a wrong url
// header, null for the empty payload …) is refused, kept in Faults, and fails
// the test at its end unless Tolerate was called.
package fakeca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mode says how a CA is reached; modes are given to New and Start.
type Mode int

const (
	// Plain speaks http instead of https.
	Plain Mode = iota
	// InMemory uses no sockets: HTTPClient and DialContext reach the CA
	// through net.Pipe, so that it can live in a testing/synctest bubble.
	InMemory
	// HTTP1 offers no HTTP/2.
	HTTP1
)

// Kinds of request, as Requests, Count and the quirks name them.
const (
	Directory   = "directory"
	Nonce       = "nonce"
	NewAccount  = "new-account"
	Account     = "account"
	Orders      = "orders" // an account's list of orders
	KeyChange   = "key-change"
	NewOrder    = "new-order"
	Order       = "order"
	Authz       = "authz"
	Challenge   = "challenge"
	Finalize    = "finalize"
	Certificate = "certificate" // alternates too
	Revoke      = "revoke"
	RenewalInfo = "renewal-info"
	Terms       = "terms"
	Unknown     = "unknown" // any path the CA does not have
)

// Request is one HTTP request as the CA saw it.
type Request struct {
	Time         time.Time
	Method, Path string
	Kind         string
	Header       http.Header
	Payload      []byte // of the JWS, decoded; nil unless the signature held
	Status       int    // of the reply; 0 when there was none (dropped, hanging, On)
}

// CA is a running CA. All methods may be called at any time, from any goroutine.
type CA struct {
	base   string // scheme://host:port
	addr   string // host:port
	pipe   *pipeListener
	server *http.Server
	client *http.Client
	tls    *serverTLS
	issuer *issuer
	done   chan struct{}
	close  sync.Once

	mu          sync.Mutex
	log         []Request
	connections int
	open        int
	closed      sync.Cond // signalled when open goes down; of mu
	faults      []string
	tolerant    bool
	nonces      map[string]bool
	next        int // last number given to an object
	accounts    map[string]*account
	orders      map[string]*order
	authzs      map[string]*authz
	challenges  map[string]*challenge
	certs       map[string]*certificate
	csrs        []*x509.CertificateRequest
	policy      policy
	quirks      quirks
}

// New starts a CA on a free loopback port and ends it with the test. The test
// fails if the client broke the protocol (Faults), unless Tolerate is called.
func New(t testing.TB, modes ...Mode) *CA {
	t.Helper()
	ca, err := Start(modes...)
	if err != nil {
		t.Fatalf("fakeca: %v", err)
	}
	t.Cleanup(func() {
		ca.Close()
		ca.mu.Lock()
		defer ca.mu.Unlock()
		if !ca.tolerant {
			for _, f := range ca.faults {
				t.Errorf("fakeca: the client broke the protocol: %s", f)
			}
		}
	})
	return ca
}

// Start is New without a test; the caller has to Close it.
func Start(modes ...Mode) (*CA, error) {
	var plain, memory, http1 bool
	for _, m := range modes {
		switch m {
		case Plain:
			plain = true
		case InMemory:
			memory = true
		case HTTP1:
			http1 = true
		}
	}
	ca := &CA{
		done:       make(chan struct{}),
		nonces:     map[string]bool{},
		accounts:   map[string]*account{},
		orders:     map[string]*order{},
		authzs:     map[string]*authz{},
		challenges: map[string]*challenge{},
		certs:      map[string]*certificate{},
	}
	ca.closed.L = &ca.mu
	var err error
	if ca.issuer, err = newIssuer(); err != nil {
		return nil, err
	}
	if ca.tls, err = newServerTLS(ca.done); err != nil {
		return nil, err
	}
	var l net.Listener
	if memory {
		ca.pipe = newPipeListener()
		l, ca.addr = ca.pipe, "127.0.0.1:14000"
	} else {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		ca.addr = l.Addr().String()
	}
	ca.base = "https://" + ca.addr
	if plain {
		ca.base = "http://" + ca.addr
	}
	ca.policy = defaultPolicy(ca.base)
	ca.quirks = newQuirks()

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!http1 && !plain)
	ca.server = &http.Server{
		Handler:     http.HandlerFunc(ca.serve),
		Protocols:   protocols,
		TLSConfig:   ca.tls.config(),
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, s http.ConnState) {
			ca.mu.Lock()
			defer ca.mu.Unlock()
			switch s {
			case http.StateNew:
				ca.connections++
				ca.open++
			case http.StateClosed, http.StateHijacked:
				ca.open--
				ca.closed.Broadcast()
			}
		},
	}
	ca.client = &http.Client{Transport: &http.Transport{
		DialContext:       ca.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
		ForceAttemptHTTP2: !http1,
	}}
	go func() {
		if plain {
			_ = ca.server.Serve(l)
		} else {
			_ = ca.server.ServeTLS(l, "", "")
		}
	}()
	return ca, nil
}

// Close ends the CA and every connection to it.
func (ca *CA) Close() {
	ca.close.Do(func() {
		close(ca.done)
		ca.client.CloseIdleConnections()
		_ = ca.server.Close()
	})
}

// URL is the directory's.
func (ca *CA) URL() string { return ca.base + "/directory" }

// Base is the CA's origin, scheme://host:port.
func (ca *CA) Base() string { return ca.base }

// Roots is what a client must trust to speak TLS to the CA.
func (ca *CA) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.tls.root)
	return p
}

// RootsPEM is Roots as a PEM file, for CA_BUNDLE.
func (ca *CA) RootsPEM() []byte { return encodePEM(ca.tls.root.Raw) }

// Root is the root that issued certificates chain to.
func (ca *CA) Root() *x509.Certificate { return ca.issuer.roots[0].cert }

// AlternateRoot is the root of the alternate chain (see Alternate).
func (ca *CA) AlternateRoot() *x509.Certificate { return ca.issuer.roots[1].cert }

// Issuer is who signs the leaves, for what a CA signs beside them.
func (ca *CA) Issuer() (*x509.Certificate, crypto.Signer) {
	return ca.issuer.intermediates[0].cert, ca.issuer.intermediates[0].key
}

// HTTPClient is a client that trusts the CA's TLS certificate. Each call
// gives the same one.
func (ca *CA) HTTPClient() *http.Client { return ca.client }

// DialContext connects to the CA where addr is the CA's, through memory in
// that mode; for transports of the test's own making.
func (ca *CA) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if ca.pipe == nil {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	if addr != ca.addr {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%q is not the CA", addr)}
	}
	return ca.pipe.dial(ctx)
}

// Requests are all requests so far, in order.
func (ca *CA) Requests() []Request {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]Request(nil), ca.log...)
}

// Count is the number of requests so far: of these kinds, or all.
func (ca *CA) Count(kinds ...string) int {
	n := 0
	for _, r := range ca.Requests() {
		match := len(kinds) == 0
		for _, k := range kinds {
			match = match || r.Kind == k
		}
		if match {
			n++
		}
	}
	return n
}

// Connections is the number of connections accepted so far.
func (ca *CA) Connections() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.connections
}

// WaitClosed returns when no connection is open. With HTTP1 everything that was
// asked over them has been done by then, also what a killed client sent last.
func (ca *CA) WaitClosed() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for ca.open > 0 {
		ca.closed.Wait()
	}
}

// NewOrders is the number of orders made (not of requests for one).
func (ca *CA) NewOrders() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.orders)
}

// Accounts is the number of accounts made, deactivated ones too.
func (ca *CA) Accounts() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.accounts)
}

// Faults are the client's breaches of the protocol so far.
func (ca *CA) Faults() []string {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]string(nil), ca.faults...)
}

type connKey struct{}

// maxRequest bounds what is read of a request's body.
const maxRequest = 1 << 20

// serve answers one request: log it, let the quirks before have their say,
// do what it asks, let the quirks after spoil the reply, write it.
func (ca *CA) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "body too large or cut", http.StatusRequestEntityTooLarge)
		return
	}
	kind, id, entry := ca.arrive(r)
	q := &request{ca: ca, kind: kind, id: id, http: r, body: body, entry: entry}

	for _, on := range ca.hooks(kind) {
		r.Body = io.NopCloser(bytes.NewReader(body))
		if on(w, r) {
			return
		}
	}
	switch {
	case ca.hanging(kind):
		select {
		case <-r.Context().Done():
		case <-ca.done:
		}
		cut(r)
	case ca.take(kind, dropBefore):
		cut(r)
	}
	rep := ca.redirected(q)
	if rep == nil {
		rep = ca.answer(q)
	}
	ca.finish(q, rep)
	if ca.take(kind, dropAfter) {
		cut(r)
	}
	ca.mu.Lock()
	ca.log[entry].Status = rep.status
	ca.mu.Unlock()
	rep.write(w, r, ca.done)
}

// arrive logs the request and finds its kind and the object's id.
func (ca *CA) arrive(r *http.Request) (kind, id string, entry int) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	kind, id = ca.route(r.URL.Path)
	ca.log = append(ca.log, Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Kind: kind, Header: r.Header.Clone()})
	return kind, id, len(ca.log) - 1
}

// route maps a path to what stands there. Objects are /KIND/ID or /KIND/ID/MORE.
func (ca *CA) route(path string) (kind, id string) {
	if k, ok := ca.quirks.aliases[path]; ok {
		return k, ""
	}
	first, id, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case Directory, NewAccount, NewOrder, KeyChange, Revoke:
		if id == "" {
			return first, ""
		}
	case "new-nonce":
		if id == "" {
			return Nonce, ""
		}
	case Account, Orders, Order, Authz, Challenge, Finalize, Certificate, RenewalInfo, Terms:
		return first, id
	}
	return Unknown, ""
}

// url is where an object of that kind stands.
func (ca *CA) url(kind, id string) string {
	if kind == Nonce {
		return ca.base + "/new-nonce"
	}
	if id == "" {
		return ca.base + "/" + kind
	}
	return ca.base + "/" + kind + "/" + id
}

// cut closes the request's connection without a reply and leaves the handler.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn() // no close_notify: the line goes dead
		}
		_ = c.Close()
	}
	panic(http.ErrAbortHandler)
}
