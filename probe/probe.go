// Package probe looks at what a CA looked at when it refused a validation: the
// same URL, TLS endpoint or TXT record, while the proof is still in place. It
// says in one line what is seen from here, and names the hint that fits.
//
// Everything seen is a stranger's word: it is read within bounds, and quoted.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"arid/dns"
	"arid/internal/guard"
)

const (
	// lookTime bounds a connection and the answer on it; Let's Encrypt gives 10 s.
	lookTime = 5 * time.Second
	// chainTime bounds one address with all redirects that start there, and the
	// search for a name's addresses.
	chainTime = 15 * time.Second
	// maxLooks is how many addresses of a name are looked at.
	maxLooks = 8
	// maxParts is how many different sights one line tells.
	maxParts = 4
)

// Prober looks as the CA would, from here. The zero value is ready but for DNS.
// Safe for concurrent use.
type Prober struct {
	DNS      *dns.Client // never nil
	HTTPPort int         // where http-01 is looked at; 0 = 80
	TLSPort  int         // where tls-alpn-01 is looked at; 0 = 443

	// Lookup finds the addresses of a name; nil asks DNS alone, as CAs do.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network
}

// Seen is what was found: one line for people, without a full stop, and the name
// of the hint that fits.
type Seen struct {
	Text  string
	Cause Cause // "" where there was no time to see anything

	// Right: a CA that comes from here is content. One address at least shows the right
	// answer, and none another; one that cannot be reached, CAs pass over for another.
	Right bool
}

func (p *Prober) httpPort() int { return cmp.Or(p.HTTPPort, 80) }

func (p *Prober) tlsPort() int { return cmp.Or(p.TLSPort, 443) }

// look is what one address, or one name server, shows.
type look struct {
	at    netip.Addr // none for a name server
	where string
	text  string // follows "at WHERE", and brings its own ": " or " "
	cause Cause
}

// addresses are those of name, which may be an address itself. If there are none
// the error is fit to be shown.
func (p *Prober) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, chainTime)
	defer cancel()
	lookup := p.Lookup
	if lookup == nil {
		lookup = p.DNS.Addresses
	}
	found, err := lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%q has no address", name)
	}
	return found, nil
}

