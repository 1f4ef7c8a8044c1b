package dns

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// world is a small DNS on loopback: authoritative servers, each on an address of
// its own and all on one port, and a resolver that has seen all of their zones.
type world struct {
	t        *testing.T
	port     string
	servers  map[string]*server // by address
	resolver *server
}

// server is one name server. quirk, if not nil, answers instead of the zones
// when it returns true.
type server struct {
	world *world
	ip    string
	addr  string

	mu    sync.Mutex
	zones map[string]*zoneData
	quirk func(w mdns.ResponseWriter, q *mdns.Msg) bool
	asked []string // "TXT name udp"
}

type zoneData struct {
	name    string
	records []mdns.RR
}

// newWorld has a root zone that is served nowhere, so that the walk ends there.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, servers: map[string]*server{}}
	for range 50 { // until a port is free on all of them
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, w.port, _ = net.SplitHostPort(c.LocalAddr().String())
		c.Close()
		if w.resolver, err = w.listen("127.0.0.1"); err == nil {
			break
		}
	}
	if w.resolver == nil {
		t.Fatal("no port is free")
	}
	w.resolver.behave(w.recurse)
	return w
}

func (w *world) client() *Client { return &Client{Resolvers: []string{w.resolver.addr}, Port: w.port} }

// hasty does not wait long: for tests in which somebody is silent, and for nothing else,
// since on a busy machine it may be too short for who would answer.
func (w *world) hasty() *Client {
	c := w.client()
	c.patience = 1500 * time.Millisecond
	return c
}

func (w *world) listen(ip string) (*server, error) {
	s := &server{world: w, ip: ip, addr: net.JoinHostPort(ip, w.port), zones: map[string]*zoneData{}}
	udp, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", s.addr)
	if err != nil {
		udp.Close()
		return nil, err
	}
	for _, m := range []*mdns.Server{{PacketConn: udp, Handler: s}, {Listener: tcp, Handler: s}} {
		started := make(chan struct{})
		m.NotifyStartedFunc = func() { close(started) }
		go m.ActivateAndServe()
		<-started
		w.t.Cleanup(func() { m.Shutdown() })
	}
	return s, nil
}

// enlist makes a server known to the resolver, which may be at work already.
func (w *world) enlist(s *server) {
	w.resolver.mu.Lock()
	defer w.resolver.mu.Unlock()
	w.servers[s.ip] = s
}

// serve gives the server at ip one more zone, in the format of zone files. SOA
// and TTL come by themselves: the primary is ns1.
func (w *world) serve(ip, zone, text string) *server {
	w.t.Helper()
	s := w.servers[ip]
	if s == nil {
		var err error
		if s, err = w.listen(ip); err != nil {
			w.t.Fatal(err)
		}
		w.enlist(s)
	}
	z := &zoneData{name: mdns.CanonicalName(zone)}
	text = fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 1 60 60 60 60\n%s\n", mdns.Fqdn(zone), text)
	p := mdns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.records = append(z.records, rr)
	}
	if err := p.Err(); err != nil {
		w.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[z.name] = z
	return s
}

// behave sets a quirk.
func (s *server) behave(quirk func(w mdns.ResponseWriter, q *mdns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirk = quirk
}

// questions are those of one type that came, "" = all.
func (s *server) questions(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(q string) bool { return kind != "" && !strings.HasPrefix(q, kind+" ") })
}

func (s *server) ServeDNS(rw mdns.ResponseWriter, q *mdns.Msg) {
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", mdns.TypeToString[q.Question[0].Qtype],
		bare(q.Question[0].Name), rw.RemoteAddr().Network()))
	quirk := s.quirk
	s.mu.Unlock()
	if quirk != nil && quirk(rw, q) {
		return
	}
	s.mu.Lock()
	m := s.answer(q)
	s.mu.Unlock()
	if rw.RemoteAddr().Network() == "udp" {
		size := mdns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	rw.WriteMsg(m)
}

