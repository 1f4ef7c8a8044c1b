#!/usr/bin/env bats
# What programs read: --json and --trace, with a real CA, by jq; and what a person sees
# on a real terminal meanwhile.

load helper

setup() {
  start_world 20
  arid_world
}
teardown() { stop_all; }

# domains NAME...: domains.txt, a line for each.
domains() {
  mkdir -p "$ARID_BASEDIR"
  printf '%s\n' "$@" >"$ARID_BASEDIR/domains.txt"
}

# chatty: a hook that talks on both streams, and logs its arguments.
chatty() {
  cat >"$T/hook" <<EOF
#!/bin/sh
echo "hook: \$1 \$2"
echo "hook: \$1 again" >&2
printf '%s\\n' "\$@" >>"$T/hooked"
EOF
  chmod 755 "$T/hook"
  export ARID_HOOK=$T/hook
}

# objects FILE: fails unless there are lines, and each is an object that begins with its
# schema.
objects() {
  [ -s "$1" ] || fail "nothing was printed"
  [ "$(grep -c '^{"schema":1,.*}$' "$1")" -eq "$(wc -l <"$1")" ] || fail "not all lines are objects: $(cat "$1")"
  jq -e . "$1" >/dev/null
}

@test "each command prints objects and nothing else; hooks and talk go to stderr" {
  chatty
  arid register --json --accept-terms >"$T/register" 2>/dev/null
  objects "$T/register"
  [ "$(jq -r .created "$T/register")" = true ]
  [ "$(jq -r .url "$T/register")" = "$(arid register)" ]

  domains a.example.test "b.example.test www.b.example.test > b" bad_name.example.test
  run -65 --separate-stderr arid renew --json
  printf '%s\n' "$output" >"$T/renew"
  objects "$T/renew"
  [ "$(jq -rs 'map(select(.result == "issued") | .name) | sort | join(" ")' "$T/renew")" = "a.example.test b" ]
  [ "$(jq -r 'select(.status == 65) | .result // "none"' "$T/renew")" = none ]
  [ "$(jq -r 'select(.name == "b") | .names | join(" ")' "$T/renew")" = "b.example.test www.b.example.test" ]
  [[ $stderr == *"hook: deploy_cert a.example.test"* ]]
  [[ $stderr == *"arid: a.example.test: issued, valid until"* ]]

  local path
  path=$(jq -r 'select(.name == "b") | .path' "$T/renew")
  verify_chain "$path/fullchain.pem" www.b.example.test
  [ "$(date -d "$(jq -r 'select(.name == "b") | .not_after' "$T/renew")" +%s)" -eq \
    "$(date -d "$(openssl x509 -in "$path/cert.pem" -noout -enddate | cut -d= -f2)" +%s)" ]
  [ "$(jq -r 'select(.name == "b") | .issuers[0]' "$T/renew")" = "$(openssl x509 -in "$path/cert.pem" -noout -issuer -nameopt multiline | sed -n 's/ *commonName *= //p')" ]

  domains a.example.test "b.example.test www.b.example.test > b"
  run -0 --separate-stderr arid renew --json
  [ -z "$stderr" ]
  [ "$(jq -rs 'map(.result) | unique | join(" ")' <<<"$output")" = unchanged ]

  local words
  for words in "account show" "account update --contact a@example.test" "config" "version" \
    "renew --dry-run" "status" "cleanup --forget b" "revoke a.example.test" "account rollover"; do
    # shellcheck disable=SC2086  # several words
    arid $words --json >"$T/out" 2>/dev/null
    objects "$T/out"
  done
}

@test "sign --csr: the chain is in the object" {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/key" -subj / \
    -addext subjectAltName=DNS:csr.example.test 2>/dev/null |
    arid sign --json --accept-terms --csr - >"$T/out" 2>"$T/talk"
  objects "$T/out"
  jq -r .chain "$T/out" >"$T/chain.pem"
  verify_chain "$T/chain.pem" csr.example.test
}

