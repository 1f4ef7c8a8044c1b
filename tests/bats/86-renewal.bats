#!/usr/bin/env bats
# When arid renews, and when it does not: what the CA suggests, what it asked for, and
# what failed before. With real Pebble, and all of it over days that pass between two
# runs, as far as what arid remembers is concerned.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154  # hooks and filters are quoted here; loops run beside the tests; and what is set for and by bats and the helpers

load helper
load renewal

NAME=a.example.test

setup_file() {
  start_gated_world
  # Names that the CA finds nobody at.
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  loops
}
setup() {
  gated
  LOOPS=$FILE_T/loops
}
teardown() { end_gated; }
teardown_file() {
  T=$T/loops stop_all
  stop_all
}

# --- What the CA suggests

@test "a window ahead: one instant, the same in every run, and nothing is asked before Retry-After is over" {
  local name at start end last=
  for ARID_ACME_PROFILE in default month week; do
    name=$ARID_ACME_PROFILE.example.test
    domains "$name"
    : >"$GATE_LOG"
    arid renew
    # For a while nothing is asked at all.
    no_news arid renew
    [[ $(asked) != *-ari-* ]]
    ask_now "$name"
    run -0 arid renew
    [ -z "$output" ]
    [ "$(asked | tail -n 1)" = "GET /draft-ietf-acme-ari-03 200" ]

    no_news arid renew
    at=$(due_at "$name") start=$(state "$name" .ari.start) end=$(state "$name" .ari.end)
    [ "$(seconds "$at")" -ge "$(seconds "$start")" ]
    [ "$(seconds "$at")" -lt "$(seconds "$end")" ]
    [ "$(due_at "$name")" = "$at" ]
    # From the certificate alone: on another host with the same files as well.
    cp -a "$ARID_BASEDIR" "$T/elsewhere-$name"
    [ "$(ARID_BASEDIR=$T/elsewhere-$name due_at "$name")" = "$at" ]
    # Retry-After: 21600.
    [ "$(seconds "$(state "$name" .ari.ask)")" -gt "$(($(date +%s) + 21000))" ]
    # Not all at one time.
    [ "$at" != "$last" ]
    last=$at
  done
}

# soon NAME SECONDS: time passes, until so long before the chosen instant, or a second
# more. Prints the second of that instant.
soon() {
  local at by
  at=$(seconds "$(due_at "$1")")
  by=$((at - $(date +%s) - $2))
  change "$(set_of "$1")/state.json" '(.ari.start, .ari.end) |= (fromdate - $by | todate)' --argjson by "$by"
  echo $((at - by))
}

@test "it is renewed at the chosen instant, once" {
  local name now before instant tries renewed=0
  for name in default month week; do
    mkdir -p "$(set_of "$name.example.test")"
    echo "ACME_PROFILE=$name" >"$(set_of "$name.example.test")/config"
  done
  unset ARID_ACME_PROFILE
  domains {default,month,week}.example.test
  arid renew
  now=$(date +%s)
  for name in {default,month,week}.example.test; do
    suggest "$name" "$(window $((now + 3600)) $((now + 7200)))"
    ask_now "$name"
  done
  : >"$GATE_LOG"
  arid renew
  [ "$(orders)" -eq 0 ]
  for name in {default,month,week}.example.test; do
    soon "$name" 2 >"$T/at-$name"
  done
  for ((tries = 0; tries < 300 && renewed < 3; tries++)); do
    before=$(date +%s)
    arid renew 2>"$T/said"
    now=$(date +%s)
    for name in {default,month,week}.example.test; do
      instant=$(cat "$T/at-$name")
      if grep -q "arid: $name: issued" "$T/said"; then
        [ "$now" -ge "$instant" ] || fail "$name: renewed before its time"
        renewed=$((renewed + 1))
        : >"$T/done-$name"
      elif [ ! -e "$T/done-$name" ]; then
        [ "$before" -le "$instant" ] || fail "$name: not renewed at its time"
      fi
    done
    sleep 0.2
  done
  # No more of it, although nothing has changed but the certificates.
  for ((tries = 0; tries < 5; tries++)); do
    no_news arid renew
  done
  [ "$(orders)" -eq 3 ]
  [[ $(replaced) != *-* ]] || [ "$(replaced | grep -c '^-$')" -eq 0 ]
}

# past NAME [URL]: a window that is over, for a certificate that is a moment old.
past() {
  local begins
  begins=$(begins "$1")
  while [ "$(date +%s)" -lt $((begins + 3)) ]; do
    sleep 0.1
  done
  suggest "$1" "$(window $((begins + 1)) $((begins + 2)) "${2:-}")"
  ask_now "$1"
}

