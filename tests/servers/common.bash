# shellcheck shell=bash
# shellcheck disable=SC2034,SC2119,SC2120,SC2154  # what is set here is for the tests; what they call with arguments; and what the helper and they set for us
# What the tests of examples/hooks share: a certificate of Pebble's by `arid renew` as
# cron runs it, by way of the hook, into a real server.
#
#   load ../bats/helper
#   load common
#   setup_file()    { start_ca; }
#   setup()         { fresh_tree nginx.sh; ... }
#   teardown()      { end_tree; }
#   teardown_file() { stop_all; }
#
# fresh_tree sets
#
#   NAME       the certificate's name, the only line of T/domains.txt
#   TLS        T/tls, an empty directory for what the hook writes
#   ARID_...   for a certificate tree of the test's own, and the hook
#
# A server's file sets in setup what the hook takes from the environment, and for what
# follows here:
#
#   PORT       where the server shows its certificate, on 127.0.0.1
#   STARTTLS   the protocol's name for openssl, where TLS begins after some talk
#   FILES      an array of what the hook writes
#
# and defines
#
#   start          starts the server and waits for it
#   break_config   makes of the server's configuration one that it does not take
#   mend_config    and undoes that
#
# The command by which the hook tells the server is `telling COMMAND`, so that `told`
# can count. COMMAND is the hook's own, with other paths, by `default`.

load ../bats/servers

as_root() { is_root || skip "needs root: the server changes to a user of its own"; }

NAME=www.example.test

# start_ca: Pebble, the servers that it asks, and an account there, for the file.
start_ca() {
  start_world
  arid_world
  arid register --accept-terms >"$T/account"
  FILE_T=$T
  export FILE_T DIRECTORY CA_FILE MGMT WEBROOT WELLKNOWN HTTP_PORT TLS_PORT DNS_ADDR DNS_MGMT
}

# fresh_tree HOOK: no certificate, and examples/hooks/HOOK for it.
fresh_tree() {
  arid_world
  export ARID_BASEDIR=$FILE_T/base ARID_CERTDIR=$T/certs ARID_DOMAINS_TXT=$T/domains.txt
  export ARID_HOOK=$TOP/examples/hooks/$1
  printf '%s\n' "$NAME" >"$ARID_DOMAINS_TXT"
  TLS=$T/tls
  mkdir "$TLS"
  open_way "$TLS"
  : >"$T/told"
}

end_tree() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}

# from_cron COMMAND...: with the PATH that cron gives, and arid in it.
from_cron() { PATH=$BUILD:/usr/bin:/bin "$@"; }
renew() { from_cron arid renew "$@"; }

# default VARIABLE PATH OTHER: the shell line that the hook has in VARIABLE, with OTHER in
# the place of PATH.
default() {
  local line
  line=$(sed -n "s/^$1='\(.*\)'\$/\1/p" "$ARID_HOOK")
  [[ $line == *"$2"* ]] || fail "no $1 with $2 in $ARID_HOOK"
  printf '%s' "${line//"$2"/"$3"}"
}

# telling COMMAND: the same as a shell line that `told` counts.
telling() { printf 'echo told >>%q; %s' "$T/told" "$1"; }
told() { wc -l <"$T/told"; }

# live: the fingerprint of the certificate in the tree.
live() { leaf "$ARID_CERTDIR/$NAME/cert.pem"; }

# s_client ARGUMENT...: openssl's, at the server.
s_client() {
  openssl s_client -connect "127.0.0.1:$PORT" -servername "$NAME" ${STARTTLS:+-starttls "$STARTTLS"} "$@"
}

# served: the fingerprint of the certificate that the server shows.
served() {
  s_client </dev/null 2>>"$T/s_client.err" | openssl x509 -noout -fingerprint -sha256 2>>"$T/s_client.err"
}

# shows_live: does the server show what is in the tree?
shows_live() { [ "$(served)" = "$(live)" ]; }

# await_live: until it does, and arid says the same; for a moment a server may have
# processes of before beside new ones.
await_live() {
  await shows_live
  case ${STARTTLS:-} in
  '' | smtp | imap) await arid check -q "127.0.0.1:$PORT${STARTTLS:+/$STARTTLS}" --name "$NAME" ;;
  esac
}

# shows_still LEAF: the server shows it, and it is not what is in the tree.
shows_still() {
  [ "$(served)" = "$1" ]
  [ "$(live)" != "$1" ]
}

# hold TEXT: a connection to the server that has said TEXT and stays open.
hold() {
  mkfifo "$T/say"
  exec {SAY}<>"$T/say"
  : >"$T/held.log"
  # shellcheck disable=SC2016  # for that shell
  start_server held.log bash -c 'exec "${@:2}" <"$1"' - "$T/say" \
    openssl s_client -connect "127.0.0.1:$PORT" -servername "$NAME" ${STARTTLS:+-starttls "$STARTTLS"} -ign_eof
  await grep -q 'Verify return code' "$T/held.log"
  printf '%b' "$1" >&"$SAY"
}

# still_held TEXT ANSWER: that connection takes TEXT more, and ANSWER comes.
still_held() {
  ! grep -q "$2" "$T/held.log" || fail "\"$2\" was there before"
  printf '%b' "$1" >&"$SAY"
  await grep -q "$2" "$T/held.log"
  exec {SAY}>&-
}

