# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154  # filters of jq; what is set here is for the tests; and what the helper sets for us
# What the tests of renewal share: a Pebble for the file, and for each test a gate
# before it (tests/tools/gate), which counts what it is asked, and an account there.
#
#   load helper
#   load renewal
#   setup_file()    { start_gated_world; }
#   setup()         { gated; }
#   teardown()      { end_gated; }
#   teardown_file() { stop_all; }
#
# start_gated_world exports what start_world sets, and FILE_T, TARGET (HOST:PORT of
# Pebble). gated sets
#
#   GATE_LOG  a line for each request since the start, or since `asked`
#   RULES     what the gate refuses by itself, see tests/tools/gate
#
# and ARID_... for a tree of the test's own, with an account and no domains.txt.

PROFILES='"profiles": {
  "default": {"description": "90 days", "validityPeriod": 7776000},
  "month": {"description": "45 days", "validityPeriod": 3888000},
  "week": {"description": "160 hours", "validityPeriod": 576000},
  "brief": {"description": "60 seconds", "validityPeriod": 60}}'

start_gated_world() {
  take_ports HTTP_PORT TLS_PORT
  start_web
  start_dns
  start_pebble 0 "$PROFILES"
  pebble_target
  FILE_T=$T
  export FILE_T HTTP_PORT TLS_PORT WEBROOT WELLKNOWN DNS_ADDR DNS_MGMT DIRECTORY TARGET MGMT CA_FILE
}

pebble_target() {
  TARGET=${DIRECTORY#https://}
  TARGET=${TARGET%/dir}
}

# gated [PROFILE]: a gate and a tree for this test; orders ask for PROFILE (default).
gated() {
  cd "$T" || return
  start_gate gate
  arid_world
  export ARID_ACME_PROFILE=${1:-default} ARID_DOMAINS_TXT=$T/domains.txt
  arid register --accept-terms
  : >"$GATE_LOG"
}

# one_profile: the same with a Pebble for this test alone, which has one profile, for
# orders that name none.
one_profile() {
  cp "$FILE_T"/pebble-tls.* "$T/"
  start_pebble 0
  pebble_target
  start_gate one-profile
  arid_world
  unset ARID_ACME_PROFILE
  arid register --accept-terms
  : >"$GATE_LOG"
}

end_gated() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}

# start_gate NAME [PORT]: sets DIRECTORY, GATE_LOG (T/NAME.log), RULES, GATE_PORT, GATE_PID.
start_gate() {
  GATE_PORT=${2:-} GATE_LOG=$T/$1.log RULES=$T/$1.rules
  [ -n "$GATE_PORT" ] || take_ports GATE_PORT
  start_server "$1.err" gate "127.0.0.1:$GATE_PORT" "$CA_FILE" "${CA_FILE%.pem}.key" "$TARGET" "$GATE_LOG" "$RULES"
  GATE_PID=$STARTED
  DIRECTORY=https://127.0.0.1:$GATE_PORT/dir
  await_port "$GATE_PORT" "$GATE_PID"
}

# domains NAME...: a line of domains.txt for each.
domains() { printf '%s\n' "$@" >"$ARID_DOMAINS_TXT"; }

# asked: what the CA was asked since the last time, as "METHOD /FIRST-PART-OF-PATH STATUS".
asked() {
  sed -E 's#^[0-9]+ ([A-Z]+ /[^/ ]*)[^ ]* ([0-9]+).*#\1 \2#' "$GATE_LOG"
  : >"$GATE_LOG"
}

# orders: how many new orders were asked for since then.
orders() { grep -c ' POST /order-plz ' "$GATE_LOG" || :; }

# replaced: what each of these orders says that it replaces; "-" for nothing.
replaced() { sed -n 's/.* POST \/order-plz \([0-9]*\) \(.*\)/\2/p' "$GATE_LOG" | jq -r '.replaces // "-"'; }

set_of() { printf '%s/certs/%s' "$ARID_BASEDIR" "$1"; }

# state NAME FILTER: what jq finds in the certificate's state.json.
state() { jq -r "$2" "$(set_of "$1")/state.json"; }

