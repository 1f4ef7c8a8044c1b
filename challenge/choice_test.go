package challenge

import (
	"strings"
	"testing"
)

func TestChoice(t *testing.T) {
	for _, c := range []struct{ what, words, name, want string }{
		{"one type", "http-01", "example.org", HTTP01},
		{"a wildcard takes the first type that can", "http-01 dns-01", "*.example.org", DNS01},
		{"and no other name does", "http-01 dns-01", "www.example.org", HTTP01},
		{"an address too", "dns-01 tls-alpn-01", "2001:db8::1", TLSALPN01},
		{"a pattern goes first", "dns-01 *.example.test:http-01", "www.example.test", HTTP01},
		{"wherever it stands", "*.example.test:http-01 dns-01", "a.b.example.test", HTTP01},
		{"and not for a wildcard that it cannot prove", "dns-01 *.example.test:http-01", "*.example.test", DNS01},
		{"names that it does not fit", "dns-01 *.example.test:http-01", "example.test", DNS01},
		{"first pattern of two", "dns-01 www.*:tls-alpn-01 *.test:http-01", "www.example.test", TLSALPN01},
		{"in capitals", "dns-01 WWW.example.test:http-01", "www.example.test", HTTP01},
		{"an IPv6 pattern", "dns-01 2001:db8::*:http-01", "2001:db8::7", HTTP01},
		{"a set", "dns-01 192.0.2.[0-9]:http-01", "192.0.2.7", HTTP01},
	} {
		choice, err := ParseChoice(c.words)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got, err := choice.For(c.name); got != c.want {
			t.Errorf("%s: %q for %q: got %q, %v", c.what, c.words, c.name, got, err)
		}
	}
}

func TestChoiceRefused(t *testing.T) {
	for words, why := range map[string]string{
		"":                      "no challenge type",
		"*.example.test:dns-01": "for all other names",
		"http-02":               `unknown challenge type "http-02"`,
		"http-01 a:b":           `unknown challenge type "b"`,
		"http-01 :dns-01":       "is no pattern",
		"http-01 [a:dns-01":     "is no pattern",
	} {
		if _, err := ParseChoice(words); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", words, err)
		}
	}
	choice, err := ParseChoice("http-01 *.test:tls-alpn-01")
	if err != nil {
		t.Fatal(err)
	}
	if typ, err := choice.For("*.example.test"); err == nil || !strings.Contains(err.Error(), "wildcard") {
		t.Errorf("a wildcard by %q, %v", typ, err)
	}
}
