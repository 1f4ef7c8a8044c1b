package rehearse

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestNameServerAnswers(t *testing.T) {
	_, server := startNames(t, nil)
	const (
		soa = " 0 IN SOA ns.rehearsal.invalid. hostmaster.rehearsal.invalid. 0 3600 600 86400 0"
		ns  = " 0 IN NS ns.rehearsal.invalid."
	)
	tests := []struct {
		name       string
		typ        uint16
		answer, in string // records of the answer; SOA of the authority section
	}{
		{"example.test.", dns.TypeA, "example.test. 0 IN A 127.0.0.1", ""},
		{"a.b.c.Example.ORG.", dns.TypeA, "a.b.c.Example.ORG. 0 IN A 127.0.0.1", ""},
		{"ns.rehearsal.invalid.", dns.TypeA, "ns.rehearsal.invalid. 0 IN A 127.0.0.1", ""},
		{"example.test.", dns.TypeAAAA, "", "example.test." + soa},
		{"example.test.", dns.TypeCAA, "", "example.test." + soa},
		{"_acme-challenge.example.test.", dns.TypeTXT, "", "example.test." + soa},
		{"_acme-challenge.example.test.", dns.TypeCNAME, "", "example.test." + soa},

		{"Example.test.", dns.TypeSOA, "Example.test." + soa, ""},
		{"a.b.example.test.", dns.TypeSOA, "", "example.test." + soa},
		{"_acme-challenge.example.test.", dns.TypeSOA, "", "example.test." + soa},
		{"_acme-challenge.a.b.example.test.", dns.TypeSOA, "", "example.test." + soa},
		{"localhost.", dns.TypeSOA, "localhost." + soa, ""},
		{"_acme-challenge.localhost.", dns.TypeSOA, "", "localhost." + soa},
		{".", dns.TypeSOA, "." + soa, ""},

		{"example.test.", dns.TypeNS, "example.test." + ns, ""},
		{"www.example.test.", dns.TypeNS, "", "example.test." + soa},
		{"example.test.", dns.TypeANY, "example.test." + soa + "|example.test." + ns + "|example.test. 0 IN A 127.0.0.1", ""},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range tests {
			reply := exchange(t, network, server, new(dns.Msg).SetQuestion(tt.name, tt.typ))
			if reply.Rcode != dns.RcodeSuccess || !reply.Authoritative || !reply.RecursionAvailable ||
				text(reply.Answer) != tt.answer || text(reply.Ns) != tt.in {
				t.Errorf("%s %s %s:\n%v", network, dns.TypeToString[tt.typ], tt.name, reply)
			}
		}
	}
}

