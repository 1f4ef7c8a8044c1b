#!/usr/bin/env bats
# arid respond, behind and under what stands before it on real hosts, asked by a real
# CA: nginx stream, HAProxy, tcpserver, s6, inetd, systemd's socket activation. The
# examples are those of examples/respond/.
#
# N8 to N15 are rows of the list of what the texts that arid was made of promise.

# shellcheck disable=SC2016,SC2034,SC2154  # scripts are quoted here; what is set here is for the helpers, and what they and bats set for us

load helper
load systemd

EXAMPLES=$TOP/examples/respond

setup_file() {
  take_ports HTTP_PORT TLS_PORT
  start_dns
  start_pebble 0
  # A TLS server with an ordinary certificate, which knows nothing of acme-tls/1.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=ordinary.test" \
    -addext "subjectAltName=DNS:ordinary.test" -keyout "$T/ordinary.key" -out "$T/ordinary.pem" 2>"$T/openssl.log"
  FILE_T=$T
  export FILE_T DIRECTORY CA_FILE MGMT HTTP_PORT TLS_PORT DNS_ADDR
}
setup() {
  WELLKNOWN=$T/wellknown
  arid_world
  ALPN=$T/alpn
  mkdir "$ALPN" "$WELLKNOWN"
  open_way "$ALPN"
  if is_root; then
    chgrp www-data "$ALPN"
    chmod 2750 "$ALPN"
  fi
  export ARID_CHALLENGETYPE=tls-alpn-01 ARID_ALPNCERTDIR=$ALPN ARID_DNS_RESOLVER=$DNS_ADDR
  cd "$T" || return
}
teardown() {
  end_systemd
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}
teardown_file() { stop_all; }

is_root() { [ "$(id -u)" -eq 0 ]; }
as_root() { is_root || skip "needs root, to become another user"; }

# open_way DIR: the directories above it are opened for other users.
open_way() {
  local dir=$1
  while dir=$(dirname "$dir") && [ "$dir" != / ] && [ "$dir" != /tmp ]; do
    ! [ -O "$dir" ] || chmod a+x "$dir"
  done
}

# start_respond FLAG...: arid respond -v in the background, with its lines in
# T/respond.log, once it has become who it is to be and listens. Sets RESPOND.
start_respond() {
  : >"$T/respond.log"
  start_server respond.log "$BUILD/arid" respond -v "$@"
  RESPOND=$STARTED
  await_line respond.log "listens on" "$RESPOND"
}

# start_web PORT [FLAG...]: a TLS server for visitors, with h2 and http/1.1.
start_web() {
  local port=$1
  shift
  start_server web.log openssl s_server -accept "127.0.0.1:$port" -cert "$FILE_T/ordinary.pem" -key "$FILE_T/ordinary.key" \
    -alpn h2,http/1.1 -www "$@"
  await_port "$port" "$STARTED"
}

# example NAME SED...: examples/respond/NAME with the places of this test.
example() {
  local name=$1
  shift
  sed "$@" "$EXAMPLES/$name"
}

# client ADDRESS WORD...: what openssl sees there.
client() {
  local address=$1
  shift
  timeout 20 openssl s_client -connect "$address" "$@" </dev/null 2>&1
}

# visitors ADDRESS: everybody but a CA gets to the web server.
visitors() {
  run -0 client "$1" -servername www.example.test -alpn h2,http/1.1
  [[ $output == *"subject=CN = ordinary.test"* && $output == *"ALPN protocol: h2"* ]]
  run -0 client "$1" -servername www.example.test
  [[ $output == *"subject=CN = ordinary.test"* && $output == *"No ALPN negotiated"* ]]
  run -0 client "$1" -noservername
  [[ $output == *"subject=CN = ordinary.test"* ]]
}

# issue NAME... [FLAG...]: a new certificate for these, by tls-alpn-01, and nothing left.
issue() {
  arid sign -x --accept-terms "$@"
  verify_chain "$ARID_BASEDIR/certs/$1/fullchain.pem" "$1"
  [ -z "$(ls -A "$ALPN")" ]
}

# said LINE: arid respond says it, a pattern of grep -E. It may do so after it has closed
# the connection, when the CA and the order are already farther on.
said() { await grep -qE "^arid: $1\$" respond.log || fail "$(cat respond.log)"; }

# answered NAME [PEER]: it says so; the CA looks from several places.
answered() { said "${2:-[^ ]+}: tls-alpn-01: answered \"$1\""; }

# quiet: nothing was wrong on this host.
quiet() { ! grep -E 'warning|hint|panic|goroutine' respond.log; }

V6_LOOPBACK=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa

# --- by itself

