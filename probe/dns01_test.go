package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"arid/dns"

	mdns "github.com/miekg/dns"
)

const value = "gfj9Xq-Rg85nM0K1x7OcZBvZnOhuAhLpYyqjRnOJL2Q"

func TestDNS01(t *testing.T) {
	txt := func(values ...string) (lines []string) {
		for _, v := range values {
			lines = append(lines, fmt.Sprintf("_acme-challenge.example.org. 60 IN TXT %s", zoneText(v)))
		}
		return lines
	}
	rcode := func(code int) func(*mdns.Msg) { return func(m *mdns.Msg) { m.Rcode, m.Answer = code, nil } }
	hostile := "\x1b[2J" + strings.Repeat("x", 100)
	for _, c := range []struct {
		name     string
		one, two []string        // records at ns1, at ns2
		odd      func(*mdns.Msg) // what ns2 does to answers about the record
		text     string
		cause    Cause
	}{
		{"right", txt(value), txt("other", value), nil, "at NS1 and NS2: the right value", SeenRight},
		{"missing", nil, nil, nil, "at NS1 and NS2: no TXT record", DNSMissing},
		{"other", txt("old-value"), txt("old-value"), nil, `at NS1 and NS2: "old-value"`, DNSOther},
		{"other and missing", nil, txt("old-value"), nil, `at NS2: "old-value"; at NS1: no TXT record`, DNSOther},
		{"many others", txt("b", "a", "d", "c", "e"), txt("b", "a", "d", "c", "e"), nil, `at NS1 and NS2: "a", "b", "c" and 2 more`, DNSOther},
		{"hostile", txt(hostile), txt("b"), nil, `at NS1: "\x1b[2J` + strings.Repeat("x", 56) + `…"; at NS2: "b"`, DNSOther},
		{"quotes too many", txt(`"` + value + `"`), nil, nil, `at NS1: "\"` + value + `\""; at NS2: no TXT record`, DNSOther},
		{"one lags", txt(value), nil, nil, "at NS2: no TXT record; at NS1: the right value", DNSSome},
		{"one is old", txt(value), txt("old-value"), nil, `at NS2: "old-value"; at NS1: the right value`, DNSSome},
		{"one fails", txt(value), nil, rcode(mdns.RcodeServerFailure), "at NS2: SERVFAIL; at NS1: the right value", DNSServfail},
		{"one refuses", txt(value), nil, rcode(mdns.RcodeRefused), "at NS2: REFUSED; at NS1: the right value", DNSServfail},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, one, two := zone(t, c.one, c.two, c.odd)
			text := strings.NewReplacer("NS1", one, "NS2", two).Replace(c.text)
			got := (&Prober{DNS: client}).DNS01(t.Context(), "example.org", value)
			check(t, got, `"_acme-challenge.example.org" `+text, c.cause)
		})
	}
}

// zoneText is a string as zone files have it.
func zoneText(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

// zone serves example.org at ns1 and ns2, 127.0.0.1 and 127.0.0.2; ns1 is the
// resolver, too.
func zone(t *testing.T, one, two []string, odd func(*mdns.Msg)) (client *dns.Client, ns1, ns2 string) {
	t.Helper()
	common := []string{
		"example.org. 60 IN SOA ns1.example.org. admin.example.org. 1 3600 600 86400 60",
		"example.org. 60 IN NS ns1.example.org.", "example.org. 60 IN NS ns2.example.org.",
		"ns1.example.org. 60 IN A 127.0.0.1", "ns2.example.org. 60 IN A 127.0.0.2",
	}
	first := nameServer(t, "127.0.0.1:0", append(one, common...)...)
	second := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), first.Port())
	all := parse(t, append(two, common...))
	serveDNS(t, second.String(), func(q mdns.Question, m *mdns.Msg) {
		answerFrom(all, q, m)
		if odd != nil && q.Qtype == mdns.TypeTXT {
			odd(m)
		}
	})
	client = &dns.Client{Resolvers: []string{first.String()}, Port: fmt.Sprint(first.Port())}
	return client, dns.Server{Name: "ns1.example.org", Address: first}.String(), dns.Server{Name: "ns2.example.org", Address: second}.String()
}

