package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestCanonicalName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ word, want, why string }{
		{"example.org", "example.org", ""},
		{"EXAMPLE.Org", "example.org", ""},
		{"*.Example.org", "*.example.org", ""},
		{"localhost", "localhost", ""},
		{"a-b.3com.example", "a-b.3com.example", ""},
		{"Bücher.example", "xn--bcher-kva.example", ""},
		{"*.BÜCHER.example", "*.xn--bcher-kva.example", ""},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example", ""},
		{"straße.example", "xn--strae-oqa.example", ""},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah", ""},
		{long + ".example", long + ".example", ""},
		{long + "." + long + "." + long + "." + strings.Repeat("a", 61), long + "." + long + "." + long + "." + strings.Repeat("a", 61), ""},
		{"192.0.2.1", "192.0.2.1", ""},
		{"ip:192.0.2.1", "192.0.2.1", ""},
		{"IP:2001:DB8:0:0:1::1", "2001:db8::1:0:0:1", ""},
		{"2001:db8::A", "2001:db8::a", ""},

		{"", "", "empty name"},
		{"\"example.org\"", "", "a name with a quote"},
		{"exam'ple.org", "", "a name with a quote"},
		{"“example.org”", "", "a name with a quote"},
		{"example.org\n", "", "a line break"},
		{"example org", "", "a blank"},
		{"example\u00a0org", "", "a blank"},
		{"example\torg", "", "a blank"},
		{"example\x00org", "", "a control character"},
		{"https://example.org/", "", "a slash"},
		{"../etc", "", "a slash"},
		{"..", "", "dots, not a name"},
		{".", "", "dots, not a name"},
		{"a..b", "", "an empty label"},
		{".example.org", "", "begins with a dot"},
		{"example.org.", "", "ends in a dot"},
		{"example.org:443", "", "a colon"},
		{"a.example,b.example", "", "a comma"},
		{"_acme-challenge.example.org", "", "an underscore"},
		{"me@example.org", "", "an e-mail address"},
		{"#example.org", "", "comments"},
		{">alias", "", "a >"},
		{"exam!ple.org", "", "a name with '!'"},
		{"-a.example", "", "hyphen"},
		{"a-.example", "", "hyphen"},
		{"ab--c.example", "", "two hyphens"},
		{"*", "", "wildcard"},
		{"*.", "", "a wildcard of nothing"},
		{"a.*.example", "", "wildcard"},
		{"*a.example", "", "wildcard"},
		{"*.*.example", "", "wildcard"},
		{"*.192.0.2.1", "", "a wildcard of an IP address"},
		{long + "a.example", "", "a label longer than 63"},
		{long + "." + long + "." + long + "." + strings.Repeat("a", 62), "", "longer than 253"},
		{"*." + long + "." + long + "." + long + "." + strings.Repeat("a", 60), "", "longer than 253"},
		{strings.Repeat("a.", 2000) + "b", "", "longer than 253"},
		{"1.2.3", "", "no complete IP address"},
		{"1.2.3.256", "", "no complete IP address"},
		{"010.1.1.1", "", "no complete IP address"},
		{"12345", "", "no complete IP address"},
		{"host.123", "", "last label is a number"},
		{"１９２.0.2.1", "", "write 192.0.2.1"},
		{"ip:example.org", "", "not an IP address"},
		{"ip:", "", "not an IP address"},
		{"fe80::1%eth0", "", "a zone"},
		{"::ffff:192.0.2.1", "", "write 192.0.2.1"},
		{"[2001:db8::1]", "", "brackets"},
		{"192.0.2.0/24", "", "a network"},
		{"192.0.2.1:80", "", "a port"},
		{"xn--a.example", "", "international"},
		{"xn--zzzzzzzz99999999.example", "", "international"},
		{"a\u200db.example", "", "international"},
		{"\xff.example", "", "UTF-8"},
	} {
		got, err := CanonicalName(c.word)
		var ne *NameError
		switch {
		case c.why == "" && (err != nil || got != c.want):
			t.Errorf("%q: %q, %v; want %q", c.word, got, err, c.want)
		case c.why != "" && (!errors.As(err, &ne) || !strings.Contains(ne.Why, c.why) || got != ""):
			t.Errorf("%q: %q, %v; want an error with %q", c.word, got, err, c.why)
		}
	}
}

