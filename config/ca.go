package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// presetCA is a CA known by a word.
type presetCA struct {
	name, url string
	test      bool   // its certificates are trusted by nobody
	dead      string // why it cannot be used any more
	eab       bool   // makes accounts only for an external account binding
	mailEAB   string // where it gives one out for a mail address
}

const buypassDead = "Buypass no longer issues certificates: the last were issued in October 2025; choose another CA, such as letsencrypt"

// presetCAs are dehydrated's.
var presetCAs = []presetCA{
	{name: "letsencrypt", url: "https://acme-v02.api.letsencrypt.org/directory"},
	{name: "letsencrypt-test", url: "https://acme-staging-v02.api.letsencrypt.org/directory", test: true},
	{name: "zerossl", url: "https://acme.zerossl.com/v2/DV90", eab: true, mailEAB: "https://api.zerossl.com/acme/eab-credentials-email"},
	{name: "google", url: "https://dv.acme-v02.api.pki.goog/directory", eab: true},
	{name: "google-test", url: "https://dv.acme-v02.test-api.pki.goog/directory", test: true},
	{name: "buypass", url: "https://api.buypass.com/acme/directory", dead: buypassDead},
	{name: "buypass-test", url: "https://api.test4.buypass.no/acme/directory", test: true, dead: buypassDead},
}

// Presets are the words for CAs that can be asked.
func Presets() (names []string) {
	for _, p := range presetCAs {
		if p.dead == "" {
			names = append(names, p.name)
		}
	}
	return names
}

// presetVariable is where a config finds the URL of a preset, and may change it.
func presetVariable(name string) string {
	return "CA_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// deadError is a CA that has ended: the word for it is right.
type deadError string

func (e deadError) Error() string { return string(e) }

// CAAccounts is what is known of a CA before it is asked: whether it makes accounts
// only with an external account binding, and the URL where it gives one out for a
// mail address ("": nowhere).
func CAAccounts(directory string) (eab bool, mail string) {
	for _, p := range presetCAs {
		if p.url == directory {
			return p.eab, p.mailEAB
		}
	}
	return false, ""
}

// caURL returns the directory URL for a preset's name or a URL, and whether it
// is a CA for tests. A URL must be https, or http to a loopback address.
func caURL(value string) (directory string, test bool, err error) {
	var names []string
	for _, p := range presetCAs {
		if value == p.name || value == p.url {
			if p.dead != "" {
				return "", false, deadError(p.dead)
			}
			return p.url, p.test, nil
		}
		names = append(names, p.name)
	}
	if !strings.Contains(value, ":") && !strings.Contains(value, "/") {
		// Others call their test directories staging.
		near, d := nearest(strings.ReplaceAll(strings.ToLower(value), "staging", "test"), names)
		if value != "" && d <= 1+len(value)/4 {
			return "", false, fmt.Errorf("no such CA: did you mean %q?", near)
		}
		return "", false, fmt.Errorf("neither a URL nor one of %s", strings.Join(names[:5], ", "))
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || strings.ContainsAny(value, " \t\r\n"):
		return "", false, fmt.Errorf("not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", false, fmt.Errorf("not an https URL")
	case u.Host == "" || u.Hostname() == "":
		return "", false, fmt.Errorf("the URL has no host")
	case u.User != nil:
		return "", false, fmt.Errorf("the URL holds a user name")
	case u.Fragment != "" || strings.Contains(value, "#"):
		return "", false, fmt.Errorf("the URL holds a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", false, fmt.Errorf("plain http is only for loopback addresses: use https")
	}
	return value, false, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}
