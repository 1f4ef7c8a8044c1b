# shellcheck shell=bash
# Once before all files: build arid and what it is tested against into build/,
# so that `bats tests/bats/one.bats` works by itself. Where little has changed
# since, this takes a second; none where TEST_BUILT says that it is done.

setup_suite() {
  local top
  top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd) || return 1
  [ -n "${TEST_BUILT:-}" ] || make -s -C "$top" test-tools >&2 || return 1
  umask 022 # for bats' directories too: other users have to get through them
  # What the caller has set for arid or for a Pebble of his own is not ours.
  local name
  for name in $(compgen -e); do
    case $name in ARID_*|PEBBLE_*) unset "$name" ;; esac
  done
  unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy
}
