package dns

import (
	"crypto/hmac"
	"encoding/hex"

	mdns "github.com/miekg/dns"
)

// tsigProvider is a key as the library signs and verifies with it.
type tsigProvider struct {
	*Key
}

// Generate is the MAC of a message.
func (k tsigProvider) Generate(message []byte, t *mdns.TSIG) ([]byte, error) {
	if mdns.CanonicalName(t.Hdr.Name) != mdns.Fqdn(k.Name) || mdns.CanonicalName(t.Algorithm) != algorithms[k.Algorithm].wire {
		return nil, mdns.ErrSecret
	}
	h := k.mac()
	h.Write(message)
	return h.Sum(nil), nil
}

// Verify tells whether the MAC in t is this key's. A truncated one is refused
// (RFC 8945 §5.2.2.1 lets us).
func (k tsigProvider) Verify(message []byte, t *mdns.TSIG) error {
	want, err := k.Generate(message, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || !hmac.Equal(got, want) {
		return mdns.ErrSig
	}
	return nil
}

// TSIG signs and verifies messages with the key, for a server that knows it.
func (k *Key) TSIG() mdns.TsigProvider { return tsigProvider{k} }
