#!/usr/bin/env bats
# What the README tells a newcomer to do, step by step.

load helper

setup() {
  take_ports HTTP_PORT TLS_PORT
  start_dns
  start_pebble
  arid_world
}
teardown() { stop_all; }

# snippet WORD: the README's line with that word, with its directory replaced.
snippet() { grep -F -- "$1" "$TOP/README.md" | sed "s|/var/www/dehydrated|$T/acme|"; }

@test "lighttpd as in the README, rehearsal, account, certificate, hook, renewal" {
  mkdir "$T/acme" "$T/root"
  chmod 755 "$T" "$T/acme"
  {
    printf 'server.bind = "127.0.0.1"\nserver.port = %s\nserver.document-root = "%s"\n' "$HTTP_PORT" "$T/root"
    printf 'server.modules = ( "mod_alias" )\n'
    snippet 'alias.url'
  } >"$T/lighttpd.conf"
  start_server web.log lighttpd -D -f "$T/lighttpd.conf"
  await_port "$HTTP_PORT" "$STARTED"
  unset ARID_WELLKNOWN

  run -0 env -u ARID_CA -u ARID_CA_BUNDLE arid rehearse --http-port "$HTTP_PORT" --wellknown "$T/acme" www.example.org
  [ ! -e "$ARID_BASEDIR" ]

  run -0 --separate-stderr arid register --accept-terms --contact hostmaster@example.org
  [[ $output == https://* ]]
  # The hook of the README, with a reload that can be seen.
  { grep -A 1 -F '#!/bin/sh' "$TOP/README.md" | sed "s/^ *//; s|systemctl reload nginx|echo reload >>$T/reloads|"; } >"$T/hook"
  chmod +x "$T/hook"
  arid sign --wellknown "$T/acme" --hook "$T/hook" www.example.org example.org
  run -0 arid sign --wellknown "$T/acme" --hook "$T/hook" www.example.org example.org
  [ -z "$output" ]
  [ "$(cat "$T/reloads")" = reload ]
  verify_chain "$ARID_BASEDIR/certs/www.example.org/fullchain.pem" example.org

  openssl req -new -newkey rsa:2048 -nodes -keyout "$T/key" -out "$T/request.csr" -subj / \
    -addext subjectAltName=DNS:elsewhere.example.org
  arid sign --wellknown "$T/acme" --csr "$T/request.csr" >"$T/chain.pem"
  verify_chain "$T/chain.pem" elsewhere.example.org
}
