package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	mdns "github.com/miekg/dns"
)

const acme = "_acme-challenge.example.org"

// text is a place in one line: name, zone, primary and servers.
func (p *Place) text() string {
	var servers []string
	for _, s := range p.Servers {
		servers = append(servers, s.Name+"="+s.Address.Addr().String())
	}
	return fmt.Sprintf("%s in %s of %s at %s", p.Name, p.Zone, p.Primary, strings.Join(servers, ","))
}

func TestPlace(t *testing.T) {
	const both = " of ns1.example.org at ns1.example.org=127.0.0.2,ns2.example.org=127.0.0.3"
	const netNS = "@ NS ns1\nns1 A 127.0.0.4\n"
	const atNet = " in example.net of ns1.example.net at ns1.example.net=127.0.0.4"
	tests := []struct {
		about string
		org   string // more records of example.org
		net   string // more records of example.net, on another server
		more  func(w *world)
		name  string
		want  string
	}{
		{"the parent is the zone", "", "", nil, acme, acme + " in example.org" + both},
		{"a record that is there", "_acme-challenge TXT x", "", nil, acme, acme + " in example.org" + both},
		{"a wildcard", "* TXT x", "", nil, acme, acme + " in example.org" + both},
		{"the parent of the parent", "", "", nil, "_acme-challenge.www.example.org",
			"_acme-challenge.www.example.org in example.org" + both},
		{"a parent that does not exist", "", "", nil, "_acme-challenge.a.b.c.example.org",
			"_acme-challenge.a.b.c.example.org in example.org" + both},
		{"a parent that is an alias", "cdn CNAME ns1.example.net.", "", nil, "_acme-challenge.cdn.example.org",
			"_acme-challenge.cdn.example.org in example.org" + both},
		{"a parent that is an alias into the zone above its own", "x A 192.0.2.1\nsub NS ns1.example.net.", "", func(w *world) {
			w.serve("127.0.0.4", "sub.example.org", "@ NS ns1.example.net.\ncdn CNAME x.example.org.")
		}, "_acme-challenge.cdn.sub.example.org",
			"_acme-challenge.cdn.sub.example.org in sub.example.org of ns1.sub.example.org at ns1.example.net=127.0.0.4"},
		{"upper case and a final dot", "", "", nil, "_ACME-Challenge.Example.ORG.", acme + " in example.org" + both},
		{"upper case in the answers", "_ACME-CHALLENGE CNAME There.EXAMPLE.Net.", "", nil, acme, "there.example.net" + atNet},
		{"A-labels", "xn--bcher-kva A 192.0.2.1", "", nil, "_acme-challenge.xn--bcher-kva.example.org",
			"_acme-challenge.xn--bcher-kva.example.org in example.org" + both},
		{"a zone's own name", "", "", org, "example.org", "example.org in example.org" + both},

		{"CNAME to another zone", "_acme-challenge CNAME x.y.example.net.", "x.y TXT z", nil, acme, "x.y.example.net" + atNet},
		{"CNAME to a name that does not exist", "_acme-challenge CNAME x.example.net.", "", nil, acme, "x.example.net" + atNet},
		{"CNAME to a zone's own name", "_acme-challenge CNAME example.net.", "",
			func(w *world) { w.serve("127.0.0.6", "net", "@ NS ns1\nns1 A 127.0.0.6\nexample NS ns1.example") }, acme, "example.net" + atNet},
		{"CNAME within the zone", "_acme-challenge CNAME x", "", nil, acme, "x.example.org in example.org" + both},
		{"CNAMEs over two zones and back", "_acme-challenge CNAME x.example.net.\nz TXT z",
			"x CNAME y\ny CNAME z.example.org.", nil, acme, "z.example.org in example.org" + both},
		{"16 CNAMEs", cnames(16), "", nil, acme, "c16.example.org in example.org" + both},
		{"DNAME", "sub DNAME example.net.", "", nil, "_acme-challenge.sub.example.org", "_acme-challenge.example.net" + atNet},

		{"the very name delegated, with glue", "_acme-challenge NS ns._acme-challenge\nns._acme-challenge A 127.0.0.5", "",
			func(w *world) { w.serve("127.0.0.5", acme, "@ NS ns\nns A 127.0.0.5\nns1 A 127.0.0.5") }, acme,
			acme + " in " + acme + " of ns1." + acme + " at ns." + acme + "=127.0.0.5"},
		{"the very name delegated, without glue", "_acme-challenge NS ns1.example.net.", "",
			func(w *world) { w.serve("127.0.0.4", acme, "@ NS ns1.example.net.") }, acme,
			acme + " in " + acme + " of ns1." + acme + " at ns1.example.net=127.0.0.4"},
		{"the very name a zone of the same servers", "_acme-challenge NS ns2", "",
			func(w *world) {
				w.serve("127.0.0.2", acme, "@ NS ns2.example.org.")
				w.serve("127.0.0.3", acme, "@ NS ns2.example.org.")
			}, acme, acme + " in " + acme + " of ns1." + acme + " at ns2.example.org=127.0.0.3"},
		{"a zone below, which the CNAME leads into", "_acme-challenge CNAME x.sub\nsub NS ns1.example.net.", "",
			func(w *world) { w.serve("127.0.0.4", "sub.example.org", "@ NS ns1.example.net.") }, acme,
			"x.sub.example.org in sub.example.org of ns1.sub.example.org at ns1.example.net=127.0.0.4"},

		{"one address twice", "@ NS ns3\nns3 A 127.0.0.3", "", nil, acme, acme + " in example.org" + both},
		{"a server without an address", "@ NS ns3", "", nil, acme, acme + " in example.org" + both},
		{"an address without a route", "ns1 AAAA fe80::1", "", nil, acme, acme + " in example.org" + both},
		{"a lame server", "", "", func(w *world) { w.servers["127.0.0.2"].behave(rcode(mdns.RcodeRefused)) }, acme,
			acme + " in example.org" + both},
		{"no SOA beside a negative answer", "", "", func(w *world) {
			for _, s := range w.servers {
				s.behave(withoutAuthority(s))
			}
		}, acme, acme + " in example.org" + both},
		{"a zone that the resolver cannot resolve, known to its parent", "", "", func(w *world) {
			org(w)
			w.resolver.behave(func(rw mdns.ResponseWriter, q *mdns.Msg) bool {
				if mdns.IsSubDomain("example.org.", q.Question[0].Name) {
					return rcode(mdns.RcodeServerFailure)(rw, q)
				}
				return w.recurse(rw, q)
			})
		}, acme, acme + " in example.org" + both},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			w := newWorld(t)
			w.usual()
			for _, ip := range []string{"127.0.0.2", "127.0.0.3"} {
				w.serve(ip, "example.org", "@ NS ns1\n@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\nwww A 192.0.2.1\n"+test.org)
			}
			w.serve("127.0.0.4", "example.net", netNS+test.net)
			if test.more != nil {
				test.more(w)
			}
			p, err := w.client().Place(bg, test.name)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.text(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			w.neverRecursed(bare(test.name), p.Name)
		})
	}
}

