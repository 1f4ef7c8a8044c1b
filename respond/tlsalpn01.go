package respond

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"arid/alpn"
)

// ServeTLSALPN01 is Serve for tls-alpn-01 alone, on one listener.
func ServeTLSALPN01(ctx context.Context, l net.Listener, dir string) error {
	return Serve(ctx, []net.Listener{l}, Options{ALPN: dir})
}

// Alerts (RFC 8446 §6).
const (
	unrecognizedName      = 112
	noApplicationProtocol = 120
)

// tls answers a CA, and sends all others to the backend or away.
func (r *responder) tls(ctx context.Context, p *peer) error {
	h := readHello(ctx, p)
	switch {
	case h.gone:
		r.tell(p, "refused: cut off before its ClientHello had come")
	case h.info != nil && slices.Equal(h.info.SupportedProtos, []string{alpn.Protocol}):
		return r.validate(ctx, p, h.info.ServerName)
	case r.Backend != "":
		return r.forward(ctx, p)
	case h.info == nil:
		p.Write(h.alert) // crypto/tls knows what is wrong
		r.tell(p, "refused: no good ClientHello: %v", h.err)
	default:
		// crypto/tls would serve a client that offers no protocol at all.
		refuse(p, noApplicationProtocol)
		r.tell(p, "refused: offers %.200s, and %s alone is answered", fmt.Sprintf("%q", h.info.SupportedProtos), alpn.Protocol)
	}
	return nil
}

// hello is what a TLS client said first.
type hello struct {
	info  *tls.ClientHelloInfo // nil: nothing that crypto/tls understands
	err   error                // why
	alert []byte               // what it says to that
	gone  bool                 // the client was cut off before it had said it all
}

var errRead = errors.New("read")

// readHello reads ahead only: the ClientHello can be read again, or handed on.
func readHello(ctx context.Context, p *peer) hello {
	var h hello
	ahead := &lookahead{peer: p}
	server := tls.Server(ahead, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			h.info = info
			return nil, errRead
		},
	})
	h.err = server.HandshakeContext(ctx)
	h.alert = ahead.said.Bytes()
	h.gone = ahead.err != nil && ahead.err != io.EOF && ahead.err != bufio.ErrBufferFull
	return h
}

// lookahead reads what comes without taking it, maxHello bytes at most, and keeps
// what is said.
type lookahead struct {
	*peer
	at   int
	err  error
	said bytes.Buffer
}

func (l *lookahead) Read(b []byte) (int, error) {
	if _, l.err = l.ahead.Peek(l.at + 1); l.err != nil {
		return 0, l.err
	}
	got, err := l.ahead.Peek(l.ahead.Buffered())
	n := copy(b, got[l.at:])
	l.at += n
	return n, err
}

func (l *lookahead) Write(b []byte) (int, error) { return l.said.Write(b) }
func (l *lookahead) Close() error                { return nil }

// refuse sends one fatal alert; the connection is closed after it.
func refuse(c net.Conn, description byte) {
	const alert, fatal = 21, 2
	c.Write([]byte{alert, 3, 3, 0, 2, fatal, description})
}

// validate does the handshake with somebody who offers acme-tls/1 alone, as a CA
// must (RFC 8737 §3).
func (r *responder) validate(ctx context.Context, p *peer, serverName string) error {
	if serverName == "" {
		refuse(p, unrecognizedName)
		r.tell(p, "tls-alpn-01: refused: asks for no name")
		return nil
	}
	pair, err := r.pair(serverName)
	if err != nil && r.Fallback == nil {
		refuse(p, unrecognizedName)
		return r.noPair(p, serverName, err)
	}
	if err != nil {
		pair = r.Fallback
	}
	p.SetDeadline(p.begin.Add(handshakeTime))
	s := tls.Server(p, config(pair))
	switch shakeErr := s.HandshakeContext(ctx); {
	case shakeErr != nil:
		r.tell(p, "tls-alpn-01: %q was shown its certificate, and ended: %v", serverName, shakeErr)
	case err != nil:
		s.Close() // tells the peer
		return r.noPair(p, serverName, err)
	default:
		s.Close()
		r.tell(p, "tls-alpn-01: answered %q", serverName)
	}
	return nil
}

// noPair says why there is no pair; what is no fault of the peer's is returned.
func (r *responder) noPair(p *peer, serverName string, err error) error {
	var ours *DirError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENAMETOOLONG):
		r.tell(p, "tls-alpn-01: refused %.255q: there is no pair for it", serverName)
	default:
		r.tell(p, "tls-alpn-01: refused: %v", err)
	}
	return nil
}

// config is for one handshake.
func config(pair *tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{*pair},
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{alpn.Protocol},
		SessionTicketsDisabled: true,
		CipherSuites: []uint16{ // of TLS 1.2; 1.3 has only such
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// pair is what to show for a name. What is no fault of who asks is a *DirError.
func (r *responder) pair(serverName string) (*tls.Certificate, error) {
	if pair := r.Proofs.pair(serverName); pair != nil {
		return pair, nil
	}
	if r.ALPN == "" {
		return nil, fs.ErrNotExist
	}
	return readPair(r.ALPN, serverName)
}

// readPair reads the pair for a name. What is no fault of who asks is a *DirError.
func readPair(dir, serverName string) (*tls.Certificate, error) {
	d, err := alpn.Open(dir)
	if err != nil {
		return nil, &DirError{Type: "tls-alpn-01", Name: serverName, Dir: dir, Err: err}
	}
	defer d.Close()
	pair, err := d.Pair(serverName)
	if fault(err) {
		return nil, &DirError{Type: "tls-alpn-01", Name: serverName, Dir: dir, Err: err, More: "the certificate is " + d.Modes(serverName)}
	}
	return pair, err
}
