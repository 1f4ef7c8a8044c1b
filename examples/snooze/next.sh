#!/bin/sh
# For runit and s6, instead of arid/run, which asks each hour: this waits for the moment at
# which arid can do something, to the second. Copy it over arid/run.
#
# Supervisors start it in the folder of the service; there the time of the file "next" is
# that moment. "touch -d @SECONDS" is known to GNU and busybox.
exec 2>&1

now=$(date +%s)
next=$(arid status --next epoch) || next=$((now + 3600))
# It says nothing where nothing will ever be due. A day at most, since domains.txt may
# change; a minute at least, so that what stays due becomes no loop.
[ "${next:-0}" -gt 0 ] && [ "$next" -lt $((now + 86400)) ] || next=$((now + 86400))
[ "$next" -gt $((now + 60)) ] || next=$((now + 60))

touch -d "@$next" next
exec snooze -t next -T 0 -H '*' -M '*' -S '*' arid renew
