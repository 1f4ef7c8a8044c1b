# shellcheck shell=bash
# shellcheck disable=SC2030,SC2031,SC2317  # each play is in a subshell, and so are its variables; scenarios are called by name
# What 55-transcript.bats is made of: each scenario is played by Debian's
# dehydrated, and by arid under that name, each in a tree of its own, with
# `recorder` as the hook. What was seen is written down, freed of what differs
# from run to run, and compared.
#
# A scenario is a function scenario_NAME in the .bats file. It finds
#
#   D      its domain, NAME.test; Pebble finds everything in it on this host
#   BASE   the BASEDIR, with a config and an account that the CA knows
#   RECORD what the hook reads, see there
#   R      directory of this play
#
# and calls
#
#   domains LINE...   to write domains.txt
#   config LINE...    to add to the config
#   certificate       to have one in BASE, of the names in $OLD, not due
#   fails OPERATION   to have the hook fail
#   invoke ARG...     to run the program; what it did goes to the transcript
#
# play_all plays all of them, several side by side, in the background; `same NAME`
# waits for that scenario and compares. What may differ is in
# transcript-repairs.txt.
#
# Variables for the developer:
#
#   TRANSCRIPT_ONLY=GLOB     plays only these scenarios (use bats --filter too)
#   TRANSCRIPT_PROGRAM=FILE  plays in arid's place; /usr/bin/dehydrated, with
#                            TRANSCRIPT_REPAIRS=/dev/null, shows whether the harness
#                            is sound: then only "arg 1 is" may differ, by chance
#   TRANSCRIPT_REPAIRS=FILE  instead of transcript-repairs.txt
#   TRANSCRIPT_FULL=1        compares every line of stdout, not only the stable ones
#   TRANSCRIPT_KEEP=DIR      the plays are copied to DIR; NAME/differences there is
#                            in the form of transcript-repairs.txt
#   TRANSCRIPT_AGAIN=DIR     what dehydrated did is taken from there, where it is:
#                            much quicker, while arid is changed

# What of stdout is compared: what scripts are known to look for
# (extended regular expressions for whole lines).
STABLE='# INFO: Using (main|additional) config file .*
Processing .*
 \+ Checking domain name\(s\) of existing cert\.\.\. (unchanged\.|changed!)
 \+ Names in old certificate: .*
 \+ Configured names: .*
 \+ Valid till .* \((Longer|Less) than [0-9]+ days\)\. ?(Renewing!|Skipping renew!|Ignoring because renew was forced!)?
\(Less than [0-9]+ days\)\. Renewing!
 \+ Using certificate specific config file!
   \+ [A-Z_]+ = .*
 \+ Using CSR from hook script .*
 \+ Challenge is valid!
 \+ Requesting certificate\.\.\.
 \+ Using preferred chain .*
 \+ Done[.!]
\+ Done[.!]
\+ Account already registered!
ERROR: .*
Revoking .*
( \+ )?(Moving unused file to archive directory|Deleting unused file): .*
# dehydrated configuration
# (CERT|CHAIN) #
-----(BEGIN|END) CERTIFICATE-----
declare -.*
[a-z_]+ speaks to std(out|err)
<.*'

OLD=(one.old.test two.old.test)

# setup_transcript: the world, a prepared tree, and the first plays under way.
setup_transcript() {
  take_ports HTTP_PORT TLS_PORT
  start_hosts
  start_dns
  # Pebble's own TLS certificate is made only once.
  PEBBLE_ALTERNATE_ROOTS=1 start_pebble 0 '"domainBlocklist": ["refused.test"]'
  export DIRECTORY CA_FILE DNS_MGMT HTTP_PORT TLS_PORT DNS_ADDR
  local first=$DIRECTORY
  PEBBLE_AUTHZREUSE=100 start_pebble 0
  export DIRECTORY_REUSE=$DIRECTORY DIRECTORY=$first
  prepare
  ln -s "$BUILD/arid" "$T/dehydrated"
  export ORACLE OTHER=${TRANSCRIPT_PROGRAM:-$T/dehydrated} FILE_T=$T
  ORACLE=$(command -v dehydrated)
  start_plays
}

