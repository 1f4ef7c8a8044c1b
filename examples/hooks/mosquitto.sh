#!/bin/sh
# Certificates into Mosquitto: NAME.key and NAME.pem for each, for
#
#   certfile /etc/mosquitto/certs/NAME.pem
#   keyfile /etc/mosquitto/certs/NAME.key
#
# NAME is the certificate's folder in CERTDIR. Mosquitto reads them as its own user, and
# has no TLS at all, until it is told again, when it cannot.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${MOSQUITTO_TLS-/etc/mosquitto/certs}
user=${MOSQUITTO_USER-mosquitto}
# As its own user: can Mosquitto read the files? It has no check of its own.
# shellcheck disable=SC2016 # it is for the shell that arid starts
preflight='printf "%s\n" "$ARID_HOOK_FILES" | while read -r file; do cat "$file" >/dev/null || exit; done'
# How it is told. One that is not running needs not be.
# shellcheck disable=SC2016 # as above
reload='[ ! -s /run/mosquitto/mosquitto.pid ] || kill -HUP "$(cat /run/mosquitto/mosquitto.pid)"'
preflight=${MOSQUITTO_PREFLIGHT-$preflight} reload=${MOSQUITTO_RELOAD-$reload}
# Where to look whether it is shown, such as localhost:8883.
verify=${MOSQUITTO_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --owner "root:$(id -gn "$user")" \
	--parts key --mode 0640 --to "$tls/{name}.key" --parts fullchain --mode 0644 --to "$tls/{name}.pem" \
	--preflight "$preflight" --as "$user" --reload "$reload" ${verify:+--verify "$verify"}
