package rehearse

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"arid/account"
	"arid/acme"
	"arid/dns"
	"arid/issue"
	"arid/probe"
)

// Run takes a request through a whole run against a CA of its own: account,
// order, validation, deployment. Where o has no port for a challenge type that
// the request needs, arid itself answers it, from the request's directory. The
// request's DNS and Prober are those of the CA; updates and hooks are led to the
// CA's own DNS, where it has one. The account is made under dir. The result's
// chain has been verified up to the CA's root. trace is told of every request; it may be nil.
func Run(ctx context.Context, o CAOptions, dir string, r *issue.Request, trace func(acme.Exchange)) (*issue.Result, error) {
	stop, err := startAnswers(ctx, &o, r)
	defer stop()
	if err != nil {
		return nil, err
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
	useNetwork(r, ca, o)
	transport := acme.NewTransport(acme.TransportOptions{Roots: ca.Transport()})
	defer transport.CloseIdleConnections()
	if r.Client, err = acme.New(r.CA, acme.Options{HTTP: &http.Client{Transport: transport}, UserAgent: "arid-rehearse", Trace: trace}); err != nil {
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

// useNetwork has the run look at, and change, what the CA sees. A name server of
// the user's own is updated as he has it in his settings.
func useNetwork(r *issue.Request, ca *CA, o CAOptions) {
	r.DNS = ca.DNS()
	r.Prober = &probe.Prober{DNS: r.DNS, HTTPPort: o.HTTPPort, TLSPort: o.TLSPort}
	if r.Updater != nil {
		u := *r.Updater
		u.Client = r.DNS
		if o.DNS == "" {
			u.Server = ca.Resolver()
		}
		r.Updater = &u
	}
	if r.Hooks != nil && o.DNS == "" {
		r.Hooks.Env = withDNS(r.Hooks.Env, r.DNS)
	}
	if r.Hooks != nil {
		// A certificate that nobody trusts is not for the user's servers.
		r.Hooks.Env = append(slices.Clone(r.Hooks.Env), "ARID_HOOK_REHEARSAL=yes")
	}
}

// withDNS is a hook's environment in which its updates, and those of an arid that
// it calls, go to the CA's own DNS, whatever it said before.
func withDNS(env []string, c *dns.Client) []string {
	server := c.Resolvers[0]
	own := map[string]string{
		"ARID_DNS_SERVER":      server, // updates
		"ARID_DNS_RESOLVER":    server, // names
		"ARID_DNS_PORT":        c.Port, // records, at whatever authoritative server
		"ARID_HOOK_DNS_SERVER": server, // for nsupdate and its like
	}
	all := slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		_, replaced := own[name]
		return replaced
	})
	for _, name := range slices.Sorted(maps.Keys(own)) {
		all = append(all, name+"="+own[name])
	}
	return all
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
