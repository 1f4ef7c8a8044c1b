package respond

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"arid/alpn"
)

const keyAuth = token + ".thumbprint"

// alpnDir is a directory with pairs for these names.
func alpnDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	d, _, err := alpn.OpenDir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range names {
		if err := d.Put(name, keyAuth, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// as is what a CA's client hello says (RFC 8737 §3), and what others say.
func as(serverName string, protocols ...string) *tls.Config {
	return &tls.Config{ServerName: serverName, NextProtos: protocols, InsecureSkipVerify: true}
}

func TestServeTLSALPN01(t *testing.T) {
	dir := alpnDir(t, "example.org", "www.example.org", "127.0.0.1", "::1", "2001:db8::1")
	for _, err := range []error{
		os.Symlink("example.org.crt.pem", filepath.Join(dir, "link.example.crt.pem")),
		os.Symlink("example.org.key.pem", filepath.Join(dir, "link.example.key.pem")),
		syscall.Mkfifo(filepath.Join(dir, "fifo.example.crt.pem"), 0o644),
		copyFile(dir+"/example.org.crt.pem", dir+"/other.example.crt.pem"),
		copyFile(dir+"/example.org.key.pem", dir+"/other.example.key.pem"),
		copyFile(dir+"/example.org.crt.pem", dir+"/half.example.crt.pem"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	address, stop := serveTLS(t, dir)
	const (
		noProtocol = "no application protocol" // alert 120
		noName     = "unrecognized name"       // alert 112
	)
	tests := []struct {
		what   string
		client *tls.Config
		alert  string // "" = a certificate for the name
	}{
		{"a CA", as("example.org", "acme-tls/1"), ""},
		{"another name", as("www.example.org", "acme-tls/1"), ""},
		{"upper case", as("WWW.Example.ORG", "acme-tls/1"), ""},
		{"IPv4", as("1.0.0.127.in-addr.arpa", "acme-tls/1"), ""},
		{"IPv6 loopback", as(alpn.ServerName("::1"), "acme-tls/1"), ""},
		{"IPv6", as(alpn.ServerName("2001:db8::1"), "acme-tls/1"), ""},
		{"more than a CA may offer", as("example.org", "h2", "acme-tls/1"), noProtocol},
		{"more after it", as("example.org", "acme-tls/1", "h2"), noProtocol},
		{"it twice", as("example.org", "acme-tls/1", "acme-tls/1"), noProtocol},
		{"h2", as("example.org", "h2"), noProtocol},
		{"http/1.1", as("example.org", "http/1.1"), noProtocol},
		{"a protocol with a longer name", as("example.org", "acme-tls/1.1"), noProtocol},
		{"no protocol", as("example.org"), noProtocol},
		{"no protocol, no name", as(""), noProtocol},
		{"no name", as("", "acme-tls/1"), noName},
		{"an unknown name", as("example.com", "acme-tls/1"), noName},
		{"a path", as("../example.org", "acme-tls/1"), noName},
		{"a NUL", as("example.org\x00", "acme-tls/1"), noName},
		{"300 characters", as(strings.Repeat("l.", 150)+"example", "acme-tls/1"), noName},
		{"a certificate for another name", as("other.example", "acme-tls/1"), noName},
		{"a certificate without a key", as("half.example", "acme-tls/1"), noName},
		{"links", as("link.example", "acme-tls/1"), noName},
		{"a FIFO", as("fifo.example", "acme-tls/1"), noName},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			tt.client.MinVersion, tt.client.MaxVersion = version, version
			c := tls.Client(dial(t, address), tt.client)
			err := c.Handshake()
			if tt.alert != "" {
				var alert tls.AlertError
				if err == nil || !strings.HasSuffix(err.Error(), "remote error: tls: "+tt.alert) || errors.As(err, &alert) {
					t.Errorf("%s, TLS %#x: %v, want %s", tt.what, version, err, tt.alert)
				}
			} else if err != nil {
				t.Errorf("%s, TLS %#x: %v", tt.what, version, err)
			} else {
				validates(t, c.ConnectionState(), tt.client.ServerName)
				if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("%s: not closed: %d, %v", tt.what, n, err)
				}
			}
			c.Close()
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stopped by its context: %v, want nil", err)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// validates fails the test unless a CA would be content (RFC 8737 §3).
func validates(t *testing.T, s tls.ConnectionState, serverName string) {
	t.Helper()
	digest := sha256.Sum256([]byte(keyAuth))
	leaf := s.PeerCertificates[0]
	var name string
	for _, n := range leaf.DNSNames {
		name += n
	}
	for _, ip := range leaf.IPAddresses {
		name += alpn.ServerName(ip.String())
	}
	found := false
	for _, e := range leaf.Extensions {
		found = found || e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical && bytes.Equal(e.Value, append([]byte{4, 32}, digest[:]...))
	}
	if s.NegotiatedProtocol != "acme-tls/1" || name != strings.ToLower(serverName) || !found || len(s.PeerCertificates) != 1 {
		t.Errorf("%s: %q, %s, %v", serverName, s.NegotiatedProtocol, name, leaf.Extensions)
	}
}

// crypto/tls would add an alert of its own, and serve those who offer nothing.
func TestServeTLSALPN01RefusesInOneAlert(t *testing.T) {
	address, stop := serveTLS(t, alpnDir(t, "example.org"))
	defer stop()
	for _, protocols := range [][]string{nil, {"h2"}} {
		c := dial(t, address)
		var seen bytes.Buffer
		tls.Client(tee{c, &seen}, as("example.org", protocols...)).Handshake()
		io.Copy(&seen, c)
		c.Close()
		if got := seen.String(); got != "\x15\x03\x03\x00\x02\x02\x78" {
			t.Errorf("%q: %x", protocols, got)
		}
	}
}

// tee keeps what is read.
type tee struct {
	net.Conn
	seen io.Writer
}

func (c tee) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen.Write(p[:n])
	return n, err
}

// What is spoken: 1.2 at least, with AEAD only, and nothing that outlives the handshake.
func TestServeTLSALPN01Parameters(t *testing.T) {
	address, stop := serveTLS(t, alpnDir(t, "example.org"))
	defer stop()
	for _, tt := range []struct {
		what   string
		change func(c *tls.Config)
		err    string
	}{
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "protocol version not supported"},
		{"CBC", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		}, "handshake failure"},
		{"ChaCha20", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		}, ""},
		{"a client's certificate", func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				t.Error("asked for a certificate")
				return &tls.Certificate{}, nil
			}
		}, ""},
	} {
		client := as("example.org", "acme-tls/1")
		tt.change(client)
		c := tls.Client(dial(t, address), client)
		if err := c.Handshake(); tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.err)) {
			t.Errorf("%s: %v", tt.what, err)
		}
		c.Close()
	}
	client := as("example.org", "acme-tls/1")
	client.ClientSessionCache = sessions{t}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client.MinVersion, client.MaxVersion = version, version
		c := tls.Client(dial(t, address), client)
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, c)
		c.Close()
	}
}

