package cmd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// serveTLS serves what choose says at an address of this host.
func serveTLS(t *testing.T, address string, choose func(name string) *tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				inner := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					return choose(hello.ServerName), nil
				}})
				_, _ = io.Copy(io.Discard, inner)
			}()
		}
	}()
	return l.Addr().String()
}

// loaded is a certificate of the tree as it is now.
func (w *world) loaded(alias string) *tls.Certificate {
	w.t.Helper()
	dir := filepath.Join(w.base, "certs", alias)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	return &pair
}

// stranger is a certificate that is nowhere on disk.
func stranger(t *testing.T, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test", "b.test")
	w.must(0, "sign", "--accept-terms", "--alias", "wild", "c.test", "d.test")
	old := w.loaded("a.test")
	w.signed("a.test")
	a, b := w.loaded("a.test"), w.loaded("b.test")
	alone := &tls.Certificate{Certificate: a.Certificate[:1], PrivateKey: a.PrivateKey}
	oldID := func() string {
		versions, _ := os.ReadDir(filepath.Join(w.base, "certs", "a.test", "versions"))
		return versions[0].Name()
	}()
	file := w.file("other.pem", encodeCertificate(b), 0o600)
	both := func(name string) *tls.Certificate {
		if name == "b.test" {
			return b
		}
		return a
	}
	always := func(c *tls.Certificate) func(string) *tls.Certificate {
		return func(string) *tls.Certificate { return c }
	}
	for _, tc := range []struct {
		name   string
		serve  func(string) *tls.Certificate
		args   string
		status int
		out    []string
		talk   []string
	}{
		{"the live one", always(a), "--name a.test", 0, []string{", asked for a.test: served as it is on disk\n", "\n  served   for a.test\n", "/certs/a.test/", "SHA-256 " + fingerprint(a)}, nil},
		{"by address alone", always(a), "", 0, []string{": served as it is on disk\n"}, nil},
		{"by name", both, "--name b.test", 0, []string{"for b.test"}, nil},
		{"an older one", always(old), "--name a.test", 1,
			[]string{": ANOTHER certificate than on disk\n", "SHA-256 " + fingerprint(old), "SHA-256 " + fingerprint(a), "\n  on disk  "},
			[]string{"an older one of a.test, version " + oldID + "\n", "hint: has the server been told of the new one?"}},
		{"one that is for another name", always(b), "--name a.test", 1, nil, []string{"it is the live certificate of b.test, which is not for a.test", "hint: does the server know"}},
		{"a stranger's", always(stranger(t, "a.test")), "--name a.test", 1, []string{`from "`}, []string{"it is not on disk"}},
		{"a stranger's with an odd name", always(stranger(t, "evil\x1b[2J.test")), "", 1, []string{`for evil\x1b[2j.test`}, []string{"it is not on disk"}},
		{"a file", always(b), "--cert " + file, 0, []string{"\n  on disk  " + file}, nil},
		{"another file", always(a), "--cert " + file, 1, []string{"\n  on disk  " + file + "\n           for b.test\n"}, []string{"it is not on disk"}},
		{"no intermediate", always(alone), "--name a.test", 0, []string{": served as it is on disk\n"}, []string{"warning: ", "give it fullchain.pem"}},
		{"no certificate in the tree", always(a), "-o " + w.webroot, 1, []string{"\n  on disk  none\n"}, []string{"--out DIR, or --cert FILE"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := serveTLS(t, "127.0.0.1:0", tc.serve)
			out, talk := w.must(tc.status, append([]string{"check", at}, strings.Fields(tc.args)...)...)
			if !strings.HasPrefix(out, at+" at 127.0.0.1") {
				t.Errorf("printed %q", out)
			}
			for _, want := range tc.out {
				if !strings.Contains(out, want) {
					t.Errorf("printed\n%s\nwithout %q", out, want)
				}
			}
			for _, want := range tc.talk {
				if !strings.Contains(talk, want) {
					t.Errorf("said %q, without %q", talk, want)
				}
			}
			if (talk == "") != (tc.talk == nil && tc.status == 0) {
				t.Errorf("said %q", talk)
			}
		})
	}
}

