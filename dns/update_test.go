package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// primary is a name server that takes updates: with a key signed ones alone.
type primary struct {
	*server
	key    *Key
	answer func(w mdns.ResponseWriter, q *mdns.Msg) bool // instead, to updates
}

// primary serves a zone at ip and takes updates of it.
func (w *world) primary(ip, zone, text string, key *Key) *primary {
	w.t.Helper()
	p := &primary{server: w.servers[ip], key: key}
	if p.server == nil {
		p.server = &server{world: w, ip: ip, addr: net.JoinHostPort(ip, w.port), zones: map[string]*zoneData{}}
		w.enlist(p.server)
		tcp, err := net.Listen("tcp", p.addr)
		if err != nil {
			w.t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", p.addr)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range []*mdns.Server{{PacketConn: udp}, {Listener: tcp}} {
			m.Handler, m.MsgAcceptFunc = p, func(mdns.Header) mdns.MsgAcceptAction { return mdns.MsgAccept }
			if key != nil {
				m.TsigProvider = tsigProvider{key}
			}
			started := make(chan struct{})
			m.NotifyStartedFunc = func() { close(started) }
			go m.ActivateAndServe()
			<-started
			w.t.Cleanup(func() { m.Shutdown() })
		}
	}
	w.serve(ip, zone, text)
	return p
}

func (p *primary) ServeDNS(rw mdns.ResponseWriter, q *mdns.Msg) {
	t, fault := q.IsTsig(), p.fault(rw, q)
	if q.Opcode != mdns.OpcodeUpdate && fault == mdns.RcodeSuccess {
		p.server.ServeDNS(rw, q)
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, fmt.Sprintf("%s %s %s", mdns.OpcodeToString[q.Opcode], bare(q.Question[0].Name), rw.RemoteAddr().Network()))
	answer := p.answer
	p.mu.Unlock()
	if answer != nil && answer(rw, q) {
		return
	}
	m := new(mdns.Msg).SetReply(q)
	switch {
	case p.key != nil && t == nil:
		m.Rcode = mdns.RcodeRefused
	case fault != mdns.RcodeSuccess:
		m.Rcode = mdns.RcodeNotAuth
	default:
		m.Rcode = p.apply(q)
	}
	if p.key != nil && t != nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, fudge, time.Now().Unix())
		m.IsTsig().Error = fault
	}
	rw.WriteMsg(m)
}

// fault is the TSIG error of a message.
func (p *primary) fault(rw mdns.ResponseWriter, q *mdns.Msg) uint16 {
	switch status := rw.TsigStatus(); {
	case p.key == nil || q.IsTsig() == nil || status == nil:
		return mdns.RcodeSuccess
	case errors.Is(status, mdns.ErrSecret):
		return mdns.RcodeBadKey
	}
	return mdns.RcodeBadSig
}

// apply is RFC 2136 §3.4, for TXT records without prerequisites.
func (p *primary) apply(q *mdns.Msg) (rcode int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.zones[mdns.CanonicalName(q.Question[0].Name)]
	if old == nil {
		return mdns.RcodeNotAuth
	}
	z := &zoneData{old.name, slices.Clone(old.records)} // the resolver reads the old one
	p.zones[z.name] = z
	for _, rr := range q.Ns {
		txt, ok := rr.(*mdns.TXT)
		if !ok || len(q.Answer) > 0 {
			return mdns.RcodeFormatError
		}
		if !mdns.IsSubDomain(z.name, rr.Header().Name) {
			return mdns.RcodeNotZone
		}
		at := slices.IndexFunc(z.records, func(old mdns.RR) bool {
			o, ok := old.(*mdns.TXT)
			return ok && sameName(o.Hdr.Name, txt.Hdr.Name) && slices.Equal(o.Txt, txt.Txt)
		})
		switch {
		case txt.Hdr.Class == mdns.ClassINET && at < 0:
			z.records = append(z.records, rr)
		case txt.Hdr.Class == mdns.ClassNONE && txt.Hdr.Ttl == 0 && at >= 0:
			z.records = slices.Delete(z.records, at, at+1)
		}
	}
	return mdns.RcodeSuccess
}

