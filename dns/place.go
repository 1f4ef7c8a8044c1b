package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	placeTime = 15 * time.Second
	maxHops   = 16 // CNAMEs
	maxSteps  = 48 // CNAMEs and delegations
)

// Place is where a record really lives: after CNAMEs, and delegations of the
// very name, were followed. Names are in lower case without the final dot.
type Place struct {
	Name    string
	Zone    string
	Primary string   // SOA MNAME
	Servers []Server // every NS at every address, no address twice; sorted, never empty
}

// Server is one address of a name server.
type Server struct {
	Name    string
	Address netip.AddrPort
}

// String is "ns1.example.net (192.0.2.53)"; a port is told if it is not 53.
func (s Server) String() string {
	if s.Address.Port() == 53 {
		return fmt.Sprintf("%s (%s)", s.Name, s.Address.Addr())
	}
	return fmt.Sprintf("%s (%s)", s.Name, s.Address)
}

// ZoneError says that no zone on the way up from a name has name servers.
type ZoneError struct{ Name string }

func (e *ZoneError) Error() string { return fmt.Sprintf("nobody serves a zone for %q", e.Name) }

// ChainError says that the CNAMEs of a name lead nowhere: Err tells why.
type ChainError struct {
	Name  string
	Chain []string // the targets, in order
	Err   error    // a *ZoneError of the last target, or a loop, or their number
}

func (e *ChainError) Error() string {
	shown := e.Chain
	if len(shown) > 3 {
		shown = shown[len(shown)-1:]
	}
	var targets []string
	for _, target := range shown {
		targets = append(targets, strconv.Quote(target))
	}
	return fmt.Sprintf("CNAME of %q to %s: %v", e.Name, strings.Join(targets, ", to "), e.Err)
}

func (e *ChainError) Unwrap() error { return e.Err }

// UnreachableError says that a zone has name servers and none of them answers
// for it: they are silent, refuse, or are not in charge of it.
type UnreachableError struct {
	Zone   string
	Sights []Sight // one a server, each with Err; an Address is missing where the DNS knows none
}

func (e *UnreachableError) Error() string {
	first := e.Sights[0]
	switch {
	case !first.Server.Address.IsValid():
		return fmt.Sprintf("no name server of %q has an address: %s: %v", e.Zone, first.Server.Name, first.Err)
	case len(e.Sights) == 1:
		return fmt.Sprintf("the only name server of %q does not answer: %s: %v", e.Zone, first.Server, first.Err)
	}
	return fmt.Sprintf("none of the %d name servers of %q answers: %s: %v", len(e.Sights), e.Zone, first.Server, first.Err)
}

// Unwrap is why, server by server.
func (e *UnreachableError) Unwrap() []error {
	var errs []error
	for _, s := range e.Sights {
		errs = append(errs, s.Err)
	}
	return errs
}

// Place finds the servers that a record named name belongs to, whether it is
// there or not. It takes at most 15 seconds.
//
// The error is a *ZoneError, *ChainError, *UnreachableError or *ResolverError,
// or the context's. All but the first two may pass with time.
func (c *Client) Place(ctx context.Context, name string) (*Place, error) {
	name, err := checkName(name)
	if err != nil {
		return nil, err
	}
	return newFinder(c).place(ctx, name)
}

// authority is a zone on the way and those who serve it.
type authority struct {
	name    string
	servers []Server
}

// place is Place for a name that checkName has passed.
func (f *finder) place(ctx context.Context, name string) (*Place, error) {
	return f.placeFrom(ctx, name, parent(name))
}

// placeFrom is the place of a name whose zone is at or above from. For a zone
// that exists, from may be its own name: that finds one which no parent delegates.
func (f *finder) placeFrom(ctx context.Context, name, from string) (*Place, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, placeTime, errSlow)
	defer cancel()
	p, err := f.follow(ctx, name, from)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return p, err
}

var errSlow = fmt.Errorf("the DNS took longer than %v", placeTime)

