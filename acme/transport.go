package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

// TransportOptions say how the CA is reached.
type TransportOptions struct {
	Roots   *x509.CertPool                        // for the CA's own TLS; nil: the system's
	Network string                                // tcp, tcp4 or tcp6; "" is tcp
	Proxy   func(*http.Request) (*url.URL, error) // nil: none
}

// NewTransport is an http.Transport with this package's limits: 10 s to
// connect, 10 s for TLS (1.2 at least), 30 s for the reply's header, 64 KiB of
// header, no compression, HTTP/2 where offered.
func NewTransport(o TransportOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: o.Proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if o.Network != "" {
				network = o.Network
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
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
}
