package rehearse

import (
	"slices"

	"github.com/miekg/dns"
)

// maxTexts bounds what updates can leave here.
const maxTexts = 1000

// update does what an RFC 2136 message asks for, all of it or nothing, and
// returns the reply's code. Any zone will do that holds the names, since only
// the user knows where his real ones begin; only TXT records can be changed.
func (s *nameServer) update(m *dns.Msg) (rcode int) {
	if len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeSOA {
		return dns.RcodeFormatError
	}
	zone := m.Question[0]
	if zone.Qclass != dns.ClassINET || zone.Name == "." {
		return dns.RcodeNotAuth
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rcode := s.prerequisites(zone.Name, m.Answer); rcode != dns.RcodeSuccess {
		return rcode
	}
	for _, rr := range m.Ns {
		if rcode := checkChange(zone.Name, rr); rcode != dns.RcodeSuccess {
			return rcode
		}
	}
	// In copies, which take the old lists' places once all went well.
	changed := map[string][]*dns.TXT{}
	count := s.count
	for _, rr := range m.Ns {
		name := dns.CanonicalName(rr.Header().Name)
		texts, begun := changed[name]
		if !begun {
			texts = slices.Clone(s.texts[name])
		}
		count -= len(texts)
		changed[name] = change(texts, rr)
		if count += len(changed[name]); count > maxTexts {
			return dns.RcodeRefused
		}
	}
	for name, texts := range changed {
		s.texts[name] = texts
		if len(texts) == 0 {
			delete(s.texts, name)
		}
	}
	s.count = count
	s.serial++
	return dns.RcodeSuccess
}

// checkChange looks at one record of the update section before anything is
// changed (RFC 2136 §3.4.1).
func checkChange(zone string, rr dns.RR) (rcode int) {
	h := rr.Header()
	text, isText := rr.(*dns.TXT)
	switch {
	case !dns.IsSubDomain(zone, h.Name):
		return dns.RcodeNotZone
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY: // the whole name
		isText = true
	}
	if !isText {
		return dns.RcodeRefused
	}
	switch h.Class {
	case dns.ClassINET:
		if len(text.Txt) > 0 {
			return dns.RcodeSuccess
		}
	case dns.ClassANY:
		if h.Ttl == 0 && h.Rdlength == 0 {
			return dns.RcodeSuccess
		}
	case dns.ClassNONE:
		if h.Ttl == 0 && len(text.Txt) > 0 {
			return dns.RcodeSuccess
		}
	}
	return dns.RcodeFormatError
}

// change is what one record of the update section makes of the records at its
// name (RFC 2136 §3.4.2).
func change(texts []*dns.TXT, rr dns.RR) []*dns.TXT {
	class := rr.Header().Class
	if class == dns.ClassANY {
		return nil
	}
	t := rr.(*dns.TXT)
	texts = slices.DeleteFunc(texts, func(old *dns.TXT) bool { return slices.Equal(old.Txt, t.Txt) })
	if class == dns.ClassINET {
		texts = append(texts, t)
	}
	return texts
}

// prerequisites holds what must be so before an update against what is (RFC
// 2136 §3.2). The caller holds s.mu.
func (s *nameServer) prerequisites(zone string, conditions []dns.RR) (rcode int) {
	exact := map[dns.RR_Header][]dns.RR{} // by name and type: a whole RRset is given
	for _, rr := range conditions {
		h := rr.Header()
		name, whole := dns.CanonicalName(h.Name), h.Rrtype == dns.TypeANY
		there := whole || len(s.records(name, h.Rrtype)) > 0 // every name exists
		switch {
		case h.Ttl != 0:
			return dns.RcodeFormatError
		case !dns.IsSubDomain(zone, name):
			return dns.RcodeNotZone
		case h.Class == dns.ClassINET && h.Rdlength > 0 && !whole:
			set := dns.RR_Header{Name: name, Rrtype: h.Rrtype}
			exact[set] = append(exact[set], rr)
		case h.Class != dns.ClassANY && h.Class != dns.ClassNONE || h.Rdlength != 0:
			return dns.RcodeFormatError
		case h.Class == dns.ClassANY && !there:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && whole:
			return dns.RcodeYXDomain
		case h.Class == dns.ClassNONE && there:
			return dns.RcodeYXRrset
		}
	}
	for set, want := range exact {
		if !sameSet(want, s.records(set.Name, set.Rrtype)) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// sameSet compares two RRsets, TTLs aside. A record given twice is one.
func sameSet(a, b []dns.RR) bool { return within(a, b) && within(b, a) }

func within(some, all []dns.RR) bool {
	for _, rr := range some {
		if !slices.ContainsFunc(all, func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
			return false
		}
	}
	return true
}
