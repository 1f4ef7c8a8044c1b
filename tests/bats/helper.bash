# shellcheck shell=bash
# shellcheck disable=SC2034  # what is set here is for the tests
# The servers that arid is tested against, on free ports of 127.0.0.1.
#
#   load helper
#   setup()    { start_world; }
#   teardown() { stop_all; }
#   @test "..." { run arid sign ...; }
#
# start_world starts lighttpd, a DNS server and Pebble, and sets what follows.
# For other mixtures call the start_... functions one by one, with take_ports
# first; each says what it sets.
#
#   T          the test's own directory, empty at first, removed by bats
#   DIRECTORY  URL of Pebble's directory
#   CA_FILE    PEM of the root of Pebble's own TLS certificate (for --ca-bundle)
#   MGMT       base URL of Pebble's management interface (use pebble_curl)
#   DNS_MGMT   base URL of the DNS server's management interface (set_txt ...)
#   WEBROOT    what lighttpd serves on HTTP_PORT
#   WELLKNOWN  WEBROOT/.well-known/acme-challenge
#   HTTP_PORT  where Pebble connects for http-01
#   TLS_PORT   where Pebble connects for tls-alpn-01; nothing listens at first
#   DNS_ADDR   HOST:PORT of the DNS server: A 127.0.0.1 for every name, no AAAA
#
# Logs of the servers are T/pebble.log, T/dns.log and T/web.log;
# show_logs T prints their ends, which bats shows when the test has failed.

bats_require_minimum_version 1.5.0

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=$TOP/build
PATH=$BUILD:$PATH:/usr/sbin:/sbin
T=$BATS_TEST_TMPDIR
: "${T:=$BATS_FILE_TMPDIR}" # in setup_file

# start_world [REJECT]: everything an order needs. REJECT is the percentage of
# good nonces that Pebble refuses (0).
start_world() {
  take_ports HTTP_PORT TLS_PORT
  start_web
  start_dns
  start_pebble "${1:-0}"
}

