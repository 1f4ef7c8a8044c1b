#!/usr/bin/env bats
# From dehydrated to arid and back, as docs/dehydrated.md tells: its commands are taken
# from there and run, in an /etc/dehydrated as Debian ships it, over three certificates
# that the real dehydrated made, with the hook of its documentation. And what
# dehydrated's mode does with authorizations that the CA still holds.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they and bats set for us

load helper
load servers
load private

setup_file() {
  is_root || return 0
  start_private
  take_ports HTTP_PORT TLS_PORT
  DNS_ADDR=127.0.0.1:53
  start_named_53
  start_challenge_web
  start_pebble 0
  mkdir "$T/local" "$T/deployed"
  ln -s "$BUILD/arid" "$T/local/arid"
  inside mount --bind "$T/local" /usr/local/bin
  export CA_FILE DIRECTORY MGMT HTTP_PORT TLS_PORT DNS_ADDR
  fresh_debian
  make_tree
  cp -a "$ETC" "$T/etc-made"
  cp -a "$VAR" "$T/var-made"
}
setup() {
  as_root
  rm -f "$FILE_T/local/dehydrated"
  find "$ETC" "$VAR" "$FILE_T/deployed" -mindepth 1 -delete
  cp -a "$FILE_T/etc-made/." "$ETC"
  cp -a "$FILE_T/var-made/." "$VAR"
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# start_named_53: BIND with the zone example.test, whose TXT records T/session.key may
# change.
start_named_53() {
  install -m 755 "$(command -v named)" "$T/named"
  tsig-keygen -a hmac-sha256 testkey >"$T/session.key"
  mkdir "$T/zones"
  cat >"$T/zones/example.test" <<'EOC'
$TTL 60
@ SOA ns1 hostmaster 1 86400 3600 604800 300
@ NS ns1
@ A 127.0.0.1
ns1 A 127.0.0.1
www A 127.0.0.1
mail A 127.0.0.1
wild A 127.0.0.1
EOC
  cat >"$T/named.conf" <<EOC
include "$T/session.key";
controls { };
options {
  directory "$T/zones";
  pid-file none;
  session-keyfile none;
  listen-on { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  dnssec-validation no;
  notify no;
  allow-transfer { any; };
};
zone "example.test" { type primary; file "example.test"; update-policy { grant testkey zonesub TXT; }; };
EOC
  start_server named.log "$T/named" -g -n 1 -c "$T/named.conf"
  await_port 53 "$STARTED"
  await_line named.log " running" "$STARTED"
}

# start_challenge_web: lighttpd with the directory for challenges that Debian's config names.
start_challenge_web() {
  open_way "$VAR/x"
  mkdir "$T/root"
  cat >"$T/lighttpd.conf" <<EOC
server.bind = "127.0.0.1"
server.port = $HTTP_PORT
server.document-root = "$T/root"
server.modules = ("mod_alias")
server.username = "www-data"
alias.url = ("/.well-known/acme-challenge/" => "/var/lib/dehydrated/acme-challenges/")
EOC
  start_server web.log lighttpd -D -f "$T/lighttpd.conf"
  await_port "$HTTP_PORT" "$STARTED"
}

# make_tree: by the real dehydrated alone. The hook is that of its documentation, with
# the examples in it made to run.
make_tree() {
  local example=/usr/share/doc/dehydrated/examples/hook.sh
  [ -e "$example" ] || fail "no $example: is dpkg told to leave documentation out?"
  # shellcheck disable=SC2016  # the hook's
  sed -E -e 's/^( *)# (printf .*\| nsupdate )-k .*/\1\2-k "${DNS_SESSION_KEY}"/' \
    -e 's|^( *)# cp "\$\{KEYFILE\}" "\$\{FULLCHAINFILE\}" .*|\1mkdir -p "${DEPLOY_TO}/${DOMAIN}"; cp "${KEYFILE}" "${FULLCHAINFILE}" "${DEPLOY_TO}/${DOMAIN}/"|' \
    "$example" >"$ETC/hook.sh"
  [ "$(diff "$example" "$ETC/hook.sh" | grep -c '^>')" -ge 3 ] || fail "the example hook is another than it was"
  chmod 755 "$ETC/hook.sh" "$VAR/acme-challenges"
  cat >"$ETC/conf.d/90_local.sh" <<EOC
CA="$DIRECTORY"
CURL_OPTS="--cacert $CA_FILE"
HOOK=/etc/dehydrated/hook.sh
RENEW_DAYS=30
KEY_ALGO=prime256v1
KEYSIZE=2048
export DNS_SESSION_KEY=$T/session.key DEPLOY_TO=$T/deployed
EOC
  cat >"$ETC/domains.txt" <<'EOC'
# what this host serves
www.example.test example.test
*.wild.example.test wild.example.test > wild
mail.example.test
EOC
  mkdir -p "$VAR/certs/wild" "$VAR/certs/mail.example.test"
  printf 'CHALLENGETYPE="dns-01"\nHOOK_CHAIN="no"\n' >"$VAR/certs/wild/config"
  printf 'KEY_ALGO="rsa"\n[ -e /nowhere ] && KEYSIZE=4096\n' >"$VAR/certs/mail.example.test/config"
  run -0 theirs --register --accept-terms
  run -0 theirs --cron
  check_all
}

# at_prompt COMMAND: what a root's shell there makes of it, with arid in /usr/local/bin.
at_prompt() {
  inside env -i HOME=/root PATH="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" sh -ec "$1"
}
theirs() { at_prompt "/usr/bin/dehydrated $*"; }

# step SECTION WORD: the command with that word in the page's section, as it stands there.
step() {
  local found
  found=$(sed -n "/^## $1\$/,/^## /p" "$TOP/docs/dehydrated.md" | grep -E '^    +[a-z]' | sed 's/^ *//' | grep -E -- "$2")
  [ "$(wc -l <<<"$found")" -eq 1 ] || fail "docs/dehydrated.md, $1, $2: $found"
  printf '%s\n' "$found"
}

# check_set DIR NAME...: the stable names show one verified set for the names.
check_set() {
  local dir=$VAR/certs/$1 name
  shift
  cat "$dir/cert.pem" "$dir/chain.pem" | cmp - "$dir/fullchain.pem"
  for name; do
    verify_chain "$dir/fullchain.pem" "$name" >"$T/verify.out"
  done
  [ "$(openssl pkey -in "$dir/privkey.pem" -pubout)" = "$(openssl x509 -in "$dir/cert.pem" -noout -pubkey)" ]
}
check_all() {
  check_set www.example.test www.example.test example.test
  check_set wild wild.example.test any.wild.example.test
  check_set mail.example.test mail.example.test
  [ -z "$(find "$VAR/certs" -xtype l)" ]
  [ -z "$(ls -A "$VAR/acme-challenges")" ]
  [ -z "$(txt_left)" ]
}
txt_left() { inside dig +noall +answer @127.0.0.1 example.test AXFR | awk '$4 == "TXT"'; }

# deployed NAME DIR: what the hook copied last is what is live.
deployed() {
  cmp "$FILE_T/deployed/$1/fullchain.pem" "$VAR/certs/$2/fullchain.pem"
  cmp "$FILE_T/deployed/$1/privkey.pem" "$VAR/certs/$2/privkey.pem"
}
all_deployed() {
  deployed www.example.test www.example.test
  deployed '*.wild.example.test' wild
  deployed mail.example.test mail.example.test
}

serials() {
  local cert
  for cert in "$VAR"/certs/*/cert.pem; do
    openssl x509 -in "$cert" -noout -serial
  done
}
snapshot() { find "$ETC" "$VAR" -printf '%p %M %u %T@ %l\n' | sort && find "$ETC" "$VAR" -type f -exec sha256sum {} + | sort; }
asked() { requests "$FILE_T"; }
later() { past_names "$VAR/certs"; }

@test "the five minutes of the page: look, arid in dehydrated's place, arid's own way, and back" {
  local before asked made

  # Looking asks nobody and changes nothing.
  snapshot >"$T/before"
  asked=$(asked)
  run -0 at_prompt "$(step Switching 'arid config')"
  [[ $output == *"/etc/dehydrated/domains.txt"*"/etc/dehydrated/config:15"* ]]
  [[ $output == *"/etc/dehydrated/hook.sh"*"/etc/dehydrated/conf.d/90_local.sh:3"* ]]
  run -0 at_prompt "$(step Switching dry-run)"
  [ "$(grep -cE '^(www.example.test|wild|mail.example.test) +ok ' <<<"$output")" -eq 3 ] || fail "$output"
  snapshot | diff "$T/before" -
  [ "$(asked)" -eq "$asked" ]

  # In the cron job: the same lines as before, and the same calls, of which there is nothing to be seen.
  theirs --cron >"$T/theirs.out" 2>"$T/theirs.err"
  at_prompt "$(step Switching '^arid dehydrated --cron')" >"$T/ours.out" 2>"$T/ours.err"
  # The real one tells of a folder that arid has no use for, and ends lists with a blank.
  diff <(sed -e '/chain cache/d' -e 's/ $//' "$T/theirs.out") "$T/ours.out"
  [ ! -s "$T/ours.err" ]
  [ "$(grep -c 'Skipping renew!' "$T/ours.out")" -eq 3 ]
  rmdir "$VAR/chains" 2>/dev/null || :
  made=$(serials)

  # For whatever calls dehydrated: a link. It orders, and the hook deploys.
  [[ $(at_prompt 'command -v dehydrated') == /usr/bin/dehydrated ]]
  at_prompt "$(step Switching '^ln -s')"
  [[ $(at_prompt 'command -v dehydrated') == /usr/local/bin/dehydrated ]]
  run -0 at_prompt 'dehydrated --version'
  [[ $output == *"arid, in the manner of dehydrated"* ]]
  later
  run -0 --separate-stderr at_prompt 'dehydrated --cron --force'
  [ "$(grep -c '^ + Done!$' <<<"$output")" -eq 6 ] || fail "$output"
  [ -z "$stderr" ] || fail "$stderr"
  check_all
  all_deployed
  [ -z "$(comm -12 <(sort <<<"$made") <(serials | sort))" ]
  made=$(serials)
  openssl x509 -in "$VAR/certs/mail.example.test/cert.pem" -noout -text | grep -q 'Public-Key: (2048 bit)'

  # arid's own way: nothing is due, and nothing said. Once the CA has been asked what it
  # suggests, nothing is asked either, and nothing written.
  run -0 at_prompt "$(step Switching '^arid renew$')"
  [ -z "$output" ] || fail "$output"
  [ "$(serials)" = "$made" ]
  asked=$(asked)
  snapshot >"$T/before"
  run -0 at_prompt "$(step Switching '^arid renew$')"
  [ -z "$output" ] || fail "$output"
  [ "$(asked)" -eq "$asked" ] || fail "asked: $(grep 'calling handler' "$FILE_T/pebble.log" | tail -n +$((asked + 1)))"
  snapshot | diff "$T/before" -
  run -0 at_prompt "$(step Switching '^arid renew$') -x wild"
  check_all
  all_deployed

  # Back: the real one finds all of it, and nothing to do; it renews and cleans up.
  made=$(serials)
  at_prompt "$(step 'Going back' '^rm ')"
  [[ $(at_prompt 'command -v dehydrated') == /usr/bin/dehydrated ]]
  run -0 at_prompt "$(step 'Going back' '^dehydrated --cron')"
  [ "$(grep -c 'Skipping renew!' <<<"$output")" -eq 3 ] || fail "$output"
  [ "$(serials)" = "$made" ]
  [ "$(find "$VAR/accounts" -name account_key.pem | wc -l)" -eq 1 ]
  check_all
  later
  run -0 at_prompt "$(step 'Going back' '^dehydrated --cron') --force"
  check_all
  all_deployed
  run -0 at_prompt 'dehydrated --cleanup'
  [[ $output == *"Moving unused file"* ]]
  check_all

  # And arid comes again.
  run -0 at_prompt "$(step Switching '^arid renew$')"
  [ -z "$output" ] || fail "$output"
  check_all
}

# authorized_world: a CA that uses authorizations again, for the one certificate
# www.example.test, and a hook that writes its calls to T/calls.
authorized_world() {
  PEBBLE_AUTHZREUSE=100 start_pebble 0
  printf 'www.example.test example.test\n' >"$ETC/domains.txt"
  cat >"$ETC/hook.sh" <<EOC
#!/bin/sh
printf '%s %s\n' "\$1" "\$2" >>"$T/calls"
EOC
  sed -i "s|^CA=.*|CA=\"$DIRECTORY\"|; s|^CURL_OPTS=.*|CURL_OPTS=\"--cacert $CA_FILE\"|" "$ETC/conf.d/90_local.sh"
  at_prompt 'arid dehydrated --register --accept-terms' >"$T/register.out"
  at_prompt 'arid dehydrated --cron --force' >"$T/first.out"
  [ "$(grep -c '^deploy_challenge ' "$T/calls")" -eq 2 ]
  rm "$T/calls"
}

# said FILE: what is said of authorizations, whose order is the CA's.
said() { grep -E 'authorization|pending|Deploying|Responding|Cleaning' "$1" | grep -v 'URLs from the CA' | sort; }

@test "a valid authorization is told, and used" {
  authorized_world
  later
  at_prompt 'arid dehydrated --cron --force' >"$T/ours.out"
  ! grep challenge "$T/calls" || fail "the hook was called: $(cat "$T/calls")"
  grep -qx ' + Found valid authorization for www.example.test' "$T/ours.out"
  grep -qx ' + Found valid authorization for example.test' "$T/ours.out"
  grep -qx ' + 0 pending challenge(s)' "$T/ours.out"
  check_set www.example.test www.example.test example.test
  # The words are the real one's.
  later
  theirs --cron --force >"$T/theirs.out"
  diff <(said "$T/theirs.out") <(said "$T/ours.out")
}

@test "--force-validation: a valid authorization is given up, and each name validated anew" {
  authorized_world
  run -1 at_prompt 'arid dehydrated --cron --force-validation'
  [[ $output == *"ERROR: Argument --force-validation can only be used in combination with --force (-x)"* ]]
  rm -f "$T/calls"
  later
  at_prompt 'arid dehydrated --cron --force --force-validation' >"$T/ours.out"
  [ "$(grep -cx ' + A valid authorization has been found but will be ignored' "$T/ours.out")" -eq 2 ] || fail "$(cat "$T/ours.out")"
  grep -qx ' + 2 pending challenge(s)' "$T/ours.out"
  [ "$(grep -cx ' + Challenge is valid!' "$T/ours.out")" -eq 2 ]
  [ "$(grep -E '^(deploy|clean)_challenge' "$T/calls" | sort | tr '\n' ,)" = \
    "clean_challenge example.test,clean_challenge www.example.test,deploy_challenge example.test,deploy_challenge www.example.test," ]
  check_set www.example.test www.example.test example.test
  # What was validated anew is used again.
  rm "$T/calls"
  later
  at_prompt 'arid dehydrated --cron --force' >"$T/ours.out"
  grep -qx ' + 0 pending challenge(s)' "$T/ours.out"
}
