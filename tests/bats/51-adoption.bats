#!/usr/bin/env bats
# What arid finds where dehydrated was before: a tree of several certificates that
# the real one made, restored copies of one, accounts of older days. And what
# dehydrated finds after arid. One CA and one tree of dehydrated's serve all tests;
# each has a copy of the tree in BASE.

load helper

setup_file() {
  start_world
  export HOME=$T/home
  BASE=$T/made
  mkdir -p "$HOME"
  make_tree
  export FILE_T=$T DIRECTORY CA_FILE MGMT DNS_MGMT WELLKNOWN
}
teardown_file() { stop_all; }

setup() {
  BASE=$T/base
  A=$BASE/certs/a.example.test
  cp -a "$FILE_T/made" "$BASE"
}
teardown() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}

NAMES=(privkey.pem cert.pem fullchain.pem cert.csr chain.pem)

# make_tree: by dehydrated alone, in BASE: two names; a wildcard by its alias, with
# a hook of its own; an RSA key. (Addresses, "ip:", are not for Debian's 0.7.0.)
make_tree() {
  mkdir -p "$BASE/certs/wild" "$BASE/certs/rsa.example.test"
  cat >"$BASE/config" <<EOC
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
ACCOUNT_KEY_ALGO=rsa
KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
  cat >"$BASE/domains.txt" <<'EOC'
# three certificates
a.example.test b.example.test
*.w.example.test w.example.test > wild
rsa.example.test
EOC
  cat >"$T/dns-hook" <<EOC
#!/bin/sh
case \$1 in
  deploy_challenge) exec curl -sS --fail -d "{\"host\": \"_acme-challenge.\$2.\", \"value\": \"\$4\"}" "$DNS_MGMT/set-txt" ;;
  clean_challenge) exec curl -sS --fail -d "{\"host\": \"_acme-challenge.\$2.\"}" "$DNS_MGMT/clear-txt" ;;
esac
EOC
  chmod +x "$T/dns-hook"
  printf 'CHALLENGETYPE=dns-01\nHOOK=%s\n' "$T/dns-hook" >"$BASE/certs/wild/config"
  printf 'KEY_ALGO=rsa\n' >"$BASE/certs/rsa.example.test/config"
  theirs --register --accept-terms
  theirs --cron
}

# ours COMMAND ARGUMENT..., theirs ARGUMENT...: with the one config. theirs_a is
# theirs with the first line alone. What dehydrated says is in T/theirs.
ours() { ARID_CA_BUNDLE=$CA_FILE ARID_DNS_WAIT=0 arid "$@" --config "$BASE/config"; }
theirs() { dehydrated --config "$BASE/config" "$@" >"$T/theirs" 2>&1 || fail "dehydrated $*: $(cat "$T/theirs")"; }
theirs_a() { theirs --cron --domain a.example.test --domain b.example.test "$@"; }

# quiet COMMAND ARGUMENT...: arid has nothing to say, and ends with 0.
quiet() {
  run -0 ours "$@"
  [ -z "$output" ] || fail "arid $*: $output"
}

later() { past_names "$BASE/certs"; }

# snapshot DIR [FIND ARGUMENT...]: every file with mode, owner, time, link and content.
snapshot() {
  (
    cd "$1" && shift &&
      find . "$@" -printf '%p %M %u %g %n %T@ %l\n' | sort &&
      find . "$@" -type f -print0 | sort -z | xargs -0 sha256sum
  )
}

# others ALIAS: the tree without that certificate, and without what arid itself keeps
# in an account's folder.
others() {
  snapshot "$BASE" ! -path . ! -path "./certs/$1*" ! -path './accounts/*/.arid.lock' ! -path './accounts/*/state.json' |
    grep -vE '^\./accounts/[^/ ]+ d'
}

asked() { requests "$FILE_T"; }
sums() { (cd "$1" && sha256sum "${NAMES[@]}"); }
serial() { openssl x509 -in "${1:-$A}/cert.pem" -noout -serial; }
key() { openssl pkey -in "$A/${1:-privkey.pem}" -pubout; } # told by its public half