@test "a validation that fails: who, how, what the CA said, what arid saw, what to try" {
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  domains up.example.test down.example.test
  export ARID_DNS_RESOLVER=$DNS_ADDR
  run -1 --separate-stderr arid renew --json --accept-terms
  jq -es 'any(.name == "up.example.test" and .result == "issued")' <<<"$output"
  jq -es 'any(.name == "down.example.test" and .result == "failed" and .status == 1 and (.failures | length == 1))' <<<"$output"
  local failure
  failure=$(jq 'select(.name == "down.example.test") | .failures[0]' <<<"$output")
  [ "$(jq -r .name <<<"$failure")" = down.example.test ]
  [ "$(jq -r .type <<<"$failure")" = http-01 ]
  [ "$(jq -r .problem <<<"$failure")" = connection ]
  [[ $(jq -r .detail <<<"$failure") == *127.254.254.254* ]]
  [[ $(jq -r .seen <<<"$failure") == *127.254.254.254* ]]
  [[ $(jq -r .hint <<<"$failure") == *"[http-refused]" ]]

  # And then it is held, in silence, with the same status.
  run -1 --separate-stderr arid renew --json
  [ -z "$stderr" ]
  [ "$(jq -r 'select(.name == "down.example.test") | .result' <<<"$output")" = held ]
  [ "$(date -d "$(jq -r 'select(.name == "down.example.test") | .until' <<<"$output")" +%s)" -ge "$(($(date +%s) - 1))" ]
}

@test "what stops a command stands on stdout, too" {
  run -64 --separate-stderr arid sign --bogus --json
  jq -es 'length == 1 and (.[0] | .status == 64 and .error == "unknown flag: --bogus" and (.hints | length == 1))' <<<"$output"
  [[ $stderr == "arid: unknown flag: --bogus"* ]]
  run -78 --separate-stderr arid sign --json a.example.test
  jq -es 'length == 1 and .[0].status == 78 and (.[0].hints[0] | contains("--accept-terms"))' <<<"$output"
  stop_server "$PEBBLE_PID"
  run -75 --separate-stderr arid register --json --accept-terms
  jq -es 'length == 1 and .[0].status == 75 and (.[0] | has("url") | not)' <<<"$output"
}

# external_account: Pebble with one, and what is known of it.
external_account() {
  stop_server "$PEBBLE_PID"
  HMAC=zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W
  start_pebble 20 '"externalAccountBindingRequired": true, "externalAccountMACKeys": {"kid-of-mine": "'"$HMAC"'"}'
  export ARID_CA=$DIRECTORY
  printf '%s\n' "$HMAC" >"$T/hmac"
}

@test "a trace of a whole run: every request and hook call, and no secret in any form" {
  external_account
  chatty
  domains a.example.test "b.example.test www.b.example.test" c.example.test
  export ARID_DNS_KEY=hmac-sha256:key:c2VjcmV0IHNlY3JldCBzZWNyZXQ=
  arid renew --accept-terms --eab-kid kid-of-mine --eab-hmac-file "$T/hmac" --trace "$T/trace" 2>/dev/null
  objects "$T/trace"
  [ "$(stat -c %a "$T/trace")" = 600 ]
  jq -es '.[0] | .arid and .ca == env.ARID_CA' "$T/trace"
  jq -es 'map(select(.request == "new order" and .status == 201)) | length == 3' "$T/trace"
  jq -es 'map(select(.problem == "urn:ietf:params:acme:error:badNonce")) | length > 0' "$T/trace"
  jq -es 'map(select(.new_connection)) | length == 1' "$T/trace"
  jq -es 'map(select(.hook == "deploy_challenge" and .arguments == 3 and .status == 0)) | length == 4' "$T/trace"

  secrets >"$T/secrets"
  [ "$(wc -l <"$T/secrets")" -ge 12 ] # three, four keys, four tokens, the account's thumbprint
  local secret
  while read -r secret; do
    forms "$secret"
  done <"$T/secrets" >"$T/forms"
  run ! grep -F -f "$T/forms" "$T/trace"
  grep -qF -f "$T/forms" "$T/hooked" # they are found where they stand
}

# secrets: of the run before, a line each: the binding, keys in hexadecimal digits,
# tokens and key authorizations as the hook was told them.
secrets() {
  printf '%s\n' "$HMAC" kid-of-mine c2VjcmV0IHNlY3JldCBzZWNyZXQ=
  local file
  for file in "$ARID_BASEDIR"/accounts/*/account_key.pem "$ARID_BASEDIR"/certs/*/privkey.pem; do
    openssl pkey -in "$file" -text -noout | sed -n '/^priv:/,/^pub:/p' | grep '^ ' | tr -d ' :\n'
    echo
  done
  grep -E '^[A-Za-z0-9_.-]{40,}$' "$T/hooked" | tr . '\n' | sort -u
}

