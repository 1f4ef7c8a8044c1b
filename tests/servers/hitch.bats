#!/usr/bin/env bats
# examples/hooks/hitch.sh with hitch, before the web server that Pebble asks.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load ../bats/systemd
load common

setup_file() { start_ca; }
setup() {
  as_root
  fresh_tree hitch.sh
  FILES=("$TLS/$NAME.pem")
  take_ports PORT
  chmod 700 "$TLS"
  cat >"$T/hitch.conf" <<EOC
frontend = "[127.0.0.1]:$PORT"
backend = "[127.0.0.1]:$HTTP_PORT"
pem-file = "$TLS/$NAME.pem"
user = "_hitch"
group = "_hitch"
ocsp-dir = ""
EOC
  export HITCH_TLS=$TLS HITCH_PREFLIGHT HITCH_RELOAD
  HITCH_PREFLIGHT=$(default preflight /etc/hitch/hitch.conf "$T/hitch.conf")
  HITCH_RELOAD=$(telling "[ ! -s $T/hitch.pid ] || kill -HUP \"\$(cat $T/hitch.pid)\"")
}
teardown() {
  end_systemd
  end_tree
}
teardown_file() { stop_all; }

start() {
  start_server hitch.log hitch --config "$T/hitch.conf" --pidfile="$T/hitch.pid"
  await_port "$PORT" "$STARTED"
  await test -s "$T/hitch.pid"
  export HITCH_VERIFY=127.0.0.1:$PORT
}
break_config() { printf 'nonsense = 1\n' >>"$T/hitch.conf"; }
mend_config() { sed -i '$d' "$T/hitch.conf"; }

@test "hitch: B after A, and a request in the middle goes on" {
  printf 'from behind hitch\n' >"$WEBROOT/hello"
  chmod 644 "$WEBROOT/hello"
  shows_b_after_a 'GET /hello HTTP/1.0\r\n' '\r\n' 'from behind hitch'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = "root:root 600" ]
}

@test "hitch: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "hitch: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "hitch: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}

@test "hitch: told as Debian's unit, by the hook's own line" {
  unset HITCH_RELOAD
  mkdir -p "$T/units/hitch.service.d"
  cp /lib/systemd/system/hitch.service "$T/units/"
  cat >"$T/units/hitch.service.d/paths.conf" <<EOC
[Unit]
ConditionPathExists=
[Service]
PrivateTmp=no
ExecStart=
ExecStart=/usr/sbin/hitch --user _hitch --group _hitch --config $T/hitch.conf --quiet
EOC
  start_systemd
  renew() { from_cron in_systemd arid renew "$@"; }
  start() {
    in_systemd systemctl start hitch
    await_port "$PORT" "$SYSTEMD"
    in_systemd systemctl show -P MainPID hitch >"$T/main"
  }
  with_a
  renew -x "$NAME"
  await_live
  in_systemd systemctl show -P MainPID hitch | diff "$T/main" -
}