// follow walks from the name's zone, which is at or above from, over CNAMEs and
// delegations to its place.
func (f *finder) follow(ctx context.Context, name, from string) (*Place, error) {
	chain := []string{name}
	var z *authority
	for range maxSteps {
		name := chain[len(chain)-1]
		if z == nil || !mdns.IsSubDomain(z.name, name) {
			var err error
			if z, err = f.zoneOf(ctx, name, from); err != nil {
				if _, nowhere := err.(*ZoneError); nowhere && len(chain) > 1 {
					err = chainError(chain, err)
				}
				return nil, err
			}
		}
		s, err := f.step(ctx, z, name)
		switch {
		case err != nil:
			return nil, err
		case s.alias != "":
			looped := slices.Contains(chain, s.alias)
			chain, from = append(chain, s.alias), parent(s.alias)
			if looped {
				return nil, chainError(chain, errors.New("a loop"))
			} else if len(chain) > maxHops+1 {
				return nil, chainError(chain, fmt.Errorf("more than %d in a row", maxHops))
			}
		case s.cut != "":
			if z, err = f.serve(ctx, s.cut, s.names, s.glue); err != nil {
				return nil, err
			}
		default:
			return f.settle(ctx, z, s, name)
		}
	}
	return nil, fmt.Errorf("%q: more than %d CNAMEs and delegations", bare(name), maxSteps)
}

func chainError(chain []string, err error) error {
	e := &ChainError{Name: bare(chain[0]), Err: err}
	for _, target := range chain[1:] {
		e.Chain = append(e.Chain, bare(target))
	}
	return e
}

// zoneOf is the zone of name as far as the resolvers may be asked, at or above
// from: they must not hear of a record, so a zone that begins with it is found
// by step. A zone for which they have no answer (its servers may be dead) is left
// to its parent's servers, who know where it should be.
func (f *finder) zoneOf(ctx context.Context, name, from string) (*authority, error) {
	var failed error
	for at := from; at != "."; {
		m, err := f.recurse(ctx, at, mdns.TypeNS)
		if errors.As(err, new(rcodeError)) {
			failed, at = cmp.Or(failed, err), parent(at)
			continue
		} else if err != nil {
			return nil, err
		}
		if names := serversOf(m.Answer, at); len(names) > 0 {
			return f.serve(ctx, at, names, nil)
		}
		at = enclosing(m, at)
	}
	if failed != nil {
		return nil, failed
	}
	return nil, &ZoneError{bare(name)}
}

// serversOf are the NS of zone among records, sorted.
func serversOf(records []mdns.RR, zone string) []string {
	var names []string
	for _, rr := range records {
		if ns, ok := rr.(*mdns.NS); ok && sameName(ns.Hdr.Name, zone) {
			names = append(names, mdns.CanonicalName(ns.Ns))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxAsked)]
}

// enclosing is where to go on when there is no zone named at: to the owner of
// the SOA that comes with a negative answer (RFC 2308 §2), or a label up. Should
// that be too far up, there will be a delegation.
func enclosing(m *mdns.Msg, at string) string {
	for _, rr := range m.Ns {
		owner := mdns.CanonicalName(rr.Header().Name)
		if rr.Header().Rrtype == mdns.TypeSOA && owner != at && mdns.IsSubDomain(owner, at) {
			return owner
		}
	}
	return parent(at)
}

