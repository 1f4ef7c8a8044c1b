#!/bin/sh
# Installs what `make bench` needs and is missing: the clients that arid stands
# beside, and what they and the counting need.
exec "$(dirname "$0")/../setup.sh" dehydrated uacme lego certbot acme-tiny openssl strace