# start_hosts: lighttpd serves T/hosts/DOMAIN for every name in DOMAIN, over http
# and, with T/hosts/DOMAIN/alpn, acme-tls/1. It runs as we do: dehydrated makes its
# files for its own user.
start_hosts() {
  mkdir -p "$T/hosts"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=ordinary.test" \
    -keyout "$T/ordinary.key" -out "$T/ordinary.pem" 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
  local name
  {
    printf 'server.bind = "127.0.0.1"\nserver.port = %s\nserver.document-root = "%s"\n' "$HTTP_PORT" "$T/hosts"
    printf 'server.modules = ("mod_evhost", "mod_openssl")\nmimetype.assign = ("" => "application/octet-stream")\n'
    printf 'server.stat-cache-engine = "disable"\nevhost.path-pattern = "%s/hosts/%%0/"\n' "$T"
    # shellcheck disable=SC2016  # lighttpd's variables
    printf '$SERVER["socket"] == "127.0.0.1:%s" {\n  ssl.engine = "enable"\n  ssl.pemfile = "%s"\n  ssl.privkey = "%s"\n}\n' \
      "$TLS_PORT" "$T/ordinary.pem" "$T/ordinary.key"
    for name in $(scenarios); do
      name=$(domain_of "$name")
      # shellcheck disable=SC2016
      [[ $name != alpn* ]] || printf '$HTTP["host"] =~ "\\.%s$" { ssl.acme-tls-1 = "%s/hosts/%s/alpn" }\n' "${name//./\\.}" "$T" "$name"
    done
  } >"$T/lighttpd.conf"
  start_server web.log lighttpd -D -f "$T/lighttpd.conf"
  await_port "$HTTP_PORT" "$STARTED"
  await_port "$TLS_PORT" "$STARTED"
}

# scenarios: their names, as they stand in the file.
scenarios() { sed -n 's/^scenario_\([a-z_]*\)().*/\1/p' "$BATS_TEST_FILENAME"; }

domain_of() { printf '%s.test' "${1//_/-}"; }

# prepare: T/prepared-theirs and T/prepared-ours are two BASEDIRs, each with an
# account of its own, and T/old is what a certificate for the names OLD looks like;
# dehydrated has made it all. Two accounts: neither finds the other's authorizations.
prepare() {
  local BASE=$T/prepared-theirs
  mkdir -p "$BASE/wellknown" "$T/hosts/old.test/.well-known"
  ln -s "$BASE/wellknown" "$T/hosts/old.test/.well-known/acme-challenge"
  # Every variable whose default is not the same in all versions of dehydrated,
  # and what the tests need.
  cat >"$BASE/config" <<EOC
CA="$DIRECTORY"
CURL_OPTS="--cacert $CA_FILE"
WELLKNOWN="\${BASEDIR}/wellknown"
ACCOUNT_KEY_ALGO=rsa
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
KEYSIZE=2048
RENEW_DAYS=30
KEEP_GOING=no
ORDER_TIMEOUT=0
VALIDATION_TIMEOUT=0
ACME_PROFILE=
AUTO_CLEANUP=no
AUTO_CLEANUP_DELETE=no
export EXPORTED_BY_CONFIG="as the config has it"
NOT_EXPORTED="the config's alone"
EOC
  cp -a "$BASE" "$T/prepared-ours"
  prepared --register --accept-terms --config "$T/prepared-ours/config"
  prepared --register --accept-terms --config "$BASE/config"
  prepared -c --config "$BASE/config" -d "${OLD[*]}"
  mv "$BASE/certs" "$T/old"
  rm -r "$BASE/chains"
  for BASE in "$BASE" "$T/prepared-ours"; do
    printf 'HOOK="%s"\n' "$BATS_TEST_DIRNAME/recorder" >>"$BASE/config"
  done
}

# prepared ARG...: dehydrated, which must not fail.
prepared() { bounded dehydrated "$@" >"$T/prepare.log" 2>&1 || fail "dehydrated: $(cat "$T/prepare.log")"; }

# bounded PROGRAM...: at most ten minutes.
bounded() { timeout --foreground -k 5 600 "$@"; }

