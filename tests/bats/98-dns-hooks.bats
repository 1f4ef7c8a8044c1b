#!/usr/bin/env bats
# The example hooks that put challenges somewhere, with the servers they are for: Knot,
# PowerDNS, dnsmasq, a person at a terminal, hosts behind ssh, HAProxy; and with the APIs
# of acme-dns and Cloudflare, as tests/tools/dnsapi has them, in front of BIND.

# shellcheck disable=SC2030,SC2031,SC2034,SC2154  # what is set here is for the helpers, and what they and bats set for us

load helper
load servers
load private

EXAMPLES=$TOP/examples/hooks

setup_file() {
  is_root || return 0
  start_private
  take_ports HTTP_PORT TLS_PORT
  DNS_ADDR=127.0.0.1:53
  start_pebble 0
  export CA_FILE DIRECTORY MGMT HTTP_PORT
  # Programs that secrets could be given to as arguments, which everybody can see.
  local program
  mkdir "$T/bin"
  for program in curl jq lexicon; do
    # shellcheck disable=SC2016  # the program's
    printf '#!/bin/sh\nprintf "%%s\\n" "$@" >>"$ARGUMENTS"\nexec %s "$@"\n' "$(command -v "$program")" >"$T/bin/$program"
  done
  chmod +x "$T"/bin/*
  # One account for all of it, by Debian's dehydrated.
  T=$T/first use dns-manual
  mkdir "$FILE_T/first/base"
  run -0 inside dehydrated --config "$FILE_T/first/config" --register --accept-terms
  printf '%s\n' "$output"
}
setup() {
  as_root
  export HOME=$T/home ARGUMENTS=$T/arguments PATH=$FILE_T/bin:$PATH
  mkdir "$HOME"
  : >"$ARGUMENTS"
}
teardown() {
  [ ! -e "$T/dnsmasq.pid" ] || remember "$(cat "$T/dnsmasq.pid")" # of its last start
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# use HOOK [SETTING=VALUE...]: the hook that arid and dehydrated call from now on, and its
# settings, which the config exports.
use() {
  HOOK=$EXAMPLES/$1.sh SETTINGS=("${@:2}")
  mkdir -p "$T"
  {
    printf '%s\n' "CA=$DIRECTORY" "CURL_OPTS=\"--cacert $CA_FILE\"" KEY_ALGO=prime256v1 "HOOK=$HOOK" \
      "CHALLENGETYPE=${HOOK_TYPE-dns-01}" "BASEDIR=$T/base" "WELLKNOWN=${WELLKNOWN:-$T}"
    [ -z "${SETTINGS[*]}" ] || printf 'export %q\n' "${SETTINGS[@]}"
  } >"$T/config"
}

# arid_there, hook_there WORD...: arid, and the hook alone with the umask that arid gives
# it, in the private network.
arid_there() { inside arid "$@" --config "$T/config" --dns-wait 20s; }
hook_there() { (umask 077 && inside env "${SETTINGS[@]}" "$HOOK" "$@"); }

# issues NAME...: by arid, each challenge alone, then all together, each time anew; and
# nothing is left.
issues() {
  local chain
  records >"$T/before"
  rm -rf "$T/base"
  for chain in "" --hook-chain; do
    run -0 arid_there sign --accept-terms --force $chain "$@"
    printf '%s: %s\n' "${chain:---}" "$output"
    [[ $output != *arning* ]]
    issued "$@"
  done
  [ "$(find "$T/base/certs/$1/versions" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
}

# dehydrated_issues NAME...: by Debian's dehydrated, all together. (It waits a second
# for each: this is not for every hook.)
dehydrated_issues() {
  records >"$T/before"
  rm -rf "$T/base"
  mkdir "$T/base"
  cp -a "$FILE_T/first/base/accounts" "$T/base/"
  printf '%s\n' "$*" >"$T/base/domains.txt"
  cp "$T/config" "$T/dehydrated"
  printf 'HOOK_CHAIN=yes\n' >>"$T/dehydrated"
  run -0 inside dehydrated --config "$T/dehydrated" --cron
  printf 'dehydrated: %s\n' "$output"
  issued "$@"
  rm "$T/base/domains.txt"
}

# issued NAME...: the certificate is for them, and nothing is left.
issued() {
  local name
  for name; do
    verify_chain "$T/base/certs/$1/fullchain.pem" "${name/#\*./any.}"
  done
  records | diff "$T/before" -
}

# refused LINE NAME...: no certificate; the hook says why in one line (a pattern); and
# nothing is left.
refused() {
  local line=$1
  shift
  records >"$T/before"
  run -1 arid_there sign --accept-terms --force "$@"
  printf '%s\n' "$output"
  # shellcheck disable=SC2053  # a pattern
  [[ $'\n'$output == *$'\n'${HOOK##*/}:\ $line$'\n'* ]]
  [[ $output == *"${HOOK##*/}\" deploy_challenge: exit status "* ]]
  records | diff "$T/before" -
}