func TestNameServerRefuses(t *testing.T) {
	_, server := startNames(t, nil)
	chaos := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	none := &dns.Msg{MsgHdr: dns.MsgHdr{Id: 1}}
	two := new(dns.Msg).SetQuestion("example.test.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	for _, tt := range []struct {
		what    string
		request *dns.Msg
		rcode   int
	}{
		{"a zone transfer", new(dns.Msg).SetQuestion("example.test.", dns.TypeAXFR), dns.RcodeRefused},
		{"another class", chaos, dns.RcodeRefused},
		{"no question", none, dns.RcodeFormatError},
		{"two questions", two, dns.RcodeFormatError},
		{"a NOTIFY", new(dns.Msg).SetNotify("example.test."), dns.RcodeNotImplemented},
	} {
		if reply := exchange(t, "tcp", server, tt.request); reply.Rcode != tt.rcode {
			t.Errorf("%s: %s, want %s", tt.what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[tt.rcode])
		}
	}
	// A response gets none, or two servers could keep each other busy: what
	// comes back is the answer to the question sent after it.
	c, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	conn := &dns.Conn{Conn: c}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	response := new(dns.Msg).SetQuestion("example.test.", dns.TypeA)
	response.Response = true
	question := new(dns.Msg).SetQuestion("example.test.", dns.TypeA)
	for _, m := range []*dns.Msg{response, question} {
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.ReadMsg(); err != nil || reply.Id != question.Id {
		t.Errorf("%v, %v: want the reply to the question alone", reply, err)
	}
}

const record = "_acme-challenge.example.test."

func TestUpdates(t *testing.T) {
	add := func(values ...string) func(*dns.Msg) {
		return func(m *dns.Msg) { m.Insert(texts(record, values...)) }
	}
	raw := func(section string) func(*dns.Msg) { // zone-file line in the update section, whatever it is
		return func(m *dns.Msg) { m.Ns = append(m.Ns, rr(section)) }
	}
	type step struct {
		what  string
		do    func(*dns.Msg)
		rcode int
		want  []string // values there after it
	}
	for _, tt := range []struct {
		what  string
		steps []step
	}{
		{"values stand beside each other and go one by one", []step{
			{"add", add("one"), 0, []string{"one"}},
			{"add more", add("two", "three"), 0, []string{"one", "two", "three"}},
			{"add again", add("one"), 0, []string{"two", "three", "one"}},
			{"delete one", func(m *dns.Msg) { m.Remove(texts(record, "two")) }, 0, []string{"three", "one"}},
			{"delete what is not there", func(m *dns.Msg) { m.Remove(texts(record, "two")) }, 0, []string{"three", "one"}},
			{"delete all", func(m *dns.Msg) { m.RemoveRRset(texts(record, "")) }, 0, nil},
		}},
		{"a name is deleted", []step{
			{"add", add("one", "two"), 0, []string{"one", "two"}},
			{"delete name", func(m *dns.Msg) { m.RemoveName(texts(record, "")) }, 0, nil},
		}},
		{"a set is replaced in one message", []step{
			{"add", add("one", "two"), 0, []string{"one", "two"}},
			{"replace", func(m *dns.Msg) { m.RemoveRRset(texts(record, "")); m.Insert(texts(record, "new")) }, 0, []string{"new"}},
		}},
		{"names have no case", []step{
			{"add", func(m *dns.Msg) { m.Insert(texts("_ACME-Challenge.Example.TEST.", "one")) }, 0, []string{"one"}},
			{"delete", func(m *dns.Msg) { m.Remove(texts(record, "one")) }, 0, nil},
		}},
		{"only TXT can be changed", []step{
			{"add A", raw("www.example.test. 60 IN A 192.0.2.1"), dns.RcodeRefused, nil},
			{"add CNAME", raw(record + " 60 IN CNAME elsewhere.test."), dns.RcodeRefused, nil},
			{"delete A", func(m *dns.Msg) { m.RemoveRRset([]dns.RR{rr("example.test. 0 IN A 192.0.2.1")}) }, dns.RcodeRefused, nil},
		}},
		{"all or nothing", []step{
			{"add", add("one"), 0, []string{"one"}},
			{"one good, one bad", func(m *dns.Msg) { add("two")(m); raw("example.test. 60 IN A 192.0.2.1")(m) }, dns.RcodeRefused, []string{"one"}},
			{"outside the zone", func(m *dns.Msg) { add("two")(m); m.Insert(texts("elsewhere.test.", "x")) }, dns.RcodeNotZone, []string{"one"}},
		}},
		{"nonsense", []step{
			{"TXT without text", func(m *dns.Msg) {
				m.Ns = []dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: record, Rrtype: dns.TypeTXT, Class: dns.ClassINET}}}
			}, dns.RcodeFormatError, nil},
			{"deletion with a TTL", func(m *dns.Msg) { m.Remove(texts(record, "one")); m.Ns[0].Header().Ttl = 1 }, dns.RcodeFormatError, nil},
			{"unknown class", func(m *dns.Msg) { add("one")(m); m.Ns[0].Header().Class = 77 }, dns.RcodeFormatError, nil},
			{"zone section of another type", func(m *dns.Msg) { add("one")(m); m.Question[0].Qtype = dns.TypeA }, dns.RcodeFormatError, nil},
			{"no zone section", func(m *dns.Msg) { add("one")(m); m.Question = nil }, dns.RcodeFormatError, nil},
			{"the root", func(m *dns.Msg) { add("one")(m); m.Question[0].Name = "." }, dns.RcodeNotAuth, nil},
			{"another class", func(m *dns.Msg) { add("one")(m); m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeNotAuth, nil},
		}},
		{"a zone that only the user knows", []step{
			{"add", func(m *dns.Msg) { m.Question[0].Name = record; add("one")(m) }, 0, []string{"one"}},
		}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, server := startNames(t, nil)
			for i, s := range tt.steps {
				m := new(dns.Msg).SetUpdate("example.test.")
				s.do(m)
				reply := exchange(t, []string{"udp", "tcp"}[i%2], server, m)
				if reply.Rcode != s.rcode || reply.Opcode != dns.OpcodeUpdate {
					t.Errorf("%s: %s, want %s", s.what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[s.rcode])
				}
				if got := values(t, server); !slices.Equal(got, s.want) {
					t.Errorf("%s: there is %q, want %q", s.what, got, s.want)
				}
			}
		})
	}
}

