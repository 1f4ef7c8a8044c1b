#!/bin/sh
# http-01 answered by HAProxy itself: each token is an entry of a map in its memory, put
# there through the runtime socket. Needs socat.
#
#   arid sign -k /etc/arid/http-haproxy-map.sh example.org
#
# haproxy.cfg (and "touch /etc/haproxy/acme.map", which stays empty):
#
#   global
#       stats socket /run/haproxy/admin.sock mode 660 level admin
#   frontend http
#       mode http
#       bind :80
#       acl acme path,map_str(/etc/haproxy/acme.map) -m found
#       http-request return status 200 content-type text/plain lf-string "%[path,map_str(/etc/haproxy/acme.map)]" if acme
#
# A reload of HAProxy between deploy_challenge and the CA's look forgets the entry.
set -eu

# Sockets with blanks between, as socat names addresses: UNIX-CONNECT:/run/haproxy/admin.sock,
# or TCP:192.0.2.7:9999 for a HAProxy on another host.
sockets=${HAPROXY_SOCKETS-UNIX-CONNECT:/run/haproxy/admin.sock}
map=${HAPROXY_MAP-/etc/haproxy/acme.map}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-http-01}" = http-01 ] || exit 0

# tell SOCKET COMMAND: HAProxy says nothing to what it does, and why to what it does not.
tell() {
	answer=$(printf '%s\n' "$2" | socat -t 10 - "$1") || answer="socat: status $?"
	case $answer in
	"" | "Key not found.") ;; # that one has gone already
	*)
		printf '%s: %s: %s\n' "${0##*/}" "$1" "$answer" >&2
		status=1
		;;
	esac
}

# NAME TOKEN VALUE, several times over with HOOK_CHAIN.
status=0
while [ "$#" -ge 3 ]; do
	path=/.well-known/acme-challenge/$2
	for socket in $sockets; do
		case $event in
		deploy_challenge) tell "$socket" "add map $map $path $3" ;;
		clean_challenge) tell "$socket" "del map $map $path" ;;
		esac
	done
	shift 3
done
exit "$status"
