package dns

import (
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// FuzzAnswer reads raw bytes as each kind of answer that we ask for. Nothing may
// panic, and what counts must be there: for our question, of our name, within
// the zone.
func FuzzAnswer(f *testing.F) {
	const name, zone = "_acme-challenge.example.org.", "example.org."
	questions := []*mdns.Msg{
		newQuestion(name, mdns.TypeTXT, false),
		newQuestion(name, mdns.TypeSOA, false),
		newQuestion(zone, mdns.TypeNS, true),
		newQuestion("ns1."+zone, mdns.TypeA, true),
	}
	for _, q := range questions {
		q.Id = 0x4242
	}
	for _, seed := range seeds(f, questions) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i, q := range questions {
			m, err := readAnswer(q, raw)
			if err != nil || m.Truncated {
				continue
			}
			switch i {
			case 0:
				checkTXT(t, m, name)
			case 1:
				checkStep(t, m, zone, name)
			case 2:
				serversOf(m.Answer, zone)
				if up := enclosing(m, zone); up == zone || !mdns.IsSubDomain(up, zone) {
					t.Errorf("above %q is %q", zone, up)
				}
			case 3:
				if found := addressesIn(m.Answer, endOfChain(m.Answer, "ns1."+zone)); len(found) > len(m.Answer) {
					t.Errorf("%d addresses of %d records", len(found), len(m.Answer))
				}
			}
		}
	})
}

func checkTXT(t *testing.T, m *mdns.Msg, name string) {
	values, err := readTXT(m, name)
	if err != nil && values != nil {
		t.Errorf("values %q in spite of %v", values, err)
	}
	for _, v := range values {
		if !m.Response || !m.Authoritative || len(m.Question) != 1 && m.Rcode == mdns.RcodeSuccess {
			t.Fatalf("%q counts in %v", v, m)
		}
		if !slices.ContainsFunc(m.Answer, func(rr mdns.RR) bool {
			txt, ok := rr.(*mdns.TXT)
			return ok && strings.EqualFold(txt.Hdr.Name, name) && joinTXT(txt.Txt) == v
		}) {
			t.Fatalf("%q counts in %v", v, m)
		}
		if len(v) > len(m.Answer)*mdns.MaxMsgSize {
			t.Fatal("a value larger than its message")
		}
	}
}

func checkStep(t *testing.T, m *mdns.Msg, zone, name string) {
	s, err := readStep(m, zone, name)
	if err != nil {
		return
	}
	if s.cut != "" && (s.cut == zone || !mdns.IsSubDomain(zone, s.cut) || !mdns.IsSubDomain(s.cut, name) || len(s.names) == 0 || len(s.names) > maxAsked) {
		t.Errorf("cut %q with %q in %v", s.cut, s.names, m)
	}
	if s.soa != nil && (!mdns.IsSubDomain(zone, s.soa.Hdr.Name) || !mdns.IsSubDomain(s.soa.Hdr.Name, name)) {
		t.Errorf("zone %q in %v", s.soa.Hdr.Name, m)
	}
	if s.alias != "" {
		// It is asked for next: that must be possible.
		if _, err := newQuestion(s.alias, mdns.TypeSOA, false).Pack(); err != nil {
			t.Errorf("alias %q: %v", s.alias, err)
		}
		for at, n := s.alias, 0; at != "."; at, n = parent(at), n+1 {
			if n > 127 {
				t.Fatalf("no end of parents of %q", s.alias)
			}
		}
	}
	for _, name := range s.names {
		if _, err := newQuestion(name, mdns.TypeA, true).Pack(); err != nil {
			t.Errorf("server %q: %v", name, err)
		}
	}
}

// seeds are answers good and odd.
func seeds(f *testing.F, questions []*mdns.Msg) [][]byte {
	var seeds [][]byte
	add := func(q *mdns.Msg, change func(*mdns.Msg), records ...string) {
		m := new(mdns.Msg).SetReply(q)
		m.Authoritative, m.Compress = true, true
		for _, text := range records {
			section := &m.Answer
			if rest, ok := strings.CutPrefix(text, "! "); ok {
				section, text = &m.Ns, rest
			} else if rest, ok := strings.CutPrefix(text, "+ "); ok {
				section, text = &m.Extra, rest
			}
			rr, err := mdns.NewRR("$ORIGIN example.org.\n$TTL 60\n" + text)
			if err != nil {
				f.Fatal(text, err)
			}
			*section = append(*section, rr)
		}
		if change != nil {
			change(m)
		}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, raw, raw[:len(raw)-1], raw[:len(raw)/2])
	}
	const soa = "! @ SOA ns1 h 1 2 3 4 5"
	add(questions[0], nil, "_acme-challenge TXT a", "_ACME-challenge TXT b c", `_acme-challenge TXT "\"\\\007"`)
	add(questions[0], nil, "_acme-challenge TXT a", "x TXT b", "_acme-challenge CNAME x")
	add(questions[0], nil, "x TXT b", soa)
	add(questions[0], func(m *mdns.Msg) { m.Rcode, m.Question = mdns.RcodeNameError, nil }, "_acme-challenge TXT a")
	add(questions[0], func(m *mdns.Msg) { m.Truncated = true }, "_acme-challenge TXT a")
	add(questions[1], nil, soa)
	add(questions[1], nil, "! org. SOA a. b. 1 2 3 4 5")
	add(questions[1], nil, "_acme-challenge CNAME x", "x CNAME _acme-challenge")
	add(questions[1], nil, `_acme-challenge CNAME \.a\..b\\.c\200.`)
	add(questions[1], nil, "@ DNAME example.net.", "_acme-challenge CNAME _acme-challenge.example.net.")
	add(questions[1], func(m *mdns.Msg) { m.Authoritative = false }, "! _acme-challenge NS ns.x", "! _acme-challenge NS .", "+ ns.x A 192.0.2.1", "+ ns.x AAAA 2001:db8::1")
	add(questions[1], nil, "! . NS a.", "! org. NS a.")
	add(questions[2], nil, "@ NS ns1", "@ NS NS2", "! . SOA a. b. 1 2 3 4 5")
	add(questions[2], nil, "! com. SOA a. b. 1 2 3 4 5")
	add(questions[3], nil, "c A 192.0.2.1", "b CNAME c", "ns1 CNAME b", "ns1 AAAA ::ffff:192.0.2.1")
	// A compression pointer to itself, and forward.
	loop := append([]byte{}, seeds[0]...)
	loop[12], loop[13] = 0xc0, 12
	return append(seeds, loop, []byte{}, make([]byte, 12))
}
