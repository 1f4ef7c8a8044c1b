#!/bin/sh
# dns-01 with acme-dns (https://github.com/joohoi/acme-dns), a name server for nothing
# but challenges. Needs curl and jq.
#
#   ACMEDNS_URL=https://auth.example.org \
#       arid sign -t dns-01 -k /etc/arid/dns-acme-dns.sh example.org '*.example.org'
#
# The first time for a name, an account is made there, and the CNAME is told that
# _acme-challenge.NAME has to be from now on; no certificate comes of that run.
# shellcheck disable=SC2016  # the filters are jq's
set -eu

url=${ACMEDNS_URL-}

# The accounts: JSON, for each NAME what /register answered. acme-dns-auth for certbot,
# and lego, keep theirs the same way. Nobody else may read it.
accounts=${ACMEDNS_ACCOUNTS-${BASEDIR:-/var/lib/arid}/acme-dns.json}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) ;;
*) exit 0 ;; # clean_challenge, too: acme-dns keeps the two newest values, and deletes none
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -n "$url" ] || fail "where is acme-dns? Set ACMEDNS_URL"
[ -s "$accounts" ] || (umask 077 && echo '{}' >"$accounts")

# api PATH ARGUMENT...: a POST; stdin is more of curl's configuration. Sets answer.
api() {
	path=$1
	shift
	answer=$(curl -sS --max-time 30 -K - -X POST -w '\n%{http_code}' "$@" "$url/$path") || fail "$url does not answer"
	status=${answer##*[!0-9]}
	answer=${answer%"$status"}
	case $status in 2??) return ;; esac
	fail "$url/$path: HTTP $status: $(printf '%s\n' "$answer" | jq -r .error 2>/dev/null || printf '%s' "$answer")"
}

# of NAME FILTER: jq on the account of NAME.
of() { jq -r --arg name "$1" ".[\$name] | $2" "$accounts"; }

# register NAME: where there is none, makes an account, keeps it, and says what has to be
# done.
register() {
	[ "$(of "$1" type)" = null ] || return 0
	api register </dev/null
	file=$(mktemp "$accounts.XXXXXX")
	printf '%s\n' "$answer" | jq --arg name "$1" --slurpfile old "$accounts" '$old[0] + {($name): .}' >"$file"
	mv -f "$file" "$accounts"
	new="$new
  _acme-challenge.$1. CNAME $(of "$1" .fulldomain)."
}

# update NAME VALUE: takes the place of the older of two values, so that those of NAME
# and *.NAME are both there. The password goes by stdin, since everybody can see
# arguments.
update() {
	data=$(of "$1" "{subdomain, txt: \"$2\"}")
	api update -H 'Content-Type: application/json' --data-binary "$data" <<-END
		$(of "$1" '@text "header = \("X-Api-User: " + .username | tojson)\nheader = \("X-Api-Key: " + .password | tojson)"')
	END
}

# each FUNCTION NAME TOKEN VALUE..., several times over with HOOK_CHAIN.
each() {
	function=$1
	shift
	while [ "$#" -ge 3 ]; do
		"$function" "$1" "$3"
		shift 3
	done
}

new=
each register "$@"
[ -z "$new" ] || fail "accounts have been made; try again once there are these records:$new"
each update "$@"
