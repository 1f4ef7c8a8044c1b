#!/usr/bin/env bats
# What a person reads when a validation has failed: what the CA said, what arid
# saw from here, and a hint by its name. One test for each of the causes in
# probe/cause.go; each prints the whole text when it fails.

load helper
load servers

setup_file() {
  is_root || return 0
  start_real_world
  take_addresses ODD PLAIN DEAF CLOSER
  export ODD PLAIN DEAF CLOSER
  start_odd_web
  start_deaf_web
  start_server closer.log relay "$CLOSER:443" 127.0.0.1:1
  await_port 443 "$STARTED" "$CLOSER"
}
setup() {
  as_root
  arid_world
  write_hook
  export T ARID_HOOK=$T/hook ARID_DNS_RESOLVER=$RESOLVER ARID_ALPNCERTDIR=$ALPN ARID_DNS_WAIT=0
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# start_odd_web: lighttpd on ODD port 80, which does to some hosts what people
# do to theirs by mistake; and on PLAIN port 443, without TLS.
start_odd_web() {
  mkdir "$T/odd"
  echo "<html>welcome</html>" >"$T/odd/index.html"
  chmod 755 "$T/odd"
  open_way "$T/odd"
  cat >"$T/odd.conf" <<EOC
server.bind = "$ODD"
server.port = 80
\$SERVER["socket"] == "$PLAIN:443" { }
server.document-root = "$T/odd"
server.username = "www-data"
server.modules = ("mod_redirect", "mod_rewrite", "mod_proxy")
mimetype.assign = (".html" => "text/html")
\$HTTP["host"] =~ "^page\." { url.rewrite-once = ("" => "/index.html") }
\$HTTP["host"] =~ "^loop\." { url.redirect = ("^(.*)" => "http://loop.example.test\$1") }
\$HTTP["host"] =~ "^port\." { url.redirect = ("^(.*)" => "https://port.example.test:8443\$1") }
\$HTTP["host"] =~ "^down\." { proxy.server = ("" => (("host" => "127.0.0.1", "port" => 1))) }
EOC
  start_server odd.log lighttpd -D -f "$T/odd.conf"
  await_port 80 "$STARTED" "$ODD"
  local host
  for host in page loop port down; do
    lead "$PRIMARY" "$host.example.test" "$ODD"
  done
}

# start_deaf_web: lighttpd on DEAF, which knows nothing of acme-tls/1.
start_deaf_web() {
  # shellcheck disable=SC2034  # set by the call; those of WEB stay
  local WEBROOT WELLKNOWN IPV6
  start_tls_web "$DEAF"
}

# explains CAUSE TYPE NAME SAID SEEN: an order for NAME fails with status 1; the
# CA's words have SAID in them, those about what is seen from here SEEN, and the
# hint is called CAUSE.
explains() {
  local cause=$1 type=$2 name=$3 said=$4 seen=$5
  run -1 --separate-stderr arid sign --accept-terms -t "$type" "$name"
  # shellcheck disable=SC2154  # bats sets it
  printf '%s\n' "$stderr"
  [ -z "$output" ]
  grep -E "^arid: (\S+: )?$name: $type: " <<<"$stderr" | grep -F -- "$said"
  grep -F "seen" <<<"$stderr" | grep -F -- "$seen"
  grep "^arid: hint: " <<<"$stderr" | grep -wF -- "$cause"
}

# split NAME FOR_CA FOR_US: the CA is led elsewhere, where it fails quickly.
split() {
  lead "$RESOLVER" "$1" "$2"
  lead "$PRIMARY" "$1" "$3"
  export ARID_DNS_RESOLVER=$PRIMARY
}

# validation_pair NAME SAN DIGEST_BYTE: in ALPN, as another client would leave it.
validation_pair() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other \
    -addext "subjectAltName=$2" -addext "1.3.6.1.5.5.7.1.31=critical,DER:04:20$(printf ":$3%.0s" {1..32})" \
    -keyout "$ALPN/$1.key.pem" -out "$ALPN/$1.crt.pem" 2>"$T/openssl.log"
  chmod 640 "$ALPN/$1".*
}