// answer is RFC 1034 §4.3.2, in short.
func (s *server) answer(q *mdns.Msg) *mdns.Msg {
	m := new(mdns.Msg).SetReply(q)
	m.Compress = true
	name, kind := mdns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	var z *zoneData
	for _, candidate := range s.zones {
		if mdns.IsSubDomain(candidate.name, name) && (z == nil || len(candidate.name) > len(z.name)) {
			z = candidate
		}
	}
	if z == nil {
		m.Rcode = mdns.RcodeRefused
		return m
	}
	exists := false
	for _, rr := range z.records {
		owner := mdns.CanonicalName(rr.Header().Name)
		exists = exists || mdns.IsSubDomain(name, owner)
		if rr.Header().Rrtype == mdns.TypeNS && owner != z.name && mdns.IsSubDomain(owner, name) {
			m.Ns = append(m.Ns, rr)
		}
	}
	if len(m.Ns) > 0 { // a delegation, with what glue the zone has
		for _, rr := range z.records {
			for _, ns := range m.Ns {
				if t := rr.Header().Rrtype; sameName(rr.Header().Name, ns.(*mdns.NS).Ns) && (t == mdns.TypeA || t == mdns.TypeAAAA) {
					m.Extra = append(m.Extra, rr)
				}
			}
		}
		return m
	}
	m.Authoritative = true
	for _, rr := range z.records {
		switch {
		case rr.Header().Rrtype == mdns.TypeDNAME && mdns.IsSubDomain(rr.Header().Name, name) && !sameName(rr.Header().Name, name):
			target := strings.TrimSuffix(name, mdns.CanonicalName(rr.Header().Name)) + rr.(*mdns.DNAME).Target
			c := &mdns.CNAME{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeCNAME, Class: mdns.ClassINET}, Target: target}
			m.Answer = append(m.Answer, rr, c)
			return m
		case sameName(rr.Header().Name, name) && (rr.Header().Rrtype == kind || rr.Header().Rrtype == mdns.TypeCNAME):
			rr = mdns.Copy(rr)
			rr.Header().Name = q.Question[0].Name
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = append(m.Ns, z.records[0])
		if !exists {
			m.Rcode = mdns.RcodeNameError
		}
	}
	return m
}

// recurse answers for the resolver: from the deepest zone anywhere, CNAMEs
// followed. Above all zones there is a root zone.
func (w *world) recurse(rw mdns.ResponseWriter, q *mdns.Msg) bool {
	all := &server{zones: map[string]*zoneData{}}
	w.resolver.mu.Lock()
	servers := slices.Collect(maps.Values(w.servers))
	w.resolver.mu.Unlock()
	for _, s := range servers {
		s.mu.Lock()
		for name, z := range s.zones {
			all.zones[name] = z
		}
		s.mu.Unlock()
	}
	if all.zones["."] == nil {
		soa, _ := mdns.NewRR(". 60 IN SOA a.root. b.root. 1 60 60 60 60")
		all.zones["."] = &zoneData{".", []mdns.RR{soa}}
	}
	m := new(mdns.Msg).SetReply(q)
	m.RecursionAvailable = true
	ask := q.Copy()
	for range 20 {
		part := all.answer(ask)
		m.Answer = append(m.Answer, part.Answer...)
		m.Ns, m.Rcode = part.Ns, part.Rcode
		if len(part.Answer) == 0 {
			break
		}
		c, ok := part.Answer[len(part.Answer)-1].(*mdns.CNAME)
		if !ok || q.Question[0].Qtype == mdns.TypeCNAME {
			break
		}
		ask.Question[0].Name = c.Target
	}
	rw.WriteMsg(m)
	return true
}

// neverRecursed fails the test if the resolver heard of one of the names.
func (w *world) neverRecursed(names ...string) {
	w.t.Helper()
	w.resolver.mu.Lock()
	defer w.resolver.mu.Unlock()
	for _, q := range w.resolver.asked {
		if name := strings.Fields(q)[1]; slices.Contains(names, name) {
			w.t.Errorf("the resolver was asked for %s", q)
		}
	}
}

// The usual: example.org at ns1 and ns2, example.net with its hosts.
func (w *world) usual() (ns1, ns2 *server) {
	const ns = "@ NS ns1\n@ NS ns2\nns1 A 127.0.0.2\nns2 A 127.0.0.3\n"
	w.serve("127.0.0.3", "example.org", ns+"www A 192.0.2.1\n")
	w.serve("127.0.0.2", "example.org", ns+"www A 192.0.2.1\n")
	return w.servers["127.0.0.2"], w.servers["127.0.0.3"]
}

func rcode(code int) func(mdns.ResponseWriter, *mdns.Msg) bool {
	return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		w.WriteMsg(new(mdns.Msg).SetRcode(q, code))
		return true
	}
}

func silent(mdns.ResponseWriter, *mdns.Msg) bool { return true }

var bg = context.Background()

func contextWithCause() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(bg)
}

func addrPort(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
