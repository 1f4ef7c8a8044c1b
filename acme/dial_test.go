package acme_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"arid/acme"
)

// listen accepts connections and tells where each came from.
func listen(t *testing.T) (port uint16, from <-chan netip.Addr) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen := make(chan netip.Addr, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			seen <- conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), seen
}

func TestHostsAreWhereTheyAreToldToBe(t *testing.T) {
	port, _ := listen(t)
	here := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	six := netip.AddrPortFrom(netip.IPv6Loopback(), 9)
	for _, tc := range []struct {
		name, network, address string
		hosts                  map[string][]netip.AddrPort
		says                   string // "": connected
	}{
		{"told", "", "CA.example:443", map[string][]netip.AddrPort{"ca.example:443": {here}}, ""},
		{"the second answers", "", "ca.example:443", map[string][]netip.AddrPort{"ca.example:443": {nobody, here}}, ""},
		{"any host", "", "ca.example:443", map[string][]netip.AddrPort{"*:443": {here}}, ""},
		{"another port", "", "127.0.0.1:9", map[string][]netip.AddrPort{"127.0.0.1:443": {here}}, "dial tcp 127.0.0.1:9: connect: connection refused"},
		{"none answers", "", "ca.example:443", map[string][]netip.AddrPort{"ca.example:443": {nobody, six}}, "dial tcp 127.0.0.1:9: connect: connection refused"},
		{"the other family is left out", "tcp4", "ca.example:443", map[string][]netip.AddrPort{"ca.example:443": {six, here}}, ""},
		{"the other family alone", "tcp4", "ca.example:443", map[string][]netip.AddrPort{"ca.example:443": {six}}, "dial tcp4 ca.example:443: no address of that kind"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			transport := acme.NewTransport(acme.TransportOptions{Network: tc.network, Hosts: tc.hosts})
			conn, err := transport.DialContext(context.Background(), "tcp", tc.address)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
}

func TestConnectionsComeFromTheLocalAddress(t *testing.T) {
	port, from := listen(t)
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
	for _, tc := range []struct {
		name    string
		network string
		local   []netip.Addr
		want    string
	}{
		{"one", "tcp", []netip.Addr{netip.MustParseAddr("127.0.0.7")}, "127.0.0.7"},
		{"of a device that has both families", "tcp", []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.8")}, "127.0.0.8"},
		{"the other family is left out", "tcp4", []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.9")}, "127.0.0.9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			transport := acme.NewTransport(acme.TransportOptions{Network: tc.network, Local: tc.local})
			conn, err := transport.DialContext(context.Background(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if got := <-from; got.String() != tc.want {
				t.Errorf("from %s, want %s", got, tc.want)
			}
		})
	}
	transport := acme.NewTransport(acme.TransportOptions{Network: "tcp4", Local: []netip.Addr{netip.IPv6Loopback()}})
	if _, err := transport.DialContext(context.Background(), "tcp", address); err == nil || !strings.Contains(err.Error(), "no address of that kind") {
		t.Errorf("IPv4 from an IPv6 address: %v", err)
	}
}
