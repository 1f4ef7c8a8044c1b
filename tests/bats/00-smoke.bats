#!/usr/bin/env bats
# The servers that the other files rely on, without arid: when one of these
# fails, look here first.

load helper

setup() { start_world; }
teardown() { stop_all; }

@test "Pebble serves its directory, with the one profile" {
  run -0 pebble_curl "$DIRECTORY"
  [[ $output == *'"newOrder": "'"${DIRECTORY%/dir}"/* ]]
  [[ $output == *'"default": "default"'* ]]
}

@test "Pebble's management hands out the issuance root" {
  pebble_root "$T/root.pem"
  run -0 openssl x509 -in "$T/root.pem" -noout -subject
  [[ $output == *"Pebble Root CA"* ]]
}

@test "lighttpd serves what stands in WELLKNOWN" {
  printf token >"$WELLKNOWN/some-token"
  run -0 curl -sS --fail "http://127.0.0.1:$HTTP_PORT/.well-known/acme-challenge/some-token"
  [ "$output" = token ]
}

@test "lighttpd does not serve what its user may not read" {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for another user"
  printf secret >"$WELLKNOWN/some-token"
  chmod 600 "$WELLKNOWN/some-token"
  run -22 curl -sS --fail "http://127.0.0.1:$HTTP_PORT/.well-known/acme-challenge/some-token"
}

@test "the DNS server takes TXT records" {
  set_txt _acme-challenge.example.test value-1
  set_txt _acme-challenge.example.test value-2
  clear_txt _acme-challenge.example.test
}

@test "no port is given twice, though nobody listens there yet" {
  local round ports=()
  for round in {1..4}; do
    # shellcheck disable=SC2046  # a hundred names
    take_ports $(printf "ports[$round%02d] " {0..99})
  done
  [ "${#ports[@]}" -eq 400 ]
  [ -z "$(printf '%s\n' "${ports[@]}" "$HTTP_PORT" "$TLS_PORT" | sort | uniq -d)" ]
}

@test "servers are ended, and only those" {
  local pids
  mapfile -t pids < <(cut -d' ' -f1 "$T/pids")
  [ "${#pids[@]}" -eq 3 ]
  sleep 60 3>&- &
  local other=$!
  printf '%s %s\n' "$other" 1 >>"$T/pids" # as one that got the number of a server that has ended
  stop_all
  local pid
  for pid in "${pids[@]}"; do
    run ! kill -0 "$pid"
  done
  kill -0 "$other"
  kill "$other"
}
