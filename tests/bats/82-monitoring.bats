#!/usr/bin/env bats
# The scripts of examples/monitoring: over recorded lines of `arid status --json`, with
# the programs that read what they say.

# shellcheck disable=SC2016,SC2034,SC2154  # names are quoted here that look like code; and what is set for and by bats and the helper

load helper

MONITORING=$TOP/examples/monitoring

# A stand-in for arid: it notes its arguments in T/called, says what is in T/says, and
# ends with T/ends.
setup() {
  mkdir "$T/bin"
  cat >"$T/bin/arid" <<EOS
#!/bin/sh
printf '%s\n' "\$*" >>'$T/called'
cat '$T/says'
exit "\$(cat '$T/ends')"
EOS
  chmod +x "$T/bin/arid"
  PATH=$T/bin:$PATH
  : >"$T/says"
  echo 0 >"$T/ends"
  cd "$T" || return
}
teardown() { stop_all; }

# says NAME STATE SPENT [MEMBERS]: one more line of arid's; without SPENT there is no
# certificate. MEMBERS come last, and so win.
says() {
  local life=""
  [ -z "$3" ] || life="\"issuer\":\"Test CA\",\"not_before\":\"2026-11-01T00:00:00Z\",\"not_after\":\"2027-01-30T00:00:00Z\",\"spent\":$3,\"next\":\"2027-01-01T03:04:05Z\","
  printf '%s\n' "{\"schema\":1,\"name\":\"$1\",\"state\":\"$2\",\"names\":[\"$1\"],\"ca\":\"https://ca.example/dir\",$life\"action\":\"renew\",\"why\":\"not due\",\"failures\":0,\"error\":\"\",\"path\":\"/certs/$1\"${4:+,$4}}" >>"$T/says"
}
silence() { : >"$T/says"; }

# check STATUS LINE...: check_arid.sh with the arguments ARGS, what it says and how it
# ends.
ARGS=()
check() {
  local status=$1
  shift
  run "-$status" --separate-stderr "$MONITORING/check_arid.sh" "${ARGS[@]}"
  diff <(printf '%s\n' "$@") <(printf '%s\n' "$output")
}

@test "check_arid.sh: each state" {
  local state level
  while read -r state level; do
    silence
    says www.example.org "$state" 0.42
    run "-$level" --separate-stderr "$MONITORING/check_arid.sh"
    [ "${#lines[@]}" -eq 1 ]
    [ -z "$stderr" ]
    case $level in
      0) [[ $output == "ARID OK - 1 of 1 are well | 'www.example.org'=42%;80;90;0;100" ]] ;;
      1) [[ $output == "ARID WARNING - 0 of 1 are well; www.example.org $state, 42% spent, until 2027-01-30T00:00:00Z | "* ]] ;;
      2) [[ $output == "ARID CRITICAL - 0 of 1 are well; www.example.org $state, "* ]] ;;
      3) [[ $output == "ARID UNKNOWN - 0 of 1 are well; www.example.org $state, "* ]] ;;
    esac
  done <<'EOT'
ok 0
due 0
held 0
expired 2
missing 2
mismatch 2
revoked 2
failed 1
owed 1
orphan 1
unheard-of 3
EOT
  grep -qx 'status --json' called
}

@test "check_arid.sh: thresholds are shares of the lifetime" {
  local spent level
  while read -r spent level; do
    silence
    says www.example.org ok "$spent"
    run "-$level" "$MONITORING/check_arid.sh" -w 70 -c 85
    [[ $output == *"'www.example.org'=${spent#0.}%;70;85;0;100" ]]
  done <<'EOT'
0.69 0
0.70 1
0.84 1
0.85 2
0.99 2
EOT
  silence
  says www.example.org ok 0.69999
  run -0 "$MONITORING/check_arid.sh" -w 70 -c 85
  silence
  says www.example.org ok 1.25
  ARGS=(-w 80 -c 90)
  check 2 "ARID CRITICAL - 0 of 1 are well; www.example.org ok, 125% spent, until 2027-01-30T00:00:00Z | 'www.example.org'=125%;80;90;0;100"
}

@test "check_arid.sh: the worst first, all of them told" {
  says well.example.org ok 0.42
  says late.example.org ok 0.81
  says strange.example.org unheard-of 0.1
  says none.example.org missing ""
  says mail.example.org owed 0.01 '"failures":2,"error":"deploy_cert: exit status 3"'
  check 2 \
    "ARID CRITICAL - 1 of 5 are well; none.example.org missing | 'late.example.org'=81%;80;90;0;100 'mail.example.org'=1%;80;90;0;100 'strange.example.org'=10%;80;90;0;100 'well.example.org'=42%;80;90;0;100" \
    "WARNING: late.example.org ok, 81% spent, until 2027-01-30T00:00:00Z" \
    "WARNING: mail.example.org owed, 1% spent, until 2027-01-30T00:00:00Z: deploy_cert: exit status 3" \
    "UNKNOWN: strange.example.org unheard-of, 10% spent, until 2027-01-30T00:00:00Z"
}