@test "N9 N10: it listens on both families, for names and addresses" {
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT" --listen "[::1]:$TLS_PORT"
  issue a.example.test B.example.test 127.0.0.1 ::1
  answered a.example.test '127\.0\.0\.1:[0-9]+'
  answered b.example.test
  answered 1.0.0.127.in-addr.arpa
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
  quiet
}

@test "N9: one socket for both families" {
  start_respond --alpn "$ALPN" --listen ":$TLS_PORT"
  issue both.example.test 127.0.0.1 ::1
  answered both.example.test '127\.0\.0\.1:[0-9]+'
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
}

@test "N12 N14 N15: who is not a CA gets an alert" {
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT"
  local at=127.0.0.1:$TLS_PORT
  run ! client "$at" -servername www.example.test -alpn h2,http/1.1
  [[ $output == *"alert number 120"* ]]
  run ! client "$at" -servername www.example.test -alpn h2,acme-tls/1
  [[ $output == *"alert number 120"* ]]
  run ! client "$at" -servername www.example.test
  [[ $output == *"alert number 120"* ]]
  run ! client "$at" -servername www.example.test -alpn acme-tls/1
  [[ $output == *"alert number 112"* ]]
  run ! client "$at" -noservername -alpn acme-tls/1
  [[ $output == *"alert number 112"* ]]
  printf '#!/bin/sh\n[ "$1" != deploy_challenge ] || cp "$ALPNCERTDIR"/* %s\n' "$T" >hook
  chmod +x hook
  issue kept.example.test -k ./hook
  mv kept.example.test.*.pem "$ALPN"
  run -0 client "$at" -servername kept.example.test -alpn acme-tls/1
  [[ $output == *"ALPN protocol: acme-tls/1"* ]]
  run ! client "$at" -servername kept.example.test -alpn acme-tls/1 -tls1_1 -cipher DEFAULT@SECLEVEL=0
  [[ $output == *"alert number 70"* ]]
  run ! client "$at" -servername kept.example.test -alpn acme-tls/1 -tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384
  [[ $output == *"alert number 40"* ]]
  quiet
}

@test "N12: the old responder's fallback, for those who ask for it" {
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT" --fallback-cert "$FILE_T/ordinary.pem" --fallback-key "$FILE_T/ordinary.key"
  run -0 client "127.0.0.1:$TLS_PORT" -servername unknown.example.test -alpn acme-tls/1
  [[ $output == *"subject=CN = ordinary.test"* ]]
  issue known.example.test
}

@test "N13: no name leads to a file elsewhere, nor a link" {
  local at=127.0.0.1:$TLS_PORT name
  start_server respond.log strace -D -f -o "$T/trace" -e trace=%file "$BUILD/arid" respond -v --alpn "$ALPN" --http "$WELLKNOWN" --listen "$at"
  await_port "$TLS_PORT" "$STARTED"
  cp "$FILE_T/ordinary.pem" secret.crt.pem
  cp "$FILE_T/ordinary.key" secret.key.pem
  ln -s ../secret.crt.pem "$ALPN/link.example.crt.pem"
  ln -s ../secret.key.pem "$ALPN/link.example.key.pem"
  ln -s ../secret.key.pem "$WELLKNOWN/link-link-link-link"
  local seen
  seen=$(wc -l <trace)
  for name in ../secret a/../../secret /etc/passwd .. . "$(printf 'x%.0s' {1..250})" $V6_LOOPBACK link.example; do
    run ! client "$at" -servername "$name" -alpn acme-tls/1
    [[ $output == *"alert number 112"* || $name == *. && $output == *"alert number 50"* ]] # TLS itself forbids a final dot
  done
  for name in ../secret.key.pem %2e%2e%2fsecret.key.pem link-link-link-link /etc/passwd; do
    run -22 curl -sS --max-time 20 --fail --path-as-is "http://$at/.well-known/acme-challenge/$name"
  done
  # The two directories are opened by their paths, and all else is a name in them. (The
  # names of a file's owner and group are looked up, for who has to mend it.)
  tail -n "+$((seen + 1))" trace | grep '"' >files
  grep -qF "$ALPN/." files
  grep -qF "$WELLKNOWN/." files
  grep -qE '\([0-9]+, "link\.example\.crt\.pem"' files
  run grep -vE "AT_FDCWD, \"($ALPN/\.|$WELLKNOWN/\.|/etc/passwd|/etc/group)\"|\([0-9]+, \"[A-Za-z0-9.-]+\"" files
  [ -z "$output" ] || fail "$output"
  run ! grep -F secret files
}

