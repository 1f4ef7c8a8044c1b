package acme

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// TransportOptions say how the CA is reached. The zero value is the usual way.
type TransportOptions struct {
	Roots        *x509.CertPool    // for the CA's own TLS; nil: the system's
	Insecure     bool              // whoever answers is taken for the CA
	Certificates []tls.Certificate // shown to a server that asks for one
	MinTLS       uint16            // 0: 1.2
	MaxTLS       uint16            // 0: the newest
	HTTP1        bool              // no HTTP/2

	Network string                                // tcp, tcp4 or tcp6; "" is tcp
	Proxy   func(*http.Request) (*url.URL, error) // nil: none
	Connect time.Duration                         // to connect, and once more for TLS; 0: 10 s
	Local   []netip.Addr                          // of this host, to connect from, tried in turn; none: the system chooses

	Resolver *net.Resolver               // nil: the system's
	Hosts    map[string][]netip.AddrPort // where "host:port" is, for whom no resolver is asked; host "*" is any
}

// NewTransport is an http.Transport with this package's limits: 10 s to
// connect, 10 s for TLS (1.2 at least), 30 s for the reply's header, 64 KiB of
// header, no compression, HTTP/2 where offered.
func NewTransport(o TransportOptions) *http.Transport {
	connect := cmp.Or(o.Connect, 10*time.Second)
	d := &dialer{
		plain:   net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second, Resolver: o.Resolver},
		network: o.Network, local: o.Local, hosts: o.Hosts,
	}
	t := &http.Transport{
		Proxy:       o.Proxy,
		DialContext: d.dial,
		TLSClientConfig: &tls.Config{
			RootCAs: o.Roots, InsecureSkipVerify: o.Insecure, Certificates: o.Certificates,
			MinVersion: cmp.Or(o.MinTLS, tls.VersionTLS12), MaxVersion: o.MaxTLS,
		},
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16, // as many as run side by side
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		// Not more than that is read ahead of what is asked for, and a
		// connection that died during a long hook is noticed.
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     128 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   10 * time.Second,
		},
	}
	if o.HTTP1 {
		t.ForceAttemptHTTP2 = false
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	return t
}
