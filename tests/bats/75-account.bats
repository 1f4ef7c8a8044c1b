#!/usr/bin/env bats
# The account at a real CA: what it shows, a new key, kills while it changes, its
# end. dehydrated goes on with the account that has another key.

load helper

setup() {
  export HOME=$T/home ARID_BASEDIR=$T/base
  start_world
  export ARID_CA=$DIRECTORY ARID_CA_BUNDLE=$CA_FILE ARID_WELLKNOWN=$WELLKNOWN
}
teardown() { stop_all; }

key() { cat "$T"/base/accounts/*/account_key.pem; }

@test "L12: an account is shown, changed, given another key, and ended" {
  url=$(arid register --accept-terms --contact a@example.test 2>/dev/null)
  run -0 --separate-stderr arid account update --contact b@example.test
  [ -z "$output$stderr" ]
  old=$(key)
  run -0 --separate-stderr arid account rollover
  [ -z "$output$stderr" ]
  [ "$(key)" != "$old" ]
  run -0 --separate-stderr arid account show
  [ "${lines[0]}" = "account   $url" ]
  [ "${lines[1]}" = "status    valid" ]
  [ "${lines[2]}" = "contacts  mailto:b@example.test" ]
  arid sign a.example.test
  run -64 arid account deactivate
  run -0 arid account deactivate --yes
  run -78 arid sign -x a.example.test
  [[ $output == *deactivated* ]]
}

@test "killed at any moment of a rollover, the account goes on" {
  url=$(arid register --accept-terms 2>/dev/null)
  killed=0
  for ms in {005..150..5}; do
    status=0
    timeout -s KILL "0.$ms" arid account rollover || status=$?
    case $status in
      137) killed=$((killed + 1)) ;;
      0) ;;
      *) fail "after $ms ms: status $status" ;;
    esac
    run -0 --separate-stderr arid account show
    [ "${lines[0]}" = "account   $url" ] || fail "after $ms ms: $output"
    [ ! -e "$(echo "$T"/base/accounts/*/)account_key.next.pem" ]
  done
  [ "$killed" -gt 0 ]
  arid sign a.example.test
}

@test "dehydrated goes on with the account that has another key" {
  cat >"$T/config" <<EOC
BASEDIR="$T/base"
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
KEY_ALGO=prime256v1
ACCOUNT_KEY_ALGO=rsa
ACCOUNT_KEYSIZE=2048
EOC
  mkdir -p "$T/base"
  dehydrated -f "$T/config" --register --accept-terms >"$T/log" 2>&1 || fail "$(cat "$T/log")"
  unset ARID_BASEDIR ARID_CA
  old=$(key)
  arid account rollover -f "$T/config"
  [ "$(key)" != "$old" ]
  dehydrated -f "$T/config" --cron --domain b.example.test >"$T/log" 2>&1 || fail "$(cat "$T/log")"
  for _ in 1 2; do
    dehydrated -f "$T/config" --cron --domain b.example.test --force >"$T/log" 2>&1 || fail "$(cat "$T/log")"
  done
  arid cleanup -f "$T/config"
  left=("$T/base/certs/b.example.test"/privkey-*.pem)
  archived=("$T/base/archive/b.example.test"/privkey-*.pem)
  [ "${#left[@]}" -eq 1 ]
  [ "${#archived[@]}" -eq 2 ]
  dehydrated -f "$T/config" --cron --domain b.example.test >"$T/log" 2>&1 || fail "$(cat "$T/log")"
  grep -q 'Skipping renew' "$T/log"
  run -0 --separate-stderr arid cleanup -f "$T/config" --forget b.example.test
  [ -z "$output$stderr" ]
  [ ! -e "$T/base/certs/b.example.test" ]
  [ -e "$(echo "$T"/base/archive/b.example.test-*/cert.pem)" ]
}
