package probe

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var quiet = log.New(io.Discard, "", 0)

func TestHTTP01(t *testing.T) {
	const at = "URL at 192.0.2.7 port 80"
	other := strings.Repeat("Ab-_", 11)[:43]
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	for _, c := range []struct {
		name  string
		site  site // at 192.0.2.7 port 80
		text  string
		cause Cause
	}{
		{"right", shows(200, "nginx", keyAuth), " shows the right answer", SeenRight},
		{"right, line end", shows(200, "", keyAuth+"\r\n"), " shows the right answer", SeenRight},
		{"right, white space", shows(200, "", keyAuth+" \t\n\n"), " shows the right answer", SeenRight},
		{"right, HTTP/1.0", says("HTTP/1.0 200 OK\r\n\r\n" + keyAuth), " shows the right answer", SeenRight},
		{"right, bare LF", says("HTTP/1.1 200 OK\n\n" + keyAuth), " shows the right answer", SeenRight},
		{"right, early hints", says("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head + "\r\n" + keyAuth), " shows the right answer", SeenRight},
		{"right, chunked", says(head + "Transfer-Encoding: chunked\r\n\r\n57\r\n" + keyAuth + "\r\n0\r\n\r\n"), " shows the right answer", SeenRight},

		{"refused", fails(syscall.ECONNREFUSED), ": connection refused", HTTPRefused},
		{"timeout of the kernel", fails(syscall.ETIMEDOUT), ": no connection in time", HTTPTimeout},
		{"no route", fails(syscall.EHOSTUNREACH), ": no route to host", HTTPUnreachable},
		{"no network", fails(syscall.ENETUNREACH), ": network is unreachable", HTTPUnreachable},
		{"no such family here", fails(syscall.EADDRNOTAVAIL), ": cannot assign requested address", HTTPUnreachable},
		{"forbidden by a local firewall", fails(syscall.EPERM), ": operation not permitted", HTTPUnreachable},

		{"TLS on the port", handlesTLSRaw(), " speaks TLS, not HTTP", HTTPNoHTTP},
		{"SSH on the port", raw(func(c net.Conn) { c.Write([]byte("SSH-2.0-OpenSSH_9.2p1\r\n")); readHead(c) }), ` answers "SSH-2.0-OpenSSH_9.2p1\r\n", which is no HTTP`, HTTPNoHTTP},
		{"closed", raw(func(c net.Conn) { readHead(c) }), " closes the connection without an answer", HTTPNoHTTP},
		{"reset", raw(func(c net.Conn) { readHead(c); c.(*net.TCPConn).SetLinger(0) }), " closes the connection without an answer", HTTPNoHTTP},
		{"garbage", says("\x00\x01\x02\xff\xfe\x1b[2Jgarbage"), ` answers "\x00\x01\x02\xff\xfe\x1b[2Jgarbage", which is no HTTP`, HTTPNoHTTP},
		{"head cut off", says("HTTP/1.1 200 OK\r\nServer: x"), ` answers "HTTP/1.1 200 OK\r\nServer: x", which is broken HTTP`, HTTPNoHTTP},
		{"header without end", raw(func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}), " answers with more than 64 KiB of header", HTTPNoHTTP},
		{"headers without end", raw(func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					return
				}
			}
		}), " answers with more than 64 KiB of header", HTTPNoHTTP},
		{"thousands of headers", says("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 8000) + "\r\n" + keyAuth), " shows the right answer", SeenRight},

		{"missing", shows(404, "nginx/1.22.1", "<title>404 Not Found</title>"), ` answers 404 Not Found (from "nginx/1.22.1")`, HTTPMissing},
		{"gone", shows(410, "", ""), " answers 410 Gone", HTTPMissing},
		{"an application says 404", shows(404, "", "<html><title>Oops\n — Shop</title>"), ` answers 404 Not Found (titled "Oops — Shop")`, HTTPMissing},
		{"password", shows(401, "Apache", ""), ` answers 401 Unauthorized (from "Apache")`, HTTPForbidden},
		{"forbidden", shows(403, "cloudflare", "<title>Just a moment...</title>"), ` answers 403 Forbidden (from "cloudflare", titled "Just a moment...")`, HTTPForbidden},
		{"plain HTTP on a TLS port", shows(400, "nginx", "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>"),
			` answers 400 Bad Request (from "nginx", titled "400 The plain HTTP request was sent to HTTPS port")`, HTTPStatus},
		{"proxy without its server", shows(502, "haproxy", ""), ` answers 502 Bad Gateway (from "haproxy")`, HTTPStatus},
		{"status of their own", shows(526, "", ""), " answers 526", HTTPStatus},
		{"right, but 203", shows(203, "", keyAuth), " answers 203 Non-Authoritative Information", HTTPStatus},
		{"hostile names", says("HTTP/1.1 500 \x1b[31mred\r\nServer: \u202ex\xff" + strings.Repeat("s", 90) + "\r\n\r\n"),
			` answers 500 Internal Server Error (from "\u202ex\xff` + strings.Repeat("s", 37) + `…")`, HTTPStatus},
		{"escape in a header", says("HTTP/1.1 200 OK\r\nServer: \x1b]0;x\r\n\r\n"), ` answers "HTTP/1.1 200 OK\r\nServer: \x1b]0;x\r\n\r\n", which is broken HTTP`, HTTPNoHTTP},

		{"HTML page", shows(200, "", "<!DOCTYPE html>\n<html lang=\"en\"><body>"+strings.Repeat("x", 90)), ` shows an HTML page that begins "<!DOCTYPE html>\n<html lang=\"en\"><body>` + strings.Repeat("x", 22) + `…", and not the key authorization`, HTTPOtherText},
		{"titled page", shows(200, "Apache", "\ufeff\n<html><TITLE id=a>\n Welcome   to\tus</TITLE>"), ` shows an HTML page titled "Welcome to us", and not the key authorization (from "Apache")`, HTTPOtherText},
		{"another text", shows(200, "", "It works!\n"), ` shows "It works!", and not the key authorization`, HTTPOtherText},
		{"nothing", shows(200, "", ""), " shows an empty page, and not the key authorization", HTTPOtherText},
		{"white space", shows(200, "", " \n"), " shows an empty page, and not the key authorization", HTTPOtherText},
		{"another token", shows(200, "", "x"+keyAuth[1:]), fmt.Sprintf(" shows %q, and not the key authorization", "x"+keyAuth[1:60]+"…"), HTTPOtherText},
		{"the digest", shows(200, "", other), fmt.Sprintf(" shows %q, and not the key authorization", other), HTTPOtherText},
		{"compressed unasked", says(head + "Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08"), ` shows something with the Content-Encoding "gzip", for which nobody asked, and not the key authorization`, HTTPOtherText},
		{"endless page", raw(func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := io.WriteString(c, strings.Repeat("y", 4096)); err != nil {
					return
				}
			}
		}), ` shows "` + strings.Repeat("y", 60) + `…", and not the key authorization`, HTTPOtherText},

		{"right, after a long page", shows(200, "", strings.Repeat("z", 5000)+keyAuth), ` shows "` + strings.Repeat("z", 60) + `…", and not the key authorization`, HTTPOtherText},

		{"byte order mark", shows(200, "", "\ufeff"+keyAuth), ` shows the key authorization with "\ufeff" before it`, HTTPChanged},
		{"empty line before", shows(200, "", "\n"+keyAuth), ` shows the key authorization with "\n" before it`, HTTPChanged},
		{"quotes", shows(200, "PHP", `"`+keyAuth+`"`), ` shows the key authorization with "\"" before it and "\"" after it (from "PHP")`, HTTPChanged},
		{"something injected", shows(200, "", keyAuth+"<!-- page generated in 0.1 s -->"), ` shows the key authorization with "<!-- page generated in 0.1 s -->" after it`, HTTPChanged},
		{"cut off", shows(200, "", keyAuth[:60]+"\n"), " shows only the first 60 of the key authorization's 87 characters", HTTPChanged},
		{"the token alone", shows(200, "", token), " shows only the first 43 of the key authorization's 87 characters", HTTPChanged},
		{"padded", shows(200, "", keyAuth+strings.Repeat(" ", 100)), " shows the right answer with 100 bytes of white space after it", HTTPChanged},
		{"wrong length", says(head + "Content-Length: 99\r\n\r\n" + keyAuth), " shows the right answer; the answer breaks off after 87 bytes", HTTPChanged},
		{"broken chunks", says(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"), ` shows "hello", and not the key authorization; the answer breaks off after 5 bytes`, HTTPOtherText},

		{"another account", shows(200, "Caddy", token+"."+other), fmt.Sprintf(` shows the right token, but the thumbprint %q of another account (from "Caddy")`, other), HTTPOtherAccount},
		{"no thumbprint", shows(200, "", token+".nothing"), ` shows the right token, but "nothing" for the thumbprint`, HTTPChanged},
		{"no thumbprint, byte order mark", shows(200, "", "\ufeff"+keyAuth[:85]), ` shows the right token, but "\ufeff" before it, and "` + thumbprint[:41] + `" for the thumbprint`, HTTPChanged},
		{"byte order mark and a text", shows(200, "", "\ufeffIt works!"), ` shows "\ufeffIt works!", and not the key authorization`, HTTPOtherText},
		{"a page that names the URL", shows(200, "", "/.well-known/acme-challenge/"+token+". Not found"), ` shows "/.well-known/acme-challenge/` + token[:32] + `…", and not the key authorization`, HTTPOtherText},
		{"an HTML page that names the token", shows(200, "", "<p>"+token+".x"), ` shows an HTML page that begins "<p>` + token + `.x", and not the key authorization`, HTTPOtherText},

		{"304", redirects(304, ""), " answers 304 Not Modified", HTTPStatus},
		{"redirect to nowhere", redirects(302, ""), " answers 302 Found", HTTPStatus},
		{"redirect to itself", redirects(301, ""), " answers 301 Moved Permanently", HTTPStatus},
		{"circle", redirects(301, "/.well-known/acme-challenge/"+token), fmt.Sprintf(" redirects to %q, which is a circle", "/.well-known/acme-challenge/"+token), HTTPRedirect},
		{"303", redirects(303, "/x"), ` redirects to "/x", by 303 See Other, which CAs do not follow`, HTTPRedirect},
		{"file", redirects(302, "file:///etc/passwd"), ` redirects to "file:///etc/passwd", and CAs follow only http and https`, HTTPRedirect},
		{"ftp", redirects(302, "ftp://example.org/x"), ` redirects to "ftp://example.org/x", and CAs follow only http and https`, HTTPRedirect},
		{"port", redirects(302, "http://example.org:8080/"), ` redirects to "http://example.org:8080/", and CAs follow only to the ports 80 and 443`, HTTPRedirect},
		{"port that is none", redirects(302, "http://example.org:99999/"), ` redirects to "http://example.org:99999/", and CAs follow only to the ports 80 and 443`, HTTPRedirect},
		{"no URL", redirects(302, "http://[::1/"), ` redirects to "http://[::1/", which is no URL`, HTTPRedirect},
		{"no host", redirects(302, "http:///x"), ` redirects to "http:///x", which names no host`, HTTPRedirect},
		{"odd host", redirects(302, "http://exa mple.org/"), ` redirects to "http://exa mple.org/", which is no URL`, HTTPRedirect},
		{"odder host", redirects(302, "http://$(id).example.org/"), ` redirects to "http://$(id).example.org/", which names no host`, HTTPRedirect},
		{"zone", redirects(302, "http://[fe80::1%25eth0]/"), ` redirects to "http://[fe80::1%25eth0]/", which names no host`, HTTPRedirect},
		{"slash forgotten", redirects(302, "https://www.example.org.well-known/acme-challenge/x"), ` redirects to "https://www.example.org.well-known/acme-challenge/x", which lacks the "/" after the host`, HTTPRedirect},
		{"long", redirects(302, "/"+strings.Repeat("x", 3000)), ` redirects to "/` + strings.Repeat("x", 99) + `…", which is too long`, HTTPRedirect},
		{"host unknown", redirects(302, "https://none.example.org/"), ` redirects to "https://none.example.org/", whose host does not resolve: "none.example.org" does not exist in the DNS`, HTTPRedirect},
		{"host refuses", redirects(302, "https://www.example.org/x"), ` redirects to "https://www.example.org/x" at 192.0.2.8 port 443: connection refused`, HTTPRedirect},
		{"cloud's metadata", redirects(302, "http://169.254.169.254/latest/"), ` redirects to "http://169.254.169.254/latest/", which is 169.254.169.254 from here: no CA gets there`, HTTPRedirect},
		{"own host", redirects(302, "http://localhost/admin"), ` redirects to "http://localhost/admin", which is [::1] from here: no CA gets there`, HTTPRedirect},
		{"own network", redirects(302, "http://router.example.org/reboot"), ` redirects to "http://router.example.org/reboot", which is 192.168.1.1 from here: no CA gets there`, HTTPRedirect},
		{"without end", func() site {
			n := 0
			return handles(func(w http.ResponseWriter, r *http.Request) { n++; http.Redirect(w, r, fmt.Sprintf("/%d", n), 302) })
		}(), ` redirects 11 times, last to "/11", and CAs follow 10 at most`, HTTPRedirect},
		{"credentials", handles(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path != "/x":
				http.Redirect(w, r, "http://user:secret@example.org/x#part", 302)
			case r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "":
				w.WriteHeader(http.StatusTeapot)
			default:
				io.WriteString(w, keyAuth)
			}
		}), ` redirects to "http://user:secret@example.org/x#part" at 192.0.2.7 port 80, which shows the right answer`, SeenRight},
		{"to a 404", redirects(302, "http://pages.example.org/x"), ` redirects to "http://pages.example.org/x" at 192.0.2.9 port 80, which answers 404 Not Found (from "pages")`, HTTPMissing},
		{"to https", redirects(301, "https://secure.example.org/x"), ` redirects to "https://secure.example.org/x" at 192.0.2.10 port 443, which shows the right answer`, SeenRight},
		{"to https that speaks HTTP", redirects(301, "https://pages.example.org/x"), ` redirects to "https://pages.example.org/x" at 192.0.2.9 port 443, which gives no answer: tls: first record does not look like a TLS handshake`, HTTPRedirect},
		{"twice", redirects(302, "http://on.example.org/"), ` redirects 2 times, last to "http://pages.example.org/z" at 192.0.2.9 port 80, which answers 404 Not Found (from "pages")`, HTTPMissing},
		{"to a host with two addresses", redirects(302, "http://both.example.org/"), ` redirects to "http://both.example.org/" at [2001:db8::9] port 80, which shows "six", and not the key authorization`, HTTPOtherText},
		{"to a host with one good address", redirects(302, "http://half.example.org/"), ` redirects to "http://half.example.org/" at 192.0.2.9 port 80, which answers 404 Not Found (from "pages")`, HTTPMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := world{t: t, records: []string{
				"example.org. 60 IN A 192.0.2.7", "www.example.org. 60 IN A 192.0.2.8", "pages.example.org. 60 IN A 192.0.2.9",
				"secure.example.org. 60 IN A 192.0.2.10", "on.example.org. 60 IN A 192.0.2.11", "router.example.org. 60 IN A 192.168.1.1",
				"both.example.org. 60 IN A 192.0.2.9", "both.example.org. 60 IN AAAA 2001:db8::9",
				"half.example.org. 60 IN A 192.0.2.9", "half.example.org. 60 IN AAAA 2001:db8::8",
			}, sites: map[string]site{
				"192.0.2.7:80": c.site,
				"192.0.2.9:80": shows(404, "pages", ""),
				"192.0.2.9:443": raw(func(c net.Conn) {
					c.Read(make([]byte, 9))
					io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
				}),
				"[2001:db8::9]:80": shows(200, "", "six"),
				"192.0.2.10:443":   handlesTLS(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, keyAuth) }),
				"192.0.2.11:80":    redirects(301, "http://pages.example.org/z"),
			}}.prober()
			check(t, p.HTTP01(t.Context(), "example.org", token, keyAuth), at+c.text, c.cause)
		})
	}
}

