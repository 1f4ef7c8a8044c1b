#!/usr/bin/env bats
# examples/hooks/prosody.sh with Prosody.

# shellcheck disable=SC2034,SC2154,SC2317  # what is set here is for the helpers, what they set for us, and functions that a test replaces

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree prosody.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.crt")
  take_ports PORT CLIENTS
  config
  export PROSODY_TLS=$TLS PROSODY_PREFLIGHT PROSODY_RELOAD
  PROSODY_PREFLIGHT=$(default preflight /etc/prosody/prosody.cfg.lua "$T/prosody.cfg.lua")
  PROSODY_RELOAD=$(telling "$(default reload /run/prosody "$T/data")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

config() {
  install -d -o prosody -g prosody "$T/data"
  cat >"$T/prosody.cfg.lua" <<EOC
pidfile = "$T/data/prosody.pid"
data_path = "$T/data"
certificates = "$TLS"
log = { info = "*console" }
interfaces = { "127.0.0.1" }
c2s_ports = { $CLIENTS }
c2s_direct_tls_ports = { $PORT }
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "tls", "saslauth", "posix", "roster", "disco" }
modules_disabled = { "s2s", "http" }
VirtualHost "$NAME"
EOC
}
start() {
  start_server prosody.log setpriv --reuid=prosody --regid=prosody --clear-groups prosody -F --config "$T/prosody.cfg.lua"
  await_port "$PORT" "$STARTED"
  await test -s "$T/data/prosody.pid"
  export PROSODY_VERIFY=127.0.0.1:$PORT
}
break_config() { echo 'nonsense(' >>"$T/prosody.cfg.lua"; }
mend_config() { sed -i '$d' "$T/prosody.cfg.lua"; }

@test "prosody: B after A, and a stream in the middle goes on" {
  local stream="<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='$NAME' version='1.0'>"
  shows_b_after_a "$stream" '</stream:stream>' '</stream:stream>'
  grep -q 'urn:ietf:params:xml:ns:xmpp-sasl' "$T/held.log"
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:prosody 640\nroot:prosody 644' ]
  # Where TLS begins after some talk it is the same.
  openssl s_client -connect "127.0.0.1:$CLIENTS" -starttls xmpp -xmpphost "$NAME" </dev/null >"$T/shown" 2>>"$T/s_client.err"
  [ "$(leaf "$T/shown")" = "$(live)" ]
}

@test "prosody: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "prosody: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "prosody: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}

@test "prosody: a directory that its user cannot enter keeps A, and B is owed" {
  with_a
  break_config() { chmod 700 "$TLS"; }
  mend_config() { chmod 755 "$TLS"; }
  refused_config
}
