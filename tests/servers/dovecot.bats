#!/usr/bin/env bats
# examples/hooks/dovecot.sh with Dovecot.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree dovecot.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  STARTTLS=imap
  take_ports PORT
  config
  export DOVECOT_TLS=$TLS DOVECOT_PREFLIGHT DOVECOT_RELOAD
  DOVECOT_PREFLIGHT=$(default preflight /etc/dovecot/dovecot.conf "$T/dovecot.conf")
  DOVECOT_RELOAD=$(telling "$(default reload /run/dovecot "$T/run")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

config() {
  mkdir "$T/run"
  install -d -o nobody -g nogroup "$T/mail"
  cat >"$T/dovecot.conf" <<EOC
base_dir = $T/run
state_dir = $T/run
log_path = /dev/stderr
listen = 127.0.0.1
protocols = imap
ssl = required
ssl_cert = <$TLS/$NAME.pem
ssl_key = <$TLS/$NAME.key
mail_location = maildir:$T/mail
service imap-login {
  inet_listener imap {
    port = $PORT
  }
  inet_listener imaps {
    port = 0
  }
}
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=$T/mail
}
EOC
}
start() {
  start_server dovecot.log dovecot -F -c "$T/dovecot.conf"
  await_port "$PORT" "$STARTED"
  export DOVECOT_VERIFY=127.0.0.1:$PORT/imap
}
break_config() { echo 'nonsense = yes' >>"$T/dovecot.conf"; }
mend_config() { sed -i '$d' "$T/dovecot.conf"; }

@test "dovecot: B after A, and a session in the middle goes on" {
  shows_b_after_a 'a LOGIN user secret\r\n' 'b NOOP\r\n' '^b OK'
  grep -q '^a OK' "$T/held.log"
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:root 600\nroot:root 644' ]
}

@test "dovecot: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "dovecot: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "dovecot: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}
