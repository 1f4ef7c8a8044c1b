package fakeca

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"sync"
	"time"
)

// serverTLS is the CA's own TLS: a root of its own and what it serves.
type serverTLS struct {
	root *x509.Certificate

	mu      sync.Mutex
	serving tls.Certificate
	max     uint16 // highest version, 0 for no limit
	silent  bool   // handshakes are never answered
	ca      signer
	done    <-chan struct{}
}

func newServerTLS(done <-chan struct{}) (*serverTLS, error) {
	root, err := newRoot("Fake TLS Root")
	if err != nil {
		return nil, err
	}
	s := &serverTLS{root: root.cert, ca: root, done: done}
	s.serving, err = s.certificate(time.Now().Add(-time.Hour), time.Now().Add(10*365*24*time.Hour), "127.0.0.1", "localhost")
	return s, err
}

func (s *serverTLS) certificate(from, until time.Time, names ...string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		addName(t, n)
	}
	leaf, err := sign(t, key, s.ca)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: key, Leaf: leaf.cert}, nil
}

func (s *serverTLS) config() *tls.Config {
	var base *tls.Config
	base = &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			c := s.serving
			return &c, nil
		},
	}
	base.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		silent, max := s.silent, s.max
		s.mu.Unlock()
		if silent {
			<-s.done
			return nil, net.ErrClosed
		}
		if max == 0 {
			return nil, nil
		}
		return &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: max, GetCertificate: base.GetCertificate}, nil
	}
	return base
}

// serve replaces the certificate shown from now on.
func (s *serverTLS) serve(from, until time.Time, names ...string) {
	c, err := s.certificate(from, until, names...)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	s.serving = c
	s.mu.Unlock()
}

// ExpiredTLS makes the CA's own TLS certificate one that ended yesterday.
func (ca *CA) ExpiredTLS() *CA {
	now := time.Now()
	ca.tls.serve(now.Add(-48*time.Hour), now.Add(-24*time.Hour), "127.0.0.1", "localhost")
	return ca
}

// WrongNameTLS makes the CA's own TLS certificate one for another host.
func (ca *CA) WrongNameTLS() *CA {
	ca.tls.serve(time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), "elsewhere.example", net.IPv4(192, 0, 2, 1).String())
	return ca
}

// OldTLS lets the CA speak TLS 1.1 at most.
func (ca *CA) OldTLS() *CA {
	ca.tls.mu.Lock()
	defer ca.tls.mu.Unlock()
	ca.tls.max = tls.VersionTLS11
	return ca
}

// SilentTLS accepts connections and never answers a handshake.
func (ca *CA) SilentTLS() *CA {
	ca.tls.mu.Lock()
	defer ca.tls.mu.Unlock()
	ca.tls.silent = true
	return ca
}
