#!/usr/bin/env bats
# dehydrated's command line, beside the real one: same status, same streams, same
# words, same calls of the hook, for the commands that need no order.

load helper

setup() {
  export HOME=$T/home
  mkdir -p "$HOME" "$T/bin" "$T/theirs" "$T/ours"
  ln -s "$BUILD/arid" "$T/bin/dehydrated"
}
teardown() { stop_all; }

# two_worlds: a CA, and for each program a BASEDIR with a config and a hook that
# writes its calls to BASEDIR/calls.
two_worlds() {
  local who
  start_world
  for who in theirs ours; do
    cat >"$T/$who/hook" <<EOH
#!/bin/sh
{ printf '%s|' "\$@"; echo; } >>"$T/$who/calls"
EOH
    chmod +x "$T/$who/hook"
    cat >"$T/$who/config" <<EOC
CA="$DIRECTORY"
WELLKNOWN="$WELLKNOWN"
CURL_OPTS="--cacert $CA_FILE"
CONTACT_EMAIL=hostmaster@example.test
HOOK="$T/$who/hook"
KEYSIZE=2048
ACCOUNT_KEY_ALGO=rsa
ACCOUNT_KEYSIZE=2048
KEY_ALGO=prime256v1
EOC
  done
}

# ours WORD..., theirs WORD...: with the config of each.
ours() { "$T/bin/dehydrated" --config "$T/ours/config" "$@"; }
theirs() { dehydrated --config "$T/theirs/config" "$@"; }

# both STATUS WORD...: runs it with each program; status, stdout and the hook's
# calls have to be the same, and stderr to be empty for both or for none.
both() {
  local status=$1 who
  shift
  for who in theirs ours; do
    rm -f "$T/$who/calls"
    : >"$T/$who/calls"
    got=0
    "$who" "$@" >"$T/$who.out" 2>"$T/$who.err" || got=$?
    [ "$got" -eq "$status" ] || fail "$who $*: status $got, want $status: $(cat "$T/$who.out" "$T/$who.err")"
  done
  diff <(plain theirs <"$T/theirs.out") <(plain ours <"$T/ours.out") || fail "$*: stdout differs"
  diff <(plain theirs <"$T/theirs/calls") <(plain ours <"$T/ours/calls") || fail "$*: calls of the hook differ"
  if [ -s "$T/theirs.err" ]; then
    [ -s "$T/ours.err" ] || fail "$*: nothing on stderr, and theirs: $(cat "$T/theirs.err")"
  else
    [ ! -s "$T/ours.err" ] || fail "$*: stderr: $(cat "$T/ours.err")"
  fi
}

# plain WHO: takes out what no two runs have in common.
plain() {
  sed -E -e "s#$T/$1#BASE#g; s#/my-account/[0-9a-f]+#/my-account/ID#g; s#-[0-9]{10}\\.#-TIME.#g"
}

@test "a command line that cannot be run: the same status, on the same stream" {
  : >"$T/theirs/config"
  : >"$T/ours/config"
  local words line rc err out
  while IFS= read -r line; do
    eval "words=($line)" # quoted empty words
    rc=0
    dehydrated "${words[@]}" >"$T/theirs.out" 2>"$T/theirs.err" || rc=$?
    err=0
    "$T/bin/dehydrated" "${words[@]}" >"$T/ours.out" 2>"$T/ours.err" || err=$?
    [ "$rc" -eq "$err" ] || fail "$line: status $err, and theirs $rc"
    for out in out err; do
      [ -s "$T/theirs.$out" ] && rc=1 || rc=0
      [ -s "$T/ours.$out" ] && err=1 || err=0
      [ "$rc" -eq "$err" ] || fail "$line: std$out: $(cat "$T/ours.$out")"
    done
    diff <(grep ^ERROR "$T/theirs.err") <(grep ^ERROR "$T/ours.err") || fail "$line: another reason"
    diff <(grep -c '^Usage' "$T/theirs.err" "$T/theirs.out" | cut -d: -f2) \
      <(grep -c '^Usage' "$T/ours.err" "$T/ours.out" | cut -d: -f2) || fail "$line: help"
  done <<'EOL'

--help
-h
""
-4
--accept-terms -d a.example.test
--foo
foo -c
"" -c
-c ""
-c --ca=x
-cx
-c -c
-c -e
-gc -gcd
-c -s
-c -h
--foo -h
-h --foo
-s
-r ""
-d
-c -d ""
-c -d -x
-s -x
-r -
-p --privkey
--ca a --ca b
--alias a --alias b
--ca -x
-t
-a ""
-o
--alpn
--preferred-chain
--lock-suffix
--domains-txt
-k ""
-f
EOL
}

