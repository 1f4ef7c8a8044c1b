package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"arid/dns"
	"arid/internal/guard"

	mdns "github.com/miekg/dns"
)

const (
	token      = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	thumbprint = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	keyAuth    = token + "." + thumbprint
)

// world is where the prober looks: real listeners behind addresses of the
// documentation's networks, and a real name server.
type world struct {
	t       *testing.T
	sites   map[string]site
	records []string
}

// site is what listens at an address and port: it returns where in truth, or
// why it cannot be reached.
type site func(t *testing.T) (address string, err error)

func (w world) prober() *Prober {
	listening := map[string]string{}
	failing := map[string]error{}
	for at, s := range w.sites {
		listening[at], failing[at] = s(w.t)
	}
	return &Prober{
		DNS: resolver(w.t, w.records...),
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if err := failing[address]; err != nil {
				return nil, &net.OpError{Op: "dial", Net: network, Err: err}
			}
			if listening[address] == "" {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return new(net.Dialer).DialContext(ctx, network, listening[address])
		},
	}
}

// fails is a site that cannot be reached.
func fails(err error) site { return func(*testing.T) (string, error) { return "", err } }

// raw is a site that reads a request's head and does as it likes.
func raw(do func(net.Conn)) site {
	return func(t *testing.T) (string, error) {
		l := listen(t, "127.0.0.1:0")
		go guard.Run(func() error {
			for {
				conn, err := l.Accept()
				if err != nil {
					return err
				}
				go guard.Run(func() error {
					defer conn.Close()
					do(conn)
					return nil
				})
			}
		})
		return l.Addr().String(), nil
	}
}

// says is a site that answers any request with text.
func says(text string) site {
	return raw(func(conn net.Conn) {
		readHead(conn)
		conn.Write([]byte(text))
	})
}

// shows is a web server with one page; server is its name.
func shows(status int, server, page string) site {
	return handles(func(w http.ResponseWriter, r *http.Request) {
		if server != "" {
			w.Header().Set("Server", server)
		}
		w.WriteHeader(status)
		w.Write([]byte(page))
	})
}

func handles(h http.HandlerFunc) site {
	return func(t *testing.T) (string, error) {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String(), nil
	}
}

func handlesTLS(h http.HandlerFunc) site {
	return func(t *testing.T) (string, error) {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = quiet
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String(), nil
	}
}

// redirects sends everything to one place.
func redirects(status int, to string) site {
	return handles(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	})
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// readHead reads up to the empty line, or to the end.
func readHead(conn net.Conn) string {
	var head []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		if _, err := conn.Read(one); err != nil {
			break
		}
		head = append(head, one[0])
	}
	return string(head)
}

// resolver is a client of a name server that knows these records.
func resolver(t *testing.T, records ...string) *dns.Client {
	t.Helper()
	at := nameServer(t, "127.0.0.1:0", records...)
	return &dns.Client{Resolvers: []string{at.String()}, Port: fmt.Sprint(at.Port())}
}

// nameServer serves records over UDP and TCP, with authority for all of them.
func nameServer(t *testing.T, address string, records ...string) netip.AddrPort {
	t.Helper()
	all := parse(t, records)
	return serveDNS(t, address, func(q mdns.Question, m *mdns.Msg) { answerFrom(all, q, m) })
}

func parse(t *testing.T, records []string) (all []mdns.RR) {
	t.Helper()
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	return all
}

// answerFrom answers as one who knows all of the DNS. CNAMEs are followed for
// addresses only, as a resolver does and a server of one zone does not.
func answerFrom(all []mdns.RR, q mdns.Question, m *mdns.Msg) {
	m.Authoritative, m.Rcode = true, mdns.RcodeNameError
	name := mdns.CanonicalName(q.Name)
	for hops := 0; name != "" && hops < 8; hops++ {
		next := ""
		for _, rr := range all {
			own := mdns.CanonicalName(rr.Header().Name)
			if mdns.IsSubDomain(name, own) {
				m.Rcode = mdns.RcodeSuccess // it, or something below it, is there
			}
			alias, isAlias := rr.(*mdns.CNAME)
			switch {
			case own != name:
			case rr.Header().Rrtype == q.Qtype:
				m.Answer = append(m.Answer, rr)
			case isAlias:
				m.Answer = append(m.Answer, rr)
				if q.Qtype != mdns.TypeTXT {
					next = mdns.CanonicalName(alias.Target)
				}
			}
		}
		name = next
	}
	for _, rr := range all {
		if len(m.Answer) == 0 && rr.Header().Rrtype == mdns.TypeSOA && mdns.IsSubDomain(rr.Header().Name, q.Name) {
			m.Ns = append(m.Ns, rr)
		}
	}
}

