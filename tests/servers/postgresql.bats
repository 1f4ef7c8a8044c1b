#!/usr/bin/env bats
# examples/hooks/postgresql.sh with PostgreSQL.

# shellcheck disable=SC2034,SC2154,SC2317  # what is set here is for the helpers, what they set for us, and functions that a test replaces

load ../bats/helper
load common

setup_file() { start_ca; }
setup() {
  fresh_tree postgresql.sh
  FILES=("$TLS/$NAME.key" "$TLS/$NAME.pem")
  STARTTLS=postgres
  take_ports PORT
  mkdir "$T/run"
  export POSTGRESQL_TLS=$TLS POSTGRESQL_RELOAD
  POSTGRESQL_RELOAD=$(telling "$(default reload /run/postgresql "$T/run")")
}
teardown() { end_tree; }
teardown_file() { stop_all; }

# In a directory that its user can enter.
AS_POSTGRES=(env -C / setpriv --reuid=postgres --regid=postgres --init-groups)
BIN=/usr/lib/postgresql/15/bin

start() {
  chown postgres "$T/run"
  "${AS_POSTGRES[@]}" "$BIN/initdb" -A trust -N --locale=C -D "$T/run/data" >"$T/initdb.log"
  cat >>"$T/run/data/postgresql.conf" <<EOC
listen_addresses = '127.0.0.1'
port = $PORT
unix_socket_directories = ''
external_pid_file = '$T/run/15-main.pid'
fsync = off
ssl = on
ssl_cert_file = '$TLS/$NAME.pem'
ssl_key_file = '$TLS/$NAME.key'
EOC
  start_server postgresql.log "${AS_POSTGRES[@]}" "$BIN/postgres" -D "$T/run/data"
  await_port "$PORT" "$STARTED"
  export POSTGRESQL_VERIFY=127.0.0.1:$PORT
}
break_config() { chmod 700 "$TLS"; }
mend_config() { chmod 755 "$TLS"; }

# hold, still_held: with what speaks PostgreSQL.
hold() {
  mkfifo "$T/say"
  exec {SAY}<>"$T/say"
  # shellcheck disable=SC2016  # for that shell
  start_server held.log bash -c 'exec "${@:2}" <"$1"' - "$T/say" \
    psql -X -A -t "host=127.0.0.1 port=$PORT user=postgres sslmode=require"
  printf '%s\n' "$1" >&"$SAY"
  await grep -qx 42 "$T/held.log"
}
still_held() {
  printf '%s\n' "$1" '\q' >&"$SAY"
  await grep -qx "$2" "$T/held.log"
  exec {SAY}>&-
}

@test "postgresql: B after A, and a session in the middle goes on" {
  shows_b_after_a 'SELECT 40 + 2;' 'SELECT 40 + 3;' 43
  [ "$(stat -c '%U:%G %a' "${FILES[@]}")" = $'postgres:postgres 600\npostgres:postgres 644' ]
}

@test "postgresql: nothing due, nothing done" {
  with_a
  nothing_due
  unknown_events
}

@test "postgresql: a key that does not fit never gets there" {
  with_a
  key_that_does_not_fit
}

@test "postgresql: a directory that its user cannot enter keeps A, and B is owed" {
  with_a
  refused_config
}

@test "postgresql: with a key that is open to others it goes on with A, which comes back, and B is owed" {
  local reload=$POSTGRESQL_RELOAD told_in_vain=2
  break_config() { POSTGRESQL_RELOAD="[ -e $T/opened ] || { : >$T/opened; chmod 644 ${FILES[0]}; }; $reload"; }
  mend_config() { POSTGRESQL_RELOAD=$reload; }
  with_a
  refused_config
  grep 'private key file ".*" has group or world access' "$T/postgresql.log"
}
