package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	mdns "github.com/miekg/dns"
)

// UpdateError is an update that was not made, or not seen to be made.
type UpdateError struct {
	Server string // with its address; "" if none was found
	Zone   string // "" if none was found
	Name   string // of the (first) record
	Rcode  string // what the server said: REFUSED, BADKEY, …; "" if that was not it
	Err    error  // why, in words

	hint  string
	later bool
}

func (e *UpdateError) Error() string {
	s := "DNS update"
	if e.Name != "" {
		s += fmt.Sprintf(" of %q", e.Name)
	}
	if e.Zone != "" {
		s += fmt.Sprintf(" in the zone %q", e.Zone)
	}
	if e.Server != "" {
		s += " at " + e.Server
	}
	s += ": " + e.Err.Error()
	if e.Rcode != "" {
		s += " (" + e.Rcode + ")"
	}
	return s
}

func (e *UpdateError) Unwrap() error { return e.Err }

// Hint is what the user might do about it, or "".
func (e *UpdateError) Hint() string { return e.hint }

// Temporary tells whether the same again may help: the network, or trouble that
// the server calls its own. Everything else is for the admin to mend.
func (e *UpdateError) Temporary() bool { return e.later }

// Servers that cannot be asked until somebody mends the DNS or the settings.
var (
	errNoAddress = errors.New("it has no address")
	errNoPrimary = errors.New("the zone's SOA record names no primary")
)

// network says why there is no answer.
func (e *UpdateError) network(ctx context.Context, err error) error {
	e.Err, e.later = err, true // such as: connection refused
	switch {
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
	case errors.As(err, new(*NoNameError)), err == errNoAddress, err == errNoPrimary:
		e.later = false
		e.hint = whichServer
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Err = errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = errors.New("it closed the connection without an answer")
	}
	return e
}

const whichServer = "--dns-server HOST names the server that takes updates, --dns-zone NAME the zone"

// tsigError is the error in an answer's TSIG record, 0 if there is none. Who does
// not know the key cannot sign it, so it is looked at unverified.
func tsigError(m *mdns.Msg) int {
	if t := m.IsTsig(); t != nil {
		return int(t.Error)
	}
	return mdns.RcodeSuccess
}

// judge says what an answer means in the words of who runs the server; nil if
// the update is made. unsigned is what is wrong with the answer's signature.
func (e *UpdateError) judge(m *mdns.Msg, unsigned error, key *Key) error {
	switch code := tsigError(m); {
	case key != nil && code != mdns.RcodeSuccess:
		e.tsig(code, m.IsTsig(), key)
	case m.Rcode != mdns.RcodeSuccess:
		e.rcode(m.Rcode, key)
	case errors.Is(unsigned, mdns.ErrNoSig):
		e.Err = fmt.Errorf("the answer says that it is done, but is not signed with the key %q", key.Name)
		e.hint = "does something between here and the server answer in its place?"
	case unsigned != nil:
		e.Err = fmt.Errorf("the answer says that it is done, but is signed wrongly: %w", unsigned)
		e.hint = "does something between here and the server answer in its place?"
	default:
		return nil
	}
	return e
}

// tsig is about an error in the reply's signature (RFC 8945 §5.2).
func (e *UpdateError) tsig(code int, t *mdns.TSIG, key *Key) {
	e.Rcode = mdns.RcodeToString[code]
	switch code {
	case mdns.RcodeBadSig: // 16, which EDNS calls BADVERS
		e.Rcode = "BADSIG"
		e.Err = fmt.Errorf("the secret of the key %q is not the server's", key.Name)
		e.hint = fmt.Sprintf("copy the secret of %q from the server's configuration again", key.Name)
	case mdns.RcodeBadKey:
		e.Err = fmt.Errorf("the server does not know the key %q with %s", key.Name, key.Algorithm)
		e.hint = "name and algorithm must be those in the server's configuration; Knot also says this of a name that its ACL forbids"
	case mdns.RcodeBadTime:
		e.Err = fmt.Errorf("the clocks differ%s", clocks(t))
		e.hint = "is the clock of this host right? The two may differ by five minutes"
	default:
		e.Err = errors.New("the server refuses the signature")
		if e.Rcode == "" {
			e.Rcode = fmt.Sprintf("TSIG error %d", code)
		}
	}
}

// clocks tells both times, if the reply has the server's: 48 bits in Other Data
// (RFC 8945 §5.2.3).
func clocks(t *mdns.TSIG) string {
	raw, err := hex.DecodeString(t.OtherData)
	if err != nil || len(raw) != 6 {
		return ""
	}
	var seconds int64
	for _, b := range raw {
		seconds = seconds<<8 | int64(b)
	}
	utc := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
	return fmt.Sprintf(": %s at the server, %s here", utc(seconds), utc(int64(t.TimeSigned)))
}

func (e *UpdateError) rcode(code int, key *Key) {
	e.Rcode = mdns.RcodeToString[code]
	if e.Rcode == "" {
		e.Rcode = fmt.Sprintf("RCODE %d", code)
	}
	switch code {
	case mdns.RcodeRefused:
		e.refused(key)
	case mdns.RcodeNotAuth:
		e.Err = errors.New("the server is not the primary of that zone")
		e.hint = whichServer
	case mdns.RcodeNotZone:
		e.Err = errors.New("the server says that the name is not in that zone")
		e.hint = whichServer
	case mdns.RcodeNotImplemented:
		e.Err = errors.New("the server takes no updates")
		e.hint = whichServer
	case mdns.RcodeServerFailure:
		e.Err, e.later = errors.New("the server could not do it"), true
		e.hint = "its log says why; BIND, for one, must be able to write a journal beside the zone's file"
	case mdns.RcodeFormatError:
		e.Err = errors.New("the server does not understand the message")
		if key != nil {
			e.hint = "does it know TSIG?"
		}
	default:
		e.Err = errors.New("the server answered with an error")
	}
}

func (e *UpdateError) refused(key *Key) {
	if key == nil {
		e.Err = errors.New("the server's policy forbids it to whoever has no key")
		e.hint = "--dns-key FILE signs updates with a TSIG key"
		return
	}
	e.Err = fmt.Errorf("the server's policy forbids it to the key %q", key.Name)
	e.hint = fmt.Sprintf("in BIND's zone: update-policy { grant %q name %s. TXT; };", key.Name, e.Name)
}