// reply sets what answers updates.
func (p *primary) reply(answer func(mdns.ResponseWriter, *mdns.Msg) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// texts are the TXT records that the server has, as "name value ttl".
func (p *primary) texts() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, z := range p.zones {
		for _, rr := range z.records {
			if txt, ok := rr.(*mdns.TXT); ok {
				all = append(all, fmt.Sprintf("%s %s %d", bare(txt.Hdr.Name), joinTXT(txt.Txt), txt.Hdr.Ttl))
			}
		}
	}
	slices.Sort(all)
	return all
}

func (p *primary) address() netip.AddrPort { return netip.MustParseAddrPort(p.addr) }

func (p *primary) has(t *testing.T, want ...string) {
	t.Helper()
	if got := p.texts(); !slices.Equal(got, want) {
		t.Errorf("the server has %q, want %q", got, want)
	}
}

// unasked fails the test if anybody has asked the server anything.
func (s *server) unasked(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) > 0 {
		t.Errorf("%s was asked %q", s.addr, s.asked)
	}
}

func testKey(t *testing.T, text string) *Key {
	t.Helper()
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	zoneText  = "@ NS ns1\nns1 A 127.0.0.2\n"
	challenge = "_acme-challenge.example.org"
)

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	key := testKey(t, "arid:"+testSecret)
	p := w.primary("127.0.0.2", "example.org", zoneText+"_acme-challenge TXT other\nwww TXT kept\n", key)
	var told []string
	u := &Updater{Client: w.client(), Key: key, Tell: func(zone, server string, n int) {
		told = append(told, fmt.Sprint(zone, " ", strings.ReplaceAll(server, w.port, "PORT"), " ", n))
	}}
	one, two := Record{challenge, "one"}, Record{"_acme-challenge.Example.org.", "-two"}

	if err := u.Add(t.Context(), one, two, one); err != nil {
		t.Fatal(err)
	}
	p.has(t, challenge+" -two 60", challenge+" one 60", challenge+" other 60", "www.example.org kept 60")
	u.TTL = 5 * time.Second
	if err := u.Add(t.Context(), one, Record{challenge, "three"}); err != nil {
		t.Fatal(err)
	}
	if err := u.Delete(t.Context(), one, Record{challenge, "never there"}); err != nil {
		t.Fatal(err)
	}
	p.has(t, challenge+" -two 60", challenge+" other 60", challenge+" three 5", "www.example.org kept 60")
	if got := p.questions("UPDATE"); !slices.Equal(got, slices.Repeat([]string{"UPDATE example.org tcp"}, 3)) {
		t.Errorf("messages: %q, want one each", got)
	}
	if want := "example.org ns1.example.org (127.0.0.2:PORT) 2"; !slices.Equal(told, slices.Repeat([]string{want}, 3)) {
		t.Errorf("told %q", told)
	}
	w.neverRecursed(challenge)
}

func TestUpdateWithoutKey(t *testing.T) {
	w := newWorld(t)
	p := w.primary("127.0.0.2", "example.org", zoneText, nil)
	u := &Updater{Client: w.client()}
	if err := u.Add(t.Context(), Record{challenge, "one"}); err != nil {
		t.Fatal(err)
	}
	p.has(t, challenge+" one 60")
}

func TestUpdateWithEveryAlgorithm(t *testing.T) {
	for algorithm := range algorithms {
		w := newWorld(t)
		key := testKey(t, algorithm+":arid.example:"+testSecret)
		p := w.primary("127.0.0.2", "example.org", zoneText, key)
		u := &Updater{Client: w.client(), Key: key}
		if err := u.Add(t.Context(), Record{challenge, "one"}); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		p.has(t, challenge+" one 60")
	}
}

