#!/usr/bin/env bats
# In acme-tiny's place: its words on arid sign, its name, and the pipe.

load helper

setup() {
  start_world
  export HOME=$T/home ARID_CONFIG=/dev/null SSL_CERT_FILE=$CA_FILE
  mkdir "$HOME"
  openssl genrsa -out "$T/account.key" 2048 2>/dev/null
  openssl req -new -newkey rsa:2048 -nodes -keyout "$T/domain.key" -out "$T/domain.csr" -subj / \
    -addext subjectAltName=DNS:a.example.test,DNS:b.example.test 2>/dev/null
}
teardown() { stop_all; }

# tiny WORD...: arid sign with acme-tiny's words.
tiny() {
  arid sign --account-key "$T/account.key" --csr "$T/domain.csr" --acme-dir "$WELLKNOWN" \
    --directory-url "$DIRECTORY" --disable-check "$@"
}

@test "acme-tiny's words on arid sign: no config, a key without an account, the chain on stdout" {
  tiny --accept-terms >"$T/chain" 2>"$T/talk"
  [ ! -s "$T/talk" ]
  verify_chain "$T/chain" b.example.test
  tiny >"$T/chain"
  verify_chain "$T/chain" a.example.test
  [ -z "$(find "$WELLKNOWN" "$HOME" -mindepth 1)" ]
}

@test "--current: the chain again as long as it serves, and an order when it does not" {
  tiny --accept-terms --current "$T/chain" --touch "$T/stamp" >"$T/chain.new" && mv "$T/chain.new" "$T/chain"
  verify_chain "$T/chain" b.example.test
  [ -e "$T/stamp" ]
  cp "$T/chain" "$T/before"
  local requests
  requests=$(wc -l <"$T/pebble.log")
  touch -d 2020-01-01 "$T/stamp"
  tiny --current "$T/chain" --touch "$T/stamp" >"$T/chain.new" && mv "$T/chain.new" "$T/chain"
  cmp "$T/before" "$T/chain"
  [ "$(wc -l <"$T/pebble.log")" -eq "$requests" ]
  [ "$(stat -c %Y "$T/stamp")" -gt 1700000000 ]

  tiny --current "$T/chain" --renew-days 91 >"$T/chain.new" && mv "$T/chain.new" "$T/chain"
  verify_chain "$T/chain" a.example.test
  run ! cmp "$T/before" "$T/chain"
}
