#!/usr/bin/env bats
# examples/hooks/stunnel.sh with stunnel, before the web server that Pebble asks.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  as_root
  fresh_tree stunnel.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  take_ports PORT
  install -d -m 750 -g stunnel4 "$TLS"
  install -d -o stunnel4 "$T/run"
  cat >"$T/stunnel.conf" <<EOC
foreground = yes
pid = $T/run/stunnel.pid
setuid = stunnel4
setgid = stunnel4
[web]
accept = 127.0.0.1:$PORT
connect = 127.0.0.1:$HTTP_PORT
cert = $TLS/$NAME.pem
key = $TLS/$NAME.key
EOC
  export STUNNEL_TLS=$TLS STUNNEL_CONF=$T/stunnel.conf STUNNEL_RELOAD
  # shellcheck disable=SC2016  # for the shell there
  STUNNEL_RELOAD=$(telling "$(default reload '$pid' '$pid')")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server stunnel.log stunnel "$T/stunnel.conf"
  await_port "$PORT" "$STARTED"
  await test -s "$T/run/stunnel.pid"
  export STUNNEL_VERIFY=127.0.0.1:$PORT
}
break_config() { printf 'nonsense = 1\n' >>"$T/stunnel.conf"; }
mend_config() { sed -i '$d' "$T/stunnel.conf"; }

@test "stunnel: B after A, and a request in the middle goes on" {
  printf 'from behind stunnel\n' >"$WEBROOT/hello"
  chmod 644 "$WEBROOT/hello"
  shows_b_after_a 'GET /hello HTTP/1.0\r\n' '\r\n' 'from behind stunnel'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:stunnel4 640\nroot:stunnel4 644' ]
}

@test "stunnel: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "stunnel: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

# It has no check that could be made before: what it shows afterwards tells.
@test "stunnel: a configuration that it does not take keeps A, and B is owed" {
  with_a
  told_in_vain=2
  refused_config
}

@test "stunnel: who has no way to tell it says so" {
  unset STUNNEL_RELOAD
  sed -i '/^pid/d' "$T/stunnel.conf"
  run -10 renew
  [[ $output == *"$T/stunnel.conf has no \"pid = FILE\""* ]]
  [ -z "$(ls -A "$TLS")" ]
}
