# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # what is set here is for the tests
# Real servers on the ports that arid itself looks at (53, 80 and 443), each on
# a loopback address taken by chance: BIND, and lighttpd with TLS. Only root may
# listen there. And an sshd, on a free port.
#
#   load helper
#   load servers
#   setup_file()    { is_root || return 0; start_real_world; }
#   setup()         { as_root; arid_world; }
#   teardown()      { stop_all; show_file_logs; }
#   teardown_file() { stop_all; }
#
# start_real_world starts all of it and Pebble, once for the file, and exports:
#
#   WEB        address of lighttpd: WEBROOT on port 80, TLS on port 443;
#              example.test and every name in it lead there
#   ALPN       the directory of its ssl.acme-tls-1, as the permission trap wants
#              it: 2750 root:www-data
#   RESOLVER   address of the BIND that Pebble and arid ask; its root zone is
#              its own, so that nothing leaves this machine
#   PRIMARY    address of the BIND that takes updates
#   SECONDARY  address of one that has slow.test too, as it was at the start:
#              what is new arrives with `transfer`
#   NOBODY     an address where nothing answers
#   TSIG       BIND key file; the key may change TXT records in every zone
#   TSIG_POOR  the same for a key that the servers know, and that may do nothing
#
# Zones, all on PRIMARY but far.test, which SECONDARY has:
#
#   example.test     the ordinary one; has wildcard addresses, and CNAMEs:
#                    _acme-challenge.cname to cname.acme.other.test,
#                    _acme-challenge.loop to itself by way of another,
#                    _acme-challenge.round by way of one in far.test,
#                    _acme-challenge.lost to a name nobody serves;
#                    _acme-challenge.own is a zone of its own
#   acme.other.test  what the CNAME leads to
#   slow.test        on SECONDARY too, and the resolver asks only that one
#   dead.test        says that its only server is NOBODY; the resolver knows better
#   split.test       the resolver has one of its own under that name
#   lame.test        delegated to PRIMARY, which does not serve it
#
# `lead` gives a name the addresses that a test wants.
# Every other name does not exist.

is_root() { [ "$(id -u)" -eq 0 ]; }

# as_root: skips what only root can do.
as_root() { is_root || skip "needs root, for ports 53, 80 and 443 of a loopback address"; }

# start_real_world [ipv6]: all of the above, and Pebble. With "ipv6" lighttpd has
# TLS on [::1] too, and IPV6 is "yes" where that can be.
start_real_world() {
  take_addresses WEB RESOLVER PRIMARY SECONDARY NOBODY
  start_bind
  ALPN=$T/alpn
  install -d -m 2750 -g www-data "$ALPN"
  start_tls_web "$WEB" "$ALPN" "${1:-}"
  DNS_ADDR=$RESOLVER:53 HTTP_PORT=80 TLS_PORT=443
  start_pebble 0
  FILE_T=$T
  export WEB RESOLVER PRIMARY SECONDARY NOBODY TSIG TSIG_POOR ALPN WEBROOT WELLKNOWN IPV6
  export DNS_ADDR HTTP_PORT TLS_PORT DIRECTORY CA_FILE MGMT FILE_T
}

# show_file_logs: of the servers that serve the whole file, if the test failed.
show_file_logs() {
  [ -n "${BATS_TEST_COMPLETED:-}" ] || [ -z "${FILE_T:-}" ] || show_logs "$FILE_T"
}

