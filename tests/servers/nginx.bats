#!/usr/bin/env bats
# examples/hooks/nginx.sh with nginx.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree nginx.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  take_ports PORT
  mkdir "$T/nginx"
  nginx_config "$T/nginx" www-data "listen 127.0.0.1:$PORT ssl;" "ssl_certificate $TLS/$NAME.pem;" \
    "ssl_certificate_key $TLS/$NAME.key;" 'return 200 "from nginx\n";' >"$T/nginx.conf"
  export NGINX_TLS=$TLS NGINX_PREFLIGHT NGINX_RELOAD
  NGINX_PREFLIGHT=$(default preflight /etc/nginx/nginx.conf "$T/nginx.conf")
  NGINX_RELOAD=$(telling "$(default reload /run/nginx.pid "$T/nginx/pid")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server nginx.log nginx -c "$T/nginx.conf"
  await_port "$PORT" "$STARTED"
  export NGINX_VERIFY=127.0.0.1:$PORT
}
break_config() { printf 'nonsense;\n' >>"$T/nginx.conf"; }
mend_config() { sed -i '$d' "$T/nginx.conf"; }

@test "nginx: B after A, and a request in the middle goes on" {
  shows_b_after_a 'GET / HTTP/1.0\r\n' '\r\n' 'from nginx'
  [ "$(stat -c %a "${FILES[@]}")" = $'600\n644' ]
}

@test "nginx: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "nginx: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "nginx: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}
