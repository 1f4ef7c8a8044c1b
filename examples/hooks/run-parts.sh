#!/bin/sh
# Many hooks instead of one: a folder for each event, and programs in it.
#
#   hooks.d/deploy_cert/10-postfix.sh  hooks.d/deploy_cert/90-notify.sh
#   hooks.d/exit_hook/90-notify.sh     hooks.d/invalid_challenge/90-notify.sh
#
# Each program is called as arid would call it, with the event as the first argument,
# in the order of their names: a hook for several events can be linked into several
# folders. What may not be executed, and what editors and packagers leave behind, is
# not called.
set -eu

folder=${HOOK_FOLDER-$(dirname -- "$0")/hooks.d}

# An event that has no folder, such as those to come: nothing to do is no failure.
case ${1-} in
'' | *[!a-z_]*) exit 0 ;;
esac

status=0
for program in "$folder/$1"/*; do
	case $program in
	*~ | *.bak | *.swp | *.dpkg-* | *.rpm* | *.ucf-*) continue ;;
	esac
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then
		continue
	fi
	if [ "$1" = generate_csr ]; then
		# One CSR can be used: the first that is printed.
		csr=$("$program" "$@")
		[ -z "$csr" ] || exec printf '%s\n' "$csr"
		continue
	fi
	# One that fails does not keep the others from their work. The event has failed
	# then: with sync_cert and deploy_cert arid calls all of them again.
	"$program" "$@" || {
		failed=$?
		printf '%s: %s: exit status %s\n' "$program" "$1" "$failed" >&2
		[ "$status" -ne 0 ] || status=$failed
	}
done
exit "$status"
