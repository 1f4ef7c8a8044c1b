package rehearse

import (
	"testing"

	mdns "github.com/miekg/dns"

	"arid/dns"
)

// testKey is the key "key" with the secret, for HMAC-SHA256.
func testKey(t *testing.T, secret string) mdns.TsigProvider {
	t.Helper()
	key, err := dns.ParseKey("key:" + secret)
	if err != nil {
		t.Fatal(err)
	}
	return key.TSIG()
}

func readKey(t *testing.T, file []byte) *dns.Key {
	t.Helper()
	key, err := dns.ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
