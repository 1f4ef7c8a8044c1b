#!/bin/sh
# Certificates into nginx: NAME.key and NAME.pem for each, for
#
#   ssl_certificate     /etc/nginx/tls/NAME.pem;
#   ssl_certificate_key /etc/nginx/tls/NAME.key;
#
# "mkdir -m 700 /etc/nginx/tls" first: nginx reads them as root. NAME is the
# certificate's folder in CERTDIR. If nginx would not take the files, or does not
# show them, those of before come back, and arid tries again later.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${NGINX_TLS-/etc/nginx/tls}
# How nginx checks its configuration, and is told. One that is not running needs not be.
preflight='nginx -t -q -c /etc/nginx/nginx.conf'
# shellcheck disable=SC2016 # it is for the shell that arid starts
reload='[ ! -s /run/nginx.pid ] || kill -HUP "$(cat /run/nginx.pid)"'
preflight=${NGINX_PREFLIGHT-$preflight} reload=${NGINX_RELOAD-$reload}
# Where to look whether it is shown, such as www.example.org:443, once nginx runs. A
# reload that fails goes unnoticed otherwise: nginx goes on with what it had.
verify=${NGINX_VERIFY-}

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