@test "a window in the past renews at once, tells why, and says which certificate is replaced" {
  local id url=https://ca.example.test/incident
  printf '#!/bin/sh\n[ "$1" != deploy_cert ] || echo "$ARID_HOOK_REASON" >"$T/reason"\n' >"$T/hook"
  chmod +x "$T/hook"
  export T ARID_HOOK=$T/hook
  domains "$NAME"
  arid renew
  id=$(certificate_id "$NAME")
  past "$NAME" "$url"
  : >"$GATE_LOG"
  run -0 arid renew -v
  [[ $output == *"due: the CA suggests renewing it since "*": \"$url\""* ]]
  [[ $output == *"arid: $NAME: issued, valid until "* ]]
  [[ $(cat "$T/reason") == *"\"$url\"" ]]
  [ "$(replaced)" = "$id" ]
  grep -q 'ARI: order .* is a replacement of' "$FILE_T/pebble.log"
  no_news arid renew
}

@test "what explains a window is shown by what tells what is due, and does nothing to a terminal" {
  local now
  domains "$NAME"
  arid renew
  now=$(date +%s)
  suggest "$NAME" "$(window $((now + 3600)) $((now + 7200)) $'https://ca.example.test/\e[2Jwhy')"
  ask_now "$NAME"
  arid renew
  [ "$(state "$NAME" .ari.explanation)" = $'https://ca.example.test/\e[2Jwhy' ]
  local at
  at=$(soon "$NAME" 1) # after the certificate was made, or it would count for nothing
  while [ "$(date +%s)" -le "$at" ]; do sleep 0.05; done
  run -0 arid renew --dry-run
  [[ $output == *"$NAME"*due*'the CA suggests renewing it since '*': "https://ca.example.test/\x1b[2Jwhy"'* ]]
  [[ $output != *$'\e'* ]]
}

@test "what the CA does not take as replaced is ordered without" {
  domains "$NAME"
  arid renew
  # Another host with the same files was first.
  cp -a "$ARID_BASEDIR" "$T/other"
  ARID_BASEDIR=$T/other arid renew -x --all
  : >"$GATE_LOG"
  run -0 arid renew -x --all
  [ "${#lines[@]}" -eq 1 ]
  [ "$(grep -c 'POST /order-plz 409 ' "$GATE_LOG")" -eq 1 ]
  [ "$(replaced | tail -n 1)" = - ]
  [ "$(orders)" -eq 2 ]

  # The CA has lost its memory.
  stop_server "$GATE_PID"
  cp "$FILE_T"/pebble-tls.* "$T/"
  start_pebble 0 "$PROFILES"
  pebble_target
  start_gate gate "$GATE_PORT"
  rm -r "$ARID_BASEDIR/accounts"
  arid register --accept-terms
  : >"$GATE_LOG"
  run -0 arid renew -x --all
  [ "${#lines[@]}" -eq 1 ]
  [ "$(grep -c 'POST /order-plz 400 ' "$GATE_LOG")" -eq 1 ]
  [ "$(replaced | tail -n 1)" = - ]
  [ "$(orders)" -eq 2 ]
}

@test "another certificate under the same alias replaces none" {
  domains "$NAME"
  arid renew
  domains "b.example.test > $NAME"
  : >"$GATE_LOG"
  arid renew
  [ "$(replaced)" = - ]
  domains "b.example.test c.example.test > $NAME"
  : >"$GATE_LOG"
  arid renew
  [ "$(replaced)" != - ]
}

# advice_or_not: renewal info as it is now (RULES, or what Pebble was told) keeps
# nothing from its time, is asked for once in a run and then not for an hour, and
# gives no cause to renew either.
advice_or_not() {
  ask_now "$NAME"
  jq 'del(.no_ari)' "$ARID_BASEDIR"/accounts/*/state.json >"$T/memory"
  cp "$T/memory" "$ARID_BASEDIR"/accounts/*/state.json
  : >"$GATE_LOG"
  run -0 arid renew
  [ -z "$output" ] || fail "$1: it says $output"
  [ "$(orders)" -eq 0 ] || fail "$1: it was renewed"
  [ "$(grep -c renewalInfo "$GATE_LOG")" -ge 1 ] || fail "$1: it was not asked for"
  no_news arid renew
  ask_now "$NAME"
  : >"$GATE_LOG"
  arid renew --renew-days 9999 2>"$T/said"
  [ "$(orders)" -eq 1 ] || fail "$1: it was not renewed"
}

