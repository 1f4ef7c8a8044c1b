package dns

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Updater changes TXT records by RFC 2136: without prerequisites and by value, so
// that several runs may have records under one name at the same time. Other
// values and other records stay.
//
// Messages go over TCP at once: nobody can forge a reply by guessing, which
// matters where no key signs it, and nothing is ever too long.
type Updater struct {
	Client *Client
	Server string        // HOST[:PORT]; "" = the zone's primary (SOA MNAME); port 53
	Zone   string        // "" = found
	Key    *Key          // nil: unsigned
	TTL    time.Duration // 0 = 60 s

	// Tell, if not nil, is told of each zone that has been changed: which, the
	// server that took it, and how many records.
	Tell func(zone, server string, records int)
}

// Bounds of one update.
const (
	updateTime = 10 * time.Second // for one server to connect, and again to answer
	maxSends   = 6                // servers of a zone, in turn
	fudge      = 300              // seconds by which the clocks may differ (RFC 8945 §10)
)

// Add puts records beside those that are there, one message for each zone. A
// value that is there already is no error. All zones are tried; the error is the
// first one's: *UpdateError, or what Client.Place has for the record.
func (u *Updater) Add(ctx context.Context, records ...Record) error {
	ttl := cmp.Or(u.TTL, time.Minute)
	return u.change(ctx, records, func(m *mdns.Msg, rr *mdns.TXT) {
		rr.Hdr.Ttl = uint32(ttl / time.Second)
		m.Insert([]mdns.RR{rr}) // RFC 2136 §2.5.1
	})
}

// Delete takes away these records and no others. One that is not there is no
// error. All zones are tried; the error is the first one's, as with Add.
func (u *Updater) Delete(ctx context.Context, records ...Record) error {
	return u.change(ctx, records, func(m *mdns.Msg, rr *mdns.TXT) {
		m.Remove([]mdns.RR{rr}) // §2.5.4
	})
}

func (u *Updater) change(ctx context.Context, records []Record, put func(*mdns.Msg, *mdns.TXT)) error {
	servers, err := u.named(ctx)
	if err != nil {
		return err
	}
	batches, first := u.batches(ctx, servers, records)
	for _, b := range batches {
		m := new(mdns.Msg).SetUpdate(mdns.Fqdn(b.place.Zone))
		for _, r := range b.records {
			put(m, &mdns.TXT{Hdr: mdns.RR_Header{Name: mdns.Fqdn(r.Name), Rrtype: mdns.TypeTXT}, Txt: texts(r.Value)})
		}
		server, err := u.send(ctx, b.place, servers, m)
		if err != nil {
			first = cmp.Or(first, err)
		} else if u.Tell != nil {
			u.Tell(b.place.Zone, server, len(b.records))
		}
	}
	return first
}

