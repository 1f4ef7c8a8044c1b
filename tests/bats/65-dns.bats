#!/usr/bin/env bats
# dns-01 through BIND: by hooks, and by arid's own updates; and `arid dns`.

load helper
load servers

setup_file() {
  is_root || return 0
  start_real_world
}
setup() {
  as_root
  arid_world
  export T ARID_CHALLENGETYPE=dns-01 ARID_DNS_RESOLVER=$RESOLVER
  all_txt >"$T/txt"
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

set_of() { printf '%s/certs/%s' "$ARID_BASEDIR" "$1"; }

ZONES="example.test _acme-challenge.own.example.test acme.other.test slow.test dead.test"

# all_txt: every TXT record there is; nothing_left: they are what they were.
all_txt() {
  local zone
  for zone in $ZONES; do
    zone_txt "$zone"
  done
}
nothing_left() { all_txt | diff "$T/txt" -; }

# by WAY ARGUMENT...: arid, with what the way to write records needs. What the
# resolver still knows of the way before is forgotten.
by() {
  local way=$1
  shift
  forget
  case $way in
    nsupdate) NSUPDATE_KEY=$TSIG ARID_DNS_SERVER=$PRIMARY arid "$@" -k "$TOP/examples/hooks/dns-nsupdate.sh" ;;
    arid) ARID_DNS_KEY_FILE=$TSIG arid "$@" -k "$TOP/examples/hooks/dns-arid.sh" ;;
    built-in) arid "$@" --dns-update --dns-key "$TSIG" ;;
  esac
}

# asked: how often Pebble has been told to look.
asked() { grep -c 'Pulled a task' "$FILE_T/pebble.log" || true; }

@test "apex and wildcard together, beside somebody else's record, in every way" {
  put_txt _acme-challenge.example.test theirs
  all_txt >"$T/txt"
  local way
  for way in nsupdate arid built-in; do
    ARID_BASEDIR=$T/$way run -0 by "$way" sign --accept-terms example.test "*.example.test" www.example.test
    printf '%s: %s\n' "$way" "$output"
    [[ $output != *arning* ]]
    verify_chain "$T/$way/certs/example.test/fullchain.pem" example.test
    verify_chain "$T/$way/certs/example.test/fullchain.pem" any.example.test
    nothing_left
  done
  cut_txt _acme-challenge.example.test theirs
}

@test "HOOK_CHAIN: one call for all of it" {
  local way
  for way in nsupdate arid; do
    ARID_BASEDIR=$T/$way by "$way" sign --accept-terms --hook-chain c.example.test "*.c.example.test" d.example.test
    nothing_left
  done
}

@test "a CNAME into another zone, and a zone of the record's own" {
  local way
  for way in nsupdate arid built-in; do
    ARID_BASEDIR=$T/$way by "$way" sign --accept-terms cname.example.test "*.cname.example.test" own.example.test
    verify_chain "$T/$way/certs/cname.example.test/fullchain.pem" w.cname.example.test
    nothing_left
  done
}

@test "a hook is told where the record belongs" {
  # shellcheck disable=SC2016  # the hook's
  printf '#!/bin/sh\n[ "$1" != deploy_challenge ] || { echo "$ARID_HOOK_RECORD" >>"$T/record"; exit 1; }\n' >"$T/hook"
  chmod +x "$T/hook"
  run -1 arid sign --accept-terms -k "$T/hook" cname.example.test
  run -1 arid sign -k "$T/hook" own.example.test
  diff "$T/record" <(printf '%s\n' cname.acme.other.test _acme-challenge.own.example.test)
}

@test "a hook is not told of a name that is no word" {
  # shellcheck disable=SC2016  # the hook's
  printf '#!/bin/sh\n[ "$1" != deploy_challenge ] || { echo "$ARID_HOOK_RECORD" >>"$T/record"; exit 1; }\n' >"$T/hook"
  chmod +x "$T/hook"
  local target
  for target in 'a\032b' '\046\046/\046\046/etc' '-o' 'a\010b' 'a\034b'; do
    printf 'server %s\nupdate delete %s CNAME\nupdate add %s 60 CNAME %s.acme.other.test.\nsend\n' "$PRIMARY" \
      _acme-challenge.odd.example.test. _acme-challenge.odd.example.test. "$target" | nsupdate -k "$FILE_T/admin.key"
    forget
    run -1 arid sign --accept-terms --force -k "$T/hook" odd.example.test
  done
  diff "$T/record" <(printf '_acme-challenge.odd.example.test\n%.0s' 1 2 3 4 5)
}

