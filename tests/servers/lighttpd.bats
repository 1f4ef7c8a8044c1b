#!/usr/bin/env bats
# examples/hooks/lighttpd.sh with lighttpd, which has a user of its own.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  as_root
  fresh_tree lighttpd.sh
  FILES=("$TLS/$NAME.pem")
  take_ports PORT
  install -d -m 750 -g www-data "$TLS"
  printf 'from lighttpd\n' >"$T/hello"
  cat >"$T/lighttpd.conf" <<EOC
server.modules = ("mod_openssl")
server.bind = "127.0.0.1"
server.port = $PORT
server.document-root = "$T"
server.username = "www-data"
server.groupname = "www-data"
server.pid-file = "$T/lighttpd.pid"
mimetype.assign = ("" => "text/plain")
ssl.engine = "enable"
ssl.pemfile = "$TLS/$NAME.pem"
EOC
  chmod 644 "$T/lighttpd.conf" "$T/hello"
  export LIGHTTPD_TLS=$TLS LIGHTTPD_PREFLIGHT LIGHTTPD_RELOAD
  LIGHTTPD_PREFLIGHT=$(default preflight /etc/lighttpd/lighttpd.conf "$T/lighttpd.conf")
  LIGHTTPD_RELOAD=$(telling "$(default reload /run/lighttpd.pid "$T/lighttpd.pid")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server lighttpd.log lighttpd -D -f "$T/lighttpd.conf"
  await_port "$PORT" "$STARTED"
}
break_config() { printf 'nonsense\n' >>"$T/lighttpd.conf"; }
mend_config() { sed -i '$d' "$T/lighttpd.conf"; }

@test "lighttpd: B after A, and a request in the middle goes on" {
  shows_b_after_a 'GET /hello HTTP/1.0\r\n' '\r\n' 'from lighttpd'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = "root:www-data 640" ]
}

@test "lighttpd: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "lighttpd: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "lighttpd: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}

# With such a file SIGUSR1 would end it.
@test "lighttpd: what its user cannot read keeps A, and B is owed" {
  break_config() { chmod 700 "$TLS"; }
  mend_config() { chmod 750 "$TLS"; }
  with_a
  refused_config
}

@test "lighttpd: several certificates, one reload" {
  with_a
  printf '%s\n' "two.example.test" "three.example.test" >>"$ARID_DOMAINS_TXT"
  renew -x --all
  [ "$(told)" -eq 1 ]
  await_live
  [ "$(leaf "$TLS/two.example.test.pem")" = "$(leaf "$ARID_CERTDIR/two.example.test/cert.pem")" ]
  # One that could not be told is told by the next run that has something to do.
  LIGHTTPD_RELOAD=false run -0 renew -x "$NAME"
  [[ $output == *"warning: "*"exit_hook"* ]]
  renew --redeploy "$NAME"
  [ "$(told)" -eq 2 ]
  await_live
}

@test "lighttpd: B from dehydrated itself" {
  cat >"$T/dehydrated.conf" <<EOC
CA="$DIRECTORY"
CURL_OPTS="--cacert $CA_FILE"
BASEDIR="$T/dehydrated"
CERTDIR="$ARID_CERTDIR"
WELLKNOWN="$WELLKNOWN"
DOMAINS_TXT="$ARID_DOMAINS_TXT"
HOOK="$ARID_HOOK"
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
  mkdir "$T/dehydrated"
  with_a
  local a
  a=$(served)
  without_settings dehydrated -f "$T/dehydrated.conf" --register --accept-terms
  run -0 without_settings dehydrated -f "$T/dehydrated.conf" -c -x
  [[ $output == *"arid: $NAME: installed: ${FILES[0]}"* ]]
  [ "$(live)" != "$a" ]
  [ "$(told)" -eq 1 ]
  await_live
}