# unhex DIGITS: the bytes that they stand for.
unhex() { perl -e 'print pack "H*", shift' "$1"; }

# forms TEXT: the ways in which it may be written.
forms() {
  printf '%s\n' "$1"
  printf %s "$1" | base64 -w0 | tr -d =; echo
  printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; echo
  if [[ $1 =~ ^[0-9a-f]{64}$ ]]; then
    unhex "$1" | base64 -w0 | tr -d =; echo
    unhex "$1" | base64 -w0 | tr -d = | tr +/ -_; echo
  elif [ "${#1}" -ge 40 ]; then
    tr -- -_ +/ <<<"$1"
    tr -- -_ +/ <<<"$1=" | base64 -di 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; echo
  fi
}

@test "a trace that cannot be written stops the run before the first request" {
  run -74 arid register --accept-terms --trace /dev/full
  [[ $output == "arid: --trace: "*"no space left on device" ]]
  run -74 arid register --accept-terms --trace "$T/no/such/folder"
  run -64 arid register --accept-terms --trace -
  [ "$(requests)" -eq 0 ]
}

# on_terminal FILE WORDS...: runs a command line on a terminal of 80 columns; what is
# written to it goes to FILE.
on_terminal() {
  local file=$1
  shift
  TERM=vt100 script -qec "stty cols 80; $*" /dev/null </dev/null >"$file"
}

# screen FILE: what stands on the terminal after all that.
screen() { sed 's/\r$//; s/.*\r\x1b\[K//' "$1"; }

@test "on a terminal: one status line, whole lines, and nothing left behind" {
  chatty
  arid register --accept-terms 2>/dev/null
  local names i
  for i in {1..12}; do
    names+=("n$i.example.test")
  done
  domains "${names[@]}"
  on_terminal "$T/written" arid --color never renew --parallel 4
  grep -qP '\x1b\[K12/12 n\d+\.example\.test, \d at work' "$T/written"
  grep -qP ', [2-4] at work' "$T/written"
  screen "$T/written" >"$T/screen"
  [ "$(grep -c '^arid: n[0-9]*\.example\.test: issued, valid until [^ ]* [^ ]*$' "$T/screen")" -eq 12 ]
  [ "$(grep -cE '^hook: [a-z_]+ [^ ]*$' "$T/screen")" -ge 100 ]
  run ! grep -vE '^(arid: n[0-9]+\.example\.test: issued, valid until .*|hook: [a-z_]+ [^ ]*)$' "$T/screen"
  [ -z "$(tail -c 1 "$T/screen")" ] # it ends with a whole line

  # Nothing is due: it comes and goes, and a line says so.
  on_terminal "$T/written" arid --color never renew
  grep -q 'at work' "$T/written"
  [ "$(screen "$T/written")" = 'arid: none of the 12 certificates is due; "arid status" tells when they are' ]

  # A run of one has its steps there, and JSON does not mix with them.
  on_terminal "$T/written" arid --color never sign --json -x n1.example.test
  grep -q 'order for n1.example.test' "$T/written"
  screen "$T/written" >"$T/screen"
  run ! grep -vE '^(arid: n1\.example\.test: issued.*|hook: .*|\{"schema":1,.*\})$' "$T/screen"
  [ "$(grep -c '^{"schema":1,.*}$' "$T/screen")" -eq 1 ]
}

@test "off a terminal there is no status line, with --json or without" {
  arid register --accept-terms 2>/dev/null
  domains a.example.test b.example.test c.example.test
  local words
  for words in "" "-x --all --json"; do
    # shellcheck disable=SC2086  # several words
    arid renew $words >"$T/out" 2>"$T/talk"
    run ! grep -e $'\r' -e 'at work' "$T/out" "$T/talk"
    [ "$(grep -c '^arid: [abc]\.example\.test: issued' "$T/talk")" -eq 3 ]
    [ "$(wc -l <"$T/talk")" -eq 3 ]
  done
  [ "$(wc -l <"$T/out")" -eq 3 ]
}
