#!/bin/sh
# Certificates into PostgreSQL: NAME.key and NAME.pem for each, for
#
#   ssl_cert_file = '/etc/postgresql/tls/NAME.pem'
#   ssl_key_file  = '/etc/postgresql/tls/NAME.key'
#
# "mkdir /etc/postgresql/tls" first. NAME is the certificate's folder in CERTDIR.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${POSTGRESQL_TLS-/etc/postgresql/tls}
user=${POSTGRESQL_USER-postgres}
# As its own user: can PostgreSQL read the files?
# shellcheck disable=SC2016 # it is for the shell that arid starts
preflight='printf "%s\n" "$ARID_HOOK_FILES" | while read -r file; do cat "$file" >/dev/null || exit; done'
# How it is told, each cluster. One that is not running needs not be.
# shellcheck disable=SC2016 # as above
reload='for pid in /run/postgresql/*.pid; do [ ! -s "$pid" ] || kill -HUP "$(cat "$pid")"; done'
preflight=${POSTGRESQL_PREFLIGHT-$preflight} reload=${POSTGRESQL_RELOAD-$reload}
# Where to look whether it is shown, such as localhost:5432: PostgreSQL goes on with the
# old one, and says so only in its log, if it does not like the new one.
export verify="${POSTGRESQL_VERIFY-}"

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# arid does not speak what comes before TLS here; openssl does.
# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
export installed="$tls/$alias.pem"
# shellcheck disable=SC2016 # as above
look='[ -n "$verify" ] || exit 0
for try in 1 2 3 4 5 6 7 8 9 10; do
	shown=$(openssl s_client -connect "$verify" -starttls postgres </dev/null 2>/dev/null | openssl x509 -noout -fingerprint 2>/dev/null)
	[ "$shown" != "$(openssl x509 -noout -fingerprint -in "$installed")" ] || exit 0
	sleep 1
done
echo "$verify does not show it" >&2
exit 1'

# The key must be closed to everybody else, or PostgreSQL does not take it.
exec arid install "$alias" --out "$CERTDIR" --owner "$user:$(id -gn "$user")" \
	--parts key --mode 0600 --to "$tls/{name}.key" --parts fullchain --mode 0644 --to "$tls/{name}.pem" \
	--preflight "$preflight" --as "$user" --reload "{ $reload
} || exit
$look"
