#!/usr/bin/env bats
# dns-01 through hooks, with name servers as people run them, on port 53: BIND by
# Debian's package dehydrated-hook-ddns-tsig, PowerDNS by its API, Knot by nsupdate
# and by knotc. The config is Debian's, in /etc/dehydrated, and arid is called
# `dehydrated -c`.

# shellcheck disable=SC2034,SC2154  # what is set here is for the helpers, and what they and bats set for us

load helper
load servers
load private

setup_file() {
  is_root || return 0
  start_private
  take_ports HTTP_PORT TLS_PORT
  DNS_ADDR=127.0.0.1:53
  start_pebble 0
  export CA_FILE DIRECTORY MGMT
  mkdir "$T/bin"
  ln -s "$BUILD/arid" "$T/bin/dehydrated"
  # One account for all of it: its key takes a while.
  fresh_debian
  local_config
  run -0 dehydrated_c --register --accept-terms
  cp -a "$VAR/accounts" "$T/accounts"
}
setup() {
  as_root
  fresh_debian
  local_config
  cp -a "$FILE_T/accounts" "$VAR/"
}
teardown() {
  stop_all
  show_file_logs
}
teardown_file() { stop_all; }

# local_config: what these tests have to say, in a file of conf.d of its own.
local_config() {
  cat >"$ETC/conf.d/90_local.sh" <<EOC
CA="$DIRECTORY"
ACCOUNT_KEYSIZE=2048
CURL_OPTS="--cacert $CA_FILE"
EOC
}

