#!/usr/bin/env bats
# arid's main job with a real CA and a real web server.

load helper

setup() {
  start_world
  arid_world
}
teardown() { stop_all; }

set_of() { printf '%s/certs/%s' "$ARID_BASEDIR" "$1"; }

# check_set NAME...: the stable names of the first are one verified set for all.
check_set() {
  local dir name
  dir=$(set_of "$1")
  cat "$dir/cert.pem" "$dir/chain.pem" | cmp - "$dir/fullchain.pem"
  for name; do
    verify_chain "$dir/fullchain.pem" "$name"
  done
  [ "$(openssl pkey -in "$dir/privkey.pem" -pubout)" = "$(openssl x509 -in "$dir/cert.pem" -noout -pubkey)" ]
}

@test "register twice: one URL, one account" {
  run -0 --separate-stderr arid register --accept-terms
  [[ $output == https://127.0.0.1:* ]]
  [ "${#lines[@]}" -eq 1 ]
  local first=$output
  run -0 --separate-stderr arid register --accept-terms
  [ "$output" = "$first" ]
  [ -z "$stderr" ]
}

@test "sign twice: one order, and the second run says and writes nothing" {
  arid register --accept-terms
  run -0 --separate-stderr arid sign a.example.test b.example.test
  [ -z "$output" ]
  [[ $stderr == "arid: a.example.test: issued, valid until "* ]]
  check_set a.example.test b.example.test
  snapshot >"$T/before"
  local asked
  asked=$(requests)
  run -0 arid sign a.example.test b.example.test
  [ -z "$output" ]
  snapshot | cmp "$T/before"
  [ "$(requests)" -eq "$asked" ]
  [ -z "$(ls -A "$WELLKNOWN")" ]

  local live
  live=$(readlink "$(set_of a.example.test)/live")
  arid sign -x a.example.test b.example.test
  [ "$(readlink "$(set_of a.example.test)/live")" != "$live" ]
  check_set a.example.test b.example.test
}

# snapshot: every file below BASEDIR with mode, times and content.
snapshot() { (cd "$ARID_BASEDIR" && find . -printf '%p %M %T@ %l\n' | sort && find . -type f -exec sha256sum {} + | sort); }

@test "keys are closed under every umask" {
  local mask
  for mask in 000 022 077; do
    (umask "$mask" && ARID_BASEDIR=$T/base-$mask arid sign --accept-terms "m$mask.example.test")
    run -0 find "$T/base-$mask" ! -type l -perm /077
    [ -z "$output" ]
    [ "$(stat -c %a "$T/base-$mask/certs/m$mask.example.test/versions/"*/privkey.pem)" = 600 ]
    [ "$(stat -c %a "$T/base-$mask/certs/m$mask.example.test")" = 700 ]
  done
}

@test "the reader of a default ACL can read" {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  mkdir -p "$ARID_BASEDIR/certs"
  chmod 755 "$ARID_BASEDIR" "$ARID_BASEDIR/certs"
  setfacl -m u:www-data:rx "$ARID_BASEDIR/certs"
  setfacl -d -m u::rwX,g::-,o::-,u:www-data:rX "$ARID_BASEDIR/certs"
  arid sign --accept-terms acl.example.test
  run -0 setpriv --reuid www-data --regid www-data --clear-groups \
    openssl pkey -in "$(set_of acl.example.test)/privkey.pem" -noout
  # And nobody else.
  run ! setpriv --reuid nobody --regid nogroup --clear-groups \
    openssl pkey -in "$(set_of acl.example.test)/privkey.pem" -noout
}

@test "every key type that Pebble takes" {
  arid register --accept-terms
  local algo
  for algo in rsa2048 rsa3072 rsa4096 prime256v1 secp384r1 secp521r1; do
    arid sign -a "$algo" "$algo.example.test"
    check_set "$algo.example.test"
  done
}

@test "an IP address" {
  arid sign --accept-terms 127.0.0.1
  run -0 openssl x509 -in "$(set_of 127.0.0.1)/cert.pem" -noout -ext subjectAltName
  [[ $output == *"IP Address:127.0.0.1"* ]]
}

@test "a CSR in, the chain out: RSA, EC, with an IP, from a pipe" {
  arid register --accept-terms
  openssl req -new -newkey rsa:2048 -nodes -keyout "$T/rsa.key" -out "$T/rsa.csr" -subj /CN=rsa.example.test \
    -addext subjectAltName=DNS:rsa.example.test,IP:127.0.0.1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/ec.key" -out "$T/ec.csr" -subj / \
    -addext subjectAltName=DNS:ec.example.test,DNS:ec2.example.test
  arid sign --csr "$T/rsa.csr" >"$T/rsa.pem"
  verify_chain "$T/rsa.pem" rsa.example.test
  [ "$(openssl pkey -in "$T/rsa.key" -pubout)" = "$(openssl x509 -in "$T/rsa.pem" -noout -pubkey)" ]
  # shellcheck disable=SC2002  # a pipe is the point
  cat "$T/ec.csr" | arid sign --csr - >"$T/ec.pem"
  verify_chain "$T/ec.pem" ec2.example.test
  arid sign --csr <(cat "$T/ec.csr") >"$T/ec.pem"
  verify_chain "$T/ec.pem" ec.example.test
  [ ! -e "$ARID_BASEDIR/certs" ]
}

@test "a CSR that fails leaves stdout empty" {
  arid register --accept-terms
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/k" -out "$T/r.csr" -subj / \
    -addext subjectAltName=DNS:blocked.example.test
  dns_manage add-a '{"host": "blocked.example.test", "addresses": ["127.254.254.254"]}'
  run -1 --separate-stderr arid sign --csr "$T/r.csr"
  [ -z "$output" ]
  [[ $stderr == "arid: blocked.example.test: http-01: "* ]]
  [ -z "$(ls -A "$WELLKNOWN")" ]
}

@test "a full disk under stdout is 74, and a regular file is cut back" {
  [ -e /dev/full ] || skip "no /dev/full"
  arid register --accept-terms
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/k" -out "$T/r.csr" -subj / \
    -addext subjectAltName=DNS:full.example.test
  run -74 bash -c "arid sign --csr '$T/r.csr' >/dev/full"
  [[ $output == "arid: "*"cannot write to stdout"* ]]
  [ "${#lines[@]}" -eq 1 ]
  # A file may grow to 1 KiB, which is less than a chain.
  run -74 bash -c "ulimit -f 1; trap '' XFSZ; echo before >'$T/out'; arid sign --csr '$T/r.csr' >>'$T/out'"
  [ "$(cat "$T/out")" = before ]
}

@test "revoke by name, and by the certificate's own key without an account" {
  arid sign --accept-terms r.example.test
  local serial
  serial=$(openssl x509 -in "$(set_of r.example.test)/cert.pem" -noout -serial | cut -d= -f2)
  arid revoke r.example.test --reason superseded
  run -0 pebble_curl "$MGMT/cert-status-by-serial/$serial"
  [[ $output == *Revoked* ]]
  arid sign r.example.test
  [ "$(openssl x509 -in "$(set_of r.example.test)/cert.pem" -noout -serial | cut -d= -f2)" != "$serial" ]
  cp "$(set_of r.example.test)/cert.pem" "$(set_of r.example.test)/privkey.pem" "$T"
  ARID_BASEDIR=$T/elsewhere arid revoke "$T/cert.pem" --key "$T/privkey.pem" --reason keyCompromise
  [ ! -e "$T/elsewhere/accounts" ]
}

# At a half of them, one request in 65536 would be given up.
@test "a third of the nonces refused, and nearly a half" {
  local reject
  for reject in 33 45; do
    start_pebble "$reject"
    arid_world
    ARID_BASEDIR=$T/base-$reject arid sign --accept-terms "a$reject.example.test" "b$reject.example.test"
  done
}

@test "profiles: the one there is, and one there is not" {
  arid sign --accept-terms --profile default p.example.test
  run -78 arid sign --profile shortlived q.example.test
  [[ $output == *"no profile"*"default"* ]]
}

@test "external account binding" {
  start_pebble 0 '"externalAccountBindingRequired": true, "externalAccountMACKeys": {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}'
  arid_world
  run -78 arid register --accept-terms
  printf '%s\n' zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W >"$T/hmac"
  arid register --accept-terms --eab-kid kid-1 --eab-hmac-file "$T/hmac"
  arid sign eab.example.test
}

@test "a name that does not resolve to us: what the CA saw, and nothing left" {
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  run -1 arid sign --accept-terms up.example.test down.example.test
  [[ ${lines[0]} == "arid: up.example.test: down.example.test: http-01: "* ]] || [[ ${lines[0]} == "arid: down.example.test: http-01: "* ]]
  [[ $output == *127.254.254.254* ]]
  [[ $output == *"hint: "* ]]
  [ -z "$(ls -A "$WELLKNOWN")" ]
  [ ! -e "$(set_of up.example.test)/cert.pem" ]
}

@test "dehydrated issues in a tree that arid registered, and arid in one that dehydrated registered" {
  mkdir -p "$T/d"
  cat >"$T/d/config" <<EOF
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEY_ALGO=rsa
KEYSIZE=2048
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
EOF
  unset ARID_BASEDIR ARID_WELLKNOWN ARID_CA
  arid register -f "$T/d/config" --accept-terms >"$T/url"
  run -0 dehydrated -f "$T/d/config" -c -d one.example.test
  verify_chain "$T/d/certs/one.example.test/fullchain.pem" one.example.test
  [ "$(find "$T/d/accounts" -name account_key.pem | wc -l)" -eq 1 ]

  mkdir -p "$T/e"
  sed "s|$T/d|$T/e|" "$T/d/config" >"$T/e/config"
  dehydrated -f "$T/e/config" --register --accept-terms
  run -0 arid sign -f "$T/e/config" two.example.test
  verify_chain "$T/e/certs/two.example.test/fullchain.pem" two.example.test
  [ "$(grep -c 'There are now' "$T/pebble.log")" -eq 2 ] || [ "$(find "$T/e/accounts" -name account_key.pem | wc -l)" -eq 1 ]
}

@test "rehearse: a chain, and nothing kept" {
  unset ARID_BASEDIR ARID_WELLKNOWN ARID_CA ARID_CA_BUNDLE
  mkdir "$T/tmp"
  cd "$T/home"
  run -0 --separate-stderr env HOME="$T/home" TMPDIR="$T/tmp" arid rehearse www.example.test example.test
  [[ $output == *leaf*www.example.test* ]]
  [[ $stderr == *switch* ]]
  [ -z "$(find "$T/home" "$T/tmp" -mindepth 1)" ]
  # The user's own web server.
  run -0 env HOME="$T/home" arid rehearse --http-port "$HTTP_PORT" --wellknown "$WELLKNOWN" --out "$T/out" w.example.test
  openssl x509 -in "$T/out/w.example.test/cert.pem" -noout
  [ -z "$(ls -A "$WELLKNOWN")" ]
  # The user's own name server too.
  dns_manage add-a '{"host": "gone.example.test", "addresses": ["127.254.254.254"]}'
  run -0 env HOME="$T/home" arid rehearse --dns "$DNS_ADDR" --http-port "$HTTP_PORT" --wellknown "$WELLKNOWN" w.example.test
  run -1 env HOME="$T/home" arid rehearse --dns "$DNS_ADDR" --http-port "$HTTP_PORT" --wellknown "$WELLKNOWN" gone.example.test
  [[ $output == *127.254.254.254* ]]
  # A web server that serves something else.
  mkdir "$T/other"
  run -1 env HOME="$T/home" arid rehearse --http-port "$HTTP_PORT" --wellknown "$T/other" w.example.test
  [[ $output == *"hint: "* ]]
}

@test "an ordinary user, and what is closed to him" {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  install -m 755 "$BUILD/arid" "$T/arid"
  install -d -o nobody -g nogroup "$T/nobody" "$T/nobody/acme"
  local as=(setpriv --reuid nobody --regid nogroup --clear-groups env -u ARID_BASEDIR -u ARID_CONFIG "HOME=$T/nobody")

  # The web root is root's.
  run -77 "${as[@]}" "$T/arid" sign -f /dev/null --accept-terms u.example.test
  [[ $output == "arid: WELLKNOWN "*"permission denied"* ]]
  chown nobody "$WELLKNOWN"
  run -0 "${as[@]}" "$T/arid" sign -f /dev/null --accept-terms u.example.test
  verify_chain "$T/nobody/.local/state/arid/certs/u.example.test/fullchain.pem" u.example.test

  # The account's key is not his any more: an error, and the key stays.
  local key
  key=$(find "$T/nobody" -name account_key.pem)
  chown root "$key"
  sha256sum "$key" >"$T/sum"
  run -77 "${as[@]}" "$T/arid" sign -f /dev/null --accept-terms v.example.test
  [[ $output == *"account_key.pem"*"permission denied"* ]]
  sha256sum -c "$T/sum"
}
