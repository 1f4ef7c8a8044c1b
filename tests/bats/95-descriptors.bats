#!/usr/bin/env bats
# Files that only root can open, written by a process that is not root: it has their
# descriptors, and nothing else of them.

# shellcheck disable=SC2016,SC2034,SC2154  # scripts are quoted here; what is set here is for the helpers, and what they and bats set for us

load helper

setup_file() {
  start_world
  FILE_T=$T
  export FILE_T DIRECTORY CA_FILE MGMT DNS_MGMT WELLKNOWN
  dns_manage add-a '{"host": "away.example.test", "addresses": ["127.254.254.254"]}'
}
setup() {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  unset HOME
  export ARID_CONFIG=/dev/null SSL_CERT_FILE=$CA_FILE PATH=$PATH:/usr/lib/execline/bin
  chmod 711 "$T" "${T%/*}" "${T%/*/*}"
  chown nobody "$WELLKNOWN"
  openssl genrsa -out "$T/account.key" 2048 2>/dev/null
  chown nobody "$T/account.key"
  mkdir -m 700 "$T/closed"
  CLOSED=$T/closed
  cd "$T" || return
}
teardown() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}
teardown_file() { stop_all; }

# sign WORD...: arid sign with this world's words.
sign() { arid sign --account-key "$T/account.key" --ca "$DIRECTORY" --acme-dir "$WELLKNOWN" --accept-terms "$@"; }

# staged OPEN NAME...: the pair is opened by root as "redirfd OPEN" does it, and asked
# for by nobody. TRACE is a prefix for the program.
staged() {
  local open=$1
  shift
  # shellcheck disable=SC2086  # words
  execline-umask 077 redirfd "$open" 5 "$CLOSED/key.upd" redirfd "$open" 6 "$CLOSED/chain.upd" redirfd "$open" 8 "$CLOSED/cert.upd" \
    execline-umask 022 s6-setuidgid nobody ${TRACE:-} \
    arid sign --account-key "$T/account.key" --ca "$DIRECTORY" --acme-dir "$WELLKNOWN" --accept-terms \
    --key-fd 5 --fullchain-fd 6 --cert-fd 8 "$@"
}

# pair FILE KEY: the certificate fits the key, and FILE has a chain and nothing else.
pair() {
  verify_chain "$1" "${3:-a.example.test}"
  [ "$(openssl pkey -in "$2" -pubout)" = "$(openssl x509 -in "$1" -noout -pubkey)" ]
  [ "$(grep -c . "$1")" -eq "$(sed -n '/^-----BEGIN CERTIFICATE-----$/,/^-----END CERTIFICATE-----$/p' "$1" | wc -l)" ]
}

