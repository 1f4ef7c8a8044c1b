package cmd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arid/alpn"
	"arid/cmd"
)

func TestRespondUsage(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	file := w.file("file", "", 0o600)
	for _, tt := range []struct {
		status int
		args   string
		want   string
	}{
		{64, "", "arid: nothing to answer with\narid: hint: --alpn DIR, --http DIR, or both\n"},
		{64, "--alpn DIR", "arid: no --listen, and no connection on descriptor 0\narid: hint: --listen ADDR; or start it by tcpserver, inetd, s6 or systemd\n"},
		{64, "--alpn DIR DIR", "takes no arguments"},
		{64, "--alpn DIR --listen 443", `"443" is not ADDRESS:PORT`},
		{64, "--alpn DIR --listen localhost:443", "is not ADDRESS:PORT"},
		{64, "--alpn DIR --listen :0 --backend 8443", `"8443" is not HOST:PORT`},
		{64, "--alpn DIR --listen :0 --backend :8443", `":8443" is not HOST:PORT`},
		{64, "--alpn DIR --listen :0 --send-proxy v1", "there is none"},
		{64, "--alpn DIR --listen :0 --backend a:1 --send-proxy 1", `"1" is neither v1 nor v2`},
		{64, "--alpn DIR --listen :0 --proxy-from localhost", `"localhost" is neither an address`},
		{64, "--alpn DIR --listen :0 --proxy-protocol accept", "from whom?"},
		{64, "--alpn DIR --listen :0 --proxy-from ::1 --proxy-protocol on", `"on" is none of require, accept, off`},
		{64, "--alpn DIR --listen :0 --fallback-cert x", "belong together"},
		{64, "--http DIR --listen :0 --fallback-cert x --fallback-key x", "there is no --alpn"},
		{64, "--alpn DIR --listen :0 --user no-such-user", `there is no user "no-such-user"`},
		{64, "--alpn DIR --listen :0 --group no-such-group", `there is no group "no-such-group"`},
		{65, "--alpn DIR --listen :0 --fallback-cert missing --fallback-key missing", "no such file"},
		{65, "--alpn DIR --listen :0 --fallback-cert FILE --fallback-key FILE", "--fallback-key"},
		{75, "--alpn DIR --listen " + address, "arid: cannot listen on " + address + ": bind: address already in use\n"},
		{78, "--alpn FILE --listen 127.0.0.1:0", "not a directory"},
		{78, "--http FILE --listen 127.0.0.1:0", "not a directory"},
	} {
		args := strings.NewReplacer("DIR", w.dir, "FILE", file).Replace("respond " + tt.args)
		out, talk := w.must(tt.status, strings.Fields(args)...)
		if out != "" || !strings.Contains(talk, tt.want) {
			t.Errorf("arid %s: %q, %q", tt.args, out, talk)
		}
	}
	// A port is taken for the loop before anybody can come by it.
	_, port, _ := net.SplitHostPort(freePort(t))
	for _, listen := range []string{":" + port, "127.0.0.1:" + port, "0.0.0.0:" + port} {
		if _, talk := w.must(64, "respond", "--alpn", w.dir, "--listen", listen, "--backend", "127.0.0.1:"+port); !strings.Contains(talk, "is where arid itself listens") {
			t.Errorf("%s: %q", listen, talk)
		}
	}
}

// talk is a stderr that can be read while the program runs.
type talk struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *talk) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *talk) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await reads until the pattern is there, and returns what it encloses.
func (b *talk) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for range 6000 {
		if m := re.FindStringSubmatch(b.String()); m != nil {
			return m[1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %q in %q", pattern, b.String())
	return ""
}

func putPair(t *testing.T, dir, name string) {
	t.Helper()
	d, _, err := alpn.OpenDir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Put(name, "key authorization", time.Now()); err != nil {
		t.Fatal(err)
	}
}

func handshake(c net.Conn, name string, protocols ...string) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	s := tls.Client(c, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true})
	err := s.Handshake()
	io.Copy(io.Discard, s)
	c.Close()
	return err
}

