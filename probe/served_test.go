package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"arid/internal/guard"
)

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Target
	}{
		{"www.example.org:443", Target{"www.example.org", 443, ""}},
		{"mail.example.org:25/smtp", Target{"mail.example.org", 25, "smtp"}},
		{"192.0.2.7:143/imap", Target{"192.0.2.7", 143, "imap"}},
		{"[2001:db8::7]:587/smtp", Target{"2001:db8::7", 587, "smtp"}},
		{"[fe80::1%lo]:443", Target{"fe80::1%lo", 443, ""}},
	} {
		got, err := ParseTarget(tc.text)
		if err != nil || got != tc.want || got.String() != tc.text {
			t.Errorf("%s: %+v (%s), %v", tc.text, got, got, err)
		}
	}
	for _, bad := range []string{
		"", "www.example.org", "www.example.org:", ":443", "www.example.org:https", "h:0", "h:65536", "2001:db8::7:443",
		"h:25/pop3", "h:25/", "https://www.example.org/", "h:25/smtp/imap",
	} {
		if got, err := ParseTarget(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

// serve takes connections at an address of this host, each on its own.
func serve(t *testing.T, address string, do func(net.Conn)) Target {
	t.Helper()
	l := listen(t, address)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = guard.Run(func() error {
					defer conn.Close()
					do(conn)
					return nil
				})
			}()
		}
	}()
	at := l.Addr().(*net.TCPAddr)
	return Target{Host: at.IP.String(), Port: at.Port}
}

// talks is a server that begins TLS at once, and ends it when the other does.
func talks(c *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		inner := tls.Server(conn, c)
		_, _ = io.Copy(io.Discard, inner)
	}
}

// converse says the lines in turn. One that ends with "<" is not said: another is
// waited for, which must begin with what stands before.
func converse(conn net.Conn, lines []string) {
	r := bufio.NewReader(conn)
	for _, line := range lines {
		expected, waits := strings.CutSuffix(line, "<")
		if !waits {
			fmt.Fprintf(conn, "%s\r\n", line)
			continue
		}
		if heard, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(heard, expected) {
			fmt.Fprintf(conn, "999 expected %s and heard %s\r\n", expected, heard)
			return
		}
	}
}

