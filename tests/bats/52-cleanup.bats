#!/usr/bin/env bats
# What nothing needs any more, put away: by arid cleanup, by arid in dehydrated's
# mode and by the real dehydrated, in the same tree. Whoever it is, and whenever it
# happens, what the stable names show stays. One CA and one tree of dehydrated's
# serve all tests; each has a copy of the tree in BASE.
# shellcheck disable=SC2154  # what bats sets

load helper

setup_file() {
  start_world
  export HOME=$T/home
  mkdir -p "$HOME" "$T/made"
  BASE=$T/made A=$T/made/certs/a.example.test
  make_tree
  export FILE_T=$T DIRECTORY CA_FILE MGMT WELLKNOWN
}
teardown_file() { stop_all; }

setup() {
  fresh_tree
}
teardown() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}

# A directory of this name is dehydrated's: arid takes LOCKFILE in it.
fresh_tree() {
  BASE=$T/dehydrated
  A=$BASE/certs/a.example.test
  ARCHIVE=$BASE/archive/a.example.test
  rm -rf "$BASE"
  cp -a "$FILE_T/made" "$BASE"
}

NAMES=(privkey.pem cert.pem fullchain.pem cert.csr chain.pem)

# make_tree: by the real dehydrated, in BASE: a certificate, revoked; its successor,
# with OCSP responses; what a failed attempt left. It sets no name in the folder that
# is not in dehydrated's own form.
make_tree() {
  cat >"$BASE/config" <<EOC
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEY_ALGO=rsa
KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
  echo a.example.test >"$BASE/domains.txt"
  theirs --register --accept-terms
  theirs --cron
  local old new
  old=$(readlink "$A/cert.pem")
  later
  theirs --cron --force
  new=$(readlink "$A/privkey.pem")
  theirs --revoke "$A/$old"
  later
  mkdir "$T/unserved"
  sed "s#^WELLKNOWN=.*#WELLKNOWN=$T/unserved#" "$BASE/config" >"$BASE/config.unserved"
  run -1 dehydrated --config "$BASE/config.unserved" --cron --force
  rm "$BASE/config.unserved"
  old=${old#cert-} new=${new#privkey-}
  echo old >"$A/ocsp-${old%.pem}.der"
  echo new >"$A/ocsp-${new%.pem}.der"
  ln -s "ocsp-${new%.pem}.der" "$A/ocsp.der"
  chmod 600 "$A"/ocsp-*
}

# ours COMMAND ARGUMENT..., theirs ARGUMENT...: with the one config. What dehydrated
# says is in T/theirs.
ours() { ARID_CA_BUNDLE=$CA_FILE arid "$@" --config "$BASE/config"; }
theirs() { dehydrated --config "$BASE/config" "$@" >"$T/theirs" 2>&1 || fail "dehydrated $*: $(cat "$T/theirs")"; }

# quiet COMMAND ARGUMENT...: arid ends with 0, and says nothing.
quiet() {
  run -0 ours "$@"
  [ -z "$output" ] || fail "arid $*: $output"
}

later() { past_names "$BASE/certs"; }

# files DIR: what is in it, but for the lock that arid leaves, and empty directories.
files() { (cd "$1" && find . ! -type d ! -name .arid.lock | sort); }

# snapshot DIR: every file with mode, owner, time, link and content, but for locks.
snapshot() {
  (cd "$1" && find . ! -name .arid.lock ! -path . -printf '%p %M %u %n %T@ %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# contents DIR...: the digests of all different files in there, so that one which is
# lost can be told. Of arid's own files there are none among them.
contents() { find "$@" -type f ! -name .arid.lock ! -name state.json -exec sha256sum {} + | cut -d' ' -f1 | sort -u; }

serial() { openssl x509 -in "$A/cert.pem" -noout -serial; }
versions() { find "$A/versions" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort; }

# live: what the stable names show is one verified set. It is asked for after each
# thing that a test does.
live() {
  local name
  for name in "${NAMES[@]}"; do
    [ -s "$A/$name" ] || fail "$name shows nothing"
  done
  cat "$A/cert.pem" "$A/chain.pem" | cmp - "$A/fullchain.pem"
  verify_chain "$A/fullchain.pem" a.example.test >"$T/verified" 2>&1 || fail "$(cat "$T/verified")"
  [ "$(openssl pkey -in "$A/privkey.pem" -pubout)" = "$(openssl x509 -in "$A/cert.pem" -noout -pubkey)" ]
  [ ! -h "$A/ocsp.der" ] || [ "$(cat "$A/ocsp.der")" = new ]
}

# start_reader, end_reader: somebody reads the stable names again and again, and finds
# the same in each.
start_reader() {
  rm -f "$T/read.enough" "$T/read.seen"
  (cd "$A" && sha256sum "${NAMES[@]}" | sort) >"$T/read.before"
  (
    cd "$A" && while [ -e "$T" ] && [ ! -e "$T/read.enough" ]; do
      sha256sum "${NAMES[@]}" "${NAMES[@]}" "${NAMES[@]}" "${NAMES[@]}"
    done >"$T/read.seen" 2>"$T/read.errors"
  ) 3>&- &
  READER=$!
  remember "$READER" # for stop_all, should the test fail
  while [ ! -s "$T/read.seen" ]; do
    kill -0 "$READER"
    sleep 0.05
  done
}
end_reader() {
  : >"$T/read.enough"
  wait "$READER" || :
  [ ! -s "$T/read.errors" ] || fail "$(sort "$T/read.errors" | uniq -c | head)"
  sort -u "$T/read.seen" | diff "$T/read.before" -
}

# The ways to clean up. by WAY does it, with what was said on stdout in T/said, while
# somebody reads; and asks for what is live.
archiving=("ours cleanup" "ours dehydrated --cleanup" "theirs --cleanup")
deleting=("ours cleanup --delete" "ours dehydrated --cleanup-delete" "theirs --cleanup-delete")
by() {
  start_reader
  # shellcheck disable=SC2086  # several words
  $1 >"$T/said" || fail "$1: status $?"
  case $1 in theirs*) cp "$T/theirs" "$T/said" ;; esac
  end_reader
  live
}

# three_versions: arid has taken the folder over, and renewed twice in it.
three_versions() {
  for _ in 1 2 3; do
    run -0 ours renew -x a.example.test
  done
  live
}

@test "a tree of dehydrated's: each way takes the same files, with the same words" {
  local way
  live
  contents "$BASE/certs" >"$T/all"
  by "theirs --cleanup"
  files "$BASE" >"$T/archived"
  grep '^Moving' "$T/said" >"$T/moving"
  # The old set, what was revoked, the failed attempt, the old OCSP response.
  [ "$(wc -l <"$T/moving")" -eq 9 ]
  for way in "${archiving[@]}"; do
    fresh_tree
    by "$way"
    files "$BASE" | diff "$T/archived" -
    contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
    case $way in
      "ours cleanup") [ ! -s "$T/said" ] ;;
      ours*) grep '^Moving' "$T/said" | diff "$T/moving" - ;;
    esac
    # There is nothing to do a second time.
    snapshot "$BASE" >"$T/before"
    by "$way"
    run -1 grep Moving "$T/said"
    snapshot "$BASE" | diff "$T/before" -
  done

  fresh_tree
  by "theirs --cleanup-delete"
  files "$BASE" >"$T/deleted"
  grep '^Deleting' "$T/said" >"$T/deleting"
  [ "$(wc -l <"$T/deleting")" -eq 9 ]
  for way in "${deleting[@]}"; do
    fresh_tree
    by "$way"
    files "$BASE" | diff "$T/deleted" -
    case $way in "ours dehydrated"*) grep '^Deleting' "$T/said" | diff "$T/deleting" - ;; esac
  done
}

