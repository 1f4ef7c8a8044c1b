#!/usr/bin/env bats
# What there is and what happens next: arid status, for people on a terminal and for
# programs, and arid due, with certificates of a real CA.

# shellcheck disable=SC2016,SC2034,SC2154  # what is quoted for jq; what is set for and by bats and the helper

load helper

setup() {
  start_world
  arid_world
  arid register --accept-terms
  cat >"$T/hook" <<EOF
#!/bin/sh
case \$1 in
deploy_cert)
  $BUILD/arid status --json "\$2" >>"$T/inside" || exit 9
  [ ! -e "$T/broken" ] ;;
esac
EOF
  chmod +x "$T/hook"
}
teardown() { stop_all; }

lines_of() { printf '%s\n' "$@" >"$ARID_BASEDIR/domains.txt"; }

# files: all that a run could change.
files() { find "$T/base" "$T/home" -printf '%p %m %l %T@ %s\n' | sort; }

# quiet COMMAND...: it changes no file, and asks no CA.
quiet() {
  local before asked status=0
  before=$(files)
  asked=$(requests)
  "$@" || status=$?
  diff <(echo "$before") <(files) >&2 || fail "$* wrote something"
  [ "$(requests)" -eq "$asked" ] || fail "$* asked the CA"
  return "$status"
}

# states: NAME=STATE of all, as arid sorts them.
states() { arid status --json "$@" | jq -r '"\(.name)=\(.state)"' | xargs; }

# all_of FILTER: jq's filter is true of all objects in T/all together.
all_of() { jq -se "$@" "$T/all" >/dev/null || fail "$* is not so of $(cat "$T/all")"; }

@test "what there is, by its state, with members for programs" {
  lines_of "ok.example.test www.ok.example.test" missing.example.test owed.example.test
  arid renew ok.example.test
  touch "$T/broken"
  run -10 arid renew -k "$T/hook" owed.example.test
  run -0 --separate-stderr quiet states
  [ "$output" = "missing.example.test=missing owed.example.test=owed ok.example.test=ok" ]
  [ -z "$stderr" ]

  arid status --json >"$T/all"
  all_of 'length == 3 and all(.[]; .schema == 1)'
  openssl x509 -in "$ARID_BASEDIR/certs/ok.example.test/cert.pem" -noout -enddate -startdate -issuer -nameopt multiline >"$T/x509"
  all_of --arg after "$(date -u -d "$(sed -n 's/^notAfter=//p' "$T/x509")" +%FT%TZ)" \
    --arg before "$(date -u -d "$(sed -n 's/^notBefore=//p' "$T/x509")" +%FT%TZ)" \
    --arg issuer "$(sed -n 's/^ *commonName *= //p' "$T/x509")" --arg ca "$DIRECTORY" --arg dir "$ARID_BASEDIR" '
    .[2] | .names == ["ok.example.test", "www.ok.example.test"] and .not_after == $after and .not_before == $before
      and .issuer == $issuer and .ca == $ca and .path == $dir + "/certs/ok.example.test"
      and .spent >= 0 and .spent < 0.01 and .action == "renew" and .failures == 0 and .error == ""'
  all_of '.[1] | .action == "deploy" and .failures == 1 and (.error | contains("deploy_cert"))'
  all_of '.[0] | (has("spent") or has("not_after") or has("not_before") or has("issuer") or has("ca")) | not'

  # A hook looks while arid has the certificate's lock.
  mv "$T/inside" "$T/all"
  all_of 'length == 1 and .[0].name == "owed.example.test"'
}

# on_terminal COLUMNS COMMAND: what it shows on a terminal of that width, line by line,
# in T/screen without colours and in T/typescript as it is.
on_terminal() {
  script -qec "stty cols $1 rows 50; $2" /dev/null </dev/null | tr -d '\r' >"$T/typescript"
  sed 's/\x1b\[[0-9;]*[mK]//g' "$T/typescript" >"$T/screen"
}

# shown LINE PATTERN: that line of the screen.
shown() { sed -n "$1p" "$T/screen" | grep -qE "$2" || fail "line $1 is not $2: $(cat "$T/screen")"; }

@test "on a terminal, arid renew says that nothing is due; cron hears nothing" {
  : >"$ARID_BASEDIR/domains.txt"
  on_terminal 80 "arid renew"
  [ "$(cat "$T/screen")" = "arid: domains.txt names no certificate" ] || fail "$(cat "$T/screen")"
  lines_of one.example.test
  arid renew
  on_terminal 80 "arid renew"
  shown 1 '^arid: one\.example\.test: not due before 20[0-9-]+T[0-9:]+Z'
  [ "$(wc -l <"$T/screen")" -eq 1 ]
  lines_of one.example.test two.example.test
  arid renew
  on_terminal 80 "arid renew"
  # What stands before it has been wiped away.
  [[ $(cat "$T/screen") == *'arid: none of the 2 certificates is due; "arid status" tells when they are' ]] || fail "$(cat "$T/screen")"
  run -0 arid renew
  [ -z "$output" ]
}

