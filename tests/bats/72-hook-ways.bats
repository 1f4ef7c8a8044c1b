#!/usr/bin/env bats
# Hooks as people have them, which are not all well-behaved programs: by `dehydrated
# -c` and by `arid renew`.

# shellcheck disable=SC2016,SC2034,SC2154  # hooks are quoted here; and what is set for and by bats and the helper

load helper

NAME=a.example.test
WAYS="cron renew" # of running arid: under dehydrated's name, and under its own

setup_file() {
  start_world
  arid_world
  export -n ARID_BASEDIR ARID_CONFIG ARID_CA ARID_CA_BUNDLE ARID_WELLKNOWN
  mkdir "$T/bin"
  ln -s "$BUILD/arid" "$T/bin/dehydrated"
  FILE_T=$T
  export FILE_T HOME DIRECTORY CA_FILE MGMT WELLKNOWN
  use first
  arid register --accept-terms --config "$BASE/config"
}
setup() {
  cd "$T" || return
}
teardown() {
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
  end_left
}
teardown_file() { stop_all; }

# use WAY: a tree of its own for it, BASE, with the account there is; T/WAY/hook is its
# hook, and T/WAY/calls are the events that it noted.
use() {
  BASE=$T/$1
  CERT=$BASE/certs/$NAME/fullchain.pem
  mkdir "$BASE"
  [ ! -e "$FILE_T/first/accounts" ] || cp -a "$FILE_T/first/accounts" "$BASE/"
  printf '%s\n' "CA=$DIRECTORY" "WELLKNOWN=$WELLKNOWN" "CURL_OPTS=\"--cacert $CA_FILE\"" "HOOK=$BASE/hook" \
    KEY_ALGO=prime256v1 >"$BASE/config"
  printf '%s\n' "$NAME" >"$BASE/domains.txt"
}

# hook [FIRST]: stdin is the rest of the hook of BASE, after the line FIRST and one that
# notes the event.
hook() {
  {
    printf '%s\n' "${1-#!/bin/sh}"
    printf 'base=%s\n' "$BASE"
    printf '%s\n' 'echo "$1" >>"$base/calls"'
    cat
  } >"$BASE/hook"
  chmod +x "$BASE/hook"
}

# go WAY [PROGRAM ARGUMENT...]: arid itself, with T/WAY/config; behind PROGRAM, if any.
go() {
  local way=$1
  shift
  case $way in
    cron) "$@" "$FILE_T/bin/dehydrated" -c --config "$T/cron/config" ;;
    renew) "$@" arid renew --config "$T/renew/config" ;;
  esac
}

# issued: the certificate is there, the hook was called for it, and all is tidy.
issued() {
  verify_chain "$CERT" "$NAME"
  called deploy_challenge clean_challenge deploy_cert exit_hook
  tidy
}

# called EVENT...: each of them was noted.
called() {
  local event
  for event; do
    grep -qx "$event" "$BASE/calls" || fail "$event was not called: $(cat "$BASE/calls")"
  done
}

# tidy: no token, no lock.
tidy() {
  [ -z "$(ls -A "$WELLKNOWN")" ]
  [ ! -e "$BASE/lock" ]
}

# For hooks of which something may stay: note_left PID, and left are the processes so
# noted, which end_left ends.
LEAVE='note_left() { echo "$1" >>"$base/left"; }'

left() { cat "$T"/*/left 2>/dev/null || :; }
end_left() {
  local pid
  for pid in $(left); do
    kill -KILL "$pid" 2>/dev/null || :
  done
}

# runs PID: it is there, and no zombie.
runs() { [[ $(ps -o stat= -p "$1") == [^Z]* ]]; }

@test "without a shebang" {
  local way
  for way in $WAYS; do
    use "$way"
    hook "# a hook" <<'EOH'
[[ $0 == "$base/hook" ]] && words=("$@") && echo "${#words[@]} ${words[-1]}" >>"$base/bash"
EOH
    run -0 go "$way"
    issued
    grep -qx '4 .*' "$BASE/bash"
    grep -qx '7 [0-9]*' "$BASE/bash"
  done
}

@test "found by PATH only" {
  local way
  mkdir bin
  printf '#!/bin/sh\ntouch %s/decoy\n' "$T" >my-hook # the working directory is not in PATH
  chmod +x my-hook
  for way in $WAYS; do
    use "$way"
    hook </dev/null
    mv "$BASE/hook" "bin/my-hook"
    sed -i 's/^HOOK=.*/HOOK=my-hook/' "$BASE/config"
    PATH=$T/bin:$PATH run -0 go "$way"
    issued
    [ ! -e decoy ]
    rm bin/my-hook
    run ! go "$way"
    [[ $output == *my-hook* ]]
  done
}

# ask: a hook that asks before the certificate is deployed.
ask() {
  hook <<'EOH'
[ "$1" = deploy_cert ] || exit 0
test -t 0 && echo terminal >>"$base/stdin" || echo none >>"$base/stdin"
read -r answer </dev/tty || answer=nobody
echo "$answer" >>"$base/answer"
read -r answer || answer=end
echo "$answer" >>"$base/answer"
EOH
}

@test "reading the terminal" {
  local way
  for way in $WAYS; do
    use "$way"
    ask
    # script gives what it reads to the terminal, and then the end of it.
    printf 'one\ntwo\n' | timeout -k 5 60 script -qec "$(go "$way" echo)" /dev/null >"$BASE/out"
    issued
    diff "$BASE/stdin" <(echo terminal)
    diff "$BASE/answer" <(printf 'one\ntwo\n')
  done
}