// serveDNS answers questions over UDP and TCP on one port.
func serveDNS(t *testing.T, address string, answer func(mdns.Question, *mdns.Msg)) netip.AddrPort {
	t.Helper()
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) {
		m := new(mdns.Msg).SetReply(r)
		answer(r.Question[0], m)
		w.WriteMsg(m)
	})
	l := listen(t, address)
	packets, err := net.ListenPacket("udp", l.Addr().String())
	for tries := 1; errors.Is(err, syscall.EADDRINUSE) && tries < 10; tries++ { // free for TCP, but not for UDP
		l = listen(t, address)
		packets, err = net.ListenPacket("udp", l.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*mdns.Server{{Listener: l, Handler: handler}, {PacketConn: packets, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go guard.Run(s.ActivateAndServe)
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(l.Addr().String())
}

// check compares what was seen; URL in want stands for the challenge's.
func check(t *testing.T, got Seen, text string, cause Cause) {
	t.Helper()
	if rest, ok := strings.CutPrefix(text, "URL "); ok {
		text = "http://example.org/.well-known/acme-challenge/" + token + " " + rest
	}
	if got.Text != text || got.Cause != cause {
		t.Errorf("saw  %s\n(%s), want\n     %s\n(%s)", got.Text, got.Cause, text, cause)
	}
	if strings.HasSuffix(got.Text, ".") {
		t.Error("a full stop")
	}
	checkLine(t, got)
}

// checkLine holds what is true of anything seen.
func checkLine(t *testing.T, got Seen) {
	t.Helper()
	if strings.ContainsFunc(got.Text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
		t.Errorf("more than one line of plain text: %q", got.Text)
	}
	if len(got.Text) > 5000 || got.Text == "" {
		t.Errorf("no line: %d bytes, %q", len(got.Text), got.Text)
	}
	if got.Cause != "" && !slices.Contains(Causes(), got.Cause) {
		t.Errorf("unknown cause %q", got.Cause)
	}
}

func TestCauses(t *testing.T) {
	seen := map[Cause]bool{}
	for _, c := range Causes() {
		if seen[c] || strings.Trim(string(c), "abcdefghijklmnopqrstuvwxyz-0123456789") != "" {
			t.Errorf("%q is twice there, or no name for a hint", c)
		}
		seen[c] = true
	}
	for _, c := range telling {
		if c != "" && !seen[c] {
			t.Errorf("%q is missing from Causes", c)
		}
	}
}

func TestChoose(t *testing.T) {
	addresses := func(fours, sixes int) (all []netip.Addr) {
		for i := range fours {
			all = append(all, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		for i := range sixes {
			all = append(all, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
		}
		return all
	}
	for _, c := range []struct{ fours, sixes, four, six int }{
		{0, 0, 0, 0}, {1, 0, 1, 0}, {0, 1, 0, 1}, {3, 2, 3, 2}, {8, 0, 8, 0}, {20, 0, 8, 0}, {0, 20, 0, 8},
		{20, 20, 4, 4}, {20, 1, 7, 1}, {1, 20, 1, 7}, {4, 6, 4, 4},
	} {
		four, six := 0, 0
		for _, a := range choose(addresses(c.fours, c.sixes), 8) {
			if a.Is4() {
				four++
			} else {
				six++
			}
		}
		if four != c.four || six != c.six {
			t.Errorf("%d and %d: took %d and %d, want %d and %d", c.fours, c.sixes, four, six, c.four, c.six)
		}
	}
}

func TestReach(t *testing.T) {
	for address, want := range map[string]int{
		"127.0.0.1": 0, "::1": 0, "169.254.169.254": 0, "fe80::1": 0, "0.0.0.0": 0, "224.0.0.1": 0,
		"10.1.2.3": 1, "192.168.0.1": 1, "172.16.0.1": 1, "fd00::1": 1, "100.100.100.200": 1,
		"192.0.2.7": 2, "2001:db8::7": 2,
	} {
		if got := reach(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		`"a" does not exist`:     `"a" does not exist`,
		"two\nlines":             `"two\nlines"`,
		"\x1b[2J":                `"\x1b[2J"`,
		"\xff":                   `"\xff"`,
		"right\u202eleft":        `"right\u202eleft"`,
		strings.Repeat("x", 301): `"` + strings.Repeat("x", 300) + `…"`,
	} {
		if got := words(errors.New(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A server that takes the connection and is silent, and a firewall that drops
// everything, in a bubble where time is made.
func TestPatience(t *testing.T) {
	silent := func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { // swallows what comes
			for b := make([]byte, 512); ; {
				if _, err := theirs.Read(b); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}
	dropped := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
	trickle := func(head string) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				readHead(theirs)
				theirs.Write([]byte(head))
				for {
					time.Sleep(1100 * time.Millisecond)
					if _, err := theirs.Write([]byte("x")); err != nil {
						return
					}
				}
			}()
			return ours, nil
		}
	}
	const url = "http://192.0.2.7/.well-known/acme-challenge/" + token
	https := func(p *Prober, ctx context.Context) Seen { return p.HTTP01(ctx, "192.0.2.7", token, keyAuth) }
	alpn := func(p *Prober, ctx context.Context) Seen { return p.TLSALPN01(ctx, "192.0.2.7", keyAuth) }
	for _, c := range []struct {
		name  string
		dial  func(context.Context, string, string) (net.Conn, error)
		look  func(*Prober, context.Context) Seen
		left  time.Duration
		end   bool // the run is ended then
		after time.Duration
		text  string
		cause Cause
	}{
		{"silent", silent, https, time.Hour, false, 5 * time.Second, url + " at 192.0.2.7 port 80 takes the connection, but gives no answer within 5 s", HTTPTimeout},
		{"dropped", dropped, https, time.Hour, false, 5 * time.Second, url + " at 192.0.2.7 port 80: no connection within 5 s", HTTPTimeout},
		{"header, drop by drop", trickle("HTTP/1.1 200 OK\r\nX: "), https, time.Hour, false, 5 * time.Second,
			url + ` at 192.0.2.7 port 80 begins to answer, "HTTP/1.1 200 OK\r\nX: xxxx", but does not end within 5 s`, HTTPTimeout},
		{"body, drop by drop", trickle("HTTP/1.1 200 OK\r\n\r\n"), https, time.Hour, false, 5 * time.Second,
			url + ` at 192.0.2.7 port 80 begins to answer, "HTTP/1.1 200 OK\r\n\r\nxxxx", but does not end within 5 s`, HTTPTimeout},
		{"little time", dropped, https, time.Second, false, time.Second, url + " at 192.0.2.7 port 80: no connection in the time that was left", HTTPTimeout},
		{"ended", dropped, https, time.Second, true, time.Second, url + " at 192.0.2.7 port 80: no connection before the run was ended", ""},
		{"ended, silent", silent, https, time.Second, true, time.Second, url + " at 192.0.2.7 port 80 gave no answer before the run was ended", ""},
		{"TLS, silent", silent, alpn, time.Hour, false, 5 * time.Second, "TLS at 192.0.2.7 port 443 takes the connection, but ends no TLS handshake within 5 s", TLSTimeout},
		{"TLS, dropped", dropped, alpn, time.Hour, false, 5 * time.Second, "TLS at 192.0.2.7 port 443: no connection within 5 s", TLSTimeout},
		{"TLS, ended", silent, alpn, time.Second, true, time.Second, "TLS at 192.0.2.7 port 443 ended no TLS handshake before the run was ended", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.left)
				defer cancel()
				if c.end {
					var stop func()
					ctx, stop = context.WithCancel(t.Context())
					time.AfterFunc(c.left, stop)
				}
				start := time.Now()
				check(t, c.look(&Prober{DNS: &dns.Client{}, dial: c.dial}, ctx), c.text, c.cause)
				if took := time.Since(start); took != c.after {
					t.Errorf("took %s, want %s", took, c.after)
				}
				time.Sleep(2 * time.Second) // for the other side to notice
			})
		})
	}
}

// A redirect to each next host that is silent must not add up without end.
func TestPatienceWithRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hop := 0
		dial := func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				readHead(theirs)
				hop++
				time.Sleep(4 * time.Second)
				fmt.Fprintf(theirs, "HTTP/1.1 302 Found\r\nLocation: /%d\r\n\r\n", hop)
				theirs.Close()
			}()
			return ours, nil
		}
		start := time.Now()
		got := (&Prober{DNS: &dns.Client{}, dial: dial}).HTTP01(t.Context(), "192.0.2.7", token, keyAuth)
		check(t, got, "http://192.0.2.7/.well-known/acme-challenge/"+token+` at 192.0.2.7 port 80 redirects 3 times, last to "/3" at 192.0.2.7 port 80, which takes the connection, but gives no answer in the time that was left`, HTTPRedirect)
		if took := time.Since(start); took != chainTime {
			t.Errorf("took %s", took)
		}
		time.Sleep(5 * time.Second) // for the other side to notice
	})
}

