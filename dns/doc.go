// Package dns is arid as a DNS client: it finds the servers that really serve a
// name, looks for TXT records at every one of them, and changes such records by
// RFC 2136.
//
// Recursive resolvers are asked only about names that exist anyhow: zones and
// the addresses of their servers. A record that may not be there yet is asked of
// authoritative servers alone, so that nobody remembers its absence (RFC 2308).
//
// Answers are hostile until checked: one counts only if it has the question's
// ID and the question itself, and of it only the records of the name in hand.
package dns