@test "on a terminal: as wide as that, and in colour" {
  local columns locale state
  local long=a-host-with-a-rather-long-name-such-as-clouds-give.example.test
  lines_of $long ok.example.test missing.example.test
  arid renew $long ok.example.test
  rm "$ARID_BASEDIR/certs/$long/privkey.pem"
  export TERM=xterm
  for locale in C.UTF-8 C; do
    for columns in 200 80 40 24; do
      LC_ALL=$locale on_terminal "$columns" "arid status"
      [ "$(LC_ALL=C.UTF-8 wc -L <"$T/screen")" -le "$columns" ] || fail "$columns: $(cat "$T/screen")"
      for state in ok missing mismatch; do
        grep -qE "  $state( |\$)" "$T/screen" || fail "$columns: no $state: $(cat "$T/screen")"
      done
    done
  done
  LC_ALL=C.UTF-8 on_terminal 80 "arid status"
  shown 1 '^CERTIFICATE +STATE +EXPIRES +NEXT +LIFETIME'
  shown 2 '^missing.example.test +missing +- +renew now +-'
  shown 3 '^    there is none yet$'
  shown 4 '^a-host-with-a-.*~ +mismatch +89d +renew now +░░░░░░░░░░'
  shown 6 '^ok.example.test +ok +89d +renew in 59d +░░░░░░░░░░'
  [ "$(wc -l <"$T/screen")" -eq 6 ]
  grep -q $'^\x1b\\[[0-9;]*mmissing' "$T/typescript"
  grep -q '^ok.example.test' "$T/typescript"
  LC_ALL=C on_terminal 80 "arid status"
  shown 6 '^ok.*\[----------\]'
  run ! grep -P '[^\x00-\x7f]' "$T/screen"
  NO_COLOR=1 on_terminal 80 "arid status"
  run ! grep -F $'\x1b' "$T/typescript"

  # To a file each is one line, with all of its name.
  LC_ALL=C.UTF-8 arid status >"$T/screen"
  [ "$(wc -l <"$T/screen")" -eq 4 ]
  shown 3 "^$long +mismatch .* its private key is missing or does not fit\$"
  run ! grep -P '[^\x20-\x7e]' "$T/screen"
}

@test "due says by its status whether renew has something to do" {
  lines_of a.example.test "b.example.test > second"
  run -0 --separate-stderr quiet arid due
  [ "$output" = $'a.example.test\nsecond' ]
  run -0 arid due -q
  [ -z "$output" ]
  run -0 arid due B.example.test
  [ "$output" = second ]
  run -255 arid due c.example.test
  run -255 arid due --no-such-flag
  arid renew
  run -1 quiet arid due
  [ -z "$output" ]
  run -0 arid due --renew-days 91 second
  [ "$output" = second ]

  stop_server "$WEB_PID"
  run -1 arid renew --renew-days 91 second
  run -1 arid due --renew-days 91 second # held back
  [ -z "$output" ]
  run -0 arid due --renew-days 91 # and the other one is not
  [ "$output" = a.example.test ]
  run -0 states --renew-days 91
  [ "$output" = "second=failed a.example.test=due" ]
}

serial() { openssl x509 -in "$ARID_BASEDIR/certs/a.example.test/cert.pem" -noout -serial; }

@test "asleep until there is something to do: one certificate of twenty seconds, renewed in time" {
  local runs=0 first wait
  stop_server "$PEBBLE_PID"
  start_pebble 0 '"profiles": {"default": {"description": "short", "validityPeriod": 20}}'
  arid_world
  arid register --accept-terms
  lines_of a.example.test
  arid renew
  first=$(serial)
  while [ "$(serial)" = "$first" ]; do
    wait=$(arid status --next seconds)
    [ "$wait" -gt 0 ] || ((runs)) || fail "something is to be done at once: $(arid status --json)"
    sleep "$wait"
    arid renew
    runs=$((runs + 1))
    [ "$runs" -le 5 ] || fail "$runs runs, and nothing came of it: $(arid status --json)"
  done
  openssl x509 -in "$ARID_BASEDIR/certs/a.example.test/cert.pem" -noout -checkend 0
}

@test "the examples of monitoring see what arid sees" {
  local monitoring=$TOP/examples/monitoring
  lines_of ok.example.test owed.example.test
  arid renew ok.example.test
  cd "$T"
  run -2 "$monitoring/check_arid.sh"
  [[ $output == "ARID CRITICAL - 1 of 2 are well; owed.example.test missing | 'ok.example.test'=0%;80;90;0;100" ]]
  touch broken
  run -10 arid renew -k "$T/hook" owed.example.test
  run -1 "$monitoring/check_arid.sh"
  [[ $output == "ARID WARNING - 1 of 2 are well; owed.example.test owed, 0% spent, until "*": "*deploy_cert*" | "* ]]
  run -0 "$monitoring/check_arid.sh" ok.example.test
  [[ $output == "ARID OK - 1 of 1 are well | "* ]]
  run -3 "$monitoring/check_arid.sh" unknown.example.test
  mkdir textfile
  "$monitoring/prometheus-textfile.sh" textfile/arid.prom
  grep -qx 'arid_certificate_state{name="owed.example.test",state="owed"} 1' textfile/arid.prom
  grep -qx 'arid_certificate_failures{name="owed.example.test"} 1' textfile/arid.prom
  grep -qF 'arid_certificate_info{name="ok.example.test",issuer="Pebble Intermediate' textfile/arid.prom
  grep -q '^arid_certificate_next_seconds{name="ok.example.test"} [0-9]*$' textfile/arid.prom
}

@test "a host that only signs, and a line with a mistake" {
  arid sign a.example.test
  run -0 states
  [ "$output" = "a.example.test=ok" ]
  run -255 arid due
  lines_of b_example.test a.example.test
  run -0 --separate-stderr arid status --json
  [ "${#lines[@]}" -eq 1 ]
  [[ $stderr == *"domains.txt:1: "* ]]
  run -255 arid due
  lines_of "# nothing"
  run -0 states
  [ "$output" = "a.example.test=orphan" ]
  run -0 arid status --next epoch
  [ -z "$output" ]
}
