#!/usr/bin/env bats
# A run that is told to end: tokens gone, clean hook called, and the parent sees
# death by that signal.

load helper

setup() {
  start_world
  arid_world
  arid register --accept-terms
  cat >"$T/hook" <<'EOF'
#!/bin/sh
# Sends SIGNAL to arid in the event PHASE, and then takes its time.
case $1 in startup_hook | generate_csr | exit_hook) exit 0 ;; esac
echo "$1" >>"$T/calls"
[ "$1" = "$PHASE" ] || exit 0
case $1 in
  deploy_challenge) ls -A "$WELLKNOWN" >"$T/tokens" ;;
esac
kill -s "$SIGNAL" "$PPID"
[ "${LATER:-}" ] || exec sleep 30
EOF
  chmod +x "$T/hook"
  export T
}
teardown() { stop_all; }

# death COMMAND...: runs it and prints how it ended, as its parent sees it. It ignores
# no signal, as it would below nohup, and INT in a background job.
death() {
  # shellcheck disable=SC2016  # perl's variables
  perl -e '@SIG{qw(TERM INT HUP)} = ("DEFAULT") x 3; my $pid = fork; if (!$pid) { exec @ARGV or exit 127 } waitpid $pid, 0; print "signal ", $? & 127, " status ", $? >> 8, "\n"' "$@"
}

nothing_left() {
  [ -z "$(ls -A "$WELLKNOWN")" ]
  run ! pgrep -f "$T/hook"
}

@test "TERM, INT and HUP while a hook runs" {
  local number signal
  for signal in TERM:15 INT:2 HUP:1; do
    number=${signal#*:} signal=${signal%:*}
    : >"$T/calls"
    export PHASE=deploy_challenge SIGNAL=$signal
    run -0 death arid sign -k "$T/hook" a.example.test
    [[ $output == *"signal $number status 0"* ]]
    [[ $output == *"arid: a.example.test: "*"SIG$signal"* ]]
    [ -s "$T/tokens" ]
    [ "$(cat "$T/calls")" = "deploy_challenge
clean_challenge" ]
    nothing_left
  done
  unset PHASE
  arid sign -k "$T/hook" a.example.test
  [ "$(tail -n 1 "$T/calls")" = deploy_cert ]
}

@test "TERM while the CA validates" {
  # The web server answers nothing any more, so the order stays pending.
  kill -STOP "$WEB_PID"
  cat >"$T/hook" <<'EOF'
#!/bin/sh
case $1 in startup_hook | generate_csr | exit_hook) exit 0 ;; esac
echo "$1" >>"$T/calls"
[ "$1" = deploy_challenge ] || exit 0
# What sends the signal is no hook any more.
{
  until grep -q "Attempting to validate" "$T/pebble.log"; do sleep 0.05; done
  exec kill -TERM "$ARID"
} >/dev/null 2>&1 &
EOF
  # shellcheck disable=SC2016
  run -0 death sh -c 'export ARID=$$; exec arid sign -k "$T/hook" a.example.test'
  kill -CONT "$WEB_PID"
  [[ $output == *"signal 15 status 0"* ]]
  [ "$(cat "$T/calls")" = "deploy_challenge
clean_challenge" ]
  nothing_left
  arid sign -k "$T/hook" a.example.test
}

@test "TERM in the later hooks: the set is whole, and what is owed is done by the next run" {
  local phase name
  for phase in clean_challenge sync_cert deploy_cert; do
    name=${phase%%_*}.example.test
    : >"$T/calls"
    export PHASE=$phase SIGNAL=TERM
    # A clean hook has 30 seconds after the signal; it need not take them.
    LATER=$([ "$phase" != clean_challenge ] || echo 1) run -0 death arid sign -k "$T/hook" "$name"
    [[ $output == *"signal 15 status 0"* ]]
    nothing_left
    unset PHASE
    arid sign -k "$T/hook" "$name"
    [ "$(tail -n 1 "$T/calls")" = deploy_cert ]
    verify_chain "$ARID_BASEDIR/certs/$name/fullchain.pem" "$name"
  done
  [ "$(grep -c 'Added order' "$T/pebble.log")" -eq 3 ]
}

@test "a signal that was ignored at the start stays ignored" {
  export PHASE=deploy_challenge SIGNAL=HUP LATER=1
  run -0 sh -c 'trap "" HUP; exec arid sign -k "$T/hook" a.example.test'
  [ "$(tail -n 1 "$T/calls")" = deploy_cert ]
}

@test "2>&1 | head -1 leaves nothing behind" {
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  bash -c 'arid sign -v -k "$T/hook" up.example.test down.example.test 2>&1 | head -1'
  [ -z "$(ls -A "$WELLKNOWN")" ]
  [ "$(sort "$T/calls" | uniq -c | grep -c '2 clean_challenge')" -eq 1 ]
}
