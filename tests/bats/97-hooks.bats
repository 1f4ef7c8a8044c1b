#!/usr/bin/env bats
# The example hooks for any server, as arid calls them and as dehydrated does.

# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154  # lines for other shells; each test has an environment of its own; and what bats and the helper set

load helper
load servers

HOOKS=$TOP/examples/hooks

setup_file() {
  start_world
  arid_world
  export -n ARID_BASEDIR ARID_CONFIG
  mkdir "$T/bin"
  # The PATH of cron, and arid in it.
  ln -s "$BUILD/arid" "$T/bin/arid"
  CRON_PATH=$T/bin:/usr/bin:/bin
  FILE_T=$T
  export CRON_PATH FILE_T HOME DIRECTORY CA_FILE MGMT WELLKNOWN DNS_MGMT
  new_base "$T/first"
  arid register --accept-terms --config "$T/first/config"
  cron "$ORACLE" --register --accept-terms --config "$T/first/config"
}
setup() {
  BASE=$T/base
  new_base "$BASE"
  cp -a "$FILE_T/first/accounts" "$BASE/"
}
teardown() {
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}
teardown_file() { stop_all; }

ORACLE=/usr/bin/dehydrated

# new_base DIR: a tree of its own, with a config that both programs read.
new_base() {
  mkdir "$1"
  printf '%s\n' "BASEDIR=$1" "CA=$DIRECTORY" "WELLKNOWN=$WELLKNOWN" "CURL_OPTS=\"--cacert $CA_FILE\"" \
    KEY_ALGO=prime256v1 ACCOUNT_KEYSIZE=2048 ACCOUNT_KEY_ALGO=rsa >"$1/config"
}

# cron PROGRAM...: with the environment that cron gives, and what SET has.
cron() { env -i HOME="$HOME" LOGNAME=root SHELL=/bin/sh PATH="$CRON_PATH" "${SET[@]}" "$@" </dev/null; }

# renew HOOK, dehydrated HOOK [FLAG...]: a run for what domains.txt has.
renew() { cron arid renew --config "$BASE/config" -k "$HOOKS/$1" "${@:2}"; }
dehydrated() { cron "$ORACLE" -c --config "$BASE/config" -k "$HOOKS/$1" "${@:2}"; }

# domains NAME...: each is a certificate.
domains() { printf '%s\n' "$@" >"$BASE/domains.txt"; }

# again NAME...: these certificates are due.
again() {
  local name
  for name; do
    rm -rf "$BASE/certs/$name"
  done
}

# lines FILE: how many.
lines() { wc -l <"$1"; }

@test "each ignores what it has nothing to do with, is clean for shellcheck, and runs by dash" {
  local hook
  for hook in reload-once run-parts ssh-push notify pkcs12; do
    shellcheck -s sh "$HOOKS/$hook.sh"
    dash -n "$HOOKS/$hook.sh"
    SET=(BASEDIR="$BASE")
    run -0 cron "$HOOKS/$hook.sh" this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script
    [ -z "$output" ]
    run -0 cron "$HOOKS/$hook.sh" unchanged_cert one.example.test key cert fullchain chain
    run -0 cron "$HOOKS/$hook.sh"
    [ -z "$output" ]
  done
  [ "$(ls "$BASE")" = "$(printf '%s\n' accounts config)" ]
}

