package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	errorPrefix     = "urn:ietf:params:acme:error:"
	maxDetailShown  = 1 << 10
	maxSubShown     = 256
	maxSubproblems  = 100 // kept; more than any CA has names in an order
	maxProblemBody  = 64 << 10
	subproblemsRead = 8 // in an error line
)

// Problem is a problem document (RFC 7807, RFC 8555 §6.7): the CA refused a
// request, or says why a challenge or an order failed. For a refused request
// Status is the reply's own, and Method, URL, Body (the first 64 KiB), Header
// and RetryAfter (zero: none) come from it; a reply without a readable document
// is a Problem too.
type Problem struct {
	Type, Title, Detail, Instance string
	Status                        int
	Subproblems                   []Problem
	Identifier                    *Identifier
	RetryAfter                    time.Time
	Method, URL                   string
	Body                          []byte
	Header                        http.Header

	proto string // as "HTTP/2"
	what  string // was asked for: "new order"
	html  bool   // a page for people came instead of a document
}

// Short is the type without the prefix that all of RFC 8555's have, such as
// "rateLimited". It is empty where the document has no type of its own.
func (p *Problem) Short() string {
	if p.Type == "about:blank" { // RFC 7807 §4.2
		return ""
	}
	return strings.TrimPrefix(p.Type, errorPrefix)
}

// Refusal is the *Problem with which the CA refused for good. It is nil for every
// other error, also where a *TemporaryError stands around a *Problem.
func Refusal(err error) *Problem {
	var p *Problem
	var later *TemporaryError
	if errors.As(err, &later) || !errors.As(err, &p) {
		return nil
	}
	return p
}

// Error is one line: what was refused, the CA's words in quotes, the type, the
// subproblems.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.URL != "" {
		b.WriteString(strings.TrimSpace(p.what + " " + quote(p.URL, maxURLShown)))
		b.WriteString(": ")
	}
	b.WriteString(p.reason(maxDetailShown))
	for i, sub := range p.Subproblems {
		if i == subproblemsRead {
			fmt.Fprintf(&b, "; and %d more", len(p.Subproblems)-i)
			break
		}
		b.WriteString("; ")
		if sub.Identifier != nil {
			b.WriteString(quote(sub.Identifier.Value, maxSubShown) + ": ")
		}
		b.WriteString(sub.reason(maxSubShown))
	}
	return clean(b.String(), maxErrorShown)
}

// reason is detail and type; the title or the status where there is no detail.
func (p *Problem) reason(max int) string {
	var text, short = p.Detail, p.Short()
	if text == "" {
		text = p.Title
	}
	if text != "" {
		text = quote(text, max)
	} else if p.Status != 0 {
		text = strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", p.Status, http.StatusText(p.Status)))
	} else {
		text = "no reason given"
	}
	if p.html {
		text += ", with an HTML page; does a proxy answer?"
	}
	if short != "" {
		text += " (" + clean(short, 64) + ")"
	}
	return text
}

// maxLink is how long a link may be; those that unpause an account have 1 KiB.
const maxLink = 4 << 10

// Link is where the CA explains itself to people: the first https URL in the
// detail, the instance, or a Link header of relation "help" (RFC 8555 §6.7). It
// is printable ASCII, and empty where there is none such.
func (p *Problem) Link() string {
	for rest := p.Detail; ; {
		_, after, found := strings.Cut(rest, "https://")
		if !found {
			break
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r <= ' ' || strings.ContainsRune(notInURLs, r) })
		if end < 0 {
			end = len(after)
		}
		if link := "https://" + strings.TrimRight(after[:end], ".,;:!?')]*"); isLink(link) {
			return link
		}
		rest = after[end:]
	}
	if isLink(p.Instance) {
		return p.Instance
	}
	page, err := url.Parse(p.URL)
	if err != nil {
		return ""
	}
	for _, link := range links(page, p.Header.Values("Link"), "help", maxAlternates) {
		if isLink(link) {
			return link
		}
	}
	return ""
}

// notInURLs are printable characters that no URL has (RFC 3986).
const notInURLs = "\"<>\\^`{|}"

// isLink says that it is a whole https URL, fit to be shown.
func isLink(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || strings.IndexByte(notInURLs, c) >= 0 {
			return false
		}
	}
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxLink && u.Scheme == "https" && u.Opaque == "" && u.User == nil && isHost(u)
}

type problemDocument struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Detail      string            `json:"detail"`
	Instance    string            `json:"instance"`
	Status      int               `json:"status"`
	Identifier  *Identifier       `json:"identifier"`
	Subproblems []problemDocument `json:"subproblems"`
}

// readProblem reads a problem document. Members of a wrong type are left out:
// half an explanation is better than none. It is nil for what is no object.
func readProblem(data []byte) *Problem {
	if shallow(data) != nil {
		return nil
	}
	var d *problemDocument
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(data, &d); d == nil || err != nil && !errors.As(err, &wrongType) {
		return nil
	}
	p := d.problem()
	return &p
}

func (d *problemDocument) problem() Problem {
	p := Problem{Type: d.Type, Title: d.Title, Detail: d.Detail, Instance: d.Instance, Status: d.Status, Identifier: d.Identifier}
	for _, sub := range d.Subproblems[:min(len(d.Subproblems), maxSubproblems)] {
		p.Subproblems = append(p.Subproblems, sub.problem())
	}
	return p
}

// refusal is the Problem that a reply other than 2xx stands for.
func (r *reply) refusal() *Problem {
	p := readProblem(r.body)
	if p == nil {
		p = &Problem{html: looksLikeHTML(r)}
	}
	p.Status = r.status
	p.what, p.Method, p.URL = r.call.what, r.call.method, r.call.url
	p.Body, p.Header, p.proto = r.body[:min(len(r.body), maxProblemBody)], r.header, r.proto
	p.RetryAfter = r.retryAfter
	return p
}

// HeaderText is the reply's status line, such as "HTTP/2 403", and header, the names in lower case and
// in their order: what hooks are told.
func (p *Problem) HeaderText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d\n", p.proto, p.Status)
	for _, key := range slices.Sorted(maps.Keys(p.Header)) {
		for _, value := range p.Header[key] {
			fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(key), value)
		}
	}
	return b.String()
}