// handlesTLSRaw is a TLS server that does not care for HTTP, as most are not Go's.
func handlesTLSRaw() site {
	return raw(func(c net.Conn) {
		readHead(c)
		c.Write([]byte{0x15, 3, 1, 0, 2, 2, 70})
	})
}

// Right over one family, and wrong over the other.
func TestHTTPv6(t *testing.T) {
	right, wrong := shows(200, "", keyAuth), shows(404, "nginx", "")
	for _, c := range []struct {
		name      string
		four, six site
		text      string
		cause     Cause
		content   bool // a CA that comes from here
	}{
		{"IPv6 wrong", right, wrong, `at [2001:db8::7] port 80 answers 404 Not Found (from "nginx"); at 192.0.2.7 port 80 shows the right answer`, HTTPv6, false},
		{"IPv4 wrong", wrong, right, `at 192.0.2.7 port 80 answers 404 Not Found (from "nginx"); at [2001:db8::7] port 80 shows the right answer`, HTTPv6, false},
		{"IPv6 refused", right, fails(syscall.ECONNREFUSED), `at [2001:db8::7] port 80: connection refused; at 192.0.2.7 port 80 shows the right answer`, HTTPv6, true},
		{"both wrong alike", wrong, wrong, `at [2001:db8::7] and 192.0.2.7 port 80 answers 404 Not Found (from "nginx")`, HTTPMissing, false},
		{"both wrong", wrong, fails(syscall.ENETUNREACH), `at 192.0.2.7 port 80 answers 404 Not Found (from "nginx"); at [2001:db8::7] port 80: network is unreachable`, HTTPMissing, false},
		{"both right", right, right, `at [2001:db8::7] and 192.0.2.7 port 80 shows the right answer`, SeenRight, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7", "example.org. 60 IN AAAA 2001:db8::7"},
				sites: map[string]site{"192.0.2.7:80": c.four, "[2001:db8::7]:80": c.six}}.prober()
			seen := p.HTTP01(t.Context(), "example.org", token, keyAuth)
			check(t, seen, "URL "+c.text, c.cause)
			if seen.Right != c.content {
				t.Errorf("Right is %v", seen.Right)
			}
		})
	}
	// A redirect to the same host stays at the address, or one would not know
	// which one answers wrongly.
	t.Run("behind redirects", func(t *testing.T) {
		p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7", "example.org. 60 IN AAAA 2001:db8::7"}, sites: map[string]site{
			"192.0.2.7:80": redirects(301, "https://example.org/x"), "[2001:db8::7]:80": redirects(301, "https://Example.org/x"),
			"192.0.2.7:443":     handlesTLS(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, keyAuth) }),
			"[2001:db8::7]:443": handlesTLS(func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }),
		}}.prober()
		check(t, p.HTTP01(t.Context(), "example.org", token, keyAuth),
			`URL at [2001:db8::7] port 80 redirects to "https://Example.org/x" at [2001:db8::7] port 443, which answers 404 Not Found; `+
				`at 192.0.2.7 port 80 redirects to "https://example.org/x" at 192.0.2.7 port 443, which shows the right answer`, HTTPv6)
	})
	t.Run("one of two IPv4 addresses wrong", func(t *testing.T) {
		p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7", "example.org. 60 IN A 192.0.2.8"},
			sites: map[string]site{"192.0.2.7:80": right, "192.0.2.8:80": wrong}}.prober()
		check(t, p.HTTP01(t.Context(), "example.org", token, keyAuth),
			`URL at 192.0.2.8 port 80 answers 404 Not Found (from "nginx"); at 192.0.2.7 port 80 shows the right answer`, HTTPMissing)
	})
}

