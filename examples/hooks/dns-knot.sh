#!/bin/sh
# dns-01 with Knot DNS on this host, by knotc and Knot's control socket.
#
#   arid sign -t dns-01 -k /etc/arid/dns-knot.sh example.org '*.example.org'
#
# For root, and for members of the group knot. For a Knot on another host take
# dns-arid.sh or dns-nsupdate.sh.
set -eu

# The control socket; empty: where knotc looks by itself.
socket=${KNOT_SOCKET-}

# How many seconds to wait while somebody else has a transaction open in the zone.
patience=${KNOT_WAIT-60}

ttl=${KNOT_TTL-60}

# cron may not have it: knotc is a program for the administrator.
PATH=$PATH:/usr/sbin:/sbin

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# knot WORD...: one step at the control socket. Sets answer, what knotc says.
knot() { answer=$(knotc ${socket:+-s "$socket"} "$@" 2>&1); }

# must WORD...: the same, and the end of all where it fails.
must() { knot "$@" || fail "knotc $1: $answer"; }

# What is begun and not committed is aborted, whatever happens.
open=
trap '[ -z "$open" ] || knot zone-abort "$open" || :' EXIT
trap 'exit 1' HUP INT TERM

# find_zone RECORD: sets zone, the one here that the record is in.
find_zone() {
	zone=$1
	until knot zone-status "$zone"; do
		case $answer in
		*"no such zone"*) ;;
		*) fail "knotc zone-status: $answer" ;;
		esac
		case $zone in
		*.*) zone=${zone#*.} ;;
		*) fail "Knot has no zone for $1" ;;
		esac
	done
}

# begin: opens a transaction in the zone; there can be only one at a time.
begin() {
	left=$patience
	until knot zone-begin "$zone"; do
		case $answer in
		*"too many transactions"*) ;;
		*) fail "knotc zone-begin: $answer" ;;
		esac
		[ "$left" -gt 0 ] || fail "zone $zone: somebody else's transaction is open, even after $patience seconds"
		[ "$left" -lt "$patience" ] || printf '%s: zone %s: waiting for the end of a transaction\n' "${0##*/}" "$zone" >&2
		left=$((left - 1))
		sleep 1
	done
	open=$zone
}

# change RECORD VALUE: adds it, or takes it away. Only this value: NAME and *.NAME
# have a record each, under the same name.
change() {
	find_zone "$1"
	begin
	there=no
	knot zone-get "$zone" "$1." TXT || : # no such name: no such record
	case $answer in *"\"$2\""*) there=yes ;; esac
	case $event-$there in
	deploy_challenge-no) must zone-set "$zone" "$1." "$ttl" TXT "\"$2\"" ;;
	clean_challenge-yes) must zone-unset "$zone" "$1." TXT "\"$2\"" ;;
	esac
	must zone-commit "$zone"
	open=
}

# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the record
# belongs once CNAMEs have been followed; dehydrated does not.
records=${ARID_HOOK_RECORD-}
while [ "$#" -ge 3 ]; do
	record=${records%% *}
	records=${records#"$record"}
	records=${records# }
	change "${record:-_acme-challenge.$1}" "$3"
	shift 3
done
