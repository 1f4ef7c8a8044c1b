#!/bin/sh
# A hook for arid (dehydrated calls it the same way). The first argument is the
# event, the rest depends on it; docs/hooks.md tells all. Take what you need.
#
#   arid sign --hook /etc/arid/hook.sh www.example.org
set -eu

# What to reload once a new certificate is in place, such as "lighttpd postfix".
services=${HOOK_SERVICES-}

# For dns-01: a TSIG key that may change the TXT records, and where to send them.
key=${HOOK_DNS_KEY-/etc/arid/dns.key}
server=${HOOK_DNS_SERVER-127.0.0.1}

# txt add|delete NAME VALUE
# Only this value: NAME and *.NAME have a record each, under the same name.
txt() {
	printf 'server %s\nupdate %s _acme-challenge.%s. 60 TXT "%s"\nsend\n' "$server" "$1" "$2" "$3" |
		nsupdate -k "$key"
}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge)
	# NAME TOKEN VALUE, several times over with HOOK_CHAIN. A token may begin
	# with "-": quote it, and put "--" in front of it where options are read.
	# For http-01 the file WELLKNOWN/TOKEN, which holds VALUE, is there already.
	[ "${CHALLENGETYPE-}" = dns-01 ] || exit 0
	action=add
	[ "$event" = deploy_challenge ] || action=delete
	while [ "$#" -ge 3 ]; do
		txt "$action" "$1" "$3"
		shift 3
	done
	;;
invalid_challenge)
	# NAME RESPONSE: the CA could not validate NAME.
	logger -t arid-hook -- "the CA refused $1"
	;;
request_failure)
	# STATUS BODY METHOD HEADERS: the CA refused a request.
	logger -t arid-hook -- "the CA answered $1"
	;;
sync_cert)
	# KEY CERT FULLCHAIN CHAIN CSR: the new files, before they go live. What
	# must be copied along with the switch is copied here; failing stops the switch.
	;;
deploy_cert)
	# NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP: live now. arid calls again on its
	# next run if this fails.
	for service in $services; do
		systemctl reload "$service"
	done
	;;
*)
	# Other events, and those to come: nothing to do is no failure.
	;;
esac
