#!/usr/bin/env bats
# Each status of docs/exit-status.md, with the real binary and a real CA: which one, and
# what is said with it. What takes a server of the user's (a DNS update that is
# refused, a zone that nobody serves, a backend that is down) is with the tests of that
# command.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154  # hooks are quoted here; and what is set for and by bats and the helpers

load helper
load renewal

NAME=a.example.test

setup_file() {
  start_gated_world
  # Where nobody listens.
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
}
setup() {
  gated
  cat >"$T/hook" <<'EOF'
#!/bin/sh
# Fails in the event BROKEN, for the certificate ONLY where that is set.
[ "$1" != "${BROKEN:-}" ] || [ "${ONLY:-$alias}" != "$alias" ] || exit 3
EOF
  chmod +x "$T/hook"
}
teardown() { end_gated; }
teardown_file() { stop_all; }

# ends STATUS WHAT HINT COMMAND...: with that, with nothing on stdout, and on stderr with
# lines of arid's own alone. One of them has WHAT, a pattern; one that says what to try
# has HINT, and there is none where HINT is empty. Both empty: nothing is said.
ends() {
  local status=$1 what=$2 hint=$3
  shift 3
  run -"$status" --separate-stderr "$@"
  [ -z "$output" ] || fail "$*: on stdout: $output"
  if [ -z "$what$hint" ]; then
    [ -z "$stderr" ] || fail "$*: on stderr: $stderr"
    return
  fi
  says "arid: $what" || fail "$*: \"$what\" is missing: $stderr"
  if [ -n "$hint" ]; then
    says "arid: hint: $hint" || fail "$*: the hint \"$hint\" is missing: $stderr"
  else
    ! says "arid: hint: *" || fail "$*: a hint: $stderr"
  fi
  ! grep -v "^arid: " <<<"$stderr" || fail "$*: not all is arid's: $stderr"
}

# says PATTERN: a line of stderr is like that.
says() {
  local line
  for line in "${stderr_lines[@]}"; do
    # shellcheck disable=SC2053  # a pattern
    [[ $line != $1 ]] || return 0
  done
  return 1
}

# refuse LINE...: the gate's rules from now on.
refuse() { printf '%s\n' "$@" >"$RULES"; }

# csr FILE NAME: a CSR.
csr() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1" -subj / \
    -addext "subjectAltName=DNS:$2" 2>"$T/openssl.log"
}

@test "each status of the page has its test here" {
  local documented tested
  documented=$(sed -n 's/^| \([0-9N]*\) |.*/\1/p' "$TOP/docs/exit-status.md" | sort)
  tested=$(sed -n 's/^@test "STATUS: \([0-9N]*\), .*/\1/p' "$BATS_TEST_FILENAME" | sort -u)
  # 70 is a bug: whoever can show one here has something to mend.
  [ "$documented" = "$(printf '%s\n70\n' "$tested" | sort)" ]
}

@test "STATUS: 0, issued, and nothing due; nothing on stdout, and in the end nothing at all" {
  domains "$NAME"
  ends 0 "$NAME: issued, valid until 2*: $(set_of "$NAME")" "" arid renew
  ends 0 "" "" arid renew
  ends 0 "" "" arid renew "$NAME"
  ends 0 "" "" arid sign "$NAME"
  ends 0 "b.example.test: issued, valid until 2*" "" arid sign b.example.test
  # Also where a hook after all that fails, and where what was put somewhere is not taken away.
  BROKEN=exit_hook ends 0 'warning: *exit_hook: exit status 3' "" arid renew -x --all -k "$T/hook"
  BROKEN=clean_challenge ends 0 'warning: *clean_challenge: exit status 3' "" arid renew -x --all -k "$T/hook"
}

@test "STATUS: 1, the CA refuses, cannot validate, a challenge hook fails" {
  refuse "POST /order-plz 403 - unauthorized"
  ends 1 "$NAME: new order \"https://127.0.0.1:$GATE_PORT/order-plz\": \"so say the rules\" (unauthorized)" "" arid sign "$NAME"
  ends 1 "" "" arid sign "$NAME" # waits
  ends 1 "$NAME: *the last attempt failed at *" "" arid sign -v "$NAME"
  refuse "POST /order-plz 400 - rejectedIdentifier"
  ends 1 "b.example.test: new order * (rejectedIdentifier)" "*\[ca-rejected-identifier]" arid sign b.example.test
  refuse "POST /finalize-order 400 - badCSR"
  ends 1 "c.example.test: finalize * (badCSR)" "*\[ca-bad-csr]" arid sign c.example.test
  refuse
  ends 1 "down.example.test: http-01: *connection refused* (connection)" "*\[ca-connection]" arid sign down.example.test
  [ -z "$(ls -A "$WELLKNOWN")" ]
  BROKEN=deploy_challenge ends 1 "d.example.test: \"$T/hook\" deploy_challenge: exit status 3" "" arid sign -k "$T/hook" d.example.test
  domains e.example.test
  BROKEN=startup_hook ends 1 "\"$T/hook\" startup_hook: exit status 3" "" arid renew -k "$T/hook"
}

