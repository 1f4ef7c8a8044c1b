#!/bin/sh
# Certificates into Prosody: HOST.key and HOST.crt in the directory where it looks for
# those of its hosts. HOST is the certificate's folder in CERTDIR.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${PROSODY_TLS-/etc/prosody/certs}
user=${PROSODY_USER-prosody}
# As its own user: can Prosody read the files, and its configuration? ("prosodyctl check"
# would find fault with other hosts, too.)
# shellcheck disable=SC2016 # it is for the shell that arid starts
readable='printf "%s\n" "$ARID_HOOK_FILES" | while read -r file; do cat "$file" >/dev/null || exit; done'
preflight='prosodyctl --config /etc/prosody/prosody.cfg.lua about >/dev/null'
# How it is told. One that is not running needs not be.
# shellcheck disable=SC2016 # as above
reload='[ ! -s /run/prosody/prosody.pid ] || kill -HUP "$(cat /run/prosody/prosody.pid)"'
preflight=${PROSODY_PREFLIGHT-$preflight} reload=${PROSODY_RELOAD-$reload}
# Where to look whether it is shown: a port of c2s_direct_tls_ports, such as localhost:5223.
verify=${PROSODY_VERIFY-}

case ${1-} in
# Not exit_hook: what fails here is owed, there it would be a warning. A reload is
# cheap, so that one for each certificate does no harm.
deploy_cert) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac

# shellcheck disable=SC2154  # alias and CERTDIR come from arid, and from dehydrated
exec arid install "$alias" --out "$CERTDIR" --owner "root:$(id -gn "$user")" \
	--parts key --mode 0640 --to "$tls/{name}.key" --parts fullchain --mode 0644 --to "$tls/{name}.crt" \
	--preflight "$readable${preflight:+ && $preflight}" --as "$user" --reload "$reload" ${verify:+--verify "$verify"}