# check_set DIR NAME...: what the stable names show is one verified set for the names.
check_set() {
  local dir=$1 name
  shift
  for name in "${NAMES[@]}"; do
    [ -s "$dir/$name" ] || fail "$dir/$name shows nothing"
  done
  cat "$dir/cert.pem" "$dir/chain.pem" | cmp - "$dir/fullchain.pem"
  for name in "$@"; do
    verify_chain "$dir/fullchain.pem" "$name" >"$T/verified" 2>&1 || fail "$(cat "$T/verified")"
  done
  [ "$(openssl pkey -in "$dir/privkey.pem" -pubout)" = "$(openssl x509 -in "$dir/cert.pem" -noout -pubkey)" ]
  [ "$(openssl req -in "$dir/cert.csr" -noout -pubkey)" = "$(openssl x509 -in "$dir/cert.pem" -noout -pubkey)" ]
  [ -z "$(find "$dir" -type f ! -name config -perm /077)" ]
}

# check_all: all three, and no link of the tree leads nowhere.
check_all() {
  check_set "$A" a.example.test b.example.test
  check_set "$BASE/certs/wild" w.example.test x.w.example.test
  check_set "$BASE/certs/rsa.example.test" rsa.example.test
  [ -z "$(find "$BASE" -xtype l)" ]
}