@test "TERM ends it, and nothing is said" {
  "$BUILD/arid" respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT" 2>respond.log 3>&- &
  local pid=$! ended=0
  await_port "$TLS_PORT" "$pid"
  exec 5<>"/dev/tcp/127.0.0.1/$TLS_PORT" # who is silent does not hold it up
  issue term.example.test
  kill -TERM "$pid"
  wait "$pid" || ended=$?
  [ "$ended" -eq 143 ]
  [ ! -s respond.log ]
  run ! bash -c "exec 4<>/dev/tcp/127.0.0.1/$TLS_PORT"
}

@test "200 slow connections do not stop a validation, nor few descriptors" {
  ulimit -n 1000
  start_server respond.log bash -c 'ulimit -n 100; exec "$@"' bash "$BUILD/arid" respond --alpn "$ALPN" --listen ":$TLS_PORT"
  await_port "$TLS_PORT" "$STARTED"
  local n fd
  for ((n = 0; n < 200; n++)); do
    exec {fd}<>"/dev/tcp/127.0.0.1/$TLS_PORT"
    ((n % 2)) || printf '\x16\x03\x01' >&"$fd"
  done
  issue slow.example.test 127.0.0.1 ::1
  [ "$(find "/proc/$STARTED/fd" -mindepth 1 | wc -l)" -lt 100 ]
  # Said once, for whoever wonders.
  [ "$(cat respond.log)" = "arid: warning: 12 connections at once are silent or unfinished, which is the limit; as more come, the oldest are cut off" ] || fail "$(cat respond.log)"
}