// org is the zone that delegates example.org.
func org(w *world) {
	w.serve("127.0.0.6", "org", "@ NS ns1\nns1 A 127.0.0.6\nexample NS ns1.example\nexample NS ns2.example\n"+
		"ns1.example A 127.0.0.2\nns2.example A 127.0.0.3")
}

// cnames are a chain of n, from _acme-challenge to cN.
func cnames(n int) string {
	text := "_acme-challenge CNAME c1\n"
	for i := 1; i < n; i++ {
		text += fmt.Sprintf("c%d CNAME c%d\n", i, i+1)
	}
	return text
}

func withoutAuthority(s *server) func(mdns.ResponseWriter, *mdns.Msg) bool {
	return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		s.mu.Lock()
		m := s.answer(q)
		s.mu.Unlock()
		m.Ns = nil
		w.WriteMsg(m)
		return true
	}
}

func TestPlaceError(t *testing.T) {
	everywhere := func(quirk func(mdns.ResponseWriter, *mdns.Msg) bool) func(*world) {
		return func(w *world) {
			for _, s := range w.servers {
				s.behave(quirk)
			}
		}
	}
	tests := []struct {
		about string
		org   string
		more  func(w *world)
		name  string
		kind  any
		want  string
	}{
		{"nobody serves it", "", nil, "_acme-challenge.example.com", new(*ZoneError),
			`nobody serves a zone for "_acme-challenge.example.com"`},
		{"a name of one label", "", nil, "localdomain", new(*ZoneError), `nobody serves a zone for "localdomain"`},
		{"CNAME loop", "_acme-challenge CNAME x\nx CNAME _Acme-Challenge", nil, acme, new(*ChainError),
			`CNAME of "_acme-challenge.example.org" to "x.example.org", to "_acme-challenge.example.org": a loop`},
		{"CNAME to itself", "_acme-challenge CNAME _acme-challenge", nil, acme, new(*ChainError),
			`CNAME of "_acme-challenge.example.org" to "_acme-challenge.example.org": a loop`},
		{"17 CNAMEs", cnames(17), nil, acme, new(*ChainError),
			`CNAME of "_acme-challenge.example.org" to "c17.example.org": more than 16 in a row`},
		{"CNAME to a name without a zone", "_acme-challenge CNAME x.example.com.", nil, acme, new(*ChainError),
			`CNAME of "_acme-challenge.example.org" to "x.example.com": nobody serves a zone for "x.example.com"`},
		{"CNAME to the root", "_acme-challenge CNAME .", nil, acme, new(*ChainError),
			`CNAME of "_acme-challenge.example.org" to "": nobody serves a zone for ""`},
		{"REFUSED everywhere", "", everywhere(rcode(mdns.RcodeRefused)), acme, new(*UnreachableError),
			`none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): REFUSED`},
		{"SERVFAIL everywhere", "", everywhere(rcode(mdns.RcodeServerFailure)), acme, new(*UnreachableError),
			`none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): SERVFAIL`},
		{"not authoritative", "", everywhere(rcode(mdns.RcodeSuccess)), acme, new(*UnreachableError),
			`none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): it is not in charge of the zone`},
		{"silent everywhere", "", everywhere(silent), acme, new(*UnreachableError),
			`none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): i/o timeout`},
		{"a referral upwards", "", everywhere(referral("org.", "ns1.example.org.")), acme, new(*UnreachableError),
			`none of the 2 name servers of "example.org" answers: ns1.example.org (127.0.0.2:PORT): it is not in charge of the zone`},
		{"a referral to where nobody answers", "_acme-challenge NS x\nx A 127.0.0.99", nil, acme, new(*UnreachableError),
			`the only name server of "_acme-challenge.example.org" does not answer: x.example.org (127.0.0.99:PORT): connection refused`},
		{"a referral to where nobody is", "_acme-challenge NS x", nil, acme, new(*UnreachableError),
			`no name server of "_acme-challenge.example.org" has an address: x.example.org: "x.example.org" does not exist in the DNS`},
		{"a resolver without a way out", "", func(w *world) { w.resolver.behave(rcode(mdns.RcodeServerFailure)) }, acme,
			new(*ResolverError), `resolver 127.0.0.1:PORT answers SERVFAIL for "example.org"`},
		{"a resolver that does not answer", "", func(w *world) { w.resolver.behave(silent) }, acme,
			new(*ResolverError), `no resolver answers for "example.org": 127.0.0.1:PORT: i/o timeout`},
		{"no name", "", nil, "", nil, "a DNS name is empty"},
		{"a label too long", "", nil, strings.Repeat("a", 64) + ".example.org", nil,
			`"` + strings.Repeat("a", 64) + `.example.org" is no DNS name`},
		{"U-labels", "", nil, "bücher.example.org", nil, `"bücher.example.org" is no DNS name in ASCII`},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, ip := range []string{"127.0.0.2", "127.0.0.3"} {
				w.serve(ip, "example.org", "@ NS ns1\n@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n"+test.org)
			}
			if test.more != nil {
				test.more(w)
			}
			c := w.client()
			if strings.HasSuffix(test.want, "i/o timeout") {
				c = w.hasty()
			}
			p, err := c.Place(bg, test.name)
			if err == nil {
				t.Fatalf("got %s", p.text())
			}
			if got := strings.ReplaceAll(err.Error(), ":"+w.port, ":PORT"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if test.kind != nil && !errors.As(err, test.kind) {
				t.Errorf("%T is not %T", err, test.kind)
			}
			w.neverRecursed(bare(test.name))
		})
	}
}

