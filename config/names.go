package config

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// NameError is a word that cannot be a name in a certificate.
type NameError struct {
	Name string
	Why  string
}

func (e *NameError) Error() string { return fmt.Sprintf("name %q: %s", cut(e.Name), e.Why) }

// CanonicalName returns the one form of a name that the rest of the program
// knows: a DNS name in lower case, international labels as A-labels (RFC 5891),
// perhaps with "*." before it; or an IP address as netip prints it. The word
// may carry dehydrated's "ip:". What no public CA could issue for by its form
// alone (RFC 1034 §3.5, RFC 1123 §2.1, CA/B baseline requirements 3.2.2.4) is
// refused with a *NameError.
func CanonicalName(word string) (string, error) {
	refuse := func(format string, a ...any) (string, error) {
		return "", &NameError{word, fmt.Sprintf(format, a...)}
	}
	if word == "" {
		return refuse("an empty name")
	}
	if !utf8.ValidString(word) {
		return refuse("not UTF-8")
	}
	if len(word) > 1024 {
		return refuse("longer than 253 bytes")
	}
	if len(word) >= 3 && strings.EqualFold(word[:3], "ip:") {
		ip, why := canonicalIP(word[3:])
		if why == "" && ip == "" {
			why = "not an IP address"
		}
		if why != "" {
			return refuse("%s", why)
		}
		return ip, nil
	}
	if ip, why := canonicalIP(word); why != "" {
		return refuse("%s", why)
	} else if ip != "" {
		return ip, nil
	}
	if strings.Contains(word, "/") {
		return refuse("%s", badRune('/')) // said first of an URL, which has a colon too
	}
	for _, r := range word {
		if why := badRune(r); why != "" {
			return refuse("%s", why)
		}
	}
	base, wildcard := strings.CutPrefix(word, "*.")
	if strings.Contains(base, "*") {
		return refuse(`a wildcard other than one "*." at the beginning`)
	}
	if base == "" {
		return refuse("a wildcard of nothing")
	}
	if why := badDots(base); why != "" {
		return refuse("%s", why)
	}
	if _, err := netip.ParseAddr(base); err == nil {
		return refuse("a wildcard of an IP address") // without "*." it would have been one above
	}
	ascii, err := canonicalDNS(base)
	if err != nil {
		return refuse("%v", err)
	}
	if wildcard {
		ascii = "*." + ascii
	}
	if len(ascii) > 253 {
		return refuse("longer than 253 bytes")
	}
	return ascii, nil
}

// canonicalIP returns an address' one form; "" and "" if it is none at all.
func canonicalIP(word string) (ip, why string) {
	addr, err := netip.ParseAddr(word)
	switch {
	case err == nil && addr.Zone() != "":
		return "", "an address with a zone"
	case err == nil && addr.Is4In6():
		return "", fmt.Sprintf("an IPv4 address mapped into IPv6: write %s", addr.Unmap())
	case err == nil:
		return addr.String(), ""
	case strings.HasPrefix(word, "[") && strings.HasSuffix(word, "]"):
		return "", "an address in brackets: leave them out"
	}
	if _, err := netip.ParsePrefix(word); err == nil {
		return "", "a network, not an address"
	}
	if _, err := netip.ParseAddrPort(word); err == nil {
		return "", "an address with a port"
	}
	return "", ""
}

// badRune says why a character cannot be in any name.
func badRune(r rune) string {
	switch {
	case r == '"' || r == '\'' || r == '`' || r == '“' || r == '”' || r == '‘' || r == '’':
		return "a name with a quote"
	case r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
		return "a name with a line break"
	case unicode.IsSpace(r):
		return "a name with a blank"
	case unicode.IsControl(r):
		return "a name with a control character"
	case r == '/':
		return "a name with a slash: give the host name, not a URL or a path"
	case r == '\\':
		return "a name with a backslash"
	case r == ':':
		return "a name with a colon: give the host name without a port"
	case r == ',':
		return "a name with a comma: separate names with blanks"
	case r == '_':
		return "a name with an underscore, which no host name may have"
	case r == '@':
		return "an e-mail address, not a host name"
	case r == '#':
		return "a name with a #: comments stand on lines of their own"
	case r == '>':
		return "a name with a >"
	case r == '.' || r == '-' || r == '*' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= utf8.RuneSelf:
		return ""
	}
	return fmt.Sprintf("a name with %q", r)
}

func badDots(name string) string {
	switch {
	case name == "." || name == "..":
		return "dots, not a name"
	case strings.HasPrefix(name, "."):
		return "a name that begins with a dot"
	case strings.Contains(name, ".."):
		return `a name with an empty label ("..")`
	case strings.HasSuffix(name, "."):
		return "a name that ends in a dot: leave it out"
	}
	return ""
}

// profile maps and checks as browsers look names up (UTS 46, non-transitional),
// and refuses everything but letters, digits and hyphens.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(true))

func canonicalDNS(name string) (string, error) {
	ascii, err := profile.ToASCII(name)
	if err != nil && isASCII(name) && !strings.Contains(strings.ToLower(name), "xn--") {
		ascii, err = strings.ToLower(name), nil // said better below
	}
	if err != nil {
		return "", fmt.Errorf("not a valid international name")
	}
	if why := badDots(ascii); why != "" || ascii == "" {
		return "", fmt.Errorf("not a valid international name")
	}
	labels := strings.Split(ascii, ".")
	for _, l := range labels {
		switch {
		case l == "":
			return "", fmt.Errorf("a name with an empty label")
		case len(l) > 63:
			return "", fmt.Errorf("a label longer than 63 bytes")
		case l[0] == '-' || l[len(l)-1] == '-':
			return "", fmt.Errorf("a label that begins or ends with a hyphen")
		case len(l) >= 4 && l[2:4] == "--" && !strings.HasPrefix(l, "xn--"):
			return "", fmt.Errorf("a label with two hyphens in the third place, which is reserved")
		}
		for i := range len(l) {
			if c := l[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "", fmt.Errorf("a name with %q", rune(c))
			}
		}
	}
	last := labels[len(labels)-1]
	if digits(last) {
		if _, err := netip.ParseAddr(ascii); err == nil {
			return "", fmt.Errorf("an IP address in unusual digits: write %s", ascii)
		}
		if digits(strings.ReplaceAll(ascii, ".", "")) {
			return "", fmt.Errorf("digits that are no complete IP address")
		}
		return "", fmt.Errorf("a name whose last label is a number")
	}
	return ascii, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
