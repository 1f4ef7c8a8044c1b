// Package challenge knows what each challenge type must show and where it
// goes: http-01 files, values for hooks. When hooks run is not its business.
package challenge

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"arid/alpn"
)

// The challenge types of RFC 8555 and RFC 8737.
const (
	HTTP01    = "http-01"
	DNS01     = "dns-01"
	TLSALPN01 = "tls-alpn-01"
)

// kind is one row of the table of known challenge types.
type kind struct {
	Name string

	// Value is what has to be shown for a key authorization, as hooks get it.
	Value func(keyAuth string) string

	Wildcards bool // validates names that begin with "*."
	Addresses bool // validates IP addresses (RFC 8738)
}

// types lists them in the order in which messages name them.
func types() []kind {
	return []kind{
		{Name: HTTP01, Value: keyAuthorization, Addresses: true},
		{Name: DNS01, Value: digest, Wildcards: true},
		{Name: TLSALPN01, Value: colonHex, Addresses: true},
	}
}

// lookup finds a type by its name; the error names those there are.
func lookup(name string) (*kind, error) {
	var known []string
	for _, t := range types() {
		if t.Name == name {
			return &t, nil
		}
		known = append(known, t.Name)
	}
	return nil, fmt.Errorf("unknown challenge type %q (there is %s)", name, strings.Join(known, ", "))
}

// Value is what hooks get for a key authorization: with http-01 itself, with
// dns-01 the TXT record's text, with tls-alpn-01 the digest for the certificate
// as hex pairs joined by colons, as dehydrated gives it. "" with an unknown type.
func Value(typ, keyAuth string) string {
	t, err := lookup(typ)
	if err != nil {
		return ""
	}
	return t.Value(keyAuth)
}

// HookName is what hooks are told an identifier is called: itself, and with
// tls-alpn-01 the name by which the CA asks for it.
func HookName(typ, name string) string {
	if typ == TLSALPN01 {
		return alpn.ServerName(name)
	}
	return name
}

// Record is the name of the TXT record that proves a name, which stands here
// without its "*." (RFC 8555 §8.4).
func Record(name string) string { return "_acme-challenge." + name }

// checkLocal refuses what no CA could validate: an unknown type, a wildcard
// with a type that looks at one host, an address with one that looks at the DNS.
// The name is canonical.
func checkLocal(typ, name string) error {
	t, err := lookup(typ)
	if err != nil {
		return err
	}
	if strings.HasPrefix(name, "*.") && !t.Wildcards {
		return fmt.Errorf("%q: a wildcard cannot be validated with %s, only with %s", name, typ, DNS01)
	}
	if _, err := netip.ParseAddr(name); err == nil && !t.Addresses {
		return fmt.Errorf("%q: an address cannot be validated with %s, only with %s or %s", name, typ, HTTP01, TLSALPN01)
	}
	return nil
}

func keyAuthorization(keyAuth string) string { return keyAuth }

// digest is RFC 8555 §8.4.
func digest(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// colonHex is what `openssl dgst -c -hex` prints, in dehydrated's hands.
func colonHex(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	pairs := make([]string, len(sum))
	for i := range sum {
		pairs[i] = hex.EncodeToString(sum[i : i+1])
	}
	return strings.Join(pairs, ":")
}