// texts splits a value into strings of at most 255 bytes (RFC 1035 §3.3), with
// backslashes as the library reads them.
func texts(value string) []string {
	var parts []string
	for len(value) > 255 {
		parts, value = append(parts, value[:255]), value[255:]
	}
	parts = append(parts, value)
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], `\`, `\\`)
	}
	return parts
}

// batch is what one message changes: records of one zone, by the names that they
// have in the end.
type batch struct {
	place   *Place // of the first of them
	records []Record
}

// batches finds where the records live and gathers them by zone. The error is
// that of the first record whose place could not be found.
func (u *Updater) batches(ctx context.Context, servers []Server, records []Record) ([]*batch, error) {
	places := make([]*Place, len(records))
	f := newFinder(u.Client)
	errs := sideBySide(16, len(records), func(i int) (err error) {
		places[i], err = u.place(ctx, f, servers, records[i].Name)
		return err
	})
	var batches []*batch
	for n, r := range records {
		if errs[n] != nil {
			continue
		}
		i := slices.IndexFunc(batches, func(b *batch) bool { return b.place.Zone == places[n].Zone })
		if i < 0 {
			i, batches = len(batches), append(batches, &batch{place: places[n]})
		}
		if r.Name = places[n].Name; !slices.Contains(batches[i].records, r) {
			batches[i].records = append(batches[i].records, r)
		}
	}
	return batches, cmp.Or(errs...)
}

// place is where a record is to be changed. A server that the user named is
// asked first: behind a firewall or in a rehearsal it knows what the public DNS
// does not. A zone that the user named is taken as it is for the names in it.
func (u *Updater) place(ctx context.Context, f *finder, servers []Server, record string) (*Place, error) {
	name, err := checkName(record)
	if err != nil {
		return nil, err
	}
	own := mdns.CanonicalName(u.Zone)
	if u.Zone != "" && mdns.IsSubDomain(own, name) {
		p := new(Place)
		if len(servers) == 0 {
			if p, err = f.placeFrom(ctx, own, own); err != nil {
				return nil, err
			}
		}
		p.Name, p.Zone = bare(name), bare(own)
		return p, nil
	}
	p, end, err := u.ask(ctx, servers, name)
	if err == nil && p == nil {
		p, err = f.place(ctx, end)
	}
	if err != nil || u.Zone == "" {
		return p, err
	}
	if !mdns.IsSubDomain(own, mdns.Fqdn(p.Name)) {
		return nil, &UpdateError{Server: u.Server, Zone: bare(own), Name: bare(name),
			Err: fmt.Errorf("the record's place is %q in the zone %q", p.Name, p.Zone)}
	}
	p.Zone = bare(own)
	return p, nil
}

// ask asks the servers that the user named where a record lives, as nsupdate
// does: what they answer about an SOA record of that name has the zone's, and the
// CNAMEs on the way. Where they do not know the zone the place is nil, and end as
// far as they know the way.
func (u *Updater) ask(ctx context.Context, servers []Server, name string) (p *Place, end string, err error) {
	if len(servers) == 0 {
		return nil, name, nil
	}
	for range maxHops {
		m, err := u.answer(ctx, servers, name)
		if err != nil {
			return nil, "", err
		}
		if !m.Authoritative {
			return nil, name, nil
		}
		end := endOfChain(m.Answer, name)
		if zone := apex(end, slices.Concat(m.Answer, m.Ns)); zone != "" {
			return &Place{Name: bare(end), Zone: bare(zone)}, end, nil
		}
		if end == name {
			return nil, name, nil
		}
		name = end
	}
	return nil, name, nil // a loop, or nearly: place finds the words
}

// answer is what the first of these servers that answers says about the SOA
// record of a name.
func (u *Updater) answer(ctx context.Context, servers []Server, name string) (*mdns.Msg, error) {
	var first error
	for _, to := range servers {
		e := &UpdateError{Server: title(to), Name: bare(name)}
		m, err := u.exchange(ctx, to, newQuestion(name, mdns.TypeSOA, false))
		switch {
		case m == nil:
			first = cmp.Or(first, e.network(ctx, err))
		case u.Key != nil && tsigError(m) != mdns.RcodeSuccess: // the update would fail likewise
			return nil, e.judge(m, err, u.Key)
		default:
			return m, nil
		}
	}
	return nil, first
}

// apex is the zone of a name by an SOA record among these; "" without one.
func apex(name string, records []mdns.RR) string {
	for _, rr := range records {
		if rr.Header().Rrtype == mdns.TypeSOA && mdns.IsSubDomain(rr.Header().Name, name) {
			return mdns.CanonicalName(rr.Header().Name)
		}
	}
	return ""
}

// send gives a zone's message to the server that takes it: the one that the user
// named, or the primary that the zone's SOA record names (RFC 2136 §4.3). Where
// that one has no address or does not answer, as a hidden primary, the zone's
// other servers may pass the message on (§6); if none does, the error is the
// primary's.
func (u *Updater) send(ctx context.Context, p *Place, servers []Server, m *mdns.Msg) (server string, err error) {
	var others []Server
	if len(servers) == 0 {
		if servers, err = u.primary(ctx, p); err != nil {
			err = (&UpdateError{Server: p.Primary, Zone: p.Zone, Name: p.Name}).network(ctx, err)
		}
		others = slices.DeleteFunc(slices.Clone(p.Servers), func(s Server) bool { return s.Name == p.Primary })
	}
	for i, to := range slices.Concat(servers, others) {
		if i == maxSends || i > 0 && ctx.Err() != nil {
			break
		}
		e := &UpdateError{Server: title(to), Zone: p.Zone, Name: p.Name}
		reply, failed := u.exchange(ctx, to, m)
		if reply == nil {
			failed = e.network(ctx, failed)
		} else {
			failed = e.judge(reply, failed, u.Key)
		}
		if failed == nil {
			return title(to), nil
		}
		err = cmp.Or(err, failed)
		if reply != nil && i < len(servers) {
			break // the primary's word counts
		}
	}
	return "", err
}

// primary are the addresses of the server that the zone's SOA record names.
func (u *Updater) primary(ctx context.Context, p *Place) ([]Server, error) {
	known := slices.DeleteFunc(slices.Clone(p.Servers), func(s Server) bool { return s.Name != p.Primary })
	if len(known) > 0 {
		return known, nil
	}
	if p.Primary == "" { // MNAME ".", in zones that nobody is to update
		return nil, errNoPrimary
	}
	return u.resolve(ctx, p.Primary, cmp.Or(u.Client.Port, "53"))
}

// exchange sends m over TCP, signed if there is a key. Where the answer is not
// signed as it should be, there is an error beside it.
func (u *Updater) exchange(ctx context.Context, to Server, m *mdns.Msg) (*mdns.Msg, error) {
	var signer mdns.TsigProvider
	if u.Key != nil {
		m = m.Copy()
		m.SetTsig(mdns.Fqdn(u.Key.Name), algorithms[u.Key.Algorithm].wire, fudge, time.Now().Unix())
		signer = tsigProvider{u.Key}
	}
	x, err := newExchange(m, signer)
	if err != nil {
		return nil, err
	}
	x.patience = cmp.Or(u.Client.patience, updateTime)
	return x.tcp(ctx, to.Address.String())
}

// HostPort puts the port of DNS behind HOST, unless it is HOST:PORT already.
func HostPort(text string) string {
	if _, _, err := net.SplitHostPort(text); err == nil {
		return text
	}
	return net.JoinHostPort(strings.Trim(text, "[]"), "53")
}

// named are the addresses of Server; none where the zone's own are meant.
func (u *Updater) named(ctx context.Context) ([]Server, error) {
	if u.Server == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(HostPort(u.Server))
	if err != nil {
		return nil, &UpdateError{Server: u.Server, Err: err}
	}
	servers, err := u.resolve(ctx, host, port)
	if err != nil {
		return nil, (&UpdateError{Server: u.Server}).network(ctx, err)
	}
	return servers, nil
}

// resolve finds the addresses of a server; there is at least one without error.
func (u *Updater) resolve(ctx context.Context, host, port string) ([]Server, error) {
	addresses, err := u.Client.Addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, errNoAddress
	}
	var servers []Server
	for _, a := range addresses {
		to, err := netip.ParseAddrPort(net.JoinHostPort(a.String(), port))
		if err != nil {
			return nil, err
		}
		name := host
		if name == a.String() {
			name = ""
		}
		servers = append(servers, Server{name, to})
	}
	return servers, nil
}

// title is a server as people know it; the user may have named an address alone.
func title(s Server) string {
	if s.Name == "" {
		return s.Address.String()
	}
	return s.String()
}