@test "root is given up once it listens, and what cannot be read is said with what would mend it" {
  as_root
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT" --user nobody --group www-data
  grep -qx "Uid:\s65534\s65534\s65534\s65534" "/proc/$RESPOND/status"
  grep -qx "Gid:\s33\s33\s33\s33" "/proc/$RESPOND/status"
  grep -qx "Groups:\s33 65534 " "/proc/$RESPOND/status" || fail "$(grep Groups "/proc/$RESPOND/status")"
  grep -qx "CapEff:\s0*" "/proc/$RESPOND/status"
  for task in "/proc/$RESPOND/task"/*; do
    grep -qx "Uid:\s65534\s65534\s65534\s65534" "$task/status"
  done
  issue nobody.example.test
  quiet

  chgrp root "$ALPN"
  chmod 755 "$ALPN"
  chmod g-s "$ALPN"
  run -1 arid sign -x trap.example.test
  said "warning: .*"
  run cat respond.log
  [[ $output == *"arid: warning: tls-alpn-01: no answer for \"trap.example.test\": \"$ALPN/trap.example.test.crt.pem\": permission denied (the certificate is 0640 root:root in a directory 0755 root:root)"* ]]
  [ "$(grep -c warning respond.log)" -eq 1 ]

  stop_server "$RESPOND"
  chmod 700 "$ALPN"
  run -77 "$BUILD/arid" respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT" --user nobody
  [ "$output" = "arid: --alpn \"$ALPN\" cannot be read by user 65534: permission denied" ] || fail "$output"
  run -77 setpriv --reuid nobody --clear-groups "$BUILD/arid" respond --alpn / --listen "127.0.0.1:$TLS_PORT" --user www-data
  [[ $output == "arid: cannot become user \"www-data\", group 33: operation not permitted" ]] || fail "$output"
}

@test "N16: a hook makes the certificate itself, the same for dehydrated and for arid" {
  mkdir own
  cat >hook <<'EOF'
#!/bin/sh
set -eu
case $1 in
deploy_challenge)
  echo "$# $2 $CHALLENGETYPE $ALPNCERTDIR" >>calls
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj / -addext "subjectAltName=DNS:$2" \
    -addext "1.3.6.1.5.5.7.1.31=critical,DER:04:20:$4" -keyout "own/$2.key.pem" -out "own/$2.crt.pem" 2>openssl.log
  ;;
clean_challenge) rm "own/$2.key.pem" "own/$2.crt.pem" ;;
esac
EOF
  chmod +x hook
  start_respond --alpn "$T/own" --listen ":$TLS_PORT"
  issue hook.example.test -k ./hook
  answered hook.example.test
  echo ACCOUNT_KEYSIZE=2048 >"$ARID_CONFIG"
  arid dehydrated --register --accept-terms
  arid dehydrated -c -d cron.example.test -t tls-alpn-01 --alpn "$ALPN" -k "$T/hook"
  mkdir theirs
  printf 'CA="%s"\nCURL_OPTS="--cacert %s"\nBASEDIR="%s"\nIP_VERSION=4\nKEY_ALGO=prime256v1\nACCOUNT_KEY_ALGO=rsa\nACCOUNT_KEYSIZE=2048\n' "$DIRECTORY" "$CA_FILE" "$T/theirs" >theirs/config
  dehydrated --config "$T/theirs/config" --register --accept-terms >theirs.log
  dehydrated --config "$T/theirs/config" -c -d theirs.example.test -t tls-alpn-01 --alpn "$ALPN" -k "$T/hook" >theirs.log
  answered theirs.example.test
  diff calls <(printf "4 %s.example.test tls-alpn-01 $ALPN\n" hook cron theirs)
  [ -z "$(find own "$ALPN" -mindepth 1)" ]
}

# --- arid sign --listen

# nobody_at PORT...: nobody listens there.
nobody_at() {
  local port
  for port in "$@"; do
    run ! bash -c "exec 4<>/dev/tcp/127.0.0.1/$port"
  done
}

@test "sign --listen: both types, names and addresses, without a directory" {
  export ARID_WELLKNOWN=$T/none ARID_ALPNCERTDIR=$T/none
  issue listen.example.test 127.0.0.1 ::1 --listen "127.0.0.1:$TLS_PORT" --listen "[::1]:$TLS_PORT"
  issue http.example.test 127.0.0.1 -t http-01 --listen ":$HTTP_PORT"
  issue one.example.test two.example.test -t 'one.example.test:http-01 tls-alpn-01' --listen ":$HTTP_PORT" --listen ":$TLS_PORT"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout csr.key -subj / -addext subjectAltName=DNS:csr.example.test -out csr.pem 2>openssl.log
  arid sign --csr csr.pem --listen ":$TLS_PORT" >csr.chain
  verify_chain csr.chain csr.example.test
  nobody_at "$HTTP_PORT" "$TLS_PORT"
  [ ! -e none ]
}

@test "sign --listen: an address that is taken, or not permitted, is said before anything is asked" {
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$TLS_PORT"
  local before
  before=$(requests "$FILE_T")
  run -75 arid sign --accept-terms --listen "127.0.0.1:$HTTP_PORT" --listen "127.0.0.1:$TLS_PORT" taken.example.test
  [ "$output" = "arid: taken.example.test: cannot listen on 127.0.0.1:$TLS_PORT: bind: address already in use" ] || fail "$output"
  nobody_at "$HTTP_PORT"
  run -64 arid sign --accept-terms --listen 443 taken.example.test
  if is_root; then
    # In a network of its own, as ports below 1024 may be for all on this host.
    mkdir nobody
    chown nobody nobody
    run -77 unshare -n sh -c 'echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start && exec setpriv --reuid nobody --clear-groups "$@"' sh \
      "$BUILD/arid" --base "$T/nobody" sign --accept-terms --ca https://127.0.0.1:9/ --listen :80 taken.example.test
    [ "$output" = "arid: taken.example.test: cannot listen on :80: bind: permission denied" ] || fail "$output"
  fi
  [ "$(requests "$FILE_T")" -eq "$before" ]
}

@test "sign --listen: TERM ends it with the order, KILL leaves nothing" {
  local signal ended
  mkdir tmp
  for signal in TERM KILL; do
    printf '#!/bin/sh\n[ "$1" != deploy_challenge ] || { kill -%s "$PPID"; sleep 1; }\n' "$signal" >hook
    chmod +x hook
    ended=0
    TMPDIR=$T/tmp arid sign --accept-terms -x -k ./hook --listen ":$TLS_PORT" ended.example.test 2>"$signal.log" || ended=$?
    [ "$ended" -eq $((128 + $(kill -l "$signal"))) ]
    nobody_at "$TLS_PORT"
    [ -z "$(find "$ALPN" tmp -mindepth 1)" ]
  done
  issue ended.example.test --listen ":$TLS_PORT"
}

@test "sign --listen: startup_hook stops the server that has the port, exit_hook starts it again" {
  cat >hook <<'EOF'
#!/bin/sh
case $1 in
startup_hook)
  kill "$(cat server.pid)"
  while kill -0 "$(cat server.pid)" 2>/dev/null; do sleep 0.1; done
  ;;
exit_hook) touch start-again ;;
esac
EOF
  chmod +x hook
  # Nobody's child, as a service is: it is gone once it has ended.
  (setsid "$BUILD/arid" respond -v --alpn "$ALPN" --listen ":$TLS_PORT" 2>respond.log 3>&- & echo $! >server.pid)
  remember "$(cat server.pid)"
  await_port "$TLS_PORT" "$(cat server.pid)"
  issue standalone.example.test -k ./hook --listen ":$TLS_PORT"
  [ -e start-again ]
  run ! grep -q standalone respond.log
}

@test "renew --listen: several certificates, one socket" {
  mkdir -p "$ARID_BASEDIR"
  printf '%s.example.test\n' r1 r2 r3 r4 >"$ARID_BASEDIR/domains.txt"
  export ARID_ALPNCERTDIR=$T/none
  run -0 arid renew -v --accept-terms --listen ":$TLS_PORT"
  [ "$(grep -c 'listens on' <<<"$output")" -eq 1 ]
  local name
  for name in r1 r2 r3 r4; do
    verify_chain "$ARID_BASEDIR/certs/$name.example.test/fullchain.pem" "$name.example.test"
  done
  nobody_at "$TLS_PORT"
}

# --- visitors go to the backend

@test "one port for a CA and for visitors; the backend may be down" {
  local web
  take_ports web
  start_web "$web"
  local backend=$STARTED
  start_respond --alpn "$ALPN" --listen ":$TLS_PORT" --backend "127.0.0.1:$web"
  issue shared.example.test 127.0.0.1 ::1
  visitors "127.0.0.1:$TLS_PORT"
  visitors "[::1]:$TLS_PORT"
  run -0 client "127.0.0.1:$TLS_PORT" -alpn acme-tls/1,http/1.1
  [[ $output == *"subject=CN = ordinary.test"* && $output == *"ALPN protocol: http/1.1"* ]]
  run -0 curl -sSk --http1.1 --max-time 20 "https://127.0.0.1:$TLS_PORT/"
  [[ $output == *"s_server"* ]]
  quiet
  stop_server "$RESPOND"
  stop_server "$backend"
  start_respond --alpn "$ALPN" --listen ":$TLS_PORT" --backend "127.0.0.1:$web"
  run ! client "127.0.0.1:$TLS_PORT" -servername www.example.test
  run ! client "127.0.0.1:$TLS_PORT" -servername www.example.test
  issue shared.example.test
  said "warning: .*"
  [ "$(grep warning respond.log)" = "arid: warning: backend 127.0.0.1:$web: connect: connection refused" ] || fail "$(cat respond.log)"
}

# --- nginx

# start_nginx: examples/respond/nginx-stream.conf on TLS_PORT, with arid on RESPOND_AT
# and the web server on WEB; $1 is more for sed.
start_nginx() {
  {
    printf 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\npid %s;\nerror_log stderr;\n' "$T/nginx.pid"
    ! is_root || echo "user www-data;"
    echo 'events {}'
    example nginx-stream.conf -e "s/listen 443;/listen 127.0.0.1:$TLS_PORT;/; s/listen \[::\]:443;/listen [::1]:$TLS_PORT;/" \
      -e "s|127.0.0.1:10443;|$RESPOND_AT;|; s/127.0.0.1:8443;/127.0.0.1:$WEB;/" -e "${1:-}"
  } >nginx.conf
  start_server nginx.log nginx -e stderr -p "$T" -c "$T/nginx.conf"
  await_port "$TLS_PORT" "$STARTED"
}

@test "N8: through nginx stream" {
  take_ports PORT WEB
  RESPOND_AT=127.0.0.1:$PORT
  start_respond --alpn "$ALPN" --listen "$RESPOND_AT"
  start_web "$WEB"
  start_nginx
  issue nginx.example.test 127.0.0.1 ::1
  answered nginx.example.test
  answered $V6_LOOPBACK
  visitors "127.0.0.1:$TLS_PORT"
  run ! grep -v '^arid: \(listens on\|[^ ]*: tls-alpn-01: answered\) ' respond.log
}

@test "N8: the document's own map, of ports" {
  take_ports PORT WEB
  start_respond --alpn "$ALPN" --listen "127.0.0.1:$PORT"
  start_web "$WEB"
  RESPOND_AT=unused start_nginx 's/\$tls_server/$tls_port/; s/acme-tls\/1  [^;]*;/~\\bacme-tls\/1\\b '"$PORT"';/; s/default .*/default '"$WEB"';/; s/proxy_pass .*/proxy_pass 127.0.0.1:$tls_port;/'
  grep -qF '~\bacme-tls/1\b '"$PORT;" nginx.conf
  issue map.example.test 127.0.0.1 ::1
  answered map.example.test
  visitors "127.0.0.1:$TLS_PORT"
  run ! client "127.0.0.1:$TLS_PORT" -servername map.example.test -alpn h2,acme-tls/1
  [[ $output == *"alert number 120"* ]]
  quiet
}

