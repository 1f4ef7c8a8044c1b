package rehearse

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"arid/account"
	"arid/acme"
	"arid/internal/guard"
	"arid/issue"
	"arid/respond"
)

// Run takes a request through a whole run against a CA of its own: account,
// order, validation, deployment. Where o.HTTPPort is 0, arid itself answers
// http-01, from the request's WellKnown directory. The account is made under
// dir. The result's chain has been verified up to the CA's root.
func Run(ctx context.Context, o CAOptions, dir string, r *issue.Request) (*issue.Result, error) {
	if o.HTTPPort == 0 {
		port, stop, err := answer(ctx, r.WellKnown)
		if err != nil {
			return nil, err
		}
		defer stop()
		o.HTTPPort = port
	}
	ca, err := StartCA(ctx, o)
	if err != nil {
		return nil, err
	}
	defer ca.Close()

	// Nobody trusts this CA: a live certificate in r's folder is not replaced.
	r.CA, r.TestCA = ca.URL(), true
	r.Account = account.Store{Dir: filepath.Join(dir, "accounts"), CA: r.CA}
	r.Registration.AcceptTerms = true
	transport := acme.NewTransport(acme.TransportOptions{Roots: ca.Transport()})
	defer transport.CloseIdleConnections()
	if r.Client, err = acme.New(r.CA, acme.Options{HTTP: &http.Client{Transport: transport}, UserAgent: "arid-rehearse"}); err != nil {
		return nil, err
	}
	result, err := issue.Sign(ctx, r)
	if result == nil {
		return nil, err
	}
	if verifyErr := verify(result.Chain, r.Names, ca.Roots()); verifyErr != nil {
		return nil, verifyErr
	}
	return result, err
}

// answer serves http-01 from a directory on a free loopback port.
func answer(ctx context.Context, dir string) (port int, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = guard.Run(func() error { return respond.ServeHTTP01(ctx, l, dir) })
	})
	stop = func() {
		cancel()
		serving.Wait()
	}
	return l.Addr().(*net.TCPAddr).Port, stop, nil
}

// verify holds a chain against the CA's root and the names asked for.
func verify(chain []*x509.Certificate, names []string, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return fmt.Errorf("the chain does not lead to the CA's root: %w", err)
	}
	for _, name := range names {
		if err := chain[0].VerifyHostname(name); err != nil {
			return err
		}
	}
	return nil
}
