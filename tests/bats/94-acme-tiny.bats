#!/usr/bin/env bats
# In acme-tiny's place: its words on arid sign, its name beside the program itself, and
# the pipe that a tutorial builds around it with execline, s6 and snooze.

# shellcheck disable=SC2016,SC2034,SC2154  # scripts are quoted here; what is set here is for the helpers, and what they and bats set for us

load helper

setup_file() {
  start_world
  FILE_T=$T
  export FILE_T DIRECTORY CA_FILE MGMT DNS_MGMT WELLKNOWN HTTP_PORT
  dns_manage add-a '{"host": "away.example.test", "addresses": ["127.254.254.254"]}'
}
setup() {
  chown root:root "$WELLKNOWN"
  chmod 755 "$WELLKNOWN"
  [ "$(id -u)" -eq 0 ] || skip "needs root, for other users and a mount"
  unset HOME
  export ARID_CONFIG=/dev/null SSL_CERT_FILE=$CA_FILE
  chmod 711 "$T" "${T%/*}" "${T%/*/*}"
  mkdir "$T/bin"
  ln -s "$BUILD/arid" "$T/bin/acme-tiny"
  ORIGINAL=/usr/bin/acme-tiny OURS=$T/bin/acme-tiny
  openssl genrsa -out "$T/account.key" 2048 2>/dev/null
  request a.example.test b.example.test
  cd "$T" || return
}
teardown() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}
teardown_file() { stop_all; }

# request NAME...: domain.key and domain.csr for these names.
request() {
  local IFS=,
  openssl req -new -newkey rsa:2048 -nodes -keyout "$T/domain.key" -out "$T/domain.csr" -subj / -addext "subjectAltName=${*/#/DNS:}" 2>/dev/null
}

# tiny WORD...: arid sign with acme-tiny's words.
tiny() {
  ${EXEC:-} arid sign --account-key "$T/account.key" --csr "$T/domain.csr" --acme-dir "$WELLKNOWN" \
    --directory-url "$DIRECTORY" --disable-check "$@"
}

# called PROGRAM WORD...: acme-tiny, or arid by its name, on a host that finds the tests'
# names at 127.0.0.1.
called() {
  printf '127.0.0.1 localhost %s.example.test\n' a b >"$T/hosts"
  ${EXEC:-} unshare --mount --propagation private sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$T/hosts" \
    "$1" --account-key "$T/account.key" --csr "$T/domain.csr" --acme-dir "$WELLKNOWN" --directory-url "$DIRECTORY" "${@:2}"
}

