# shellcheck shell=bash
# shellcheck disable=SC2034  # what is set here is for the tests
# A network and a set of mounts of a test file's own, where a server can have port
# 53 and /etc/dehydrated is just what Debian's packages put there. Nothing leaves
# it: its only interface is lo, where 127.0.0.0/8 is all for the file.
#
#   load helper
#   load servers
#   load private
#   setup_file()    { is_root || return 0; start_private; ... }
#   setup()         { as_root; fresh_debian; }
#   teardown()      { stop_all; show_file_logs; }
#   teardown_file() { stop_all; }
#
# start_private exports:
#
#   PRIVATE   a process in it
#   FILE_T    T of setup_file, with the logs and with ...
#   ETC       what is mounted on /etc/dehydrated there
#   VAR       what is mounted on /var/lib/dehydrated there
#
# From then on start_server, await_port, await_line and pebble_curl mean servers in there, and
# `inside PROGRAM ARGUMENT...` runs a program there, with / as working directory.
# Names are asked of 127.0.0.1:53 in there.

# start_private [LINE...]: with these lines in /etc/hosts too.
start_private() {
  FILE_T=$T ETC=$T/etc-dehydrated VAR=$T/var-lib-dehydrated
  mkdir "$ETC" "$VAR"
  printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$T/private-resolv.conf"
  printf "%s\n" "127.0.0.1 localhost" "$@" >"$T/private-hosts"
  # shellcheck disable=SC2016  # for the shell in there
  unshare --net --mount --propagation private sh -euc '
    ip link set lo up
    mount --bind "$2" /etc/dehydrated
    mount --bind "$3" /var/lib/dehydrated
    mount --bind "$1/private-resolv.conf" /etc/resolv.conf
    mount --bind "$1/private-hosts" /etc/hosts
    : >"$1/private.ready"
    exec sleep infinity' sh "$T" "$ETC" "$VAR" </dev/null >"$T/private.log" 2>&1 3>&- &
  PRIVATE=$!
  remember "$PRIVATE"
  while [ ! -e "$T/private.ready" ] && kill -0 "$PRIVATE" 2>/dev/null; do
    sleep 0.02
  done
  [ -e "$T/private.ready" ] || fail "no namespaces of our own to be had: $(cat "$T/private.log")"
  export PRIVATE FILE_T ETC VAR
}

# fresh_debian: ETC and VAR as the packages dehydrated and dehydrated-hook-ddns-tsig
# have them after their installation.
fresh_debian() {
  local file sum
  find "$ETC" "$VAR" -mindepth 1 -delete
  # shellcheck disable=SC2016  # the variable is dpkg's
  while read -r file sum; do
    printf '%s  %s\n' "$sum" "$file" | md5sum --status -c || fail "$file is not as Debian ships it"
    install -D -m 644 "$file" "$ETC/${file#/etc/dehydrated/}"
  done < <(dpkg-query -W -f '${Conffiles}\n' dehydrated dehydrated-hook-ddns-tsig | grep .)
  mkdir "$VAR/acme-challenges"
}

# inside PROGRAM ARGUMENT...: runs it in there.
inside() { nsenter --target "$PRIVATE" --net --mount -- "$@"; }

# start_server LOG PROGRAM ARGUMENT...: as that of the helper, in there.
start_server() {
  local log=$1
  shift
  command -v "$1" >/dev/null || fail "$1 is not installed; \"make test\" installs what is needed"
  nsenter --target "$PRIVATE" --net --mount -- "$@" </dev/null >>"$T/$log" 2>&1 3>&- &
  STARTED=$!
  remember "$STARTED"
}

# answers ADDRESS PORT: is somebody listening there?
answers() {
  # shellcheck disable=SC2016  # for that shell
  inside bash -c 'exec 4<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null
}

# await_port PORT PID [ADDRESS]: as that of the helper, in there.
await_port() {
  local tries
  for ((tries = 0; tries < 3000; tries++)); do
    ! answers "${3:-127.0.0.1}" "$1" || return 0
    kill -0 "$2" 2>/dev/null || break
    sleep 0.02
  done
  fail "nothing answers on ${3:-127.0.0.1}:$1"
}