@test "STATUS: 1, arid check sees something else" {
  arid sign "$NAME"
  run -1 --separate-stderr arid check "127.0.0.1:$GATE_PORT" --name "$NAME"
  [ "$stderr" = "arid: 127.0.0.1:$GATE_PORT at 127.0.0.1: what is served is not what is on disk: it is not on disk" ] || fail "$stderr"
  [[ $output == *"ANOTHER certificate than on disk"* ]] # which is what it was asked for
  ARID_DNS_RESOLVER=$DNS_ADDR run -1 --separate-stderr arid check --dns "$NAME"
  says "arid: $NAME: *"
  says "arid: hint: *"
  [[ $output == *"WOULD FAIL"* ]]
}

@test "STATUS: 10, issued and stored, and a hook after it failed, which the next run calls again" {
  local event name
  for event in deploy_cert sync_cert; do
    name=${event/_/-}.example.test
    BROKEN=$event ends 10 "$name: \"$T/hook\" $event: exit status 3" "the certificate is issued all the same; *" \
      arid sign -k "$T/hook" "$name"
    ends 10 "" "" arid sign -k "$T/hook" "$name" # waits
    failed_before "$name" .owed.failed 67
    ends 0 "$name: deployed, as owed from an earlier run" "" arid sign -k "$T/hook" "$name"
  done
  [ "$(orders)" -eq 2 ]
}

@test "STATUS: 10, arid install: what the server does not take is not left there" {
  arid sign "$NAME"
  local try
  echo before >"$T/old.pem"
  cp "$T/old.pem" "$T/www.pem"
  for try in "--preflight false" "--reload false" "--reload true --verify 127.0.0.1:$GATE_PORT --verify-wait 0s"; do
    # shellcheck disable=SC2086  # words
    ends 10 "*" "what was there before is back in place*" arid install "$NAME" --parts key,fullchain --to "$T/www.pem" $try
    cmp "$T/www.pem" "$T/old.pem"
  done
}

@test "STATUS: N, with --exit-unchanged, where nothing was due" {
  domains "$NAME"
  ends 0 "$NAME: issued, *" "" arid renew --exit-unchanged 3
  ends 3 "" "" arid renew --exit-unchanged 3
  ends 99 "" "" arid renew --exit-unchanged 99
  # What went wrong goes before it.
  domains "$NAME" ..b.example.test
  ends 65 "*" "" arid renew --exit-unchanged 3
}

@test "STATUS: 64, a command line that makes no sense" {
  domains "$NAME"
  ends 64 'unknown command "bogus"' "arid --help lists the commands" arid bogus
  ends 64 "unknown flag: --bogus" "arid sign --help lists the flags" arid sign --bogus "$NAME"
  ends 64 "no name given" "arid sign NAME*" arid sign
  ends 64 '--challenge "bogus-01": not one of http-01, *' "" arid sign -t bogus-01 "$NAME"
  ends 64 '--renew-days "never": *' "" arid renew --renew-days never
  ends 64 '--ca "http://ca.example.test/": *' "" arid sign --ca http://ca.example.test/ "$NAME"
  ends 64 "--exit-unchanged: 300 is no exit status" "" arid renew --exit-unchanged 300
  ends 64 "--force needs NAME or --all" "arid renew -x NAME" arid renew -x
  ends 64 'no line of domains.txt has "b.example.test"' '"arid sign NAME…" needs no line' arid renew b.example.test
  [ ! -s "$GATE_LOG" ]
}