// serve finds the addresses of a zone's servers, in glue or by the resolvers.
// The error is an *UnreachableError.
func (f *finder) serve(ctx context.Context, name string, servers []string, glue []mdns.RR) (*authority, error) {
	port, err := strconv.ParseUint(cmp.Or(f.client.Port, "53"), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of name servers: %w", err)
	}
	found := make([][]netip.Addr, len(servers))
	errs := sideBySide(maxSide, len(servers), func(i int) (err error) {
		if found[i] = f.keep(addressesIn(glue, servers[i])); len(found[i]) > 0 {
			return nil
		}
		if found[i], err = f.addresses(ctx, servers[i]); err == nil && len(found[i]) == 0 {
			err = errors.New("no A or AAAA record")
		}
		return err
	})
	z := &authority{name: name}
	seen := map[netip.Addr]bool{}
	unreachable := &UnreachableError{Zone: bare(name)}
	for i, server := range servers {
		for _, a := range found[i] {
			if !seen[a] {
				z.servers = append(z.servers, Server{bare(server), netip.AddrPortFrom(a, uint16(port))})
			}
			seen[a] = true
		}
		unreachable.Sights = append(unreachable.Sights, Sight{Server: Server{Name: bare(server)}, Err: errs[i]})
	}
	if len(z.servers) == 0 {
		return nil, unreachable
	}
	z.servers = routed(z.servers, hasRoute)
	z.servers = z.servers[:min(len(z.servers), maxAsked)]
	return z, nil
}

// routed leaves out the addresses to which this host has no route at all, such
// as IPv6 where there is none, unless that would be all of them.
func routed(servers []Server, hasRoute func(netip.AddrPort) bool) []Server {
	var kept []Server
	for _, s := range servers {
		if hasRoute(s.Address) {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return servers
	}
	return kept
}

// hasRoute connects a UDP socket, which sends nothing.
func hasRoute(to netip.AddrPort) bool {
	conn, err := net.Dial("udp", to.String())
	if err == nil {
		return conn.Close() == nil
	}
	for _, no := range []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EINVAL} {
		if errors.Is(err, no) { // EINVAL: fe80:: without an interface
			return false
		}
	}
	return true
}

// step is what an authoritative server says about a name: that it is an alias,
// that its zone is served elsewhere, or else that it is in charge.
type step struct {
	alias string

	cut   string // a zone below, which names serve
	names []string
	glue  []mdns.RR

	soa *mdns.SOA // of the zone in which the name is, if told
}

// step asks all servers of the zone for the name's SOA, whose answer tells the
// zone even if nothing is there, and takes the first answer that can be used.
func (f *finder) step(ctx context.Context, z *authority, name string) (step, error) {
	return first(ctx, f, z, name, mdns.TypeSOA, func(m *mdns.Msg) (step, error) {
		return readStep(m, z.name, name)
	})
}

// first asks all servers of a zone, side by side, and returns what use makes of
// the first answer that it takes. The error is an *UnreachableError; a zone all
// of whose servers were silent is not waited for again.
func first[T any](ctx context.Context, f *finder, z *authority, name string, kind uint16, use func(*mdns.Msg) (T, error)) (T, error) {
	var result T
	if dead, ok := f.dead.Load(z.name); ok {
		return result, dead.(error)
	}
	asking, enough := context.WithCancel(ctx)
	defer enough()
	var once sync.Once
	errs := sideBySide(maxSide, len(z.servers), func(i int) error {
		q := newQuestion(name, kind, false) // one each: packing writes to it
		m, err := f.client.ask(asking, q, z.servers[i].Address.String())
		if err != nil {
			return err
		}
		used, err := use(m)
		if err == nil {
			once.Do(func() { result = used; enough() })
		}
		return err
	})
	if slices.Contains(errs, nil) {
		return result, nil
	}
	failed := &UnreachableError{Zone: bare(z.name)}
	silent := ctx.Err() == nil
	for i, err := range errs {
		failed.Sights = append(failed.Sights, Sight{Server: z.servers[i], Err: err})
		silent = silent && errors.Is(err, os.ErrDeadlineExceeded)
	}
	if silent {
		f.dead.Store(z.name, failed)
	}
	return result, failed
}

var errNotInCharge = errors.New("it is not in charge of the zone") // a lame delegation

