#!/usr/bin/env bats
# What the manual of lws-acme-client promises, row by row (docs/seeds.md), where no
# other file shows it.

# shellcheck disable=SC2030,SC2031,SC2153,SC2154  # each test is a subshell; set by take_ports and run
load helper
load servers

# One world for all: a Pebble whose certificates are of 13, 14 or 15 days too.
setup_file() {
  take_ports HTTP_PORT TLS_PORT
  start_web
  start_dns
  local day=86400
  start_pebble 0 "\"profiles\": {
    \"default\": {\"description\": \"90 days\", \"validityPeriod\": $((90 * day))},
    \"d13\": {\"description\": \"13 days\", \"validityPeriod\": $((13 * day))},
    \"d14\": {\"description\": \"14 days\", \"validityPeriod\": $((14 * day))},
    \"d15\": {\"description\": \"15 days\", \"validityPeriod\": $((15 * day))}}"
  export HTTP_PORT TLS_PORT DIRECTORY MGMT CA_FILE WEBROOT WELLKNOWN DNS_ADDR DNS_MGMT
}
setup() {
  arid_world
  export ARID_ACME_PROFILE=default # Pebble would choose
}
teardown() { stop_all; }
teardown_file() {
  T=$BATS_FILE_TMPDIR
  stop_all
}

# live NAME: the folder of its certificate.
live() { printf '%s\n' "$ARID_BASEDIR/certs/$1"; }

@test "L1 L11: a certificate from thin air, for the name that was asked for, which a browser would believe" {
  run --separate-stderr -0 arid sign --accept-terms -d www.example.test
  [ -z "$output" ]
  [ "$(stat -c %a "$(live www.example.test)/live/privkey.pem")" = 600 ]
  verify_chain "$(live www.example.test)/fullchain.pem" www.example.test
  [ "$(openssl pkey -in "$(live www.example.test)/privkey.pem" -pubout)" = "$(openssl x509 -in "$(live www.example.test)/cert.pem" -noout -pubkey)" ]
}

@test "L2: who asks for tls-sni-01 is told what has taken its place, and that issues, through lighttpd" {
  run -64 arid sign --accept-terms -t tls-sni-01 www.example.test
  [ "$output" = 'arid: --challenge "tls-sni-01": no CA has it any more: tls-alpn-01 is what uses the same port' ]
  arid promote -q --or-self-signed "$T/own.pem" "$T/own.key"
  mkdir -m 700 "$T/alpn"
  printf '%s\n' 'server.modules = ("mod_openssl")' 'server.bind = "127.0.0.1"' "server.port = $TLS_PORT" "server.document-root = \"$T\"" \
    'ssl.engine = "enable"' "ssl.pemfile = \"$T/own.pem\"" "ssl.privkey = \"$T/own.key\"" "ssl.acme-tls-1 = \"$T/alpn\"" >"$T/alpn.conf"
  start_server alpn.log lighttpd -D -f "$T/alpn.conf"
  await_port "$TLS_PORT" "$STARTED"
  arid sign -q --accept-terms -t tls-alpn-01 --alpn "$T/alpn" www.example.test
  verify_chain "$(live www.example.test)/fullchain.pem" www.example.test
  [ -z "$(ls -A "$T/alpn")" ]
}

@test "L3: two weeks before the end, and no earlier" {
  local days
  unset ARID_ACME_PROFILE
  for days in 13 14 15; do
    arid sign -q --accept-terms --profile "d$days" "d$days.example.test"
    printf 'd%s.example.test\n' "$days" >>"$T/domains.txt"
  done
  export ARID_DOMAINS_TXT=$T/domains.txt
  run -0 arid due --renew-days 14d d13.example.test
  run -0 arid due --renew-days 14d d14.example.test
  run -1 arid due --renew-days 14d d15.example.test
  # Without it the CA's own advice decides, or a third of the lifetime that is left.
  run -1 arid due d13.example.test
}

