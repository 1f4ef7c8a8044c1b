#!/bin/sh
# acme-tiny.sh STATE DIRECTORY WELLKNOWN NAME...: key and request by openssl, the
# certificate by acme-tiny, as its manual has it.
set -eu

state=$1 directory=$2 wellknown=$3
shift 3
stem=$state/$1
names=
for name; do names="$names${names:+,}DNS:$name"; done
openssl ecparam -name prime256v1 -genkey -noout -out "$stem.key"
openssl req -new -sha256 -key "$stem.key" -subj / -addext "subjectAltName=$names" -out "$stem.csr"
# Nothing answers on port 80 here, where it would look for its own file first.
exec acme-tiny --disable-check --account-key "$state/account.key" --csr "$stem.csr" --acme-dir "$wellknown" \
  --directory-url "$directory" >"$stem.crt"
