package acme

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// dialer connects to the CA, or to the proxy on the way.
type dialer struct {
	plain   net.Dialer
	network string
	local   []netip.Addr
	hosts   map[string][]netip.AddrPort
}

// dial tries each place from each local address, as far as they are of one
// family. The error is that of the first try.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	network = cmp.Or(d.network, network)
	local := d.local
	if len(local) == 0 {
		local = []netip.Addr{{}}
	}
	var failed error
	for _, to := range d.places(network, address) {
		for _, from := range local {
			if !fits(network, from) {
				continue
			}
			conn, err := d.from(ctx, from, network, to)
			if err == nil {
				return conn, nil
			}
			failed = cmp.Or(failed, err)
		}
	}
	if failed == nil {
		failed = fmt.Errorf("dial %s %s: no address of that kind to connect from or to", network, address)
	}
	return nil, failed
}

func (d *dialer) from(ctx context.Context, from netip.Addr, network, to string) (net.Conn, error) {
	plain := d.plain
	if from.IsValid() { // the resolved addresses of the other family are left out then
		plain.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return plain.DialContext(ctx, network, to)
}

// places are where an address is: as given, unless it was told otherwise.
func (d *dialer) places(network, address string) []string {
	_, port, _ := net.SplitHostPort(address)
	known, found := d.hosts[strings.ToLower(address)]
	if !found {
		known, found = d.hosts["*:"+port]
	}
	if !found {
		return []string{address}
	}
	var places []string
	for _, place := range known {
		if fits(network, place.Addr()) {
			places = append(places, place.String())
		}
	}
	return places
}

// fits tells whether an address is of the network's family; none at all is of any.
func fits(network string, a netip.Addr) bool {
	switch {
	case !a.IsValid():
		return true
	case network == "tcp4":
		return a.Unmap().Is4()
	case network == "tcp6":
		return !a.Unmap().Is4()
	}
	return true
}