@test "no silence and no nonsense of the CA about renewal keeps a certificate from its time" {
  domains "$NAME"
  arid renew
  local rule text
  for rule in "404 - -" "404 - malformed" "400 - malformed" "403 - unauthorized" "405 - -" "410 - -" "200 - -" "204 - -" "302 - -" \
    "429 7200 rateLimited" "503 7200 -" "500 - serverInternal"; do
    echo "GET /draft-ietf-acme-ari-03 $rule" >"$RULES"
    advice_or_not "$rule"
  done
  : >"$RULES"
  for text in '{' '[]' '""' null '<html>' '{}' '{"suggestedWindow": null}' '{"suggestedWindow": {"start": 1, "end": 2}}' \
    '{"suggestedWindow": {"start": "soon", "end": "later"}}' \
    '{"suggestedWindow": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-02T00:00:00Z"}}' \
    '{"suggestedWindow": {"start": "9999-01-01T00:00:00Z", "end": "9999-01-02T00:00:00Z"}}' \
    '{"suggestedWindow": {"start": "2026-12-02T00:00:00Z", "end": "2026-12-01T00:00:00Z"}}'; do
    suggest "$NAME" "$text"
    advice_or_not "$text"
  done
}

# dehydrated_tree DIR: the current directory of a dehydrated, with an account.
dehydrated_tree() {
  one_profile
  unset ARID_BASEDIR ARID_WELLKNOWN ARID_CA ARID_DOMAINS_TXT ARID_CA_BUNDLE
  mkdir "$1"
  cd "$1" || return
  printf '%s\n' "BASEDIR=$1" "CA=$DIRECTORY" "WELLKNOWN=$WELLKNOWN" "CURL_OPTS=\"--cacert $CA_FILE\"" KEY_ALGO=prime256v1 ACCOUNT_KEYSIZE=2048 >config
}

@test "a tree of dehydrated's: no request and no write where nothing is due" {
  dehydrated_tree "$T/tree"
  dehydrated --register --accept-terms -f config
  echo "$NAME" >domains.txt
  dehydrated -c -f config
  export ARID_CONFIG=$T/tree/config ARID_BASEDIR=$T/tree
  no_news arid renew
  no_news arid sign "$NAME"
  [ -z "$(find . -name state.json)" ]
}

@test "dehydrated's mode asks for no advice, and remembers no failure" {
  dehydrated_tree "$T/tree"
  arid dehydrated --register --accept-terms -f config
  echo "$NAME" >domains.txt
  arid dehydrated -c -f config
  arid dehydrated -c -f config
  [ "$(orders)" -eq 1 ]
  run -0 arid dehydrated -c -x -f config
  [[ $(asked) != *-ari-* ]]
  [ "$(jq 'has("ari") or has("failed") or has("hold")' "certs/$NAME/state.json")" = false ]
  [ -z "$(find accounts -name state.json)" ]
  # The first native run asks at once, and then not for a while.
  : >"$GATE_LOG"
  ARID_CONFIG=$PWD/config run -0 arid renew
  [ -z "$output" ]
  [[ $(asked) == *"GET /draft-ietf-acme-ari-03 200"* ]]
  ARID_CONFIG=$PWD/config no_news arid renew
  : >"$GATE_LOG"
  echo "POST /order-plz 429 3600 rateLimited" >"$RULES"
  run -1 arid dehydrated -c -x -f config
  run -1 arid dehydrated -c -x -f config
  [ "$(orders)" -eq 2 ]
}

# --- After failures

# rung MEMBER SECONDS COUNT...: the wait after the failure in MEMBER of state.json is so
# long, a tenth more or less: before that nothing happens, and after that what COUNT
# prints is one more.
rung() {
  local member=$1 wait=$2 count
  shift 2
  count=$("$@")
  failed_before "$NAME" "$member" $((wait * 9 / 10 - 20))
  run -"$STATUS" arid renew
  [ -z "$output" ] || fail "too early after $wait s: $output"
  [ "$("$@")" -eq "$count" ] || fail "tried too early after $wait s"
  failed_before "$NAME" "$member" $((wait * 11 / 10 + 1))
  run -"$STATUS" arid renew
  [[ $output == "arid: $NAME: "* ]] || fail "after $wait s: $output"
  [ "$("$@")" -eq $((count + 1)) ] || fail "not tried after $wait s"
  for _ in 1 2 3; do
    run -"$STATUS" arid renew
    [ -z "$output" ]
  done
  [ "$("$@")" -eq $((count + 1)) ] || fail "tried again at once"
}