@test "a key from the environment, which a hook does not get to see" {
  local secret
  secret=$(sed -n 's/.*secret "\(.*\)";/\1/p' "$TSIG")
  printf '#!/bin/sh\nenv >>"$T/env"\n' >"$T/hook"
  chmod +x "$T/hook"
  ARID_DNS_KEY=hmac-sha256:arid-test:$secret arid sign --accept-terms --dns-update -k "$T/hook" env.example.test
  grep -q '^ARID_HOOK_NAME=' "$T/env"
  run ! grep -rF -- "$secret" "$T/env" "$ARID_BASEDIR"
  nothing_left
}

# late NAME: in the background, as soon as the primary has it: shows that the
# CA is not told, and only then lets the secondary have it.
late() {
  (
    await_txt "$PRIMARY" "$1"
    sleep 0.5
    asked >"$T/asked"
    transfer
  ) >/dev/null 3>&- &
}

@test "a secondary that lags: arid waits for it" {
  local before
  before=$(asked)
  late _acme-challenge.w.slow.test
  run -0 by built-in sign --accept-terms w.slow.test
  printf '%s\n' "$output"
  wait
  [ "$(cat "$T/asked")" = "$before" ]
  [[ $output != *arning* ]]
  [ "${#lines[@]}" -eq 1 ]
  nothing_left
}

@test "a secondary that lags for too long: who lacks what, and the CA is told anyway" {
  local before
  before=$(asked)
  run -1 by built-in sign --accept-terms --dns-wait 5s l.slow.test
  printf '%s\n' "$output"
  [ "$(asked)" -eq $((before + 1)) ]
  [[ ${lines[0]} == "arid: warning: "*"ns2.slow.test"*"$SECONDARY"* ]]
  [[ ${lines[0]} == *"_acme-challenge.l.slow.test"* ]]
  [[ ${lines[0]} != *"$PRIMARY"* ]]
  [[ $output == *"hint: "*"dns-some"* ]]
  nothing_left
}

# wrong PATTERN ARGUMENT...: an update that is refused; the CA is not told.
wrong() {
  local pattern=$1 before
  shift
  before=$(asked)
  run arid sign --accept-terms --dns-update --dns-wait 30s wrong.example.test "$@"
  printf '%s: %s\n' "$status" "$output"
  [ "$status" -eq 78 ]
  # shellcheck disable=SC2053  # a pattern
  [[ $output == $pattern ]]
  [ "$(asked)" -eq "$before" ]
  nothing_left
}

@test "wrong keys: unknown to the server, with another secret, without the right, none at all" {
  tsig-keygen -a hmac-sha256 unknown-test >"$T/unknown"
  tsig-keygen -a hmac-sha256 arid-test >"$T/secret"
  chmod 600 "$T/unknown" "$T/secret"
  wrong "*wrong.example.test*example.test*BADKEY*" --dns-key "$T/unknown"
  wrong "*wrong.example.test*example.test*BADSIG*" --dns-key "$T/secret"
  wrong "*wrong.example.test*example.test*REFUSED*" --dns-key "$TSIG_POOR"
  wrong "*wrong.example.test*example.test*REFUSED*"
  run ! grep -F -- "$(sed -n 's/.*secret "\(.*\)";/\1/p' "$T/secret")" <<<"$output"
}

@test "a zone that nobody serves" {
  local before
  before=$(asked)
  run arid sign --accept-terms --dns-update --dns-wait 30s --dns-key "$TSIG" www.nowhere.invalid
  printf '%s: %s\n' "$status" "$output"
  [ "$status" -eq 78 ]
  [[ $output == *"nowhere.invalid"* ]]
  [ "$(asked)" -eq "$before" ]
}

@test "servers that cannot be reached: one warning, and the CA is told" {
  local way
  for way in nsupdate built-in; do
    ARID_BASEDIR=$T/$way ARID_DNS_SERVER=$PRIMARY run -0 by "$way" sign --accept-terms "$way.dead.test" "*.$way.dead.test"
    printf '%s\n' "$output"
    [ "$(grep -c warning <<<"$output")" -eq 1 ]
    [[ ${lines[0]} == "arid: warning: "*"$NOBODY"* ]]
    nothing_left
  done
}