# Values as they are for dns-01, one that begins with "-".
ONE=-1iUf1mLzQCKu6wBDNvyDVX7Ib5pBvEOMTaFqsMTQyI
TWO=dQ0Cw9n-9RsGNcIWaLm8LeBjMvaUoCAqBw1Rv-7NzXo

# by_hand NAME [THEIRS]: what one hook call does, without arid: values come and go one by
# one, whatever was there stays, and everything may be said twice.
by_hand() {
  local name=$1 other=${2-}
  hook_there deploy_challenge "$name" -token "$ONE"
  hook_there deploy_challenge "$name" -token "$ONE" "$name" --help "$TWO"
  there_are "$name" "$ONE" "$TWO" "$other"
  hook_there clean_challenge "$name" -token "$ONE"
  hook_there clean_challenge "$name" -token "$ONE"
  there_are "$name" "$TWO" "$other"
  hook_there clean_challenge "$name" -token "$ONE" "$name" --help "$TWO"
  hook_there clean_challenge "$name" -token "$ONE" "$name" --help "$TWO"
  there_are "$name" "$other"
}

# there_are NAME TEXT...: these TXT records are there for NAME, and no others.
there_are() {
  local name=$1
  shift
  diff <(printf '"%s"\n' "$@" | grep -vx '""' | sort) <(inside dig +short @127.0.0.1 "_acme-challenge.$name" TXT | grep '^"' | sort)
}

# records: every TXT record of the zones in ZONES, one a line.
ZONES="example.test other.test"
records() {
  local zone
  for zone in $ZONES; do
    inside dig +noall +answer @127.0.0.1 "$zone" AXFR | awk '$4 == "TXT" { $2 = ""; print }' | sort
  done
}

# secret TEXT: no program got it as an argument, and some were called.
secret() {
  [ -s "$ARGUMENTS" ]
  run ! grep -F -- "$1" "$ARGUMENTS"
}

# zone_of ZONE: its file. Challenges of cname.ZONE are elsewhere in it.
zone_of() {
  cat <<EOC
\$TTL 60
@ SOA ns1.$1. hostmaster.$1. 1 86400 3600 604800 300
@ NS ns1.$1.
ns1 A 127.0.0.1
@ A 127.0.0.1
_acme-challenge TXT "theirs"
_acme-challenge.cname CNAME challenges
EOC
}

@test "events and challenge types that a hook has nothing to do with" {
  local hook event
  for hook in "$EXAMPLES"/dns-*.sh "$EXAMPLES"/http-*.sh; do
    shellcheck -s sh "$hook"
    # Nothing can be called, and no setting is there.
    for event in "" startup_hook deploy_cert exit_hook this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script; do
      run -0 env -i PATH=/nowhere /bin/dash "$hook" ${event:+"$event"} example.test b c d e f
      [ -z "$output" ]
    done
    for event in deploy_challenge clean_challenge; do
      run -0 env -i PATH=/nowhere CHALLENGETYPE=tls-alpn-01 /bin/dash "$hook" "$event" example.test token value
      [ -z "$output" ]
    done
  done
}

