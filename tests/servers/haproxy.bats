#!/usr/bin/env bats
# examples/hooks/haproxy.sh with HAProxy, by reload and by its socket.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  as_root
  fresh_tree haproxy.sh
  FILES=("$TLS/$NAME.pem")
  take_ports PORT
  chmod 700 "$TLS"
  cat >"$T/haproxy.cfg" <<EOC
global
  user haproxy
  group haproxy
  stats socket $T/haproxy.sock level admin mode 600
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 60s
frontend tls
  bind 127.0.0.1:$PORT ssl crt $TLS/
  http-request return status 200 content-type text/plain string from-haproxy
EOC
  export HAPROXY_TLS=$TLS HAPROXY_PREFLIGHT HAPROXY_RELOAD
  HAPROXY_PREFLIGHT=$(default preflight /etc/haproxy/haproxy.cfg "$T/haproxy.cfg")
  HAPROXY_RELOAD=$(telling "$(default reload /run/haproxy.pid "$T/haproxy.pid")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server haproxy.log haproxy -W -f "$T/haproxy.cfg" -p "$T/haproxy.pid"
  await_port "$PORT" "$STARTED"
  await test -s "$T/haproxy.pid"
  export HAPROXY_VERIFY=127.0.0.1:$PORT
}
break_config() { printf 'nonsense\n' >>"$T/haproxy.cfg"; }
mend_config() { sed -i '$d' "$T/haproxy.cfg"; }

# by_socket: nothing else tells it.
by_socket() {
  export HAPROXY_SOCKET=$T/haproxy.sock
  RELOADS=0
}
workers() { pgrep -P "$(cat "$T/haproxy.pid")" | sort; }

@test "haproxy: B after A, and a request in the middle goes on" {
  shows_b_after_a 'GET / HTTP/1.0\r\n' '\r\n' 'from-haproxy'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = "root:root 600" ]
}

@test "haproxy: B after A by its socket, in the same process" {
  by_socket
  start() {
    start_server haproxy.log haproxy -W -f "$T/haproxy.cfg" -p "$T/haproxy.pid"
    await_port "$PORT" "$STARTED"
    await test -s "$T/haproxy.pid"
    workers >"$T/workers"
  }
  shows_b_after_a 'GET / HTTP/1.0\r\n' '\r\n' 'from-haproxy'
  [ -s "$T/workers" ]
  workers | diff "$T/workers" -
  # One that it does not know yet takes a reload.
  printf '%s\n' "two.example.test" >>"$ARID_DOMAINS_TXT"
  renew
  [ "$(told)" -eq 1 ]
  NAME=two.example.test await_live
}

@test "haproxy: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "haproxy: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "haproxy: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}

@test "haproxy: the same with its socket" {
  by_socket
  with_a
  refused_config
}
