package rehearse

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"sync"
	"syscall"

	"github.com/miekg/dns"

	"arid/internal/guard"
)

// nameServer is the whole DNS of a rehearsal, resolver and authoritative server
// in one: every name has the address 127.0.0.1 and no other, so that the CA
// comes to this host for http-01 and tls-alpn-01, and the TXT records that
// updates gave it (RFC 2136), for dns-01.
type nameServer struct {
	key dns.TsigProvider // never nil: without one the library looks at no signature
	log *log.Logger

	mu     sync.Mutex
	serial uint32
	texts  map[string][]*dns.TXT // by canonical name
	count  int                   // of all records in texts
}

// newNames makes one that knows no TXT record and no key.
func newNames(log *log.Logger) *nameServer {
	return &nameServer{key: noKey{}, log: log, texts: map[string][]*dns.TXT{}}
}

// maxDatagram is the longest reply over UDP; for more the asker comes by TCP.
const maxDatagram = 4096

// startDNS starts the name server on one free port of 127.0.0.1, UDP and TCP.
func (c *CA) startDNS(ctx context.Context, s *nameServer) error {
	l, packets, err := samePort(ctx)
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	c.ends = append(c.ends, func() { l.Close(); packets.Close() })
	c.resolver = l.Addr().String()
	for _, server := range []*dns.Server{{Listener: l}, {PacketConn: packets, UDPSize: dns.MaxMsgSize}} {
		started, failed := make(chan struct{}), make(chan error, 1)
		server.Handler = s
		server.TsigProvider = s.key
		server.MsgAcceptFunc = acceptRequest
		server.NotifyStartedFunc = func() { close(started) }
		c.serving.Go(func() { failed <- guard.Run(server.ActivateAndServe) })
		select {
		case <-started: // before that, Shutdown would do nothing
			c.ends = append(c.ends, func() { server.Shutdown() })
		case err := <-failed:
			return fmt.Errorf("serve DNS: %w", err)
		}
	}
	return nil
}

// samePort listens on a port of 127.0.0.1 that is free for TCP and UDP alike.
func samePort(ctx context.Context) (net.Listener, net.PacketConn, error) {
	var listen net.ListenConfig
	for tries := 1; ; tries++ {
		l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := listen.ListenPacket(ctx, "udp", l.Addr().String())
		if err == nil {
			return l, packets, nil
		}
		l.Close()
		if !errors.Is(err, syscall.EADDRINUSE) || tries == 10 {
			return nil, nil, err
		}
	}
}

// acceptRequest lets updates in, which the library does not by itself. What a
// message holds is looked at where it is answered.
func acceptRequest(h dns.Header) dns.MsgAcceptAction {
	const response = 1 << 15 // the bit QR (RFC 1035 §4.1.1)
	if h.Bits&response != 0 {
		return dns.MsgIgnore
	}
	return dns.MsgAccept
}

// ServeDNS answers one message. A bug of ours costs an answer, not the run.
func (s *nameServer) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	var reply *dns.Msg
	err := guard.Run(func() error {
		reply = s.reply(request, w.TsigStatus(), maxReply(w.RemoteAddr(), request))
		return nil
	})
	if err != nil {
		s.log.Printf("DNS: %v", err)
		reply = new(dns.Msg).SetRcode(request, dns.RcodeServerFailure)
	}
	if err := write(w, reply); err != nil {
		s.log.Printf("DNS: reply to %s: %v", w.RemoteAddr(), err)
	}
}

// maxReply is how many bytes the asker takes, less room for a signature where it
// matters.
func maxReply(from net.Addr, request *dns.Msg) int {
	if from.Network() == "tcp" {
		return dns.MaxMsgSize - 1<<10
	}
	if o := request.IsEdns0(); o != nil {
		return min(max(dns.MinMsgSize, int(o.UDPSize())), maxDatagram)
	}
	return dns.MinMsgSize
}

// reply answers a message; verified tells what its signature is worth, where it
// has one.
func (s *nameServer) reply(request *dns.Msg, verified error, size int) *dns.Msg {
	reply := new(dns.Msg).SetReply(request)
	signature, wellFormed := signatureOf(request)
	fault := faultOf(verified)
	switch {
	case !wellFormed:
		reply.Rcode = dns.RcodeFormatError
		return reply
	case fault != dns.RcodeSuccess:
		reply.Rcode = dns.RcodeNotAuth
	case request.Opcode == dns.OpcodeQuery:
		s.answer(request, reply)
	case request.Opcode == dns.OpcodeUpdate:
		reply.Rcode = s.update(request)
		s.log.Printf("DNS: update of %d records: %s", len(request.Ns), dns.RcodeToString[reply.Rcode])
	default:
		reply.Rcode = dns.RcodeNotImplemented
	}
	if request.IsEdns0() != nil {
		reply.SetEdns0(maxDatagram, false)
	}
	reply.Truncate(size)
	if signature != nil {
		sign(reply, signature, fault)
	}
	return reply
}