@test "a minute, ten, a hundred, a day, a day: an order that the CA refuses, and one that it cannot validate" {
  local wait
  domains "$NAME"
  echo "POST /order-plz 403 - unauthorized" >"$RULES"
  STATUS=1
  run -1 arid renew
  for wait in 60 600 6000 86400 86400; do
    rung .failed "$wait" orders
  done
  : >"$RULES"
  failed_before "$NAME" .failed 100000
  arid renew
  [ "$(jq 'has("failed")' "$(set_of "$NAME")/state.json")" = false ]

  # What failed for one set of names says nothing of another. A name more, and the CA
  # finds nobody there; the live certificate stays.
  domains "$NAME down.example.test"
  serial "$NAME" >"$T/serial"
  : >"$GATE_LOG"
  run -1 arid renew
  for wait in 60 600 6000 86400 86400; do
    rung .failed "$wait" orders
  done
  serial "$NAME" | cmp "$T/serial"
  [ "$(find "$(set_of "$NAME")" -name order.json)" = "" ]
}

calls() { grep -c "$BROKEN" "$CALLS" || :; }

@test "a minute, ten, a hundred, a day, a day: hooks that fail after the certificate was issued" {
  local wait version
  export ARID_HOOK=$LOOPS/loop-hook CALLS=$T/calls BROKEN
  domains "$NAME"
  STATUS=10
  for BROKEN in deploy_cert sync_cert; do
    : >"$CALLS"
    : >"$GATE_LOG"
    version=$(readlink "$(set_of "$NAME")/live") || :
    run -10 arid renew -x --all
    for wait in 60 600 6000 86400 86400; do
      rung .owed.failed "$wait" calls
    done
    # Six calls and one order. Without sync_cert nothing is shown.
    [ "$(calls)" -eq 6 ]
    [ "$(orders)" -eq 1 ]
    if [ "$BROKEN" = sync_cert ]; then
      [ "$(readlink "$(set_of "$NAME")/live")" = "$version" ]
    else
      [ "$(readlink "$(set_of "$NAME")/live")" != "$version" ]
    fi
    # By hand it is called now, and with that it is done.
    BROKEN='' run -0 arid renew --redeploy "$NAME"
    [ "$output" = "arid: $NAME: deployed" ]
    [ "$(tail -n 1 "$CALLS")" = deploy_cert ]
    [ "$(orders)" -eq 1 ]
    no_news arid renew
  done
}

@test "an order that fails while a hook is owed waits like any other" {
  export ARID_HOOK=$LOOPS/loop-hook CALLS=$T/calls BROKEN=deploy_cert ARID_RENEW_DAYS=9999
  domains "$NAME"
  run -10 arid renew
  echo "POST /order-plz 403 - rejectedIdentifier" >"$RULES"
  : >"$GATE_LOG"
  run -1 arid renew
  run -1 arid renew
  [ -z "$output" ]
  run -1 arid renew
  [ "$(orders)" -eq 1 ]
}

@test "Retry-After for some names: those wait until it is over, whatever is said, and others do not" {
  domains "$NAME" b.example.test
  echo "POST /order-plz 429 3600 rateLimited" >"$RULES"
  run -75 arid renew "$NAME"
  [[ ${lines[-1]} == "arid: next try: not before "* ]]
  local until
  until=$(state "$NAME" .hold.until)
  [ "$(seconds "$until")" -gt $(($(date +%s) + 3500)) ]
  : >"$RULES"
  : >"$GATE_LOG"
  # As if the first wait of the ladder were over, and a day more.
  failed_before "$NAME" .failed 200000
  run -75 arid renew "$NAME"
  run -75 arid renew -x "$NAME"
  run -75 arid sign -x "$NAME"
  run -75 arid renew -v "$NAME"
  [[ $output == *"not tried before $until: not now: "*rateLimited* ]]
  [ ! -s "$GATE_LOG" ]
  run -75 arid renew
  [ "$output" = "$(grep "arid: b.example.test: issued" <<<"$output")" ]
  [ "$(orders)" -eq 1 ]
  # An hour passes.
  change "$(set_of "$NAME")/state.json" '.hold.until = $at' --arg at "$(ago 1)"
  run -0 arid renew
  [ "$(orders)" -eq 2 ]
  no_news arid renew
}

@test "Retry-After for the whole CA, on nonces, accounts and with any 503: nothing more is asked for any name" {
  local rule method path status
  for rule in "HEAD /nonce-plz 429 3600 rateLimited" "POST /order-plz 503 3600 -" "POST /chalZ 503 3600 -" "GET /dir 503 3600 -"; do
    rm -rf "$ARID_BASEDIR/certs"
    echo "$rule" >"$RULES"
    domains "$NAME"
    : >"$GATE_LOG"
    run -75 arid renew
    read -r method path status _ <<<"$rule"
    [ "$(grep -c " $method $path.* $status " "$GATE_LOG")" -eq 1 ] || fail "$rule: $(cat "$GATE_LOG")"
    : >"$GATE_LOG"
    : >"$RULES"
    run -75 arid renew
    [ -z "$output" ]
    run -75 arid renew -x --all
    run -75 arid sign c.example.test
    run -75 arid sign -x c.example.test
    [ ! -s "$GATE_LOG" ] || fail "$rule: $(cat "$GATE_LOG")"
    change "$(echo "$ARID_BASEDIR"/accounts/*/state.json)" '.hold.until = $at' --arg at "$(ago 1)"
    failed_before "$NAME" .failed 67 # a minute, and a tenth more
    run -0 arid renew
    [[ $output == "arid: $NAME: issued, valid until "* ]]
  done
}

