#!/usr/bin/env bats
# Several certificates at once: in one `arid renew`, and in a hundred of them. With real
# Pebble, and a gate before it that counts, and that keeps orders from going on until the
# test has seen what it wants.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154  # hooks and filters are quoted here; and what is set for and by bats and the helpers

load helper
load renewal

setup_file() {
  start_gated_world
  # Where nobody listens.
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
}
setup() {
  gated
  export T DNS_MGMT
  cat >"$T/hook" <<'EOF'
#!/bin/sh
# Says when it begins and when it ends, and puts TXT records where dns-01 is used.
echo "begin $1 ${alias:--}" >>"$T/calls"
echo "hook: $1 ${alias:--}"
case $CHALLENGETYPE.$1 in
  dns-01.deploy_challenge)
    curl -sS --fail -o /dev/null -d "{\"host\": \"_acme-challenge.$2.\", \"value\": \"$4\"}" "$DNS_MGMT/set-txt" || exit
    ;;
esac
sleep 0.01
echo "end $1 ${alias:--}" >>"$T/calls"
EOF
  chmod +x "$T/hook"
  : >"$T/calls"
}
teardown() { end_gated; }
teardown_file() { stop_all; }

# names COUNT: n1.example.test and so on, on lines of their own.
names() { seq -f 'n%g.example.test' "$1"; }

# lines COUNT: of domains.txt.
lines() { names "$1" >"$ARID_DOMAINS_TXT"; }

# hold PATH: requests to it are not let through; let_go: they are.
hold() { echo "POST $1 hold - -" >"$RULES"; }
let_go() { : >"$RULES"; }

# held: how many wait there.
held() { grep -c ' held ' "$GATE_LOG" || :; }

at_least() { [ "$("${@:2}")" -ge "$1" ]; }

# at_once COUNT FLAG...: `arid renew` with these flags makes so many orders, and no more
# before one of them has come to its end. After that, all get theirs.
at_once() {
  local count=$1 pid
  shift
  rm -rf "$ARID_BASEDIR/certs"
  lines 12
  : >"$GATE_LOG"
  hold /finalize-order
  arid renew "$@" >"$T/out" 2>"$T/err" 3>&- &
  pid=$!
  remember "$pid"
  await at_least "$count" held
  sleep 1 # another would come now
  [ "$(orders)" -eq "$count" ] || fail "$*: $(orders) at once, not $count"
  let_go
  wait "$pid" || fail "status $?: $(cat "$T/err")"
  [ "$(orders)" -eq 12 ] || fail "$(orders) orders"
}

# one_after_another: of the hook's calls none began before another had ended.
one_after_another() {
  [ -s "$T/calls" ]
  [ $(($(wc -l <"$T/calls") % 2)) -eq 0 ]
  paste -d ' ' - - <"$T/calls" | awk '$1 != "begin" || $4 != "end" || $2 != $5 || $3 != $6 { print; odd = 1 } END { exit odd }'
}

# whole NAME...: each has one complete and verified set.
whole() {
  local name dir states=()
  pebble_root "$T/root.pem"
  for name; do
    dir=$(set_of "$name")
    openssl verify -CAfile "$T/root.pem" -untrusted "$dir/chain.pem" -verify_hostname "$name" "$dir/cert.pem" >"$T/verified"
    cat "$dir/cert.pem" "$dir/chain.pem" | cmp - "$dir/fullchain.pem"
    [ "$(openssl pkey -in "$dir/privkey.pem" -pubout)" = "$(openssl x509 -in "$dir/cert.pem" -noout -pubkey)" ]
    [ ! -e "$dir/pending" ]
    states+=("$dir/state.json")
  done
  jq -s -e 'all(.owed == null and .failed == null)' "${states[@]}" >"$T/settled"
}

# no_litter: nothing is left of what was begun.
no_litter() {
  [ -z "$(ls -A "$WELLKNOWN")" ]
  [ -z "$(find "$ARID_BASEDIR" -name '.arid-*')" ]
}

@test "eight at once by http-01, one where a hook writes TXT records, and what PARALLEL says" {
  at_once 8 -k "$T/hook"
  one_after_another
  at_once 3 --parallel 3
  : >"$T/calls"
  at_once 1 -k "$T/hook" -t dns-01 --dns-wait 0
  one_after_another
  # One such name is enough.
  at_once 1 -k "$T/hook" -t "http-01 n7.example.test:dns-01" --dns-wait 0
  : >"$T/calls"
  ARID_PARALLEL=5 at_once 5 -k "$T/hook" -t dns-01 --dns-wait 0
  one_after_another
}