# take_ports NAME...: sets each variable to a free port, all of them different, and
# none that was given before in this test or in setup_file, since that may still be
# free: its server is yet to start.
take_ports() {
  local -a _ports # names of the caller's may be any but this and the next
  local _at=0
  # shellcheck disable=SC2086  # one word each
  mapfile -t _ports < <(freeports "$#" ${TAKEN_PORTS:-})
  [ "${#_ports[@]}" -eq "$#" ] || fail "freeports gave ${#_ports[@]} of $# ports"
  export TAKEN_PORTS="${TAKEN_PORTS:-} ${_ports[*]}"
  for ((; $#; _at++)); do
    printf -v "$1" %s "${_ports[_at]}"
    shift
  done
}

# start_pebble [REJECT [MEMBERS]]: a strict Pebble with the one profile
# "default" (90 days), no sleeping, no authorizations used again. Needs
# HTTP_PORT, TLS_PORT and DNS_ADDR. MEMBERS is JSON that goes into the object
# "pebble" of its configuration, such as
#   '"domainBlocklist": ["blocked.example.test"]'
# and may name "retryAfter", and other "profiles" beside "default", too.
# More PEBBLE_... variables may stand before the call. Sets DIRECTORY, MGMT,
# CA_FILE, PEBBLE_PID.
start_pebble() {
  local reject=${1:-0} members=${2:-} port mgmt
  take_ports port mgmt
  CA_FILE=$T/pebble-tls.pem
  [ -e "$CA_FILE" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -keyout "$T/pebble-tls.key" -out "$CA_FILE" -days 2 -subj "/CN=pebble for tests" \
    -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
  cat >"$T/pebble-$port.json" <<EOF
{"pebble": {
  "listenAddress": "127.0.0.1:$port",
  "managementListenAddress": "127.0.0.1:$mgmt",
  "certificate": "$CA_FILE",
  "privateKey": "$T/pebble-tls.key",
  "httpPort": $HTTP_PORT,
  "tlsPort": $TLS_PORT,
  "keyAlgorithm": "ecdsa",
  "retryAfter": {"authz": 0, "order": 0},
  "profiles": {"default": {"description": "default", "validityPeriod": 7776000}}${members:+,
  $members}
}}
EOF
  PEBBLE_WFE_NONCEREJECT=$reject PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=${PEBBLE_AUTHZREUSE:-0} \
    start_server pebble.log pebble -strict -config "$T/pebble-$port.json" -dnsserver "$DNS_ADDR"
  PEBBLE_PID=$STARTED
  DIRECTORY=https://127.0.0.1:$port/dir
  MGMT=https://127.0.0.1:$mgmt
  await_port "$port" "$PEBBLE_PID"
  await_port "$mgmt" "$PEBBLE_PID"
}

# start_dns: the DNS server of the challenge test server. Sets DNS_ADDR,
# DNS_MGMT, DNS_PID.
start_dns() {
  local port mgmt
  take_ports port mgmt
  start_server dns.log pebble-challtestsrv -dnsserver "127.0.0.1:$port" -management "127.0.0.1:$mgmt" \
    -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh ""
  DNS_PID=$STARTED
  DNS_ADDR=127.0.0.1:$port
  DNS_MGMT=http://127.0.0.1:$mgmt
  await_port "$port" "$DNS_PID"
  await_port "$mgmt" "$DNS_PID"
}

# start_web: lighttpd with WEBROOT on HTTP_PORT. When root runs the tests it
# serves as www-data, as on a real host: what that user cannot read is not
# served (the directories above WEBROOT are opened for it). Sets WEBROOT,
# WELLKNOWN, WEB_PID.
start_web() {
  local dir=$T/webroot
  WEBROOT=$dir
  WELLKNOWN=$dir/.well-known/acme-challenge
  mkdir -p "$WELLKNOWN"
  chmod 755 "$dir" "$dir/.well-known" "$WELLKNOWN"
  cat >"$T/lighttpd.conf" <<EOF
server.bind = "127.0.0.1"
server.port = $HTTP_PORT
server.document-root = "$WEBROOT"
server.modules = ()
mimetype.assign = ("" => "application/octet-stream")
EOF
  if [ "$(id -u)" -eq 0 ]; then
    printf 'server.username = "www-data"\n' >>"$T/lighttpd.conf"
    while dir=$(dirname "$dir") && [ "$dir" != / ] && [ "$dir" != /tmp ]; do
      chmod a+x "$dir"
    done
  fi
  start_server web.log lighttpd -D -f "$T/lighttpd.conf"
  WEB_PID=$STARTED
  await_port "$HTTP_PORT" "$WEB_PID"
}

# start_server LOG PROGRAM ARGUMENT...: in the background, output in T/LOG, to
# be ended by stop_all. Sets STARTED, its process id.
start_server() {
  local log=$1
  shift
  command -v "$1" >/dev/null || fail "$1 is not installed; \"make test\" installs what is needed"
  "$@" </dev/null >>"$T/$log" 2>&1 3>&- &
  STARTED=$!
  remember "$STARTED"
}

# remember PID: stop_all is to end it. The moment of its birth is noted too, since
# its number may be another's when it has ended.
remember() { printf '%s %s\n' "$1" "$(birth "$1")" >>"$T/pids"; }

# birth PID: when it was started, in ticks of the kernel; nothing where there is none.
birth() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  awk '{ print $20 }' <<<"${stat##*) }" # the 22nd field; the second may have blanks
}

# await_port PORT PID [ADDRESS]: until 127.0.0.1:PORT, or ADDRESS:PORT, answers,
# at most a minute, and not when process PID has gone.
await_port() {
  local tries address=${3:-127.0.0.1}
  for ((tries = 0; tries < 3000; tries++)); do
    (exec 4<>"/dev/tcp/$address/$1") 2>/dev/null && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.02
  done
  fail "nothing answers on $address:$1"
}

# await COMMAND...: until it succeeds, at most two minutes.
await() {
  local tries
  for ((tries = 0; tries < 2400; tries++)); do
    ! "$@" || return 0
    sleep 0.05
  done
  fail "never: $*"
}

# await_line LOG TEXT PID: until T/LOG has a line with TEXT, at most a minute,
# and not when process PID has gone.
await_line() {
  local tries
  for ((tries = 0; tries < 1200; tries++)); do
    ! grep -qF -- "$2" "$T/$1" || return 0
    kill -0 "$3" 2>/dev/null || break
    sleep 0.05
  done
  fail "no line with \"$2\" in $1"
}

# listens SOCKET: somebody takes connections there, on a Unix socket.
listens() { perl -MIO::Socket::UNIX -e 'exit !IO::Socket::UNIX->new(Peer => shift)' "$1"; }

# stop_server PID: ends it, at the latest after 5 seconds with KILL.
stop_server() {
  kill "$1" 2>/dev/null || return 0
  await_end "$1"
}

# await_end PID: until it has gone, after 5 seconds by KILL.
await_end() {
  local tries
  for ((tries = 0; tries < 500; tries++)); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.01
  done
  kill -KILL "$1" 2>/dev/null || :
  wait "$1" 2>/dev/null || :
}

# stop_all: ends what start_server started, all of it at once, and nothing else.
stop_all() {
  local pid born pids=()
  [ -e "$T/pids" ] || return 0
  while read -r pid born; do
    [ -z "$born" ] || [ "$(birth "$pid")" != "$born" ] || pids+=("$pid")
  done <"$T/pids"
  for pid in "${pids[@]}"; do
    kill "$pid" 2>/dev/null || :
  done
  for pid in "${pids[@]}"; do
    await_end "$pid"
  done
  rm -f "$T/pids"
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$T"
}

# show_logs DIR: the ends of the servers' logs there.
show_logs() {
  local log
  for log in "$1"/*.log; do
    [ -s "$log" ] && printf '%s\n' "--- ${log##*/}" && tail -n 30 "$log"
  done
  return 0
}

# pebble_curl ARGUMENT...: curl that trusts Pebble's own certificate.
pebble_curl() { curl -sS --fail --max-time 20 --cacert "$CA_FILE" "$@"; }

# pebble_root [FILE]: writes the root of what Pebble issues to FILE, or stdout.
pebble_root() { pebble_curl -o "${1:--}" "$MGMT/roots/0"; }

# dns_manage CALL JSON: one call of the DNS server's management, such as
#   dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
dns_manage() { curl -sS --fail --max-time 20 -o /dev/null -d "$2" "$DNS_MGMT/$1"; }

# set_txt NAME VALUE, clear_txt NAME: a TXT record more; all of them gone.
set_txt() { dns_manage set-txt "{\"host\": \"${1%.}.\", \"value\": \"$2\"}"; }
clear_txt() { dns_manage clear-txt "{\"host\": \"${1%.}.\"}"; }

# verify_chain FILE NAME: fails unless FILE holds a leaf for NAME, and issuers up
# to Pebble's root after it.
verify_chain() {
  pebble_root "$T/issuance-root.pem" &&
    openssl verify -purpose sslserver -CAfile "$T/issuance-root.pem" -untrusted "$1" -verify_hostname "$2" "$1"
}

# requests [DIR]: how many Pebble has had, by its log in DIR (T). It writes other lines
# too, some of them when the answer is away already.
requests() { grep -c 'calling handler' "${1:-$T}/pebble.log" || :; }

# past_names DIR: until the clock is past every time that is in a name below DIR, since
# dehydrated names its files by the second.
past_names() {
  local last
  last=$(find "$1" -printf '%f\n' | grep -oE '[0-9]{10}' | sort -n | tail -n 1)
  while [ "$(date +%s)" -le "${last:-0}" ]; do
    sleep 0.05
  done
}

# arid_world: arid's settings for this world, in the environment.
arid_world() {
  export HOME=$T/home ARID_CONFIG=$T/config
  export ARID_BASEDIR=$T/base ARID_CA=$DIRECTORY ARID_CA_BUNDLE=$CA_FILE ARID_WELLKNOWN=$WELLKNOWN
  mkdir -p "$HOME"
  : >"$ARID_CONFIG"
}

# fail MESSAGE...: ends the test.
fail() {
  printf '%s\n' "$*" >&2
  return 1
}