# open_knot: whoever is here may change it.
open_knot() {
  start_knot local <<EOC
acl:
  - id: local
    address: 127.0.0.1
    action: [transfer, update]
EOC
}

@test "Knot, by knotc" {
  open_knot
  use dns-knot "KNOT_SOCKET=$T/knot/sock"
  issues example.test "*.example.test" cname.example.test other.test
  dehydrated_issues example.test "*.example.test"
  by_hand example.test theirs
  refused "Knot has no zone for _acme-challenge.www.nowhere.test" www.example.test www.nowhere.test
}

@test "Knot, while somebody else changes the zone" {
  local pid
  open_knot
  use dns-knot "KNOT_SOCKET=$T/knot/sock" KNOT_WAIT=1
  records >"$T/before"
  inside knotc -s "$T/knot/sock" zone-begin example.test
  refused "zone example.test: waiting for the end of a transaction" example.test
  [[ ${lines[1]} == "dns-knot.sh: zone example.test: somebody else's transaction is open, even after 1 seconds" ]]
  use dns-knot "KNOT_SOCKET=$T/knot/sock" KNOT_WAIT=60
  arid_there sign --accept-terms --force example.test 2>"$T/arid.log" 3>&- &
  pid=$!
  await_line arid.log "waiting for the end of a transaction" "$pid"
  # What they have begun is whole.
  inside knotc -s "$T/knot/sock" zone-set example.test their.example.test. 60 TXT '"their other"'
  inside knotc -s "$T/knot/sock" zone-commit example.test
  wait "$pid"
  verify_chain "$T/base/certs/example.test/fullchain.pem" example.test
  records | diff <(printf '%s\n' 'their.example.test. IN TXT "their other"' | sed 's/ IN/  IN/' | sort - "$T/before") <(records | sort)
}

@test "Knot: nothing is left open" {
  open_knot
  use dns-knot "KNOT_SOCKET=$T/knot/sock" KNOT_TTL=no-number
  refused "knotc zone-set: error: *" example.test
  inside knotc -s "$T/knot/sock" zone-begin example.test
  use dns-knot "KNOT_SOCKET=$T/knot/none"
  refused "knotc zone-status: error: failed to connect to socket *" example.test
}

@test "nsupdate, where a CNAME leads elsewhere" {
  open_knot
  use dns-nsupdate ARID_DNS_SERVER=127.0.0.1
  issues example.test "*.example.test" cname.example.test other.test
  by_hand example.test theirs
}

# keyed_powerdns: its key is in T/pdns.key.
keyed_powerdns() {
  start_powerdns 'a "key" of\tests'
  printf '%s\n' 'a "key" of\tests' >"$T/pdns.key"
}

@test "PowerDNS, by its API" {
  keyed_powerdns
  use dns-pdns "PDNS_KEY_FILE=$T/pdns.key"
  issues example.test "*.example.test" cname.example.test other.test
  by_hand example.test theirs
  secret 'of\tests'
  refused "http://127.0.0.1:8081/api/v1/servers/localhost has no zone for _acme-challenge.www.nowhere.test" www.example.test www.nowhere.test
  printf 'wrong\n' >"$T/pdns.key"
  refused "*/zones?zone=*: HTTP 401: *" example.test
  rm "$T/pdns.key"
  refused "cannot read the key in $T/pdns.key" example.test
}