# start_plays: play_all in the background, ended by stop_all.
start_plays() {
  mkdir -p "$T/plays"
  play_all </dev/null >"$T/plays.log" 2>&1 3>&- &
  export PLAYS=$!
  remember "$PLAYS"
}

# play_all: every scenario, some side by side: most of the time they wait.
play_all() {
  local name
  trap 'kill $(jobs -p) 2>/dev/null; exit 1' TERM
  for name in $(scenarios); do
    # shellcheck disable=SC2053  # a pattern
    [[ $name == ${TRANSCRIPT_ONLY:-*} ]] || continue
    while [ "$(jobs -pr | wc -l)" -ge 6 ]; do
      wait -n || :
    done
    play_both "$name" &
  done
  wait
  times
}

# play_both NAME: one after the other, for they have the same names in the DNS.
play_both() {
  if [ -e "${TRANSCRIPT_AGAIN:-/nonexistent}/$1/theirs/transcript" ]; then
    mkdir -p "$T/plays/$1"
    cp -a "$TRANSCRIPT_AGAIN/$1/theirs" "$T/plays/$1/"
  else
    play "$1" theirs "$ORACLE"
  fi
  if [ -e "$T/mutants/$1" ]; then
    play "$1" ours "$T/mutants/$1"
  else
    play "$1" ours "$OTHER"
  fi
  : >"$T/plays/$1/done"
}

# play NAME WHO PROGRAM: the scenario in a directory of its own; the transcript is
# R/transcript.
play() (
  PROGRAM=$3 COUNT=0
  D=$(domain_of "$1")
  R=$T/plays/$1/$2
  BASE=$R/base RECORD=$R/record
  mkdir -p "$R/cwd" "$R/home" "$R/tmp" "$RECORD" "$T/hosts/$D/.well-known"
  cp -a "$T/prepared-$2" "$BASE"
  ln -sfn "$BASE/wellknown" "$T/hosts/$D/.well-known/acme-challenge"
  ln -sfn "$BASE/alpn-certs" "$T/hosts/$D/alpn"
  printf 'WHERE_WELLKNOWN=%q WHERE_ALPN=%q WHERE_CERTS=%q\n' "$BASE/wellknown" "$BASE/alpn-certs" "$BASE/certs" >"$RECORD/where"
  : >"$R/transcript"
  readlink "$T/old/${OLD[0]}/cert.pem" | sed -E 's/.*-(.*)\..*/\1 T0/' >"$R/times"
  local status
  (
    set -e
    "scenario_$1"
  ) >"$R/log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || printf 'the scenario itself failed\n' >>"$R/transcript"
)

# For scenarios.
domains() { printf '%s\n' "$@" >"$BASE/domains.txt"; }
config() { printf '%s\n' "$@" >>"$BASE/config"; }
fails() { printf '%s\n' "$@" >"$RECORD/fail"; }
certificate() {
  mkdir -p "$BASE/certs"
  cp -a "$T/old/${OLD[0]}" "$BASE/certs/"
}

# invoke ARG...: runs the program with what the environment of a cron job would
# be, and with a config that is named last, unless ARG does. With TERMINAL=yes on
# a terminal.
invoke() {
  local out status=0 names=(PATH HOME TMPDIR RECORD EXPORTED_BY_CALLER PWD OLDPWD SHLVL _ EXPORTED_BY_CONFIG \
    BASEDIR WELLKNOWN CERTDIR ALPNCERTDIR CONFIG COMMAND alias CHALLENGETYPE KEY_ALGO PRIVATE_KEY_ROLLOVER altnames)
  ((++COUNT))
  out=$R/$COUNT
  mkdir "$out"
  printf 'a line of stdin\n' >"$out/in"
  [ ! -e "$RECORD/typed" ] || cp "$RECORD/typed" "$out/in"
  printf '%s\n' "${names[@]}" >"$RECORD/exported"
  : >"$RECORD/deployed"
  : >"$RECORD/calls"
  [[ " $* " == *" --config "* || " $* " == *" -f "* ]] || set -- "$@" --config "$BASE/config"
  local -a run=(env -i "PATH=$PATH" "HOME=$R/home" "TMPDIR=$R/tmp" "RECORD=$RECORD" "EXPORTED_BY_CALLER=as the caller has it"
    "$PROGRAM" "$@")
  # After a second, because files are named by it.
  [ "$COUNT" -eq 1 ] || sleep 1
  (
    cd "$R/cwd"
    umask 022
    close_others
    if [ "${TERMINAL:-}" = yes ]; then
      # No echo of what is typed, which would stand anywhere between what is printed.
      SHELL=/bin/bash bounded script -qef -E never -c "$(printf '%q ' "${run[@]}")" /dev/null
    else
      bounded "${run[@]}"
    fi
  ) <"$out/in" >"$out/out" 2>"$out/err" || status=$?
  mv "$RECORD/calls" "$out/calls"
  printf '%s\n' "$status" >"$out/status"
  tree >"$out/tree"
  transcript "$out" "$@" >>"$R/transcript"
}

