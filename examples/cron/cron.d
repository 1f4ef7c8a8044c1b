# arid by cron: /etc/cron.d/arid. Copy it with a minute of your own, so that not all
# the world asks the CA at the same one:
#
#   sed "s/^17 /$(shuf -i 0-59 -n 1) /" cron.d >/etc/cron.d/arid
#
# A run with nothing to do takes milliseconds and asks nobody, so every hour is not
# too often, and a missed hour needs no catching up.
#
# Mail comes when a certificate was renewed or something failed, once for each
# attempt and not for each run. "arid renew -q" sends failures only.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
MAILTO=root

17 * * * *  root  arid renew
