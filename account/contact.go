package account

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ContactError is a contact address that no CA would take.
type ContactError struct {
	Address, Why string
}

func (e *ContactError) Error() string { return fmt.Sprintf("contact address %q: %s", e.Address, e.Why) }

// Contacts makes URIs of addresses: what has no scheme gets "mailto:". What
// RFC 8555 §7.3 has the CA refuse is refused here: several addresses in one,
// header fields, blanks. The error is a *ContactError.
func Contacts(addresses []string) ([]string, error) {
	var all []string
	for _, address := range addresses {
		uri := address
		if !strings.Contains(address, ":") {
			uri = "mailto:" + address
		}
		if why := badContact(uri); why != "" {
			return nil, &ContactError{address, why}
		}
		if !slices.Contains(all, uri) {
			all = append(all, uri)
		}
	}
	return all, nil
}

// badContact says what is wrong with a contact URI.
func badContact(uri string) string {
	for _, r := range uri {
		switch {
		case r <= ' ' || r == 0x7f:
			return "has a blank or a control character"
		case r > 0x7f:
			return "has a character outside ASCII"
		case strings.ContainsRune(`<>"\`, r):
			return fmt.Sprintf("has %q; only the bare address is wanted", r)
		}
	}
	if len(uri) > 320 { // RFC 5321 §4.5.3.1: 64 + 1 + 255
		return "is too long"
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return "is no URI"
	}
	if u.Scheme != "mailto" {
		return "" // the CA's to judge
	}
	_, address, _ := strings.Cut(uri, ":")
	local, host, _ := strings.Cut(address, "@")
	switch {
	case strings.Contains(address, "?"):
		return "has header fields (RFC 8555 §7.3 forbids them)"
	case strings.Contains(address, ",") || strings.Contains(host, "@"):
		return "is more than one address"
	case local == "" || host == "":
		return "is no mail address"
	}
	return ""
}