func FuzzCanonicalName(f *testing.F) {
	for _, s := range []string{"example.org", "*.Bücher.example", "ip:2001:db8::1", "xn--bcher-kva.example", "１.2.3.4", "a..b", "例え。テスト", "ﷺ.example", "*.*", "ß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		name, err := CanonicalName(word)
		if err != nil {
			var ne *NameError
			if !errors.As(err, &ne) || ne.Why == "" || strings.ContainsAny(err.Error(), "\n\x00\x1b") || name != "" {
				t.Fatalf("%q: %q, %v", word, name, err)
			}
			return
		}
		again, err := CanonicalName(name)
		if err != nil || again != name {
			t.Fatalf("%q becomes %q, and that %q, %v", word, name, again, err)
		}
		if len(name) > 253 || name == "" || strings.ContainsAny(name, "/\\_ \"'") || strings.Contains(name, "..") || name[0] == '.' || name[0] == '-' {
			t.Fatalf("%q becomes %q", word, name)
		}
		if addr, err := netip.ParseAddr(name); err == nil {
			if addr.String() != name || addr.Zone() != "" || addr.Is4In6() {
				t.Fatalf("%q becomes the address %q", word, name)
			}
			return
		}
		for i, l := range strings.Split(strings.TrimPrefix(name, "*."), ".") {
			if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Fatalf("%q becomes %q: label %d", word, name, i)
			}
		}
	})
}

func TestCAURL(t *testing.T) {
	for _, c := range []struct {
		value, url string
		test       bool
		why        string
	}{
		{value: "letsencrypt", url: "https://acme-v02.api.letsencrypt.org/directory"},
		{value: "letsencrypt-test", url: "https://acme-staging-v02.api.letsencrypt.org/directory", test: true},
		{value: "https://acme-staging-v02.api.letsencrypt.org/directory", url: "https://acme-staging-v02.api.letsencrypt.org/directory", test: true},
		{value: "zerossl", url: "https://acme.zerossl.com/v2/DV90"},
		{value: "google", url: "https://dv.acme-v02.api.pki.goog/directory"},
		{value: "google-test", url: "https://dv.acme-v02.test-api.pki.goog/directory", test: true},
		{value: "https://ca.example:14000/dir?x=1", url: "https://ca.example:14000/dir?x=1"},
		{value: "http://127.0.0.1:14000/dir", url: "http://127.0.0.1:14000/dir"},
		{value: "http://[::1]/dir", url: "http://[::1]/dir"},
		{value: "http://localhost/dir", url: "http://localhost/dir"},
		{value: "buypass", why: "no longer issues"},
		{value: "buypass-test", why: "no longer issues"},
		{value: "https://api.buypass.com/acme/directory", why: "no longer issues"},
		{value: "letsencript", why: `did you mean "letsencrypt"`},
		{value: "letsencrypt-staging", why: `did you mean "letsencrypt-test"`},
		{value: "LetsEncrypt", why: `did you mean "letsencrypt"`},
		{value: "quux", why: "neither a URL nor one of"},
		{value: "", why: "neither a URL"},
		{value: "http://ca.example/dir", why: "plain http"},
		{value: "ftp://ca.example/dir", why: "not an https URL"},
		{value: "ca.example/dir", why: "not an https URL"},
		{value: "https:///dir", why: "no host"},
		{value: "https://u:p@ca.example/", why: "user name"},
		{value: "https://ca.example/#x", why: "fragment"},
		{value: "https://ca.example/\n", why: "not a URL"},
	} {
		url, test, err := caURL(c.value)
		if c.why != "" {
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%q: %v, want %q", c.value, err, c.why)
			}
			continue
		}
		if err != nil || url != c.url || test != c.test {
			t.Errorf("%q: %q %v %v", c.value, url, test, err)
		}
	}
}
