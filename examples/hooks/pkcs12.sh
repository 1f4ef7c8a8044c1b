#!/bin/sh
# Key and chain in one PKCS#12 file, for Java, Windows and appliances.
#
#   HOOK=/etc/arid/pkcs12.sh in the config, and there (with export) or here:
set -eu

# The file; {name} in it is the certificate's folder. Its directory must be there.
file=${PKCS12_FILE-/etc/ssl/private/'{name}'.p12}
# Its password is the first line of this file: no argument shows it.
password=${PKCS12_PASSWORD_FILE-/etc/arid/pkcs12.password}
mode=${PKCS12_MODE-0600}
owner=${PKCS12_OWNER-}     # USER, or USER:GROUP
options=${PKCS12_OPTIONS-} # for openssl, such as -legacy for what cannot read AES
reload=${PKCS12_RELOAD-}   # a shell line that tells the server

# deploy_cert NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP: arid calls it again if it fails.
[ "${1-}" = deploy_cert ] || exit 0
[ -z "${ARID_HOOK_REHEARSAL-}" ] || exit 0 # with a certificate that nobody trusts

name=${alias:-$2}
case $file in
*'{name}'*) file=${file%%'{name}'*}$name${file#*'{name}'} ;;
esac

# It is made whole beside its place, closed to all others, and then gets its name.
umask 077
new=$(mktemp "$(dirname -- "$file")/.arid.XXXXXX")
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
# shellcheck disable=SC2086  # options are words
openssl pkcs12 -export -inkey "$3" -in "$5" -name "$name" -passout "file:$password" $options -out "$new"
[ -z "$owner" ] || chown -- "$owner" "$new"
chmod -- "$mode" "$new"
mv -f -- "$new" "$file"

[ -z "$reload" ] || sh -c "$reload" </dev/null