func encodeCertificate(c *tls.Certificate) string {
	var b strings.Builder
	for _, der := range c.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a builder takes all
	}
	return b.String()
}

func fingerprint(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// A server that has a certificate of either kind is asked for the one on disk.
func TestCheckOfAServerWithTwoCertificates(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "-a", "rsa2048", "a.test")
	other := stranger(t, "a.test")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*other, *w.loaded("a.test")}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	if out, _ := w.must(0, "check", l.Addr().String(), "--name", "a.test"); !strings.Contains(out, "served as it is on disk") {
		t.Errorf("printed %q", out)
	}
}

func TestCheckOverSTARTTLSAndIPv6(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	both := filepath.Join(w.dir, "both.pem")
	w.must(0, "install", "a.test", "--parts", "fullchain,key", "--to", both)
	s := serveFiles(t, both, both, true)
	for _, args := range [][]string{{s.addr + "/smtp"}, {s.addr, "--starttls", "smtp"}} {
		w.must(0, append([]string{"check"}, args...)...)
	}
	out, talk := w.must(1, "check", s.addr)
	if !strings.Contains(out, ": no certificate\n") || !strings.Contains(talk, "which is no TLS") || !strings.Contains(talk, "hint: it speaks SMTP: arid check "+s.addr+"/smtp") {
		t.Errorf("printed %q, said %q", out, talk)
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		at := serveTLS(t, "[::1]:0", func(string) *tls.Certificate { return w.loaded("a.test") })
		if out, _ := w.must(0, "check", at); !strings.HasPrefix(out, at+" at [::1]: served as it is on disk\n") {
			t.Errorf("printed %q", out)
		}
	}
}

func TestCheckWhereNobodyAnswers(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	at := serveTLS(t, "127.0.0.1:0", func(string) *tls.Certificate { return w.loaded("a.test") })
	other := serveTLS(t, "127.0.0.1:0", func(string) *tls.Certificate { return stranger(t, "a.test") })
	const nobody = "127.0.0.1:1"
	out, talk := w.must(75, "check", nobody)
	if out != "" || talk != "arid: 127.0.0.1:1: nobody answers at 127.0.0.1: connection refused\n" {
		t.Errorf("printed %q, said %q", out, talk)
	}
	w.must(75, "check", "no_name_like.this..one:443")
	for _, tc := range []struct {
		targets []string
		status  int
	}{
		{[]string{at, nobody}, 75}, {[]string{nobody, at}, 75}, {[]string{at, other}, 1}, {[]string{nobody, other, at}, 1}, {[]string{at, at}, 0},
	} {
		w.must(tc.status, append([]string{"check"}, tc.targets...)...)
	}
	w.must(64, "check", "")
}

// A name that leads to two addresses, and a server at one of them: localhost is such.
func TestCheckOfTwoAddresses(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	resolveAll(t, "127.0.0.1", "127.0.0.2")
	at := serveTLS(t, "127.0.0.1:0", func(string) *tls.Certificate { return w.loaded("a.test") })
	_, port, _ := net.SplitHostPort(at)
	out, talk := w.must(0, "check", "a.test:"+port)
	if !strings.HasPrefix(out, "a.test:"+port+" at 127.0.0.1: served as it is on disk\n") || talk != "arid: warning: a.test:"+port+": nobody answers at 127.0.0.2: connection refused\n" {
		t.Errorf("printed %q, said %q", out, talk)
	}
	serveTLS(t, "127.0.0.2:"+port, func(string) *tls.Certificate { return stranger(t, "a.test") })
	out, _ = w.must(1, "check", "a.test:"+port)
	if !strings.Contains(out, " at 127.0.0.1: served as it is on disk\n") || !strings.Contains(out, " at 127.0.0.2: ANOTHER certificate than on disk\n") {
		t.Errorf("printed %q", out)
	}
	if _, talk := w.must(75, "check", "a.test:1"); !strings.Contains(talk, "127.0.0.1: connection refused; 127.0.0.2: connection refused") {
		t.Errorf("said %q", talk)
	}
}

