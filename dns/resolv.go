package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	mdns "github.com/miekg/dns"
)

// NoNameError says that a name does not exist (NXDOMAIN).
type NoNameError struct{ Name string }

func (e *NoNameError) Error() string { return fmt.Sprintf("%q does not exist in the DNS", e.Name) }

// ResolverError says that no resolver could tell anything about a name.
type ResolverError struct {
	Name     string
	Resolver string // HOST:PORT, the last one asked
	Err      error
}

func (e *ResolverError) Error() string {
	if code, ok := e.Err.(rcodeError); ok {
		return fmt.Sprintf("resolver %s answers %s for %q", e.Resolver, code, e.Name)
	}
	return fmt.Sprintf("no resolver answers for %q: %s: %v", e.Name, e.Resolver, e.Err)
}

func (e *ResolverError) Unwrap() error { return e.Err }

// SystemResolvers reads the nameserver lines of a resolv.conf, at most three as
// libc does; "" is /etc/resolv.conf. None, or no such file: 127.0.0.1:53, as
// resolv.conf(5) has it.
func SystemResolvers(file string) ([]string, error) {
	f, err := os.Open(cmp.Or(file, "/etc/resolv.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"127.0.0.1:53"}, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	var resolvers []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" || len(resolvers) == 3 {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			resolvers = append(resolvers, netip.AddrPortFrom(a, 53).String())
		}
	}
	if resolvers == nil {
		return []string{"127.0.0.1:53"}, nil
	}
	return resolvers, nil
}

// Addresses asks the resolvers for A and AAAA, CNAMEs followed, and returns them
// sorted; none is no error. An address is its own answer, and localhost never
// leaves the host (RFC 6761 §6.3).
//
// The error is a *NoNameError where the name does not exist, a *ResolverError
// where nobody could tell.
func (c *Client) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return slices.DeleteFunc([]netip.Addr{a}, func(a netip.Addr) bool { return !c.wanted(a) }), nil
	}
	name, err := checkName(name)
	if err != nil {
		return nil, err
	}
	return newFinder(c).addresses(ctx, name)
}

// finder asks the resolvers, each question once.
type finder struct {
	client *Client
	best   atomic.Int32 // of the resolvers: who answered last
	dead   sync.Map     // zone to *UnreachableError: its servers are silent

	mu    sync.Mutex
	asked map[mdns.Question]func() (*mdns.Msg, error)
}

func newFinder(c *Client) *finder {
	return &finder{client: c, asked: map[mdns.Question]func() (*mdns.Msg, error){}}
}

// recurse returns what a resolver says: NOERROR or NXDOMAIN. The error is a
// *ResolverError.
func (f *finder) recurse(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	q := newQuestion(name, kind, true)
	f.mu.Lock()
	once, ok := f.asked[q.Question[0]]
	if !ok {
		once = sync.OnceValues(func() (*mdns.Msg, error) { return f.askResolvers(ctx, q) })
		f.asked[q.Question[0]] = once
	}
	f.mu.Unlock()
	return once()
}

// askResolvers asks in turn, beginning with the one that answered last. If none
// of them says a word they are asked once more: recursion may take its time.
func (f *finder) askResolvers(ctx context.Context, q *mdns.Msg) (*mdns.Msg, error) {
	failed := &ResolverError{Name: bare(q.Question[0].Name)}
	resolvers, err := f.client.resolvers()
	if err != nil {
		failed.Resolver, failed.Err = "resolv.conf", err
		return nil, failed
	}
	best := int(f.best.Load())
	for range 2 {
		silent := true
		for i := range resolvers {
			i = (best + i) % len(resolvers)
			m, err := f.client.ask(ctx, q, resolvers[i])
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil && (m.Rcode == mdns.RcodeSuccess || m.Rcode == mdns.RcodeNameError) {
				f.best.Store(int32(i))
				return m, nil
			}
			if err == nil {
				err, silent = rcodeError(m.Rcode), false
			}
			failed.Resolver, failed.Err = resolvers[i], err
		}
		if !silent {
			break
		}
	}
	return nil, failed
}

func (c *Client) resolvers() ([]string, error) {
	if len(c.Resolvers) > 0 {
		return c.Resolvers, nil
	}
	return SystemResolvers("")
}

// addresses is Addresses for a name that is fully qualified.
func (f *finder) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if mdns.IsSubDomain("localhost.", name) {
		return f.keep([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}), nil
	}
	kinds := []uint16{mdns.TypeA, mdns.TypeAAAA}
	answers := make([]*mdns.Msg, len(kinds))
	errs := sideBySide(len(kinds), len(kinds), func(i int) (err error) {
		answers[i], err = f.recurse(ctx, name, kinds[i])
		return err
	})
	var found []netip.Addr
	absent := false
	for _, m := range answers {
		if m != nil {
			found = append(found, addressesIn(m.Answer, endOfChain(m.Answer, name))...)
			absent = absent || m.Rcode == mdns.RcodeNameError
		}
	}
	switch found = f.keep(found); {
	case len(found) > 0:
		return found, nil
	case absent:
		return nil, &NoNameError{bare(name)}
	}
	return nil, cmp.Or(errs...)
}

// keep sorts the addresses and leaves out those of a family that is not wanted.
func (f *finder) keep(found []netip.Addr) []netip.Addr {
	found = slices.DeleteFunc(found, func(a netip.Addr) bool { return !f.client.wanted(a) })
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	return found[:min(len(found), maxAsked)]
}

// addressesIn are those of one name among records in any order.
func addressesIn(records []mdns.RR, name string) []netip.Addr {
	var found []netip.Addr
	for _, rr := range records {
		if !sameName(rr.Header().Name, name) {
			continue
		}
		var ip net.IP
		switch rr := rr.(type) {
		case *mdns.A:
			ip = rr.A
		case *mdns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			found = append(found, a.Unmap())
		}
	}
	return found
}

// endOfChain follows CNAMEs within one answer, whatever their order. A loop
// ends somewhere on it, where no other record can be.
func endOfChain(records []mdns.RR, name string) string {
	alias := map[string]string{}
	for _, rr := range records {
		if c, ok := rr.(*mdns.CNAME); ok {
			alias[mdns.CanonicalName(c.Hdr.Name)] = mdns.CanonicalName(c.Target)
		}
	}
	for range maxHops {
		next, ok := alias[name]
		if !ok {
			break
		}
		name = next
	}
	return name
}