// RFC 2136 §3.2.
func TestPrerequisites(t *testing.T) {
	_, server := startNames(t, nil)
	m := new(dns.Msg).SetUpdate("example.test.")
	m.Insert(texts(record, "one", "two"))
	exchange(t, "tcp", server, m)
	nobody := texts("nobody.example.test.", "")
	for _, tt := range []struct {
		what  string
		do    func(*dns.Msg)
		rcode int
	}{
		{"a name is in use", func(m *dns.Msg) { m.NameUsed(nobody) }, dns.RcodeSuccess},
		{"a name is not in use", func(m *dns.Msg) { m.NameNotUsed(nobody) }, dns.RcodeYXDomain},
		{"there is a TXT", func(m *dns.Msg) { m.RRsetUsed(texts(record, "")) }, dns.RcodeSuccess},
		{"there is a TXT elsewhere", func(m *dns.Msg) { m.RRsetUsed(nobody) }, dns.RcodeNXRrset},
		{"there is no TXT", func(m *dns.Msg) { m.RRsetNotUsed(texts(record, "")) }, dns.RcodeYXRrset},
		{"there is no TXT elsewhere", func(m *dns.Msg) { m.RRsetNotUsed(nobody) }, dns.RcodeSuccess},
		{"there is an address", func(m *dns.Msg) { m.RRsetUsed([]dns.RR{rr("x.example.test. 0 IN A 192.0.2.1")}) }, dns.RcodeSuccess},
		{"there is a CNAME", func(m *dns.Msg) { m.RRsetUsed([]dns.RR{rr("x.example.test. 0 IN CNAME y.")}) }, dns.RcodeNXRrset},
		{"exactly these", func(m *dns.Msg) { m.Used(texts(record, "two", "one")) }, dns.RcodeSuccess},
		{"more than these", func(m *dns.Msg) { m.Used(texts(record, "one")) }, dns.RcodeNXRrset},
		{"less than these", func(m *dns.Msg) { m.Used(texts(record, "one", "two", "three")) }, dns.RcodeNXRrset},
		{"exactly this address", func(m *dns.Msg) { m.Used([]dns.RR{rr("x.example.test. 0 IN A 127.0.0.1")}) }, dns.RcodeSuccess},
		{"outside the zone", func(m *dns.Msg) { m.RRsetUsed(texts("elsewhere.test.", "")) }, dns.RcodeNotZone},
		{"with a TTL", func(m *dns.Msg) { m.RRsetUsed(texts(record, "")); m.Answer[0].Header().Ttl = 1 }, dns.RcodeFormatError},
		{"unknown class", func(m *dns.Msg) { m.RRsetUsed(texts(record, "")); m.Answer[0].Header().Class = 77 }, dns.RcodeFormatError},
	} {
		m := new(dns.Msg).SetUpdate("example.test.")
		tt.do(m)
		for _, rr := range m.Answer {
			if !strings.Contains(tt.what, "TTL") {
				rr.Header().Ttl = 0
			}
		}
		m.Insert(texts("proof.example.test.", tt.what))
		if reply := exchange(t, "udp", server, m); reply.Rcode != tt.rcode {
			t.Errorf("%s: %s, want %s", tt.what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[tt.rcode])
		}
		proof := exchange(t, "tcp", server, new(dns.Msg).SetQuestion("proof.example.test.", dns.TypeTXT))
		done := strings.Contains(text(proof.Answer), `"`+tt.what+`"`)
		if done != (tt.rcode == dns.RcodeSuccess) {
			t.Errorf("%s: the update was done: %v", tt.what, done)
		}
	}
}