@test "what is not named by a time is somebody's: arid leaves it, and says nothing of it" {
  local way name names=(privkey-haproxy.pem fullchain-and-key.pem cert-old.pem chain-.pem ocsp-x.der cert-1.5.csr)
  for name in "${names[@]}"; do
    echo "$name" >"$A/$name"
  done
  for way in "${archiving[@]:0:2}" "${deleting[@]:0:2}"; do
    by "$way"
    run -1 grep -F -f <(printf '%s\n' "${names[@]}") "$T/said"
    for name in "${names[@]}"; do
      [ "$(cat "$A/$name")" = "$name" ]
    done
  done
}

@test "a tree of arid's: -v names what goes, and one version is left" {
  three_versions
  contents "$BASE/certs" >"$T/all"
  local was shown ids
  was=$(serial) shown=$(basename "$(readlink "$A/live")")
  mapfile -t ids < <(versions)
  [ "${#ids[@]}" -eq 3 ]
  [ "${ids[2]}" = "$shown" ]
  run -0 --separate-stderr ours cleanup -v
  [ -z "$output" ]
  live
  [ "$(serial)" = "$was" ]
  [ "$(versions)" = "$shown" ]
  # Each file is told once, by a name that is found again in the archive.
  local line told=0
  for line in "${stderr_lines[@]}"; do
    [[ $line =~ ^"arid: a.example.test/"([a-z]+-[0-9]{10}\.(pem|csr|der|pem-revoked))": archived"$ ]] || fail "$line"
    [ -f "$ARCHIVE/${BASH_REMATCH[1]}" ]
    told=$((told + 1))
  done
  [ "$told" -eq "$(find "$ARCHIVE" -type f | wc -l)" ]
  # Of the names with a time only those of what is shown are left.
  run -1 grep -vE -- "-$shown\." <(cd "$A" && find . -maxdepth 1 -name '*-[0-9]*' ! -name 'ocsp-*')
  contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
  quiet cleanup -v
  quiet renew

  # --delete leaves the archive as it is.
  snapshot "$BASE/archive" >"$T/before"
  run -0 ours renew -x a.example.test
  quiet cleanup --delete
  live
  [ "$(versions | wc -l)" -eq 1 ]
  snapshot "$BASE/archive" | diff "$T/before" -
}