@test "thirty over one connection" {
  # Where no profile is asked for, the directory is remembered, and all begin at once.
  one_profile
  arid sign remember.example.test
  : >"$GATE_LOG"
  lines 30
  run -0 strace -f -e trace=connect -o "$T/connects" arid renew
  # Counted at both ends.
  [ "$(grep -c "sin_port=htons($GATE_PORT)" "$T/connects")" -eq 1 ]
  [ "$(cut -d ' ' -f 1 "$GATE_LOG" | sort -u | wc -l)" -eq 1 ]
  [ "$(orders)" -eq 30 ]
  [ "$(grep -c ' GET /dir ' "$GATE_LOG")" -eq 0 ]
}

@test "thirty with hooks: one after another, in order for each, and whole lines" {
  lines 30
  # Also where some have settings of their own.
  local name
  for name in n{1,3,4,6}.example.test; do
    mkdir -p "$(set_of "$name")"
    echo "KEY_ALGO=secp384r1" >"$(set_of "$name")/config"
  done
  run -0 --separate-stderr arid renew -k "$T/hook"
  [ -z "$output" ]
  # A line for each, and those of the hook: its stdout is our stderr.
  local line issued
  issued="^arid: (n[0-9]+\.example\.test): issued, valid until [0-9T:-]+Z: $(set_of '')n[0-9]+\.example\.test\$"
  for line in "${stderr_lines[@]}"; do
    [[ $line =~ $issued || $line =~ ^hook:\ [a-z_]+\ (n[0-9]+\.example\.test|-)$ ]] || fail "$line"
  done
  [ "$(sed -nE "s/$(sed 's/[/]/\\&/g' <<<"$issued")/\1/p" <<<"$stderr" | sort)" = "$(names 30 | sort)" ]
  one_after_another
  # startup_hook before anything, exit_hook after all; and for each its own calls in order.
  [ "$(sed -n '1p;$p' "$T/calls" | cut -d ' ' -f 2 | paste -sd ' ')" = "startup_hook exit_hook" ]
  for name in $(names 30); do
    [ "$(sed -n "s/^begin \(.*\) $name\$/\1/p" "$T/calls" | paste -sd ' ')" = "generate_csr deploy_challenge clean_challenge sync_cert deploy_cert" ]
  done
  # shellcheck disable=SC2046  # words
  whole $(names 30)
  no_litter
  no_news arid renew -k "$T/hook"
}

@test "with -v and --json: whole lines, and whole objects" {
  lines 20
  run -0 --separate-stderr arid renew -v --json
  [ "${#lines[@]}" -eq 20 ]
  [ "$(jq -r 'select(.result == "issued") | .name' <<<"$output" | sort)" = "$(names 20 | sort)" ] || fail "$output"
  [ "$(grep -cvE '^arid: (n[0-9]+\.example\.test: )?[^:]' <<<"$stderr")" -eq 0 ]
  [ "${#stderr_lines[@]}" -gt 200 ]
}

@test "one of thirty that fails: 29 are issued, and one line says which and why" {
  lines 30
  sed -i 's/^n17\./down./' "$ARID_DOMAINS_TXT"
  run -1 --separate-stderr arid renew
  [ "$(grep -c ': issued, valid until ' <<<"$stderr")" -eq 29 ]
  [ "$(grep -c '^arid: down.example.test: http-01: .* (connection)$' <<<"$stderr")" -eq 1 ]
  [ "$(orders)" -eq 30 ]
  # shellcheck disable=SC2046  # words
  whole $(names 30 | grep -v '^n17')
  no_litter
}

@test "--fail-fast: what was begun comes to its end, and no more is begun" {
  lines 12
  sed -i 's/^n2\./down./' "$ARID_DOMAINS_TXT"
  hold /finalize-order
  arid renew --fail-fast --parallel 4 >"$T/out" 2>"$T/err" 3>&- &
  local pid=$! status=0
  remember "$pid"
  await grep -q '^arid: down.example.test: ' "$T/err"
  await at_least 3 held
  let_go
  wait "$pid" || status=$?
  [ "$status" -eq 1 ]
  [ "$(orders)" -eq 4 ]
  [ "$(grep -c ': issued, valid until ' "$T/err")" -eq 3 ]
  whole n{1,3,4}.example.test
  [ ! -e "$(set_of n5.example.test)" ]
  no_litter
}

# in_background COMMAND...: its pid is in T/pid, how it ended in T/death, as its parent
# sees it. Signals end it that the tests may have been started without (nohup).
in_background() {
  perl -e '$SIG{HUP} = "DEFAULT"; my $pid = fork; if (!$pid) { exec @ARGV or exit 127 }
    open F, ">", "$ENV{T}/pid"; print F $pid; close F; waitpid $pid, 0;
    open F, ">", "$ENV{T}/death"; print F "signal ", $? & 127, " status ", $? >> 8; close F' "$@" >"$T/out" 2>"$T/err" 3>&- &
  remember "$!"
}

