#!/bin/sh
# dns-01 by hand: says which TXT records are wanted, and waits for Enter.
#
#   arid sign -t dns-01 --hook-chain -k /etc/arid/dns-manual.sh example.org '*.example.org'
#
# With HOOK_CHAIN it asks once for all names. Where there is no terminal, it says what
# is wanted and fails at once.
set -eu

event=${1-}
[ "$#" -eq 0 ] || shift

case $event in
deploy_challenge | clean_challenge) ;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
[ "${CHALLENGETYPE-dns-01}" = dns-01 ] || exit 0

# show NAME TOKEN VALUE...: the records, a line each. arid says where they belong once
# CNAMEs have been followed; dehydrated does not. NAME and *.NAME have a record each,
# under the same name.
show() {
	records=${ARID_HOOK_RECORD-}
	while [ "$#" -ge 3 ]; do
		record=${records%% *}
		records=${records#"$record"}
		records=${records# }
		printf '  %s. TXT "%s"\n' "${record:-_acme-challenge.$1}" "$3"
		shift 3
	done
}

terminal=yes
(exec </dev/tty) 2>/dev/null || terminal=no

case $event-$terminal in
deploy_challenge-yes)
	{
		echo "These records are wanted, beside those that are there:"
		show "$@"
		printf 'Press Enter when they are there. '
	} >/dev/tty
	read -r _ </dev/tty
	;;
deploy_challenge-no)
	{
		echo "${0##*/}: there is no terminal to ask on; these records are wanted:"
		show "$@"
	} >&2
	exit 1
	;;
clean_challenge-yes)
	{
		echo "These records may go:"
		show "$@"
	} >/dev/tty
	;;
esac