# hex_of LABEL: that number in the text that openssl prints of a key, in hexadecimal.
hex_of() { sed -n "/^$1:/,/^[^ ]/{/^ /p}" | tr -d ' :\n'; }

# bytes: what stands on stdin in hexadecimal.
bytes() { printf '%b' "$(sed 's/../\\x&/g')"; }

# b64 HEX: in base64url without padding.
b64() { bytes <<<"$1" | base64 -w 0 | tr '+/' '-_' | tr -d =; }

# ec_key HEX: a P-256 key with this secret number, as PEM in T/key.pem; sets D, X, Y.
ec_key() {
  local point
  D=$1
  bytes <<<"30310201010420${D}a00a06082a8648ce3d030107" | openssl ec -inform DER -out "$T/key.pem" 2>"$T/openssl.log"
  point=$(openssl ec -in "$T/key.pem" -noout -text 2>"$T/openssl.log" | hex_of pub)
  X=${point:2:64} Y=${point:66}
}

@test "L4 L8 L23: auth.jwk of either TLS library is read in place, and leads to the same account as the key in PEM" {
  local form url jwk=$T/tls/auth.jwk
  mkdir -m 700 "$T/tls"
  ec_key "00$(openssl rand -hex 31)"
  url=$(arid register -q --accept-terms -p "$T/key.pem")
  for form in whole stripped plain; do
    case $form in
      whole) set -- "$(b64 "$D")" "$(b64 "$X")" "$(b64 "$Y")" ;;
      stripped) set -- "$(b64 "${D#00}")" "$(b64 "$X")" "$(b64 "$Y")" ;;
      plain) set -- "$(bytes <<<"00$D" | base64 -w 0)" "$(bytes <<<"00$X" | base64 -w 0)" "$(bytes <<<"00$Y" | base64 -w 0)" ;;
    esac
    printf '{"crv":"P-256","d":"%s","kty":"EC","x":"%s","y":"%s"}\n' "$@" >"$jwk"
    sha256sum "$jwk" >"$T/sum"
    run -0 arid register -q -p "$jwk"
    [ "$output" = "$url" ]
    sha256sum -c "$T/sum"
  done
  arid sign -q -p "$jwk" www.example.test
  sha256sum -c "$T/sum"
  # RSA, as it was before.
  openssl genrsa -traditional -out "$T/rsa.pem" 2048 2>"$T/openssl.log"
  local -a n
  mapfile -t n < <(openssl asn1parse -in "$T/rsa.pem" | sed -n 's/.*INTEGER *:\([0-9A-F]*\)$/\1/p' | sed 's/^.\(..\)*$/0&/')
  printf '{"d":"%s","dp":"%s","dq":"%s","e":"%s","kty":"RSA","n":"%s","p":"%s","q":"%s","qi":"%s"}\n' "$(b64 "${n[3]}")" "$(b64 "${n[6]}")" \
    "$(b64 "${n[7]}")" "$(b64 "${n[2]}")" "$(b64 "${n[1]}")" "$(b64 "${n[4]}")" "$(b64 "${n[5]}")" "$(b64 "${n[8]}")" >"$jwk"
  url=$(arid register -q --accept-terms -p "$T/rsa.pem")
  run -0 arid register -q -p "$jwk"
  [ "$output" = "$url" ] || fail "$output, not $url"
}

@test "L8 L15: an account key that is not there is made once, closed; a directory for it never" {
  local url
  mkdir -m 700 "$T/tls"
  url=$(arid register -q --accept-terms -p "$T/tls/auth.pem")
  [ "$(stat -c %a "$T/tls/auth.pem")" = 600 ]
  sha256sum "$T/tls/auth.pem" >"$T/sum"
  [ "$(arid register -q -p "$T/tls/auth.pem")" = "$url" ]
  sha256sum -c "$T/sum"
  run -74 arid register --accept-terms -p "$T/none/auth.pem"
  [ ! -e "$T/none" ]
}