// choose takes at most n addresses, as evenly of both families as they come.
func choose(all []netip.Addr, n int) []netip.Addr {
	var four, six []netip.Addr
	for _, a := range all {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	four = four[:min(len(four), max(n/2, n-len(six)))]
	six = six[:min(len(six), n-len(four))]
	return append(six, four...)
}

// lookAll looks at the addresses of name side by side, and makes one verdict of
// it. what is looked at stands at the beginning of the text.
func (p *Prober) lookAll(ctx context.Context, what, name string, port int, one func(context.Context, netip.Addr) look) Seen {
	all, err := p.addresses(ctx, name)
	switch {
	case err != nil && ctx.Err() != nil:
		return Seen{Text: fmt.Sprintf("no time was left to look at %s", quote(name, 253))}
	case err != nil:
		return Seen{Text: words(err), Cause: NoAddress}
	}
	chosen := choose(all, maxLooks)
	looks := make([]look, len(chosen))
	var wait sync.WaitGroup
	for i, at := range chosen {
		wait.Go(func() {
			err := guard.Run(func() error {
				ctx, cancel := context.WithTimeout(ctx, chainTime)
				defer cancel()
				looks[i] = one(ctx, at)
				return nil
			})
			if err != nil {
				looks[i].text = ": " + words(err)
			}
			looks[i].at, looks[i].where = at, shown(at)
			looks[i].text = fmt.Sprintf(" port %d%s", port, looks[i].text)
		})
	}
	wait.Wait()
	text := tell(looks) // sorts them
	seen := Seen{what + " " + text, causeOf(looks), allRight(looks)}
	if more := len(all) - len(chosen); more > 0 {
		seen.Text += fmt.Sprintf("; %d more addresses not looked at", more)
	}
	return seen
}

// tell sorts the looks, so that what most explains the refusal comes first, and
// says each thing that was seen once, and where.
func tell(looks []look) string {
	slices.SortStableFunc(looks, func(a, b look) int {
		return cmp.Or(cmp.Compare(rank(a.cause), rank(b.cause)), cmp.Compare(a.text, b.text))
	})
	var parts []string
	for rest := looks; len(rest) > 0; {
		text := rest[0].text
		var where []string
		for len(rest) > 0 && rest[0].text == text {
			where = append(where, rest[0].where)
			rest = rest[1:]
		}
		parts = append(parts, "at "+list(where, 3)+text)
	}
	if len(parts) > maxParts {
		parts = append(parts[:maxParts], "…")
	}
	return strings.Join(parts, "; ")
}

// causeOf is the cause of the first look, the most telling as tell has sorted
// them, unless one address family shows the right answer and the other does not.
func causeOf(looks []look) Cause {
	var right, wrong [2]bool // over IPv4, over IPv6
	for _, l := range looks {
		family := 0
		if l.at.Is6() {
			family = 1
		}
		if l.cause == SeenRight {
			right[family] = true
		} else {
			wrong[family] = true
		}
	}
	if right[0] != right[1] && wrong == [2]bool{right[1], right[0]} {
		return otherFamily(looks[0].cause)
	}
	return looks[0].cause
}

// allRight is Seen.Right of what the addresses show.
func allRight(looks []look) bool {
	some := false
	for _, l := range looks {
		switch l.cause {
		case SeenRight:
			some = true
		case HTTPRefused, HTTPTimeout, HTTPUnreachable, TLSRefused, TLSTimeout, TLSUnreachable:
		default:
			return false
		}
	}
	return some
}

// connect opens a TCP connection, which ends with ctx.
func (p *Prober) connect(ctx context.Context, at netip.Addr, port int) (*boundConn, error) {
	dial := p.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(at.String(), strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	// Closed, as a deadline alone would not know that ctx was cancelled.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return &boundConn{Conn: conn, stop: stop}, nil
}

// boundConn is a connection that ends with a context.
type boundConn struct {
	net.Conn
	stop func() bool
	head []byte // the beginning of what was read
}

func (c *boundConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.head = append(c.head, b[:min(n, 256-len(c.head))]...)
	return n, err
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// errPatience ends a look that was given all of lookTime.
var errPatience = errors.New("no answer within 5 s")

// fault is what a failed connection means, whatever was to be asked on it.
type fault int

const (
	faultOther fault = iota // of the protocol above
	faultRefused
	faultTimeout
	faultUnreachable
	faultClosed
	faultEnded // we are to stop; the other side is not to blame
)

// netFault tells why connecting or reading failed. Once ctx is done that is the
// reason, whatever err says: it closes the connection.
func netFault(ctx context.Context, err error) (fault, string) {
	var timeout interface{ Timeout() bool }
	var number syscall.Errno
	switch {
	case context.Cause(ctx) == errPatience:
		return faultTimeout, "within 5 s"
	case errors.Is(ctx.Err(), context.Canceled):
		return faultEnded, "before the run was ended"
	case ctx.Err() != nil:
		return faultTimeout, "in the time that was left"
	case errors.As(err, &timeout) && timeout.Timeout(): // the kernel's
		return faultTimeout, "in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return faultRefused, "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return faultClosed, "closes the connection"
	case errors.As(err, &number):
		return faultUnreachable, number.Error()
	}
	return faultOther, words(err)
}

// words is an error's text, as it is where that is one short line.
func words(err error) string {
	text := err.Error()
	unfit := func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }
	if len(text) > 300 || strings.ContainsFunc(text, unfit) {
		return quote(text, 300)
	}
	return text
}

// quote is text cut to n characters and quoted, fit for one line.
func quote(text string, n int) string {
	end, count := len(text), 0
	for i := range text {
		if count == n {
			end = i
			break
		}
		count++
	}
	if end < len(text) {
		return strconv.Quote(text[:end] + "…")
	}
	return strconv.Quote(text)
}

// shown is an address, told apart where no public CA can reach it.
func shown(a netip.Addr) string {
	if reach(a) == 1 {
		return bracket(a) + " (private)"
	}
	return bracket(a)
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// Public tells whether a public CA can come to an address.
func Public(a netip.Addr) bool { return reach(a) == 2 }

// reach grows with how many can get at an address: this host, its network, all.
func reach(a netip.Addr) int {
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsUnspecified(), a.IsMulticast():
		return 0
	case a.IsPrivate(), sharedSpace.Contains(a):
		return 1
	}
	return 2
}

// bracket is an address as URLs have it.
func bracket(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// list joins at most n of the words.
func list(words []string, n int) string {
	if more := len(words) - n; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:n], ", "), more)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