# both STATUS WORD...: acme-tiny and arid by its name end alike, and where that is a
# failure with nothing on stdout and no token left. What arid said is in ours.err.
both() {
  local program status
  for program in "$ORIGINAL" "$OURS"; do
    status=0
    called "$program" "${@:2}" >"$T/out" 2>"$T/ours.err" || status=$?
    [ "$status" -eq "$1" ] || fail "$program ended with $status: $(cat "$T/ours.err")"
    [ "$1" -eq 0 ] || [ ! -s "$T/out" ] || fail "$program wrote: $(cat "$T/out")"
    [ "$program" = "$OURS" ] || rm -f "$WELLKNOWN"/*
  done
  [ -z "$(ls -A "$WELLKNOWN")" ]
  run ! grep -F Traceback "$T/ours.err"
}

orders() { grep -c 'POST /order-plz' "$FILE_T/pebble.log" || :; }

# --- its words on arid sign

@test "acme-tiny's words on arid sign: no config, a key without an account, the chain on stdout" {
  run -78 --separate-stderr tiny
  [ -z "$output" ]
  [[ $stderr == *--accept-terms* ]]
  tiny --accept-terms >chain 2>err
  [ ! -s err ]
  verify_chain chain b.example.test
  tiny <domain.csr --csr - >chain
  verify_chain chain a.example.test
  [ -z "$(ls -A "$WELLKNOWN")" ]
  [ ! -e /var/lib/arid ]
}

@test "account keys: RSA, EC, and JWK; one is made where there is none, and none is ever overwritten" {
  openssl ecparam -name secp384r1 -genkey -noout -out ec.key
  printf '{"kty":"EC","crv":"P-256","x":"%s","y":"%s","d":"%s"}' WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE Hndv7ZZjs_ke8o9zXYo3iq-Yr8SewI5vrqd0pAvEPqg >jwk
  local key
  for key in ec.key jwk; do
    tiny --accept-terms --account-key "$key" >chain
    verify_chain chain a.example.test
  done
  tiny --account-key <(cat ec.key) >chain
  verify_chain chain a.example.test
  called "$OURS" --disable-check --quiet --account-key <(cat ec.key) >chain
  verify_chain chain a.example.test

  (umask 0 && tiny --accept-terms --account-key new.key >one) &
  (umask 0 && tiny --accept-terms --account-key new.key >two)
  wait $!
  verify_chain one a.example.test
  verify_chain two a.example.test
  [ "$(stat -c %a new.key)" = 600 ]
  cp new.key before
  tiny --account-key new.key >chain # the account is known now
  cmp new.key before

  echo "no key" >broken
  run -65 --separate-stderr tiny --accept-terms --account-key broken
  [ "$(cat broken)" = "no key" ]
  # A CA that is not asked because of its terms has no key made for it.
  run -78 tiny --account-key never.key
  [ ! -e never.key ]
}

@test "CSRs: an IP address, a common name alone, and a pipe" {
  openssl req -new -key domain.key -out domain.csr -subj / -addext subjectAltName=IP:127.0.0.1,DNS:a.example.test
  tiny --accept-terms --csr <(cat domain.csr) >chain
  run -0 openssl x509 -in chain -noout -ext subjectAltName
  [[ $output == *"IP Address:127.0.0.1"* ]]
  # Pebble does not take a common name alone; that it was asked for it is what counts.
  openssl req -new -key domain.key -out domain.csr -subj /CN=a.example.test
  run -1 --separate-stderr tiny
  [ -z "$output" ]
  [[ $stderr == *"a.example.test"* ]]
}

@test "--current: the chain again as long as it serves, and an order when it does not" {
  tiny --accept-terms --current chain --touch stamp >chain.new && mv chain.new chain
  verify_chain chain b.example.test
  [ "$(stat -c %a stamp)" = 644 ]
  cp chain before
  local asked
  asked=$(requests "$FILE_T")
  touch -d 2020-01-01 stamp
  tiny --current chain --touch stamp >chain.new && mv chain.new chain
  cmp before chain
  [ "$(requests "$FILE_T")" -eq "$asked" ]
  [ "$(stat -c %Y stamp)" -gt 1700000000 ]

  # Due, for the rule that was given; for other names; for another key.
  tiny --current chain --renew-days 91 >chain.new && mv chain.new chain
  run ! cmp before chain
  openssl req -new -key domain.key -out domain.csr -subj / -addext subjectAltName=DNS:a.example.test
  tiny --current chain >chain.new && mv chain.new chain
  run -0 openssl x509 -in chain -noout -ext subjectAltName
  [[ $output != *b.example.test* ]]
  request a.example.test
  tiny --current chain >chain.new && mv chain.new chain
  [ "$(openssl pkey -in domain.key -pubout)" = "$(openssl x509 -in chain -noout -pubkey)" ]

  # Text around it is not printed again; what is no certificate is said.
  cat <(echo note) chain domain.key >mixed
  tiny --current mixed | cmp - chain
  run -0 --separate-stderr tiny --current domain.key
  [[ $stderr == *"warning: --current"*"no certificate"* ]]
  [[ $output == *CERTIFICATE* ]]
  # The shell empties what it writes to before anybody can read it.
  cp chain same
  tiny --current same >same 2>err
  grep -F 'warning: --current "same": is stdout' err
  verify_chain same a.example.test
  # What cannot be read is no reason to order, and neither is a failure one to print.
  touch -d 2020-01-01 stamp
  run -65 --separate-stderr tiny --current . --touch stamp
  [ -z "$output" ]
  [ "$(stat -c %Y stamp)" -lt 1700000000 ]
}

# --- its name

@test "by its name: the same help words, statuses and streams" {
  local words
  for words in -h --help; do
    diff <("$ORIGINAL" $words | grep -oE -- '--?[a-z-]*[a-z]|[A-Z]+_[A-Z]+|\[CONTACT' | grep -E '^(--?[a-z]|[A-Z[])' | grep -vE '^-[^-h]' | sort -u | grep -v -- -tiny) \
      <("$OURS" $words | grep -oE -- '--?[a-z-]*[a-z]|[A-Z]+_[A-Z]+|\[CONTACT' | grep -E '^(--?[a-z]|[A-Z[])' | grep -vE '^-[^-h]' | sort -u | grep -v -- -tiny)
  done
  while read -r words; do
    # shellcheck disable=SC2086
    for program in "$ORIGINAL" "$OURS"; do
      status=0
      "$program" $words >out 2>err || status=$?
      printf '%s: %s, %s bytes, %s\n' "$words" "$status" "$(wc -c <out)" "$(tail -n 1 err | grep -oE 'required:.*|unrecognized.*|expected one.*|ambiguous option: [^ ]*' || :)" >>"$T/${program//\//_}"
    done
  done <<'WORDS'

--account-key
--account-key k --csr c
--account-key=k --csr c --acme-dir d --frobnicate
--account-key k --csr c --acme-dir d word
--a k --csr c
--ac k --csr c --acme-dir d
--account-key k --csr --acme-dir d
--contact a b --quiet
--account-key nokey --csr nocsr --acme-dir d
WORDS
  diff "$T/${ORIGINAL//\//_}" "$T/${OURS//\//_}"
  run -2 --separate-stderr arid acme-tiny
  [[ ${stderr_lines[0]} == "usage: arid acme-tiny [-h] --account-key"* ]]
}

@test "by its name: the same bytes on stdout, a sentence for each step on stderr, and nothing there with --quiet" {
  local program
  for program in "$ORIGINAL" "$OURS"; do
    called "$program" --disable-check >"out${program//\//_}" 2>"err${program//\//_}"
    verify_chain "out${program//\//_}" b.example.test
    grep -vE '^[A-Za-z0-9+/=]+$' "out${program//\//_}" >"form${program//\//_}"
    [ -s "err${program//\//_}" ]
    called "$program" --disable-check --quiet 2>err >out
    [ ! -s err ]
    [ -s out ]
  done
  cmp form*
  [ -z "$(ls -A "$WELLKNOWN")" ]
  arid acme-tiny --account-key account.key --csr domain.csr --acme-dir "$WELLKNOWN" --directory-url "$DIRECTORY" --disable-check --quiet >out
  verify_chain out a.example.test
}

@test "by its name: no config and no variable of arid's counts, and nothing is kept" {
  printf 'CHALLENGETYPE=dns-01\nHOOK=/bin/false\n' >config
  export HOME=$T/home ARID_CONFIG=$T/config ARID_CA=https://127.0.0.1:1/ ARID_BASEDIR=$T/base ARID_HOOK=/bin/false
  mkdir home
  touch chain hosts
  local before
  before=$(find . | sort)
  called "$OURS" --disable-check >chain
  [ "$(find . | sort)" = "$before" ]
  verify_chain chain a.example.test
}

@test "by its name: the self-check on --check-port, before the CA is told" {
  called "$OURS" --check-port "$HTTP_PORT" >chain 2>err
  verify_chain chain b.example.test
  grep -F 'looking before the CA does' err
  local port
  take_ports port
  both 1 --check-port "$port"
  grep -F "port $port: connection refused" ours.err
  run ! grep -F 'the CA may look' ours.err
}

# own_pebble [REJECT]: another CA for this test alone, on the same servers.
own_pebble() {
  T=$BATS_TEST_TMPDIR
  DNS_ADDR=$(sed -n 's/.*TCP and UDP DNS server on //p' "$FILE_T/dns.log") TLS_PORT=1 start_pebble "$@"
  export SSL_CERT_FILE=$CA_FILE
}

# The tests that acme-tiny has of itself, by their names; test_linecount is about its source.

@test "test_skip_valid_authorizations" {
  PEBBLE_AUTHZREUSE=100 own_pebble
  called "$OURS" --disable-check >chain
  dir=$WELLKNOWN WELLKNOWN=$T/empty
  mkdir empty
  called "$OURS" --disable-check >chain 2>err # nothing can be proved there
  grep -F 'still holds a valid authorization' err
  verify_chain chain a.example.test
  WELLKNOWN=$dir
}

@test "test_missing_account_key, test_missing_csr" {
  mv account.key away
  both 1 --disable-check
  mv away account.key
  rm domain.csr
  both 1 --disable-check
}

@test "test_invalid_domain, test_nonexistent_domain, test_account_key_domain, test_weak_key" {
  openssl req -new -key domain.key -out domain.csr -subj $'/CN=\xe2\x98\xa0\xe2\x98\xa0.example.test' -utf8
  both 1 --disable-check
  request away.example.test
  both 1 --disable-check
  grep -F 'acme-tiny: away.example.test: http-01: ' ours.err
  openssl req -new -key account.key -out domain.csr -subj / -addext subjectAltName=DNS:a.example.test
  both 1 --disable-check
  # Pebble would take it, and so the original gets its certificate here.
  openssl req -new -newkey rsa:1024 -nodes -keyout weak.key -out domain.csr -subj / -addext subjectAltName=DNS:a.example.test 2>/dev/null
  run -1 --separate-stderr called "$OURS" --disable-check
  [ -z "$output" ]
}

@test "test_contact" {
  called "$OURS" --disable-check --contact mailto:one@example.test mailto:two@example.test --quiet >chain
  run -0 arid account show --account-key account.key --ca "$DIRECTORY"
  [[ $output == *one@example.test*two@example.test* ]]
  called "$OURS" --disable-check --quiet >chain
  run -0 arid account show --account-key account.key --ca "$DIRECTORY"
  [[ $output == *one@example.test*two@example.test* ]]
  called "$OURS" --disable-check --contact=mailto:three@example.test --quiet >chain
  run -0 arid account show --account-key account.key --ca "$DIRECTORY"
  [[ $output == *three@example.test* ]]
  [[ $output != *one@example.test* ]]
}

@test "test_challenge_failure" {
  dns_manage add-a '{"host": "away2.example.test", "addresses": ["127.254.254.254"]}'
  request b.example.test away2.example.test
  both 1
  request a.example.test
  chmod 700 "$WELLKNOWN" # the web server sees nothing
  both 1 --check-port "$HTTP_PORT"
  chmod 755 "$WELLKNOWN"
  grep -F 'answers 403' ours.err
}

@test "test_nonce_retry" {
  own_pebble 50
  called "$OURS" --disable-check >chain
  verify_chain chain a.example.test
}

@test "test_pebble_doesnt_support_cn_domains" {
  openssl req -new -key domain.key -out domain.csr -subj /CN=a.example.test
  both 1 --disable-check
}

# --- the pipe

# steps SCRIPT [NAME=VALUE...]: an execline script with the steps of the tutorial's, as s6
# runs one: the client in place of CLIENT.
steps() {
  cat >run <<SCRIPT
#!/usr/bin/execlineb -P
fdmove -c 2 1
if {
  s6-setuidgid nobody
  execline-umask 026
  redirfd -w 1 $T/tree/signed_chain.crt.new
  $1
}
mv $T/tree/signed_chain.crt.new $T/tree/signed_chain.crt
SCRIPT
  chmod +x run
  mkdir -p tree
  cp account.key domain.csr tree/
  chown -R nobody tree
  chmod 750 tree
  chown nobody:www-data "$WELLKNOWN" # a web server of that group reads what is 0640
  chmod 2750 "$WELLKNOWN"
}

client() { printf '%s --account-key %s --csr %s --acme-dir %s --directory-url %s --disable-check' "$1" "$T/tree/account.key" "$T/tree/domain.csr" "$WELLKNOWN" "$DIRECTORY"; }

@test "T6, T7, T11: one client for another in a script; its talk goes to the logger, and it needs no right of root's" {
  local program
  for program in "$ORIGINAL" "$OURS" "arid sign --accept-terms"; do
    steps "$(client "$program")"
    ./run >log
    verify_chain tree/signed_chain.crt a.example.test
    [ ! -e tree/signed_chain.crt.new ]
    run ! grep -F CERTIFICATE log
    [ "$(stat -c '%a %U' tree/signed_chain.crt)" = "640 nobody" ]
    rm tree/signed_chain.crt
  done
  [ ! -s log ] # arid sign is silent when all is well
  # What the host's config says of a tree for root is not in the way.
  mkdir -m 700 closed
  HOME=$T/closed ARID_BASEDIR=$T/closed/base ./run >log
  [ ! -s log ]
  [ -z "$(ls -A closed)" ]
  steps "strace -f -e trace=%file,%creds -o $T/strace $(client "arid sign")"
  touch strace && chown nobody strace
  ./run
  grep -F "$T/tree/account.key" strace
  run ! grep -E '= -1 (EACCES|EPERM)|set(res|re|fs)?[ug]id|setgroups|capset|chown' strace
}

@test "T8: run as often as you like, under snooze: one order, and the chain stays what it was" {
  steps "snooze -H* -M* -S* $(client "arid sign --accept-terms") --current $T/tree/signed_chain.crt --touch $T/tree/stamp"
  local before
  before=$(orders)
  ./run
  cp tree/signed_chain.crt first
  ./run
  ./run
  cmp first tree/signed_chain.crt
  [ "$(orders)" -eq $((before + 1)) ]
  # The stamp is one that snooze goes by: the first is the second after it is a day old.
  run -0 snooze -n -t tree/stamp -T 1d -H '*' -M '*' -S '*'
  [[ $output == "$(date -d "@$(($(stat -c %Y tree/stamp) + 86401))" +%FT%T)"* ]]
}

@test "T9: the token's mode is up to the umask, and the directory stays as it is" {
  local before mask
  printf '#!/bin/sh\n[ "$1" = deploy_challenge ] && stat -c %%a "$WELLKNOWN/$3" >>"$SEEN"\nexit 0\n' >hook
  chmod +x hook
  export SEEN=$T/seen WELLKNOWN
  chgrp www-data "$WELLKNOWN"
  chmod 2750 "$WELLKNOWN"
  before=$(stat -c '%a %U %G' "$WELLKNOWN")
  request a.example.test
  for mask in 026 022 000; do
    (umask $mask && tiny --accept-terms -k "$T/hook" >chain)
    (umask $mask && called "$OURS" --disable-check --quiet >chain) # the server reads it as www-data
  done
  [ "$(xargs <seen)" = "640 644 666" ]
  # A closed one stays closed, and the server says so.
  status=0
  (umask 077 && called "$OURS" --check-port "$HTTP_PORT" >chain 2>err) || status=$?
  [ "$status" -eq 1 ]
  grep -F 'answers 403' err
  [ "$(stat -c '%a %U %G' "$WELLKNOWN")" = "$before" ]
  chmod 755 "$WELLKNOWN"
}

# silent_world: names whose web server takes connections and never answers.
silent_world() {
  local port
  T=$BATS_TEST_TMPDIR
  take_ports port
  start_server silent.log relay "127.0.0.1:$port"
  await_port "$port" "$STARTED"
  HTTP_PORT=$port own_pebble
}

# token_there PID: a token is there, or PID has ended.
token_there() { [ -n "$(ls "$WELLKNOWN")" ] || ! kill -0 "$1"; }

@test "T10: ended by TERM or KILL or refused by the CA, stdout is empty and the chain is the old one" {
  silent_world
  echo old >chain
  local program signal pid status
  for signal in TERM KILL; do
    for program in arid-sign acme-tiny; do
      rm -f chain.new "$WELLKNOWN"/*
      if [ "$program" = arid-sign ]; then
        EXEC="exec" tiny --accept-terms >chain.new 2>err 3>&- &
      else
        EXEC="exec" called "$OURS" --disable-check >chain.new 2>err 3>&- &
      fi
      pid=$!
      await token_there "$pid"
      kill -s "$signal" "$pid" 2>/dev/null
      status=0
      wait "$pid" || status=$?
      [ "$status" -gt 128 ]
      [ ! -s chain.new ]
      [ "$signal" = KILL ] || [ -z "$(ls -A "$WELLKNOWN")" ] || fail "$program left $(ls -A "$WELLKNOWN")"
    done
  done
  rm -f "$WELLKNOWN"/*
  stop_all
  status=0
  { tiny >chain.new 2>err && mv chain.new chain; } || status=$?
  [ "$status" -eq 75 ]
  status=0
  { called "$OURS" --disable-check >chain.new 2>err && mv chain.new chain; } || status=$?
  [ "$status" -eq 1 ]
  [ ! -s chain.new ]
  [ "$(cat chain)" = old ]
}

@test "T12: if { } stops on every failure" {
  request away.example.test
  local program
  for program in "$OURS" "arid sign --accept-terms"; do
    steps "$(client "$program")"
    echo old >tree/signed_chain.crt
    run -1 ./run
    [[ $output == *"away.example.test: http-01: "* ]]
    [ "$(cat tree/signed_chain.crt)" = old ]
    [ ! -s tree/signed_chain.crt.new ]
  done
}

@test "T17: any CA: by URL, and by the deprecated --ca" {
  T=$BATS_TEST_TMPDIR
  local port
  take_ports port
  start_server front.log front "127.0.0.1:$port" "$CA_FILE" "$FILE_T/pebble-tls.key" "$(sed 's,https://\([^/]*\)/.*,\1,' <<<"$DIRECTORY")"
  await_port "$port" "$STARTED"
  DIRECTORY=https://127.0.0.1:1/dir both 0 --disable-check --ca "https://127.0.0.1:$port"
  verify_chain out a.example.test
  tiny --accept-terms >chain
  verify_chain chain a.example.test
  # The presets are those of every command; nobody is asked for this.
  run -78 arid sign --directory-url buypass --account-key account.key --csr domain.csr --acme-dir "$WELLKNOWN"
}