// script is a server that says its lines, and then, where it has a configuration,
// begins TLS.
func script(c *tls.Config, lines ...string) func(net.Conn) {
	return func(conn net.Conn) {
		converse(conn, lines)
		if c != nil {
			conn = tls.Server(conn, c)
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

func TestAsk(t *testing.T) {
	own := certificate(t, func(*x509.Certificate) {})
	other := certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example.org"} })
	plain := &tls.Config{Certificates: []tls.Certificate{own}}
	bySNI := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch hello.ServerName {
		case "example.org":
			return &own, nil
		case "":
			return &other, nil
		}
		return nil, fmt.Errorf("who is %s", hello.ServerName)
	}}
	wantsOne := func(version uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version}
	}
	mixed := &tls.Config{Certificates: []tls.Certificate{{Certificate: own.Certificate, PrivateKey: other.PrivateKey}}}
	mixed12 := mixed.Clone()
	mixed12.MaxVersion = tls.VersionTLS12
	ancient := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}

	smtp := []string{"220-mail.example.org", "220 ESMTP", "EHLO [127.0.0.1]<", "250-mail.example.org", "250-SIZE 1000", "250-starttls", "250 HELP", "STARTTLS<"}
	imap := []string{"* OK [CAPABILITY IMAP4rev1] ready", "a1 STARTTLS<", "* CAPABILITY x"}
	with := func(lines []string, more ...string) []string { return append(append([]string(nil), lines...), more...) }

	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		start string
		sni   string
		want  *tls.Certificate // nil: none
		text  string           // then
		hint  string
	}{
		{"TLS", talks(plain), "", "example.org", &own, "", ""},
		{"by name", talks(bySNI), "", "example.org", &own, "", ""},
		{"by address, no name is told", talks(bySNI), "", "127.0.0.1", &other, "", ""},
		{"no certificate for the name", talks(bySNI), "", "third.example.org", nil, ": the server ends the TLS handshake (alert internal_error)", ""},
		{"wants a certificate of ours, TLS 1.2", talks(wantsOne(tls.VersionTLS12)), "", "example.org", &own, "", ""},
		{"wants a certificate of ours, TLS 1.3", talks(wantsOne(tls.VersionTLS13)), "", "example.org", &own, "", ""},
		{"has another key, TLS 1.3", talks(mixed), "", "example.org", nil, ": the TLS handshake fails: tls: invalid signature by the server certificate: ECDSA verification failure", ""},
		{"has another key, TLS 1.2", talks(mixed12), "", "example.org", nil, ": the TLS handshake fails: tls: invalid signature by the server certificate: ECDSA verification failure", ""},
		{"an old server", talks(ancient), "", "example.org", &own, "", ""},
		{"closes", func(net.Conn) {}, "", "", nil, " closes the connection in the TLS handshake", ""},
		{"a mail server", script(nil, "220 mail.example.org"), "", "", nil, ` answers "220 mail.example.org\r\n", which is no TLS`, "smtp"},
		{"a mailbox server", script(nil, imap[0]), "", "", nil, ` answers "* OK [CAPABILITY IMAP4rev1] ready\r\n", which is no TLS`, "imap"},
		{"a web server", script(nil, "HTTP/1.0 400 Bad Request"), "", "", nil, ` answers "HTTP/1.0 400 Bad Request\r\n", which is no TLS`, ""},

		{"SMTP", script(plain, with(smtp, "220 go ahead")...), "smtp", "example.org", &own, "", ""},
		{"SMTP by name", script(bySNI, with(smtp, "220 go ahead")...), "smtp", "127.0.0.1", &other, "", ""},
		{"SMTP, a short answer", script(plain, "220", "EHLO<", "250-x", "250 STARTTLS", "STARTTLS<", "220"), "smtp", "example.org", &own, "", ""},
		{"SMTP that is full", script(nil, "421 too many connections"), "smtp", "", nil, ` greets with "421 too many connections"`, ""},
		{"SMTP without EHLO", script(nil, "220 x", "EHLO<", "502 what?"), "smtp", "", nil, ` answers EHLO with "502 what?"`, ""},
		{"SMTP without STARTTLS", script(nil, "220 x", "EHLO<", "250-x", "250 XSTARTTLS"), "smtp", "", nil, " offers no STARTTLS", ""},
		{"SMTP, not now", script(nil, with(smtp, "454 TLS not available")...), "smtp", "", nil, ` answers STARTTLS with "454 TLS not available"`, ""},
		{"SMTP that begins too early", script(nil, with(smtp, "220 go ahead\r\n250 injected")...), "smtp", "", nil, " says more after its answer to STARTTLS", ""},
		{"SMTP without an end", script(nil, strings.Repeat("220-x\r\n", 200)), "smtp", "", nil, " says more than 100 lines before TLS", ""},
		{"SMTP in one line", script(nil, "220 "+strings.Repeat("x", 5000)), "smtp", "", nil, " says a line of more than 4096 bytes", ""},
		{"SMTP that closes", func(c net.Conn) { fmt.Fprint(c, "220-wait") }, "smtp", "", nil, " closes the connection before TLS", ""},

		{"IMAP", script(plain, with(imap, "a1 OK begin")...), "imap", "example.org", &own, "", ""},
		{"IMAP that is logged in", script(nil, "* PREAUTH you are root"), "imap", "", nil, ` greets with "* PREAUTH you are root"`, ""},
		{"IMAP without STARTTLS", script(nil, with(imap, "a1 BAD unknown command")...), "imap", "", nil, ` answers STARTTLS with "BAD unknown command"`, ""},
		{"IMAP without an end", script(nil, imap[0], imap[1], strings.Repeat("* x\r\n", 200)), "imap", "", nil, " says more than 100 lines before TLS", ""},
		{"IMAP in one line", script(nil, imap[0], imap[1], "* "+strings.Repeat("x", 5000)), "imap", "", nil, " says a line of more than 4096 bytes", ""},
		{"IMAP in garbage", script(nil, "\x00\xff\x00"), "imap", "", nil, ` greets with "\x00\xff\x00"`, ""},
		{"IMAP in control characters", script(nil, "* BYE \x1b[2J"), "imap", "", nil, ` greets with "* BYE \x1b[2J"`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target := serve(t, "127.0.0.1:0", tc.serve)
			target.StartTLS = tc.start
			got, err := Ask(t.Context(), Query{Target: target, Name: tc.sni})
			if err != nil || len(got) != 1 || got[0].At != netip.MustParseAddr("127.0.0.1") {
				t.Fatalf("%+v, %v", got, err)
			}
			shown := got[0]
			if tc.want == nil {
				if len(shown.Chain) > 0 || shown.Text != tc.text || shown.Start != tc.hint {
					t.Errorf("%q (%q), %d certificates; want %q", shown.Text, shown.Start, len(shown.Chain), tc.text)
				}
				return
			}
			if len(shown.Chain) != 1 || string(shown.Chain[0].Raw) != string(tc.want.Certificate[0]) {
				t.Errorf("%d certificates, %q", len(shown.Chain), shown.Text)
			}
		})
	}
}

// Servers that do not come to an end, in a bubble where time is made.
func TestAskPatience(t *testing.T) {
	own := certificate(t, func(*x509.Certificate) {})
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		start string
		left  time.Duration
		after time.Duration
		text  string
	}{
		{"SMTP that drips", func(c net.Conn) {
			for { // until it is closed
				if _, err := io.WriteString(c, "2"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, StartSMTP, time.Hour, greetTime, " takes the connection, but does not come to TLS in the time that was left"},
		{"TLS where SMTP is expected", talks(&tls.Config{Certificates: []tls.Certificate{own}}), StartSMTP, time.Hour, greetTime, " takes the connection, but does not come to TLS in the time that was left"},
		{"little time", talks(&tls.Config{Certificates: []tls.Certificate{own}}), StartSMTP, time.Second, time.Second, " takes the connection, but does not come to TLS in the time that was left"},
		{"silent", script(nil), "", time.Hour, lookTime, " takes the connection, but ends no TLS handshake within 5 s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.left)
				defer cancel()
				dial := func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						tc.serve(theirs)
						theirs.Close()
					}()
					return ours, nil
				}
				start := time.Now()
				got, err := Ask(ctx, Query{Target: Target{Host: "192.0.2.7", Port: 25, StartTLS: tc.start}, dial: dial})
				if err != nil || len(got) != 1 || got[0].Text != tc.text {
					t.Errorf("%+v, %v, want %q", got, err, tc.text)
				}
				if took := time.Since(start); took != tc.after {
					t.Errorf("took %s, want %s", took, tc.after)
				}
				time.Sleep(2 * time.Second) // for the other side to notice
			})
		})
	}
}