@test "--help names every word that the real one's help names" {
  dehydrated --help | grep -oE '^ --?[a-z0-9-]+( \(-[a-z0-9]+\))?' | sort >"$T/theirs.words"
  "$T/bin/dehydrated" --help | grep -oE '^ --?[a-z0-9-]+( \(-[a-z0-9]+\))?' | sort >"$T/ours.words"
  [ "$(wc -l <"$T/theirs.words")" -gt 30 ]
  run -0 comm -23 "$T/theirs.words" "$T/ours.words"
  [ -z "$output" ]
}

@test "--env: the same text, and a shell that evaluates it has the same values" {
  mkdir "$T/conf.d" "$T/wk"
  local who
  for who in theirs ours; do
    cat >"$T/$who/config" <<EOC
CA=letsencrypt-test
CONFIG_D=$T/conf.d
WELLKNOWN=$T/wk
RENEW_DAYS=30
KEYSIZE=3072
DOMAINS_D=$T/domains
export HOOK_CHAIN=yes
EOC
  done
  # shellcheck disable=SC2016  # for the config
  printf '%s\n' 'export CONTACT_EMAIL="a\"b\$c\\d@example.test"' 'DOMAINS_TXT=${BASEDIR}/list' >"$T/conf.d/10-mail.sh"
  : >"$T/conf.d/ignored.conf"
  local words line
  for line in "" "-n" "--lock-suffix x" "-o /elsewhere --alpn alpn -t tls-alpn-01 -k hook --domains-txt d" \
    "--ca https://ca.example.test/dir -4 -p key" "--ca letsencrypt"; do
    read -ra words <<<"$line"
    both 0 -e "${words[@]}"
  done
  # shellcheck disable=SC2016  # for the shell that evaluates
  local print='set -eu; eval "$1"; for n in CA CERTDIR ALPNCERTDIR CHALLENGETYPE DOMAINS_D DOMAINS_TXT HOOK HOOK_CHAIN RENEW_DAYS ACCOUNT_KEY \
    ACCOUNT_KEY_JSON ACCOUNT_ID_JSON KEYSIZE WELLKNOWN PRIVATE_KEY_RENEW OPENSSL_CNF CONTACT_EMAIL LOCKFILE; do echo "$n=${!n}"; done; env | grep ^CONTACT'
  diff <(bash -c "$print" sh "$(theirs -e)" | plain theirs) <(bash -c "$print" sh "$(ours -e)" | plain ours)
  run -0 bash -c "$print" sh "$(ours -e)"
  # shellcheck disable=SC2016  # those are the letters
  [[ $output == *$'\nCONTACT_EMAIL=a"b$c\\d@example.test\n'* ]]
}

@test "--env with a relative config, from CONFIG, and from the working directory" {
  mkdir -p "$T/wd/sub" "$T/wk"
  printf '%s\n' "WELLKNOWN=$T/wk" RENEW_DAYS=30 >"$T/wd/sub/config"
  cp "$T/wd/sub/config" "$T/wd/config"
  cd "$T/wd"
  local f
  for f in ./config sub/config; do
    diff <(dehydrated -e -f "$f") <("$T/bin/dehydrated" -e -f "$f")
    diff <(CONFIG=$f dehydrated -e) <(CONFIG=$f "$T/bin/dehydrated" -e)
  done
  run -1 "$T/bin/dehydrated" -e -f nowhere
  [[ $output == *"ERROR: Specified config file doesn't exist"* ]]
  if [ ! -e /etc/dehydrated/config ] && [ ! -e /usr/local/etc/dehydrated/config ]; then
    diff <(dehydrated -e) <("$T/bin/dehydrated" -e)
  fi
}

@test "the config's own status: exit N" {
  local who n
  for n in 0 3 77; do
    for who in theirs ours; do
      printf 'exit %s\n' "$n" >"$T/$who/config"
      run -"$n" "$who" -e
      run -"$n" "$who" -c
    done
  done
}