func TestUpdateOfAnyText(t *testing.T) {
	w := newWorld(t)
	p := w.primary("127.0.0.2", "example.org", zoneText, nil)
	u := &Updater{Client: w.client()}
	for _, text := range []string{
		strings.Repeat("a", 255), strings.Repeat("b", 256), strings.Repeat("c", 700), strings.Repeat(`\`, 300),
		`\065 "quoted" \`, "ü\x00\xff;", "",
	} {
		r := Record{challenge, text}
		if err := u.Add(t.Context(), r); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		p.has(t, challenge+" "+text+" 60")
		sights := u.Client.Look(t.Context(), &Place{Name: challenge, Servers: []Server{{"ns1", p.address()}}})
		if len(sights) != 1 || !slices.Equal(sights[0].Values, []string{text}) {
			t.Errorf("%q: seen %+v", text, sights)
		}
		if err := u.Delete(t.Context(), r); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		p.has(t)
	}
}

func TestUpdateFollowsCNAMEs(t *testing.T) {
	w := newWorld(t)
	key := testKey(t, "arid:"+testSecret)
	p := w.primary("127.0.0.2", "example.org", zoneText+"_acme-challenge.www CNAME www.acme.example.net.\n", key)
	other := w.primary("127.0.0.3", "acme.example.net", "@ NS ns1\nns1 A 127.0.0.3\n", key)
	u := &Updater{Client: w.client(), Key: key}
	records := []Record{{challenge, "one"}, {"_acme-challenge.www.example.org", "two"}, {challenge, "three"}}
	if err := u.Add(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	p.has(t, challenge+" one 60", challenge+" three 60")
	other.has(t, "www.acme.example.net two 60")
	if n := len(p.questions("UPDATE")) + len(other.questions("UPDATE")); n != 2 {
		t.Errorf("%d messages, want one a zone", n)
	}

	// One zone's trouble does not keep the other's records.
	p.reply(rcode(mdns.RcodeServerFailure))
	var failed *UpdateError
	if err := u.Delete(t.Context(), records...); !errors.As(err, &failed) || failed.Zone != "example.org" || !failed.Temporary() {
		t.Errorf("got %v", err)
	}
	other.has(t)
	if err := u.Delete(t.Context(), Record{"_acme-challenge.nowhere.test", "x"}, records[0]); !errors.As(err, new(*ZoneError)) {
		t.Errorf("got %v", err)
	}
}

func TestUpdateRefused(t *testing.T) {
	key := testKey(t, "arid:"+testSecret)
	const wrongSecret = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="
	signedBy := func(k *Key, change func(*mdns.TSIG)) func(mdns.ResponseWriter, *mdns.Msg) bool {
		return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
			m := new(mdns.Msg).SetReply(q)
			m.SetTsig(mdns.Fqdn(k.Name), algorithms[k.Algorithm].wire, fudge, time.Now().Unix())
			if change != nil {
				m.Rcode = mdns.RcodeNotAuth
				change(m.IsTsig())
			}
			out, _, err := mdns.TsigGenerateWithProvider(m, tsigProvider{k}, q.IsTsig().MAC, false)
			if err == nil {
				w.Write(out)
			}
			return err == nil
		}
	}
	hangUp := func(w mdns.ResponseWriter, _ *mdns.Msg) bool { w.Close(); return true }
	for _, c := range []struct {
		what   string
		key    *Key
		answer func(mdns.ResponseWriter, *mdns.Msg) bool
		rcode  string
		text   string
		hint   string
		later  bool
	}{
		{"wrong secret", testKey(t, "arid:"+wrongSecret), nil, "BADSIG", `the secret of the key "arid" is not the server's (BADSIG)`, "copy the secret", false},
		{"unknown key", testKey(t, "other:"+testSecret), nil, "BADKEY", `does not know the key "other" with hmac-sha256 (BADKEY)`, "name and algorithm", false},
		{"another algorithm", testKey(t, "hmac-sha512:arid:"+testSecret), nil, "BADKEY", `"arid" with hmac-sha512`, "name and algorithm", false},
		{"clock", key, signedBy(key, func(t *mdns.TSIG) {
			t.Error, t.TimeSigned = mdns.RcodeBadTime, 1600000000
			t.OtherLen, t.OtherData = 6, hex.EncodeToString([]byte{0, 0, 0x60, 0, 0, 0})
		}), "BADTIME", "the clocks differ: 2021-01-14T08:25:36Z at the server, 2020-09-13T12:26:40Z here (BADTIME)", "clock of this host", false},
		{"clock, no time told", key, signedBy(key, func(t *mdns.TSIG) { t.Error = mdns.RcodeBadTime }), "BADTIME", "the clocks differ (BADTIME)", "clock", false},
		{"truncation", key, signedBy(key, func(t *mdns.TSIG) { t.Error = mdns.RcodeBadTrunc }), "BADTRUNC", "refuses the signature (BADTRUNC)", "", false},
		{"some other TSIG error", key, signedBy(key, func(t *mdns.TSIG) { t.Error = 4000 }), "TSIG error 4000", "refuses the signature", "", false},
		{"no key where one is wanted", nil, nil, "REFUSED", "forbids it to whoever has no key (REFUSED)", "--dns-key FILE", false},
		{"policy", key, rcode(mdns.RcodeRefused), "REFUSED", `forbids it to the key "arid" (REFUSED)`, `grant "arid" name _acme-challenge.example.org. TXT;`, false},
		{"not its zone", key, rcode(mdns.RcodeNotAuth), "NOTAUTH", "is not the primary of that zone (NOTAUTH)", "--dns-server HOST", false},
		{"name of another zone", key, rcode(mdns.RcodeNotZone), "NOTZONE", "not in that zone (NOTZONE)", "--dns-zone NAME", false},
		{"no updates at all", key, rcode(mdns.RcodeNotImplemented), "NOTIMP", "takes no updates (NOTIMP)", "--dns-server HOST", false},
		{"no TSIG", key, rcode(mdns.RcodeFormatError), "FORMERR", "does not understand", "does it know TSIG?", false},
		{"trouble of its own", key, rcode(mdns.RcodeServerFailure), "SERVFAIL", "could not do it (SERVFAIL)", "journal", true},
		{"a number", key, rcode(13), "RCODE 13", "an error (RCODE 13)", "", false},
		{"unsigned success", key, rcode(mdns.RcodeSuccess), "", `is not signed with the key "arid"`, "in its place", false},
		{"success signed with another secret", key, signedBy(testKey(t, "arid:"+wrongSecret), nil), "", "is signed wrongly", "in its place", false},
		{"success signed with another key", key, signedBy(testKey(t, "other:"+testSecret), nil), "", "is signed wrongly", "in its place", false},
		{"silence", key, silent, "", "no answer in time", "", true},
		{"hung up", key, hangUp, "", "closed the connection without an answer", "", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			p := w.primary("127.0.0.2", "example.org", zoneText, key)
			p.reply(c.answer)
			u := &Updater{Client: w.client(), Key: c.key}
			if c.text == "no answer in time" {
				u.Client = w.hasty()
			}
			err := u.Add(t.Context(), Record{challenge, "one"})
			var e *UpdateError
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Rcode != c.rcode || e.Temporary() != c.later || !strings.Contains(e.Error(), c.text) || !strings.Contains(e.Hint(), c.hint) || c.hint == "" && e.Hint() != "" {
				t.Errorf("got %q %v: %v\nhint: %s", e.Rcode, e.Temporary(), e, e.Hint())
			}
			where := fmt.Sprintf(`DNS update of %q in the zone "example.org" at ns1.example.org (127.0.0.2:%s): `, challenge, w.port)
			if !strings.HasPrefix(e.Error(), where) {
				t.Errorf("got %v, want %s…", e, where)
			}
			for _, secret := range []string{testSecret[:10], wrongSecret[:10], "secret sec", hexSecret} {
				if all := fmt.Sprintf("%v %+v %#v %s", err, e, e, e.Hint()); strings.Contains(all, secret) {
					t.Errorf("the secret shows: %s", all)
				}
			}
			p.has(t)
		})
	}
}