func TestDNS01Elsewhere(t *testing.T) {
	soa := func(zone string) string {
		return zone + " 60 IN SOA ns1.example.org. admin.example.org. 1 3600 600 86400 60"
	}
	base := []string{
		soa("example.org."), "example.org. 60 IN NS ns1.example.org.", "ns1.example.org. 60 IN A 127.0.0.1",
		soa("example.net."), "example.net. 60 IN NS ns1.example.org.",
	}
	for _, c := range []struct {
		name    string
		records []string
		text    string // NS1 is the server
		cause   Cause
	}{
		{"delegated, right", []string{"_acme-challenge.example.org. 60 IN CNAME x.example.net.", "x.example.net. 60 IN TXT " + value},
			` (CNAME to "x.example.net") at NS1: the right value`, SeenRight},
		{"delegated, missing", []string{"_acme-challenge.example.org. 60 IN CNAME x.example.net."},
			` (CNAME to "x.example.net") at NS1: no TXT record`, DNSMissing},
		{"CNAME to itself", []string{"_acme-challenge.example.org. 60 IN CNAME _acme-challenge.example.org."},
			`: CNAME of "_acme-challenge.example.org" to "_acme-challenge.example.org": a loop`, DNSChain},
		{"circle", []string{"_acme-challenge.example.org. 60 IN CNAME x.example.net.", "x.example.net. 60 IN CNAME _acme-challenge.example.org."},
			`: CNAME of "_acme-challenge.example.org" to "x.example.net", to "_acme-challenge.example.org": a loop`, DNSChain},
		{"CNAME to nowhere", []string{"_acme-challenge.example.org. 60 IN CNAME x.nowhere.test."},
			`: CNAME of "_acme-challenge.example.org" to "x.nowhere.test": nobody serves a zone for "x.nowhere.test"`, DNSChain},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := nameServer(t, "127.0.0.1:0", append(base, c.records...)...)
			client := &dns.Client{Resolvers: []string{at.String()}, Port: fmt.Sprint(at.Port())}
			text := strings.ReplaceAll(c.text, "NS1", dns.Server{Name: "ns1.example.org", Address: at}.String())
			check(t, (&Prober{DNS: client}).DNS01(t.Context(), "example.org", value), `"_acme-challenge.example.org"`+text, c.cause)
		})
	}
}

func TestDNS01Unplaced(t *testing.T) {
	const closed = "9" // nobody listens there
	servers := nameServer(t, "127.0.0.1:0",
		"example.org. 60 IN SOA ns1.example.org. admin.example.org. 1 3600 600 86400 60",
		"example.org. 60 IN NS ns1.example.org.", "ns1.example.org. 60 IN A 127.0.0.1").String()
	failing := serveDNS(t, "127.0.0.1:0", func(_ mdns.Question, m *mdns.Msg) { m.Rcode = mdns.RcodeServerFailure })
	empty := nameServer(t, "127.0.0.1:0").String()
	for _, c := range []struct {
		name   string
		client *dns.Client
		text   string
		cause  Cause
	}{
		{"no zone", &dns.Client{Resolvers: []string{empty}}, `nobody serves a zone for "_acme-challenge.example.org"`, DNSNoZone},
		{"servers refuse connections", &dns.Client{Resolvers: []string{servers}, Port: closed},
			fmt.Sprintf(`the only name server of "example.org" does not answer: ns1.example.org (127.0.0.1:%s): connection refused`, closed), DNSUnreachable},
		{"servers answer SERVFAIL", &dns.Client{Resolvers: []string{servers}, Port: fmt.Sprint(failing.Port())},
			fmt.Sprintf(`the only name server of "example.org" does not answer: ns1.example.org (%s): SERVFAIL`, failing), DNSServfail},
		{"resolver answers SERVFAIL", &dns.Client{Resolvers: []string{failing.String()}}, fmt.Sprintf(`resolver %s answers SERVFAIL for "example.org"`, failing), DNSServfail},
		{"no resolver", &dns.Client{Resolvers: []string{"127.0.0.1:" + closed}}, fmt.Sprintf(`no resolver answers for "example.org": 127.0.0.1:%s: connection refused`, closed), DNSUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, (&Prober{DNS: c.client}).DNS01(t.Context(), "example.org", value), `"_acme-challenge.example.org": `+c.text, c.cause)
		})
	}
}

// What a run's end leaves half seen is no finding.
func TestDNS01Ended(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const what = `"_acme-challenge.example.org"`
	at := dns.Server{Name: "ns1.example.org", Address: netip.MustParseAddrPort("192.0.2.1:53")}
	got := judgeSights(ctx, what, value, []dns.Sight{{Server: at, Err: context.Canceled}})
	check(t, got, what+" at ns1.example.org (192.0.2.1): no answer in the time that was left", "")
	got = judgeSights(t.Context(), what, value, []dns.Sight{{Server: at, Err: context.DeadlineExceeded}, {Server: at, Values: []string{value}}})
	check(t, got, what+" at ns1.example.org (192.0.2.1): no answer: context deadline exceeded; at ns1.example.org (192.0.2.1): the right value", DNSUnreachable)
}

func FuzzSight(f *testing.F) {
	f.Add(value, "x", "SERVFAIL", true)
	f.Add("\u202e\xff", strings.Repeat("\U000e0001", 300), "a\nb", false)
	f.Fuzz(func(t *testing.T, one, two, failure string, fails bool) {
		s := dns.Sight{Server: dns.Server{Name: "ns1.example.org", Address: netip.MustParseAddrPort("192.0.2.1:53")}, Values: []string{one, two}}
		if fails {
			s.Values, s.Err = nil, errors.New(failure)
		}
		checkLine(t, judgeSights(t.Context(), `"_acme-challenge.example.org"`, value, []dns.Sight{s}))
	})
}
