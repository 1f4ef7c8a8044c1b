#!/bin/sh
# Certificates into stunnel: NAME.key and NAME.pem for each, for
#
#   pid  = /run/stunnel4/stunnel.pid
#   cert = /etc/stunnel/tls/NAME.pem
#   key  = /etc/stunnel/tls/NAME.key
#
# "install -d -m 750 -g stunnel4 /etc/stunnel/tls" first. NAME is the certificate's
# folder in CERTDIR. With "setuid", stunnel reads the files again as that user; what it
# cannot read, and any mistake in its configuration, makes it go on with what it had.
# Nothing tells that beforehand: STUNNEL_VERIFY afterwards.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${STUNNEL_TLS-/etc/stunnel/tls}
group=${STUNNEL_GROUP-stunnel4}
conf=${STUNNEL_CONF-/etc/stunnel/stunnel.conf}
# How stunnel is told. One that is not running needs not be.
# shellcheck disable=SC2016 # it is for the shell that arid starts
reload='[ ! -s "$pid" ] || kill -HUP "$(cat "$pid")"'
reload=${STUNNEL_RELOAD-$reload}
# Where to look whether it is shown, such as mail.example.org:465, once stunnel runs. If
# it is not, the files of before come back, and arid tries again later.
verify=${STUNNEL_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

pid=$(sed -n 's/^[[:blank:]]*pid[[:blank:]]*=[[:blank:]]*//p' "$conf")
[ -n "$pid" ] || [ -n "${STUNNEL_RELOAD-}" ] || {
	echo "stunnel.sh: $conf has no \"pid = FILE\", and how else is stunnel told?" >&2
	exit 1
}
export pid

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --owner "root:$group" \
	--parts key --mode 0640 --to "$tls/{name}.key" --parts fullchain --mode 0644 --to "$tls/{name}.pem" \
	--reload "$reload" ${verify:+--verify "$verify"}
