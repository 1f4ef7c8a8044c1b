package respond

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"arid/internal/guard"
)

// What is no challenge arrives as it was sent, in whatever pieces.
func TestForwardsUntouched(t *testing.T) {
	dir := alpnDir(t, "example.org")
	for what, sent := range map[string]string{
		"h2":                           clientHello(t, "example.org", "h2", "http/1.1"),
		"no ALPN":                      clientHello(t, "example.org"),
		"no name":                      clientHello(t, "", "h2"),
		"acme-tls/1 and another":       clientHello(t, "example.org", "acme-tls/1", "h2"),
		"another and acme-tls/1":       clientHello(t, "example.org", "h2", "acme-tls/1"),
		"half a ClientHello":           clientHello(t, "example.org", "acme-tls/1")[:80],
		"TLS that is none":             "\x16\x03\x01\x00\x05hello",
		"a ClientHello without end":    strings.Repeat("\x16\x03\x01\x00\x01\x01", 5000),
		"one that is larger than told": "\x16\x03\x01\x3f\xff\x01\x00\xff\xff" + strings.Repeat("x", 70000),
		"HTTP":                         "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
		"HTTP near a challenge":        "GET /.well-known/acme-challeng/x HTTP/1.1\r\n\r\n",
		"HTTP that posts":              "POST /.well-known/acme-challenge/0123456789abcdef HTTP/1.1\r\n\r\n",
		"something else":               "SSH-2.0-OpenSSH_9.2p1\r\n",
		"a byte":                       "P",
		"zeros":                        strings.Repeat("\x00", 100000),
	} {
		for _, size := range []int{1, 1 << 20} {
			if size == 1 && len(sent) > 2000 {
				continue
			}
			t.Run(fmt.Sprintf("%s in pieces of %d", what, size), func(t *testing.T) {
				var got bytes.Buffer
				backend, wait := sink(t, &got)
				address, stop := start(t, Options{ALPN: dir, HTTP: t.TempDir(), Backend: backend})
				c := dial(t, address)
				for rest := sent; rest != ""; rest = rest[min(size, len(rest)):] {
					if _, err := io.WriteString(c, rest[:min(size, len(rest))]); err != nil {
						t.Fatal(err)
					}
				}
				c.(*net.TCPConn).CloseWrite()
				if back, err := io.ReadAll(c); err != nil || len(back) > 0 {
					t.Errorf("got back %q, %v", back, err)
				}
				c.Close()
				if err := stop(); err != nil {
					t.Error(err)
				}
				wait()
				if got.String() != sent {
					t.Errorf("the backend got %d bytes of %d: %.100q", got.Len(), len(sent), got.String())
				}
			})
		}
	}
}