// With -v a line for each connection; without it nothing; TERM is no error.
func TestRespondListens(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	dir := filepath.Join(w.dir, "alpn")
	for _, verbose := range []bool{true, false} {
		os.RemoveAll(dir)
		var said talk
		ctx, cancel := context.WithCancelCause(t.Context())
		args := []string{"arid", "respond", "--alpn", dir, "--listen", "127.0.0.1:0", "--listen", "[::1]:0"}
		if verbose {
			args = append(args, "-v")
		}
		address := ""
		if !verbose { // who is told nothing has to know
			address = freePort(t)
			args = append(args, "--listen", address)
		}
		ended := make(chan int, 1)
		go func() {
			ended <- cmd.Main(ctx, &cmd.Process{Args: args, Dir: w.dir, UID: os.Getuid(), Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &said})
		}()
		said.await(t, `(does not exist; nothing is answered until it does)`)
		if verbose {
			address = said.await(t, `listens on (127\S+)\n`)
			said.await(t, `listens on (\[::1\]:\S+)\n`)
		}
		putPair(t, dir, "example.org")
		var c net.Conn
		for range 6000 {
			var err error
			if c, err = net.Dial("tcp", address); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if c == nil {
			t.Fatalf("nobody listens on %s: %q", address, said.String())
		}
		if err := handshake(c, "example.org", alpn.Protocol); err != nil {
			t.Error(err)
		}
		for _, other := range [][]string{{"h2", "http/1.1"}, nil} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if handshake(c, "example.org", other...) == nil {
				t.Errorf("%q answered", other)
			}
		}
		if verbose {
			said.await(t, `(arid: 127\.0\.0\.1:\d+: tls-alpn-01: answered "example\.org"\n)`)
			said.await(t, `(arid: 127\.0\.0\.1:\d+: refused: offers \["h2" "http/1\.1"\], and acme-tls/1 alone is answered\n)`)
			said.await(t, `(arid: 127\.0\.0\.1:\d+: refused: offers \[\], and acme-tls/1 alone is answered\n)`)
		}
		cancel(&cmd.SignalError{Signal: syscall.SIGTERM})
		if status := <-ended; status != 0 {
			t.Errorf("ended with %d", status)
		}
		if text := said.String(); !verbose && strings.Count(text, "\n") != 1 || strings.Contains(text, "TERM") {
			t.Errorf("said %q", text)
		}
	}
}

// One connection on descriptor 0, and nothing of ours on it but the answer.
func TestRespondOnAConnection(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	putPair(t, w.dir, "example.org")
	connect := func() (client net.Conn, server *os.File) {
		t.Helper()
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err = net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		server, err = accepted.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	for _, tt := range []struct {
		what   string
		args   []string
		status int
		inetd  bool // stderr is the connection too
		client func(c net.Conn) string
		want   string // what the client saw
		talk   string
	}{
		{"answered", []string{"--alpn", w.dir, "-v"}, 0, false, func(c net.Conn) string {
			return errText(handshake(c, "example.org", alpn.Protocol))
		}, "", `tls-alpn-01: answered "example.org"`},
		{"answered, quietly", []string{"--alpn", w.dir}, 0, false, func(c net.Conn) string {
			return errText(handshake(c, "example.org", alpn.Protocol))
		}, "", ""},
		{"refused", []string{"--alpn", w.dir}, 0, false, func(c net.Conn) string {
			return errText(handshake(c, "example.org", "h2"))
		}, "no application protocol", ""},
		{"gone", []string{"--alpn", w.dir}, 0, false, func(c net.Conn) string { return errText(c.Close()) }, "", ""},
		{"backend down", []string{"--alpn", w.dir, "--backend", "127.0.0.1:1"}, 75, false, says("hello"), "", "arid: backend 127.0.0.1:1: connect: connection refused\n"},
		{"no directory", []string{"--alpn", w.dir + "/no"}, 78, false, func(c net.Conn) string {
			return errText(handshake(c, "example.org", alpn.Protocol))
		}, "unrecognized name", `arid: tls-alpn-01: no answer for "example.org": `},
		{"PROXY where none is", []string{"--alpn", w.dir}, 78, false, says("PROXY UNKNOWN\r\n"), "", "arid: 127.0.0.1 speaks the PROXY protocol, and is not in --proxy-from\n"},
		{"no directory, inetd", []string{"--alpn", w.dir + "/no"}, 78, true, func(c net.Conn) string {
			return errText(handshake(c, "example.org", alpn.Protocol))
		}, "unrecognized name", ""},
		{"backend down, inetd", []string{"--alpn", w.dir, "--backend", "127.0.0.1:1", "-v", "--json"}, 75, true, says("hello"), "", ""},
		{"answered, inetd", []string{"--alpn", w.dir, "-v"}, 0, true, func(c net.Conn) string {
			return errText(handshake(c, "example.org", alpn.Protocol))
		}, "", ""},
		{"usage, inetd", []string{"--alpn", w.dir, "--user", "no-such-user", "--json"}, 64, true, says("hello"), "", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			client, server := connect()
			var said talk
			var stderr io.Writer = &said
			if tt.inetd {
				stderr = server
			}
			ended := make(chan int, 1)
			go func() {
				ended <- cmd.Main(t.Context(), &cmd.Process{
					Args: append([]string{"arid", "respond"}, tt.args...), Dir: w.dir, UID: os.Getuid(),
					Stdin: server, Stdout: server, Stderr: stderr,
				})
				server.Close() // as the end of the process does
			}()
			if got := tt.client(client); got != tt.want && (tt.want == "" || !strings.HasSuffix(got, tt.want)) {
				t.Errorf("the client saw %q, want %q", got, tt.want)
			}
			if status := <-ended; status != tt.status {
				t.Errorf("status %d, want %d: %s", status, tt.status, said.String())
			}
			if got := said.String(); (tt.talk == "") != (got == "") || !strings.Contains(got, tt.talk) {
				t.Errorf("said %q, want %q", got, tt.talk)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// says sends a text and returns what comes back.
func says(text string) func(c net.Conn) string {
	return func(c net.Conn) string {
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c) // it may be reset
		return string(got)
	}
}