@test "lexicon, with PowerDNS" {
  ZONES="example.org"
  keyed_powerdns
  printf '%s\n' 'pdns_server: http://127.0.0.1:8081' 'auth_token: a "key" of\tests' >"$T/lexicon_powerdns.yml"
  use dns-lexicon LEXICON_PROVIDER=powerdns "LEXICON_CONFIG_DIR=$T"
  issues example.org "*.example.org"
  # What a call does, without arid.
  hook_there deploy_challenge example.org -token "$ONE"
  hook_there deploy_challenge example.org -token "$ONE"
  hook_there clean_challenge example.org --help "$TWO" www.example.org --help "$TWO"
  there_are example.org "$ONE" theirs
  hook_there clean_challenge example.org -token "$ONE"
  there_are example.org theirs
  secret 'of\tests'
  printf '%s\n' 'pdns_server: http://127.0.0.1:8081' 'auth_token: wrong' >"$T/lexicon_powerdns.yml"
  refused "lexicon powerdns create _acme-challenge.example.org: *401*" example.org
}

# start_dnsmasq: T/restart restarts it, and T/restarts has a line for each time.
start_dnsmasq() {
  mkdir -p "$T/dnsmasq.d"
  cat >"$T/dnsmasq.conf" <<EOC
user=root
no-resolv
no-hosts
bind-interfaces
listen-address=127.0.0.1
auth-server=ns1.example.test,lo
auth-zone=example.test
host-record=example.test,127.0.0.1
host-record=ns1.example.test,127.0.0.1
txt-record=_acme-challenge.example.test,theirs
conf-dir=$T/dnsmasq.d,*.conf
EOC
  cat >"$T/restart" <<EOC
#!/bin/sh
set -eu
dnsmasq --test --conf-file="$T/dnsmasq.conf" 2>/dev/null
read -r pid <"$T/dnsmasq.pid"
kill "\$pid"
# Not by kill -0: who is to reap it may take a while.
while [ -e "$T/dnsmasq.pid" ]; do sleep 0.05; done
until dnsmasq --conf-file="$T/dnsmasq.conf" --pid-file="$T/dnsmasq.pid" 2>>"$T/dnsmasq.log"; do
  [ "\$(grep -c . "$T/dnsmasq.log")" -lt 100 ]
  sleep 0.05
done
echo restarted >>"$T/restarts"
EOC
  chmod +x "$T/restart"
  inside dnsmasq --conf-file="$T/dnsmasq.conf" --pid-file="$T/dnsmasq.pid"
  await_port 53 "$(cat "$T/dnsmasq.pid")"
}

@test "dnsmasq, by txt-record and a restart" {
  ZONES="example.test"
  start_dnsmasq
  use dns-dnsmasq "DNSMASQ_DIR=$T/dnsmasq.d" "DNSMASQ_RESTART=exec '$T/restart'"
  issues example.test "*.example.test" www.example.test
  # For each of three challenges there and back; and once there and back for all.
  [ "$(wc -l <"$T/restarts")" -eq 8 ]
  by_hand example.test theirs
  [ "$(wc -l <"$T/restarts")" -eq 12 ]
  [ -z "$(ls -A "$T/dnsmasq.d")" ]
  use dns-dnsmasq "DNSMASQ_DIR=$T/dnsmasq.d" DNSMASQ_RESTART=false
  refused "dnsmasq cannot be restarted: false" example.test
  [ -z "$(ls -A "$T/dnsmasq.d")" ]
  use dns-dnsmasq "DNSMASQ_DIR=$T/none"
  refused "no folder $T/none" example.test
}

open_bind() { start_bind_53 "allow-update { 127.0.0.1; };"; }

# update LINE...: nsupdate, as the owner of the zones.
update() { printf '%s\n' "server 127.0.0.1" "$@" send | inside nsupdate; }

