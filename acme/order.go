package acme

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// maxAuthorizations of an order; no CA takes more names.
const maxAuthorizations = 1000

// Identifier is what a certificate is for (RFC 8555 §9.7.7, RFC 8738).
type Identifier struct {
	Type  string `json:"type"` // "dns" or "ip"
	Value string `json:"value"`
}

// NewIdentifier makes one from a canonical name.
func NewIdentifier(name string) Identifier {
	if addr, err := netip.ParseAddr(name); err == nil {
		return Identifier{"ip", addr.String()}
	}
	return Identifier{"dns", name}
}

// Equal says whether both are the same, however written.
func (i Identifier) Equal(other Identifier) bool { return i.canonical() == other.canonical() }

func (i Identifier) canonical() Identifier {
	if addr, err := netip.ParseAddr(i.Value); err == nil && i.Type == "ip" {
		return Identifier{i.Type, addr.Unmap().String()}
	}
	return Identifier{i.Type, strings.ToLower(i.Value)}
}

// OrderRequest is what newOrder asks for. Profile, Replaces (a certificate's
// RFC 9773 identifier) and the times are left out where zero.
type OrderRequest struct {
	Identifiers         []Identifier
	Profile, Replaces   string
	NotBefore, NotAfter time.Time
}

// Order is an order at the CA (RFC 8555 §7.1.3). Statuses are pending, ready,
// processing, valid, invalid, and what a CA may think of; Certificate is empty
// until valid. Error says why an order is invalid; a CA need not say.
type Order struct {
	URL, Status    string
	Expires        time.Time // zero: not told
	Identifiers    []Identifier
	Authorizations []string
	Finalize       string
	Certificate    string
	Profile        string
	Error          *Problem

	looks
}