# start_tls ARGUMENT...: openssl s_server with an ordinary certificate.
start_tls() {
  start_server s_server.log openssl s_server -quiet -cert "$FILE_T/ordinary.pem" -key "$FILE_T/ordinary.key" "$@"
}

@test "no-address" {
  explains no-address tls-alpn-01 noaddress.example.test "Could not resolve" "has no address"
}

@test "seen-right: http-01" {
  split http.split.test "$NOBODY" "$WEB"
  explains seen-right http-01 http.split.test "$NOBODY" "$WEB"
}

@test "seen-right: tls-alpn-01" {
  split tls.split.test "$NOBODY" "$WEB"
  explains seen-right tls-alpn-01 tls.split.test "Failed to connect" "$WEB"
}

@test "seen-right: dns-01" {
  export ARID_DNS_RESOLVER=$PRIMARY
  THEN=$PUT explains seen-right dns-01 dns.split.test "unsuccessful response: 3" "$PRIMARY"
}

@test "http-refused" {
  explains http-refused http-01 nobody.example.test "connection refused" "$NOBODY port 80"
}

@test "http-timeout, tls-timeout" {
  local mute
  take_addresses mute
  start_mute "$mute"
  split http-mute.split.test "$NOBODY" "$mute"
  split tls-mute.split.test "$NOBODY" "$mute"
  (explains http-timeout http-01 http-mute.split.test "connection refused" "$mute port 80") 3>&- &
  ARID_BASEDIR=$T/base2 explains tls-timeout tls-alpn-01 tls-mute.split.test "Failed to connect" "$mute port 443"
  wait $!
}

@test "http-unreachable" {
  split http-far.split.test "$NOBODY" 224.0.0.1
  explains http-unreachable http-01 http-far.split.test "connection refused" "224.0.0.1 port 80"
}

@test "http-no-http" {
  local address
  take_addresses address
  start_tls -accept "$address:80"
  await_port 80 "$STARTED" "$address"
  lead "$PRIMARY" nohttp.example.test "$address"
  explains http-no-http http-01 nohttp.example.test "EOF" "$address port 80"
}

@test "http-missing" {
  mkdir "$T/elsewhere"
  ARID_WELLKNOWN=$T/elsewhere explains http-missing http-01 missing.example.test 404 404
}

@test "http-forbidden" {
  # shellcheck disable=SC2016  # the hook's
  THEN='chmod 600 "$WELLKNOWN/$3"' explains http-forbidden http-01 forbidden.example.test 403 403
}

@test "http-status" {
  explains http-status http-01 down.example.test 503 503
}

@test "http-redirect: in a circle" {
  explains http-redirect http-01 loop.example.test "stopped after 10 redirects" "loop.example.test"
}

@test "http-redirect: to a port where CAs do not go" {
  explains http-redirect http-01 port.example.test "connection refused" "8443"
}

@test "http-other-text" {
  explains http-other-text http-01 page.example.test "did not match" "welcome"
}

@test "http-changed" {
  # shellcheck disable=SC2016
  THEN='printf more >>"$WELLKNOWN/$3"' explains http-changed http-01 changed.example.test "did not match" "more"
}

@test "http-other-account" {
  # shellcheck disable=SC2016
  THEN='printf %s.%043d "$3" 0 >"$WELLKNOWN/$3"' explains http-other-account http-01 account.example.test "did not match" account
}

@test "http-v6" {
  grep -q ' lo$' /proc/net/if_inet6 || skip "no IPv6 on the loopback interface"
  lead "$PRIMARY" http6.example.test "$WEB" ::1
  explains http-v6 http-01 http6.example.test "[::1]:80" "[::1] port 80"
}

@test "tls-refused" {
  explains tls-refused tls-alpn-01 nobody.example.test "Failed to connect" "$NOBODY port 443"
}

@test "tls-unreachable" {
  split tls-far.split.test "$NOBODY" 224.0.0.1
  explains tls-unreachable tls-alpn-01 tls-far.split.test "Failed to connect" "224.0.0.1 port 443"
}