@test "STATUS: 65, what was given cannot be used" {
  echo nonsense >"$T/nonsense"
  chmod 600 "$T/nonsense"
  ends 65 'name "a b": a name with a blank' "" arid sign "a b"
  ends 65 "CSR \"$T/missing\": *: no such file or directory" "" arid sign --csr "$T/missing"
  ends 65 "CSR \"$T/nonsense\": *" "" arid sign --csr "$T/nonsense"
  ends 65 "$NAME: account key \"$T/nonsense\": *" "" arid sign -p "$T/nonsense" "$NAME"
  ends 65 "certificate \"$T/nonsense\": *" "" arid revoke "$T/nonsense"
  ends 65 "--dns-key \"$T/nonsense\": line 1: *" "" arid dns add --dns-key "$T/nonsense" _acme-challenge.a.example.test value
  ends 65 "$NAME: there is no certificate for it in *" "" arid install "$NAME" --parts key --to "$T/key"
  ends 65 "$T/domains.txt: *: no such file or directory" "a line of names for each certificate; *" arid renew
  [ ! -s "$GATE_LOG" ]
  # A line with a mistake keeps no other from its certificate.
  domains "$NAME" ..b.example.test
  ends 65 "$T/domains.txt:2: name \"..b.example.test\": *" "" arid renew
  [ "$(orders)" -eq 1 ]
}

# into_pipe COMMAND...: its stderr goes through a pipe, which ulimit -f says nothing of.
into_pipe() {
  { "$@" 2>&1 >&3 | cat >&2; } 3>&1
  return "${PIPESTATUS[0]}"
}

@test "STATUS: 74, nothing can be written" {
  csr "$T/csr" "$NAME"
  export T NAME
  ends 74 "$NAME: cannot write to stdout: *no space left on device" "" bash -c 'arid sign --csr "$T/csr" >/dev/full'
  mkfifo "$T/gone"
  # shellcheck disable=SC2094  # a pipe
  exec 8<>"$T/gone" 9>"$T/gone" 8<&-
  ends 74 "$NAME: cannot write to stdout: *broken pipe" "" bash -c 'arid sign --csr "$T/csr" >&9'
  exec 9>&-
  ends 74 "cannot write to stdout: *no space left on device" "" bash -c "arid config >/dev/full"
  ends 74 "*no space left on device" "" arid sign --trace /dev/full "$NAME"
  ends 74 "$NAME: *: file too large" "" into_pipe bash -c 'ulimit -f 0; trap "" XFSZ; exec arid sign "$NAME"'
  # A whole file system: as before when there is room again.
  mkdir "$T/small"
  cat >"$T/inside" <<'EOF'
mount -t tmpfs -o size=256k tmpfs "$T/small"
arid register --base "$T/small" --accept-terms >"$T/registered"
head -c 256k /dev/zero >"$T/small/fill" 2>"$T/filled"
arid sign --base "$T/small" "$NAME"
status=$?
rm "$T/small/fill"
ls "$T/small/certs/$NAME" >"$T/left"
arid sign --base "$T/small" "$NAME" && [ -e "$T/small/certs/$NAME/fullchain.pem" ] || exit
exit "$status"
EOF
  ends 74 "$NAME: *: no space left on device" "" unshare --mount --propagation private bash "$T/inside"
  [[ $stderr == *"no space left on device"*"$NAME: issued, "* ]]
  run ! grep -v pending "$T/left"
}

@test "STATUS: 75, the CA is not there, has trouble, or asks to wait" {
  local dead
  take_ports dead
  ends 75 "$NAME: directory \"https://127.0.0.1:$dead/dir\": *connection refused" "" \
    arid sign --accept-terms --ca "https://127.0.0.1:$dead/dir" --out "$T/elsewhere" "$NAME"
  # Whom arid does not know it does not talk to.
  ends 75 "b.example.test: directory *: the CA's own TLS certificate is not to be trusted: *" "--ca-bundle FILE adds *" \
    env -u ARID_CA_BUNDLE arid sign b.example.test
  refuse "POST /order-plz 500 - serverInternal"
  ends 75 "c.example.test: the CA has trouble: new order * (serverInternal)" "" arid sign c.example.test
  refuse "POST /order-plz 429 3600 rateLimited"
  ends 75 "d.example.test: not now: new order * (rateLimited)" "*ca-rate-limited*" arid sign d.example.test
  says "arid: next try: not before 2*Z, in *m" || fail "$stderr"
  ends 75 "" "" arid sign d.example.test
  ends 75 "d.example.test: there is none yet; not tried before 2* (rateLimited)" "" arid sign -v d.example.test
  refuse "POST /order-plz 503 3600 -"
  ends 75 "e.example.test: not now: new order *503 Service Unavailable" "" arid sign e.example.test
  says "arid: next try: not before 2*Z, in *m" || fail "$stderr"
  ends 75 "" "" arid sign f.example.test # nor is anything else asked for there
}

