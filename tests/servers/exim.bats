#!/usr/bin/env bats
# examples/hooks/exim.sh with Exim.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() {
  start_ca
  # It is no neighbour of Postfix: unpacked, and where it looks its user is what is called
  # `mail` here.
  (cd "$T" && apt-get download -q exim4-daemon-light >"$T/apt.log" 2>&1 && dpkg-deb -x exim4-daemon-light_*.deb "$T/unpacked") ||
    fail "cannot unpack Exim: $(cat "$T/apt.log")"
  sed 's/^mail:/Debian-exim:/' /etc/passwd >"$T/passwd"
  sed 's/^mail:/Debian-exim:/' /etc/group >"$T/group"
  cat >"$T/exim4" <<EOC
#!/bin/sh
exec unshare -m sh -c 'mount --bind "$T/passwd" /etc/passwd && mount --bind "$T/group" /etc/group &&
  exec "$T/unpacked/usr/sbin/exim4" "\$@"' exim4 "\$@"
EOC
  chmod +x "$T/exim4"
}
setup() {
  fresh_tree exim.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  STARTTLS=smtp
  RELOADS=0
  take_ports PORT
  install -d -o mail -g mail "$T/spool"
  cat >"$T/exim.conf" <<EOC
primary_hostname = mail.example.test
spool_directory = $T/spool
log_file_path = $T/spool/%slog
pid_file_path = $T/spool/exim.pid
daemon_smtp_ports = $PORT
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = $TLS/$NAME.pem
tls_privatekey = $TLS/$NAME.key
keep_environment =
EOC
  export EXIM_TLS=$TLS EXIM_USER=mail EXIM_PREFLIGHT
  EXIM_PREFLIGHT=$(default preflight exim4 "$FILE_T/exim4 -C $T/exim.conf")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  start_server exim.log "$FILE_T/exim4" -C "$T/exim.conf" -bdf
  await_port "$PORT" "$STARTED"
  export EXIM_VERIFY=127.0.0.1:$PORT/smtp
}
break_config() { echo 'nonsense = yes' >>"$T/exim.conf"; }
mend_config() { sed -i '$d' "$T/exim.conf"; }

@test "exim: B after A without a word, and a session in the middle goes on" {
  shows_b_after_a 'EHLO client.example.test\r\n' 'NOOP\r\n' '^250 OK'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:mail 640\nroot:mail 644' ]
}

@test "exim: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "exim: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "exim: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}