# close_others: nothing is open but 0, 1 and 2 (bats has more).
close_others() {
  local fd
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || [ "$fd" -eq 255 ] || eval "exec $fd>&-"
  done
}

# tree: what is in BASE: modes, names, targets. What arid has there for itself is
# left out, by this list and the one in the recorder.
tree() {
  local mode kind dir
  # shellcheck source=tests/bats/recorder
  . "$BATS_TEST_DIRNAME/recorder"
  (
    cd "$BASE"
    find . \( -path './certs/*' -o -path './elsewhere/*' \) -prune -o ! -name .arid.lock -printf '%m %y %p\n' | LC_ALL=C sort -k 3
    find . \( -path './certs/*' -o -path './elsewhere/*' \) -prune -type d -printf '%m d %p\n' | LC_ALL=C sort -k 3 |
      while read -r mode kind dir; do
        printf '%s %s %s\n' "$mode" "$kind" "$dir"
        folder "$dir" | sed "s|^|  |"
      done
  )
}

# transcript DIR ARG...: prints what is in DIR, in words that do not change.
transcript() {
  local dir=$1
  shift
  values "$dir" >"$dir/values.sed"
  printf 'run %s\n' "$*" | sed -E -f "$dir/values.sed"
  sed -E -f "$dir/values.sed" "$dir/calls" | pair "$dir" | sort_groups | sed -E 's/^other env: *$/other env:/'
  printf 'status %s\n' "$(cat "$dir/status")"
  printf 'stdout\n'
  stable <"$dir/out" | sed -E -f "$dir/values.sed" | pair "$dir" | sed 's/^/  /'
  printf 'stderr\n'
  progress "$dir/err" | sed -E -f "$dir/values.sed" | pair "$dir" | sort_groups | sed 's/^/  /'
  printf 'authorizations\n'
  authorizations "$dir" | sed 's/^/  /'
  printf 'tree\n'
  sed -E -f "$dir/values.sed" "$dir/tree" | sort_groups | sed 's/^/  /'
  printf '\n'
}

# stable: of stdin, the lines that are compared; PEM and the settings of --env
# are recognized by their shape.
stable() {
  if [ -n "${TRANSCRIPT_FULL:-}" ]; then
    cat
  else
    sed 's/\r$//' | grep -xE -- "$STABLE" || :
  fi | sed -E '/^-----BEGIN/,/^-----END/{/^-----/!d}'
}