@test "N11: through nginx stream with proxy_protocol" {
  take_ports PORT WEB
  RESPOND_AT=127.0.0.1:$PORT
  start_respond --alpn "$ALPN" --listen "$RESPOND_AT" --proxy-from 127.0.0.1
  start_nginx 's/# proxy_protocol on;/proxy_protocol on;/'
  grep -q '^ *proxy_protocol on;' nginx.conf
  issue proxied.example.test 127.0.0.1 ::1
  answered proxied.example.test '127\.0\.0\.1:[0-9]+'
  answered $V6_LOOPBACK '\[::1\]:[0-9]+' # nginx itself comes by IPv4
  quiet

  # Somebody who is not in the list is not believed, and the log says why nothing works.
  stop_server "$RESPOND"
  : >respond.log
  start_respond --alpn "$ALPN" --listen "$RESPOND_AT" --proxy-from 192.0.2.0/24
  run -1 arid sign -x refused.example.test
  said 'warning: 127\.0\.0\.1 speaks the PROXY protocol, and is not in --proxy-from'
  run ! grep -q answered respond.log
}

@test "N11: who must speak the PROXY protocol and does not is closed, and that is said" {
  take_ports PORT WEB
  RESPOND_AT=127.0.0.1:$PORT
  start_respond --alpn "$ALPN" --listen "$RESPOND_AT" --proxy-from 127.0.0.0/8
  start_nginx
  run -1 arid sign -x --accept-terms plain.example.test
  said 'warning: 127\.0\.0\.1 must speak the PROXY protocol \(--proxy-from\), and does not'
  run ! grep -q answered respond.log

  stop_server "$RESPOND"
  start_respond --alpn "$ALPN" --listen "$RESPOND_AT" --proxy-from 127.0.0.0/8 --proxy-protocol accept
  issue accept.example.test
}