# take_addresses NAME...: sets each variable to an address of 127.0.0.0/8, all
# different, where nothing answers on the ports 53, 80 and 443.
take_addresses() {
  local _address _tries=0 _taken=" "
  while (($#)); do
    ((_tries++ < 100)) || fail "no loopback address is free on the ports 53, 80 and 443: does a server of this host listen on all addresses?"
    _address=127.$((RANDOM % 250 + 2)).$((RANDOM % 250 + 2)).$((RANDOM % 250 + 2))
    [[ $_taken != *" $_address "* ]] || continue
    if answers "$_address" 53 || answers "$_address" 80 || answers "$_address" 443; then
      continue
    fi
    _taken+="$_address "
    printf -v "$1" %s "$_address"
    shift
  done
}

# answers ADDRESS PORT: is somebody listening there?
answers() { (exec 4<>"/dev/tcp/$1/$2") 2>/dev/null; }

# await_free ADDRESS PORT: until nobody listens there, such as another run of
# these tests; at most 60 seconds.
await_free() {
  local tries
  for ((tries = 0; tries < 120; tries++)); do
    answers "$1" "$2" || return 0
    sleep 0.5
  done
  fail "[$1]:$2 is needed here, and taken"
}

# open_way DIR: the directories above it are opened for other users.
open_way() {
  local dir=$1
  while dir=$(dirname "$dir") && [ "$dir" != / ] && [ "$dir" != /tmp ]; do
    chmod a+x "$dir"
  done
}

# start_bind: the three servers. Needs their addresses, WEB and NOBODY. Sets
# TSIG, TSIG_POOR.
start_bind() {
  TSIG=$T/tsig.key TSIG_POOR=$T/tsig-poor.key
  tsig-keygen -a hmac-sha256 arid-test >"$TSIG"
  tsig-keygen -a hmac-sha256 poor-test >"$TSIG_POOR"
  tsig-keygen -a hmac-sha256 rndc >"$T/rndc.key"
  tsig-keygen -a hmac-sha256 admin-test >"$T/admin.key"
  chmod 600 "$T"/*.key
  # A copy: where AppArmor looks after named, it may not read our files.
  install -m 755 "$(command -v named)" "$T/named"

  local zone
  mkdir -p "$T/primary" "$T/secondary" "$T/resolver"
  for zone in example.test _acme-challenge.own.example.test acme.other.test slow.test dead.test split.test; do
    zone_file "$zone" >"$T/primary/$zone"
    printf 'zone "%s" { type primary; file "%s"; update-policy {\n' "$zone" "$zone"
    printf '  grant arid-test zonesub TXT; grant admin-test zonesub ANY; }; };\n'
  done >"$T/primary.zones"
  cat >"$T/secondary.zones" <<EOC
zone "slow.test" { type secondary; file "slow.test"; primaries { $PRIMARY; }; };
zone "far.test" { type primary; file "far.test"; };
EOC
  PRIMARY=$SECONDARY zone_file far.test >"$T/secondary/far.test"
  root_zone >"$T/resolver/root"
  zone_file split.test >"$T/resolver/split.test"
  cat >"$T/resolver.zones" <<EOC
zone "." { type primary; file "root"; };
zone "split.test" { type primary; file "split.test"; update-policy { grant admin-test zonesub ANY; }; };
zone "slow.test" { type static-stub; server-addresses { $SECONDARY; }; };
zone "dead.test" { type static-stub; server-addresses { $PRIMARY; }; };
EOC
  start_named primary "$PRIMARY" no " running"
  start_named secondary "$SECONDARY" no "zone slow.test/IN: transferred serial"
  start_named resolver "$RESOLVER" yes " running"
}

# start_named NAME ADDRESS RECURSION LINE: with the zones in T/NAME.zones, until
# LINE stands in its log; `rndc_at NAME` speaks to it. BIND listens on addresses of
# interfaces only, so it gets a port of 127.0.0.1 and a relay.
start_named() {
  local port control pid
  take_ports port control
  mkdir -p "$T/$1"
  printf '%s\n' "$control" >"$T/$1.control"
  cat >"$T/$1.conf" <<EOC
include "$TSIG";
include "$TSIG_POOR";
include "$T/rndc.key";
include "$T/admin.key";
controls { inet 127.0.0.1 port $control allow { any; } keys { "rndc"; }; };
options {
  directory "$T/$1";
  pid-file none;
  session-keyfile none;
  listen-on port $port { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion $3;
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  allow-transfer { any; };
};
include "$T/$1.zones";
EOC
  start_server "$1.log" "$T/named" -g -n 1 -c "$T/$1.conf"
  pid=$STARTED
  await_port "$port" "$pid"
  start_server "$1-relay.log" relay "$2:53" "127.0.0.1:$port"
  await_port 53 "$STARTED" "$2"
  await_line "$1.log" "$4" "$pid"
  ! grep "not loaded due to errors" "$T/$1.log" || fail "named does not like a zone of $1"
}

# zone_file ZONE: prints what PRIMARY starts with.
zone_file() {
  local server=$PRIMARY ns=ns1.${1#_acme-challenge.own.}.
  [ "$1" != dead.test ] || server=$NOBODY
  cat <<EOC
\$TTL 60
@ SOA $ns hostmaster.root.test. 1 86400 3600 604800 300
@ NS $ns
EOC
  [[ $1 != _* ]] || return 0
  cat <<EOC
ns1 A $server
@ A $WEB
_acme-challenge.busy TXT "of somebody else"
EOC
  case $1 in
    far.test) printf '_acme-challenge.round CNAME _acme-challenge.round.example.test.\n' ;;
    slow.test) printf '@ NS ns2\nns2 A %s\n' "$SECONDARY" ;;
    example.test) cat <<EOC
* A $WEB
_acme-challenge.cname CNAME cname.acme.other.test.
_acme-challenge.loop CNAME _acme-challenge.loop2
_acme-challenge.loop2 CNAME _acme-challenge.loop
_acme-challenge.round CNAME _acme-challenge.round.far.test.
_acme-challenge.lost CNAME lost.nowhere.invalid.
_acme-challenge.own NS ns1
nobody A $NOBODY
noaddress TXT "no address for this name"
EOC
      ;;
  esac
}

# root_zone: prints what the resolver starts with.
root_zone() {
  cat <<EOC
\$TTL 60
@ SOA ns.root.test. hostmaster.root.test. 1 86400 3600 604800 300
@ NS ns.root.test.
ns.root.test. A $RESOLVER
EOC
  local zone
  for zone in example.test acme.other.test slow.test lame.test dead.test; do
    printf '%s. NS ns1.%s.\nns1.%s. A %s\n' "$zone" "$zone" "$zone" "$PRIMARY"
  done
  printf 'far.test. NS ns1.far.test.\nns1.far.test. A %s\n' "$SECONDARY"
}

# rndc_at NAME WORD...: tells the BIND of that name (primary, secondary, resolver).
rndc_at() {
  local name=$1
  shift
  rndc -s 127.0.0.1 -p "$(cat "$FILE_T/$name.control")" -k "$FILE_T/rndc.key" "$@"
}

# transfer: SECONDARY gets what is new in slow.test.
transfer() { rndc_at secondary retransfer slow.test; }

# forget: the resolver's cache is emptied.
forget() { rndc_at resolver flush; }

# txt_at ADDRESS NAME: the texts that the server there has itself, one a line.
txt_at() { dig +norecurse +short +time=20 +tries=2 "@$1" "$2" TXT; }

# await_txt SERVER NAME [TEXT]: until the server there has it (without TEXT: any),
# at most a minute.
await_txt() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    [[ $(txt_at "$1" "$2") != *"\"${3:-}"* ]] || return 0
    sleep 0.1
  done
  fail "$1 does not have $2 TXT ${3:-}"
}

# zone_txt ZONE: every TXT record that PRIMARY has in it, in order.
zone_txt() { dig +noall +answer "@$PRIMARY" "$1" AXFR | awk '$4 == "TXT"' | sort; }

# put_txt NAME TEXT, cut_txt NAME [TEXT]: by nsupdate at PRIMARY.
put_txt() { printf 'server %s\nupdate add %s. 60 TXT "%s"\nsend\n' "$PRIMARY" "$1" "$2" | nsupdate -k "$TSIG"; }
cut_txt() { printf 'server %s\nupdate delete %s. TXT %s\nsend\n' "$PRIMARY" "$1" "${2:+\"$2\"}" | nsupdate -k "$TSIG"; }

# lead SERVER NAME ADDRESS...: at that server, the name leads to these addresses.
lead() {
  local server=$1 name=$2 type address
  shift 2
  for address; do
    type=A
    [[ $address != *:* ]] || type=AAAA
    printf 'server %s\nupdate add %s. 60 %s %s\nsend\n' "$server" "$name" "$type" "$address"
  done | nsupdate -k "$FILE_T/admin.key"
}

# start_mute ADDRESS: on the ports 53, 80 and 443 everything is taken and nothing
# answered.
start_mute() {
  local port
  for port in 53 80 443; do
    start_server mute.log relay "$1:$port"
    await_port "$port" "$STARTED" "$1"
  done
}

# write_hook: T/hook, for what a test wants to see or to spoil right before the CA
# looks: with each deploy_challenge it runs the shell text in THEN, which finds
# name, token and value in $2, $3 and $4.
write_hook() {
  cat >"$T/hook" <<'EOC'
#!/bin/sh
[ "$1" = deploy_challenge ] || exit 0
eval "${THEN:-}"
EOC
  chmod +x "$T/hook"
}

# start_tls_web ADDRESS [DIR [ipv6]]: lighttpd with WEBROOT on port 80, and on
# port 443 with an ordinary certificate for everybody, and with what is in DIR
# for acme-tls/1 (with no DIR, or an empty word, it does not know acme-tls/1).
# With "ipv6" on [::1]:443 too where there is IPv6. Sets WEBROOT, WELLKNOWN, IPV6,
# WEB_PID.
start_tls_web() {
  WEBROOT=$T/webroot-$1
  WELLKNOWN=$WEBROOT/.well-known/acme-challenge
  mkdir -p "$WELLKNOWN"
  chmod 755 "$WEBROOT" "$WEBROOT/.well-known" "$WELLKNOWN"
  open_way "$WEBROOT"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=ordinary.test" \
    -addext "subjectAltName=DNS:ordinary.test" -keyout "$T/ordinary.key" -out "$T/ordinary.pem" 2>"$T/openssl.log" ||
    fail "openssl: $(cat "$T/openssl.log")"
  IPV6=no
  if [ "${3:-}" = ipv6 ] && grep -q ' lo$' /proc/net/if_inet6 2>/dev/null; then
    IPV6=yes
    await_free ::1 443
  fi
  local socket
  {
    printf 'server.bind = "%s"\nserver.port = 80\nserver.document-root = "%s"\n' "$1" "$WEBROOT"
    printf 'server.modules = ("mod_openssl")\nmimetype.assign = ("" => "application/octet-stream")\n'
    printf 'server.username = "www-data"\nserver.groupname = "www-data"\n'
    for socket in "$1:443" "[::1]:443"; do
      [ "$IPV6" = yes ] || [ "$socket" = "$1:443" ] || continue
      # shellcheck disable=SC2016  # lighttpd's variable
      printf '$SERVER["socket"] == "%s" {\n  ssl.engine = "enable"\n' "$socket"
      printf '  ssl.pemfile = "%s"\n  ssl.privkey = "%s"\n' "$T/ordinary.pem" "$T/ordinary.key"
      [ -z "${2:-}" ] || printf '  ssl.acme-tls-1 = "%s"\n' "$2"
      printf '}\n'
    done
  } >"$T/tls-web-$1.conf"
  start_server web.log lighttpd -D -f "$T/tls-web-$1.conf"
  WEB_PID=$STARTED
  await_port 443 "$WEB_PID" "$1"
}

# start_sshd: on SSH_PORT, for who has T/ssh/id; its other side is this host. SSH speaks
# to it, FAR is its address for that.
start_sshd() {
  take_ports SSH_PORT
  mkdir -m 700 "$T/ssh"
  ssh-keygen -q -t ed25519 -N '' -f "$T/ssh/host"
  ssh-keygen -q -t ed25519 -N '' -f "$T/ssh/id"
  cat >"$T/ssh/config" <<EOC
ListenAddress 127.0.0.1
Port $SSH_PORT
HostKey $T/ssh/host
AuthorizedKeysFile $T/ssh/id.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
LogLevel VERBOSE
EOC
  [ "$(id -u)" -ne 0 ] || install -d -m 755 /run/sshd
  start_server sshd.log "$(command -v sshd)" -D -e -f "$T/ssh/config"
  await_port "$SSH_PORT" "$STARTED"
  printf '[127.0.0.1]:%s %s\n' "$SSH_PORT" "$(cat "$T/ssh/host.pub")" >"$T/ssh/known"
  SSH="ssh -F none -T -o BatchMode=yes -o IdentityFile=$T/ssh/id -o UserKnownHostsFile=$T/ssh/known"
  FAR=ssh://$(id -un)@127.0.0.1:$SSH_PORT
}

# snoozes: stdin is the /proc/PID/status of a snooze that sleeps, and takes ALRM (the 14th
# of the signals). Before it sleeps that is its end, or is missed for minutes.
snoozes() { [ "$(grep -cE $'^Name:\tsnooze$|^State:\tS|^SigCgt:.*[2367abef].{3}$')" = 3 ]; }

# leaf FILE, served PORT [NAME]: the fingerprint of the first certificate in it, or of the
# one that is shown there.
leaf() { openssl x509 -in "$1" -noout -fingerprint -sha256; }
served() {
  openssl s_client -connect "127.0.0.1:$1" -servername "${2:-www.example.test}" </dev/null 2>>"$T/s_client.err" |
    openssl x509 -noout -fingerprint -sha256 2>>"$T/s_client.err"
}

# await_served PORT FILE: until the certificate in it is shown there. For a moment a
# server may have processes of before beside new ones.
await_served() { await shows "$1" "$2"; }
shows() { [ -s "$2" ] && [ "$(served "$1")" = "$(leaf "$2")" ]; }

# start_lighttpd NAME CONFIGURATION: on a free port, with these lines; sets PORT and
# RELOAD, what tells it.
start_lighttpd() {
  take_ports PORT
  {
    printf 'server.modules = ("mod_openssl")\nserver.bind = "127.0.0.1"\nserver.port = %s\n' "$PORT"
    printf 'server.document-root = "%s"\nssl.engine = "enable"\n%s\n' "$T" "$2"
  } >"$T/$1.conf"
  chmod 644 "$T/$1.conf"
  start_server "$1.log" lighttpd -D -f "$T/$1.conf"
  await_port "$PORT" "$STARTED"
  RELOAD="kill -USR1 $STARTED"
}

# nginx_config DIR USER LINE...: prints what nginx needs to run by itself as USER, with its
# own files in DIR, and a server with these lines.
nginx_config() {
  local dir=$1 user=$2 temp
  shift 2
  printf 'daemon off;\nuser %s;\npid %s/pid;\nerror_log stderr;\nevents { worker_connections 64; }\n' "$user" "$dir"
  printf 'http {\n  access_log off;\n'
  for temp in client_body proxy fastcgi uwsgi scgi; do
    printf '  %s_temp_path %s/%s;\n' "$temp" "$dir" "$temp"
  done
  printf '  server {\n'
  printf '    %s\n' "$@"
  printf '  }\n}\n'
}

# start_nginx CHAIN KEY: TLS on a free port with these, by T/nginx.conf; sets PORT and
# RELOAD.
start_nginx() {
  take_ports PORT
  mkdir "$T/nginx"
  nginx_config "$T/nginx" www-data "listen 127.0.0.1:$PORT ssl;" "ssl_certificate $1;" "ssl_certificate_key $2;" \
    "return 204;" >"$T/nginx.conf"
  start_server nginx.log nginx -c "$T/nginx.conf"
  await_port "$PORT" "$STARTED"
  RELOAD="kill -HUP $STARTED"
}
