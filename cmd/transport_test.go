package cmd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"arid/internal/fakeca"
)

// curl writes a config whose second line is CURL_OPTS, and returns its name. The
// CA's own TLS is not trusted but by that, and no account is there yet.
func (w *world) curl(options string) (config string) {
	w.t.Helper()
	w.env = append(w.env, "ARID_CA_BUNDLE=", "ARID_BASEDIR="+w.t.TempDir())
	return w.file("config", "\nCURL_OPTS='"+options+"'\n", 0o600)
}

func TestCurlOptsTrustOneMoreRoot(t *testing.T) {
	w := newWorld(t)
	file := w.file("roots.pem", string(w.ca.RootsPEM()), 0o600)
	_, talk := w.must(75, "register", "-f", w.curl(""), "--accept-terms")
	if !strings.Contains(talk, "not to be trusted") {
		t.Errorf("without CURL_OPTS: %q", talk)
	}
	w.must(0, "register", "-f", w.curl("--cacert roots.pem"), "--accept-terms")
	dir := filepath.Join(w.dir, "roots")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := w.curl("--capath " + dir)
	if err := os.Link(file, filepath.Join(dir, "roots.pem")); err != nil {
		t.Fatal(err)
	}
	_, talk = w.must(78, "register", "-f", config)
	if !strings.Contains(talk, `--capath: "`+dir+`": no certificate under its hash in it`) {
		t.Errorf("--capath without hashes: %q", talk)
	}
	if err := os.Link(file, filepath.Join(dir, "0123abcd.0")); err != nil {
		t.Fatal(err)
	}
	w.must(0, "register", "-f", config, "--accept-terms")
}

func TestCurlOptsInsecureIsWarnedOfInEachRun(t *testing.T) {
	w := newWorld(t)
	config := w.curl("-sk --limit-rate 1M")
	for range 2 {
		_, talk := w.must(0, "register", "-f", config, "--accept-terms")
		for _, want := range []string{
			config + ":2: CURL_OPTS: --insecure: nobody checks that it is the CA that answers",
			config + ":2: CURL_OPTS: --limit-rate has no meaning here and is ignored",
		} {
			if strings.Count(talk, want) != 1 {
				t.Errorf("%q, want once %q", talk, want)
			}
		}
	}
}

// connectProxy tunnels, and tells to where and what it was shown.
func connectProxy(t *testing.T) (host string, seen func() []string) {
	t.Helper()
	var mu sync.Mutex
	var tunnels []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tunnels = append(tunnels, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() { _, _ = io.Copy(to, buffered); to.Close() }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.CloseClientConnections) // tunnels are nobody's otherwise
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return tunnels
	}
}

func TestCurlOptsProxy(t *testing.T) {
	for _, tc := range []struct {
		name, options, env string
		used               bool
		password           string
	}{
		{"by name", "-x PROXY", "", true, ""},
		{"with a password", "-x http://PROXY -U name:word", "", true, "Basic bmFtZTp3b3Jk"},
		{"not for this host", "-x PROXY --noproxy example.org,127.0.0.1", "", false, ""},
		{"for no host", "-x PROXY", "no_proxy=*", false, ""},
		{"over the environment's", "-x PROXY --noproxy example.org", "no_proxy=*", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			proxy, seen := connectProxy(t)
			w.file("roots.pem", string(w.ca.RootsPEM()), 0o600)
			w.env = append(w.env, tc.env)
			w.must(0, "register", "--accept-terms", "-f", w.curl("--cacert roots.pem "+strings.ReplaceAll(tc.options, "PROXY", proxy)))
			want := "[]"
			if tc.used {
				want = fmt.Sprintf("[CONNECT %s %s]", strings.TrimPrefix(w.ca.Base(), "https://"), tc.password)
			}
			if got := fmt.Sprint(seen()); got != want {
				t.Errorf("the proxy saw %s, want %s", got, want)
			}
		})
	}
}

