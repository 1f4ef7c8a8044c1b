#!/usr/bin/env bats
# examples/hooks/mosquitto.sh with Mosquitto.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree mosquitto.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  take_ports PORT
  install -d -o mosquitto "$T/run"
  printf '%s\n' "pid_file $T/run/mosquitto.pid" "log_dest stderr" "user mosquitto" "listener $PORT 127.0.0.1" \
    "allow_anonymous true" "certfile $TLS/$NAME.pem" "keyfile $TLS/$NAME.key" >"$T/mosquitto.conf"
  export MOSQUITTO_TLS=$TLS MOSQUITTO_RELOAD
  MOSQUITTO_RELOAD=$(telling "$(default reload /run/mosquitto/ "$T/run/")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server mosquitto.log mosquitto -c "$T/mosquitto.conf"
  await_port "$PORT" "$STARTED"
  await test -s "$T/run/mosquitto.pid"
  pebble_root "$T/root.pem"
  export MOSQUITTO_VERIFY=127.0.0.1:$PORT
}
break_config() { chmod 700 "$TLS"; }
mend_config() { chmod 755 "$TLS"; }

# publish TEXT; hold, still_held: with what speaks MQTT.
publish() { mosquitto_pub -h 127.0.0.1 --insecure -p "$PORT" --cafile "$T/root.pem" -t test -r -m "$1"; }
hold() {
  start_server held.log mosquitto_sub -h 127.0.0.1 --insecure -p "$PORT" --cafile "$T/root.pem" -t test
  publish "$1"
  await grep -qx "$1" "$T/held.log"
}
still_held() {
  publish "$1"
  await grep -qx "$2" "$T/held.log"
  [ "$(grep -c "New client connected" "$T/mosquitto.log")" -eq 3 ] # it is the first connection still
}

@test "mosquitto: B after A, and who has subscribed goes on" {
  shows_b_after_a one two two
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:mosquitto 640\nroot:mosquitto 644' ]
}

@test "mosquitto: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "mosquitto: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "mosquitto: a directory that its user cannot enter keeps A, and B is owed" {
  with_a
  refused_config
}