@test "L17: a directory of root's, 0700: files stay 0600 and root's, no path into it is opened, and nothing is kept" {
  printf '#!/bin/sh\n[ "$1" = deploy_challenge ] && ls -l /proc/self/fd >>"$SEEN"\nexit 0\n' >hook
  chmod 755 hook
  touch seen strace
  chown nobody seen strace
  export SEEN=$T/seen
  TRACE="strace -f -e trace=%file -o $T/strace" staged -a -k "$T/hook" a.example.test
  pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
  openssl x509 -in "$CLOSED/chain.upd" | cmp - "$CLOSED/cert.upd"
  [ "$(stat -c '%a %U:%G' "$CLOSED"/*.upd | sort -u)" = "600 root:root" ]
  grep -F "$T/account.key" strace
  run ! grep -F "$CLOSED" strace
  # The hook had its own three streams, and what ls itself opened.
  grep -F ' 0 -> ' seen
  run ! grep -F "$CLOSED" seen
  [ "$(grep -oE ' [0-9]+ -> ' seen | sort -u | wc -l)" -le 4 ]
  [ "$(ls -A "$CLOSED")" = "cert.upd
chain.upd
key.upd" ]
  [ ! -e /var/lib/arid ]
}

@test "L18: one pair of descriptors for many runs, kept by s6-fdholder" {
  local user
  for user in 0 "$(id -u nobody)"; do
    mkdir -p "rules/uid/$user/env"
    touch "rules/uid/$user/allow"
    echo '.*' | tee "rules/uid/$user/env/S6_FDHOLDER_RETRIEVE_REGEX" >"rules/uid/$user/env/S6_FDHOLDER_STORE_REGEX"
  done
  start_server fdholder.log s6-fdholder-daemon -i "$T/rules" "$T/fdholder"
  await listens "$T/fdholder"
  (umask 077 && redirfd -a 0 "$CLOSED/key.upd" s6-fdholder-store "$T/fdholder" key)
  (umask 077 && redirfd -a 0 "$CLOSED/chain.upd" s6-fdholder-store "$T/fdholder" chain)
  local run first
  for run in one two; do
    s6-setuidgid nobody s6-fdholder-retrieve "$T/fdholder" key fdmove 5 0 s6-fdholder-retrieve "$T/fdholder" chain fdmove 6 0 \
      arid sign --account-key "$T/account.key" --ca "$DIRECTORY" --acme-dir "$WELLKNOWN" --accept-terms --key-fd 5 --fullchain-fd 6 a.example.test
    pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
    [ "${first:-}" != "$(sha256sum <"$CLOSED/chain.upd")" ]
    first=$(sha256sum <"$CLOSED/chain.upd")
  done
}

@test "L19: a shorter certificate leaves no tail, however the file was opened" {
  local open
  for open in -a -u; do
    rm -f "$CLOSED"/*
    head -c 20000 /dev/zero | tr '\0' x | tee "$CLOSED/key.upd" "$CLOSED/cert.upd" >"$CLOSED/chain.upd"
    staged "$open" -a rsa4096 {a,bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,ccccccccccccccccccccccccccccccccccc}.example.test
    pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
    local was
    was=$(stat -c %s "$CLOSED/chain.upd" "$CLOSED/key.upd" | xargs)
    staged "$open" -a prime256v1 a.example.test
    pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
    [ "$(stat -c %s "$CLOSED/chain.upd")" -lt "${was% *}" ]
    [ "$(stat -c %s "$CLOSED/key.upd")" -lt "${was#* }" ]
  done
  # In the middle of a file that was read and written before, too.
  exec 5<>"$CLOSED/key.upd" 6<>"$CLOSED/chain.upd"
  head -c 100 <&5 >/dev/null
  echo more >&6
  sign --key-fd 5 --fullchain-fd 6 a.example.test
  exec 5>&- 6>&-
  pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
}

@test "what fails, or is not due, leaves them byte for byte as they were" {
  echo key >"$CLOSED/key.upd"
  echo chain >"$CLOSED/chain.upd"
  echo cert >"$CLOSED/cert.upd"
  touch -d @1577836800 "$CLOSED"/*
  run -1 staged -a away.example.test
  run -75 staged -a --ca https://127.0.0.1:1/dir a.example.test
  run -64 staged -a --chain-fd 5 a.example.test
  run -65 staged -a 'bad name'
  [ "$(cat "$CLOSED"/*)" = "cert
chain
key" ]
  [ "$(stat -c %Y "$CLOSED"/* | sort -u)" = 1577836800 ]

  sign --key-fd 5 --fullchain-fd 1 a.example.test 5>"$T/key" >"$T/live"
  pair live key
  # What is live is known from a descriptor that root has opened; its place there counts nothing.
  exec 7<"$T/live"
  head -c 50 <&7 >/dev/null
  local before
  before=$(grep -c 'POST /order-plz' "$FILE_T/pebble.log")
  staged -a --current-fd 7 a.example.test
  staged -a --current-fd 7 a.example.test <&- # a pipe or a file: whatever stdin is
  [ "$(cat "$CLOSED"/*)" = "cert
chain
key" ]
  [ "$(grep -c 'POST /order-plz' "$FILE_T/pebble.log")" -eq "$before" ]
  staged -a --current-fd 7 --renew-days 91 a.example.test
  pair "$CLOSED/chain.upd" "$CLOSED/key.upd"
  exec 7<&-
}

@test "pipes: key and chain in one, and a reader that has gone is 74" {
  local pid
  exec 7> >(cat >"$T/all")
  pid=$!
  sign --key-fd 7 --fullchain-fd 6 a.example.test 6>&7 7>&7
  exec 7>&-
  wait "$pid"
  head -n 1 all | grep -F 'PRIVATE KEY'
  openssl pkey -in all -out key
  run -0 openssl x509 -in all -noout -checkhost a.example.test
  [ "$(grep -c BEGIN all)" -eq 3 ]

  mkfifo gone
  exec 8<>gone 9>gone 8<&-
  run -74 --separate-stderr sign --key-fd 9 --fullchain-fd 5 a.example.test 5>"$T/chain"
  exec 9>&-
  [[ $stderr == *"--key-fd 9: broken pipe"* ]]
  [ ! -s chain ] # the key was to come first
}

@test "a full disk is 74, and no certificates come without the key" {
  run -74 --separate-stderr sign --key-fd 5 --fullchain-fd 6 a.example.test 5>/dev/full 6>"$T/chain"
  [[ $stderr == *"--key-fd 5: no space left on device"* ]]
  [ ! -s chain ]
}

@test "a CSR's chain goes to the descriptors and not to stdout" {
  openssl req -new -newkey rsa:2048 -nodes -keyout key -out csr -subj / -addext subjectAltName=DNS:a.example.test 2>/dev/null
  run -0 --separate-stderr sign --csr csr --chain-fd 5 --fullchain-fd 6 5>"$T/above" 6>"$T/chain"
  [ -z "$output" ]
  [[ $stderr == "arid: a.example.test: issued, valid until "* ]]
  pair chain key
  openssl x509 -in chain | cat - above | cmp - chain
  run -64 sign --csr csr --key-fd 5 5>"$T/x"
  run -64 sign --cert-fd 5 a.example.test 5>"$T/x"
  # A folder would say that all is well where a descriptor has got nothing.
  run -64 sign --key-fd 5 --fullchain-fd 6 --out "$T/certs" a.example.test 5>"$T/x" 6>"$T/y"
  run -64 sign --key-fd 5 --reuse-key a.example.test 5>"$T/x"
}

@test "a certificate that cannot be written after its key: what to do is said" {
  run -74 sign --key-fd 5 --fullchain-fd 6 a.example.test 5>"$T/key" 6>>/dev/full
  [[ $output == *"--fullchain-fd 6: no space left on device"*"hint: the new key is written, and its certificate is not: run it again with --force"* ]]
}

@test "one descriptor is read and written" {
  sign --key-fd 5 --fullchain-fd 6 --current-fd 6 a.example.test 5<>"$T/key" 6<>"$T/chain"
  pair chain key
  cp chain before
  sign --key-fd 5 --fullchain-fd 6 --current-fd 6 a.example.test 5<>"$T/key" 6<>"$T/chain"
  cmp chain before
  run -64 sign --key-fd 4294967301 a.example.test 5<>"$T/key"
  [[ $output == *"--key-fd 4294967301: is not open"* ]]
}

@test "the script of the page, and what it staged put in place" {
  sed -n '/^    #!\/bin\/execlineb -P$/,/^$/s/^    //p' "$TOP/docs/acme-tiny.md" |
    sed "s|/etc/ssl/private|$CLOSED|; s|s6-setuidgid tls|s6-setuidgid nobody|; s|/var/www/challenges/|$WELLKNOWN|; s|www.example.org|a.example.test --accept-terms --ca $DIRECTORY|; s| account\\.key| $T/account.key|; s|^#!/bin/|#!/usr/bin/|" >page
  chmod +x page
  grep -F fullchain-fd page
  touch "$CLOSED/chain.pem"
  ./page
  arid promote "$CLOSED/chain.pem" "$CLOSED/key.pem"
  pair "$CLOSED/chain.pem" "$CLOSED/key.pem"
  local before
  before=$(sha256sum "$CLOSED"/chain.pem)
  ./page # not due: nothing is staged
  [ "$(stat -c %s "$CLOSED"/*.upd | sort -u)" = 0 ]
  arid promote "$CLOSED/chain.pem" "$CLOSED/key.pem"
  [ "$(sha256sum "$CLOSED"/chain.pem)" = "$before" ]
}

@test "what is wrong with a descriptor is said before anything is asked" {
  local before words
  before=$(requests "$FILE_T")
  while read -r words; do
    # shellcheck disable=SC2086
    run -64 --separate-stderr sign --key-fd 9 $words a.example.test 9>>"$T/nine" 5>>"$T/five" 6>>"$T/five" 7<"$T/account.key" 3>&- 4>&- 8>&-
    [ -z "$output" ]
    [[ $stderr == *"${words%% *}"* ]] || fail "$words: $stderr"
  done <<'WORDS'
--cert-fd 8
--cert-fd 3
--cert-fd 4
--cert-fd 7
--cert-fd 9
--cert-fd 2
--cert-fd 0
--cert-fd -1
--cert-fd 99999
--cert-fd x
--current-fd 8
--current-fd 5
--current-fd 1
WORDS
  run -64 sign --csr - --current-fd 0 <"$T/account.key"
  run -64 --separate-stderr sign --key-fd 9 --cert-fd 5 --fullchain-fd 6 a.example.test 9>>"$T/nine" 5>>"$T/five" 6>>"$T/five"
  [[ $stderr == *"is the file of another descriptor"* ]]
  run -64 --separate-stderr sign --json --key-fd 9 --fullchain-fd 1 a.example.test 9>>"$T/nine"
  [ "$(requests "$FILE_T")" -eq "$before" ]
  [ ! -s nine ]
}
