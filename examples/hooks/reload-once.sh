#!/bin/sh
# One reload for each server at the end of a run, however many certificates are new.
#
#   HOOK=/etc/arid/reload-once.sh in the config, and there (with export) or here:
set -eu

# A line for each server: which certificates it has, as a pattern of their folders'
# names, and the command. A command that stands in several lines is run once.
#   mail.*         systemctl reload postfix dovecot
#   *.example.org  systemctl reload nginx
reloads=${RELOAD_ONCE-'* systemctl reload nginx'}
# Here is noted which certificates are new since every server was told.
pending=${RELOAD_PENDING-${BASEDIR:-/var/lib/arid}/reload-once}

PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin # cron has less

# concerns PATTERN: does it fit one that is new?
concerns() {
	while read -r name; do
		# shellcheck disable=SC2254  # a pattern it is
		case $name in $1) return 0 ;; esac
	done <<EOT
$changed
EOT
	return 1
}

case ${1-} in
deploy_cert)
	# arid says in exit_hook what is new, in ARID_HOOK_CHANGED; dehydrated does
	# not, and neither knows what an earlier run could not tell a server.
	printf '%s\n' "${alias:-$2}" >>"$pending"
	;;
exit_hook)
	# Its failure is a warning, and calls nobody again. What a server was not told
	# stays noted for the next run that has something to do. "reload-once.sh
	# exit_hook" by hand, or behind "arid renew" in a crontab, tells it now.
	[ ! -e "$pending" ] || mv "$pending" "$pending.$(date +%Y%m%d%H%M%S).$$" # a run beside this one starts anew
	set -- "$pending".*
	[ -e "$1" ] || exit 0
	changed=$(sort -u "$@")
	status=0 ran='
'
	while read -r pattern command; do
		case $ran in *"
$command
"*) continue ;; esac
		if [ -z "$command" ] || ! concerns "$pattern"; then
			continue
		fi
		ran="$ran$command
"
		sh -c "$command" </dev/null || status=1
	done <<EOT
$reloads
EOT
	[ "$status" -ne 0 ] || rm -f "$@"
	exit "$status"
	;;
*) ;; # other events, and those to come: nothing to do is no failure
esac
