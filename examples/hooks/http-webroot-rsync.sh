#!/bin/sh
# http-01 where other hosts answer on port 80: takes the tokens to their webroots, and
# away again, by rsync.
#
#   HTTP_TARGETS="www1.example.org:/var/www/dehydrated www2.example.org:/var/www/dehydrated" \
#       arid sign -k /etc/arid/http-webroot-rsync.sh example.org
#
# A target is what rsync takes (HOST:DIR, rsync://HOST/MODULE, DIR); the web server there
# shows it as /.well-known/acme-challenge/.
set -eu

targets=${HTTP_TARGETS-} # blanks between

# Nobody is there to be asked for a password.
export RSYNC_RSH="${RSYNC_RSH-ssh -oBatchMode=yes -oConnectTimeout=15}"

# Where arid puts the tokens; arid and dehydrated say it.
wellknown=${WELLKNOWN:-/var/www/dehydrated}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-http-01}" = http-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -n "$targets" ] || fail "where to? Set HTTP_TARGETS"

# NAME TOKEN VALUE, several times over with HOOK_CHAIN, become arguments of rsync. A
# token may begin with "-": it stands behind a "/" everywhere.
left=$#
while [ "$left" -ge 3 ]; do
	case $event in
	deploy_challenge) set -- "$@" "$wellknown/$2" ;;
	clean_challenge) set -- "$@" "--include=/$2" ;;
	esac
	shift 3
	left=$((left - 3))
done

# The token's file is in WELLKNOWN when deploy_challenge is called, and has gone
# before clean_challenge: of these names, rsync deletes what is not there any more.
status=0
for target in $targets; do
	case $event in
	deploy_challenge) rsync --timeout=30 --perms --chmod=F644 "$@" "$target/" ;;
	clean_challenge) rsync --timeout=30 --recursive --delete --existing --ignore-existing "$@" --exclude='*' "$wellknown/" "$target/" ;;
	esac || {
		printf '%s: rsync to %s: status %s\n' "${0##*/}" "$target" "$?" >&2
		status=1
	}
done
exit "$status"