# change FILE FILTER [JQ-ARGUMENT...]: has jq change a state.json, in place.
change() {
  local file=$1 filter=$2
  shift 2
  jq "$@" "$filter" "$file" >"$T/changed" && cat "$T/changed" >"$file"
}

# ago SECONDS: that moment, as state.json has it.
ago() { date -u -d "@$(($(date +%s) - $1))" +%FT%TZ; }

# failed_before NAME MEMBER SECONDS: as if the failure in .failed or .owed.failed had
# been so long ago.
failed_before() { change "$(set_of "$1")/state.json" "$2.last = \$at" --arg at "$(ago "$3")"; }

# ask_now NAME...: the CA may be asked again when it wants them renewed.
ask_now() {
  local name
  for name; do
    change "$(set_of "$name")/state.json" '.ari.ask = $at' --arg at "$(ago 10)"
  done
}

# suggest NAME TEXT: that is what Pebble will answer about the live certificate.
suggest() {
  jq -n --rawfile c "$(set_of "$1")/cert.pem" --arg a "$2" '{Certificate: $c, ARIResponse: $a}' |
    pebble_curl -o "$T/suggested" -d @- "$MGMT/set-renewal-info/"
}

# window START END [URL]: such an answer, from and to these seconds since 1970.
window() {
  jq -n --arg u "${3:-}" --argjson s "$1" --argjson e "$2" \
    '{suggestedWindow: {start: ($s | todate), end: ($e | todate)}} + if $u == "" then {} else {explanationURL: $u} end'
}

# seconds TIME: since 1970.
seconds() { date -d "$1" +%s; }

# begins NAME, ends NAME: when the live certificate does, in seconds since 1970.
begins() { date -d "$(openssl x509 -in "$(set_of "$1")/cert.pem" -noout -startdate | cut -d= -f2)" +%s; }
ends() { date -d "$(openssl x509 -in "$(set_of "$1")/cert.pem" -noout -enddate | cut -d= -f2)" +%s; }

serial() { openssl x509 -in "$(set_of "$1")/cert.pem" -noout -serial; }

# certificate_id NAME: as RFC 9773 §4.1 has it, by openssl.
certificate_id() {
  openssl x509 -in "$(set_of "$1")/cert.pem" -noout -ext authorityKeyIdentifier | sed -n 's/^ *\(keyid:\)\?\([0-9A-F:]*\)$/\2/p' | tr -d ':\n' | base64url
  printf .
  local hex
  hex=$(serial "$1" | cut -d= -f2)
  case $hex in [89A-F]*) hex=00$hex ;; esac
  printf %s "$hex" | base64url
}

# base64url: of hexadecimal digits.
base64url() { perl -e 'use MIME::Base64; $_ = encode_base64(pack("H*", <STDIN>), ""); tr|+/=|-_|d; print' -; }

# due_at NAME: from when on it is due, as --dry-run says.
due_at() { arid renew --dry-run "$1" | sed -n 's/.*not due before \([^ ]*\).*/\1/p'; }

# snapshot DIR: every file below it with mode, times, inode and content.
snapshot() { (cd "$1" && find . -printf '%p %M %T@ %i %l\n' | sort && find . -type f -exec sha256sum {} + | sort); }

# no_news COMMAND...: it says nothing, ends 0, asks nobody and writes nothing.
no_news() {
  snapshot "$ARID_BASEDIR" >"$T/before"
  local before said status=0
  before=$(wc -l <"$GATE_LOG")
  said=$(strace -f -e trace=connect -o "$T/strace" "$@" 2>&1) || status=$?
  [ "$status" -eq 0 ] || fail "status $status: $said"
  [ -z "$said" ] || fail "it says: $said"
  [ "$(wc -l <"$GATE_LOG")" -eq "$before" ] || fail "it asks: $(cat "$GATE_LOG")"
  ! grep 'sa_family=AF_INET' "$T/strace" || fail "it connects"
  snapshot "$ARID_BASEDIR" | diff "$T/before" - || fail "it writes"
}