@test "Cloudflare" {
  open_bind
  update "update delete _acme-challenge.example.test TXT"
  start_server api.log dnsapi cloudflare 127.0.0.1:8080 127.0.0.1:53 token-of_tests other.test example.test
  await_port 8080 "$STARTED"
  printf 'token-of_tests\n' >"$T/token"
  use dns-cloudflare "CLOUDFLARE_TOKEN_FILE=$T/token" CLOUDFLARE_URL=http://127.0.0.1:8080/client/v4
  issues example.test "*.example.test" www.other.test
  by_hand example.test
  secret token-of_tests
  refused "this token has no zone for _acme-challenge.www.nowhere.test" www.example.test www.nowhere.test
  printf 'another-token' >"$T/token"
  refused "looking for the zone of _acme-challenge.example.test: Invalid access token (9109)" example.test
  printf 'no token, but words\n' >"$T/token"
  refused "looking for the zone of *: Invalid request headers (6003), Invalid format for Authorization header (6111)" example.test
  printf 'token-of_tests\n' >"$T/token"
  use dns-cloudflare "CLOUDFLARE_TOKEN_FILE=$T/token" CLOUDFLARE_URL=http://127.0.0.1:8080/client/v4 CLOUDFLARE_ZONE_ID=0123
  refused "adding _acme-challenge.example.test: Could not route to *" example.test
  use dns-cloudflare "CLOUDFLARE_TOKEN_FILE=$T/token" CLOUDFLARE_URL=http://127.0.0.1:8080/client/v4 \
    CLOUDFLARE_ZONE_ID="$(printf %032x $((0xabd)))"
  hook_there deploy_challenge example.test -token "$ONE"
  there_are example.test "$ONE"
  hook_there clean_challenge example.test -token "$ONE"
  there_are example.test
  stop_server "$STARTED"
  run -1 hook_there deploy_challenge example.test token "$ONE"
  [[ ${lines[-1]} == "dns-cloudflare.sh: http://127.0.0.1:8080/client/v4 does not answer" ]]
}