# --- HAProxy

# start_haproxy SED: examples/respond/haproxy.cfg on TLS_PORT.
start_haproxy() {
  {
    printf 'defaults\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n'
    example haproxy.cfg -e "s/bind :::443 v4v6/bind :::$TLS_PORT v4v6/; s/127.0.0.1:10443/127.0.0.1:$PORT/; s/127.0.0.1:8443/127.0.0.1:$WEB/" -e "$1"
  } >haproxy.cfg
  start_server haproxy.log haproxy -db -f haproxy.cfg
  await_port "$TLS_PORT" "$STARTED"
}

@test "N11: through HAProxy, version 1, version 2 and none; health checks wake nobody" {
  local sends
  take_ports PORT WEB
  for sends in send-proxy-v2 "send-proxy-v2 check inter 100" send-proxy "send-proxy check inter 100" ""; do
    : >respond.log
    start_respond --alpn "$ALPN" --listen "127.0.0.1:$PORT" ${sends:+--proxy-from 127.0.0.1}
    start_web "$WEB"
    start_haproxy "s/ send-proxy-v2$/ $sends/"
    ! grep -q WARNING haproxy.log || fail "$(cat haproxy.log)"
    issue haproxy.example.test 127.0.0.1 ::1
    answered haproxy.example.test '127\.0\.0\.1:[0-9]+'
    if [ -n "$sends" ]; then
      answered $V6_LOOPBACK '\[::1\]:[0-9]+'
    fi
    visitors "127.0.0.1:$TLS_PORT"
    quiet
    stop_all
  done
}

@test "the PROXY protocol to the backend, as HAProxy reads it" {
  take_ports PORT WEB
  start_web "$WEB"
  local version back
  for version in v1 v2; do
    cat >back.cfg <<CFG
global
  log stdout format raw local0
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen back
  bind 127.0.0.1:$PORT accept-proxy
  log-format "from %ci"
  server web 127.0.0.1:$WEB
CFG
    start_server "back-$version.log" haproxy -db -f back.cfg
    back=$STARTED
    await_port "$PORT" "$back"
    start_respond --alpn "$ALPN" --listen ":$TLS_PORT" --backend "127.0.0.1:$PORT" --send-proxy "$version"
    run -0 client "[::1]:$TLS_PORT"
    [[ $output == *"subject=CN = ordinary.test"* ]]
    await grep -qx 'from ::1' "back-$version.log"
    stop_server "$RESPOND"
    stop_server "$back"
  done
}

# --- superservers

@test "under tcpserver, one process for a connection" {
  local log
  example tcpserver.sh -e "s/ 10443 / $TLS_PORT /; s| /var/lib/arid/alpn| $ALPN|; s| arid respond| $BUILD/arid respond|" >run
  is_root || sed -i 's/-u .* -g "[^"]*" //' run
  start_server respond.log sh run
  await_port "$TLS_PORT" "$STARTED"
  issue tcpserver.example.test 127.0.0.1
  answered tcpserver.example.test '127\.0\.0\.1:[0-9]+'
  answered 1.0.0.127.in-addr.arpa
  run ! client "127.0.0.1:$TLS_PORT" -alpn h2
  [[ $output == *"alert number 120"* ]]
  quiet
  ! is_root || [ "$(ps -o user= -p "$STARTED")" = nobody ]
}

@test "under tcpserver: http-01, with the tokens" {
  start_server respond.log tcpserver -R -H -l 0 127.0.0.1 "$HTTP_PORT" "$BUILD/arid" respond -v --http "$WELLKNOWN"
  await_port "$HTTP_PORT" "$STARTED"
  arid sign --accept-terms -t http-01 http.example.test
  verify_chain "$ARID_BASEDIR/certs/http.example.test/fullchain.pem" http.example.test
  said '127\.0\.0\.1:[0-9]+: http-01: answered "[A-Za-z0-9_-]+"'
  run -22 curl -sS --max-time 20 --fail "http://127.0.0.1:$HTTP_PORT/"
  quiet
}

