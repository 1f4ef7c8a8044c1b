#!/bin/sh
# "arid renew", and then a ping to a service that raises an alarm when pings stay
# away, or when one says so: Healthchecks and those with URLs like its own.
#
#   PING_URL=https://hc-ping.com/UUID ping.sh [FLAG...]     flags of "arid renew"
#
# all is well           URL
# status 75, try later  none: an outage is nothing yet, and if no ping comes for
#                       longer than the service was told to wait, it is
# any other status      URL/STATUS; with PING_FAIL=fail, URL/fail
#
# The script's own status is that of the renewal, whatever becomes of the ping, and
# nothing but that status leaves the host. Needs curl or wget, busybox's too.
set -u

: "${PING_URL:?the URL to ping}"

# ping URL
ping() {
	if command -v curl >/dev/null; then
		curl -fsS -m 10 --retry 3 -o /dev/null "$1"
	else
		timeout 30 wget -q -O /dev/null "$1"
	fi
}

status=0
arid renew "$@" || status=$?
case $status in
0) url=$PING_URL ;;
75) exit 75 ;;
*) url=$PING_URL/${PING_FAIL:-$status} ;;
esac
ping "$url" || echo "ping.sh: the ping failed" >&2
exit "$status"
