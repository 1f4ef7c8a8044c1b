#!/usr/bin/env bats
# Command lines of dehydrated that are found in crontabs, units, containers and
# manuals, word for word, with arid under that name: on a host with Debian's
# /etc/dehydrated, and Pebble for a CA.
#
#   DEHYDRATED=/usr/bin/dehydrated bats tests/bats/74-command-lines.bats
#
# does the same with the real one.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they and bats set for us

load helper
load servers
load private

STAGING=acme-staging-v02.api.letsencrypt.org

setup_file() {
  is_root || return 0
  start_private "127.0.0.2 $STAGING"
  HTTP_PORT=80 TLS_PORT=443
  start_tls_web 127.0.0.1 "$T/alpn"
  rmdir "$WELLKNOWN"
  ln -s "$VAR/acme-challenges" "$WELLKNOWN" # as dehydrated's README has it
  open_way "$VAR/acme-challenges"
  start_dns
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=CA for tests" \
    -addext "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:$STAGING" \
    -keyout "$T/pebble-tls.key" -out "$T/pebble-tls.pem" 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
  start_pebble 0 '"domainBlocklist": ["refused.test"]'
  ADDRESS=${DIRECTORY#https://}
  start_server front.log front 127.0.0.2:443 "$CA_FILE" "$T/pebble-tls.key" "${ADDRESS%/dir}"
  await_port 443 "$STARTED" 127.0.0.2
  export CA_FILE DIRECTORY MGMT WELLKNOWN DNS_MGMT
  mkdir "$T/bin"
  ln -s "${DEHYDRATED:-$BUILD/arid}" "$T/bin/dehydrated"

  # One account for all of it: its key takes a while.
  fresh_debian
  local_config
  dehydrated --register --accept-terms >"$T/register.log"
  cp -a "$VAR/accounts" "$T/accounts"
}
setup() {
  as_root
  fresh_debian
  local_config
  cp -a "$FILE_T/accounts" "$VAR/"
  CERTS=$VAR/certs
  D=d$BATS_TEST_NUMBER.test # names of this test's own
  mkdir "$T/wd"
  AT=$T/wd
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# local_config: what a host has in conf.d.
local_config() {
  cat >"$ETC/conf.d/90_local.sh" <<EOC
CA="$DIRECTORY"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
}

# dehydrated WORD...: that, in AT, with the environment that cron gives.
dehydrated() { ran_as dehydrated "$@"; }
ran_as() {
  nsenter --target "$PRIVATE" --net --mount --wdns="${AT:-/}" -- env -i HOME=/root LOGNAME=root SHELL=/bin/sh \
    PATH="$FILE_T/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

# domains LINE...: domains.txt.
domains() { printf '%s\n' "$@" >"$ETC/domains.txt"; }

# works WORD...: dehydrated says on stdout what it does, says nothing on stderr and ends
# with 0.
works() {
  run -0 --separate-stderr dehydrated "$@"
  printf '%s\n%s\n' "$output" "$stderr"
  [ -z "$stderr" ]
  [ -n "$output" ]
  tidy
}

# tidy: no token and no lock.
tidy() {
  [ -z "$(ls -A "$VAR/acme-challenges")" ]
  [ ! -e "$VAR/lock" ]
}

# own_config FILE: a config of its own, with a tree beside it that has the account.
own_config() {
  local dir=${1%/*}
  mkdir -p "$dir"
  cat "$ETC/conf.d/90_local.sh" - >"$1" <<EOC
WELLKNOWN=$VAR/acme-challenges
EOC
  cp -a "$FILE_T/accounts" "$dir/"
}

# dns_hook FILE: a hook for dns-01, in Python for one that ends in .py. It notes events and
# challenge types in T/events.
dns_hook() {
  mkdir -p "${1%/*}"
  case $1 in
    *.py)
      cat >"$1" <<EOH
#!/usr/bin/python3
import json, os, sys, urllib.request
with open("$T/events", "a") as f:
    print(sys.argv[1], os.getenv("CHALLENGETYPE"), file=f)
call = {"deploy_challenge": "set-txt", "clean_challenge": "clear-txt"}.get(sys.argv[1])
if call:
    record = {"host": "_acme-challenge." + sys.argv[2] + ".", "value": sys.argv[4]}
    urllib.request.urlopen("$DNS_MGMT/" + call, json.dumps(record).encode())
EOH
      ;;
    *)
      cat >"$1" <<EOH
#!/bin/sh
echo "\$1 \$CHALLENGETYPE" >>"$T/events"
case \$1 in
deploy_challenge) call=set-txt ;;
clean_challenge) call=clear-txt ;;
*) exit 0 ;;
esac
exec curl -sS --fail -d "{\"host\": \"_acme-challenge.\$2.\", \"value\": \"\$4\"}" "$DNS_MGMT/\$call"
EOH
      ;;
  esac
  chmod 755 "$1"
}
# happened EVENT...: each of them, with dns-01.
happened() {
  local event
  for event; do
    grep -qx "$event dns-01" "$T/events"
  done
}

# has CERTDIR FOLDER NAME...: a certificate is there, for the names.
has() {
  local set=$1/$2 name
  shift 2
  for name; do
    verify_chain "$set/fullchain.pem" "$name"
  done
  [ "$(openssl pkey -in "$set/privkey.pem" -pubout)" = "$(openssl x509 -in "$set/cert.pem" -noout -pubkey)" ]
}
serial() { openssl x509 -in "$1/cert.pem" -noout -serial; }

@test "--register --accept-terms" {
  rm -r "$VAR/accounts"
  run -1 --separate-stderr dehydrated --register
  [[ $stderr == *"--register --accept-terms"* ]]
  works --register --accept-terms
  [[ $output == *"+ Generating account key..."* ]]
  [[ $output == *$'\n+ Done!' ]]
  local file
  for file in account_key.pem registration_info.json account_id.json; do
    [ -s "$(echo "$VAR"/accounts/*/"$file")" ]
  done
  works --register --accept-terms
  [[ $output == *"already registered"* ]]
}

@test "--accept-terms --cron --keep-going" {
  rm -r "$VAR/accounts"
  domains "a.$D" "b.refused.test" "c.$D www.c.$D"
  # There is no account: with dehydrated, --accept-terms makes one here too.
  run -1 --separate-stderr dehydrated --accept-terms --cron --keep-going
  printf '%s\n%s\n' "$output" "$stderr"
  [[ $stderr == *rejectedIdentifier* ]]
  has "$CERTS" "a.$D" "a.$D"
  has "$CERTS" "c.$D" "c.$D" "www.c.$D"
  [ ! -e "$CERTS/b.refused.test/cert.pem" ]
  tidy
  domains "a.$D" "c.$D www.c.$D"
  works --accept-terms --cron --keep-going
  [ "$(grep -c 'Skipping renew!' <<<"$output")" -eq 2 ]
}

@test "--cron" {
  domains "$D www.$D"
  works --cron
  [[ $output == *"Processing $D with alternative names: www.$D"* ]]
  [[ $output == *$'\n + Done!' ]]
  has "$CERTS" "$D" "$D" "www.$D"
  works --cron
  [[ $output == *"Skipping renew!" ]]
}

@test "-c -d D -t dns-01 -k 'dir/hook.py'" {
  dns_hook "$AT/dir/hook.py"
  works -c -d "$D" -t dns-01 -k 'dir/hook.py'
  has "$CERTS" "$D" "$D"
  happened deploy_challenge clean_challenge deploy_cert
}

@test "-c -x" {
  local first
  domains "$D"
  works -c
  first=$(serial "$CERTS/$D")
  works -c -x
  [[ $output == *"Ignoring because renew was forced!"* ]]
  has "$CERTS" "$D" "$D"
  [ "$(serial "$CERTS/$D")" != "$first" ]
}

@test "-c -f other.config" {
  own_config "$AT/other.config"
  printf '%s\n' "$D" >"$AT/domains.txt"
  works -c -f other.config
  has "$AT/certs" "$D" "$D"
  [ ! -e "$CERTS" ]
}

@test "--config F --cron --keep-going" {
  own_config "$T/f/config"
  printf '%s\n' "a.refused.test" "$D" "b.$D" >"$T/f/domains.txt"
  run -1 --separate-stderr dehydrated --config "$T/f/config" --cron --keep-going
  [[ $stderr == *rejectedIdentifier* ]]
  [[ $output == *$'\nProcessing b.'"$D"$'\n'* ]]
  has "$T/f/certs" "$D" "$D"
  has "$T/f/certs" "b.$D" "b.$D"
}

@test "-c -d 'a b *.c' -t 'dns-01' -k P" {
  dns_hook "$T/P"
  works -c -d "a.$D b.$D *.c.$D" -t 'dns-01' -k "$T/P"
  has "$CERTS" "a.$D" "a.$D" "b.$D" "any.c.$D"
  happened deploy_challenge clean_challenge deploy_cert
}

@test "--cron --algo A --hook H --challenge dns-01 -d D --out DIR --config F" {
  own_config "$T/f/config"
  dns_hook "$T/H"
  works --cron --algo secp384r1 --hook "$T/H" --challenge dns-01 -d "$D" -d "www.$D" --out "$T/DIR" --config "$T/f/config"
  has "$T/DIR" "$D" "$D" "www.$D"
  [[ $(openssl pkey -in "$T/DIR/$D/privkey.pem" -noout -text) == *secp384r1* ]]
  happened deploy_challenge clean_challenge deploy_cert
  [ ! -e "$T/f/certs" ]
}

@test "--config F --signcsr 'x.csr'" {
  own_config "$T/f/config"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$AT/x.key" -out "$AT/x.csr" \
    -subj "/CN=$D" -addext "subjectAltName=DNS:$D,DNS:www.$D" 2>"$T/openssl.log"
  run -0 --separate-stderr dehydrated --config "$T/f/config" --signcsr 'x.csr'
  # A program that reads this looks for the certificate and its issuer.
  [ "$(grep -c 'BEGIN CERTIFICATE' <<<"$output")" -eq 2 ]
  [[ $output == "# CERT #"* ]]
  [[ $stderr == *" + Requesting certificate..."* ]]
  sed -n '/BEGIN/,/END/p' <<<"$output" >"$T/chain.pem"
  verify_chain "$T/chain.pem" "www.$D"
  [ "$(openssl pkey -in "$AT/x.key" -pubout)" = "$(openssl x509 -in "$T/chain.pem" -noout -pubkey)" ]
  tidy
}

@test "--config F --account" {
  own_config "$T/f/config"
  printf 'CONTACT_EMAIL=webmaster@%s\n' "$D" >>"$T/f/config"
  works --config "$T/f/config" --account
  [[ $output == *$'\n+ Done!' ]]
  grep -qF "mailto:webmaster@$D" "$T"/f/accounts/*/registration_info.json
}

@test "-e --config F" {
  own_config "$T/f/config"
  works -e --config "$T/f/config"
  # shellcheck disable=SC2016  # for the shell that evaluates
  diff <(bash -c 'eval "$1"; echo "$CA $CERTDIR $LOCKFILE $WELLKNOWN"' sh "$output") \
    <(echo "$DIRECTORY $T/f/certs $T/f/lock $VAR/acme-challenges")
  [ ! -e "$T/f/certs" ]
}

@test "-gc" {
  domains "$D"
  works -c
  cp -aL "$CERTS/$D/cert.pem" "$CERTS/$D/cert-1000000000.pem"
  works -gc
  [[ $output == *"Moving unused file to archive directory: $D/cert-1000000000.pem"* ]]
  [ -e "$VAR/archive/$D/cert-1000000000.pem" ]
  [ ! -e "$CERTS/$D/cert-1000000000.pem" ]
  has "$CERTS" "$D" "$D"
}

@test "--cron --force --domain %I" {
  local first
  domains "$D" "other.$D"
  works --cron --force --domain "$D"
  has "$CERTS" "$D" "$D"
  [ ! -e "$CERTS/other.$D" ]
  first=$(serial "$CERTS/$D")
  works --cron --force --domain "$D"
  [ "$(serial "$CERTS/$D")" != "$first" ]
}

@test "-t tls-alpn-01 --alpn DIR -c --out DIR -d D" {
  mkdir -p "$FILE_T/alpn"
  chgrp www-data "$FILE_T/alpn"
  chmod 2750 "$FILE_T/alpn"
  works -t tls-alpn-01 --alpn "$FILE_T/alpn" -c --out "$T/out" -d "$D"
  has "$T/out" "$D" "$D"
  [ -z "$(ls -A "$FILE_T/alpn")" ]
}

@test "./dehydrated -c --ca letsencrypt-test --force --force-validation -d D" {
  local first
  ln -s "${DEHYDRATED:-$BUILD/arid}" "$AT/dehydrated"
  run -0 --separate-stderr ran_as ./dehydrated --register --accept-terms --ca letsencrypt-test
  [ -z "$stderr" ]
  run -0 --separate-stderr ran_as ./dehydrated -c --ca letsencrypt-test --force --force-validation -d "$D"
  [ -z "$stderr" ]
  has "$CERTS" "$D" "$D"
  first=$(serial "$CERTS/$D")
  run -0 --separate-stderr ran_as ./dehydrated -c --ca letsencrypt-test --force --force-validation -d "$D"
  [ -z "$stderr" ]
  has "$CERTS" "$D" "$D"
  [ "$(serial "$CERTS/$D")" != "$first" ]
  [ "$(find "$VAR/accounts" -name account_key.pem | wc -l)" -eq 2 ] # one for each CA
  tidy
}