func TestUpdatesAreBounded(t *testing.T) {
	_, server := startNames(t, nil)
	for i := range maxTexts/100 + 1 {
		m := new(dns.Msg).SetUpdate("example.test.")
		for j := range 100 {
			m.Insert(texts(fmt.Sprintf("n%d-%d.example.test.", i, j), strings.Repeat("x", 255)))
		}
		want := dns.RcodeSuccess
		if i == maxTexts/100 {
			want = dns.RcodeRefused
		}
		if reply := exchange(t, "tcp", server, m); reply.Rcode != want {
			t.Fatalf("message %d: %s, want %s", i, dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
		}
	}
	m := new(dns.Msg).SetUpdate("example.test.")
	m.RemoveName(texts("n0-0.example.test.", ""))
	m.RemoveName(texts("n0-1.example.test.", ""))
	m.Insert(texts(record, "one", "two"))
	if reply := exchange(t, "tcp", server, m); reply.Rcode != dns.RcodeSuccess {
		t.Errorf("two for two others: %s", dns.RcodeToString[reply.Rcode])
	}
	m = new(dns.Msg).SetUpdate("example.test.")
	m.Remove(texts(record, "one"))
	m.Insert(texts(record, "three", "four"))
	if reply := exchange(t, "tcp", server, m); reply.Rcode != dns.RcodeRefused {
		t.Errorf("two for one: %s", dns.RcodeToString[reply.Rcode])
	}
	if got := values(t, server); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("a refused update left %q", got)
	}
}

func TestLongAnswersComeByTCP(t *testing.T) {
	_, server := startNames(t, nil)
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("%02d%s", i, strings.Repeat("x", 250)))
	}
	m := new(dns.Msg).SetUpdate("example.test.")
	m.Insert(texts(record, all...))
	// Over UDP: a request that is longer than 512 bytes.
	if reply := exchange(t, "udp", server, m); reply.Rcode != dns.RcodeSuccess {
		t.Fatal(reply)
	}
	if got := values(t, server); !slices.Equal(got, all) {
		t.Errorf("over TCP: %q", got)
	}
	for size, most := range map[uint16]int{0: 512, 1232: 1232, 65535: maxDatagram} {
		question := new(dns.Msg).SetQuestion(record, dns.TypeTXT)
		if size > 0 {
			question.SetEdns0(size, false)
		}
		reply := exchange(t, "udp", server, question)
		reply.Compress = true
		if !reply.Truncated || reply.Len() > most || (reply.IsEdns0() != nil) != (size > 0) {
			t.Errorf("asked for %d bytes: truncated %v, %d bytes, OPT %v", size, reply.Truncated, reply.Len(), reply.IsEdns0())
		}
	}
}