@test "STATUS: 75, an order that the CA still works on" {
  # A server that says nothing.
  dns_manage add-a '{"host": "mute.example.test", "addresses": ["127.0.0.2"]}'
  start_server mute.log perl -MIO::Socket::INET -e \
    '$s = IO::Socket::INET->new(LocalAddr => shift, LocalPort => shift, Listen => 9, ReuseAddr => 1) or die; push @c, $_ while $_ = $s->accept' 127.0.0.2 "$HTTP_PORT"
  await_port "$HTTP_PORT" "$STARTED" 127.0.0.2
  ends 75 "mute.example.test: order * is still pending: the CA took longer than 5s (--timeout)" "" arid sign --timeout 5s mute.example.test
  [ -s "$(set_of mute.example.test)/pending/order.json" ]
}

@test "STATUS: 75, another is at work" {
  mkdir -p "$(set_of "$NAME")"
  ends 75 "" "" flock "$(set_of "$NAME")/.arid.lock" arid sign "$NAME"
  ends 75 "$NAME: \"$(set_of "$NAME")/.arid.lock\": locked by another process" "" flock "$(set_of "$NAME")/.arid.lock" arid sign -v "$NAME"
  # Of dehydrated's lock nobody knows how long it is for.
  export ARID_LOCKFILE=$T/lock
  : >"$T/lock"
  domains "$NAME"
  ends 75 "LOCKFILE: \"$T/lock\": another program has held this lock for *" "" arid renew
  [ ! -s "$GATE_LOG" ]
  rm "$T/lock"
  ends 0 "$NAME: issued, *" "" arid renew
}

@test "STATUS: 75, an address is taken, nobody answers, the clock is wrong" {
  local dead
  take_ports dead
  mkdir "$T/alpn"
  ends 75 "cannot listen on 127.0.0.1:$GATE_PORT: *address already in use" "" arid respond --alpn "$T/alpn" --listen "127.0.0.1:$GATE_PORT"
  ends 75 "127.0.0.1:$dead: nobody answers at 127.0.0.1: connection refused" "" arid check "127.0.0.1:$dead"
  # A live certificate from the future: it is the clock that is behind.
  local dir
  dir=$(set_of "$NAME")
  mkdir -p "$dir"
  csr "$dir/cert.csr" "$NAME"
  mv "$dir/cert.csr.key" "$dir/privkey.pem"
  : >"$T/index"
  echo 01 >"$T/serial"
  printf '%s\n' "[ca]" "default_ca = d" "[d]" "database = $T/index" "serial = $T/serial" "new_certs_dir = $T" "default_md = sha256" \
    "policy = p" "copy_extensions = copy" "[p]" "commonName = optional" >"$T/ca.conf"
  openssl ca -config "$T/ca.conf" -batch -notext -selfsign -keyfile "$dir/privkey.pem" -in "$dir/cert.csr" -out "$dir/cert.pem" -subj /CN=x \
    -startdate 20990101000000Z -enddate 20990201000000Z 2>"$T/openssl.log"
  cp "$dir/cert.pem" "$dir/fullchain.pem"
  : >"$dir/chain.pem"
  ends 75 "$NAME: *clock*" "" arid sign "$NAME"
  [ ! -s "$GATE_LOG" ]
}

@test "STATUS: 76, the CA breaks the protocol" {
  local rule what at=0
  while IFS='|' read -r rule what; do
    at=$((at + 1))
    refuse "$rule"
    : >"$GATE_LOG"
    ends 76 "n$at.example.test: $what" "" arid sign "n$at.example.test"
    [ -s "$GATE_LOG" ]
    [ ! -e "$(set_of "n$at.example.test")/fullchain.pem" ]
  done <<'EOF'
GET /dir 302 - -|directory *: HTTP status 302 without a Location to go to
GET /dir 200 - -|directory *: no readable JSON: *
HEAD /nonce-plz 200 - -|new nonce *: the reply has no good Replay-Nonce
POST /order-plz 201 - -|new order *: the reply has no Location
POST /order-plz 302 - -|new order *: a redirect to "", which is not followed
POST /authZ 200 - -|authorization *: no readable JSON: *
POST /finalize-order 200 - -|finalize *: no readable JSON: *
POST /certZ 200 - -|certificate *: no good chain: the chain is empty
EOF
}