// resolveAll has every name of this process lead to these addresses.
func resolveAll(t *testing.T, addresses ...string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &mdns.Server{PacketConn: conn, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		for _, a := range addresses {
			if q.Question[0].Qtype == mdns.TypeA {
				m.Answer = append(m.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET}, A: net.ParseIP(a)})
			}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = was
		_ = server.Shutdown()
	})
}

func TestCheckRefusesWhatMakesNoSense(t *testing.T) {
	w := newWorld(t)
	for args, status := range map[string]int{
		"":                              64,
		"a.test":                        64,
		"a.test:443/pop3":               64,
		"a.test:443 --starttls pop3":    64,
		"a.test:443 --name ..":          64,
		"a.test:443 --cert none.pem":    65,
		"--dns":                         64,
		"--dns a.test --name b.test":    64,
		"--dns a..test":                 65,
		"--dns *.a.test":                65,
		"--dns a.test -t dns-02":        64,
		"--dns a.test --wellknown none": 75, // no name server answers, which comes first
	} {
		w.must(status, append([]string{"check"}, strings.Fields(args)...)...)
	}
	w.must(65, "check", "127.0.0.1:1", "--cert", w.file("text", "no certificate", 0o600))
}

func TestCheckInJSON(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	old := w.loaded("a.test")
	w.signed("a.test")
	live := w.loaded("a.test")
	at := serveTLS(t, "127.0.0.1:0", func(string) *tls.Certificate { return live })
	behind := serveTLS(t, "127.0.0.1:0", func(string) *tls.Certificate { return old })
	out, _ := w.must(1, "check", "--json", "--name", "a.test", at, behind, "127.0.0.1:1")
	var got []string
	type shown struct {
		Name, Path, SHA256 string
		Names              []string
		Chain              int
	}
	for line := range strings.Lines(out) {
		var o struct {
			Schema                                      int
			Target, Address, Name, Result, Reason, Hint string
			Served                                      shown
			Disk                                        []shown
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Schema != 1 {
			t.Fatalf("%s: %v", line, err)
		}
		text := fmt.Sprint(o.Target, " ", o.Result, " ", o.Served.SHA256)
		for _, d := range o.Disk {
			text += fmt.Sprint(" ", d.Name, " ", d.SHA256, " ", d.Names, " ", d.Chain)
		}
		got = append(got, text)
	}
	disk := fmt.Sprint(" a.test ", fingerprint(live), " [a.test] 2")
	want := []string{at + " same " + fingerprint(live) + disk, behind + " other " + fingerprint(old) + disk, "127.0.0.1:1 nobody "}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestCheckDNS(t *testing.T) {
	w := newNameWorld(t)
	out, talk := w.must(0, "check", "--dns", "-t", "dns-01", "example.test", "*.example.test")
	for _, want := range []string{"example.test: nothing seen that speaks against dns-01\n", "*.example.test: nothing seen", "\n  record    _acme-challenge.example.test\n", "\n  zone      "} {
		if !strings.Contains(out, want) {
			t.Errorf("printed\n%s\nwithout %q", out, want)
		}
	}
	if talk != "" {
		t.Errorf("said %q", talk)
	}
	// tls-alpn-01 and http-01 look at ports of this host that tests cannot have: bats does.
	w.env = append(w.env, "ARID_DNS_RESOLVER=127.0.0.1:9")
	out, talk = w.must(75, "check", "--dns", "--json", "-t", "dns-01", "example.test")
	var o struct{ Name, Type, Result, Seen string }
	if err := json.Unmarshal([]byte(out), &o); err != nil || o.Name != "example.test" || o.Type != "dns-01" || o.Result != "unknown" || !strings.Contains(talk, o.Seen) {
		t.Errorf("printed %q, said %q", out, talk)
	}
}
