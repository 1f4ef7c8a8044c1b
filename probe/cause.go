package probe

import "slices"

// Cause names what explains a refusal. Causes are the names of hints, which users
// search for: they stay.
type Cause string

// For every type of challenge.
const (
	NoAddress Cause = "no-address" // the name does not resolve
	SeenRight Cause = "seen-right" // all is right from here; the CA looks from elsewhere
)

// What http-01 shows.
const (
	HTTPRefused      Cause = "http-refused"
	HTTPTimeout      Cause = "http-timeout"
	HTTPUnreachable  Cause = "http-unreachable"
	HTTPNoHTTP       Cause = "http-no-http"       // TLS or another protocol on the port, or the connection is closed
	HTTPMissing      Cause = "http-missing"       // 404, 410
	HTTPForbidden    Cause = "http-forbidden"     // 401, 403
	HTTPStatus       Cause = "http-status"        // another status than 200
	HTTPRedirect     Cause = "http-redirect"      // to where CAs do not go, in a circle, or to where nobody answers
	HTTPOtherText    Cause = "http-other-text"    // not the key authorization, a page for instance
	HTTPChanged      Cause = "http-changed"       // the key authorization with something added or cut off
	HTTPOtherAccount Cause = "http-other-account" // the right token with another account's thumbprint
	HTTPv6           Cause = "http-v6"            // right over one address family, wrong over the other
)

// What tls-alpn-01 shows.
const (
	TLSRefused     Cause = "tls-refused"
	TLSTimeout     Cause = "tls-timeout"
	TLSUnreachable Cause = "tls-unreachable"
	TLSNoTLS       Cause = "tls-no-tls"     // another protocol on the port
	TLSHandshake   Cause = "tls-handshake"  // the handshake fails: closed, another alert, too old a version
	TLSNoALPN      Cause = "tls-no-alpn"    // acme-tls/1 is refused or ignored
	TLSOrdinary    Cause = "tls-ordinary"   // acme-tls/1, but no validation certificate
	TLSOld         Cause = "tls-old"        // a validation certificate for another key authorization
	TLSOtherName   Cause = "tls-other-name" // a validation certificate for another name
	TLSv6          Cause = "tls-v6"         // right over one address family, wrong over the other
)

// What dns-01 shows.
const (
	DNSNoZone      Cause = "dns-no-zone"     // nobody serves a zone for the name
	DNSMissing     Cause = "dns-missing"     // no TXT record at any server
	DNSOther       Cause = "dns-other"       // TXT records with other values only
	DNSSome        Cause = "dns-some"        // some servers have it, some not
	DNSUnreachable Cause = "dns-unreachable" // servers that do not answer
	DNSServfail    Cause = "dns-servfail"    // servers that answer with an error
	DNSChain       Cause = "dns-chain"       // CNAMEs in a circle, or that lead nowhere
)

// Causes are all there are, in the order in which they are explained.
func Causes() []Cause {
	return []Cause{
		NoAddress, SeenRight,
		HTTPRefused, HTTPTimeout, HTTPUnreachable, HTTPNoHTTP, HTTPMissing, HTTPForbidden, HTTPStatus,
		HTTPRedirect, HTTPOtherText, HTTPChanged, HTTPOtherAccount, HTTPv6,
		TLSRefused, TLSTimeout, TLSUnreachable, TLSNoTLS, TLSHandshake, TLSNoALPN, TLSOrdinary, TLSOld, TLSOtherName, TLSv6,
		DNSNoZone, DNSMissing, DNSOther, DNSSome, DNSUnreachable, DNSServfail, DNSChain,
	}
}

// telling has the causes that one address, or name server, can show, those first that lead the
// reader nearest to the fault. That an address cannot be reached may be our own
// network's matter, so that comes late.
var telling = []Cause{
	HTTPOtherAccount, HTTPChanged, HTTPOtherText, HTTPRedirect, HTTPForbidden, HTTPMissing, HTTPStatus,
	HTTPNoHTTP, HTTPRefused, HTTPTimeout, HTTPUnreachable,
	TLSOld, TLSOtherName, TLSOrdinary, TLSNoALPN, TLSHandshake, TLSNoTLS, TLSRefused, TLSTimeout, TLSUnreachable,
	DNSOther, DNSMissing, DNSServfail, DNSUnreachable,
	SeenRight, "",
}

func rank(c Cause) int { return slices.Index(telling, c) }

// otherFamily is the cause where c is shown over one address family only.
func otherFamily(c Cause) Cause {
	switch {
	case c == "": // not seen for lack of time
		return SeenRight
	case slices.Index(telling, c) < slices.Index(telling, TLSOld):
		return HTTPv6
	}
	return TLSv6
}
