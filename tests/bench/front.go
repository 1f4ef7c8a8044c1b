//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// front stands before a CA at a distance: it ends TLS, counts, and hands each
// request on as it is, Host included, since the CA makes its URLs from that. Of
// the replies it changes one thing: authorizations offer the challenges that
// public CAs do, and not Pebble's drafts as well.
type front struct {
	URL      string // without a path
	way      *distance
	server   *http.Server
	shakes   atomic.Int64 // TLS handshakes done
	mu       sync.Mutex
	began    time.Time
	requests []exchange
	before   int64 // connections and handshakes that were counted already
	shaken   int64
}

// exchange is one request as the front saw it.
type exchange struct {
	At, Took time.Duration // since the count began; at the CA
	Kind     string
	Status   int
	Protocol string
}

// counts are what one run cost.
type counts struct {
	Requests, Connections, Handshakes int
	Exchanges                         []exchange
}

// newFront stands before the CA at that HOST:PORT, whose own certificate needs no
// check: it is of this program's making.
func newFront(ca string, a *authority) (*front, error) {
	certificate, err := a.issue()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	way, err := newDistance(listener.Addr().String())
	if err != nil {
		listener.Close()
		return nil, err
	}
	f := &front{URL: "https://" + way.listener.Addr().String(), way: way, began: time.Now()}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: ca})
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // loopback, started by us
			MaxIdleConnsPerHost: 64,
			DisableCompression:  true,
		},
		ModifyResponse: leaveDrafts,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	f.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(proxy, w, r) }),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{*certificate},
			// Called once for each handshake, when all is checked.
			VerifyConnection: func(tls.ConnectionState) error { f.shakes.Add(1); return nil },
		},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	guarded(func() error { _ = f.server.ServeTLS(listener, "", ""); return nil })
	return f, nil
}

func (f *front) close() {
	f.way.close()
	f.server.Close()
}

// seen remembers the status of a reply.
type seen struct {
	http.ResponseWriter
	status int
}

func (s *seen) WriteHeader(status int)      { s.status = status; s.ResponseWriter.WriteHeader(status) }
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (f *front) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	kind, protocol := kindOf(r.URL.Path), r.Proto
	s := &seen{w, http.StatusOK}
	proxy.ServeHTTP(s, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, exchange{began.Sub(f.began), time.Since(began), kind, s.status, protocol})
}

// offered are the challenge types of RFC 8555 and RFC 8737.
var offered = []string{"http-01", "dns-01", "tls-alpn-01"}

// leaveDrafts takes other challenges out of an authorization.
func leaveDrafts(r *http.Response) error {
	if kindOf(r.Request.URL.Path) != "authorization" || r.StatusCode != http.StatusOK {
		return nil
	}
	var authorization map[string]any
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&authorization)
	r.Body.Close()
	if err != nil {
		return err
	}
	challenges, _ := authorization["challenges"].([]any)
	authorization["challenges"] = slices.DeleteFunc(challenges, func(c any) bool {
		challenge, _ := c.(map[string]any)
		typ, _ := challenge["type"].(string)
		return !slices.Contains(offered, typ)
	})
	body, err := json.Marshal(authorization)
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// kinds are Pebble's paths.
var kinds = []struct{ path, kind string }{
	{"/dir", "directory"}, {"/nonce-plz", "newNonce"}, {"/sign-me-up", "newAccount"}, {"/order-plz", "newOrder"},
	{"/my-account/", "account"}, {"/my-order/", "order"}, {"/finalize-order/", "finalize"}, {"/authZ/", "authorization"},
	{"/chalZ/", "challenge"}, {"/certZ/", "certificate"}, {"/draft-ietf-acme-ari", "renewalInfo"},
}

func kindOf(path string) string {
	for _, k := range kinds {
		if strings.HasPrefix(path, k.path) {
			return k.kind
		}
	}
	return path
}

// start counts anew, with the CA at that distance.
func (f *front) start(roundTrip time.Duration) {
	f.way.roundTrip.Store(int64(roundTrip))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began, f.requests = time.Now(), nil
	f.before, f.shaken = f.way.connections.Load(), f.shakes.Load()
}

// stop tells what was counted since.
func (f *front) stop() counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return counts{
		Requests:    len(f.requests),
		Connections: int(f.way.connections.Load() - f.before),
		Handshakes:  int(f.shakes.Load() - f.shaken),
		Exchanges:   f.requests,
	}
}

// authority signs the certificates of the fronts.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	PEM         []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := template("root of the bench")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &authority{root, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue makes one for 127.0.0.1.
func (a *authority) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := template("127.0.0.1")
	leaf.IPAddresses, leaf.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(48 * time.Hour),
	}
}

// String is the log of a run: what was asked when, and how it was answered.
func (c counts) String() string {
	var b strings.Builder
	for _, e := range c.Exchanges {
		fmt.Fprintf(&b, "  %7.1f ms  %-13s %d %s  (%.1f ms at the CA)\n", ms(e.At), e.Kind, e.Status, e.Protocol, ms(e.Took))
	}
	fmt.Fprintf(&b, "  %d requests, %d connections, %d handshakes\n", c.Requests, c.Connections, c.Handshakes)
	return b.String()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