@test "L16: an account key that cannot be read, or is none, stays as it is" {
  mkdir "$T/keys"
  local text
  for text in '{"crv":"P-256","kty":"EC","x":"AA","y":"AA"}' '{"kty":"EC"' '-----BEGIN PRIVATE KEY-----' ''; do
    printf %s "$text" >"$T/keys/auth.jwk"
    run -65 arid register --accept-terms -p "$T/keys/auth.jwk"
    [[ $output == *auth.jwk* ]]
    [ "$(cat "$T/keys/auth.jwk")" = "$text" ]
  done
  [ "$(ls -A "$T/keys")" = auth.jwk ]
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  openssl ecparam -genkey -name prime256v1 -noout -out "$T/keys/auth.pem"
  chmod 000 "$T/keys/auth.pem"
  sha256sum "$T/keys/auth.pem" >"$T/sum"
  install -m 755 "$BUILD/arid" "$T/arid"
  local dir=$T/keys/x
  while dir=$(dirname "$dir") && [ "$dir" != / ] && [ "$dir" != /tmp ]; do chmod a+x "$dir"; done
  run -77 setpriv --reuid nobody --regid nogroup --clear-groups "$T/arid" register -f /dev/null --base "$T/none" --accept-terms -p "$T/keys/auth.pem"
  [[ $output == *auth.pem*"permission denied"* ]]
  sha256sum -c "$T/sum"
}

@test "L5: a name that leads elsewhere is seen before the CA is told" {
  dns_manage add-a '{"host": "away.example.test", "addresses": ["127.254.254.254"]}'
  run -1 arid sign --accept-terms --self-check --check-port "$HTTP_PORT" --dns-resolver "$DNS_ADDR" away.example.test
  [[ $output == *"away.example.test"*"127.254.254.254"*"connection refused"* ]]
  [ ! -e "$(live away.example.test)/cert.pem" ]
  arid sign -q --accept-terms --self-check --check-port "$HTTP_PORT" --dns-resolver "$DNS_ADDR" here.example.test
}

@test "L6: one certificate for two servers: both are told, and either alone when it has another one" {
  arid sign -q --accept-terms www.example.test
  local files=(www.example.test) server port_a port_b reload_a reload_b
  for server in a b; do
    files+=(--parts key --to "$T/$server.key" --parts fullchain --to "$T/$server.pem")
  done
  arid install -q "${files[@]}"
  start_lighttpd a "ssl.pemfile = \"$T/a.pem\" ssl.privkey = \"$T/a.key\""
  port_a=$PORT reload_a=$RELOAD
  start_lighttpd b "ssl.pemfile = \"$T/b.pem\" ssl.privkey = \"$T/b.key\""
  port_b=$PORT reload_b=$RELOAD
  arid sign -q -x www.example.test
  arid install "${files[@]}" --reload "$reload_a" --reload "$reload_b" --verify "127.0.0.1:$port_a" --verify "127.0.0.1:$port_b"
  await_served "$port_a" "$(live www.example.test)/cert.pem"
  await_served "$port_b" "$(live www.example.test)/cert.pem"
  # One of them cannot be told: the other is told all the same, and goes back with it.
  local before
  before=$(served "$port_a")
  arid sign -q -x www.example.test
  run -10 arid install "${files[@]}" --reload false --reload "echo b >>$T/told; $reload_b" --verify "127.0.0.1:$port_a"
  [ "$(cat "$T/told")" = "b"$'\n'"b" ]
  [ "$(leaf "$T/a.pem")" = "$before" ]
  [ "$(leaf "$T/b.pem")" = "$before" ]
  await_served "$port_b" "$T/b.pem"
}