// A whole server behind it, and challenges beside.
func TestForwardsToAServer(t *testing.T) {
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.Proto, len(body))
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	dir := alpnDir(t, "example.org")
	address, stop := start(t, Options{ALPN: dir, Backend: web.Listener.Addr().String()})
	for _, h2 := range []bool{true, false} {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			ForceAttemptHTTP2: h2,
		}}
		resp, err := client.Post("https://"+address, "text/plain", bytes.NewReader(make([]byte, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		client.CloseIdleConnections()
		if want := map[bool]string{true: "HTTP/2.0 1048576", false: "HTTP/1.1 1048576"}[h2]; string(body) != want || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		c := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// http-01 with a server behind: it gets all but the challenges.
func TestHTTP01BeforeAServer(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the server's") }))
	defer web.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, token), keyAuth)
	address, stop := start(t, Options{HTTP: dir, Backend: web.Listener.Addr().String()})
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/" + token:     "200 " + keyAuth,
		"/.well-known/acme-challenge/0123456789ab": "404 not found\n",
		"/":                    "200 the server's",
		"/.well-known/any.txt": "200 the server's",
	} {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The backend is told who the client is: its own address, or what a proxy before us said.
func TestSendProxy(t *testing.T) {
	for _, version := range []int{1, 2} {
		for _, before := range []string{"", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "PROXY UNKNOWN\r\n"} {
			t.Run(fmt.Sprintf("v%d %q", version, before), func(t *testing.T) {
				var got bytes.Buffer
				backend, wait := sink(t, &got)
				o := Options{ALPN: t.TempDir(), Backend: backend, SendProxy: version}
				if before != "" {
					o.ProxyFrom = peers(t, "127.0.0.1")
				}
				address, stop := start(t, o)
				c := dial(t, address)
				io.WriteString(c, before+"hello")
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
				if err := stop(); err != nil {
					t.Error(err)
				}
				wait()
				r := bufio.NewReader(&got)
				header, err := proxyproto.Read(r)
				if err != nil {
					t.Fatal(err)
				}
				rest, _ := io.ReadAll(r)
				want := fmt.Sprint(c.LocalAddr(), " ", c.RemoteAddr())
				switch {
				case strings.Contains(before, "TCP4"):
					want = "192.0.2.7:4711 198.51.100.1:443"
				case strings.Contains(before, "TCP6"):
					want = "[2001:db8::7]:4711 [2001:db8::1]:443"
				}
				if got := fmt.Sprint(header.SourceAddr, " ", header.DestinationAddr); got != want || int(header.Version) != version || string(rest) != "hello" {
					t.Errorf("version %d, %s, then %q; want %s", header.Version, got, rest, want)
				}
			})
		}
	}
}

// While the backend is down, challenges are answered as ever.
func TestBackendDown(t *testing.T) {
	const backend = "127.0.0.1:9" // nobody is there
	var told notes
	address, stop := start(t, Options{ALPN: alpnDir(t, "example.org"), Backend: backend, Tell: told.tell})
	c := dial(t, address)
	io.WriteString(c, "hello")
	if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", got, err)
	}
	c.Close()
	ca := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
	if err := ca.Handshake(); err != nil {
		t.Error(err)
	}
	ca.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(told.String(), "\n") // it is told when the connection is closed, and another may come meanwhile
	if want := "backend " + backend + ": connect: connection refused"; len(lines) != 2 || !slices.Contains(lines, want) {
		t.Errorf("told %q", lines)
	}
}

// A backend that is the responder itself, by whatever name, is asked once.
func TestBackendIsItself(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		backend := net.JoinHostPort(host, port)
		var told notes
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Serve(ctx, []net.Listener{l}, Options{ALPN: "/nonexistent", Backend: backend, Tell: told.tell})
		}()
		c := dial(t, "127.0.0.1:"+port)
		io.WriteString(c, "hello")
		if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v", got, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		lines := strings.Split(told.String(), "\n")
		if want := "backend " + backend + ": is where arid itself listens"; len(lines) > 2 || lines[len(lines)-1] != want {
			t.Errorf("told %.1000q", lines)
		}
	}
}

// A backend that ends first, and one that takes nothing more.
func TestBackendEndsFirst(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "bye")
			c.Close()
		}
	}()
	address, stop := start(t, Options{ALPN: t.TempDir(), Backend: l.Addr().String()})
	c := dial(t, address)
	defer c.Close()
	io.WriteString(c, "hello")
	got, _ := io.ReadAll(c) // reset where "hello" came after the end
	if s := string(got); s != "bye" && s != "" {
		t.Errorf("%q", s)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Nothing is said for ten minutes; what is said begins them anew.
func TestForwardedAndIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := net.Pipe()
		far, backend := net.Pipe()
		touch := func() {
			near.SetDeadline(time.Now().Add(idleTime))
			far.SetDeadline(time.Now().Add(idleTime))
		}
		touch()
		go pass(far, near, touch)
		go pass(near, far, touch)
		begin := time.Now()
		buf := make([]byte, 10)
		for range 3 {
			time.Sleep(9 * time.Minute)
			io.WriteString(client, "x")
			if n, err := backend.Read(buf); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(9 * time.Minute)
			io.WriteString(backend, "y")
			if n, err := client.Read(buf); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		io.Copy(io.Discard, client)
		if took := time.Since(begin); took != 64*time.Minute {
			t.Errorf("closed after %s", took)
		}
		io.Copy(io.Discard, backend)
		client.Close()
		backend.Close()
	})
}