@test "tls-no-tls" {
  lead "$PRIMARY" notls.example.test "$PLAIN"
  explains tls-no-tls tls-alpn-01 notls.example.test "Failed to connect" "$PLAIN port 443"
}

@test "tls-handshake" {
  lead "$PRIMARY" closer.example.test "$CLOSER"
  explains tls-handshake tls-alpn-01 closer.example.test "Failed to connect" "$CLOSER port 443"
}

@test "tls-no-alpn" {
  lead "$PRIMARY" deaf.example.test "$DEAF"
  explains tls-no-alpn tls-alpn-01 deaf.example.test "Failed to connect" "$DEAF port 443"
}

@test "tls-ordinary" {
  local address
  take_addresses address
  start_tls -accept "$address:443" -alpn acme-tls/1
  await_port 443 "$STARTED" "$address"
  lead "$PRIMARY" ordinary.example.test "$address"
  explains tls-ordinary tls-alpn-01 ordinary.example.test "Incorrect validation certificate" "ordinary.test"
}

@test "tls-old" {
  validation_pair old.example.test DNS:old.example.test 00
  ARID_ALPNCERTDIR=$T/alpn explains tls-old tls-alpn-01 old.example.test "Invalid acmeValidation extension" "$WEB port 443"
}

@test "tls-other-name" {
  validation_pair named.example.test DNS:other.example.test 00
  ARID_ALPNCERTDIR=$T/alpn explains tls-other-name tls-alpn-01 named.example.test other.example.test other.example.test
}

@test "tls-v6" {
  grep -q ' lo$' /proc/net/if_inet6 || skip "no IPv6 on the loopback interface"
  lead "$PRIMARY" tls6.example.test "$WEB" ::1
  explains tls-v6 tls-alpn-01 tls6.example.test "[::1]:443" "[::1] port 443"
}

# What the hook puts, or something else in its place, at the primary.
# shellcheck disable=SC2016  # the hook's
PUT='printf "server %s\nupdate add _acme-challenge.%s. 60 TXT \"%s\"\nsend\n" "$PRIMARY" "$2" "${OTHER:-$4}" | nsupdate -k "$TSIG"'

@test "dns-no-zone" {
  explains dns-no-zone dns-01 nowhere.invalid "unsuccessful response: 3" nowhere.invalid
}

@test "dns-missing" {
  explains dns-missing dns-01 missing.acme.other.test "unsuccessful response: 3" "$PRIMARY"
}

@test "dns-other" {
  OTHER=yesterday THEN=$PUT explains dns-other dns-01 other.example.test "Correct value not found" yesterday
}

@test "dns-some" {
  THEN=$PUT explains dns-some dns-01 some.slow.test "unsuccessful response: 3" "$SECONDARY"
}

@test "dns-unreachable" {
  explains dns-unreachable dns-01 gone.dead.test "unsuccessful response: 3" "$NOBODY"
}

@test "dns-servfail" {
  explains dns-servfail dns-01 fail.lame.test "unsuccessful response: 2" "SERVFAIL"
}

@test "dns-chain: in a circle over two servers" {
  explains dns-chain dns-01 round.example.test "unsuccessful response: 2" "a loop"
}

@test "dns-chain: in a circle at one server, for which BIND has SERVFAIL and the CNAMEs" {
  explains dns-chain dns-01 loop.example.test "unsuccessful response: 2" _acme-challenge.loop2.example.test
}

@test "dns-chain: to where nothing is" {
  explains dns-chain dns-01 lost.example.test "unsuccessful response: 3" lost.nowhere.invalid
}

@test "every cause has a test here" {
  local cause causes
  mapfile -t causes < <(sed -n 's/.* Cause = "\([a-z0-9-]*\)".*/\1/p' "$TOP/probe/cause.go")
  [ "${#causes[@]}" -gt 20 ]
  for cause in "${causes[@]}"; do
    grep -q "explains $cause " "$BATS_TEST_FILENAME" || fail "no test for $cause"
  done
}
