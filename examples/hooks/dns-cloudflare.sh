#!/bin/sh
# dns-01 with Cloudflare's API. Needs curl and jq.
#
#   CLOUDFLARE_TOKEN_FILE=/etc/arid/cloudflare.token \
#       arid sign -t dns-01 -k /etc/arid/dns-cloudflare.sh example.org '*.example.org'
#
# An API token (not the global key) with the permissions Zone:Read and DNS:Edit. With
# CLOUDFLARE_ZONE_ID, DNS:Edit is enough.
# shellcheck disable=SC2016  # the filters are jq's
set -eu

token=${CLOUDFLARE_TOKEN_FILE-/etc/arid/cloudflare.token} # its first line
zone_id=${CLOUDFLARE_ZONE_ID-}                            # empty: it is looked for
url=${CLOUDFLARE_URL-https://api.cloudflare.com/client/v4}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) action=add ;;
clean_challenge) action=delete ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -r "$token" ] || fail "cannot read the token in $token"

# json FILTER...: jq on what the API answered.
json() { printf '%s\n' "$answer" | jq "$@"; }

# refused CODE...: did the API refuse, for one of these reasons?
refused() { json -e --arg codes " $* " '[.errors[]? | select(" \(.code) " as $code | $codes | contains($code))] != []' >/dev/null; }

# api ARGUMENT...: curl with the token, which it gets by stdin, since everybody can see
# arguments. Sets answer; its status is whether the API did it.
api() {
	answer=$(sed -n '1{s/[\\"]/\\&/g;s/.*/header = "Authorization: Bearer &"/p;}' "$token" |
		curl -sS --max-time 30 -K - -H 'Content-Type: application/json' "$@") || fail "$url does not answer"
	json -e .success >/dev/null 2>&1
}

# why: what the API says was wrong.
why() {
	json -r '[.errors[] | ., .error_chain[]? | "\(.message) (\(.code))"] | join(", ")' 2>/dev/null ||
		printf '%s' "no answer in JSON"
}

# find_zone RECORD: sets zone, the id of the one that the record is in.
find_zone() {
	zone=$zone_id name=$1
	until [ -n "$zone" ]; do
		api -G --data-urlencode "name=$name" "$url/zones" || fail "looking for the zone of $1: $(why)"
		zone=$(json -r '.result[0].id // empty')
		case $name in
		*.*) name=${name#*.} ;;
		*) break ;;
		esac
	done
	[ -n "$zone" ] || fail "this token has no zone for $1"
}

# add RECORD VALUE: beside others. NAME and *.NAME have a record each, under the same
# name. 81057 and 81058: it is there already.
add() {
	api "$url/zones/$zone/dns_records" --data-binary "$(
		jq -nc --arg name "$1" --arg value "\"$2\"" '{type: "TXT", name: $name, content: $value, ttl: 60}'
	)" || refused 81057 81058 || fail "adding $1: $(why)"
}

# delete RECORD VALUE: only this value. 81044: it has gone already.
delete() {
	api -G -d type=TXT -d per_page=100 --data-urlencode "name.exact=$1" "$url/zones/$zone/dns_records" ||
		fail "looking for $1: $(why)"
	for id in $(json -r --arg value "$2" '.result[] | select(.content == $value or .content == "\"\($value)\"") | .id'); do
		api -X DELETE "$url/zones/$zone/dns_records/$id" || refused 81044 || fail "deleting $1: $(why)"
	done
}

# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the record
# belongs once CNAMEs have been followed; dehydrated does not.
records=${ARID_HOOK_RECORD-}
while [ "$#" -ge 3 ]; do
	record=${records%% *}
	records=${records#"$record"}
	records=${records# }
	record=${record:-_acme-challenge.$1}
	find_zone "$record"
	"$action" "$record" "$3"
	shift 3
done