@test "STATUS: 77, not this user's" {
  local own=$T/own
  install -d -o nobody -g nogroup "$own" "$own/wellknown"
  install -m 755 "$BUILD/arid" "$T/arid"
  csr "$T/csr" "$NAME"
  chmod 600 "$T/csr"
  domains "$NAME"
  local as=(setpriv --reuid nobody --regid nogroup --clear-groups "$T/arid")
  [ "$(stat -c %U "$ARID_BASEDIR")" = root ]
  ends 77 "$ARID_BASEDIR/*: permission denied" "" "${as[@]}" sign "$NAME"
  export ARID_BASEDIR=$own
  ends 77 "WELLKNOWN \"$WELLKNOWN\" cannot be written to: permission denied" "" "${as[@]}" sign "$NAME"
  export ARID_WELLKNOWN=$own/wellknown
  ends 77 "CSR \"$T/csr\": *: permission denied" "" "${as[@]}" sign --csr "$T/csr"
  ends 77 "$NAME: *$T/csr.key\": *permission denied" "" "${as[@]}" sign -p "$T/csr.key" "$NAME"
  ends 77 "$NAME: *$T/closed*: permission denied" "" "${as[@]}" sign --accept-terms --out "$T/closed" "$NAME"
  chmod 600 "$T/domains.txt"
  ends 77 "$T/domains.txt: *: permission denied" "" "${as[@]}" renew
  chmod 600 "$T/config"
  ends 77 "$T/config: *: permission denied" "" "${as[@]}" renew
  [ ! -s "$GATE_LOG" ]
  chmod 644 "$T/config" "$T/domains.txt"
}