# --- What is remembered, in files that are not as arid left them

@test "a state.json that is damaged, foreign or of a newer arid costs a warning, and no certificate" {
  local text file serial
  domains "$NAME"
  arid renew
  file=$(set_of "$NAME")/state.json serial=$(serial "$NAME")
  cp "$file" "$T/good"
  for text in nonsense '' '{' "$(head -c 100 "$T/good")" null '[]' '{"schema": "x"}' '{"schema": 1, "names": 7}' '{"schema": -1}'; do
    printf %s "$text" >"$file"
    : >"$GATE_LOG"
    run -0 arid renew
    [ "${lines[0]}" = "$output" ]
    [[ $output == "arid: warning: $NAME: \"$file\": cannot be understood and is taken as empty: "* ]] || fail "$text: $output"
    [ ! -s "$GATE_LOG" ]
    [ "$(serial "$NAME")" = "$serial" ]
  done
  # The next renewal makes it good.
  run -0 arid renew -x --all
  no_news arid renew
  [ "$(state "$NAME" .names[0])" = "$NAME" ]

  # Members of others stay, at every depth, also after a renewal.
  serial=$(serial "$NAME")
  change "$file" '. + {"mine": {"deep": [1.50, "x"]}} | .ari.more = 12345678901234567890'
  grep -o '"more": [0-9]*' "$file" >"$T/more"
  no_news arid renew
  ask_now "$NAME"
  arid renew
  [ "$(state "$NAME" '.mine.deep[1]')" = x ]
  grep -q "$(cat "$T/more")" "$file"
  arid renew -x --all
  [ "$(state "$NAME" '.mine.deep[1]')" = x ]
  [ "$(serial "$NAME")" != "$serial" ]

  # One of a newer arid is read, and never written.
  change "$file" '.schema = 2 | .ari.ask = "soon"'
  cp "$file" "$T/newer"
  run -0 arid renew
  [ -z "$output" ]
  run -0 arid renew -x --all
  [ "${#lines[@]}" -eq 1 ]
  cmp "$file" "$T/newer"
}

@test "what is remembered of the CA can be damaged, or gone, and costs a request" {
  local file text
  one_profile # where one is named the directory is looked at each time
  domains "$NAME"
  arid renew
  file=$(echo "$ARID_BASEDIR"/accounts/*/state.json)
  for text in nonsense '' '{' '[]' '{"schema": 1, "directory": 7}' '{"directory": {"fetched": "2100-01-01T00:00:00Z", "document": {}}}' \
    '{"directory": {"fetched": "'"$(ago 60)"'", "document": {"newNonce": "http://192.0.2.1/"}}}' '{"directory": {"document": null}}'; do
    printf %s "$text" >"$file"
    : >"$GATE_LOG"
    run -0 arid renew -x --all
    [[ ${lines[-1]} == "arid: $NAME: issued, valid until "* ]] || fail "$text: $output"
    [[ ${lines[0]} == "arid: warning: \"$file\": cannot be understood and is taken as empty: "* ]] || [ "${#lines[@]}" -eq 1 ] || fail "$text: $output"
    [ "$(grep -c ' GET /dir ' "$GATE_LOG")" -eq 1 ] || fail "$text: $(cat "$GATE_LOG")"
    [ "$(orders)" -eq 1 ]
    # And it is good again.
    : >"$GATE_LOG"
    run -0 arid renew -x --all
    [ "${#lines[@]}" -eq 1 ]
    [ "$(grep -c ' GET /dir ' "$GATE_LOG")" -eq 0 ]
  done
  rm "$file"
  : >"$GATE_LOG"
  arid renew -x --all
  [ "$(grep -c ' GET /dir ' "$GATE_LOG")" -eq 1 ]
}

@test "the CA's directory is good for a day, and fetched anew where it has moved" {
  local file at member dead
  one_profile
  domains "$NAME"
  arid renew
  file=$(echo "$ARID_BASEDIR"/accounts/*/state.json)
  : >"$GATE_LOG"
  arid renew -x --all
  [[ $(asked) != *"GET /dir"* ]]
  change "$file" '.directory.fetched = $at' --arg at "$(ago 86000)"
  arid renew -x --all
  [[ $(asked) != *"GET /dir"* ]]
  change "$file" '.directory.fetched = $at' --arg at "$(ago 86500)"
  arid renew -x --all
  [ "$(asked | grep -c 'GET /dir')" -eq 1 ]
  arid renew -x --all
  [[ $(asked) != *"GET /dir"* ]]

  # Another path of each; another port, where nobody is any more.
  take_ports dead
  for member in newNonce newOrder renewalInfo; do
    for at in "https://127.0.0.1:$GATE_PORT/gone/$member" "https://127.0.0.1:$dead/$member"; do
      change "$file" '.directory.document[$m] = $at' --arg m "$member" --arg at "$at"
      ask_now "$NAME"
      : >"$GATE_LOG"
      if [ "$member" = renewalInfo ]; then
        arid renew
        [[ $(cat "$GATE_LOG") == *" /draft-ietf-acme-ari-03/renewalInfo/"*" 200 "* ]]
      else
        arid renew -x --all
        [ "$(grep -c ' POST /order-plz 201 ' "$GATE_LOG")" -eq 1 ]
      fi
      [ "$(grep -c ' GET /dir ' "$GATE_LOG")" -eq 1 ] || fail "$member at $at: $(cat "$GATE_LOG")"
      [[ $(cat "$file") != *"$at"* ]] || fail "$member at $at is still remembered"
    done
  done

  # The CA at another port behind the same address: nothing has moved.
  stop_server "$GATE_PID"
  start_gate gate "$GATE_PORT"
  arid renew -x --all
  [[ $(asked) != *"GET /dir"* ]]
}