@test "L7 L13: country, state, locality and organization are in the request, and not in the certificate" {
  arid sign -q --accept-terms --subject "C=TW,ST=Taipei,L=Xiaobitan,O=Crash Barrier, Ltd" www.example.test alt.example.test
  run -0 openssl req -in "$(live www.example.test)/cert.csr" -noout -text -verify
  [[ $output == *"Subject: C = TW, ST = Taipei, L = Xiaobitan, O = \"Crash Barrier, Ltd\""* ]]
  [[ $output == *"DNS:www.example.test, DNS:alt.example.test"* ]]
  [[ $output != *example@* && $output != *emailAddress* ]]
  run -0 openssl x509 -in "$(live www.example.test)/cert.pem" -noout -subject
  [[ $output != *Taipei* && $output != *Barrier* ]]
}

@test "L10 L24: first at a CA for tests, in a directory of its own, then at the real one, by --ca alone" {
  local port
  take_ports port
  run -75 arid sign --accept-terms --ca "https://127.0.0.1:$port/dir" www.example.test
  [[ $output == *"connection refused"* ]]
  arid sign -q --accept-terms -o "$T/trial" www.example.test
  local trial=$CA_FILE trial_mgmt=$MGMT
  T=$T/real
  mkdir "$T"
  start_pebble 0
  T=${T%/real}
  cat "$T/real/pids" >>"$T/pids"
  cat "$CA_FILE" "$trial" >"$T/both.pem"
  arid sign -q --accept-terms --ca "$DIRECTORY" --ca-bundle "$T/both.pem" www.example.test
  verify_chain "$(live www.example.test)/fullchain.pem" www.example.test
  run ! openssl verify -CAfile "$T/issuance-root.pem" -untrusted "$T/trial/www.example.test/fullchain.pem" "$T/trial/www.example.test/fullchain.pem"
  CA_FILE=$trial MGMT=$trial_mgmt verify_chain "$T/trial/www.example.test/fullchain.pem" www.example.test
  [ "$(find "$ARID_BASEDIR/accounts" -name account_key.pem | wc -l)" -eq 2 ]
}

@test "L15: a key in directories that all can enter: a warning, or 77; missing ones are never made" {
  [ "$(id -u)" -eq 0 ] || [ -w /tmp ]
  local open
  open=$(mktemp -d /tmp/arid-lws.XXXXXX) # nothing above it is closed
  chmod 755 "$open"
  arid sign -q --accept-terms www.example.test
  local files=(www.example.test --stage --parts fullchain --to "$open/www.pem" --parts key --to "$open/www.key")
  arid install -q "${files[@]}"
  run -77 arid promote --strict-perms "$open/www.pem" "$open/www.key"
  [ ! -e "$open/www.pem" ]
  run -0 arid promote "$open/www.pem" "$open/www.key"
  [[ $output == "arid: warning: \"$open/www.key\": no directory above it is closed to others"* ]]
  chmod 700 "$open"
  arid sign -q -x www.example.test
  arid install -q "${files[@]}"
  run --separate-stderr -0 arid promote --strict-perms "$open/www.pem" "$open/www.key"
  [[ $stderr != *warning* ]]
  rm -r "$open"
  run -74 arid install "${files[@]}"
  run -74 arid promote --or-self-signed "$open/www.pem" "$open/www.key"
  [ ! -e "$open" ]
}

@test "L22: two virtual hosts share a certificate: one change, one call of the hook" {
  cat >"$T/hook" <<EOC
#!/bin/sh
case \$1 in
deploy_cert)
  printf '%s\n' "\$alias" >>"$T/told"
  set --
  [ ! -e "$T/reload" ] || set -- --reload "\$(cat "$T/reload")"
  exec arid install -q "\$alias" --parts key --to "$T/www.key" --parts fullchain --to "$T/www.pem" "\$@" ;;
esac
EOC
  chmod +x "$T/hook"
  arid sign -q --accept-terms -k "$T/hook" --alias shared a.example.test b.example.test
  start_lighttpd two "ssl.pemfile = \"$T/www.pem\" ssl.privkey = \"$T/www.key\"