// sessions is a cache that wants to be empty.
type sessions struct{ t *testing.T }

func (s sessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (s sessions) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		s.t.Error("got a ticket")
	}
}

func TestServeTLSALPN01ReadsAtEachHandshake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	address, stop := serveTLS(t, dir)
	defer stop()
	handshake := func() error {
		c := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
		defer c.Close()
		return c.Handshake()
	}
	if err := handshake(); err == nil {
		t.Error("no directory, and an answer")
	}
	d, _, err := alpn.OpenDir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Put("example.org", keyAuth, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := handshake(); err != nil {
		t.Error(err)
	}
	if err := d.Remove("example.org"); err != nil {
		t.Fatal(err)
	}
	if err := handshake(); err == nil {
		t.Error("removed, and an answer")
	}
}

// What is no TLS must end neither the server nor the next peer's handshake.
func TestServeTLSALPN01OutlivesBadPeers(t *testing.T) {
	address, stop := serveTLS(t, alpnDir(t, "example.org"))
	for _, sent := range []string{
		"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x05hello", "\x15\x03\x03\x00\x02\x02\x28",
		"\x16\x03\x01\x00\x04\x01\xff\xff\xff", strings.Repeat("\x16\x03\x01\x00\x01\x01", 1000), strings.Repeat("x", 1<<20),
	} {
		c := dial(t, address)
		io.WriteString(c, sent) // it may be cut off
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: held on to", sent)
		}
		c.Close()
	}
	c := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
	if err := c.Handshake(); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// pipes is a listener whose peers are in this process, so that time is the test's.
type pipes struct {
	peers chan net.Conn
	fail  []error // what Accept says first
	end   chan struct{}
}