// referral points to servers of zone.
func referral(zone, server string) func(mdns.ResponseWriter, *mdns.Msg) bool {
	return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		m := new(mdns.Msg).SetReply(q)
		m.Ns = []mdns.RR{&mdns.NS{Hdr: mdns.RR_Header{Name: zone, Rrtype: mdns.TypeNS, Class: mdns.ClassINET}, Ns: server}}
		w.WriteMsg(m)
		return true
	}
}

func TestPlaceFamilies(t *testing.T) {
	w := newWorld(t)
	w.serve("127.0.0.2", "example.org", "@ NS ns1\nns1 A 127.0.0.2\nns1 AAAA ::1\n")
	w.serve("::1", "example.org", "@ NS ns1\nns1 A 127.0.0.2\nns1 AAAA ::1\n_acme-challenge TXT six")
	for network, want := range map[string]string{
		"":  "ns1.example.org=127.0.0.2,ns1.example.org=::1",
		"4": "ns1.example.org=127.0.0.2",
		"6": "ns1.example.org=::1",
	} {
		c := w.client()
		c.Network = network
		p, err := c.Place(bg, acme)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(p.text(), " at "); got != want {
			t.Errorf("Network %q: got %s, want %s", network, got, want)
		}
		if network == "6" {
			if s := c.Look(bg, p); len(s) != 1 || len(s[0].Values) != 1 || s[0].Values[0] != "six" {
				t.Errorf("over ::1 got %v", s)
			}
		}
	}
}

