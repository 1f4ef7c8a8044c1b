#!/bin/sh
# What `make demo` shows: tests/demo.sh DIR, with arid in PATH. DIR is thrown
# away by the caller.
set -eu

hook=$(pwd)/examples/hooks/dns-arid.sh
mkdir "$1/home" "$1/webroot" "$1/alpn"
: >"$1/config"
export HOME="$1/home" ARID_CONFIG="$1/config"
cd "$1/home"

show() {
  printf '\n'
  echo "$@"
}

show "arid rehearse --wellknown WEBROOT demo.example.test www.demo.example.test"
arid rehearse --wellknown "$1/webroot" demo.example.test www.demo.example.test

show "The same by a certificate that answers over TLS, with less talk:"
show "arid rehearse -q -t tls-alpn-01 --alpn ALPN demo.example.test 127.0.0.1"
arid rehearse -q -t tls-alpn-01 --alpn "$1/alpn" demo.example.test 127.0.0.1

show "And a wildcard, by TXT records that a hook writes:"
show "arid rehearse -q -t dns-01 -k examples/hooks/dns-arid.sh demo.example.test '*.demo.example.test'"
arid rehearse -q -t dns-01 -k "$hook" demo.example.test '*.demo.example.test'
