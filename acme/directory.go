package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
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

// member is one of the directory's URLs.
type member struct {
	name   string
	url    func(*Directory) string
	needed bool
	object bool // its successes show an object
}

var (
	newNonce    = &member{"newNonce", func(d *Directory) string { return d.NewNonce }, true, false}
	newAccount  = &member{"newAccount", func(d *Directory) string { return d.NewAccount }, true, true}
	newOrder    = &member{"newOrder", func(d *Directory) string { return d.NewOrder }, true, true}
	revokeCert  = &member{"revokeCert", func(d *Directory) string { return d.RevokeCert }, false, false}
	keyChange   = &member{"keyChange", func(d *Directory) string { return d.KeyChange }, false, false}
	renewalInfo = &member{"renewalInfo", func(d *Directory) string { return d.RenewalInfo }, false, true}

	members = []*member{newNonce, newAccount, newOrder, revokeCert, keyChange, renewalInfo}
)

// Directory fetches the CA's directory, once, where none is known. Later calls
// get the same one, which is not to be changed, until a known one turns out to
// have moved.
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	if d := c.inForce(); d != nil {
		return d, nil
	}
	return c.newDirectory(ctx)
}

// DirectoryDocument is the directory in force as it came, for a later run's
// Options.KnownDirectory; nil before there is one. fetched tells that this
// Client has it from the CA. It is not to be changed.
func (c *Client) DirectoryDocument() (document []byte, fetched bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.document, c.directory != c.remembered
}

func (c *Client) inForce() *Directory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.directory
}

// newDirectory fetches the directory where there is none, or the one remembered.
// Who comes after others have done so gets theirs, or, where they could not
// replace the remembered one, that.
func (c *Client) newDirectory(ctx context.Context) (*Directory, error) {
	select { // one fetches, the others wait for it
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return nil, ended(ctx, "directory")
	}
	if d := c.inForce(); d != nil && (d != c.remembered || c.renewed) {
		return d, nil
	}
	r, err := c.fetchDirectory(ctx)
	if err == nil {
		err = c.useDirectory(r)
	}
	if err != nil {
		c.renewed = ctx.Err() == nil
		return nil, err
	}
	return c.inForce(), nil
}

// useDirectory puts the directory in the reply in force.
func (c *Client) useDirectory(r *reply) error {
	if looksLikeHTML(r) {
		return r.wrong("an HTML page came instead; is this the directory's URL, or does a captive portal or a proxy answer?", nil)
	}
	var d Directory
	if err := r.object(&d); err != nil {
		return err
	}
	origins := map[string]bool{origin(c.directoryURL): true}
	for _, m := range members {
		text := m.url(&d)
		if text == "" && !m.needed {
			continue
		}
		if text == "" {
			return r.wrong("it has no member "+m.name, nil)
		}
		u, err := c.checkMember(text)
		if err != nil {
			return r.wrong(fmt.Sprintf("member %s, %s, is refused", m.name, quote(text, maxURLShown)), err)
		}
		origins[origin(u)] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.directory, c.document, c.origins = &d, r.body, origins
	return nil
}

// remember puts a directory of an earlier run in force, if it is a good one.
func (c *Client) remember(document []byte) {
	r := &reply{call: &call{what: "directory", url: c.directoryURL.String()}, body: document}
	if len(document) <= maxJSON && c.useDirectory(r) == nil {
		c.remembered = c.directory
	}
}

// aim sets the URL of a call to a member of the directory, and a payload that
// depends on it, and holds the URL of any signed call against the directory,
// which says where objects of the CA may be. It gives the directory that it went
// by.
func (c *Client) aim(ctx context.Context, k *call) (*Directory, error) {
	if k.member == nil && k.method != http.MethodPost {
		return nil, nil
	}
	d, err := c.Directory(ctx)
	if err != nil {
		return nil, err
	}
	if k.member != nil {
		if k.member.url(d) == "" { // one that is remembered may be too old to have it
			if d, err = c.newDirectory(ctx); err != nil {
				return nil, err
			}
		}
		if k.url = k.member.url(d); k.url == "" {
			return nil, &ProtocolError{URL: c.directoryURL.String(), What: "it has no member " + k.member.name, call: "directory"}
		}
		if k.below != "" {
			k.url = strings.TrimSuffix(k.url, "/") + "/" + k.below
		}
	}
	if k.payloadAt != nil {
		if k.payload, err = k.payloadAt(k.url); err != nil {
			return nil, err
		}
	}
	if k.method == http.MethodPost {
		if err := c.checkResource(k.url); err != nil {
			return nil, &ProtocolError{URL: k.url, What: "this URL is refused", Err: err, call: k.what}
		}
	}
	return d, nil
}

// moved says that the call is to be sent to another URL: by a directory that was
// remembered its answer is what one gets where nothing of the CA is any more, and
// a new directory has another place, or none.
func (c *Client) moved(ctx context.Context, k *call, by *Directory, r *reply, err error) bool {
	if k.member == nil || by != c.remembered || !c.astray(k, r, err) {
		return false
	}
	d, err := c.newDirectory(ctx)
	if err != nil {
		return ctx.Err() != nil // as send will find
	}
	return k.member.url(d) != k.member.url(by)
}

// astray says that the CA may not be where the call went to, and that, so or so,
// it has not carried it out.
func (c *Client) astray(k *call, r *reply, err error) bool {
	var temporary *TemporaryError
	switch {
	case err != nil:
		u, bad := url.Parse(k.url)
		return bad == nil && origin(u) != origin(c.directoryURL) && errors.As(err, &temporary) && temporary.unconnected
	case r.status/100 == 2:
		return r.strange()
	}
	return r.status/100 == 3 || r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed || r.status == http.StatusGone
}

// strange says that the success is none of an ACME server's.
func (r *reply) strange() bool {
	switch {
	case r.call.method == http.MethodHead:
		return r.nonce == ""
	case r.call.method == http.MethodPost && r.nonce != "": // RFC 8555 §6.5
		return false
	case r.call.member.object:
		return r.object(&struct{}{}) != nil
	}
	return looksLikeHTML(r)
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