// So many connections are forwarded and no more, and validations go on.
func TestForwardsAreBounded(t *testing.T) {
	var got bytes.Buffer
	backend, wait := sink(t, &got)
	r := newResponder(Options{ALPN: alpnDir(t, "example.org"), Backend: backend})
	r.forwards.max = 4
	var told notes
	r.Tell = told.tell
	handle := func() (client net.Conn, ended chan error) {
		here, there := net.Pipe()
		here.SetDeadline(time.Now().Add(10 * time.Second))
		ended = make(chan error, 1)
		go func() { ended <- r.handle(t.Context(), there) }()
		return here, ended
	}
	var open []net.Conn
	var ends []chan error
	for range 3 {
		c, ended := handle()
		io.WriteString(c, "hello")
		open, ends = append(open, c), append(ends, ended)
	}
	// All are of one source, which gets half.
	var full *ForwardsError
	refused := 0
	for i, ended := range ends {
		if _, err := io.WriteString(open[i], "more"); err != nil {
			if !errors.As(<-ended, &full) {
				t.Error("closed, and no word of why")
			}
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d of 3 refused, want 1", refused)
	}
	c, ended := handle()
	ca := tls.Client(c, as("example.org", "acme-tls/1"))
	if err := ca.Handshake(); err != nil {
		t.Error(err)
	}
	io.Copy(io.Discard, ca)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, c := range open {
		c.Close()
	}
	wait()
}

func TestCounter(t *testing.T) {
	a, b, c := sourceOf(addr("192.0.2.1:1")), sourceOf(addr("192.0.2.2:1")), sourceOf(addr("192.0.2.3:1"))
	n := &counter{max: 5, held: map[source]int{}}
	enter := func(s source, want bool) {
		t.Helper()
		if n.enter(s) != want {
			t.Errorf("%s, with %v: %v", s, n.held, !want)
		}
	}
	enter(a, true)
	enter(a, true)
	enter(a, true)
	enter(a, false)
	enter(b, true)
	enter(b, true)
	enter(c, false)
	n.leave(a)
	enter(c, true)
	n.leave(a)
	n.leave(a)
	n.leave(b)
	n.leave(b)
	n.leave(c)
	if len(n.held) != 0 || n.total != 0 {
		t.Errorf("%v, %d", n.held, n.total)
	}
}

// Whoever has the most loses the oldest; a source of one network is one.
func TestCrowd(t *testing.T) {
	c := &crowd{max: 5}
	var gone []string
	join := func(address string) *peer {
		p := &peer{Conn: &closed{note: func() { gone = append(gone, address) }}, from: addr(address)}
		c.join(p)
		return p
	}
	join("192.0.2.1:1")
	join("[2001:db8::1]:1")
	ended := join("[2001:db8::2]:2")
	join("[2001:db8:0:1::1]:3")
	behind := join("127.0.0.1:4")
	join("198.51.100.1:5") // the first of 2001:db8::/64
	join("198.51.100.1:6") // its second is no more than others have; 198.51.100.1 has the most by then
	join("198.51.100.1:7")
	behind.from = addr("198.51.100.1:44") // as its proxy says
	c.rename(behind)
	join("203.0.113.1:8")
	c.leave(ended)
	join("203.0.113.2:9")
	want := "[2001:db8::1]:1 192.0.2.1:1 198.51.100.1:5 127.0.0.1:4"
	if got := strings.Join(gone, " "); got != want {
		t.Errorf("cut off: %s, want %s", got, want)
	}
}

// closed notes that it was closed.
type closed struct {
	net.Conn
	note func()
}

func (c *closed) Close() error { c.note(); return nil }

func addr(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// 200 that are silent, or slow, of one source with the CA.
func TestManySlowConnections(t *testing.T) {
	address, stop := start(t, Options{ALPN: alpnDir(t, "example.org"), HTTP: t.TempDir()})
	hello := clientHello(t, "example.org", "acme-tls/1")
	for i := range 200 {
		c := dial(t, address)
		defer c.Close()
		io.WriteString(c, []string{"", hello[:1], hello[:100], "GET /", "PROX"}[i%5])
	}
	for range 20 {
		c := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		validates(t, c.ConnectionState(), "example.org")
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// One connection, as under a superserver.
func TestOne(t *testing.T) {
	dir := alpnDir(t, "example.org")
	one := func(o Options, talk func(c net.Conn)) error {
		here, there := net.Pipe()
		here.SetDeadline(time.Now().Add(10 * time.Second))
		ended := make(chan error, 1)
		go func() { ended <- One(t.Context(), there, o) }()
		talk(here)
		here.Close()
		return <-ended
	}
	handshake := func(c net.Conn) {
		s := tls.Client(c, as("example.org", "acme-tls/1"))
		if err := s.Handshake(); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, s)
	}
	if err := one(Options{ALPN: dir}, handshake); err != nil {
		t.Error(err)
	}
	if err := one(Options{ALPN: dir}, func(c net.Conn) { io.WriteString(c, "hello") }); err != nil {
		t.Errorf("a peer's mistake: %v", err)
	}
	var ours *DirError
	missing := filepath.Join(dir, "missing")
	ask := func(c net.Conn) { tls.Client(c, as("example.org", "acme-tls/1")).Handshake() }
	if err := one(Options{ALPN: missing}, ask); !errors.As(err, &ours) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	get := func(c net.Conn) {
		io.WriteString(c, "GET /.well-known/acme-challenge/"+token+" HTTP/1.1\r\nHost: a\r\n\r\n")
		io.Copy(io.Discard, c)
	}
	if err := one(Options{HTTP: missing}, get); !errors.As(err, &ours) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := one(Options{HTTP: dir}, get); err != nil {
		t.Errorf("no token: %v", err)
	}
	var proxy *ProxyError
	if err := one(Options{ALPN: dir}, func(c net.Conn) { io.WriteString(c, "PROXY UNKNOWN\r\n") }); !errors.As(err, &proxy) {
		t.Errorf("a PROXY header: %v", err)
	}
}

// TERM leaves a second, and no more.
func TestOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		here, there := net.Pipe()
		defer here.Close()
		ended := make(chan error, 1)
		go func() { ended <- One(ctx, there, Options{HTTP: "/nonexistent"}) }()
		synctest.Wait()
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(begin) != time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
	})
}