# ended SIGNAL NAME: arid gets the signal when it has put the record for NAME, and
# waits for the secondary. Sets ENDED, its status.
ended() {
  local pid
  arid sign --accept-terms --dns-update --dns-key "$TSIG" "$2" 3>&- &
  pid=$!
  await_txt "$PRIMARY" "_acme-challenge.$2"
  kill -s "$1" "$pid"
  ENDED=0
  wait "$pid" || ENDED=$?
}

@test "TERM while arid waits: the record is taken away" {
  ended TERM t.slow.test
  [ "$ENDED" -eq 143 ]
  nothing_left
}

@test "KILL while arid waits: the next run takes the record away" {
  ended KILL k.slow.test
  [ "$ENDED" -eq 137 ]
  [ -n "$(txt_at "$PRIMARY" _acme-challenge.k.slow.test)" ]
  transfer
  by built-in sign k.slow.test
  nothing_left
}

@test "KILL when the CA has refused: the next run takes the old record away too" {
  # shellcheck disable=SC2016  # the hook's
  printf '#!/bin/sh\n[ "$1" != invalid_challenge ] || [ -z "$DIE" ] || kill -KILL "$PPID"\n' >"$T/hook"
  chmod +x "$T/hook"
  export ARID_HOOK=$T/hook
  DIE=now run -137 by built-in sign --accept-terms --dns-wait 0 i.slow.test
  [ -n "$(txt_at "$PRIMARY" _acme-challenge.i.slow.test)" ]
  run -1 by built-in sign --dns-wait 0 i.slow.test
  nothing_left
}

@test "arid dns: values are added and taken away one by one" {
  export ARID_DNS_KEY_FILE=$TSIG
  local name=_acme-challenge.v.example.test
  run -0 arid dns add "$name" one "$name" -two _acme-challenge.cname.example.test three
  [ -z "$output" ]
  [ "$(txt_at "$PRIMARY" "$name" | sort)" = '"-two"
"one"' ]
  [ "$(txt_at "$PRIMARY" cname.acme.other.test)" = '"three"' ]
  run -0 arid dns wait "$name" one "$name" -two
  [ -z "$output" ]
  arid dns del "$name" -two
  [ "$(txt_at "$PRIMARY" "$name")" = '"one"' ]
  arid dns del "$name" -two "$name" one _acme-challenge.cname.example.test three
  nothing_left
  run -0 arid dns -v add "$name" "$(printf '%0300d' 7)"
  printf '%s\n' "$output"
  [[ $output == *example.test* ]]
  [[ $(txt_at "$PRIMARY" "$name") == '"0000'*'" "0'*'7"' ]]
  arid dns del "$name" "$(printf '%0300d' 7)"
  nothing_left
}

@test "arid dns wait: what is missing, and where" {
  export ARID_DNS_KEY_FILE=$TSIG
  local name=_acme-challenge.x.slow.test
  arid dns add "$name" value
  run -75 arid dns wait --dns-wait 0 "$name" value
  printf '%s\n' "$output"
  [ "${#lines[@]}" -eq 1 ]
  [[ $output == "arid: "*"ns2.slow.test"*"$SECONDARY"* ]]
  transfer
  run -0 arid dns wait --dns-wait 60s "$name" value
  [ -z "$output" ]
  arid dns del "$name" value
  run -75 arid dns wait --dns-wait 30s _acme-challenge.y.dead.test value
  printf '%s\n' "$output"
  [[ $output == "arid: "*"$NOBODY"* ]]
  run arid dns wait --dns-wait 30s _acme-challenge.www.nowhere.invalid value
  [ "$status" -eq 75 ] || [ "$status" -eq 78 ]
  printf '%s\n' "$output"
  [[ $output == "arid: "*"nowhere.invalid"* ]]
  nothing_left
}

@test "rehearse with the user's own name server, and with arid's" {
  unset ARID_CA ARID_CA_BUNDLE ARID_BASEDIR
  run -0 arid rehearse -t dns-01 --dns "$RESOLVER:53" --dns-update --dns-key "$TSIG" r.example.test "*.r.example.test"
  nothing_left
  unset ARID_DNS_RESOLVER
  local hook
  for hook in dns-nsupdate.sh dns-arid.sh; do
    run -0 arid rehearse -t dns-01 -k "$TOP/examples/hooks/$hook" r.example.test "*.r.example.test"
  done
  nothing_left
}
