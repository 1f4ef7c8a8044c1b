// Package alpn makes the validation certificates of tls-alpn-01 (RFC 8737),
// writes them as lighttpd's ssl.acme-tls-1 looks them up, and reads them back.
package alpn

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is the one that a CA offers by ALPN when it validates (RFC 8737 §4).
const Protocol = "acme-tls/1"

// ServerName is what a CA asks for by SNI, and the stem of the file names: a DNS
// name in lower case, an IP address as the name of its reverse mapping (RFC 8738
// §6), "1.2.0.192.in-addr.arpa".
func ServerName(name string) string {
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return lower(name)
	}
	var labels []string
	for _, b := range ip.AsSlice() {
		if ip.Is4() {
			labels = append(labels, strconv.Itoa(int(b)))
			continue
		}
		labels = append(labels, strconv.FormatInt(int64(b>>4), 16), strconv.FormatInt(int64(b&15), 16))
	}
	suffix := "ip6.arpa"
	if ip.Is4() {
		suffix = "in-addr.arpa"
	}
	var reverse strings.Builder
	for i := len(labels) - 1; i >= 0; i-- {
		reverse.WriteString(labels[i] + ".")
	}
	return reverse.String() + suffix
}

// canonical is the one form of a server name that came from outside: lower case,
// no final dot. Only what passes here becomes a part of a file name.
func canonical(serverName string) (string, error) {
	name := lower(strings.TrimSuffix(serverName, "."))
	if err := checkServerName(name); err != nil {
		return "", fmt.Errorf("server name %.80q: %w", serverName, err)
	}
	return name, nil
}

// checkServerName takes letters, digits and hyphens, and the underscore that
// names in use have.
func checkServerName(name string) error {
	if len(name) > 253 {
		return errors.New("longer than 253 bytes")
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("empty label")
		case len(label) > 63:
			return errors.New("label longer than 63 bytes")
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("label begins or ends with a hyphen")
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return fmt.Errorf("%q is not allowed", c)
			}
		}
	}
	return nil
}

// lower is for ASCII only: to strings.ToLower the Kelvin sign is a k.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
