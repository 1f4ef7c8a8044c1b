#!/bin/sh
# Certificates into Exim: NAME.key and NAME.pem for each, for
#
#   tls_certificate = /etc/exim4/tls/NAME.pem
#   tls_privatekey  = /etc/exim4/tls/NAME.key
#
# "mkdir /etc/exim4/tls" first. Exim reads them as its own user, and has no TLS at all
# when it cannot. NAME is the certificate's folder in CERTDIR.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${EXIM_TLS-/etc/exim4/tls}
user=${EXIM_USER-Debian-exim}
# How Exim checks its configuration. It need not be told: it sees that the files are new.
preflight='exim4 -bV >/dev/null'
preflight=${EXIM_PREFLIGHT-$preflight}
# Where to look whether it is shown, such as localhost:25/smtp. It may take some seconds.
verify=${EXIM_VERIFY-}

case ${1-} in
deploy_cert) ;; # what fails here is owed, and tried again
*) exit 0 ;;    # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --owner "root:$(id -gn "$user")" \
	--parts key --mode 0640 --to "$tls/{name}.key" --parts fullchain --mode 0644 --to "$tls/{name}.pem" \
	--preflight "$preflight" ${verify:+--verify "$verify"}
