package dns

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func TestLook(t *testing.T) {
	long := strings.Repeat("a", 300)
	tests := []struct {
		about   string
		records string
		quirk   func(mdns.ResponseWriter, *mdns.Msg) bool
		values  []string
		err     string
	}{
		{"nothing", "", nil, nil, ""},
		{"another type", "_acme-challenge A 192.0.2.1", nil, nil, ""},
		{"apex and wildcard", "_acme-challenge TXT b\n_acme-challenge TXT a", nil, []string{"a", "b"}, ""},
		{"upper case", "_ACME-Challenge TXT a", nil, []string{"a"}, ""},
		{"more than one string", `_acme-challenge TXT ` + long[:200] + " " + long[200:], nil, []string{long}, ""},
		{"odd bytes", `_acme-challenge TXT "a\"b\\c\007d;e\195\188\255"`, nil, []string{"a\"b\\c\ad;eü\xff"}, ""},
		{"an empty string", `_acme-challenge TXT ""`, nil, []string{""}, ""},
		{"a CNAME since then", "_acme-challenge CNAME x\nx TXT a", nil, nil, "it shows a CNAME"},
		{"delegated since then", "_acme-challenge NS ns1", nil, nil, "it is not in charge of the zone"},
		{"REFUSED", "", rcode(mdns.RcodeRefused), nil, "REFUSED"},
		{"an RCODE without a name", "", rcode(12), nil, "RCODE 12"},
		{"not authoritative", "", shows(false, "@ TXT a"), nil, "it is not in charge of the zone"},
		{"another name's", "", shows(true, "other.example.org. TXT a"), nil, ""},
		{"another class", "", shows(true, "@ CH TXT a"), nil, ""},
		{"CNAME and TXT mixed", "", shows(true, "@ TXT a", "x.example.org. TXT b", "@ CNAME x.example.org."), nil, "it shows a CNAME"},
		{"two CNAMEs", "", shows(true, "@ CNAME x.", "@ CNAME y.", "@ TXT a"), nil, "it shows two different CNAMEs"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			w := newWorld(t)
			s := w.serve("127.0.0.2", "example.org", test.records)
			s.behave(test.quirk)
			p := &Place{Name: acme, Servers: []Server{{Name: "ns1", Address: addrPort(s.addr)}}}
			sights := w.client().Look(bg, p)
			got := sights[0]
			if len(sights) != 1 || got.Server != p.Servers[0] || !slices.Equal(got.Values, test.values) || (got.Err != nil) != (test.err != "") {
				t.Fatalf("got %q", sights)
			}
			if got.Err != nil && got.Err.Error() != test.err {
				t.Errorf("got %v", got.Err)
			}
		})
	}
}

// shows answers with these records, @ being what was asked for.
func shows(authoritative bool, records ...string) func(mdns.ResponseWriter, *mdns.Msg) bool {
	return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
		m := new(mdns.Msg).SetReply(q)
		m.Authoritative = authoritative
		for _, text := range records {
			rr, err := mdns.NewRR(strings.Replace(text, "@", q.Question[0].Name, 1))
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
		return true
	}
}

// More values than one datagram takes: over TCP all of them are seen.
func TestLookTruncated(t *testing.T) {
	w := newWorld(t)
	var zone strings.Builder
	for i := range 40 {
		fmt.Fprintf(&zone, "_acme-challenge TXT %02d%s\n", i, strings.Repeat("x", 41))
	}
	s := w.serve("127.0.0.2", "example.org", zone.String())
	sights := w.client().Look(bg, &Place{Name: acme, Servers: []Server{{Name: "ns1", Address: addrPort(s.addr)}}})
	if sights[0].Err != nil || len(sights[0].Values) != 40 {
		t.Errorf("got %d values, %v", len(sights[0].Values), sights[0].Err)
	}
	if got := s.questions("TXT"); len(got) != 2 || !strings.HasSuffix(got[1], "tcp") {
		t.Errorf("asked %v", got)
	}
}

// Look asks all servers at the same time: each answers only once all are asked.
func TestLookSideBySide(t *testing.T) {
	w := newWorld(t)
	p := &Place{Name: acme}
	var arrived sync.WaitGroup
	arrived.Add(5)
	for i := range 5 {
		s := w.serve(fmt.Sprintf("127.0.0.%d", 2+i), "example.org", "_acme-challenge TXT a")
		s.behave(func(mdns.ResponseWriter, *mdns.Msg) bool { arrived.Done(); arrived.Wait(); return false })
		p.Servers = append(p.Servers, Server{Name: "ns", Address: addrPort(s.addr)})
	}
	c := w.client()
	c.patience = time.Hour
	for _, s := range c.Look(bg, p) {
		if s.Err != nil || len(s.Values) != 1 {
			t.Errorf("got %v", s)
		}
	}
}
