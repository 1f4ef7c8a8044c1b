#!/bin/sh
# A mail, or a command, when something failed; and for new certificates, if wanted.
#
#   HOOK=/etc/arid/notify.sh in the config, and there (with export) or here:
set -eu

to=${NOTIFY_TO-root}
from=${NOTIFY_FROM-}
sendmail=${NOTIFY_SENDMAIL-/usr/sbin/sendmail}
# A shell line instead of the mail: its input is the text, $NOTIFY_SUBJECT the subject.
command=${NOTIFY_COMMAND-}
renewals=${NOTIFY_RENEWALS-no} # yes: of new certificates, too
# The same failure is told once in so many days, however often arid runs.
days=${NOTIFY_DAYS-1}
state=${NOTIFY_STATE-${BASEDIR:-/var/lib/arid}/notify}

# note KEY: what is on stdin goes into the mail at the end of the run, unless KEY was
# told already. Much of it is the CA's: some lines of it, and nothing but letters.
note() {
	mkdir -p "$state"
	find "$state" -name 'told-*' -mtime "+$((days - 1))" -exec rm -f {} +
	told=$state/told-$(printf '%s' "$1" | LC_ALL=C tr -c 'A-Za-z0-9.*-' _ | cut -c 1-200)
	[ ! -e "$told" ] || return 0
	{
		LC_ALL=C tr -c '\12\40-\176' ' ' | head -n 30 | cut -c 1-500
		echo
	} >>"$state/notes"
	: >"$told"
}

# tell: all that is noted, in one message. If that fails it stays noted.
tell() {
	[ -s "$state/notes" ] || return 0
	NOTIFY_SUBJECT="certificates on $(uname -n): $(sed 1q "$state/notes")"
	export NOTIFY_SUBJECT
	if [ -n "$command" ]; then
		sh -c "$command" <"$state/notes"
	else
		{
			[ -z "$from" ] || printf 'From: %s\n' "$from"
			printf 'To: %s\nSubject: %s\nAuto-Submitted: auto-generated\n\n' "$to" "$NOTIFY_SUBJECT"
			cat "$state/notes"
		} | "$sendmail" -i -t
	fi
	rm -f "$state/notes"
}

umask 077
case ${1-} in
invalid_challenge)
	# NAME RESPONSE: the CA could not validate NAME.
	note "$1 $2" <<EOT
$2: the CA could not validate this name
${3-}
EOT
	;;
request_failure)
	# STATUS BODY METHOD HEADERS: the CA refused a request.
	note "$1 ${alias-} $2" <<EOT
${alias:-a request}: the CA answered with status $2
${3-}
EOT
	;;
deploy_cert)
	# NAME KEY CERT FULLCHAIN CHAIN TIMESTAMP
	[ "$renewals" = yes ] || exit 0
	note "$1 ${alias:-$2} ${7-}" <<EOT
${alias:-$2}: a new certificate
for ${altnames:-$2}${ARID_HOOK_NOT_AFTER:+, until $ARID_HOOK_NOT_AFTER}
EOT
	;;
exit_hook)
	# The end of a run; an argument says what went wrong.
	[ "$#" -lt 2 ] || note "$1 ${ARID_HOOK_FAILED-}" <<EOT
${ARID_HOOK_FAILED:-a run} failed
$2
EOT
	tell
	;;
*) ;; # other events, and those to come: nothing to do is no failure
esac
[ "${COMMAND-}" != sign_csr ] || tell # no exit_hook follows there