# is_ours DIR, is_theirs DIR: how each program leaves the stable names.
is_ours() {
  local name
  for name in "${NAMES[@]}"; do
    [ "$(readlink "$1/$name")" = "live/$name" ] || fail "$1/$name leads to $(readlink "$1/$name")"
  done
  [[ $(readlink "$1/live") =~ ^versions/[0-9]+$ ]]
}
is_theirs() {
  local name
  for name in "${NAMES[@]}"; do
    [[ $(readlink "$1/$name") =~ ^${name%.*}-[0-9]{10}\.${name##*.}$ ]] || fail "$1/$name leads to $(readlink "$1/$name")"
  done
}

# start_reader DIR: somebody reads the stable names again and again, in both orders.
start_reader() {
  local order=("${NAMES[@]}" chain.pem cert.csr fullchain.pem cert.pem privkey.pem) list=() i
  for ((i = 0; i < 20; i++)); do
    list+=("${order[@]}")
  done
  rm -f "$T/read.enough" "$T/read.seen"
  sums "$1" >"$T/read.before"
  (
    cd "$1" && while [ -e "$T" ] && [ ! -e "$T/read.enough" ]; do
      sha256sum "${list[@]}" || :
    done >"$T/read.seen" 2>"$T/read.errors"
  ) 3>&- &
  READER=$!
  remember "$READER" # for stop_all, should the test fail
  while [ ! -s "$T/read.seen" ]; do
    kill -0 "$READER"
    sleep 0.05
  done
}

# end_reader DIR: no name was ever missing; each showed what it shows now or what it
# showed before; and once one had changed, no other showed what it showed before:
# there was one switch.
end_reader() {
  local lines
  lines=$(wc -l <"$T/read.seen")
  while [ "$(wc -l <"$T/read.seen")" -le $((lines + 400)) ]; do # all of them twice
    kill -0 "$READER"
    sleep 0.05
  done
  : >"$T/read.enough"
  wait "$READER"
  sums "$1" >"$T/read.after"
  [ ! -s "$T/read.errors" ] || fail "$(sort "$T/read.errors" | uniq -c | head)"
  awk '
    FILENAME ~ /before$/ { was[$2] = $1; next }
    FILENAME ~ /after$/ { is[$2] = $1; next }
    was[$2] == is[$2] && $1 == is[$2] { next }
    $1 == is[$2] { new++; next }
    $1 == was[$2] && !new { old++; next }
    { print (new ? "after the switch: " : "") $2 " shows " $1; bad = 1; exit }
    END { if (!bad && !(old && new)) print "read " old + 0 " old and " new + 0 " new files" }
  ' "$T/read.before" "$T/read.after" "$T/read.seen" >"$T/read.verdict"
  [ ! -s "$T/read.verdict" ] || fail "$(cat "$T/read.verdict")"
}

@test "a tree of dehydrated's: renew asks nobody, writes nothing and says nothing" {
  check_all
  local before
  before=$(asked)
  snapshot "$BASE" >"$T/before"
  quiet renew
  run -0 --separate-stderr ours renew --dry-run
  [ -z "$stderr" ]
  [ "${#lines[@]}" -eq 4 ]
  [[ ${lines[0]} =~ ^CERTIFICATE\ +STATE\ +WHY$ ]]
  [[ ${lines[1]} =~ ^a\.example\.test\ +ok\ +not\ due\ before\ [0-9-]+T[0-9:]+Z$ ]]
  [[ ${lines[2]} =~ ^wild\ +ok\ +not\ due\ before\  ]]
  [[ ${lines[3]} =~ ^rsa\.example\.test\ +ok\ +not\ due\ before\  ]]
  quiet renew wild b.example.test
  snapshot "$BASE" | diff "$T/before" -

  # Where nothing is due, nobody looks for an account.
  rm -r "$BASE/accounts"
  snapshot "$BASE" >"$T/before"
  quiet renew
  run -0 ours renew --dry-run
  snapshot "$BASE" | diff "$T/before" -
  [ "$(asked)" -eq "$before" ]
}

@test "by dehydrated's own command line arid has nothing to do in its tree either" {
  snapshot "$BASE/certs" >"$T/before"
  run -0 --separate-stderr ours dehydrated --cron
  [ -z "$stderr" ]
  [ "$(grep -c 'Skipping renew' <<<"$output")" -eq 3 ]
  snapshot "$BASE/certs" | diff "$T/before" -
}

@test "renew NAME -x takes one certificate over by one switch, and touches nothing else" {
  local kinds alias names dir was i=0
  for kinds in "a.example.test b.example.test" "wild w.example.test x.w.example.test" "rsa.example.test"; do
    read -r alias names <<<"$kinds"
    case $alias in wild) ;; *) names="$alias $names" ;; esac
    dir=$BASE/certs/$alias
    was=$(serial "$dir")
    sums "$dir" >"$T/sums"
    others "$alias" >"$T/before"
    start_reader "$dir"
    run -0 ours renew "$alias" -x
    [[ $output =~ ^"arid: "[^\ ]+": issued, valid until "[0-9-]+T[0-9:]+"Z: $dir"$ ]] || fail "$output"
    end_reader "$dir"
    is_ours "$dir"
    # shellcheck disable=SC2086  # several names
    check_set "$dir" $names
    [ "$(serial "$dir")" != "$was" ]
    others "$alias" | diff "$T/before" -
    # What was shown before is kept as a version of its own, and dehydrated's files stand.
    [ "$(find "$dir/versions" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
    (cd "$(find "$dir/versions" -mindepth 1 -maxdepth 1 | sort | head -n 1)" && sha256sum -c "$T/sums" >/dev/null)
    [ "$(find "$dir" -maxdepth 1 -name 'privkey-*' | wc -l)" -eq 2 ]
    i=$((i + 1))
  done
  [ "$i" -eq 3 ]
  check_all
  openssl pkey -in "$BASE/certs/rsa.example.test/privkey.pem" -noout -text | grep -q '2048 bit'
  quiet renew
  # dehydrated has nothing to do after that.
  theirs --cron
  [ "$(grep -c 'Skipping renew' "$T/theirs")" -eq 3 ]
}

@test "to and fro: unchanged, forced, cleaned up and revoked by dehydrated, twice" {
  local round was
  for round in 1 2; do
    # arid comes.
    was=$(serial)
    start_reader "$A"
    run -0 ours renew a.example.test -x
    end_reader "$A"
    is_ours "$A"
    check_all
    [ "$(serial)" != "$was" ]

    # dehydrated finds nothing to do, cleans up, and renews.
    was=$(serial)
    theirs --cron
    [ "$(grep -c 'Skipping renew' "$T/theirs")" -eq 3 ]
    [ "$(serial)" = "$was" ]
    theirs --cleanup
    grep -q "unused file to archive directory: a.example.test/privkey-" "$T/theirs"
    [ "$(serial)" = "$was" ]
    check_all
    later
    theirs_a --force
    is_theirs "$A"
    check_all
    [ "$(serial)" != "$was" ]

    # arid has nothing to do, and then takes it over again.
    was=$(serial)
    snapshot "$BASE/certs" >"$T/before"
    quiet renew
    snapshot "$BASE/certs" | diff "$T/before" -
    theirs --cleanup
    check_all
    [ "$(serial)" = "$was" ]
    start_reader "$A"
    run -0 ours renew a.example.test -x
    end_reader "$A"
    is_ours "$A"
    check_all

    # dehydrated revokes what arid made, and cleans up after that.
    was=$(serial)
    theirs --revoke "$A/cert.pem"
    [ ! -e "$A/cert.pem" ]
    run -0 pebble_curl "$MGMT/cert-status-by-serial/${was#serial=}"
    [[ $output == *Revoked* ]]
    run -0 ours renew --dry-run
    [[ ${lines[1]} =~ ^a\.example\.test\ +due ]]
    [ "$round" -eq 1 ] || theirs --cleanup
    run -0 ours renew
    [[ $output == "arid: a.example.test: issued, valid until "* ]]
    [ "${#lines[@]}" -eq 1 ]
    is_ours "$A"
    check_all
    [ "$(serial)" != "$was" ]
    theirs --cleanup
    check_all

    # dehydrated revokes one of its own in that folder, and gets the next itself.
    later
    theirs_a --force
    was=$(serial)
    theirs --revoke "$A/cert.pem"
    later
    theirs_a
    is_theirs "$A"
    check_all
    [ "$(serial)" != "$was" ]
    quiet renew
  done
}

# restored KIND: A as it comes back from a backup of that kind.
restored() {
  local copy=$T/copy
  rm -rf "$copy"
  case $1 in
    dehydrated) ;; # the copy is of its folder
    *)
      ours renew a.example.test -x
      is_ours "$A"
      ;;
  esac
  cp -rL --preserve=mode,timestamps "$A" "$copy"
  case $1 in
    stable) find "$copy" -mindepth 1 -maxdepth 1 \( -name '*-*' -o ! -name '*.pem' ! -name '*.csr' \) -exec rm -r {} + ;;
    live) rm -r "$copy/versions" ;;
  esac
  rm -r "$A"
  mv "$copy" "$A"
}

