#!/bin/sh
# dns-01 with PowerDNS, by the HTTP API of its authoritative server. Needs curl and jq.
#
#   PDNS_KEY_FILE=/etc/arid/pdns.key \
#       arid sign -t dns-01 -k /etc/arid/dns-pdns.sh example.org '*.example.org'
#
# The API and not pdnsutil, because that has to be on the server itself and wants the
# server's rights on its database; both replace all values of a name at once. In
# pdns.conf: api=yes, api-key=…, webserver-allow-from=….
# shellcheck disable=SC2016  # the filters are jq's
set -eu

url=${PDNS_URL-http://127.0.0.1:8081/api/v1/servers/localhost}
key=${PDNS_KEY_FILE-/etc/arid/pdns.key} # the API's key is its first line
ttl=${PDNS_TTL-60}

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge) wanted=1 ;;
clean_challenge) wanted=0 ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -r "$key" ] || fail "cannot read the key in $key"

# json FILTER...: jq on what the API answered.
json() { printf '%s\n' "$answer" | jq "$@"; }

# api PATH ARGUMENT...: curl with the key, which it gets by stdin, since everybody can
# see arguments. Sets answer.
api() {
	path=$1
	shift
	answer=$(sed -n '1{s/[\\"]/\\&/g;s/.*/header = "X-API-Key: &"/p;}' "$key" |
		curl -sS --max-time 30 -K - -w '\n%{http_code}' "$@" "$url/$path") || fail "$url does not answer"
	status=${answer##*[!0-9]}
	answer=${answer%"$status"}
	case $status in 2??) return ;; esac
	fail "$url/$path: HTTP $status: $(json -r .error 2>/dev/null || printf '%s' "$answer")"
}

# find_zone RECORD: sets zone, the API's id of the one that the record is in.
find_zone() {
	name=$1
	while :; do
		api "zones?zone=$name."
		zone=$(json -r '.[0].id // empty')
		[ -z "$zone" ] || return 0
		case $name in
		*.*) name=${name#*.} ;;
		*) fail "$url has no zone for $1" ;;
		esac
	done
}

# put RECORD VALUE: adds it, or takes it away. Only this value: NAME and *.NAME have a
# record each, under the same name. The API replaces all of them at once: so nobody
# else should be at the same name in the same moment.
put() {
	find_zone "$1"
	api "zones/$zone?rrset_name=$1.&rrset_type=TXT"
	change=$(json -c --arg name "$1." --arg value "\"$2\"" --argjson ttl "$ttl" --argjson wanted "$wanted" '
		([.rrsets[] | select(.name == $name and .type == "TXT")][0] // {ttl: $ttl, records: []}) as $old
		| [$old.records[] | select(.content != $value)] + [{content: $value, disabled: false}][:$wanted]
		| {rrsets: [{name: $name, type: "TXT", ttl: $old.ttl, changetype: "REPLACE", records: .}]}')
	api "zones/$zone" -X PATCH -H 'Content-Type: application/json' --data-binary "$change"
}

# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the record
# belongs once CNAMEs have been followed; dehydrated does not.
records=${ARID_HOOK_RECORD-}
while [ "$#" -ge 3 ]; do
	record=${records%% *}
	records=${records#"$record"}
	records=${records# }
	put "${record:-_acme-challenge.$1}" "$3"
	shift 3
done
