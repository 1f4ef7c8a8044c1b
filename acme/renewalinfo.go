package acme

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"time"
)

// RenewalInfo is when the CA wants a certificate renewed (RFC 9773 §4.2).
// Explanation is a URL for people, may be empty; RetryAfter is when to ask
// again, zero where the CA does not say.
type RenewalInfo struct {
	Start, End  time.Time
	Explanation string
	RetryAfter  time.Time
}

// CertificateID is the name that a certificate has in RFC 9773 §4.1: for
// FetchRenewalInfo, and for an order's Replaces. It is empty for a certificate
// without an authority key identifier, which has none.
func CertificateID(leaf *x509.Certificate) string {
	if len(leaf.AuthorityKeyId) == 0 || leaf.SerialNumber == nil || leaf.SerialNumber.Sign() <= 0 {
		return ""
	}
	serial := leaf.SerialNumber.Bytes()
	if serial[0] >= 0x80 { // as DER writes a positive INTEGER
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
}

// FetchRenewalInfo asks about the certificate of that CertificateID. No account
// is needed. It is nil, without an error, where the CA has no such resource.
func (c *Client) FetchRenewalInfo(ctx context.Context, id string) (*RenewalInfo, error) {
	d, err := c.Directory(ctx)
	if err != nil || d.RenewalInfo == "" || id == "" {
		return nil, err
	}
	r, err := c.send(ctx, &call{what: "renewal info", method: http.MethodGet, member: renewalInfo, below: id, again: true})
	if err != nil {
		if d := c.inForce(); d.RenewalInfo == "" { // it had one, as was remembered
			return nil, nil
		}
		return nil, err
	}
	var in struct {
		Window      struct{ Start, End string } `json:"suggestedWindow"`
		Explanation string                      `json:"explanationURL"`
	}
	if err := r.object(&in); err != nil {
		return nil, err
	}
	info := &RenewalInfo{readTime(in.Window.Start), readTime(in.Window.End), in.Explanation, r.retryAfter}
	beyond := func(t time.Time) bool { return t.UTC().Year() < 1 || t.UTC().Year() > 9999 } // as a zone can make it
	if info.Start.IsZero() || !info.Start.Before(info.End) || beyond(info.Start) || beyond(info.End) {
		return nil, r.wrong("no good window from "+quote(in.Window.Start, 64)+" to "+quote(in.Window.End, 64), nil)
	}
	return info, nil
}