@test "reload-once: one reload for each server, however many certificates; what fails is told by the next run" {
  local way
  SET=(RELOAD_ONCE="
*.example.test   echo web >>$T/told; test ! -e $T/down
mail.*           echo mail >>$T/told
mail2.*          echo mail >>$T/told
other.*          echo other >>$T/told")
  domains mail.example.test mail2.example.test
  for way in renew dehydrated; do
    again mail.example.test mail2.example.test
    rm -f "$T/told"
    "$way" reload-once.sh
    [ "$(sort "$T/told" | xargs)" = "mail web" ]
    "$way" reload-once.sh # nothing is due
    [ "$(lines "$T/told")" -eq 2 ]
    [ -z "$(find "$BASE" -maxdepth 1 -name 'reload-once*')" ]
  done

  # The web server cannot be told: the mail server's certificate of the next run has it
  # told again.
  again one.example.test mail.example.test
  rm "$T/told"
  : >"$T/down"
  domains one.example.test
  run renew reload-once.sh
  [[ $output == *"exit_hook: exit status 1"* ]]
  [ "$(cat "$T/told")" = web ]
  SET+=(BASEDIR="$BASE")
  run -1 cron "$HOOKS/reload-once.sh" exit_hook
  rm "$T/down"
  domains mail.example.test
  renew reload-once.sh
  [ "$(sort "$T/told" | xargs)" = "mail web web web" ]
  run -0 cron "$HOOKS/reload-once.sh" exit_hook
  [ "$(lines "$T/told")" -eq 4 ]
}

@test "run-parts: every program of the event's folder, in order; one that fails is called again with the others" {
  local parts=$T/hooks.d name
  mkdir -p "$parts/deploy_cert" "$parts/exit_hook" "$parts/generate_csr"
  for name in 10-first 20-second 30-third 40.off 50-gone~; do
    printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n[ %s != 20-second ] || [ ! -e "%s/broken" ] || exit 3\n' \
      "$name" "$T" "$name" "$T" >"$parts/deploy_cert/$name"
    chmod +x "$parts/deploy_cert/$name"
  done
  chmod -x "$parts/deploy_cert/40.off"
  ln -s ../deploy_cert/30-third "$parts/exit_hook/30-third"
  for name in 1 2; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/$name.key" -subj / \
      -addext "subjectAltName=DNS:one.example.test" -out "$T/$name.csr" 2>>"$T/openssl.log"
    printf '#!/bin/sh\ncat "%s/%s.csr"\n' "$T" "$name" >"$parts/generate_csr/$name"
    chmod +x "$parts/generate_csr/$name"
  done
  cp "$HOOKS/run-parts.sh" "$T/hook"
  domains one.example.test
  : >"$T/broken"
  run -10 cron arid renew --config "$BASE/config" -k "$T/hook"
  [[ $output == *"$parts/deploy_cert/20-second: deploy_cert: exit status 3"* ]]
  [[ $output == *"deploy_cert: exit status 3"* ]]
  [ "$(cut -d' ' -f1,2 "$T/calls" | xargs)" = "10-first deploy_cert 20-second deploy_cert 30-third deploy_cert 30-third exit_hook" ]
  [[ $(head -n 1 "$T/calls") == "10-first deploy_cert one.example.test $BASE/certs/one.example.test/privkey.pem "* ]]
  # The first CSR is the one that was used.
  [ "$(openssl x509 -in "$BASE/certs/one.example.test/cert.pem" -noout -pubkey)" = "$(openssl pkey -in "$T/1.key" -pubout)" ]
  rm "$T/broken"
  rm "$T/calls"
  cron arid renew --config "$BASE/config" -k "$T/hook" --redeploy one.example.test
  [ "$(grep -c deploy_cert "$T/calls")" -eq 3 ]
  again one.example.test
  rm "$T/calls" "$parts/generate_csr/1"
  SET=(HOOK_FOLDER="$parts")
  dehydrated run-parts.sh
  [ "$(cut -d' ' -f1,2 "$T/calls" | xargs)" = "10-first deploy_cert 20-second deploy_cert 30-third deploy_cert 30-third exit_hook" ]
  [ "$(openssl x509 -in "$BASE/certs/one.example.test/cert.pem" -noout -pubkey)" = "$(openssl pkey -in "$T/2.key" -pubout)" ]
}

# sessions: how often somebody has logged in.
sessions() { grep -c "Accepted publickey" "$T/sshd.log"; }

@test "ssh-push: key and chain get to another host in one connection, whole or not at all, and nothing secret is an argument" {
  local far="$T/far's place" cert=$BASE/certs/one.example.test before there
  there=$(printf %q "$far")
  start_sshd
  mkdir -m 700 "$far"
  SET=(SSH_PUSH_TO="$FAR" SSH_PUSH_SSH="$SSH" SSH_PUSH_KEY="$far/{name}.key" SSH_PUSH_CHAIN="$far/{name}.pem"
    SSH_PUSH_MODE=0640 SSH_PUSH_RELOAD="echo told >>'$T/told'; openssl pkey -in $there/one.example.test.key -noout && test ! -e '$T/down'")
  [ "$(id -u)" -ne 0 ] || SET+=(SSH_PUSH_OWNER=root:mail)
  domains one.example.test
  # Every program that is started is seen with its arguments.
  run -0 strace -f -qq -s 100000 -e trace=execve -o "$T/strace.log" env -i HOME="$HOME" PATH="$CRON_PATH" "${SET[@]}" \
    arid renew --config "$BASE/config" -k "$HOOKS/ssh-push.sh"
  grep -q '"ssh", ' "$T/strace.log"
  run -1 grep -F "$(sed -n 2p "$cert/privkey.pem")" "$T/strace.log"
  cmp "$cert/privkey.pem" "$far/one.example.test.key"
  cmp "$cert/fullchain.pem" "$far/one.example.test.pem"
  [ "$(stat -c %a "$far/one.example.test.key")" = 640 ]
  [ "$(stat -c %a "$far/one.example.test.pem")" = 644 ]
  [ "$(id -u)" -ne 0 ] || [ "$(stat -c %U:%G "$far/one.example.test.key")" = root:mail ]
  [ "$(sessions)" -eq 1 ]
  [ "$(lines "$T/told")" -eq 1 ]
  # Once more: it is there already, and nobody is told.
  renew ssh-push.sh --redeploy one.example.test
  [ "$(sessions)" -eq 2 ]
  [ "$(lines "$T/told")" -eq 1 ]

  # A reload that fails: what was there before is back, and the event is owed.
  before=$(cat "$far"/one.example.test.*)
  : >"$T/down"
  again one.example.test
  run -10 renew ssh-push.sh
  [ "$(cat "$far"/one.example.test.*)" = "$before" ]
  [ "$(lines "$T/told")" -eq 3 ]
  run ! cmp "$cert/fullchain.pem" "$far/one.example.test.pem"
  # Of a connection that breaks off anywhere, nothing is there. (What ends with it on
  # the far side does so in its own time.)
  rm "$T/down"
  local size
  printf '#!/bin/sh\nhead -c "$(cat %q)" | %s "$@"\n' "$T/size" "$SSH" >"$T/cut"
  chmod +x "$T/cut"
  SET+=(SSH_PUSH_SSH="$T/cut")
  for size in 100 1000 1800 -10 -2; do # of -10, all but the last ten
    echo "$size" >"$T/size"
    run -10 renew ssh-push.sh --redeploy one.example.test
    [ "$(cat "$far"/one.example.test.*)" = "$before" ]
  done
  [ "$(lines "$T/told")" -eq 3 ]
  # A host that nobody answers at does not keep the other from its files.
  take_ports PORT
  SET+=(SSH_PUSH_SSH="$SSH" SSH_PUSH_TO="ssh://127.0.0.1:$PORT $FAR")
  run -10 renew ssh-push.sh --redeploy one.example.test
  [[ $output == *"port $PORT: Connection refused"* ]]
  cmp "$cert/privkey.pem" "$far/one.example.test.key"
  cmp "$cert/fullchain.pem" "$far/one.example.test.pem"
  [ "$(ls -A "$far")" = "$(printf '%s\n' one.example.test.key one.example.test.pem)" ]
  # Ended while it reloads, there is still to be told: the next one does.
  SET+=(SSH_PUSH_TO="$FAR" SSH_PUSH_RELOAD="echo told >>'$T/told'; test -e '$T/first' || { : >'$T/first'; kill -KILL \$PPID; }")
  again one.example.test
  run -10 renew ssh-push.sh
  cmp "$cert/privkey.pem" "$far/one.example.test.key"
  renew ssh-push.sh --redeploy one.example.test
  [ "$(lines "$T/told")" -eq 6 ]
  [ "$(ls -A "$far")" = "$(printf '%s\n' one.example.test.key one.example.test.pem)" ]
}

@test "ssh-push: a line that is none of PEM does not get to the shell of the other host" {
  start_sshd
  mkdir "$T/far"
  domains one.example.test
  cron arid renew --config "$BASE/config"
  {
    cat "$BASE/certs/one.example.test/fullchain.pem"
    printf '%s\n' "end of the chain" "echo stolen >$T/stolen"
  } >"$T/chain.pem"
  SET=(SSH_PUSH_TO="$FAR" SSH_PUSH_SSH="$SSH" SSH_PUSH_KEY="$T/far/key" SSH_PUSH_CHAIN="$T/far/chain")
  cron "$HOOKS/ssh-push.sh" deploy_cert one.example.test "$BASE/certs/one.example.test/privkey.pem" cert "$T/chain.pem" chain 1
  [ ! -e "$T/stolen" ]
  cmp "$BASE/certs/one.example.test/fullchain.pem" "$T/far/chain"
}

# mailbox: a sendmail that keeps what it gets, in T/mail/1 and so on.
mailbox() {
  mkdir "$T/mail"
  cat >"$T/sendmail" <<EOC
#!/bin/sh
[ ! -e "$T/full" ] || exit 75
n=\$(ls "$T/mail" | wc -l)
{ echo "\$*"; cat; } >"$T/mail/\$((n + 1))"
EOC
  chmod +x "$T/sendmail"
  SET=(NOTIFY_SENDMAIL="$T/sendmail" NOTIFY_TO=admin@example.test)
}

# mails: how many there are.
mails() { find "$T/mail" -type f | wc -l; }

@test "notify: one mail for a run that failed, and none for the same again, however often" {
  local way round
  mailbox
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  for way in renew dehydrated; do
    rm -rf "$T/mail" "$BASE/notify"
    mkdir "$T/mail"
    domains down.example.test
    run -1 "$way" notify.sh
    [ "$(mails)" -eq 1 ]
    [ "$(sed -n 1,2p "$T/mail/1")" = "$(printf '%s\n' "-i -t" "To: admin@example.test")" ]
    grep -q "^Subject: certificates on .*: down.example.test: the CA could not validate this name" "$T/mail/1"
    grep -q "connection" "$T/mail/1"
    for round in 1 2; do
      run -1 "$way" notify.sh # every minute
    done
    [ "$(mails)" -eq 1 ]
    [ "$way" = renew ] || continue
    # Another one is told, and a day later the first again.
    dns_manage add-a '{"host": "down2.example.test", "addresses": ["127.254.254.254"]}'
    domains down2.example.test down.example.test
    run -1 renew notify.sh
    [ "$(mails)" -eq 2 ]
    grep -q "^Subject: .*: down2.example.test: " "$T/mail/2"
    run ! grep -q "^down.example.test: the CA could not validate" "$T/mail/2"
    find "$BASE/notify" -name 'told-*' -exec touch -d '25 hours ago' {} +
    again down.example.test down2.example.test
    run -1 renew notify.sh
    [ "$(mails)" -eq 3 ]
    grep -q "^down.example.test: the CA could not validate" "$T/mail/3"
  done
}

@test "notify: where no exit_hook follows it is told at once" {
  mailbox
  dns_manage add-a '{"host": "down.example.test", "addresses": ["127.254.254.254"]}'
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/key" -subj / \
    -addext "subjectAltName=DNS:down.example.test" -out "$T/csr" 2>>"$T/openssl.log"
  run -1 cron arid sign --csr "$T/csr" --config "$BASE/config" -k "$HOOKS/notify.sh"
  [ "$(mails)" -eq 1 ]
  grep -q "^Subject: .*: down.example.test: the CA could not validate this name" "$T/mail/1"
}

@test "notify: new certificates if wanted, a command instead of mail, and what could not be sent is sent later" {
  mailbox
  domains one.example.test two.example.test
  renew notify.sh
  [ "$(mails)" -eq 0 ]
  SET+=(NOTIFY_RENEWALS=yes)
  : >"$T/full"
  again one.example.test two.example.test
  run -0 renew notify.sh
  [[ $output == *"exit_hook: exit status 75"* ]]
  rm "$T/full"
  again one.example.test two.example.test
  rm "$BASE"/notify/told-* # the next may have the same second in its name
  run -0 dehydrated notify.sh
  [ "$(mails)" -eq 1 ]
  [ "$(grep -c "^[a-z.]*: a new certificate$" "$T/mail/1")" -eq 4 ]
  [ "$(grep -c "^for one.example.test" "$T/mail/1")" -eq 2 ]
  grep -qE "^for two.example.test, until 20..-..-..T" "$T/mail/1"
  SET+=(NOTIFY_COMMAND="{ echo \"\$NOTIFY_SUBJECT\"; cat; } >$T/said")
  again two.example.test
  renew notify.sh
  [ "$(mails)" -eq 1 ]
  [[ $(head -n 1 "$T/said") == "certificates on $(uname -n): two.example.test: a new certificate" ]]
  # What a CA says is text of one kind only.
  SET+=(BASEDIR="$BASE" alias=one.example.test)
  cron "$HOOKS/notify.sh" request_failure 400 "$(printf 'oh\033[31m\r\nSubject: x\n%01000d' 0)" post "HTTP/2 400"
  cron "$HOOKS/notify.sh" exit_hook
  run ! grep -q "$(printf '[\033\r]')" "$T/said"
  [ "$(awk '{ if (length > max) max = length } END { print max }' "$T/said")" -eq 500 ]
}

@test "pkcs12: key and chain in one file, whole at every instant, its password no argument" {
  local way leaf
  mkdir "$T/p12"
  printf '%s\n' "geheim und lang" "second line" >"$T/password"
  SET=(PKCS12_FILE="$T/p12/{name}.p12" PKCS12_PASSWORD_FILE="$T/password" PKCS12_MODE=0640 PKCS12_RELOAD="echo told >>$T/told")
  [ "$(id -u)" -ne 0 ] || SET+=(PKCS12_OWNER=root:mail)
  domains one.example.test
  for way in renew dehydrated; do
    again one.example.test
    "$way" pkcs12.sh
    openssl pkcs12 -in "$T/p12/one.example.test.p12" -passin "pass:geheim und lang" -nodes -out "$T/all.pem"
    [ "$(grep -c "BEGIN CERTIFICATE" "$T/all.pem")" -eq 2 ]
    [ "$(openssl pkey -in "$T/all.pem" -pubout)" = "$(openssl x509 -in "$BASE/certs/one.example.test/cert.pem" -noout -pubkey)" ]
    grep -q "friendlyName: one.example.test" "$T/all.pem"
    [ "$(stat -c %a "$T/p12/one.example.test.p12")" = 640 ]
    [ "$(id -u)" -ne 0 ] || [ "$(stat -c %U:%G "$T/p12/one.example.test.p12")" = root:mail ]
  done
  [ "$(lines "$T/told")" -eq 2 ]
  # Without its password the old one stays, and the event is owed.
  leaf=$(md5sum <"$T/p12/one.example.test.p12")
  mv "$T/password" "$T/away"
  again one.example.test
  run -10 renew pkcs12.sh
  [ "$(md5sum <"$T/p12/one.example.test.p12")" = "$leaf" ]
  mv "$T/away" "$T/password"
  run -0 strace -f -qq -s 100000 -v -e trace=execve -o "$T/strace.log" env -i HOME="$HOME" PATH="$CRON_PATH" "${SET[@]}" \
    arid renew --config "$BASE/config" -k "$HOOKS/pkcs12.sh" --redeploy one.example.test
  grep -q '"pkcs12", ' "$T/strace.log"
  run -1 grep -F "geheim" "$T/strace.log"
  [ "$(lines "$T/told")" -eq 3 ]
  [ "$(ls -A "$T/p12")" = one.example.test.p12 ]
}