@test "TERM in the middle: all orders stop, what was put somewhere is taken away, and the next run goes on with them" {
  local signal
  for signal in TERM:15 HUP:1; do
    rm -rf "$ARID_BASEDIR/certs" "$T/death" "$T/pid"
    : >"$T/calls"
    : >"$GATE_LOG"
    lines 12
    hold /my-order
    in_background arid renew -k "$T/hook"
    await at_least 8 held
    [ "$(find "$WELLKNOWN" -type f | wc -l)" -eq 8 ]
    kill -s "${signal%:*}" "$(cat "$T/pid")"
    await test -s "$T/death"
    [ "$(cat "$T/death")" = "signal ${signal#*:} status 0" ]
    [ ! -s "$T/out" ]
    # One line says it, for all of them.
    [ "$(grep -vc '^hook: ' "$T/err")" -eq 1 ]
    grep -q "^arid: .*SIG${signal%:*}" "$T/err"
    no_litter
    one_after_another
    [ "$(grep -c '^end deploy_challenge ' "$T/calls")" -eq 8 ]
    diff <(sed -n 's/^end deploy_challenge //p' "$T/calls" | sort) <(sed -n 's/^end clean_challenge //p' "$T/calls" | sort)
    ! grep -E 'sync_cert|deploy_cert|exit_hook' "$T/calls" || fail "there was something to deploy"
    [ "$(orders)" -eq 8 ]
    let_go
    arid renew -k "$T/hook"
    [ "$(orders)" -eq 12 ]
    [ "$(grep -c '^end deploy_cert ' "$T/calls")" -eq 12 ]
    # shellcheck disable=SC2046  # words
    whole $(names 12)
    no_litter
  done
}

@test "who finds another at work ends with 75, and says so on a terminal alone" {
  lines 3
  hold /finalize-order
  arid renew >"$T/out" 2>"$T/err" 3>&- &
  local pid=$!
  remember "$pid"
  await at_least 3 held
  run -75 arid renew
  [ -z "$output" ]
  run -75 arid renew n2.example.test
  [ -z "$output" ]
  run -75 script -qec "arid renew" "$T/typescript"
  [[ $output == *"arid: "*n2.example.test*"locked by process $pid"* ]] || fail "$output"
  # Others are nobody's, and are got meanwhile.
  echo n4.example.test >>"$ARID_DOMAINS_TXT"
  let_go
  wait "$pid"
  run -0 arid renew
  [[ $output == "arid: n4.example.test: issued, "* ]]
  [ "$(orders)" -eq 4 ]
  no_litter
}

@test "a hundred at once make one order for each certificate, and one account" {
  local i status statuses all=()
  rm -r "$ARID_BASEDIR/accounts"
  lines 3
  : >"$GATE_LOG"
  for ((i = 1; i <= 100; i++)); do
    (
      until [ -e "$T/go" ]; do sleep 0.1; done
      status=0
      arid renew --accept-terms -k "$T/hook" >"$T/out-$i" 2>"$T/err-$i" || status=$?
      echo "$status" >"$T/status-$i"
    ) 3>&- &
    all+=("$!")
  done
  : >"$T/go"
  wait "${all[@]}"
  [ "$(cat "$T"/status-* | wc -l)" -eq 100 ]
  statuses=$(sort "$T"/status-* | uniq -c | awk '{ printf "%s%d x %d", sep, $1, $2; sep = ", " }')
  printf '# a hundred at once: %s\n' "$statuses" >&3
  # Several may share the work: then all of them have found another at it.
  ! sort -u "$T"/status-* | grep -vxE '0|75' || fail "another status"
  # What was done is told by whom it was done, and nothing else is said by anybody.
  [ "$(orders)" -eq 3 ]
  [ "$(grep -c ' POST /sign-me-up ' "$GATE_LOG")" -eq 1 ]
  [ "$(cat "$T"/err-* | grep -v '^hook: ' | sed -E 's/(: issued), .*/\1/' | sort)" = "$(printf 'arid: n%d.example.test: issued\n' 1 2 3)" ] || fail "$(cat "$T"/err-*)"
  [ -z "$(cat "$T"/out-*)" ]
  [ "$(grep -c '^end deploy_cert ' "$T/calls")" -eq 3 ]
  run -0 arid renew
  [ -z "$output" ]
  whole n{1,2,3}.example.test
  [ "$(find "$ARID_BASEDIR/certs" -path '*/versions/*' -name cert.pem | wc -l)" -eq 3 ]
  no_litter
}
