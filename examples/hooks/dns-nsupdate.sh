#!/bin/sh
# dns-01 by BIND's nsupdate, signed with a TSIG key.
#
#   NSUPDATE_KEY=/etc/bind/acme.key \
#       arid sign -t dns-01 -k /etc/arid/dns-nsupdate.sh example.org '*.example.org'
#
# "tsig-keygen acme" prints such a key file. The zone's primary is found, or
# ARID_DNS_SERVER=HOST[:PORT] names another; a rehearsal sets that to its own.
set -eu

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) action=add ;;
clean_challenge) action=delete ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

# nsupdate wants host and port apart.
server=${ARID_DNS_SERVER-}
case $server in
'') ;;
\[*\]:*) host=${server#\[} host=${host%\]:*} port=${server##*:} ;;
*:*:* | \[*\]) host=${server#\[} host=${host%\]} port=53 ;; # an IPv6 address
*:*) host=${server%:*} port=${server##*:} ;;
*) host=$server port=53 ;;
esac

# One run for all. Each record is sent by itself, since the names may be in
# several zones; if one is refused, the others are sent and nsupdate ends with 2.
{
	[ -z "$server" ] || printf 'server %s %s\n' "$host" "$port"
	# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the
	# record belongs once CNAMEs have been followed; dehydrated does not. Only this
	# value: NAME and *.NAME have a record each, under the same name.
	records=${ARID_HOOK_RECORD-}
	while [ "$#" -ge 3 ]; do
		record=${records%% *}
		records=${records#"$record"}
		records=${records# }
		printf 'update %s %s. 60 TXT "%s"\nsend\n' "$action" "${record:-_acme-challenge.$1}" "$3"
		shift 3
	done
} | nsupdate ${NSUPDATE_KEY:+-k "$NSUPDATE_KEY"}