@test "STATUS: 78, settings, and what they speak of" {
  local line what hint
  while IFS='|' read -r line what hint; do
    printf '%s\n' "$line" >"$T/config"
    ends 78 "$what" "$hint" arid sign "$NAME"
  done <<EOF
KEY_ALGO=dsa|$T/config:1: KEY_ALGO="dsa": not one of *|
RENEW_DAYS=soon|$T/config:1: RENEW_DAYS="soon": *|
x=\$(|$T/config:1: syntax error: *|
HOOK=$T/missing|*hook "$T/missing": does not exist|
HOOK=$T/config|*hook "$T/config": is not executable|chmod +x $T/config
CHALLENGETYPE=dns-01|*HOOK: dns-01 needs a hook *|
EOF
  : >"$T/config"
  ends 78 "WELLKNOWN \"$T/missing\" does not exist" "create it, or name another with --wellknown" env ARID_WELLKNOWN="$T/missing" arid sign "$NAME"
  chmod 666 "$T/config"
  ends 78 "$T/config: can be written by everybody, *" "" arid sign "$NAME"
  chmod 644 "$T/config"
  ends 78 "$T/missing: cannot be read: no such file or directory" "" arid sign -f "$T/missing" "$NAME"
  ends 78 'there is no account at *' "arid register makes one" arid account show --base "$T/new"
  [ ! -s "$GATE_LOG" ]
  ends 78 "$NAME: CA *: its terms of service have not been accepted: *" "if you agree to them, say --accept-terms" arid sign --base "$T/new" "$NAME"
  ends 78 "$NAME: the CA has no profile \"nope\"; it offers \"brief\", *" "" arid sign --profile nope "$NAME"
  ends 78 "" "" arid sign --profile nope "$NAME" # waits: it takes a request to know
  [ "$(orders)" -eq 0 ]
  # An orphan that is due.
  arid sign "$NAME"
  domains
  ends 0 "" "" arid renew
  ends 78 "$NAME: no line of domains.txt covers this certificate, and it is due: *" "give it a line, or forget it: arid cleanup --forget $NAME" \
    arid renew --renew-days 9999
}

# --- Several certificates

# lines NAME...: of domains.txt, to be worked on one after another.
lines() {
  export ARID_PARALLEL=1
  domains "$@"
}

@test "several certificates end with what all failures share, else with 1" {
  refuse "POST /order-plz 429 3600 rateLimited"
  lines {a,b}.example.test
  ends 75 "a.example.test: not now: *" "*ca-rate-limited*" arid renew
  says "arid: next try: not before *" || fail "$stderr"
  refuse
  # What waits counts, though nothing is said of it any more; and the others get theirs.
  lines {a,c,d}.example.test
  ends 75 "c.example.test: issued, *" "" arid renew
  [[ $stderr == *"arid: d.example.test: issued, "* && $stderr != *a.example.test* ]]
  ends 75 "" "" arid renew
  lines {a,down}.example.test
  ends 1 "down.example.test: http-01: *" "*" arid renew
  lines down.example.test "also-down.example.test down.example.test"
  ends 1 "also-down.example.test: down.example.test: http-01: *" "*" arid renew

  export ARID_HOOK=$T/hook BROKEN=deploy_cert
  lines {e,f}.example.test
  ends 10 "e.example.test: * deploy_cert: exit status 3" "*" arid renew
  lines {e,g}.example.test
  BROKEN='' ends 10 "g.example.test: issued, *" "" arid renew
  lines {e,a}.example.test
  ends 1 "" "" arid renew
  unset ARID_HOOK BROKEN

  lines ..x.example.test ..y.example.test h.example.test
  ends 65 "$T/domains.txt:2: *" "" arid renew
  [[ $stderr == *"$T/domains.txt:1: "*"arid: h.example.test: issued, "* ]]
  lines ..x.example.test {a,h}.example.test
  ends 1 "$T/domains.txt:1: *" "" arid renew
}

@test "--fail-fast stops at the first failure" {
  lines {a,down,b,c}.example.test
  ends 1 "down.example.test: *" "*" arid renew --fail-fast
  [ "$(orders)" -eq 2 ]
  [ -e "$(set_of a.example.test)/fullchain.pem" ]
  [ ! -e "$(set_of b.example.test)" ]
  # Without it the rest gets theirs.
  ends 1 "c.example.test: issued, *" "" arid renew
  [ "$(orders)" -eq 4 ]
}

# --- Where statuses mean something else

@test "due: 0 something is, 1 nothing is or all of it waits, 255 that cannot be told" {
  local said
  lines {a,b}.example.test
  run -0 --separate-stderr arid due
  [ "$output" = "$(printf '%s\n' {a,b}.example.test)" ]
  refuse "POST /order-plz 403 - unauthorized"
  run -1 arid renew
  ends 1 "" "" arid due
  refuse
  run -0 arid renew -x --all
  ends 1 "" "" arid due
  # What is owed counts, when it may be tried.
  export ARID_HOOK=$T/hook
  BROKEN=deploy_cert ONLY=b.example.test run -10 arid renew -x --all
  ends 1 "" "" arid due
  failed_before b.example.test .owed.failed 67
  run -0 arid due
  [ "$output" = b.example.test ]
  run -0 arid renew
  unset ARID_HOOK
  : >"$GATE_LOG"

  ends 255 "unknown flag: --bogus" "*" arid due --bogus
  ends 255 'no line of domains.txt has "c.example.test"' "*" arid due c.example.test
  ends 255 "*: no such file or directory" "*" arid due --domains-txt "$T/missing"
  echo "RENEW_DAYS=soon" >"$T/config"
  ends 255 '*RENEW_DAYS="soon"*' "" arid due
  : >"$T/config"
  lines a.example.test ..x.example.test
  ends 255 "$T/domains.txt:2: *" "" arid due
  [ ! -s "$GATE_LOG" ]
}

@test "dehydrated's mode: 0, 1 for whatever it is, and what the config ends with" {
  one_profile
  unset ARID_BASEDIR ARID_WELLKNOWN ARID_CA ARID_DOMAINS_TXT ARID_CA_BUNDLE
  printf '%s\n' "BASEDIR=$T" "CA=$DIRECTORY" "WELLKNOWN=$WELLKNOWN" "CURL_OPTS=\"--cacert $CA_FILE\"" KEY_ALGO=prime256v1 "HOOK=$T/hook" >"$T/config"
  echo "$NAME" >"$T/domains.txt"
  local d=(arid dehydrated -f "$T/config")
  run -1 "${d[@]}" -c # terms
  run -0 "${d[@]}" --register --accept-terms
  run -0 "${d[@]}" -c
  run -0 "${d[@]}" -c
  run -1 "${d[@]}" --bogus
  run -1 "${d[@]}" -c -f "$T/missing"
  run -1 "${d[@]}" -s "$T/missing"
  BROKEN=deploy_cert run -1 "${d[@]}" -c -x
  run -1 "${d[@]}" -c -x -d down.example.test
  refuse "POST /order-plz 429 3600 rateLimited"
  run -1 "${d[@]}" -c -x
  refuse "GET /dir 200 - -"
  run -1 "${d[@]}" -c -x
  refuse
  run -0 "${d[@]}" -c -x
  echo "exit 9" >>"$T/config"
  run -9 "${d[@]}" -c
}
