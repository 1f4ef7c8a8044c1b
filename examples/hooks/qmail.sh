#!/bin/sh
# Certificates into qmail with TLS: key and chain in one file, which is read for each
# connection, so that nothing has to be reloaded.
#
#   arid sign --algo rsa2048 --hook /etc/arid/qmail.sh mail.example.org
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

# Which certificate, by its folder in CERTDIR, where there are several.
name=${QMAIL_NAME-}
# clientcert.pem, where there is one, is often a link to it.
file=${QMAIL_FILE-/var/qmail/control/servercert.pem}
# Who reads it.
owner=${QMAIL_OWNER-qmaild:qmail}

case ${1-} in
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
# NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP
# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
[ "${name:-$alias}" = "$alias" ] || exit 0

# The TLS patch loads keys of the kind RSA alone. With another one the file stays as it
# is, and this is called again by later runs.
if ! openssl rsa -in "$3" -noout 2>/dev/null; then
	echo "qmail.sh: $alias has no RSA key: arid sign --algo rsa2048" >&2
	exit 1
fi
exec arid install "$alias" --out "$CERTDIR" \
	--parts fullchain,key --owner "$owner" --mode 0640 --to "$file"
