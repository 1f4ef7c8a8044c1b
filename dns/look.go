package dns

import (
	"context"
	"errors"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
)

// Record is one TXT record: a name such as "_acme-challenge.example.org" and its
// text, which goes out in strings of up to 255 bytes.
type Record struct{ Name, Value string }

// Sight is what one server shows.
type Sight struct {
	Server Server
	Values []string // TXT, the strings of each joined
	Err    error    // why nothing could be seen; "not there" is no error
}

// Look asks every server of the place for its TXT records, side by side; a few
// seconds are enough for all. The sights come in the order of p.Servers.
func (c *Client) Look(ctx context.Context, p *Place) []Sight {
	sights := make([]Sight, len(p.Servers))
	errs := sideBySide(maxSide, len(p.Servers), func(i int) error {
		sights[i] = c.look(ctx, p.Name, p.Servers[i])
		return nil
	})
	for i, err := range errs {
		if err != nil { // a panic
			sights[i] = Sight{Server: p.Servers[i], Err: err}
		}
	}
	return sights
}

func (c *Client) look(ctx context.Context, name string, server Server) Sight {
	s := Sight{Server: server}
	name = mdns.CanonicalName(name)
	m, err := c.ask(ctx, newQuestion(name, mdns.TypeTXT, false), server.Address.String())
	if err == nil {
		s.Values, err = readTXT(m, name)
	}
	s.Err = err
	return s
}

// readTXT reads the TXT records of name, and of no other name, in an answer of
// one that is in charge of it.
func readTXT(m *mdns.Msg, name string) ([]string, error) {
	switch alias, err := aliasOf(m.Answer, name); {
	case m.Rcode != mdns.RcodeSuccess && m.Rcode != mdns.RcodeNameError:
		return nil, rcodeError(m.Rcode)
	case !m.Authoritative:
		return nil, errNotInCharge
	case err != nil:
		return nil, err
	case alias != "":
		return nil, errors.New("it shows a CNAME")
	}
	var values []string
	for _, rr := range m.Answer {
		if txt, ok := rr.(*mdns.TXT); ok && sameName(txt.Hdr.Name, name) && txt.Hdr.Class == mdns.ClassINET {
			values = append(values, joinTXT(txt.Txt))
		}
	}
	slices.Sort(values)
	return values, nil
}

// joinTXT is the text of a TXT record: miekg/dns keeps its strings as in a zone
// file, with `\"`, `\\` and `\DDD`.
func joinTXT(parts []string) string {
	text := strings.Join(parts, "")
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\' || i+1 == len(text):
			b.WriteByte(text[i])
		case i+3 < len(text) && isDigit(text[i+1]):
			b.WriteByte((text[i+1]-'0')*100 + (text[i+2]-'0')*10 + text[i+3] - '0')
			i += 3
		default:
			b.WriteByte(text[i+1])
			i++
		}
	}
	return b.String()
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