// NewOrder orders a certificate. It is sent once: after a lost connection nobody
// knows whether there is an order, and the error is a *TemporaryError.
func (c *Client) NewOrder(ctx context.Context, request OrderRequest) (*Order, error) {
	payload := encode(struct {
		Identifiers []Identifier `json:"identifiers"`
		Profile     string       `json:"profile,omitempty"`
		Replaces    string       `json:"replaces,omitempty"`
		NotBefore   string       `json:"notBefore,omitempty"`
		NotAfter    string       `json:"notAfter,omitempty"`
	}{request.Identifiers, request.Profile, request.Replaces, stamp(request.NotBefore), stamp(request.NotAfter)})
	r, err := c.send(ctx, &call{what: "new order", member: newOrder, account: c.signer(), payload: payload})
	if err != nil {
		return nil, err
	}
	// Only here the order says where it is; replies to finalize and to polls need
	// not repeat it (RFC 8555 §7.4).
	url, err := c.location(r)
	if err != nil {
		return nil, err
	}
	o, err := c.order(r, url)
	if err != nil {
		return nil, err
	}
	if !sameIdentifiers(o.Identifiers, request.Identifiers) {
		return nil, r.wrong(fmt.Sprintf("the order is for %s, and not for what was asked", shown(o.Identifiers)), nil)
	}
	return o, nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// sameIdentifiers compares them as sets.
func sameIdentifiers(a, b []Identifier) bool {
	within := func(some, others []Identifier) bool {
		set := map[Identifier]bool{}
		for _, i := range others {
			set[i.canonical()] = true
		}
		return !slices.ContainsFunc(some, func(i Identifier) bool { return !set[i.canonical()] })
	}
	return within(a, b) && within(b, a)
}

func shown(ids []Identifier) string {
	var names []string
	for _, i := range ids[:min(len(ids), 10)] {
		names = append(names, quote(i.Value, 100))
	}
	if len(ids) > 10 {
		names = append(names, fmt.Sprintf("and %d more", len(ids)-10))
	}
	if len(ids) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// FetchOrder reads the order at that URL.
func (c *Client) FetchOrder(ctx context.Context, url string) (*Order, error) {
	r, err := c.fetch(ctx, "order", url)
	if err != nil {
		return nil, err
	}
	return c.order(r, url)
}

// order reads an order object. Unknown statuses pass: what they mean is for the
// caller, who waits for one that it knows.
func (c *Client) order(r *reply, url string) (*Order, error) {
	var in struct {
		Status         string          `json:"status"`
		Expires        string          `json:"expires"`
		Identifiers    []Identifier    `json:"identifiers"`
		Authorizations []string        `json:"authorizations"`
		Finalize       string          `json:"finalize"`
		Certificate    string          `json:"certificate"`
		Profile        string          `json:"profile"`
		Error          json.RawMessage `json:"error"`
	}
	if err := r.object(&in); err != nil {
		return nil, err
	}
	if in.Status == "" {
		return nil, r.wrong("the order has no status", nil)
	}
	if len(in.Authorizations) > maxAuthorizations {
		return nil, r.wrong(fmt.Sprintf("the order has %d authorizations", len(in.Authorizations)), nil)
	}
	for _, a := range in.Authorizations {
		if err := c.resource(r, "authorization", a); err != nil {
			return nil, err
		}
	}
	if err := c.resource(r, "finalize", in.Finalize); err != nil {
		return nil, err
	}
	if err := c.resource(r, "certificate", in.Certificate); err != nil {
		return nil, err
	}
	return &Order{
		URL: url, Status: in.Status, Expires: readTime(in.Expires), Identifiers: in.Identifiers,
		Authorizations: in.Authorizations, Finalize: in.Finalize, Certificate: in.Certificate,
		Profile: in.Profile, Error: readProblem(in.Error), looks: looks{retryAfter: r.retryAfter},
	}, nil
}

// readTime is zero for what is no RFC 3339 time: nothing depends on it.
func readTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// WaitOrder looks at the order until done says so of its status, or until it is
// invalid, which is no error here. It looks at once, then soon, then slower, and
// as the CA's Retry-After says. Where time runs out, or the CA asks for more of
// it than there is, the error is *TemporaryError; the order as last seen comes
// with it, and WaitOrder goes on from there.
func (c *Client) WaitOrder(ctx context.Context, o *Order, done func(status string) bool) (*Order, error) {
	for {
		if err := o.wait(ctx, func() string { return o.name() + " is still " + clean(o.Status, 64) }); err != nil {
			return o, err
		}
		next, err := c.FetchOrder(ctx, o.URL)
		if err != nil {
			return o, err
		}
		next.times = o.times + 1
		if o = next; done(o.Status) || o.Status == "invalid" {
			return o, nil
		}
	}
}

func (o *Order) name() string { return "order " + quote(o.URL, maxURLShown) }

// WaitAuthorization looks at the authorization until it is not pending any more.
// It looks as WaitOrder does, and has its errors.
func (c *Client) WaitAuthorization(ctx context.Context, url string) (*Authorization, error) {
	a := &Authorization{URL: url, Status: "pending"}
	for {
		if err := a.wait(ctx, func() string { return "authorization " + quote(url, maxURLShown) + " is still pending" }); err != nil {
			return a, err
		}
		next, err := c.FetchAuthorization(ctx, url)
		if err != nil {
			return a, err
		}
		next.times = a.times + 1
		if a = next; a.Status != "pending" {
			return a, nil
		}
	}
}

// looks are how often something that changes by itself has been looked at.
type looks struct {
	times      int
	retryAfter time.Time // when to look again, zero: not told
}

// firstPauses come before Retry-After is heeded: most CAs are done in a moment,
// and ask for seconds. The first is what a CA on the same host takes.
var firstPauses = [...]time.Duration{
	5 * time.Millisecond, 30 * time.Millisecond, 70 * time.Millisecond, 150 * time.Millisecond,
	250 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond,
}

// pause is how long to wait before the next look. Ten minutes make about thirty
// looks where the CA does not say.
func (l *looks) pause() time.Duration {
	if l.times < len(firstPauses) {
		return firstPauses[l.times]
	}
	if wait := time.Until(l.retryAfter); wait > 0 {
		return max(wait, time.Second)
	}
	pause := time.Second
	for range min(l.times-len(firstPauses), 16) {
		pause = pause * 13 / 10
	}
	return pause
}

// wait waits until the next look; still says what there is to tell where there is
// no time for it.
func (l *looks) wait(ctx context.Context, still func() string) error {
	pause := l.pause()
	if time.Now().Before(l.retryAfter) && !within(ctx, pause) {
		return &TemporaryError{What: still(), Until: l.retryAfter}
	}
	sleep(ctx, pause)
	if ctx.Err() != nil {
		return ended(ctx, still())
	}
	return nil
}

// Finalize sends the CSR (RFC 8555 §7.4). Where the answer is lost, the order
// tells whether it was carried out, and only if not it is sent again.
func (c *Client) Finalize(ctx context.Context, o *Order, csrDER []byte) (*Order, error) {
	if o.Finalize == "" {
		return nil, &ProtocolError{URL: o.URL, What: "the order names no finalize URL"}
	}
	payload := map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csrDER)}
	for try := 1; ; try++ {
		r, err := c.post(ctx, "finalize", o.Finalize, payload)
		if err == nil {
			return c.order(r, o.URL)
		}
		// A proxy's 503 makes send ask again for what was carried out, and then
		// the order is not ready any more.
		refusal := Refusal(err)
		again := refusal != nil && (try > 1 || refusal.Short() == "orderNotReady")
		wait, enough := untilLook(ctx, err, try)
		if !lost(err) && !again || !enough {
			return nil, err
		}
		sleep(ctx, wait)
		now, readErr := c.FetchOrder(ctx, o.URL)
		switch {
		case readErr != nil:
			return nil, readErr
		case now.Status == "pending":
			return nil, err
		case now.Status != "ready":
			return now, nil
		case try == maxFailures:
			return nil, err
		}
	}
}