@test "restored copies, without the links: nothing is due, and renew -x makes links again" {
  local kind was
  for kind in dehydrated arid live stable; do
    rm -rf "$BASE"
    cp -a "$FILE_T/made" "$BASE"
    restored "$kind"
    [ -z "$(find "$A" -type l)" ]
    case $kind in arid | live) [ -d "$A/live" ] ;; esac
    snapshot "$BASE" >"$T/before"
    quiet renew
    snapshot "$BASE" | diff "$T/before" -
    was=$(serial)

    # A clean-up of either program takes nothing that is shown.
    quiet cleanup
    theirs --cleanup
    quiet renew
    [ "$(serial)" = "$was" ]

    start_reader "$A"
    run -0 ours renew a.example.test -x
    end_reader "$A"
    is_ours "$A"
    check_all
    [ "$(serial)" != "$was" ]
    [ -z "$(find "$A" -name '.arid-*')" ]
    quiet renew
    theirs --cleanup
    check_all
  done
}

# upside_down KIND: A, from arid, with the real files on top and links below.
#   flat    the names with a time are the files, versions/ has links to them
#   stable  the stable names are the files, the names with a time are links to them
upside_down() {
  local version name flat
  version=$(basename "$(readlink "$A/live")")
  for name in "${NAMES[@]}"; do
    flat=${name%.*}-$version.${name##*.}
    case $1 in
      flat) ln -sf "../../$flat" "$A/versions/$version/$name" ;;
      stable)
        rm "$A/$name"
        mv "$A/$flat" "$A/$name"
        ln -s "$name" "$A/$flat"
        ;;
    esac
  done
  [ "$1" = flat ] || rm -r "$A/live" "$A/versions"
}