func newPipes(fail ...error) *pipes {
	return &pipes{make(chan net.Conn), fail, make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	if len(p.fail) > 0 {
		err := p.fail[0]
		p.fail = p.fail[1:]
		return nil, err
	}
	select {
	case c := <-p.peers:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.end:
	default:
		close(p.end)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// dial returns nil when nobody accepts.
func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	synctest.Wait()
	select {
	case p.peers <- there:
		return here
	default:
		return nil
	}
}

func TestServeTLSALPN01CutsOffSlowPeers(t *testing.T) {
	dir := alpnDir(t, "example.org")
	for _, tt := range []struct {
		what string
		peer func(c net.Conn)
		want time.Duration
	}{
		{"says nothing", func(net.Conn) {}, 3 * time.Second},
		{"a byte each second", func(c net.Conn) {
			for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 3 * time.Second},
		{"goes silent after its hello", func(c net.Conn) {
			client := tls.Client(halfDuplex{c}, as("example.org", "acme-tls/1"))
			client.Handshake()
		}, 10 * time.Second},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := newPipes()
				ended := make(chan error, 1)
				go func() { ended <- ServeTLSALPN01(ctx, l, dir) }()
				c := l.dial()
				begin := time.Now()
				var peer sync.WaitGroup
				peer.Go(func() { tt.peer(c) })
				io.Copy(io.Discard, c)
				if took := time.Since(begin); took != tt.want {
					t.Errorf("held for %s, want %s", took, tt.want)
				}
				c.Close()
				peer.Wait()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// halfDuplex sends and does not listen.
type halfDuplex struct{ net.Conn }

func (h halfDuplex) Read([]byte) (int, error) { return 0, io.EOF }
func (h halfDuplex) Close() error             { return nil }

// However many connect and are silent, there is room for one more.
func TestTheOldestMakesRoom(t *testing.T) {
	dir := alpnDir(t, "example.org")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		ended := make(chan error, 1)
		var told []string
		go func() {
			ended <- Serve(ctx, []net.Listener{l}, Options{ALPN: dir, Tell: func(text string, trouble error) {
				if trouble != nil {
					told = append(told, text)
				}
			}})
		}()
		answers, _ := limits()
		var silent []net.Conn
		for range 2 * answers {
			silent = append(silent, l.dial())
		}
		synctest.Wait()
		for i, c := range silent {
			c.SetReadDeadline(time.Now().Add(time.Nanosecond))
			_, err := c.Read(make([]byte, 1))
			if closed := err == io.EOF; closed != (i < answers) {
				t.Fatalf("connection %d of %d, %d may be held: %v", i, len(silent), answers, err)
			}
		}
		client := tls.Client(l.dial(), as("example.org", "acme-tls/1"))
		if err := client.Handshake(); err != nil {
			t.Error(err)
		}
		client.Close()
		if want := []string{fmt.Sprintf("%d connections at once are silent or unfinished, which is the limit; as more come, the oldest are cut off", answers)}; !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
		// Those who are silent at the end are waited for, but not for long.
		l.dial()
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(begin) != time.Second {
			t.Errorf("ended after %s: %v", time.Since(begin), err)
		}
	})
}

// The end waits a second for a handshake that is going on.
func TestServeTLSALPN01FinishesOpenHandshakes(t *testing.T) {
	dir := alpnDir(t, "example.org")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- ServeTLSALPN01(ctx, l, dir) }()
		c := l.dial()
		synctest.Wait()
		cancel()
		time.Sleep(time.Second / 2)
		if l.dial() != nil {
			t.Error("still accepts")
		}
		client := tls.Client(c, as("example.org", "acme-tls/1"))
		if err := client.Handshake(); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, client)
		client.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		select {
		case <-l.end:
		default:
			t.Error("left open")
		}
	})
}

// temporary is what the kernel says of too many open files, for one.
type temporary struct{ error }

func (temporary) Temporary() bool { return true }

func TestServeTLSALPN01ListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := ServeTLSALPN01(t.Context(), l, t.TempDir()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		l := newPipes(temporary{broken}, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}, syscall.ENOBUFS, broken)
		begin := time.Now()
		if err := ServeTLSALPN01(t.Context(), l, t.TempDir()); !errors.Is(err, broken) || time.Since(begin) != 35*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		select {
		case <-l.end:
		default:
			t.Error("left open")
		}
	})
}

func serveTLS(t *testing.T, dir string) (address string, stop func() error) {
	t.Helper()
	return serveBy(t, dir, ServeTLSALPN01)
}
