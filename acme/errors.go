package acme

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// How much of somebody else's text an error shows, in bytes.
const (
	maxURLShown   = 256
	maxErrorShown = 4 << 10
)

// ProtocolError says that the CA broke the protocol. URL is where, may be
// empty; What says how; Err is what lies below, may be nil.
type ProtocolError struct {
	URL, What string
	Err       error

	call string // what was asked for: "new order"
}

func (e *ProtocolError) Error() string {
	text := e.What
	if e.URL != "" {
		text = quote(e.URL, maxURLShown) + ": " + text
	}
	if e.call != "" {
		text = e.call + " " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return clean(text, maxErrorShown)
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// TemporaryError says that the same may work later: network, outage, a rate
// limit, nonces used up, an order still processing, trouble with the CA's TLS.
// What says what could not be done, and Err why (may be nil). Until is when the
// CA wants to be asked again, zero where it did not say.
type TemporaryError struct {
	What  string
	Until time.Time
	Err   error

	lost        bool // the request may have been carried out all the same
	settled     bool // trying again at once would end the same
	unconnected bool // there was no connection to send it over
	wholeCA     bool
}

// WholeCA says whose wait it is where Until is set: that of everything asked of
// this CA, else of the one certificate, or set of names, that it was about.
func (e *TemporaryError) WholeCA() bool { return e.wholeCA }

func (e *TemporaryError) Error() string {
	text := e.What
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return clean(text, maxErrorShown)
}

func (e *TemporaryError) Unwrap() error { return e.Err }

// URLError says that the URL given for the CA's directory cannot be used.
type URLError struct {
	URL, What string
}

func (e *URLError) Error() string { return "CA " + quote(e.URL, maxURLShown) + ": " + e.What }

// errNoAccount is a mistake of the caller.
var errNoAccount = errors.New("no account to sign with")

// lost says that nobody knows whether the request was carried out.
func lost(err error) bool {
	var t *TemporaryError
	return errors.As(err, &t) && t.lost
}

// ended is the error for a caller's context that is done: temporary where its
// time ran out, its own cause where somebody ended it.
func ended(ctx context.Context, what string) error {
	cause := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &TemporaryError{What: what, Err: cause, lost: true}
	}
	return fmt.Errorf("%s: %w", clean(what, maxErrorShown), cause)
}

// quote puts text of somebody else's into an error: escaped, in quotes, cut
// after max bytes.
func quote(text string, max int) string { return strconv.Quote(cut(text, max)) }

// clean makes one printable line of text, at most max bytes and an ellipsis.
// What quote made stays as it is.
func clean(text string, max int) string {
	text = cut(text, max)
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default: // control, bidirectional and other invisible characters
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		text = text[size:]
	}
	return b.String()
}

func cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && !utf8.RuneStart(text[max]) {
		max--
	}
	return text[:max] + "…"
}