@test "one listener for http-01 and tls-alpn-01" {
  start_respond --alpn "$ALPN" --http "$WELLKNOWN" --listen "127.0.0.1:$TLS_PORT" --listen "127.0.0.1:$HTTP_PORT"
  issue h.example.test a.example.test -t 'h.example.test:http-01 tls-alpn-01'
  answered a.example.test
  said '.*: http-01: answered .*'
  quiet
}

@test "as a daemon under s6" {
  as_root
  mkdir -p scan/arid-respond
  example s6-run -e "s/:10443/:$TLS_PORT/; s|/var/lib/arid/alpn|$ALPN|; s|^arid respond|$BUILD/arid respond|" >scan/arid-respond/run
  chmod +x scan/arid-respond/run
  start_server respond.log s6-svscan scan
  await_port "$TLS_PORT" "$STARTED"
  issue s6.example.test ::1
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
  # It ends when it is told to, and comes back.
  s6-svc -wD -T 10000 -d scan/arid-respond
  s6-svstat scan/arid-respond | grep -q '^down (signal SIGTERM)'
  s6-svc -u scan/arid-respond
  await_port "$TLS_PORT" "$STARTED"
  issue again.example.test
  quiet
  s6-svc -wD -T 10000 -d scan/arid-respond
}

@test "under s6-ipcserver, behind nginx, on a Unix socket" {
  as_root
  take_ports WEB
  example s6-ipcserver -e "s|/run/arid-respond|$T/socket|g; s|/var/lib/arid/alpn|$ALPN --proxy-from unix|; s|^arid respond|$BUILD/arid respond|" >run
  chmod +x run
  start_server respond.log ./run
  RESPOND_AT=unix:$T/socket
  await listens "$T/socket"
  start_nginx 's/# proxy_protocol on;/proxy_protocol on;/'
  issue ipc.example.test 127.0.0.1 ::1
  answered ipc.example.test '127\.0\.0\.1:[0-9]+'
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
  quiet
  [ "$(stat -c '%a %U:%G' socket)" = "660 root:www-data" ]
}

@test "under inetd, which has nothing but the connection" {
  as_root
  example inetd.conf -e "s/^10443/$TLS_PORT/; s| /var/lib/arid/alpn| $ALPN|; s|/usr/local/bin/arid|$BUILD/arid|" >inetd.conf
  start_server inetd.log inetd -i inetd.conf
  await_port "$TLS_PORT" "$STARTED"
  issue inetd.example.test 127.0.0.1 ::1
  # What is wrong is not told to strangers.
  chmod 700 "$ALPN"
  chown root "$ALPN"
  printf 'hello' >said
  run -0 bash -c 'exec 4<>"/dev/tcp/127.0.0.1/$1"; printf "PROXY UNKNOWN\r\n" >&4; timeout 10 cat <&4' bash "$TLS_PORT"
  [ -z "$output" ]
  run ! client "127.0.0.1:$TLS_PORT" -servername inetd.example.test -alpn acme-tls/1
  [[ $output == *"alert number 112"* && $output != *arid:* ]]
}

# --- systemd

@test "systemd's sockets, several of them" {
  start_server respond.log systemd-socket-activate -l "127.0.0.1:$TLS_PORT" -l "[::1]:$TLS_PORT" -l "127.0.0.1:$HTTP_PORT" \
    "$BUILD/arid" respond -v --alpn "$ALPN" --http "$WELLKNOWN"
  # The first connection starts it.
  await listening 3
  issue h.example.test socket.example.test 127.0.0.1 ::1 -t 'h.example.test:http-01 tls-alpn-01'
  answered socket.example.test
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
  quiet
}

@test "systemd's Accept=yes: the connection as it passes it, and on descriptor 0" {
  local how
  for how in "-a" "-a --inetd"; do
    : >respond.log
    # shellcheck disable=SC2086  # words
    start_server respond.log systemd-socket-activate $how -l "127.0.0.1:$TLS_PORT" -l "[::1]:$TLS_PORT" "$BUILD/arid" respond -v --alpn "$ALPN"
    await listening 2
    issue accept.example.test ::1
    if [ "$how" = -a ]; then # else descriptor 2 is the connection
      answered accept.example.test
      answered $V6_LOOPBACK '\[::1\]:[0-9]+'
    fi
    stop_server "$STARTED"
  done
}