// Through the network as it is: the Host header, ports, bracketed literals.
func TestHTTP01OverTheNetwork(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("no %s here: %v", host, err)
			continue
		}
		at := netip.MustParseAddrPort(l.Addr().String())
		var got *http.Request
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			io.WriteString(w, keyAuth)
		})}
		go s.Serve(l)
		p := &Prober{DNS: resolver(t), HTTPPort: int(at.Port())}
		check(t, p.HTTP01(t.Context(), host, token, keyAuth),
			fmt.Sprintf("http://%s/.well-known/acme-challenge/%s at %s port %d shows the right answer", at, token, bracket(at.Addr()), at.Port()), SeenRight)
		s.Close()
		if got.Host != at.String() || got.URL.Path != "/.well-known/acme-challenge/"+token || got.Header.Get("Accept") != "*/*" || got.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q %q with %v", got.Host, got.URL, got.Header)
		}
		check(t, p.HTTP01(t.Context(), host, token, keyAuth),
			fmt.Sprintf("http://%s/.well-known/acme-challenge/%s at %s port %d: connection refused", at, token, bracket(at.Addr()), at.Port()), HTTPRefused)
	}
}

// The port of an ordinary challenge is not in the Host header.
func TestHTTP01Host(t *testing.T) {
	hosts := make(chan string, 1)
	p := world{t: t, records: []string{"example.org. 60 IN A 192.0.2.7"}, sites: map[string]site{
		"192.0.2.7:80": handles(func(w http.ResponseWriter, r *http.Request) { hosts <- r.Host }),
	}}.prober()
	p.HTTP01(t.Context(), "example.org", token, keyAuth)
	if host := <-hosts; host != "example.org" {
		t.Errorf("Host: %q", host)
	}
}

func FuzzHTTPAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n" + keyAuth,
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + keyAuth[:50],
		"HTTP/1.1 404 Not Found\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<html\r\n0\r\n\r\n",
		"HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 \r\nContent-Encoding: gzip\r\n\r\n<title> a \u202e</title>",
		"HTTP/1.1 302 Found\r\nLocation: http://a:443/\r\n\r\n",
		"\x15\x03\x01\x00\x02\x02F", "", "SSH-2.0-x\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + token + "." + thumbprint[1:] + "x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l look
		a, err := readAnswer(strings.NewReader(string(data)))
		if err != nil {
			l = unanswered(t.Context(), err, data)
		} else {
			l = judge(a, keyAuth)
		}
		checkLine(t, Seen{Text: l.text, Cause: l.cause})
		if l.cause == "" {
			t.Errorf("no cause for %q", data)
		}
		if l.cause == SeenRight && !strings.Contains(string(data), keyAuth) && !strings.Contains(strings.ToLower(string(data)), "chunked") {
			t.Errorf("%q is taken for right", data)
		}
	})
}

func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{"/x", "//example.org", "https://example.org:443/", "http://user@[::1]:80/", "http://a.well-known/", "?%", "http:x", "HTTP://EXAMPLE.org./"} {
		f.Add(seed)
	}
	from := &url.URL{Scheme: "http", Host: "example.org", Path: "/.well-known/acme-challenge/" + token}
	f.Fuzz(func(t *testing.T, location string) {
		target, why := new(Prober).target(from, location)
		if why != "" {
			return
		}
		host := target.Hostname()
		_, err := netip.ParseAddr(host)
		switch {
		case target.Scheme != "http" && target.Scheme != "https", target.User != nil,
			port(target) != 80 && port(target) != 443,
			host == "" || len(host) > 253 || err != nil && strings.ContainsAny(host, " \t\r\n/\\@:%\x00"),
			strings.ContainsAny(target.RequestURI(), "\r\n\x00"): // a space in the query goes out as it is, as with CAs written in Go
			t.Errorf("%q leads to %q, port %s", location, target, strconv.Itoa(port(target)))
		}
	})
}
