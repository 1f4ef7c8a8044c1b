package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"

	"arid/dns"
)

// DNS01 looks for value among the TXT records of a dns-01 challenge (RFC 8555
// §8.4) at every authoritative server, CNAMEs followed. name is the identifier
// without "*.".
func (p *Prober) DNS01(ctx context.Context, name, value string) Seen {
	record := "_acme-challenge." + name
	place, err := p.DNS.Place(ctx, record)
	if err != nil {
		return unplaced(ctx, record, err)
	}
	what := strconv.Quote(record)
	if place.Name != record {
		what += " (CNAME to " + quote(place.Name, 100) + ")"
	}
	return judgeSights(ctx, what, value, p.DNS.Look(ctx, place))
}

// unplaced says why nobody could be asked.
func unplaced(ctx context.Context, record string, err error) Seen {
	seen := Seen{Text: quote(record, 253) + ": " + words(err)}
	var chain *dns.ChainError
	var zone *dns.ZoneError
	var unreachable *dns.UnreachableError
	var resolver *dns.ResolverError
	switch {
	case ctx.Err() != nil:
		seen.Text = "no time was left to look at " + quote(record, 253)
	case errors.As(err, &chain): // which may hold a ZoneError
		seen.Cause = DNSChain
	case errors.As(err, &zone):
		seen.Cause = DNSNoZone
	case errors.As(err, &unreachable):
		seen.Cause = DNSUnreachable
		if slices.ContainsFunc(unreachable.Sights, func(s dns.Sight) bool { return s.Err != nil && answered(s.Err) }) {
			seen.Cause = DNSServfail
		}
	case errors.As(err, &resolver) && answered(resolver.Err):
		seen.Cause = DNSServfail
	default:
		seen.Cause = DNSUnreachable
	}
	return seen
}

// answered tells whether a server said something, though it was an error.
func answered(err error) bool {
	var network net.Error // errors of the kernel are such too
	for _, silent := range []error{io.EOF, io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, silent) {
			return false
		}
	}
	return !errors.As(err, &network)
}

// judgeSights makes one verdict of what the servers show.
func judgeSights(ctx context.Context, what, value string, sights []dns.Sight) Seen {
	looks := make([]look, len(sights))
	right := false
	for i, s := range sights {
		looks[i] = judgeSight(ctx, s, value)
		right = right || looks[i].cause == SeenRight
	}
	text := tell(looks)
	cause := looks[0].cause
	if right && (cause == DNSMissing || cause == DNSOther) {
		cause = DNSSome
	}
	return Seen{Text: what + " " + text, Cause: cause, Right: cause == SeenRight}
}

// judgeSight is what one server shows.
func judgeSight(ctx context.Context, s dns.Sight, value string) look {
	l := look{where: s.Server.String()}
	switch {
	case s.Err != nil && ctx.Err() != nil:
		l.text = ": no answer in the time that was left"
	case s.Err != nil && answered(s.Err):
		l.text, l.cause = ": "+words(s.Err), DNSServfail
	case s.Err != nil:
		l.text, l.cause = ": no answer: "+words(s.Err), DNSUnreachable
	case slices.Contains(s.Values, value):
		l.text, l.cause = ": the right value", SeenRight
	case len(s.Values) == 0:
		l.text, l.cause = ": no TXT record", DNSMissing
	default:
		l.text, l.cause = ": "+list(quoteAll(s.Values), 3), DNSOther
	}
	return l
}

func quoteAll(values []string) []string {
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, quote(v, 60))
	}
	return quoted
}