# listening COUNT: systemd-socket-activate does, at so many addresses.
listening() { [ "$(grep -c "Listening on" respond.log)" -eq "$1" ]; }

@test "systemd's units are as it wants them" {
  local unit
  mkdir -p root/usr/lib/systemd root/etc/systemd/system root/usr/local/bin
  ln -s usr/lib root/lib
  cp -r /usr/lib/systemd/system root/usr/lib/systemd/
  cp "$EXAMPLES"/*.service "$EXAMPLES"/*.socket root/etc/systemd/system/
  cp "$BUILD/arid" root/usr/local/bin/
  cp root/etc/systemd/system/arid-respond-each@.service root/etc/systemd/system/arid-respond-each@1.service
  run -0 systemd-analyze verify --root="$T/root" arid-respond.service arid-respond.socket arid-respond-each.socket arid-respond-each@1.service
  [ -z "$output" ] || fail "$output"
  systemd-analyze security --no-pager --offline=true --threshold=20 --root="$T/root" arid-respond.service >log 2>&1 || fail "$(tail -n 1 log)"
}

@test "systemd, by the units: a user of its own, hardened, before a web server" {
  as_root
  local web unit
  take_ports web EACH
  start_web "$web"
  mkdir units
  for unit in "$EXAMPLES"/*.socket "$EXAMPLES"/*.service; do
    example "${unit##*/}" -e "s/^ListenStream=443/ListenStream=$TLS_PORT/; s/^ListenStream=10443/ListenStream=$EACH/" \
      -e "s|/var/lib/arid/alpn|/srv/t/alpn|; s|arid respond|arid respond -v|; s/127.0.0.1:8443/127.0.0.1:$web/" >"units/${unit##*/}"
  done
  for unit in arid-respond arid-respond-each@; do
    mkdir "units/$unit.service.d"
    printf '[Service]\nStandardError=append:/srv/t/respond.log\n' >"units/$unit.service.d/test.conf"
  done
  start_systemd
  in_systemd systemctl start arid-respond.socket arid-respond-each.socket
  run ! in_systemd systemctl --quiet is-active arid-respond.service

  issue systemd.example.test 127.0.0.1 ::1
  answered systemd.example.test
  answered $V6_LOOPBACK '\[::1\]:[0-9]+'
  visitors "127.0.0.1:$TLS_PORT"
  quiet
  local pid
  pid=$(in_systemd systemctl show -P MainPID arid-respond.service)
  [ "$(in_systemd ps -o user= -p "$pid" | cut -c1-7)" != root ]
  in_systemd systemctl stop arid-respond.service arid-respond.socket
  [ "$(in_systemd systemctl show -P Result arid-respond.service)" = success ]

  # A process for each connection; one that fails leaves no unit behind.
  run ! client "[::1]:$EACH" -servername unknown.example.test -alpn acme-tls/1
  [[ $output == *"alert number 112"* ]]
  said '.* refused "unknown.example.test": there is no pair for it'
  rmdir alpn
  run ! client "[::1]:$EACH" -servername unknown.example.test -alpn acme-tls/1
  said 'tls-alpn-01: no answer for "unknown.example.test": .*'
  await units_gone
  mkdir alpn
}

units_gone() { [ -z "$(in_systemd systemctl list-units --all --no-legend 'arid-respond-each@*')" ]; }

# --- lighttpd, which needs none of this

# start_lighttpd PORT: examples/respond/lighttpd.conf there.
start_lighttpd() {
  {
    printf 'server.bind = "127.0.0.1"\nserver.port = %s\nserver.document-root = "%s"\nserver.modules = ()\n' "$HTTP_PORT" "$WELLKNOWN"
    ! is_root || printf 'server.username = "www-data"\nserver.groupname = "www-data"\n'
    example lighttpd.conf -e "s/\":443\"/\"127.0.0.1:$1\"/; s|/var/lib/arid/alpn|$ALPN|" \
      -e "s|/etc/lighttpd/fullchain.pem|$FILE_T/ordinary.pem|; s|/etc/lighttpd/privkey.pem|$FILE_T/ordinary.key|"
  } >lighttpd.conf
  start_server web.log lighttpd -D -f lighttpd.conf
  await_port "$1" "$STARTED"
}

@test "N5: lighttpd by the example" {
  start_lighttpd "$TLS_PORT"
  issue lighttpd.example.test 127.0.0.1
}

@test "N8: lighttpd behind nginx stream, for a CA and for visitors" {
  take_ports PORT
  WEB=$PORT RESPOND_AT=127.0.0.1:$PORT
  start_lighttpd "$PORT"
  start_nginx
  issue behind.example.test 127.0.0.1 ::1
  run -0 client "127.0.0.1:$TLS_PORT" -servername www.example.test
  [[ $output == *"subject=CN = ordinary.test"* ]]
}
