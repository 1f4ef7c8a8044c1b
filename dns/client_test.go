package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func TestExchange(t *testing.T) {
	says := func(q *mdns.Msg, text string) *mdns.Msg {
		m := new(mdns.Msg).SetReply(q)
		rr, _ := mdns.NewRR(q.Question[0].Name + " 60 IN TXT " + text)
		m.Answer = []mdns.RR{rr}
		return m
	}
	good := func(q *mdns.Msg) *mdns.Msg { return says(q, "good") }
	evil := func(q *mdns.Msg) *mdns.Msg { return says(q, "evil") }
	raw := func(m *mdns.Msg, change func(b []byte)) []byte {
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		change(b)
		return b
	}
	tests := []struct {
		about string
		quirk func(n int, w mdns.ResponseWriter, q *mdns.Msg) // n counts questions from 1
		want  string                                          // error, "" = the good answer
		asked string
	}{
		{"an answer", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) { w.WriteMsg(good(q)) }, "", "udp"},
		{"the first datagram is lost", func(n int, w mdns.ResponseWriter, q *mdns.Msg) {
			if n == 2 {
				w.WriteMsg(good(q))
			}
		}, "", "udp udp"},
		{"both are lost", func(int, mdns.ResponseWriter, *mdns.Msg) {}, "i/o timeout", "udp udp"},
		{"nonsense, then an answer", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			w.Write([]byte("nonsense"))
			w.Write(nil)
			w.Write(raw(evil(q), func(b []byte) { b[0]++ }))      // another ID
			w.Write(raw(evil(q), func(b []byte) { b[2] &= 127 })) // a question
			w.Write(raw(evil(q), func(b []byte) { b[13] = '!' })) // another name
			w.WriteMsg(good(q))
		}, "", "udp"},
		{"the question in other letters", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			w.Write(raw(good(q), func(b []byte) { b[13] -= 32 }))
		}, "", "udp"},
		{"an answer to another name", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			w.Write(raw(good(q), func(b []byte) { b[13] = '!' }))
		}, "an answer to another question", "udp udp"},
		{"an answer to another type", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			m.Question[0].Qtype = mdns.TypeMX
			w.WriteMsg(m)
		}, "an answer to another question", "udp udp"},
		{"an answer without its question", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			m.Question = nil
			w.WriteMsg(m)
		}, "an answer to another question", "udp udp"},
		{"a flood of nonsense", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			for range maxOdd {
				w.Write([]byte("nonsense"))
			}
		}, "64 answers that are none, the last: no DNS message: bad header ns count: dns: overflow unpacking uint16", "udp"},
		{"truncated", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			m.Truncated = w.RemoteAddr().Network() == "udp"
			w.WriteMsg(m)
		}, "", "udp tcp"},
		{"cut in the middle of a record", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			m.Truncated = w.RemoteAddr().Network() == "udp"
			b := raw(m, func([]byte) {})
			if m.Truncated {
				b = b[:len(b)-3]
			}
			w.Write(b)
		}, "", "udp tcp"},
		{"truncated over TCP", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			m.Truncated = true
			w.WriteMsg(m)
		}, "TCP: the answer is cut short", "udp tcp"},
		{"truncated, and TCP is closed at once", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			if w.RemoteAddr().Network() == "tcp" {
				w.Close()
				return
			}
			m := good(q)
			m.Truncated = true
			w.WriteMsg(m)
		}, "TCP: EOF", "udp tcp"},
		{"a server that does not know EDNS", func(_ int, w mdns.ResponseWriter, q *mdns.Msg) {
			m := good(q)
			if q.IsEdns0() != nil {
				m = new(mdns.Msg).SetRcodeFormatError(q)
			}
			w.WriteMsg(m)
		}, "", "udp udp"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.serve("127.0.0.2", "example.org", "")
			var n atomic.Int32
			s.behave(func(w mdns.ResponseWriter, q *mdns.Msg) bool {
				test.quirk(int(n.Add(1)), w, q)
				return true
			})
			c := w.client()
			if test.want != "" && test.asked == "udp udp" {
				c = w.hasty()
			}
			m, err := c.ask(bg, newQuestion("a.example.org.", mdns.TypeTXT, false), s.addr)
			switch {
			case err != nil && err.Error() != test.want:
				t.Errorf("got %v", err)
			case err == nil && test.want != "":
				t.Errorf("got %v, want the error %s", m, test.want)
			case err == nil && (len(m.Answer) != 1 || m.Answer[0].(*mdns.TXT).Txt[0] != "good"):
				t.Errorf("got %v", m)
			}
			var asked []string
			for _, q := range s.questions("TXT") {
				asked = append(asked, strings.Fields(q)[2])
			}
			if got := strings.Join(asked, " "); got != test.asked {
				t.Errorf("asked by %s, want %s", got, test.asked)
			}
		})
	}
}

func TestExchangeNobodyThere(t *testing.T) {
	w := newWorld(t)
	_, err := w.client().exchange(bg, newQuestion("a.example.org.", mdns.TypeTXT, false), net.JoinHostPort("127.0.0.9", w.port))
	if err == nil || err.Error() != "connection refused" {
		t.Errorf("got %v", err)
	}
}

