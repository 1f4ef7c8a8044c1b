#!/bin/sh
# tests/setup.sh [PACKAGE...]: installs what is missing of these packages, or of
# those that `make test` needs, on Debian, as root. Services that come with the
# packages are not started: where there is no policy-rc.d, one that refuses stands
# in its place meanwhile.
set -eu

packages=${*:-bats gcc libc6-dev shellcheck dash openssl curl acl strace jq lighttpd lighttpd-mod-openssl bind9 bind9-dnsutils bind9-utils dehydrated dehydrated-hook-ddns-tsig pdns-server pdns-backend-sqlite3 sqlite3 knot iproute2 snooze s6 execline runit busybox-static cron openrc prometheus-node-exporter systemd wget procps nginx libnginx-mod-stream haproxy ucspi-tcp openbsd-inetd daemontools libnet-ssleay-perl openssh-server dnsmasq-base lexicon socat rsync acme-tiny}
policy=/usr/sbin/policy-rc.d
mark="# arid: tests/setup.sh put this here for the time of an installation"

missing=
for p in $packages; do
  case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null || :) in
    "install ok installed") ;;
    *) missing="$missing $p" ;;
  esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "needed are these Debian packages, and can install them only on Debian and as root:$missing" >&2
  exit 1
fi

# One at a time: the lock is on a directory that is always there.
exec 9</usr/sbin
flock 9

set_aside=
tidy() {
  if [ -e "$policy" ] && grep -qF "$mark" "$policy"; then
    rm -f "$policy"
  fi
  if [ -n "$set_aside" ]; then
    mv "$set_aside" "$policy"
  fi
}
trap tidy EXIT
trap 'exit 1' HUP INT TERM
if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
  set_aside=$policy.before-arid
  mv "$policy" "$set_aside"
fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

install() {
  # shellcheck disable=SC2086  # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing 9<&-
}
echo "installing:$missing"
if ! install; then
  echo "again, with fresh package lists"
  apt-get update -q 9<&-
  install
fi
