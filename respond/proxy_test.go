package respond

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestParsePeers(t *testing.T) {
	tests := []struct {
		words string
		peer  string
		want  bool
	}{
		{"192.0.2.1", "192.0.2.1:1", true},
		{"192.0.2.1", "192.0.2.2:1", false},
		{"192.0.2.0/24", "192.0.2.255:1", true},
		{"192.0.2.7/24", "192.0.2.255:1", true},
		{"192.0.2.0/24", "192.0.3.0:1", false},
		{"192.0.2.1", "[::ffff:192.0.2.1]:1", true}, // a listener of both families
		{"2001:db8::/32", "[2001:db8:1::1]:1", true},
		{"2001:db8::/32", "[2001:db9::1]:1", false},
		{"fe80::/10", "[fe80::1%lo]:1", true},
		{"0.0.0.0/0", "[2001:db8::1]:1", false},
		{"::1 192.0.2.1", "192.0.2.1:1", true},
		{"unix", "192.0.2.1:1", false},
		{"", "127.0.0.1:1", false},
	}
	for _, tt := range tests {
		peers, err := ParsePeers(strings.Fields(tt.words))
		if err != nil {
			t.Errorf("%q: %v", tt.words, err)
			continue
		}
		addr, err := net.ResolveTCPAddr("tcp", tt.peer)
		if err != nil {
			t.Fatal(err)
		}
		if got := peers.has(addr); got != tt.want {
			t.Errorf("%q has %s: %v", tt.words, tt.peer, got)
		}
	}
	for _, bad := range []string{"", "localhost", "192.0.2.0/33", "192.0.2", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120", "fe80::1%lo", "192.0.2.1:443", "/8"} {
		if _, err := ParsePeers([]string{bad}); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	unix, err := ParsePeers([]string{"unix"})
	if err != nil || !unix.has(&net.UnixAddr{Name: "@", Net: "unix"}) {
		t.Errorf("unix: %v", err)
	}
}

// v2 is a header of version 2.
func v2(command, family byte, rest string) string {
	length := binary.BigEndian.AppendUint16(nil, uint16(len(rest)))
	return signatures[1] + string([]byte{command, family}) + string(length) + rest
}

const (
	v4Block = "\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x67\x01\xbb" // 192.0.2.7:4711 to 127.0.0.1:443
	v6Block = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x12\x67\x01\xbb"
)

// What a header may be, from those who must send one.
func TestProxyHeader(t *testing.T) {
	dir := alpnDir(t, "example.org")
	const (
		answered = `: tls-alpn-01: answered "example.org"`
		noGood   = "127.0.0.1 sent no good PROXY header: "
	)
	tests := []struct {
		what, header string
		want         string // what is told, "*" for the client's own address
	}{
		{"v1 TCP4", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n", "192.0.2.7:4711" + answered},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "[2001:db8::7]:4711" + answered},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", "*" + answered},
		{"v1 UNKNOWN with more", "PROXY UNKNOWN some thing\r\n", "*" + answered},
		{"v1, the longest", "PROXY UNKNOWN " + strings.Repeat("x", 107-16) + "\r\n", "*" + answered},
		{"v1, too long", "PROXY UNKNOWN " + strings.Repeat("x", 108-16) + "\r\n", noGood},
		{"v1, a line feed alone", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\n", noGood},
		{"v1, no address", "PROXY TCP4 example.org 127.0.0.1 4711 443\r\n", noGood},
		{"v1, one family's address under the other's name", "PROXY TCP4 2001:db8::7 ::1 4711 443\r\n", noGood},
		{"v1, a port too large", "PROXY TCP4 192.0.2.7 127.0.0.1 65536 443\r\n", noGood},
		{"v1, another protocol", "PROXY UDP4 192.0.2.7 127.0.0.1 4711 443\r\n", noGood},
		{"v1, lower case", "proxy TCP4 192.0.2.7 127.0.0.1 4711 443\r\n", "127.0.0.1 must speak the PROXY protocol (--proxy-from), and does not"},
		{"v2 IPv4", v2(0x21, 0x11, v4Block), "192.0.2.7:4711" + answered},
		{"v2 IPv6", v2(0x21, 0x21, v6Block), "[2001:db8::7]:4711" + answered},
		{"v2 with more to it", v2(0x21, 0x11, v4Block+"\x03\x00\x04\x00\x00\x00\x00"), "192.0.2.7:4711" + answered},
		{"v2 LOCAL", v2(0x20, 0x00, ""), "*" + answered},
		{"v2 LOCAL with an address", v2(0x20, 0x11, v4Block), "*" + answered},
		{"v2 of a Unix socket", v2(0x21, 0x31, "/run/x"+strings.Repeat("\x00", 210)), "local" + answered},
		{"v2 unspecified", v2(0x21, 0x00, ""), "*" + answered},
		{"v2 unspecified with more to it", v2(0x21, 0x00, "\x04\x00\x01\x00"), "*" + answered},
		{"v2, the longest", v2(0x21, 0x11, v4Block+"\x04"+"\x0f\xf1"+strings.Repeat("\x00", 4096-12-3)), "192.0.2.7:4711" + answered},
		{"v2, too long", v2(0x21, 0x11, v4Block+strings.Repeat("\x00", 4096)), noGood},
		{"v2 unspecified, too long", v2(0x21, 0x00, strings.Repeat("\x00", 4097)), noGood},
		{"v2, too short for its addresses", v2(0x21, 0x11, v4Block[:11]), noGood},
		{"v2, another command", v2(0x22, 0x11, v4Block), noGood},
		{"v2, another version", v2(0x31, 0x11, v4Block), noGood},
		{"v2, an unknown family", v2(0x21, 0x41, v4Block), noGood},
		{"none", "", "127.0.0.1 must speak the PROXY protocol (--proxy-from), and does not"},
		{"two", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\nPROXY TCP4 192.0.2.8 127.0.0.1 4711 443\r\n", "127.0.0.1 handed on a second PROXY header, of its client's"},
		{"two, the other of v2", "PROXY UNKNOWN\r\n" + v2(0x21, 0x11, v4Block), "127.0.0.1 handed on a second PROXY header, of its client's"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			var told notes
			address, stop := start(t, Options{ALPN: dir, ProxyFrom: peers(t, "127.0.0.0/8"), Tell: told.tell})
			c := dial(t, address)
			defer c.Close()
			io.WriteString(c, tt.header)
			err := tls.Client(c, as("example.org", "acme-tls/1")).Handshake()
			if good := strings.HasSuffix(tt.want, answered); good != (err == nil) {
				t.Errorf("handshake: %v", err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			want := strings.Replace(tt.want, "*", c.LocalAddr().String(), 1)
			if got := told.String(); got != want && !(want == noGood && strings.HasPrefix(got, want)) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}

// A header may come in pieces, as may all that comes by TCP; a message of the library's is
// told without its name.
func TestProxyHeaderInPieces(t *testing.T) {
	dir := alpnDir(t, "example.org")
	for _, header := range []string{"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n", v2(0x21, 0x11, v4Block), v2(0x21, 0x00, "\x04\x00\x01\x00")} {
		var told notes
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address, stop := startOn(t, inPieces{l}, Options{ALPN: dir, ProxyFrom: peers(t, "127.0.0.0/8"), Tell: told.tell})
		c := dial(t, address)
		io.WriteString(c, header)
		if err := tls.Client(c, as("example.org", "acme-tls/1")).Handshake(); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		c.Close()
		if err := stop(); err != nil || told.troubles() {
			t.Errorf("%q: %v, told %q", header, err, told.String())
		}
	}
	var told notes
	address, stop := start(t, Options{ALPN: dir, ProxyFrom: peers(t, "127.0.0.0/8"), Tell: told.tell})
	// Cut off in the middle, whose errors have ports in them: told once all the same,
	// the first or the second.
	for _, header := range []string{"PROXY SCTP\r\n", "PROXY TCP4 192.0.2.7", v2(0x21, 0x11, v4Block)[:13], v2(0x21, 0x11, v4Block)[:20]} {
		c := dial(t, address)
		io.WriteString(c, header)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	err := stop()
	text, begins := strings.CutPrefix(told.String(), "127.0.0.1 sent no good PROXY header: ")
	if err != nil || !begins || strings.Contains(text, "\n") || strings.Contains(text, "proxyproto") {
		t.Errorf("%v, told %q", err, told.String())
	}
}

// inPieces is a listener whose connections are read a byte at a time.
type inPieces struct{ net.Listener }

func (l inPieces) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return aByte{c}, err
}

type aByte struct{ net.Conn }

func (c aByte) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 1)]) }

// Who is not in the list, and who need not speak it.
func TestProxyPeers(t *testing.T) {
	dir := alpnDir(t, "example.org")
	const header = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"
	for _, tt := range []struct {
		what, from string
		optional   bool
		header     string
		answered   bool
		trouble    bool
	}{
		{"a stranger without", "192.0.2.0/24", false, "", true, false},
		{"a stranger with v1", "192.0.2.0/24", false, header, false, true},
		{"a stranger with v2", "192.0.2.0/24", false, v2(0x21, 0x11, v4Block), false, true},
		{"nobody may: v1", "", false, header, false, true},
		{"nobody may: v2 LOCAL", "", false, v2(0x20, 0, ""), false, true},
		{"one who may, and does", "127.0.0.1", true, header, true, false},
		{"one who may, and does not", "127.0.0.1", true, "", true, false},
		{"one who must, and does", "127.0.0.1", false, header, true, false},
		{"one who must, and does not", "127.0.0.1", false, "", false, true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var told notes
			address, stop := start(t, Options{ALPN: dir, ProxyFrom: peers(t, strings.Fields(tt.from)...), ProxyOptional: tt.optional, Tell: told.tell})
			c := dial(t, address)
			defer c.Close()
			io.WriteString(c, tt.header)
			if err := tls.Client(c, as("example.org", "acme-tls/1")).Handshake(); (err == nil) != tt.answered {
				t.Errorf("handshake: %v", err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if told.troubles() != tt.trouble {
				t.Errorf("told %q", told.String())
			}
		})
	}
}

// A health check connects, may send a header of its own, and goes: nobody is woken.
func TestProxyHealthChecks(t *testing.T) {
	var told notes
	address, stop := start(t, Options{ALPN: t.TempDir(), ProxyFrom: peers(t, "127.0.0.1"), Tell: told.tell})
	for _, header := range []string{"", "PROXY UNKNOWN\r\n", v2(0x20, 0, ""), "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"} {
		c := dial(t, address)
		io.WriteString(c, header)
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			t.Errorf("%q: %q, %v", header, got, err)
		}
		c.Close()
	}
	if err := stop(); err != nil || told.String() != "" {
		t.Errorf("%v, told %q", err, told.String())
	}
}

// The same trouble is said once, whoever calls it forth.
func TestTroubleIsToldOnceAMinute(t *testing.T) {
	var told notes
	address, stop := start(t, Options{ALPN: t.TempDir(), Tell: told.tell})
	for i := range 20 {
		c := dial(t, address)
		fmt.Fprintf(c, "PROXY TCP4 192.0.2.%d 127.0.0.1 4711 443\r\n", i)
		io.Copy(io.Discard, c)
		c.Close()
	}
	if err := stop(); err != nil || told.String() != "127.0.0.1 speaks the PROXY protocol, and is not in --proxy-from" {
		t.Errorf("%v, told %q", err, told.String())
	}
	var remembered troubles
	for i := range 1000 {
		remembered.isNew(errors.New(fmt.Sprint(i)))
	}
	if n := len(remembered.told); n > 100 {
		t.Errorf("%d troubles are remembered", n)
	}
}

func peers(t *testing.T, words ...string) Peers {
	t.Helper()
	p, err := ParsePeers(words)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// notes are what was told.
type notes struct {
	mu    sync.Mutex
	lines []string
	bad   bool
}

func (n *notes) tell(text string, trouble error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, text)
	n.bad = n.bad || trouble != nil
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

func (n *notes) troubles() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad
}

// start serves on a port of 127.0.0.1. stop ends it, after all that is open.
func start(t *testing.T, o Options) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, l, o)
}

func startOn(t *testing.T, l net.Listener, o Options) (address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, []net.Listener{l}, o) }()
	return l.Addr().String(), func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("not ended 10 s after its context")
		}
	}
}

