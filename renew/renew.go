// Package renew decides whether a certificate is due. It is pure: what is
// known comes in as values, the time included, and a decision comes out.
package renew

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Policy is the user's own rule for the time of renewal (RENEW_DAYS). The zero
// Policy leaves it to the lifetime: a third of it left, or half of it where the
// whole is under ten days.
type Policy struct {
	Left  time.Duration // renew when this much time is left; 0: no such rule
	Share int           // renew when this share of the lifetime is left, in percent; 0: no such rule
}

// ParsePolicy reads RENEW_DAYS: "30" or "30d" (days before expiry) or "33%"
// (share of the lifetime that is left). The empty text is the zero Policy.
func ParsePolicy(text string) (Policy, error) {
	number, unit := text, "d"
	switch {
	case text == "":
		return Policy{}, nil
	case strings.HasSuffix(text, "%"):
		number, unit = strings.TrimSuffix(text, "%"), "%"
	case strings.HasSuffix(text, "d"):
		number = strings.TrimSuffix(text, "d")
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 36500 {
		return Policy{}, fmt.Errorf("%q is neither days (30, 30d) nor a share of the lifetime (33%%)", text)
	}
	if unit == "d" {
		return Policy{Left: time.Duration(n) * 24 * time.Hour}, nil
	}
	if n > 99 {
		return Policy{}, fmt.Errorf("%q: a share of the lifetime is between 1%% and 99%%", text)
	}
	return Policy{Share: n}, nil
}

// At is the moment from which a certificate with these dates is due.
func (p Policy) At(notBefore, notAfter time.Time) time.Time {
	lifetime := notAfter.Sub(notBefore)
	switch {
	case p.Left > 0:
		return notAfter.Add(-p.Left)
	case p.Share > 0:
		return notAfter.Add(-lifetime / 100 * time.Duration(p.Share))
	case lifetime < 10*24*time.Hour:
		return notAfter.Add(-lifetime / 2)
	default:
		return notAfter.Add(-lifetime / 3)
	}
}

// Facts is what is known of one certificate.
type Facts struct {
	Force    bool     // the user wants it now
	Unusable string   // why there is no certificate to go on using; "" if there is one
	KeyFits  bool     // the private key is there and fits the leaf
	Wanted   []string // names asked for
	Ordered  []string // names asked for when the live certificate was made
	Changed  []string // settings the user set that differ from the live certificate

	NotBefore, NotAfter time.Time // of the leaf

	Suggested   time.Time // when the CA wants this leaf renewed (Window.Instant); zero: it suggests nothing
	Explanation string    // URL where the CA tells why, as it came; may be empty

	ID          string // what the waits after failures are spread by: the certificate's alias
	Failures    int    // in a row, since the last success
	LastFailure time.Time

	HoldUntil time.Time // the CA asked for a pause until then, for these names or altogether; zero: it did not
	HoldWhy   string    // why, in our words: text of the CA's in it is quoted already
}

// Decision is the answer: whether the certificate is due, why, and otherwise
// from when on it will be.
type Decision struct {
	Due    bool
	Reason string
	At     time.Time // zero if the reason is not the time
	ByCA   bool      // At is the CA's suggestion

	Held  bool      // it is due, but not to be tried before Until
	Until time.Time // zero unless Held
}

// Due decides for one certificate at one moment. Names count as sets: another
// order of the same names is the same certificate. Force makes it due and lets
// it be tried although attempts failed, but not against a pause that the CA
// asked for.
func Due(now time.Time, f Facts, p Policy) Decision {
	at, byCA := moment(f, p)
	d := decide(now, at, byCA, f)
	if !d.Due {
		return d
	}
	if until, why := pause(now, at, f); until.After(now) {
		d.Held, d.Until = true, until
		d.Reason += "; not tried before " + stamp(until) + ": " + why
	}
	return d
}

// moment is when a certificate is due by time, and whether that is the CA's
// suggestion: instead of the share of the lifetime, or where it is earlier than
// the user's own rule. A suggestion outside the lifetime is none, so that no CA's
// slip keeps a certificate from being renewed or has each new one renewed at once.
func moment(f Facts, p Policy) (at time.Time, byCA bool) {
	at = p.At(f.NotBefore, f.NotAfter)
	s := f.Suggested
	if s.IsZero() || !s.After(f.NotBefore) || !s.Before(f.NotAfter) {
		return at, false
	}
	if p == (Policy{}) || s.Before(at) {
		return s, true
	}
	return at, false
}

// decide tells whether a certificate is due that is due by time at the moment at.
func decide(now, at time.Time, byCA bool, f Facts) Decision {
	switch {
	case f.Unusable != "":
		return Decision{Due: true, Reason: f.Unusable}
	case !f.KeyFits:
		return Decision{Due: true, Reason: "its private key is missing or does not fit"}
	case !sameSet(f.Wanted, f.Ordered):
		return Decision{Due: true, Reason: "its names changed" + difference(f.Wanted, f.Ordered)}
	case len(f.Changed) > 0:
		return Decision{Due: true, Reason: "changed: " + strings.Join(f.Changed, ", ")}
	case f.Force:
		return Decision{Due: true, Reason: "forced"}
	}
	d := Decision{Due: !now.Before(at) || !now.Before(f.NotAfter), At: at, ByCA: byCA}
	switch {
	case !now.Before(f.NotAfter):
		d.Reason = "it expired at " + stamp(f.NotAfter)
	case d.Due && byCA:
		d.Reason = "the CA suggests renewing it since " + stamp(at)
		if f.Explanation != "" {
			d.Reason += ": " + quote(f.Explanation)
		}
	case d.Due:
		d.Reason = "it expires at " + stamp(f.NotAfter)
	case byCA:
		d.Reason = "not due before " + stamp(at) + " (as the CA suggests)"
	default:
		d.Reason = "not due before " + stamp(at)
	}
	return d
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// quote puts text of the CA's into a reason: escaped, in quotes, and cut where it
// would take more than 200 bytes.
func quote(text string) string {
	const most = 200
	shown := strconv.QuoteToASCII(text)
	for cut := text; len(shown) > most; shown = strconv.QuoteToASCII(cut + "...") {
		cut = cut[:min(len(cut)-1, most)]
	}
	return shown
}

func sameSet(a, b []string) bool {
	return len(missing(a, b)) == 0 && len(missing(b, a)) == 0
}

// missing lists what of a is not in b.
func missing(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// difference tells what came and what went, a few names of each.
func difference(wanted, ordered []string) string {
	var b strings.Builder
	for _, part := range []struct {
		sign  string
		names []string
	}{{"+", missing(wanted, ordered)}, {"-", missing(ordered, wanted)}} {
		for i, name := range part.names {
			if i == 3 {
				fmt.Fprintf(&b, " and %d more", len(part.names)-i)
				break
			}
			b.WriteString(" " + part.sign + name)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return ":" + b.String()
}