@test "acme-dns" {
  ZONES="example.test auth.test"
  open_bind
  start_server api.log dnsapi acme-dns 127.0.0.1:8080 127.0.0.1:53 auth.test
  await_port 8080 "$STARTED"
  use dns-acme-dns ACMEDNS_URL=http://127.0.0.1:8080
  # The first time it says what has to be done.
  printf 'HOOK_CHAIN=yes\n' >>"$T/config"
  refused "accounts have been made; try again once there are these records:" example.test "*.example.test" www.example.test
  [ "$(stat -c %a "$T/base/acme-dns.json")" = 600 ]
  local name
  for name in example.test www.example.test; do
    [[ $output == *$'\n'"  _acme-challenge.$name. CNAME $(jq -r ".[\"$name\"].fulldomain" "$T/base/acme-dns.json")."$'\n'* ]]
  done
  update "update delete _acme-challenge.example.test TXT"
  while read -r name _ target; do
    update "update add $name 60 CNAME $target"
  done < <(grep ' CNAME ' <<<"$output")
  cp "$T/base/acme-dns.json" "$T/accounts"
  use dns-acme-dns ACMEDNS_URL=http://127.0.0.1:8080 "ACMEDNS_ACCOUNTS=$T/accounts"
  # Nothing is taken away there; the newest two values stay.
  records() { :; }
  issues example.test "*.example.test" www.example.test
  hook_there deploy_challenge example.test -token "$ONE" example.test --help "$TWO"
  there_are example.test "$ONE" "$TWO"
  secret "$(jq -r '.["example.test"].password' "$T/accounts")"
  jq '.["example.test"].password = "wrong"' "$T/accounts" >"$T/wrong"
  use dns-acme-dns ACMEDNS_URL=http://127.0.0.1:8080 "ACMEDNS_ACCOUNTS=$T/wrong"
  refused "http://127.0.0.1:8080/update: HTTP 401: forbidden" example.test
  stop_server "$STARTED"
  run -1 hook_there deploy_challenge example.test token "$ONE"
  [[ ${lines[-1]} == "dns-acme-dns.sh: http://127.0.0.1:8080 does not answer" ]]
  use dns-acme-dns
  refused "where is acme-dns? Set ACMEDNS_URL" example.test
}

# person NAME...: at a terminal, with arid; puts the records that are asked for, and
# presses Enter. T/screen is what is to be seen.
person() {
  local pid command tries
  mkfifo "$T/keys"
  : >"$T/screen"
  printf -v command '%q ' arid sign --accept-terms --hook-chain --config "$T/config" --dns-wait 20s "$@"
  inside script -qefc "$command" /dev/null <"$T/keys" >"$T/screen" 2>&1 3>&- &
  pid=$!
  exec 5>"$T/keys"
  await_line screen "Press Enter when they are there." "$pid"
  sed -n 's/^  \([^ ]*\)\. TXT \("[^"]*"\).*/update add \1. 60 TXT \2/p' "$T/screen" >"$T/updates"
  mapfile -t <"$T/updates"
  update "${MAPFILE[@]}"
  printf '\n' >&5
  exec 5>&-
  wait "$pid"
}

@test "by hand, at a terminal" {
  open_bind
  use dns-manual
  person example.test "*.example.test" cname.example.test
  cat "$T/screen"
  verify_chain "$T/base/certs/example.test/fullchain.pem" any.example.test
  verify_chain "$T/base/certs/example.test/fullchain.pem" cname.example.test
  # They are told twice, to be put and to be taken away.
  [ "$(grep -c '^  _acme-challenge\.example\.test\. TXT "' "$T/screen")" -eq 4 ]
  [ "$(grep -c '^  challenges\.example\.test\. TXT "' "$T/screen")" -eq 2 ]
  grep -q 'These records may go:' "$T/screen"
}

@test "by hand, where there is no terminal" {
  open_bind
  use dns-manual
  run -1 --separate-stderr timeout 60 setsid -w "$BASH" -c '"$@" </dev/null' bash \
    nsenter --target "$PRIVATE" --net --mount -- arid sign --accept-terms --hook-chain --config "$T/config" example.test "*.example.test"
  printf '%s\n' "$stderr"
  [[ ${stderr_lines[0]} == "dns-manual.sh: there is no terminal to ask on; these records are wanted:" ]]
  [[ ${stderr_lines[1]} =~ ^\ \ _acme-challenge\.example\.test\.\ TXT\ \"[A-Za-z0-9_-]{43}\"$ ]]
  [[ ${stderr_lines[2]} =~ ^\ \ _acme-challenge\.example\.test\.\ TXT\ \"[A-Za-z0-9_-]{43}\"$ ]]
}

# start_dns_53: every name is at 127.0.0.1.
start_dns_53() {
  local mgmt
  take_ports mgmt
  start_server dns.log pebble-challtestsrv -dnsserver 127.0.0.1:53 -management "127.0.0.1:$mgmt" \
    -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh ""
  await_port 53 "$STARTED"
}

@test "http-01 on other hosts, by rsync" {
  start_dns_53
  start_web
  start_sshd
  local served=$WELLKNOWN HOOK_TYPE=http-01
  WELLKNOWN=$T/tokens
  mkdir -m 755 "$T/tokens" "$T/second"
  install -m 644 /dev/null "$served/theirs"
  install -m 644 /dev/null "$T/second/theirs"
  records() { find "$T/tokens" "$served" "$T/second" -type f -printf '%p %m\n' | sort; }
  use http-webroot-rsync "HTTP_TARGETS=127.0.0.1:$served $T/second" "RSYNC_RSH=$SSH -p $SSH_PORT"
  issues example.test www.example.test
  # What a call does, without arid. Tokens may look like options.
  export WELLKNOWN
  printf 'one' >"$T/tokens/-token"
  printf 'two' >"$T/tokens/--delete"
  hook_there deploy_challenge example.test -token one www.example.test --delete two
  hook_there deploy_challenge example.test -token one
  they_have -token --delete theirs
  [ "$(cat "$served/-token" "$T/second/--delete")" = onetwo ]
  rm "$T/tokens/-token"
  hook_there clean_challenge example.test -token one
  they_have --delete theirs
  rm "$T/tokens/--delete"
  hook_there clean_challenge example.test -token one www.example.test --delete two
  they_have theirs
  # One of them cannot be reached.
  use http-webroot-rsync "HTTP_TARGETS=127.0.0.1:$served 127.0.0.1:$T/none/there $T/second" "RSYNC_RSH=$SSH -p $SSH_PORT"
  refused "rsync to 127.0.0.1:$T/none/there: status *" example.test
  they_have theirs
  use http-webroot-rsync HTTP_TARGETS=
  refused "where to? Set HTTP_TARGETS" example.test
}

# they_have FILE...: both hosts have these, and no others, and everybody may read them.
they_have() {
  local dir
  for dir in "$served" "$T/second"; do
    diff <(printf '%s 644\n' "$@" | sort) <(find "$dir" -type f -printf '%f %m\n' | sort)
  done
}

# start_haproxy: with the map in T/acme.map and the socket T/admin.sock, as the hook's
# comment has it.
start_haproxy() {
  : >"$T/acme.map"
  {
    printf 'defaults\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n'
    sed -n 's/^#   \(global\|frontend\| \)/\1/p' "$EXAMPLES/http-haproxy-map.sh" |
      sed -e "s|/run/haproxy|$T|" -e "s|/etc/haproxy|$T|g" -e "s|:80$|127.0.0.1:$HTTP_PORT|"
  } >"$T/haproxy.cfg"
  start_server haproxy.log haproxy -db -f "$T/haproxy.cfg"
  await_port "$HTTP_PORT" "$STARTED"
}

# at PATH: what HAProxy answers, and the status.
at() { inside curl -s -w ' %{http_code}' "http://127.0.0.1:$HTTP_PORT/$1" | tr '\n' ' '; }

@test "http-01 by HAProxy's map" {
  start_dns_53
  start_haproxy
  HOOK_TYPE=http-01
  WELLKNOWN=$T/tokens
  mkdir "$T/tokens"
  records() { printf 'show map %s\n' "$T/acme.map" | socat - "UNIX-CONNECT:$T/admin.sock"; }
  use http-haproxy-map "HAPROXY_SOCKETS=UNIX-CONNECT:$T/admin.sock" "HAPROXY_MAP=$T/acme.map"
  issues example.test www.example.test
  dehydrated_issues example.test
  # What a call does, without arid.
  hook_there deploy_challenge example.test -token -value.x www.example.test two value.y
  [ "$(at .well-known/acme-challenge/-token)" = "-value.x 200" ]
  [ "$(at .well-known/acme-challenge/two)" = "value.y 200" ]
  [[ $(at .well-known/acme-challenge/three) == *" 503" ]]
  hook_there clean_challenge example.test -token -value.x
  hook_there clean_challenge example.test -token -value.x
  [[ $(at .well-known/acme-challenge/-token) == *" 503" ]]
  [ "$(at .well-known/acme-challenge/two)" = "value.y 200" ]
  hook_there clean_challenge www.example.test two value.y
  # A map that HAProxy does not have; a HAProxy that is not there.
  use http-haproxy-map "HAPROXY_SOCKETS=UNIX-CONNECT:$T/admin.sock" HAPROXY_MAP=/none.map
  refused "UNIX-CONNECT:$T/admin.sock: Unknown map identifier*" example.test
  use http-haproxy-map "HAPROXY_SOCKETS=UNIX-CONNECT:$T/admin.sock UNIX-CONNECT:$T/none" "HAPROXY_MAP=$T/acme.map"
  refused "UNIX-CONNECT:$T/none: socat: status 1" example.test
}
