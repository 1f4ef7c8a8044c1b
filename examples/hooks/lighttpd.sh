#!/bin/sh
# Certificates into lighttpd: NAME.pem, key and chain in one file, for
#
#   ssl.pemfile = "/etc/lighttpd/tls/NAME.pem"
#
# "install -d -m 750 -g www-data /etc/lighttpd/tls" first. NAME is the certificate's
# folder in CERTDIR. lighttpd reads the files again as its own user (server.username),
# and ends when it cannot: they are readable for that user, and tried as that user.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # cron's is short

tls=${LIGHTTPD_TLS-/etc/lighttpd/tls}
user=${LIGHTTPD_USER-www-data}
# How lighttpd checks its configuration, and is told. One that is not running needs not be.
preflight='lighttpd -tt -f /etc/lighttpd/lighttpd.conf'
# shellcheck disable=SC2016 # it is for the shell below
reload='[ ! -s /run/lighttpd.pid ] || kill -USR1 "$(cat /run/lighttpd.pid)"'
preflight=${LIGHTTPD_PREFLIGHT-$preflight} reload=${LIGHTTPD_RELOAD-$reload}

export due="$tls/.reload" # is there when lighttpd has to be told

case ${1-} in
# Told in exit_hook, once for all certificates: until the connections of before have
# ended (8 seconds, server.graceful-shutdown-timeout), new ones have to wait. What can
# fail is done here, where it is owed; in exit_hook it would be a warning.
deploy_cert)
	# shellcheck disable=SC2016,SC2154  # for a shell, again; alias and CERTDIR come from arid, and from dehydrated
	exec arid install "$alias" --out "$CERTDIR" \
		--parts key,fullchain --owner "root:$(id -gn "$user")" --mode 0640 --to "$tls/{name}.pem" \
		--preflight "$preflight" --as "$user" --reload ': >"$due"'
	;;
exit_hook)
	[ -e "$due" ] || exit 0
	sh -c "$reload"
	rm -f "$due"
	;;
*) exit 0 ;; # other events, and those to come: nothing to do is no failure
esac
