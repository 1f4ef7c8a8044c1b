package acme

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// parseURL reads an absolute http or https URL by a narrow grammar: a host name
// or IP address, a port, a path, a query. No user, no fragment.
func parseURL(text string) (*url.URL, error) {
	if len(text) > 4<<10 {
		return nil, errors.New("the URL is longer than 4 KiB")
	}
	u, err := url.Parse(text)
	var parse *url.Error
	switch {
	case errors.As(err, &parse):
		return nil, parse.Err
	case err != nil:
		return nil, err
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the scheme is %q, not https", u.Scheme)
	case u.Opaque != "" || !isHost(u):
		return nil, errors.New("no good host in the URL")
	case u.User != nil:
		return nil, errors.New("a user in the URL")
	case strings.Contains(text, "#"):
		return nil, errors.New("a fragment in the URL")
	}
	return u, nil
}

// isHost holds the host against a grammar of our own (CVE-2025-47912).
func isHost(u *url.URL) bool {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	for _, c := range []byte(host) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return host != "" && len(host) <= 253 && !strings.HasSuffix(u.Host, ":")
}

// origin is scheme, host and port (RFC 6454).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// isLoopback says whether the URL leads to this host whatever a resolver says.
func isLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
}

// checkMember reads a URL of the directory document: https, or http where the
// directory itself is reached so, at the same loopback address.
func (c *Client) checkMember(text string) (*url.URL, error) {
	u, err := parseURL(text)
	if err == nil && u.Scheme == "http" && (c.directoryURL.Scheme != "http" || !strings.EqualFold(u.Hostname(), c.directoryURL.Hostname())) {
		err = errors.New("plain http")
	}
	return u, err
}

// checkResource reads a URL that the CA gave for one of its objects. It must lie
// on the directory's origin or on one that the directory document names.
func (c *Client) checkResource(text string) error {
	u, err := c.checkMember(text)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.origins[origin(u)] {
		return errors.New("the CA's directory names no such host and port")
	}
	return nil
}

// resource checks a URL found in the reply's member; it may be absent.
func (c *Client) resource(r *reply, member, text string) error {
	if text == "" {
		return nil
	}
	if err := c.checkResource(text); err != nil {
		return r.wrong(fmt.Sprintf("%s %s is refused", member, quote(text, maxURLShown)), err)
	}
	return nil
}

// location is the reply's Location, resolved and checked.
func (c *Client) location(r *reply) (string, error) {
	text := r.header.Get("Location")
	switch {
	case text == "" && looksLikeHTML(r):
		return "", r.wrong("an HTML page instead of JSON", nil)
	case text == "":
		return "", r.wrong("the reply has no Location", nil)
	}
	page, err := url.Parse(r.call.url)
	if err != nil {
		return "", err
	}
	at, err := page.Parse(text)
	if err != nil {
		return "", r.wrong("Location "+quote(text, maxURLShown)+" is no URL", nil)
	}
	if err := c.resource(r, "Location", at.String()); err != nil {
		return "", err
	}
	return at.String(), nil
}