# --- Who need not wait

@test "after a failure: --force, other names and other settings try at once" {
  local what
  domains "$NAME"
  echo "POST /order-plz 403 - unauthorized" >"$RULES"
  run -1 arid renew
  printf '#!/bin/sh\n' >"$T/hook"
  chmod +x "$T/hook"
  mkdir -m 755 "$T/other-wellknown"
  while read -r what; do
    failed_before "$NAME" .failed 1
    : >"$GATE_LOG"
    run -1 arid renew
    [ -z "$output" ]
    [ ! -s "$GATE_LOG" ]
    # shellcheck disable=SC2086  # words
    run -1 arid $what
    [ "$(orders)" -eq 1 ] || fail "$what: $output"
    # As if the first one were the last again.
    run -1 arid renew -x --all
    : >"$GATE_LOG"
  done <<EOF
renew -x $NAME
renew -x --all
sign -x $NAME
renew --profile month
renew --algo secp384r1
renew --wellknown $T/other-wellknown
renew --hook $T/hook
renew --hook-chain
renew --must-staple
renew --subject O=Example
renew --not-after 2036-01-01T00:00:00Z
renew --preferred-chain Nobody
renew --timeout 5m
renew --contact a@example.test
EOF
  domains "$NAME b.example.test"
  : >"$GATE_LOG"
  run -1 arid renew
  [ "$(orders)" -eq 1 ]
  domains "$NAME"
  run -1 arid renew -x --all
  : >"$GATE_LOG"
  # The same in other words waits, and so does it in another order.
  failed_before "$NAME" .failed 1
  run -1 arid renew "$NAME"
  run -1 arid sign "$NAME"
  run -1 arid renew --parallel 3
  run -1 arid renew --algo prime256v1
  [ ! -s "$GATE_LOG" ]
}

# on_terminal COMMAND...: its output there, in T/terminal; its status.
on_terminal() {
  script -qec "$*" "$T/typescript" </dev/null >"$T/terminal"
}

@test "on a terminal, sign tries at once, and renew tells when it will" {
  domains "$NAME"
  echo "POST /order-plz 403 - unauthorized" >"$RULES"
  run -1 arid renew
  : >"$GATE_LOG"
  run -1 on_terminal arid renew
  [ ! -s "$GATE_LOG" ]
  local until
  until=$(arid renew --json | jq -r .until) || :
  grep -q "$NAME: there is none yet; not tried before $until: the last attempt failed at .*: new order .*unauthorized" "$T/terminal"
  run -1 on_terminal arid sign "$NAME"
  [ "$(orders)" -eq 1 ]
  run -1 on_terminal arid sign "$NAME"
  [ "$(orders)" -eq 2 ]
  [ "$(state "$NAME" .failed.attempts)" -eq 3 ]
  # Off a terminal it waits as before.
  run -1 arid sign "$NAME"
  [ -z "$output" ]
  [ "$(orders)" -eq 2 ]
}

# --- In loops, which have run beside the tests above since the beginning

