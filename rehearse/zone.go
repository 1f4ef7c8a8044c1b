package rehearse

import (
	"net"
	"slices"

	"github.com/miekg/dns"
)

// serverName is the name server of all zones.
const serverName = "ns.rehearsal.invalid."

// zoneOf is the zone that a name is in: its last two labels, or fewer where it
// has no more. Labels such as _acme-challenge never begin a zone, so that a zone
// found from a name's record is the one found from the name.
func zoneOf(name string) string {
	name = dns.CanonicalName(name)
	labels := dns.Split(name)
	for len(labels) > 0 && name[labels[0]] == '_' {
		labels = labels[1:]
	}
	if len(labels) == 0 {
		return "."
	}
	return name[labels[max(0, len(labels)-2)]:]
}

// answer fills the reply to a query. Every name exists.
func (s *nameServer) answer(request, reply *dns.Msg) {
	if len(request.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return
	}
	q := request.Question[0]
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		reply.Rcode = dns.RcodeRefused
		return
	}
	reply.Authoritative = true
	reply.RecursionAvailable = true
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, typ := range served {
		if q.Qtype == typ || q.Qtype == dns.TypeANY {
			reply.Answer = append(reply.Answer, s.records(q.Name, typ)...)
		}
	}
	if len(reply.Answer) == 0 { // so that the asker learns the zone (RFC 2308 §2.2)
		reply.Ns = s.records(zoneOf(q.Name), dns.TypeSOA)
	}
}

// served are the types that there are.
var served = []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeA, dns.TypeTXT}

// records are those of one type at a name. The caller holds s.mu. But for TXT
// nothing may be remembered: the next rehearsal has another server.
func (s *nameServer) records(name string, typ uint16) []dns.RR {
	h := dns.RR_Header{Name: name, Rrtype: typ, Class: dns.ClassINET}
	canonical := dns.CanonicalName(name)
	switch {
	case typ == dns.TypeA:
		return []dns.RR{&dns.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)}}
	case typ == dns.TypeTXT:
		var texts []dns.RR
		for _, t := range s.texts[canonical] {
			h.Ttl = t.Hdr.Ttl
			texts = append(texts, &dns.TXT{Hdr: h, Txt: slices.Clone(t.Txt)})
		}
		return texts
	case typ == dns.TypeSOA && zoneOf(name) == canonical:
		return []dns.RR{&dns.SOA{Hdr: h, Ns: serverName, Mbox: "hostmaster.rehearsal.invalid.",
			Serial: s.serial, Refresh: 3600, Retry: 600, Expire: 86400}}
	case typ == dns.TypeNS && zoneOf(name) == canonical:
		return []dns.RR{&dns.NS{Hdr: h, Ns: serverName}}
	}
	return nil
}
