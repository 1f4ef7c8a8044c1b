package alpn

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServerName(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"example.org", "example.org"},
		{"WWW.Example.ORG", "www.example.org"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"192.0.2.1", "1.2.0.192.in-addr.arpa"},
		{"127.0.0.1", "1.0.0.127.in-addr.arpa"},
		{"::1", "1." + strings.Repeat("0.", 31) + "ip6.arpa"},
		{"::", strings.Repeat("0.", 32) + "ip6.arpa"},
		{"2001:db8::", strings.Repeat("0.", 24) + "8.b.d.0.1.0.0.2.ip6.arpa"},
		{"2001:db8::1", "1." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa"},
		{"2001:DB8::AB", "b.a." + strings.Repeat("0.", 22) + "8.b.d.0.1.0.0.2.ip6.arpa"},
		// RFC 8738 §6's own example.
		{"2001:db8::567:89ab", "b.a.9.8.7.6.5.0." + strings.Repeat("0.", 16) + "8.b.d.0.1.0.0.2.ip6.arpa"},
	} {
		if got := ServerName(test.name); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

var longest = strings.Repeat(strings.Repeat("l", 63)+".", 3) + strings.Repeat("l", 61) // 253 characters

func TestServerNamesThatAreTaken(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"example.org", "example.org"},
		{"Example.ORG", "example.org"},
		{"example.org.", "example.org"},
		{"_mta-sts.a_b.example", "_mta-sts.a_b.example"},
		{"localhost", "localhost"},
		{"1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa"},
		{ServerName("::1"), ServerName("::1")},
		{longest, longest},
		{strings.Repeat("l", 63), strings.Repeat("l", 63)},
	} {
		if got, err := canonical(test.name); got != test.want || err != nil {
			t.Errorf("%q: %q, %v", test.name, got, err)
		}
	}
}

// hostile are names that must not become a part of a file's name.
var hostile = []string{
	"", ".", "..", "../x", "../../etc/passwd", "a/b", "/etc/passwd", "a/", "/", ".a", ".hidden.example", "a..b", "a.b..", "a\x00b", "a\x00",
	"a\nb", "a b", "a%2fb", `a\b`, "*", "*.example.org", "a:b", "[::1]", "$(id)", "-rf", "-", "a-.b", "bücher.example", "\u212aelvin.example",
	"\xff", longest + "l", strings.Repeat("l", 64), strings.Repeat("l.", 150), strings.Repeat("l", 300), strings.Repeat("l", 60_000),
}

func TestServerNamesThatAreRefused(t *testing.T) {
	for _, name := range hostile {
		if got, err := canonical(name); got != "" || err == nil || len(err.Error()) > 500 {
			t.Errorf("%.80q: %q, %.600v", name, got, err)
		}
	}
}

func FuzzServerName(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
	}
	f.Add("Example.ORG.")
	f.Add("192.0.2.1")
	f.Add("2001:db8::1%eth0")
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, s string) {
		if certPEM, _, err := Make(s, sha256.Sum256(nil), now); err == nil {
			name, err := canonical(ServerName(s))
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			if _, _, err := parse(certPEM, name); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
		name, err := canonical(s)
		if err != nil {
			return
		}
		again, err := canonical(name)
		names, err2 := filesOf(name, "")
		if again != name || err != nil || err2 != nil || names.cert != name+".crt.pem" || names.key != name+".key.pem" {
			t.Errorf("%q: %q, %q, %+v", s, name, again, names)
		}
		// lighttpd refuses the first three itself.
		if name == "" || name[0] == '.' || strings.Contains(name, "/") || !filepath.IsLocal(name) ||
			strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(name) > 253 ||
			!strings.EqualFold(strings.TrimSuffix(s, "."), name) {
			t.Errorf("%q gives %q", s, name)
		}
	})
}
