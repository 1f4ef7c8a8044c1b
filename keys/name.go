package keys

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// canonicalName is the canonical form of a name as it stands in a SAN: a DNS
// name of A-labels in lower case, perhaps with "*." before it, or an IP
// address. What could not be in a public certificate is an error.
func canonicalName(name string) (string, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Is4In6() || ip.Zone() != "" {
			return "", fmt.Errorf("address %q is no plain IPv4 or IPv6 address", name)
		}
		return ip.String(), nil
	}
	lower := strings.ToLower(name)
	if err := checkDNS(lower); err != nil {
		return "", fmt.Errorf("name %q: %w", clip(name), err)
	}
	return lower, nil
}

func checkDNS(name string) error {
	if name == "" {
		return errors.New("empty")
	}
	if len(name) > 253 {
		return errors.New("longer than 253 bytes")
	}
	labels := strings.Split(strings.TrimPrefix(name, "*."), ".")
	for _, label := range labels {
		switch {
		case label == "":
			return errors.New("empty label (a dot too many)")
		case len(label) > 63:
			return errors.New("label longer than 63 bytes")
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("label begins or ends with a hyphen")
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 0x80:
				return errors.New("only A-labels are taken (xn--…)")
			case c == '*':
				return errors.New("a wildcard stands alone before the first dot")
			case c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z'):
				return fmt.Errorf("%q is not allowed in host names", c)
			}
		}
	}
	// No top-level domain is a number; "1.2.3" would be a damaged address.
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return errors.New("last label is a number")
	}
	return nil
}

func isIP(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}
