#!/bin/sh
# Certificates into Postfix: NAME.pem, key and chain in one file, for
#
#   smtpd_tls_chain_files = /etc/postfix/tls/NAME.pem
#
# "mkdir -m 700 /etc/postfix/tls" first: Postfix reads it as root. NAME is the
# certificate's folder in CERTDIR. An RSA and an ECDSA certificate are two files there,
# with a comma between.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${POSTFIX_TLS-/etc/postfix/tls}
# How Postfix checks its configuration, and is told. One that is not running needs not be.
preflight='postfix -c /etc/postfix check'
# shellcheck disable=SC2016 # it is for the shell that arid starts
reload='c=/etc/postfix; ! postfix -c "$c" status 2>/dev/null || postfix -c "$c" reload 2>/dev/null'
preflight=${POSTFIX_PREFLIGHT-$preflight} reload=${POSTFIX_RELOAD-$reload}
# Where to look whether it is shown, such as localhost:25/smtp. Postfix itself says
# nothing of a certificate that it cannot use until somebody asks for TLS.
verify=${POSTFIX_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# The key has to stand before the chain.
# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --parts key,fullchain --to "$tls/{name}.pem" \
	--preflight "$preflight" --reload "$reload" ${verify:+--verify "$verify"}