pebble_curl() { inside curl -sS --fail --max-time 20 --cacert "$CA_FILE" "$@"; }

# --- name servers on 127.0.0.1:53 in there, with the zones in ZONES, each as zone_of ZONE
# prints its file. All of them show a zone to whoever asks from here.

# start_bind_53 GRANT [LINE...]: BIND, where GRANT in each zone says who may change it;
# the lines are for the whole.
start_bind_53() {
  local zone grant=$1
  shift
  install -m 755 "$(command -v named)" "$T/named"
  mkdir "$T/zones"
  {
    # shellcheck disable=SC2016  # BIND's
    printf '$TTL 60\n@ SOA ns.root.test. hostmaster.root.test. 1 86400 3600 604800 300\n@ NS ns.root.test.\nns.root.test. A 127.0.0.1\n'
    for zone in $ZONES; do
      printf '%s. NS ns1.%s.\nns1.%s. A 127.0.0.1\n' "$zone" "$zone" "$zone"
    done
  } >"$T/zones/root"
  {
    printf '%s\n' "$@"
    cat <<EOC
controls { };
options {
  directory "$T/zones";
  pid-file none;
  session-keyfile none;
  listen-on { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion yes;
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  allow-transfer { any; };
  max-ncache-ttl 0;
};
zone "." { type primary; file "root"; };
EOC
    for zone in $ZONES; do
      zone_of "$zone" >"$T/zones/$zone"
      printf 'zone "%s" { type primary; file "%s"; %s };\n' "$zone" "$zone" "$grant"
    done
  } >"$T/named.conf"
  start_server named.log "$T/named" -g -n 1 -c "$T/named.conf"
  await_port 53 "$STARTED"
  await_line named.log " running" "$STARTED"
}

# start_powerdns KEY: PowerDNS, with its API for KEY, as its configuration spells it, on
# port 8081. Nothing is cached.
start_powerdns() {
  local zone
  mkdir "$T/pdns"
  cat >"$T/pdns/pdns.conf" <<EOC
launch=gsqlite3
gsqlite3-database=$T/pdns/pdns.sqlite3
local-address=127.0.0.1
socket-dir=$T/pdns
security-poll-suffix=
api=yes
api-key=$1
webserver-address=127.0.0.1
webserver-port=8081
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
EOC
  sqlite3 "$T/pdns/pdns.sqlite3" </usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql
  for zone in $ZONES; do
    zone_of "$zone" >"$T/pdns/$zone.zone"
    pdnsutil --config-dir="$T/pdns" load-zone "$zone" "$T/pdns/$zone.zone"
  done >"$T/pdnsutil.log" 2>&1 || fail "pdnsutil: $(cat "$T/pdnsutil.log")"
  start_server pdns.log pdns_server --config-dir="$T/pdns" --daemon=no --guardian=no
  await_port 53 "$STARTED"
  await_port 8081 "$STARTED"
}

# start_knot RULES: Knot, with these, separated by commas, for each zone; stdin is what they say.
start_knot() {
  local zone
  mkdir -p "$T/knot"
  for zone in $ZONES; do
    zone_of "$zone" >"$T/knot/$zone.zone"
  done
  {
    cat <<EOC
server:
  rundir: $T/knot
  listen: 127.0.0.1@53
  background-workers: 1
  udp-workers: 1
  tcp-workers: 2
log:
  - target: stderr
    any: info
database:
  storage: $T/knot
control:
  listen: $T/knot/sock
EOC
    cat
    printf 'template:\n  - id: default\n    storage: %s\n    file: "%%s.zone"\n    acl: [%s]\nzone:\n' "$T/knot" "$1"
    # shellcheck disable=SC2086  # words
    printf '  - domain: %s\n' $ZONES
  } >"$T/knot/knot.conf"
  start_server knot.log knotd -c "$T/knot/knot.conf"
  await_port 53 "$STARTED"
  await_line knot.log "server started" "$STARTED"
}
