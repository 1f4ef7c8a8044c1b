#!/bin/sh
# dns-01 with dnsmasq as the authoritative server of a small zone: a txt-record for
# each value in a file of its own, and a restart.
#
#   arid sign -t dns-01 --hook-chain -k /etc/arid/dns-dnsmasq.sh example.org '*.example.org'
#
# dnsmasq does not read such records again on a signal, it has to be restarted; with
# HOOK_CHAIN that is twice for a certificate. dnsmasq.conf needs
#
#   auth-server=ns1.example.org,eth0
#   auth-zone=example.org
#   conf-dir=/etc/dnsmasq.d,*.conf
set -eu

dir=${DNSMASQ_DIR-/etc/dnsmasq.d}
restart=${DNSMASQ_RESTART-systemctl restart dnsmasq} # a line for sh

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

fail() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

[ -d "$dir" ] || fail "no folder $dir"

# NAME TOKEN VALUE, several times over with HOOK_CHAIN. arid says where the record
# belongs once CNAMEs have been followed; dehydrated does not.
records=${ARID_HOOK_RECORD-} changed=no
while [ "$#" -ge 3 ]; do
	record=${records%% *}
	records=${records#"$record"}
	records=${records# }
	# NAME and *.NAME have a record each, under the same name: a file for each.
	file=$dir/acme-challenge-$3.conf
	case $event in
	deploy_challenge)
		# Files that begin with "." are not read.
		printf 'txt-record=%s,%s\n' "${record:-_acme-challenge.$1}" "$3" >"$dir/.acme-challenge-$3"
		mv -f "$dir/.acme-challenge-$3" "$file"
		changed=yes
		;;
	clean_challenge)
		[ ! -e "$file" ] || changed=yes
		rm -f "$file"
		;;
	esac
	shift 3
done

[ "$changed" = no ] || sh -c "$restart" || fail "dnsmasq cannot be restarted: $restart"
