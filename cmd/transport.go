package cmd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"arid/acme"
	"arid/internal/atomicfile"
)

func (a *app) transport() (http.RoundTripper, error) {
	o := acme.TransportOptions{Network: "tcp" + a.settings.Value("IP_VERSION")}
	if file := a.path("CA_BUNDLE"); file != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
		data, err := atomicfile.ReadFile(file, 16<<20)
		if err != nil {
			return nil, a.from("CA_BUNDLE", &inputError{"CA_BUNDLE", err})
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, a.from("CA_BUNDLE", &inputError{fmt.Sprintf("CA_BUNDLE %q", file), errors.New("no certificate in PEM in it")})
		}
		o.Roots = pool
	}
	all := a.firstEnv("all_proxy", "ALL_PROXY")
	proxies := httpproxy.Config{
		HTTPSProxy: a.firstEnv("https_proxy", "HTTPS_PROXY"),
		HTTPProxy:  a.firstEnv("http_proxy"),
		NoProxy:    a.firstEnv("no_proxy", "NO_PROXY"),
	}
	if proxies.HTTPSProxy == "" {
		proxies.HTTPSProxy = all
	}
	if proxies.HTTPProxy == "" {
		proxies.HTTPProxy = all
	}
	proxy := proxies.ProxyFunc()
	o.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	return acme.NewTransport(o), nil
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
