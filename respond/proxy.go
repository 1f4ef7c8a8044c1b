package respond

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
)

// Peers are those from whom a PROXY header is taken.
type Peers struct {
	prefixes []netip.Prefix
	unix     bool
}

// ParsePeers reads words: an address, a range such as 192.0.2.0/24, or "unix" for
// whoever comes by a Unix socket.
func ParsePeers(words []string) (Peers, error) {
	var peers Peers
	for _, word := range words {
		if word == "unix" {
			peers.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if ip, ipErr := netip.ParseAddr(word); ipErr == nil && ip.Zone() == "" {
			prefix, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return Peers{}, fmt.Errorf("%q is neither an address, nor a range such as 192.0.2.0/24, nor \"unix\"", word)
		}
		peers.prefixes = append(peers.prefixes, prefix)
	}
	return peers, nil
}

func (p Peers) has(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return p.unix
	case *net.TCPAddr:
		for _, prefix := range p.prefixes {
			if prefix.Contains(addrOf(a)) {
				return true
			}
		}
	}
	return false
}

// ProxyError is a PROXY header where there must be none, or none where there must be
// one: what stands before arid, and --proxy-from, do not agree.
type ProxyError struct {
	Peer   net.Addr
	Reason string
	Err    error // what is wrong with the header; may be nil
}

func (e *ProxyError) Error() string {
	text := e.who() + " " + e.Reason
	if e.Err != nil {
		text += ": " + strings.TrimPrefix(e.Err.Error(), "proxyproto: ")
	}
	return text
}

// Kind leaves out what strangers choose.
func (e *ProxyError) Kind() string { return e.Reason }

func (e *ProxyError) who() string {
	if ip := addrOf(e.Peer); ip.IsValid() {
		return ip.String()
	}
	return "a local peer"
}

// signatures begin the headers of version 1 and 2.
var signatures = []string{string(proxyproto.SIGV1), string(proxyproto.SIGV2)}

// readProxy takes the PROXY header away and keeps who is behind it. The error is a
// *ProxyError.
func (r *responder) readProxy(p *peer) error {
	if _, err := p.ahead.Peek(1); err != nil {
		return nil // nothing comes, as from a health check
	}
	wrong := func(reason string) error { return &ProxyError{Peer: p.RemoteAddr(), Reason: reason} }
	mayHave := r.ProxyFrom.has(p.RemoteAddr())
	switch has := p.hasProxy(); {
	case !has && (!mayHave || r.ProxyOptional):
		return nil
	case !has:
		return wrong("must speak the PROXY protocol (--proxy-from), and does not")
	case !mayHave:
		return wrong("speaks the PROXY protocol, and is not in --proxy-from")
	}
	if err := p.takeProxy(); err != nil {
		return &ProxyError{p.RemoteAddr(), "sent no good PROXY header", err}
	}
	r.crowd.rename(p)
	// A client's own header must not reach a backend that believes us.
	if p.hasProxy() {
		return wrong("handed on a second PROXY header, of its client's")
	}
	return nil
}

func (p *peer) hasProxy() bool {
	return p.begins(signatures[0]) || p.begins(signatures[1])
}

// takeProxy reads the header that is there.
func (p *peer) takeProxy() error {
	if done, err := p.skipUnspecified(); done || err != nil {
		return err
	}
	if err := p.awaitLine(); err != nil {
		return err
	}
	header, err := proxyproto.Read(p.ahead)
	if err != nil {
		return err
	}
	if header.Command.IsProxy() { // else it is the proxy's own connection
		p.from, p.to = header.SourceAddr, header.DestinationAddr
	}
	return nil
}

// awaitLine waits for all of a header of version 1: go-proxyproto wants it in one
// piece.
func (p *peer) awaitLine() error {
	const longest = 107 // its bytes, with the end of the line
	if !p.begins(signatures[0]) {
		return nil
	}
	for n := len(signatures[0]) + 1; n <= longest; n++ {
		got, err := p.ahead.Peek(n)
		if err != nil {
			return errors.New("its line does not end")
		}
		if got[n-1] == '\n' {
			return nil
		}
	}
	return nil
}

// skipUnspecified takes a header of version 2 away that is for somebody of whom it
// does not say who. Receivers may accept those; go-proxyproto does not.
func (p *peer) skipUnspecified() (done bool, err error) {
	if !p.begins(signatures[1]) {
		return false, nil
	}
	head, err := p.ahead.Peek(16)
	if err != nil || head[12] != byte(proxyproto.PROXY) || head[13] != byte(proxyproto.UNSPEC) {
		return false, err
	}
	length := binary.BigEndian.Uint16(head[14:])
	if length > proxyproto.MaxV2HeaderSize {
		return true, proxyproto.ErrInvalidLength
	}
	_, err = p.ahead.Discard(len(head) + int(length))
	return true, err
}

// proxyHeader is what a backend is told about a peer.
func (r *responder) proxyHeader(p *peer) ([]byte, error) {
	if r.SendProxy == 0 {
		return nil, nil
	}
	header, err := proxyproto.HeaderProxyFromAddrs(byte(r.SendProxy), p.from, p.to).Format()
	if err != nil {
		return nil, errors.Join(errors.New("PROXY header"), err)
	}
	return header, nil
}
