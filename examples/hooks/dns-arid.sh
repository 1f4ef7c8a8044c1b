#!/bin/sh
# dns-01 with nothing but arid: TXT records by "arid dns", signed with a TSIG key.
#
#   ARID_DNS_KEY_FILE=/etc/arid/dns.key \
#       arid sign -t dns-01 -k /etc/arid/dns-arid.sh example.org '*.example.org'
#
# Zone and server are found, CNAMEs are followed. ARID_DNS_SERVER and ARID_DNS_ZONE
# (or DNS_SERVER and DNS_ZONE in the config) name others; docs/commands.md has more.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) action=add ;;
clean_challenge) action=del ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

# NAME TOKEN VALUE, several times over with HOOK_CHAIN, become the pairs that
# "arid dns" takes. Only these values: NAME and *.NAME have a record each, under
# the same name.
left=$#
while [ "$left" -ge 3 ]; do
	set -- "$@" "_acme-challenge.$1" "$3"
	shift 3
	left=$((left - 3))
done

# CONFIG is the config file that "arid sign" has read; absent without one.
# "arid sign" itself waits until the records can be seen; where another program
# calls this hook, let "arid dns wait" with the same pairs follow.
exec arid dns "$action" ${CONFIG:+--config "$CONFIG"} "$@"