# What dehydrated's clean-up calls unused is what no stable name leads to directly.
# So the files with a time in their names have to be further names of a version's,
# and no version may need them.
@test "were versions links to the files with a time in their names, a clean-up would end them" {
  run -0 ours renew a.example.test -x
  check_all
  cp -a "$BASE" "$T/right"
  upside_down flat
  check_all

  theirs --cleanup
  local name
  for name in "${NAMES[@]}"; do
    [ -h "$A/$name" ]
    [ ! -e "$A/$name" ] || fail "$name is still there: $(cat "$T/theirs")"
  done

  # The same with versions that are files: nothing that is shown goes.
  rm -r "$BASE"
  mv "$T/right" "$BASE"
  theirs --cleanup
  [ "$(grep -c '^Moving.*: a.example.test/' "$T/theirs")" -eq 10 ]
  [ -z "$(find "$A" -name '*-[0-9]*')" ]
  check_all
  quiet renew
}

# Files under the stable names survive dehydrated's clean-up. Its next renewal
# replaces them one by one, and then the former key is nowhere.
@test "were the stable names the files, a renewal by dehydrated would end what was shown before" {
  run -0 ours renew a.example.test -x
  cp -a "$BASE" "$T/right"
  local was
  was=$(sha256sum <"$A/privkey.pem")
  kept() { find "$BASE" -type f -name 'privkey*' -exec sha256sum {} + | grep -c "^${was%% *} "; }

  upside_down stable
  check_all
  theirs --cleanup
  check_set "$A" a.example.test b.example.test
  # What it archived are links that lead nowhere.
  [ "$(find "$BASE/archive/a.example.test" -xtype l | wc -l)" -eq 5 ]
  later
  theirs_a --force
  run -1 kept

  rm -r "$BASE"
  mv "$T/right" "$BASE"
  theirs --cleanup
  later
  theirs_a --force
  check_all
  run -0 kept
  # In the version, and in the archive.
  [ "$output" -eq 2 ]
}

@test "PRIVATE_KEY_RENEW=no: the key stays the same in both programs' hands" {
  echo PRIVATE_KEY_RENEW=no >>"$BASE/config"
  local was round serial
  was=$(key)
  for round in 1 2; do
    serial=$(serial)
    start_reader "$A"
    ours renew a.example.test -x
    end_reader "$A"
    is_ours "$A"
    [ "$(key)" = "$was" ]
    [ "$(serial)" != "$serial" ]
    check_all
    later
    # dehydrated makes no link of the key then, and has no privkey-TIME.pem.
    serial=$(serial)
    theirs_a --force
    [ "$(serial)" != "$serial" ]
    [ "$(readlink "$A/privkey.pem")" = live/privkey.pem ]
    [[ $(readlink "$A/cert.pem") == cert-*.pem ]]
    [ "$(key)" = "$was" ]
    check_all
    # In that mixture too, neither clean-up takes what is shown.
    quiet renew
    theirs --cleanup
    check_all
    quiet cleanup
    check_all
  done
  run -0 ours renew a.example.test -x --algo secp384r1
  [ "$(key)" != "$was" ]
  check_all
}

@test "PRIVATE_KEY_ROLLOVER=yes: each uses the key that the other had lie ready" {
  echo PRIVATE_KEY_ROLLOVER=yes >>"$BASE/config"
  theirs_a --force
  local next round
  for round in 1 2; do
    next=$(key privkey.roll.pem)
    ours renew a.example.test -x
    [ "$(key)" = "$next" ]
    check_all

    next=$(key privkey.roll.pem)
    [ "$(key)" != "$next" ]
    [ "$(stat -c %a "$A/privkey.roll.pem")" = 600 ]
    # No clean-up takes it.
    theirs --cleanup
    quiet cleanup
    later
    theirs_a --force
    grep -q "Moving Rolloverkey into position" "$T/theirs"
    [ "$(key)" = "$next" ]
    check_all
  done
  # Switched off, it goes.
  sed -i '$d' "$BASE/config"
  next=$(key privkey.roll.pem)
  ours renew a.example.test -x
  [ ! -e "$A/privkey.roll.pem" ]
  [ "$(key)" != "$next" ]
  check_all
}