func TestCurlOptsSayWhereTheCAIs(t *testing.T) {
	w := newWorld(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.ca.Base(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &mdns.Server{PacketConn: socket, Handler: mdns.HandlerFunc(func(out mdns.ResponseWriter, q *mdns.Msg) {
		answer := new(mdns.Msg).SetReply(q)
		if q.Question[0].Qtype == mdns.TypeA {
			answer.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = out.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })

	// The CA's TLS has another name: -k takes that away.
	w.env = append(w.env, "ARID_CA=https://ca.example.test:"+port+"/directory")
	for _, options := range []string{"--resolve ca.example.test:" + port + ":127.0.0.1", "--dns-servers " + socket.LocalAddr().String()} {
		before := w.ca.Count()
		w.must(0, "register", "--accept-terms", "-f", w.curl("-k "+options))
		if w.ca.Count() == before {
			t.Errorf("%s: the CA was not asked", options)
		}
	}
}

func TestCurlOptsInterface(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"127.0.0.1", "lo"} {
		w.must(0, "register", "--accept-terms", "-f", w.curl("-k --interface "+name))
	}
	_, talk := w.must(78, "register", "-f", w.curl("--interface nosuch0"))
	if !strings.Contains(talk, `config:2: CURL_OPTS="--interface nosuch0": --interface: "nosuch0" is neither an address nor a device of this host`) {
		t.Error(talk)
	}
	_, talk = w.must(78, "register", "-f", w.curl("-6 --interface 127.0.0.1"))
	if !strings.Contains(talk, `--interface: "127.0.0.1" has no address of IPv6`) {
		t.Error(talk)
	}
	w.env = append(w.env, "ARID_IP_VERSION=4")
	_, talk = w.must(0, "register", "--accept-terms", "-f", w.curl("-k -6 --interface 127.0.0.1"))
	if !strings.Contains(talk, "config:2: CURL_OPTS: --ipv6 is ignored: IP_VERSION is 4") {
		t.Error(talk)
	}
}

// clientPair is a key and a certificate for it, as PEM.
func clientPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func TestCurlOptsTLS(t *testing.T) {
	var shown string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Proto + " " + tls.VersionName(r.TLS.Version)
		for _, c := range r.TLS.PeerCertificates {
			shown += " " + c.Subject.CommonName
		}
		http.NotFound(w, r)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)

	w := newWorld(t)
	cert, key := clientPair(t)
	w.file("cert.pem", cert, 0o600)
	w.file("key.pem", key, 0o600)
	w.file("both.pem", cert+key, 0o600)
	w.env = append(w.env, "ARID_CA="+server.URL+"/directory")
	for options, want := range map[string]string{
		"":                                "HTTP/2.0 TLS 1.3",
		"--http1.1":                       "HTTP/1.1 TLS 1.3",
		"--tls-max 1.2":                   "HTTP/2.0 TLS 1.2",
		"--cert cert.pem --key key.pem":   "HTTP/2.0 TLS 1.3 client",
		"-E both.pem --http1.1 --tlsv1.3": "HTTP/1.1 TLS 1.3 client",
	} {
		shown = ""
		w.must(1, "register", "-f", w.curl("-k "+options)) // 404
		if shown != want {
			t.Errorf("%q: %q, want %q", options, shown, want)
		}
	}

	locked := filepath.Join(w.dir, "locked.pem")
	if out, err := exec.Command("openssl", "pkcs8", "-topk8", "-in", filepath.Join(w.dir, "key.pem"), "-out", locked, "-passout", "pass:word").CombinedOutput(); err != nil {
		t.Logf("openssl: %v: %s", err, out)
		w.file("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600)
	}
	w.file("other.pem", func() string { _, other := clientPair(t); return other }(), 0o600)
	for options, want := range map[string]string{
		"--cert cert.pem --key locked.pem": "--key: a key that needs a passphrase cannot be used",
		"--cert cert.pem --key other.pem":  "--key: tls: private key does not match public key",
		"--cert cert.pem":                  "--cert: tls: ",
		"--cert none.pem":                  "--cert: open " + filepath.Join(w.dir, "none.pem"),
	} {
		_, talk := w.must(78, "register", "-f", w.curl(options))
		if !strings.Contains(talk, `config:2: CURL_OPTS="`+options+`": `+want) {
			t.Errorf("%s: %q, want %q", options, talk, want)
		}
	}
}

func TestCurlOptsMaxTime(t *testing.T) {
	w := newWorld(t)
	w.ca.Hang(fakeca.NewAccount)
	_, talk := w.must(75, "register", "-f", w.curl("-k -m 1"), "--accept-terms")
	if !strings.Contains(talk, "no whole answer within 1s") {
		t.Error(talk, w.ca.Count())
	}
}