func TestExchangeEndsWithContext(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		w := newWorld(t)
		s := w.serve("127.0.0.2", "example.org", "")
		ctx, cancel := context.WithCancel(bg)
		s.behave(func(rw mdns.ResponseWriter, q *mdns.Msg) bool {
			if rw.RemoteAddr().Network() == network {
				cancel()
				return true
			}
			m := new(mdns.Msg).SetReply(q)
			m.Truncated = true
			rw.WriteMsg(m)
			return true
		})
		c := w.client()
		c.patience = time.Hour
		_, err := c.exchange(ctx, newQuestion("a.example.org.", mdns.TypeTXT, false), s.addr)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", network, err)
		}
	}
}

func TestSystemResolvers(t *testing.T) {
	tests := []struct {
		text string
		want string
	}{
		{"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", "192.0.2.1:53 [2001:db8::1]:53"},
		{"# nameserver 192.0.2.9\n; nameserver 192.0.2.8\n\tnameserver\t192.0.2.1 # the router\nsearch example.org\n", "192.0.2.1:53"},
		{"nameserver fe80::1%eth0", "[fe80::1%eth0]:53"},
		{"nameserver\nnameserver router\nnameserver 192.0.2.1:5353\nnameserver 192.0.2.1", "192.0.2.1:53"},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4", "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53"},
		{"", "127.0.0.1:53"},
		{"search example.org\n", "127.0.0.1:53"},
	}
	for _, test := range tests {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := SystemResolvers(file)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%q: got %v, %v", test.text, got, err)
		}
	}
	if got, err := SystemResolvers(filepath.Join(t.TempDir(), "none")); err != nil || !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("no file: got %v, %v", got, err)
	}
	if got, err := SystemResolvers(t.TempDir()); err == nil {
		t.Errorf("a directory: got %v", got)
	}
}

func TestAddresses(t *testing.T) {
	const zone = "@ NS ns1\nns1 A 127.0.0.2\nboth A 192.0.2.2\nboth A 192.0.2.1\nboth AAAA 2001:db8::1\n" +
		"six AAAA 2001:db8::6\nalias CNAME Other\nother CNAME both\nloop CNAME loop\ndangling CNAME nowhere\ntext TXT x\n"
	tests := []struct{ name, network, want string }{
		{"both.example.org", "", "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"BOTH.Example.Org.", "4", "[192.0.2.1 192.0.2.2]"},
		{"both.example.org", "6", "[2001:db8::1]"},
		{"six.example.org", "", "[2001:db8::6]"},
		{"six.example.org", "4", "[]"},
		{"alias.example.org", "", "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"text.example.org", "", "[]"},
		{"loop.example.org", "", "[]"},
		{"dangling.example.org", "", `"dangling.example.org" does not exist in the DNS`},
		{"nowhere.example.org", "", `"nowhere.example.org" does not exist in the DNS`},
		{"192.0.2.7", "", "[192.0.2.7]"},
		{"2001:db8::7", "", "[2001:db8::7]"},
		{"localhost", "", "[127.0.0.1 ::1]"},
		{"a b", "", `"a b" is no DNS name in ASCII`},
	}
	w := newWorld(t)
	w.serve("127.0.0.2", "example.org", zone)
	for _, test := range tests {
		c := w.client()
		c.Network = test.network
		got, err := c.Addresses(bg, test.name)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != test.want {
			t.Errorf("%s: got %s, want %s", test.name, text, test.want)
		}
	}
	if _, err := w.client().Addresses(bg, "nowhere.example.org"); !errors.As(err, new(*NoNameError)) {
		t.Errorf("got %T", err)
	}
	w.neverRecursed("localhost", "192.0.2.7")
}

// The answer's order says nothing, and records of other names do not count.
func TestAddressesInAnyOrder(t *testing.T) {
	w := newWorld(t)
	w.resolver.behave(func(rw mdns.ResponseWriter, q *mdns.Msg) bool {
		m := new(mdns.Msg).SetReply(q)
		for _, text := range []string{"evil.example. A 192.0.2.66", "c.example. A 192.0.2.1", "b.example. CNAME c.example.",
			"a.example. CNAME b.example.", "a.example. A 192.0.2.67"} {
			rr, err := mdns.NewRR(text)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		rw.WriteMsg(m)
		return true
	})
	got, err := w.client().Addresses(bg, "a.example")
	if err != nil || fmt.Sprint(got) != "[192.0.2.1]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSecondResolver(t *testing.T) {
	refusals := map[string]func(w *world) string{
		"down": func(w *world) string { return net.JoinHostPort("127.0.0.9", w.port) },
		"refusing": func(w *world) string {
			s := w.serve("127.0.0.9", "example.com", "")
			s.behave(rcode(mdns.RcodeRefused))
			return s.addr
		},
	}
	for about, first := range refusals {
		w := newWorld(t)
		w.usual()
		c := w.client()
		c.Resolvers = []string{first(w), w.resolver.addr}
		if _, err := c.Place(bg, acme); err != nil {
			t.Errorf("%s: %v", about, err)
		}
		// The first one is passed over once it has failed; A and AAAA go side by side.
		if s := w.servers["127.0.0.9"]; s != nil && len(s.questions("")) != 1 {
			t.Errorf("%s: the first resolver was asked %v", about, s.questions(""))
		}
	}
}

func TestSlowResolverIsAskedTwice(t *testing.T) {
	w := newWorld(t)
	w.usual()
	var n atomic.Int32
	w.resolver.behave(func(rw mdns.ResponseWriter, q *mdns.Msg) bool {
		return n.Add(1) <= 2 || w.recurse(rw, q) // the two datagrams of one question
	})
	if _, err := w.hasty().Place(bg, acme); err != nil {
		t.Error(err)
	}
}