// A file that cannot be read is this host's trouble, and told once with what would
// mend it; a name that nobody has is not.
func TestTroubleOfTheDirectory(t *testing.T) {
	dir := alpnDir(t, "example.org", "www.example.org")
	for _, name := range []string{"example.org", "www.example.org"} {
		key := filepath.Join(dir, name+".key.pem")
		if err := errors.Join(os.Rename(key, key+".real"), os.Symlink(key+".real", key)); err != nil {
			t.Fatal(err)
		}
	}
	var told notes
	address, stop := start(t, Options{ALPN: dir, Tell: told.tell})
	for _, name := range []string{"example.org", "www.example.org", "other.example"} {
		c := tls.Client(dial(t, address), as(name, "acme-tls/1"))
		if err := c.Handshake(); err == nil {
			t.Errorf("%s: answered", name)
		}
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(told.String(), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `tls-alpn-01: no answer for "example.org": "`+dir+`/example.org.key.pem": is not a regular file (the certificate is 0640 `) ||
		!strings.HasSuffix(lines[1], `tls-alpn-01: refused "other.example": there is no pair for it`) {
		t.Errorf("told %q", lines)
	}
}

// The old responder's way, for those who ask for it.
func TestFallback(t *testing.T) {
	d := alpnDir(t, "example.org", "fallback.example")
	pair, err := tls.LoadX509KeyPair(d+"/fallback.example.crt.pem", d+"/fallback.example.key.pem")
	if err != nil {
		t.Fatal(err)
	}
	address, stop := start(t, Options{ALPN: alpnDir(t, "example.org"), Fallback: &pair})
	for name, want := range map[string]string{"example.org": "example.org", "other.example": "fallback.example", "../x": "fallback.example"} {
		c := tls.Client(dial(t, address), as(name, "acme-tls/1"))
		if err := c.Handshake(); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := c.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != want {
			t.Errorf("%s: shown %q", name, got)
		}
		c.Close()
	}
	for _, client := range []*tls.Config{as("", "acme-tls/1"), as("other.example", "h2"), as("other.example")} {
		c := tls.Client(dial(t, address), client)
		if err := c.Handshake(); err == nil {
			t.Errorf("%q %q: answered", client.ServerName, client.NextProtos)
		}
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Several listeners, of both families; the end of one is the end of all.
func TestListen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := alpnDir(t, "example.org")
	var listeners []net.Listener
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::1%lo]:0", ":0"} {
		l, err := Listen(ctx, address)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		listeners = append(listeners, l)
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listeners, Options{ALPN: dir}) }()
	_, port, _ := net.SplitHostPort(listeners[3].Addr().String())
	for _, address := range []string{listeners[0].Addr().String(), listeners[1].Addr().String(), listeners[2].Addr().String(), "127.0.0.1:" + port, "[::1]:" + port} {
		c := tls.Client(dial(t, address), as("example.org", "acme-tls/1"))
		if err := c.Handshake(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		c.Close()
	}
	// One family does not take the other's port.
	for _, pair := range [][2]string{{"0.0.0.0", "[::]"}, {"[::]", "0.0.0.0"}} {
		first, err := Listen(ctx, pair[0]+":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(first.Addr().String())
		second, err := Listen(ctx, pair[1]+":"+port)
		if err != nil {
			t.Errorf("%s after %s: %v", pair[1], pair[0], err)
		} else {
			second.Close()
		}
		first.Close()
	}
	listeners[2].Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", listeners[0].Addr().String()); err == nil {
		c.Close()
		t.Error("others are still open")
	}
	for _, bad := range []string{"", "443", ":", ":x", ":65536", "localhost:443", "127.0.0.1", "::1:443x", "[::1]", "127.0.0.1:https", "1.2.3:4"} {
		_, err := Listen(ctx, bad)
		if e := (*AddrError)(nil); !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What stands on descriptor 0.
func TestStandard(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listening, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	c := dial(t, l.Addr().String())
	defer c.Close()
	connected, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	if got, conn, err := Standard(listening); err != nil || conn != nil || got.Addr().String() != l.Addr().String() {
		t.Errorf("%v, %v, %v", got, conn, err)
	}
	if got, conn, err := Standard(connected); err != nil || got != nil || conn.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("%v, %v, %v", got, conn, err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, none := range []any{file, strings.NewReader(""), nil} {
		if _, _, err := Standard(none); err != ErrNoSocket {
			t.Errorf("%T: %v", none, err)
		}
	}
}

func TestFindUser(t *testing.T) {
	for _, tt := range []struct {
		user, group string
		uid, gid    int
	}{
		{"", "", -1, -1},
		{"root", "", 0, 0},
		{"0", "", 0, 0},
		{"root", "2000000000", 0, 2000000000},
		{"2000000000", "0", 2000000000, 0},
		{"", "root", -1, 0},
	} {
		u, err := FindUser(tt.user, tt.group)
		if err != nil || u.uid != tt.uid || u.gid != tt.gid {
			t.Errorf("%q %q: %+v, %v", tt.user, tt.group, u, err)
		}
		if err == nil && tt.group != "" && u.groups[0] != tt.gid {
			t.Errorf("%q %q: groups %d", tt.user, tt.group, u.groups)
		}
	}
	for _, bad := range [][2]string{{"no-such-user", ""}, {"-1", "0"}, {"root", "no-such-group"}, {"2000000000", ""}, {"4294967296", "0"}} {
		if u, err := FindUser(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %+v", bad, u)
		}
	}
}

// The bug of one connection is told at once, and once more at the end; the others go on.
func TestABugEndsOneConnection(t *testing.T) {
	l := newPipes()
	ctx, cancel := context.WithCancel(t.Context())
	var told notes
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, []net.Listener{l}, Options{ALPN: "/nonexistent", Tell: told.tell})
	}()
	l.peers <- &broken{}
	here, there := net.Pipe()
	l.peers <- there
	here.Close()
	cancel()
	var bug *guard.Panic
	if err := <-ended; !errors.As(err, &bug) || told.String() != "a bug in arid: broken" {
		t.Errorf("%v, told %q", err, told.String())
	}
}

// net/http catches what its handlers throw; it is told all the same.
func TestABugInAnAnswerIsTold(t *testing.T) {
	var told notes
	address, stop := start(t, Options{HTTP: t.TempDir(), Tell: func(text string, trouble error) {
		if trouble == nil {
			panic("broken")
		}
		told.tell(text, trouble)
	}})
	c := dial(t, address)
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", got, err)
	}
	var bug *guard.Panic
	if err := stop(); !errors.As(err, &bug) || told.String() != "a bug in arid: broken" {
		t.Errorf("%v, told %q", err, told.String())
	}
}

// broken is a connection that panics.
type broken struct{ net.Conn }

func (*broken) RemoteAddr() net.Addr { panic("broken") }
func (*broken) Close() error         { return nil }