@test "check_arid.sh: as docs/monitoring.md shows it" {
  says www.example.org ok 0.42
  says mail.example.org owed 0.01 '"not_after":"2027-02-19T00:00:00Z","error":"deploy_cert: exit status 3"'
  run -1 "$MONITORING/check_arid.sh" -w 80 -c 90
  grep -qxF "    $output" "$TOP/docs/monitoring.md"
}

@test "check_arid.sh: only the certificates named" {
  says www.example.org ok 0.42
  ARGS=(-w 80 -- www.example.org -x.example.org)
  check 0 "ARID OK - 1 of 1 are well | 'www.example.org'=42%;80;90;0;100"
  diff called <(echo 'status --json www.example.org -x.example.org')
}

@test "check_arid.sh: what it cannot know is unknown" {
  check 3 "ARID UNKNOWN - no certificate"
  says www.example.org ok 0.42 '"schema":2'
  run -3 "$MONITORING/check_arid.sh"
  echo '{"schema":1,' >says
  check 3 "ARID UNKNOWN - what arid status says is not understood"
  silence
  echo 78 >ends
  check 3 "ARID UNKNOWN - arid status: exit status 78"
  echo 0 >ends
  for wrong in -weighty -c90% -c1000; do
    run -3 --separate-stderr "$MONITORING/check_arid.sh" "$wrong"
    [ "$output" = "ARID UNKNOWN - not a percentage: -w, -c" ]
  done
  for wrong in -w -x; do
    run -3 --separate-stderr "$MONITORING/check_arid.sh" "$wrong"
    [[ $output == "ARID UNKNOWN - usage: "* ]]
  done
  mkdir few
  ln -s "$(command -v sh)" "$(command -v cat)" "$T/bin/arid" few/
  says www.example.org ok 0.42
  run -3 --separate-stderr env PATH="$T/few" "$MONITORING/check_arid.sh"
  [ "$output" = "ARID UNKNOWN - what arid status says is not understood" ]
}

# Text that is code, or markup, to something on the way.
HOSTILE='$(touch pwned) `touch pwned` ; touch pwned | <b> & * '\''a'\'' \"b\" \\ \n \u0007 \u001b[31m \u00e9 %s'

