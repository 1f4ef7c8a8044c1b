#!/usr/bin/env bats
# examples/hooks/postfix.sh with Postfix.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree postfix.sh
  FILES=("$TLS/$NAME.pem")
  STARTTLS=smtp
  take_ports PORT
  config
  export POSTFIX_TLS=$TLS POSTFIX_PREFLIGHT POSTFIX_RELOAD
  POSTFIX_PREFLIGHT=$(default preflight /etc/postfix "$T/etc")
  POSTFIX_RELOAD=$(telling "$(default reload /etc/postfix "$T/etc")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

config() {
  mkdir "$T/etc" "$T/spool"
  install -d -o postfix "$T/data"
  cat >"$T/etc/main.cf" <<EOC
compatibility_level = 3.6
queue_directory = $T/spool
data_directory = $T/data
maillog_file = $T/maillog
maillog_file_prefixes = $T
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
mydestination =
alias_maps =
alias_database =
smtpd_tls_security_level = may
smtpd_tls_chain_files = $TLS/$NAME.pem
EOC
  cat >"$T/etc/master.cf" <<EOC
127.0.0.1:$PORT inet n - n - - smtpd
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
EOC
}
start() {
  start_server postfix.log postfix -c "$T/etc" start-fg
  await_port "$PORT" "$STARTED"
  remember "$(xargs <"$T/spool/pid/master.pid")" # which outlives the script that started it
  export POSTFIX_VERIFY=127.0.0.1:$PORT/smtp
}
break_config() { echo 'daemon_timeout = nonsense' >>"$T/etc/main.cf"; }
mend_config() { sed -i '$d' "$T/etc/main.cf"; }

@test "postfix: B after A, and a session in the middle goes on" {
  shows_b_after_a 'EHLO client.example.test\r\n' 'NOOP\r\n' '^250 2.0.0 Ok'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = 'root:root 600' ]
  [ "$(grep BEGIN "${FILES[0]}" | tr -d -- - | xargs)" = "BEGIN EC PRIVATE KEY BEGIN CERTIFICATE BEGIN CERTIFICATE" ]
}

@test "postfix: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "postfix: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "postfix: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}
