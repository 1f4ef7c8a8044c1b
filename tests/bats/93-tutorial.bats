#!/usr/bin/env bats
# The tutorial that arid was asked for by, with arid for its client: users, tree, s6,
# snooze, execline, tcpserver, as examples/tutorial has it, on a host of its own: its
# paths and users are the tutorial's.
#
# T1 to T18 are rows of the list of what the texts that arid was made of promise.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317  # scripts are quoted here; what is set and called here is for the helpers, and what they and bats set for us

load helper
load servers

EXAMPLES=$TOP/examples/tutorial
TLS=host/etc/ssl/letsencrypt
CHAIN=$TLS/signed_chain.crt
CHALLENGES=host/home/www/example/.well-known/acme-challenge
LOG=host/var/log/renew-lets-encrypt/current
QMAIL=/var/qmail/control/servercert.pem

setup_file() {
  is_root || return 0
  take_addresses WEB
  take_ports TLS_PORT
  HTTP_PORT=80
  start_dns
  start_pebble 0
  local name
  for name in www.example.org mail.example.org; do
    dns_manage add-a "{\"host\": \"$name\", \"addresses\": [\"$WEB\"]}"
  done
  FILE_T=$T
  export FILE_T WEB DNS_ADDR DIRECTORY CA_FILE MGMT
}
setup() {
  as_root
  cd "$T" || return
}
teardown() {
  end_host
  stop_all
  show_file_logs
  [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 "$T"/host/var/log/*/current || :
}
teardown_file() { stop_all; }

# --- a host of its own

# start_host: T/host has its /etc, /home, /run, /var and /usr/local/bin, all else is
# that of this host. s6-svscan is the first process, and looks after /run/service;
# nothing it starts outlives it.
start_host() {
  mkdir -p host/{etc/arid,home,run/service,usr,var/log}
  (cd /etc && cp -a --parents passwd group shadow gshadow login.defs ld.so.cache alternatives ssl/openssl.cnf "$T/host/etc")
  sed -i -E '/^(tls|www|qmaild|qmail):/d' host/etc/{passwd,group,shadow,gshadow}
  printf '%s\n' "127.0.0.1 localhost" "$WEB www.example.org mail.example.org" >host/etc/hosts
  echo "hosts: files" >host/etc/nsswitch.conf
  install -m 644 "$CA_FILE" host/etc/arid/ca.pem
  use_ca "$DIRECTORY"
  install -D -m 755 "$BUILD/arid" host/usr/bin/arid
  cp -r "$TOP/examples" host/
  sed -i "s/ 0 80$/ $WEB 80/" host/examples/tutorial/www/run # the one address that is ours
  open_way "$T/host"
  chmod 755 host
  start_server host.log unshare --mount --pid --fork --kill-child --mount-proc --propagation private sh -euc '
    mount --bind "$1/host" /srv
    cd /srv
    for dir in etc home run var; do mount --bind "$dir" "/$dir"; done
    mount --bind usr/bin /usr/local/bin
    exec env -i HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin s6-svscan /run/service' sh "$T"
  await pgrep -P "$STARTED" -x s6-svscan >host.pid
  HOST=$(cat host.pid)
  await in_host s6-svscanctl -a /run/service
}

# in_host PROGRAM ARGUMENT...: run there, as root, where the examples are.
in_host() {
  nsenter -t "$HOST" --mount --pid \
    env -i -C /srv HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# end_host: and all that runs there.
end_host() {
  [ -n "${HOST:-}" ] || return 0
  kill -KILL "$HOST"
  await test ! -e "/proc/$HOST"
}

# use_ca URL [LINE...]: what the host's config says.
use_ca() {
  printf '%s\n' "CA=$1" CA_BUNDLE=/etc/arid/ca.pem "DNS_RESOLVER=$DNS_ADDR" "${@:2}" >host/etc/arid/config
}

# --- the README

# block WORD: the README's lines of code from one blank line to the next, where one has
# WORD in it.
block() {
  awk -v word="$1" '
    /^    / { code = code substr($0, 5) "\n"; next }
    /^$/ && code && index(code, word) { printf "%s", code; found = 1; exit }
    { code = "" }
    END { exit !found }' "$EXAMPLES/README.md"
}

# follow WORD: does what stands there.
follow() { in_host sh -euc "$(block "$1")"; }

# prepare: users, tree, keys, account and web server, as the README has it.
prepare() {
  start_host
  follow "useradd"
  follow "install -d"
  follow "openssl req"
  follow "arid register"
  follow "tutorial/www"
  await answers "$WEB" 80
}

# --- services

# pid_of SERVICE: of what s6 looks after in it.
pid_of() { in_host s6-svstat -o pid "/run/service/$1" 2>/dev/null; }

# waits SERVICE: snooze is what runs in it, and sleeps. Sets PID, as it is called there.
waits() {
  PID=$(pid_of "$1") && [ "${PID:--1}" -gt 0 ] && in_host cat "/proc/$PID/status" 2>/dev/null | snoozes
}
waits_anew() { waits "$1" && [ "$PID" != "$2" ]; }

# alarm SERVICE: now. BEFORE is who waited.
alarm() {
  await waits "$1"
  BEFORE=$PID
  in_host s6-svc -a "/run/service/$1"
}

# fire SERVICE: now, and until it waits again.
fire() {
  alarm "$1"
  await waits_anew "$1" "$BEFORE"
}

# service FOLDER: an example becomes a service.
service() {
  mkdir -p host/var/log/{renew-lets-encrypt,qmail-certificate}
  in_host cp -r "examples/tutorial/$1" /run/service/
  in_host s6-svscanctl -a /run/service
}

# sign_as USER UMASK FLAG...: the line that all of the scripts have, by hand.
sign_as() {
  in_host s6-setuidgid "$1" sh -c 'umask "$1" && shift && exec arid sign "$@"' sh "$2" \
    --account-key /etc/ssl/letsencrypt/account.key --csr /etc/ssl/letsencrypt/domain.csr "${@:3}"
}

# modes FILE...: owner, group and mode of each, there.
modes() { in_host stat -c '%U:%G %a' "$@"; }

# empty_or_gone FILE
empty_or_gone() { [ ! -s "$1" ]; }

# always_due [URL]: each firing is an order; certificates of this CA have 90 days.
always_due() { use_ca "${1:-$DIRECTORY}" RENEW_DAYS=91; }

# blocks FILE: the kinds of the PEM blocks in it.
blocks() { grep -h -e BEGIN "$1" | tr -d -- - | xargs; }
QMAIL_BLOCKS="BEGIN CERTIFICATE BEGIN CERTIFICATE BEGIN PRIVATE KEY"

# loads_rsa FILE: what the TLS patch of qmail-smtpd does with its file, as qmaild: a
# chain, and a key that is RSA or nothing.
loads_rsa() {
  in_host setpriv --reuid qmaild --regid qmail --clear-groups perl -MNet::SSLeay -e '
    Net::SSLeay::initialize();
    my $ctx = Net::SSLeay::CTX_new();
    Net::SSLeay::CTX_use_certificate_chain_file($ctx, $ARGV[0]) &&
      Net::SSLeay::CTX_use_RSAPrivateKey_file($ctx, $ARGV[0], Net::SSLeay::FILETYPE_PEM()) &&
      Net::SSLeay::CTX_check_private_key($ctx) or die Net::SSLeay::ERR_error_string(Net::SSLeay::ERR_get_error()), "\n"' "$1"
}

# with_qmail: its users, and its folder.
with_qmail() {
  in_host groupadd --system qmail
  in_host useradd --system --gid qmail --home-dir /nonexistent --shell /usr/sbin/nologin qmaild
  in_host install -d -m 755 /var/qmail /var/qmail/control
}

# stall: the web server takes connections and says nothing until `flow`, so that the CA
# waits.
stall() {
  in_host s6-svc -wD -d /run/service/www
  rm -f host/flow
  start_server stall.log in_host tcpserver -R -H -l 0 "$WEB" 80 sh -c '
    until [ -e /srv/flow ]; do sleep 0.1; done
    exec busybox httpd -i -h /home/www/www.example.org:80'
  await answers "$WEB" 80
}
# flow: it answers, those who wait too.
flow() {
  : >host/flow
  end_inside tcpserver
  in_host s6-svc -u /run/service/www
  await answers "$WEB" 80
}

# in_flight: a token is there, and not yet validated. Sets ARID, its process there.
in_flight() {
  [ -n "$(ls -A $CHALLENGES)" ] && ARID=$(in_host pgrep -x arid)
}
gone() { ! in_host test -e "/proc/$1/exe"; }

# by_lighttpd, by_nginx: for the same tree; the folder is found as tipidee does it, by the
# link HOST:PORT.
by_lighttpd() {
  cat >host/lighttpd.conf <<EOT
server.modules = ("mod_evhost")
server.bind = "$WEB"
server.port = 80
server.username = "www"
server.document-root = "/home/www/none"
evhost.path-pattern = "/home/www/%_:80/"
EOT
  start_server lighttpd.log in_host lighttpd -D -f /srv/lighttpd.conf
  await answers "$WEB" 80
}
by_nginx() {
  mkdir host/nginx
  nginx_config /srv/nginx www "listen $WEB:80;" 'root /home/www/$host:80;' >host/nginx.conf
  start_server nginx.log in_host nginx -c /srv/nginx.conf
  await answers "$WEB" 80
}

# end_inside PROGRAM: the first of that name there.
end_inside() {
  local pid
  pid=$(in_host pgrep -o -x "$1")
  in_host kill "$pid"
  await gone "$pid"
}

# --- the page

@test "T1, T2, T4, T5: the README, line by line: users, tree, web server, s6; once more with nothing due" {
  prepare
  [ "$(modes /etc/ssl/letsencrypt /home/www /home/www/example | xargs)" = "tls:tls 750 www:www 751 tls:tls 750" ]
  run -0 --separate-stderr follow "acme-challenge/try"
  [ "$output" = yes ]
  follow "tutorial/daily"
  await waits daily
  follow "s6-svc -a"
  await waits_anew daily "$PID"
  await logged "downloaded 2 certificates"
  run -0 follow "tail "
  [[ $output == *"downloaded 2 certificates"*"DNS:www.example.org, DNS:mail.example.org"* ]]
  verify_chain $CHAIN www.example.org
  verify_chain $CHAIN mail.example.org
  [ "$(modes /etc/ssl/letsencrypt/signed_chain.crt)" = "tls:tls 640" ]
  [ ! -e $CHAIN.new ]
  [ -z "$(ls -A $CHALLENGES)" ]
  cp $CHAIN first

  # Nothing is due: the same chain again, and the CA is not asked.
  local before
  before=$(requests "$FILE_T")
  fire daily
  cmp $CHAIN first
  [ "$(requests "$FILE_T")" -eq "$before" ]
  [ ! -e $CHAIN.new ]
  # The log has what was said on stderr, a line with a time for each, and nothing else.
  await logged " not due before "
  [[ $(tail -n 1 $LOG) == @*" arid: www.example.org: not due before "* ]]
  [ "$(grep -cvE '^@[0-9a-f]{24} arid: ' $LOG)" -eq 0 ]
  run ! env LC_ALL=C grep -n '[^ -~]' $LOG

  with_qmail
  follow "tutorial/qmail"
  await waits qmail
  before=$PID
  follow "s6-svc -a /run/service/qmail"
  await waits_anew qmail "$before"
  [ "$(modes $QMAIL)" = "qmaild:qmail 640" ]
  verify_chain "host$QMAIL" mail.example.org
  loads_rsa $QMAIL
}

@test "T8: each service waits as it says" {
  local file words
  # Once a month, as the tutorial has it.
  grep -qx 'snooze -d 1' "$EXAMPLES/renew-lets-encrypt-srv/run"
  # Once a day: at the earliest 20 hours after the last try, whatever came of it.
  for file in daily runit daemontools; do
    words=$(grep -oE 'snooze .*-t stamp' "$EXAMPLES/$file/run" | tr -d '"')
    [ "$words" = "snooze -H * -M * -J 4h -T 20h -t stamp" ]
    set -f
    touch -d "1 hour ago" stamp
    # shellcheck disable=SC2086  # words
    ((19 * 3600 - 120 <= $(until_first ${words#snooze })))
    touch -d "10 days ago" stamp
    # shellcheck disable=SC2086
    (($(until_first ${words#snooze }) <= 60))
    set +f
    # Before the work, so that what fails is no loop.
    [ "$(grep -nE 'touch stamp|arid sign' "$EXAMPLES/$file/run" | grep -o 'touch stamp\|arid sign' | xargs)" = "touch stamp arid sign" ]
  done
  words=$(grep -o 'snooze .*' "$EXAMPLES/qmail/run")
  [ "$words" = "snooze -H * -M 0 -J 60m" ]
}

@test "T8: certificates of six days: three tries at least between the day when one is due and its end" {
  HTTP_PORT=80
  take_ports TLS_PORT
  start_pebble 0 '"profiles": {"default": {"description": "160 hours", "validityPeriod": 576000}}'
  prepare
  service daily
  fire daily
  verify_chain $CHAIN www.example.org
  fire daily
  local due end
  await logged " not due before "
  due=$(date -d "$(sed -n 's/.* not due before //p' $LOG)" +%s)
  end=$(date -d "$(openssl x509 -in $CHAIN -noout -enddate | cut -d= -f2)" +%s)
  # A try comes 24 hours and some seconds after the last one, at the latest.
  ((end - due > 3 * 24 * 3600 + 3600))
}

# until_first WORD...: seconds until the first moment that snooze would take.
until_first() {
  TZ=UTC snooze -n "$@" >moments
  echo $(($(date -u -d "$(head -n 1 moments | cut -c 1-19)" +%s) - $(date +%s)))
}

@test "T2, T3, T16, T18: the same tree behind three servers: they show the key authorization and no more" {
  prepare
  in_host ln -s example /home/www/mail.example.org:80
  # The CA has not been told when the hook is called: what does the world see?
  cat >host/hook <<'EOT'
#!/bin/sh
set -e
[ "$1" = deploy_challenge ] || exit 0
cd /var/seen
printf %s "$4" >said
curl -sS --fail -o seen "http://$2/.well-known/acme-challenge/$3"
EOT
  chmod 755 host/hook
  in_host install -d -o tls /var/seen
  local server
  for server in tcpserver lighttpd nginx; do
    [ $server = tcpserver ] || "by_$server"
    rm -f host/var/seen/*
    # By the link that is there for tipidee.
    sign_as tls 026 --acme-dir /home/www/www.example.org:80/.well-known/acme-challenge/ --disable-check --hook /srv/hook >chain
    verify_chain chain www.example.org
    cmp host/var/seen/said host/var/seen/seen
    [ -z "$(ls -A $CHALLENGES)" ]
    if [ $server = tcpserver ]; then in_host s6-svc -wD -d /run/service/www; else end_inside $server; fi
  done
}

@test "T15, T9: who may read a token: by the umask and the folder's group, and www by its groups" {
  prepare
  printf '%s\n' '#!/bin/sh' '[ "$1" = deploy_challenge ] || exit 0' \
    'stat -c "%U:%G %a" "/home/www/example/.well-known/acme-challenge/$3" >&2' >host/hook
  chmod 755 host/hook
  local flags=(--acme-dir /home/www/example/.well-known/acme-challenge --disable-check --hook /srv/hook)
  sign_as tls 026 "${flags[@]}" >chain 2>modes
  [ "$(sort -u modes)" = "tls:tls 640" ] || fail "$(cat modes)"
  verify_chain chain www.example.org
  # Written by another, with the group of the folder.
  sign_as root 027 "${flags[@]}" >chain 2>modes
  [ "$(sort -u modes)" = "root:tls 640" ] || fail "$(cat modes)"
  verify_chain chain www.example.org
  # The server cannot read it: nothing on stdout.
  run -1 --separate-stderr sign_as tls 077 "${flags[@]}"
  [ -z "$output" ]
  [[ $stderr == *"tls:tls 600"*"www.example.org"* ]]
  # And no more can it without its groups.
  in_host sed -i "s|^s6-applyuidgid -U$|s6-applyuidgid -u $(in_host id -u www) -g $(in_host id -g www) -G \"\"|" /run/service/www/run
  in_host s6-svc -wD -d /run/service/www
  in_host s6-svc -u /run/service/www
  await answers "$WEB" 80
  run -1 --separate-stderr sign_as tls 026 "${flags[@]}"
  [ -z "$output" ]
  [ "$(modes /home/www/example/.well-known/acme-challenge)" = "tls:tls 2750" ]
  [ -z "$(ls -A $CHALLENGES)" ]
}

# --- failures

# survives SERVICE URL: an outage of the CA, which is at URL then, TERM and KILL in the middle. The old chain stays,
# nothing half done is left, s6 comes back and the next firing works.
survives() {
  local signal
  always_due
  fire "$1"
  verify_chain $CHAIN www.example.org
  cp $CHAIN first

  # The CA is down.
  always_due "$2"
  fire "$1"
  await logged "$2"
  cmp $CHAIN first
  empty_or_gone $CHAIN.new
  always_due

  for signal in TERM KILL; do
    stall
    alarm "$1"
    await in_flight
    in_host kill "-$signal" "$ARID"
    await waits_anew "$1" "$BEFORE"
    cmp $CHAIN first
    empty_or_gone $CHAIN.new
    # One that is killed can take nothing away.
    [ $signal = KILL ] || [ -z "$(ls -A $CHALLENGES)" ]
    flow
    fire "$1"
    verify_chain $CHAIN mail.example.org
    run ! cmp -s $CHAIN first
    empty_or_gone $CHAIN.new
    cp $CHAIN first
    rm -f $CHALLENGES/*
  done
}

# ended_by_svc SERVICE: s6-svc -d while it works; s6-svc -u, and it works again.
ended_by_svc() {
  stall
  alarm "$1"
  await in_flight
  in_host s6-svc -wD -d "/run/service/$1"
  await gone "$ARID"
  await logged "ended by signal SIGTERM" 2 # the first was by kill
  cmp $CHAIN first
  [ -z "$(ls -A $CHALLENGES)" ]
  flow
  in_host s6-svc -u "/run/service/$1"
  fire "$1"
  run ! cmp -s $CHAIN first
}

@test "T10, T12: the daily service: CA down, TERM, KILL, s6-svc -d" {
  prepare
  service daily
  survives daily https://127.0.0.1:1/dir
  ended_by_svc daily
  # ALRM is no end for one who is at work.
  cp $CHAIN first
  stall
  alarm daily
  await in_flight
  in_host s6-svc -a /run/service/daily
  in_host kill -0 "$ARID"
  flow
  await waits_anew daily "$BEFORE"
  run ! cmp -s $CHAIN first
}

@test "T8, T10, T11, T13, T14: the tutorial's own script: issues, owner and order of qmail's file, CA down, TERM, KILL" {
  prepare
  with_qmail
  # Under s6-rc it is a longrun, and its log another; s6 alone wants a folder for that.
  in_host cp -r examples/tutorial/renew-lets-encrypt-log examples/tutorial/renew-lets-encrypt-srv/log
  service renew-lets-encrypt-srv
  survives renew-lets-encrypt-srv https://127.0.0.1:1/dir
  [ "$(modes $QMAIL)" = "qmaild:qmail 640" ]
  [ "$(blocks "host$QMAIL")" = "$QMAIL_BLOCKS" ]
  loads_rsa $QMAIL
  [ "$(ls -A host/var/qmail/control)" = servercert.pem ]

  # s6-svc -d ends "if", and not the client; what that brings is not put in place.
  stall
  alarm renew-lets-encrypt-srv
  await in_flight
  in_host s6-svc -wD -d /run/service/renew-lets-encrypt-srv
  in_host kill -0 "$ARID"
  flow
  await gone "$ARID"
  cmp $CHAIN first
  verify_chain $CHAIN.new www.example.org
}

@test "T5: the source folders for s6-rc: a longrun and its log, which name each other" {
  local from=$EXAMPLES/renew-lets-encrypt-srv to=$EXAMPLES/renew-lets-encrypt-log
  [ "$(cat "$from/type" "$to/type" | xargs)" = "longrun longrun" ]
  [ "$(cat "$from/producer-for")" = "$(basename "$to")" ]
  [ "$(cat "$to/consumer-for")" = "$(basename "$from")" ]
  [ -e "$from/dependencies.d/mount" ]
  [ -e "$from/dependencies.d/networking" ]
}

# --- qmail

@test "T13, T14: qmail's service: the file is whole, in order, and qmaild's at every instant of ten renewals" {
  prepare
  with_qmail
  service qmail
  always_due
  fire qmail
  loads_rsa $QMAIL
  cat >host/reader <<'EOT'
while [ ! -e /srv/stop ]; do
  {
    stat -L -c '%U:%G %a' /dev/stdin
    cat
  } <"$1" >/srv/seen/now || echo missing >>/srv/seen/now
  mv /srv/seen/now "/srv/seen/$(md5sum </srv/seen/now | cut -d' ' -f1)"
done
EOT
  in_host install -d -o qmaild /srv/seen
  start_server reader.log in_host setpriv --reuid qmaild --regid qmail --clear-groups bash /srv/reader $QMAIL
  # s6 takes a second each time, so that most are by its scripts alone.
  grep -v '^snooze ' "$EXAMPLES/qmail/run" >host/renew
  chmod 755 host/renew
  local round seen count=0
  for round in 1 2 3 4 5 6 7 8 9 10; do
    if ((round % 5)); then
      in_host /srv/renew 2>&1
      in_host /run/service/qmail/finish 0 0 qmail 0
    else
      fire qmail
    fi
    openssl x509 -in "host$QMAIL" -noout -serial >>serials
  done
  : >host/stop
  await reader_ended
  [ "$(sort -u serials | wc -l)" -eq 10 ]
  for seen in host/seen/*; do
    ((count += 1))
    [ "$(head -n 1 "$seen")" = "qmaild:qmail 640" ]
    [ "$(blocks "$seen")" = "$QMAIL_BLOCKS" ]
    [ "$(openssl rsa -in "$seen" -pubout 2>>openssl.log)" = "$(openssl x509 -in "$seen" -noout -pubkey)" ]
  done
  ((count > 1))
  [ "$(ls -A host/var/qmail/control)" = servercert.pem ]

  # One who serves mail, as qmaild, has certificate, chain and key from this file alone.
  local port
  take_ports port
  start_server s_server.log in_host setpriv --reuid qmaild --regid qmail --clear-groups \
    openssl s_server -accept "127.0.0.1:$port" -cert $QMAIL -cert_chain $QMAIL -key $QMAIL -quiet
  await_port "$port" "$STARTED"
  pebble_root root.pem
  run -0 openssl s_client -connect "127.0.0.1:$port" -CAfile root.pem -verify_return_error -verify_hostname mail.example.org </dev/null
  [[ $output == *"Verification: OK"* ]]
}

reader_ended() { ! in_host pgrep -f /srv/reader >/dev/null; }

@test "T13, T14: hooks/qmail.sh: RSA alone, of one certificate alone; who cannot give files away is told so" {
  prepare
  with_qmail
  local flags=(--base /etc/ssl/letsencrypt --account-key /etc/ssl/letsencrypt/account.key
    --wellknown /home/www/example/.well-known/acme-challenge --hook /srv/examples/hooks/qmail.sh)
  in_host arid sign "${flags[@]}" --algo rsa2048 mail.example.org
  [ "$(modes $QMAIL)" = "qmaild:qmail 640" ]
  [ "$(blocks "host$QMAIL")" = "$QMAIL_BLOCKS" ]
  loads_rsa $QMAIL
  cp "host$QMAIL" first
  # Not of this kind: owed until there is one.
  run -10 in_host arid sign "${flags[@]}" --algo prime256v1 --alias ec mail.example.org
  [[ $output == *"qmail.sh: ec has no RSA key: arid sign --algo rsa2048"* ]]
  cmp "host$QMAIL" first
  run ! loads_rsa /etc/ssl/letsencrypt/certs/ec/privkey.pem
  # Not this one.
  in_host env QMAIL_NAME=mail.example.org arid sign "${flags[@]}" --algo rsa2048 www.example.org
  cmp "host$QMAIL" first
  # By one who is not root, with a folder that he may write to.
  in_host chown -R tls:tls /etc/ssl/letsencrypt
  in_host install -d -m 777 /var/qmail/open
  run -10 in_host s6-setuidgid tls env QMAIL_FILE=/var/qmail/open/servercert.pem arid sign "${flags[@]}" --algo rsa2048 --alias other mail.example.org
  [[ $output == *"/var/qmail/open"*"operation not permitted"* ]]
  [ -z "$(ls -A host/var/qmail/open)" ]
}

# --- in sh

# survives_in_sh ALARM DOWN UP: the same under another supervisor, with CA down.
survives_in_sh() {
  always_due
  $1
  await fresh first
  cp $CHAIN first
  always_due https://127.0.0.1:1/dir # no directory is there
  $1
  await logged https://127.0.0.1:1/dir
  await waits renew
  cmp $CHAIN first
  empty_or_gone $CHAIN.new
  always_due
  stall
  $1
  await in_flight
  $2
  await gone "$ARID"
  await logged "ended by signal SIGTERM"
  cmp $CHAIN first
  empty_or_gone $CHAIN.new
  [ -z "$(ls -A $CHALLENGES)" ]
  flow
  $3
  $1
  await fresh first
  verify_chain $CHAIN www.example.org
}

# fresh FILE: the chain is there, and another one.
fresh() { [ -s $CHAIN ] && ! cmp -s $CHAIN "$1"; }
# logged TEXT [COUNT]: so many lines have it (1) at least; the logger writes them in its
# own time.
logged() { [ "$(grep -cF -- "$1" $LOG)" -ge "${2:-1}" ]; }

@test "T1, T10: runit: now, CA down, sv down while it works" {
  prepare
  mkdir -p host/var/log/renew-lets-encrypt
  in_host cp -r examples/tutorial/runit /run/renew
  start_server runsv.log in_host runsv /run/renew
  pid_of() { in_host cat /run/renew/supervise/pid 2>/dev/null; }
  alarm_it() { await waits renew && in_host sv alarm /run/renew; }
  down() { in_host sv -w 20 down /run/renew; }
  up() { in_host sv up /run/renew; }
  survives_in_sh alarm_it down up
  in_host sv -w 20 exit /run/renew
}

@test "T1, T10: daemontools: now, CA down, svc -d while it works" {
  prepare
  mkdir -p host/var/log/renew-lets-encrypt host/run/svscan
  in_host cp -r examples/tutorial/daemontools /run/svscan/renew
  in_host chmod +t /run/svscan/renew # svscan looks for log/ where this is set
  start_server svscan.log in_host svscan /run/svscan
  pid_of() { in_host svstat /run/svscan/renew 2>/dev/null | sed -n 's/.*(pid \([0-9]*\)).*/\1/p'; }
  alarm_it() { await waits renew && in_host svc -a /run/svscan/renew; }
  down() { in_host svc -d /run/svscan/renew; }
  up() { in_host svc -u /run/svscan/renew; }
  survives_in_sh alarm_it down up
}