// Where the primary cannot be reached, the zone's other servers may pass it on.
func TestUpdateBySecondary(t *testing.T) {
	const servers = "@ NS ns2\nns2 A 127.0.0.3\n"
	for _, c := range []struct {
		what, zone string
		refuses    bool
		text       string
		later      bool
	}{
		{"primary unknown in the DNS", servers, false, "", false},
		{"nobody at the primary", servers + "ns1 A 127.0.0.9\n", false, "", false},
		{"nobody there, and the other refuses", servers + "ns1 A 127.0.0.9\n", true, "at ns1.example.org (127.0.0.9:PORT): TCP: connection refused", true},
		{"unknown, and the other refuses", servers, true, `at ns1.example.org: "ns1.example.org" does not exist in the DNS`, false},
		{"no address, and the other refuses", servers + "ns1 TXT x\n", true, "at ns1.example.org: it has no address", false},
		{"no primary named, and the other refuses", "@ SOA . . 1 60 60 60 60\n" + servers, true, "the zone's SOA record names no primary", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			p := w.primary("127.0.0.3", "example.org", c.zone, nil)
			if strings.HasPrefix(c.zone, "@ SOA") {
				z := p.zones["example.org."]
				p.mu.Lock()
				z.records = z.records[1:]
				p.mu.Unlock()
			}
			if c.refuses {
				p.reply(rcode(mdns.RcodeRefused))
			}
			u := &Updater{Client: w.client()}
			err := u.Add(t.Context(), Record{challenge, "one"})
			if !c.refuses {
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(p.texts(), challenge+" one 60") {
					t.Errorf("the server has %q", p.texts())
				}
				return
			}
			var e *UpdateError
			if !errors.As(err, &e) || e.Temporary() != c.later || !strings.Contains(strings.ReplaceAll(e.Error(), w.port, "PORT"), c.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A server that the user names is asked where the record is, and nobody else if
// it knows.
func TestUpdateAtNamedServer(t *testing.T) {
	w := newWorld(t)
	key := testKey(t, "arid:"+testSecret)
	const text = "@ NS ns9\nns9 A 127.0.0.9\n_acme-challenge.www CNAME www.acme.hidden.test.\n_acme-challenge.far CNAME far.example.org.\n_acme-challenge.loop CNAME _acme-challenge.loop\n"
	p := w.primary("127.0.0.2", "hidden.test", text, key)
	w.serve("127.0.0.2", "acme.hidden.test", "@ NS ns9\nns9 A 127.0.0.9\n")
	far := w.primary("127.0.0.3", "example.org", "@ NS ns1\nns1 A 127.0.0.3\n", key)
	u := &Updater{Client: w.client(), Key: key, Server: p.addr}

	if err := u.Add(t.Context(), Record{"_acme-challenge.hidden.test", "one"}, Record{"_acme-challenge.www.hidden.test", "two"}); err != nil {
		t.Fatal(err)
	}
	p.has(t, "_acme-challenge.hidden.test one 60", "www.acme.hidden.test two 60")
	w.resolver.unasked(t)

	// It does not know the place of this one, and takes no update of it.
	var e *UpdateError
	err := u.Add(t.Context(), Record{"_acme-challenge.far.hidden.test", "three"})
	if !errors.As(err, &e) || e.Rcode != "NOTAUTH" || e.Zone != "example.org" || e.Server != p.addr {
		t.Errorf("got %v", err)
	}
	far.has(t)
	if err := u.Add(t.Context(), Record{"_acme-challenge.loop.hidden.test", "x"}); !errors.As(err, new(*UnreachableError)) && !errors.As(err, new(*ChainError)) {
		t.Errorf("got %v", err)
	}

	// A wrong key is told at the first question.
	updates := len(p.questions("UPDATE"))
	u.Key = testKey(t, "other:"+testSecret)
	if err := u.Add(t.Context(), Record{"_acme-challenge.hidden.test", "x"}); !errors.As(err, &e) || e.Rcode != "BADKEY" {
		t.Errorf("got %v", err)
	}
	if n := len(p.questions("UPDATE")); n != updates {
		t.Errorf("%d updates were sent with a wrong key", n-updates)
	}
}

// What a named server says of zones that it does not serve does not count.
func TestUpdateAtNamedServerThatTalksNonsense(t *testing.T) {
	w := newWorld(t)
	p := w.primary("127.0.0.2", "example.org", zoneText, nil)
	u := &Updater{Client: w.client(), Server: p.addr}
	soa := func(zone string) []mdns.RR {
		rr, err := mdns.NewRR(zone + " 60 IN SOA a. b. 1 60 60 60 60")
		if err != nil {
			t.Fatal(err)
		}
		return []mdns.RR{rr}
	}
	for _, c := range []struct {
		what string
		ns   []mdns.RR
		aa   bool
		tsig bool
	}{
		{"a cache's answer", soa("org."), false, false},
		{"the SOA of another zone", soa("example.net."), true, false},
		{"no SOA at all", nil, true, false},
		{"a TSIG error about nothing that was signed", nil, true, true},
	} {
		p.behave(func(rw mdns.ResponseWriter, q *mdns.Msg) bool {
			m := new(mdns.Msg).SetReply(q)
			m.Authoritative, m.Ns = c.aa, c.ns
			if c.tsig {
				m.SetTsig("arid.", mdns.HmacSHA256, fudge, time.Now().Unix())
				m.IsTsig().Error = mdns.RcodeBadKey
			}
			if q.Question[0].Qtype == mdns.TypeSOA && rw.RemoteAddr().Network() == "tcp" { // the updater's own
				rw.WriteMsg(m)
				return true
			}
			return false
		})
		if err := u.Add(t.Context(), Record{challenge, c.what}); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if want := challenge + " " + c.what + " 60"; !slices.Contains(p.texts(), want) {
			t.Errorf("%s: the server has %q", c.what, p.texts())
		}
	}
}

// What the primary says counts, though another server might take the update.
func TestUpdateRefusedByPrimaryAlone(t *testing.T) {
	w := newWorld(t)
	p := w.primary("127.0.0.2", "example.org", zoneText+"@ NS ns2\nns2 A 127.0.0.3\n", nil)
	p.reply(rcode(mdns.RcodeRefused))
	other := w.primary("127.0.0.3", "example.org", zoneText+"@ NS ns2\nns2 A 127.0.0.3\n", nil)
	var e *UpdateError
	if err := (&Updater{Client: w.client()}).Add(t.Context(), Record{challenge, "one"}); !errors.As(err, &e) || e.Rcode != "REFUSED" {
		t.Errorf("got %v", err)
	}
	if asked := other.questions("UPDATE"); len(asked) > 0 {
		t.Errorf("the other server got %q", asked)
	}
}

func TestUpdateAtNamedServerThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		server, text string
		later        bool
	}{
		{"127.0.0.9:" + w.port, "DNS update of \"" + challenge + "\" at 127.0.0.9:" + w.port + ": TCP: connection refused", true},
		{"nowhere.test", `DNS update at nowhere.test: "nowhere.test" does not exist in the DNS`, false},
	} {
		u := &Updater{Client: w.client(), Server: c.server}
		var e *UpdateError
		if err := u.Add(t.Context(), Record{challenge, "x"}); !errors.As(err, &e) || e.Error() != c.text || e.Temporary() != c.later {
			t.Errorf("%s: got %v", c.server, err)
		}
	}
}

func TestUpdateOfNamedZone(t *testing.T) {
	w := newWorld(t)
	p := w.primary("127.0.0.2", "example.org", zoneText+"_acme-challenge.www CNAME www.acme\n_acme-challenge.out CNAME out.example.net.\n", nil)
	w.primary("127.0.0.3", "example.net", "@ NS ns1\nns1 A 127.0.0.3\n", nil)
	at := p.addr
	for _, c := range []struct {
		what, server, zone, name string
		want                     string // record, or part of the error
	}{
		{"in the zone, its primary found", "", "example.org", challenge, challenge},
		{"in the zone, server named: taken as it is", at, "example.org.", challenge, challenge},
		{"a CNAME in it is not followed", at, "example.org", "_acme-challenge.out.example.org", "_acme-challenge.out.example.org"},
		{"elsewhere, and leads nowhere near", "", "example.org", "_acme-challenge.example.net", `the record's place is "_acme-challenge.example.net" in the zone "example.net"`},
		{"no such zone there", at, "acme.example.org", "x.acme.example.org", "(NOTAUTH)"},
	} {
		t.Run(c.what, func(t *testing.T) {
			u := &Updater{Client: w.client(), Server: c.server, Zone: c.zone}
			err := u.Add(t.Context(), Record{c.name, "v"})
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			p.has(t, c.want+" v 60")
			if err := u.Delete(t.Context(), Record{c.name, "v"}); err != nil {
				t.Error(err)
			}
			p.has(t)
		})
	}
}

func TestUpdateEndsWithContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := contextWithCause()
	ended := errors.New("ended")
	p := w.primary("127.0.0.2", "example.org", zoneText, nil)
	p.reply(func(mdns.ResponseWriter, *mdns.Msg) bool { cancel(ended); return true })
	c := w.client()
	c.patience = time.Minute
	u := &Updater{Client: c}
	if err := u.Add(ctx, Record{challenge, "one"}); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
	ctx, stop := context.WithTimeout(bg, 0)
	defer stop()
	if err := u.Add(ctx, Record{challenge, "one"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestUpdateOfNoName(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"", ".", "a..b", strings.Repeat("a", 64) + ".example.org", "ü.example.org", "a b.example.org"} {
		if err := (&Updater{Client: w.client()}).Add(t.Context(), Record{name, "x"}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	w.resolver.unasked(t)
}

func TestHostPort(t *testing.T) {
	for text, want := range map[string]string{
		"ns1.example.org": "ns1.example.org:53", "ns1.example.org:5353": "ns1.example.org:5353",
		"192.0.2.1": "192.0.2.1:53", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53", "[2001:db8::1]:1": "[2001:db8::1]:1",
	} {
		if got := HostPort(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