@test "register, account, deactivate: the same lines, calls and statuses" {
  two_worlds
  both 1 --register
  grep -q -- '--register --accept-terms' "$T/ours.err"
  [ ! -e "$T/ours/accounts" ] || [ -z "$(find "$T/ours/accounts" -type f)" ]
  both 0 --register --accept-terms
  both 0 --register
  both 0 --display-terms
  both 0 --account
  sed -i 's/hostmaster/webmaster/' "$T/theirs/config" "$T/ours/config"
  both 0 --account
  both 0 --account -n
  [ "$(find "$T/ours/accounts" -name 'registration_info-*.json' | wc -l)" -eq 1 ]

  # Each goes on with the account of the other.
  mv "$T/ours/accounts" "$T/accounts"
  mv "$T/theirs/accounts" "$T/ours/accounts"
  mv "$T/accounts" "$T/theirs/accounts"
  both 0 --register
  both 0 --account

  # As versions before the account's URL was kept left it: only arid asks for it here.
  rm "$T"/*/accounts/*/account_id.json
  both 0 --account
  both 0 --account

  # A lock of another program.
  date >"$T/theirs/lock"
  date >"$T/ours/lock"
  run -1 theirs --account
  run -1 ours --account
  [[ $output == *"ERROR: Lock file '$T/ours/lock' present, aborting"* ]]
  both 0 --account --lock-suffix x
  rm "$T/theirs/lock" "$T/ours/lock"

  both 0 --deactivate
  run -1 theirs --register
  run -1 ours --register
  [[ $output == *"ERROR: "*deactivated* ]]
  [ -e "$(echo "$T"/ours/accounts/*/deactivated)" ]
  [ -z "$(find "$T/ours" -name 'lock*')" ]
  diff <(cd "$T/theirs" && find accounts ! -name .arid.lock -printf '%M %f\n' | sed -E 's/-[0-9]{10}/-TIME/' | sort) \
    <(cd "$T/ours" && find accounts ! -name .arid.lock -printf '%M %f\n' | sed -E 's/-[0-9]{10}/-TIME/' | sort)
}

@test "register with a key of one's own" {
  two_worlds
  openssl genrsa -out "$T/theirs/own.pem" 2048
  openssl genrsa -out "$T/ours/own.pem" 2048
  local who
  for who in theirs ours; do
    "$who" --register -p "$T/$who/own.pem" | plain "$who" >"$T/$who.out"
    [ -s "$T/$who/own.pem.json" ]
    grep -q my-account "$T/$who/own.pem_id.json"
  done
  diff "$T/theirs.out" "$T/ours.out"
  # Each takes what the other wrote beside the key.
  run -0 ours --account -p "$T/theirs/own.pem"
  run -0 theirs --account -p "$T/ours/own.pem"
}

@test "refused: one line, the reply, the hooks" {
  two_worlds
  both 0 --register --accept-terms
  local who
  for who in theirs ours; do
    run -1 "$who" --ca "${DIRECTORY}x" --account
    [[ $output == *"  + ERROR: An error occurred while sending get-request to ${DIRECTORY}x (Status 404)"*"404 page not found"* ]]
    grep -q '^request_failure|404|404 page not found|get|HTTP' "$T/$who/calls"
    [ "$(tail -n 1 "$T/$who/calls")" = 'exit_hook||' ]
  done
}

@test "revoke: refused is refused, done is done, and the other program goes on" {
  two_worlds
  local name=r.example.test who
  printf '%s\n' "$name" | tee "$T/theirs/domains.txt" >"$T/ours/domains.txt"
  both 0 --register --accept-terms
  # Made by the real one, in both trees.
  theirs -c >"$T/cron.out"
  dehydrated --config "$T/ours/config" -c >>"$T/cron.out"
  : >"$T/ours/calls"

  # By an account that is not the certificate's.
  openssl genrsa -out "$T/theirs/own.pem" 2048
  openssl genrsa -out "$T/ours/own.pem" 2048
  for who in theirs ours; do
    "$who" --register -p "$T/$who/own.pem"
    cert=$T/$who/certs/$name/cert.pem
    run -1 "$who" --revoke "$cert" -p "$T/$who/own.pem"
    [[ $output == *"(Status 403)"* ]]
    openssl x509 -in "$cert" -noout
    grep -q '^request_failure|403|' "$T/$who/calls"
  done

  for who in theirs ours; do
    "$who" --revoke "$T/$who/certs/$name/cert.pem" | plain "$who" >"$T/$who.out"
  done
  diff "$T/theirs.out" "$T/ours.out"
  grep -q '^ + Renaming certificate to .*-revoked$' "$T/ours.out"
  diff <(cd "$T/theirs/certs" && find . -printf '%f %M %l\n' | sed -E 's/-[0-9]{10}/-TIME/g' | sort) \
    <(cd "$T/ours/certs" && find . ! -name state.json ! -name .arid.lock -printf '%f %M %l\n' | sed -E 's/-[0-9]{10}/-TIME/g' | sort)
  # What is revoked already is done for arid, and an error for the other.
  run -0 ours -r "$T"/ours/certs/"$name"/cert-*-revoked

  # The real one issues anew in arid's tree.
  past_names "$T/ours/certs"
  dehydrated --config "$T/ours/config" -c >"$T/cron.out"
  openssl x509 -in "$T/ours/certs/$name/cert.pem" -noout
}