// No lost connection is left in the log of a mail server.
func TestAskTakesLeave(t *testing.T) {
	c := &tls.Config{Certificates: []tls.Certificate{certificate(t, func(*x509.Certificate) {})}}
	for _, tc := range []struct {
		start string
		lines []string
		want  string
	}{
		{StartSMTP, []string{"220", "EHLO<", "250 STARTTLS", "STARTTLS<", "220"}, "QUIT\r\n"},
		{StartIMAP, []string{"* OK", "a1 STARTTLS<", "a1 OK"}, "a2 LOGOUT\r\n"},
	} {
		heard := make(chan string, 1)
		target := serve(t, "127.0.0.1:0", func(conn net.Conn) {
			converse(conn, tc.lines)
			text, _ := io.ReadAll(tls.Server(conn, c))
			heard <- string(text)
		})
		target.StartTLS = tc.start
		if _, err := Ask(t.Context(), Query{Target: target}); err != nil {
			t.Error(err)
		}
		if got := <-heard; got != tc.want {
			t.Errorf("%s: %q", tc.start, got)
		}
	}
}

// Who is there, and who is not.
func TestAskSpoke(t *testing.T) {
	for name, tc := range map[string]struct {
		target Target
		spoke  bool
	}{
		"nobody":        {Target{Host: "127.0.0.1", Port: 9}, false},
		"a mail server": {serve(t, "127.0.0.1:0", script(nil, "220 x")), true},
	} {
		got, err := Ask(t.Context(), Query{Target: tc.target})
		if err != nil || len(got) != 1 || got[0].Spoke != tc.spoke || len(got[0].Chain) > 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if name == "nobody" && got[0].Text != ": connection refused" {
			t.Error(got[0].Text)
		}
	}
}

func TestAskIPv6(t *testing.T) {
	own := certificate(t, func(*x509.Certificate) {})
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on the loopback interface")
	}
	l.Close()
	for _, start := range []string{"", StartSMTP} {
		do := talks(&tls.Config{Certificates: []tls.Certificate{own}})
		if start != "" {
			do = script(&tls.Config{Certificates: []tls.Certificate{own}}, "220 x", "EHLO [IPv6:::1]<", "250 STARTTLS", "STARTTLS<", "220 x")
		}
		target := serve(t, "[::1]:0", do)
		target.StartTLS = start
		got, err := Ask(t.Context(), Query{Target: target, Name: "example.org"})
		if err != nil || len(got) != 1 || len(got[0].Chain) != 1 || got[0].Where() != "[::1]" {
			t.Errorf("%q: %+v, %v", start, got, err)
		}
	}
}

// A server with two certificates for a name is asked for either.
func TestAskForAKindOfKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{"example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	two := &tls.Config{Certificates: []tls.Certificate{certificate(t, func(*x509.Certificate) {}), {Certificate: [][]byte{der}, PrivateKey: key}}}
	target := serve(t, "127.0.0.1:0", talks(two))
	for _, kind := range []x509.PublicKeyAlgorithm{x509.RSA, x509.ECDSA} {
		got, err := Ask(t.Context(), Query{Target: target, Name: "example.org", Key: kind})
		if err != nil || len(got) != 1 || len(got[0].Chain) != 1 || got[0].Chain[0].PublicKeyAlgorithm != kind {
			t.Errorf("%v: %+v, %v", kind, got, err)
		}
	}
}

func TestAskNobodyKnowsTheName(t *testing.T) {
	_, err := Ask(t.Context(), Query{Target: Target{Host: "no name", Port: 443}})
	if err == nil || !strings.Contains(err.Error(), `"no name"`) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, Query{Target: Target{Host: "no name", Port: 443}}); err == nil {
		t.Error("no error of a run that has ended")
	}
}

func FuzzStartTLS(f *testing.F) {
	f.Add("220 x\r\n250-x\r\n250 STARTTLS\r\n220 x\r\n", true)
	f.Add("* OK\r\na1 OK\r\n", false)
	f.Fuzz(func(t *testing.T, text string, smtp bool) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() {
			_, _ = io.WriteString(theirs, text)
			theirs.Close()
		}()
		defer ours.Close()
		protocol := StartIMAP
		if smtp {
			protocol = StartSMTP
		}
		if err := startTLS(ours, protocol); err != nil {
			checkLine(t, Seen{Text: unstarted(t.Context(), err)})
		}
	})
}
