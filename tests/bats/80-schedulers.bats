#!/usr/bin/env bats
# The examples for schedulers, each by the program that it is for or by that one's own
# check: whatever starts `arid renew`, a certificate comes of it.

# shellcheck disable=SC2016,SC2034,SC2154  # scripts are quoted here; what is set here is for the helpers, and what they and bats set for us

load helper
load systemd
load servers

EXAMPLES=$TOP/examples
NAME=www.example.test

setup_file() {
  start_world
  arid_world
  settings
  arid register --accept-terms
  FILE_T=$T
  export FILE_T DIRECTORY CA_FILE MGMT WELLKNOWN
}
setup() {
  arid_world
  settings
  mkdir "$ARID_BASEDIR"
  cp -a "$FILE_T/base/accounts" "$ARID_BASEDIR/"
  echo "$NAME" >"$ARID_BASEDIR/domains.txt"
  CERT=$ARID_BASEDIR/certs/$NAME/fullchain.pem
  cd "$T" || return
}
teardown() {
  end_systemd
  stop_all
  [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs "$FILE_T"
}
teardown_file() { stop_all; }

# settings: those of arid_world as a config file, for what starts with no environment.
settings() {
  printf '%s\n' "BASEDIR=$ARID_BASEDIR" "CA=$DIRECTORY" "CA_BUNDLE=$CA_FILE" "WELLKNOWN=$WELLKNOWN" >"$ARID_CONFIG"
}

# issued LOG: the certificate is there, and LOG says so in one line and no more. A logger
# writes it in its own time.
issued() {
  verify_chain "$CERT" "$NAME"
  await grep -qs "arid: $NAME: issued, valid until " "$1"
  [ "$(grep -c "arid: $NAME: issued, valid until " "$1")" -eq 1 ] || fail "$(cat "$1")"
}

# --- sh

@test "scripts are in the language that their first line says" {
  local script
  for script in "$EXAMPLES"/*/* "$EXAMPLES"/*/*/* "$EXAMPLES"/*/*/*/*; do
    [ -f "$script" ] || continue
    case $(head -n 1 "$script") in
      "#!/bin/sh" | "#!/sbin/openrc-run")
        dash -n "$script"
        busybox sh -n "$script"
        shellcheck -x -s sh -e SC2034 "$script" # OpenRC reads variables that its scripts only set
        ;;
      "#!/bin/execlineb -P" | "#!/bin/execlineb -S2") ;;
      "#!"*) fail "$script: $(head -n 1 "$script")" ;;
      *) continue ;;
    esac
    [ -x "$script" ] || fail "$script may not be executed"
  done
}

# --- cron

# job FILE: the one line of a crontab that is a job.
job() { grep '^[0-9*]' "$1"; }

# as_cron PATH COMMAND: a command as cron runs it.
as_cron() {
  env -i HOME="$HOME" LOGNAME=root SHELL=/bin/sh PATH="$BUILD:$1" ARID_CONFIG="$ARID_CONFIG" /bin/sh -c "$2"
}

@test "cron.d: the minute is one's own, cron takes it, and a certificate comes of it" {
  local install minute rest
  install=$(sed -n 's|^# *\(sed .*\) >/etc/cron.d/arid$|\1|p' "$EXAMPLES/cron/cron.d")
  grep -qF "    ${install/cron.d/examples/cron/cron.d} >/etc/cron.d/arid" "$TOP/docs/schedulers.md"
  (cd "$EXAMPLES/cron" && sh -c "$install") >arid.cron
  read -r minute rest <<<"$(job arid.cron)"
  ((minute >= 0 && minute < 60))
  [ "$rest" = "* * * *  root  arid renew" ]
  diff <(job "$EXAMPLES/cron/cron.d") <(job arid.cron | sed "s/^$minute /17 /")

  # crontab checks the form without a user.
  sed 's/  root  / /' arid.cron >own.cron
  run -0 crontab -n own.cron
  sed 's/^[0-9]* /60 /' own.cron >bad.cron
  run ! crontab -n bad.cron

  as_cron "$(sed -n 's/^PATH=//p' arid.cron)" "${rest#*root}" >mail 2>&1
  issued mail
  as_cron "$(sed -n 's/^PATH=//p' arid.cron)" "${rest#*root}" >mail 2>&1
  [ ! -s mail ] || fail "$(cat mail)"
}

# busybox_takes FILE: busybox' crond has nothing against it, and runs the job at minute
# 17 of each hour; it tells both with a mark for each minute, and one for each hour.
# (It would write to /run.)
busybox_takes() {
  local log=crond$((++crond)).log
  mkdir -p crontabs
  cp "$1" crontabs/root
  start_server "$log" unshare --mount --propagation private sh -c \
    'mount -t tmpfs tmpfs /run && exec busybox crond -f -l 0 -L /dev/stderr -c "$1"' sh "$T/crontabs"
  await grep -qE '^[01]{7}$|parse error' "$log"
  stop_server "$STARTED"
  ! grep 'parse error' "$log" &&
    grep -qxE '0{17}10{42}' "$log" && grep -qxE '1{24}' "$log"
}

@test "crontab: cron takes it, and so does busybox" {
  as_root
  run -0 crontab -n "$EXAMPLES/cron/crontab"
  [[ $(job "$EXAMPLES/cron/crontab") == *"  /usr/local/bin/arid renew" ]]
  busybox_takes "$EXAMPLES/cron/crontab"
  sed 's/^17 /70 /' "$EXAMPLES/cron/crontab" >bad.cron
  run ! busybox_takes bad.cron
}

@test "busybox: run-parts finds the script, and a certificate comes of it" {
  mkdir hourly
  sed "s|/usr/local/bin/arid|$BUILD/arid|; s|30m|1ms|" "$EXAMPLES/openrc/arid.periodic" >hourly/arid
  chmod 755 hourly/arid
  busybox run-parts hourly >log 2>&1
  issued log
  busybox run-parts hourly >log 2>&1
  [ ! -s log ] || fail "$(cat log)"
  run -0 arid renew --jitter "$(sed -n 's/.*--jitter //p' "$EXAMPLES/openrc/arid.periodic" | sed 's/30m/1ms/')"
}

# --- systemd

# unit_root: T/root has systemd's own units and ours, arid, and the hardening.
unit_root() {
  local unit
  mkdir -p root/usr/lib/systemd root/etc/systemd/system root/usr/local/bin
  ln -s usr/lib root/lib
  cp -r /usr/lib/systemd/system root/usr/lib/systemd/
  cp "$EXAMPLES"/systemd/*.service "$EXAMPLES"/systemd/*.timer root/etc/systemd/system/
  for unit in arid.service arid@.service; do
    mkdir "root/etc/systemd/system/$unit.d"
    cp "$EXAMPLES/systemd/hardening.conf" "root/etc/systemd/system/$unit.d/"
  done
  cp "$BUILD/arid" root/usr/local/bin/
}

@test "systemd: the units are as it wants them" {
  unit_root
  run -0 systemd-analyze verify --root="$T/root" arid.service arid.timer \
    arid@www.example.org.service arid@www.example.org.timer
  [ -z "$output" ] || fail "$output"
  # It is told what it does not know, with status 0.
  echo "ProtectEverything=yes" >>root/etc/systemd/system/arid.service.d/hardening.conf
  run systemd-analyze verify --root="$T/root" arid.service
  [[ $output == *"Unknown key 'ProtectEverything'"* ]]
}

@test "systemd: the hardening is worth its costs" {
  unit_root
  local unit
  for unit in arid.service arid@.service; do
    systemd-analyze security --no-pager --offline=true --threshold=35 --root="$T/root" "$unit" >log 2>&1 ||
      fail "$(tail -n 1 log)"
    rm -r "root/etc/systemd/system/$unit.d"
    run ! systemd-analyze security --no-pager --offline=true --threshold=90 --root="$T/root" "$unit"
  done
}

@test "systemd: each hour, at a minute of one's own" {
  local timer
  for timer in arid.timer arid@.timer; do
    timer=$EXAMPLES/systemd/$timer
    systemd-analyze calendar --iterations=3 "$(sed -n 's/^OnCalendar=//p' "$timer")" >log
    grep -q 'Normalized form: \*-\*-\* \*:00:00$' log
    grep -qx 'RandomizedDelaySec=1h' "$timer"
    grep -qx 'FixedRandomDelay=yes' "$timer"
  done
}

# ended UNIT RESULT [STATUS]: so it has ended last.
ended() { diff <(tail -n 1 ended) <(echo "$*"); }

@test "systemd: hardened, it renews, and a hook reloads; 10 is a failure, and 75 is none" {
  as_root
  local unit
  mkdir units
  cp "$EXAMPLES"/systemd/*.service "$EXAMPLES"/systemd/*.timer units/
  for unit in arid.service arid@.service; do
    mkdir "units/$unit.d"
    cp "$EXAMPLES/systemd/hardening.conf" "units/$unit.d/"
    printf '%s\n' '[Service]' Environment=ARID_CONFIG=/srv/t/config StandardError=append:/srv/t/unit.log \
      "ExecStopPost=/bin/sh -c 'echo %n \$\$SERVICE_RESULT \$\$EXIT_STATUS >>/srv/t/ended'" >"units/$unit.d/test.conf"
  done
  printf '[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/sh -c "echo reload >>/srv/t/reloads"\n' >units/web.service
  printf '%s\n' '#!/bin/sh' '[ "$1" != deploy_cert ] || systemctl reload web' >hook
  chmod 755 hook
  echo "HOOK=$T/hook" >>config
  sed -i "s|=$T/|=/srv/t/|; s|=$FILE_T/|=/srv/f/|" config
  start_systemd
  in_systemd systemctl start web.service

  in_systemd systemctl start arid.service
  ended arid.service success 0
  issued unit.log
  [ "$(cat reloads)" = reload ]

  # Another certificate, whose hook fails.
  echo "mail-1.example.test" >>base/domains.txt
  echo '[ "$1" != deploy_cert ] || exit 3' >>hook
  run ! in_systemd systemctl start arid@mail-1.example.test.service
  ended arid@mail-1.example.test.service exit-code 10
  grep -q 'mail-1.example.test: "/srv/t/hook" deploy_cert: exit status 3' unit.log

  # And a CA that is away.
  echo "away.example.test" >>base/domains.txt
  echo "CA=https://127.0.0.1:1/dir" >>config
  in_systemd systemctl start arid@away.example.test.service
  ended arid@away.example.test.service success 75

  # With ExecCondition=, as docs/schedulers.md has it, by recorded statuses.
  printf '%s\n' '#!/bin/sh' '[ "$1" = due ] || exec /srv/t/arid "$@"' 'exit "$(cat /srv/t/due)"' >local/arid
  cp "$BUILD/arid" arid
  printf '[Service]\n%s\n' "$(grep -o 'ExecCondition=[^`]*' "$TOP/docs/schedulers.md")" >units/arid.service.d/condition.conf
  in_systemd systemctl daemon-reload
  echo 1 >due
  in_systemd systemctl start arid.service
  ended arid.service exec-condition
  run ! in_systemd systemctl is-failed arid.service
  echo 255 >due
  run ! in_systemd systemctl start arid.service
  ended arid.service exit-code
  in_systemd systemctl is-failed arid.service
  echo 0 >due
  in_systemd systemctl start arid.service || : # arid decides
  [[ $(tail -n 1 ended) == "arid.service "*" "[0-9]* ]]

  in_systemd systemctl start arid.timer arid@mail-1.example.test.timer
  [ "$(in_systemd systemctl list-timers --all --no-legend | grep -c ' arid\(@mail-1.example.test\)\?.timer ')" -eq 2 ]
}

# --- snooze

@test "snooze: all examples and the page wait for a random minute of the next hour" {
  local file words
  for file in "$EXAMPLES"/runit/arid/run "$EXAMPLES"/s6/arid/run "$EXAMPLES"/s6/run.sh "$EXAMPLES"/s6/csr/run \
    "$EXAMPLES"/openrc/arid.initd "$TOP/docs/schedulers.md"; do
    # With its options alone it is told to show the next times, whatever quotes there are.
    words=$(grep -oE -- "-H [*'/1]+ -M 0 -J 60m" "$file" | tr -d "'" | sort -u)
    [ "$(wc -l <<<"$words")" -eq 1 ]
    set -f
    # shellcheck disable=SC2086  # words
    TZ=UTC snooze -n $words >moments
    set +f
    [ "$(grep -cE 'T[0-9]{2}:00:00.*\(plus up to 3600s for jitter\)$' moments)" -eq 5 ] || fail "$file: $(cat moments)"
    [ "$(cut -c 12-13 moments | sort -u | wc -l)" -eq 5 ]
  done
}

# waits DIR: snooze is what runs in the service directory DIR, and sleeps. Sets PID.
waits() {
  PID=$(pid_of "$1") && [ -n "$PID" ] && snoozes 2>/dev/null <"/proc/$PID/status"
}
# waits_anew DIR PID: and it is another one.
waits_anew() { waits "$1" && [ "$PID" != "$2" ]; }

# logs DIR: its log service writes to T/log.
logs() {
  mkdir -p log
  sed -i "s|/var/log/arid|$T/log|" "$1/log/run"
}

@test "runit: waits, renews when it is told to, waits again" {
  pid_of() { cat "$1/supervise/pid" 2>/dev/null; }
  local before
  cp -r "$EXAMPLES/runit/arid" sv
  logs sv
  start_server runsv.log runsv "$T/sv"
  await waits "$T/sv"
  before=$PID
  [ ! -e "$CERT" ]

  sv alarm "$T/sv"
  await waits_anew "$T/sv" "$before"
  issued log/current
  before=$PID
  sv alarm "$T/sv"
  await waits_anew "$T/sv" "$before"
  issued log/current # still a single line
  [ "$(wc -l <log/current)" -eq 1 ] || fail "$(cat log/current)"

  sv -w 20 exit "$T/sv"
  await test ! -e "/proc/$PID"
}

# start_s6 DIR: the service directory DIR under s6, in T/scan.
start_s6() {
  mkdir -p scan
  [ ! -e "$1/log" ] || logs "$1"
  mv "$1" "scan/$1"
  start_server s6.log s6-svscan "$T/scan"
  await waits "scan/$1"
}
pid_of() { s6-svstat -o pid "$1" 2>/dev/null; }

# renews_under_s6: as with runit.
renews_under_s6() {
  local before=$PID
  [ ! -e "$CERT" ]
  s6-svc -a scan/arid
  await waits_anew scan/arid "$before"
  issued log/current
  before=$PID
  s6-svc -a scan/arid
  await waits_anew scan/arid "$before"
  [ "$(wc -l <log/current)" -eq 1 ] || fail "$(cat log/current)"
  s6-svc -d scan/arid
  await test ! -e "/proc/$PID"
}

@test "s6: waits, renews when it is told to, waits again" {
  cp -r "$EXAMPLES/s6/arid" arid
  start_s6 arid
  renews_under_s6
}
@test "s6: the same in sh" {
  cp -r "$EXAMPLES/s6/arid" arid
  cp "$EXAMPLES/s6/run.sh" arid/run
  start_s6 arid
  renews_under_s6
}

@test "s6: a CSR, by a user who owns two folders, ordered once" {
  as_root
  local before
  mkdir -p csr bin tls
  install -m 755 "$BUILD/arid" bin/
  open_way "$T/bin/arid"
  open_way "$CA_FILE"
  chmod a+r "$CA_FILE"
  openssl ecparam -name prime256v1 -genkey -noout -out tls/account.key
  openssl req -new -newkey rsa:2048 -nodes -keyout domain.key -out tls/domain.csr -subj / \
    -addext "subjectAltName=DNS:$NAME" 2>openssl.log
  chown -R nobody tls "$WELLKNOWN"
  chmod 750 tls
  : >"$ARID_CONFIG"
  unset ARID_BASEDIR ARID_WELLKNOWN

  sed "s|tls\$|nobody|; s|/etc/ssl/letsencrypt|$T/tls|; s|/home/www/www.example.org/.well-known/acme-challenge|$WELLKNOWN|" \
    "$EXAMPLES/s6/csr/run" >csr/run
  chmod 755 csr/run
  # The line of the comment, and then the script.
  PATH=$T/bin:$PATH setpriv --reuid nobody --regid nogroup --clear-groups \
    sh -c "$(sed -n '/^#   arid register/,/^# *$/s/^# *//p' csr/run)"
  CERT=$T/tls/certs/$NAME/fullchain.pem
  PATH=$T/bin:$PATH start_s6 csr
  before=$PID
  s6-svc -a scan/csr
  await waits_anew scan/csr "$before"
  issued s6.log
  [ "$(stat -c %U "$CERT")" = nobody ]
  cp "$CERT" first.pem
  before=$PID
  s6-svc -a scan/csr
  await waits_anew scan/csr "$before"
  cmp "$CERT" first.pem
  chown root "$WELLKNOWN"
}

# next NEXT: T/sv waits as snooze/next.sh has it where `arid status --next` says NEXT, or
# fails where it is "fails". AT is the moment.
next() {
  echo "$1" >next
  if [ -n "${STARTED:-}" ]; then
    sv -w 20 force-stop "$T/sv" >/dev/null
    sv -w 20 start "$T/sv"
  else
    start_server runsv.log runsv "$T/sv"
  fi
  await waits "$T/sv"
  AT=$(stat -c %Y sv/next)
}

@test "snooze: until the moment that arid names, between a minute and a day" {
  local now
  mkdir bin
  # The answer is a recorded one; all else is arid itself.
  printf '%s\n' '#!/bin/sh' \
    "[ \"\$*\" = 'status --next epoch' ] || exec $BUILD/arid \"\$@\"" \
    "[ \"\$(cat $T/next)\" != fails ] || exit 78" "cat $T/next" >bin/arid
  chmod 755 bin/arid
  PATH=$T/bin:$PATH
  cp -r "$EXAMPLES/runit/arid" sv
  logs sv
  cp "$EXAMPLES/snooze/next.sh" sv/run
  pid_of() { cat "$1/supervise/pid" 2>/dev/null; }

  now=$(date +%s)
  next $((now + 7200))
  [ "$AT" -eq $((now + 7200)) ]
  next $((now - 7200))
  ((AT >= now + 60 && AT < now + 3600))
  next $((now + 864000))
  ((AT >= now + 86400 && AT < now + 90000))
  next ""
  ((AT >= now + 86400 && AT < now + 90000))
  next fails
  ((AT >= now + 3600 && AT < now + 7200))
  grep -qF "snooze -t next -T 0 -H '*' -M '*' -S '*' arid renew" sv/run
  TZ=UTC snooze -n -t sv/next -T 0 -H '*' -M '*' -S '*' >moments
  [[ $(head -n 1 moments) == "$(date -u -d "@$((AT + 1))" +%FT%T)"* ]] # the second after

  before=$PID
  sv alarm "$T/sv"
  await waits_anew "$T/sv" "$before"
  issued log/current
  sv -w 20 exit "$T/sv"
}

# --- OpenRC

# openrc COMMAND...: with a mount and a pid namespace of its own, where arid is in
# /etc/init.d and OpenRC has started; what runs there ends with it.
openrc() {
  unshare --mount --pid --fork --kill-child --mount-proc --propagation private bash -euc '
    mount -t tmpfs tmpfs /run
    mkdir -p "$1/init.d" "$1/runlevels/default" "$1/runlevels/sysinit"
    mount --bind "$1/init.d" /etc/init.d
    mount --bind "$1/runlevels" /etc/runlevels
    cd /run && mkdir openrc && cd openrc
    mkdir failed hotplugged inactive options starting started stopping wasinactive daemons exclusive scheduled init.d tmp
    echo default >softlevel
    cd "$1"
    shift
    eval "$*"' bash "$T/openrc" "$@"
}

@test "OpenRC: waits, renews when it is told to, waits again" {
  as_root
  mkdir -p openrc/init.d
  sed "s|/usr/local/bin/arid|env ARID_CONFIG=$ARID_CONFIG $BUILD/arid|; s|/var/log/arid.log|$T/log|; s|^respawn_delay=10|respawn_delay=1|" \
    "$EXAMPLES/openrc/arid.initd" >openrc/init.d/arid
  chmod 755 openrc/init.d/arid
  export -f await fail snoozes
  openrc '
    waits() {
      child=$(pgrep -P "$(cat /run/supervise-arid.pid)" -x snooze) && [ "$child" != "${1-}" ] && snoozes <"/proc/$child/status"
    }
    /etc/init.d/arid start
    await waits
    kill -ALRM "$child"
    await waits "$child"
    /etc/init.d/arid status
    /etc/init.d/arid stop
    ! pgrep -x snooze' >openrc.log 2>&1
  issued log
  grep -q 'status: started' openrc.log
}

# --- FreeBSD

# periodic: its script as periodic(8) starts it, with what periodic.conf says in the
# environment; arid is a stand-in that says T/says, ends with T/ends, and notes what
# it was called with.
periodic() {
  local rc=$1
  shift
  run "-$rc" env PATH="$T/bin:/usr/bin:/bin" "$@" "$EXAMPLES/freebsd/490.arid"
}

@test "FreeBSD: statuses, as periodic knows them" {
  mkdir bin
  printf '%s\n' '#!/bin/sh' "echo \"\$*\" >>'$T/called'" "id -un >>'$T/called'" "cat '$T/says' >&2" "exit \"\$(cat '$T/ends')\"" >bin/arid
  chmod 755 bin/arid
  : >says
  echo 0 >ends
  periodic 0
  periodic 0 daily_arid_enable=NO
  [ ! -e called ]
  periodic 0 daily_arid_enable=YES
  [ -z "$output" ]
  diff called <(printf '%s\n' "renew --jitter 1h" root)

  local ends says rc
  while read -r ends says rc; do
    echo "$ends" >ends
    : >says
    [ "$says" = - ] || echo "$says" >says
    periodic "$rc" daily_arid_enable=yes daily_arid_flags=
    case $rc in
      0) [ -z "$output" ] ;;
      1) [ "$output" = $'\nRenewing certificates:\n'"$says" ] ;;
      *) [[ $output == *"arid renew: exit status $ends" ]] ;;
    esac
  done <<'EOT'
0 issued 1
75 - 0
75 outage 1
1 refused 3
1 - 3
10 owed 3
78 - 3
EOT
}

@test "FreeBSD: as another user" {
  as_root
  mkdir bin
  printf '%s\n' '#!/bin/sh' 'echo "$*"; id -un' >bin/arid
  chmod 755 bin/arid
  open_way "$T/bin/arid"
  periodic 1 SHELL=/bin/sh daily_arid_enable=YES daily_arid_user=nobody daily_arid_flags="-q --fail-fast"
  [ "$output" = $'\nRenewing certificates:\nrenew -q --fail-fast\nnobody' ]
}
