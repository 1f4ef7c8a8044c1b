// front stands before a CA for tests, at the address and the path of a real one:
//
//	front 127.0.0.2:443 cert.pem key.pem 127.0.0.1:14000
//
// It takes https with that certificate, hands everything on to the CA at the second
// address, and /directory to where Pebble has its directory.
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httputil"
	"os"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: front LISTEN CERTIFICATE KEY TARGET")
		os.Exit(64)
	}
	target := os.Args[4]
	proxy := &httputil.ReverseProxy{
		// The host stays what the client called: Pebble makes its URLs of it.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", target
			if r.In.URL.Path == "/directory" {
				r.Out.URL.Path = "/dir"
			}
		},
		// Its certificate is another's, and it is on this machine.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	fmt.Fprintln(os.Stderr, "front:", http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], proxy))
	os.Exit(1)
}