# Whoever has the digest of the key in the DNS has to know the next one before it is
# used (RFC 7671 §8.1).
@test "PRIVATE_KEY_ROLLOVER=yes for the first time: the next key is there before it is used" {
  cat >"$T/hook" <<EOC
#!/bin/sh
[ "\$1" = deploy_cert ] || exit 0
openssl pkey -in "\${3%/*}/privkey.roll.pem" -pubout >"$T/announced"
openssl pkey -in "\$3" -pubout >"$T/used"
EOC
  chmod +x "$T/hook"
  printf 'PRIVATE_KEY_ROLLOVER=yes\nHOOK=%s\n' "$T/hook" >>"$BASE/config"
  local way was
  for way in "renew -x a.example.test" "dehydrated --cron --force --domain a.example.test --domain b.example.test"; do
    rm -rf "$A"
    cp -a "$FILE_T/made/certs/a.example.test" "$A"
    was=$(key)
    # The key that is known stays for this once, and the next is announced.
    # shellcheck disable=SC2086  # several words
    run -0 ours $way
    [ "$(key)" = "$was" ]
    [ "$(key)" = "$(cat "$T/used")" ]
    cp "$T/announced" "$T/next"
    run -1 cmp "$T/used" "$T/next"
    check_all
    # shellcheck disable=SC2086
    run -0 ours $way
    cmp "$T/used" "$T/next"
    run -1 cmp "$T/announced" "$T/next"
    check_all
  done
}

account() { cat "$BASE"/accounts/*/account_id.json; }
registered() { grep -c 'There are now .* accounts in memory' "$FILE_T/pebble.log"; }

@test "an account of dehydrated's first days, private_key.pem in BASEDIR, is found" {
  local url before dir
  url=$(account)
  dir=$(echo "$BASE"/accounts/*)
  before=$(registered)
  mv "$dir/account_key.pem" "$BASE/private_key.pem"
  mv "$dir/registration_info.json" "$BASE/private_key.json"
  rm -r "$BASE/accounts"
  cp -a "$BASE" "$T/old"

  quiet renew
  [ ! -e "$BASE/accounts" ]
  run -0 ours renew a.example.test -x
  [[ $output == "arid: a.example.test: issued"* ]]
  check_all
  [ "$(account)" = "$url" ]
  [ -e "$BASE/private_key.pem" ]
  # dehydrated goes on, and moves it to where it is today; arid finds it there.
  later
  theirs_a --force
  [ -e "$dir/account_key.pem" ]
  [ ! -e "$BASE/private_key.pem" ]
  run -0 ours renew a.example.test -x
  [ "$(account)" = "$url" ]

  # By dehydrated's command line arid moves it too.
  rm -r "$BASE"
  cp -a "$T/old" "$BASE"
  run -0 ours dehydrated --cron --force --domain a.example.test --domain b.example.test
  [ -e "$dir/account_key.pem" ]
  [ ! -e "$BASE/private_key.pem" ]
  [ "$(account)" = "$url" ]
  [ "$(registered)" -eq "$before" ]
}

@test "an account in the folder of the CA's old URL (OLDCA) is found, and stays one" {
  local url before dir old=https://old.example.test/directory folder
  url=$(account)
  before=$(registered)
  dir=$(echo "$BASE"/accounts/*)
  folder=$BASE/accounts/$(printf '%s\n' "$old" | basenc --base64url --wrap 0 | tr -d =)
  mv "$dir" "$folder"
  echo "OLDCA=$old" >>"$BASE/config"
  cp -a "$BASE" "$T/old"

  # Nothing is due: nobody looks.
  quiet renew
  run -0 ours dehydrated --cron --force --domain a.example.test --domain b.example.test
  [[ $output == *"Reusing account from $old"* ]]
  check_all
  [ "$(readlink "$dir")" = "${folder##*/}" ]
  later
  theirs_a --force
  run -0 ours renew a.example.test -x
  check_all

  # Where dehydrated was first, arid goes on with its link.
  rm -r "$BASE"
  cp -a "$T/old" "$BASE"
  theirs_a --force
  [ "$(readlink "$dir")" = "${folder##*/}" ]
  run -0 ours renew a.example.test -x
  check_all
  [ "$(cat "$dir/account_id.json")" = "$(cat "$folder/account_id.json")" ]
  [[ $(cat "$folder/account_id.json") == "$url" ]]
  [ "$(registered)" -eq "$before" ]
}
