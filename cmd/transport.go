package cmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpproxy"

	"arid/acme"
	"arid/config"
	"arid/internal/atomicfile"
)

const (
	maxRoots = 16 << 20 // of a file with roots
	maxPairs = 1 << 20  // of a client's key or certificate
)

// transport is how the network is reached, by CA_BUNDLE, IP_VERSION, CURL_OPTS and
// the environment's proxies.
func (a *app) transport(curl *config.Curl) (http.RoundTripper, error) {
	o := acme.TransportOptions{
		Network: "tcp" + cmp.Or(a.settings.Value("IP_VERSION"), curl.IPVersion),
		Proxy:   a.proxy(curl),
		Connect: curl.ConnectTimeout, Hosts: curl.Hosts, Resolver: resolver(curl.DNSServers),
		Insecure: curl.Insecure, HTTP1: curl.HTTP1,
	}
	if curl.TLS12 {
		o.MaxTLS = tls.VersionTLS12
	}
	if curl.TLS13 {
		o.MinTLS = tls.VersionTLS13
	}
	var err error
	if o.Roots, err = a.roots(curl); err != nil {
		return nil, err
	}
	if o.Certificates, err = a.clientCertificate(curl); err != nil {
		return nil, a.settings.Wrong("CURL_OPTS", err)
	}
	if o.Local, err = localAddresses(curl.Interface, o.Network); err != nil {
		return nil, a.settings.Wrong("CURL_OPTS", fmt.Errorf("--interface: %w", err))
	}
	return acme.NewTransport(o), nil
}

// curl is CURL_OPTS, with what has to be said about it.
func (a *app) curl() *config.Curl {
	curl, warnings := a.settings.Curl()
	for _, w := range warnings {
		a.report.Warning(w)
	}
	if v := a.settings.Value("IP_VERSION"); v != "" && curl.IPVersion != "" && v != curl.IPVersion {
		a.report.Warning(fmt.Sprintf("%s: CURL_OPTS: --ipv%s is ignored: IP_VERSION is %s", a.settings.Origin("CURL_OPTS"), curl.IPVersion, v))
	}
	return curl
}

// roots are the system's with those that the settings add; nil: the system's alone.
func (a *app) roots(curl *config.Curl) (*x509.CertPool, error) {
	bundle := a.path("CA_BUNDLE")
	if bundle == "" && curl.CAFile == "" && curl.CADir == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificates: %w", err)
	}
	if bundle != "" {
		data, err := atomicfile.ReadFile(bundle, maxRoots)
		if err != nil {
			return nil, a.from("CA_BUNDLE", &inputError{"CA_BUNDLE", err})
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, a.from("CA_BUNDLE", &inputError{fmt.Sprintf("CA_BUNDLE %q", bundle), errNoCertificate})
		}
	}
	if curl.CAFile != "" {
		if err := addRoots(pool, a.abs(curl.CAFile)); err != nil {
			return nil, a.settings.Wrong("CURL_OPTS", fmt.Errorf("--cacert: %w", err))
		}
	}
	if curl.CADir != "" {
		if err := addHashedRoots(pool, a.abs(curl.CADir)); err != nil {
			return nil, a.settings.Wrong("CURL_OPTS", fmt.Errorf("--capath: %w", err))
		}
	}
	return pool, nil
}

var errNoCertificate = errors.New("no certificate in PEM in it")

func addRoots(pool *x509.CertPool, file string) error {
	data, err := atomicfile.ReadFile(file, maxRoots)
	if err == nil && !pool.AppendCertsFromPEM(data) {
		err = fmt.Errorf("%q: %w", file, errNoCertificate)
	}
	return err
}

// hashed is how OpenSSL finds a certificate in a directory: by its subject's hash.
var hashed = regexp.MustCompile(`^[0-9a-f]{8}\.[0-9]+$`)

