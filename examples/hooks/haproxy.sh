#!/bin/sh
# Certificates into HAProxy: NAME.pem, key and chain in one file, for
#
#   bind :443 ssl crt /etc/haproxy/tls/
#
# "mkdir -m 700 /etc/haproxy/tls" first: HAProxy reads them as root. NAME is the
# certificate's folder in CERTDIR. Other files that arid has there for a moment begin
# with a dot, which HAProxy passes over.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${HAPROXY_TLS-/etc/haproxy/tls}
# A stats socket with "level admin", for changes without a reload (with socat), such as
# /run/haproxy/admin.sock. The name of a file in "crt" must be the one that it has here.
export socket="${HAPROXY_SOCKET-}"
# How HAProxy checks its configuration, and its master is told. One that is not running
# needs not be.
preflight='haproxy -c -q -f /etc/haproxy/haproxy.cfg'
# shellcheck disable=SC2016 # it is for the shell that arid starts
reload='[ ! -s /run/haproxy.pid ] || kill -USR2 "$(cat /run/haproxy.pid)"'
preflight=${HAPROXY_PREFLIGHT-$preflight} reload=${HAPROXY_RELOAD-$reload}
# Where to look whether it is shown, such as www.example.org:443, once HAProxy runs.
verify=${HAPROXY_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload for each
# certificate cuts nobody off, but each leaves a process of before until its connections
# have ended: with many certificates, use the socket.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

if [ -S "$socket" ]; then
	# A file that the running process knows is changed there; a new one takes a reload.
	# An empty line would end what is sent; there is none in arid's files.
	# shellcheck disable=SC2016
	reload='
tell() { socat -t 20 - "UNIX-CONNECT:$socket"; }
if tell <<END | grep -q Transaction
set ssl cert $ARID_HOOK_FILES <<
$(cat "$ARID_HOOK_FILES")

END
then printf "commit ssl cert %s\n" "$ARID_HOOK_FILES" | tell | grep -q Success
else '"$reload
fi"
fi

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --parts key,fullchain --to "$tls/{name}.pem" \
	--preflight "$preflight" --reload "$reload" ${verify:+--verify "$verify"}