func TestPlaceEndsWithContext(t *testing.T) {
	w := newWorld(t)
	ns1, ns2 := w.usual()
	ctx, cancel := contextWithCause()
	stop := func(mdns.ResponseWriter, *mdns.Msg) bool { cancel(syscall.EINTR); return true }
	ns1.behave(stop)
	ns2.behave(stop)
	if _, err := w.client().Place(ctx, acme); err != syscall.EINTR {
		t.Errorf("got %v", err)
	}
}

// A zone that only the resolver knows, as inside a company: no parent delegates it.
func TestPlaceOfZone(t *testing.T) {
	w := newWorld(t)
	w.usual()
	p, err := newFinder(w.client()).placeFrom(bg, "example.org.", "example.org.")
	if err != nil {
		t.Fatal(err)
	}
	if want := "example.org in example.org of ns1.example.org at ns1.example.org=127.0.0.2,ns2.example.org=127.0.0.3"; p.text() != want {
		t.Errorf("got %s", p.text())
	}
}

func TestRouted(t *testing.T) {
	four, six := netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53")
	both := []Server{{"a", four}, {"a", six}}
	only4 := routed(both, func(to netip.AddrPort) bool { return to == four })
	if len(only4) != 1 || only4[0].Address != four {
		t.Errorf("without IPv6: %v", only4)
	}
	if none := routed(both, func(netip.AddrPort) bool { return false }); len(none) != 2 {
		t.Errorf("without any: %v", none)
	}
}
