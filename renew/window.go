package renew

import "time"

// Window is when the CA wants a certificate renewed (RFC 9773 §4.2).
type Window struct{ Start, End time.Time }

// Instant is the one moment in the window that a certificate keeps: every run
// finds the same, and many certificates spread evenly. id is the certificate's
// in RFC 9773 §4.1; where the CA moves the window, the instant moves with it. It
// is the zero time where there is no window.
func (w Window) Instant(id string) time.Time {
	// An end that is not after the start makes the whole answer void (§4.2).
	if w.Start.IsZero() || !w.Start.Before(w.End) {
		return time.Time{}
	}
	return w.Start.Add(spread(w.End.Sub(w.Start), id)).UTC()
}
