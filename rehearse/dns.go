package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/miekg/dns"

	"arid/internal/guard"
)

// startDNS starts a resolver on one free port of 127.0.0.1, UDP and TCP: every
// name has the address 127.0.0.1 and nothing else, no IPv6 address, no TXT, no
// CAA, so that the CA comes to this host for http-01 and tls-alpn-01.
func (c *CA) startDNS(ctx context.Context) error {
	l, packets, err := samePort(ctx)
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	c.ends = append(c.ends, func() { l.Close(); packets.Close() })
	c.resolver = l.Addr().String()
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: packets}} {
		started, failed := make(chan struct{}), make(chan error, 1)
		s.Handler = dns.HandlerFunc(answerLoopback)
		s.NotifyStartedFunc = func() { close(started) }
		c.serving.Go(func() { failed <- guard.Run(s.ActivateAndServe) })
		select {
		case <-started: // before that, Shutdown would do nothing
			c.ends = append(c.ends, func() { s.Shutdown() })
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

func answerLoopback(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	answer.Authoritative = true
	answer.RecursionAvailable = true
	for _, q := range question.Question {
		if q.Qtype == dns.TypeA && q.Qclass == dns.ClassINET {
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			})
		}
	}
	w.WriteMsg(answer)
}