# progress FILE: of what went to stderr, all but those lines of progress that are
# not compared; with --signcsr they are there.
progress() {
  if [ -n "${TRANSCRIPT_FULL:-}" ]; then
    cat "$1"
  else
    STABLE=${STABLE//$'\n'/|} awk '!/^ \+ / || $0 ~ "^(" ENVIRON["STABLE"] ")$"' "$1"
  fi
}

# values DIR: a sed script that gives each value of these runs a name. What is
# derived is calculated, so that a wrong value keeps standing there.
values() {
  local dir=$1 thumbprint name token count=0 key auth bin time
  local -a thumbprints=() # an account for each CA
  for key in "$BASE"/accounts/*/account_key.pem; do
    [ ! -e "$key" ] || thumbprints+=("$(thumbprint "$key")")
  done
  awk -v RS= '/^call deploy_challenge\n/' "$dir/calls" | sed -n 's/^  arg [0-9]*| //p' | paste -d ' ' - - - >"$dir/deploys"
  # Long values first.
  while read -r name token _; do
    ((++count))
    for thumbprint in "${thumbprints[@]}"; do
      auth=$token.$thumbprint
      bin=$(printf %s "$auth" | openssl dgst -sha256 -hex -r | cut -d ' ' -f 1)
      printf 's/%s/<key authorization %d>/g\n' "${auth//./\\.}" "$count"
      printf 's/%s/<digest %d>/g\n' "$(printf %s "$auth" | openssl dgst -sha256 -binary | base64url)" "$count"
      printf 's/%s/<digest in pairs %d>/g\n' "$(sed 's/../&:/g; s/:$//' <<<"$bin")" "$count"
    done
    printf 's/%s/<token %d>/g\n' "$token" "$count"
  done <"$dir/deploys"
  for thumbprint in "${thumbprints[@]}"; do
    printf 's/%s/<thumbprint>/g\n' "$thumbprint"
  done
  cat <<EOC
s,$PROGRAM,<program>,g
s,$R/$COUNT/in,<stdin>,g
s,$R/$COUNT/out,<stdout>,g
s,$R/$COUNT/err,<stderr>,g
s,$BASE,<base>,g
s,$R/tmp/dehydrated-[A-Za-z0-9]{6},<run>/tmp/dehydrated-<random>,g
s,$BATS_TEST_DIRNAME/recorder,<hook>,g
s,$R,<run>,g
s,$T,<world>,g
s,${DIRECTORY%/dir},<CA>,g
s,${DIRECTORY_REUSE%/dir},<CA>,g
s,127\.0\.0\.1:$TLS_PORT,<TLS server>,g
s,:$HTTP_PORT\b,:<http port>,g
s,\b(chalZ|authZ|my-order|my-account|finalize-order|certZ)/[A-Za-z0-9_-]+,\1/<id>,g
s,accounts/[A-Za-z0-9_-]{20\,},accounts/<CA>,g
s,[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+),<time>,g
s,\b[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]{8} [0-9]{4} GMT,<openssl date>,g
s,\b[A-Z][a-z][a-z]\, [0-9]{2} [A-Z][a-z][a-z] [0-9]{4} [0-9:]{8} GMT,<HTTP date>,g
s,^((  arg [0-9]+\| )?[Rr]eplay-[Nn]once: ?)[A-Za-z0-9_-]+,\1<nonce>,
s,^((  arg [0-9]+\| )?[Cc]ontent-[Ll]ength: ?)[0-9]+,\1<length>,
s,^(  wellknown [0-9]+) ([A-Za-z0-9_-]{43}) \2\.<thumbprint>$,\1 <token not deployed> <its key authorization>,
s,/wellknown/[A-Za-z0-9_-]{43}$,/wellknown/<token not deployed>,
EOC
  # T0 are those of the prepared certificate, T1 the first run's, and so on.
  grep -hoE '\b1[0-9]{9}\b' "$dir/calls" "$dir/tree" "$dir/out" "$dir/err" | sort -u | while read -r time; do
    grep -q "^$time " "$R/times" || printf '%s T%d\n' "$time" "$COUNT" >>"$R/times"
  done
  sed -E 's,(.*) (.*),s/\\b\1\\b/\2/g,' "$R/times"
}

# authorizations DIR: the names that were deployed, all of them or so many of those
# that the certificates have.
authorizations() {
  local deployed wanted
  deployed=$(cut -d ' ' -f 1 "$1/deploys" | LC_ALL=C sort)
  wanted=$(awk -v RS= '/^call deploy_challenge\n/' "$1/calls" | sed -n 's/^  env altnames=//p' | sort -u | tr ' ' '\n' |
    sed 's/^\*\.//; /^$/d' | LC_ALL=C sort)
  if [ "$deployed" = "$wanted" ] || [ -n "$(LC_ALL=C comm -23 <(printf '%s\n' "$deployed") <(printf '%s\n' "$wanted"))" ]; then
    printf '%s\n' "$deployed"
  else
    printf '%d of:\n%s\n' "$(wc -l <"$1/deploys")" "$wanted"
  fi
}

base64url() { base64 -w 0 | tr '+/' '-_' | tr -d =; }

# thumbprint KEY: of an RSA account key with the exponent 65537 (RFC 7638).
thumbprint() {
  local n
  n=$(openssl rsa -in "$1" -noout -modulus | cut -d = -f 2 | sed 's/../\\x&/g')
  # shellcheck disable=SC2059  # the format is the value
  printf '{"e":"AQAB","kty":"RSA","n":"%s"}' "$(printf "$n" | base64url)" | openssl dgst -sha256 -binary | base64url
}

# pair DIR: the CA shuffles the authorizations of an order. The name of the first
# that was deployed becomes <name 1>, and so on, where the order is the CA's:
# with the challenges and their errors. That they are the right ones is seen
# under "authorizations" in the transcript.
pair() {
  awk -v deploys="$1/deploys" '
    BEGIN { while ((getline line < deploys) > 0) { split(line, part, " "); name[++n] = part[1] } }
    function replaced(text, i, at, out) {
      for (i = 1; i <= n; i++) {
        out = ""
        while ((at = index(text, name[i]))) {
          out = out substr(text, 1, at - 1) "<name " i ">"
          text = substr(text, at + length(name[i]))
        }
        text = out text
      }
      return text
    }
    # The name stands before its token: it waits until that has come.
    function release() { if (held != "") print held; held = "" }
    /^call / { operation = $2; held = ""; said = ""; failed = 0 }
    operation ~ /^(deploy|clean)_challenge$/ && /^  arg / {
      text = $0; sub(/^  arg [0-9]+\| /, "", text)
      if (held != "" && match(text, /^<token [0-9]+>$/)) {
        i = substr(text, 8, length(text) - 8) + 0
        held_text = held; sub(/^  arg [0-9]+\| /, "", held_text)
        if (held_text == name[i]) sub(/\| .*/, "| <name " i ">", held)
      }
      release(); held = $0; next
    }
    { release() }
    match($0, /Possible validation methods are: /) {
      at = RSTART + RLENGTH; count = split(substr($0, at), offered, " "); $0 = substr($0, 1, at - 1)
      for (i = 2; i <= count; i++) for (j = i; j > 1 && offered[j-1] > offered[j]; j--) { text = offered[j]; offered[j] = offered[j-1]; offered[j-1] = text }
      for (i = 1; i <= count; i++) $0 = $0 offered[i] " "
    }
    operation == "invalid_challenge" && /^  arg 1\| / { said = substr($0, 10) }
    operation == "invalid_challenge" && match($0, /"token"\]\t"<token [0-9]+>/) { split(substr($0, RSTART), part, /[ >]/); failed = part[2] }
    operation == "invalid_challenge" && /^  arg / && !/^  arg 1\|/ { $0 = replaced($0) }
    operation == "invalid_challenge" && /^$/ { print "  arg 1 is " (said == name[failed] ? "the name that failed" : "another name") }
    operation == "exit_hook" && /^  arg / && /\[|"/ { $0 = replaced($0) }
    operation == "" && /^(\[|ERROR: Challenge is invalid)/ { $0 = replaced($0) }
    operation == "" && /^ \+ (Handling|Responding|Found valid)/ { for (i = 1; i <= n; i++) gsub(name[i], "<name>") }
    { print }
    END { release() }
  '
}

# sort_groups: lines side by side whose order means nothing: header fields, the
# files in WELLKNOWN, named by tokens.
sort_groups() {
  awk '
    function flush(i, j, t) {
      for (i = 2; i <= n; i++) for (j = i; j > 1 && group[j-1] > group[j]; j--) { t = group[j]; group[j] = group[j-1]; group[j-1] = t }
      for (i = 1; i <= n; i++) print group[i]
      n = 0
    }
    { kind = "" }
    /^  wellknown |^[0-9]+ f \.\/wellknown\// { kind = "wellknown" }
    /^(  arg [0-9]+\| )?[A-Za-z-]+: / { kind = "field" }
    kind != last { flush() }
    { last = kind }
    kind == "" { print; next }
    { group[++n] = $0 }
    END { flush() }
  '
}

# same NAME: fails unless both have played the scenario alike, repairs aside.
same() {
  local dir=$FILE_T/plays/$1
  await_play "$1"
  grep -q '^run ' "$dir/theirs/transcript" || fail "nothing was played: $(cat "$dir/theirs/log")"
  ! grep -h 'the scenario itself failed' "$dir/theirs/transcript" "$dir/ours/transcript" ||
    fail "$(cat "$dir/theirs/log" "$dir/ours/log")"
  repaired "$1" <"$dir/theirs/transcript" >"$dir/expected"
  shown "$1" <"$dir/ours/transcript" >"$dir/got"
  hunks "$1" >"$dir/allowed"
  differences "$dir/expected" "$dir/got" >"$dir/differences"
  if [ -n "${TRANSCRIPT_KEEP:-}" ]; then
    mkdir -p "$TRANSCRIPT_KEEP"
    cp -a "$dir" "$TRANSCRIPT_KEEP/"
  fi
  diff <(one_line "$dir/allowed") <(one_line "$dir/differences") >"$dir/verdict" && return
  printf '%s: what dehydrated called, repairs made, and what arid did:\n' "$1"
  summary "$dir/expected"
  summary "$dir/got"
  printf '< is a repair that was not seen, > a difference that is no repair; - is dehydrated'"'"'s, + is arid'"'"'s\n'
  sed '/^[0-9]/d; s/\x01/\n  /g' "$dir/verdict" |
    awk '/^[<>-]/ { n = 0 } ++n <= 25 { print } n == 26 { print "  ..." }'
  printf 'all of it: %s\n' "${TRANSCRIPT_KEEP:-(set TRANSCRIPT_KEEP)}"
  return 1
}

# summary FILE: the operations and statuses of a transcript, on a line.
summary() {
  sed -n -e 's/^call this_hook.*/probe/p' -e 's/^call //p' -e 's/^run .*/[/p' -e 's/^\(status .*\)/\1]/p' "$1" | tr '\n' ' '
  printf '\n'
}

# await_play NAME: at most twenty minutes, and not when the plays have ended.
await_play() {
  local tries
  for ((tries = 0; tries < 4800; tries++)); do
    [ ! -e "$FILE_T/plays/$1/done" ] || return 0
    kill -0 "$PLAYS" 2>/dev/null || [ -e "$FILE_T/plays/$1/done" ] || fail "$1 was not played: $(cat "$FILE_T/plays.log")"
    sleep 0.25
  done
  fail "$1 does not come to an end"
}

# differences A B: hunks that begin with the part of the transcript where they are.
differences() {
  diff -U 0 --show-function-line='^[a-z]' "$1" "$2" | sed -E -e '1,2d' -e 's/^@@ .* @@ ?/@@ /' || :
}

# one_line FILE: each hunk as a line, in order.
one_line() {
  awk '/^@@/ { if (hunk != "") print hunk; hunk = $0; next } { hunk = hunk "\001" $0 } END { if (hunk != "") print hunk }' "$1" | LC_ALL=C sort
}

REPAIRS=${TRANSCRIPT_REPAIRS:-$BATS_TEST_DIRNAME/transcript-repairs.txt}

# of_scenario NAME: the lines of the repairs that hold for it.
of_scenario() {
  awk -v scenario="$1" '
    /^\[.*\]$/ {
      holds = 0
      count = split(substr($0, 2, length($0) - 2), patterns, " ")
      for (i = 1; i <= count; i++) {
        gsub(/\*/, ".*", patterns[i])
        if (scenario ~ "^" patterns[i] "$") holds = 1
      }
      next
    }
    holds
  ' "$REPAIRS"
}

# repaired NAME: what dehydrated did, with the general repairs made.
repaired() {
  shown "$1" | sed -E -f <(of_scenario "$1" | sed -n 's/^sed //p')
}

# blanks: a blank at the end of a line can be seen.
blanks() { sed -E '/^  (alpn .*|arg [0-9]+\| | *)$/!s/ $/<blank>/'; }

# shown NAME: what is compared of either.
shown() {
  blanks | sed -E -f <(of_scenario "$1" | sed -n 's/^both //p')
}

# hunks NAME: the differences that are repairs.
hunks() { of_scenario "$1" | grep '^[-+@]' || :; }
