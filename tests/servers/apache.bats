#!/usr/bin/env bats
# examples/hooks/apache.sh with Debian's Apache and its apachectl.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they set for us

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  as_root
  fresh_tree apache.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  take_ports PORT
  mkdir -m 755 "$T/apache" "$T/run"
  export APACHE_CONFDIR=$T/apache # for apachectl
  cat >"$T/apache/envvars" <<EOC
export APACHE_RUN_USER=www-data APACHE_RUN_GROUP=www-data APACHE_RUN_DIR=$T/run APACHE_PID_FILE=$T/run/apache2.pid
EOC
  cat >"$T/apache/apache2.conf" <<EOC
ServerName localhost
PidFile \${APACHE_PID_FILE}
DefaultRuntimeDir \${APACHE_RUN_DIR}
User \${APACHE_RUN_USER}
Group \${APACHE_RUN_GROUP}
ErrorLog $T/apache.log
Listen 127.0.0.1:$PORT
$(printf 'LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n' mpm_event mpm_event authz_core authz_core ssl ssl alias alias)
SSLEngine on
SSLCertificateFile $TLS/$NAME.pem
SSLCertificateKeyFile $TLS/$NAME.key
Redirect gone /
EOC
  export APACHE_TLS=$TLS APACHE_RELOAD
  APACHE_RELOAD=$(telling "$(default reload /run/apache2/apache2.pid "$T/run/apache2.pid")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

start() {
  # As apachectl does it, but in the process that stop_all ends.
  # shellcheck disable=SC2016  # for that shell
  start_server apache.log sh -c '. "$1/envvars" && exec apache2 -d "$1" -D FOREGROUND' - "$T/apache"
  await_port "$PORT" "$STARTED"
  await test -s "$T/run/apache2.pid"
  export APACHE_VERIFY=127.0.0.1:$PORT
}
break_config() { printf 'Nonsense on\n' >>"$T/apache/apache2.conf"; }
mend_config() { sed -i '$d' "$T/apache/apache2.conf"; }

@test "apache: B after A, and a request in the middle goes on" {
  shows_b_after_a "GET / HTTP/1.0\r\nHost: $NAME\r\n" '\r\n' '410 Gone'
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'root:root 600\nroot:root 644' ]
}

@test "apache: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "apache: a key that does not fit, which would end it, never gets there" {
  with_a
  key_that_does_not_fit
}

@test "apache: a configuration that it does not take keeps A, and B is owed" {
  with_a
  refused_config
}
