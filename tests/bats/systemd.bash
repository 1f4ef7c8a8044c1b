# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154  # scripts are quoted; what is set here is for the tests, and what helper.bash sets for us
# A systemd of a test's own, with the units that the test puts there.
#
#   load helper
#   load systemd
#   teardown() { end_systemd; stop_all; }

# start_systemd: a systemd with T/units and nothing else, in a cgroup and namespaces of
# its own; the network is everybody's. What units with PrivateTmp= would not see is at
# /srv there, T at /srv/t and FILE_T at /srv/f; arid is in /usr/local/bin.
start_systemd() {
  local unit inside='
    mount -t tmpfs tmpfs /run
    mkdir /run/lock
    mount -t tmpfs tmpfs /srv
    mkdir /srv/t /srv/f
    mount --bind "$1" /srv/t
    mount --bind "$2" /srv/f
    mount --bind /srv/t/local /usr/local/bin
    umount -R -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH=/srv/t/units /lib/systemd/systemd --system \
      --unit=basic.target --log-target=console --show-status=no'
  CGROUP=$(findmnt -n -l -t cgroup2 -o TARGET | head -n 1)/arid-test-$$
  mkdir "$CGROUP" 2>/dev/null || skip "no cgroup for a systemd of our own"
  for unit in sysinit basic shutdown network-online sockets; do
    printf '[Unit]\nDefaultDependencies=no\n' >"$T/units/$unit.target"
  done
  mkdir "$T/local"
  cp "$BUILD/arid" "$T/local/"
  start_server systemd.log sh -euc '
    echo $$ >"$1/cgroup.procs"
    shift
    exec unshare --mount --pid --fork --kill-child --mount-proc --cgroup --uts --ipc --propagation private \
      sh -euc "$@"' sh "$CGROUP" "$inside" sh "$T" "$FILE_T"
  SYSTEMD_PARENT=$STARTED
  await pgrep -P "$SYSTEMD_PARENT" -x systemd >"$T/systemd.pid"
  SYSTEMD=$(cat "$T/systemd.pid")
  await in_systemd systemctl --quiet is-active basic.target
}

# in_systemd PROGRAM ARGUMENT...: runs it there.
in_systemd() { nsenter -t "$SYSTEMD" --mount --pid --cgroup --uts --ipc -- "$@" 2>>"$T/systemd.log"; }

# end_systemd: and all that it has started. Its parent is in the cgroup, too.
end_systemd() {
  [ -d "${CGROUP:-/none}" ] || return 0
  kill -KILL "${SYSTEMD:-$SYSTEMD_PARENT}"
  wait "$SYSTEMD_PARENT" || :
  find "$CGROUP" -depth -type d -exec rmdir {} +
}
