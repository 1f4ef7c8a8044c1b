#!/bin/sh
# Certificates into Dovecot: NAME.key and NAME.pem for each, for
#
#   ssl_cert = </etc/dovecot/tls/NAME.pem
#   ssl_key  = </etc/dovecot/tls/NAME.key
#
# or, since 2.4, ssl_server_cert_file and ssl_server_key_file without the "<". "mkdir
# -m 700 /etc/dovecot/tls" first: Dovecot reads them as root. NAME is the certificate's
# folder in CERTDIR.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${DOVECOT_TLS-/etc/dovecot/tls}
# How Dovecot checks its configuration, and is told. One that is not running needs not be.
preflight='doveconf -c /etc/dovecot/dovecot.conf >/dev/null'
# shellcheck disable=SC2016 # it is for the shell that arid starts
reload='[ ! -s /run/dovecot/master.pid ] || kill -HUP "$(cat /run/dovecot/master.pid)"'
preflight=${DOVECOT_PREFLIGHT-$preflight} reload=${DOVECOT_RELOAD-$reload}
# Where to look whether it is shown, such as localhost:143/imap or localhost:993.
verify=${DOVECOT_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" \
	--parts key --to "$tls/{name}.key" --parts fullchain --to "$tls/{name}.pem" \
	--preflight "$preflight" --reload "$reload" ${verify:+--verify "$verify"}