# cron_env PROGRAM...: with the environment that Debian's cron gives.
cron_env() {
  inside env -i HOME=/root LOGNAME=root SHELL=/bin/sh PATH="$FILE_T/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}
dehydrated_c() { cron_env dehydrated "$@"; }

NAMES=(example.test "*.example.test" www.sub.example.test other.test)
ZONES="example.test other.test"

# issues NAME...: in Debian's way, with HOOK_CHAIN no and yes, until it is there; and
# nothing is left in DNS beside the records of before.
issues() {
  local chain name cert=$VAR/certs/$1/fullchain.pem serials=""
  printf '%s\n' "$*" >"$ETC/domains.txt"
  put_other
  all_txt >"$T/txt"
  [ -s "$T/txt" ]
  for chain in no yes; do
    printf 'HOOK_CHAIN=%s\n' "$chain" >"$ETC/conf.d/95_chain.sh"
    run -0 --separate-stderr dehydrated_c -c -x
    printf '%s: %s\n%s\n' "$chain" "$output" "$stderr"
    [[ $output == *"# INFO: Using main config file /etc/dehydrated/config"* ]]
    [[ $output == *$'\n + Done!' ]]
    verify_chain "$cert" "${2/#\*./any.}"
    for name; do
      verify_chain "$cert" "${name/#\*./any.}"
    done
    serials+=" $(openssl x509 -in "$cert" -noout -serial)"
    all_txt | diff "$T/txt" -
  done
  # shellcheck disable=SC2086  # two words
  [ "$(printf '%s\n' $serials | sort -u | wc -l)" -eq 2 ]
  # Debian's own program, in its place, has nothing left to do.
  run -0 cron_env /usr/bin/dehydrated -c
  [[ $output == *"Skipping renew!"* ]]
}

# put_other: somebody else's record beside one of ours, which has to stay.
# shellcheck disable=SC2317  # by a test that does not say how
put_other() { fail "each server has its own"; }

# all_txt: every TXT record that there is, one a line, whatever its TTL.
all_txt() {
  local zone
  for zone in $ZONES; do
    inside dig +noall +answer @127.0.0.1 "$zone" AXFR | awk '$4 == "TXT" { $2 = ""; print }' | sort
  done
}

# zone_of ZONE: its file.
zone_of() {
  cat <<EOC
\$TTL 60
@ SOA ns1.$1. hostmaster.$1. 1 86400 3600 604800 300
@ NS ns1.$1.
ns1 A 127.0.0.1
@ A 127.0.0.1
EOC
}

@test "BIND, by Debian's dehydrated-hook-ddns-tsig" {
  tsig-keygen -a hmac-sha256 testkey >"$T/testkey"
  start_bind_53 "update-policy { grant testkey zonesub TXT; };" "include \"$T/testkey\";"
  put_other() {
    printf 'server 127.0.0.1\nupdate add _acme-challenge.example.test 60 TXT theirs\nsend\n' | inside nsupdate -k "$T/testkey"
  }
  # What its README.Debian tells to edit, and no more.
  sed -i -e 's/^#HOOK=/HOOK=/' -e 's/^#CHALLENGETYPE=/CHALLENGETYPE=/' "$ETC/conf.d/50_dehydrated-hook-ddns-tsig.sh"
  sed -i -e '0,/^#name_server_ip = /s/^#name_server_ip = .*/name_server_ip = 127.0.0.1/' \
    -e "0,/^key_secret/s|^key_secret = .*|key_secret = $(sed -n 's/.*secret "\(.*\)";/\1/p' "$T/testkey")|" \
    -e 's/^#key_algorithm = .*/key_algorithm = hmac-sha256/' "$ETC/dehydrated-hook-ddns-tsig.conf"
  issues "${NAMES[@]}"
}

# dns_config LINE...: what a user of a hook of his own says in conf.d.
dns_config() { printf '%s\n' CHALLENGETYPE=dns-01 "$@" >"$ETC/conf.d/50_dns.sh"; }

# install_hook NAME: stdin is a hook in /etc/dehydrated.
install_hook() {
  cat >"$ETC/$1"
  chmod 755 "$ETC/$1"
}

@test "PowerDNS, by its API" {
  start_powerdns api-test
  put_other() {
    pdnsutil --config-dir="$T/pdns" replace-rrset example.test _acme-challenge TXT 60 '"theirs"' >>"$T/pdnsutil.log" 2>&1
  }
  # The hook sources the config for what it needs, as pdns_api.sh does.
  install_hook pdns-hook <<'EOH'
#!/bin/bash
case $1 in deploy_challenge | clean_challenge) ;; *) exit 0 ;; esac
. "$CONFIG"
for file in "$CONFIG_D"/*.sh; do . "$file"; done
set -eu
api() { curl -sS --fail -H "X-API-Key: $PDNS_KEY" "$@"; }
event=$1
shift
while [ $# -ge 3 ]; do
  name=_acme-challenge.$1.
  zone=$(api "$PDNS_URL/zones" | jq -r --arg name "$name" '[.[].name | select(. as $z | $name | endswith("." + $z))] | max_by(length)')
  api "$PDNS_URL/zones/$zone" |
    jq --arg event "$event" --arg name "$name" --arg value "\"$3\"" '
      [.rrsets[] | select(.name == $name and .type == "TXT") | .records[].content]
      | if $event == "deploy_challenge" then . + [$value] else . - [$value] end
      | {rrsets: [{name: $name, type: "TXT", ttl: 60, changetype: "REPLACE", records: map({content: ., disabled: false})}]}' |
    api -X PATCH --data-binary @- "$PDNS_URL/zones/$zone"
  shift 3
done
EOH
  dns_config HOOK=/etc/dehydrated/pdns-hook PDNS_KEY=api-test PDNS_URL=http://127.0.0.1:8081/api/v1/servers/localhost
  issues "${NAMES[@]}"
}

# knot_with_key: it may be changed with what is in T/knot/key.
knot_with_key() {
  mkdir "$T/knot"
  tsig-keygen -a hmac-sha256 knot-test >"$T/knot/key"
  start_knot "challenges, look" <<EOC
key:
  - id: knot-test
    algorithm: hmac-sha256
    secret: $(sed -n 's/.*secret "\(.*\)";/\1/p' "$T/knot/key")
acl:
  - id: challenges
    key: knot-test
    action: update
    update-type: TXT
  - id: look
    address: 127.0.0.1
    action: transfer
EOC
}

@test "Knot, by nsupdate" {
  knot_with_key
  put_other() {
    printf 'server 127.0.0.1\nupdate add _acme-challenge.example.test 60 TXT theirs\nsend\n' | inside nsupdate -k "$T/knot/key"
  }
  dns_config "HOOK=$TOP/examples/hooks/dns-nsupdate.sh" "export NSUPDATE_KEY=$T/knot/key"
  issues "${NAMES[@]}"
}

# knot WORD...: one step at Knot's control socket.
knot() { inside knotc -c "$T/knot/knot.conf" "$@" >>"$T/knotc.log" 2>&1; }

@test "Knot, by knotc" {
  knot_with_key
  put_other() {
    knot zone-begin example.test
    knot zone-set example.test _acme-challenge 60 TXT theirs
    knot zone-commit example.test
  }
  install_hook knot-hook <<'EOH'
#!/bin/sh
set -eu
event=$1
shift
case $event in
deploy_challenge) step=zone-set ;;
clean_challenge) step=zone-unset ;;
*) exit 0 ;;
esac
while [ $# -ge 3 ]; do
  zone=$(echo "$1" | grep -oE '[^.]+\.test$')
  ttl=60
  [ "$step" = zone-set ] || ttl=
  knotc -c "$KNOT_CONF" zone-begin "$zone"
  knotc -c "$KNOT_CONF" "$step" "$zone" "_acme-challenge.$1." $ttl TXT "\"$3\""
  knotc -c "$KNOT_CONF" zone-commit "$zone"
  shift 3
done
EOH
  dns_config HOOK=/etc/dehydrated/knot-hook "export KNOT_CONF=$T/knot/knot.conf"
  issues "${NAMES[@]}"
}
