#!/bin/sh
# A plugin for Nagios, Icinga and their kin: how far the certificates of arid are.
# Needs jq. It must see what arid sees: let NRPE call it by sudo, or as arid's user.
#
#   check_arid.sh [-w PERCENT] [-c PERCENT] [NAME...]
#
# -w and -c: how much of a certificate's lifetime may be over (80, 90). arid renews at
# two thirds, or at the half where the lifetime is under ten days; so the same numbers
# do for certificates of 90 days and of six, and there is time left in both cases.
#
# critical  over -c; expired, missing, revoked, or not fitting its key or its names
# warning   over -w; the last attempt failed, a deployment is owed, a certificate that
#           no line of domains.txt covers
# unknown   arid or jq failed; no certificate; a state that this does not know
set -u

unknown() {
	printf 'ARID UNKNOWN - %s\n' "$1"
	exit 3
}
percent() {
	case $1 in
	'' | *[!0-9]* | ????*) unknown "not a percentage: -w, -c" ;;
	esac
}

warning=80 critical=90
while getopts w:c: option; do
	case $option in
	w) warning=$OPTARG ;;
	c) critical=$OPTARG ;;
	*) unknown "usage: check_arid.sh [-w PERCENT] [-c PERCENT] [NAME...]" ;;
	esac
done
shift $((OPTIND - 1))
percent "$warning"
percent "$critical"

status=$(arid status --json "$@") || unknown "arid status: exit status $?"

# Names and errors come from elsewhere, and what a plugin says goes through shells, on
# its way into a mail: of all but plain characters nothing is left.
result=$(printf '%s\n' "$status" | jq -rs --argjson w "$warning" --argjson c "$critical" '
	def plain: gsub("[^A-Za-z0-9 .,:;/()_@%+-]"; "_");
	def level:
		if .schema != 1 then 3
		elif (.spent // 0) * 100 >= $c then 2
		elif .state | IN("expired", "missing", "mismatch", "revoked") then 2
		elif (.spent // 0) * 100 >= $w then 1
		elif .state | IN("failed", "owed", "orphan") then 1
		elif .state | IN("ok", "due", "held") then 0
		else 3 end;
	def word: ["OK", "WARNING", "CRITICAL", "UNKNOWN"][.];
	def text: "\(.name) \(.state)"
		+ (if .spent then ", \(.spent * 100 | floor)% spent, until \(.not_after)" else "" end)
		+ (if (.error // "") != "" then ": \(.error)" else "" end) | plain;
	def perfdata: "\u0027\(.name | plain)\u0027=\(.spent * 100 | floor)%;\($w);\($c);0;100";

	# The worst first: critical, warning, unknown, ok; then who has the least time left.
	map(. + {level: level}) | sort_by([3, 1, 0, 2][.level], -(.spent // 2))
	| if length == 0 then 3, "ARID UNKNOWN - no certificate" else
		.[0].level,
		"ARID \(.[0].level | word) - \(map(select(.level == 0)) | length) of \(length) are well"
			+ (if .[0].level > 0 then "; " + (.[0] | text) else "" end)
			+ " | " + (map(select(.spent) | perfdata) | join(" ")),
		(.[1:][] | select(.level > 0) | "\(.level | word): \(text)")
	end') || unknown "what arid status says is not understood"

printf '%s\n' "$result" | tail -n +2
exit "$(printf '%s\n' "$result" | head -n 1)"