// FuzzFirstBytes sends anything before, and in the place of, a ClientHello: the
// backend gets just what was sent, or nothing, and never a PROXY header of a stranger's.
func FuzzFirstBytes(f *testing.F) {
	dir := f.TempDir()
	for _, seed := range []string{
		"", "\x16", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\x16\x03\x01\x40\x00", "GET / HTTP/1.1\r\n\r\n", "GET /.well-known/acme-challenge/x HTTP/1.1\r\n\r\n",
		"HEAD /.well-known/acme-", "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\nhello", "PROXY", v2(0x21, 0x11, v4Block) + "hello", v2(0x21, 0, "\x04\x00\x01\x00") + "\x16\x03",
		"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n", "SSH-2.0-x\r\n", clientHello(f, "example.org", "acme-tls/1"), clientHello(f, "example.org", "h2"), clientHello(f, "example.org"),
		strings.Repeat("\x16\x03\x01\x00\x01\x01", 5000), "\r\n\r\n\x00\r\nQUIT\n",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, sent []byte, proxy bool) {
		var got bytes.Buffer
		backend, wait := sink(t, &got)
		o := Options{ALPN: dir, HTTP: dir, Backend: backend}
		if proxy {
			o.ProxyFrom, o.ProxyOptional = peers(t, "127.0.0.1"), true
		}
		address, stop := start(t, o)
		c := dial(t, address)
		go func() {
			c.Write(sent)
			c.(*net.TCPConn).CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("held on to")
		}
		c.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
		wait()
		if got.Len() > 0 && !bytes.HasSuffix(sent, got.Bytes()) || !proxy && got.Len() > 0 && !bytes.Equal(sent, got.Bytes()) {
			t.Errorf("sent %q, and the backend got %q", sent, got.Bytes())
		}
		if b := got.String(); strings.HasPrefix(b, signatures[0]) || strings.HasPrefix(b, signatures[1]) {
			t.Errorf("the backend got a PROXY header: %q", b)
		}
	})
}

// clientHello is what a TLS client says first.
func clientHello(t testing.TB, serverName string, protocols ...string) string {
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, as(serverName, protocols...)).Handshake()
	buf := make([]byte, 16<<10)
	n, err := here.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// sink is a backend that keeps what it gets. wait ends it.
func sink(t testing.TB, got io.Writer) (address string, wait func()) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(got, c)
			c.Close()
		}
	}()
	return l.Addr().String(), func() {
		l.Close()
		<-done
	}
}