@test "revoke with the certificate's own key needs no account" {
  two_worlds
  printf '%s\n' k.example.test >"$T/ours/domains.txt"
  ours --register --accept-terms
  dehydrated --config "$T/ours/config" -c >"$T/cron.out"
  rm -r "$T/ours/accounts"
  cd "$T/ours/certs/k.example.test"
  run -0 --separate-stderr ours -r cert.pem -p privkey.pem
  [[ $output == *"Revoking ./cert-"*$'.pem\n + Done.\n + Renaming certificate to ./cert-'*.pem-revoked ]]
  [ -z "$stderr" ]
  [ ! -e "$T/ours/accounts" ]
}

@test "--version says what it is, whatever the config has" {
  printf 'CHALLENGETYPE=no-such\n' >"$T/ours/config"
  run -0 --separate-stderr ours -v
  [[ ${lines[0]} == "# INFO: Using main config file $T/ours/config" ]]
  [[ $output == *$'\nDehydrated version: 0.7.3\nGIT-Revision: '* ]]
  [[ $output == *$'\nOS: '*$'\nUsed software:\n arid: '* ]]
  [ -z "$stderr" ]
}

@test "command lines as they are found in packages, cron tables and scripts" {
  two_worlds
  printf '%s\n' one.example.test >"$T/ours/domains.txt"
  sed '/^HOOK=/d' "$T/ours/config" >"$T/ours/other.config"
  mkdir "$T/ours/dir"
  cat >"$T/ours/dir/hook" <<EOH
#!/bin/sh
case \$1 in
deploy_challenge) curl -sS -o /dev/null -d "{\"host\": \"_acme-challenge.\$2.\", \"value\": \"\$4\"}" $DNS_MGMT/set-txt ;;
esac
EOH
  chmod +x "$T/ours/dir/hook"
  cd "$T/ours"
  PATH=$T/bin:$PATH
  dehydrated --register --accept-terms --config ./config
  dehydrated --config ./config --accept-terms --cron --keep-going
  verify_chain certs/one.example.test/fullchain.pem one.example.test
  run -0 dehydrated --cron -f ./config
  [[ $output == *"unchanged."*"Skipping renew!"* ]]
  dehydrated -c -x -f other.config
  dehydrated -f ./config -c -d two.example.test -t dns-01 -k 'dir/hook'
  verify_chain certs/two.example.test/fullchain.pem two.example.test
  dehydrated -f ./config -c -d 'a.example.test b.example.test *.c.example.test' -t 'dns-01' -k dir/hook
  verify_chain certs/a.example.test/fullchain.pem x.c.example.test
  dehydrated --cron --algo rsa --hook ./dir/hook --challenge dns-01 -d d.example.test -d e.example.test --out "$T/ours/out" --config ./config
  verify_chain out/d.example.test/fullchain.pem e.example.test
  openssl x509 -in out/d.example.test/cert.pem -noout -text | grep -q 'Public Key Algorithm: rsaEncryption'
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -subj /CN=x.example.test \
    -addext subjectAltName=DNS:x.example.test -out x.csr 2>req.log
  dehydrated --config ./config --signcsr 'x.csr' >x.pem
  [ "$(grep -c 'BEGIN CERTIFICATE' x.pem)" -ge 2 ]
  verify_chain x.pem x.example.test
  dehydrated --config ./config --account
  dehydrated -e --config ./config >env.sh
  dehydrated --cron --force --domain one.example.test -f ./config
  dehydrated -c --ca "$DIRECTORY" --force --force-validation -f ./config
  dehydrated -gc -f ./config
  [ -n "$(find archive -name 'cert-*.pem')" ]
  verify_chain certs/one.example.test/fullchain.pem one.example.test
}
