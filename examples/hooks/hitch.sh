#!/bin/sh
# Certificates into hitch: NAME.pem, key and chain in one file, for
#
#   pem-file = "/etc/hitch/tls/NAME.pem"
#
# "mkdir -m 700 /etc/hitch/tls" first: hitch reads them as root. NAME is the
# certificate's folder in CERTDIR. If hitch would not take the file, or does not show
# it, that of before comes back, and arid tries again later.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${HITCH_TLS-/etc/hitch/tls}
# How hitch checks its configuration, speaking only of mistakes, and is told: by HUP. One
# that is not running needs not be. Where systemd does not run it:
#   HITCH_RELOAD='sv hup hitch', or with --pidfile 'kill -HUP "$(cat /run/hitch.pid)"'
# shellcheck disable=SC2016 # it is for the shell that arid starts
preflight='said=$(hitch --test --config /etc/hitch/hitch.conf 2>&1) || { printf "%s\n" "$said"; exit 1; }'
reload='systemctl try-reload-or-restart hitch'
preflight=${HITCH_PREFLIGHT-$preflight} reload=${HITCH_RELOAD-$reload}
# Where to look whether it is shown, such as www.example.org:443, once hitch runs. A
# reload that fails goes unnoticed otherwise: hitch goes on with what it had.
verify=${HITCH_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --parts key,fullchain --to "$tls/{name}.pem" \
	--preflight "$preflight" --reload "$reload" ${verify:+--verify "$verify"}