@test "arid, dehydrated and arid in its mode clean up after each other, in every order" {
  local first second third
  three_versions
  mv "$BASE" "$T/three"
  for first in "${archiving[@]}"; do
    for second in "${archiving[@]}"; do
      [ "$first" != "$second" ] || continue
      rm -rf "$BASE"
      cp -a "$T/three" "$BASE"
      contents "$BASE/certs" >"$T/all"
      for third in "$first" "$second" "$first"; do
        by "$third"
        quiet renew
        contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
      done
      # After them dehydrated renews, and arid takes over again.
      [ -z "$(find "$BASE" -xtype l)" ]
    done
  done
  later
  theirs --cron --force
  live
  contents "$BASE/certs" "$BASE/archive" >"$T/all"
  for first in "${archiving[@]}"; do
    by "$first"
    quiet renew
    contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
  done
  run -0 ours renew -x a.example.test
  for first in "${deleting[@]}"; do
    by "$first"
    quiet renew
  done
  [ "$(versions | wc -l)" -eq 1 ]
}

@test "names that are taken in the archive: nothing there is replaced" {
  three_versions
  mkdir -p "$ARCHIVE"
  local file n=0
  for file in $(cd "$A" && ls -d privkey-* cert-*.csr); do
    echo "another $file" >"$ARCHIVE/$file"
  done
  contents "$BASE/certs" "$BASE/archive" >"$T/all"
  by "ours cleanup"
  contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
  for file in "$ARCHIVE"/*.1; do
    [ "$(cat "${file%.1}")" = "another $(basename "${file%.1}")" ]
    n=$((n + 1))
  done
  # The keys and requests of two versions, of dehydrated's two, and of the failed attempt.
  [ "$n" -eq 10 ]

  # What was restored from the archive goes back to the same name.
  cp "$ARCHIVE"/chain-*.pem "$A"
  snapshot "$BASE/archive" >"$T/before"
  by "ours cleanup"
  snapshot "$BASE/archive" | diff "$T/before" -
}

# a_day_on: what arid remembers of a failure was a day ago, so that it tries again.
a_day_on() {
  local was
  was=$(cat "$A/state.json")
  sed -i -E "s/(\"last\": *)\"[^\"]+\"/\1\"$(date -u -d yesterday +%FT%TZ)\"/" "$A/state.json"
  [ "$(cat "$A/state.json")" != "$was" ]
}

# waiting_hook EVENT: a hook that says when it is called with that one, and waits.
# With T/hook.fails.EVENT it fails.
waiting_hook() {
  cat >"$T/hook" <<EOC
#!/bin/sh
case \$1 in sync_cert | deploy_cert) ;; *) exit 0 ;; esac
[ ! -e "$T/hook.fails.\$1" ] || exit 3
[ "\$1" = "$1" ] || exit 0
shift
[ "$1" = sync_cert ] || shift
: >"$T/hook.in"
while [ ! -e "$T/hook.go" ]; do
  cat "\$1" "\$2" "\$3" "\$4" >"$T/hook.read" 2>>"$T/hook.errors" || :
  sleep 0.05
done
cat "\$1" "\$2" "\$3" "\$4" >"$T/hook.read" 2>>"$T/hook.errors"
EOC
  chmod +x "$T/hook"
  rm -f "$T"/hook.*
}

# in_hook EVENT COMMAND...: runs it until that hook is called. hook_ends [STATUS] lets
# it come to its end, with that status.
in_hook() {
  waiting_hook "$1"
  shift
  "$@" >"$T/run.log" 2>&1 3>&- &
  RUN=$!
  remember "$RUN"
  local tries
  for ((tries = 0; tries < 2400; tries++)); do
    [ ! -e "$T/hook.in" ] || return 0
    kill -0 "$RUN" 2>/dev/null || break
    sleep 0.05
  done
  fail "the hook was not called: $(cat "$T/run.log")"
}
hook_ends() {
  local status=0
  : >"$T/hook.go"
  wait "$RUN" || status=$?
  [ "$status" -eq "${1:-0}" ] || fail "status $status: $(cat "$T/run.log")"
}

@test "a clean-up while a deploy hook reads what is live: it can, and arid's waits its turn" {
  three_versions
  in_hook deploy_cert ours renew -x a.example.test --hook "$T/hook"
  live
  contents "$BASE/certs" >"$T/all"
  local words
  # LOCKFILE is held.
  for words in "cleanup" "cleanup --delete" "cleanup --forget a.example.test"; do
    # shellcheck disable=SC2086
    run -75 ours $words -v
    [[ $output == *"$BASE/lock"* ]] || fail "$words: $output"
  done
  # And without it, the certificate's own lock.
  for words in "cleanup -n" "cleanup -n --delete" "cleanup -n --forget a.example.test"; do
    # shellcheck disable=SC2086
    run -75 ours $words -v
    [ "${#lines[@]}" -eq 2 ]
    [[ ${lines[0]} == "arid: a.example.test: left alone: \"$A/.arid.lock\": locked by process "* ]]
    [[ ${lines[1]} == "arid: hint: another run is at work there; run this again after it" ]]
  done
  run -1 ours dehydrated --cleanup
  [[ $output == *"ERROR: a.example.test: "*".arid.lock\": locked by process "* ]]
  contents "$BASE/certs" | diff "$T/all" -
  # dehydrated asks for no lock.
  by "theirs --cleanup"
  hook_ends
  [ ! -s "$T/hook.errors" ] || fail "$(cat "$T/hook.errors")"
  [ -s "$T/hook.read" ]
  live
  by "ours cleanup"
  quiet renew
  contents "$BASE/certs" "$BASE/archive" | diff "$T/all" -
}

# dehydrated makes no link of a new key before its sync hook has ended: until then the
# key looks like one that nothing needs.
@test "a clean-up while dehydrated is at work in the tree: arid waits its turn" {
  echo "HOOK=$T/hook" >>"$BASE/config"
  in_hook sync_cert dehydrated --config "$BASE/config" --cron --force
  contents "$BASE/certs" >"$T/all"
  local words
  for words in cleanup "cleanup --delete" "cleanup --forget a.example.test"; do
    # shellcheck disable=SC2086
    run -75 ours $words -v
    [[ ${lines[0]} == "arid: LOCKFILE: \"$BASE/lock\": another program has held this lock for "* ]] || fail "$output"
  done
  contents "$BASE/certs" | diff "$T/all" -
  hook_ends
  live
  by "ours cleanup"
}

# It takes from the hook what it is reading. The version has its own files.
@test "a clean-up by dehydrated while the sync hook runs: nothing is lost but that call" {
  three_versions
  local was
  was=$(serial)
  in_hook sync_cert ours renew -x a.example.test --hook "$T/hook"
  [ "$(serial)" = "$was" ]
  by "theirs --cleanup"
  grep -q "$(versions | tail -n 1)" "$T/said"
  hook_ends 10
  [ "$(serial)" = "$was" ]
  live
  a_day_on
  run -0 ours renew --hook "$T/hook"
  [[ $output == *"deployed, as owed from an earlier run" ]]
  live
  [ "$(serial)" != "$was" ]
  quiet renew
}

@test "a version that is owed stays, with the names that hooks know it by" {
  local step way owed was
  three_versions
  mv "$BASE" "$T/three"
  for step in sync_cert deploy_cert; do
    for way in "${archiving[@]}" "${deleting[@]}"; do
      rm -rf "$BASE"
      cp -a "$T/three" "$BASE"
      was=$(serial)
      waiting_hook none
      : >"$T/hook.fails.$step"
      run -10 ours renew -x a.example.test --hook "$T/hook"
      owed=$(versions | tail -n 1)
      by "$way"
      grep -qx "$owed" <(versions)
      case $step in
        sync_cert) [ "$(serial)" = "$was" ] ;;
        *) [ "$(serial)" != "$was" ] ;;
      esac
      # dehydrated has moved names with the time away: they are made again.
      rm "$T/hook.fails.$step"
      cat >"$T/hook" <<EOC
#!/bin/sh
case \$1 in
  sync_cert) cat "\$2" "\$3" "\$4" "\$5" "\$6" >"$T/synced" ;;
  deploy_cert) cat "\$3" "\$4" "\$5" "\$6" >"$T/deployed"; echo "\$7" >"$T/time" ;;
esac
EOC
      rm -f "$T/synced" "$T/deployed"
      a_day_on
      run ours renew --hook "$T/hook"
      [ "$status" -eq 0 ] || fail "$step, $way: $output"
      [[ $output == *"a.example.test: deployed, as owed from an earlier run" ]]
      case $step in sync_cert) [ -s "$T/synced" ] ;; *) [ ! -e "$T/synced" ] ;; esac
      cat "$A/privkey.pem" "$A/cert.pem" "$A/fullchain.pem" "$A/chain.pem" | cmp - "$T/deployed"
      [ "$(cat "$T/time")" = "$owed" ]
      cmp "$A/privkey.pem" "$A/privkey-$owed.pem"
      live
      [ "$(serial)" != "$was" ]
      by "$way"
      [ "$(versions)" = "$owed" ] || [[ $way == theirs* ]]
      quiet renew
    done
  done
}

@test "KEEP_VERSIONS is for renewals; a clean-up leaves what is shown" {
  echo KEEP_VERSIONS=2 >>"$BASE/config"
  for _ in 1 2 3 4; do
    run -0 ours renew -x a.example.test
  done
  [ "$(versions | wc -l)" -eq 2 ]
  # dehydrated's files are not counted, and do not go with a renewal.
  [ "$(find "$A" -maxdepth 1 -name 'privkey-*' | wc -l)" -eq 5 ]
  live
  by "ours cleanup"
  [ "$(versions | wc -l)" -eq 1 ]
}

@test "revoked: the key and the chain that are shown stay until there is a new certificate" {
  local way shown
  three_versions
  mv "$BASE" "$T/three"
  for way in "${archiving[@]:0:2}" "${deleting[@]:0:2}"; do
    # By dehydrated's mode: its file is renamed, and cert.pem leads nowhere.
    rm -rf "$BASE"
    cp -a "$T/three" "$BASE"
    shown=$(basename "$(readlink "$A/live")")
    (cd "$A" && sha256sum privkey.pem chain.pem fullchain.pem cert.csr) >"$T/sums"
    # The CA says that it was revoked before, from the second time on.
    ours dehydrated --revoke "$A/cert.pem"
    [ -e "$A/cert-$shown.pem-revoked" ]
    $way >"$T/said"
    [ ! -e "$A/cert-$shown.pem-revoked" ]
    (cd "$A" && sha256sum -c "$T/sums" >/dev/null)
    grep -qx "$shown" <(versions)
    run -0 ours renew
    [[ $output == "arid: a.example.test: issued"* ]]
    by "$way"
    [ "$(versions | wc -l)" -eq 1 ]
    [ -z "$(find "$A" -name '*-revoked')" ]

    # By arid's own revoke the files stay, and the certificate is due.
    run -0 ours revoke a.example.test
    by "$way"
    run -0 ours renew
    [[ $output == "arid: a.example.test: issued"* ]]
    by "$way"
    [ -z "$(find "$BASE/certs" -xtype l)" ]
  done
}

@test "folders that are none of ours: nothing is written there" {
  mkdir -p "$BASE/certs/notes" "$BASE/certs/.hidden" "$BASE/certs/lost+found" "$T/elsewhere"
  echo mine >"$BASE/certs/notes/cert.pem"
  echo mine >"$BASE/certs/notes/privkey-haproxy.pem"
  echo mine >"$BASE/certs/README"
  cp "$A"/privkey-* "$A"/cert-* "$BASE/certs/.hidden"
  cp "$A"/privkey-* "$T/elsewhere"
  ln -s "$T/elsewhere" "$BASE/certs/notes/live"
  by "ours cleanup"
  # From here on there is nothing to do.
  find "$BASE/certs" "$T/elsewhere" "$BASE/archive" -printf '%p %T@\n' >"$T/before"
  local way
  for way in "${archiving[@]:0:2}" "${deleting[@]:0:2}"; do
    by "$way"
    find "$BASE/certs" "$T/elsewhere" "$BASE/archive" -printf '%p %T@\n' | diff "$T/before" -
  done
  [ "$(files "$BASE/certs/.hidden" | wc -l)" -gt 5 ]
  [ "$(files "$T/elsewhere" | wc -l)" -eq 3 ]
  [ "$(ls "$BASE/archive")" = a.example.test ]

  # A first attempt that failed leaves a folder without a certificate: its files go.
  mkdir "$BASE/certs/first.example.test"
  cp "$A"/privkey-* "$BASE/certs/first.example.test/privkey-1700000000.pem"
  : >"$BASE/certs/first.example.test/cert-1700000000.pem"
  by "ours cleanup"
  [ "$(ls "$BASE/archive/first.example.test")" = "$(printf '%s\n' cert-1700000000.pem privkey-1700000000.pem)" ]
}

# unprivileged COMMAND...: as a user who owns the tree, and is not root.
unprivileged() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$@")
  else
    "$@"
  fi
}

@test "an archive that cannot be written to: the message says so, and nothing is half done" {
  three_versions
  local words what
  for what in archive archive/a.example.test; do
    mkdir -p "$BASE/archive"
    [ "$what" = archive ] || mkdir "$ARCHIVE"
    chmod 555 "$BASE/$what"
    [ "$(id -u)" -ne 0 ] || chown -R 65534 "$BASE"
    chmod a+x "$T"
    snapshot "$BASE/certs" >"$T/before"
    for words in cleanup "cleanup -v" "dehydrated --cleanup"; do
      # shellcheck disable=SC2086
      run --separate-stderr unprivileged arid $words --config "$BASE/config"
      case $words in
        cleanup*)
          [ "$status" -eq 77 ]
          [ "$stderr" = "arid: a.example.test: the archive \"$ARCHIVE\": permission denied" ]
          [ -z "$output" ]
          ;;
        *)
          [ "$status" -eq 1 ]
          [[ $stderr == *"ERROR: a.example.test: the archive \"$ARCHIVE\": permission denied" ]]
          [[ $output != *Moving* ]]
          ;;
      esac
      snapshot "$BASE/certs" | diff "$T/before" -
      live
    done
    chmod 755 "$BASE/$what"
  done
  # --forget needs no folder of that name there, but the one above it.
  rm -r "$ARCHIVE"
  chmod 555 "$BASE/archive"
  run -77 --separate-stderr unprivileged arid cleanup --forget a.example.test --config "$BASE/config"
  [ "$stderr" = "arid: a.example.test: moving \"$A\" to the archive \"$BASE/archive\": permission denied" ]
  live
  chmod 755 "$BASE/archive"
  run -0 unprivileged arid cleanup --config "$BASE/config"
  live
  [ "$(versions | wc -l)" -eq 1 ]
}

@test "forgotten: the folder is in the archive whole, and both programs begin anew" {
  three_versions
  files "$A" >"$T/before"
  contents "$A" >"$T/all"
  run -65 ours cleanup --forget b.example.test
  [[ $output == *"--forget \"b.example.test\": there is no such folder in \"$BASE/certs\"" ]]
  run -65 ours cleanup --forget ../certs
  run -64 ours cleanup --forget ""
  # It stands in domains.txt: that is said.
  run -0 ours cleanup --forget a.example.test
  [[ $output == "arid: "*"domains.txt:1: this line makes it anew with the next renew" ]]
  [ ! -e "$A" ]
  files "$ARCHIVE" | diff "$T/before" -
  contents "$ARCHIVE" | diff "$T/all" -
  # What it shows there is a certificate with its key still.
  [ "$(openssl pkey -in "$ARCHIVE/privkey.pem" -pubout)" = "$(openssl x509 -in "$ARCHIVE/cert.pem" -noout -pubkey)" ]

  theirs --cron
  live
  quiet renew
  # A second one of that name, with the time behind it; dehydrated archives beside it.
  : >"$BASE/domains.txt"
  quiet cleanup --forget a.example.test
  [ ! -e "$A" ]
  [ "$(find "$BASE/archive" -mindepth 1 -maxdepth 1 -name 'a.example.test-??????????' | wc -l)" -eq 1 ]
  echo a.example.test >"$BASE/domains.txt"
  run -0 ours renew
  [[ $output == "arid: a.example.test: issued"* ]]
  live
  by "theirs --cleanup"
  files "$ARCHIVE" >"$T/archive"
  run -0 ours cleanup --forget a.example.test --delete
  [ ! -e "$A" ]
  files "$ARCHIVE" | diff "$T/archive" -
  [ -z "$(find "$BASE/certs" -mindepth 1)" ]
}

@test "AUTO_CLEANUP: the same as by dehydrated, with the same words" {
  echo AUTO_CLEANUP=yes >>"$BASE/config"
  cp -a "$BASE" "$T/auto"
  by "theirs --cron"
  files "$BASE" >"$T/archived"
  grep -A20 'Running automatic cleanup' "$T/said" | grep -E '^\+|Moving' | sed 's/^ + //' >"$T/moving"
  [ "$(grep -c Moving "$T/moving")" -eq 9 ]
  rm -r "$BASE"
  cp -a "$T/auto" "$BASE"
  by "ours dehydrated --cron"
  files "$BASE" | diff <(grep -v '^\./chains' "$T/archived") -
  grep -A20 'Running automatic cleanup' "$T/said" | sed 's/^ + //' | diff "$T/moving" -

  # After an order too.
  rm -r "$BASE"
  cp -a "$T/auto" "$BASE"
  later
  run -0 ours dehydrated --cron --force
  [[ $output == *"+ Running automatic cleanup"* ]]
  live
  [ "$(versions | wc -l)" -eq 1 ]
  [ "$(find "$A" -maxdepth 1 -name 'privkey-*' | wc -l)" -eq 1 ]
  [ "$(find "$ARCHIVE" -name 'privkey-*' | wc -l)" -eq 3 ]
}
