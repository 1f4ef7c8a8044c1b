package acme

import (
	"strings"
	"time"
)

// Limits of a CA's words in an Exchange, in bytes.
const (
	maxHeaderTraced = 1 << 10
	maxTypeTraced   = 256
)

// Exchange is one HTTP request and its reply, fit to be shown to anybody: what
// was sent is in it by its size alone, and a CA's words without what may be a
// secret.
type Exchange struct {
	What           string // was asked for: "new order"
	Method, URL    string
	Began          time.Time
	Duration       time.Duration
	NewConnection  bool   // made for this request; false also where there was none
	Protocol       string // as "HTTP/2"
	Status         int    // 0: no reply
	Sent, Received int    // bytes of the bodies

	RetryAfter, Location string // of the reply's header, as they came

	ProblemType, ProblemDetail string // of a reply that is an error
	Err                        error  // no whole reply came
}

// traced is the exchange that gave the reply, or err.
func (r *reply) traced(began time.Time, sent int, newConnection bool, err error) Exchange {
	x := Exchange{
		What: r.call.what, Method: r.call.method, URL: r.call.url,
		Began: began, Duration: time.Since(began), NewConnection: newConnection, Protocol: r.proto,
		Status: r.status, Sent: sent, Received: len(r.body),
		RetryAfter: clean(r.header.Get("Retry-After"), maxHeaderTraced),
		Location:   clean(r.header.Get("Location"), maxHeaderTraced), Err: err,
	}
	if r.status < 400 {
		return x
	}
	if p := readProblem(r.body); p != nil {
		x.ProblemType = clean(p.Type, maxTypeTraced)
		x.ProblemDetail = clean(withoutSecrets(p.Detail, r.call.nonce), maxDetailShown)
	}
	return x
}

// withoutSecrets is a detail's beginning with "…" in place of what a CA may repeat
// of a request: the nonce, and all that looks like random text (tokens, key
// authorizations, signatures). Names of hosts suffer where they look so too.
func withoutSecrets(text, nonce string) string {
	var b strings.Builder
	for text != "" && b.Len() <= maxDetailShown {
		n := len(text) - len(strings.TrimLeft(text, base64url))
		if n == 0 {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		run := text[:n]
		if run == nonce || looksRandom(run) {
			run = "…"
		}
		b.WriteString(run)
		text = text[n:]
	}
	return b.String()
}

// looksRandom tells tokens and their like, 16 characters at least, from words.
func looksRandom(run string) bool {
	lower, upper := strings.ToLower(run), strings.ToUpper(run)
	return len(run) >= 16 && (run != lower && run != upper || lower != upper && strings.ContainsAny(run, "0123456789"))
}
