// Package rehearse runs whole issuances against a CA inside the process, so
// that hooks, servers and directories can be tried offline and nothing that a
// public CA counts is used up.
package rehearse

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"arid/dns"
	"arid/internal/guard"
)

// CAOptions says where the CA looks for proof, and what it tells of its work.
type CAOptions struct {
	HTTPPort int      // where it connects for http-01 (public CAs: 80)
	TLSPort  int      // where it connects for tls-alpn-01 (public CAs: 443)
	DNS      string   // HOST:PORT of a resolver that it asks over TCP; "" = its own, for which every name is 127.0.0.1
	Key      *dns.Key // who signs updates of its own DNS; nil: nobody. Unsigned ones are taken always
	Profile  string   // the one profile that it offers; "" = "default". Certificates live 90 days
	Strict   bool     // refuse what RFC 8555 bids and most CAs let pass, as a challenge's body that is not {}

	Log func(line string) // one call per line the CA logs, never two at once; nil = none
}

// CA is an ACME CA that lives in this process and keeps nothing. It is Pebble,
// without the refusals and delays that Pebble adds by chance.
type CA struct {
	address  string
	resolver string
	root     *x509.Certificate // issuance
	tlsRoot  *x509.Certificate
	ends     []func()
	serving  sync.WaitGroup
}

// StartCA starts a CA on free ports of 127.0.0.1. ctx bounds the start alone:
// the CA answers until Close, so that a cancelled run can still tidy up with it.
func StartCA(ctx context.Context, o CAOptions) (*CA, error) {
	c := &CA{resolver: o.DNS}
	if err := c.start(ctx, o); err != nil {
		c.Close()
		return nil, fmt.Errorf("start a CA for rehearsal: %w", err)
	}
	return c, nil
}

func (c *CA) start(ctx context.Context, o CAOptions) error {
	if ctx.Err() != nil { // listening on an address does not look
		return context.Cause(ctx)
	}
	logger := log.New(io.Discard, "", 0)
	if o.Log != nil {
		logger.SetOutput(lines(o.Log))
	}
	if c.resolver == "" {
		names := newNames(logger)
		if o.Key != nil {
			names.key = o.Key.TSIG()
		}
		if err := c.startDNS(ctx, names); err != nil {
			return err
		}
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.address = l.Addr().String()
	c.ends = append(c.ends, func() { l.Close() })

	pair, err := throwawayCertificate(time.Now())
	if err != nil {
		return err
	}
	c.tlsRoot = pair.Leaf
	server := &http.Server{
		Handler:           c.pebble(logger, o),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          logger,
	}
	c.ends = append(c.ends, func() { server.Close() })
	c.serving.Go(func() { _ = guard.Run(func() error { return server.ServeTLS(l, "", "") }) })
	return nil
}

// URL is that of the CA's directory.
func (c *CA) URL() string { return "https://" + c.address + wfe.DirectoryPath }

// Resolver is the HOST:PORT that the CA asks about names. The CA's own answers
// over UDP too, is the authoritative server of all names as well, and takes
// updates of TXT records (RFC 2136).
func (c *CA) Resolver() string { return c.resolver }

// DNS sees names as the CA does: it knows no other server than the CA's.
func (c *CA) DNS() *dns.Client {
	client := &dns.Client{Resolvers: []string{c.resolver}}
	if _, port, err := net.SplitHostPort(c.resolver); err == nil {
		client.Port = port
	}
	return client
}

// Roots holds the root of the certificates that the CA issues, to verify them.
func (c *CA) Roots() *x509.CertPool { return poolOf(c.root) }

// Transport holds the root of the CA's own TLS certificate, to connect to it.
func (c *CA) Transport() *x509.CertPool { return poolOf(c.tlsRoot) }

// Close ends the CA at once, open connections too. Pebble keeps one idle
// goroutine for which it has no end.
func (c *CA) Close() {
	for _, end := range c.ends {
		end()
	}
	c.serving.Wait()
}

// pebble makes Pebble's CA, validation and front end, and remembers the root.
func (c *CA) pebble(logger *log.Logger, o CAOptions) http.Handler {
	defer pebbleEnvironment()()
	profile := o.Profile
	if profile == "" {
		profile = "default"
	}
	store := db.NewMemoryStore()
	// One profile: where there are more, Pebble takes a random one for an order
	// that names none.
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{
		profile: {Description: "certificates for rehearsal", ValidityPeriod: 90 * 24 * 60 * 60},
	})
	c.root = authority.GetRootCert(0).Cert
	validation := va.New(logger, o.HTTPPort, o.TLSPort, o.Strict, c.resolver, store)
	// No Retry-After: validation in this process is done in milliseconds.
	front := wfe.New(logger, store, validation, authority, []string{"rehearsal.invalid"}, o.Strict, false, 0, 0)
	return front.Handler()
}

// construction orders the changes of the process environment, which all CAs of
// a process share.
var construction sync.Mutex

// pebbleEnvironment sets what Pebble reads from the environment when it is
// made, and gives back the function that restores what was there: neither
// the user's settings for another Pebble may change this one, nor ours reach
// a hook.
func pebbleEnvironment() (restore func()) {
	construction.Lock()
	type variable struct {
		name, value string
		set         bool
	}
	var before []variable
	for name, value := range map[string]string{
		"PEBBLE_VA_NOSLEEP":          "1",
		"PEBBLE_VA_SLEEPTIME":        "",
		"PEBBLE_VA_ALWAYS_VALID":     "",
		"PEBBLE_WFE_NONCEREJECT":     "0",
		"PEBBLE_AUTHZREUSE":          "0",
		"PEBBLE_WFE_ORDERS_PER_PAGE": "",
	} {
		old, set := os.LookupEnv(name)
		before = append(before, variable{name, old, set})
		os.Setenv(name, value)
	}
	return func() {
		for _, v := range before {
			if v.set {
				os.Setenv(v.name, v.value)
			} else {
				os.Unsetenv(v.name)
			}
		}
		construction.Unlock()
	}
}

// throwawayCertificate makes a self-signed certificate for the CA's own TLS,
// for a day from now.
func throwawayCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "arid rehearse"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func poolOf(cert *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// lines is a log.Logger's output that hands on each line without its end.
type lines func(string)

func (tell lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		tell(strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}
