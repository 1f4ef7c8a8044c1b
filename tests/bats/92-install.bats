#!/usr/bin/env bats
# Certificates into real servers: arid install, check and promote with lighttpd, nginx
# and what reads qmail's file.

# shellcheck disable=SC2153  # set by start_lighttpd and start_nginx

load helper
load servers

setup_file() {
  is_root || return 0
  start_real_world
}
setup() {
  as_root
  arid_world
  export ARID_DNS_RESOLVER=$RESOLVER T
  open_way "$T/base"
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# sign_again NAME...: a certificate with these names, whatever there is. Without its
# state the order does not say that it replaces another: Pebble 2.10 answers some of
# those with 500, as it does not find each serial number again.
sign_again() {
  rm -f "$ARID_BASEDIR"/certs/*/state.json
  arid sign -q --accept-terms -x "$@"
}

# live NAME: the fingerprint of the live certificate.
live() { leaf "$ARID_BASEDIR/certs/$1/cert.pem"; }

# https_lighttpd: with what is in T/www.pem, as www-data.
https_lighttpd() { start_lighttpd lighttpd "server.username = \"www-data\" ssl.pemfile = \"$T/www.pem\""; }

# lighttpd_files: what installs into it, but for preflight and reload.
lighttpd_files() {
  LIGHTTPD=(www.example.test --parts "key,fullchain" --owner root:www-data --mode 0640 --to "$T/www.pem")
}

# https_nginx: with T/www.key and T/www.crt.
https_nginx() { start_nginx "$T/www.crt" "$T/www.key"; }

nginx_files() {
  NGINX=(www.example.test --parts key --to "$T/www.key" --parts fullchain --to "$T/www.crt")
}

@test "L9 L21: lighttpd: B is served after A; nothing new, nothing done" {
  lighttpd_files
  sign_again www.example.test
  run --separate-stderr -0 arid install "${LIGHTTPD[@]}"
  [ "$stderr" = "arid: www.example.test: installed: $T/www.pem" ]
  [ "$(stat -c '%U:%G %a' "$T/www.pem")" = "root:www-data 640" ]
  https_lighttpd
  [ "$(served "$PORT")" = "$(live www.example.test)" ]
  sign_again www.example.test
  [ "$(served "$PORT")" != "$(live www.example.test)" ]
  arid install "${LIGHTTPD[@]}" --preflight "lighttpd -tt -f $T/lighttpd.conf" --as www-data \
    --reload "echo told >>$T/told; $RELOAD" --verify "127.0.0.1:$PORT"
  [ "$(served "$PORT")" = "$(live www.example.test)" ]
  run --separate-stderr -0 arid install "${LIGHTTPD[@]}" --reload "echo told >>$T/told" --verify "127.0.0.1:$PORT"
  [ -z "$output$stderr" ]
  [ "$(cat "$T/told")" = told ]
  [ -z "$(find "$T" -maxdepth 1 -name '.*' -type f)" ]
}

@test "lighttpd: a key that its user cannot read never gets to the server" {
  lighttpd_files
  sign_again www.example.test
  arid install "${LIGHTTPD[@]}"
  https_lighttpd
  local before
  before=$(served "$PORT")
  sign_again www.example.test
  # With this SIGUSR1 would end it.
  run -10 arid install www.example.test --parts key,fullchain --owner root:root --mode 0600 --to "$T/www.pem" \
    --preflight "lighttpd -tt -f $T/lighttpd.conf" --as www-data --reload "echo told >>$T/told; $RELOAD"
  [[ $output == *"--preflight: exit status"* ]]
  [[ $output == *"hint: what was there before is back in place"* ]]
  [ ! -e "$T/told" ]
  [ "$(served "$PORT")" = "$before" ]
  [ "$(leaf "$T/www.pem")" = "$before" ]
  [ "$(stat -c '%U:%G %a' "$T/www.pem")" = "root:www-data 640" ]
}

@test "L9 L21: nginx: B is served after A, with both files changed" {
  nginx_files
  sign_again www.example.test
  arid install "${NGINX[@]}"
  [ "$(stat -c '%U:%G %a' "$T/www.key")" = "root:root 600" ]
  [ "$(stat -c '%U:%G %a' "$T/www.crt")" = "root:root 644" ]
  https_nginx
  sign_again www.example.test
  arid install "${NGINX[@]}" --preflight "nginx -t -q -c $T/nginx.conf" --reload "$RELOAD" --verify "127.0.0.1:$PORT"
  await_served "$PORT" "$ARID_BASEDIR/certs/www.example.test/cert.pem"
  await arid check -q "127.0.0.1:$PORT" --name www.example.test
  run -0 arid check "127.0.0.1:$PORT" --name www.example.test
  [[ $output == *": served as it is on disk"* ]]
}

@test "nginx: files that do not belong together never get to the server" {
  nginx_files
  sign_again www.example.test
  arid install "${NGINX[@]}"
  https_nginx
  local before
  before=$(served "$PORT")
  sign_again www.example.test
  run -10 arid install www.example.test --parts key --to "$T/www.key" --parts chain --to "$T/www.crt" \
    --preflight "nginx -t -q -c $T/nginx.conf" --reload "echo told >>$T/told; $RELOAD" --verify "127.0.0.1:$PORT"
  [[ $output == *"key values mismatch"* ]]
  [ ! -e "$T/told" ]
  [ "$(served "$PORT")" = "$before" ]
  nginx -t -q -c "$T/nginx.conf"
  [ "$(leaf "$T/www.crt")" = "$before" ]
}

@test "nginx: a server that goes on with A gets A back, and status 10" {
  nginx_files
  sign_again www.example.test
  arid install "${NGINX[@]}"
  https_nginx
  local before
  before=$(served "$PORT")
  sign_again www.example.test
  run -10 arid install "${NGINX[@]}" --reload "echo told >>$T/told" --verify "127.0.0.1:$PORT" --verify-wait 1s
  [[ $output == *"127.0.0.1 shows another certificate, for www.example.test, until "* ]]
  [[ $output == *"and the server was told again"* ]]
  [ "$(wc -l <"$T/told")" -eq 2 ]
  [ "$(leaf "$T/www.crt")" = "$before" ]
  [ "$(openssl pkey -in "$T/www.key" -pubout)" = "$(openssl x509 -in "$T/www.crt" -noout -pubkey)" ]
  [ "$(served "$PORT")" = "$before" ]
}

@test "killed while the server is told: the next run tells it" {
  nginx_files
  sign_again www.example.test
  arid install "${NGINX[@]}"
  https_nginx
  sign_again www.example.test
  # shellcheck disable=SC2016  # for the shell that arid starts
  run -137 arid install "${NGINX[@]}" --reload 'kill -KILL $PPID'
  [ "$(leaf "$T/www.crt")" = "$(live www.example.test)" ]
  [ "$(served "$PORT")" != "$(live www.example.test)" ]
  arid install "${NGINX[@]}" --reload "echo told >>$T/told; $RELOAD" --verify "127.0.0.1:$PORT"
  await_served "$PORT" "$ARID_BASEDIR/certs/www.example.test/cert.pem"
  arid install "${NGINX[@]}" --reload "echo told >>$T/told; $RELOAD"
  [ "$(cat "$T/told")" = told ]
  [ -z "$(find "$T" -maxdepth 1 -name '.*' -type f)" ]
}

@test "from hooks: each certificate is installed, and the server told once" {
  mkdir "$T/tls"
  printf '%s\n' "one.example.test" "two.example.test" "three.example.test" >"$ARID_BASEDIR.txt"
  cat >"$T/hook" <<EOC
#!/bin/sh
case \$1 in
deploy_cert) arid install "\$alias" --parts key --to "$T/tls/{name}.key" --parts fullchain --to "$T/tls/{name}.crt" ;;
exit_hook)
  [ -z "\$ARID_HOOK_CHANGED" ] ||
    arid install \$ARID_HOOK_CHANGED --parts key,fullchain --to "$T/tls/{name}.pem" --reload 'echo "\$ARID_HOOK_CHANGED" >>$T/told' ;;
esac
EOC
  chmod +x "$T/hook"
  export ARID_DOMAINS_TXT=$ARID_BASEDIR.txt
  arid renew --accept-terms -k "$T/hook"
  local name
  for name in one two three; do
    [ "$(leaf "$T/tls/$name.example.test.crt")" = "$(live $name.example.test)" ]
    [ "$(leaf "$T/tls/$name.example.test.pem")" = "$(live $name.example.test)" ]
  done
  [ "$(wc -l <"$T/told")" -eq 1 ]
  [ "$(tr ' ' '\n' <"$T/told" | sort | xargs)" = "one.example.test three.example.test two.example.test" ]
  # A deployment that fails is owed, and tried again by the next run.
  chmod -x "$T/tls"
  mv "$T/tls" "$T/away"
  run -10 arid renew -k "$T/hook" -x two.example.test
  run -10 arid renew -k "$T/hook" --redeploy two.example.test
  mv "$T/away" "$T/tls"
  chmod +x "$T/tls"
  arid renew -k "$T/hook" --redeploy two.example.test
  [ "$(leaf "$T/tls/two.example.test.pem")" = "$(live two.example.test)" ]
}

# T13, T14 of the tutorial: qmail's one file, read for each connection.
@test "qmail's file: right in content, order, owner and mode at every instant, and read by who knows RSA alone" {
  local file=$T/control/servercert.pem reader port
  mkdir -m 755 "$T/control"
  sign_again -a rsa2048 mail.example.test
  QMAIL=(mail.example.test --parts "fullchain,key" --owner daemon:mail --mode 0640 --to "$file")
  arid install "${QMAIL[@]}"
  [ "$(grep -h -e BEGIN "$file" | tr -d -- - | xargs)" = "BEGIN CERTIFICATE BEGIN CERTIFICATE BEGIN PRIVATE KEY" ]
  mkdir "$T/seen"
  cat >"$T/reader" <<'EOC'
while [ ! -e "$T/stop" ]; do
  {
    stat -L -c '%U:%G %a' /dev/stdin
    cat
  } <"$1" >"$T/seen/now" || printf 'missing\n' >>"$T/seen/now"
  mv "$T/seen/now" "$T/seen/$(md5sum <"$T/seen/now" | cut -d' ' -f1)"
done
EOC
  bash "$T/reader" "$file" 3>&- &
  reader=$!
  remember "$reader"
  for _ in 1 2 3 4 5; do
    sign_again -a rsa2048 mail.example.test
    arid install "${QMAIL[@]}"
    # What fails puts the old one back, which is no less whole.
    sign_again -a rsa2048 mail.example.test
    run -10 arid install "${QMAIL[@]}" --preflight false
  done
  : >"$T/stop"
  wait "$reader"
  local seen count=0
  for seen in "$T"/seen/*; do
    ((count += 1))
    [ "$(head -n 1 "$seen")" = "daemon:mail 640" ]
    [ "$(grep -e BEGIN "$seen" | tr -d -- - | xargs)" = "BEGIN CERTIFICATE BEGIN CERTIFICATE BEGIN PRIVATE KEY" ]
    [ "$(openssl rsa -in "$seen" -pubout 2>>"$T/openssl.log")" = "$(openssl x509 -in "$seen" -noout -pubkey)" ]
  done
  [ "$count" -gt 1 ]
  # An EC key would be none for this reader.
  sign_again -a prime256v1 ec.example.test
  run ! openssl rsa -in "$ARID_BASEDIR/certs/ec.example.test/privkey.pem" -noout
  # What serves mail reads key and chain from the one file.
  take_ports port
  start_server s_server.log openssl s_server -accept "127.0.0.1:$port" -cert "$file" -cert_chain "$file" -key "$file" -quiet
  await_port "$port" "$STARTED"
  [ "$(served "$port" mail.example.test)" = "$(leaf "$file")" ]
  pebble_root "$T/root.pem"
  run -0 openssl s_client -connect "127.0.0.1:$port" -CAfile "$T/root.pem" -verify_return_error -verify_hostname mail.example.test </dev/null
  [[ $output == *"Verification: OK"* ]]
}

@test "one who is not root gets a clear error, and no half-done file" {
  mkdir -m 777 "$T/open"
  sign_again www.example.test
  chmod -R a+rX "$ARID_BASEDIR"
  local as=(setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$T/open" "$(command -v arid)")
  run -77 "${as[@]}" install www.example.test --parts key,fullchain --owner daemon --to "$T/open/www.pem"
  [[ $output == *"operation not permitted"* ]]
  run -77 "${as[@]}" install www.example.test --parts key,fullchain --to "$T/www.pem"
  [[ $output == *"permission denied"* ]]
  [ -z "$(ls -A "$T/open")" ]
  "${as[@]}" install www.example.test --parts key,fullchain --to "$T/open/www.pem"
  [ "$(stat -c '%U:%G %a' "$T/open/www.pem")" = "nobody:nogroup 600" ]
  [ "$(ls -A "$T/open")" = www.pem ]
}

# The way of lws-acme-client, with a web server that reads its files as root.
@test "L14 L20: staged files are put in place by the server's run script, and a server starts with no certificate at all" {
  cat >"$T/run" <<EOC
#!/bin/sh
arid promote --or-self-signed "$T/tls/www.crt" "$T/tls/www.key" || exit 111
cat "$T/tls/www.key" "$T/tls/www.crt" >"$T/www.pem" && chmod 640 "$T/www.pem" && chgrp www-data "$T/www.pem"
exec lighttpd -D -f "$T/lighttpd.conf"
EOC
  chmod +x "$T/run"
  mkdir -m 700 "$T/tls"
  : >"$T/www.pem" # before the first start there is nothing to be read
  arid promote --or-self-signed "$T/tls/www.crt" "$T/tls/www.key"
  rm "$T"/tls/*
  take_ports PORT
  sed "s/^server.port.*/server.port = $PORT/" <<EOC >"$T/lighttpd.conf"
server.modules = ("mod_openssl")
server.bind = "127.0.0.1"
server.port = 0
server.document-root = "$T"
ssl.engine = "enable"
ssl.pemfile = "$T/www.pem"
EOC
  start_server run.log "$T/run"
  await_port "$PORT" "$STARTED"
  run -0 served "$PORT"
  [ "$output" = "$(leaf "$T/tls/www.crt")" ]
  local placeholder=$output
  sign_again www.example.test
  arid install www.example.test --stage --parts fullchain --to "$T/tls/www.crt" --parts key --to "$T/tls/www.key"
  [ "$(served "$PORT")" = "$placeholder" ]
  [ "$(leaf "$T/tls/www.crt")" = "$placeholder" ]
  stop_server "$STARTED"
  start_server run.log "$T/run"
  await_port "$PORT" "$STARTED"
  [ "$(served "$PORT")" = "$(live www.example.test)" ]
  [ "$(leaf "$T/tls/www.crt.old.0")" = "$placeholder" ]
  [ "$(ls -A "$T/tls")" = "$(printf '%s\n' www.crt www.crt.old.0 www.key www.key.old.0)" ]
}

# The binary itself, killed at each rename and link.
@test "L20: promote, killed at any step: once more ends with a pair" {
  local call when killed=0 status names=(one.example.test two.example.test) name=0
  sign_again "${names[0]}"
  sign_again "${names[1]}"
  arid install "${names[0]}" --stage --parts fullchain --to "$T/tls.crt" --parts key --to "$T/tls.key"
  arid promote "$T/tls.crt" "$T/tls.key"
  for call in linkat renameat unlinkat fsync; do
    for when in 1 2 3 4 5; do
      name=$((1 - name))
      arid install "${names[name]}" --stage --parts fullchain --to "$T/tls.crt" --parts key --to "$T/tls.key"
      status=0
      strace -f -o "$T/strace.log" -e "trace=$call" -e "inject=$call:signal=KILL:when=$when" arid promote "$T/tls.crt" "$T/tls.key" || status=$?
      [ "$status" -eq 0 ] || { [ "$status" -eq 137 ] && ((killed += 1)); }
      arid promote "$T/tls.crt" "$T/tls.key"
      [ "$(leaf "$T/tls.crt")" = "$(live "${names[name]}")" ]
      [ "$(openssl pkey -in "$T/tls.key" -pubout)" = "$(openssl x509 -in "$T/tls.crt" -noout -pubkey)" ]
      [ ! -e "$T/tls.crt.upd" ]
      [ ! -e "$T/tls.key.upd" ]
    done
  done
  [ "$killed" -ge 6 ]
}

@test "check: what is served, what is on disk, and what to do about it" {
  nginx_files
  sign_again www.example.test
  arid install "${NGINX[@]}"
  https_nginx
  run --separate-stderr -0 arid check "127.0.0.1:$PORT"
  [ -z "$stderr" ]
  [[ $output == "127.0.0.1:$PORT at 127.0.0.1: served as it is on disk"* ]]
  local old
  old=$(basename "$(readlink "$ARID_BASEDIR/certs/www.example.test/live")")
  sign_again www.example.test
  run --separate-stderr -1 arid check "127.0.0.1:$PORT" --name www.example.test
  [[ $output == *": ANOTHER certificate than on disk"* ]]
  [ "$(grep -c 'SHA-256 ' <<<"$output")" -eq 2 ]
  [[ $stderr == *"it is an older one of www.example.test, version $old"* ]]
  run -0 arid check "127.0.0.1:$PORT" --cert "$T/www.crt"
  local other
  take_ports other
  run -75 arid check "127.0.0.1:$other"
  [[ $output == *"connection refused"* ]]
  run -1 arid check "$WEB:80"
  [[ $output == *"no TLS"* || $output == *"closes the connection in the TLS handshake"* ]]
}

@test "check --dns: names as a CA would look at them" {
  run --separate-stderr -0 arid check --dns www.example.test
  [[ $output == "www.example.test: nothing seen that speaks against http-01"* ]]
  [[ $output == *"  addresses $WEB"* ]]
  [[ $stderr == "arid: warning: www.example.test: no public CA comes to $WEB" ]]
  [ -z "$(ls -A "$WELLKNOWN")" ]
  run -0 arid check --dns -t tls-alpn-01 www.example.test
  run -1 arid check --dns www.example.test noaddress.example.test
  [[ $output == *"noaddress.example.test: http-01 WOULD FAIL"* ]]
  [[ $output == *"[no-address]"* ]]
  ARID_WELLKNOWN=$T run -1 arid check --dns www.example.test
  [[ $output == *"[http-missing]"* ]]
  run -0 arid check --dns -t dns-01 '*.example.test' cname.example.test
  [[ $output == *"_acme-challenge.cname.example.test (CNAME to cname.acme.other.test)"* ]]
  [[ $output == *"zone      acme.other.test, at ns1.acme.other.test ($PRIMARY)"* ]]
  run -1 arid check --dns -t dns-01 lost.example.test
  [[ $output == *"[dns-chain]"* ]]
  run -75 arid check --dns -t dns-01 www.lame.test # SERVFAIL
  ARID_DNS_RESOLVER=$NOBODY run -75 arid check --dns -t dns-01 www.example.test
}