@test "check_arid.sh: nothing of names and errors means anything" {
  says "$HOSTILE" failed 0.5 "\"error\":\"$HOSTILE\""
  run -1 --separate-stderr "$MONITORING/check_arid.sh"
  [ "${#lines[@]}" -eq 1 ]
  [ -z "$stderr" ]
  [ ! -e pwned ]
  [[ ${output%%|*} != *[!A-Za-z0-9\ .,:\;/\(\)_@%+-]* ]]
  [[ ${output#*| } =~ ^\'[A-Za-z0-9\ .,:\;/\(\)_@%+-]+\'=50%\;80\;90\;0\;100$ ]]
}

# expose: the textfile collector of Prometheus' node exporter over T/textfile; what it
# exposes is in T/exposed.
expose() {
  local port
  take_ports port
  start_server exporter.log prometheus-node-exporter --web.listen-address="127.0.0.1:$port" \
    --collector.disable-defaults --collector.textfile --collector.textfile.directory="$T/textfile"
  await_port "$port" "$STARTED"
  curl -sS --fail --max-time 20 -o "$T/exposed" "http://127.0.0.1:$port/metrics"
  grep -qx 'node_textfile_scrape_error 0' "$T/exposed" || fail "$(cat "$T/exporter.log")"
}

@test "prometheus-textfile.sh: the node exporter takes it as it is" {
  mkdir textfile
  says www.example.org ok 0.42
  says new.example.org missing "" '"failures":3,"error":"refused"'
  says "$HOSTILE" failed 0.5 '"issuer":"a \"quoted\" \\ CA\nof two lines"'
  umask 077
  run -0 "$MONITORING/prometheus-textfile.sh" "$T/textfile/arid.prom"
  [ -z "$output" ]
  [ "$(ls -A textfile)" = arid.prom ]
  [ "$(stat -c %a textfile/arid.prom)" = 644 ]
  [ ! -e pwned ]
  expose

  # Each of our lines comes out, labels in another order, and numbers in another form.
  grep -qxF 'arid_certificate_not_before_seconds{name="www.example.org"} 1.7934912e+09' exposed
  grep -qxF 'arid_certificate_not_after_seconds{name="www.example.org"} 1.8012672e+09' exposed
  grep -qxF 'arid_certificate_next_seconds{name="www.example.org"} 1.798772645e+09' exposed
  grep -qxF 'arid_certificate_spent_ratio{name="www.example.org"} 0.42' exposed
  grep -qxF 'arid_certificate_failures{name="www.example.org"} 0' exposed
  grep -qxF 'arid_certificate_state{name="www.example.org",state="ok"} 1' exposed
  grep -qxF 'arid_certificate_info{ca="https://ca.example/dir",issuer="Test CA",name="www.example.org"} 1' exposed
  grep -qxF 'arid_certificate_state{name="new.example.org",state="missing"} 1' exposed
  grep -qxF 'arid_certificate_failures{name="new.example.org"} 3' exposed
  run ! grep 'spent_ratio.*new.example.org' exposed
  grep -F 'issuer="a \"quoted\" \\ CA\nof two lines",name="$(touch pwned) `touch pwned` ; touch pwned | <b> & * '\''a'\'' \"b\" \\ \n ' exposed
  [ "$(grep -c '^arid_' exposed)" -eq "$(grep -c '^arid_' textfile/arid.prom)" ]
  for name in $(sed -n 's/^| `\(arid_[a-z_]*\)`.*/\1/p' "$TOP/docs/monitoring.md"); do
    grep -q "^${name}[{ ]" exposed || fail "$name is in docs/monitoring.md only"
  done
}

@test "prometheus-textfile.sh: where there is no certificate" {
  mkdir textfile
  run -0 "$MONITORING/prometheus-textfile.sh" "$T/textfile/arid.prom"
  expose
  [ "$(grep -c '^arid_' exposed)" -eq 1 ]
}

@test "prometheus-textfile.sh: the old file stays until there is a new one" {
  mkdir textfile
  says www.example.org ok 0.42
  "$MONITORING/prometheus-textfile.sh" textfile/arid.prom
  cp textfile/arid.prom before

  echo 78 >ends
  run -78 "$MONITORING/prometheus-textfile.sh" textfile/arid.prom
  echo 0 >ends
  echo '{"schema":1,' >says
  run ! "$MONITORING/prometheus-textfile.sh" textfile/arid.prom
  silence
  says www.example.org ok 0.42 '"schema":2'
  run ! "$MONITORING/prometheus-textfile.sh" textfile/arid.prom
  diff before textfile/arid.prom
  [ "$(ls -A textfile)" = arid.prom ]

  # Who has it open reads on in the old one.
  silence
  says other.example.org ok 0.42
  exec 7<textfile/arid.prom
  "$MONITORING/prometheus-textfile.sh" textfile/arid.prom
  diff before - <&7
  exec 7<&-
  grep -q other.example.org textfile/arid.prom
}

# start_pinged: a server that says yes to everything, and notes it in T/pings. Sets URL.
start_pinged() {
  local port
  take_ports port
  mkdir "$T/empty"
  echo OK >"$T/empty/ok"
  cat >"$T/pinged.conf" <<EOC
server.bind = "127.0.0.1"
server.port = $port
server.document-root = "$T/empty"
server.error-handler-404 = "/ok"
server.modules = ("mod_accesslog")
accesslog.filename = "$T/pings"
accesslog.format = "%r"
EOC
  start_server pinged.log lighttpd -D -f "$T/pinged.conf"
  await_port "$port" "$STARTED"
  URL=http://127.0.0.1:$port/uuid
}

# pinged REQUEST...: these and no others have come. The server writes them when it ends.
pinged() {
  stop_server "$STARTED"
  diff <(printf '%s\n' "${@/#/GET /uuid}" | sed 's/$/ HTTP/') <(sed 's|/1\..$||' "$T/pings")
}

# ping STATUS [ARGUMENT...]: ping.sh where arid ends so; by PATH of its own, FEW, if any.
FEW=
ping() {
  echo "$1" >"$T/ends"
  local ends=$1
  shift
  run "-$ends" --separate-stderr env PATH="${FEW:-$PATH}" PING_URL="$URL" "$MONITORING/ping.sh" "$@"
}

@test "ping.sh: the status goes to the service and to the caller" {
  start_pinged
  echo "a line" >says
  ping 0 -q --fail-fast
  [ "$output" = "a line" ]
  [ -z "$stderr" ]
  ping 10
  ping 75
  ping 78
  PING_FAIL=fail ping 1
  diff called <(printf '%s\n' "renew -q --fail-fast" renew renew renew renew)
  pinged "" /10 /78 /fail
}

# without_curl PROGRAM: ping.sh where there is no curl, and PROGRAM is wget.
without_curl() {
  FEW=$T/few
  mkdir "$FEW"
  ln -s "$(command -v sh)" "$(command -v cat)" "$(command -v timeout)" "$T/bin/arid" "$FEW/"
  ln -s "$(command -v "$1")" "$FEW/wget"
  ping 0
  [ -z "$stderr" ]
  ping 10
  [ -z "$stderr" ]
}

@test "ping.sh: wget" {
  start_pinged
  without_curl wget
  pinged "" /10
}
@test "ping.sh: the wget of busybox" {
  start_pinged
  without_curl busybox
  pinged "" /10
}

@test "ping.sh: a ping that fails changes nothing" {
  start_pinged
  stop_server "$STARTED"
  ping 0
  [[ $stderr == *"ping.sh: the ping failed" ]]
  ping 10
  unset URL
  run ! "$MONITORING/ping.sh"
  [ "$(wc -l <called)" -eq 2 ]
}