# A loop: `arid renew` once a second. T/NAME.runs has a line for each: status, requests
# and hook calls by then, attempts that failed, and when the latest did. It ends after the
# second attempt, or where T/loops-done is there.
loop() {
  local name=$1 status attempts=0 state=$ARID_BASEDIR/certs/$1.example.test/state.json
  export ARID_DOMAINS_TXT=$T/$name.domains ARID_HOOK=$T/loop-hook CALLS=$T/$name.calls
  until [ "$attempts" -ge 2 ] || [ -e "$T/loops-done" ]; do
    status=0
    arid renew --accept-terms --trace "$T/$name.trace" 2>>"$T/$name.said" || status=$?
    attempts=$(jq '.failed.attempts // .owed.failed.attempts' "$state")
    echo "$status $(exchanges "$name") $(wc -l <"$CALLS") $attempts $(jq -r '.failed.last // .owed.failed.last' "$state")" >>"$T/$name.runs"
    sleep 1
  done
  : >"$T/$name.ended"
}

# exchanges NAME: requests that a loop has made, also those that nobody answered.
exchanges() { grep -c '"request":' "$T/$1.trace" || :; }

# brief_loop: the same with certificates of a minute, as long as the others take.
# Each new one's beginning goes to T/brief.began.
brief_loop() {
  local status serial='' last=''
  export ARID_DOMAINS_TXT=$T/brief.domains ARID_ACME_PROFILE=brief ARID_RENEW_DAYS=50%
  until [ -e "$T/loops-done" ]; do
    status=0
    arid renew 2>>"$T/brief.said" || status=$?
    echo "$status" >>"$T/brief.runs"
    openssl x509 -in "$(set_of brief.example.test)/cert.pem" -noout -checkend 0 >>"$T/brief.checks" || date >>"$T/brief.expired"
    serial=$(serial brief.example.test)
    [ "$serial" = "$last" ] || begins brief.example.test >>"$T/brief.began"
    last=$serial
    sleep 1
  done
  : >"$T/brief.ended"
}

# loops: starts all of them, each with a CA or a hook that fails in its way.
loops() {
  local name T=$T/loops
  mkdir "$T"
  printf '#!/bin/sh\ncase $1 in deploy_cert | sync_cert) echo "$1" >>"$CALLS" ;; esac\n[ "$1" != "${BROKEN:-}" ] || exit 3\n' >"$T/loop-hook"
  chmod +x "$T/loop-hook"
  for name in brief down later-order later-nonce later-account busy-order trouble invalid deploy-cert sync-cert; do
    ARID_BASEDIR=$T/base-$name
    start_gate "$name"
    export HOME=$T ARID_CONFIG=/dev/null ARID_BASEDIR ARID_CA=$DIRECTORY ARID_CA_BUNDLE=$CA_FILE ARID_WELLKNOWN=$WELLKNOWN ARID_ACME_PROFILE=default
    [ "$name" = later-account ] || arid register --accept-terms
    : >"$GATE_LOG"
    : >"$T/$name.calls"
    echo "$name.example.test" >"$T/$name.domains"
    case $name in
      brief)
        start_loop brief_loop
        continue
        ;;
      down) stop_server "$GATE_PID" ;;
      later-order) echo 'POST /order-plz 429 3600 rateLimited' >"$RULES" ;;
      later-nonce) echo 'HEAD /nonce-plz 429 3600 rateLimited' >"$RULES" ;;
      later-account) echo 'POST /sign-me-up 429 3600 rateLimited' >"$RULES" ;;
      busy-order) echo 'POST /order-plz 503 3600 -' >"$RULES" ;;
      trouble) echo 'POST /order-plz 500 - serverInternal' >"$RULES" ;;
      invalid) echo "$name.example.test" down.example.test >"$T/$name.domains" ;;
      *-cert) export BROKEN=${name/-/_} ;;
    esac
    start_loop loop "$name"
    unset BROKEN
  done
  unset ARID_BASEDIR ARID_CA ARID_ACME_PROFILE
}

# start_loop FUNCTION ARGUMENT...: beside the tests, to be ended by stop_all.
start_loop() {
  "$@" </dev/null >>"$T/loops.log" 2>&1 3>&- &
  remember "$!"
}

# await_loop NAME: until it has ended, which takes it little more than a minute.
await_loop() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    [ ! -e "$LOOPS/$1.ended" ] || return 0
    sleep 1
  done
  cat "$LOOPS/loops.log"
  fail "the loop $1 does not end"
}

