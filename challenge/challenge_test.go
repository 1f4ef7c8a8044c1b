package challenge

import (
	"strings"
	"testing"
)

// RFC 8555 §8.1's example of a token, with a thumbprint of RFC 7638 §3.1; the
// digests were made with `openssl dgst -sha256`.
const (
	token   = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	keyAuth = token + ".NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func TestValue(t *testing.T) {
	for _, c := range []struct{ typ, want string }{
		{HTTP01, keyAuth},
		{DNS01, "ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8"},
		{TLSALPN01, "65:34:71:d4:29:25:d7:eb:4c:d3:9a:39:cd:a8:b3:4d:30:34:c9:4c:b9:00:67:ab:78:c8:12:35:60:ba:2e:5f"},
		{"dns-02", ""},
	} {
		if got := Value(c.typ, keyAuth); got != c.want {
			t.Errorf("%s: got %q", c.typ, got)
		}
	}
}

func TestCheckLocal(t *testing.T) {
	for _, c := range []struct{ typ, name, refused string }{
		{HTTP01, "example.org", ""},
		{HTTP01, "192.0.2.1", ""},
		{HTTP01, "2001:db8::1", ""},
		{HTTP01, "*.example.org", "wildcard"},
		{DNS01, "example.org", ""},
		{DNS01, "*.example.org", ""},
		{DNS01, "192.0.2.1", "address"},
		{DNS01, "2001:db8::1", "address"},
		{TLSALPN01, "example.org", ""},
		{TLSALPN01, "2001:db8::1", ""},
		{TLSALPN01, "*.example.org", "wildcard"},
		{"HTTP-01", "example.org", "(there is http-01, dns-01, tls-alpn-01)"},
		{"", "example.org", "unknown challenge type"},
	} {
		err := checkLocal(c.typ, c.name)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s %s: %v", c.typ, c.name, err)
		}
	}
}