// addHashedRoots adds those files of a directory in which curl would look.
func addHashedRoots(pool *x509.CertPool, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		if hashed.MatchString(e.Name()) && addRoots(pool, filepath.Join(dir, e.Name())) == nil {
			found = true
		}
	}
	if !found {
		return fmt.Errorf("%q: no certificate under its hash in it (openssl rehash %s)", dir, dir)
	}
	return nil
}

// clientCertificate is what a server gets that asks for one.
func (a *app) clientCertificate(curl *config.Curl) ([]tls.Certificate, error) {
	if curl.Cert == "" {
		return nil, nil
	}
	chain, err := atomicfile.ReadFile(a.abs(curl.Cert), maxPairs)
	if err != nil {
		return nil, fmt.Errorf("--cert: %w", err)
	}
	key, option := chain, "--cert"
	if curl.Key != "" {
		option = "--key"
		if key, err = atomicfile.ReadFile(a.abs(curl.Key), maxPairs); err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
	}
	if encrypted(key) {
		return nil, fmt.Errorf("%s: a key that needs a passphrase cannot be used", option)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return []tls.Certificate{pair}, nil
}

func encrypted(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
	return false
}

// localAddresses are what to connect from: an address, or those of a device.
func localAddresses(name, network string) ([]netip.Addr, error) {
	if name == "" {
		return nil, nil
	}
	candidates, err := addressesOf(name)
	if err != nil {
		return nil, err
	}
	var local []netip.Addr
	for _, a := range candidates {
		// The first of each family, and none that is good for one link alone.
		same := func(b netip.Addr) bool { return b.Is4() == a.Is4() }
		wanted := network == "tcp" || (network == "tcp4") == a.Is4()
		if wanted && !a.IsLinkLocalUnicast() && !slices.ContainsFunc(local, same) {
			local = append(local, a)
		}
	}
	if len(local) == 0 {
		family := map[string]string{"tcp": "", "tcp4": " of IPv4", "tcp6": " of IPv6"}[network]
		return nil, fmt.Errorf("%q has no address%s", name, family)
	}
	return local, nil
}

func addressesOf(name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("%q is neither an address nor a device of this host", name)
	}
	addresses, err := device.Addrs()
	var all []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr().Unmap())
		}
	}
	return all, err
}

// resolver asks these servers in turn; nil, the system's, where there are none.
func resolver(servers []string) *net.Resolver {
	if len(servers) == 0 {
		return nil
	}
	var asked atomic.Uint32
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, servers[int(asked.Add(1)-1)%len(servers)])
	}}
}

// proxy says by whom a request goes: CURL_OPTS, else the environment, as curl
// reads it.
func (a *app) proxy(curl *config.Curl) func(*http.Request) (*url.URL, error) {
	all := a.firstEnv("all_proxy", "ALL_PROXY")
	proxies := httpproxy.Config{
		HTTPSProxy: cmp.Or(a.firstEnv("https_proxy", "HTTPS_PROXY"), all),
		HTTPProxy:  cmp.Or(a.firstEnv("http_proxy"), all),
		NoProxy:    cmp.Or(curl.NoProxy, a.firstEnv("no_proxy", "NO_PROXY")),
	}
	if curl.Proxy != nil {
		proxies.HTTPSProxy, proxies.HTTPProxy = curl.Proxy.String(), curl.Proxy.String()
	}
	proxy := proxies.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		// The environment's is not meant for this host itself; one that was asked
		// for by name is.
		if curl.Proxy != nil && isLoopback(r.URL.Hostname()) && !listed(r.URL.Hostname(), proxies.NoProxy) {
			return curl.Proxy, nil
		}
		return proxy(r.URL)
	}
}

// firstEnv is the first of these variables that is set, as the config leaves
// them.
func (a *app) firstEnv(names ...string) string {
	env := Process{Env: a.settings.HookEnv()}
	for _, name := range names {
		if value := env.getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// listed tells whether NO_PROXY has the very host, or "*".
func listed(host, list string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), func(word string) bool {
		return word == "*" || strings.EqualFold(word, host)
	})
}