func TestSignedUpdates(t *testing.T) {
	const good, other = "c2VjcmV0IG9mIHRoZSByZWhlYXJzYWw=", "YW5vdGhlciBzZWNyZXQ="
	_, server := startNames(t, testKey(t, good))
	for _, tt := range []struct {
		what            string
		key, secret     string
		algorithm       string
		ago             time.Duration
		rcode, tsig     int
		signed, written bool
	}{
		{"the key", "key.", good, dns.HmacSHA256, 0, dns.RcodeSuccess, 0, true, true},
		{"a clock a little late", "key.", good, dns.HmacSHA256, 4 * time.Minute, dns.RcodeSuccess, 0, true, true},
		{"an unknown key", "nokey.", good, dns.HmacSHA256, 0, dns.RcodeNotAuth, dns.RcodeBadKey, false, false},
		{"another secret", "key.", other, dns.HmacSHA256, 0, dns.RcodeNotAuth, dns.RcodeBadSig, false, false},
		{"names have no case", "KEY.", good, dns.HmacSHA256, 0, dns.RcodeSuccess, 0, true, true},
		{"another algorithm", "key.", good, dns.HmacSHA512, 0, dns.RcodeNotAuth, dns.RcodeBadKey, false, false},
		{"a clock an hour late", "key.", good, dns.HmacSHA256, time.Hour, dns.RcodeNotAuth, dns.RcodeBadTime, true, false},
	} {
		m := new(dns.Msg).SetUpdate("example.test.")
		m.Insert(texts(record, tt.what))
		m.SetTsig(tt.key, tt.algorithm, 300, time.Now().Add(-tt.ago).Unix())
		packed, mac, err := dns.TsigGenerate(m, tt.secret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		back := rawExchange(t, server, packed)
		reply := new(dns.Msg)
		if err := reply.Unpack(back); err != nil {
			t.Fatal(err)
		}
		sig := reply.IsTsig()
		if reply.Rcode != tt.rcode || sig == nil || int(sig.Error) != tt.tsig {
			t.Errorf("%s:\n%v", tt.what, reply)
			continue
		}
		err = dns.TsigVerify(back, tt.secret, mac, false)
		if tt.tsig == dns.RcodeBadTime { // by the asker's clock, and ours is told
			if now := fmt.Sprintf("%012x", time.Now().Unix()); sig.OtherData[:8] != now[:8] {
				t.Errorf("%s: the server's time is %q", tt.what, sig.OtherData)
			}
		} else if tt.signed != (err == nil && sig.MAC != "") {
			t.Errorf("%s: reply signed: %v, %q", tt.what, err, sig.MAC)
		}
		if got := slices.Contains(values(t, server), tt.what); got != tt.written {
			t.Errorf("%s: written %v", tt.what, got)
		}
	}
}

// What follows a signature is not signed (RFC 8945 §5.1); a MAC of a few bytes
// could be guessed (§5.2.2.1).
func TestOddSignatures(t *testing.T) {
	_, server := startNames(t, testKey(t, "c2VjcmV0"))
	tsig := func(mac string) dns.RR {
		return &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
			Algorithm: dns.HmacSHA256, TimeSigned: uint64(time.Now().Unix()), Fudge: 300, MACSize: uint16(len(mac) / 2), MAC: mac}
	}
	long := strings.Repeat("ab", 32)
	for _, extra := range [][]dns.RR{
		{tsig(long), rr("example.test. 0 IN A 192.0.2.1")}, {tsig(long), tsig(long)}, {tsig("")}, {tsig("ab")},
	} {
		m := new(dns.Msg).SetUpdate("example.test.")
		m.Insert(texts(record, "x"))
		m.Extra = extra
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(rawExchange(t, server, packed)); err != nil || reply.Rcode != dns.RcodeFormatError {
			t.Errorf("%v: %v, %v", extra, reply, err)
		}
	}
	if got := values(t, server); got != nil {
		t.Errorf("written: %q", got)
	}
}

// The real program, as hooks call it.
func TestNsupdate(t *testing.T) {
	nsupdate := tool(t, "nsupdate")
	keygen := tool(t, "tsig-keygen")
	dir := t.TempDir()
	var o CAOptions
	for _, key := range []string{"key", "nokey"} {
		text, err := exec.Command(keygen, key+".example").Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, key), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if key == "key" {
			o.Key = readKey(t, text)
		}
	}
	server := start(t, o).Resolver()
	host, port, _ := net.SplitHostPort(server)
	for _, tt := range []struct {
		what   string
		args   []string
		script string
		says   string // "" = it succeeds
		want   []string
	}{
		{"unsigned", nil, "add " + record + ` 60 TXT "one"`, "", []string{"one"}},
		{"signed", []string{"-k", dir + "/key"}, "add " + record + ` 60 TXT "two"`, "", []string{"one", "two"}},
		{"over TCP", []string{"-v", "-k", dir + "/key"}, "del " + record + ` TXT "one"`, "", []string{"two"}},
		{"unknown key", []string{"-k", dir + "/nokey"}, "add " + record + ` 60 TXT "three"`, "NOTAUTH(BADKEY)", []string{"two"}},
		{"an address", nil, "add www.example.test. 60 A 192.0.2.1", "REFUSED", []string{"two"}},
		{"only if it is there", nil, "prereq nxrrset " + record + " TXT\nadd " + record + ` 60 TXT "four"`, "YXRRSET", []string{"two"}},
		{"with a zone", nil, "zone example.test\nadd " + record + ` 60 TXT "five"`, "", []string{"two", "five"}},
		{"the name", nil, "del " + record, "", nil},
	} {
		c := exec.CommandContext(t.Context(), nsupdate, append(tt.args, "-t", "10")...)
		c.Stdin = strings.NewReader("server " + host + " " + port + "\n" + tt.script + "\nsend\n")
		out, err := c.CombinedOutput()
		if (err == nil) != (tt.says == "") || !bytes.Contains(out, []byte(tt.says)) {
			t.Errorf("%s: %v: %s", tt.what, err, out)
		}
		if got := values(t, server); !slices.Equal(got, tt.want) {
			t.Errorf("%s: there is %q, want %q", tt.what, got, tt.want)
		}
	}
}