# of_loop NAME ATTEMPTS STATUS REQUESTS CALLS: what it has to have been, with the
# requests and the hook calls by each of the attempts, separated by commas. REQUESTS is
# a pattern: how often an order is looked at is the CA's affair. It is printed as it was.
of_loop() {
  local runs=$LOOPS/$1.runs attempts status requests calls
  attempts=$(tail -n 1 "$runs" | cut -d ' ' -f 4)
  status=$(cut -d ' ' -f 1 "$runs" | sort -u | paste -sd,)
  requests=$(cut -d ' ' -f 2 "$runs" | uniq | paste -sd,)
  calls=$(cut -d ' ' -f 3 "$runs" | uniq | paste -sd,)
  printf '# %-14s %4d %8d %6s   %-9s %-10s %s\n' "$1" "$(wc -l <"$runs")" "$attempts" "$status" "$requests" "$calls" \
    "$(cut -d ' ' -f 5 "$runs" | uniq | cut -c 12-19 | paste -sd ' ')" >&3
  # shellcheck disable=SC2053  # a pattern
  [[ $requests == $4 ]] || fail "$1: should be $4 requests"
  [ "$attempts $status $calls" = "$2 $3 $5" ] || fail "$1: should be $2 attempts, status $3, hook calls $5"
  [ "$(wc -l <"$runs")" -gt 2 ] # how many in a minute is up to the machine
}

# waited NAME: at least so long as the ladder says, less the second that a time in
# state.json is cut by.
waited() {
  local -a at
  mapfile -t at < <(cut -d ' ' -f 5 "$LOOPS/$1.runs" | uniq)
  [ "${#at[@]}" -eq 2 ]
  [ $(($(seconds "${at[1]}") - $(seconds "${at[0]}"))) -ge 53 ]
}

@test "in a loop, once a second for a minute: requests and hook calls follow the ladder" {
  local name
  for name in down trouble invalid deploy-cert sync-cert; do
    await_loop "$name"
  done
  touch "$LOOPS/loops-done"
  for name in later-order later-nonce later-account busy-order; do
    await_loop "$name"
  done
  printf '# %-14s %4s %8s %6s   %-9s %-10s %s\n' loop runs attempts status requests "hook calls" at >&3
  of_loop down 2 75 4,8 0
  of_loop trouble 2 75 3,6 0
  of_loop invalid 2 1 '+([0-9]),+([0-9])' 0
  [ "$(grep -c ' POST /order-plz ' "$LOOPS/invalid.log")" -eq 2 ]
  of_loop deploy-cert 2 10 '+([0-9])' 2,3
  of_loop sync-cert 2 10 '+([0-9])' 1,2
  for name in down trouble invalid deploy-cert sync-cert; do
    waited "$name"
  done
  of_loop later-order 1 75 3 0
  of_loop later-nonce 1 75 2 0
  of_loop later-account 1 75 3 0
  of_loop busy-order 1 75 3 0
  # It is told when it happens, and not by each run.
  for name in down trouble; do
    [ "$(grep -c "^arid: $name.example.test: " "$LOOPS/$name.said")" -eq 2 ]
  done
  for name in later-order later-nonce later-account busy-order; do
    [ "$(grep -c "^arid: $name.example.test: not now: " "$LOOPS/$name.said")" -eq 1 ]
    [[ $(tail -n 1 "$LOOPS/$name.said") == "arid: next try: not before "* ]]
  done
}

renewed_thrice() { [ "$(wc -l <"$LOOPS/brief.began")" -ge 3 ]; }

@test "a certificate of a minute is renewed in time each time, and never twice" {
  local began
  await renewed_thrice
  touch "$LOOPS/loops-done"
  await_loop brief
  printf '# a certificate of a minute, %d runs: renewed after %s seconds\n' "$(wc -l <"$LOOPS/brief.runs")" \
    "$(awk 'NR > 1 { printf "%s%d", (NR > 2 ? ", " : ""), $1 - last } { last = $1 }' "$LOOPS/brief.began")" >&3
  # Three at least, each one older than an eighth of its time when the next came.
  mapfile -t began < <(cat "$LOOPS/brief.began")
  [ "${#began[@]}" -ge 3 ]
  local i
  for ((i = 1; i < ${#began[@]}; i++)); do
    [ $((began[i] - began[i - 1])) -ge 4 ]
  done
  [ "$(grep -c ' POST /order-plz ' "$LOOPS/brief.log")" -eq "${#began[@]}" ]
  [ "$(grep -c ': issued, valid until ' "$LOOPS/brief.said")" -eq "${#began[@]}" ]
  [ "$(wc -l <"$LOOPS/brief.said")" -eq "${#began[@]}" ] || fail "$(cat "$LOOPS/brief.said")"
  # None was ever seen that had expired, and each run ended with 0.
  [ ! -s "$LOOPS/brief.expired" ]
  [ "$(sort -u "$LOOPS/brief.runs")" = 0 ]
}
