#!/usr/bin/env bats
# The servers that the files from 60 on rely on, without arid: when one of these
# fails, look here first.

load helper
load servers

setup_file() {
  is_root || return 0
  start_real_world
}
setup() { as_root; }
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# shown ADDRESS NAME ALPN: subject of the certificate, or what went wrong.
shown() {
  openssl s_client -connect "$1:443" -servername "$2" -alpn "$3" </dev/null 2>&1 | grep -E "^subject=|alert number"
}

@test "lighttpd shows a pair to acme-tls/1, its own certificate to others, and nothing that www-data cannot read" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=pair" \
    -keyout "$ALPN/pair.example.test.key.pem" -out "$ALPN/pair.example.test.crt.pem" 2>"$T/openssl.log"
  chmod 640 "$ALPN"/pair.*
  [ "$(shown "$WEB" pair.example.test acme-tls/1)" = "subject=CN = pair" ]
  [ "$(shown "$WEB" pair.example.test http/1.1)" = "subject=CN = ordinary.test" ]
  [[ $(shown "$WEB" other.example.test acme-tls/1) == *"alert number 120"* ]]
  chmod 600 "$ALPN"/pair.*
  [[ $(shown "$WEB" pair.example.test acme-tls/1) == *"alert number 120"* ]]
}

@test "BIND takes updates with a key that may, and with no other" {
  put_txt _acme-challenge.one.example.test value-1
  [ "$(txt_at "$PRIMARY" _acme-challenge.one.example.test)" = '"value-1"' ]
  cut_txt _acme-challenge.one.example.test value-1
  [ -z "$(txt_at "$PRIMARY" _acme-challenge.one.example.test)" ]
  TSIG=$TSIG_POOR run -2 put_txt _acme-challenge.one.example.test value-1
  [[ $output == *REFUSED* ]]
}

@test "the secondary lags until it is told, and the resolver asks that one only" {
  put_txt _acme-challenge.two.slow.test value-2
  [ -z "$(txt_at "$SECONDARY" _acme-challenge.two.slow.test)" ]
  transfer
  await_txt "$SECONDARY" _acme-challenge.two.slow.test value-2
  [ "$(dig +short "@$RESOLVER" _acme-challenge.two.slow.test TXT)" = '"value-2"' ]
}

@test "the resolver follows a CNAME, knows dead servers' zone, and what nobody serves" {
  put_txt cname.acme.other.test value-3
  [ "$(dig +short "@$RESOLVER" _acme-challenge.cname.example.test TXT)" = 'cname.acme.other.test.
"value-3"' ]
  put_txt _acme-challenge.three.dead.test value-4
  [ "$(dig +short "@$RESOLVER" _acme-challenge.three.dead.test TXT)" = '"value-4"' ]
  [ "$(dig +short "@$RESOLVER" ns1.dead.test)" = "$NOBODY" ]
  [[ $(dig "@$RESOLVER" nowhere.invalid) == *"status: NXDOMAIN"* ]]
  [[ $(dig "@$RESOLVER" www.lame.test) == *"status: SERVFAIL"* ]]
}
