package acme

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
)

// maxRedirects of the directory are followed.
const maxRedirects = 3

// Directory says where things are (RFC 8555 §7.1.1). RevokeCert, KeyChange and
// RenewalInfo (RFC 9773) may be empty.
type Directory struct {
	NewNonce    string `json:"newNonce"`
	NewAccount  string `json:"newAccount"`
	NewOrder    string `json:"newOrder"`
	RevokeCert  string `json:"revokeCert"`
	KeyChange   string `json:"keyChange"`
	RenewalInfo string `json:"renewalInfo"`
	Meta        Meta   `json:"meta"`
}

// Meta is what a CA says about itself. Profiles are names with their descriptions.
type Meta struct {
	TermsOfService          string            `json:"termsOfService"`
	Website                 string            `json:"website"`
	CAAIdentities           []string          `json:"caaIdentities"`
	ExternalAccountRequired bool              `json:"externalAccountRequired"`
	Profiles                map[string]string `json:"profiles"`
}

// Directory fetches the CA's directory, once. Later calls get the same one,
// which is not to be changed.
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	select { // one fetches, the others wait for it
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return nil, ended(ctx, "directory")
	}
	if c.directory != nil {
		return c.directory, nil
	}
	r, err := c.fetchDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if looksLikeHTML(r) {
		return nil, r.wrong("an HTML page came instead; is this the directory's URL, or does a captive portal or a proxy answer?", nil)
	}
	var d Directory
	if err := r.object(&d); err != nil {
		return nil, err
	}
	origins := map[string]bool{origin(c.directoryURL): true}
	for _, member := range []struct {
		name, url string
		needed    bool
	}{
		{"newNonce", d.NewNonce, true}, {"newAccount", d.NewAccount, true}, {"newOrder", d.NewOrder, true},
		{"revokeCert", d.RevokeCert, false}, {"keyChange", d.KeyChange, false}, {"renewalInfo", d.RenewalInfo, false},
	} {
		if member.url == "" && !member.needed {
			continue
		}
		if member.url == "" {
			return nil, r.wrong("it has no member "+member.name, nil)
		}
		u, err := c.checkMember(member.url)
		if err != nil {
			return nil, r.wrong(fmt.Sprintf("member %s, %s, is refused", member.name, quote(member.url, maxURLShown)), err)
		}
		origins[origin(u)] = true
	}
	c.mu.Lock()
	maps.Copy(c.origins, origins)
	c.mu.Unlock()
	c.directory = &d
	return c.directory, nil
}

// fetchDirectory follows redirects that stay on the directory's origin.
func (c *Client) fetchDirectory(ctx context.Context) (*reply, error) {
	at := c.directoryURL.String()
	for redirects := 0; ; redirects++ {
		r, err := c.send(ctx, &call{what: "directory", method: http.MethodGet, url: at, again: true, redirected: true})
		if err != nil || r.status/100 == 2 {
			return r, err
		}
		to := r.header.Get("Location")
		page, err := url.Parse(at)
		if err != nil {
			return nil, err
		}
		next, err := page.Parse(to)
		switch {
		case to == "" || err != nil:
			return nil, r.wrong(fmt.Sprintf("HTTP status %d without a Location to go to", r.status), nil)
		case redirects == maxRedirects:
			return nil, r.wrong(fmt.Sprintf("more than %d redirects", maxRedirects), nil)
		case origin(next) != origin(c.directoryURL):
			return nil, r.wrong("a redirect to "+quote(next.String(), maxURLShown)+" is not followed: it is another place", nil)
		}
		if _, err := parseURL(next.String()); err != nil {
			return nil, r.wrong("a redirect to "+quote(next.String(), maxURLShown)+" is not followed", err)
		}
		at = next.String()
	}
}