\$HTTP[\"host\"] == \"a.example.test\" { ssl.pemfile = \"$T/www.pem\" ssl.privkey = \"$T/www.key\" }
\$HTTP[\"host\"] == \"b.example.test\" { ssl.pemfile = \"$T/www.pem\" ssl.privkey = \"$T/www.key\" }"
  printf '%s\n' "$RELOAD" >"$T/reload"
  : >"$T/told"
  arid sign -q -x -k "$T/hook" --alias shared a.example.test b.example.test
  [ "$(cat "$T/told")" = shared ]
  arid install -q shared --parts cert --to "$T/cert.pem" --verify "127.0.0.1:$PORT"
  [ "$(served "$PORT" a.example.test)" = "$(leaf "$T/cert.pem")" ]
  [ "$(served "$PORT" b.example.test)" = "$(leaf "$T/cert.pem")" ]
}

@test "L25: each step is told as it is done, in words and as JSON" {
  run --separate-stderr -0 arid sign -v --accept-terms www.example.test
  local word before=0 at
  for word in account order http-01 valid issued; do
    at=$(grep -n -m 1 -i -e "$word" <<<"$stderr" | cut -d: -f1)
    [ "${at:-0}" -ge "$before" ] || fail "$word: not in its place"
    before=$at
  done
  run -0 --separate-stderr arid sign --json --trace "$T/trace" -x www.example.test
  [ "$(jq -r '.result' <<<"$output")" = issued ]
  jq -es 'map(select(.url != null)) | length > 5' "$T/trace"
}

# script N: the Nth script of docs/lws.md, with places of this test.
script() {
  awk -v wanted="$1" '/^    #!/ { n++; inside = 1 } !/^    / { inside = 0 } inside && n == wanted { print substr($0, 5) }' "$TOP/docs/lws.md" |
    sed -e "s|/etc/tls|$T/tls|g; s|/etc/lighttpd/lighttpd.conf|$T/www.conf|; s|/var/lib/acme|$T/acme|; s|/var/www/acme|$WELLKNOWN|" \
      -e "s|/service/|$T/scan/|; s|-u acme|-u nobody|; s|s6-setuidgid acme|$SETUID nobody|; s|s6-svc -r|$RESTART|; s|-H 3 -M 17|$WHEN|" \
      -e "s|arid |$T/bin/arid |"
}

# root_only: the whole of docs/lws.md; supervise starts the services.
root_only() {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  local dir=$T/x web=$WELLKNOWN port n
  while dir=$(dirname "$dir") && [ "$dir" != / ] && [ "$dir" != /tmp ]; do chmod a+x "$dir"; done
  chmod a+x "$(dirname "$CA_FILE")"
  chmod a+r "$CA_FILE"
  chmod 1777 "$web"
  mkdir -p "$T/bin" "$T/scan/www" "$T/scan/www-renew"
  install -m 755 "$BUILD/arid" "$T/bin/arid"
  mkdir -m 700 "$T/tls"
  install -d -o nobody -m 700 "$T/acme"
  unset ARID_BASEDIR ARID_WELLKNOWN ARID_CONFIG
  take_ports port
  printf '%s\n' 'server.modules = ("mod_openssl")' 'server.bind = "127.0.0.1"' "server.port = $port" "server.document-root = \"$WEBROOT\"" \
    'server.username = "www-data"' 'ssl.engine = "enable"' "ssl.pemfile = \"$T/tls/www.pem\"" "ssl.privkey = \"$T/tls/www.key\"" >"$T/www.conf"
  WHEN="-H 3 -M 17"
  script 1 >"$T/scan/www/run"
  script 2 >"$T/scan/www-renew/run"
  script 3 >"$T/scan/www-renew/once"
  chmod +x "$T"/scan/*/run "$T/scan/www-renew/once"
  shellcheck -s sh "$T"/scan/*/run "$T/scan/www-renew/once"
  supervise
  await_port "$port" "$STARTED"
  # It has started with no certificate at all.
  [ "$(openssl x509 -in "$T/tls/www.pem" -noout -ext subjectAltName | tail -n 1 | xargs)" = "DNS:placeholder.invalid" ]
  await_served "$port" "$T/tls/www.pem"

  # The first one, by hand, by who may neither read nor write there.
  "$T/scan/www-renew/once"
  await_promoted "$port"
  verify_chain "$T/tls/www.pem" www.example.org
  [ "$(stat -c '%U:%G %a' "$T/tls/www.key")" = "root:root 600" ]
  run ! setpriv --reuid nobody --clear-groups cat "$T/tls/www.key"
  [ -z "$(find "$T/acme" -name 'privkey*')" ]
  n=$(leaf "$T/tls/www.pem")
  "$T/scan/www-renew/once" # nothing is due
  [ "$(ls -A "$T/tls")" = "$(printf '%s\n' www.key www.key.old.0 www.pem www.pem.old.0)" ]
  [ "$(leaf "$T/tls/www.pem")" = "$n" ]

  # One that waits, as the server could not be told, is not ordered again.
  RESTART=: script 3 >"$T/quiet"
  ARID_RENEW_DAYS=100 sh -e "$T/quiet"
  [ -s "$T/tls/www.pem.upd" ]
  n=$(leaf "$T/tls/www.pem.upd")
  sh -e "$T/quiet"
  [ "$(leaf "$T/tls/www.pem.upd")" = "$n" ]

  # By the service itself: that one gives way to the next, which is put in place.
  local placed
  placed=$(leaf "$T/tls/www.pem")
  WHEN="-H* -M* -S*"
  script 2 | sed 's|^exec snooze|[ -e ../renewed ] \&\& exec sleep 600; touch ../renewed; export ARID_RENEW_DAYS=100; exec snooze|' >"$T/scan/www-renew/run.new"
  chmod +x "$T/scan/www-renew/run.new"
  mv "$T/scan/www-renew/run.new" "$T/scan/www-renew/run"
  $RESTART "$T/scan/www-renew"
  await_promoted "$port" "$placed"
  [ "$(leaf "$T/tls/www.pem")" != "$n" ]
  verify_chain "$T/tls/www.pem" www.example.org
}

# await_promoted PORT [NOT]: until another than NOT is in place, nothing waits, and
# it is served.
await_promoted() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    [ "$(leaf "$T/tls/www.pem")" = "${2:-}" ] || [ -e "$T/tls/www.pem.upd" ] || break
    sleep 0.1
  done
  [ ! -e "$T/tls/www.pem.upd" ] || fail "it still waits"
  await_served "$1" "$T/tls/www.pem"
}

@test "L14 L18 L20: key and certificate that belong to root alone, under s6" {
  SETUID=s6-setuidgid RESTART="s6-svc -r"
  supervise() { start_server scan.log s6-svscan "$T/scan"; }
  root_only

  # nginx stays root: it takes what waits without a restart.
  start_nginx "$T/tls/www.pem" "$T/tls/www.key"
  sh -e "$T/quiet" # nothing is ordered without need
  [ ! -e "$T/tls/www.pem.upd" ]
  ARID_RENEW_DAYS=100 sh -e "$T/quiet"
  local waits
  waits=$(leaf "$T/tls/www.pem.upd")
  arid promote "$T/tls/www.pem" "$T/tls/www.key"
  $RELOAD
  await_served "$PORT" "$T/tls/www.pem"
  [ "$(leaf "$T/tls/www.pem")" = "$waits" ]
}

@test "L14 L18 L20: key and certificate that belong to root alone, under runit" {
  SETUID="chpst -u" RESTART="sv restart"
  supervise() {
    start_server renew.log runsv "$T/scan/www-renew"
    start_server www.log runsv "$T/scan/www"
  }
  root_only
}
