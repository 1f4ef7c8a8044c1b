package respond

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"arid/alpn"
	"arid/internal/guard"
)

// maxHandshakes bounds the connections that are held at once. Others wait to be
// accepted, the oldest first.
const maxHandshakes = 256

const (
	helloTime     = 3 * time.Second  // for the ClientHello
	handshakeTime = 10 * time.Second // for all of the handshake
)

// ServeTLSALPN01 answers tls-alpn-01 (RFC 8737) on l with the pairs that
// alpn.Dir.Put writes into dir, until ctx is done; then it closes l, gives open
// handshakes a second, and returns nil. Any other end of l is returned as an
// error. Only clients that offer acme-tls/1 are answered, others get the alert
// no_application_protocol; a server name without a pair, or none, gets
// unrecognized_name. After the handshake the connection is closed. dir and pair
// are opened for each one, so that they may be made or replaced meanwhile.
func ServeTLSALPN01(ctx context.Context, l net.Listener, dir string) error {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() }) // ends Accept
	defer stop()
	last, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var open sync.WaitGroup
	slots := make(chan struct{}, maxHandshakes)
	bug := make(chan error, 1) // the first one; it does not end the others
	var end error
	for {
		c, err := accept(ctx, l, slots)
		if err != nil {
			end = err
			break
		}
		open.Go(func() {
			defer func() { <-slots }()
			err := guard.Run(func() error {
				answer(last, c, dir)
				return nil
			})
			if err != nil {
				select {
				case bug <- err:
				default:
				}
			}
		})
	}
	timer := time.AfterFunc(time.Second, cut)
	defer timer.Stop()
	open.Wait()
	if ctx.Err() == nil { // l failed by itself
		return fmt.Errorf("answer tls-alpn-01 on %s: %w", l.Addr(), end)
	}
	select {
	case err := <-bug:
		return err
	default:
		return nil
	}
}

// accept takes a slot and then a connection; what passes, too many open
// files for one, it waits out.
func accept(ctx context.Context, l net.Listener, slots chan struct{}) (net.Conn, error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Accept()
		var e interface{ Temporary() bool }
		if err == nil || ctx.Err() != nil || !errors.As(err, &e) || !e.Temporary() {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// answer does one handshake. What peers do wrong is no concern of ours.
func answer(ctx context.Context, c net.Conn, dir string) {
	defer c.Close()
	begin := time.Now()
	c.SetDeadline(begin.Add(helloTime))
	s := tls.Server(c, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c.SetDeadline(begin.Add(handshakeTime))
			if !slices.Contains(hello.SupportedProtos, alpn.Protocol) {
				return nil, refuse(c)
			}
			return config(dir, hello.ServerName), nil
		},
	})
	if s.HandshakeContext(ctx) == nil {
		s.Close() // tells the peer
	}
}

// refuse sends the alert no_application_protocol (RFC 7301 §3.2). crypto/tls
// has none for a client that offers no protocol at all: it would be served.
func refuse(c net.Conn) error {
	const alert, fatal, noApplicationProtocol = 21, 2, 120
	c.Write([]byte{alert, 3, 3, 0, 2, fatal, noApplicationProtocol})
	c.Close() // before crypto/tls sends its own, internal_error
	return errors.New("acme-tls/1 is not offered")
}

// config is for one handshake. Without a certificate in it crypto/tls sends the
// alert unrecognized_name.
func config(dir, serverName string) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{alpn.Protocol},
		SessionTicketsDisabled: true,
		CipherSuites: []uint16{ // of TLS 1.2; 1.3 has only such
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
	if pair, err := readPair(dir, serverName); err == nil {
		c.Certificates = []tls.Certificate{*pair}
	}
	return c
}

func readPair(dir, serverName string) (*tls.Certificate, error) {
	d, err := alpn.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Pair(serverName)
}