// readStep reads what a server of zone says about name.
func readStep(m *mdns.Msg, zone, name string) (step, error) {
	if m.Rcode != mdns.RcodeSuccess && m.Rcode != mdns.RcodeNameError {
		// BIND 9.18 says SERVFAIL to CNAMEs in a circle, and shows them.
		if alias, err := aliasOf(m.Answer, name); alias != "" && err == nil {
			return step{alias: alias}, nil
		}
		return step{}, rcodeError(m.Rcode)
	}
	if s, ok := readReferral(m, zone, name); ok {
		return s, nil
	}
	if !m.Authoritative {
		return step{}, errNotInCharge
	}
	if alias, err := aliasOf(m.Answer, name); alias != "" || err != nil {
		return step{alias: alias}, err
	}
	// In the answer if the zone begins here, else beside it.
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		soa, ok := rr.(*mdns.SOA)
		if ok && mdns.IsSubDomain(zone, soa.Hdr.Name) && mdns.IsSubDomain(soa.Hdr.Name, name) {
			return step{soa: soa}, nil
		}
	}
	return step{}, nil
}

// readReferral reads a delegation: NS of a zone between zone and name, and no
// answer (RFC 1034 §4.3.2). Upwards or sideways it is none, but a server's way
// of saying that it does not know.
func readReferral(m *mdns.Msg, zone, name string) (step, bool) {
	if m.Rcode != mdns.RcodeSuccess || len(m.Answer) > 0 {
		return step{}, false
	}
	var s step
	for _, rr := range m.Ns {
		owner := mdns.CanonicalName(rr.Header().Name)
		switch {
		case rr.Header().Rrtype == mdns.TypeSOA:
			return step{}, false
		case rr.Header().Rrtype == mdns.TypeNS && owner != zone &&
			mdns.IsSubDomain(zone, owner) && mdns.IsSubDomain(owner, name):
			s = step{cut: owner, names: serversOf(m.Ns, owner), glue: m.Extra}
		}
	}
	return s, s.cut != ""
}

// aliasOf is the target of name's CNAME among records, or "". A name has one
// CNAME at most (RFC 2181 §10.1).
func aliasOf(records []mdns.RR, name string) (string, error) {
	alias := ""
	for _, rr := range records {
		c, ok := rr.(*mdns.CNAME)
		if !ok || !sameName(c.Hdr.Name, name) {
			continue
		}
		target := mdns.CanonicalName(c.Target)
		if alias != "" && alias != target {
			return "", errors.New("it shows two different CNAMEs")
		}
		alias = target
	}
	return alias, nil
}

// settle makes the place of what is known. A server of two zones answers for the
// lower one without a word about the cut, but its SOA tells.
func (f *finder) settle(ctx context.Context, z *authority, s step, name string) (*Place, error) {
	p := &Place{Name: bare(name)}
	if s.soa == nil {
		// No SOA beside "there is nothing": the zone's own will tell.
		s.soa, _ = first(ctx, f, z, z.name, mdns.TypeSOA, func(m *mdns.Msg) (*mdns.SOA, error) {
			apex, err := readStep(m, z.name, z.name)
			return apex.soa, err
		})
	}
	if s.soa != nil {
		p.Primary = bare(s.soa.Ns)
		if lower := mdns.CanonicalName(s.soa.Hdr.Name); lower != z.name {
			z = f.lower(ctx, z, lower)
		}
	}
	p.Zone, p.Servers = bare(z.name), z.servers
	return p, nil
}

// lower is a zone that servers of the upper one serve too, by its own NS if
// they tell them.
func (f *finder) lower(ctx context.Context, upper *authority, name string) *authority {
	z := &authority{name, upper.servers}
	m, err := first(ctx, f, z, name, mdns.TypeNS, func(m *mdns.Msg) (*mdns.Msg, error) {
		if !m.Authoritative || len(serversOf(m.Answer, name)) == 0 {
			return nil, errNotInCharge
		}
		return m, nil
	})
	if err != nil {
		return z
	}
	own, err := f.serve(ctx, name, serversOf(m.Answer, name), m.Extra)
	if err != nil {
		return z
	}
	return own
}
