#!/usr/bin/env bats
# tls-alpn-01 through lighttpd, which reads the directory as www-data.

load helper
load servers

setup_file() {
  is_root || return 0
  start_real_world ipv6
}
setup() {
  as_root
  arid_world
  export T ALPN WEB ARID_CHALLENGETYPE=tls-alpn-01 ARID_ALPNCERTDIR=$ALPN ARID_DNS_RESOLVER=$RESOLVER
  write_hook
  export THEN=$LOOK
}
teardown() {
  stop_all
  show_file_logs
  [ -z "${ALPN:-}" ] || find "$ALPN" -mindepth 1 -delete
}
teardown_file() { stop_all; }

set_of() { printf '%s/certs/%s' "$ARID_BASEDIR" "$1"; }

# What the hook does: notes names, modes and owners while the CA is about to look.
LOOK='find "$ALPNCERTDIR" -mindepth 1 -printf "%f %m %u:%g %y\n" | sort >"$T/seen";'

# stands_in DIR NAME...: DIR has these files and nothing else.
stands_in() {
  local dir=$1
  shift
  diff <(ls -A "$dir") <((($#)) && printf '%s\n' "$@" | sort)
}

V6_LOOPBACK=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa
V6_NET=0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa
V6_HOST=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa

@test "N1 N2 N5: two names, an IPv4 and an IPv6 address, through lighttpd" {
  [ "$IPV6" = yes ] || skip "no IPv6 on the loopback interface"
  arid sign --accept-terms -k "$T/hook" a.example.test B.example.test "$WEB" ::1
  verify_chain "$(set_of a.example.test)/fullchain.pem" a.example.test
  verify_chain "$(set_of a.example.test)/fullchain.pem" b.example.test
  run -0 openssl x509 -in "$(set_of a.example.test)/cert.pem" -noout -ext subjectAltName
  [[ $output == *"DNS:a.example.test, DNS:b.example.test"* ]]
  [[ $output == *"IP Address:$WEB"* ]]
  [[ $output == *"IP Address:0:0:0:0:0:0:0:1"* ]]
  # What lighttpd's user could read, and nobody else.
  local quad
  IFS=. read -ra quad <<<"$WEB"
  diff <(sort "$T/seen") <(for name in a.example.test b.example.test \
    "${quad[3]}.${quad[2]}.${quad[1]}.${quad[0]}.in-addr.arpa" "$V6_LOOPBACK"; do
    printf '%s 640 root:www-data f\n' "$name.crt.pem" "$name.key.pem"
  done | sort)
  stands_in "$ALPN"
}

@test "one certificate with two names and an IPv4 address, under every umask" {
  local mask
  for mask in 000 022 077; do
    (umask "$mask" && ARID_BASEDIR=$T/base-$mask arid sign --accept-terms -k "$T/hook" "m$mask.example.test" "n$mask.example.test" "$WEB")
    [ "$(grep -c ' 640 root:www-data f$' "$T/seen")" -eq 6 ]
    [ "$(wc -l <"$T/seen")" -eq 6 ]
    stands_in "$ALPN"
  done
}

@test "what the files of IPv6 addresses are called" {
  THEN="$LOOK exit 9" run -1 arid sign --accept-terms -k "$T/hook" ::1 2001:db8:: 2001:db8::1 2001:DB8:0::0:1
  [[ $output == *"exit status 9"* ]]
  diff <(cut -d' ' -f1 "$T/seen") <(for name in "$V6_LOOPBACK" "$V6_NET" "$V6_HOST"; do
    printf '%s\n' "$name.crt.pem" "$name.key.pem"
  done | sort)
  stands_in "$ALPN"
}

@test "the pair is a validation certificate of an hour or a day, and its key fits" {
  THEN='cp "$ALPNCERTDIR"/* "$T"' arid sign --accept-terms -k "$T/hook" pair.example.test
  local crt=$T/pair.example.test.crt.pem key=$T/pair.example.test.key.pem
  [ "$(openssl x509 -in "$crt" -noout -pubkey)" = "$(openssl pkey -in "$key" -pubout)" ]
  run -0 openssl x509 -in "$crt" -noout -text
  [[ $output == *"prime256v1"* ]]
  [[ $output == *"1.3.6.1.5.5.7.1.31: critical"* ]]
  [[ $output == *"DNS:pair.example.test"* ]]
  run ! openssl x509 -in "$crt" -noout -checkend $((2 * 86400))
}

@test "TERM while the CA is about to look: nothing is left" {
  THEN="$LOOK"' kill -TERM "$PPID"; exec sleep 30' run arid sign --accept-terms -k "$T/hook" term.example.test
  [ "$status" -eq 143 ]
  [ "$(wc -l <"$T/seen")" -eq 2 ]
  stands_in "$ALPN"
  arid sign -k "$T/hook" term.example.test
  stands_in "$ALPN"
}

@test "TERM while the CA looks: nothing is left" {
  local mute pid ended=0
  take_addresses mute
  start_mute "$mute"
  lead "$PRIMARY" look.example.test "$mute"
  arid sign --accept-terms look.example.test 3>&- &
  pid=$!
  T=$FILE_T await_line pebble.log 'Value:"look.example.test"' "$pid"
  stands_in "$ALPN" look.example.test.crt.pem look.example.test.key.pem
  kill -TERM "$pid"
  wait "$pid" || ended=$?
  [ "$ended" -eq 143 ]
  stands_in "$ALPN"
}

@test "KILL: the next run uses up what is left" {
  THEN='kill -KILL "$PPID"' run arid sign --accept-terms -k "$T/hook" kill.example.test
  [ "$status" -eq 137 ]
  stands_in "$ALPN" kill.example.test.crt.pem kill.example.test.key.pem
  arid sign -k "$T/hook" kill.example.test
  stands_in "$ALPN"
  verify_chain "$(set_of kill.example.test)/fullchain.pem" kill.example.test
}

@test "KILL when the CA has refused: the next run takes away what is left" {
  # shellcheck disable=SC2016  # the hook's
  printf '#!/bin/sh\n[ "$1" != invalid_challenge ] || [ -z "$DIE" ] || kill -KILL "$PPID"\n' >"$T/hook"
  DIE=now run -137 arid sign --accept-terms -k "$T/hook" nobody.example.test
  stands_in "$ALPN" nobody.example.test.crt.pem nobody.example.test.key.pem
  run -1 arid sign -k "$T/hook" nobody.example.test
  stands_in "$ALPN"
}

@test "what others have in the directory stays" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=theirs" \
    -keyout "$ALPN/theirs.example.test.key.pem" -out "$ALPN/theirs.example.test.crt.pem" 2>"$T/openssl.log"
  echo note >"$ALPN/README"
  (cd "$ALPN" && sha256sum -- *) >"$T/sums"
  arid sign --accept-terms ours.example.test
  (cd "$ALPN" && sha256sum -c "$T/sums")
  stands_in "$ALPN" README theirs.example.test.crt.pem theirs.example.test.key.pem
}

# trap_world: another lighttpd, and its directory TRAP, for trap.example.test;
# root made the directory, and thought of nobody else.
trap_world() {
  local address
  take_addresses address
  TRAP=$T/trap
  install -d -m 755 -o root -g root "$TRAP"
  open_way "$TRAP"
  start_tls_web "$address" "$TRAP"
  lead "$PRIMARY" "$1" "$address"
}

@test "N3: the permission trap: said, with modes and owners; setgid mends it" {
  trap_world trap.example.test
  run -1 arid sign --accept-terms -k "$T/hook" --alpn "$TRAP" trap.example.test
  printf '%s\n' "$output"
  [ "$(sort -u <(cut -d' ' -f2- "$T/seen"))" = "640 root:root f" ]
  [[ $output == *"0640 root:root"* ]]
  [[ $output == *"0755 root:root"* ]]
  [[ $output == *"hint: "*"tls-no-alpn"* ]]
  stands_in "$TRAP"

  chgrp www-data "$TRAP"
  chmod 2750 "$TRAP"
  arid sign -x -k "$T/hook" --alpn "$TRAP" trap.example.test
  [ "$(sort -u <(cut -d' ' -f2- "$T/seen"))" = "640 root:www-data f" ]
  stands_in "$TRAP"
}

@test "N3: the permission trap: --alpn-group mends it too" {
  trap_world group.example.test
  arid sign --accept-terms -k "$T/hook" --alpn "$TRAP" --alpn-group www-data group.example.test
  [ "$(sort -u <(cut -d' ' -f2- "$T/seen"))" = "640 root:www-data f" ]
}

@test "N3: the permission trap: a default ACL mends it too" {
  trap_world acl.example.test
  chmod 700 "$TRAP"
  setfacl -m u:www-data:rx -d -m u::rw,g::-,o::-,u:www-data:r "$TRAP"
  arid sign --accept-terms -k "$T/hook" --alpn "$TRAP" acl.example.test
  stands_in "$TRAP"
}

@test "N4: a directory that is missing is made, closed, and said; lighttpd reads it with the group that is named" {
  local address
  take_addresses address
  open_way "$T/new"
  start_tls_web "$address" "$T/new"
  lead "$PRIMARY" new.example.test "$address"
  run -1 arid sign --accept-terms --alpn "$T/new" new.example.test
  printf '%s\n' "$output"
  [ "$(stat -c '%a %U:%G' "$T/new")" = "750 root:root" ]
  [[ ${lines[0]} == "arid: warning: "*"made the directory \"$T/new\""* ]]
  [[ $output == *"tls-no-alpn"* ]]
  run -1 arid sign -x --accept-terms --alpn "$T/new" new.example.test
  [[ $output != *"made the directory"* ]]
  rmdir "$T/new"
  run -0 arid sign -x --alpn "$T/new" --alpn-group www-data new.example.test
  [[ $output == *"made the directory \"$T/new\""* ]]
  [ "$(stat -c '%a %U:%G' "$T/new")" = "750 root:www-data" ]
}

# shown ADDRESS: the serial number of what lighttpd shows to visitors.
shown() { openssl s_client -connect "$1:443" -servername www.example.test </dev/null 2>/dev/null | openssl x509 -noout -serial; }

@test "N6 N7: the document's command; SIGUSR1 then shows the new certificate, and lighttpd stays" {
  local address tls=$T/lighttpd-tls
  take_addresses address
  # lighttpd's files are those of the example hook; in the beginning they are anybody's.
  install -d -m 750 -g www-data "$tls"
  start_tls_web "$address" "$ALPN"
  stop_server "$WEB_PID"
  (umask 027 && cat "$T/ordinary.key" "$T/ordinary.pem" >"$tls/doc.example.test.pem")
  chgrp www-data "$tls/doc.example.test.pem"
  open_way "$tls"
  sed -i "s|^  ssl.pemfile .*|  ssl.pemfile = \"$tls/doc.example.test.pem\"|; /ssl.privkey/d" "$T/tls-web-$address.conf"
  printf 'server.pid-file = "%s"\n' "$T/lighttpd.pid" >>"$T/tls-web-$address.conf"
  start_server web.log lighttpd -D -f "$T/tls-web-$address.conf"
  await_port 443 "$STARTED" "$address"
  lead "$PRIMARY" doc.example.test "$address"

  cat >"$T/config" <<EOC
CA="$DIRECTORY"
BASEDIR="$T/dehydrated"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEYSIZE=2048
EOC
  mkdir "$T/dehydrated"
  export LIGHTTPD_TLS=$tls LIGHTTPD_PREFLIGHT="lighttpd -tt -f '$T/tls-web-$address.conf'"
  export LIGHTTPD_RELOAD="kill -USR1 \"\$(cat '$T/lighttpd.pid')\"" PATH=$BUILD:$PATH
  document() { env -u ARID_CA -u ARID_BASEDIR -u ARID_CA_BUNDLE "$BUILD/arid" dehydrated -f "$T/config" "$@"; }
  document --register --accept-terms
  for _ in first second; do
    document -t tls-alpn-01 --alpn "$ALPN" -c --out "$T/out" -d doc.example.test -k "$TOP/examples/hooks/lighttpd.sh" -x
    await_serial "$address" "$(openssl x509 -in "$T/out/doc.example.test/cert.pem" -noout -serial)"
    kill -0 "$STARTED"
    stands_in "$ALPN"
  done
  verify_chain "$T/out/doc.example.test/fullchain.pem" doc.example.test
}

# await_serial ADDRESS SERIAL: until that is shown, at most a minute.
await_serial() {
  local tries
  for ((tries = 0; tries < 1200; tries++)); do
    [ "$(shown "$1")" != "$2" ] || return 0
    sleep 0.05
  done
  fail "$1 shows $(shown "$1") and not $2"
}

@test "a directory that cannot be used: before anything is asked" {
  : >"$T/file"
  local asked
  asked=$(requests "$FILE_T")
  run arid sign --accept-terms --alpn "$T/file" bad.example.test
  printf '%s\n' "$output"
  [ "$status" -ne 0 ]
  [[ $output == *"ALPNCERTDIR \"$T/file\" is not a directory"* ]]
  [ "$(requests "$FILE_T")" -eq "$asked" ]
}

# unasked NAME: the CA has not looked at it.
unasked() { ! grep -F "Value:\"$1\"" "$FILE_T/pebble.log"; }

@test "--self-check: what lighttpd cannot read is not told to the CA; the order goes on once it can" {
  trap_world check.example.test
  run -1 arid sign --accept-terms --self-check --alpn "$TRAP" check.example.test
  printf '%s\n' "$output"
  [[ ${lines[0]} == "arid: check.example.test: tls-alpn-01: not seen from here, and the CA is not told: TLS at 127."*" port 443: the server does not take acme-tls/1 (alert no_application_protocol); the files are 0640 root:root in a directory 0755 root:root" ]]
  [[ ${lines[1]} == "arid: hint: "*"[tls-no-alpn]" ]]
  stands_in "$TRAP"
  unasked check.example.test

  chgrp www-data "$TRAP"
  chmod 2750 "$TRAP"
  run -0 arid sign -v -x --self-check --alpn "$TRAP" check.example.test
  [[ $output == *"going on with the order of an earlier run"* ]]
  run ! unasked check.example.test
  stands_in "$TRAP"
}

@test "--self-check: http-01 and an address, seen and not seen" {
  lead "$PRIMARY" http.check.example.test "$WEB"
  lead "$PRIMARY" none.check.example.test "$NOBODY"
  arid sign --accept-terms --self-check -t http-01 --wellknown "$WELLKNOWN" http.check.example.test "$WEB"
  run -1 arid sign --self-check -t http-01 --wellknown "$WELLKNOWN" none.check.example.test
  [[ ${lines[0]} == "arid: none.check.example.test: http-01: not seen from here, and the CA is not told: http://none.check.example.test/.well-known/acme-challenge/"*" at $NOBODY port 80: connection refused" ]]
  [[ ${lines[1]} == *"[http-refused]" ]]
  unasked none.check.example.test
  stands_in "$WELLKNOWN"
  # Without it the CA is asked, and says the same.
  run -1 arid sign -x -t http-01 --wellknown "$WELLKNOWN" none.check.example.test
  [[ $output == *"(connection)"* ]]
  run ! unasked none.check.example.test
}

@test "--self-check with --listen: on the ports that a CA asks" {
  local address
  take_addresses address
  lead "$PRIMARY" own.check.example.test "$address"
  arid sign --accept-terms --self-check --listen "$address:443" own.check.example.test "$address"
  arid sign --self-check -x -t http-01 --listen "$address:80" own.check.example.test
  run ! answers "$address" 443
}

@test "three types in one certificate" {
  # Once it has an _acme-challenge below it, the zone's wildcard is not for it.
  lead "$PRIMARY" m.example.test "$WEB"
  arid sign --accept-terms -t "h.example.test:http-01 tls-alpn-01 dns-01" --dns-update --dns-key "$TSIG" \
    h.example.test m.example.test "*.m.example.test" "$WEB"
  local name
  for name in h.example.test m.example.test any.m.example.test; do
    verify_chain "$(set_of h.example.test)/fullchain.pem" "$name"
  done
  stands_in "$ALPN"
  stands_in "$WELLKNOWN"
  [[ $(zone_txt example.test) != *.m.example.test* ]]
}

@test "rehearse with the user's own server, and with arid's" {
  unset ARID_CA ARID_CA_BUNDLE ARID_BASEDIR
  run -0 arid rehearse -t tls-alpn-01 --alpn "$ALPN" --tls-port 443 --dns "$RESOLVER:53" mine.example.test
  stands_in "$ALPN"
  run -0 arid rehearse -t tls-alpn-01 in.example.test
}
