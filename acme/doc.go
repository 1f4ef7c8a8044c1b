// Package acme speaks RFC 8555 and its friends (RFC 8738 IP identifiers,
// RFC 9773 `replaces`, the profiles draft) to one CA: it signs, posts, polls
// and reads, and decides nothing else. Nothing that comes from the CA is
// believed: URLs, tokens, sizes, nesting and identifiers are checked here,
// before a caller sees them.
//
// Whatever goes wrong comes back as one of
//   - *Problem: the CA refused, with its own words;
//   - *TemporaryError: the network, an outage, a rate limit; later it may work;
//   - *ProtocolError: the CA did what the protocol forbids;
//   - the cause of the caller's context, wrapped, once that was cancelled.
package acme
