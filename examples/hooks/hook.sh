#!/bin/sh
# A hook for arid; dehydrated calls it the same way. This file is the manual of the
# protocol in short: every event, its arguments, and what its failure does.
# docs/hooks.md has the rest. Take what you need.
#
#   arid renew --hook /etc/arid/hook.sh          or HOOK=/etc/arid/hook.sh in the config
#
# $1 is the event. Working directory and terminal are those of arid, the umask is
# 077. In the environment, among others: BASEDIR CERTDIR WELLKNOWN ALPNCERTDIR
# CONFIG, alias (the certificate's folder), altnames (all its names), CHALLENGETYPE,
# and whatever the config exports.
set -eu

# What to reload once new certificates are in place, such as "lighttpd postfix".
services=${HOOK_SERVICES-}

# For dns-01: a TSIG key that may change the TXT records, and where to send them.
# dns-arid.sh does the same with arid's own means, and finds the server itself.
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
startup_hook)
	# No arguments: something is to be done. Failing ends the run.
	;;
generate_csr)
	# NAME FOLDER "ALL NAMES": print a CSR in PEM to have it used, with the names
	# and the key that it has; print nothing to have arid make both. Nothing else
	# may go to stdout here. Failing gives up this certificate.
	;;
deploy_challenge | clean_challenge)
	# NAME TOKEN VALUE, several times over with HOOK_CHAIN. A token may begin
	# with "-": quote it, and put "--" in front of it where options are read.
	#   http-01      the file WELLKNOWN/TOKEN, which holds VALUE, is there already
	#   tls-alpn-01  NAME.crt.pem and NAME.key.pem are in ALPNCERTDIR already
	#   dns-01       VALUE belongs into the TXT record _acme-challenge.NAME, beside
	#                others; ARID_HOOK_RECORD has its name with CNAMEs followed
	# When deploy_challenge ends, the proof must be in place; failing gives up this
	# certificate. clean_challenge follows in any case; its failure is a warning.
	[ "${CHALLENGETYPE-}" = dns-01 ] || exit 0
	action=add
	[ "$event" = deploy_challenge ] || action=delete
	while [ "$#" -ge 3 ]; do
		txt "$action" "$1" "$3"
		shift 3
	done
	;;
invalid_challenge)
	# NAME RESPONSE: the CA could not validate NAME. RESPONSE is the CA's text.
	logger -t arid-hook -- "the CA refused $1"
	;;
request_failure)
	# STATUS BODY METHOD HEADERS: the CA refused a request. All is the CA's text.
	logger -t arid-hook -- "the CA answered $1"
	;;
sync_cert)
	# KEY CERT FULLCHAIN CHAIN CSR: the new files, with the time in their names,
	# before they go live. What must be copied along with the switch is copied
	# here; failing stops the switch, and a later run begins with this again.
	;;
deploy_cert)
	# NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP: live now, under names that stay.
	# arid calls this again in a later run if it fails. Where many certificates
	# feed one server, reload it in exit_hook, once. Copy nothing to a server
	# where ARID_HOOK_REHEARSAL is set: nobody trusts that certificate.
	for service in $services; do
		systemctl reload "$service"
	done
	;;
deploy_ocsp)
	# NAME FILE TIMESTAMP: with OCSP_FETCH, a new response for stapling.
	;;
unchanged_cert)
	# NAME KEY CERT FULLCHAIN CHAIN: nothing was due. dehydrated's mode calls
	# this for every certificate, arid itself only with HOOK_UNCHANGED=yes.
	;;
exit_hook)
	# The end of a run that began with startup_hook. An argument says what went
	# wrong. ARID_HOOK_CHANGED and ARID_HOOK_FAILED name folders. Its failure is a
	# warning.
	;;
*)
	# Other events, and those to come: nothing to do is no failure. dehydrated's
	# mode looks whether that is so, with an event that nobody has.
	;;
esac