// FuzzNameServer: whatever comes, there is a reply that can be sent, and what is
// kept stays bounded.
func FuzzNameServer(f *testing.F) {
	seed := func(m *dns.Msg) {
		if packed, err := m.Pack(); err == nil {
			f.Add(packed)
		}
	}
	seed(new(dns.Msg).SetQuestion("_acme-challenge.example.test.", dns.TypeTXT))
	seed(new(dns.Msg).SetQuestion(".", dns.TypeANY).SetEdns0(1232, false))
	update := new(dns.Msg).SetUpdate("example.test.")
	update.Insert(texts(record, "one"))
	update.RemoveName(texts(record, ""))
	seed(update)
	update = new(dns.Msg).SetUpdate("example.test.")
	update.Insert(texts(record, "one", `"\"`))
	update.RemoveRRset(texts(record, ""))
	update.Remove(texts(record, "one"))
	update.RRsetUsed(texts(record, ""))
	update.Used(texts(record, "one"))
	seed(update)
	update.RemoveName(texts(record, ""))
	update.NameNotUsed(texts(record, ""))
	update.SetTsig("key.", dns.HmacSHA256, 300, 1)
	seed(update)
	s := newNames(log.New(io.Discard, "", 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		request := new(dns.Msg)
		if request.Unpack(packet) != nil {
			return
		}
		var verified error
		if request.IsTsig() != nil {
			verified = dns.ErrSig
		}
		reply := s.reply(request, verified, dns.MinMsgSize)
		packed, err := reply.Pack()
		if err != nil {
			t.Fatalf("%v\n%v\n%v", err, request, reply)
		}
		if reply.IsTsig() == nil && len(packed) > dns.MinMsgSize {
			t.Errorf("%d bytes", len(packed))
		}
		count := 0
		for name, texts := range s.texts {
			if len(texts) == 0 {
				t.Errorf("an empty list at %q", name)
			}
			count += len(texts)
		}
		if count != s.count || count > maxTexts {
			t.Errorf("%d records, counted as %d", count, s.count)
		}
	})
}

// startNames starts a name server as a CA does, without a CA.
func startNames(t *testing.T, key dns.TsigProvider) (s *nameServer, address string) {
	t.Helper()
	c := &CA{}
	t.Cleanup(c.Close)
	s = newNames(log.New(t.Output(), "", 0))
	if key != nil {
		s.key = key
	}
	if err := c.startDNS(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s, c.resolver
}

func exchange(t *testing.T, network, server string, m *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: dns.MaxMsgSize}
	reply, _, err := client.Exchange(m, server)
	if err != nil {
		t.Fatalf("%v\n%v", err, m)
	}
	return reply
}

// rawExchange sends bytes over TCP and returns those that come back.
func rawExchange(t *testing.T, server string, packed []byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	conn := &dns.Conn{Conn: c}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	back, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// values are the texts at record, in the order of the answer.
func values(t *testing.T, server string) (all []string) {
	t.Helper()
	for _, rr := range exchange(t, "tcp", server, new(dns.Msg).SetQuestion(record, dns.TypeTXT)).Answer {
		all = append(all, strings.Join(rr.(*dns.TXT).Txt, ""))
		if rr.Header().Ttl != 60 {
			t.Errorf("not the TTL it was given: %v", rr)
		}
	}
	return all
}

func texts(name string, values ...string) (all []dns.RR) {
	for _, v := range values {
		all = append(all, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{v}})
	}
	return all
}

// rr reads one record as a zone file has it.
func rr(line string) dns.RR {
	rr, err := dns.NewRR(line)
	if err != nil {
		panic(err)
	}
	return rr
}

// text shows records, a blank between the fields of each.
func text(all []dns.RR) string {
	var lines []string
	for _, rr := range all {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(lines, "|")
}

func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append([]string{""}, "/usr/sbin", "/usr/bin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Skipf("no %s here", name)
	return ""
}