func TestNoAddress(t *testing.T) {
	records := []string{"nothing.example.org. 60 IN TXT x"}
	for _, c := range []struct {
		name, text string
	}{
		{"none.example.org", `"none.example.org" does not exist in the DNS`},
		{"nothing.example.org", `"nothing.example.org" has no address`},
	} {
		p := world{t: t, records: records}.prober()
		check(t, p.TLSALPN01(t.Context(), c.name, keyAuth), c.text, NoAddress)
		check(t, p.HTTP01(t.Context(), c.name, token, keyAuth), c.text, NoAddress)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	p := world{t: t}.prober()
	check(t, p.TLSALPN01(over, "example.org", keyAuth), `no time was left to look at "example.org"`, "")
	check(t, p.DNS01(over, "example.org", "x"), `no time was left to look at "_acme-challenge.example.org"`, "")
}

// A bug in a look is told as one, and ends no run.
func TestPanicInALook(t *testing.T) {
	p := &Prober{DNS: &dns.Client{}, dial: func(context.Context, string, string) (net.Conn, error) { panic("oops") }}
	check(t, p.TLSALPN01(t.Context(), "192.0.2.7", keyAuth), "TLS at 192.0.2.7 port 443: a bug in arid: oops", "")
}

// An address that a public CA cannot reach is told as one.
func TestPrivateAddress(t *testing.T) {
	p := world{t: t, records: []string{"example.org. 60 IN A 192.168.1.2", "example.org. 60 IN AAAA fd00::2", "www.example.org. 60 IN A 192.168.1.3"}, sites: map[string]site{
		"192.168.1.2:80": redirects(302, "http://www.example.org/"), "192.168.1.3:80": shows(200, "", keyAuth),
	}}.prober()
	check(t, p.HTTP01(t.Context(), "example.org", token, keyAuth),
		`URL at [fd00::2] (private) port 80: connection refused; `+
			`at 192.168.1.2 (private) port 80 redirects to "http://www.example.org/" at 192.168.1.3 (private) port 80, which shows the right answer`, HTTPv6)
}

// Many addresses at once, some of them alike.
func TestManyAddresses(t *testing.T) {
	var records []string
	for i := range 6 {
		records = append(records, fmt.Sprintf("example.org. 60 IN A 192.0.2.%d", i+1), fmt.Sprintf("example.org. 60 IN AAAA 2001:db8::%d", i+1))
	}
	page := shows(200, "", "<title>Welcome</title>")
	p := world{t: t, records: records, sites: map[string]site{
		"192.0.2.1:80": shows(404, "nginx", ""), "192.0.2.2:80": page, "192.0.2.3:80": fails(syscall.EHOSTUNREACH),
		"192.0.2.4:80": shows(503, "", ""), "[2001:db8::1]:80": page,
	}}.prober()
	check(t, p.HTTP01(t.Context(), "example.org", token, keyAuth),
		`URL at [2001:db8::1] and 192.0.2.2 port 80 shows an HTML page titled "Welcome", and not the key authorization; `+
			`at 192.0.2.1 port 80 answers 404 Not Found (from "nginx"); at 192.0.2.4 port 80 answers 503 Service Unavailable; `+
			`at [2001:db8::2], [2001:db8::3] and [2001:db8::4] port 80: connection refused; …; 4 more addresses not looked at`, HTTPOtherText)
}