# snapshot: what the hook has written, to the byte, and whatever else is beside it.
snapshot() {
  [ "${#FILES[@]}" -eq 0 ] || { stat -c '%n %U:%G %a' "${FILES[@]}" && sha256sum "${FILES[@]}"; }
  find "$TLS" | sort
}

# with_a: certificate A, by way of the hook, before the server runs for the first time:
# it is there, and nobody could be told. Then the server shows it.
with_a() {
  renew
  start
  await_live
  : >"$T/told"
}

# failed_before NAME SECONDS: as if the deployment that is owed had failed so long ago.
failed_before() {
  local file=$ARID_CERTDIR/$1/state.json at
  at=$(date -u -d "@$(($(date +%s) - $2))" +%FT%TZ)
  jq --arg at "$at" '.owed.failed.last = $at' "$file" >"$T/changed" && cat "$T/changed" >"$file"
}

# shows_b_after_a [TEXT MORE ANSWER]: B is deployed and shown, by one reload; a
# connection that has said TEXT before goes on with MORE, and gets ANSWER.
shows_b_after_a() {
  local a
  with_a
  a=$(served)
  [ "$#" -eq 0 ] || hold "$1"
  run --separate-stderr -0 renew -x "$NAME"
  # shellcheck disable=SC2154  # of run
  [[ ${stderr_lines[0]} == "arid: $NAME: installed: ${FILES[0]}"* && ${stderr_lines[1]} == "arid: $NAME: issued, "* ]]
  [ "${#stderr_lines[@]}" -eq 2 ]
  [ "$(live)" != "$a" ]
  [ "$#" -eq 0 ] || still_held "$2" "$3"
  await_live
  [ "$(told)" -eq "${RELOADS:-1}" ]
}

# nothing_due: then nothing is said, written or told.
nothing_due() {
  snapshot >"$T/before"
  run -0 renew
  [ -z "$output" ]
  # What runs the hook again has nothing to do either.
  run -0 renew --redeploy "$NAME"
  [[ $output != *installed* ]]
  snapshot | diff "$T/before" -
  [ "$(told)" -eq 0 ]
  await_live
}

# key_that_does_not_fit: a pair that is none does not get past the hook, here called as
# dehydrated calls it; one that is does.
key_that_does_not_fit() {
  local a key dir=$ARID_CERTDIR/$NAME
  a=$(served)
  snapshot >"$T/before"
  arid renew -k /bin/true -x "$NAME"
  key=$(realpath "$dir/privkey.pem")
  cp "$key" "$T/fits"
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 >"$key"
  run ! dehydrated_deploys
  [[ $output == *"$NAME"*key* ]]
  snapshot | diff "$T/before" -
  [ "$(told)" -eq 0 ]
  shows_still "$a"
  cat "$T/fits" >"$key"
  dehydrated_deploys
  await_live
}

dehydrated_deploys() {
  local dir=$ARID_CERTDIR/$NAME
  as_dehydrated deploy_cert "$NAME" "$dir/privkey.pem" "$dir/cert.pem" "$dir/fullchain.pem" "$dir/chain.pem" 1795000000 &&
    as_dehydrated exit_hook
}

# as_dehydrated EVENT ARGUMENT...: the hook, with what dehydrated gives it and no more.
as_dehydrated() {
  without_settings BASEDIR="$ARID_BASEDIR" CERTDIR="$ARID_CERTDIR" alias="$NAME" altnames="$NAME" \
    COMMAND=sign_domains CHALLENGETYPE=http-01 "$ARID_HOOK" "$@"
}

# without_settings [NAME=VALUE...] COMMAND...: from cron, with none of arid's settings.
without_settings() {
  local name pass=()
  for name in $(compgen -e); do
    case $name in ARID_* | PEBBLE_* | BATS_*) pass+=(-u "$name") ;; esac
  done
  from_cron env "${pass[@]}" ARID_CONFIG=/dev/null "$@"
}

# unknown_events: are no failure, and touch nothing; and a rehearsal deploys nothing.
unknown_events() {
  local event
  snapshot >"$T/before"
  for event in startup_hook exit_hook clean_challenge unchanged_cert event_of_tomorrow; do
    run -0 as_dehydrated "$event" "$NAME"
    [ -z "$output" ]
  done
  run -0 as_dehydrated
  [ -z "$output" ]
  arid rehearse "$NAME"
  snapshot | diff "$T/before" -
  [ "$(told)" -eq 0 ]
}

# refused_config: B is issued while the server would not start: A stays, in its files and
# as it is shown; B is owed, and deployed by the first run when that is mended. Where
# told_in_vain is set, the server was told so often meanwhile.
refused_config() {
  local a
  a=$(served)
  snapshot >"$T/before"
  break_config
  run -10 renew -x "$NAME"
  [[ $output == *"hint: what was there before is back in place"* ]]
  snapshot | diff "$T/before" -
  shows_still "$a"
  # Not at once again.
  run -10 renew
  [ -z "$output" ]
  mend_config
  [ "$(told)" -eq "${told_in_vain:-0}" ]
  : >"$T/told"
  failed_before "$NAME" 90
  run -0 renew
  [[ $output == *"$NAME: deployed, as owed from an earlier run" ]]
  await_live
  [ "$(told)" -eq "${RELOADS:-1}" ]
}