@test "reading the terminal where there is none" {
  local way
  for way in $WAYS; do
    use "$way"
    ask
    printf 'one\ntwo\n' | go "$way" timeout -k 5 60 setsid -w >"$BASE/out" 2>&1
    issued
    diff "$BASE/stdin" <(echo none)
    diff "$BASE/answer" <(printf 'nobody\none\n')
  done
}

@test "a background child that outlives the hook" {
  local way pid
  for way in $WAYS; do
    use "$way"
    hook <<EOH
$LEAVE
sleep 1000 &
note_left \$!
EOH
    go "$way" timeout -k 5 60 setsid -w >"$BASE/out" 2>&1
    issued
    [ "$(wc -l <"$BASE/left")" -ge 5 ]
    while read -r pid; do
      runs "$pid" || fail "a child was ended"
    done <"$BASE/left"
  done
}

@test "closing its descriptors" {
  local way
  for way in $WAYS; do
    use "$way"
    hook <<'EOH'
exec 0<&- 1>&- 2>&-
[ "$1" != deploy_challenge ] || ls -l /proc/$$/fd | wc -l >"$base/open"
EOH
    run -0 --separate-stderr go "$way"
    issued
    [[ $stderr != *arning* ]]
  done
}

@test "printing a megabyte, on each event" {
  local way
  for way in $WAYS; do
    use "$way"
    hook <<'EOH'
yes out | head -c 1000000
yes err | head -c 1000000 >&2
EOH
    go "$way" >"$BASE/out" 2>"$BASE/err"
    issued
    calls=$(grep -vc '^generate_csr$' "$BASE/calls") # whose stdout is taken for a CSR
    all=$(wc -l <"$BASE/calls")
    [ "$(grep -cx err "$BASE/err")" -eq $((all * 250000)) ]
    case $way in
      cron)
        [ "$(grep -cx out "$BASE/out")" -eq $((calls * 250000)) ]
        run ! grep -qx out "$BASE/err"
        ;;
      renew)
        [ "$(grep -cx out "$BASE/err")" -eq $((calls * 250000)) ]
        [ ! -s "$BASE/out" ]
        ;;
    esac
  done
}

# picky EVENT...: a hook that knows these only.
picky() { printf 'case " %s " in *" $1 "*) exit 0 ;; *) no-such-command ;; esac\n' "$*" | hook; }

PROBE=this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script
EVENTS="startup_hook generate_csr deploy_challenge clean_challenge sync_cert deploy_cert exit_hook"

@test "ending with 127 on what it does not know, under dehydrated's name" {
  use cron
  # shellcheck disable=SC2086  # words
  picky $EVENTS
  run -1 --separate-stderr go cron
  [[ $stderr == *$'\nERROR: Please check your hook script, it should exit cleanly without doing anything on unknown/new hooks.'* ]]
  [ ! -e "$CERT" ]
  diff "$BASE/calls" <(printf '%s\n' "$PROBE" exit_hook)
  tidy
}
@test "ending with 127 on what it does not know: arid renew" {
  use renew
  # shellcheck disable=SC2086  # words
  picky $EVENTS
  run -0 go renew
  issued
  # An event that it does not know, and gets.
  rm -r "$BASE"
  use renew
  # shellcheck disable=SC2086  # words
  picky ${EVENTS/generate_csr/}
  run -1 --separate-stderr go renew
  [[ $stderr == *"arid: $NAME: \"$BASE/hook\" generate_csr: exit status 127"* ]]
  [ ! -e "$CERT" ]
  tidy
}

# stubborn THEN: a hook that waits in deploy_challenge, which no TERM ends, and does
# THEN.
stubborn() {
  {
    printf '%s\n' "$LEAVE"
    printf '%s\n' '[ "$1" = deploy_challenge ] || exit 0' 'trap "" TERM' 'note_left $$'
    printf '%s\n' "$1"
  } | hook
}

# term WAY: ends arid by TERM while its hook waits. Sets PID and HOOK_PID.
term() {
  local tries
  go "$1" exec >"$BASE/out" 2>&1 3>&- &
  PID=$!
  for ((tries = 0; tries < 600; tries++)); do
    [ ! -s "$BASE/left" ] || break
    sleep 0.1
  done
  HOOK_PID=$(cat "$BASE/left")
  kill -TERM "$PID"
}

# ended: arid was ended by the signal, and has tidied up.
ended() {
  local status=0
  wait "$PID" || status=$?
  cat "$BASE/out"
  [ "$status" -eq 143 ]
  ! runs "$HOOK_PID" || fail "the hook is there still"
  called clean_challenge
  [ ! -e "$CERT" ]
  tidy
}

@test "ignoring TERM when arid gets it: the hook may come to its end" {
  local way
  for way in $WAYS; do
    use "$way"
    stubborn 'for i in $(seq 600); do [ ! -e "$base/go" ] || { touch "$base/end"; exit 0; }; sleep 0.5; done'
    term "$way"
    touch "$BASE/go"
    ended
    [ -e "$BASE/end" ]
  done
}

@test "ignoring TERM when arid gets it: then the hook is killed" {
  local way
  for way in $WAYS; do
    use "$way"
    stubborn 'for i in $(seq 600); do sleep 0.5; done'
    term "$way"
    ended
  done
}
