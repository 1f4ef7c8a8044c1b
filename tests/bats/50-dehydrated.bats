#!/usr/bin/env bats
# One tree, used by arid and by dehydrated in turn.

load helper

NAMES=(a.example.test b.example.test)

setup() {
  start_world
  export HOME=$T/home
  BASE=$T/base
  DIR=$BASE/certs/${NAMES[0]}
  mkdir -p "$HOME" "$BASE"
  cat >"$BASE/config" <<EOC
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEY_ALGO=rsa
KEYSIZE=2048
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
  printf '%s\n' "${NAMES[*]}" >"$BASE/domains.txt"
}
teardown() { stop_all; }

# ours COMMAND ARGUMENT..., theirs ARGUMENT...: with the one config.
ours() { ARID_CA_BUNDLE=$CA_FILE arid "$@" --config "$BASE/config"; }
theirs() { dehydrated --config "$BASE/config" "$@"; }

serial() { openssl x509 -in "$DIR/cert.pem" -noout -serial; }

# snapshot: every file of the tree with mode, times and content.
snapshot() { (cd "$BASE" && find . -printf '%p %M %T@ %l\n' | sort && find . -type f -exec sha256sum {} + | sort); }

# check_set: what the stable names show is one verified set.
check_set() {
  local name
  cat "$DIR/cert.pem" "$DIR/chain.pem" | cmp - "$DIR/fullchain.pem"
  for name in "${NAMES[@]}"; do
    verify_chain "$DIR/fullchain.pem" "$name"
  done
  [ "$(openssl pkey -in "$DIR/privkey.pem" -pubout)" = "$(openssl x509 -in "$DIR/cert.pem" -noout -pubkey)" ]
  [ "$(openssl req -in "$DIR/cert.csr" -noout -pubkey)" = "$(openssl x509 -in "$DIR/cert.pem" -noout -pubkey)" ]
  [ -z "$(find "$BASE" -xtype l)" ] # no link leads nowhere
  [ -z "$(find "$BASE/certs" "$BASE/accounts" ! -type l -perm /077)" ]
}

@test "arid and dehydrated take a tree from each other, and back" {
  # arid registers and signs.
  ours register --accept-terms
  ours sign "${NAMES[@]}"
  check_set
  local one two three
  one=$(serial)

  # dehydrated finds account and certificate, and has nothing to do.
  run -0 theirs -c
  [[ $output == *"unchanged"* ]]
  [[ $output == *"Skipping renew"* ]]
  [ "$(serial)" = "$one" ]
  [ "$(find "$BASE/accounts" -name account_key.pem | wc -l)" -eq 1 ]
  local account
  account=$(sha256sum "$BASE"/accounts/*/account_key.pem)

  # dehydrated renews.
  past_names "$BASE/certs"
  theirs -c -x
  check_set
  two=$(serial)
  [ "$two" != "$one" ]
  [[ $(readlink "$DIR/cert.pem") == cert-*.pem ]]

  # To arid nothing is due because of that: it says nothing, asks nothing, writes nothing.
  snapshot >"$T/before"
  local asked
  asked=$(requests)
  run -0 ours sign "${NAMES[@]}"
  [ -z "$output" ]
  snapshot | diff "$T/before" -
  [ "$(requests)" -eq "$asked" ]

  # arid takes over.
  ours sign -x "${NAMES[@]}"
  check_set
  three=$(serial)
  [ "$three" != "$two" ]
  [ "$(readlink "$DIR/cert.pem")" = live/cert.pem ]
  [ "$(cat "$BASE"/accounts/*/account_key.pem | sha256sum)" = "${account%% *}  -" ]

  # What dehydrated's clean-up calls unused is nothing that is live, nor dehydrated's own last set.
  run -0 theirs -gc
  [[ $output == *"Moving unused file"* ]]
  check_set
  [ "$(serial)" = "$three" ]
  [ "$(cat "$DIR"/versions/*/cert.pem | grep -c 'BEGIN CERTIFICATE')" -eq 3 ]
  run -0 ours sign "${NAMES[@]}"
  [ -z "$output" ]

  # dehydrated revokes, which takes the certificate's file away.
  theirs --revoke "$DIR/cert.pem"
  [ ! -e "$DIR/cert.pem" ]
  run -0 pebble_curl "$MGMT/cert-status-by-serial/${three#serial=}"
  [[ $output == *Revoked* ]]

  # arid orders anew, and dehydrated agrees.
  run -0 ours sign "${NAMES[@]}"
  [[ $output == "arid: ${NAMES[0]}: issued, valid until "* ]]
  check_set
  [ "$(serial)" != "$three" ]
  run -0 theirs -c
  [[ $output == *"Skipping renew"* ]]
  [ -z "$(ls -A "$WELLKNOWN")" ]
}

@test "a tree of dehydrated's alone is adopted as it is" {
  theirs --register --accept-terms
  theirs -c
  local serial
  serial=$(serial)
  snapshot >"$T/before"
  run -0 ours sign "${NAMES[@]}"
  [ -z "$output" ]
  snapshot | diff "$T/before" -

  ours sign -x "${NAMES[@]}"
  check_set
  [ "$(serial)" != "$serial" ]
  [ "$(find "$BASE/accounts" -name account_key.pem | wc -l)" -eq 1 ]
  # dehydrated takes the folder back.
  past_names "$BASE/certs"
  theirs -c -x
  check_set
  run -0 theirs -gc
  check_set
  run -0 ours sign "${NAMES[@]}"
  [ -z "$output" ]
}
