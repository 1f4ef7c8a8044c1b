#!/bin/sh
# "arid respond" under tcpserver (ucspi-tcp), one process for a connection: the run
# script of a service for daemontools, runit or s6. tcpserver opens the port and gives up
# being root, so that arid never is.
#
# -c bounds how many there are at once. nobody, with the group that the directory of
# "arid sign --alpn" has (2750 root:www-data), can read there and nothing more.
# Debian's tcpserver knows IPv4 only; s6-tcpserver (s6-networking) takes the same
# arguments but -R, -H and -l, and IPv6.
exec 2>&1
exec tcpserver -R -H -l 0 -c 100 -u "$(id -u nobody)" -g "$(id -g www-data)" 0 10443 \
  arid respond -v --alpn /var/lib/arid/alpn
