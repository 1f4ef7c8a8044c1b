#!/bin/sh
# Certificates into Apache: NAME.key and NAME.pem for each, for
#
#   SSLCertificateFile    /etc/apache2/tls/NAME.pem
#   SSLCertificateKeyFile /etc/apache2/tls/NAME.key
#
# "mkdir -m 700 /etc/apache2/tls" first: Apache reads them as root. NAME is the
# certificate's folder in CERTDIR. arid sees to it that the key fits, before it touches
# these files.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${APACHE_TLS-/etc/apache2/tls}
# How Apache checks its configuration, speaking only of mistakes, and how it is told
# ("graceful"). One that is not running needs not be.
# shellcheck disable=SC2016 # they are for the shell that arid starts
preflight='said=$(apachectl configtest 2>&1) || { printf "%s\n" "$said"; exit 1; }'
# shellcheck disable=SC2016
reload='[ ! -s /run/apache2/apache2.pid ] || kill -USR1 "$(cat /run/apache2/apache2.pid)"'
preflight=${APACHE_PREFLIGHT-$preflight} reload=${APACHE_RELOAD-$reload}
# Where to look whether it is shown, such as www.example.org:443, once Apache runs.
verify=${APACHE_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A graceful restart
# for each certificate cuts nobody off.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" \
	--parts key --to "$tls/{name}.key" --parts fullchain --to "$tls/{name}.pem" \
	--preflight "$preflight" --reload "$reload" ${verify:+--verify "$verify"}
